//! What happened, in order, for people to read: pool events and log records of all replicas.
//!
//! A [`Feed`] is no part of the script host, and nothing is decided by what it holds: it is a bounded history per
//! [`Topic`] that many write and many follow. [`ring::Ring`] keeps it in this process, [`redis::RedisFeed`] in capped
//! streams that all replicas share.
//!
//! Writing costs the caller nothing but a short lock: entries wait in a bounded queue, a task appends them in
//! batches, and what cannot be kept is dropped, the oldest first, and counted; an entry can say so ([`Missing`]). Reading follows a [`Cursor`]: each
//! answer starts right behind it and carries the next one, without gap or duplicate; where that is impossible,
//! because entries in between are no longer kept, the answer says so ([`FeedError::Lost`]).

pub mod hub;
pub mod notice;
mod queue;
pub mod redis;
pub mod ring;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Bytes of one entry at most; a longer one is dropped and counted.
pub const ENTRY_MAX: usize = 8 * 1024;
/// Entries of one answer at most.
pub const PAGE_MAX: usize = 1000;
/// How long an entry is kept.
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);

/// What a feed is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// What an operator wants to know of the pool ([`notice::Notice`]), once per pool.
    Events,
    /// Log records of every replica.
    Logs,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Events, Self::Logs];

    /// `events` or `logs`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Logs => "logs",
        }
    }
}

/// A place in a topic: behind one entry, or before the first. Opaque to readers; valid for the feed it came from, and the
/// same to all replicas that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The store's time, ms since the epoch; for a ring when it was made.
    pub(super) ms: u64,
    /// Counts within `ms`.
    pub(super) number: u64,
}

impl Cursor {
    /// Before all entries of any feed.
    pub const ORIGIN: Self = Self { ms: 0, number: 0 };
}

/// Digits of either number of a cursor at most: times until the year 33,658, and far from where a number that is one
/// larger or smaller is none.
const DIGITS: usize = 15;

/// Text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is two numbers of at most {DIGITS} digits with `-` between them")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let number = |digits: &str| {
            // A number's own parser takes a sign, too.
            let plain = digits.len() <= DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).ok_or(InvalidCursor)
        };
        let (ms, count) = text.split_once('-').ok_or(InvalidCursor)?;
        Ok(Self { ms: number(ms)?, number: number(count)? })
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub cursor: Cursor,
    /// What was appended: one JSON object.
    pub text: Bytes,
}

/// Entries in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The oldest first.
    pub entries: Vec<Entry>,
    /// Where to go on.
    pub next: Cursor,
}

/// Why a feed cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Entries behind the cursor are no longer kept, or the cursor is not of this feed: start anew with
    /// [`Feed::beyond`].
    #[error("entries behind this cursor are no longer kept")]
    Lost,
    /// As many readers as are served at a time are waiting already.
    #[error("too many readers follow this feed")]
    Busy,
    /// The store does not answer.
    #[error("the feed is unavailable: {reason}")]
    Unavailable {
        /// What failed.
        reason: String,
    },
}

/// A bounded history per topic. Every future may be dropped at any await.
pub trait Feed: Send + Sync {
    /// Appends `text`, one JSON object. Returns at once and never fails: what cannot be kept is dropped and counted.
    fn append(&self, topic: Topic, text: Bytes);

    /// How many appended entries of `topic` cannot be read yet, because they wait for the store.
    fn waiting(&self, topic: Topic) -> usize;

    /// The newest `limit` entries, at most [`PAGE_MAX`], and the place behind them.
    fn recent(&self, topic: Topic, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>>;

    /// The first `limit` entries, at most [`PAGE_MAX`], of those that are newer than `cursor`, whether others between are
    /// lost or not; without any, the place is behind all there is.
    fn beyond(&self, topic: Topic, cursor: Cursor, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>>;

    /// The newest `limit` of the entries older than `cursor`, at most [`PAGE_MAX`], the oldest first; none when
    /// there are none any more.
    fn before(
        &self,
        topic: Topic,
        cursor: Cursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, FeedError>>;

    /// Up to `limit` entries, at most [`PAGE_MAX`], right behind `cursor`; none when there are none yet.
    fn after(&self, topic: Topic, cursor: Cursor, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>>;

    /// As [`Feed::after`], but waits for the first entry for as long as `patience`.
    fn tail(
        &self,
        topic: Topic,
        cursor: Cursor,
        limit: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Page, FeedError>>;
}

/// Told how many entries of a topic were dropped; must not block, nor write to the feed.
pub type Dropped = Arc<dyn Fn(Topic, u64) + Send + Sync>;

/// Makes the entry that stands where so many entries of a topic are missing, because they were dropped before they were
/// written; `None` where readers are not told.
pub type Missing = Arc<dyn Fn(Topic, u64) -> Option<Bytes> + Send + Sync>;

fn page_size(limit: usize) -> usize {
    limit.clamp(1, PAGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_the_way_through_a_client() {
        let cursor = Cursor { ms: 1_800_000_000_000, number: 7 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let last = Cursor { ms: 999_999_999_999_999, number: 999_999_999_999_999 };
        assert_eq!(last.to_string().parse(), Ok(last));
        let long = ["1-1000000000000000", "1000000000000000-1", "18446744073709551615-18446744073709551615"];
        for text in ["", "1", "1-", "-1", "1-2-3", "+1-2", "$", "a-b"].into_iter().chain(long) {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
