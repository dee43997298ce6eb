//! Requests that would fail on any account, and clients that give up, hold nothing against an account, however often.

use std::time::Duration;

use antigravity_proxy::config::Config;
use antigravity_proxy::simulator::{Event, Scenario};
use serde_json::{Value, json};

use crate::support::{GEMINI, PLAIN, TestGateway, ask};

const ACCOUNTS: usize = 4;
const TIMES: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

fn quick(config: &mut Config) {
    config.dispatch.retry_base = Duration::from_millis(1);
}

async fn gateway(change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::start(Scenario::default().with_accounts(ACCOUNTS), change).await
}

/// Asks for the same poison again and again; every answer has `status`.
async fn repeated(fault: Value, status: u16) {
    let gateway = gateway(quick).await;
    gateway.fault(&json!({"text": "poison"}), &fault);
    let before = gateway.standing().await;
    for number in 0..TIMES {
        let answer = gateway.client.send(&ask(GEMINI, "poison", number % 2 == 0)).await;
        assert_eq!(answer.status, status, "{fault}: {}", answer.body);
    }
    gateway.settled().await;
    assert_eq!(gateway.standing().await, before, "{fault}");
    // Nobody else feels it.
    assert_eq!(gateway.client.send(&ask(GEMINI, "hello", true)).await.status, 200);
}

#[tokio::test]
async fn a_malformed_request() {
    repeated(json!({"fault": "invalid_argument"}), 400).await;
}

#[tokio::test]
async fn a_request_that_is_too_large() {
    repeated(json!({"status": 413, "body": {"error": {"code": 413, "message": "503 too large"}}}), 413).await;
}

#[tokio::test]
async fn a_prompt_beyond_the_token_limit() {
    repeated(json!({"fault": "prompt_too_long"}), 400).await;
}

#[tokio::test]
async fn a_prompt_that_the_upstream_fails_on_everywhere() {
    repeated(json!({"fault": "server_error"}), 502).await;
}

#[tokio::test]
async fn a_request_that_is_forbidden_everywhere() {
    repeated(json!({"fault": "permission_denied"}), 403).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_before_its_first_byte_everywhere() {
    repeated(json!({"hang_up": true}), 503).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_before_its_first_event_everywhere() {
    repeated(json!({"cut_after": 0}), 503).await;
}

#[tokio::test]
async fn a_prompt_that_is_blocked_for_safety() {
    let gateway = gateway(quick).await;
    gateway.fault(&json!({"text": "poison"}), &json!({"blocked": "SAFETY"}));
    for number in 0..TIMES {
        let answer = gateway.client.send(&ask(GEMINI, "poison", number % 2 == 0)).await;
        assert_eq!((answer.status, &answer.body["stop_reason"]), (200, &json!("refusal")));
    }
    gateway.settled().await;
    // The account did answer: its health may only have risen.
    for standing in gateway.standing().await {
        let (health, rest) = standing.split_once(' ').unwrap();
        assert!(health.parse::<f64>().unwrap() >= 70.0, "{standing}");
        assert_eq!(rest, "0 [] 0ns None");
    }
}

/// Poison between the requests of others, all at once: their success is no proof against the accounts it met.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_among_good_requests() {
    let gateway = gateway(quick).await;
    gateway.fault(&json!({"text": "poison"}), &json!({"fault": "server_error"}));
    let asking = (0..TIMES).map(|number| {
        let text = if number % 2 == 0 { "poison" } else { "hello" };
        let body = ask(PLAIN, text, number % 3 == 0);
        let gateway = &gateway;
        async move {
            let status = gateway.client.send(&body).await.status;
            assert_eq!(status, if number % 2 == 0 { 502 } else { 200 });
        }
    });
    futures_util::future::join_all(asking).await;
    gateway.settled().await;
    for standing in gateway.standing().await {
        let (health, rest) = standing.split_once(' ').unwrap();
        assert!(health.parse::<f64>().unwrap() >= 70.0, "{standing}");
        assert_eq!(rest, "0 [] 0ns None");
    }
}

#[tokio::test]
async fn clients_that_leave_before_the_first_byte() {
    let gateway = gateway(quick).await;
    gateway.fault(&json!({}), &json!({"stall_after": 0}));
    let before = gateway.standing().await;
    for number in 0..10 {
        let body = ask(GEMINI, "hello", number % 2 == 0);
        let calls = gateway.model_calls().len();
        tokio::select! {
            _ = gateway.client.begin(&body) => panic!("there is no answer"),
            () = called(&gateway, calls + 1) => {}
        }
        assert!(gateway.simulator.wait_for(Event::Disconnect, number + 1, 5 * SECOND).await);
    }
    gateway.settled().await;
    assert_eq!(gateway.standing().await, before);
}

#[tokio::test]
async fn clients_that_leave_in_the_middle_of_a_stream() {
    let gateway = gateway(quick).await;
    gateway.fault(&json!({}), &json!({"stall_after": 2}));
    let before = gateway.standing().await;
    for number in 0..10 {
        let mut response = gateway.client.begin(&ask(GEMINI, "write 500 words", true)).await;
        assert!(response.chunk().await.unwrap().is_some());
        drop(response);
        assert!(gateway.simulator.wait_for(Event::Disconnect, number + 1, 5 * SECOND).await);
    }
    gateway.settled().await;
    assert_eq!(gateway.standing().await, before);
}

#[tokio::test]
async fn requests_whose_deadline_passes() {
    let hasty = |config: &mut Config| config.dispatch.deadline = Duration::from_millis(60);
    let gateway = gateway(hasty).await;
    gateway.fault(&json!({"text": "slow"}), &json!({"delay_ms": 30_000}));
    let before = gateway.standing().await;
    for number in 0..20 {
        let answer = gateway.client.send(&ask(GEMINI, "slow", number % 2 == 0)).await;
        assert_eq!(answer.status, 529, "{}", answer.body);
    }
    gateway.settled().await;
    assert_eq!(gateway.standing().await, before);
}

async fn called(gateway: &TestGateway, calls: usize) {
    while gateway.model_calls().len() < calls {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
