//! Addresses, in all forms.

use secrecy::ExposeSecret as _;

use super::*;

fn node(host: &str, port: u16) -> RedisNode {
    RedisNode { host: host.into(), port }
}

#[test]
fn one_server_in_all_its_forms() {
    for (text, host, port, tls, db) in [
        ("redis://cache", "cache", 6379, false, 0),
        ("redis://10.0.0.1:7000/3", "10.0.0.1", 7000, false, 3),
        ("rediss://cache.example.com:6380/", "cache.example.com", 6380, true, 0),
        ("redis://[::1]:7", "::1", 7, false, 0),
    ] {
        let config = RedisConfig::parse(text).unwrap_or_else(|| panic!("{text}"));
        let RedisEndpoint::Tcp { host: got, port: at, tls: secure } = &config.endpoint else {
            panic!("{text}: {:?}", config.endpoint);
        };
        assert_eq!((got.as_str(), *at, *secure, config.db), (host, port, tls, db), "{text}");
        assert!(config.password.is_none() && config.username.is_none());
    }
    let config = RedisConfig::parse("redis+unix:///run/redis.sock?db=2").unwrap();
    assert_eq!((config.endpoint.to_string().as_str(), config.db), ("/run/redis.sock", 2));
}

#[test]
fn clusters() {
    let config = RedisConfig::parse("redis+cluster://gate:p%2Cw%40@a:7000,[::1]:7001,c").unwrap();
    assert_eq!((config.username.as_deref(), config.db), (Some("gate"), 0));
    assert_eq!(config.password.unwrap().expose_secret(), "p,w@");
    assert_eq!(config.endpoint.to_string(), "cluster a:7000,::1:7001,c:6379");
    let RedisEndpoint::Cluster { nodes, tls: false } = config.endpoint else { panic!() };
    assert_eq!(nodes, [node("a", 7000), node("::1", 7001), node("c", 6379)]);
    let config = RedisConfig::parse("rediss+cluster://a/").unwrap();
    assert!(matches!(config.endpoint, RedisEndpoint::Cluster { tls: true, .. }));
}

#[test]
fn sentinels() {
    let text = "redis+sentinel://gate:pw@s1:26380,s2/my%20primary/4?sentinel_user=watch&sentinel_pass=s%26w";
    let config = RedisConfig::parse(text).unwrap();
    assert_eq!((config.username.as_deref(), config.db), (Some("gate"), 4));
    assert_eq!(config.password.unwrap().expose_secret(), "pw");
    assert_eq!(config.endpoint.to_string(), "primary my primary of Sentinels s1:26380,s2:26379");
    let RedisEndpoint::Sentinel(endpoint) = config.endpoint else { panic!() };
    assert_eq!(endpoint.sentinels, [node("s1", 26380), node("s2", 26379)]);
    assert_eq!((endpoint.username.as_deref(), endpoint.tls), (Some("watch"), false));
    assert_eq!(endpoint.password.unwrap().expose_secret(), "s&w");
    let config = RedisConfig::parse("rediss+sentinel://s1/main").unwrap();
    let RedisEndpoint::Sentinel(endpoint) = config.endpoint else { panic!() };
    assert_eq!((endpoint.primary.as_str(), endpoint.tls), ("main", true));
    assert!(endpoint.username.is_none() && endpoint.password.is_none() && config.db == 0);
}

#[test]
fn what_is_no_address_is_refused() {
    for wrong in [
        "redis://",
        "redis://a/x",
        "redis://a/70000",
        "redis://a,b",
        "redis://a b",
        "http://a",
        "redis+unix://a/b",
        "redis+unix:///a?x=1",
        "redis://a?protocol=2",
        "redis://a#b",
        "cache:6379",
        "redis+cluster://",
        "redis+cluster://a,,b",
        "redis+cluster://a:port,b",
        "redis+cluster://a,b/1",
        "redis+cluster://a,b?x=1",
        "redis+sentinel://a,b",
        "redis+sentinel://a,b/",
        "redis+sentinel:///main",
        "redis+sentinel://a/main/first",
        "redis+sentinel://a/main?pass=x",
        "redis+valkey://a",
    ] {
        assert!(RedisConfig::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn credentials_are_decoded() {
    let config = RedisConfig::parse("redis://gate%40way:p%2Fw%20d@cache").unwrap();
    assert_eq!(config.username.as_deref(), Some("gate@way"));
    assert_eq!(config.password.unwrap().expose_secret(), "p/w d");
    let config = RedisConfig::parse("redis://:secret@cache").unwrap();
    assert!(config.username.is_none());
    assert_eq!(config.password.unwrap().expose_secret(), "secret");
}

#[test]
fn an_address_is_host_and_port() {
    assert!(RedisConfig::parse_address("cache:6379").is_some());
    assert!(RedisConfig::parse_address("cache").is_some());
    for wrong in ["", ":6379", "a:b", "a/1", "redis://a", "u@a", "a,b"] {
        assert!(RedisConfig::parse_address(wrong).is_none(), "{wrong}");
    }
}
