use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::request::Parts;
use secrecy::SecretString;

use super::ConsoleDoor;
use crate::auth::client_keys::KeyDigest;
use crate::auth::console::{Console, Opened, Right, Tried, Visitor};
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::config::{SelectionConfig, ServerConfig};
use crate::server::auth::Peer;
use crate::server::proxies::Proxies;
use crate::store::Store;
use crate::store::audit::Actor;
use crate::store::embedded::EmbeddedHost;
use crate::store::keys::Keys;
use crate::store::registry;

const HOME: &str = "127.0.0.1:5000";
const AWAY: &str = "10.1.2.3:5000";
const PROXY: &str = "10.0.0.1:5000";

fn store() -> Store {
    let host = EmbeddedHost::in_memory(Clock::following(1_800_000_000_000), registry::ALL).unwrap();
    Store::new(Arc::new(host), Keys::new("main").unwrap(), &SelectionConfig::default())
}

fn console(store: &Store, password: Option<&str>) -> Console {
    let vault = Vault::new(&["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()]).unwrap();
    let password = password.map(SecretString::from);
    Console::new(store.clone(), Arc::new(vault), password.as_ref(), Clock::system())
}

fn door(password: Option<&str>, change: impl FnOnce(&mut ServerConfig)) -> ConsoleDoor {
    let mut config = ServerConfig::default();
    change(&mut config);
    ConsoleDoor::new(console(&store(), password), &config)
}

fn parts(peer: &str, method: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri("/api/status");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    let peer = Peer::Tcp(peer.parse().unwrap());
    let client = Proxies::new(vec!["10.0.0.0/24".parse().unwrap()]).client(Some(peer), &parts.headers);
    parts.extensions.insert(peer);
    parts.extensions.insert(client);
    parts
}

/// A session at a door whose password is `right`.
async fn opened(door: &ConsoleDoor) -> Opened {
    let from = Visitor { group: "test", from: None, request: None };
    let Ok(Tried::Right(generation)) = door.console().password(b"right", &from).await else {
        panic!("the password is right");
    };
    door.console().open(generation).await.unwrap().unwrap()
}

/// The status of the refusal, 200 for entry.
async fn enter(door: &ConsoleDoor, peer: &str, method: &str, headers: &[(&str, &str)]) -> u16 {
    let outcome = door.check(&parts(peer, method, headers), method != "GET").await;
    outcome.map_or_else(|error| error.status().as_u16(), |_| 200)
}

#[tokio::test]
async fn without_a_password_only_this_machine_by_its_own_name() {
    let closed = door(None, |config| config.allowed_hosts = vec!["Gateway.test".into()]);
    let open = door(None, |config| {
        config.allow_insecure_console = true;
        config.allowed_hosts = vec!["gateway.test".into()];
    });
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
        assert_eq!(enter(&closed, HOME, "GET", &[("host", host)]).await, at_home, "{host}");
        assert_eq!(enter(&closed, AWAY, "GET", &[("host", host)]).await, away, "{host}");
        assert_eq!(enter(&open, AWAY, "GET", &[("host", host)]).await, at_home, "{host}");
    }
    let local = ("host", "localhost");
    assert_eq!(enter(&closed, "[::ffff:127.0.0.1]:1", "GET", &[local]).await, 200);
    // Somebody else, behind a proxy on this machine that nobody told of, or behind one that is trusted.
    for header in [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("x-real-ip", "::1")] {
        assert_eq!(enter(&closed, HOME, "GET", &[local, header]).await, 403, "{header:?}");
        assert_eq!(enter(&closed, PROXY, "GET", &[local, header]).await, 403, "{header:?}");
    }
    let mut nowhere = parts(HOME, "GET", &[local]);
    nowhere.extensions.clear();
    assert!(closed.check(&nowhere, false).await.is_err());
    nowhere.extensions.insert(Peer::Control);
    assert_eq!(closed.check(&nowhere, true).await.unwrap(), Actor::Control(None));
}

#[tokio::test]
async fn other_sites_change_nothing() {
    let door = door(None, |config| {
        config.public_base_url = Some("https://console.test/".into());
        config.cors_origins = vec!["https://app.test".into()];
    });
    let host = ("host", "localhost:8080");
    for (headers, status) in [
        (&[host][..], 200),
        (&[host, ("origin", "http://localhost:8080")], 200),
        (&[host, ("origin", "https://console.test")], 200),
        (&[host, ("origin", "https://app.test"), ("sec-fetch-site", "cross-site")], 200),
        (&[host, ("origin", "http://localhost:9090")], 403),
        (&[host, ("origin", "http://evil.example")], 403),
        (&[host, ("origin", "null")], 403),
        (&[host, ("sec-fetch-site", "same-origin")], 200),
        (&[host, ("sec-fetch-site", "none")], 200),
        (&[host, ("sec-fetch-site", "same-site")], 403),
        (&[host, ("sec-fetch-site", "cross-site")], 403),
    ] {
        assert_eq!(enter(&door, HOME, "POST", headers).await, status, "{headers:?}");
        assert_eq!(enter(&door, HOME, "GET", headers).await, 200, "{headers:?}");
        // A `GET` that has an effect is no better.
        let effect = door.check(&parts(HOME, "GET", headers), true).await.is_ok();
        assert_eq!(effect, status == 200, "{headers:?}");
    }
    // The host that the client asked a trusted proxy for counts, that of anybody else does not.
    let headers = [host, ("origin", "https://outer.test"), ("x-forwarded-host", "outer.test")];
    let open = |peer| parts(peer, "POST", &headers);
    let same = |parts: &Parts| door.check_login(parts).is_ok();
    assert!(same(&open(PROXY)) && !same(&open(HOME)));
}

#[tokio::test]
async fn a_cookie_needs_a_page_of_ours_beside_it_and_a_token_does_not() {
    let store = store();
    let console = console(&store, Some("right"));
    let door = ConsoleDoor::new(console.clone(), &ServerConfig::default());
    console.load().await.unwrap();
    let opened = console.open(crate::store::ident::Version(0)).await.unwrap().unwrap();
    let token = secrecy::ExposeSecret::expose_secret(&opened.token).to_owned();
    let cookie = format!("theme=dark; agp_session={token}");
    let (host, cookie) = (("host", "console.test"), ("cookie", cookie.as_str()));
    let (origin, json) = (("origin", "https://console.test"), ("content-type", "application/json"));
    assert_eq!(enter(&door, AWAY, "GET", &[host, cookie]).await, 200);
    let bearer = format!("Bearer {token}");
    assert_eq!(enter(&door, AWAY, "DELETE", &[host, ("authorization", &bearer)]).await, 200);
    for (headers, status) in [
        (&[][..], 403),
        (&[json], 403),
        (&[origin], 403),
        (&[origin, ("content-type", "text/plain")], 403),
        (&[origin, ("content-type", "application/x-www-form-urlencoded")], 403),
        (&[origin, json], 200),
        (&[("sec-fetch-site", "same-origin"), json], 200),
        (&[origin, ("x-requested-with", "console")], 200),
        (&[("sec-fetch-site", "cross-site"), json], 403),
        (&[("sec-fetch-site", "same-site"), json], 403),
        (&[("origin", "https://evil.test"), json], 403),
        (&[("origin", "https://evil.test"), ("sec-fetch-site", "same-origin"), json], 403),
        // A program that shows the token itself.
        (&[("authorization", bearer.as_str())], 200),
    ] {
        let headers = [&[host, cookie], headers].concat();
        assert_eq!(enter(&door, AWAY, "POST", &headers).await, status, "{headers:?}");
    }
    console.end(token.as_bytes()).await.unwrap();
    assert_eq!(enter(&door, AWAY, "GET", &[host, cookie]).await, 401);
}

#[tokio::test(start_paused = true)]
async fn guessing_is_slowed_down_per_peer() {
    let door = door(Some("right"), |_| {});
    let guess =
        async |peer: &str, password: &str| enter(&door, peer, "GET", &[("x-webui-password", password)]).await;
    assert_eq!(enter(&door, AWAY, "GET", &[]).await, 401);
    assert_eq!(enter(&door, AWAY, "GET", &[("authorization", "Bearer right")]).await, 200);
    for _ in 0..20 {
        assert_eq!(guess(AWAY, "stale").await, 401, "the same wrong value counts once");
    }
    for wrong in ["1", "2", "3"] {
        assert_eq!(guess(AWAY, wrong).await, 401);
        assert_eq!(guess(AWAY, "right").await, 200);
    }
    assert_eq!(guess(AWAY, "4").await, 401);
    assert_eq!(guess(AWAY, "5").await, 429);
    assert_eq!(enter(&door, AWAY, "GET", &[]).await, 401, "no credential is no guess");
    assert_eq!(guess("10.9.9.9:1", "right").await, 200);
    // What was accepted a moment ago is asked after again within a second.
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(guess(AWAY, "right").await, 429, "a guesser must not learn that it guessed right");
    tokio::time::advance(Duration::from_secs(58)).await;
    assert_eq!(guess(AWAY, "right").await, 429);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(guess(AWAY, "right").await, 200);
}

#[tokio::test]
async fn who_only_polls_is_never_locked_out_and_guesses_no_faster() {
    let door = door(Some("right"), |_| {});
    let entitled =
        async |password: &str| door.is_entitled(&parts(AWAY, "GET", &[("x-webui-password", password)])).await;
    assert!(entitled("right").await);
    for guess in 0..5 {
        assert!(!entitled(&guess.to_string()).await);
    }
    assert!(!entitled("6").await);
    assert_eq!(enter(&door, AWAY, "GET", &[("x-webui-password", "right")]).await, 200);
    assert_eq!(enter(&door, AWAY, "GET", &[("x-webui-password", "1")]).await, 401);
}

#[tokio::test]
async fn the_stream_alone_is_opened_by_its_address() {
    let door = door(Some("right"), |_| {});
    let session = opened(&door).await;
    let digest = KeyDigest::of(secrecy::ExposeSecret::expose_secret(&session.token).as_bytes());
    let ticket = async |whose| {
        let ticket = door.console().ticket(whose).await.unwrap();
        secrecy::ExposeSecret::expose_secret(&ticket.ticket).to_owned()
    };
    let stream = async |query: &str, headers: &[(&str, &str)]| {
        let mut parts = parts(AWAY, "GET", headers);
        parts.uri = format!("/api/logs/stream?{query}").parse().unwrap();
        let outside = door.check(&parts, false).await.is_ok();
        assert!(!outside || !headers.is_empty(), "nowhere else");
        let outcome = door.check_stream(&parts, true).await;
        outcome
            .map(|(actor, session)| (actor, session == Some(digest)))
            .map_err(|error| error.status().as_u16())
    };
    let as_session = (Actor::Session(session.session.id.clone()), true);
    assert_eq!(stream("", &[]).await, Err(401));
    assert_eq!(stream("history=true", &[("x-webui-password", "right")]).await, Ok((Actor::Password, false)));
    assert_eq!(stream("history=true&password=right", &[]).await, Ok((Actor::Password, false)));
    assert_eq!(stream("password=wrong", &[]).await, Err(401));
    assert_eq!(stream("ticket=wrong", &[]).await, Err(401));
    let bearer = format!("Bearer {}", secrecy::ExposeSecret::expose_secret(&session.token));
    assert_eq!(stream("", &[("authorization", &bearer)]).await, Ok(as_session.clone()));
    let good = format!("ticket={}", ticket(Some(digest)).await);
    assert_eq!(stream(&good, &[]).await, Ok(as_session));
    assert_eq!(stream(&good, &[]).await, Err(401), "it is good once");
    let scripts = format!("ticket={}", ticket(None).await);
    assert_eq!(stream(&scripts, &[]).await, Ok((Actor::Password, false)));
    let late = format!("ticket={}", ticket(Some(digest)).await);
    door.console().end_all().await.unwrap();
    assert_eq!(stream(&late, &[]).await, Err(401), "the session is over");
    for guess in 0..3 {
        assert_eq!(stream(&format!("password=wrong{guess}"), &[]).await, Err(401));
    }
    assert_eq!(stream("password=wrong4", &[]).await, Err(401));
    assert_eq!(stream("password=right2", &[]).await, Err(429), "guesses count here, too");
}

#[tokio::test]
async fn a_session_alone_exports_no_secrets() {
    let door = door(Some("right"), |_| {});
    let export = async |peer: &str, headers: &[(&str, &str)]| {
        door.check_export(&parts(peer, "GET", headers)).await.map_err(|error| error.status().as_u16())
    };
    let bearer = format!("Bearer {}", secrecy::ExposeSecret::expose_secret(&opened(&door).await.token));
    let session = ("authorization", bearer.as_str());
    assert!(door.check(&parts(AWAY, "GET", &[session]), false).await.is_ok(), "elsewhere it is enough");
    assert_eq!(export(AWAY, &[]).await, Err(401));
    assert_eq!(export(AWAY, &[session]).await, Err(403));
    assert_eq!(export(AWAY, &[session, ("x-webui-password", "wrong")]).await, Err(401));
    let both = export(AWAY, &[session, ("x-webui-password", "right")]).await;
    assert!(matches!(both, Ok(Actor::Session(_))), "{both:?}");
    assert_eq!(export(AWAY, &[("x-webui-password", "right")]).await, Ok(Actor::Password));
    assert_eq!(
        export(AWAY, &[("x-webui-password", "right"), ("origin", "http://evil.test")]).await,
        Err(403)
    );

    let door = self::door(None, |_| {});
    let open = door.check_export(&parts(HOME, "GET", &[("host", "localhost")])).await;
    assert_eq!(open.ok(), Some(Actor::Local), "where there is no password, none can be given");
}

#[tokio::test]
async fn the_first_password_is_not_everybodys() {
    let door = door(None, |config| config.allow_insecure_console = true);
    let may = async |peer: &str, headers: &[(&str, &str)]| {
        let headers = [&[("host", "localhost")], headers].concat();
        door.check_password_change(&parts(peer, "POST", &headers))
            .await
            .map_err(|error| error.status().as_u16())
    };
    assert_eq!(enter(&door, AWAY, "POST", &[("host", "localhost")]).await, 200, "opened on purpose");
    assert_eq!(may(AWAY, &[]).await, Err(403));
    assert_eq!(may(AWAY, &[("x-setup-token", "x")]).await, Ok(Actor::Setup), "the store knows the token");
    assert_eq!(may(AWAY, &[("x-setup-token", "x"), ("origin", "http://evil.test")]).await, Err(403));
    assert_eq!(may(HOME, &[]).await, Ok(Actor::Local));
    assert_eq!(may(HOME, &[("x-forwarded-for", "127.0.0.1")]).await, Err(403));
    door.console().set_password(Some(&"open sesame".into()), Right::First).await.unwrap();
    assert_eq!(may(HOME, &[]).await, Err(401));
    assert_eq!(may(AWAY, &[("x-setup-token", "x")]).await, Err(401));
    assert_eq!(may(AWAY, &[("x-webui-password", "open sesame")]).await, Ok(Actor::Password));
}

#[tokio::test]
async fn a_browser_writes_a_header_with_one_byte_per_character() {
    let door = door(Some("Grüße"), |_| {});
    let mut latin = parts(AWAY, "GET", &[]);
    latin.headers.insert("x-webui-password", http::HeaderValue::from_bytes(b"Gr\xfc\xdfe").unwrap());
    assert!(door.check(&latin, false).await.is_ok());
    let utf8 = http::HeaderValue::from_bytes("Grüße".as_bytes()).unwrap();
    latin.headers.insert("x-webui-password", utf8);
    assert!(door.check(&latin, false).await.is_ok());
}
