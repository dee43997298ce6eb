//! Followers that come and go at several replicas of one feed: each record exactly once, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::RedisConfig;
use antigravity_proxy::store::feed::hub::{Follower, Hub, News, Start};
use antigravity_proxy::store::feed::redis::{RedisFeed, RedisFeedSize};
use antigravity_proxy::store::feed::ring::{Ring, RingSize};
use antigravity_proxy::store::feed::{Cursor, Feed, Topic};
use antigravity_proxy::store::ident::ReplicaId;
use antigravity_proxy::store::keys::Keys;
use futures_util::future::join_all;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::harness::ms;
use crate::redis_server::{Flavour, RedisServer};

const PATIENCE: Duration = Duration::from_mins(2);

/// Replicas of one feed, at work.
struct Fleet {
    replicas: Vec<(Arc<dyn Feed>, Hub)>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Fleet {
    fn new() -> Self {
        Self { replicas: Vec::new(), stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    fn add(&mut self, feed: Arc<dyn Feed>) {
        let hub = Hub::new(Arc::clone(&feed));
        self.tasks.spawn(hub.clone().run(self.stop.clone()));
        self.replicas.push((feed, hub));
    }

    fn on_redis(server: &RedisServer, count: usize) -> Self {
        let mut fleet = Self::new();
        for number in 0..count {
            let config = RedisConfig::parse(&server.socket_url()).unwrap();
            let writer = ReplicaId::new(&format!("w{number}")).unwrap();
            let size = RedisFeedSize { readers: 4, ..RedisFeedSize::default() };
            let keys = Keys::new("test").unwrap();
            let (feed, writer) = RedisFeed::new(
                &config,
                keys,
                writer,
                Clock::system(),
                size,
                Arc::new(|_, count| panic!("{count} dropped")),
            )
            .unwrap();
            fleet.tasks.spawn(writer.run(fleet.stop.clone()));
            fleet.add(Arc::new(feed));
        }
        fleet
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.unwrap();
    }
}

/// Follows from `place` until the record that says so, now at this replica and now at that one: it leaves after some
/// pages, or in the middle of waiting for one.
async fn hop(fleet: &Fleet, place: Cursor, last: &str, number: u64) -> Vec<String> {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[number.to_le_bytes(); 4].concat());
    let mut below = |bound: u32| random.next_u32() % bound;
    let (mut place, mut seen) = (place, Vec::new());
    loop {
        let replica = below(u32::try_from(fleet.replicas.len()).unwrap()) as usize;
        let mut follower = fleet.replicas[replica].1.follow(Topic::Logs, Start::After(place));
        for _ in 0..=below(5) {
            let patience = ms(below(40).into());
            let limit = 1 + below(80) as usize;
            let Ok(news) = tokio::time::timeout(patience, follower.next(limit)).await else { break };
            let News::Page(page) = news else { panic!("a gap behind {place} after {}", seen.len()) };
            for entry in page.entries {
                assert!(entry.cursor > place);
                place = entry.cursor;
                seen.push(String::from_utf8(entry.text.to_vec()).unwrap());
                if seen.last().is_some_and(|text| text == last) {
                    return seen;
                }
            }
            assert_eq!(page.next, place);
        }
    }
}

/// The place before the first record.
async fn begin(follower: &mut Follower) -> Cursor {
    match follower.next(1).await {
        News::Page(page) => page.next,
        News::Gap => panic!("a gap at the beginning"),
    }
}

/// `count` records of each replica; `meanwhile` something happens. Everybody sees the same.
async fn churn(fleet: &Fleet, count: usize, followers: u64, meanwhile: impl Future<Output = ()>) {
    let start = begin(&mut fleet.replicas[0].1.follow(Topic::Logs, Start::Now)).await;
    let write = async |replica: usize| {
        for number in 0..count {
            fleet.replicas[replica].0.append(Topic::Logs, format!("{replica}:{number}").into());
            if number % 7 == 0 {
                tokio::time::sleep(ms(1)).await;
            }
        }
    };
    let writing = async {
        tokio::join!(join_all((0..fleet.replicas.len()).map(write)), meanwhile);
        // Once all are there.
        let waiting = || fleet.replicas.iter().any(|(feed, _)| feed.waiting(Topic::Logs) > 0);
        while waiting() {
            tokio::time::sleep(ms(10)).await;
        }
        fleet.replicas[0].0.append(Topic::Logs, "end".into());
    };
    let hopping = join_all((0..followers).map(|number| hop(fleet, start, "end", number)));
    let (seen, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(hopping, writing) }).await.unwrap();
    for other in &seen[1..] {
        assert_eq!(*other, seen[0]);
    }
    let mut by_replica: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for text in &seen[0][..seen[0].len() - 1] {
        let (replica, number) = text.split_once(':').unwrap();
        by_replica.entry(replica).or_default().push(number.parse().unwrap());
    }
    assert_eq!(by_replica.len(), fleet.replicas.len());
    for (replica, numbers) in by_replica {
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "of {replica}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_of_a_ring_once_in_order() {
    let mut fleet = Fleet::new();
    fleet.add(Arc::new(Ring::new(RingSize::default(), &Clock::system(), Arc::new(|_, _| {}))));
    churn(&fleet, 3000, 20, async {}).await;
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_once_in_order_at_changing_replicas_of_every_server() {
    for flavour in Flavour::ALL.into_iter().filter(|flavour| flavour.program().is_some()) {
        let server = RedisServer::with(flavour, &["--save", "", "--appendonly", "no"]);
        let fleet = Fleet::on_redis(&server, 3);
        churn(&fleet, 1000, 20, async {}).await;
        fleet.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_once_in_order_though_redis_is_killed_twice() {
    let kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut server = RedisServer::with(Flavour::Redis7, &kept);
    let fleet = Fleet::on_redis(&server, 2);
    let killing = async {
        for _ in 0..2 {
            tokio::time::sleep(ms(60)).await;
            server.kill();
            tokio::time::sleep(ms(100)).await;
            server.restart();
        }
    };
    churn(&fleet, 1500, 12, killing).await;
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_followers_need_one_connection_more() {
    let server = RedisServer::start();
    let fleet = Fleet::on_redis(&server, 1);
    let (feed, hub) = &fleet.replicas[0];
    let mut followers: Vec<_> = (0..100).map(|_| hub.follow(Topic::Logs, Start::Now)).collect();
    for follower in &mut followers {
        begin(follower).await;
    }
    let waiting = join_all(followers.iter_mut().map(|follower| async {
        let mut seen = 0;
        while seen < 300 {
            let News::Page(page) = follower.next(64).await else { panic!("a gap") };
            seen += page.entries.len();
        }
    }));
    let counting = async {
        let mut most = 0;
        for number in 0..300 {
            feed.append(Topic::Logs, number.to_string().into());
            if number % 30 == 0 {
                tokio::time::sleep(ms(50)).await;
                let clients: String = redis::cmd("INFO").arg("clients").query(&mut server.connect()).unwrap();
                let blocked = clients.lines().find_map(|line| line.strip_prefix("blocked_clients:")).unwrap();
                most = most.max(blocked.trim().parse::<usize>().unwrap());
            }
        }
        most
    };
    let (_, most) = tokio::time::timeout(PATIENCE, async { tokio::join!(waiting, counting) }).await.unwrap();
    assert!(most <= 1, "{most} wait");
    fleet.end().await;
}
