//! What to do after a failed upstream call: a pure function of what has happened so far.
//!
//! The rows are those of spec `dispatch.md` §2.11; each has a test. The policy decides within one
//! account attempt; which account comes next, and whether one must be waited for, is the admission script's
//! decision. Nothing here applies once an event has reached the client: from then on every failure is final.

use std::time::Duration;

use crate::cloudcode::{Failure, FailureClass};

/// A limit that ends sooner than this is waited out on the same account.
const SHORT_RESET: Duration = Duration::from_secs(1);
/// How often, and for how long in all, short limits are waited out in one request.
const SHORT_RESETS: u32 = 3;
const SHORT_RESET_BUDGET: Duration = Duration::from_secs(3);
/// Pauses before an empty answer is asked for again; one more empty answer ends it.
const EMPTY_PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
/// How many accounts may answer that they do not know the model before the client is told.
const NOT_FOUND_ACCOUNTS: u32 = 2;
/// How many accounts may fail without saying why: a request that would fail anywhere must not walk the whole pool.
const FAILED_ACCOUNTS: u32 = 2;
/// How many accounts may forbid a request without saying why. More than of failures: what an account may use depends
/// on its subscription.
const FORBIDDEN_ACCOUNTS: u32 = 5;
/// The rest of an account without capacity, which the jitter belongs to (spec `dispatch.md` §2.2).
const CAPACITY_REST: Duration = Duration::from_secs(15);

/// What the policy may spend on one request. Durations are bounds on waiting, not on the calls themselves.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Endpoints in failover order, at least one.
    pub endpoints: usize,
    /// Account attempts, `max(maxRetries, accounts + 1)`.
    pub attempts: u32,
    /// Upstream calls of any kind.
    pub calls: u32,
    /// Retries of one request for want of capacity.
    pub capacity_retries: u32,
    /// Pauses between them, by number of the retry; the last one repeats.
    pub capacity_tiers: Vec<Duration>,
    /// All of these pauses together.
    pub capacity_budget: Duration,
    /// Moves the next of these pauses, ms: −5,000 to 5,000 around 15 s, and any other by the same share, so
    /// that requests do not come back to an overloaded model together. Drawn anew for every failure.
    pub capacity_jitter_ms: i32,
    /// What is left of the request's deadline.
    pub remaining: Duration,
}

impl Limits {
    /// Lets every account of the pool be tried, and one of them again (spec `dispatch.md` §2.3).
    pub fn allow(&mut self, least: u32, accounts: u32) {
        self.attempts = least.max(accounts.saturating_add(1));
        self.calls = self.attempts.saturating_mul(2);
    }
}

/// What has happened in this request so far, not counting the failure that is being judged.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Account attempts begun, the present one included.
    pub attempts: u32,
    /// Upstream calls made, the failed one included.
    pub calls: u32,
    /// Index of the endpoint the failed call went to.
    pub endpoint: usize,
    /// Whether this account attempt has already moved to another endpoint.
    pub moved_endpoint: bool,
    /// Whether this account attempt has already fetched a fresh token after a 401.
    pub refreshed_token: bool,
    /// Short limits waited out so far, in the whole request.
    pub short_waits: u32,
    /// The time that took.
    pub short_waited: Duration,
    /// Capacity retries so far, in the whole request.
    pub capacity_retries: u32,
    /// The time that took.
    pub capacity_waited: Duration,
    /// Empty answers so far, in the whole request.
    pub empty_answers: u32,
    /// Accounts that did not know the model.
    pub not_found_accounts: u32,
    /// Accounts given up after a 5xx or without an answer.
    pub failed_accounts: u32,
    /// Accounts given up after a 403 without a reason.
    pub forbidden_accounts: u32,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The same account and endpoint again.
    RetrySame {
        /// The pause before it.
        after: Duration,
    },
    /// The same account with a token newer than the one that was refused.
    RefreshToken,
    /// The same account at the next endpoint.
    NextEndpoint,
    /// Report the failure and ask for another account.
    NextAccount,
    /// Answer with the notice that the model said nothing.
    AnswerEmpty,
    /// Answer that the model refused.
    AnswerRefusal,
    /// Report the failure and tell the client.
    Fail,
}

impl History {
    /// Starts the next account attempt at the first endpoint.
    pub fn begin_attempt(&mut self) {
        self.attempts += 1;
        self.endpoint = 0;
        self.moved_endpoint = false;
        self.refreshed_token = false;
    }

    /// The whole pool was limited and has been waited for: what follows makes up for the attempt that met the limit.
    /// How often is bounded by calls and deadline.
    pub fn waited(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// Counts `step`, taken after `failure`.
    pub fn record(&mut self, failure: &Failure, step: &Step, limits: &Limits) {
        match step {
            Step::RetrySame { after } => match failure.class {
                FailureClass::RateLimited { .. } => {
                    self.short_waits += 1;
                    self.short_waited += *after;
                }
                FailureClass::Capacity => {
                    self.capacity_retries += 1;
                    self.capacity_waited += *after;
                }
                FailureClass::Empty => self.empty_answers += 1,
                _ => {}
            },
            Step::RefreshToken => self.refreshed_token = true,
            Step::NextEndpoint => {
                self.moved_endpoint = true;
                self.endpoint = (self.endpoint + 1) % limits.endpoints.max(1);
            }
            Step::NextAccount => match failure.class {
                FailureClass::NotFound => self.not_found_accounts += 1,
                FailureClass::Forbidden => self.forbidden_accounts += 1,
                FailureClass::Server | FailureClass::Transport { .. } => self.failed_accounts += 1,
                _ => {}
            },
            Step::AnswerEmpty | Step::AnswerRefusal | Step::Fail => {}
        }
    }
}

/// Decides what follows `failure`. Pure: the same arguments give the same step.
#[must_use]
pub fn next(history: &History, failure: &Failure, limits: &Limits) -> Step {
    let budget_left = history.calls < limits.calls && !limits.remaining.is_zero();
    let another_account =
        if budget_left && history.attempts < limits.attempts { Step::NextAccount } else { Step::Fail };
    let endpoint_first = |otherwise: Step| {
        if budget_left && !history.moved_endpoint && limits.endpoints > 1 {
            Step::NextEndpoint
        } else {
            otherwise
        }
    };
    let pause = |after: Duration, otherwise: Step| {
        if budget_left && after < limits.remaining { Step::RetrySame { after } } else { otherwise }
    };

    match &failure.class {
        FailureClass::Client => Step::Fail,
        FailureClass::Blocked { .. } => Step::AnswerRefusal,
        FailureClass::Unauthorized => {
            if budget_left && !history.refreshed_token {
                Step::RefreshToken
            } else {
                another_account
            }
        }
        FailureClass::CredentialRevoked
        | FailureClass::Banned
        | FailureClass::VerificationRequired { .. } => another_account,
        FailureClass::Forbidden => endpoint_first(if history.forbidden_accounts + 1 < FORBIDDEN_ACCOUNTS {
            another_account
        } else {
            Step::Fail
        }),
        FailureClass::Server | FailureClass::Transport { .. } => {
            endpoint_first(if history.failed_accounts + 1 < FAILED_ACCOUNTS {
                another_account
            } else {
                Step::Fail
            })
        }
        FailureClass::NotFound => endpoint_first(if history.not_found_accounts + 1 < NOT_FOUND_ACCOUNTS {
            another_account
        } else {
            Step::Fail
        }),
        FailureClass::RateLimited { .. } => match failure.reset {
            Some(reset)
                if reset < SHORT_RESET
                    && history.short_waits < SHORT_RESETS
                    && history.short_waited + reset <= SHORT_RESET_BUDGET =>
            {
                pause(reset, another_account)
            }
            _ => another_account,
        },
        FailureClass::Capacity => endpoint_first(match capacity_pause(history, failure, limits) {
            Some(after) => pause(after, another_account),
            None => another_account,
        }),
        FailureClass::Empty => match EMPTY_PAUSES.get(history.empty_answers as usize) {
            Some(after) => pause(*after, Step::AnswerEmpty),
            None => Step::AnswerEmpty,
        },
    }
}

/// The pause before the next capacity retry, `None` when they are used up. What the upstream asks for is
/// honoured up to the longest tier, and never cut short; a longer demand is met by another account.
fn capacity_pause(history: &History, failure: &Failure, limits: &Limits) -> Option<Duration> {
    if history.capacity_retries >= limits.capacity_retries {
        return None;
    }
    let last = limits.capacity_tiers.len().checked_sub(1)?;
    let tier = limits.capacity_tiers[last.min(history.capacity_retries as usize)];
    let longest = limits.capacity_tiers.iter().max().copied().unwrap_or_default();
    let after = match failure.reset {
        Some(demand) if demand > longest => return None,
        Some(demand) => demand + moved_by(demand, limits.capacity_jitter_ms),
        None if limits.capacity_jitter_ms < 0 => {
            tier.saturating_sub(moved_by(tier, limits.capacity_jitter_ms))
        }
        None => (tier + moved_by(tier, limits.capacity_jitter_ms)).min(longest),
    };
    (history.capacity_waited + after <= limits.capacity_budget).then_some(after)
}

/// How far `jitter_ms` moves `pause`, in whole milliseconds.
fn moved_by(pause: Duration, jitter_ms: i32) -> Duration {
    let share = pause.as_millis() * u128::from(jitter_ms.unsigned_abs()) / CAPACITY_REST.as_millis();
    Duration::from_millis(u64::try_from(share).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
