//! Why a request was not answered, as values; one table gives status, type and what the client may do.
//!
//! The table is `design.md` §5's: exhausted quota is 429 with an honest `retry-after`, no usable account 503,
//! an upstream login failure 502 (never 401, which would make Claude Code ask its user to sign in), capacity
//! and store outage 529. Messages carry no e-mail, no credential and no raw upstream body.

use std::time::Duration;

use thiserror::Error;

use crate::anthropic::error::ErrorKind;
use crate::anthropic::request::RequestError;
use crate::cloudcode::{Failure, FailureClass};

/// Above this many seconds the client does not wait by itself, and a retry before the reset is pointless.
const LONGEST_CLIENT_WAIT: u64 = 60;

/// A request that ends without an answer.
#[derive(Clone, Debug, Error)]
pub enum DispatchError {
    /// The body is not a valid Messages request.
    #[error("{0}")]
    Request(RequestError),
    /// The request names no model and there is no `defaultModel`.
    #[error("model: required, and no default model is configured")]
    ModelMissing,
    /// What the request names cannot be a model.
    #[error("model: expected a model id of at most 256 printable characters")]
    ModelInvalid,
    /// The pool offers neither the model nor an alias of it.
    #[error("Invalid model: {0}. Use /v1/models to see available models.")]
    ModelUnknown(String),
    /// The client's key may not use the model.
    #[error("This API key may not use the model {requested}{}; allowed: {allowed}", served_by(.requested, .model))]
    ModelNotAllowed {
        /// As the client asked for it.
        requested: String,
        /// The upstream model that serves it.
        model: String,
        /// What the key may use, joined.
        allowed: String,
    },
    /// Every usable account is limited for longer than this request may wait.
    #[error("You have exhausted your capacity on {model}. Quota will reset after {}.", human(*.reset))]
    QuotaExhausted {
        /// The upstream model.
        model: String,
        /// Until the first account is usable again.
        reset: Duration,
        /// `quotaExhaustedStatus`: 429, or 400 as the reference answers.
        status: u16,
    },
    /// There is no account at all.
    #[error("No accounts are configured. Add one with `antigravity-proxy accounts import FILE`.")]
    NoAccounts,
    /// Every account is switched off.
    #[error("All accounts are disabled. Enable one in the console or import another.")]
    AllDisabled,
    /// Every enabled account needs its owner.
    #[error("All accounts are invalid: {reasons}. Fix them in the console or import them again.")]
    AllInvalid {
        /// Distinct reason codes, joined.
        reasons: String,
    },
    /// No account is enabled but those whose records in the store are damaged.
    #[error(
        "The records of all accounts are damaged. `antigravity-proxy accounts list` names them; import them again."
    )]
    AllDamaged,
    /// More requests wait for the pool than this replica admits.
    #[error("Too many requests are waiting for an account; try again shortly.")]
    TooManyWaiting,
    /// The store did not answer within its grace.
    #[error("The gateway's store is unavailable; try again shortly.")]
    StoreUnavailable,
    /// No account has an access token, and none can be fetched for now.
    #[error("No account can sign in to the upstream at the moment; try again shortly.")]
    SignedOut {
        /// Until the next try, when known.
        wait: Option<Duration>,
    },
    /// No access token could be had, for a reason the operator must mend.
    #[error("{0}")]
    Credentials(String),
    /// The last upstream failure, after everything that could be retried was.
    #[error("{}", upstream_message(.failure, .model))]
    Upstream {
        /// The upstream model.
        model: String,
        /// What the last call failed with.
        failure: Failure,
    },
    /// The request's deadline passed before an answer began.
    #[error("No account could answer within the request's deadline; try again shortly.")]
    DeadlineExceeded,
    /// An operator cancelled the request.
    #[error("The gateway's operator cancelled this request.")]
    Cancelled,
    /// A fault of the gateway itself; the log has the details under the request id.
    #[error("Internal error; the gateway's log has the details under this request's id.")]
    Internal,
}

/// What the client is told beside the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The `error.type` of the body.
    pub kind: ErrorKind,
    /// `retry-after`, in whole seconds.
    pub retry_after: Option<u64>,
    /// `x-should-retry`, where the client should not decide by status alone.
    pub should_retry: Option<bool>,
}

impl DispatchError {
    /// The row of the error table.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let answer = |status, kind| Answer { status, kind, retry_after: None, should_retry: None };
        let hopeless = |status, kind| Answer { should_retry: Some(false), ..answer(status, kind) };
        let after = |seconds, status, kind| Answer { retry_after: Some(seconds), ..answer(status, kind) };
        match self {
            Self::Request(_) | Self::ModelMissing | Self::ModelInvalid | Self::ModelUnknown(_) => {
                answer(400, ErrorKind::InvalidRequest)
            }
            Self::ModelNotAllowed { .. } => answer(403, ErrorKind::Permission),
            Self::QuotaExhausted { status: 400, .. } => answer(400, ErrorKind::InvalidRequest),
            Self::QuotaExhausted { reset, .. } => {
                let seconds = whole_seconds(*reset);
                Answer {
                    should_retry: (seconds > LONGEST_CLIENT_WAIT).then_some(false),
                    ..after(seconds, 429, ErrorKind::RateLimit)
                }
            }
            Self::NoAccounts
            | Self::AllDisabled
            | Self::AllInvalid { .. }
            | Self::AllDamaged
            | Self::Credentials(_) => hopeless(503, ErrorKind::Api),
            Self::SignedOut { wait } => {
                Answer { retry_after: wait.map(whole_seconds), ..answer(503, ErrorKind::Api) }
            }
            Self::TooManyWaiting | Self::StoreUnavailable => after(2, 529, ErrorKind::Overloaded),
            Self::DeadlineExceeded => answer(529, ErrorKind::Overloaded),
            // Of all kinds the one that clients do not send again by themselves, and that blames nothing in the request.
            Self::Cancelled => hopeless(403, ErrorKind::Permission),
            Self::Internal => answer(500, ErrorKind::Api),
            Self::Upstream { failure, .. } => upstream_answer(failure),
        }
    }
}

fn upstream_answer(failure: &Failure) -> Answer {
    let answer = |status, kind| Answer { status, kind, retry_after: None, should_retry: None };
    match &failure.class {
        FailureClass::Client if failure.status == Some(413) => answer(413, ErrorKind::RequestTooLarge),
        FailureClass::Client => answer(400, ErrorKind::InvalidRequest),
        FailureClass::Unauthorized
        | FailureClass::CredentialRevoked
        | FailureClass::Banned
        | FailureClass::VerificationRequired { .. } => {
            Answer { should_retry: Some(false), ..answer(502, ErrorKind::Api) }
        }
        FailureClass::Forbidden => answer(403, ErrorKind::Permission),
        FailureClass::NotFound => answer(404, ErrorKind::NotFound),
        FailureClass::RateLimited { .. } => Answer {
            retry_after: Some(failure.reset.map_or(1, whole_seconds)),
            ..answer(429, ErrorKind::RateLimit)
        },
        FailureClass::Capacity => answer(529, ErrorKind::Overloaded),
        FailureClass::Server | FailureClass::Empty | FailureClass::Blocked { .. } => {
            answer(502, ErrorKind::Api)
        }
        FailureClass::Transport { .. } => answer(503, ErrorKind::Api),
    }
}

fn served_by(requested: &str, model: &str) -> String {
    if requested == model { String::new() } else { format!(", which {model} serves") }
}

fn upstream_message(failure: &Failure, model: &str) -> String {
    match &failure.class {
        // The upstream's own words: the client repairs signatures and compacts by them.
        FailureClass::Client => failure
            .message
            .clone()
            .unwrap_or_else(|| format!("The upstream refused the request for {model} without a reason.")),
        FailureClass::Unauthorized
        | FailureClass::CredentialRevoked
        | FailureClass::Banned
        | FailureClass::VerificationRequired { .. } => {
            "No account could sign in to the upstream; the console shows which account needs what.".into()
        }
        FailureClass::Forbidden => {
            format!("The upstream does not permit {model} for the accounts of this pool.")
        }
        FailureClass::NotFound => format!("The upstream does not know the model {model}."),
        FailureClass::RateLimited { .. } => format!("Rate limited on {model}."),
        FailureClass::Capacity => format!("{model} is overloaded upstream."),
        FailureClass::Server => format!("The upstream failed to answer for {model}."),
        FailureClass::Transport { .. } => "The upstream could not be reached or broke off its answer.".into(),
        FailureClass::Empty => format!("{model} gave no answer."),
        FailureClass::Blocked { .. } => format!("The upstream blocked the request for {model}."),
    }
}

/// Seconds rounded up, at least 1: a client that comes back in time must find the limit gone.
fn whole_seconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

/// `1h2m3s`, as the reference prints it.
fn human(duration: Duration) -> String {
    let seconds = whole_seconds(duration);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudcode::LimitKind;

    fn upstream(class: FailureClass) -> DispatchError {
        let failure = Failure { class, status: None, reset: None, message: Some("their words".into()) };
        DispatchError::Upstream { model: "m".into(), failure }
    }

    #[test]
    fn a_model_that_a_key_may_not_use_is_named_with_what_serves_it() {
        let refused = |requested: &str| DispatchError::ModelNotAllowed {
            requested: requested.into(),
            model: "claude-opus-4-6-thinking".into(),
            allowed: "haiku, gemini-*".into(),
        };
        let answer = refused("opus").answer();
        assert_eq!((answer.status, answer.kind, answer.should_retry), (403, ErrorKind::Permission, None));
        assert_eq!(
            refused("opus").to_string(),
            "This API key may not use the model opus, which claude-opus-4-6-thinking serves; allowed: haiku, gemini-*"
        );
        assert_eq!(
            refused("claude-opus-4-6-thinking").to_string(),
            "This API key may not use the model claude-opus-4-6-thinking; allowed: haiku, gemini-*"
        );
    }

    #[test]
    fn exhausted_quota_is_honest() {
        let exhausted = |ms, status| DispatchError::QuotaExhausted {
            model: "claude-opus-4-6-thinking".into(),
            reset: Duration::from_millis(ms),
            status,
        };
        let long = exhausted(3_723_001, 429);
        assert_eq!(
            long.answer(),
            Answer {
                status: 429,
                kind: ErrorKind::RateLimit,
                retry_after: Some(3724),
                should_retry: Some(false)
            }
        );
        assert_eq!(
            long.to_string(),
            "You have exhausted your capacity on claude-opus-4-6-thinking. Quota will reset after 1h2m4s."
        );
        assert_eq!(exhausted(60_000, 429).answer().should_retry, None);
        assert_eq!(exhausted(1, 429).answer().retry_after, Some(1));
        let reference = exhausted(5_000, 400).answer();
        assert_eq!((reference.status, reference.kind), (400, ErrorKind::InvalidRequest));
    }

    #[test]
    fn upstream_logins_never_look_like_the_clients() {
        for class in [FailureClass::Unauthorized, FailureClass::CredentialRevoked, FailureClass::Banned] {
            let error = upstream(class);
            assert_eq!((error.answer().status, error.answer().should_retry), (502, Some(false)));
            assert!(!error.to_string().contains("their words"));
        }
    }

    #[test]
    fn the_upstreams_words_reach_the_client_only_for_its_own_mistakes() {
        assert_eq!(upstream(FailureClass::Client).to_string(), "their words");
        for class in [
            FailureClass::Forbidden,
            FailureClass::NotFound,
            FailureClass::Server,
            FailureClass::Capacity,
            FailureClass::RateLimited { kind: LimitKind::Quota },
        ] {
            assert!(!upstream(class).to_string().contains("their words"));
        }
    }
}
