//! `count_tokens`: the upstream's number where it gives one, an estimate where it does not, and no trace in the pool.

use antigravity_proxy::simulator::{Recorded, Scenario};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{GEMINI, PLAIN, THINKING, TestGateway, ask};

const PATH: &str = "/v1/messages/count_tokens?beta=true";

fn counted(gateway: &TestGateway) -> Vec<Recorded> {
    let mut all = gateway.simulator.recorded();
    all.retain(|one| one.path.ends_with(":countTokens"));
    all
}

/// What selection knows of the accounts.
async fn pool(gateway: &TestGateway) -> Vec<Value> {
    let (_, listed) = gateway.client.get("/api/accounts").await;
    listed["accounts"].as_array().unwrap().clone()
}

async fn count(gateway: &TestGateway, body: &Value) -> u64 {
    let (status, answer) = gateway.client.post(PATH, body).await;
    assert_eq!(status, 200, "{answer}");
    answer["input_tokens"].as_u64().unwrap()
}

/// A token of the simulator is four bytes of model, contents and what else counts.
fn expected(call: &Recorded) -> u64 {
    let model = call.body["request"]["model"].as_str().unwrap().trim_start_matches("models/");
    let bytes = model.len() + call.body["request"]["contents"].to_string().len();
    u64::try_from(bytes.div_ceil(4)).unwrap()
}

#[tokio::test]
async fn the_upstreams_number_is_handed_on_and_kept() {
    let gateway = TestGateway::of(3).await;
    for model in [THINKING, PLAIN, GEMINI] {
        let mut body = ask(model, "How long is this?", false);
        body["system"] = json!([{"type": "text", "text": "Answer \"briefly\".\n"}]);
        let before = counted(&gateway).len();
        let tokens = count(&gateway, &body).await;
        assert_eq!(count(&gateway, &body).await, tokens);
        let calls = counted(&gateway);
        assert_eq!(calls.len(), before + 1, "{model}: the second time it is known");
        let call = calls.last().unwrap();
        assert_eq!(tokens, expected(call), "{model}");
        let parts = call.body["request"]["contents"][0]["parts"].as_array().unwrap();
        let texts: Vec<_> = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
        assert!(texts[0].contains("Answer \\\"briefly\\\"."), "{texts:?}");
        assert!(texts[1].contains("functionDeclarations") && texts[1].contains("Bash"), "{texts:?}");
        assert_eq!(texts[2], "How long is this?");
        // The size of the real prompt is never above the count.
        let answer = gateway.client.send(&body).await;
        let usage = &answer.body["usage"];
        let cached = usage["cache_read_input_tokens"].as_u64().unwrap_or(0);
        let prompt = usage["input_tokens"].as_u64().unwrap() + cached;
        assert!(prompt <= tokens && tokens <= prompt * 3 / 2 + 20, "{model}: {prompt} {tokens}");
    }
    gateway.settled().await;
}

#[tokio::test]
async fn a_tool_loop_is_counted_as_it_would_be_sent() {
    let gateway = TestGateway::of(1).await;
    for model in [THINKING, GEMINI] {
        let mut body = ask(model, "call 1 tools one after another", true);
        let answer = gateway.client.send(&body).await;
        assert!(crate::support::replicas::carry_on(&mut body, &answer, "done"));
        let tokens = count(&gateway, &body).await;
        assert_eq!(tokens, expected(counted(&gateway).last().unwrap()), "{model}");
    }
    gateway.settled().await;
}

#[tokio::test]
async fn counting_leaves_the_pool_as_it_was() {
    let gateway = TestGateway::of(3).await;
    count(&gateway, &ask(GEMINI, "warm", false)).await;
    let before = (pool(&gateway).await, gateway.admission_state().await);
    let bodies: Vec<_> = (0..16).map(|n| ask(GEMINI, &format!("number {n}"), false)).collect();
    let counts = join_all(bodies.iter().map(|body| count(&gateway, body))).await;
    assert_eq!(counted(&gateway).len(), 17);
    assert!(counts.iter().all(|tokens| *tokens > 0));
    assert_eq!((pool(&gateway).await, gateway.admission_state().await), before);
    assert!(gateway.model_calls().is_empty());
    gateway.settled().await;
}

#[tokio::test]
async fn whatever_the_upstream_says_there_is_an_estimate() {
    for (then, asked_again) in [
        (json!({"fault": "not_found"}), false),
        (json!({"status": 400, "body": {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}}), false),
        (json!({"fault": "quota_exhausted"}), true),
        (json!({"fault": "server_error"}), true),
        (json!({"body_text": "no JSON"}), true),
        (json!({"body": {"totalTokens": 0}}), true),
        (json!({"hang_up": true}), true),
        (json!({"delay_ms": 20_000}), true),
    ] {
        let gateway = TestGateway::of(1).await;
        gateway.fault(&json!({"path": "countTokens"}), &then);
        let before = gateway.admission_state().await;
        assert!((1..1_000).contains(&count(&gateway, &ask(PLAIN, "one", false)).await), "{then}");
        let first = counted(&gateway).len();
        assert!(first > 0, "{then}");
        if then.get("delay_ms").is_none() {
            count(&gateway, &ask(PLAIN, "two", false)).await;
            assert_eq!(counted(&gateway).len() > first, asked_again, "{then}");
        }
        // A failed count benches nobody.
        assert_eq!(gateway.admission_state().await, before, "{then}");
    }
}

#[tokio::test]
async fn the_switch_leaves_the_estimate_and_bad_requests_are_refused() {
    let local = TestGateway::start(Scenario::default().with_accounts(1), |config| {
        config.dispatch.count_upstream = false;
    })
    .await;
    assert!(count(&local, &ask(PLAIN, "hello", false)).await > 0);
    assert!(counted(&local).is_empty());
    let (status, answer) = local.client.post(PATH, &ask("no-such-model", "hello", false)).await;
    assert_eq!((status, &answer["error"]["type"]), (400, &json!("invalid_request_error")), "{answer}");
    let (status, answer) = local.client.post(PATH, &json!({"model": PLAIN, "messages": 5})).await;
    assert_eq!(status, 400, "{answer}");
}
