//! Leases of this process: held while a request is in flight, renewed together, gone with the process.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::store::ident::LeaseId;

/// The live leases of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<Mutex<HashSet<LeaseId>>>);

impl Leases {
    /// Renews `lease` from now on.
    pub fn hold(&self, lease: LeaseId) {
        self.lock().insert(lease);
    }

    /// Stops renewing `lease`.
    pub fn release(&self, lease: &LeaseId) {
        self.lock().remove(lease);
    }

    /// How many requests hold a lease here.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Renews all leases every third of `ttl` until `stop`. A store that does not answer is asked again at
    /// the next beat: two of three may fail before a lease lapses.
    pub async fn renew(self, store: Store, ttl: Duration, stop: CancellationToken) {
        let mut beat = tokio::time::interval(ttl / 3);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = beat.tick() => {}
            }
            let held: Vec<LeaseId> = self.lock().iter().cloned().collect();
            if held.is_empty() {
                continue;
            }
            if let Err(error) = store.heartbeat(&held, ttl).await {
                tracing::warn!(leases = held.len(), %error, "leases could not be renewed");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<LeaseId>> {
        // A set of ids is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
