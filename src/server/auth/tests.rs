use std::time::Duration;

use http::{HeaderMap, Request};
use secrecy::SecretString;

use super::{ApiKeys, ConsoleDoor, Peer};
use crate::clock::Clock;

const HOME: &str = "127.0.0.1:5000";
const AWAY: &str = "10.1.2.3:5000";

fn door(password: Option<&str>, insecure: bool, hosts: &[&str]) -> ConsoleDoor {
    let password = password.map(SecretString::from);
    let hosts = hosts.iter().map(ToString::to_string).collect();
    ConsoleDoor::new(password.as_ref(), insecure, hosts, Clock::system())
}

/// The status of the refusal, 200 for entry.
fn enter(door: &ConsoleDoor, peer: &str, method: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = Request::builder().method(method).uri("/api/status");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let parts = request.body(()).unwrap().into_parts().0;
    let peer = Some(Peer::Tcp(peer.parse().unwrap()));
    door.check(peer, &parts).map_or_else(|error| error.status().as_u16(), |()| 200)
}

#[test]
fn either_header_may_carry_the_key() {
    let keys = ApiKeys::new(&["one".into(), "two".into(), "".into()]);
    let check = |headers: &[(&'static str, &str)]| {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        keys.check(&headers).map(|key| key.0).map_err(|error| error.status().as_u16())
    };
    // The first 12 hex digits of `printf one | sha256sum`.
    assert_eq!(check(&[("x-api-key", "one")]).unwrap(), "7692c3ad3540");
    assert_eq!(check(&[("authorization", "bEaReR  two")]), check(&[("x-api-key", "two")]));
    assert!(check(&[("authorization", "Bearer no"), ("x-api-key", "one")]).is_ok());
    assert!(check(&[("authorization", "Bearer one"), ("x-api-key", "no")]).is_ok());
    for wrong in
        [&[][..], &[("x-api-key", "")], &[("authorization", "one")], &[("authorization", "Basic one")]]
    {
        assert_eq!(check(wrong), Err(401), "{wrong:?}");
    }
    assert_eq!(ApiKeys::new(&[]).check(&HeaderMap::new()).unwrap().0, "open");
}

#[test]
fn without_a_password_only_this_machine_by_its_own_name() {
    let closed = door(None, false, &["Gateway.test"]);
    let open = door(None, true, &["gateway.test"]);
    for (host, at_home, away) in [
        ("localhost:8080", 200, 403),
        ("LOCALHOST", 200, 403),
        ("127.0.0.1:8080", 200, 403),
        ("[::1]:8080", 200, 403),
        ("gateway.test", 200, 403),
        ("evil.example", 403, 403),
        ("127.0.0.1.evil.example", 403, 403),
        ("", 403, 403),
    ] {
        assert_eq!(enter(&closed, HOME, "GET", &[("host", host)]), at_home, "{host}");
        assert_eq!(enter(&closed, AWAY, "GET", &[("host", host)]), away, "{host}");
        assert_eq!(enter(&open, AWAY, "GET", &[("host", host)]), at_home, "{host}");
    }
    assert_eq!(enter(&closed, "[::ffff:127.0.0.1]:1", "GET", &[("host", "localhost")]), 200);
    let nowhere = Request::builder().uri("/").header("host", "localhost").body(()).unwrap().into_parts().0;
    assert!(closed.check(None, &nowhere).is_err());
    assert!(closed.check(Some(Peer::Control), &nowhere).is_ok());
}

#[test]
fn other_sites_change_nothing() {
    let door = door(None, false, &[]);
    let host = ("host", "localhost:8080");
    for (headers, status) in [
        (&[host][..], 200),
        (&[host, ("origin", "http://localhost:8080")], 200),
        (&[host, ("origin", "http://localhost:9090")], 403),
        (&[host, ("origin", "http://evil.example")], 403),
        (&[host, ("origin", "null")], 403),
        (&[host, ("sec-fetch-site", "same-origin")], 200),
        (&[host, ("sec-fetch-site", "none")], 200),
        (&[host, ("sec-fetch-site", "same-site")], 403),
        (&[host, ("sec-fetch-site", "cross-site")], 403),
    ] {
        assert_eq!(enter(&door, HOME, "POST", headers), status, "{headers:?}");
        assert_eq!(enter(&door, HOME, "GET", headers), 200, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn guessing_is_slowed_down_per_peer() {
    let door = door(Some("right"), false, &[]);
    let guess = |peer: &str, password: &str| enter(&door, peer, "GET", &[("x-webui-password", password)]);
    assert_eq!(enter(&door, AWAY, "GET", &[]), 401);
    assert_eq!(enter(&door, AWAY, "GET", &[("authorization", "Bearer right")]), 200);
    for _ in 0..20 {
        assert_eq!(guess(AWAY, "stale"), 401, "the same wrong value counts once");
    }
    for wrong in ["1", "2", "3"] {
        assert_eq!(guess(AWAY, wrong), 401);
        assert_eq!(guess(AWAY, "right"), 200);
    }
    assert_eq!(guess(AWAY, "4"), 401);
    assert_eq!(guess(AWAY, "5"), 429);
    assert_eq!(guess(AWAY, "right"), 429, "a guesser must not learn that it guessed right");
    assert_eq!(enter(&door, AWAY, "GET", &[]), 401, "no credential is no guess");
    assert_eq!(guess("10.9.9.9:1", "right"), 200);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(guess(AWAY, "right"), 429);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(guess(AWAY, "right"), 200);
}
