//! Counts and times what goes to the store, whichever host runs the scripts.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use crate::telemetry::metrics::Metrics;

/// A host whose round trips are measured.
pub(super) struct Metered {
    host: Arc<dyn ScriptHost>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Metered {
    pub(super) fn new(host: Arc<dyn ScriptHost>, metrics: Arc<Metrics>, clock: Clock) -> Self {
        Self { host, metrics, clock }
    }
}

impl ScriptHost for Metered {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        async move {
            let scripts: Vec<&'static str> = batch.iter().map(|call| call.script.name).collect();
            let sent = self.clock.instant();
            let replies = self.host.eval(batch).await;
            let took = self.clock.instant().saturating_duration_since(sent);
            self.metrics.store_seconds.observe(took.as_secs_f64());
            self.metrics.store_up.set(i64::from(!matches!(replies, Err(StoreError::Unavailable { .. }))));
            for (at, script) in scripts.into_iter().enumerate() {
                let failed = match &replies {
                    Ok(replies) => matches!(replies.get(at), None | Some(Reply::Error(_))),
                    Err(_) => true,
                };
                self.metrics.store_call(script, failed);
            }
            replies
        }
        .boxed()
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.host.subscribe()
    }
}
