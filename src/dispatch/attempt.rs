//! One account attempt: its token and project, its calls, and what becomes of their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Reply;
use super::error::DispatchError;
use super::live::Live;
use super::policy::{self, Step};
use super::reading::{Progress, Reading};
use super::run::{Budget, Ended, Life};
use crate::account::pool::{Grant, Source};
use crate::account::settlement::{Attempt, Outcome, Tokens, outcome_of};
use crate::anthropic::usage::Usage;
use crate::auth::tokens::TokenError;
use crate::cloudcode::{Failure, FailureClass, Method, TransportKind, UpstreamCall, UpstreamResponse};
use crate::format::request::Converted;
use crate::format::stream::{MessageIds, MessageSink, Sink, SseSink, StreamConverter, no_answer, refusal};
use crate::google::model::ModelId;
use crate::telemetry::metrics::Gauged;

/// How long the end of an answer waits for the store to take its signatures (`design.md` §1, invariant 6);
/// after that the write goes on by itself.
pub(super) const SIGNATURE_WAIT: Duration = Duration::from_millis(250);

/// What a client is told to wait where the upstream named no reset.
const UNKNOWN_RESET: Duration = Duration::from_secs(30);

/// An upstream answer that has begun: from here on nothing can be retried.
enum Begun {
    /// Events for a streaming client, the first ones in the sink.
    Stream { reading: Reading, sink: SseSink, progress: Progress },
    /// A complete message for one that does not stream.
    Whole { reading: Reading, body: Bytes },
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
        let mut token = match self.in_time(self.dispatcher.pool().token(grant)).await {
            Some(Ok(token)) => token,
            Some(Err(error)) => return without_token(model, error, attempt).await,
            None => return late(attempt),
        };
        let Some(project) = self.in_time(self.dispatcher.project(grant, &token)).await else {
            return late(attempt);
        };
        let request_id = format!("agent-{}", uuid::Uuid::now_v7());
        loop {
            budget.history.calls += 1;
            let call = UpstreamCall {
                endpoint: budget.history.endpoint,
                method: self.method(model),
                model,
                body: converted.body.render(&project, &grant.session, &request_id),
                token: &token.secret,
                session_id: &grant.session,
            };
            let failure = match self.call(&call, converted).await {
                Ok(begun) => return Ended::Answered(self.reply(model, begun, attempt).await),
                Err(Stopped::Late) => return late(attempt),
                Err(Stopped::Failed(failure)) => failure,
            };
            budget.limits.remaining = self.remaining();
            let mut step = policy::next(&budget.history, &failure, &budget.limits);
            if step == Step::RefreshToken && grant.source == Source::Manual {
                // A fixed token does not get fresher.
                step = Step::NextAccount;
            }
            self.dispatcher.observe(&failure);
            tracing::debug!(
                account.id = %grant.account, model.name = %model, class = ?failure.class, status = failure.status,
                endpoint = budget.history.endpoint, ?step, "upstream call failed"
            );
            budget.history.record(&failure, &step, &budget.limits);
            match step {
                Step::RetrySame { after } => tokio::time::sleep(after).await,
                Step::NextEndpoint => {}
                Step::RefreshToken => {
                    match self.in_time(self.dispatcher.pool().fresh_token(grant, &token)).await {
                        Some(Ok(fresh)) => token = fresh,
                        Some(Err(error)) => return without_token(model, error, attempt).await,
                        None => return late(attempt),
                    }
                }
                Step::NextAccount => {
                    let verdict = outcome_of(&failure);
                    let error = self.refused(model, failure);
                    if verdict == Outcome::Failure {
                        return Ended::Suspect(Box::new(attempt), verdict, error);
                    }
                    attempt.rotate(verdict).await;
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
                    let verdict = match outcome_of(&failure) {
                        Outcome::Failure => Outcome::Released,
                        verdict => verdict,
                    };
                    attempt.finish(verdict);
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
    async fn in_time<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.deadline, future).await.ok()
    }

    /// The plain method returns no thoughts and no events (spec `conversion.md` §7.6).
    fn method(&self, model: &ModelId) -> Method {
        if self.request.stream || model.is_thinking() { Method::StreamGenerate } else { Method::Generate }
    }

    /// One call, read as far as it can still be retried: to the first event for a client that streams, to the
    /// end for one that does not. The deadline covers the time to the first event.
    async fn call(&self, call: &UpstreamCall<'_>, converted: &Converted) -> Result<Begun, Stopped> {
        let opening = async {
            let sent = self.dispatcher.clock().instant();
            let response = self.dispatcher.upstream().send(call).await?;
            let took = self.dispatcher.clock().instant().saturating_duration_since(sent);
            self.dispatcher.metrics().upstream_header_seconds.observe(took.as_secs_f64());
            if self.request.stream {
                let mut sink = SseSink::new();
                let mut reading = self.reading(call, response, converted);
                let progress = until_begun(&mut reading, &mut sink).await?;
                Ok::<_, Failure>((reading, Either::Events(sink), progress))
            } else {
                let mut sink = MessageSink::new();
                let mut reading = self.reading(call, response, converted).bounded();
                let progress = until_begun(&mut reading, &mut sink).await?;
                Ok((reading, Either::Message(sink), progress))
            }
        };
        let (mut reading, sink, mut progress) = self.in_time(opening).await.ok_or(Stopped::Late)??;
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

    fn reading(&self, call: &UpstreamCall<'_>, response: UpstreamResponse, converted: &Converted) -> Reading {
        let names = Arc::clone(&converted.names);
        let answer = StreamConverter::new(call.model.clone(), names, self.dispatcher.message_ids());
        Reading::new(response, answer, call.method == Method::Generate)
    }

    async fn reply(&self, model: &ModelId, begun: Begun, mut attempt: Attempt) -> Reply {
        attempt.received();
        let metrics = self.dispatcher.metrics();
        metrics.upstream_attempts.with_label_values(&["success"]).inc();
        let waited = self.dispatcher.clock().instant().saturating_duration_since(self.asker.arrived);
        metrics.first_event_seconds.observe(waited.as_secs_f64());
        let mut memory = self.dispatcher.memory(&self.asker);
        match begun {
            Begun::Stream { reading, sink, progress } => {
                let keepalive = self.dispatcher.settings().keepalive;
                let model = Arc::from(model.as_str());
                let clock = self.dispatcher.clock().clone();
                let counted = Gauged::new(&self.dispatcher.metrics().streams);
                let live =
                    Live { reading, attempt, memory, sink, keepalive, model, clock, _counted: counted };
                Reply::Stream(live.into_frames(progress))
            }
            Begun::Whole { mut reading, body } => {
                memory.learn(reading.converter());
                attempt.consumed(tokens(reading.converter().usage()));
                memory.settled_within(SIGNATURE_WAIT).await;
                attempt.finish(Outcome::Success);
                Reply::Message(body)
            }
        }
    }

    /// A complete answer of our own where the upstream gave none; `refused` is why it would not.
    fn stand_in(&self, model: &ModelId, attempt: Attempt, refused: Option<&str>) -> Reply {
        let ids = self.dispatcher.message_ids();
        attempt.finish(if refused.is_some() { Outcome::Blocked } else { Outcome::Empty });
        if self.request.stream {
            let mut sink = SseSink::new();
            write_stand_in(model, &ids, refused, &mut sink);
            let frames = sink.take();
            Reply::Stream(Box::pin(futures_util::stream::once(async move { frames })))
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

fn late(attempt: Attempt) -> Ended {
    attempt.finish(Outcome::Released);
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
        TokenError::Transient { .. } => {
            (Outcome::Released, upstream(FailureClass::Transport { kind: TransportKind::Connect }))
        }
        TokenError::SourceUnsupported { .. } | TokenError::Vault(_) => {
            tracing::error!(account.id = %attempt.account(), %error, "the account's credential cannot be used");
            (Outcome::Released, upstream(FailureClass::Unauthorized))
        }
        TokenError::Store(fault) => {
            tracing::warn!(error = %fault, "no token: the store failed");
            attempt.finish(Outcome::Released);
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
