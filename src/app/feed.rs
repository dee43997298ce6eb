//! Where this gateway's feed of events and logs is kept: with the store, so that replicas share it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::feed::redis::{FeedWriter, RedisFeed, RedisFeedSize};
use crate::store::feed::ring::{Ring, RingSize};
use crate::store::feed::{Dropped, Feed, Topic};
use crate::store::ident::ReplicaId;
use crate::store::keys::Keys;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::records::{self, Record};

/// A gateway's feed.
pub(super) struct OpenFeed {
    pub(super) feed: Arc<dyn Feed>,
    /// What has to run for it to be written; a feed within the process needs none.
    pub(super) writer: Option<FeedWriter>,
    /// What brings log records to it.
    pub(super) logs: LogKeeper,
}

/// Opens the feed.
pub(super) fn open(
    config: &Config,
    keys: &Keys,
    writer: &ReplicaId,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<OpenFeed> {
    let metrics = Arc::clone(metrics);
    let dropped: Dropped = Arc::new(move |topic, count| {
        metrics.feed_dropped.with_label_values(&[topic.as_str()]).inc_by(count);
    });
    let (feed, task): (Arc<dyn Feed>, _) = match &config.store.redis {
        None => (Arc::new(Ring::new(RingSize::default(), clock, Arc::clone(&dropped))), None),
        Some(redis) => {
            let size = RedisFeedSize::default();
            let dropped = Arc::clone(&dropped);
            let (feed, task) =
                RedisFeed::new(redis, keys.clone(), writer.clone(), clock.clone(), size, dropped)?;
            (Arc::new(feed), Some(task))
        }
    };
    let logs = LogKeeper {
        feed: Arc::clone(&feed),
        replica: writer.clone(),
        clock: clock.clone(),
        dropped,
        records: records::follow(),
    };
    Ok(OpenFeed { feed, writer: task, logs })
}

/// Brings the log records of this process to the topic `logs`.
pub(super) struct LogKeeper {
    feed: Arc<dyn Feed>,
    replica: ReplicaId,
    clock: Clock,
    dropped: Dropped,
    records: broadcast::Receiver<Arc<Record>>,
}

/// A record as it is kept: `{"time":ms,"replica":"…","level":"info","target":"…","message":"…","fields":{…}}`.
#[derive(Serialize)]
struct Kept<'a> {
    time: i64,
    replica: &'a str,
    level: &'a str,
    target: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: &'a Map<String, Value>,
}

impl LogKeeper {
    /// Keeps what is logged since the feed was opened, until `stop` and all that was logged before it.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let record = tokio::select! {
                biased;
                record = self.records.recv() => record,
                () = stop.cancelled() => return,
            };
            match record {
                Ok(record) => self.keep(&record),
                Err(RecvError::Lagged(missed)) => (self.dropped)(Topic::Logs, missed),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn keep(&self, record: &Record) {
        let kept = Kept {
            time: self.clock.epoch_ms(),
            replica: self.replica.as_str(),
            level: record.level,
            target: record.target,
            message: &record.message,
            fields: &record.fields,
        };
        // Numbers and texts always have a form in JSON.
        if let Ok(text) = serde_json::to_vec(&kept) {
            self.feed.append(Topic::Logs, text.into());
        }
    }
}
