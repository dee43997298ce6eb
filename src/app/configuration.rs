//! The settings and the strategy's view of accounts, as the console asks for them.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::gateway::{AppGateway, store_refusal};
use crate::config::Strategy;
use crate::server::error::ApiError;
use crate::server::gateway::configuration::{
    ConfigBrief, ConfigView, Configuration, Configured, ModelChange, ModelConfigured, StrategyHealth,
    TrackerView, Trackers,
};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ops::trackers::{Tracker, TrackerPage};

/// Accounts of one look at the store.
const PAGE: u32 = 1000;

impl Configuration for AppGateway {
    fn config_brief(&self) -> ConfigBrief {
        self.settings.brief()
    }

    fn config_view(&self) -> BoxFuture<'_, ConfigView> {
        async move {
            let looked = self.settings.refresh().await;
            if let Err(error) = &looked {
                tracing::debug!(%error, "the shared settings could not be read");
            }
            ConfigView { stale: looked.is_err(), ..self.settings.document() }
        }
        .boxed()
    }

    fn configure(&self, change: Map<String, Value>) -> BoxFuture<'_, Result<Configured, ApiError>> {
        async move { self.settings.configure(&change).await.map_err(|error| store_refusal(&error)) }.boxed()
    }

    fn configure_model<'a>(
        &'a self,
        model: &'a str,
        change: ModelChange,
    ) -> BoxFuture<'a, Result<ModelConfigured, ApiError>> {
        async move {
            self.settings.configure_model(model, &change).await.map_err(|error| store_refusal(&error))
        }
        .boxed()
    }

    fn strategy_health(&self) -> BoxFuture<'_, Result<StrategyHealth, ApiError>> {
        async move { health(&self.store).await.map_err(|error| store_refusal(&error)) }.boxed()
    }
}

/// What the store says of the accounts; only hybrid goes by it.
async fn health(store: &Store) -> Result<StrategyHealth, StoreError> {
    let mut page = store.list_trackers(0, PAGE).await?;
    let mut accounts = Vec::new();
    loop {
        let TrackerPage { stamp, strategy, bucket, next, trackers } = page;
        accounts.extend(trackers.into_iter().map(|tracker| view(tracker, bucket)));
        let next = next.filter(|_| strategy == Strategy::Hybrid);
        let Some(next) = next else {
            let read = Timestamp::from_millisecond(stamp.now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
            return Ok(StrategyHealth {
                strategy: strategy.as_str(),
                trackers: (strategy == Strategy::Hybrid).then_some(Trackers { accounts }),
                last_updated: read.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            });
        };
        page = store.list_trackers(next, PAGE).await?;
    }
}

fn view(tracker: Tracker, bucket: f64) -> TrackerView {
    TrackerView {
        email: tracker.email,
        health_score: tenths(tracker.health),
        is_usable: tracker.healthy,
        consecutive_failures: tracker.failures,
        tokens: tenths(tracker.tokens),
        has_tokens: tracker.has_tokens,
        max_tokens: tenths(bucket),
        in_flight: tracker.in_flight,
        last_used: tracker.last_used_ms,
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
