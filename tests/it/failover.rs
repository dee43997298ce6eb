//! What becomes of a request when the upstream fails: who is called in which order, what the client is told, and
//! what is remembered of the account. Accounts are numbered from 1, endpoints from 0; a call is `account@endpoint`.

use std::time::Duration;

use antigravity_proxy::config::{Config, Strategy};
use antigravity_proxy::simulator::Scenario;
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::{GEMINI, PLAIN, TestGateway, ask};

/// Round-robin begins at the second account; pauses are short.
fn quick(config: &mut Config) {
    config.selection.strategy = Strategy::RoundRobin;
    config.selection.pinned.insert("strategy".into(), "round-robin".into());
    config.dispatch.retry_base = Duration::from_millis(10);
    config.dispatch.capacity_tiers = vec![Duration::from_millis(20)];
    config.dispatch.capacity_budget = Duration::from_millis(100);
}

async fn gateway(accounts: usize) -> TestGateway {
    TestGateway::start(Scenario::default().with_accounts(accounts), quick).await
}

/// Both ways of asking must come to the same; the fault is set anew for each.
async fn both(accounts: usize, when: Value, then: Value, check: impl AsyncFn(&TestGateway, Answer)) {
    for stream in [true, false] {
        let gateway = gateway(accounts).await;
        gateway.fault(&when, &then);
        let answer = gateway.client.send(&ask(PLAIN, "hello", stream)).await;
        check(&gateway, answer).await;
        gateway.settled().await;
    }
}

fn message(answer: &Answer) -> &str {
    answer.body["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_refused_token_is_refreshed_once_on_the_same_account() {
    both(2, json!({"times": 1}), json!({"fault": "unauthorized"}), async |gateway, answer| {
        assert_eq!((answer.status, gateway.route()), (200, vec!["2@0".to_owned(), "2@0".to_owned()]));
    })
    .await;
}

#[tokio::test]
async fn an_account_whose_tokens_are_never_taken_is_left_for_another() {
    let when = json!({"account": "dev2@example.com"});
    both(2, when, json!({"fault": "unauthorized"}), async |gateway, answer| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(gateway.route(), ["2@0", "2@0", "1@0"]);
    })
    .await;
}

#[tokio::test]
async fn upstream_logins_that_all_fail_are_never_the_clients() {
    both(2, json!({}), json!({"fault": "unauthorized"}), async |gateway, answer| {
        assert_eq!((answer.status, answer.header("x-should-retry")), (502, Some("false")));
        assert_eq!(gateway.route(), ["2@0", "2@0", "1@0", "1@0"]);
        assert_eq!(answer.body["error"]["type"], "api_error");
    })
    .await;
}

#[tokio::test]
async fn a_revoked_sign_in_makes_the_account_invalid() {
    let gateway = gateway(2).await;
    gateway.simulator.expire_tokens();
    let when = json!({"path": "token", "account": "dev2@example.com"});
    gateway.fault(&when, &json!({"fault": "invalid_grant"}));
    let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(gateway.route().last().unwrap(), "1@0");
    assert_eq!(gateway.health(2).await["status"], "invalid");
    assert_eq!(gateway.account(2).await["isInvalid"], true);
    gateway.settled().await;
}

#[tokio::test]
async fn verification_and_ban_are_told_and_the_account_rests() {
    let url = "https://accounts.google.com/signin/continue?x=1";
    let fault = json!({"fault": "validation_required", "validation_url": url});
    both(2, json!({"account": "dev2@example.com"}), fault, async |gateway, answer| {
        assert_eq!((answer.status, gateway.route()), (200, vec!["2@0".to_owned(), "1@0".to_owned()]));
        assert_eq!(gateway.account(2).await["verifyUrl"], url);
        assert_eq!(gateway.health(2).await["status"], "invalid");
    })
    .await;
    both(2, json!({"account": "dev2@example.com"}), json!({"fault": "banned"}), async |gateway, answer| {
        assert_eq!(answer.status, 200);
        assert_eq!(gateway.health(2).await["status"], "banned");
    })
    .await;
}

#[tokio::test]
async fn a_limited_account_gives_way_at_once_and_stays_away_until_its_reset() {
    let fault = json!({"fault": "rate_limited", "reset_ms": 40_000});
    both(2, json!({"account": "dev2@example.com"}), fault, async |gateway, answer| {
        assert_eq!((answer.status, gateway.route()), (200, vec!["2@0".to_owned(), "1@0".to_owned()]));
        let health = gateway.health(2).await;
        assert_eq!(health["status"], "rate-limited");
        let left = health["rateLimitCooldownRemaining"].as_u64().unwrap();
        assert!((30_000..=40_000).contains(&left), "{left}");
        gateway.client.send(&ask(PLAIN, "again", false)).await;
        assert_eq!(gateway.route().last().unwrap(), "1@0");
    })
    .await;
}

#[tokio::test]
async fn exhausted_quota_is_429_with_the_true_reset_and_then_one_probe_at_most() {
    let fault = json!({"fault": "quota_exhausted", "reset_ms": 7_200_000});
    both(2, json!({}), fault, async |gateway, answer| {
        assert_eq!((answer.status, answer.header("x-should-retry")), (429, Some("false")));
        assert_eq!(answer.body["error"]["type"], "rate_limit_error");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((7_100..=7_200).contains(&seconds), "{seconds}");
        let calls = gateway.route().len();
        for _ in 0..3 {
            assert_eq!(gateway.client.send(&ask(PLAIN, "again", true)).await.status, 429);
        }
        assert!(gateway.route().len() <= calls + 1, "{:?}", gateway.route());
    })
    .await;
}

#[tokio::test]
async fn a_short_limit_of_the_whole_pool_is_waited_for() {
    let gateway = gateway(1).await;
    gateway.fault(&json!({"times": 1}), &json!({"fault": "rate_limited", "reset_ms": 1_500}));
    let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
    assert_eq!((answer.status, gateway.route()), (200, vec!["1@0".to_owned(), "1@0".to_owned()]));
    gateway.settled().await;
}

#[tokio::test]
async fn server_errors_go_to_the_other_endpoint_then_to_another_account() {
    let when = json!({"account": "dev2@example.com"});
    for fault in ["server_error", "permission_denied"] {
        both(2, when.clone(), json!({"fault": fault}), async |gateway, answer| {
            assert_eq!(answer.status, 200, "{fault}: {}", answer.body);
            assert_eq!(gateway.route(), ["2@0", "2@1", "1@0"], "{fault}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_request_that_fails_everywhere_benches_nobody() {
    for (fault, status) in [("server_error", 502), ("permission_denied", 403), ("not_found", 404)] {
        let gateway = gateway(4).await;
        gateway.fault(&json!({"text": "poison"}), &json!({"fault": fault}));
        for _ in 0..3 {
            let answer = gateway.client.send(&ask(PLAIN, "poison", false)).await;
            assert_eq!(answer.status, status, "{fault}: {}", answer.body);
        }
        if fault == "server_error" {
            assert_eq!(gateway.client.send(&ask(PLAIN, "hello", true)).await.status, 200);
            for number in 1..=4 {
                assert_eq!(gateway.health(number).await["status"], "ok");
            }
        }
        gateway.settled().await;
    }
}

#[tokio::test]
async fn capacity_is_tried_elsewhere_then_again_then_given_up_as_529() {
    let gateway = gateway(1).await;
    gateway.fault(&json!({}), &json!({"fault": "capacity"}));
    let mut body = ask(PLAIN, "hello", true);
    body["max_tokens"] = json!(100);
    let answer = tokio::time::timeout(Duration::from_mins(1), gateway.client.send(&body)).await.unwrap();
    assert_eq!(answer.status, 529, "{}", answer.body);
    assert_eq!(&gateway.route()[..2], ["1@0", "1@1"]);
    gateway.settled().await;
}

#[tokio::test]
async fn a_broken_answer_before_its_first_event_is_asked_for_again() {
    for fault in [
        json!({"hang_up": true}),
        json!({"cut_after": 0}),
        json!({"error_after": 0}),
        json!({"garbage_after": 0}),
    ] {
        let gateway = gateway(2).await;
        gateway.fault(&json!({"times": 1}), &fault);
        let answer = gateway.client.send(&ask(GEMINI, "hello", true)).await;
        assert_eq!(answer.status, 200, "{fault}: {}", answer.body);
        assert_eq!((answer.count("message_start"), answer.count("error")), (1, 0), "{fault}");
        assert_eq!(gateway.route().len(), 2, "{fault}");
        gateway.settled().await;
    }
}

#[tokio::test]
async fn after_the_first_event_nothing_is_retried_and_the_client_is_told() {
    for fault in [json!({"cut_after": 2}), json!({"error_after": 2}), json!({"malformed_after": 2})] {
        let gateway = gateway(2).await;
        gateway.fault(&json!({}), &fault);
        let answer = gateway.client.send(&ask(GEMINI, "write 200 words", true)).await;
        assert_eq!(answer.status, 200);
        assert_eq!((answer.count("message_start"), answer.count("message_stop")), (1, 0), "{fault}");
        assert_eq!(answer.events.last().unwrap()["type"], "error", "{fault}");
        assert_eq!(gateway.route().len(), 1, "{fault}");
        gateway.settled().await;
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_is_retried_also_after_its_beginning() {
    let gateway = gateway(2).await;
    gateway.fault(&json!({"times": 1}), &json!({"cut_after": 2}));
    let answer = gateway.client.send(&ask(GEMINI, "write 200 words", false)).await;
    assert_eq!((answer.status, gateway.route().len()), (200, 2), "{}", answer.body);
    gateway.settled().await;
}

#[tokio::test]
async fn three_empty_answers_end_in_a_notice() {
    for stream in [true, false] {
        let gateway = gateway(1).await;
        gateway.fault(&json!({}), &json!({"empty": true}));
        let answer = gateway.client.send(&ask(GEMINI, "hello", stream)).await;
        assert_eq!((answer.status, gateway.route().len()), (200, 3));
        assert!(answer.text().contains("No response"), "{}", answer.body);
        gateway.settled().await;
    }
}

#[tokio::test]
async fn a_blocked_prompt_is_a_refusal_and_asked_once() {
    for stream in [true, false] {
        let gateway = gateway(2).await;
        gateway.fault(&json!({}), &json!({"blocked": "SAFETY"}));
        let answer = gateway.client.send(&ask(GEMINI, "hello", stream)).await;
        assert_eq!((answer.status, gateway.route().len()), (200, 1));
        assert_eq!(answer.body["stop_reason"], "refusal");
        gateway.settled().await;
    }
}

#[tokio::test]
async fn silence_is_bridged_by_pings_and_ends_at_the_idle_limit() {
    let patience = |config: &mut Config| {
        quick(config);
        config.server.stream_keepalive = Duration::from_millis(100);
        config.upstream.idle_timeout = Duration::from_millis(450);
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), patience).await;
    gateway.fault(&json!({}), &json!({"stall_after": 2}));
    let answer = gateway.client.send(&ask(GEMINI, "write 200 words", true)).await;
    assert!((2..=5).contains(&answer.count("ping")), "{:?}", answer.events);
    assert_eq!(answer.events.last().unwrap()["type"], "error");
    gateway.settled().await;
}

#[tokio::test]
async fn pings_come_before_the_first_byte_of_a_slow_upstream() {
    let impatient = |config: &mut Config| {
        quick(config);
        config.server.stream_keepalive = Duration::from_millis(100);
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), impatient).await;
    gateway.fault(&json!({}), &json!({"delay_ms": 450}));
    let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
    assert_eq!(answer.events[0]["type"], "ping");
    assert_eq!((answer.count("message_start"), answer.count("message_stop")), (1, 1));
    gateway.settled().await;
}

#[tokio::test]
async fn the_deadline_ends_a_request_without_blame() {
    let hasty = |config: &mut Config| {
        quick(config);
        config.dispatch.deadline = Duration::from_millis(300);
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), hasty).await;
    gateway.fault(&json!({"times": 1}), &json!({"delay_ms": 5_000}));
    let answer = gateway.client.send(&ask(PLAIN, "hello", false)).await;
    assert_eq!((answer.status, &answer.body["error"]["type"]), (529, &json!("overloaded_error")));
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 200);
    gateway.settled().await;
}

#[tokio::test]
async fn another_model_stands_in_when_fallback_is_on() {
    let fallback = |config: &mut Config| {
        quick(config);
        config.dispatch.fallback = true;
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), fallback).await;
    gateway.fault(&json!({"model": PLAIN}), &json!({"fault": "quota_exhausted", "reset_ms": 7_200_000}));
    let answer = gateway.client.send(&ask(PLAIN, "hello", false)).await;
    assert_eq!((answer.status, &answer.body["model"]), (200, &json!(GEMINI)));
    gateway.settled().await;
}

#[tokio::test]
async fn the_clients_own_mistake_is_told_in_the_upstreams_words_and_benches_nobody() {
    both(3, json!({}), json!({"fault": "prompt_too_long"}), async |gateway, answer| {
        assert_eq!((answer.status, gateway.route().len()), (400, 1));
        assert!(!message(&answer).is_empty());
        assert_eq!(gateway.health(2).await["status"], "ok");
    })
    .await;
}

#[tokio::test]
async fn an_empty_pool_answers_at_once() {
    let gateway = TestGateway::start(Scenario::parse(r#"{"accounts": []}"#).unwrap(), quick).await;
    let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
    assert_eq!((answer.status, answer.header("x-should-retry")), (503, Some("false")));
    assert!(message(&answer).contains("No accounts"), "{}", answer.body);
}
