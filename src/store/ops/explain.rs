//! Why admission would choose what it chooses now: the admission script itself, told to change nothing.

use std::time::Duration;

use super::admit::{Admit, Tier};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, InvalidReason, LeaseId, Stamp};
use crate::store::keys::ConversationKey;
use crate::store::registry::ADMIT;
use crate::store::reply::Fields;

/// What is asked; the fields mean what they mean for [`Admit`].
#[derive(Clone, Debug)]
pub struct Explain<'a> {
    /// The upstream model.
    pub model: &'a str,
    /// The conversation.
    pub conversation: Option<&'a ConversationKey>,
    /// Waits beyond this would allow a probe.
    pub probe_after: Option<Duration>,
}

/// The answer to [`Explain`].
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// As of when.
    pub stamp: Stamp,
    /// `hybrid`, `round-robin` or `sticky`.
    pub strategy: String,
    /// What admission would answer.
    pub outcome: Outcome,
    /// The account that the conversation has, where the strategy remembers it.
    pub remembered: Option<AccountId>,
    /// Accounts in the pool; of more than 200, hybrid and sticky look at some.
    pub total: u32,
    /// Every account that was looked at.
    pub candidates: Vec<Candidate>,
}

/// What admission would answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This account.
    Chosen {
        /// Which.
        account: AccountId,
        /// How it was found.
        tier: Tier,
    },
    /// Nobody now: every valid account must be waited for.
    Wait {
        /// Until the first is free.
        wait: Duration,
        /// What keeps that one: `quota`, `rate`, `unknown`, `capacity`, `failure`, `forbidden`, `unsupported`,
        /// `cooling`, `busy` or `recovering`.
        why: String,
    },
    /// The pool has no account.
    Empty,
    /// Every account is switched off.
    NoEnabled,
    /// Every enabled account needs its owner.
    AllInvalid,
    /// None is enabled but those whose records in the store cannot be read.
    Damaged,
}

/// One account as admission sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The account.
    pub account: AccountId,
    /// Its place in the order of accounts; 0 when its record is damaged.
    pub number: u64,
    /// Whether it may be chosen.
    pub verdict: Verdict,
    /// How it compares; `None` unless it is usable.
    pub standing: Option<Standing>,
}

/// Whether an account may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Usable,
    /// An operator switched it off.
    Disabled,
    /// It needs its owner.
    Invalid(InvalidReason),
    /// Its record cannot be read.
    Damaged,
    /// Not yet.
    Waits {
        /// How long.
        wait: Duration,
        /// Why, see [`Outcome::Wait`].
        why: String,
    },
}

/// How a usable account compares: the lowest tier wins, then the highest score, then the first in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its tier.
    pub tier: Tier,
    /// Hybrid: the sum of `parts`. Sticky: minus its conversations and a millionth of its requests in flight.
    pub score: f64,
    /// Hybrid's parts of the score, each times its weight.
    pub parts: Option<Parts>,
    /// Health now, where the strategy looks at it.
    pub health: Option<f64>,
    /// Requests in its bucket now, where the strategy looks at it.
    pub tokens: Option<f64>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Conversations that stay with it.
    pub conversations: u32,
}

/// The parts of hybrid's score (spec `dispatch.md` §5.4).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parts {
    /// Health.
    pub health: f64,
    /// How full its bucket is.
    pub tokens: f64,
    /// What is left of its quota.
    pub quota: f64,
    /// Time since its last use.
    pub rest: f64,
    /// Requests in flight; not positive.
    pub in_flight: f64,
    /// That it has the conversation.
    pub affinity: f64,
}

impl Store {
    /// Says what [`Store::admit`] would answer, and why.
    pub async fn explain(&self, ask: &Explain<'_>) -> Result<Explanation, StoreError> {
        // Nothing is leased; the script only wants a name.
        let lease = LeaseId::new("explained").map_err(|_| StoreError::BadArgument {
            script: ADMIT.name,
            field: "lease",
            problem: "not an id",
        })?;
        let admit = Admit {
            lease: &lease,
            lease_ttl: Duration::ZERO,
            model: ask.model,
            tried: &[],
            known: &[],
            probe_after: ask.probe_after,
            conversation: ask.conversation,
        };
        explanation(self.run(self.admit_call(&admit, true)?).await?)
    }
}

fn explanation(mut fields: Fields) -> Result<Explanation, StoreError> {
    let (code, stamp) = fields.head()?;
    if code != "EXPLAIN" {
        return Err(fields.unknown(&code));
    }
    let strategy = fields.text("a strategy")?;
    let code = fields.text("a code")?;
    let chosen =
        fields.parsed("an account id or nothing", |text| optional(text, |id| AccountId::new(id).ok()))?;
    let tier = fields.parsed("a tier or nothing", |text| optional(text, Tier::from_name))?;
    let wait = fields.millis("ms to wait")?;
    let why = fields.text("a reason")?;
    let outcome = match (code.as_str(), chosen, tier) {
        ("OK" | "PROBE", Some(account), Some(tier)) => Outcome::Chosen { account, tier },
        ("WAIT", None, None) => Outcome::Wait { wait, why },
        ("EMPTY", None, None) => Outcome::Empty,
        ("NO_ENABLED", None, None) => Outcome::NoEnabled,
        ("ALL_INVALID", None, None) => Outcome::AllInvalid,
        ("DAMAGED", None, None) => Outcome::Damaged,
        _ => return Err(fields.unknown(&code)),
    };
    let remembered =
        fields.parsed("an account id or nothing", |text| optional(text, |id| AccountId::new(id).ok()))?;
    let total = fields.number("accounts in the pool")?;
    let mut candidates = Vec::new();
    while fields.left() > 0 {
        candidates.push(candidate(&mut fields)?);
    }
    Ok(Explanation { stamp, strategy, outcome, remembered, total, candidates })
}

fn candidate(fields: &mut Fields) -> Result<Candidate, StoreError> {
    let account = fields.account()?;
    let number = fields.number("a number")?;
    let word = fields.text("a verdict")?;
    let wait = fields.millis("ms to wait")?;
    let verdict = match (word.as_str(), InvalidReason::from_name(&word)) {
        ("usable", _) => Verdict::Usable,
        ("disabled", _) => Verdict::Disabled,
        ("damaged", _) => Verdict::Damaged,
        (_, Some(reason)) => Verdict::Invalid(reason),
        _ => Verdict::Waits { wait, why: word },
    };
    let tier = fields.parsed("a tier or nothing", |text| optional(text, Tier::from_name))?;
    let mut number_or_none =
        |expected| fields.parsed(expected, |text| optional(text, |text| text.parse::<f64>().ok()));
    let score = number_or_none("a score or nothing")?;
    let mut parts = [None; 6];
    for part in &mut parts {
        *part = number_or_none("a part of the score or nothing")?;
    }
    let (health, tokens) = (number_or_none("health or nothing")?, number_or_none("tokens or nothing")?);
    let (in_flight, conversations) = (fields.number("requests in flight")?, fields.number("conversations")?);
    let parts = match parts {
        [Some(health), Some(tokens), Some(quota), Some(rest), Some(in_flight), Some(affinity)] => {
            Some(Parts { health, tokens, quota, rest, in_flight, affinity })
        }
        _ => None,
    };
    let standing = match (tier, score) {
        (Some(tier), Some(score)) => {
            Some(Standing { tier, score, parts, health, tokens, in_flight, conversations })
        }
        _ => None,
    };
    Ok(Candidate { account, number, verdict, standing })
}

/// Nothing for an empty text, nothing at all for one that `read` does not understand.
#[expect(clippy::option_option, reason = "the outer one is whether the text was understood")]
fn optional<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}
