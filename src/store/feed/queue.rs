//! Entries of one topic on their way to a store that may be slow or away: bounded, the oldest dropped first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Dropped, ENTRY_MAX, Topic};

/// Entries that were taken to be written, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// How many entries before them were dropped since the batch before.
    pub(super) lost: u64,
    /// For an entry that says so. Those of `entries` are the ones that follow it; numbers grow from batch to batch.
    pub(super) number: u64,
    pub(super) entries: Vec<Bytes>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.lost == 0 && self.entries.is_empty()
    }
}

/// A bounded queue with many writers and one reader.
pub(super) struct Queue {
    topic: Topic,
    lane: Mutex<Lane>,
    news: Notify,
    capacity: usize,
    dropped: Dropped,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Bytes>,
    /// The last number of the last batch.
    number: u64,
    /// How many were taken, and are neither written nor dropped.
    taken: usize,
    /// How many were dropped since the last batch.
    lost: u64,
}

impl Queue {
    pub(super) fn new(topic: Topic, capacity: usize, dropped: Dropped) -> Self {
        Self { topic, lane: Mutex::default(), news: Notify::new(), capacity, dropped }
    }

    pub(super) fn push(&self, text: Bytes) {
        let lost = {
            let mut lane = self.lock();
            let too_long = text.len() > ENTRY_MAX;
            if !too_long {
                lane.waiting.push_back(text);
            }
            let lost = too_long || lane.waiting.len() > self.capacity && lane.waiting.pop_front().is_some();
            lane.lost += u64::from(lost);
            lost
        };
        self.news.notify_one();
        if lost {
            (self.dropped)(self.topic, 1);
        }
    }

    /// Takes up to `most` entries, the oldest first; may be none.
    pub(super) fn take(&self, most: usize) -> Batch {
        let mut lane = self.lock();
        let count = most.min(lane.waiting.len());
        let entries: Vec<_> = lane.waiting.drain(..count).collect();
        let number = lane.number + 1;
        lane.number = number + entries.len() as u64;
        lane.taken += entries.len();
        Batch { lost: std::mem::take(&mut lane.lost), number, entries }
    }

    /// Returns when something may have been pushed since the last call.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Whether so many entries can be taken.
    pub(super) fn has(&self, count: usize) -> bool {
        self.lock().waiting.len() >= count
    }

    /// Returns when so many entries can be taken.
    pub(super) async fn filled(&self, count: usize) {
        while !self.has(count) {
            self.news().await;
        }
    }

    /// How many entries were pushed and are neither written nor dropped.
    pub(super) fn waiting(&self) -> usize {
        let lane = self.lock();
        lane.waiting.len() + lane.taken
    }

    /// `batch`, which was taken, is written.
    pub(super) fn written(&self, batch: &Batch) {
        let mut lane = self.lock();
        lane.taken = lane.taken.saturating_sub(batch.entries.len());
    }

    /// Drops the entries of `batch`, which was taken. Nobody will be told of them but who counts.
    pub(super) fn give_up(&self, batch: &Batch) {
        self.written(batch);
        if !batch.entries.is_empty() {
            (self.dropped)(self.topic, batch.entries.len() as u64);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lane> {
        // A queue is whole after any panic.
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn queue(capacity: usize) -> (Queue, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let dropped: Dropped = Arc::new(move |topic, count| {
            assert_eq!(topic, Topic::Logs);
            counted.fetch_add(count, Ordering::Relaxed);
        });
        (Queue::new(Topic::Logs, capacity, dropped), count)
    }

    fn push(queue: &Queue, texts: &[&'static str]) {
        for text in texts {
            queue.push(Bytes::from_static(text.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_written_waits() {
        let (queue, dropped) = queue(3);
        push(&queue, &["a", "b", "c", "d"]);
        assert_eq!(queue.waiting(), 3, "the oldest was dropped");
        let batch = queue.take(2);
        assert_eq!(
            (&batch.entries[..], queue.waiting()),
            (&["b".into(), "c".into()][..], 3),
            "taken is not written"
        );
        push(&queue, &["e"]);
        queue.written(&batch);
        assert_eq!(queue.waiting(), 2);
        queue.push(Bytes::from(vec![b' '; ENTRY_MAX + 1]));
        assert_eq!((queue.waiting(), dropped.load(Ordering::Relaxed)), (2, 2));
        queue.give_up(&queue.take(usize::MAX));
        assert_eq!((queue.waiting(), dropped.load(Ordering::Relaxed)), (0, 4));
    }

    #[test]
    fn a_batch_tells_what_was_dropped_before_it_and_numbers_only_grow() {
        let (queue, _) = queue(2);
        assert!(queue.take(9).is_empty());
        push(&queue, &["a", "b", "c"]);
        let first = queue.take(9);
        assert_eq!((first.lost, first.entries.len()), (1, 2));
        // While it cannot be written.
        push(&queue, &["d", "e", "f", "g", "h"]);
        let second = queue.take(1);
        assert_eq!((second.lost, &second.entries[..]), (3, &["g".into()][..]));
        assert!(second.number > first.number + 2);
        let third = queue.take(1);
        assert_eq!((third.lost, &third.entries[..]), (0, &["h".into()][..]), "told once");
        assert!(third.number > second.number + 1);
        queue.push(Bytes::from(vec![b' '; ENTRY_MAX + 1]));
        let nothing = queue.take(9);
        assert_eq!((nothing.lost, nothing.entries.len(), nothing.is_empty()), (1, 0, false));
    }
}
