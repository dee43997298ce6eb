//! What to do after a failed upstream call: a pure function of what has happened so far.
//!
//! The rows are those of spec `dispatch.md` §2.11; each has a test below. The policy decides within one
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
    /// What is left of the request's deadline.
    pub remaining: Duration,
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
        FailureClass::Forbidden => endpoint_first(another_account),
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
/// honoured up to the longest tier; a longer demand is met by another account.
fn capacity_pause(history: &History, failure: &Failure, limits: &Limits) -> Option<Duration> {
    if history.capacity_retries >= limits.capacity_retries {
        return None;
    }
    let last = limits.capacity_tiers.len().checked_sub(1)?;
    let tier = limits.capacity_tiers[last.min(history.capacity_retries as usize)];
    let longest = limits.capacity_tiers.iter().max().copied().unwrap_or_default();
    let after = failure.reset.unwrap_or(tier);
    (after <= longest && history.capacity_waited + after <= limits.capacity_budget).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudcode::{LimitKind, TransportKind};

    fn limits() -> Limits {
        Limits {
            endpoints: 2,
            attempts: 5,
            calls: 10,
            capacity_retries: 5,
            capacity_tiers: [5, 10, 20, 30, 60].map(Duration::from_secs).to_vec(),
            capacity_budget: Duration::from_mins(1),
            remaining: Duration::from_mins(3),
        }
    }

    fn failure(class: FailureClass) -> Failure {
        Failure { class, status: None, reset: None, message: None }
    }

    fn limited(reset_ms: Option<u64>) -> Failure {
        Failure {
            reset: reset_ms.map(Duration::from_millis),
            ..failure(FailureClass::RateLimited { kind: LimitKind::Unknown })
        }
    }

    /// Plays the same failure until the policy gives the account or the request up.
    fn steps(failure: &Failure) -> Vec<Step> {
        let limits = limits();
        let mut history = History::default();
        history.begin_attempt();
        let mut steps = Vec::new();
        loop {
            history.calls += 1;
            let step = next(&history, failure, &limits);
            history.record(failure, &step, &limits);
            let done = !matches!(step, Step::RetrySame { .. } | Step::RefreshToken | Step::NextEndpoint);
            steps.push(step);
            if done {
                return steps;
            }
        }
    }

    fn same(ms: u64) -> Step {
        Step::RetrySame { after: Duration::from_millis(ms) }
    }

    #[test]
    fn every_row_of_the_table() {
        use Step::{AnswerEmpty, AnswerRefusal, Fail, NextAccount, NextEndpoint, RefreshToken};
        let transport = |kind| failure(FailureClass::Transport { kind });
        for (row, failure, expected) in [
            ("client error", failure(FailureClass::Client), vec![Fail]),
            ("transient 401", failure(FailureClass::Unauthorized), vec![RefreshToken, NextAccount]),
            ("revoked", failure(FailureClass::CredentialRevoked), vec![NextAccount]),
            ("banned", failure(FailureClass::Banned), vec![NextAccount]),
            ("verification", failure(FailureClass::VerificationRequired { url: None }), vec![NextAccount]),
            ("other 403", failure(FailureClass::Forbidden), vec![NextEndpoint, NextAccount]),
            ("404", failure(FailureClass::NotFound), vec![NextEndpoint, NextAccount]),
            ("429, 600 ms", limited(Some(600)), vec![same(600), same(600), same(600), NextAccount]),
            ("429, 999 ms", limited(Some(999)), vec![same(999), same(999), same(999), NextAccount]),
            ("429, 1 s", limited(Some(1000)), vec![NextAccount]),
            ("429 without reset", limited(None), vec![NextAccount]),
            (
                "capacity",
                failure(FailureClass::Capacity),
                vec![NextEndpoint, same(5_000), same(10_000), same(20_000), NextAccount],
            ),
            (
                "capacity that asks for an hour",
                Failure { reset: Some(Duration::from_hours(1)), ..failure(FailureClass::Capacity) },
                vec![NextEndpoint, NextAccount],
            ),
            ("5xx", failure(FailureClass::Server), vec![NextEndpoint, NextAccount]),
            ("connect", transport(TransportKind::Connect), vec![NextEndpoint, NextAccount]),
            ("cut before the first event", transport(TransportKind::Reset), vec![NextEndpoint, NextAccount]),
            ("empty", failure(FailureClass::Empty), vec![same(500), same(1000), AnswerEmpty]),
            ("blocked", failure(FailureClass::Blocked { reason: "SAFETY".into() }), vec![AnswerRefusal]),
        ] {
            assert_eq!(steps(&failure), expected, "{row}");
        }
    }

    #[test]
    fn a_second_account_that_does_not_know_the_model_is_the_last() {
        let history = History {
            attempts: 2,
            calls: 4,
            moved_endpoint: true,
            not_found_accounts: 1,
            ..History::default()
        };
        assert_eq!(next(&history, &failure(FailureClass::NotFound), &limits()), Step::Fail);
    }

    #[test]
    fn a_request_that_fails_everywhere_does_not_walk_the_pool() {
        let history =
            History { attempts: 2, calls: 4, moved_endpoint: true, failed_accounts: 1, ..History::default() };
        for class in [FailureClass::Server, FailureClass::Transport { kind: TransportKind::Reset }] {
            assert_eq!(next(&history, &failure(class), &limits()), Step::Fail);
        }
    }

    #[test]
    fn budgets_end_the_request() {
        let server = failure(FailureClass::Server);
        let spent_calls = History { attempts: 1, calls: 10, ..History::default() };
        assert_eq!(next(&spent_calls, &server, &limits()), Step::Fail);
        let spent_attempts = History { attempts: 5, calls: 6, moved_endpoint: true, ..History::default() };
        assert_eq!(next(&spent_attempts, &server, &limits()), Step::Fail);
        let out_of_time = Limits { remaining: Duration::ZERO, ..limits() };
        assert_eq!(next(&History::default(), &server, &out_of_time), Step::Fail);
    }

    #[test]
    fn a_pause_never_outlasts_the_deadline() {
        let short = Limits { remaining: Duration::from_millis(400), ..limits() };
        let history = History { attempts: 1, calls: 1, moved_endpoint: true, ..History::default() };
        assert_eq!(next(&history, &limited(Some(600)), &short), Step::NextAccount);
        assert_eq!(next(&history, &failure(FailureClass::Capacity), &short), Step::NextAccount);
        assert_eq!(next(&history, &failure(FailureClass::Empty), &short), Step::AnswerEmpty);
    }

    #[test]
    fn one_endpoint_is_never_failed_over() {
        let single = Limits { endpoints: 1, ..limits() };
        let history = History { attempts: 1, calls: 1, ..History::default() };
        assert_eq!(next(&history, &failure(FailureClass::Server), &single), Step::NextAccount);
    }
}
