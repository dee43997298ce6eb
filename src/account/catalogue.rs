//! The models the pool offers, shared by all replicas.
//!
//! Whoever surveys the accounts writes the list; every replica reads it with at most a minute's delay. Nothing
//! here selects an account, so validating a model never spends one (spec `dispatch.md` §10, trap 3).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::telemetry::metrics::Metrics;

/// How long a replica goes by its own copy (spec `dispatch.md` §9.7).
const LOCAL_LIFE: Duration = Duration::from_mins(1);

/// One model of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// The upstream's id.
    pub id: String,
    /// A name for people; the id when the upstream has none.
    pub name: String,
    /// When the pool first offered it, ms since the epoch.
    pub seen_ms: i64,
    /// When an account last offered it, ms since the epoch; 0 in lists of earlier versions.
    #[serde(default)]
    pub offered_ms: i64,
}

/// The list and the copy of it that this process holds.
#[derive(Clone)]
pub struct Catalogue(Arc<Shared>);

struct Shared {
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
    local: ArcSwapOption<Local>,
}

struct Local {
    models: Arc<Vec<Model>>,
    ids: Arc<Vec<String>>,
    read: Instant,
}

impl Catalogue {
    /// The catalogue kept in `store`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared { store, clock, metrics, local: ArcSwapOption::empty() }))
    }

    /// All models, sorted by id; empty while nobody has surveyed the pool.
    pub async fn models(&self) -> Result<Arc<Vec<Model>>, StoreError> {
        Ok(Arc::clone(&self.current().await?.models))
    }

    /// The ids alone, in the same order.
    pub async fn ids(&self) -> Result<Arc<Vec<String>>, StoreError> {
        Ok(Arc::clone(&self.current().await?.ids))
    }

    /// Whether this process's copy of the list names any model.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.local.load().as_ref().is_some_and(|local| !local.ids.is_empty())
    }

    /// Replaces the list. A model keeps the time it was first seen.
    pub async fn put(&self, mut models: Vec<Model>) -> Result<(), StoreError> {
        let known = self.read().await?;
        for model in &mut models {
            if let Some(earlier) = known.models.iter().find(|known| known.id == model.id) {
                model.seen_ms = earlier.seen_ms;
            }
        }
        models.sort_by(|a, b| a.id.cmp(&b.id));
        models.dedup_by(|a, b| a.id == b.id);
        // Strings and integers always serialise.
        let text = serde_json::to_string(&models).unwrap_or_else(|_| "[]".into());
        self.0.store.put_models(&text).await?;
        self.forget();
        Ok(())
    }

    /// Reads the store again at the next question: another replica wrote the list.
    pub fn forget(&self) {
        self.0.local.store(None);
    }

    async fn current(&self) -> Result<Arc<Local>, StoreError> {
        if let Some(local) = self.0.local.load_full() {
            let age = self.0.clock.instant().saturating_duration_since(local.read);
            if age < LOCAL_LIFE && !local.models.is_empty() {
                return Ok(local);
            }
        }
        let local = Arc::new(self.read().await?);
        self.0.local.store(Some(Arc::clone(&local)));
        Ok(local)
    }

    async fn read(&self) -> Result<Local, StoreError> {
        let stored = self.0.store.get_models().await?;
        // A list of an unknown layout is as good as none: the next survey writes it anew.
        let models: Vec<Model> =
            stored.and_then(|stored| serde_json::from_str(&stored.text).ok()).unwrap_or_default();
        self.0.metrics.set_models(models.iter().map(|model| model.id.as_str()));
        let ids = models.iter().map(|model| model.id.clone()).collect();
        Ok(Local { models: Arc::new(models), ids: Arc::new(ids), read: self.0.clock.instant() })
    }
}
