//! What an operator wants to know of a pool, in the topic `events`.
//!
//! The process whose script call made a change writes the notice of it, so there is one per pool, whatever the
//! number of replicas. Like all of a feed it is for people: a process that ends between the two writes none.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::{Feed, Topic};
use crate::store::ident::{AccountId, ClientId, InvalidReason, ReplicaId, Stamp, Version};
use crate::store::ops::settle::NewLimit;

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
    /// Something about an account.
    Account {
        /// Which.
        id: &'a AccountId,
        /// `account.added`, `account.renewed` (signed in anew), `account.changed`, `account.removed` or `account.valid`.
        kind: &'static str,
    },
    /// A limit of an account was set or extended.
    Limit {
        /// Which account.
        id: &'a AccountId,
        /// The upstream model; of all models where the account rests.
        model: &'a str,
        /// Which limit.
        limit: NewLimit,
        /// How long the account cannot be used for the model.
        left: Duration,
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
    /// A client key was made, changed, rotated or revoked.
    ClientKey {
        /// Which.
        id: &'a ClientId,
        /// `key.created`, `key.changed`, `key.rotated` or `key.revoked`.
        kind: &'static str,
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
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
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
            key: None,
            model: None,
            until: None,
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
            Self::Account { id, kind } => Kept { kind, account: Some(id.as_str()), ..kept },
            Self::Limit { id, model, limit, left } => Kept {
                kind: "limit.set",
                account: Some(id.as_str()),
                model: (limit != NewLimit::Cooling).then_some(model),
                reason: Some(limit.as_str()),
                until: Some(stamp.now_ms.saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))),
                ..kept
            },
            Self::AccountInvalid { id, reason } => Kept {
                kind: "account.invalid",
                account: Some(id.as_str()),
                reason: Some(reason.as_str()),
                ..kept
            },
            Self::SettingsChanged { generation, names } => {
                Kept { kind: "settings.changed", generation: Some(generation.0), names, ..kept }
            }
            Self::ClientKey { id, kind } => Kept { kind, key: Some(id.as_str()), ..kept },
        }
    }
}
