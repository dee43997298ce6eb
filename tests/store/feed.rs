//! The feed of events and logs, in the process and in Redis: order, cap, resumption, outages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::RedisConfig;
use antigravity_proxy::store::feed::redis::{FeedWriter, RedisFeed, RedisFeedSize};
use antigravity_proxy::store::feed::ring::{Ring, RingSize};
use antigravity_proxy::store::feed::{Cursor, Dropped, ENTRY_MAX, Feed, FeedError, Page, Topic};
use antigravity_proxy::store::ident::{CredentialVersion, InvalidReason, ReplicaId};
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::ops::settings::Scope;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::harness::{Pool, T, embedded, id, ms};
use crate::redis_server::{Flavour, RedisServer};
use crate::replicas::{announcement, replica};

const PATIENCE: Duration = Duration::from_secs(30);

/// Counts what was dropped.
fn counting() -> (Arc<AtomicU64>, Dropped) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    (
        count,
        Arc::new(move |_, dropped| {
            counted.fetch_add(dropped, Ordering::Relaxed);
        }),
    )
}

/// A feed on `server` and its writer, which does not run yet.
fn on(server: &RedisServer, writer: &str, size: RedisFeedSize) -> (RedisFeed, FeedWriter, Arc<AtomicU64>) {
    let (count, dropped) = counting();
    let server = RedisConfig::parse(&server.socket_url()).unwrap();
    let keys = Keys::new("test").unwrap();
    let writer = ReplicaId::new(writer).unwrap();
    let (feed, writer) = RedisFeed::new(&server, keys, writer, Clock::system(), size, dropped).unwrap();
    (feed, writer, count)
}

/// A running writer; ends with this value or, in order, by [`Running::stop`].
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(writer: FeedWriter) -> Self {
        let stop = CancellationToken::new();
        Self { task: TaskTracker::new().spawn(writer.run(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

fn ring(entries: usize) -> Ring {
    Ring::new(RingSize { entries, bytes: 1 << 20 }, &Clock::system(), counting().1)
}

fn texts(page: &Page) -> Vec<String> {
    page.entries.iter().map(|entry| String::from_utf8(entry.text.to_vec()).unwrap()).collect()
}

fn append(feed: &dyn Feed, text: &str) {
    feed.append(Topic::Logs, text.to_owned().into());
}

/// Follows from `cursor` until `count` entries have come; an outage is no end.
async fn follow(feed: &dyn Feed, mut cursor: Cursor, count: usize) -> (Vec<String>, Cursor) {
    let mut seen = Vec::new();
    let following = async {
        while seen.len() < count {
            match feed.tail(Topic::Logs, cursor, 7, PATIENCE).await {
                Ok(page) => {
                    seen.extend(texts(&page));
                    cursor = page.next;
                }
                Err(FeedError::Unavailable { .. }) => tokio::time::sleep(ms(20)).await,
                Err(error) => panic!("{error} after {seen:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, following).await.expect("the entries come");
    (seen, cursor)
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// What every feed does.
async fn story(feed: &dyn Feed) {
    let start = feed.recent(Topic::Logs, 10).await.unwrap();
    assert!(start.entries.is_empty());
    assert_eq!(feed.after(Topic::Logs, start.next, 10).await.unwrap(), start);

    let writing = async {
        tokio::task::yield_now().await;
        for text in numbered(0..20) {
            append(feed, &text);
        }
    };
    let ((seen, end), ()) = tokio::join!(follow(feed, start.next, 20), writing);
    assert_eq!(seen, numbered(0..20));

    // A cursor stands where it stood, also after a way through a client.
    let again: Cursor = start.next.to_string().parse().unwrap();
    let page = feed.after(Topic::Logs, again, 3).await.unwrap();
    assert_eq!(texts(&page), numbered(0..3));
    assert_eq!(texts(&feed.after(Topic::Logs, page.next, 100).await.unwrap()), numbered(3..20));
    let newest = feed.recent(Topic::Logs, 5).await.unwrap();
    assert_eq!((texts(&newest), newest.next), (numbered(15..20), end));

    // Nothing more comes: the place stays. Another topic knows nothing of it.
    let nothing = feed.tail(Topic::Logs, end, 5, ms(60)).await.unwrap();
    assert_eq!((nothing.entries.len(), nothing.next), (0, end));
    assert!(feed.recent(Topic::Events, 5).await.unwrap().entries.is_empty());

    // A place that never was is none.
    let elsewhere: Cursor = "5-77".parse().unwrap();
    assert_eq!(feed.after(Topic::Logs, elsewhere, 5).await, Err(FeedError::Lost));
    assert_eq!(feed.tail(Topic::Logs, elsewhere, 5, PATIENCE).await, Err(FeedError::Lost), "at once");
}

#[tokio::test]
async fn a_ring_is_followed_without_gap_or_duplicate() {
    story(&ring(100)).await;
}

#[tokio::test]
async fn a_stream_is_followed_without_gap_or_duplicate_on_every_server() {
    for flavour in Flavour::ALL.into_iter().filter(|flavour| flavour.program().is_some()) {
        let server = RedisServer::with(flavour, &["--save", "", "--appendonly", "no"]);
        let (feed, writer, dropped) = on(&server, "w", RedisFeedSize::default());
        let appending = Running::start(writer);
        story(&feed).await;
        appending.stop().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 0, "{flavour:?}");
    }
}

#[tokio::test]
async fn a_ring_keeps_the_newest_and_says_so() {
    let feed = ring(5);
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    for text in numbered(0..5) {
        append(&feed, &text);
    }
    let first = feed.after(Topic::Logs, start, 1).await.unwrap();
    append(&feed, "5");
    // The first entry went; who has read it misses nothing.
    assert_eq!(feed.after(Topic::Logs, start, 1).await, Err(FeedError::Lost));
    assert_eq!(texts(&feed.after(Topic::Logs, first.next, 9).await.unwrap()), numbered(1..6));
    assert_eq!(texts(&feed.recent(Topic::Logs, 9).await.unwrap()), numbered(1..6));
    append(&feed, "6");
    assert_eq!(feed.tail(Topic::Logs, first.next, 9, PATIENCE).await, Err(FeedError::Lost));

    let (count, dropped) = counting();
    let small = Ring::new(RingSize { entries: 100, bytes: 2 * ENTRY_MAX }, &Clock::system(), dropped);
    append(&small, &"x".repeat(ENTRY_MAX + 1));
    assert_eq!(count.load(Ordering::Relaxed), 1, "one entry may not take it all");
    for _ in 0..9 {
        append(&small, &"x".repeat(ENTRY_MAX));
    }
    assert_eq!(small.recent(Topic::Logs, 9).await.unwrap().entries.len(), 2);
}

#[tokio::test]
async fn a_stream_keeps_about_its_cap_and_says_what_is_gone() {
    let server = RedisServer::start();
    let size = RedisFeedSize { entries: 100, ..RedisFeedSize::default() };
    let (feed, writer, _) = on(&server, "w", size);
    let appending = Running::start(writer);
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    append(&feed, "first");
    let (_, early) = follow(&feed, start, 1).await;
    assert_eq!(feed.after(Topic::Logs, start, 9).await.unwrap().entries.len(), 1, "nothing was trimmed yet");
    for text in numbered(0..500) {
        append(&feed, &text);
    }
    appending.stop().await;
    let kept = feed.recent(Topic::Logs, 1000).await.unwrap();
    assert!((100..=300).contains(&kept.entries.len()), "{}", kept.entries.len());
    assert_eq!(texts(&kept).last().unwrap(), "499");
    for gone in [start, early] {
        assert_eq!(feed.after(Topic::Logs, gone, 9).await, Err(FeedError::Lost));
        assert_eq!(feed.tail(Topic::Logs, gone, 9, PATIENCE).await, Err(FeedError::Lost));
    }
    let oldest = kept.entries[0].cursor;
    assert_eq!(texts(&feed.after(Topic::Logs, oldest, 1000).await.unwrap()), texts(&kept)[1..]);
}

#[tokio::test]
async fn what_waits_too_long_is_dropped_the_oldest_first() {
    let server = RedisServer::start();
    let (feed, writer, dropped) = on(&server, "w", RedisFeedSize { queue: 4, ..RedisFeedSize::default() });
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    for text in numbered(0..10) {
        append(&feed, &text);
    }
    append(&feed, &"x".repeat(ENTRY_MAX + 1));
    assert_eq!(dropped.load(Ordering::Relaxed), 7);
    let appending = Running::start(writer);
    assert_eq!(follow(&feed, start, 4).await.0, numbered(6..10));
    appending.stop().await;
}

#[tokio::test]
async fn two_writers_are_read_as_one_order_by_all() {
    let server = RedisServer::start();
    let (one, writer_one, _) = on(&server, "one", RedisFeedSize::default());
    let (two, writer_two, _) = on(&server, "two", RedisFeedSize::default());
    let start = one.recent(Topic::Logs, 1).await.unwrap().next;
    let writing = [Running::start(writer_one), Running::start(writer_two)];
    let write = async |feed: &RedisFeed, name: &str| {
        for number in 0..200 {
            append(feed, &format!("{name}{number}"));
            tokio::task::yield_now().await;
        }
    };
    let ((a, _), (b, _), (), ()) =
        tokio::join!(follow(&one, start, 400), follow(&two, start, 400), write(&one, "a"), write(&two, "b"));
    assert_eq!(a, b);
    for name in ["a", "b"] {
        let of: Vec<_> = a.iter().filter(|text| text.starts_with(name)).cloned().collect();
        assert_eq!(of, (0..200).map(|number| format!("{name}{number}")).collect::<Vec<_>>());
    }
    for writer in writing {
        writer.stop().await;
    }
}

#[tokio::test]
async fn a_restart_of_redis_loses_and_repeats_nothing() {
    let kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut server = RedisServer::with(Flavour::Redis7, &kept);
    let (feed, writer, dropped) = on(&server, "w", RedisFeedSize::default());
    let appending = Running::start(writer);
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    for text in numbered(0..50) {
        append(&feed, &text);
    }
    let (before, place) = follow(&feed, start, 50).await;
    assert_eq!(before, numbered(0..50));
    server.kill();
    for text in numbered(50..100) {
        append(&feed, &text);
    }
    assert!(matches!(feed.after(Topic::Logs, place, 9).await, Err(FeedError::Unavailable { .. })));
    server.restart();
    assert_eq!(follow(&feed, place, 50).await.0, numbered(50..100));
    appending.stop().await;
    assert_eq!(texts(&feed.after(Topic::Logs, start, 1000).await.unwrap()), numbered(0..100));
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_place_in_a_stream_that_redis_forgot_is_lost() {
    let mut server = RedisServer::start();
    let (feed, writer, _) = on(&server, "w", RedisFeedSize::default());
    let appending = Running::start(writer);
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    append(&feed, "forgotten");
    let (_, place) = follow(&feed, start, 1).await;
    server.kill();
    server.restart();
    assert_eq!(feed.after(Topic::Logs, place, 9).await, Err(FeedError::Lost));
    append(&feed, "kept");
    let anew = feed.recent(Topic::Logs, 9).await.unwrap();
    let (seen, _) =
        if anew.entries.is_empty() { follow(&feed, anew.next, 1).await } else { (texts(&anew), anew.next) };
    assert_eq!(seen, ["kept"]);
    appending.stop().await;
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_appended_once() {
    let server = RedisServer::start();
    let (feed, writer, dropped) = on(&server, "w", RedisFeedSize::default());
    let appending = Running::start(writer);
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    append(&feed, "0");
    follow(&feed, start, 1).await;
    server.pause();
    for text in numbered(1..20) {
        append(&feed, &text);
    }
    // Longer than the writer waits for an answer: it has sent the batch, and will send it again.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.resume();
    follow(&feed, start, 20).await;
    append(&feed, "20");
    appending.stop().await;
    assert_eq!(texts(&feed.after(Topic::Logs, start, 1000).await.unwrap()), numbered(0..21));
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_end_writes_what_waits_or_counts_it() {
    let mut server = RedisServer::start();
    let (feed, writer, dropped) = on(&server, "w", RedisFeedSize::default());
    for text in numbered(0..1000) {
        append(&feed, &text);
    }
    Running::start(writer).stop().await;
    assert_eq!(texts(&feed.recent(Topic::Logs, 1000).await.unwrap()), numbered(0..1000));
    assert_eq!(dropped.load(Ordering::Relaxed), 0);

    let (feed, writer, dropped) = on(&server, "v", RedisFeedSize::default());
    server.kill();
    for text in numbered(0..1000) {
        append(&feed, &text);
    }
    Running::start(writer).stop().await;
    assert_eq!(dropped.load(Ordering::Relaxed), 1000);
}

#[tokio::test]
async fn readers_are_bounded_and_leave_no_trace() {
    let server = RedisServer::start();
    let (feed, writer, _) = on(&server, "w", RedisFeedSize { readers: 1, ..RedisFeedSize::default() });
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    let waiting = TaskTracker::new().spawn({
        let feed = feed.clone();
        async move { feed.tail(Topic::Logs, start, 9, PATIENCE).await }
    });
    let mut observer = server.connect();
    let mut blocked = || {
        let clients: String = redis::cmd("INFO").arg("clients").query(&mut observer).unwrap();
        clients.contains("blocked_clients:1")
    };
    let patience = Clock::system().instant() + PATIENCE;
    while !blocked() {
        assert!(Clock::system().instant() < patience, "the reader waits");
        tokio::time::sleep(ms(5)).await;
    }
    assert_eq!(feed.after(Topic::Logs, start, 9).await, Err(FeedError::Busy));
    // One that goes away frees its place at once, and its connection with it.
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert!(feed.after(Topic::Logs, start, 9).await.unwrap().entries.is_empty());
    while blocked() {
        assert!(Clock::system().instant() < patience, "the connection is closed");
        tokio::time::sleep(ms(5)).await;
    }
    let appending = Running::start(writer);
    append(&feed, "0");
    follow(&feed, start, 1).await;
    appending.stop().await;
}

#[tokio::test]
async fn a_pool_has_one_notice_of_each_change() {
    let feed: Arc<dyn Feed> = Arc::new(ring(100));
    let pool = Pool::new(Arc::new(embedded()));
    // Two replicas of one pool.
    let stores = [pool.store.noting(Arc::clone(&feed)), pool.store.noting(Arc::clone(&feed))];
    pool.add_all(&["x"]).await;
    for (store, name) in stores.iter().zip(["a", "b"]) {
        let account = id("x");
        store.at(T).announce_replica(&announcement(&replica(name))).await.unwrap();
        store.at(T).announce_replica(&announcement(&replica(name))).await.unwrap();
        let cv = CredentialVersion(1);
        store.at(T).invalidate_account(&account, cv, InvalidReason::Banned, None).await.unwrap();
    }
    let changes = [((Scope::Selection, "throttle.emergencyMs".to_owned()), Some("12345".to_owned()))].into();
    stores[0].at(T).put_settings(None, &changes).await.unwrap();
    for store in &stores {
        store.at(T + 15_000).announce_replica(&announcement(&replica("b"))).await.unwrap();
    }
    for store in &stores {
        store.at(T + 15_000).retire_replica(&replica("b")).await.unwrap();
    }
    let kept = texts(&feed.recent(Topic::Events, 100).await.unwrap());
    let notices: Vec<serde_json::Value> =
        kept.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let kinds: Vec<_> = notices.iter().map(|notice| notice["kind"].as_str().unwrap()).collect();
    let expected = [
        "replica.joined",
        "account.invalid",
        "replica.joined",
        "settings.changed",
        "replica.lapsed",
        "replica.left",
    ];
    assert_eq!(kinds, expected);
    assert_eq!((&notices[0]["replica"], &notices[0]["host"]), (&"a".into(), &"host-1".into()));
    assert_eq!((&notices[1]["account"], &notices[1]["reason"]), (&"x".into(), &"banned".into()));
    assert_eq!(notices[3]["generation"], 1);
    assert_eq!(notices[3]["names"], serde_json::json!(["throttle.emergencyMs"]));
    assert!(!kept[3].contains("12345"), "values may be secret");
    assert_eq!((&notices[4]["replica"], &notices[4]["time"]), (&"a".into(), &(T + 15_000).into()));
}
