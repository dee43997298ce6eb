//! Entries on their way to a store that may be slow or away: bounded, the oldest dropped first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Dropped, ENTRY_MAX, Topic};

/// One entry that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) topic: Topic,
    /// Grows with each entry of this process; gaps are those that were dropped.
    pub(super) number: u64,
    pub(super) text: Bytes,
}

/// A bounded queue with many writers and one reader.
pub(super) struct Queue {
    lane: Mutex<Lane>,
    news: Notify,
    capacity: usize,
    dropped: Dropped,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    /// How many there have been.
    ever: u64,
}

impl Queue {
    pub(super) fn new(capacity: usize, dropped: Dropped) -> Self {
        Self { lane: Mutex::default(), news: Notify::new(), capacity, dropped }
    }

    pub(super) fn push(&self, topic: Topic, text: Bytes) {
        if text.len() > ENTRY_MAX {
            return (self.dropped)(topic, 1);
        }
        let oldest = {
            let mut lane = self.lock();
            lane.ever += 1;
            let entry = Waiting { topic, number: lane.ever, text };
            let oldest = if lane.waiting.len() < self.capacity { None } else { lane.waiting.pop_front() };
            lane.waiting.push_back(entry);
            oldest
        };
        self.news.notify_one();
        if let Some(oldest) = oldest {
            (self.dropped)(oldest.topic, 1);
        }
    }

    /// Takes up to `most` entries, the oldest first; may be none.
    pub(super) fn take(&self, most: usize) -> Vec<Waiting> {
        let mut lane = self.lock();
        let count = most.min(lane.waiting.len());
        lane.waiting.drain(..count).collect()
    }

    /// Returns when something may have been pushed since the last call.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Drops `entries`.
    pub(super) fn give_up(&self, entries: &[Waiting]) {
        for topic in Topic::ALL {
            let count = entries.iter().filter(|entry| entry.topic == topic).count();
            if count > 0 {
                (self.dropped)(topic, count as u64);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lane> {
        // A queue is whole after any panic.
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
