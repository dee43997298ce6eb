//! The one line that a request leaves in the log.

use tracing::Level;

use super::{End, Facts, Observed, TARGET, ms};
use crate::telemetry::metrics::label::{Label as _, Outcome};

/// Writes it, in the request's scope.
pub(super) fn write(request: &Observed, facts: &Facts, end: End) {
    let (method, route, status, outcome) = (&request.method, request.route, end.status, end.outcome.label());
    let client = facts.client.as_ref();
    let session = facts.session.map(|session| format!("{session:016x}"));
    let peer = request.peer.map(|peer| peer.to_string());
    let used = facts.used.filter(|_| facts.first_event.is_some());
    macro_rules! write_at {
        ($level:expr) => {
            tracing::event!(
                target: TARGET, $level,
                outcome,
                status,
                method = method.as_str(),
                route,
                peer = peer.as_deref(),
                client.key.id = client.map(|(id, _)| &**id),
                client.key.name = client.map(|(_, name)| &**name),
                session = session.as_deref(),
                stream = facts.stream,
                model.asked = facts.asked.as_deref(),
                model.served = facts.served.as_deref(),
                account.id = facts.account.as_deref(),
                attempts = facts.attempts,
                stop_reason = facts.stop_reason,
                "error.type" = end.error(),
                wait_ms = ms(facts.waited),
                first_event_ms = facts.first_event.map(ms),
                total_ms = ms(end.took),
                tokens.input = used.map(|used| used.input),
                tokens.output = used.map(|used| used.output),
                tokens.cache_read = used.map(|used| used.cache_read),
                tokens.thinking = used.map(|used| used.thinking),
                "{method} {route} {status} {outcome}"
            )
        };
    }
    match level(end.outcome) {
        Level::INFO => write_at!(Level::INFO),
        Level::WARN => write_at!(Level::WARN),
        _ => write_at!(Level::ERROR),
    }
}

/// A fault of the gateway is an error, what it could not serve a warning; what clients do is no fault.
fn level(outcome: Outcome) -> Level {
    match outcome {
        Outcome::Served | Outcome::Cancelled => Level::INFO,
        Outcome::Internal => Level::ERROR,
        Outcome::ClientError
        | Outcome::RateLimited
        | Outcome::Overloaded
        | Outcome::UpstreamError
        | Outcome::NoAccount
        | Outcome::Deadline
        | Outcome::Broken => Level::WARN,
    }
}
