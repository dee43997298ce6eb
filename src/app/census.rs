//! How the pool's accounts stand, regularly counted for the gauges.
//!
//! All replicas see the same pool, each counts for itself: the gauges of any of them are good. It is one script that
//! only reads; a large pool is counted less often, so that this never takes the store more than a small share of its
//! time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::account::catalogue::Catalogue;
use crate::clock::{Clock, jitter};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ops::census::{self, Counted};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::label::AccountState;

/// Between two counts without a reason; up to so much more at random.
const PACE: Duration = Duration::from_secs(15);
const PACE_JITTER: Duration = Duration::from_secs(3);
/// Between two counts at least: accounts changed, or were limited.
const SOON: Duration = Duration::from_secs(1);
/// And this many times what the last one took.
const SHARE: u32 = 200;

/// Counts the accounts. Cheap to clone.
#[derive(Clone)]
pub(super) struct Census {
    pub(super) store: Store,
    pub(super) catalogue: Catalogue,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) wanted: Arc<Notify>,
}

impl Census {
    /// Asks for a count: something has changed.
    pub(super) fn request(&self) {
        self.wanted.notify_one();
    }

    /// Counts until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let begun = self.clock.instant();
            if let Err(error) = self.count().await {
                tracing::debug!(%error, "the accounts could not be counted");
            }
            let now = self.clock.instant();
            let took = now.saturating_duration_since(begun);
            let rest = SOON.max(took * SHARE);
            let next = PACE.max(rest) + jitter(PACE_JITTER);
            let woken = async {
                tokio::time::sleep_until(now + rest + jitter(SOON)).await;
                self.wanted.notified().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(now + next) => {}
                () = woken => {}
            }
        }
    }

    async fn count(&self) -> Result<(), StoreError> {
        let models = self.catalogue.ids().await?;
        let census::Census { stamp: _, available, busy, limited, cooling, invalid, disabled, damaged } =
            self.store.count_accounts(&models).await?;
        for (state, counted) in [
            (AccountState::Available, available),
            (AccountState::Busy, busy),
            (AccountState::Limited, limited),
            (AccountState::Cooling, cooling),
            (AccountState::Invalid, invalid),
            (AccountState::Disabled, disabled),
            (AccountState::Damaged, damaged),
        ] {
            let Counted { accounts, in_flight } = counted;
            self.metrics.accounts.of(state).set(i64::try_from(accounts).unwrap_or(i64::MAX));
            self.metrics.account_requests.of(state).set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        }
        Ok(())
    }
}
