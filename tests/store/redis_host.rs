//! The Redis host against real servers: what it survives and what it refuses.

use std::sync::Arc;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{RedisConfig, SelectionConfig};
use antigravity_proxy::store::Store;
use antigravity_proxy::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::ops::locks::Lock;
use antigravity_proxy::store::redis::RedisHost;
use antigravity_proxy::store::registry::ALL;
use antigravity_proxy::store::script::Script;

use crate::harness::{ms, owner};
use crate::redis_server::{Flavour, RedisServer};

const CHANNEL: &str = "agp:v1:{test}:ev";

static SUM: Script = Script::periodic("sum", "return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])");
static FAIL: Script = Script::periodic("fail", "return redis.call('HGET', KEYS[1], 'n')");
static SAY: Script = Script::periodic("say", "return redis.call('PUBLISH', ARGV[1], 'settings cfg 1')");

async fn host(url: &str) -> Result<RedisHost, StoreError> {
    RedisHost::connect(&RedisConfig::parse(url).unwrap(), CHANNEL.into(), ALL, Clock::system()).await
}

fn sum(by: i64) -> Call {
    Call::new(&SUM).key("agp:v1:{test}:meta").arg(by)
}

/// Repeats `operation` until Redis is there again.
pub(crate) async fn patiently<T>(operation: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let patience = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match operation().await {
                Ok(value) => return value,
                Err(StoreError::Unavailable { .. }) => tokio::time::sleep(ms(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    patience.await.expect("Redis comes back")
}

#[tokio::test]
async fn a_batch_answers_each_call_in_order() {
    let server = RedisServer::start();
    for url in [server.url(), server.socket_url()] {
        let host = host(&url).await.unwrap();
        let fail = Call::new(&FAIL).key("text");
        redis::cmd("SET").arg("text").arg("x").exec(&mut server.connect()).unwrap();
        redis::cmd("DEL").arg("agp:v1:{test}:meta").exec(&mut server.connect()).unwrap();
        let replies = host.eval(vec![sum(1), fail, sum(2)]).await.unwrap();
        assert_eq!((&replies[0], &replies[2]), (&Reply::Int(1), &Reply::Int(3)));
        assert!(matches!(&replies[1], Reply::Error(error) if error.code == "WRONGTYPE"), "{:?}", replies[1]);
    }
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again_and_run_once() {
    let server = RedisServer::start();
    let host = host(&server.url()).await.unwrap();
    for round in 1..=3 {
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connect()).unwrap();
        assert_eq!(host.eval(vec![sum(1)]).await.unwrap(), [Reply::Int(round)]);
    }
}

#[tokio::test]
async fn a_closed_connection_is_not_noticed() {
    let server = RedisServer::start();
    let host = host(&server.url()).await.unwrap();
    for round in 1..=5 {
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut server.connect()).unwrap();
        assert_eq!(host.eval(vec![sum(1)]).await.unwrap(), [Reply::Int(round)]);
    }
}

#[tokio::test]
async fn a_stalled_server_fails_fast_and_is_used_again() {
    let server = RedisServer::start();
    let host = host(&server.url()).await.unwrap();
    server.pause();
    let error = host.eval(vec![sum(1)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    // Long enough for the connection to count as half-open.
    let silent = tokio::time::timeout(Duration::from_secs(4), async {
        loop {
            host.eval(vec![sum(0)]).await.unwrap_err();
        }
    });
    silent.await.unwrap_err();
    server.resume();
    patiently(async || host.eval(vec![sum(1)]).await).await;
}

#[tokio::test]
async fn a_restarted_server_is_used_again_and_subscribers_know_of_the_gap() {
    let mut server = RedisServer::start();
    let host = host(&server.url()).await.unwrap();
    let mut events = host.subscribe();
    server.kill();
    let error = host.eval(vec![sum(1)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    server.restart();
    patiently(async || host.eval(vec![sum(1)]).await).await;
    let next = async |events: &mut tokio::sync::broadcast::Receiver<Event>| {
        tokio::time::timeout(Duration::from_secs(20), events.recv()).await.unwrap().unwrap()
    };
    assert_eq!(next(&mut events).await, Event::Gap);
    patiently(async || host.eval(vec![Call::new(&SAY).arg(CHANNEL)]).await).await;
    let message = Event::Message { channel: CHANNEL.into(), payload: "settings cfg 1".into() };
    assert_eq!(next(&mut events).await, message);
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_away_until_it_is_one_again() {
    let server = RedisServer::start();
    let host = host(&server.url()).await.unwrap();
    let other = RedisServer::start();
    let port = other.address().rsplit_once(':').unwrap().1.to_owned();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).exec(&mut server.connect()).unwrap();
    let error = host.eval(vec![sum(1)]).await.unwrap_err();
    assert!(error.to_string().contains("read-only replica"), "{error}");
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut server.connect()).unwrap();
    patiently(async || host.eval(vec![sum(1)]).await).await;
}

#[tokio::test]
async fn an_unfit_server_is_refused_with_the_remedy() {
    let open = async |url: &str| {
        let store =
            Store::new(Arc::new(host(url).await?), Keys::new("test").unwrap(), &SelectionConfig::default());
        store.rehearse().await
    };
    let problem = async |server: &RedisServer, url: String| match open(&url).await {
        Err(error @ StoreError::Unsuitable { .. }) => {
            assert!(error.to_string().starts_with(&format!("Redis at {} ", server.address())), "{error}");
            error.to_string()
        }
        Err(error) => panic!("{error}"),
        Ok(()) => panic!("accepted"),
    };
    let evicting =
        RedisServer::with(Flavour::Redis7, &["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    assert!(problem(&evicting, evicting.url()).await.contains("maxmemory-policy noeviction"));

    let primary = RedisServer::start();
    let port = primary.address().rsplit_once(':').unwrap().1.to_owned();
    let replica = RedisServer::with(Flavour::Redis7, &["--replicaof", "127.0.0.1", &port]);
    assert!(problem(&replica, replica.url()).await.contains("address of the primary"));

    let locked = RedisServer::with(Flavour::Redis7, &["--requirepass", "right"]);
    for url in [locked.url(), locked.url().replace("redis://", "redis://:wrong@")] {
        let text = problem(&locked, url).await;
        assert!(text.contains("REDIS_PASSWORD") && !text.contains("wrong@"), "{text}");
    }
    host(&locked.url().replace("redis://", "redis://:right@")).await.unwrap();

    let server = RedisServer::start();
    for (rules, missing) in [
        ("~* &* +@all -evalsha", "+evalsha"),
        ("~* &* +@all -script", "+script|load"),
        ("~other &* +@all", "~agp:v1:{"),
        ("~* &other +@all", "+subscribe"),
    ] {
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER")
            .arg("gate")
            .arg("reset")
            .arg("on")
            .arg(">pw")
            .arg(rules.split(' ').collect::<Vec<_>>());
        user.exec(&mut server.connect()).unwrap();
        let text = problem(&server, server.url().replace("redis://", "redis://gate:pw@")).await;
        assert!(text.contains(missing), "{rules}: {text}");
    }
}

#[tokio::test]
async fn rules_that_lack_a_command_are_noticed_at_start() {
    for flavour in Flavour::ALL {
        if flavour.program().is_none() {
            println!("skipped: {flavour:?} is not installed");
            continue;
        }
        let server = RedisServer::with(flavour, &[]);
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER")
            .arg("gate")
            .arg("on")
            .arg(">pw")
            .arg("~agp:*")
            .arg("resetchannels")
            .arg("&agp:*")
            .arg("+@all")
            .arg("-zadd");
        user.exec(&mut server.connect()).unwrap();
        let host = host(&server.url().replace("redis://", "redis://gate:pw@")).await.unwrap();
        let store = Store::new(Arc::new(host), Keys::new("test").unwrap(), &SelectionConfig::default());
        assert!(matches!(store.rehearse().await, Err(StoreError::Unsuitable { .. })), "{flavour:?}");
        redis::cmd("ACL").arg("SETUSER").arg("gate").arg("+zadd").exec(&mut server.connect()).unwrap();
        store.rehearse().await.unwrap();
        let taken = store.try_lock("work", &owner("a"), ms(1000)).await.unwrap();
        assert_eq!(taken, Lock::Taken);
    }
}
