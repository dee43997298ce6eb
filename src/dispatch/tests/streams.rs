//! Answers that are empty, blocked, broken or in-band errors (spec `dispatch.md` §2.7, §2.11; §10, traps 2 and 23).

use super::world::{Asked, Say, World};

/// The first account asked says `first`, then `second`; then everybody answers.
async fn say_twice(first: Say, second: Say) -> (World, u16) {
    let say = move |call: &Asked| match call.before {
        0 => first.clone(),
        1 => second.clone(),
        _ => Say::Ok,
    };
    let world = World::new(&["a", "b"], say).await;
    let status = world.ask(true).await.status();
    (world, status)
}

fn ok(body: &str) -> Say {
    Say::error(200, body)
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_empty_answer_is_judged_like_any_other_call() {
    for (second, calls) in [
        (Say::Ok, "0 b:D, 0.5 b:D"),
        (Say::limited(30.0), "0 b:D, 0.5 b:D, 0.5 a:D"),
        (Say::error(401, "invalid_grant"), "0 b:D, 0.5 b:D, 0.5 a:D"),
        (Say::error(401, "{}"), "0 b:D, 0.5 b:D, 0.5 a:D"),
        (Say::error(500, ""), "0 b:D, 0.5 b:D, 0.5 b:P"),
        (Say::error(404, ""), "0 b:D, 0.5 b:D, 0.5 b:P"),
        (Say::Cut(""), "0 b:D, 0.5 b:D, 0.5 b:P"),
        (Say::Empty, "0 b:D, 0.5 b:D, 1.5 b:D"),
    ] {
        let (world, status) = say_twice(Say::Empty, second).await;
        world.called(calls);
        assert_eq!(status, 200);
    }
    let (world, status) = say_twice(Say::Empty, Say::error(400, "{}")).await;
    world.called("0 b:D, 0.5 b:D");
    assert_eq!(status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_prompt_is_answered_after_one_call_whether_streamed_or_not() {
    for stream in [true, false] {
        let world = World::new(&["a", "b"], |_| Say::Blocked).await;
        let told = world.ask(stream).await;
        world.called("0 b:D");
        assert!(told.text().contains("refusal"), "{}", told.text());
        world.untouched(&["a", "b"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_that_comes_as_the_reason_for_the_end_is_no_empty_answer() {
    let body =
        r#"data: {"response":{"candidates":[{"finishReason":"PROHIBITED_CONTENT"}]}}"#.to_owned() + "\n\n";
    let world = World::new(&["a"], move |_| ok(&body)).await;
    let told = world.ask(true).await;
    world.called("0 a:D");
    assert!(told.text().contains("refusal"), "{}", told.text());
}

#[tokio::test(start_paused = true)]
async fn an_error_object_in_a_200_stream_is_that_error() {
    let limited = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"30s"}]}}"#;
    let invalid = r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"bad 429"}}"#;
    for (body, calls, status) in [(limited, "0 b:D, 0 a:D", 200), (invalid, "0 b:D", 400)] {
        let body = format!("data: {body}\n\n");
        let say = move |call: &Asked| if call.account == "b" { ok(&body) } else { Say::Ok };
        let world = World::new(&["a", "b"], say).await;
        assert_eq!(world.ask(true).await.status(), status);
        world.called(calls);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_reason_for_its_end_and_without_its_last_newline_is_whole() {
    let body = r#"data: {"response":{"candidates":[{"content":{"parts":[{"text":"all of it"}]}}]}}"#;
    let world = World::new(&["a"], move |_| ok(body)).await;
    let told = world.ask(true).await;
    world.called("0 a:D");
    assert!(told.text().contains("all of it") && told.text().contains("end_turn"), "{}", told.text());
    assert!(told.text().contains("message_stop"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_counts_against_its_account_and_no_other() {
    let world = World::new(&["a", "b"], |_| Say::Cut("half")).await;
    let told = world.ask(true).await;
    world.called("0 b:D");
    assert!(told.text().contains("event: error"));
    assert_eq!(world.account("b").await.failures, 1);
    world.untouched(&["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_one_piece_is_asked_for_again_when_it_breaks_off() {
    let world = World::new(&["a"], |call| if call.before == 0 { Say::Cut("half") } else { Say::Ok }).await;
    let told = world.ask(false).await;
    world.called("0 a:D, 0 a:P");
    assert!(told.text().contains("fine") && !told.text().contains("half"));
}
