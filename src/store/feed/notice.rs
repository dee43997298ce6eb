//! What an operator wants to know of a pool, in the topic `events`.
//!
//! The process whose script call made a change writes the notice of it, so there is one per pool, whatever the
//! number of replicas. Like all of a feed it is for people: a process that ends between the two writes none.

use bytes::Bytes;
use serde::Serialize;

use super::{Feed, Topic};
use crate::store::ident::{AccountId, InvalidReason, ReplicaId, Stamp, Version};

/// One thing that happened to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A replica began to serve.
    ReplicaJoined {
        /// Which.
        id: &'a ReplicaId,
        /// The name of its machine.
        host: &'a str,
    },
    /// A replica ended in order.
    ReplicaLeft {
        /// Which.
        id: &'a ReplicaId,
    },
    /// A replica ended without a word.
    ReplicaLapsed {
        /// Which.
        id: &'a ReplicaId,
        /// The name of its machine.
        host: &'a str,
    },
    /// An account needs its owner.
    AccountInvalid {
        /// Which.
        id: &'a AccountId,
        /// Why.
        reason: InvalidReason,
    },
    /// Shared settings were changed.
    SettingsChanged {
        /// Their generation now.
        generation: Version,
        /// Names of those that changed, never their values.
        names: &'a [&'a str],
    },
}

/// A notice as it is kept: `{"time":ms,"seq":n,"kind":"replica.joined",…}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    time: i64,
    seq: u64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    names: &'a [&'a str],
}

impl Notice<'_> {
    /// Appends it to the topic `events` of `feed`.
    pub(in crate::store) fn append(&self, stamp: Stamp, feed: &dyn Feed) {
        // Numbers and texts always have a form in JSON.
        if let Ok(text) = serde_json::to_vec(&self.kept(stamp)) {
            feed.append(Topic::Events, Bytes::from(text));
        }
    }

    fn kept(&self, stamp: Stamp) -> Kept<'_> {
        let kept = Kept {
            time: stamp.now_ms,
            seq: stamp.seq,
            kind: "",
            replica: None,
            host: None,
            account: None,
            reason: None,
            generation: None,
            names: &[],
        };
        match *self {
            Self::ReplicaJoined { id, host } => {
                Kept { kind: "replica.joined", replica: Some(id.as_str()), host: Some(host), ..kept }
            }
            Self::ReplicaLeft { id } => Kept { kind: "replica.left", replica: Some(id.as_str()), ..kept },
            Self::ReplicaLapsed { id, host } => {
                Kept { kind: "replica.lapsed", replica: Some(id.as_str()), host: Some(host), ..kept }
            }
            Self::AccountInvalid { id, reason } => Kept {
                kind: "account.invalid",
                account: Some(id.as_str()),
                reason: Some(reason.as_str()),
                ..kept
            },
            Self::SettingsChanged { generation, names } => {
                Kept { kind: "settings.changed", generation: Some(generation.0), names, ..kept }
            }
        }
    }
}
