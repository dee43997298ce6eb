//! Where this gateway's feed of events and logs is kept: with the store, so that replicas share it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Map;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::presence;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::Store;
use crate::store::feed::redis::{FeedWriter, RedisFeed, RedisFeedSize};
use crate::store::feed::ring::{Ring, RingSize};
use crate::store::feed::{Dropped, ENTRY_MAX, Feed, Missing, Topic};
use crate::store::ident::ReplicaId;
use crate::store::keys::Keys;
use crate::telemetry::metrics::{Metrics, label};
use crate::telemetry::records::{self, Kept, Record};

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
        metrics.feed_dropped.of(label_of(topic)).inc_by(count);
    });
    let form = Form { replica: writer.clone(), host: presence::host(), clock: clock.clone() };
    let (feed, task): (Arc<dyn Feed>, _) = match &config.store.redis {
        None => (Arc::new(Ring::new(RingSize::default(), clock, Arc::clone(&dropped))), None),
        Some(redis) => {
            let size = RedisFeedSize::default();
            let dropped = Arc::clone(&dropped);
            let (feed, task) =
                RedisFeed::new(redis, keys.clone(), writer.clone(), clock.clone(), size, dropped)?;
            let form = form.clone();
            let missing: Missing = Arc::new(move |topic, count| match topic {
                Topic::Logs => form.text(&lost(count)),
                // Nothing that happened to the pool; the counter and the log tell of it.
                Topic::Events => None,
            });
            (Arc::new(feed), Some(task.telling(missing)))
        }
    };
    let logs = LogKeeper { feed: Arc::clone(&feed), form, dropped, records: records::follow(), lost: 0 };
    Ok(OpenFeed { feed, writer: task, logs })
}

/// Sets the gauges of what waits for the store.
pub(super) fn show_waiting(store: &Store, metrics: &Metrics) {
    for topic in Topic::ALL {
        let waiting = store.feed().map_or(0, |feed| feed.waiting(topic));
        metrics.feed_queued.of(label_of(topic)).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

fn label_of(topic: Topic) -> label::Topic {
    match topic {
        Topic::Events => label::Topic::Events,
        Topic::Logs => label::Topic::Logs,
    }
}

/// What makes records into entries of the topic `logs`.
#[derive(Clone)]
struct Form {
    replica: ReplicaId,
    host: String,
    clock: Clock,
}

impl Form {
    fn text(&self, record: &Record) -> Option<Bytes> {
        let kept = Kept {
            time: self.clock.epoch_ms(),
            replica: self.replica.as_str().into(),
            host: self.host.as_str().into(),
            level: record.level.into(),
            target: record.target.into(),
            message: record.message.as_str().into(),
            fields: record.fields.clone(),
        };
        // Numbers and texts always have a form in JSON.
        serde_json::to_vec(&kept).ok().map(Bytes::from)
    }
}

/// What stands where `count` records of a replica are missing (spec `http-api.md` §5.4).
fn lost(count: u64) -> Record {
    Record {
        level: "warn",
        target: module_path!(),
        message: format!("({count} log lines dropped)"),
        fields: Map::from_iter([("dropped".to_owned(), count.into())]),
    }
}

/// Brings the log records of this process to the topic `logs`.
pub(super) struct LogKeeper {
    feed: Arc<dyn Feed>,
    form: Form,
    dropped: Dropped,
    records: broadcast::Receiver<Arc<Record>>,
    /// How many records were lost since the last one that was kept.
    lost: u64,
}

impl LogKeeper {
    /// Keeps what is logged since the feed was opened, until `stop` and all that was logged before it.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let record = tokio::select! {
                biased;
                record = self.records.recv() => record,
                () = stop.cancelled() => break,
            };
            match record {
                Ok(record) => self.keep(&record),
                Err(RecvError::Lagged(missed)) => self.lose(missed),
                Err(RecvError::Closed) => break,
            }
        }
        self.tell();
    }

    fn keep(&mut self, record: &Record) {
        match self.form.text(record) {
            Some(text) if text.len() <= ENTRY_MAX => {
                self.tell();
                self.feed.append(Topic::Logs, text);
            }
            _ => self.lose(1),
        }
    }

    fn lose(&mut self, count: u64) {
        self.lost += count;
        (self.dropped)(Topic::Logs, count);
    }

    /// Says how many records are missing here, if any.
    fn tell(&mut self) {
        let count = std::mem::take(&mut self.lost);
        if count > 0
            && let Some(text) = self.form.text(&lost(count))
        {
            self.feed.append(Topic::Logs, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::config::RedisConfig;
    use crate::store::embedded::EmbeddedHost;
    use crate::store::registry;

    #[tokio::test]
    async fn what_waits_for_a_store_that_is_away_shows_in_the_gauge() {
        let mut config = Config::default();
        // Nobody listens there, and the writer does not run.
        config.store.redis = Some(RedisConfig::parse("redis://127.0.0.1:1").unwrap());
        let keys = Keys::new("main").unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let replica = ReplicaId::new("r").unwrap();
        let open = open(&config, &keys, &replica, &Clock::system(), &metrics).unwrap();
        let host = EmbeddedHost::in_memory(Clock::system(), registry::ALL).unwrap();
        let store = Store::new(Arc::new(host), keys, &config.selection).noting(Arc::clone(&open.feed));
        open.feed.append(Topic::Events, "{}".into());
        let large = vec![b' '; ENTRY_MAX + 1];
        open.feed.append(Topic::Logs, large.into());
        show_waiting(&store, &metrics);
        assert_eq!(
            [label::Topic::Events, label::Topic::Logs].map(|t| metrics.feed_queued.of(t).get()),
            [1, 0]
        );
        assert_eq!(metrics.feed_dropped.of(label::Topic::Logs).get(), 1, "too long to be kept");
    }
    /// Records for a keeper of `ring`, and what it has counted as dropped.
    fn keeper(
        ring: &Arc<Ring>,
        waiting: usize,
    ) -> (LogKeeper, broadcast::Sender<Arc<Record>>, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let (sender, records) = broadcast::channel(waiting);
        let keeper = LogKeeper {
            feed: Arc::clone(ring) as _,
            form: Form { replica: ReplicaId::new("r").unwrap(), host: "h".into(), clock: Clock::system() },
            dropped: Arc::new(move |_, count| {
                counted.fetch_add(count, Ordering::Relaxed);
            }),
            records,
            lost: 0,
        };
        (keeper, sender, count)
    }

    #[tokio::test]
    async fn one_record_tells_where_others_are_missing() {
        let ring = Arc::new(Ring::new(RingSize::default(), &Clock::system(), Arc::new(|_, _| {})));
        let (keeper, sender, count) = keeper(&ring, 4);
        let record =
            |message: String| Arc::new(Record { level: "info", target: "t", message, fields: Map::new() });
        for number in 0..10 {
            sender.send(record(number.to_string())).unwrap();
        }
        // Six times as long in JSON.
        let long = "\u{1}".repeat(ENTRY_MAX / 2);
        sender.send(record(long.clone())).unwrap();
        sender.send(record("last".into())).unwrap();
        sender.send(record(long)).unwrap();
        drop(sender);
        keeper.run(CancellationToken::new()).await;
        let page = ring.recent(Topic::Logs, 99).await.unwrap();
        let kept: Vec<Kept<'_>> =
            page.entries.iter().map(|entry| serde_json::from_slice(&entry.text).unwrap()).collect();
        let told: Vec<_> = kept.iter().map(|kept| (&*kept.level, &*kept.message)).collect();
        let lost = |message| ("warn", message);
        assert_eq!(
            told,
            [
                lost("(9 log lines dropped)"),
                ("info", "9"),
                lost("(1 log lines dropped)"),
                ("info", "last"),
                lost("(1 log lines dropped)"),
            ]
        );
        assert_eq!(kept[0].fields["dropped"], 9);
        assert_eq!(count.load(Ordering::Relaxed), 11);
    }
}
