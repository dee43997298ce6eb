//! The feed of events and logs, in the process and in Redis: order, cap, resumption, outages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::RedisConfig;
use antigravity_proxy::store::feed::redis::{FeedWriter, RedisFeed, RedisFeedSize};
use antigravity_proxy::store::feed::ring::{Ring, RingSize};
use antigravity_proxy::store::feed::{
    Cursor, Dropped, ENTRY_MAX, Entry, Feed, FeedError, Missing, Page, Topic,
};
use antigravity_proxy::store::ident::{CredentialVersion, InvalidReason, ReplicaId};
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::ops::accounts::SetAccount;
use antigravity_proxy::store::ops::clients::ClientChange;
use antigravity_proxy::store::ops::settings::Scope;
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::{client, new_client};
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
    Ring::new(RingSize { entries, bytes: 1 << 20, ..RingSize::default() }, &Clock::system(), counting().1)
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

    // Backwards, page by page.
    let older = feed.before(Topic::Logs, newest.entries[0].cursor, 10).await.unwrap();
    let older_texts = |entries: &[Entry]| texts(&Page { entries: entries.to_vec(), next: end });
    assert_eq!(older_texts(&older), numbered(5..15));
    let oldest = feed.before(Topic::Logs, older[0].cursor, 10).await.unwrap();
    assert_eq!((oldest.len(), &oldest[0].text[..]), (5, &b"0"[..]));
    assert!(feed.before(Topic::Logs, oldest[0].cursor, 10).await.unwrap().is_empty());

    // What is newer than a place is found whether the place was ever one or not.
    let all = feed.beyond(Topic::Logs, Cursor::ORIGIN, 100).await.unwrap();
    assert_eq!((texts(&all), all.next), (numbered(0..20), end));
    assert_eq!(texts(&feed.beyond(Topic::Logs, page.next, 2).await.unwrap()), numbered(3..5));
    let future: Cursor = "999999999999999-999999999999999".parse().unwrap();
    let nothing = feed.beyond(Topic::Logs, future, 5).await.unwrap();
    assert_eq!((nothing.entries.len(), nothing.next), (0, end), "back to where it ends");
    assert_eq!(feed.before(Topic::Logs, future, 1).await.unwrap()[0].cursor, end);
    assert_eq!(feed.after(Topic::Logs, future, 5).await, Err(FeedError::Lost));
    assert!(feed.before(Topic::Logs, Cursor::ORIGIN, 5).await.unwrap().is_empty());

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
    let size = RingSize { entries: 100, bytes: 2 * ENTRY_MAX, ..RingSize::default() };
    let small = Ring::new(size, &Clock::system(), dropped);
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

/// What a feed does that keeps entries for a short while only.
async fn aging(feed: &dyn Feed, age: Duration) {
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    for text in numbered(0..3) {
        append(feed, &text);
    }
    let (_, end) = follow(feed, start, 3).await;
    let second = feed.after(Topic::Logs, start, 2).await.unwrap().next;
    tokio::time::sleep(age * 2).await;
    append(feed, "3");
    // Who has read all of the old ones misses nothing, though the entry of his place is gone.
    let (seen, now) = follow(feed, end, 1).await;
    assert_eq!(seen, ["3"]);
    assert_eq!(texts(&feed.recent(Topic::Logs, 9).await.unwrap()), ["3"], "the old ones are gone");
    assert_eq!(texts(&feed.after(Topic::Logs, end, 9).await.unwrap()), ["3"]);
    for gone in [start, second] {
        assert_eq!(feed.after(Topic::Logs, gone, 9).await, Err(FeedError::Lost));
    }
    assert_eq!(texts(&feed.beyond(Topic::Logs, second, 9).await.unwrap()), ["3"]);
    tokio::time::sleep(age * 2).await;
    append(feed, "4");
    assert_eq!(follow(feed, now, 1).await.0, ["4"]);
    assert_eq!(feed.after(Topic::Logs, end, 9).await, Err(FeedError::Lost));
}

#[tokio::test]
async fn a_ring_forgets_what_is_old() {
    let age = ms(200);
    let size = RingSize { age, ..RingSize::default() };
    aging(&Ring::new(size, &Clock::system(), counting().1), age).await;
}

#[tokio::test]
async fn a_stream_forgets_what_is_old_on_every_server() {
    for flavour in Flavour::ALL.into_iter().filter(|flavour| flavour.program().is_some()) {
        let server = RedisServer::with(flavour, &["--save", "", "--appendonly", "no"]);
        // Longer than a writer gathers.
        let age = ms(1000);
        let (feed, writer, _) = on(&server, "w", RedisFeedSize { age, ..RedisFeedSize::default() });
        let appending = Running::start(writer);
        aging(&feed, age).await;
        appending.stop().await;
    }
}

#[tokio::test]
async fn a_hundred_entries_cost_few_calls() {
    let server = RedisServer::start();
    let (feed, writer, _) = on(&server, "w", RedisFeedSize::default());
    let appending = Running::start(writer);
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    append(&feed, "0");
    follow(&feed, start, 1).await;
    let calls = || -> u64 {
        let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut server.connect()).unwrap();
        let scripts = stats.lines().filter(|line| line.starts_with("cmdstat_eval"));
        let count = |line: &str| line.split("calls=").nth(1)?.split(',').next()?.parse::<u64>().ok();
        scripts.filter_map(count).sum()
    };
    let before = calls();
    for text in numbered(1..101) {
        append(&feed, &text);
        tokio::time::sleep(ms(2)).await;
    }
    follow(&feed, start, 101).await;
    let made = calls() - before;
    assert!(made <= 10, "{made} calls");
    appending.stop().await;
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

/// How many are missing, as an entry.
fn missing() -> Missing {
    Arc::new(|topic, count| (topic == Topic::Logs).then(|| format!("{count} missing").into()))
}

#[tokio::test]
async fn an_entry_tells_where_others_were_dropped_and_each_topic_has_its_own_room() {
    let mut server = RedisServer::start();
    let (feed, writer, dropped) = on(&server, "w", RedisFeedSize { queue: 4, ..RedisFeedSize::default() });
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    server.kill();
    feed.append(Topic::Events, "event".into());
    for text in numbered(0..10) {
        append(&feed, &text);
    }
    let appending = Running::start(writer.telling(missing()));
    // Until it has taken them.
    let taken = async {
        while feed.waiting(Topic::Logs) < 8 {
            append(&feed, "more");
            tokio::time::sleep(ms(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("the writer takes them");
    let before = dropped.load(Ordering::Relaxed);
    for text in numbered(10..15) {
        append(&feed, &text);
    }
    assert_eq!(dropped.load(Ordering::Relaxed), before + 5);
    server.restart();
    let (seen, _) = follow(&feed, start, 10).await;
    let lost = |text: &String| text.strip_suffix(" missing").and_then(|count| count.parse::<u64>().ok());
    let (first, second) = (lost(&seen[0]).unwrap(), lost(&seen[5]).unwrap());
    assert_eq!(first + second, dropped.load(Ordering::Relaxed));
    assert!(second >= 5, "those that were dropped last: {seen:?}");
    assert_eq!(seen[6..], numbered(11..15));
    assert!(seen[1..5].iter().all(|text| lost(text).is_none()), "{seen:?}");
    // What is told of is told of once, and the topic that nobody flooded has lost nothing.
    append(&feed, "last");
    appending.stop().await;
    let all = texts(&feed.recent(Topic::Logs, 99).await.unwrap());
    assert_eq!((all.len(), all.last().unwrap().as_str()), (11, "last"));
    assert_eq!(texts(&feed.recent(Topic::Events, 9).await.unwrap()), ["event"]);
}

#[tokio::test]
async fn a_topic_that_cannot_be_written_does_not_hold_back_the_other() {
    let server = RedisServer::start();
    let (feed, writer, dropped) = on(&server, "w", RedisFeedSize::default());
    let keys = Keys::new("test").unwrap();
    let blocked = format!("{}feed:events", keys.prefix());
    let mut connection = server.connect();
    redis::cmd("SET").arg(&blocked).arg("no stream").exec(&mut connection).unwrap();
    let start = feed.recent(Topic::Logs, 1).await.unwrap().next;
    let appending = Running::start(writer);
    feed.append(Topic::Events, "event".into());
    for text in numbered(0..5) {
        append(&feed, &text);
    }
    assert_eq!(follow(&feed, start, 5).await.0, numbered(0..5));
    assert_eq!([feed.waiting(Topic::Events), feed.waiting(Topic::Logs)], [1, 0]);
    redis::cmd("DEL").arg(&blocked).exec(&mut connection).unwrap();
    let written = async {
        while feed.waiting(Topic::Events) > 0 {
            tokio::time::sleep(ms(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("it is tried again");
    appending.stop().await;
    assert_eq!(texts(&feed.recent(Topic::Events, 9).await.unwrap()), ["event"]);
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_stream_that_was_deleted_is_followed_from_its_new_beginning() {
    let server = RedisServer::start();
    let size = RedisFeedSize { entries: 100, ..RedisFeedSize::default() };
    let (feed, writer, _) = on(&server, "w", size);
    let appending = Running::start(writer);
    for text in numbered(0..500) {
        append(&feed, &text);
    }
    let written = async {
        while feed.waiting(Topic::Logs) > 0 {
            tokio::time::sleep(ms(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.unwrap();
    let place = feed.recent(Topic::Logs, 1).await.unwrap().next;
    let key = format!("{}feed:logs", Keys::new("test").unwrap().prefix());
    let mut connection = server.connect();
    let trimmed: String = redis::cmd("GET").arg(format!("{key}:trimmed")).query(&mut connection).unwrap();
    assert_eq!(trimmed, "-", "which was the last of those is not known");
    redis::cmd("DEL").arg(&key).exec(&mut connection).unwrap();

    assert_eq!(feed.after(Topic::Logs, place, 9).await, Err(FeedError::Lost));
    let end = feed.recent(Topic::Logs, 9).await.unwrap();
    assert_eq!(feed.after(Topic::Logs, end.next, 9).await.unwrap(), end, "its end is a place");
    let asked = || -> u64 {
        let stats: String = redis::cmd("INFO").arg("stats").query(&mut server.connect()).unwrap();
        let count = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        count.unwrap().trim().parse().unwrap()
    };
    let before = asked();
    assert_eq!(feed.tail(Topic::Logs, end.next, 9, ms(500)).await.unwrap(), end, "it waits");
    assert!(asked() - before < 50, "{}", asked() - before);
    let writing = async {
        tokio::time::sleep(ms(50)).await;
        append(&feed, "anew");
    };
    let ((seen, place), ()) = tokio::join!(follow(&feed, end.next, 1), writing);
    assert_eq!(seen, ["anew"]);
    append(&feed, "more");
    assert_eq!(follow(&feed, place, 1).await.0, ["more"]);
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
async fn accounts_and_their_limits_are_noticed_once() {
    let feed: Arc<dyn Feed> = Arc::new(ring(100));
    let pool = Pool::new(Arc::new(embedded()));
    let noting = Pool { store: pool.store.noting(Arc::clone(&feed)), ..pool };
    noting.add_all(&["x"]).await;
    let at = noting.store.at(T);
    let account = id("x");
    let toggle = SetAccount { enabled: Some(false), ..SetAccount::default() };
    at.set_account(&account, &toggle).await.unwrap();
    at.set_account(&id("nobody"), &toggle).await.unwrap();
    at.set_account(&account, &SetAccount { enabled: Some(true), ..SetAccount::default() }).await.unwrap();
    at.set_account(&account, &SetAccount { enabled: Some(true), ..SetAccount::default() }).await.unwrap();
    // Seen, not changed.
    let seen = SetAccount { tier: Some("pro".into()), ..SetAccount::default() };
    at.set_account(&account, &seen).await.unwrap();
    for number in 0..2 {
        let name = format!("r{number}");
        noting.grant(&name, T + number * 1000).await;
        let reset = Some(Duration::from_mins(10));
        let outcome = if number == 0 {
            Outcome::Success
        } else {
            Outcome::RateLimited { kind: LimitKind::Quota, reset }
        };
        noting.settle("x", &name, T + number * 1000, outcome).await;
    }
    let cv = CredentialVersion(1);
    at.invalidate_account(&account, cv, InvalidReason::Banned, None).await.unwrap();
    at.clear_invalid(&account, cv, T).await.unwrap();
    at.clear_invalid(&account, cv, T).await.unwrap();
    at.invalidate_account(&account, cv, InvalidReason::Verification, None).await.unwrap();
    for _ in 0..2 {
        at.refresh_accounts(&[(account.clone(), cv)], true).await.unwrap();
    }
    for _ in 0..2 {
        at.remove_account(&account, &[]).await.unwrap();
    }
    let kept = texts(&feed.recent(Topic::Events, 100).await.unwrap());
    let notices: Vec<serde_json::Value> =
        kept.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let kinds: Vec<_> = notices.iter().map(|notice| notice["kind"].as_str().unwrap()).collect();
    let expected = [
        "account.added",
        "account.changed",
        "account.changed",
        "limit.set",
        "account.invalid",
        "account.valid",
        "account.invalid",
        "account.valid",
        "account.removed",
    ];
    assert_eq!(kinds, expected);
    assert!(notices.iter().all(|notice| notice["account"] == "x"), "{notices:?}");
    assert_eq!((&notices[3]["reason"], &notices[3]["until"]), (&"quota".into(), &(T + 601_000).into()));
    assert!(notices[3]["model"].is_string());
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
    let key = client("k");
    stores[1].at(T).put_client(&new_client(&key, "ada")).await.unwrap();
    let rotate = ClientChange { rotate: Some(("secret-digest".into(), ms(0))), ..ClientChange::default() };
    for change in [ClientChange::default(), rotate, ClientChange { revoke: true, ..ClientChange::default() }]
    {
        stores[0].at(T).change_client(&key, &change).await.unwrap();
    }
    // Refused: nothing happened.
    stores[0].at(T).change_client(&key, &ClientChange::default()).await.unwrap();
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
        "key.created",
        "key.changed",
        "key.rotated",
        "key.revoked",
    ];
    assert_eq!(kinds, expected);
    assert_eq!((&notices[0]["replica"], &notices[0]["host"]), (&"a".into(), &"host-1".into()));
    assert_eq!((&notices[1]["account"], &notices[1]["reason"]), (&"x".into(), &"banned".into()));
    assert_eq!(notices[3]["generation"], 1);
    assert_eq!(notices[3]["names"], serde_json::json!(["throttle.emergencyMs"]));
    assert!(!kept[3].contains("12345"), "values may be secret");
    assert_eq!((&notices[4]["replica"], &notices[4]["time"]), (&"a".into(), &(T + 15_000).into()));
    assert!(notices[6..].iter().all(|notice| notice["key"] == "k"));
    assert!(!kept[8].contains("secret-digest"));
}
