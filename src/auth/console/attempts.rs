//! Counts wrong passwords per peer in this process, for as long as the store does not answer (spec `http-api.md` §2.2).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::ops::console::TryLimit;

/// Peers remembered at once; a newcomer beyond it evicts those whose window has passed, else one of them.
const PEERS: usize = 4096;

/// What one peer tried, oldest first.
type Wrong = Vec<(String, Instant)>;

/// Wrong credentials by their marks. The same one counts once: a poller with an outdated password must not lock its
/// owner out.
#[derive(Debug)]
pub(super) struct Attempts {
    clock: Clock,
    limit: TryLimit,
    wrong: Mutex<HashMap<String, Wrong>>,
}

impl Attempts {
    pub(super) fn new(clock: Clock, limit: TryLimit) -> Self {
        Self { clock, limit, wrong: Mutex::new(HashMap::new()) }
    }

    /// How long until this peer may try again; `None` when it may now.
    pub(super) fn blocked(&self, peer: &str) -> Option<Duration> {
        let (now, window) = (self.clock.instant(), self.limit.window);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = wrong.get_mut(peer)?;
        seen.retain(|(_, at)| now.duration_since(*at) < window);
        if seen.is_empty() {
            wrong.remove(peer);
            return None;
        }
        let oldest = seen.first().filter(|_| seen.len() >= self.limit.most)?.1;
        Some(window.saturating_sub(now.duration_since(oldest)))
    }

    /// Remembers a wrong credential.
    pub(super) fn record(&self, peer: &str, mark: &str) {
        let (now, window) = (self.clock.instant(), self.limit.window);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= PEERS && !wrong.contains_key(peer) {
            wrong.retain(|_, seen| seen.last().is_some_and(|(_, at)| now.duration_since(*at) < window));
            let victim = wrong.keys().next().cloned().filter(|_| wrong.len() >= PEERS);
            if let Some(victim) = victim {
                wrong.remove(&victim);
            }
        }
        let seen = wrong.entry(peer.to_owned()).or_default();
        if seen.len() < self.limit.most && !seen.iter().any(|(known, _)| known == mark) {
            seen.push((mark.to_owned(), now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn guessing_is_slowed_down_without_the_store_too() {
        let limit = TryLimit { most: 3, window: Duration::from_mins(1) };
        let attempts = Attempts::new(Clock::system(), limit);
        for mark in ["a", "a", "a", "b", "b"] {
            attempts.record("p", mark);
            assert_eq!(attempts.blocked("p"), None, "the same one counts once");
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        attempts.record("p", "c");
        assert_eq!(attempts.blocked("p"), Some(Duration::from_secs(50)));
        assert_eq!(attempts.blocked("q"), None);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(attempts.blocked("p"), None);
        for peer in 0..2 * PEERS {
            attempts.record(&peer.to_string(), "a");
        }
        assert!(attempts.wrong.lock().unwrap().len() <= PEERS);
    }
}
