//! The hub over a ring that may be away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::super::ring::{Ring, RingSize};
use super::*;
use crate::clock::Clock;

/// A ring that counts who reads it, and does not answer while it is away.
struct Shaky {
    ring: Ring,
    away: AtomicBool,
    reads: AtomicUsize,
    tails: AtomicUsize,
    /// No place is one, not even the end that it names.
    lost: AtomicBool,
}

impl Shaky {
    fn new(entries: usize) -> Arc<Self> {
        let size = RingSize { entries, ..RingSize::default() };
        let ring = Ring::new(size, &Clock::system(), Arc::new(|_, _| {}));
        Arc::new(Self { ring, away: false.into(), reads: 0.into(), tails: 0.into(), lost: false.into() })
    }

    fn write(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.ring.append(Topic::Logs, number.to_string().into());
        }
    }

    fn answer<'f, T: Send + 'f>(
        &'f self,
        read: BoxFuture<'f, Result<T, FeedError>>,
    ) -> BoxFuture<'f, Result<T, FeedError>> {
        let away = || FeedError::Unavailable { reason: "test".into() };
        self.reads.fetch_add(1, Ordering::Relaxed);
        async move {
            if self.away.load(Ordering::Relaxed) {
                return Err(away());
            }
            let answer = read.await;
            if self.away.load(Ordering::Relaxed) { Err(away()) } else { answer }
        }
        .boxed()
    }
}

impl Shaky {
    fn known<'f>(
        &'f self,
        read: BoxFuture<'f, Result<Page, FeedError>>,
    ) -> BoxFuture<'f, Result<Page, FeedError>> {
        if self.lost.load(Ordering::Relaxed) {
            return async { Err(FeedError::Lost) }.boxed();
        }
        read
    }
}

impl Feed for Shaky {
    fn append(&self, topic: Topic, text: Bytes) {
        self.ring.append(topic, text);
    }

    fn waiting(&self, _topic: Topic) -> usize {
        0
    }

    fn recent(&self, topic: Topic, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        self.answer(self.ring.recent(topic, limit))
    }

    fn beyond(&self, topic: Topic, cursor: Cursor, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        self.answer(self.ring.beyond(topic, cursor, limit))
    }

    fn before(
        &self,
        topic: Topic,
        cursor: Cursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, FeedError>> {
        self.answer(self.ring.before(topic, cursor, limit))
    }

    fn after(&self, topic: Topic, cursor: Cursor, limit: usize) -> BoxFuture<'_, Result<Page, FeedError>> {
        self.answer(self.known(self.ring.after(topic, cursor, limit)))
    }

    fn tail(
        &self,
        topic: Topic,
        cursor: Cursor,
        limit: usize,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Page, FeedError>> {
        self.tails.fetch_add(1, Ordering::Relaxed);
        self.answer(self.known(self.ring.tail(topic, cursor, limit, patience)))
    }
}

fn start(feed: &Arc<Shaky>) -> (Hub, CancellationToken, JoinHandle<()>) {
    let hub = Hub::new(Arc::clone(feed) as _);
    let stop = CancellationToken::new();
    let running = TaskTracker::new().spawn(hub.clone().run(stop.clone()));
    (hub, stop, running)
}

fn numbers(page: &Page) -> Vec<u32> {
    page.entries.iter().map(|entry| std::str::from_utf8(&entry.text).unwrap().parse().unwrap()).collect()
}

/// The numbers of the next `count` entries, and where they end.
async fn take(follower: &mut Follower, count: usize, limit: usize) -> (Vec<u32>, Cursor) {
    let (mut seen, mut end) = (Vec::new(), Cursor::ORIGIN);
    while seen.len() < count {
        match follower.next(limit).await {
            News::Page(page) => {
                assert!(page.entries.len() <= limit);
                seen.extend(numbers(&page));
                end = page.next;
            }
            News::Gap => panic!("a gap after {seen:?}"),
        }
    }
    (seen, end)
}

/// The place where a follower of what comes from now on begins.
async fn place(follower: &mut Follower) -> Cursor {
    match follower.next(1).await {
        News::Page(page) if page.entries.is_empty() => page.next,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn history_and_news_join_for_all_by_one_reader() {
    let feed = Shaky::new(1000);
    feed.write(0..10);
    let (hub, stop, running) = start(&feed);
    let mut late = hub.follow(Topic::Logs, Start::Now);
    let middle = {
        let mut recent = hub.follow(Topic::Logs, Start::Recent(4));
        let News::Page(page) = recent.next(2).await else { panic!("a gap") };
        assert_eq!(numbers(&page), [6, 7, 8, 9], "all it asked for");
        page.entries[1].cursor
    };
    let begin = place(&mut late).await;
    // The reader begins.
    tokio::time::sleep(PAUSE).await;
    let mut behind = hub.follow(Topic::Logs, Start::After(middle));
    assert_eq!(take(&mut behind, 2, 9).await.0, [8, 9]);
    let mut all: Vec<_> = (0..40).map(|_| hub.follow(Topic::Logs, Start::After(begin))).collect();
    all.extend([late, behind]);
    feed.write(10..300);
    for follower in &mut all {
        assert_eq!(take(follower, 290, 64).await.0, (10..300).collect::<Vec<_>>());
    }
    // Everybody waits at the end: it is one who reads.
    let waiting = futures_util::future::join_all(all.iter_mut().map(|follower| follower.next(9)));
    let before = feed.reads.load(Ordering::Relaxed);
    let ((), answers) = tokio::join!(async { feed.write(300..301) }, waiting);
    assert!(answers.iter().all(|news| matches!(news, News::Page(page) if numbers(page) == [300])));
    let reads = feed.reads.load(Ordering::Relaxed) - before;
    assert!(reads <= 2, "{reads} of {:?}", feed.reads);
    assert_eq!(hub.followers(), 42);
    drop(all);
    assert_eq!(hub.followers(), 0);
    tokio::time::sleep(PAUSE).await;
    let idle = feed.reads.load(Ordering::Relaxed);
    tokio::time::sleep(READ * 3).await;
    assert_eq!(feed.reads.load(Ordering::Relaxed), idle, "nobody follows, nobody reads");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_a_pause() {
    let feed = Shaky::new(1000);
    feed.write(0..3);
    let (hub, _stop, _running) = start(&feed);
    let mut follower = hub.follow(Topic::Logs, Start::Recent(9));
    assert_eq!(take(&mut follower, 3, 9).await.0, [0, 1, 2]);
    feed.away.store(true, Ordering::Relaxed);
    let mut fresh = hub.follow(Topic::Logs, Start::Recent(9));
    let silence = Duration::from_mins(10);
    feed.write(3..6);
    assert!(tokio::time::timeout(silence, fresh.next(9)).await.is_err());
    feed.away.store(false, Ordering::Relaxed);
    assert_eq!(take(&mut follower, 3, 9).await.0, [3, 4, 5]);
    assert_eq!(take(&mut fresh, 6, 9).await.0, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_told_once_and_the_rest_follows() {
    let feed = Shaky::new(10);
    feed.write(0..5);
    let (hub, _stop, _running) = start(&feed);
    let mut slow = hub.follow(Topic::Logs, Start::Recent(2));
    let (seen, place) = take(&mut slow, 2, 2).await;
    assert_eq!(seen, [3, 4]);
    // Nobody follows while they are written: no window has them.
    drop(slow);
    tokio::time::sleep(PAUSE).await;
    feed.write(5..25);
    let mut resumed = hub.follow(Topic::Logs, Start::After(place));
    assert_eq!(resumed.next(64).await, News::Gap);
    assert_eq!(take(&mut resumed, 10, 64).await.0, (15..25).collect::<Vec<_>>());
    // The window remembers more than this ring does.
    feed.write(25..30);
    assert_eq!(take(&mut resumed, 5, 64).await.0, (25..30).collect::<Vec<_>>());
    for start in 0..5 {
        feed.write(30 + start * 8..38 + start * 8);
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(take(&mut resumed, 40, 7).await.0, (30..70).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_place_of_another_feed_is_a_gap() {
    let feed = Shaky::new(10);
    feed.write(0..3);
    let (hub, _stop, _running) = start(&feed);
    let mut of_the_past = hub.follow(Topic::Logs, Start::After("5-7".parse().unwrap()));
    assert_eq!(of_the_past.next(9).await, News::Gap);
    assert_eq!(take(&mut of_the_past, 3, 9).await.0, [0, 1, 2]);
    let mut of_the_future = hub.follow(Topic::Logs, Start::After("999999999999999-1".parse().unwrap()));
    assert_eq!(of_the_future.next(9).await, News::Gap);
    place(&mut of_the_future).await;
    feed.write(3..4);
    assert_eq!(take(&mut of_the_future, 1, 9).await.0, [3]);
}

#[tokio::test(start_paused = true)]
async fn a_feed_whose_end_is_no_place_is_not_asked_without_pause() {
    let feed = Shaky::new(10);
    feed.lost.store(true, Ordering::Relaxed);
    let (hub, _stop, _running) = start(&feed);
    let mut follower = hub.follow(Topic::Logs, Start::Now);
    place(&mut follower).await;
    let silence = Duration::from_mins(1);
    let (mut gaps, mut entries) = (0, 0);
    let following = async {
        loop {
            match follower.next(9).await {
                News::Gap => gaps += 1,
                News::Page(page) => entries += page.entries.len(),
            }
        }
    };
    assert!(tokio::time::timeout(silence, following).await.is_err());
    assert_eq!((gaps, entries), (1, 0), "told once");
    // Two who ask, each a few times for every pause.
    let reads = feed.reads.load(Ordering::Relaxed);
    assert!(reads <= 6 * 60 * 2, "{reads} reads in a minute");
    feed.lost.store(false, Ordering::Relaxed);
    feed.write(0..3);
    let (mut seen, mut told) = (Vec::new(), 0);
    while seen.len() < 3 {
        match follower.next(9).await {
            News::Gap => told += 1,
            News::Page(page) => seen.extend(numbers(&page)),
        }
    }
    assert_eq!((&seen[..], told), (&[0, 1, 2][..], 0));
}

#[tokio::test(start_paused = true)]
async fn a_window_is_bounded_by_bytes_and_entries() {
    let entry = |number: u64, bytes: usize| Entry {
        cursor: Cursor { ms: 1, number },
        text: Bytes::from(vec![b' '; bytes]),
    };
    let page = |from: u64, to: u64, bytes: usize| Page {
        entries: (from..to).map(|number| entry(number, bytes)).collect(),
        next: Cursor { ms: 1, number: to - 1 },
    };
    let mut window = Window::of(page(10, 20, 1));
    let at = |number: u64| Cursor { ms: 1, number };
    assert_eq!(window.after(at(9), 5), None, "perhaps there is one between");
    assert_eq!(window.after(at(17), 5).unwrap().len(), 2);
    assert_eq!(window.after(at(19), 5), Some(Vec::new()));
    assert_eq!(window.after(at(20), 5), None);
    window.extend(page(20, 20 + WINDOW as u64, 1));
    assert_eq!((window.entries.len(), window.after(at(18), 1)), (WINDOW, None));
    assert_eq!(window.after(at(19), 1).unwrap()[0].cursor, at(20));
    let large = WINDOW_BYTES / 4;
    window.extend(page(5000, 5010, large));
    assert_eq!((window.entries.len(), window.bytes), (4, 4 * large));
    assert_eq!(window.after(at(5005), 9).unwrap().len(), 4);
}
