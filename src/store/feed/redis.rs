//! A feed that all replicas share: one capped Redis stream per topic.
//!
//! Connections come from small pools of their own, because a reader that waits blocks the connection it waits on;
//! the script host's connection never carries a feed. A cursor is the id of the entry it stands behind. Trimming
//! takes the oldest entries only, so all that follows an entry is there as long as the entry itself is: every read
//! begins with the cursor's own entry and is [`FeedError::Lost`] without it. Redis 6.2 tells no other way what it
//! has trimmed.

mod lender;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::streams::StreamReadReply;
use redis::{Cmd, Pipeline, RedisError, Script};
use tokio_util::sync::CancellationToken;

use self::lender::{Lender, unavailable};
use super::queue::{Queue, Waiting};
use super::{Cursor, Dropped, Entry, Feed, FeedError, Page, Topic, page_size};
use crate::clock::{Clock, jitter};
use crate::config::RedisConfig;
use crate::store::ident::ReplicaId;
use crate::store::keys::Keys;
use crate::store::redis::connection_info;

/// Readers that are served at a time; one more is told that the feed is busy.
const READERS: usize = 16;
/// Entries that wait for a store that is away.
const QUEUE: usize = 4096;
/// Entries written in one round trip.
const BATCH: usize = 256;
/// One answer of Redis at most.
const ANSWER: Duration = Duration::from_millis(500);
/// How long one blocking read lasts; then it is repeated, so that a connection that died silently is noticed.
const BLOCK: Duration = Duration::from_secs(5);
/// Pauses between tries while the store is away.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a writer's last number is remembered: far beyond any repetition of a batch.
const WRITER_MS: u64 = 3_600_000;

static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua")));

/// What a stream's entry looks like: its id, then its one field's name and text.
type Row = (String, (Bytes, Vec<u8>));

/// How much a shared feed holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisFeedSize {
    /// Entries of each topic that are kept, a few more by Redis's leave.
    pub entries: usize,
    /// Entries that may wait in this process for a store that is away.
    pub queue: usize,
    /// Readers that are served at a time.
    pub readers: usize,
}

impl Default for RedisFeedSize {
    /// 10,000 entries, 4,096 waiting, 16 readers.
    fn default() -> Self {
        Self { entries: 10_000, queue: QUEUE, readers: READERS }
    }
}

/// Capped streams in Redis. Cheap to clone.
#[derive(Clone)]
pub struct RedisFeed {
    readers: Arc<Lender>,
    queue: Arc<Queue>,
    keys: Keys,
    clock: Clock,
    size: RedisFeedSize,
}

/// The task that appends what waits.
pub struct FeedWriter {
    lender: Lender,
    queue: Arc<Queue>,
    keys: Keys,
    size: RedisFeedSize,
    writer: ReplicaId,
}

impl RedisFeed {
    /// A feed and its writer, which has to run; nothing connects yet. `writer` must be new with each start.
    pub fn new(
        config: &RedisConfig,
        keys: Keys,
        writer: ReplicaId,
        clock: Clock,
        size: RedisFeedSize,
        dropped: Dropped,
    ) -> Result<(Self, FeedWriter), FeedError> {
        let server = &connection_info(config).map_err(|error| unavailable(&error))?;
        let queue = Arc::new(Queue::new(size.queue, dropped));
        let feed = Self {
            readers: Arc::new(Lender::new(server, size.readers, ANSWER, BLOCK + ANSWER)?),
            queue: Arc::clone(&queue),
            keys: keys.clone(),
            clock,
            size,
        };
        let lender = Lender::new(server, 1, ANSWER, ANSWER)?;
        Ok((feed, FeedWriter { lender, queue, keys, size, writer }))
    }

    async fn read(&self, topic: Topic, cursor: Cursor, limit: usize) -> Result<Page, FeedError> {
        let key = self.keys.feed(topic.as_str());
        let limit = page_size(limit);
        let lent = self.readers.lend().await?;
        let mut rows = if cursor == BEGINNING {
            // Before anything was trimmed there is no gap; trimming leaves at least the cap.
            let mut both = Pipeline::with_capacity(2);
            both.atomic().add_command(length(&key)).add_command(range(&key, "-", limit));
            let (length, rows): (usize, Vec<Row>) =
                lent.answer(both.query_async(&mut lent.connection())).await?;
            if length >= self.size.entries {
                lent.give_back();
                return Err(FeedError::Lost);
            }
            rows
        } else {
            let from = cursor.to_string();
            let mut rows: Vec<Row> =
                lent.answer(range(&key, &from, limit + 1).query_async(&mut lent.connection())).await?;
            if rows.first().is_none_or(|(id, _)| *id != from) {
                lent.give_back();
                return Err(FeedError::Lost);
            }
            rows.remove(0);
            rows
        };
        lent.give_back();
        rows.truncate(limit);
        page(rows, cursor)
    }

    /// Waits until there is an entry behind `cursor`, for `patience` at most, and says whether there is.
    async fn wait(&self, topic: Topic, cursor: Cursor, patience: Duration) -> Result<bool, FeedError> {
        let lent = self.readers.lend().await?;
        let mut read = redis::cmd("XREAD");
        // 0 would wait for ever.
        let block = patience.as_millis().clamp(1, BLOCK.as_millis());
        read.arg("COUNT").arg(1).arg("BLOCK").arg(u64::try_from(block).unwrap_or(1));
        read.arg("STREAMS").arg(self.keys.feed(topic.as_str())).arg(cursor.to_string());
        // Bounded by the connection's own time-out.
        let news: Option<StreamReadReply> =
            read.query_async(&mut lent.connection()).await.map_err(|error| unavailable(&error))?;
        lent.give_back();
        Ok(news.is_some_and(|news| !news.keys.is_empty()))
    }
}

/// The place of a reader who found nothing: before the first entry ever.
const BEGINNING: Cursor = Cursor { ms: 0, number: 0 };

fn length(key: &str) -> Cmd {
    let mut length = redis::cmd("XLEN");
    length.arg(key);
    length
}

fn range(key: &str, from: &str, limit: usize) -> Cmd {
    let mut range = redis::cmd("XRANGE");
    range.arg(key).arg(from).arg("+").arg("COUNT").arg(limit);
    range
}

fn page(rows: Vec<Row>, cursor: Cursor) -> Result<Page, FeedError> {
    let entries = rows
        .into_iter()
        .map(|(id, (_, text))| Ok(Entry { cursor: id.parse()?, text: text.into() }))
        .collect::<Result<Vec<_>, super::InvalidCursor>>()
        .map_err(|error| unavailable(&error))?;
    let next = entries.last().map_or(cursor, |entry| entry.cursor);
    Ok(Page { entries, next })
}

impl Feed for RedisFeed {
    fn append(&self, topic: Topic, text: Bytes) {
        self.queue.push(topic, text);
    }

    fn recent(&self, topic: Topic, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        async move {
            let mut range = redis::cmd("XREVRANGE");
            range.arg(self.keys.feed(topic.as_str())).arg("+").arg("-").arg("COUNT").arg(page_size(limit));
            let lent = self.readers.lend().await?;
            let mut rows: Vec<Row> = lent.answer(range.query_async(&mut lent.connection())).await?;
            lent.give_back();
            rows.reverse();
            page(rows, BEGINNING)
        }
        .boxed()
    }

    fn after(&self, topic: Topic, cursor: Cursor, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        self.read(topic, cursor, limit).boxed()
    }

    fn tail(
        &self,
        topic: Topic,
        cursor: Cursor,
        limit: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Page, FeedError>> {
        async move {
            let deadline = self.clock.instant() + patience;
            loop {
                let page = self.read(topic, cursor, limit).await?;
                let left = deadline.saturating_duration_since(self.clock.instant());
                if !page.entries.is_empty() || left.is_zero() {
                    return Ok(page);
                }
                // What it returns is only a sign to read: between the two the stream may have been trimmed.
                self.wait(topic, cursor, left).await?;
            }
        }
        .boxed()
    }
}

impl FeedWriter {
    /// Appends what waits until `stop`, and then once more what waits at that moment.
    pub async fn run(self, stop: CancellationToken) {
        let mut away = false;
        loop {
            let batch = self.queue.take(BATCH);
            if batch.is_empty() {
                tokio::select! {
                    biased;
                    () = self.queue.news() => {}
                    () = stop.cancelled() => return,
                }
                continue;
            }
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.write(&batch).await {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(%error, "the feed of events and logs cannot be written; it is tried again");
                }
                if stop.is_cancelled() {
                    self.queue.give_up(&batch);
                    self.queue.give_up(&self.queue.take(usize::MAX));
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(pause + jitter(pause / 2)) => {}
                    () = stop.cancelled() => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            if std::mem::take(&mut away) {
                tracing::info!("the feed of events and logs is written again");
            }
        }
    }

    /// Appends `batch`; carried out in part when it fails, and not repeated where it was carried out.
    async fn write(&self, batch: &[Waiting]) -> Result<(), FeedError> {
        let lent = self.lender.lend().await?;
        for topic in Topic::ALL {
            let entries: Vec<_> = batch.iter().filter(|entry| entry.topic == topic).collect();
            if entries.is_empty() {
                continue;
            }
            let stream = self.keys.feed(topic.as_str());
            let mut append = APPEND.prepare_invoke();
            append.key(&stream).key([&stream, ":", self.writer.as_str()].concat());
            append.arg(self.size.entries).arg(WRITER_MS);
            for entry in entries {
                append.arg(entry.number).arg(&entry.text[..]);
            }
            let answer: Result<u64, RedisError> = append.invoke_async(&mut lent.connection()).await;
            answer.map_err(|error| unavailable(&error))?;
        }
        lent.give_back();
        Ok(())
    }
}
