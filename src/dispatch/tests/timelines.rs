//! The verified timelines of spec `dispatch.md` §2.10. The reference was run through each; where what it did is a fault,
//! the test says so and asserts what is done here.

use crate::cloudcode::TransportKind;
use crate::dispatch::error::DispatchError;

use super::world::{Asked, FALLBACK, MODEL, Say, World};

/// T1. The reference also slept 5 s before each limit.
#[tokio::test(start_paused = true)]
async fn t1_a_limit_without_a_reset_is_waited_out_once_and_then_told() {
    let world = World::new(&["a"], |_| Say::exhausted()).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 60.5-61.5 a:D");
    assert_eq!((told.status(), told.retry_after()), (429, Some(300)));
    assert!((60.5..61.6).contains(&told.at), "{}", told.at);
}

/// T2. As the reference without its 5 s before a change of accounts.
#[tokio::test(start_paused = true)]
async fn t2_both_accounts_are_asked_before_and_after_the_wait() {
    let world = World::new(&["a", "b"], |_| Say::exhausted()).await;
    let told = world.ask(true).await;
    world.called("0 b:D, 0 a:D, 60.5-61.5 b:D, 60.5-61.5 a:D");
    assert_eq!((told.status(), told.retry_after()), (429, Some(300)));
}

/// T3. The reference asked b for ever and never tried a.
#[tokio::test(start_paused = true)]
async fn t3_a_limit_of_seconds_gives_way_to_a_free_account_at_once() {
    let limited = |call: &Asked| if call.account == "b" { Say::limited(5.0) } else { Say::Ok };
    let world = World::new(&["a", "b"], limited).await;
    let told = world.ask(true).await;
    assert_eq!(told.status(), 200);
    world.called("0 b:D, 0 a:D");
    assert_eq!(world.limit("b").await.unwrap().1, "quota");
}

/// T4. The reference doubled its pauses, to an answer after 39.7 s.
#[tokio::test(start_paused = true)]
async fn t4_repeated_short_limits_of_the_only_account_are_waited_out() {
    let say = |call: &Asked| if call.before < 6 { Say::limited(1.2) } else { Say::Ok };
    let world = World::new(&["a"], say).await;
    let told = world.ask(true).await;
    assert_eq!((told.status(), world.calls().len()), (200, 7));
    assert!((15.0..16.5).contains(&told.at), "{}", told.at);
}

/// T5. The reference repeated it every 0.6 s for ever.
#[tokio::test(start_paused = true)]
async fn t5_limits_below_a_second_are_waited_out_three_times_and_end_with_the_calls_allowed() {
    let world = World::new(&["a"], |_| Say::limited(0.6)).await;
    let told = world.ask(true).await;
    let calls = world.calls();
    let times: Vec<_> = calls.iter().take(4).map(|call| (call.at * 10.0).round() / 10.0).collect();
    assert_eq!(times, [0.0, 0.6, 1.2, 1.8]);
    assert_eq!((calls.len(), told.status(), told.retry_after()), (10, 429, Some(1)));
}

/// T6. The reference sent the same token ten times. Here the key is one that cannot be refreshed; what is done with one
/// that can is in `tests/it/failover.rs`.
#[tokio::test(start_paused = true)]
async fn t6_a_token_that_is_refused_is_not_sent_again() {
    let world = World::new(&["a"], |_| Say::error(401, "{}")).await;
    let told = world.ask(true).await;
    world.called("0 a:D");
    assert_eq!(told.status(), 502);
}

/// T7. The reference sent the revoked token to the other endpoint, too.
#[tokio::test(start_paused = true)]
async fn t7_a_revoked_sign_in_rotates_at_once() {
    let say = |call: &Asked| match &*call.account {
        "b" => Say::error(401, r#"{"error":{"message":"invalid_grant"}}"#),
        _ => Say::Ok,
    };
    let world = World::new(&["a", "b"], say).await;
    assert_eq!(world.ask(true).await.status(), 200);
    world.called("0 b:D, 0 a:D");
    assert!(world.account("b").await.invalid.is_some());
}

/// T8. The reference failed without trying a.
#[tokio::test(start_paused = true)]
async fn t8_a_bare_403_moves_to_the_other_endpoint_and_then_to_the_other_account() {
    let say = |call: &Asked| match &*call.account {
        "b" => Say::error(403, r#"{"error":{"status":"PERMISSION_DENIED"}}"#),
        _ => Say::Ok,
    };
    let world = World::new(&["a", "b"], say).await;
    assert_eq!(world.ask(true).await.status(), 200);
    world.called("0 b:D, 0 b:P, 0 a:D");
    let (left, why) = world.limit("b").await.unwrap();
    assert!((295.0..=300.0).contains(&left) && why == "forbidden", "{left} {why}");
    world.untouched(&["a"]).await;
}

/// T9. As the reference, with an answer that says that waiting does not help.
#[tokio::test(start_paused = true)]
async fn t9_accounts_that_all_need_their_owner_end_the_request() {
    let body = r#"{"error":{"details":[{"reason":"VALIDATION_REQUIRED"}]}}"#;
    let world = World::new(&["a", "b"], move |_| Say::error(403, body)).await;
    let told = world.ask(true).await;
    world.called("0 b:D, 0 a:D");
    assert!(matches!(told.answer, Err(DispatchError::AllInvalid { .. })));
    assert_eq!(told.status(), 503);
}

/// T10. The reference took 131 s, waited out a cooldown it had itself imposed, and counted five failures.
#[tokio::test(start_paused = true)]
async fn t10_server_errors_of_the_only_account_end_soon_and_are_not_its_fault() {
    let world = World::new(&["a"], |_| Say::error(500, "500")).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 0 a:P, 1 a:D, 1 a:P");
    assert_eq!(told.status(), 502);
    world.untouched(&["a"]).await;
}

/// T11. The reference asked five times in ten seconds and limited b for a minute.
#[tokio::test(start_paused = true)]
async fn t11_server_errors_everywhere_end_with_the_second_account() {
    let world = World::new(&["a", "b"], |_| Say::error(500, "500")).await;
    let told = world.ask(true).await;
    world.called("0 b:D, 0 b:P, 0 a:D, 0 a:P");
    assert_eq!(told.status(), 502);
    world.untouched(&["a", "b"]).await;
}

/// T12. The reference waited 125 s, did not try a, and answered 500.
#[tokio::test(start_paused = true)]
async fn t12_missing_capacity_is_retried_within_a_minute_and_on_the_other_account() {
    let world = World::new(&["a", "b"], |_| Say::error(503, "MODEL_CAPACITY_EXHAUSTED")).await;
    let told = world.ask(true).await;
    let calls = world.calls();
    assert!(calls.iter().any(|call| call.account == "a"), "{calls:?}");
    assert_eq!((calls[0].endpoint, calls[1].endpoint, told.status()), ('D', 'P', 529));
    assert!(told.at <= 60.1, "{}", told.at);
}

/// T12b. The reference made 35 calls in 867 s because the body held the digits 503.
#[tokio::test(start_paused = true)]
async fn t12b_digits_in_the_body_change_nothing_about_missing_capacity() {
    let world = World::new(&["a"], |_| Say::capacity(503)).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 0 a:P, 3.3-6.7 a:P, 10-20 a:P, 23.3-46.7 a:P, ...");
    assert_eq!(told.status(), 529);
    let (left, why) = world.limit("a").await.unwrap();
    assert!((9.9..=20.0).contains(&left) && why == "capacity", "{left} {why}");
}

/// T13. The reference's capacity retries escalated the next quota limit to two hours.
#[tokio::test(start_paused = true)]
async fn t13_missing_capacity_in_a_429_is_no_quota_and_no_failure() {
    let world = World::new(&["a"], |_| Say::capacity(429)).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 0 a:P, 3.3-6.7 a:P, 10-20 a:P, 23.3-46.7 a:P, ...");
    assert_eq!(told.status(), 529);
    let account = world.account("a").await;
    assert_eq!(account.failures, 0);
    assert!(account.health >= 70.0);
    let (left, why) = world.limit("a").await.unwrap();
    assert!((9.9..=20.0).contains(&left) && why == "capacity", "{left} {why}");
}

/// T14. The reference slept for the hour inside the request.
#[tokio::test(start_paused = true)]
async fn t14_an_hour_that_missing_capacity_asks_for_is_not_slept() {
    let hour = || Say::capacity(429).with("retry-after", "3600");
    let world = World::new(&["a"], move |call| if call.before == 0 { hour() } else { Say::Ok }).await;
    assert_eq!(world.ask(true).await.status(), 200);
    world.called("0 a:D, 0 a:P");

    let world = World::new(&["a"], move |_| hour()).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 0 a:P");
    assert_eq!(told.status(), 529);
}

/// T15. The reference took 124 s.
#[tokio::test(start_paused = true)]
async fn t15_an_upstream_that_cannot_be_reached_ends_soon_and_benches_nobody() {
    let world = World::new(&["a"], |_| Say::Down(TransportKind::Connect)).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 0 a:P, 1 a:D, 1 a:P");
    assert_eq!(told.status(), 503);
    world.untouched(&["a"]).await;
}

/// T16.
#[tokio::test(start_paused = true)]
async fn t16_three_empty_answers_make_a_notice() {
    let world = World::new(&["a"], |_| Say::Empty).await;
    for stream in [true, false] {
        let told = world.ask(stream).await;
        assert!(told.text().contains("No response"), "{}", told.text());
    }
    world.called("0 a:D, 0.5 a:D, 1.5 a:D, 1.5 a:D, 2 a:D, 3 a:D");
    world.untouched(&["a"]).await;
}

/// T17.
#[tokio::test(start_paused = true)]
async fn t17_a_limit_met_while_an_empty_answer_is_repeated_rotates() {
    let say = |call: &Asked| match call.before {
        0 => Say::Empty,
        1 => Say::error(429, "slow down"),
        _ => Say::Ok,
    };
    let world = World::new(&["a", "b"], say).await;
    assert_eq!(world.ask(true).await.status(), 200);
    world.called("0 b:D, 0.5 b:D, 0.5 a:D");
    assert!(world.limit("b").await.is_some());
}

/// T18. The reference began a second message on the other endpoint.
#[tokio::test(start_paused = true)]
async fn t18_a_stream_that_breaks_off_is_told_and_not_repeated() {
    let world = World::new(&["a"], |call| if call.before == 0 { Say::Cut("half") } else { Say::Ok }).await;
    let told = world.ask(true).await;
    world.called("0 a:D");
    assert_eq!(told.text().matches("event: message_start").count(), 1);
    assert_eq!(told.text().matches("event: error").count(), 1);
    assert!(!told.text().contains("message_stop"));
}

/// T19. The reference waited for ever.
#[tokio::test(start_paused = true)]
async fn t19_a_pool_without_accounts_is_told_at_once() {
    let world = World::new(&[], |_| Say::Ok).await;
    let told = world.ask(true).await;
    assert!(matches!(told.answer, Err(DispatchError::NoAccounts)));

    let world = World::new(&["a"], |_| Say::Ok).await;
    world.disable("a").await;
    let told = world.ask(true).await;
    assert!(matches!(told.answer, Err(DispatchError::AllDisabled)));
    assert!(told.at < 0.1 && world.calls().is_empty());
}

/// T20. The reference told the four clients 5 min, 30 min and twice 2 h, and counted six failures.
#[tokio::test(start_paused = true)]
async fn t20_limits_met_together_count_once() {
    let world = World::new(&["a"], |_| Say::exhausted()).await;
    let told = futures_util::future::join_all((0..4).map(|_| world.ask(true))).await;
    for one in &told {
        assert_eq!(one.status(), 429);
        let seconds = one.retry_after().unwrap();
        assert!((290..=300).contains(&seconds), "{seconds}");
    }
    assert!(world.calls().len() <= 8);
    assert_eq!(world.account("a").await.failures, 2);
}

/// T21. The reference burnt its attempts without a call and without a pause.
#[tokio::test(start_paused = true)]
async fn t21_an_account_that_cools_down_is_seen_as_such_everywhere() {
    let say = |call: &Asked| match &*call.account {
        "b" => Say::error(401, "token revoked"),
        _ => Say::error(401, "{}"),
    };
    let world = World::new(&["a", "b"], say).await;
    assert_eq!(world.ask(true).await.status(), 502);
    world.called("0 b:D, 0 a:D");
    assert!(!world.account("a").await.cooling.is_zero());
    let told = world.ask(true).await;
    assert_eq!((told.status(), world.calls().len()), (503, 2));
    assert!((1..=60).contains(&told.retry_after().unwrap()));
}

/// T22. The reference replayed it on every account five times and limited b.
#[tokio::test(start_paused = true)]
async fn t22_a_400_is_the_clients_whatever_digits_it_holds() {
    let body = r#"{"error":{"code": 400,"message":"max 65500 tokens; 429 500 503 401","status":"INVALID_ARGUMENT"}}"#;
    let world = World::new(&["a", "b"], move |_| Say::error(400, body)).await;
    let told = world.ask(true).await;
    world.called("0 b:D");
    assert_eq!(told.status(), 400);
    assert!(told.answer.unwrap_err().to_string().contains("65500"));
    world.untouched(&["a", "b"]).await;
}

/// T23. As the reference without its 5 s.
#[tokio::test(start_paused = true)]
async fn t23_another_model_stands_in_for_an_exhausted_one() {
    let say = |call: &Asked| if call.model == MODEL { Say::limited(600.0) } else { Say::Ok };
    let world = World::with(&["a"], say, |setup| setup.settings.dispatch.fallback = true).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 0 a:D");
    assert_eq!(world.calls()[1].model, FALLBACK);
    assert!(told.text().contains(FALLBACK));
}

/// T24.
#[tokio::test(start_paused = true)]
async fn t24_the_only_account_is_waited_for() {
    for (after, times) in [("10", "0 a:D, 10.5-11.6 a:D"), ("11", "0 a:D, 11.5-12.7 a:D")] {
        let limited = move || Say::error(429, "{}").with("retry-after", after);
        let world = World::new(&["a"], move |call| if call.before == 0 { limited() } else { Say::Ok }).await;
        assert_eq!(world.ask(true).await.status(), 200);
        world.called(times);
    }
}

/// T25. The reference answered 500 without trying a.
#[tokio::test(start_paused = true)]
async fn t25_a_body_that_breaks_off_before_its_first_event_is_asked_for_elsewhere() {
    let world = World::new(&["a", "b"], |_| Say::Cut("")).await;
    let told = world.ask(true).await;
    world.called("0 b:D, 0 b:P, 0 a:D, 0 a:P");
    assert_eq!(told.status(), 503);
    world.untouched(&["a", "b"]).await;
}

/// T26. The reference answered with the 403 and did not try a.
#[tokio::test(start_paused = true)]
async fn t26_a_401_and_a_403_of_one_account_are_no_answer() {
    let say = |call: &Asked| match (&*call.account, call.endpoint) {
        ("b", 'D') => Say::error(401, "{}"),
        ("b", _) => Say::error(403, r#"{"error":{"status":"PERMISSION_DENIED"}}"#),
        _ => Say::Ok,
    };
    let world = World::new(&["a", "b"], say).await;
    assert_eq!(world.ask(true).await.status(), 200);
    world.called("0 b:D, 0 a:D");
}
