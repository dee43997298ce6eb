//! One request from its bytes to the first event of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _, once, unfold};
use tokio::time::Instant;

use super::error::DispatchError;
use super::policy::{History, Limits};
use super::signatures;
use super::{Dispatcher, Incoming, Reply};
use crate::account::alias::Resolution;
use crate::account::pool::{AccountId, Ask, Decision, Grant, LeaseId, News, SigKey, WaitReason};
use crate::account::settlement::{Asker, Attempt, Granted, Outcome};
use crate::anthropic::event::{error_frame, ping_frame};
use crate::anthropic::request::MessagesRequest;
use crate::clock::jitter;
use crate::cloudcode::{Failure, FailureClass};
use crate::config::DispatchConfig;
use crate::format::request::{Converted, convert};
use crate::format::{KnownSignatures, signatures_wanted};
use crate::google::model::ModelId;
use crate::telemetry::metrics::Gauged;

/// Added to every wait for an account, so that its limit has surely ended (spec `dispatch.md` §9.10).
const WAIT_MARGIN: Duration = Duration::from_millis(500);

/// Answers `incoming`. A streaming reply that has been silent for the keep-alive time is begun with pings;
/// from then on a failure is an event of the stream.
pub(super) async fn messages(dispatcher: Dispatcher, incoming: Incoming) -> Result<Reply, DispatchError> {
    let keepalive = dispatcher.settings().keepalive;
    let streaming = Arc::new(AtomicBool::new(false));
    let mut answer = answer(dispatcher, incoming, Arc::clone(&streaming)).boxed();
    match tokio::time::timeout(keepalive, &mut answer).await {
        Ok(reply) => reply,
        Err(_silence) if streaming.load(Ordering::Relaxed) => Ok(Reply::Stream(pinged(answer, keepalive))),
        Err(_silence) => answer.await,
    }
}

type Answering = BoxFuture<'static, Result<Reply, DispatchError>>;

/// Pings until the answer begins, then the answer.
fn pinged(answer: Answering, keepalive: Duration) -> BoxStream<'static, Bytes> {
    let pings = unfold(Some(answer), move |state| async move {
        let mut answer = state?;
        let piece: BoxStream<'static, Bytes> = match tokio::time::timeout(keepalive, &mut answer).await {
            Err(_silence) => return Some((once(async { ping_frame() }).boxed(), Some(answer))),
            Ok(Ok(Reply::Stream(frames))) => frames,
            Ok(Ok(Reply::Message(body))) => once(async { body }).boxed(),
            Ok(Err(error)) => {
                let frame = error_frame(error.answer().kind, &error.to_string());
                once(async move { frame }).boxed()
            }
        };
        Some((piece, None))
    });
    // The request has been silent for one interval when this begins.
    once(async { ping_frame() }).chain(pings.flatten()).boxed()
}

/// One request and what it has used up.
pub(super) struct Life<'r> {
    pub(super) dispatcher: &'r Dispatcher,
    pub(super) request: &'r MessagesRequest<'r>,
    pub(super) asker: Asker,
    pub(super) deadline: Instant,
    request_id: Arc<str>,
    attempts: u32,
}

/// What one run over the accounts has used up.
pub(super) struct Budget {
    pub(super) history: History,
    pub(super) limits: Limits,
}

/// `streaming` is set as soon as the request is known to be a streaming one.
async fn answer(
    dispatcher: Dispatcher,
    incoming: Incoming,
    streaming: Arc<AtomicBool>,
) -> Result<Reply, DispatchError> {
    let body = incoming.body;
    let request = MessagesRequest::parse(&body).map_err(DispatchError::Request)?;
    streaming.store(request.stream, Ordering::Relaxed);
    dispatcher.metrics().dropped_blocks.inc_by(u64::from(request.dropped_blocks));
    let arrived = dispatcher.clock().instant();
    let mut life = Life {
        dispatcher: &dispatcher,
        request: &request,
        asker: Asker { client_key: incoming.client_key, arrived },
        request_id: incoming.request_id,
        deadline: arrived + dispatcher.settings().dispatch.deadline,
        attempts: 0,
    };
    let model = life.model().await?;
    match life.run(&model).await {
        Err(error) => match life.fallback(&model, &error).await.unwrap_or_default() {
            // What the client asked for decides what it is told.
            Some(fallback) => life.run(&fallback).await.map_err(|_| error),
            None => Err(error),
        },
        answered => answered,
    }
}

/// How an account attempt ended.
pub(super) enum Ended {
    Answered(Reply),
    /// Another account may answer; without one, this is what the client is told.
    Rotate(DispatchError),
    /// As [`Ended::Rotate`], but only an account that answers shows that the fault was this one's.
    Suspect(Box<Attempt>, Outcome, DispatchError),
    Failed(DispatchError),
}

impl Life<'_> {
    async fn model(&self) -> Result<ModelId, DispatchError> {
        match self.dispatcher.resolve(self.request.model.as_deref()).await? {
            Resolution::Model(id) => Ok(ModelId::new(&id)),
            Resolution::Missing => Err(DispatchError::ModelMissing),
            Resolution::Unknown(id) => Err(DispatchError::ModelUnknown(id)),
        }
    }

    /// The model to try instead, when fallback is on and `error` says that this one's accounts are used up.
    async fn fallback(
        &self,
        model: &ModelId,
        error: &DispatchError,
    ) -> Result<Option<ModelId>, DispatchError> {
        let exhausted = worth_repeating(error) || matches!(error, DispatchError::DeadlineExceeded);
        if !exhausted || self.remaining().is_zero() {
            return Ok(None);
        }
        let fallback = self.dispatcher.fallback(model.as_str()).await?;
        if let Some(fallback) = &fallback {
            tracing::info!(model.name = %model, fallback = %fallback, "the model's accounts are used up");
        }
        Ok(fallback)
    }

    pub(super) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(self.dispatcher.clock().instant())
    }

    /// Account after account until one answers. A request that would fail anywhere benches nobody: accounts that
    /// failed without saying why are reported only when another one then answers.
    async fn run(&mut self, model: &ModelId) -> Result<Reply, DispatchError> {
        let mut suspects: Vec<(Box<Attempt>, Outcome)> = Vec::new();
        let outcome = self.walk(model, &mut suspects).await;
        let guilty = outcome.is_ok();
        for (attempt, verdict) in suspects {
            attempt.finish(if guilty { verdict } else { Outcome::Released });
        }
        outcome
    }

    async fn walk(
        &mut self,
        model: &ModelId,
        suspects: &mut Vec<(Box<Attempt>, Outcome)>,
    ) -> Result<Reply, DispatchError> {
        let wanted = signatures_wanted(self.request, model);
        let places: Vec<_> =
            wanted.iter().map(|key| signatures::place(&self.asker.client_key, key)).collect();
        let mut converted: Option<Converted> = None;
        let mut budget = Budget { history: History::default(), limits: self.limits() };
        let mut tried: Vec<AccountId> = Vec::new();
        let mut last: Option<DispatchError> = None;
        let mut repeats = 0_u32;
        loop {
            let recall: &[_] = if converted.is_none() { &places } else { &[] };
            let admitted = self.admit(model, &tried, recall, last.as_ref()).await?;
            let Admitted::Granted(grant, attempt, values) = admitted else { continue };
            let converted = match &mut converted {
                Some(converted) => converted,
                none => {
                    let known = signatures::known(&wanted, &values);
                    match self.convert(model, &known) {
                        Ok(done) => none.insert(done),
                        Err(error) => {
                            attempt.finish(Outcome::ClientError);
                            return Err(error);
                        }
                    }
                }
            };
            if grant.tried {
                // Every account has been tried.
                if let Some(error) = last.take_if(|error| !worth_repeating(error)) {
                    attempt.finish(Outcome::Released);
                    return Err(error);
                }
                // Come back with growing pauses instead of hammering.
                let pause = pause(&self.dispatcher.settings().dispatch, repeats).min(self.remaining());
                repeats += 1;
                tokio::time::sleep(pause).await;
            }
            tokio::time::sleep(grant.throttle.min(self.remaining())).await;
            if self.remaining().is_zero() {
                attempt.finish(Outcome::Released);
                return Err(last.unwrap_or(DispatchError::DeadlineExceeded));
            }
            budget.history.begin_attempt();
            let error = match self.attempt(model, &grant, *attempt, converted, &mut budget).await {
                Ended::Answered(reply) => return Ok(reply),
                Ended::Failed(error) => return Err(error),
                Ended::Rotate(error) => error,
                Ended::Suspect(mut attempt, verdict, error) => {
                    attempt.shelve();
                    suspects.push((attempt, verdict));
                    error
                }
            };
            if budget.history.attempts >= budget.limits.attempts {
                return Err(error);
            }
            last = Some(error);
            if !tried.contains(&grant.account) {
                tried.push(grant.account);
            }
        }
    }

    fn limits(&self) -> Limits {
        let settings = &self.dispatcher.settings().dispatch;
        let accounts = self.dispatcher.account_count();
        let attempts = settings.max_retries.max(accounts.saturating_add(1));
        Limits {
            endpoints: self.dispatcher.upstream().endpoints(),
            attempts,
            calls: attempts.saturating_mul(2),
            capacity_retries: settings.max_capacity_retries,
            capacity_tiers: settings.capacity_tiers.clone(),
            capacity_budget: settings.capacity_budget,
            remaining: self.remaining(),
        }
    }

    /// The id of the next attempt: known to this request alone, so that a lost reply can be asked for again.
    fn lease(&mut self) -> Result<LeaseId, DispatchError> {
        self.attempts += 1;
        LeaseId::new(&format!("{}-{}", self.request_id, self.attempts)).map_err(|_| DispatchError::Internal)
    }

    fn convert(&self, model: &ModelId, known: &KnownSignatures) -> Result<Converted, DispatchError> {
        let options = &self.dispatcher.settings().conversion;
        let converted = convert(self.request, model, known, options, self.dispatcher.tools())
            .map_err(DispatchError::Request)?;
        for change in &converted.warnings {
            tracing::info!(model.name = %model, %change, "the request was changed on its way");
        }
        Ok(converted)
    }
}

enum Admitted {
    Granted(Box<Grant>, Box<Attempt>, Vec<Option<String>>),
    /// A wait is over.
    Again,
}

impl Life<'_> {
    /// One round trip: an account, its lease and token, and the signatures the conversation needs.
    async fn admit(
        &mut self,
        model: &ModelId,
        tried: &[AccountId],
        recall: &[SigKey],
        last: Option<&DispatchError>,
    ) -> Result<Admitted, DispatchError> {
        let claim = self.dispatcher.settlements().claim(self.lease()?, Arc::from(model.as_str()));
        let longest_wait = self.dispatcher.settings().dispatch.max_wait;
        let ask = Ask { lease: claim.lease(), model: model.as_str(), tried, longest_wait, recall };
        let pool = self.dispatcher.pool();
        let news = pool.news();
        let (admission, values) =
            self.dispatcher.patiently(self.deadline, || claim.ask(pool.admit(&ask))).await?;
        self.dispatcher.metrics().admissions.with_label_values(&[decision_label(&admission.decision)]).inc();
        let limited = match admission.decision {
            Decision::Granted(grant) => {
                let granted = Granted {
                    account: grant.account.clone(),
                    credential: grant.credential,
                    admitted_at_ms: admission.stamp.now_ms,
                };
                let attempt = Box::new(claim.begin(granted, &self.asker));
                return Ok(Admitted::Granted(grant, attempt, values));
            }
            Decision::Wait { wait, reason } => Ok((wait, reason)),
            Decision::Empty => Err(DispatchError::NoAccounts),
            Decision::NoEnabled => Err(DispatchError::AllDisabled),
            Decision::AllInvalid(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
                Err(DispatchError::AllInvalid { reasons: reasons.join(", ") })
            }
        };
        claim.declined();
        let (wait, reason) = limited?;
        self.wait(model, wait, reason, last, news).await?;
        Ok(Admitted::Again)
    }

    /// Waits for the pool when the reason heals by waiting and the wait fits the deadline; else says at once what
    /// is wrong: what this request met itself, or what keeps the account that is free first.
    async fn wait(
        &self,
        model: &ModelId,
        wait: Duration,
        reason: WaitReason,
        last: Option<&DispatchError>,
        news: News,
    ) -> Result<(), DispatchError> {
        let settings = &self.dispatcher.settings().dispatch;
        let sleep = wait + WAIT_MARGIN + jitter((wait / 10).min(Duration::from_secs(1)));
        let fits = wait <= settings.max_wait && sleep < self.remaining();
        let class = match reason {
            WaitReason::Limited if fits => None,
            // Without capacity a request has waited enough when its own retries are used up.
            WaitReason::Capacity if fits && last.is_none() => None,
            WaitReason::Limited => {
                return Err(DispatchError::QuotaExhausted {
                    model: model.to_string(),
                    reset: wait,
                    status: settings.quota_exhausted_status,
                });
            }
            WaitReason::Capacity => Some(FailureClass::Capacity),
            WaitReason::Failure => Some(FailureClass::Server),
            WaitReason::Forbidden => Some(FailureClass::Forbidden),
            WaitReason::Unsupported => Some(FailureClass::NotFound),
            WaitReason::Cooling => Some(FailureClass::Unauthorized),
        };
        if let Some(class) = class {
            let failure = Failure { class, status: None, reset: Some(wait), message: None };
            return Err(last
                .cloned()
                .unwrap_or(DispatchError::Upstream { model: model.to_string(), failure }));
        }
        let Ok(_place) = self.dispatcher.waiters().try_acquire() else {
            return Err(DispatchError::TooManyWaiting);
        };
        let metrics = self.dispatcher.metrics();
        metrics.waits.inc();
        let _waiting = Gauged::new(&metrics.waiters);
        news.changed_within(sleep).await;
        Ok(())
    }
}

/// The pause before an account is tried again: doubling from `retryBaseMs` to `retryMaxMs`.
fn pause(settings: &DispatchConfig, repeats: u32) -> Duration {
    settings.retry_base.saturating_mul(1 << repeats.min(16)).min(settings.retry_max)
}

/// Whether the same account may answer where it just failed with `error`.
fn worth_repeating(error: &DispatchError) -> bool {
    match error {
        DispatchError::QuotaExhausted { .. } => true,
        DispatchError::Upstream { failure, .. } => matches!(
            failure.class,
            FailureClass::RateLimited { .. }
                | FailureClass::Capacity
                | FailureClass::Server
                | FailureClass::Transport { .. }
        ),
        _ => false,
    }
}

/// The metric label of an admission.
fn decision_label(decision: &Decision) -> &'static str {
    match decision {
        Decision::Granted(grant) => grant.tier.as_str(),
        Decision::Wait { .. } => "wait",
        Decision::Empty => "empty",
        Decision::NoEnabled => "no_enabled",
        Decision::AllInvalid(_) => "all_invalid",
    }
}
