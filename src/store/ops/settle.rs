//! Settlement: what an attempt showed about its account, and what it consumed.

use std::time::Duration;

use super::admit::millis;
use crate::store::Store;
use crate::store::feed::notice::Notice;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{AccountId, CredentialVersion, InvalidReason, LeaseId, Stamp};
use crate::store::registry::SETTLE;
use crate::store::reply::{Fields, plain};

pub use super::usage::{StatusClass, UsageEntry};

/// The end of one attempt.
#[derive(Clone, Debug)]
pub struct Settle<'a> {
    /// The account that was granted.
    pub account: &'a AccountId,
    /// Id of the attempt; settling again with it repeats the answer and changes nothing.
    pub lease: &'a LeaseId,
    /// The credential version that was granted.
    pub credential: CredentialVersion,
    /// The upstream model.
    pub model: &'a str,
    /// `now_ms` of the admission's stamp: the hour its usage counts for.
    pub admitted_at_ms: i64,
    /// What happened.
    pub outcome: Outcome,
    /// Whether the client received anything: then a cancelled attempt keeps its token.
    pub received: bool,
    /// What to count; `None` when the request does not end with this attempt.
    pub usage: Option<UsageEntry<'a>>,
}

/// What an attempt showed (spec `dispatch.md` §2.11, §9.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer.
    Success,
    /// A limit of the account.
    RateLimited {
        /// Which.
        kind: LimitKind,
        /// When it ends, if the upstream said so.
        reset: Option<Duration>,
    },
    /// The model is overloaded for everybody; the limit of 15 s is moved by so many ms.
    Capacity {
        /// Positive or negative.
        jitter_ms: i32,
    },
    /// 5xx, or no answer.
    Failure,
    /// A fresh token was refused.
    Unauthorized,
    /// The account does not know the model.
    NotFound,
    /// Any other 403.
    Forbidden,
    /// The sign-in was revoked.
    Revoked,
    /// The provider disabled the account.
    Banned,
    /// The owner must verify the account.
    Verification {
        /// Where, when the provider said so.
        url: Option<String>,
    },
    /// The request was at fault.
    ClientError,
    /// The client went away.
    Cancelled,
    /// Ended for a reason that says nothing about the account.
    Released,
    /// An answer without content.
    Empty,
    /// The prompt was refused.
    Blocked,
}

/// Which limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The quota window.
    Quota,
    /// Requests per minute.
    Rate,
    /// The upstream did not say.
    Unknown,
}

/// A limit that a settlement set or extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewLimit {
    /// The quota window of the model.
    Quota,
    /// Requests per minute.
    Rate,
    /// The upstream did not say which.
    Unknown,
    /// The model had no capacity.
    Capacity,
    /// Failures in a row.
    Failure,
    /// A 403 without a reason.
    Forbidden,
    /// The account does not know the model.
    Unsupported,
    /// A fresh token was refused: the account rests for every model.
    Cooling,
}

impl NewLimit {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Quota,
        Self::Rate,
        Self::Unknown,
        Self::Capacity,
        Self::Failure,
        Self::Forbidden,
        Self::Unsupported,
        Self::Cooling,
    ];

    /// As scripts say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Rate => "rate",
            Self::Unknown => "unknown",
            Self::Capacity => "capacity",
            Self::Failure => "failure",
            Self::Forbidden => "forbidden",
            Self::Unsupported => "unsupported",
            Self::Cooling => "cooling",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.as_str() == name)
    }
}

/// What a settlement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// When it was applied (for a repeated answer: first applied).
    pub stamp: Stamp,
    /// Whether a 429 fell into the window of an earlier one and was not counted.
    pub duplicate: bool,
    /// How many 429s of the model came in a row.
    pub attempt: u32,
    /// Until the account is usable for the model again.
    pub backoff: Duration,
    /// Whether the account became invalid by it.
    pub invalidated: bool,
    /// The limit that it set, or extended.
    pub limit: Option<NewLimit>,
    /// Whether the account had been removed.
    pub gone: bool,
}

impl Outcome {
    /// The outcome's name in scripts and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RateLimited { .. } => "rate_limited",
            Self::Capacity { .. } => "capacity",
            Self::Failure => "failure",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::Revoked => "revoked",
            Self::Banned => "banned",
            Self::Verification { .. } => "verification",
            Self::ClientError => "client_error",
            Self::Cancelled => "cancelled",
            Self::Released => "released",
            Self::Empty => "empty",
            Self::Blocked => "blocked",
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::RateLimited { kind: LimitKind::Quota, .. } => "quota",
            Self::RateLimited { kind: LimitKind::Rate, .. } => "rate",
            Self::RateLimited { kind: LimitKind::Unknown, .. } => "unknown",
            Self::Verification { url: Some(url) } => url,
            _ => "",
        }
    }

    fn ms(&self) -> i64 {
        match self {
            Self::RateLimited { reset, .. } => {
                reset.map_or(-1, |reset| i64::try_from(millis(reset)).unwrap_or(i64::MAX))
            }
            Self::Capacity { jitter_ms } => i64::from(*jitter_ms),
            _ => 0,
        }
    }
}

impl Store {
    /// Ends an attempt: removes its lease, applies its outcome, counts its usage.
    pub async fn settle(&self, settle: &Settle<'_>) -> Result<Settlement, StoreError> {
        let settlement = settlement(self.run(self.settle_call(settle)?).await?)?;
        self.note_settled(settle, &settlement);
        Ok(settlement)
    }

    /// Tells the feed of an account that needs its owner, and of a limit.
    pub(super) fn note_settled(&self, settle: &Settle<'_>, settlement: &Settlement) {
        if settlement.invalidated
            && let Some(reason) = InvalidReason::from_name(settle.outcome.name())
        {
            self.note(settlement.stamp, Notice::AccountInvalid { id: settle.account, reason });
        }
        if let Some(limit) = settlement.limit {
            let (id, model, left) = (settle.account, settle.model, settlement.backoff);
            self.note(settlement.stamp, Notice::Limit { id, model, limit, left });
        }
    }

    pub(super) fn settle_call(&self, settle: &Settle<'_>) -> Result<Call, StoreError> {
        let model = plain(&SETTLE, "model", settle.model)?;
        let nothing = UsageEntry::default();
        let (counted, usage) = match &settle.usage {
            Some(usage) => (usage.model.unwrap_or(model), usage),
            None => ("", &nothing),
        };
        let call = Call::new(&SETTLE)
            .key(self.keys.named("meta"))
            .key(self.keys.named("cfg"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("leases"))
            .key(self.keys.req(settle.lease))
            .key(self.keys.model(model))
            .key(self.keys.probe(model))
            .key(self.keys.named("inv"))
            .key(self.keys.usage(settle.admitted_at_ms))
            .key(self.keys.usage_hourly(settle.admitted_at_ms))
            .key(self.keys.usage_daily(settle.admitted_at_ms))
            .arg(settle.account.as_str())
            .arg(settle.lease.as_str())
            .arg(settle.credential.0)
            .arg(settle.outcome.name())
            .arg(plain(&SETTLE, "detail", settle.outcome.detail())?)
            .arg(settle.outcome.ms())
            .arg(settle.received);
        let call = self.configured(call).arg(self.keys.channel());
        Ok(self.timed(usage.write(call, counted, settle.admitted_at_ms)?))
    }
}

pub(super) fn settlement(mut fields: Fields) -> Result<Settlement, StoreError> {
    let (code, stamp) = fields.head()?;
    let gone = match code.as_str() {
        "OK" => false,
        "GONE" => true,
        other => return Err(fields.unknown(other)),
    };
    let settlement = Settlement {
        stamp,
        duplicate: fields.flag("whether it is a duplicate")?,
        attempt: fields.number("the attempt")?,
        backoff: fields.millis("ms of backoff")?,
        invalidated: fields.flag("whether it invalidated")?,
        limit: fields.parsed("a limit", |name| {
            if name.is_empty() { Some(None) } else { NewLimit::from_name(name).map(Some) }
        })?,
        gone,
    };
    fields.end()?;
    Ok(settlement)
}
