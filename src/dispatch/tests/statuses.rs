//! What each upstream status costs (spec `dispatch.md` §2.5, §2.11): which calls follow, what becomes of the account,
//! what the client is told. Account b is asked first and fails; a would answer.

use crate::cloudcode::TransportKind;
use crate::store::ident::InvalidReason;

use super::world::{Say, World};

/// b says `fault` whenever it is asked.
async fn after(fault: Say) -> (World, u16) {
    let say = move |call: &super::world::Asked| if call.account == "b" { fault.clone() } else { Say::Ok };
    let world = World::new(&["a", "b"], say).await;
    let status = world.ask(true).await.status();
    (world, status)
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_is_over_leaves_the_endpoints_alone_and_needs_its_owner() {
    for text in [
        "invalid_grant",
        "Token revoked",
        "Token has been expired or revoked.",
        "TOKEN_REVOKED",
        "invalid_client",
        "The credentials are invalid",
    ] {
        let (world, status) = after(Say::error(401, text)).await;
        world.called("0 b:D, 0 a:D");
        let invalid = world.account("b").await.invalid.unwrap();
        assert_eq!((status, invalid.reason), (200, InvalidReason::Revoked), "{text}");
        world.untouched(&["a"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_without_a_reason_costs_the_account_a_minute() {
    let (world, status) = after(Say::error(401, "429 500 oops")).await;
    world.called("0 b:D, 0 a:D");
    let account = world.account("b").await;
    assert_eq!((status, account.cooling.as_secs_f64().round(), account.failures), (200, 60.0, 0));
    assert!(account.health >= 70.0 && account.invalid.is_none());
}

#[tokio::test(start_paused = true)]
async fn missing_capacity_is_told_by_its_words_under_503_and_529() {
    for status in [503, 529] {
        for text in [
            "MODEL_CAPACITY_EXHAUSTED",
            "capacity_exhausted",
            "The model is currently overloaded",
            "Service temporarily unavailable",
        ] {
            let (world, told) = after(Say::error(status, text)).await;
            world.called("0 b:D, 0 b:P, 3.3-6.7 b:P, 10-20 b:P, 23.3-46.7 b:P, ...");
            assert_eq!((told, world.calls().last().unwrap().account.as_str()), (200, "a"), "{status} {text}");
            let (account, (left, why)) = (world.account("b").await, world.limit("b").await.unwrap());
            assert_eq!((why.as_str(), account.failures), ("capacity", 0));
            assert!((9.9..=20.0).contains(&left) && account.health >= 70.0, "{left}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_mistakes_are_told_at_once_and_cost_nobody_anything() {
    for (status, told) in [(400, 400), (402, 400), (405, 400), (409, 400), (413, 413), (418, 400), (422, 400)]
    {
        let (world, answered) =
            after(Say::error(status, r#"{"error":{"message":"503 rate limit quota exceeded 65500"}}"#)).await;
        world.called("0 b:D");
        assert_eq!(answered, told);
        world.untouched(&["a", "b"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_to_be_verified_is_shown_with_its_link() {
    let link = "https://accounts.google.com/signin/continue?sarp=1";
    for text in ["VALIDATION_REQUIRED", "account_disabled", "USER_DISABLED"] {
        let (world, status) = after(Say::error(403, &format!("{text}: go to {link}."))).await;
        world.called("0 b:D, 0 a:D");
        let invalid = world.account("b").await.invalid.unwrap();
        assert_eq!((status, invalid.reason), (200, InvalidReason::Verification));
        assert_eq!(invalid.url.as_deref(), Some(link));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ban_is_told_apart_from_a_mere_refusal() {
    let ban = "This account has been disabled for a violation of Terms of Service";
    let (world, _) = after(Say::error(403, ban)).await;
    world.called("0 b:D, 0 a:D");
    assert_eq!(world.account("b").await.invalid.unwrap().reason, InvalidReason::Banned);
    for refusal in ["PERMISSION_DENIED", "Forbidden", "access denied"] {
        let (world, status) = after(Say::error(403, refusal)).await;
        world.called("0 b:D, 0 b:P, 0 a:D");
        let account = world.account("b").await;
        assert_eq!((status, account.invalid, account.failures), (200, None, 1));
        assert_eq!(world.limit("b").await.unwrap(), (300.0, "forbidden".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_every_account_forbids_is_held_against_none() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let world = World::new(&names, |_| Say::error(403, "PERMISSION_DENIED")).await;
    assert_eq!(world.ask(true).await.status(), 403);
    assert_eq!(world.calls().len(), 10);
    world.untouched(&names).await;
}

#[tokio::test(start_paused = true)]
async fn an_account_that_does_not_know_the_model_is_left_alone_for_it() {
    let (world, status) = after(Say::error(404, "Requested entity was not found.")).await;
    world.called("0 b:D, 0 b:P, 0 a:D");
    assert_eq!((status, world.limit("b").await.unwrap()), (200, (300.0, "unsupported".to_owned())));
    assert_eq!(world.account("b").await.failures, 0);
    // Where nobody knows it, two accounts are enough to say so.
    let world = World::new(&["a", "b", "c"], |_| Say::error(404, "")).await;
    assert_eq!(world.ask(true).await.status(), 404);
    world.called("0 b:D, 0 b:P, 0 c:D, 0 c:P");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_another_account_does_not_share_is_the_accounts() {
    let faults = [500, 501, 502, 503, 504, 529, 408, 302].map(|status| Say::error(status, "401 429 quota"));
    let malformed = Say::error(200, "data: {\"response\": 401 429\n\n");
    let kinds =
        [TransportKind::Connect, TransportKind::Timeout, TransportKind::Reset, TransportKind::Protocol];
    for fault in faults.into_iter().chain(kinds.map(Say::Down)).chain([Say::Cut(""), malformed]) {
        let (world, status) = after(fault).await;
        world.called("0 b:D, 0 b:P, 0 a:D");
        let account = world.account("b").await;
        assert_eq!((status, account.failures), (200, 1));
        assert!((49.9..50.1).contains(&account.health), "{}", account.health);
        assert!(account.limits.is_empty() && account.tokens > 49.9, "the bucket got its token back");
        world.untouched(&["a"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn limits_last_as_long_as_they_say_else_by_their_kind() {
    let quota = r#"{"error":{"details":[{"reason":"QUOTA_EXHAUSTED"}]}}"#;
    let rate = r#"{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"reason":"RATE_LIMIT_EXCEEDED"}]}}"#;
    for (fault, seconds, why) in [
        (Say::limited(1.0), 2.0, "quota"),
        (Say::limited(5.0), 5.0, "quota"),
        (Say::limited(7200.5), 7200.5, "quota"),
        (Say::error(429, quota), 60.0, "quota"),
        (Say::error(429, rate), 30.0, "rate"),
        (Say::error(429, "slow down"), 60.0, "unknown"),
        (Say::error(429, rate).with("retry-after", "90"), 90.0, "rate"),
    ] {
        let (world, status) = after(fault).await;
        world.called("0 b:D, 0 a:D");
        assert_eq!((status, world.limit("b").await.unwrap()), (200, (seconds, why.to_owned())));
        let account = world.account("b").await;
        assert_eq!(account.failures, 1);
        assert!((59.9..60.1).contains(&account.health), "{}", account.health);
    }
}
