//! This replica among those of the pool: it joins, beats, says that it drains, and leaves.
//!
//! Presence is for people and gauges; no request depends on it. With each beat it also notices that the store has lost
//! the list of encryption keys, which needs no lost connection. A replica that ends without a word lapses after
//! three missed beats, and the next beat of any other one sweeps it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::settings::SharedSettings;
use crate::account::lease::Leases;
use crate::auth::rotation;
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::server::drain::Drain;
use crate::server::gateway::ReplicaView;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::ReplicaId;
use crate::store::ops::replicas::{Announcement, ReplicaState};
use crate::telemetry::metrics::Metrics;

/// Between two beats.
const BEAT: Duration = Duration::from_secs(5);
/// A replica that has been silent for so long is gone.
const TTL: Duration = Duration::from_secs(15);

/// This replica's presence. Cheap to clone.
#[derive(Clone)]
pub(super) struct Presence {
    pub(super) id: ReplicaId,
    pub(super) store: Store,
    pub(super) vault: Arc<Vault>,
    pub(super) settings: SharedSettings,
    pub(super) leases: Leases,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) started: Instant,
}

impl Presence {
    /// Announces this replica until `stop`, at once when `drain` begins, then retires it. `stop` comes after the
    /// drain, so that a draining replica is seen as long as it has streams.
    pub(super) async fn run(self, drain: Drain, stop: CancellationToken) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = ReplicaState::Serving;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = drain.begun(), if state == ReplicaState::Serving => state = ReplicaState::Draining,
                _ = beat.tick() => {}
            }
            if let Err(error) = self.beat(state).await {
                tracing::debug!(%error, "this replica could not announce itself");
            }
        }
        if let Err(error) = self.store.retire_replica(&self.id).await {
            tracing::debug!(%error, "this replica could not say goodbye; it lapses by itself");
        }
    }

    async fn beat(&self, state: ReplicaState) -> Result<(), StoreError> {
        if let Err(error) = rotation::follow(&self.vault, &self.store).await {
            tracing::warn!(%error, "this gateway goes on sealing with the key it has");
        }
        let (host, keys) = (host(), self.vault.announced_ids());
        let announced = self
            .store
            .announce_replica(&Announcement {
                id: &self.id,
                ttl: TTL,
                host: &host,
                uptime: self.clock.instant().saturating_duration_since(self.started),
                in_flight: self.leases.held() as u64,
                generation: self.settings.generation(),
                state,
                keys: &keys,
            })
            .await?;
        self.metrics.replicas.set(i64::try_from(announced.known).unwrap_or(i64::MAX));
        if !announced.listed {
            tracing::warn!(
                "the pool's list of encryption keys was lost: the key that seals is put on it again"
            );
            if let Err(error) = rotation::flush(&self.vault, &self.store).await {
                tracing::warn!(%error, "the store may not know the key that this gateway seals with");
            }
        }
        for lapsed in &announced.lapsed {
            tracing::warn!(replica.id = %lapsed.id, host = lapsed.host, "a replica ended without a word");
        }
        Ok(())
    }

    /// All replicas that are alive.
    pub(super) async fn list(&self) -> Result<Vec<ReplicaView>, StoreError> {
        let listed = self.store.list_replicas().await?;
        let since = |ms: i64| listed.stamp.now_ms.saturating_sub(ms).max(0);
        let view = |replica: &crate::store::ops::replicas::ReplicaView| ReplicaView {
            id: replica.id.as_str().to_owned(),
            host: replica.host.clone(),
            version: replica.version.clone(),
            scripts: replica.scripts.clone(),
            started_at: replica.started_at_ms,
            uptime_ms: since(replica.started_at_ms),
            in_flight: replica.in_flight,
            settings_generation: replica.generation.0,
            state: replica.state.as_str().to_owned(),
            last_seen_ms: since(replica.seen_at_ms),
            is_self: replica.id == self.id,
        };
        Ok(listed.replicas.iter().map(view).collect())
    }
}

/// The name of this machine, which is the pod's in Kubernetes; without what no record may hold.
pub(super) fn host() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = String::new();
    let name: String = name.chars().filter(|c| !c.is_control()).take(253).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}
