//! A feed that all replicas share: one capped Redis stream per topic.
//!
//! Connections come from small pools of their own, because a reader that waits blocks the connection it waits on;
//! the script host's connection never carries a feed. A cursor is the id of the entry it stands behind. Trimming
//! takes the oldest entries only, so all that follows an entry is there as long as the entry itself is: every read
//! begins with the cursor's own entry. Without it, nothing is missing only where the writers say that it was the last
//! one that they took away; Redis 6.2 itself does not tell what it has trimmed. Else the read is [`FeedError::Lost`].
//!
//! A writer gathers for a moment what it appends, so that many requests cost the store one call. Topics are written
//! each for itself: what keeps one waiting, or fills its queue, does not touch the other.

mod lender;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::streams::StreamReadReply;
use redis::{Cmd, Pipeline, Script};
use tokio_util::sync::CancellationToken;

use self::lender::{Lender, unavailable};
use super::queue::{Batch, Queue};
use super::{Cursor, Dropped, Entry, Feed, FeedError, KEPT_FOR, Missing, Page, Topic, page_size};
use crate::clock::{Clock, jitter};
use crate::config::RedisConfig;
use crate::store::ident::ReplicaId;
use crate::store::keys::Keys;
use crate::store::redis::Locator;

/// Readers that are served at a time; one more is told that the feed is busy.
const READERS: usize = 16;
/// Entries of a topic that wait for a store that is away.
const QUEUE: usize = 4096;
/// Entries written in one round trip.
const BATCH: usize = 256;
/// One answer of Redis at most.
const ANSWER: Duration = Duration::from_millis(500);
/// How long one blocking read lasts; then it is repeated, so that a connection that died silently is noticed.
const BLOCK: Duration = Duration::from_secs(5);
/// How long a writer gathers, unless it has a full batch: its readers wait no longer than this.
const GATHER: Duration = Duration::from_millis(100);
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
    /// How long an entry is kept, as long as others follow it.
    pub age: Duration,
    /// Entries of each topic that may wait in this process for a store that is away.
    pub queue: usize,
    /// Readers that are served at a time.
    pub readers: usize,
}

impl Default for RedisFeedSize {
    /// 10,000 entries, a week; 4,096 waiting of each topic, 16 readers.
    fn default() -> Self {
        Self { entries: 10_000, age: KEPT_FOR, queue: QUEUE, readers: READERS }
    }
}

/// Capped streams in Redis. Cheap to clone.
#[derive(Clone)]
pub struct RedisFeed {
    readers: Arc<Lender>,
    queues: Queues,
    keys: Keys,
    clock: Clock,
}

/// One per topic.
type Queues = Arc<[Queue; Topic::ALL.len()]>;

/// The task that appends what waits.
pub struct FeedWriter {
    lender: Lender,
    queues: Queues,
    keys: Keys,
    size: RedisFeedSize,
    writer: ReplicaId,
    missing: Option<Missing>,
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
        let locator = Locator::new(config, keys.prefix()).map_err(|error| unavailable(&error))?;
        let locator = Arc::new(locator);
        let queues: Queues =
            Arc::new(Topic::ALL.map(move |topic| Queue::new(topic, size.queue, Arc::clone(&dropped))));
        let feed = Self {
            readers: Arc::new(Lender::new(Arc::clone(&locator), size.readers, ANSWER, BLOCK + ANSWER)),
            queues: Arc::clone(&queues),
            keys: keys.clone(),
            clock,
        };
        let lender = Lender::new(locator, Topic::ALL.len(), ANSWER, ANSWER);
        Ok((feed, FeedWriter { lender, queues, keys, size, writer, missing: None }))
    }

    async fn read(&self, topic: Topic, cursor: Cursor, limit: usize) -> Result<Page, FeedError> {
        let key = self.keys.feed(topic.as_str());
        let limit = page_size(limit);
        let from = cursor.to_string();
        let (mut rows, trimmed) = self.look(range(&key, &from, limit + 1), &key).await?;
        if rows.first().is_some_and(|(id, _)| *id == from) {
            rows.remove(0);
        } else if rows.is_empty() && cursor == Cursor::ORIGIN {
            // There is nothing, whatever was there once: the end of a stream that was deleted is here, too.
        } else if trimmed.unwrap_or_else(|| Cursor::ORIGIN.to_string()) != from {
            return Err(FeedError::Lost);
        }
        rows.truncate(limit);
        page(rows, cursor)
    }

    /// Rows of the stream `key`, and what was trimmed of it last a moment later: had more been trimmed in between, the
    /// rows would have been complete none the less.
    async fn look(&self, rows: Cmd, key: &str) -> Result<(Vec<Row>, Option<String>), FeedError> {
        let mut both = Pipeline::with_capacity(2);
        both.add_command(rows).cmd("GET").arg(trimmed(key));
        let lent = self.readers.lend().await?;
        let found = lent.answer(both.query_async(&mut lent.connection())).await?;
        lent.give_back();
        Ok(found)
    }

    /// As [`Self::look`], as a page; without rows its place is behind all there was.
    async fn page(&self, rows: Cmd, key: &str, reverse: bool) -> Result<Page, FeedError> {
        let (mut rows, trimmed) = self.look(rows, key).await?;
        if reverse {
            rows.reverse();
        }
        // Trimming by number leaves some.
        let end = trimmed.and_then(|id| id.parse().ok()).unwrap_or(Cursor::ORIGIN);
        page(rows, end)
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
        let news: Option<StreamReadReply> = lent.checked(read.query_async(&mut lent.connection()).await)?;
        lent.give_back();
        Ok(news.is_some_and(|news| !news.keys.is_empty()))
    }
}

/// Where the writers of the stream `key` say what they trimmed of it.
fn trimmed(key: &str) -> String {
    [key, ":trimmed"].concat()
}

fn range(key: &str, from: &str, limit: usize) -> Cmd {
    let mut range = redis::cmd("XRANGE");
    range.arg(key).arg(from).arg("+").arg("COUNT").arg(limit);
    range
}

fn back(key: &str, from: &str, limit: usize) -> Cmd {
    let mut range = redis::cmd("XREVRANGE");
    range.arg(key).arg(from).arg("-").arg("COUNT").arg(page_size(limit));
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
        self.queues[topic as usize].push(text);
    }

    fn waiting(&self, topic: Topic) -> usize {
        self.queues[topic as usize].waiting()
    }

    fn recent(&self, topic: Topic, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        async move {
            let key = self.keys.feed(topic.as_str());
            self.page(back(&key, "+", limit), &key, true).await
        }
        .boxed()
    }

    fn beyond(&self, topic: Topic, cursor: Cursor, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        async move {
            let key = self.keys.feed(topic.as_str());
            let newer = range(&key, &format!("({cursor}"), page_size(limit));
            let page = self.page(newer, &key, false).await?;
            // What is appended between the two is missed by nobody: it is behind the place.
            Ok(if page.entries.is_empty() {
                Page { next: self.page(back(&key, "+", 1), &key, true).await?.next, ..page }
            } else {
                page
            })
        }
        .boxed()
    }

    fn before(
        &self,
        topic: Topic,
        cursor: Cursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, FeedError>> {
        async move {
            let key = self.keys.feed(topic.as_str());
            // Ids of streams begin with 0-1.
            if cursor == Cursor::ORIGIN {
                return Ok(Vec::new());
            }
            Ok(self.page(back(&key, &format!("({cursor}"), limit), &key, true).await?.entries)
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
    /// Has an entry written where some were dropped: what `missing` makes of their number.
    #[must_use]
    pub fn telling(self, missing: Missing) -> Self {
        Self { missing: Some(missing), ..self }
    }

    /// Appends what waits until `stop`, and then once more what waits at that moment.
    pub async fn run(self, stop: CancellationToken) {
        let [one, other] = Topic::ALL;
        tokio::join!(self.run_topic(one, &stop), self.run_topic(other, &stop));
    }

    async fn run_topic(&self, topic: Topic, stop: &CancellationToken) {
        let queue = &self.queues[topic as usize];
        let name = topic.as_str();
        let mut away = false;
        loop {
            if !queue.has(BATCH) {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = queue.filled(BATCH) => {}
                    () = stop.cancelled() => {}
                }
            }
            let batch = queue.take(BATCH);
            if batch.is_empty() {
                tokio::select! {
                    biased;
                    () = queue.news() => {}
                    () = stop.cancelled() => return,
                }
                continue;
            }
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.write(topic, &batch).await {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(topic = name, %error, "the feed cannot be written; it is tried again");
                }
                if stop.is_cancelled() {
                    queue.give_up(&batch);
                    queue.give_up(&queue.take(usize::MAX));
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(pause + jitter(pause / 2)) => {}
                    () = stop.cancelled() => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            queue.written(&batch);
            if std::mem::take(&mut away) {
                tracing::info!(topic = name, "the feed is written again");
            }
            if batch.lost > 0 {
                tracing::warn!(topic = name, dropped = batch.lost, "entries of the feed were dropped");
            }
        }
    }

    /// Appends `batch`; not repeated where it was carried out.
    async fn write(&self, topic: Topic, batch: &Batch) -> Result<(), FeedError> {
        let missing = self.missing.as_ref().filter(|_| batch.lost > 0);
        let missing = missing.and_then(|missing| missing(topic, batch.lost)).map(|text| (batch.number, text));
        let entries = (batch.number + 1..).zip(batch.entries.iter().cloned());
        let entries: Vec<_> = missing.into_iter().chain(entries).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let stream = self.keys.feed(topic.as_str());
        let mut append = APPEND.prepare_invoke();
        append.key(&stream).key([&stream, ":", self.writer.as_str()].concat()).key(trimmed(&stream));
        let age = u64::try_from(self.size.age.as_millis()).unwrap_or(u64::MAX);
        append.arg(self.size.entries).arg(age).arg(WRITER_MS);
        for (number, text) in &entries {
            append.arg(number).arg(&text[..]);
        }
        let lent = self.lender.lend().await?;
        let _appended: u64 = lent.checked(append.invoke_async(&mut lent.connection()).await)?;
        lent.give_back();
        Ok(())
    }
}
