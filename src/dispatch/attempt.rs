//! One account attempt: its token and project, its calls, and what becomes of their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::DispatchError;
use super::live::Live;
use super::policy::{self, Step};
use super::reading::{Progress, Reading};
use super::run::{Budget, Ended, Life};
use super::tally::{Streaming, attempt_of};
use super::{Dispatcher, Reply};
use crate::account::pool::{Grant, Source};
use crate::account::settlement::{Attempt, Outcome, Tokens, capacity_jitter, outcome_of};
use crate::anthropic::usage::Usage;
use crate::auth::tokens::TokenError;
use crate::clock::Alarm;
use crate::cloudcode::{Failure, FailureClass, Method, TransportKind, UpstreamCall, UpstreamResponse};
use crate::format::request::Converted;
use crate::format::stream::{
    MessageIds, MessageSink, Sink, SseSink, StopReason, StreamConverter, no_answer, refusal,
};
use crate::google::model::ModelId;
use crate::telemetry::metrics::label::{AttemptOutcome, Label as _};
use crate::telemetry::traces::Phase;

/// How long the end of an answer waits for the store to take its signatures (`design.md` §1, invariant 6);
/// after that the write goes on by itself.
pub(super) const SIGNATURE_WAIT: Duration = Duration::from_millis(250);

/// How the span of a try ends that never reached the upstream, for want of a token or of time.
const NO_TOKEN: &str = "no_token";
const LATE: &str = "deadline";
/// The event in the span of a try at the beginning of its answer.
const FIRST_BYTE: &str = "first byte";

/// What a client is told to wait where the upstream named no reset.
const UNKNOWN_RESET: Duration = Duration::from_secs(30);

/// An upstream answer that has begun: from here on nothing can be retried.
enum Begun {
    /// Events for a streaming client, the first ones in the sink.
    Stream { reading: Box<Reading>, sink: SseSink, progress: Progress },
    /// A complete message for one that does not stream.
    Whole { reading: Box<Reading>, body: Bytes },
}

impl Life<'_> {
    /// Calls the upstream with the granted account until it answers or the policy gives it up.
    pub(super) async fn attempt(
        &self,
        model: &ModelId,
        grant: &Grant,
        attempt: Attempt,
        converted: &Converted,
        budget: &mut Budget,
    ) -> Ended {
        let mut span = self.observation.attempt(grant.account.as_str());
        let mut token = match self.in_time(self.dispatcher.pool().token(grant)).await {
            Some(Ok(token)) => token,
            Some(Err(error)) => {
                span.failed(NO_TOKEN, None);
                return without_token(model, error, attempt).await;
            }
            None => {
                span.failed(LATE, None);
                return late(attempt);
            }
        };
        let Some(project) = self.in_time(self.dispatcher.project(grant, &token)).await else {
            span.failed(LATE, None);
            return late(attempt);
        };
        let request_id = format!("agent-{}", uuid::Uuid::now_v7());
        loop {
            budget.history.calls += 1;
            let call = UpstreamCall {
                endpoint: budget.history.endpoint,
                method: self.method(model),
                model,
                body: &converted.body.render(&project, &grant.session, &request_id),
                token: &token.secret,
                session_id: &grant.session,
            };
            if span.is_recorded() {
                let (host, port) = self.dispatcher.upstream().address(call.endpoint);
                span.sent(host, port, model.as_str());
            }
            let failure = match self.call(&call, converted, &mut span).await {
                Ok(begun) => return Ended::Answered(self.reply(model, begun, attempt, span).await),
                Err(Stopped::Late) => {
                    span.failed(LATE, None);
                    self.dispatcher.metrics().upstream_attempts.of(AttemptOutcome::Deadline).inc();
                    return late(attempt);
                }
                Err(Stopped::Failed(failure)) => failure,
            };
            budget.limits.remaining = self.remaining();
            budget.limits.capacity_jitter_ms = capacity_jitter();
            let mut step = policy::next(&budget.history, &failure, &budget.limits);
            if step == Step::RefreshToken && grant.source == Source::Manual {
                // A fixed token does not get fresher.
                step = Step::NextAccount;
            }
            self.dispatcher.observe(&failure);
            span.failed(attempt_of(&failure.class).label(), failure.status);
            tracing::debug!(
                account.id = %grant.account, model.name = %model, class = ?failure.class, status = failure.status,
                endpoint = budget.history.endpoint, ?step, "upstream call failed"
            );
            budget.history.record(&failure, &step, &budget.limits);
            self.tally.stepped(&failure.class, &step);
            match step {
                Step::RetrySame { after } => {
                    self.pause(after).await;
                    span = self.observation.attempt(grant.account.as_str());
                }
                Step::NextEndpoint => span = self.observation.attempt(grant.account.as_str()),
                Step::RefreshToken => {
                    span = self.observation.attempt(grant.account.as_str());
                    match self.in_time(self.dispatcher.pool().fresh_token(grant, &token)).await {
                        Some(Ok(fresh)) => token = fresh,
                        Some(Err(error)) => {
                            span.failed(NO_TOKEN, None);
                            return without_token(model, error, attempt).await;
                        }
                        None => {
                            span.failed(LATE, None);
                            return late(attempt);
                        }
                    }
                }
                Step::NextAccount => {
                    let verdict = outcome_of(&failure);
                    let error = self.refused(model, failure);
                    if unexplained(&verdict) {
                        return Ended::Suspect(Box::new(attempt), verdict, error);
                    }
                    let settling = self.observation.phase("settle");
                    attempt.rotate(verdict).await;
                    settling.end();
                    return Ended::Rotate(error);
                }
                Step::AnswerEmpty => return Ended::Answered(self.stand_in(model, attempt, None)),
                Step::AnswerRefusal => {
                    let reason = match &failure.class {
                        FailureClass::Blocked { reason } => reason,
                        _ => "",
                    };
                    return Ended::Answered(self.stand_in(model, attempt, Some(reason)));
                }
                Step::Fail => {
                    // Nobody answered, so nobody is to blame for what gave no reason.
                    let verdict = outcome_of(&failure);
                    let settling = self.observation.phase("settle");
                    attempt.fail(if unexplained(&verdict) { Outcome::Released } else { verdict });
                    settling.end();
                    return Ended::Failed(self.refused(model, failure));
                }
            }
        }
    }

    /// What the client is told of a failure.
    fn refused(&self, model: &ModelId, failure: Failure) -> DispatchError {
        match failure.class {
            FailureClass::RateLimited { .. } => DispatchError::QuotaExhausted {
                model: model.to_string(),
                reset: failure.reset.unwrap_or(UNKNOWN_RESET),
                status: self.dispatcher.settings().dispatch.quota_exhausted_status,
            },
            _ => DispatchError::Upstream { model: model.to_string(), failure },
        }
    }

    /// `None` when the request's deadline passes first.
    pub(super) async fn in_time<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.deadline, future).await.ok()
    }

    /// The plain method returns no thoughts and no events (spec `conversion.md` §7.6).
    fn method(&self, model: &ModelId) -> Method {
        if self.request.stream || model.is_thinking() { Method::StreamGenerate } else { Method::Generate }
    }

    /// One call, read as far as it can still be retried: to the first event for a client that streams, to the
    /// end for one that does not. The deadline covers the time to the first event, `requestTimeoutMs` all of it.
    async fn call(
        &self,
        call: &UpstreamCall<'_>,
        converted: &Converted,
        span: &mut Phase,
    ) -> Result<Begun, Stopped> {
        let longest = self.dispatcher.settings().answer_timeout;
        if self.request.stream {
            return self.exchange(call, converted, longest, span).await;
        }
        match tokio::time::timeout(longest, self.exchange(call, converted, longest, span)).await {
            Ok(begun) => begun,
            Err(_elapsed) => Err(Stopped::Failed(broken(TransportKind::Timeout))),
        }
    }

    async fn exchange(
        &self,
        call: &UpstreamCall<'_>,
        converted: &Converted,
        silence: Duration,
        span: &mut Phase,
    ) -> Result<Begun, Stopped> {
        let opening = async {
            let response = self.dispatcher.upstream().send(call).await?.silent_for(silence);
            if self.request.stream {
                let mut sink = SseSink::new();
                let mut reading = reading(call, response, converted);
                let progress = until_begun(&mut reading, &mut sink).await?;
                Ok::<_, Failure>((reading, Either::Events(sink), progress))
            } else {
                let mut sink = MessageSink::new();
                let mut reading = reading(call, response, converted);
                reading.bound();
                let progress = until_begun(&mut reading, &mut sink).await?;
                Ok((reading, Either::Message(sink), progress))
            }
        };
        let (mut reading, sink, mut progress) = self.in_time(opening).await.ok_or(Stopped::Late)??;
        span.note(FIRST_BYTE);
        match sink {
            Either::Events(sink) => Ok(Begun::Stream { reading, sink, progress }),
            Either::Message(mut sink) => {
                while progress == Progress::Open {
                    progress = reading.advance(&mut sink).await?;
                }
                let body = sink.into_body().ok_or(broken(TransportKind::Protocol))?;
                Ok(Begun::Whole { reading, body })
            }
        }
    }

    async fn reply(&self, model: &ModelId, begun: Begun, mut attempt: Attempt, span: Phase) -> Reply {
        attempt.received();
        self.dispatcher.metrics().upstream_attempts.of(AttemptOutcome::Success).inc();
        let waited = self.dispatcher.clock().instant().saturating_duration_since(self.asker.arrived);
        self.tally.answered_by(model.as_str(), waited);
        let mut memory = self.dispatcher.memory(&self.asker);
        match begun {
            Begun::Stream { reading, sink, progress } => {
                let keepalive = self.dispatcher.settings().keepalive;
                let model = Arc::from(model.as_str());
                let clock = self.dispatcher.clock().clone();
                let streaming = Streaming::new(&self.tally, &clock);
                let phase = self.observation.phase("stream");
                let observation = self.observation.clone();
                let live = Live {
                    reading,
                    attempt,
                    memory,
                    sink,
                    keepalive,
                    alarm: Alarm::default(),
                    model,
                    clock,
                    streaming,
                    observation,
                    call: span,
                    phase,
                };
                Reply::Stream(live.into_frames(progress))
            }
            Begun::Whole { mut reading, body } => {
                memory.learn(reading.converter());
                attempt.consumed(tokens(reading.converter().usage()));
                span.succeeded();
                self.observation.stopped(reading.converter().stop_reason().as_str());
                let settling = self.observation.phase("settle");
                memory.settled_within(SIGNATURE_WAIT).await;
                attempt.finish(Outcome::Success);
                settling.end();
                Reply::Message(body)
            }
        }
    }

    /// A complete answer of our own where the upstream gave none; `refused` is why it would not.
    fn stand_in(&self, model: &ModelId, attempt: Attempt, refused: Option<&str>) -> Reply {
        let ids = Dispatcher::message_ids();
        self.observation.first_event();
        self.observation
            .stopped(if refused.is_some() { StopReason::Refusal } else { StopReason::EndTurn }.as_str());
        attempt.finish(if refused.is_some() { Outcome::Blocked } else { Outcome::Empty });
        self.tally.is_of(model.as_str());
        if self.request.stream {
            let mut sink = SseSink::new();
            write_stand_in(model, &ids, refused, &mut sink);
            let frames = sink.take();
            let tally = Arc::clone(&self.tally);
            tally.begun();
            Reply::Stream(Box::pin(futures_util::stream::once(async move {
                tally.served();
                frames
            })))
        } else {
            let mut sink = MessageSink::new();
            write_stand_in(model, &ids, refused, &mut sink);
            Reply::Message(sink.into_body().unwrap_or_default())
        }
    }
}

fn write_stand_in(model: &ModelId, ids: &MessageIds, refused: Option<&str>, out: &mut impl Sink) {
    match refused {
        Some(reason) => refusal(model, ids, reason, out),
        None => no_answer(model, ids, out),
    }
}

enum Either {
    Events(SseSink),
    Message(MessageSink),
}

/// Begins to read the answer to `call`. Boxed, since it is large and handed on often.
fn reading(call: &UpstreamCall<'_>, response: UpstreamResponse, converted: &Converted) -> Box<Reading> {
    let names = Arc::clone(&converted.names);
    let answer = StreamConverter::new(call.model.clone(), names, Dispatcher::message_ids());
    Box::new(Reading::new(response, answer, call.method == Method::Generate))
}

/// Reads until the answer has begun, so that it can no longer turn out to be empty or an error.
async fn until_begun(reading: &mut Reading, sink: &mut impl Sink) -> Result<Progress, Failure> {
    loop {
        let progress = reading.advance(sink).await?;
        if progress == Progress::Complete || reading.converter().started() {
            return Ok(progress);
        }
    }
}

/// Why a call gave no answer.
enum Stopped {
    /// It failed.
    Failed(Failure),
    /// The request's own deadline passed: no fault of the account.
    Late,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Whether the fault may as well be the request's: only an account that answers it shows that it was the account's.
fn unexplained(verdict: &Outcome) -> bool {
    matches!(verdict, Outcome::Failure | Outcome::Forbidden)
}

fn late(attempt: Attempt) -> Ended {
    attempt.fail(Outcome::Released);
    Ended::Failed(DispatchError::DeadlineExceeded)
}

/// What a missing token means for the account and the request.
async fn without_token(model: &ModelId, error: TokenError, attempt: Attempt) -> Ended {
    let upstream = |class| DispatchError::Upstream {
        model: model.to_string(),
        failure: Failure { class, status: None, reset: None, message: None },
    };
    let (outcome, told) = match &error {
        TokenError::NotConfigured { .. } | TokenError::Misconfigured => {
            (Outcome::Released, DispatchError::Credentials(error.to_string()))
        }
        TokenError::Revoked => (Outcome::Revoked, upstream(FailureClass::CredentialRevoked)),
        TokenError::Changed => (Outcome::Released, upstream(FailureClass::Unauthorized)),
        TokenError::Transient { retry_after, .. } => {
            (Outcome::Released, DispatchError::SignedOut { wait: *retry_after })
        }
        TokenError::Desktop(_) => {
            tracing::warn!(account.id = %attempt.account(), %error, "the desktop application gives no token");
            (Outcome::Released, upstream(FailureClass::Transport { kind: TransportKind::Connect }))
        }
        TokenError::SourceUnsupported { .. } | TokenError::Vault(_) => {
            tracing::error!(account.id = %attempt.account(), %error, "the account's credential cannot be used");
            (Outcome::Released, upstream(FailureClass::Unauthorized))
        }
        TokenError::Store(fault) => {
            tracing::warn!(error = %fault, "no token: the store failed");
            attempt.fail(Outcome::Released);
            return Ended::Failed(DispatchError::StoreUnavailable);
        }
    };
    attempt.rotate(outcome).await;
    Ended::Rotate(told)
}

/// The answer's usage as settlement counts it.
pub(super) fn tokens(usage: Usage) -> Tokens {
    Tokens {
        input: usage.input_tokens,
        output: usage.output_tokens,
        cache_read: usage.cache_read_input_tokens,
        thinking: usage.thinking_tokens,
    }
}

pub(super) fn broken(kind: TransportKind) -> Failure {
    Failure { class: FailureClass::Transport { kind }, status: None, reset: None, message: None }
}
