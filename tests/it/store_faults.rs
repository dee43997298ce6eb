//! Redis stalls, vanishes, comes back, forgets scripts, loses its role: clients notice nothing within the grace.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use antigravity_proxy::config::Config;
use antigravity_proxy::simulator::Scenario;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::json;

use crate::fault_proxy::{FaultProxy, Mode};
use crate::redis_server::{Flavour, RedisServer};
use crate::support::client::Answer;
use crate::support::replicas::{requests_counted, until};
use crate::support::{GEMINI, Replicas, ask};

/// A Redis that has written what it acknowledged.
const DURABLE: &[&str] = &["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
/// Streams of each length that an outage meets.
const STREAMS: usize = 4;

/// Two gateways; `outage` begins while streams of about 2 s and of about 12 s are in flight, and new requests come
/// while it lasts. Then every answer is whole, and every request settled once.
async fn survives(redis: &mut RedisServer, proxy: &FaultProxy, outage: impl AsyncFnOnce(&mut RedisServer)) {
    let replicas = Replicas::start(Scenario::default().with_accounts(4), &vec![proxy.url(); 2]).await;
    let paced = |text: &str, interval: u64| {
        replicas
            .fault(&json!({"text": text}), &json!({"delivery": {"mode": "paced", "interval_ms": interval}}));
    };
    paced("write 100 words", 80);
    paced("write 200 words", 240);
    let asked = AtomicUsize::new(0);
    let send = async |number: usize, text: &str| {
        asked.fetch_add(1, Ordering::SeqCst);
        whole(&replicas.client(number).send(&ask(GEMINI, text, true)).await);
    };
    let streams = async |text: &str| join_all((0..STREAMS).map(|number| send(number, text))).await;
    let over = AtomicBool::new(false);
    let fault = async {
        let open = until(async || replicas.simulator.counts().open >= 2 * STREAMS as u64);
        assert!(open.await, "the streams are open");
        outage(redis).await;
        over.store(true, Ordering::SeqCst);
    };
    // Each of them may have to wait for the end of the outage.
    let arriving = async {
        let mut late = futures_util::stream::FuturesUnordered::new();
        let mut number = 0;
        while !over.load(Ordering::SeqCst) {
            late.push(send(number, "hello"));
            number += 1;
            let pause = tokio::time::sleep(Duration::from_millis(250));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    Some(()) = late.next() => {}
                }
            }
        }
        while let Some(()) = late.next().await {}
    };
    tokio::join!(streams("write 100 words"), streams("write 200 words"), fault, arriving);
    // And it works as before.
    for number in 0..4 {
        send(number, "hello").await;
    }
    replicas.settled().await;
    replicas.shutdown().await;
    assert_eq!(requests_counted(redis), asked.load(Ordering::SeqCst) as u64, "each request counts once");
}

/// An answer with nothing missing and no error in it.
fn whole(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((answer.count("message_start"), answer.count("message_stop")), (1, 1), "{:?}", answer.events);
    assert_eq!(answer.count("error"), 0, "{:?}", answer.events);
}

async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_three_seconds() {
    let mut redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let outage = async |_: &mut RedisServer| {
        proxy.set(Mode::Stall);
        pause(3).await;
        proxy.set(Mode::Pass);
    };
    survives(&mut redis, &proxy, outage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_in_its_tracks() {
    let mut redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let outage = async |redis: &mut RedisServer| {
        redis.pause();
        pause(3).await;
        redis.resume();
    };
    survives(&mut redis, &proxy, outage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_of_five_seconds() {
    let mut redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let outage = async |_: &mut RedisServer| {
        proxy.refuse(true);
        proxy.cut();
        pause(5).await;
        proxy.refuse(false);
    };
    survives(&mut redis, &proxy, outage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_vanished_without_closing() {
    let mut redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let outage = async |_: &mut RedisServer| {
        proxy.set(Mode::Swallow);
        pause(3).await;
        proxy.set(Mode::Pass);
    };
    survives(&mut redis, &proxy, outage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_instead_of_replies() {
    let mut redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let outage = async |_: &mut RedisServer| {
        proxy.set(Mode::Garbage);
        pause(2).await;
        proxy.set(Mode::Pass);
        // What was fooled need not find out by itself.
        proxy.cut();
    };
    survives(&mut redis, &proxy, outage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_and_a_restart_from_the_append_only_file() {
    let mut redis = RedisServer::with(Flavour::Redis7, DURABLE);
    let proxy = FaultProxy::start(redis.address()).await;
    let outage = async |redis: &mut RedisServer| {
        redis.kill();
        pause(3).await;
        redis.restart();
    };
    survives(&mut redis, &proxy, outage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_becomes_a_replica_and_a_primary_again() {
    let mut redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    // Nobody listens there, so nothing replaces the data.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let outage = async |redis: &mut RedisServer| {
        let mut connection = redis.connect();
        let () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(nobody).query(&mut connection).unwrap();
        pause(3).await;
        let () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query(&mut connection).unwrap();
    };
    survives(&mut redis, &proxy, outage).await;
}

/// A server that takes no more connections says so with an error where a greeting is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_for_connections() {
    let mut redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let outage = async |redis: &mut RedisServer| {
        let mut connection = redis.connect();
        let mut limit = |most: u32| {
            let () =
                redis::cmd("CONFIG").arg("SET").arg("maxclients").arg(most).query(&mut connection).unwrap();
        };
        limit(1);
        proxy.cut();
        pause(3).await;
        limit(10_000);
    };
    survives(&mut redis, &proxy, outage).await;
}

/// Commands that disturb, at short intervals while requests go on.
async fn disturbed(commands: &[&[&str]]) {
    let mut redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let outage = async |redis: &mut RedisServer| {
        for round in 0..20 {
            for command in commands {
                let mut disturbance = redis::cmd(command[0]);
                disturbance.arg(&command[1..]);
                let _: redis::Value = disturbance.query(&mut redis.connect()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100 + 10 * round)).await;
        }
    };
    survives(&mut redis, &proxy, outage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_flushed_under_load() {
    disturbed(&[&["SCRIPT", "FLUSH"]]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_killed_under_load() {
    disturbed(&[&["CLIENT", "KILL", "TYPE", "normal"], &["CLIENT", "KILL", "TYPE", "pubsub"]]).await;
}

/// Subscriptions are made anew: a change on one gateway still reaches the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_after_the_connections_were_killed() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let replicas = Replicas::cold(Scenario::default().with_accounts(2), &vec![proxy.url(); 2], |_| {}).await;
    let served = proxy.connections();
    for kind in ["normal", "pubsub"] {
        let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg(kind).query(&mut redis.connect());
        let _: u32 = kill.unwrap();
    }
    proxy.cut();
    assert!(until(async || proxy.connections() >= served + 2).await, "the gateways come back");
    crate::replicas::wakes(&replicas).await;
    replicas.shutdown().await;
}

/// Everything that the catalogue of keys calls volatile, lost again and again under load: what it held is learnt anew,
/// no client notices, and the counts come back to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volatile_keys_that_are_lost_under_load() {
    let redis = RedisServer::start();
    let sticky = |config: &mut Config| {
        // A lease whose record was lost is not renewed: it lapses.
        config.store.lease_ttl = Duration::from_secs(6);
        for (name, value) in [("strategy", "sticky"), ("maxConcurrentPerAccount", "4")] {
            config.selection.pinned.insert(name.into(), value.into());
        }
    };
    let replicas = Replicas::with(Scenario::default().with_accounts(4), &vec![redis.url(); 2], sticky).await;
    let over = AtomicBool::new(false);
    let losses = async {
        let mut connection = redis.connect();
        let mut kinds = BTreeSet::new();
        while !over.load(Ordering::SeqCst) {
            let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
            for key in keys.iter().filter(|key| is_volatile(key)) {
                let _: u32 = redis::cmd("UNLINK").arg(key).query(&mut connection).unwrap();
                let kind = key.split_once("}:").unwrap().1;
                kinds.insert(kind.split(':').next().unwrap().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        kinds
    };
    let load = async {
        let answers = futures_util::stream::iter(0..400)
            .map(async |number: usize| {
                whole(
                    &replicas
                        .client(number)
                        .send(&ask(GEMINI, &format!("number {}", number % 40), true))
                        .await,
                );
            })
            .buffer_unordered(24);
        answers.collect::<Vec<_>>().await;
        over.store(true, Ordering::SeqCst);
    };
    let (kinds, ()) = tokio::join!(losses, load);
    for kind in ["convs", "leases", "m", "req", "stick", "tok"] {
        assert!(kinds.contains(kind), "{kind} was there to be lost: {kinds:?}");
    }
    replicas.settled().await;
    replicas.shutdown().await;
}

/// Whether the catalogue in `store/keys.rs` marks the key with V.
fn is_volatile(key: &str) -> bool {
    let name = key.split_once("}:").unwrap().1;
    let kind = name.split(':').next().unwrap();
    let catalogue = include_str!("../../src/store/keys.rs");
    let row = catalogue.lines().find(|line| {
        let names = line.strip_prefix("//! | `").unwrap_or_default().split(" | ").next().unwrap_or_default();
        names.split("`, `").any(|one| one.trim_end_matches('`').split(':').next() == Some(kind))
    });
    match row.and_then(|row| row.split(" | ").nth(2)) {
        Some("V") => true,
        Some("D") => false,
        _ => panic!("{key} is not in the catalogue"),
    }
}
