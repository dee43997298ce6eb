//! A gateway starts on a Redis that can keep its state, or says in one sentence what to change.

use redis::Connection;

use crate::redis_server::{Flavour, RedisServer};
use crate::support::replicas::{started, until};

/// The start on `url` fails with a sentence that has all of `words`.
async fn refused(url: &str, words: &[&str]) {
    let sentence = started(url).await.expect_err("the start is refused");
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in: {sentence}");
    }
    assert!(!sentence.contains("sesame"), "a secret is in: {sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
}

fn with(arguments: &[&str]) -> RedisServer {
    RedisServer::with(Flavour::Redis7, &[&["--save", "", "--appendonly", "no"], arguments].concat())
}

/// The address with a user and a password.
fn as_user(redis: &RedisServer, user: &str, password: &str) -> String {
    format!("redis://{user}:{password}@{}", redis.address())
}

/// Adds a user with everything the gateway needs, changed by `rules`.
fn user(connection: &mut Connection, name: &str, rules: &[&str]) {
    let base = ["reset", "on", ">sesame", "~*", "&*", "+@all"];
    let () = redis::cmd("ACL").arg("SETUSER").arg(name).arg(&base).arg(rules).query(connection).unwrap();
}

#[tokio::test]
async fn on_a_redis_that_keeps_everything() {
    let redis = RedisServer::with(Flavour::Redis7, &["--appendonly", "yes"]);
    assert_eq!(started(&redis.url()).await, Ok(()));
}

#[tokio::test]
async fn on_a_redis_that_keeps_nothing_with_a_warning_only() {
    assert_eq!(started(&with(&[]).url()).await, Ok(()));
}

#[tokio::test]
async fn not_on_a_read_only_replica() {
    let primary = with(&[]);
    let replica = with(&["--replicaof", "127.0.0.1", primary.url().rsplit(':').next().unwrap()]);
    let mut connection = replica.connect();
    let follows = until(async || {
        let info: String = redis::cmd("INFO").arg("replication").query(&mut replica.connect()).unwrap();
        info.contains("master_link_status:up")
    });
    assert!(follows.await, "the replica follows");
    let role: redis::Value = redis::cmd("ROLE").query(&mut connection).unwrap();
    assert!(format!("{role:?}").contains("slave"));
    refused(&replica.url(), &["replica", "primary", &replica.address()]).await;
}

#[tokio::test]
async fn not_where_keys_are_evicted() {
    let redis = with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    refused(&redis.url(), &["maxmemory-policy", "allkeys-lru", "noeviction"]).await;
}

#[tokio::test]
async fn with_a_wrong_password_or_none() {
    let redis = with(&["--requirepass", "sesame"]);
    refused(&redis.url(), &["REDIS_PASSWORD"]).await;
    refused(&as_user(&redis, "", "onion"), &["REDIS_PASSWORD"]).await;
    assert_eq!(started(&as_user(&redis, "", "sesame")).await, Ok(()));
}

#[tokio::test]
async fn without_a_permission_it_needs() {
    let redis = with(&[]);
    let mut connection = redis.connect();
    for (name, rules, words) in [
        ("noscripts", &["-evalsha"] as &[&str], &["ACL", "+evalsha"] as &[&str]),
        ("noload", &["-script"], &["ACL", "+script|load"]),
        ("nocommand", &["-hincrby"], &["ACL", "commands of the scripts"]),
        ("noxadd", &["-xadd"], &["ACL", "+xadd"]),
        ("noxtrim", &["-xtrim"], &["ACL", "+xtrim", "~agp:v1:{main}:*"]),
        ("noxread", &["-xread"], &["ACL", "+xread"]),
        ("noxrange", &["-xrange"], &["ACL", "+xrange"]),
        ("noxrevrange", &["-xrevrange"], &["ACL", "+xrevrange"]),
        ("nofeed", &["-@stream"], &["ACL", "+xadd +xtrim +xrange +xrevrange +xread"]),
        ("nokeys", &["resetkeys", "~other:*"], &["ACL", "~agp:v1:{main}:*"]),
        ("nochannel", &["resetchannels", "&other:*"], &["ACL", "&agp:v1:{main}:"]),
    ] {
        user(&mut connection, name, rules);
        refused(&as_user(&redis, name, "sesame"), words).await;
    }
    user(&mut connection, "gateway", &[]);
    assert_eq!(started(&as_user(&redis, "gateway", "sesame")).await, Ok(()));
    let tried: bool = redis::cmd("EXISTS").arg("agp:v1:{main}:scratch:feed").query(&mut connection).unwrap();
    assert!(!tried, "what was tried is gone");
}

#[tokio::test]
async fn not_where_nobody_listens() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(&format!("redis://{gone}"), &[&gone.to_string()]).await;
}
