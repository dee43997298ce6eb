//! Leases of this process: held while a request is in flight, renewed together, gone with the process.
//!
//! Every process also sweeps: leases whose holder died are dropped at the next beat of any other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::LeaseId;
use crate::store::ops::admit::Renewal;

/// Pause after a beat that the store did not answer.
const RETRY: Duration = Duration::from_secs(1);

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

    /// How many attempts hold a lease here.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().len()
    }

    /// Renews all leases every third of `ttl` until `stop`, and drops those of processes that are gone, also when
    /// this one holds none. A store that is away is asked again every second, so that leases that lapse meanwhile
    /// live again as soon as it is back.
    pub async fn renew(self, store: Store, ttl: Duration, stop: CancellationToken) {
        loop {
            let pause = match self.beat(&store, ttl).await {
                Ok(()) => ttl / 3,
                Err(error) => {
                    tracing::warn!(%error, "leases could not be renewed");
                    RETRY.min(ttl / 3)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn beat(&self, store: &Store, ttl: Duration) -> Result<(), StoreError> {
        let held: Vec<LeaseId> = self.lock().iter().cloned().collect();
        let beat = store.heartbeat(&held, ttl).await?;
        let of = |wanted| held.iter().zip(&beat.renewals).filter(move |(_, renewal)| **renewal == wanted);
        let revived = of(Renewal::Revived).count();
        if revived > 0 {
            tracing::info!(leases = revived, "leases that had lapsed live again");
        }
        // One that was settled during the beat is not held any more.
        let mut leases = self.lock();
        let lost = of(Renewal::Unknown).filter(|(lease, _)| leases.remove(*lease)).count();
        drop(leases);
        if lost > 0 {
            tracing::warn!(
                leases = lost,
                "the store knows no more of leases held here; their requests go on"
            );
        }
        if beat.lapsed > 0 {
            tracing::info!(leases = beat.lapsed, "leases of processes that are gone have lapsed");
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<LeaseId>> {
        // A set of ids is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
