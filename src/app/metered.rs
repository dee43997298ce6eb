//! Counts and times what goes to the store, whichever host runs the scripts.

mod outage;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus::{Histogram, IntCounter};
use tokio::sync::broadcast;

use self::outage::Watch;
use crate::clock::Clock;
use crate::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use crate::store::registry;
use crate::telemetry::metrics::Metrics;

/// A host whose round trips are measured.
pub(super) struct Metered {
    host: Arc<dyn ScriptHost>,
    metrics: Arc<Metrics>,
    clock: Clock,
    scripts: HashMap<&'static str, Measured>,
    watch: Watch,
}

/// What is counted of one script.
struct Measured {
    calls: IntCounter,
    errors: IntCounter,
    /// Made with the first call: most scripts are never called by most gateways.
    seconds: OnceLock<Histogram>,
}

impl Metered {
    pub(super) fn new(host: Arc<dyn ScriptHost>, metrics: Arc<Metrics>, clock: Clock) -> Self {
        let measured = |name: &'static str| Measured {
            calls: metrics.store_calls.with_label_values(&[name]),
            errors: metrics.store_errors.with_label_values(&[name]),
            seconds: OnceLock::new(),
        };
        let scripts = registry::ALL.iter().map(|script| (script.name, measured(script.name))).collect();
        Self { host, metrics, clock, scripts, watch: Watch::default() }
    }
}

impl ScriptHost for Metered {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        async move {
            let scripts: Vec<&'static str> = batch.iter().map(|call| call.script.name).collect();
            let sent = self.clock.instant();
            let replies = self.host.eval(batch).await;
            let now = self.clock.instant();
            let away = matches!(replies, Err(StoreError::Unavailable { .. }));
            self.watch.saw(&self.metrics, !away, sent, now);
            let took = now.saturating_duration_since(sent).as_secs_f64();
            for (at, name) in scripts.iter().enumerate() {
                // Every script is in the registry.
                let Some(measured) = self.scripts.get(name) else { continue };
                measured.calls.inc();
                let failed = match &replies {
                    Ok(replies) => matches!(replies.get(at), None | Some(Reply::Error(_))),
                    Err(_) => true,
                };
                if failed {
                    measured.errors.inc();
                }
                // A trip counts once for each script in it, however often that one was called.
                if !scripts[..at].contains(name) {
                    let seconds = || self.metrics.store_seconds.with_label_values(&[name]);
                    measured.seconds.get_or_init(seconds).observe(took);
                }
            }
            replies
        }
        .boxed()
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.host.subscribe()
    }
}
