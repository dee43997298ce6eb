//! Counts wrong passwords per peer (spec `http-api.md` §2.2).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Fingerprint;
use crate::clock::Clock;

/// Different wrong credentials that a peer may send in [`WINDOW`].
const ALLOWED: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);
/// Peers remembered at once; a newcomer beyond it evicts those whose window has passed, else one of them.
const PEERS: usize = 4096;

/// What one peer sent, oldest first.
type Wrong = Vec<(Fingerprint, Instant)>;

/// Wrong credentials of the last minute. The same wrong value counts once: a poller with an outdated
/// password must not lock its owner out. Peers without an address share one count.
#[derive(Debug)]
pub(super) struct Attempts {
    clock: Clock,
    wrong: Mutex<HashMap<Option<IpAddr>, Wrong>>,
}

impl Attempts {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, wrong: Mutex::new(HashMap::new()) }
    }

    /// Seconds until this peer may try again; `None` when it may now.
    pub(super) fn blocked(&self, peer: Option<IpAddr>) -> Option<u64> {
        let now = self.clock.instant();
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = wrong.get_mut(&peer)?;
        seen.retain(|(_, at)| now.duration_since(*at) < WINDOW);
        if seen.is_empty() {
            wrong.remove(&peer);
            return None;
        }
        let oldest = seen.first().filter(|_| seen.len() >= ALLOWED)?.1;
        let left = WINDOW.saturating_sub(now.duration_since(oldest));
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }

    /// Remembers a wrong credential.
    pub(super) fn record(&self, peer: Option<IpAddr>, credential: Fingerprint) {
        let now = self.clock.instant();
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= PEERS && !wrong.contains_key(&peer) {
            wrong.retain(|_, seen| seen.last().is_some_and(|(_, at)| now.duration_since(*at) < WINDOW));
            let victim = wrong.keys().next().copied().filter(|_| wrong.len() >= PEERS);
            if let Some(victim) = victim {
                wrong.remove(&victim);
            }
        }
        let seen = wrong.entry(peer).or_default();
        if seen.len() < ALLOWED && !seen.iter().any(|(known, _)| *known == credential) {
            seen.push((credential, now));
        }
    }
}
