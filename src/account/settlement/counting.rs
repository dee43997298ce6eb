//! A request's place in the usage: it is counted once, however many attempts it takes.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::{End, Settlements, StatusClass, Unanswered};
use crate::store::ident::LeaseId;

/// What models count for that nobody offers, so that clients cannot make up rows.
pub(super) const OTHER: &str = "other";
/// Longest name of a model that is counted by it (spec `http-api.md` §4.1).
const LONGEST_NAME: usize = 128;

/// One request whose model is known to be valid. The attempt that answers counts it; when nothing works for the request
/// any more and none did, it is counted by itself: as it was said to end, else as cancelled.
#[derive(Clone)]
pub struct Counting(Arc<Request>);

struct Request {
    settlements: Settlements,
    id: LeaseId,
    model: Arc<str>,
    listed: bool,
    client_key: Arc<str>,
    arrived: Instant,
    counted: AtomicBool,
    status: OnceLock<StatusClass>,
}

/// A request to be counted.
#[derive(Clone, Debug)]
pub struct Countable {
    /// Its id; unique.
    pub request_id: Arc<str>,
    /// The upstream model that is to answer.
    pub model: Arc<str>,
    /// Whether the pool or an operator's mapping knows that model.
    pub listed: bool,
    /// The id of the client's key, never the key.
    pub client_key: Arc<str>,
    /// When it arrived.
    pub arrived: Instant,
}

impl Settlements {
    /// Sees to it that `request` is counted; `None` when its id cannot be one of the store's.
    #[must_use]
    pub fn counting(&self, request: Countable) -> Option<Counting> {
        // Attempts are numbered from 1.
        let id = LeaseId::new(&format!("{}-0", request.request_id)).ok()?;
        let Countable { request_id: _, model, listed, client_key, arrived } = request;
        let (counted, status) = (AtomicBool::new(false), OnceLock::new());
        let settlements = self.clone();
        Some(Counting(Arc::new(Request {
            settlements,
            id,
            model,
            listed,
            client_key,
            arrived,
            counted,
            status,
        })))
    }
}

impl Counting {
    /// How the request ends if no attempt answers it; the first word counts.
    pub fn ends(&self, status: StatusClass) {
        self.0.status.get_or_init(|| status);
    }

    /// Whether `model` is counted by its name though nobody has answered as it.
    pub(super) fn names(&self, model: &str) -> bool {
        (self.0.listed || *self.0.model != *model) && is_name(model)
    }

    /// The request's time until now for whoever counts it, once.
    pub(super) fn take(&self) -> Option<Duration> {
        self.0.take()
    }
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counting").field(&self.0.id).finish()
    }
}

impl Request {
    fn take(&self) -> Option<Duration> {
        let first = !self.counted.swap(true, Ordering::Relaxed);
        first.then(|| self.settlements.clock.instant().saturating_duration_since(self.arrived))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let Some(latency) = self.take() else { return };
        let named = self.listed && is_name(&self.model);
        self.settlements.enqueue(End::Unanswered(Box::new(Unanswered {
            id: self.id.clone(),
            model: if named { Arc::clone(&self.model) } else { OTHER.into() },
            client_key: Arc::clone(&self.client_key),
            status: self.status.get().copied().unwrap_or(StatusClass::Cancelled),
            ended_at_ms: self.settlements.store_ms(),
            latency,
        })));
    }
}

/// Whether `model` looks like a model's id.
fn is_name(model: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'@');
    model.len() <= LONGEST_NAME
        && model.bytes().all(inner)
        && model.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_are_those_of_models() {
        for (model, named) in [
            ("claude-opus-4-6-thinking", true),
            ("gemini-3.1-pro-high", true),
            ("a/b:c@d_e", true),
            (&"m".repeat(128), true),
            (&"m".repeat(129), false),
            ("", false),
            ("_total", false),
            ("two words", false),
            ("é", false),
        ] {
            assert_eq!(is_name(model), named, "{model}");
        }
    }
}
