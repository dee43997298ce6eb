use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::ops::audit::Record;
use crate::store::unsteady::{Network, Unsteady};

const START: i64 = 1_800_000_000_000;
const ME: Visitor<'_> = Visitor { group: "me", from: Some("192.0.2.1"), request: None };

/// A pool and its network.
fn pool() -> Arc<Unsteady> {
    Unsteady::new(Clock::following(START))
}

/// A replica of it.
fn replica(pool: &Arc<Unsteady>, pinned: Option<&str>) -> Console {
    let vault = Vault::new(&["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()]).unwrap();
    let pinned = pinned.map(SecretString::from);
    Console::new(pool.pool(), Arc::new(vault), pinned.as_ref(), Clock::following(START))
}

async fn set(console: &Console, new: &str, right: Right<'_>) -> Result<(), ConsoleError> {
    let new = SecretString::from(new);
    console.set_password(Some(&new), right).await
}

async fn tried(console: &Console, password: &str) -> Tried {
    console.password(password.as_bytes(), &ME).await.unwrap()
}

async fn logged_in(console: &Console, password: &str) -> SecretString {
    let Tried::Right(generation) = tried(console, password).await else { panic!("{password} is wrong") };
    console.open(generation).await.unwrap().unwrap().token
}

async fn in_force(console: &Console, token: &SecretString) -> bool {
    console.session(token.expose_secret().as_bytes()).await.unwrap().is_some()
}

async fn trail(console: &Console) -> Vec<Record> {
    console.store().list_audit(None, 100).await.unwrap().records
}

#[tokio::test(start_paused = true)]
async fn a_password_set_anywhere_holds_everywhere_and_ends_all_sessions() {
    let pool = pool();
    let (one, other) = (replica(&pool, None), replica(&pool, None));
    assert!(!one.is_closed().await && !other.is_closed().await);
    assert_eq!(tried(&other, "open sesame").await, Tried::Open);
    set(&one, "open sesame", Right::First).await.unwrap();
    assert!(one.is_closed().await);
    // Without the event, what was heard a second ago has to be asked after.
    tokio::time::advance(FRESH).await;
    assert!(other.is_closed().await);
    assert_eq!(tried(&other, "open sesam").await, Tried::Wrong);
    let token = logged_in(&other, "open sesame").await;
    assert!(in_force(&one, &token).await && in_force(&other, &token).await, "made here, good there");

    let Tried::Right(generation) = tried(&one, "open sesame").await else { panic!() };
    set(&one, "another one", Right::Known(generation)).await.unwrap();
    tokio::time::advance(FRESH).await;
    for console in [&one, &other] {
        assert!(!in_force(console, &token).await);
        assert_eq!(tried(console, "open sesame").await, Tried::Wrong, "also where it was right a moment ago");
        assert!(matches!(tried(console, "another one").await, Tried::Right(_)));
    }
    // Whoever knew the one before cannot change this one.
    let stale = set(&other, "mine now", Right::Known(generation)).await;
    assert!(matches!(stale, Err(ConsoleError::Contended)), "{stale:?}");
    assert!(matches!(set(&other, "mine now", Right::First).await, Err(ConsoleError::Set)));
    other.set_password(None, Right::Owner).await.unwrap();
    tokio::time::advance(FRESH).await;
    assert!(!one.is_closed().await);
    assert!(matches!(one.set_password(None, Right::Owner).await, Err(ConsoleError::NotSet)));
    // Its hash is no longer there, and never was the password.
    let text = format!("{one:?}");
    assert!(!text.contains("sesame"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_event_ends_what_was_known_at_once() {
    let pool = pool();
    let (one, other) = (replica(&pool, Some("open sesame")), replica(&pool, Some("open sesame")));
    let stop = CancellationToken::new();
    let following = tokio::task::JoinSet::from_iter([other.clone().follow(stop.clone())]);
    tokio::task::yield_now().await;
    let token = logged_in(&one, "open sesame").await;
    assert!(in_force(&other, &token).await);
    assert!(one.end(token.expose_secret().as_bytes()).await.unwrap());
    while other.inner.events.load(Ordering::Acquire) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!in_force(&other, &token).await, "no time has passed");
    assert!(!one.end(token.expose_secret().as_bytes()).await.unwrap());
    stop.cancel();
    following.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_costs_one_call_at_most_and_mostly_none() {
    let pool = pool();
    let console = replica(&pool, Some("open sesame"));
    console.load().await.unwrap();
    let token = logged_in(&console, "open sesame").await;
    let calls = || pool.batches().concat();
    calls();
    assert!(in_force(&console, &token).await);
    assert_eq!(calls(), ["check_session"]);
    for _ in 0..50 {
        assert!(in_force(&console, &token).await);
        assert!(matches!(tried(&console, "open sesame").await, Tried::Right(_)));
    }
    assert_eq!(calls(), Vec::<&str>::new());
    tokio::time::advance(FRESH).await;
    assert!(in_force(&console, &token).await);
    assert_eq!(calls(), ["check_session"]);
    assert!(matches!(tried(&console, "open sesame").await, Tried::Right(_)));
    assert_eq!(calls(), ["begin_attempt"], "whether the peer is locked out");
    // Five minutes later it has to be checked again.
    tokio::time::advance(ACCEPTED).await;
    assert!(matches!(tried(&console, "open sesame").await, Tried::Right(_)));
    assert_eq!(calls(), ["begin_attempt", "end_attempt"]);
    for _ in 0..3 {
        assert!(console.is_closed().await);
        assert_eq!(calls(), Vec::<&str>::new(), "it is so by configuration");
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_count_over_all_replicas_and_are_in_the_trail() {
    let pool = pool();
    let replicas = [replica(&pool, None), replica(&pool, None), replica(&pool, None)];
    set(&replicas[0], "open sesame", Right::Owner).await.unwrap();
    tokio::time::advance(FRESH).await;
    for (number, guess) in ["a", "b", "a", "b", "c", "d", "a", "e"].into_iter().enumerate() {
        assert_eq!(tried(&replicas[number % 3], guess).await, Tried::Wrong, "{guess}");
    }
    for console in &replicas {
        assert!(matches!(tried(console, "open sesame").await, Tried::Blocked(_)));
    }
    let elsewhere = Visitor { group: "elsewhere", ..ME };
    let right = replicas[1].password(b"open sesame", &elsewhere).await.unwrap();
    assert!(matches!(right, Tried::Right(_)), "{right:?}");
    let told: Vec<_> = trail(&replicas[2]).await.into_iter().map(|one| one.told.action).collect();
    let failed = "login.failed";
    assert_eq!(told, ["login.locked", failed, failed, failed, failed, failed]);
    let first = trail(&replicas[0]).await.remove(0).told;
    assert_eq!((first.actor.as_str(), first.from.as_deref()), ("stranger", Some("192.0.2.1")));
    tokio::time::advance(LIMIT.window).await;
    assert!(matches!(tried(&replicas[1], "open sesame").await, Tried::Right(_)));
}

#[tokio::test(start_paused = true)]
async fn many_guesses_at_once_are_no_more_than_one_by_one() {
    let pool = pool();
    let replicas = [replica(&pool, Some("open sesame")), replica(&pool, Some("open sesame"))];
    let guesses = (0..40).map(|number| {
        let console = &replicas[number % 2];
        async move { tried(console, &format!("guess {number}")).await }
    });
    let answers = futures_util::future::join_all(guesses).await;
    let wrong = answers.iter().filter(|answer| **answer == Tried::Wrong).count();
    assert_eq!((wrong, answers.len() - wrong), (LIMIT.most, 35), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_what_was_known_holds_for_a_while() {
    let pool = pool();
    let console = replica(&pool, None);
    set(&console, "open sesame", Right::Owner).await.unwrap();
    let token = logged_in(&console, "open sesame").await;
    let unused = logged_in(&console, "open sesame").await;
    assert!(in_force(&console, &token).await);
    pool.set(Network::Cut);
    tokio::time::advance(FRESH).await;
    assert!(console.is_closed().await);
    assert!(in_force(&console, &token).await);
    assert!(console.session(unused.expose_secret().as_bytes()).await.is_err(), "nobody knows");
    assert!(matches!(tried(&console, "open sesame").await, Tried::Right(_)));
    for guess in ["a", "b", "a", "c", "d", "e"] {
        assert_eq!(tried(&console, guess).await, Tried::Wrong, "{guess}");
    }
    assert!(matches!(tried(&console, "open sesame").await, Tried::Blocked(_)));
    assert!(matches!(set(&console, "mine now", Right::Owner).await, Err(ConsoleError::Store(_))));
    assert!(console.end(token.expose_secret().as_bytes()).await.is_err());
    tokio::time::advance(GRACE).await;
    assert!(console.session(token.expose_secret().as_bytes()).await.is_err(), "not for ever");
    assert!(matches!(tried(&console, "open sesame").await, Tried::Right(_)), "the lock-out is over");
    pool.set(Network::Up);
    assert!(in_force(&console, &token).await);
}

#[tokio::test(start_paused = true)]
async fn a_configured_password_is_the_only_one() {
    let pool = pool();
    let (free, pinned) = (replica(&pool, None), replica(&pool, Some("configured one")));
    set(&free, "open sesame", Right::Owner).await.unwrap();
    assert!(pinned.has_password() && pinned.is_pinned());
    assert_eq!(tried(&pinned, "open sesame").await, Tried::Wrong);
    assert!(matches!(tried(&pinned, "configured one").await, Tried::Right(_)));
    assert!(matches!(set(&pinned, "mine now", Right::Owner).await, Err(ConsoleError::Pinned)));
    assert!(matches!(pinned.set_password(None, Right::Owner).await, Err(ConsoleError::Pinned)));
    // What is wrong for one configuration may be right for the next.
    let next = replica(&pool, Some("open sesame"));
    assert!(matches!(tried(&next, "open sesame").await, Tried::Right(_)));
    assert!(!replica(&pool, Some("")).is_pinned());
}

#[tokio::test(start_paused = true)]
async fn bad_passwords_are_refused_before_they_cost_anything() {
    let pool = pool();
    let console = replica(&pool, None);
    for (new, fits) in [("12345", false), ("äöüßé", false), ("äöüßéè", true), ("", false)] {
        let set = set(&console, new, Right::Owner).await;
        assert_eq!(set.is_ok(), fits, "{new}");
        assert!(fits || matches!(set, Err(ConsoleError::Short)), "{set:?}");
    }
    assert!(matches!(set(&console, &"x".repeat(1025), Right::Owner).await, Err(ConsoleError::Long)));
    set(&console, &"x".repeat(1024), Right::Owner).await.unwrap();
    assert!(matches!(tried(&console, &"x".repeat(1024)).await, Tried::Right(_)));
    assert_eq!(tried(&console, &"x".repeat(100_000)).await, Tried::Wrong);
}

#[tokio::test(start_paused = true)]
async fn a_setup_token_of_any_replica_sets_the_first_password_once() {
    let pool = pool();
    let (one, other) = (replica(&pool, None), replica(&pool, None));
    let token = one.setup_token().await.unwrap().unwrap();
    let second = other.setup_token().await.unwrap().unwrap();
    let token = token.expose_secret();
    assert!(matches!(set(&other, "open sesame", Right::Setup("guess")).await, Err(ConsoleError::Token)));
    assert!(matches!(set(&other, "short", Right::Setup(token)).await, Err(ConsoleError::Short)));
    set(&other, "open sesame", Right::Setup(token)).await.unwrap();
    for token in [token, second.expose_secret()] {
        assert!(matches!(set(&one, "mine now", Right::Setup(token)).await, Err(ConsoleError::Token)));
    }
    tokio::time::advance(FRESH).await;
    assert!(one.setup_token().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_ticket_of_one_replica_is_taken_once_by_any() {
    let pool = pool();
    let (one, other) = (replica(&pool, None), replica(&pool, None));
    let session = KeyDigest::of(b"agps_x");
    let ticket = one.ticket(Some(session)).await.unwrap();
    assert_eq!(ticket.ends_ms, START + 60_000);
    let ticket = ticket.ticket.expose_secret();
    assert_eq!(other.take_ticket(ticket).await.unwrap(), Some(Some(session)));
    assert_eq!(one.take_ticket(ticket).await.unwrap(), None);
    let late = one.ticket(None).await.unwrap();
    tokio::time::advance(TICKET_LIFE).await;
    assert_eq!(one.take_ticket(late.ticket.expose_secret()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn sessions_end_by_themselves() {
    let pool = pool();
    let console = replica(&pool, Some("open sesame"));
    let (used, idle) = (logged_in(&console, "open sesame").await, logged_in(&console, "open sesame").await);
    for _ in 0..13 {
        assert!(in_force(&console, &used).await);
        tokio::time::advance(Duration::from_hours(1)).await;
    }
    assert!(in_force(&console, &used).await && !in_force(&console, &idle).await);
    while console.inner.clock.epoch_ms() < START + 168 * 3_600_000 - 1 {
        tokio::time::advance(Duration::from_hours(1).min(Duration::from_millis(
            u64::try_from(START + 168 * 3_600_000 - 1 - console.inner.clock.epoch_ms()).unwrap(),
        )))
        .await;
        assert!(in_force(&console, &used).await);
    }
    // Within the second for which it was looked at.
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!in_force(&console, &used).await);
    assert_eq!(console.end_all().await.unwrap(), 2, "as records");
}
