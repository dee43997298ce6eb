//! What is counted of a request: how it ended, once, and what was tried again on the way.
//!
//! A [`Tally`] is shared by everything that has a part in a request's answer. Whoever knows how the request ends says
//! so; when the last part is dropped and nobody did, its client went away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Reply;
use super::error::DispatchError;
use super::policy::Step;
use crate::account::pool::{Decision, Tier, WaitReason};
use crate::account::settlement::StatusClass;
use crate::clock::Clock;
use crate::cloudcode::{Failure, FailureClass};
use crate::config::Strategy;
use crate::telemetry::Observation;
use crate::telemetry::metrics::label::{self, AttemptOutcome, Outcome, RetryReason, RetryStep};
use crate::telemetry::metrics::{Gauged, Metrics, ModelMetrics};

/// One request in the metrics; counts it when it ends, at the latest when it is dropped.
pub(super) struct Tally {
    metrics: Arc<Metrics>,
    observation: Observation,
    model: Mutex<Arc<ModelMetrics>>,
    /// Whether the head of a stream was sent: then its status is 200.
    begun: AtomicBool,
    ended: AtomicBool,
}

impl Tally {
    /// A request that has arrived.
    pub(super) fn new(metrics: &Arc<Metrics>, observation: Observation) -> Arc<Self> {
        Arc::new(Self {
            metrics: Arc::clone(metrics),
            observation,
            model: Mutex::new(metrics.model("")),
            begun: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ModelMetrics>> {
        // Each change is a single step.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model that is to answer.
    pub(super) fn is_of(&self, model: &str) {
        *self.lock() = self.metrics.model(model);
        self.observation.served_by(model);
    }

    /// `model` answers, `took` after the request arrived.
    pub(super) fn answered_by(&self, model: &str, took: Duration) {
        self.is_of(model);
        self.lock().began_after(took);
        self.observation.first_event();
    }

    /// The head of a stream goes to the client.
    pub(super) fn begun(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Answered completely.
    pub(super) fn served(&self) {
        self.end(200, Outcome::Served, None);
    }

    /// Failed after its stream had begun.
    pub(super) fn broken(&self, reason: &'static str) {
        self.end(200, Outcome::Broken, Some(reason));
    }

    /// Not answered.
    pub(super) fn failed(&self, error: &DispatchError) {
        self.end(error.answer().status, outcome_of(error), Some(error.reason()));
    }

    fn end(&self, status: u16, outcome: Outcome, reason: Option<&'static str>) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            let status = if self.begun.load(Ordering::Relaxed) { 200 } else { status };
            self.lock().ended(status, outcome);
            self.observation.ended(outcome, reason);
        }
    }

    /// `step` follows a failed call.
    pub(super) fn stepped(&self, failed: &FailureClass, step: &Step) {
        let step = match step {
            Step::RetrySame { .. } => RetryStep::Same,
            Step::NextEndpoint => RetryStep::Endpoint,
            Step::RefreshToken => RetryStep::Token,
            // Whether there is another account is not known yet.
            Step::NextAccount | Step::AnswerEmpty | Step::AnswerRefusal | Step::Fail => return,
        };
        self.retried(reason_of(failed), step);
    }

    /// The request goes on after `error`.
    pub(super) fn went_on(&self, error: &DispatchError, step: RetryStep) {
        self.retried(reason_after(error), step);
    }

    fn retried(&self, reason: Option<RetryReason>, step: RetryStep) {
        if let Some(reason) = reason {
            self.metrics.retries.of(reason, step).inc();
        }
    }
}

/// Notes how a request ends that ends with its reply; a stream says so itself.
pub(super) async fn followed(
    tally: Arc<Tally>,
    answering: impl Future<Output = Result<Reply, DispatchError>>,
) -> Result<Reply, DispatchError> {
    let reply = answering.await;
    match &reply {
        Ok(Reply::Message(_)) => tally.served(),
        Ok(Reply::Stream(_)) => {}
        Err(error) => tally.failed(error),
    }
    reply
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.end(499, Outcome::Cancelled, None);
    }
}

/// A stream from its first event on: it is in flight, and its time is taken, for as long as this lives.
pub(super) struct Streaming {
    tally: Arc<Tally>,
    clock: Clock,
    began: Instant,
    _in_flight: Gauged,
}

impl Streaming {
    pub(super) fn new(tally: &Arc<Tally>, clock: &Clock) -> Self {
        tally.begun();
        Self {
            tally: Arc::clone(tally),
            clock: clock.clone(),
            began: clock.instant(),
            _in_flight: Gauged::new(&tally.metrics.streams),
        }
    }

    /// The request that is answered.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let took = self.clock.instant().saturating_duration_since(self.began);
        self.tally.lock().streamed_for(took);
    }
}

/// A wait for the pool, from its beginning until this is dropped.
pub(super) struct Waited {
    metrics: Arc<Metrics>,
    observation: Observation,
    reason: label::WaitReason,
    clock: Clock,
    began: Instant,
}

impl Waited {
    /// Begins to wait.
    pub(super) fn new(tally: &Tally, reason: label::WaitReason, clock: &Clock) -> Self {
        tally.metrics.waits.of(reason).inc();
        tally.observation.waits();
        Self {
            metrics: Arc::clone(&tally.metrics),
            observation: tally.observation.clone(),
            reason,
            clock: clock.clone(),
            began: clock.instant(),
        }
    }
}

impl Drop for Waited {
    fn drop(&mut self) {
        let took = self.clock.instant().saturating_duration_since(self.began);
        self.metrics.wait_seconds.of(self.reason).observe(took.as_secs_f64());
        self.observation.waited(took);
    }
}

/// How a request ends that is told `error`.
fn outcome_of(error: &DispatchError) -> Outcome {
    match error {
        DispatchError::Request(_)
        | DispatchError::ModelMissing
        | DispatchError::ModelInvalid
        | DispatchError::ModelUnknown(_)
        | DispatchError::ModelNotAllowed { .. } => Outcome::ClientError,
        DispatchError::QuotaExhausted { .. } => Outcome::RateLimited,
        DispatchError::NoAccounts
        | DispatchError::AllDisabled
        | DispatchError::AllInvalid { .. }
        | DispatchError::AllDamaged
        | DispatchError::SignedOut { .. }
        | DispatchError::Credentials(_) => Outcome::NoAccount,
        DispatchError::TooManyWaiting | DispatchError::StoreUnavailable => Outcome::Overloaded,
        DispatchError::DeadlineExceeded => Outcome::Deadline,
        DispatchError::Cancelled => Outcome::Cancelled,
        DispatchError::Internal => Outcome::Internal,
        DispatchError::Upstream { failure, .. } => match failure.class {
            FailureClass::Client => Outcome::ClientError,
            FailureClass::RateLimited { .. } => Outcome::RateLimited,
            FailureClass::Capacity => Outcome::Overloaded,
            _ => Outcome::UpstreamError,
        },
    }
}

/// How the usage counts a request that is told `error`.
pub(super) fn status_of(error: &DispatchError) -> StatusClass {
    if let DispatchError::Upstream { failure: Failure { class: FailureClass::Capacity, .. }, .. } = error {
        return StatusClass::RateLimited;
    }
    match outcome_of(error) {
        Outcome::Served => StatusClass::Success,
        Outcome::ClientError => StatusClass::ClientError,
        Outcome::RateLimited => StatusClass::RateLimited,
        Outcome::UpstreamError | Outcome::Broken => StatusClass::UpstreamError,
        Outcome::NoAccount | Outcome::Overloaded | Outcome::Deadline | Outcome::Internal => {
            StatusClass::Unavailable
        }
        Outcome::Cancelled => StatusClass::Cancelled,
    }
}

/// Why a failure of that class was tried again; `None` where it never is.
fn reason_of(class: &FailureClass) -> Option<RetryReason> {
    Some(match class {
        FailureClass::Client | FailureClass::Blocked { .. } => return None,
        FailureClass::Unauthorized => RetryReason::Unauthorized,
        FailureClass::CredentialRevoked => RetryReason::Revoked,
        FailureClass::Banned => RetryReason::Banned,
        FailureClass::VerificationRequired { .. } => RetryReason::Verification,
        FailureClass::Forbidden => RetryReason::Forbidden,
        FailureClass::NotFound => RetryReason::NotFound,
        FailureClass::RateLimited { .. } => RetryReason::RateLimited,
        FailureClass::Capacity => RetryReason::Capacity,
        FailureClass::Server => RetryReason::ServerError,
        FailureClass::Transport { .. } => RetryReason::Transport,
        FailureClass::Empty => RetryReason::Empty,
    })
}

/// Why a request that met `error` went on; `None` where it never does.
fn reason_after(error: &DispatchError) -> Option<RetryReason> {
    match error {
        DispatchError::Upstream { failure, .. } => reason_of(&failure.class),
        DispatchError::QuotaExhausted { .. } => Some(RetryReason::RateLimited),
        DispatchError::SignedOut { .. } | DispatchError::Credentials(_) => Some(RetryReason::NoToken),
        DispatchError::DeadlineExceeded => Some(RetryReason::Deadline),
        _ => None,
    }
}

/// How an upstream call ended that failed with that class.
pub(super) fn attempt_of(class: &FailureClass) -> AttemptOutcome {
    match class {
        FailureClass::Client => AttemptOutcome::ClientError,
        FailureClass::Unauthorized => AttemptOutcome::Unauthorized,
        FailureClass::CredentialRevoked => AttemptOutcome::Revoked,
        FailureClass::Banned => AttemptOutcome::Banned,
        FailureClass::VerificationRequired { .. } => AttemptOutcome::Verification,
        FailureClass::Forbidden => AttemptOutcome::Forbidden,
        FailureClass::NotFound => AttemptOutcome::NotFound,
        FailureClass::RateLimited { .. } => AttemptOutcome::RateLimited,
        FailureClass::Capacity => AttemptOutcome::Capacity,
        FailureClass::Server => AttemptOutcome::ServerError,
        FailureClass::Transport { .. } => AttemptOutcome::Transport,
        FailureClass::Empty => AttemptOutcome::Empty,
        FailureClass::Blocked { .. } => AttemptOutcome::Blocked,
    }
}

/// What was decided about a request for an account.
pub(super) fn decision_of(decision: &Decision) -> label::Decision {
    match decision {
        Decision::Granted(grant) => match grant.tier {
            Tier::Normal => label::Decision::Normal,
            Tier::Quota => label::Decision::Quota,
            Tier::Emergency => label::Decision::Emergency,
            Tier::LastResort => label::Decision::LastResort,
            Tier::Probe => label::Decision::Probe,
        },
        Decision::Wait { .. } => label::Decision::Wait,
        Decision::Empty => label::Decision::Empty,
        Decision::NoEnabled => label::Decision::Disabled,
        Decision::AllInvalid(_) => label::Decision::Invalid,
        Decision::Damaged => label::Decision::Damaged,
    }
}

/// What a request waits for that waits for this; `None` for what heals by no wait.
pub(super) fn wait_of(reason: WaitReason) -> Option<label::WaitReason> {
    match reason {
        WaitReason::Limited => Some(label::WaitReason::Limited),
        WaitReason::Capacity => Some(label::WaitReason::Capacity),
        WaitReason::Cooling => Some(label::WaitReason::Cooling),
        WaitReason::Busy => Some(label::WaitReason::Busy),
        WaitReason::Recovering => Some(label::WaitReason::Recovering),
        WaitReason::Failure | WaitReason::Forbidden | WaitReason::Unsupported => None,
    }
}

/// The strategy's label.
pub(super) fn strategy_of(strategy: Strategy) -> label::Strategy {
    match strategy {
        Strategy::Hybrid => label::Strategy::Hybrid,
        Strategy::Sticky => label::Strategy::Sticky,
        Strategy::RoundRobin => label::Strategy::RoundRobin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudcode::{LimitKind, TransportKind};
    use crate::telemetry::metrics::label::Label as _;

    fn upstream(class: FailureClass) -> DispatchError {
        let failure = Failure { class, status: None, reset: None, message: None };
        DispatchError::Upstream { model: "m".into(), failure }
    }

    fn ended(metrics: &Metrics, model: &str) -> Vec<String> {
        let text = metrics.render();
        let of = format!("antigravity_proxy_requests_total{{model=\"{model}\",");
        let moved =
            text.lines().filter_map(|line| line.strip_prefix(&of)).filter(|line| !line.ends_with(" 0"));
        moved.map(|line| line.replace(['"', '}'], "")).collect()
    }

    #[test]
    fn every_error_ends_as_it_is() {
        let exhausted =
            DispatchError::QuotaExhausted { model: "m".into(), reset: Duration::from_secs(1), status: 400 };
        let all_invalid = DispatchError::AllInvalid { reasons: String::new() };
        let limited = upstream(FailureClass::RateLimited { kind: LimitKind::Rate });
        let reset = upstream(FailureClass::Transport { kind: TransportKind::Reset });
        for (error, status, outcome, class) in [
            (DispatchError::ModelMissing, 400, Outcome::ClientError, StatusClass::ClientError),
            (exhausted, 400, Outcome::RateLimited, StatusClass::RateLimited),
            (DispatchError::NoAccounts, 503, Outcome::NoAccount, StatusClass::Unavailable),
            (all_invalid, 503, Outcome::NoAccount, StatusClass::Unavailable),
            (DispatchError::SignedOut { wait: None }, 503, Outcome::NoAccount, StatusClass::Unavailable),
            (DispatchError::TooManyWaiting, 529, Outcome::Overloaded, StatusClass::Unavailable),
            (DispatchError::StoreUnavailable, 529, Outcome::Overloaded, StatusClass::Unavailable),
            (DispatchError::DeadlineExceeded, 529, Outcome::Deadline, StatusClass::Unavailable),
            (DispatchError::Cancelled, 403, Outcome::Cancelled, StatusClass::Cancelled),
            (DispatchError::Internal, 500, Outcome::Internal, StatusClass::Unavailable),
            (upstream(FailureClass::Client), 400, Outcome::ClientError, StatusClass::ClientError),
            (limited, 429, Outcome::RateLimited, StatusClass::RateLimited),
            (upstream(FailureClass::Capacity), 529, Outcome::Overloaded, StatusClass::RateLimited),
            (upstream(FailureClass::Forbidden), 403, Outcome::UpstreamError, StatusClass::UpstreamError),
            (reset, 503, Outcome::UpstreamError, StatusClass::UpstreamError),
        ] {
            assert_eq!(status_of(&error), class, "{error:?}");
            let metrics = Arc::new(Metrics::new().unwrap());
            Tally::new(&metrics, Observation::default()).failed(&error);
            let expected = format!("outcome={},status={status} 1", outcome.label());
            assert_eq!(ended(&metrics, "other"), [expected], "{error:?}");
        }
    }

    #[test]
    fn a_request_ends_once_and_by_itself_when_nobody_says_so() {
        let metrics = Arc::new(Metrics::new().unwrap());
        metrics.set_models(["a", "b"]);
        let tally = Tally::new(&metrics, Observation::default());
        tally.is_of("a");
        let part = Arc::clone(&tally);
        part.answered_by("b", Duration::from_secs(1));
        part.served();
        part.broken("transport");
        drop(part);
        tally.failed(&DispatchError::Internal);
        drop(tally);
        assert_eq!(
            (ended(&metrics, "a"), ended(&metrics, "b")),
            (vec![], vec!["outcome=served,status=200 1".into()])
        );

        let tally = Tally::new(&metrics, Observation::default());
        tally.is_of("a");
        let part = Arc::clone(&tally);
        drop(tally);
        assert!(ended(&metrics, "a").is_empty(), "a part of the answer is still there");
        drop(part);
        assert_eq!(ended(&metrics, "a"), ["outcome=cancelled,status=499 1"]);
    }
}
