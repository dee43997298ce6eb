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
use crate::account::settlement::{Asker, Granted, Outcome};
use crate::anthropic::event::{error_frame, ping_frame};
use crate::anthropic::request::MessagesRequest;
use crate::config::DispatchConfig;
use crate::cloudcode::{Failure, FailureClass};
use crate::format::request::{Converted, convert};
use crate::format::{KnownSignatures, signatures_wanted};
use crate::google::model::ModelId;
use crate::store::ident::{AccountId, LeaseId};
use crate::store::ops::admit::{Admit, Decision, Grant};

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

/// `streaming` is set before the first wait, from the one time the body is parsed.
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
        Err(error) => match life.fallback(&model, &error).await? {
            Some(fallback) => life.run(&fallback).await,
            None => Err(error),
        },
        answered => answered,
    }
}

/// How an account attempt ended.
pub(super) enum Ended {
    Answered(Reply),
    /// The failure was reported; another account may answer.
    Rotate(Failure),
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
    async fn fallback(&self, model: &ModelId, error: &DispatchError) -> Result<Option<ModelId>, DispatchError> {
        let exhausted = match error {
            DispatchError::QuotaExhausted { .. } | DispatchError::DeadlineExceeded => true,
            DispatchError::Upstream { failure, .. } => matches!(
                failure.class,
                FailureClass::RateLimited { .. }
                    | FailureClass::Capacity
                    | FailureClass::Server
                    | FailureClass::Transport { .. }
            ),
            _ => false,
        };
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

    /// Account after account until one answers.
    async fn run(&mut self, model: &ModelId) -> Result<Reply, DispatchError> {
        let wanted = signatures_wanted(self.request, model);
        let places: Vec<_> =
            wanted.iter().map(|key| signatures::place(&self.asker.client_key, key)).collect();
        let mut converted: Option<Converted> = None;
        let mut budget = Budget { history: History::default(), limits: self.limits() };
        let mut tried: Vec<AccountId> = Vec::new();
        let mut repeats = 0_u32;
        loop {
            let lease = self.lease()?;
            let recall: &[_] = if converted.is_none() { &places } else { &[] };
            let (grant, admitted_at_ms, values) = match self.admit(model, &lease, &tried, recall).await? {
                Admitted::Granted(grant, at, values) => (grant, at, values),
                Admitted::Again => continue,
            };
            let attempt = self.dispatcher.settlements().begin(
                Granted {
                    account: grant.account.clone(),
                    lease,
                    credential: grant.credential,
                    model: Arc::from(model.as_str()),
                    admitted_at_ms,
                },
                &self.asker,
            );
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
                // Every account has been tried: come back with growing pauses instead of hammering.
                let pause = pause(&self.dispatcher.settings().dispatch, repeats).min(self.remaining());
                repeats += 1;
                tokio::time::sleep(pause).await;
            }
            tokio::time::sleep(grant.throttle.min(self.remaining())).await;
            budget.history.begin_attempt();
            match self.attempt(model, &grant, attempt, converted, &mut budget).await {
                Ended::Answered(reply) => return Ok(reply),
                Ended::Failed(error) => return Err(error),
                Ended::Rotate(failure) => {
                    if budget.history.attempts >= budget.limits.attempts || self.remaining().is_zero() {
                        return Err(DispatchError::Upstream { model: model.to_string(), failure });
                    }
                    if !tried.contains(&grant.account) {
                        tried.push(grant.account);
                    }
                }
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
        convert(self.request, model, known, options, self.dispatcher.tools()).map_err(DispatchError::Request)
    }
}

enum Admitted {
    Granted(Box<Grant>, i64, Vec<Option<String>>),
    /// A wait is over.
    Again,
}

impl Life<'_> {
    /// One round trip: an account, its lease and token, and the signatures the conversation needs.
    async fn admit(
        &self,
        model: &ModelId,
        lease: &LeaseId,
        tried: &[AccountId],
        recall: &[crate::store::keys::SigKey],
    ) -> Result<Admitted, DispatchError> {
        let settings = self.dispatcher.settings();
        let known = self.dispatcher.known_tokens();
        let admit = Admit {
            lease,
            lease_ttl: settings.lease_ttl,
            model: model.as_str(),
            tried,
            known: &known,
            probe_after: Some(settings.dispatch.max_wait),
        };
        let store = self.dispatcher.store();
        let (admission, values) = self
            .dispatcher
            .patiently(self.deadline, || store.admit_with_signatures(&admit, recall, settings.signature_ttl))
            .await?;
        match admission.decision {
            Decision::Granted(grant) => Ok(Admitted::Granted(grant, admission.stamp.now_ms, values)),
            Decision::Wait(wait) => {
                self.wait(model, wait).await?;
                Ok(Admitted::Again)
            }
            Decision::Empty => Err(DispatchError::NoAccounts),
            Decision::NoEnabled => Err(DispatchError::AllDisabled),
            Decision::AllInvalid(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
                Err(DispatchError::AllInvalid { reasons: reasons.join(", ") })
            }
        }
    }

    /// Waits for the pool when that fits the deadline; else says at once when to come back.
    async fn wait(&self, model: &ModelId, wait: Duration) -> Result<(), DispatchError> {
        let settings = &self.dispatcher.settings().dispatch;
        let sleep = wait + WAIT_MARGIN + self.dispatcher.jitter(wait / 10);
        if wait > settings.max_wait || sleep >= self.remaining() {
            return Err(DispatchError::QuotaExhausted {
                model: model.to_string(),
                reset: wait,
                status: settings.quota_exhausted_status,
            });
        }
        let Ok(_place) = self.dispatcher.waiters().try_acquire() else {
            return Err(DispatchError::TooManyWaiting);
        };
        self.dispatcher.account_freed(sleep).await;
        Ok(())
    }
}

/// The pause before an account is tried again: doubling from `retryBaseMs` to `retryMaxMs`.
fn pause(settings: &DispatchConfig, repeats: u32) -> Duration {
    settings.retry_base.saturating_mul(1 << repeats.min(16)).min(settings.retry_max)
}
