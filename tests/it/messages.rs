//! The Messages API over HTTP, whole conversations included.

use antigravity_proxy::simulator::Scenario;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{GEMINI, PLAIN, THINKING, TestGateway, ask};

const MODELS: [&str; 3] = [THINKING, PLAIN, GEMINI];

#[tokio::test]
async fn a_stream_folds_to_the_answer_in_one_piece() {
    let gateway = TestGateway::of(1).await;
    for model in MODELS {
        let mut whole = gateway.client.send(&ask(model, "reply with exactly: a b  c", false)).await;
        let mut streamed = gateway.client.send(&ask(model, "reply with exactly: a b  c", true)).await;
        assert_eq!((whole.status, streamed.status), (200, 200), "{model}: {} {}", whole.body, streamed.body);
        for answer in [&mut whole, &mut streamed] {
            assert!(answer.body["id"].as_str().unwrap().starts_with("msg_"));
            answer.body["id"] = Value::Null;
            // How much of the prompt was cached depends on who came first.
            answer.body["usage"] = Value::Null;
        }
        assert_eq!(whole.body, streamed.body, "{model}");
        assert_eq!(whole.text(), "a b  c");
    }
    gateway.settled().await;
}

#[tokio::test]
async fn an_unconfigured_client_gets_a_model_of_the_class_it_asks_for() {
    let gateway = TestGateway::of(1).await;
    for (asked, given) in [
        ("claude-opus-5-5", THINKING),
        ("claude-opus-4-8", THINKING),
        ("claude-sonnet-5", PLAIN),
        ("claude-haiku-4-5-20251001", GEMINI),
        ("opus", THINKING),
        ("gemini-3-flash[1m]", GEMINI),
    ] {
        let answer = gateway.client.send(&ask(asked, "hello", false)).await;
        assert_eq!((answer.status, &answer.body["model"]), (200, &json!(given)), "{asked}: {}", answer.body);
    }
    let answer = gateway.client.send(&ask("no-such-model", "hello", false)).await;
    assert_eq!((answer.status, &answer.body["error"]["type"]), (400, &json!("invalid_request_error")));
    let answer = gateway.client.send(&ask(&"x".repeat(5000), "hello", false)).await;
    assert_eq!(answer.status, 400);
}

/// A tool loop that goes on after the gateway was restarted: what was learnt of signatures is on disk.
#[tokio::test]
async fn signatures_survive_a_restart() {
    for model in [THINKING, GEMINI] {
        let mut gateway = TestGateway::of(1).await;
        let mut body = ask(model, "call 3 tools one after another", true);
        for turn in 0..4 {
            let answer = gateway.client.send(&body).await;
            assert_eq!(answer.status, 200, "{model} {turn}: {}", answer.body);
            let content = answer.body["content"].clone();
            let calls: Vec<_> = content
                .as_array()
                .unwrap()
                .iter()
                .filter(|block| block["type"] == "tool_use")
                .cloned()
                .collect();
            if calls.is_empty() {
                assert_eq!(turn, 3);
                break;
            }
            // As real clients do, the call comes back without what they do not know.
            let mut sent_back = content.clone();
            for block in sent_back.as_array_mut().unwrap() {
                block.as_object_mut().unwrap().remove("thoughtSignature");
            }
            let results: Vec<_> = calls
                .iter()
                .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "done"}))
                .collect();
            let messages = body["messages"].as_array_mut().unwrap();
            messages.push(json!({"role": "assistant", "content": sent_back}));
            messages.push(json!({"role": "user", "content": results}));
            gateway.settled().await;
            gateway = gateway.restart().await;
        }
        let last = gateway.model_calls().pop().unwrap();
        let text = last.body.to_string();
        assert!(!text.contains("skip_thought_signature_validator"), "{model}: a signature was lost");
        gateway.settled().await;
    }
}

#[tokio::test]
async fn the_quiet_routes() {
    let gateway = TestGateway::start(Scenario::default(), |_| {}).await;
    for (method, path) in [
        (Method::HEAD, "/"),
        (Method::HEAD, "/api/hello"),
        (Method::GET, "/livez"),
        (Method::GET, "/readyz"),
        (Method::GET, "/startupz"),
        (Method::POST, "/"),
        (Method::POST, "/api/event_logging/batch"),
    ] {
        let answer = gateway.client.request(method.clone(), path).body("{}").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{method} {path}");
    }
    let count = json!({"model": PLAIN, "messages": [{"role": "user", "content": "How long is this?"}]});
    let (status, counted) = gateway.client.post("/v1/messages/count_tokens?beta=true", &count).await;
    assert_eq!(status, 200);
    assert!((1..50).contains(&counted["input_tokens"].as_u64().unwrap()), "{counted}");
    let (_, models) = gateway.client.get("/v1/models?limit=1000").await;
    assert!(models["data"].as_array().unwrap().iter().any(|model| model["id"] == THINKING), "{models}");
    assert!(gateway.model_calls().is_empty());
}
