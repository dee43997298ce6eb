//! One model request as operators see it: exactly one log line when it has ended, and a trace where it is sampled.
//!
//! The HTTP surface begins an [`Observation`] when the request's head has arrived and ends it, by its [`Ending`], when
//! the whole answer has been handed over or the client is gone. On the way those who know something say so; what is
//! said about a request that is not observed goes nowhere and costs nothing.

mod genai;
mod line;
mod root;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;
use tracing::Span;

use super::metrics::label::{Label as _, Outcome};
use super::traces::{Phase, Trace, Traces, bounded};
use crate::clock::Clock;

/// The target of request lines and of the scope that log lines of a request are in.
pub const TARGET: &str = "antigravity_proxy::request";
/// The status in the log of a request whose client left before the answer's head; nothing was sent.
const CLIENT_GONE: u16 = 499;

/// A model request whose head has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What the answer's `request-id` will be.
    pub id: &'a Arc<str>,
    /// The method.
    pub method: &'a str,
    /// The route's pattern, which is also the path.
    pub route: &'static str,
    /// The headers; of them only `traceparent`, `tracestate`, `host` and `user-agent` are read.
    pub headers: &'a HeaderMap,
    /// Whether it may call at all, so that its client's trace is gone on with.
    pub welcome: bool,
    /// The host that the client asked for with HTTP/2.
    pub authority: Option<&'a str>,
    /// Who sent it, behind trusted proxies; `None` over the control socket.
    pub peer: Option<IpAddr>,
}

/// Tokens of an answer, by Anthropic's counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Prompt tokens that were not read from the upstream's cache.
    pub input: u64,
    /// Answer tokens, thinking included.
    pub output: u64,
    /// Prompt tokens from the upstream's cache.
    pub cache_read: u64,
    /// Thinking tokens.
    pub thinking: u64,
}

/// One request that is observed, or none. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Observation(Option<Arc<Observed>>);

struct Observed {
    clock: Clock,
    arrived: Instant,
    method: String,
    route: &'static str,
    peer: Option<IpAddr>,
    /// The scope of its log lines.
    scope: Span,
    trace: Option<Trace>,
    facts: Mutex<Facts>,
}

/// What is known of a request. Texts are bounded where they come from.
#[derive(Clone, Debug, Default)]
struct Facts {
    client: Option<(Arc<str>, Arc<str>)>,
    asked: Option<Box<str>>,
    stream: Option<bool>,
    session: Option<u64>,
    served: Option<Box<str>>,
    account: Option<Box<str>>,
    attempts: u32,
    waited: Duration,
    /// Since when it waits, where it does now.
    waits_since: Option<Instant>,
    first_event: Option<Duration>,
    used: Option<Used>,
    stop_reason: Option<&'static str>,
    ended: Option<(Outcome, Option<&'static str>)>,
}

/// What is known of a request that is under way; nothing of what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Id and name of the client's key.
    pub client: Option<(Arc<str>, Arc<str>)>,
    /// The model it asks for.
    pub asked: Option<String>,
    /// The upstream model that serves it.
    pub served: Option<String>,
    /// Whether it wants a stream.
    pub stream: Option<bool>,
    /// A hash that names its conversation.
    pub session: Option<u64>,
    /// The id of the account that it was tried with last.
    pub account: Option<String>,
    /// How often it was tried at the upstream.
    pub attempts: u32,
    /// How long it has waited for the pool, a wait that goes on included.
    pub waited: Duration,
    /// Whether it waits for the pool now.
    pub waits: bool,
    /// When its answer began, after its arrival.
    pub first_event: Option<Duration>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
struct End {
    status: u16,
    outcome: Outcome,
    /// What went wrong, a word of a closed set.
    reason: Option<&'static str>,
    took: Duration,
}

impl Observation {
    /// Begins to observe a request; dropping the [`Ending`] ends it.
    pub fn begin(traces: &Traces, clock: &Clock, arrival: &Arrival<'_>) -> (Self, Ending) {
        let trace = traces
            .begin(root::NAME, arrival.welcome.then_some(arrival.headers), || root::at_arrival(arrival));
        let ids = trace.as_ref().map(Trace::context);
        let scope = tracing::error_span!(
            target: TARGET, parent: None, "request", request_id = &**arrival.id,
            trace_id = ids.map(|ids| tracing::field::display(ids.trace_id())),
            span_id = ids.map(|ids| tracing::field::display(ids.span_id())),
        );
        let observed = Observed {
            clock: clock.clone(),
            arrived: clock.instant(),
            method: arrival.method.to_owned(),
            route: arrival.route,
            peer: arrival.peer,
            scope,
            trace,
            facts: Mutex::default(),
        };
        let observation = Self(Some(Arc::new(observed)));
        (observation.clone(), Ending { observation, status: None, reason: None, complete: false })
    }

    /// The scope of the request's log lines; a disabled one where there is no request.
    #[must_use]
    pub fn scope(&self) -> Span {
        self.0.as_ref().map_or_else(Span::none, |observed| observed.scope.clone())
    }

    /// The id of the request's trace, 32 hex digits, where it is recorded or the client has one.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        Some(self.0.as_ref()?.trace.as_ref()?.context().trace_id().to_string())
    }

    /// Begins a phase inside the gateway.
    pub fn phase(&self, name: &'static str) -> Phase {
        match self.trace() {
            Some(trace) => trace.phase(name, SpanKind::Internal),
            None => Phase::default(),
        }
    }

    /// Begins a try at the upstream with an account, and counts it.
    pub fn attempt(&self, account: &str) -> Phase {
        let Some(mut facts) = self.facts() else { return Phase::default() };
        facts.attempts += 1;
        facts.account = Some(account.into());
        let number = facts.attempts;
        drop(facts);
        let Some(trace) = self.trace() else { return Phase::default() };
        let mut phase = trace.phase(format!("attempt {number}"), SpanKind::Client);
        root::tell_attempt(&mut phase, number, account);
        phase
    }

    /// Whose key it came with: its id and its name, never the key.
    pub fn came_from(&self, id: &Arc<str>, name: &Arc<str>) {
        self.note(|facts| facts.client = Some((Arc::clone(id), Arc::clone(name))));
    }

    /// How it wants its answer; `session` is a hash that names its conversation.
    pub fn wants(&self, stream: bool, session: u64) {
        self.note(|facts| {
            facts.stream = Some(stream);
            facts.session = Some(session);
        });
    }

    /// The model it asks for, which has turned out to be one: anything else in its place is not repeated anywhere.
    pub fn asks_for(&self, model: &str) {
        self.note(|facts| facts.asked = Some(bounded(model).as_str().into()));
    }

    /// Which upstream model serves it; the last one counts.
    pub fn served_by(&self, model: &str) {
        self.note(|facts| facts.served = Some(bounded(model).as_str().into()));
    }

    /// It begins to wait for the pool.
    pub fn waits(&self) {
        let Some(observed) = &self.0 else { return };
        let now = observed.clock.instant();
        self.note(|facts| facts.waits_since = Some(now));
    }

    /// It waited for the pool, for so long, and does not any more.
    pub fn waited(&self, time: Duration) {
        self.note(|facts| {
            facts.waited += time;
            facts.waits_since = None;
        });
    }

    /// Its answer begins.
    pub fn first_event(&self) {
        let Some(observed) = &self.0 else { return };
        let took = observed.took();
        self.note(|facts| facts.first_event = Some(took));
    }

    /// What its answer consumed; the last word counts.
    pub fn used(&self, used: Used) {
        self.note(|facts| facts.used = Some(used));
    }

    /// Why its answer stopped, in the words of the Messages API.
    pub fn stopped(&self, reason: &'static str) {
        self.note(|facts| facts.stop_reason = Some(reason));
    }

    /// How it ended, and why unless it was served: a word of a closed set. The first word counts.
    pub fn ended(&self, outcome: Outcome, reason: Option<&'static str>) {
        self.note(|facts| facts.ended = facts.ended.or(Some((outcome, reason))));
    }

    /// What is known of it so far; of a request that is not observed nothing.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let Some(observed) = &self.0 else { return Seen::default() };
        let now = observed.clock.instant();
        let Some(facts) = self.facts() else { return Seen::default() };
        let waits = facts.waits_since.map(|since| now.saturating_duration_since(since));
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Seen {
            client: facts.client.clone(),
            asked: text(&facts.asked),
            served: text(&facts.served),
            stream: facts.stream,
            session: facts.session,
            account: text(&facts.account),
            attempts: facts.attempts,
            waited: facts.waited + waits.unwrap_or_default(),
            waits: waits.is_some(),
            first_event: facts.first_event,
        }
    }

    fn trace(&self) -> Option<&Trace> {
        self.0.as_ref()?.trace.as_ref()
    }

    fn facts(&self) -> Option<MutexGuard<'_, Facts>> {
        // Each change is a single step.
        Some(self.0.as_ref()?.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: impl FnOnce(&mut Facts)) {
        if let Some(mut facts) = self.facts() {
            note(&mut facts);
        }
    }
}

impl Observed {
    fn took(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.arrived)
    }

    fn end(&self, ending: &Ending) {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (outcome, reason) = facts.ended.unwrap_or_else(|| (ending.outcome(), ending.reason));
        let end = End { status: ending.status.unwrap_or(CLIENT_GONE), outcome, reason, took: self.took() };
        if let Some(trace) = &self.trace {
            trace.end(is_failure(outcome), || root::at_end(&facts, end));
        }
        self.scope.in_scope(|| line::write(self, &facts, end));
    }
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// The end of an observed request, which comes when this is dropped.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub struct Ending {
    observation: Observation,
    status: Option<u16>,
    reason: Option<&'static str>,
    complete: bool,
}

impl Ending {
    /// The head of the answer is made; `reason` is the kind of error in it that was not the dispatcher's, if any.
    pub fn answered(&mut self, status: u16, reason: Option<&'static str>) {
        self.status = Some(status);
        self.reason = reason;
    }

    /// The answer was handed over to its end.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// What happened to a request about which dispatch said nothing: it was refused before, or its client left.
    fn outcome(&self) -> Outcome {
        match self.status {
            Some(429) => Outcome::RateLimited,
            Some(400..=499) => Outcome::ClientError,
            Some(503 | 529) => Outcome::Overloaded,
            Some(500..) => Outcome::Internal,
            Some(_) if self.complete => Outcome::Served,
            Some(_) | None => Outcome::Cancelled,
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(observed) = &self.observation.0 {
            observed.end(self);
        }
    }
}

/// Whether the gateway or what it depends on failed, rather than the client (OpenTelemetry, status of HTTP server
/// spans: 4xx is no error of the server).
fn is_failure(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Served | Outcome::ClientError | Outcome::RateLimited | Outcome::Cancelled => false,
        Outcome::Overloaded
        | Outcome::UpstreamError
        | Outcome::NoAccount
        | Outcome::Deadline
        | Outcome::Broken
        | Outcome::Internal => true,
    }
}

impl End {
    /// What to call the error, unless there was none.
    fn error(&self) -> Option<&'static str> {
        (self.outcome != Outcome::Served).then(|| self.reason.unwrap_or(self.outcome.label()))
    }
}

/// Milliseconds for log lines and attributes.
fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
