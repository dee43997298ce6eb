//! Following a feed by many in one process, for the price of one reader per topic.
//!
//! While anybody follows a topic, one task reads it into a bounded window of the newest entries. A [`Follower`] is a
//! place in the topic and no queue: it takes from the window what is right behind its place, and from the feed itself
//! what the window does not have (any more). So a slow one costs no memory and delays nobody, and history and news join
//! without gap or duplicate, because both are cut at the same place. An outage of the store is a pause. What the feed
//! has lost meanwhile is told ([`News::Gap`]), not passed over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Cursor, Entry, Feed, FeedError, PAGE_MAX, Page, Topic};
use crate::clock::jitter;

/// Entries of a window at most.
const WINDOW: usize = 2048;
/// Bytes of their texts at most.
const WINDOW_BYTES: usize = 4 << 20;
/// Entries that a window begins with.
const FIRST: usize = 256;
/// How long one read of the feed waits for news.
const READ: Duration = Duration::from_mins(1);
/// Pause before the feed is asked again that did not answer; up to half as much more at random.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest time until a follower that the window does not serve asks the feed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The shared reading of a feed. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    feed: Arc<dyn Feed>,
    lanes: [Arc<Lane>; Topic::ALL.len()],
}

/// One topic.
struct Lane {
    topic: Topic,
    window: Mutex<Window>,
    /// Counts the changes of the window.
    news: watch::Sender<u64>,
    followers: watch::Sender<usize>,
}

/// The newest entries, none missing between them.
#[derive(Default)]
struct Window {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The place right before the first entry, where it is known.
    from: Option<Cursor>,
    /// The place behind the last entry; `None` while nobody reads.
    to: Option<Cursor>,
}

/// Where a follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Now,
    /// With so many of the newest entries, at most [`PAGE_MAX`].
    Recent(usize),
    /// Right behind a place.
    After(Cursor),
    /// With what is newer than a place, whether anything between is lost or not.
    Beyond(Cursor),
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Entries, right behind those before. None only at the beginning: then `next` is where it begins.
    Page(Page),
    /// Entries are missing here: the feed has lost them. The next page begins with what it still has.
    Gap,
}

/// One who follows a topic.
pub struct Follower {
    feed: Arc<dyn Feed>,
    lane: Arc<Lane>,
    news: watch::Receiver<u64>,
    place: Place,
    /// Whether it was told of a gap and of no entry since.
    lost: bool,
}

#[derive(Clone, Copy)]
enum Place {
    Known(Cursor),
    Begin(Start),
}

impl Hub {
    /// Follows `feed`; needs [`Self::run`].
    #[must_use]
    pub fn new(feed: Arc<dyn Feed>) -> Self {
        let lane = |topic| {
            let window = Mutex::default();
            Arc::new(Lane { topic, window, news: watch::Sender::new(0), followers: watch::Sender::new(0) })
        };
        Self { feed, lanes: Topic::ALL.map(lane) }
    }

    /// The feed itself.
    #[must_use]
    pub fn feed(&self) -> &dyn Feed {
        &*self.feed
    }

    /// A new follower of `topic`.
    #[must_use]
    pub fn follow(&self, topic: Topic, start: Start) -> Follower {
        let lane = Arc::clone(&self.lanes[topic as usize]);
        lane.followers.send_modify(|count| *count += 1);
        let place = match start {
            Start::After(cursor) => Place::Known(cursor),
            begin => Place::Begin(begin),
        };
        Follower { feed: Arc::clone(&self.feed), news: lane.news.subscribe(), lane, place, lost: false }
    }

    /// How many follow a topic, over all topics.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.lanes.iter().map(|lane| *lane.followers.borrow()).sum()
    }

    /// Reads for those who follow, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let [one, other] = &self.lanes;
        tokio::select! {
            () = stop.cancelled() => {}
            () = one.run(&*self.feed) => {}
            () = other.run(&*self.feed) => {}
        }
    }
}

impl Lane {
    /// Reads while anybody follows.
    async fn run(&self, feed: &dyn Feed) {
        let mut followers = self.followers.subscribe();
        // The sender lives in the lane.
        while followers.wait_for(|count| *count > 0).await.is_ok() {
            tokio::select! {
                () = self.read(feed) => {}
                _ = followers.wait_for(|count| *count == 0) => {}
            }
            self.change(|window| *window = Window::default());
        }
    }

    /// Reads for ever.
    async fn read(&self, feed: &dyn Feed) {
        let (mut place, mut lost) = (None, false);
        loop {
            let read = match place {
                None => feed.recent(self.topic, FIRST).await,
                Some(cursor) => feed.tail(self.topic, cursor, PAGE_MAX, READ).await,
            };
            match read {
                Ok(page) => {
                    let next = page.next;
                    if place.replace(next).is_none() {
                        self.change(|window| *window = Window::of(page));
                    } else {
                        lost = false;
                        if !page.entries.is_empty() {
                            self.change(|window| window.extend(page));
                        }
                    }
                }
                Err(FeedError::Lost) => {
                    place = None;
                    self.change(|window| *window = Window::default());
                    // The end that the feed has just named is none: it may be so for long.
                    if std::mem::replace(&mut lost, true) {
                        pause().await;
                    }
                }
                Err(FeedError::Busy | FeedError::Unavailable { .. }) => pause().await,
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Window)) {
        change(&mut self.window());
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        // A change that panicked half-way leaves at worst a wrong count of bytes.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pause() {
    tokio::time::sleep(PAUSE + jitter(PAUSE / 2)).await;
}

impl Window {
    fn of(page: Page) -> Self {
        // Of the newest entries it is not known what the first of them follows.
        let mut window = Self { from: page.entries.is_empty().then_some(page.next), ..Self::default() };
        window.extend(page);
        window
    }

    fn extend(&mut self, page: Page) {
        self.to = Some(page.next);
        for entry in page.entries {
            self.bytes += entry.text.len();
            self.entries.push_back(entry);
        }
        while self.entries.len() > WINDOW || self.bytes > WINDOW_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.text.len();
            self.from = Some(oldest.cursor);
        }
    }

    /// Up to `limit` entries right behind `cursor`; `None` when that place is not in the window.
    fn after(&self, cursor: Cursor, limit: usize) -> Option<Vec<Entry>> {
        // In the order in which they were written, by a clock that only goes forward.
        let behind = self.entries.partition_point(|entry| entry.cursor <= cursor);
        let before = match behind.checked_sub(1) {
            Some(at) => Some(self.entries[at].cursor),
            None => self.from,
        };
        (before == Some(cursor)).then(|| self.entries.range(behind..).take(limit).cloned().collect())
    }
}

impl Follower {
    /// What comes next: waits for it, also through an outage of the store. At most `limit` entries at a time, but for
    /// those it begins with. Nothing is lost when the future is dropped.
    pub async fn next(&mut self, limit: usize) -> News {
        let mut ask = false;
        loop {
            self.news.mark_unchanged();
            let page = match self.place {
                Place::Known(cursor) => match self.behind(cursor, limit, ask).await {
                    Ok(page) if page.entries.is_empty() => {
                        // The lane lives as long as its followers.
                        let changed = tokio::time::timeout(LOOK_AGAIN, self.news.changed()).await;
                        ask = changed.is_err();
                        continue;
                    }
                    other => other,
                },
                Place::Begin(start) => self.begin(start, limit).await,
            };
            ask = false;
            match page {
                Ok(page) => {
                    self.place = Place::Known(page.next);
                    self.lost &= page.entries.is_empty();
                    return News::Page(page);
                }
                Err(FeedError::Lost) => {
                    // Again, before any entry: there is nothing new to tell, and no hurry to look.
                    let told = self.lost;
                    if told {
                        pause().await;
                    }
                    if let Place::Known(cursor) = self.place {
                        self.place = Place::Begin(Start::Beyond(cursor));
                    }
                    self.lost = true;
                    if !told {
                        return News::Gap;
                    }
                }
                Err(FeedError::Busy | FeedError::Unavailable { .. }) => pause().await,
            }
        }
    }

    /// The entries right behind `cursor`, as far as there are any; `ask` the feed if the window says nothing of them.
    async fn behind(&self, cursor: Cursor, limit: usize, ask: bool) -> Result<Page, FeedError> {
        let page = |entries: Vec<Entry>| {
            let next = entries.last().map_or(cursor, |entry| entry.cursor);
            Page { entries, next }
        };
        let (seen, reading) = {
            let window = self.lane.window();
            (window.after(cursor, limit), window.to)
        };
        match seen {
            Some(entries) => Ok(page(entries)),
            // The reader has not come so far yet, or the feed has lost its end.
            None if !ask && reading.is_some_and(|to| to < cursor) => Ok(page(Vec::new())),
            None => self.feed.after(self.lane.topic, cursor, limit).await,
        }
    }

    async fn begin(&self, start: Start, limit: usize) -> Result<Page, FeedError> {
        let topic = self.lane.topic;
        match start {
            Start::Beyond(cursor) | Start::After(cursor) => self.feed.beyond(topic, cursor, limit).await,
            Start::Recent(count) => self.feed.recent(topic, count).await,
            Start::Now => {
                let known = self.lane.window().to;
                let next = match known {
                    Some(next) => next,
                    None => self.feed.recent(topic, 1).await?.next,
                };
                Ok(Page { entries: Vec::new(), next })
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.lane.followers.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
