//! The console's door: sessions, tries, the password, setup tokens, tickets.

use std::time::Duration;

use antigravity_proxy::store::audit::{Action, Outcome};
use antigravity_proxy::store::host::{Call, Event};
use antigravity_proxy::store::ident::Version;
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::console::{
    Attempt, Checked, Ending, MayTry, NewSession, SetPassword, StoredSession, TryLimit,
};
use antigravity_proxy::store::registry::{OPEN_SESSION, PUT_SETUP, PUT_TICKET};
use secrecy::ExposeSecret as _;

use crate::audit::{as_operator, entry, trail};
use crate::harness::{Pool, T, ms, on_every_host};

const HOUR: i64 = 3_600_000;
const IDLE: Duration = Duration::from_hours(12);
const LIFE: Duration = Duration::from_hours(168);

pub(crate) fn new_session(digest: &str) -> NewSession<'_> {
    NewSession { generation: Version(0), digest, id: "id", idle: IDLE, life: LIFE }
}

pub(crate) fn attempt<'a>(peer: &'a str, mark: &'a str) -> Attempt<'a> {
    Attempt { peer, mark, limit: TryLimit { most: 3, window: Duration::from_mins(1) } }
}

async fn open(pool: &Pool, digest: &str, at: i64) -> Option<(i64, i64)> {
    pool.store.at(at).open_session(&new_session(digest)).await.unwrap()
}

async fn check(pool: &Pool, digest: &str, at: i64) -> Checked {
    pool.store.at(at).check_session(None, Some(digest), Some(IDLE)).await.unwrap()
}

async fn session(pool: &Pool, digest: &str, at: i64) -> Option<StoredSession> {
    check(pool, digest, at).await.session
}

async fn set(pool: &Pool, generation: u64, hash: Option<&str>, token: Option<&str>, at: i64) -> SetPassword {
    pool.store.at(at).set_password(Version(generation), hash, token).await.unwrap()
}

/// The generation and, where it is news, the hash.
async fn door(pool: &Pool, known: Option<u64>) -> (u64, Option<Option<String>>) {
    let checked = pool.store.at(T).check_session(known.map(Version), None, None).await.unwrap();
    assert_eq!(checked.session, None);
    let hash = |hash: secrecy::SecretString| hash.expose_secret().to_owned();
    (checked.door.generation.0, checked.door.news.map(|news| news.map(hash)))
}

#[tokio::test]
pub(crate) async fn a_session_lasts_as_long_as_it_is_used_and_no_longer_than_a_week() {
    on_every_host(async |pool: Pool| {
        assert_eq!(open(&pool, "d1", T).await, Some((T + 12 * HOUR, T + 168 * HOUR)));
        assert_eq!(
            open(&pool, "d1", T + 5).await,
            Some((T + 12 * HOUR, T + 168 * HOUR)),
            "the same call again"
        );
        assert_eq!(trail(&pool).await.len(), 0, "nobody's");
        let found = session(&pool, "d1", T + 59_999).await.unwrap();
        let whole = StoredSession {
            id: "id".into(),
            begun_ms: T,
            idle_ends_ms: T + 12 * HOUR,
            ends_ms: T + 168 * HOUR,
        };
        assert_eq!(found, whole, "within the minute it is as it was");
        let looked = pool.store.at(T + 60_000).check_session(None, Some("d1"), None).await.unwrap();
        assert_eq!(looked.session, Some(whole), "who only looks does not use it");
        let used = session(&pool, "d1", T + 60_000).await.unwrap();
        assert_eq!((used.idle_ends_ms, used.ends_ms), (T + 60_000 + 12 * HOUR, T + 168 * HOUR));
        assert_eq!(session(&pool, "d1", T + 119_999).await.unwrap().idle_ends_ms, T + 60_000 + 12 * HOUR);
        assert_eq!(session(&pool, "d2", T).await, None);
        // Without use it ends; used, it ends with the week.
        open(&pool, "d2", T).await;
        assert!(session(&pool, "d2", T + 12 * HOUR - 1).await.is_some());
        let mut at = T + 12 * HOUR - 1;
        open(&pool, "d3", T).await;
        assert_eq!(session(&pool, "d3", T + 12 * HOUR).await, None);
        while at + 11 * HOUR < T + 168 * HOUR {
            at += 11 * HOUR;
            assert!(session(&pool, "d2", at).await.is_some(), "{at}");
        }
        let last = session(&pool, "d2", T + 168 * HOUR - 1).await.unwrap();
        assert_eq!(last.idle_ends_ms, T + 168 * HOUR);
        assert_eq!(session(&pool, "d2", T + 168 * HOUR).await, None);
        assert_eq!(pool.hash("sessions").await.len(), 3, "what is over is swept by the next log-in");
        open(&pool, "d4", T + 168 * HOUR).await;
        assert_eq!(pool.hash("sessions").await.into_keys().collect::<Vec<_>>(), ["d4"]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_damaged_session_lets_nobody_in() {
    on_every_host(async |pool: Pool| {
        for (digest, record) in [
            ("a", ""),
            ("b", "1\x1fid"),
            ("c", "2\x1fid\x1f1\x1f1\x1f9999999999999\x1f9999999999999"),
            ("f", "1\x1fid\x1f1\x1f1\x1f9999999999999"),
        ] {
            pool.put_field("sessions", digest, record.as_bytes()).await;
            assert_eq!(session(&pool, digest, T).await, None, "{digest}");
        }
        let long = format!("1\x1fid\x1f{T}\x1f{T}\x1f{}\x1f{}\x1fmore", T + 5, T + 9);
        pool.put_field("sessions", "d", long.as_bytes()).await;
        assert!(session(&pool, "d", T + 4).await.is_some(), "a later version's");
        assert_eq!(session(&pool, "d", T + 5).await, None);
        let over = format!("1\x1fid\x1f{T}\x1f{T}\x1f{}\x1f{}", T + 9, T + 5);
        pool.put_field("sessions", "g", over.as_bytes()).await;
        assert_eq!(session(&pool, "g", T + 5).await, None);
        // A log-in that is repeated finds its session, whatever else of the pool is lost.
        assert_eq!(open(&pool, "d", T).await, Some((T + 5, T + 9)));
        pool.lose("meta").await;
        let later = NewSession { generation: Version(9), ..new_session("e") };
        assert_eq!(pool.store.at(T).open_session(&later).await.unwrap(), None);
        pool.put_field("sessions", "g", b"").await;
        open(&pool, "e", T).await;
        assert_eq!(pool.hash("sessions").await.into_keys().collect::<Vec<_>>(), ["d", "e"]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn of_too_many_sessions_the_one_used_longest_ago_gives_way() {
    on_every_host(async |pool: Pool| {
        // As the wrapper calls, but with a small bound.
        let open = async |digest: &str, at: i64| {
            let call = Call::new(&OPEN_SESSION)
                .key(pool.key("meta"))
                .key(pool.key("sessions"))
                .key(pool.key("audit"))
                .arg("0")
                .arg(digest)
                .arg("id")
                .arg(12 * HOUR)
                .arg(168 * HOUR)
                .arg("3")
                .arg("")
                .arg(at);
            pool.host.eval(vec![call]).await.unwrap();
        };
        let digests = async || pool.hash("sessions").await.into_keys().collect::<Vec<_>>();
        for (digest, at) in [("b", T + 1), ("a", T + 1), ("c", T)] {
            open(digest, at).await;
        }
        assert!(session(&pool, "c", T + 60_000).await.is_some());
        open("d", T + 60_001).await;
        assert_eq!(digests().await, ["b", "c", "d"], "of two used in one moment, the first");
        open("e", T + 60_002).await;
        assert_eq!(digests().await, ["c", "d", "e"]);
        open("f", T + 60_002).await;
        assert_eq!(digests().await, ["d", "e", "f"]);
        // What counts is the last use, not the end.
        for (digest, used, ends) in [("d", 1, 9), ("e", 2, 3), ("f", 3, 6)] {
            let record =
                format!("1\x1fid\x1f{T}\x1f{}\x1f{}\x1f{}", T + used, T + ends * HOUR, T + ends * HOUR);
            pool.put_field("sessions", digest, record.as_bytes()).await;
        }
        open("g", T + 4).await;
        assert_eq!(digests().await, ["e", "f", "g"]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn sessions_end_one_by_one_or_all_at_once() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        let channel = pool.keys.channel();
        assert_eq!(pool.store.at(T).end_sessions(Ending::One("x")).await.unwrap(), 0);
        for digest in ["a", "b", "c"] {
            as_operator(&pool, Action::scripted("session.open"), T, async {
                open(&pool, digest, T).await.unwrap();
            })
            .await;
        }
        pool.store.at(T).put_ticket("t", "session a", ms(60_000)).await.unwrap();
        let end = async |which: Ending<'_>| pool.store.at(T + 1).end_sessions(which).await.unwrap();
        assert_eq!(end(Ending::One("x")).await, 0);
        let one = as_operator(&pool, Action::scripted("session.end"), T, end(Ending::One("b"))).await;
        assert_eq!((one, session(&pool, "b", T).await), (1, None));
        assert!(session(&pool, "a", T).await.is_some());
        assert_eq!(pool.hash("tickets").await.len(), 1);
        let all = as_operator(&pool, Action::scripted("sessions.end"), T, end(Ending::All)).await;
        assert_eq!((all, session(&pool, "a", T).await), (2, None));
        assert_eq!(pool.hash("tickets").await.len(), 0, "what was made in them");
        assert_eq!(end(Ending::All).await, 0);
        let trail = trail(&pool).await;
        let told: Vec<_> = trail
            .iter()
            .map(|one| (one.told.action.as_str(), one.told.changes[0].before.clone(), one.seq))
            .collect();
        assert_eq!(
            told,
            [
                ("sessions.end", Some(2.into()), 5),
                ("session.end", Some(1.into()), 4),
                ("session.open", None, 3),
                ("session.open", None, 2),
                ("session.open", None, 1),
            ]
        );
        for seq in 4..=6 {
            let event: Event = tokio::time::timeout(ms(20_000), events.recv()).await.unwrap().unwrap();
            assert_eq!(PoolEvent::parse(&channel, &event), Some(PoolEvent::Console));
            let Event::Message { payload, .. } = event else { panic!("{event:?}") };
            assert_eq!(payload, format!("console 0 {seq}"));
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn the_password_changes_once_per_generation_and_ends_all_sessions() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        assert_eq!(door(&pool, None).await, (0, Some(None)));
        assert_eq!(door(&pool, Some(0)).await, (0, None), "as known");
        open(&pool, "a", T).await;
        pool.store.at(T).put_ticket("t", "local", ms(60_000)).await.unwrap();
        assert_eq!(set(&pool, 1, Some("h1"), None, T).await, SetPassword::Changed(Version(0)));
        assert!(session(&pool, "a", T).await.is_some());
        let first = as_operator(&pool, Action::scripted("password.change"), T, set(&pool, 0, Some("h1"), None, T));
        assert_eq!(first.await, SetPassword::Done(Version(1)));
        assert_eq!(door(&pool, Some(0)).await, (1, Some(Some("h1".into()))));
        assert_eq!(session(&pool, "a", T).await, None);
        assert_eq!(pool.hash("tickets").await.len(), 0);
        assert_eq!(set(&pool, 0, Some("h2"), None, T).await, SetPassword::Changed(Version(1)));
        // A session of the password before is not opened.
        assert_eq!(open(&pool, "b", T).await, None);
        let of_now = NewSession { generation: Version(1), ..new_session("b") };
        assert!(pool.store.at(T).open_session(&of_now).await.unwrap().is_some());
        pool.store.at(T).open_session(&NewSession { digest: "c", ..of_now }).await.unwrap();
        assert_eq!(pool.store.at(T).end_sessions(Ending::One("c")).await.unwrap(), 1);
        let second = as_operator(&pool, Action::scripted("password.change"), T, set(&pool, 1, None, None, T));
        assert_eq!(second.await, SetPassword::Done(Version(2)));
        assert_eq!(door(&pool, Some(1)).await, (2, Some(None)));
        let trail = trail(&pool).await;
        let told: Vec<_> = trail
            .iter()
            .map(|one| {
                let changes = one.told.changes.iter().map(|change| {
                    let text = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
                    format!("{} {:?} {:?}", change.field, text(&change.before), text(&change.after))
                });
                (one.generation, one.seq, changes.collect::<Vec<_>>().join(", "))
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    Some(2),
                    6,
                    r#"password Some("\"set\"") Some("\"none\""), sessions Some("1") Some("0")"#.to_owned()
                ),
                (
                    Some(1),
                    2,
                    r#"password Some("\"none\"") Some("\"set\""), sessions Some("1") Some("0"), hash None Some("\"new\"")"#
                        .to_owned()
                ),
            ]
        );
        for (generation, seq) in [(1, 2), (1, 5), (2, 6)] {
            let event: Event = tokio::time::timeout(ms(20_000), events.recv()).await.unwrap().unwrap();
            let Event::Message { payload, .. } = event else { panic!("{event:?}") };
            assert_eq!(payload, format!("console {generation} {seq}"));
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_setup_token_is_good_for_the_first_password_only() {
    on_every_host(async |pool: Pool| {
        let put = async |digest: &str, at: i64| pool.store.at(at).put_setup(digest, ms(1000)).await.unwrap();
        assert_eq!(set(&pool, 0, Some("h"), Some("s1"), T).await, SetPassword::Token);
        assert!(put("s1", T).await && put("s2", T + 5).await);
        assert_eq!(door(&pool, Some(0)).await, (0, None), "no news");
        assert_eq!(set(&pool, 0, Some("h"), Some("s3"), T).await, SetPassword::Token);
        assert_eq!(set(&pool, 0, Some("h"), Some("s1"), T + 1000).await, SetPassword::Token, "it is over");
        assert_eq!(set(&pool, 1, Some("h"), Some("s2"), T).await, SetPassword::Changed(Version(0)));
        assert_eq!(set(&pool, 0, Some("h"), Some("s2"), T + 999).await, SetPassword::Done(Version(1)));
        for token in ["s1", "s2"] {
            assert_eq!(set(&pool, 1, Some("h"), Some(token), T).await, SetPassword::Token, "{token}");
        }
        // Nor is the name of the field that holds the hash a token.
        assert_eq!(set(&pool, 1, Some("h"), Some("hash"), T).await, SetPassword::Token);
        assert!(!put("s4", T).await, "there is a password");
        assert_eq!(set(&pool, 1, None, None, T).await, SetPassword::Done(Version(2)));
        assert_eq!(set(&pool, 2, Some("h"), Some("s2"), T).await, SetPassword::Token, "used up");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn setup_tokens_and_tickets_are_bounded() {
    on_every_host(async |pool: Pool| {
        let put = async |script, key: &str, digest: &str, life: i64, at: i64| {
            let call =
                Call::new(script).key(pool.key("meta")).key(pool.key(key)).arg(digest).arg(life).arg("3");
            let call = if key == "tickets" { call.arg("me") } else { call };
            pool.host.eval(vec![call.arg(at)]).await.unwrap();
        };
        for (script, key) in [(&PUT_SETUP, "console"), (&PUT_TICKET, "tickets")] {
            let digests = async || pool.hash(key).await.into_keys().collect::<Vec<_>>();
            for (digest, life) in [("b", 5000), ("a", 5000), ("c", 4000)] {
                put(script, key, digest, life, T).await;
            }
            put(script, key, "d", 9000, T + 3999).await;
            assert_eq!(digests().await, ["a", "b", "d"], "the one that ends first gives way");
            put(script, key, "e", 9000, T + 3999).await;
            assert_eq!(digests().await, ["b", "d", "e"], "of two, the first");
            put(script, key, "f", 9000, T + 5000).await;
            assert_eq!(digests().await, ["d", "e", "f"], "what is over goes by itself");
            pool.lose(key).await;
            put(script, key, "g", 10, T).await;
            put(script, key, "h", 10, T + 10).await;
            assert_eq!(digests().await, ["h"]);
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_ticket_is_good_once() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let take = async |digest: &str, at: i64| pool.store.at(at).take_ticket(digest).await.unwrap();
        assert_eq!(take("t", T).await, None);
        assert_eq!(pool.store.at(T).put_ticket("t", "session ab12", ms(60_000)).await.unwrap(), T);
        assert_eq!(take("t", T + 59_999).await.as_deref(), Some("session ab12"));
        assert_eq!(take("t", T).await, None);
        pool.store.at(T).put_ticket("u", "", ms(60_000)).await.unwrap();
        assert_eq!(take("u", T + 60_000).await, None, "it is over");
        assert_eq!(take("u", T).await, None, "and gone");
    })
    .await;
}

/// What the peer may do, without a log of it.
async fn may(pool: &Pool, peer: &str, mark: &str, at: i64) -> MayTry {
    pool.store.at(at).begin_attempt(&attempt(peer, mark), Some(Version(0)), false).await.unwrap().1
}

async fn ended(pool: &Pool, peer: &str, mark: &str, right: bool, at: i64) -> usize {
    let rows =
        ["login.failed", "login.locked"].map(|action| entry(Action::after(action)).row(Outcome::Refused));
    let rows = [rows[0].as_str(), rows[1].as_str()];
    pool.store.at(at).end_attempt(&attempt(peer, mark), Version(0), right, rows).await.unwrap()
}

#[tokio::test]
pub(crate) async fn a_peer_tries_so_many_different_ones_in_a_minute() {
    on_every_host(async |pool: Pool| {
        for (number, mark) in ["a", "b", "c"].into_iter().enumerate() {
            let at = T + i64::try_from(number).unwrap();
            assert_eq!(may(&pool, "p", mark, at).await, MayTry::Go, "{mark}");
            assert_eq!(ended(&pool, "p", mark, false, at).await, number + 1, "{mark}");
            if number < 2 {
                // The same one counts once, and is known.
                assert_eq!(may(&pool, "p", mark, at).await, MayTry::Wrong, "{mark}");
                assert_eq!(may(&pool, "p", mark, at).await, MayTry::Wrong, "{mark}");
            }
        }
        for mark in ["a", "c", "d", "right"] {
            assert_eq!(may(&pool, "p", mark, T + 100).await, MayTry::Blocked(ms(59_900)), "{mark}");
        }
        let right =
            pool.store.at(T + 100).begin_attempt(&attempt("p", "right"), Some(Version(0)), true).await;
        assert_eq!(right.unwrap().1, MayTry::Blocked(ms(59_900)), "also one that is known to be right");
        assert_eq!(may(&pool, "q", "a", T).await, MayTry::Go, "another peer");
        assert_eq!(may(&pool, "p", "a", T + 59_999).await, MayTry::Blocked(ms(1)));
        // A minute after the first one there is room for one; what was wrong is known, but counts again.
        assert_eq!(may(&pool, "p", "a", T + 60_000).await, MayTry::Wrong);
        assert_eq!(may(&pool, "p", "d", T + 60_000).await, MayTry::Blocked(ms(1)));
        assert_eq!(may(&pool, "p", "d", T + 60_001).await, MayTry::Go);
        assert_eq!(ended(&pool, "p", "d", false, T + 60_001).await, 3);
        let trail = trail(&pool).await;
        let told: Vec<_> =
            trail.iter().rev().map(|one| (one.told.action.as_str(), one.at_ms - T, one.seq)).collect();
        assert_eq!(
            told,
            [
                ("login.failed", 0, 0),
                ("login.failed", 1, 0),
                ("login.failed", 2, 0),
                ("login.locked", 2, 0),
                ("login.failed", 60_001, 0),
                ("login.locked", 60_001, 0),
            ]
        );
    })
    .await;
}

#[tokio::test]
pub(crate) async fn many_at_a_time_are_no_more_than_one_after_the_other() {
    on_every_host(async |pool: Pool| {
        for mark in ["a", "b"] {
            assert_eq!(may(&pool, "p", mark, T).await, MayTry::Go);
        }
        // Others may try the same at this moment; the third is the last.
        assert_eq!(may(&pool, "p", "a", T).await, MayTry::Go);
        assert_eq!(may(&pool, "p", "right", T).await, MayTry::Go);
        assert_eq!(may(&pool, "p", "right", T + 1).await, MayTry::Go);
        assert_eq!(may(&pool, "p", "d", T + 1).await, MayTry::Blocked(ms(59_999)));
        // A right one leaves nothing behind.
        assert_eq!(ended(&pool, "p", "right", true, T + 50).await, 2);
        assert_eq!(pool.hash("tries:p").await.len(), 2);
        assert_eq!(ended(&pool, "p", "a", false, T + 2).await, 2);
        assert_eq!(may(&pool, "p", "d", T + 3).await, MayTry::Go);
        // One that nobody began, as when the peer's tries are lost in between.
        assert_eq!(trail(&pool).await.len(), 1);
        assert_eq!(ended(&pool, "p", "z", false, T + 4).await, 4);
        assert_eq!(may(&pool, "p", "d", T + 4).await, MayTry::Blocked(ms(59_996)), "others are enough");
        for mark in ["x", "y", "z"] {
            ended(&pool, "r", mark, false, T + 4).await;
        }
        let actions: Vec<_> = trail(&pool).await.into_iter().map(|one| one.told.action).collect();
        assert_eq!(actions[0], "login.locked");
        let known = async |known: Option<u64>| {
            let attempt = attempt("q", "right");
            let (door, may) =
                pool.store.at(T).begin_attempt(&attempt, known.map(Version), true).await.unwrap();
            assert_eq!(may, MayTry::Go);
            (door.generation.0, door.news.is_some(), pool.hash("tries:q").await.len())
        };
        assert_eq!(known(Some(0)).await, (0, false, 0), "known to be right: it is no try");
        assert_eq!(known(Some(7)).await, (0, true, 1), "for another generation: it is one");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_wrong_one_may_be_right_after_a_change_and_is_told_once_an_hour() {
    on_every_host(async |pool: Pool| {
        assert_eq!(may(&pool, "p", "a", T).await, MayTry::Go);
        ended(&pool, "p", "a", false, T).await;
        assert_eq!(may(&pool, "p", "a", T + 1).await, MayTry::Wrong);
        set(&pool, 0, Some("h"), None, T + 2).await;
        let (door, may_try) =
            pool.store.at(T + 3).begin_attempt(&attempt("p", "a"), Some(Version(0)), false).await.unwrap();
        assert_eq!((may_try, door.generation, door.news.is_some()), (MayTry::Go, Version(1), true));
        let rows =
            ["login.failed", "login.locked"].map(|action| entry(Action::after(action)).row(Outcome::Refused));
        let wrong = async |at: i64| {
            let rows = [rows[0].as_str(), rows[1].as_str()];
            pool.store.at(at).end_attempt(&attempt("p", "a"), Version(1), false, rows).await.unwrap()
        };
        assert_eq!(wrong(T + 3).await, 1);
        assert_eq!(trail(&pool).await.len(), 1, "told already");
        for minute in 1..60 {
            let at = T + minute * 60_000;
            assert_eq!(may(&pool, "p", "a", at).await, MayTry::Wrong, "{minute}");
        }
        assert_eq!(may(&pool, "p", "a", T + HOUR - 1).await, MayTry::Wrong);
        assert_eq!(may(&pool, "p", "a", T + HOUR).await, MayTry::Go, "asked again once an hour");
        wrong(T + HOUR).await;
        assert_eq!(trail(&pool).await.len(), 2);
        // What nobody tried for an hour is forgotten, and so is what cannot be read.
        pool.put_field("tries:p", "damaged", b"x").await;
        assert_eq!(may(&pool, "p", "b", T + HOUR + 1).await, MayTry::Go);
        assert_eq!(pool.hash("tries:p").await.into_keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(may(&pool, "p", "c", T + 2 * HOUR).await, MayTry::Go);
        assert_eq!(pool.hash("tries:p").await.into_keys().collect::<Vec<_>>(), ["b", "c"]);
    })
    .await;
}
