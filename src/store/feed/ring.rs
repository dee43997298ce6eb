//! A feed in this process: what one gateway without Redis keeps, until it ends.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Cursor, Dropped, ENTRY_MAX, Entry, Feed, FeedError, KEPT_FOR, Page, Topic, page_size};
use crate::clock::Clock;

/// How much of each topic is kept; the oldest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// Entries.
    pub entries: usize,
    /// Bytes of their texts.
    pub bytes: usize,
    /// How long an entry is kept, as long as others follow it.
    pub age: Duration,
}

impl Default for RingSize {
    /// 10,000 entries or 8 MiB, for a week.
    fn default() -> Self {
        Self { entries: 10_000, bytes: 8 << 20, age: KEPT_FOR }
    }
}

/// One bounded history per topic.
pub struct Ring {
    /// When it was made, so that a cursor of an earlier process is not mistaken for one of this.
    life: u64,
    size: RingSize,
    clock: Clock,
    events: Kept,
    logs: Kept,
    dropped: Dropped,
}

struct Kept {
    entries: Mutex<Entries>,
    /// Number of the newest entry.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Entries {
    /// Each with the time it was appended.
    texts: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// How many there have been; the newest has this number.
    ever: u64,
}

impl Ring {
    /// An empty ring.
    #[must_use]
    pub fn new(size: RingSize, clock: &Clock, dropped: Dropped) -> Self {
        let kept = || Kept { entries: Mutex::default(), newest: watch::Sender::new(0) };
        Self {
            life: u64::try_from(clock.epoch_ms()).unwrap_or_default(),
            size,
            clock: clock.clone(),
            events: kept(),
            logs: kept(),
            dropped,
        }
    }

    fn kept(&self, topic: Topic) -> &Kept {
        match topic {
            Topic::Events => &self.events,
            Topic::Logs => &self.logs,
        }
    }

    fn cursor(&self, number: u64) -> Cursor {
        Cursor { ms: self.life, number }
    }

    /// Up to `limit` entries from the one with number `first` on.
    fn page(&self, entries: &Entries, first: u64, limit: usize) -> Page {
        let skipped = usize::try_from(first - entries.first()).unwrap_or(usize::MAX);
        let found: Vec<_> = (first..)
            .zip(entries.texts.iter().skip(skipped).take(limit))
            .map(|(number, (_, text))| Entry { cursor: self.cursor(number), text: text.clone() })
            .collect();
        let next = found.last().map_or(self.cursor(first - 1), |entry| entry.cursor);
        Page { entries: found, next }
    }

    fn read(&self, topic: Topic, cursor: Cursor, limit: usize) -> Result<Page, FeedError> {
        let entries = self.kept(topic).lock();
        let kept = entries.first() - 1..=entries.ever;
        if cursor.ms != self.life || !kept.contains(&cursor.number) {
            return Err(FeedError::Lost);
        }
        Ok(self.page(&entries, cursor.number + 1, page_size(limit)))
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A push that panicked half-way leaves at worst a wrong count of bytes.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Number of the oldest that is kept, or of the next one.
    fn first(&self) -> u64 {
        self.ever + 1 - self.texts.len() as u64
    }

    fn push(&mut self, text: Bytes, now: Instant, size: RingSize) {
        self.bytes += text.len();
        self.texts.push_back((now, text));
        self.ever += 1;
        while let Some((since, oldest)) = self.texts.front() {
            let old = now.saturating_duration_since(*since) > size.age;
            if !old && self.texts.len() <= size.entries && self.bytes <= size.bytes {
                break;
            }
            self.bytes -= oldest.len();
            self.texts.pop_front();
        }
    }
}

impl Feed for Ring {
    fn append(&self, topic: Topic, text: Bytes) {
        if text.len() > ENTRY_MAX {
            return (self.dropped)(topic, 1);
        }
        let kept = self.kept(topic);
        let newest = {
            let mut entries = kept.lock();
            entries.push(text, self.clock.instant(), self.size);
            entries.ever
        };
        // Two writers may come here in the other order.
        kept.newest.send_if_modified(|known| std::mem::replace(known, newest.max(*known)) < newest);
    }

    fn waiting(&self, _topic: Topic) -> usize {
        0
    }

    fn recent(&self, topic: Topic, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        async move {
            let entries = self.kept(topic).lock();
            let limit = page_size(limit);
            let first = (entries.ever + 1).saturating_sub(limit as u64).max(entries.first());
            Ok(self.page(&entries, first, limit))
        }
        .boxed()
    }

    fn beyond(&self, topic: Topic, cursor: Cursor, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        async move {
            let entries = self.kept(topic).lock();
            let first = match cursor.ms.cmp(&self.life) {
                Ordering::Less => 0,
                Ordering::Equal => cursor.number.saturating_add(1),
                Ordering::Greater => u64::MAX,
            };
            let first = first.clamp(entries.first(), entries.ever + 1);
            Ok(self.page(&entries, first, page_size(limit)))
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
            let entries = self.kept(topic).lock();
            // An earlier process's entries are older than all there is.
            if cursor.ms < self.life {
                return Ok(Vec::new());
            }
            let end = if cursor.ms > self.life { u64::MAX } else { cursor.number }.min(entries.ever + 1);
            let first = end.saturating_sub(page_size(limit) as u64).max(entries.first());
            let count = usize::try_from(end.saturating_sub(first)).unwrap_or(0);
            Ok(if count == 0 { Vec::new() } else { self.page(&entries, first, count).entries })
        }
        .boxed()
    }

    fn after(&self, topic: Topic, cursor: Cursor, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        async move { self.read(topic, cursor, limit) }.boxed()
    }

    fn tail(
        &self,
        topic: Topic,
        cursor: Cursor,
        limit: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Page, FeedError>> {
        async move {
            let mut newest = self.kept(topic).newest.subscribe();
            // A cursor that is not of this ring is refused now, not after the wait.
            let page = self.read(topic, cursor, limit)?;
            if !page.entries.is_empty() {
                return Ok(page);
            }
            // The sender lives in the ring, so only patience can end.
            match tokio::time::timeout(patience, newest.wait_for(|&newest| newest > cursor.number)).await {
                Ok(_) => self.read(topic, cursor, limit),
                Err(_) => Ok(page),
            }
        }
        .boxed()
    }
}
