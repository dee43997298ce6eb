//! What bounds a request: attempts, calls, waits and the deadline (spec `dispatch.md` §2.2, §2.11; §10, trap 6).

use std::time::Duration;

use crate::dispatch::error::DispatchError;

use super::world::{Asked, MODEL, Say, World};

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_ends_with_the_deadline_and_is_nobodys_fault() {
    let world = World::new(&["a", "b"], |_| Say::Silence).await;
    let told = world.ask(true).await;
    // The first call ends with `upstream.headerTimeoutMs`.
    world.called("0 b:D, 120 b:P");
    assert!(matches!(told.answer, Err(DispatchError::DeadlineExceeded)));
    assert!((179.9..180.1).contains(&told.at), "{}", told.at);
    world.untouched(&["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_has_its_own_time() {
    let hasty = |setup: &mut super::world::Setup| setup.settings.answer_timeout = Duration::from_secs(30);
    let world = World::with(&["a", "b"], |_| Say::Silence, hasty).await;
    let told = world.ask(false).await;
    // `requestTimeoutMs` ends each call, and two accounts that fail end the request.
    world.called("0 b:D, 30 b:P, 60 a:D, 90 a:P");
    assert_eq!(told.status(), 503);
    world.untouched(&["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_account_is_asked_again_after_the_pause_that_is_set_and_another_at_once() {
    for (pause, again) in [(0, 1), (4, 4)] {
        let failing = |call: &Asked| if call.before < 2 { Say::error(500, "{}") } else { Say::Ok };
        let world = World::with(&["a"], failing, |setup| {
            setup.settings.dispatch.again_pause = Duration::from_secs(pause);
        })
        .await;
        assert_eq!(world.ask(true).await.status(), 200);
        world.called(&format!("0 a:D, 0 a:P, {again} a:D"));
    }
    let limited = |call: &Asked| if call.account == "b" { Say::limited(100.0) } else { Say::Ok };
    let world = World::with(&["a", "b"], limited, |setup| {
        setup.settings.dispatch.again_pause = Duration::from_secs(4);
    })
    .await;
    assert_eq!(world.ask(true).await.status(), 200);
    world.called("0 b:D, 0 a:D");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_does_not_fit_what_is_left_of_the_deadline_is_not_begun() {
    let world = World::new(&["a"], |_| Say::limited(100.0)).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 100.5-101.6 a:D");
    assert_eq!((told.status(), told.retry_after()), (429, Some(100)));
    assert!(told.at < 102.0, "{}", told.at);
}

#[tokio::test(start_paused = true)]
async fn the_pool_is_waited_for_up_to_two_minutes() {
    for (seconds, waited) in [(119.0, true), (121.0, false)] {
        let say = move |call: &Asked| if call.before == 0 { Say::limited(seconds) } else { Say::Ok };
        let world = World::new(&["a"], say).await;
        let told = world.ask(true).await;
        assert_eq!((told.status() == 200, told.at > 1.0), (waited, waited), "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_account_that_is_limited_is_asked_once() {
    let world = World::new(&["a", "b", "c", "d", "e", "f", "g"], |_| Say::limited(600.0)).await;
    let told = world.ask(true).await;
    assert_eq!((world.calls().len(), told.status()), (7, 429));
    let mut accounts: Vec<_> = world.calls().into_iter().map(|call| call.account).collect();
    accounts.sort();
    accounts.dedup();
    assert_eq!(accounts.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn no_call_is_made_beyond_twice_the_attempts() {
    let world = World::new(&["a", "b"], |call| match call.before % 3 {
        0 => Say::limited(0.5),
        1 => Say::error(403, ""),
        _ => Say::limited(3.0),
    })
    .await;
    let told = world.ask(true).await;
    assert!(world.calls().len() <= 10 && told.status() != 200, "{:?}", world.calls());
}

#[tokio::test(start_paused = true)]
async fn three_proven_failures_in_a_row_put_an_account_to_rest_for_a_minute() {
    let say = |call: &Asked| if call.account == "b" { Say::error(500, "") } else { Say::Ok };
    let world = World::new(&["a", "b"], say).await;
    for _ in 0..3 {
        assert_eq!(world.limit("b").await, None);
        assert_eq!(world.ask(true).await.status(), 200);
    }
    assert_eq!(world.limit("b").await.unwrap(), (60.0, "failure".to_owned()));
    let calls = world.calls().len();
    assert_eq!(world.ask(true).await.status(), 200);
    assert_eq!(world.calls().len(), calls + 1);
    // Ten minutes without a failure, and the count begins anew.
    tokio::time::sleep(Duration::from_mins(11)).await;
    assert_eq!(world.ask(true).await.status(), 200);
    assert_eq!((world.account("b").await.failures, world.limit("b").await), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_never_shortened_by_a_later_one() {
    let say = |call: &Asked| Say::limited(if call.at < 1.0 { 100.0 } else { 5.0 });
    let world = World::new(&["a"], say).await;
    let first = world.ask(true);
    let second = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.limit("a").await
    };
    let (_, limit) = tokio::join!(first, second);
    assert!(limit.unwrap().0 > 99.0);
}

#[tokio::test(start_paused = true)]
async fn the_model_that_stands_in_is_asked_within_the_same_deadline_and_not_after_mistakes() {
    let on = |setup: &mut super::world::Setup| setup.settings.dispatch.fallback = true;
    // Used up by missing capacity, by server errors, by silence.
    let world =
        World::with(&["a"], |call| if call.model == MODEL { Say::capacity(503) } else { Say::Ok }, on).await;
    assert_eq!(world.ask(true).await.status(), 200);
    let world =
        World::with(&["a"], |call| if call.model == MODEL { Say::error(500, "") } else { Say::Ok }, on).await;
    assert_eq!(world.ask(true).await.status(), 200);
    let world = World::with(&["a"], |_| Say::Silence, on).await;
    let told = world.ask(true).await;
    assert_eq!(told.status(), 529);
    assert!((179.9..180.1).contains(&told.at), "{}", told.at);
    // Not for what another model would be told, too, and never twice.
    for status in [400, 403, 404] {
        let world = World::with(&["a"], move |_| Say::error(status, ""), on).await;
        assert_eq!(world.ask(true).await.status(), status);
        assert!(world.calls().iter().all(|call| call.model == MODEL));
    }
    let world = World::with(&["a"], |_| Say::limited(600.0), on).await;
    assert_eq!(world.ask(true).await.status(), 429);
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn pings_bridge_a_wait_and_its_failure_comes_as_an_event() {
    let silence = |setup: &mut super::world::Setup| setup.settings.keepalive = Duration::from_secs(15);
    let world = World::with(&["a"], |_| Say::exhausted(), silence).await;
    let told = world.ask(true).await;
    assert!((4..=5).contains(&told.text().matches("event: ping").count()), "{}", told.text());
    assert_eq!(told.text().matches("event: error").count(), 1);
    assert!(told.text().contains("rate_limit_error"));
}
