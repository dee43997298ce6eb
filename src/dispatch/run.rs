//! One request from its bytes to the first event of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _, once, unfold};
use tokio::time::Instant;
use tracing::Instrument as _;
use xxhash_rust::xxh3::Xxh3;

use super::admitting::Admitting;
use super::error::DispatchError;
use super::patience::{Loyalty, Obstacle};
use super::policy::{History, Limits};
use super::signatures;
use super::tally::{Tally, decision_of, followed, status_of, strategy_of};
use super::waiting::Place;
use super::{Dispatcher, Incoming, Reply};
use crate::account::pool::{AccountId, Ask, ConversationKey, Decision, Grant, LeaseId, SigKey};
use crate::account::settlement::{Asker, Attempt, Countable, Counting, Granted, Outcome};
use crate::anthropic::event::{error_frame, ping_frame};
use crate::anthropic::request::MessagesRequest;
use crate::cloudcode::FailureClass;
use crate::config::DispatchConfig;
use crate::format::request::{Converted, convert};
use crate::format::{KnownSignatures, signatures_wanted};
use crate::google::model::ModelId;
use crate::telemetry::Observation;
use crate::telemetry::metrics::label::RetryStep;

/// Answers `incoming`, unless an operator cancels it.
pub(super) async fn messages(dispatcher: Dispatcher, incoming: Incoming) -> Result<Reply, DispatchError> {
    let now = dispatcher.clock().instant();
    let present = dispatcher.in_flight().enter(&incoming.request_id, incoming.observation.clone(), now);
    let tally = Tally::new(dispatcher.metrics(), incoming.observation.clone());
    let replied = tokio::select! {
        biased;
        replied = reply(dispatcher, incoming, Arc::clone(&tally)) => replied,
        () = present.cancelled() => {
            tally.failed(&DispatchError::Cancelled);
            Err(DispatchError::Cancelled)
        }
    };
    Ok(match replied? {
        Reply::Stream(frames) => Reply::Stream(present.carry(frames, tally)),
        whole @ Reply::Message(_) => whole,
    })
}

/// Answers `incoming`. A streaming reply that has been silent for the keep-alive time is begun with pings;
/// from then on a failure is an event of the stream.
async fn reply(
    dispatcher: Dispatcher,
    incoming: Incoming,
    tally: Arc<Tally>,
) -> Result<Reply, DispatchError> {
    let keepalive = dispatcher.settings().keepalive;
    let streaming = Arc::new(AtomicBool::new(false));
    let observation = incoming.observation.clone();
    let answering = answer(dispatcher, incoming, Arc::clone(&streaming), Arc::clone(&tally));
    let mut answer = followed(Arc::clone(&tally), answering).boxed();
    match tokio::time::timeout(keepalive, &mut answer).await {
        Ok(reply) => reply,
        Err(_silence) if streaming.load(Ordering::Relaxed) => {
            tally.begun();
            // It goes on outside of the scope that the handler is in.
            Ok(Reply::Stream(pinged(answer.instrument(observation.scope()).boxed(), keepalive)))
        }
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
    /// What its conversation is known by, to this client.
    conversation: String,
    /// Models that the client may use; empty for all.
    allowed: Arc<[String]>,
    request_id: Arc<str>,
    attempts: u32,
    pub(super) tally: Arc<Tally>,
    pub(super) observation: Observation,
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
    tally: Arc<Tally>,
) -> Result<Reply, DispatchError> {
    let body = incoming.body;
    let request = MessagesRequest::parse_with(&body, dispatcher.tools()).map_err(DispatchError::Request)?;
    streaming.store(request.stream, Ordering::Relaxed);
    dispatcher.metrics().dropped_blocks.inc_by(u64::from(request.dropped_blocks));
    let arrived = dispatcher.clock().instant();
    let observation = incoming.observation;
    let conversation = request.conversation_key(incoming.session.as_deref());
    observation.wants(request.stream, session(&incoming.client_key, &conversation));
    let mut life = Life {
        dispatcher: &dispatcher,
        conversation,
        request: &request,
        asker: Asker {
            client_key: incoming.client_key,
            arrived,
            observation: observation.clone(),
            counting: None,
        },
        allowed: incoming.models,
        request_id: incoming.request_id,
        deadline: arrived + dispatcher.settings().dispatch.deadline,
        attempts: 0,
        tally,
        observation,
    };
    let model = life.model().await?;
    life.observation.asks_for(request.model.as_deref().unwrap_or(model.as_str()));
    life.tally.is_of(model.as_str());
    // From here on it is counted, however it ends (spec `http-api.md` §4.1).
    let counting = life.counted(&model);
    life.asker.counting.clone_from(&counting);
    let answered = life.any(&model).await;
    if let (Some(counting), Err(error)) = (&counting, &answered) {
        counting.ends(status_of(error));
    }
    answered
}

/// Names a conversation without telling its id, which is its client's.
fn session(client_key: &str, conversation: &str) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(client_key.as_bytes());
    hash.update(&[0]);
    hash.update(conversation.as_bytes());
    hash.digest()
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
        let requested = self.request.model.as_deref();
        let resolved = self.in_time(self.dispatcher.allowed_model(requested, &self.allowed)).await;
        Ok(ModelId::new(&resolved.ok_or(DispatchError::DeadlineExceeded)??))
    }

    fn counted(&self, model: &ModelId) -> Option<Counting> {
        self.dispatcher.settlements().counting(Countable {
            request_id: Arc::clone(&self.request_id),
            model: model.as_str().into(),
            listed: self.dispatcher.knows_models(),
            client_key: Arc::clone(&self.asker.client_key),
            arrived: self.asker.arrived,
        })
    }

    /// An answer by `model`, else by the one that stands in for it.
    async fn any(&mut self, model: &ModelId) -> Result<Reply, DispatchError> {
        match self.run(model).await {
            Err(error) => match self.fallback(model, &error).await.unwrap_or_default() {
                // What the client asked for decides what it is told.
                Some(fallback) => {
                    self.tally.went_on(&error, RetryStep::Model);
                    self.run(&fallback).await.map_err(|_| error)
                }
                None => Err(error),
            },
            answered => answered,
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
        let fallback = self.in_time(self.dispatcher.fallback(model.as_str())).await.transpose()?.flatten();
        let Some(fallback) = fallback else { return Ok(None) };
        // The stand-in is a model like any other.
        let permitted = self.in_time(self.dispatcher.permits(&self.allowed, fallback.as_str())).await;
        if !permitted.transpose()?.unwrap_or_default() {
            return Ok(None);
        }
        tracing::info!(model.name = %model, fallback = %fallback, "the model's accounts are used up");
        Ok(Some(fallback))
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
            attempt.fail(if guilty { verdict } else { Outcome::Released });
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
        let conversation = ConversationKey::new(&self.asker.client_key, &self.conversation, model.as_str());
        let strategy = self.dispatcher.settings().strategy;
        let observation = self.observation.clone();
        let mut admitting = Some(Admitting::begin(&observation, strategy));
        let mut place = match self.line_up(model).await {
            Ok(place) => place,
            Err(error) => {
                if let Some(asking) = &mut admitting {
                    asking.refused(error.reason());
                }
                return Err(error);
            }
        };
        let mut loyalty = Loyalty::default();
        loop {
            let recall: &[_] = if converted.is_none() { &places } else { &[] };
            let conversation = (!loyalty.over).then_some(&conversation);
            let asked = Asked { model, conversation, tried: &tried, recall, last: last.as_ref() };
            let asking = admitting.get_or_insert_with(|| Admitting::begin(&observation, strategy));
            let admitted = self.admit(&asked, &mut place, &mut loyalty, suspects, asking).await;
            let (grant, attempt, values) = match admitted
                .inspect_err(|error| asking.refused(error.reason()))?
            {
                Admitted::Granted(grant, attempt, values) => (grant, attempt, values),
                Admitted::Again { room } => {
                    // The pool is waited for only while no account is usable, tried or not: with what ended the
                    // wait, a new round begins. Room is no new beginning for accounts that have just failed.
                    let failed = |id: &AccountId| suspects.iter().any(|(attempt, _)| attempt.account() == id);
                    tried.retain(|id| room && failed(id));
                    budget.history.waited();
                    continue;
                }
                Admitted::Elsewhere => continue,
            };
            admitting = None;
            // The next in line may ask.
            place = None;
            let converted = match &mut converted {
                Some(converted) => converted,
                none => {
                    let known = signatures::known(&wanted, &values);
                    let phase = self.observation.phase("convert");
                    match self.convert(model, &known) {
                        Ok(done) => {
                            phase.end();
                            none.insert(done)
                        }
                        Err(error) => {
                            phase.fail(error.reason());
                            attempt.fail(Outcome::ClientError);
                            return Err(error);
                        }
                    }
                }
            };
            if grant.tried {
                // Every account has been tried.
                if let Some(error) = last.take_if(|error| !worth_repeating(error)) {
                    attempt.fail(Outcome::Released);
                    return Err(error);
                }
                // Come back with growing pauses instead of hammering.
                let pause = pause(&self.dispatcher.settings().dispatch, repeats).min(self.remaining());
                repeats += 1;
                self.pause(pause).await;
            }
            self.pause(grant.throttle.min(self.remaining())).await;
            if self.remaining().is_zero() {
                attempt.fail(Outcome::Released);
                return Err(last.unwrap_or(DispatchError::DeadlineExceeded));
            }
            budget.limits.allow(self.dispatcher.settings().dispatch.max_retries, grant.accounts);
            budget.history.begin_attempt();
            if let Some(error) = &last {
                self.tally.went_on(error, RetryStep::Account);
            }
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

    /// Does nothing for a while.
    pub(super) async fn pause(&self, time: Duration) {
        if !time.is_zero() {
            let phase = self.observation.phase("pause");
            tokio::time::sleep(time).await;
            phase.end();
        }
    }

    fn limits(&self) -> Limits {
        let settings = &self.dispatcher.settings().dispatch;
        Limits {
            endpoints: self.dispatcher.upstream().endpoints(),
            attempts: settings.max_retries,
            calls: settings.max_retries.saturating_mul(2),
            capacity_retries: settings.max_capacity_retries,
            capacity_tiers: settings.capacity_tiers.clone(),
            capacity_budget: settings.capacity_budget,
            capacity_jitter_ms: 0,
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

/// One question to the pool.
struct Asked<'a> {
    model: &'a ModelId,
    /// `None` when its account is not waited for any more.
    conversation: Option<&'a ConversationKey>,
    tried: &'a [AccountId],
    recall: &'a [SigKey],
    /// What this request met so far.
    last: Option<&'a DispatchError>,
}

enum Admitted {
    Granted(Box<Grant>, Box<Attempt>, Vec<Option<String>>),
    /// A wait is over.
    Again {
        /// It was one for room.
        room: bool,
    },
    /// The account that has the conversation is not worth waiting for.
    Elsewhere,
}

impl Life<'_> {
    /// One round trip: an account, its lease and token, and the signatures the conversation needs.
    async fn admit(
        &mut self,
        asked: &Asked<'_>,
        place: &mut Option<Place>,
        loyalty: &mut Loyalty,
        suspects: &mut [(Box<Attempt>, Outcome)],
        asking: &mut Admitting,
    ) -> Result<Admitted, DispatchError> {
        let Asked { model, conversation, tried, recall, last } = *asked;
        let claim = self.dispatcher.settlements().claim(self.lease()?, Arc::from(model.as_str()));
        let longest_wait = self.dispatcher.settings().dispatch.max_wait;
        let ask =
            Ask { lease: claim.lease(), model: model.as_str(), tried, longest_wait, conversation, recall };
        let pool = self.dispatcher.pool();
        let news = pool.news();
        let break_up = || place.iter_mut().for_each(Place::break_up);
        let asked_at = self.dispatcher.clock().instant();
        let (admission, values) =
            self.dispatcher.patiently_or(self.deadline, || claim.ask(pool.admit(&ask)), break_up).await?;
        asking.decided(&admission.decision, asked_at, self.dispatcher.clock().instant());
        self.dispatcher.settlements().heard(admission.stamp.now_ms);
        let strategy = strategy_of(self.dispatcher.settings().strategy);
        self.dispatcher.metrics().admissions.of(strategy, decision_of(&admission.decision)).inc();
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
            Decision::Wait { wait, reason, own } => Ok(Obstacle::new(wait, reason, own)),
            Decision::Empty => Err(DispatchError::NoAccounts),
            Decision::NoEnabled => Err(DispatchError::AllDisabled),
            Decision::AllInvalid(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
                Err(DispatchError::AllInvalid { reasons: reasons.join(", ") })
            }
            Decision::Damaged => Err(DispatchError::AllDamaged),
        };
        claim.declined();
        // Nobody, this request least of all, may have to wait for room on accounts that it has given up.
        for (attempt, _) in suspects {
            attempt.set_aside();
        }
        let mut obstacle = limited?;
        if obstacle.is_rest() && matches!(pool.fetching_fails().await, Ok(true)) {
            obstacle.passes();
        }
        if obstacle.own && !self.is_loyal(&obstacle, last, loyalty) {
            loyalty.over = true;
            return Ok(Admitted::Elsewhere);
        }
        let since = self.dispatcher.clock().instant();
        let waited = self.wait(model, &obstacle, last, news, place).await;
        asking.waited(since, self.dispatcher.clock().instant());
        waited?;
        Ok(Admitted::Again { room: obstacle.is_room() })
    }
}

/// The pause before an account is tried again: doubling from `retryBaseMs` to `retryMaxMs`, at least
/// `switchAccountDelayMs`.
fn pause(settings: &DispatchConfig, repeats: u32) -> Duration {
    let growing = settings.retry_base.saturating_mul(1 << repeats.min(16)).min(settings.retry_max);
    growing.max(settings.again_pause)
}

/// Whether the same account may answer where it just failed with `error`.
fn worth_repeating(error: &DispatchError) -> bool {
    match error {
        DispatchError::QuotaExhausted { .. } | DispatchError::SignedOut { .. } => true,
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
