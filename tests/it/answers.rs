//! Unusual answers of the upstream, in a stream and in one piece, through each of its two methods.

use antigravity_proxy::simulator::Scenario;
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::{GEMINI, PLAIN, THINKING, TestGateway, ask};

/// What a client gets when the upstream answers `chunk`: a stream, and an answer in one piece that must be the same.
async fn answers(model: &str, chunk: &Value) -> (TestGateway, Answer) {
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), |_| {}).await;
    gateway.fault(&json!({}), &json!({"chunks": [chunk]}));
    let mut streamed = gateway.client.send(&ask(model, "hello", true)).await;
    let mut whole = gateway.client.send(&ask(model, "hello", false)).await;
    for answer in [&mut streamed, &mut whole] {
        assert_eq!(answer.status, 200, "{model}: {}", answer.body);
        // Each answer has ids of its own.
        answer.body["id"] = Value::Null;
        let content = answer.body["content"].as_array_mut().unwrap();
        content
            .iter_mut()
            .filter(|block| block["type"] == "tool_use")
            .for_each(|block| block["id"] = Value::Null);
    }
    assert_eq!(streamed.body, whole.body, "{model}");
    (gateway, streamed)
}

fn chunk(parts: &Value, reason: &str) -> Value {
    json!({"response": {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": reason}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3}}})
}

#[tokio::test]
async fn nothing_of_an_answer_is_lost() {
    let parts = json!([
        {"text": "I run it."}, {"executableCode": {"language": "PYTHON", "code": "1 + 1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2\n"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"text": "", "functionCall": {"name": "Bash", "args": {"command": "ls"}}},
    ]);
    for model in [THINKING, PLAIN, GEMINI] {
        let (gateway, answer) = answers(model, &chunk(&parts, "STOP")).await;
        let image = json!({"type": "base64", "media_type": "image/png", "data": "AAAA"});
        assert_eq!(
            answer.body["content"],
            json!([{"type": "text", "text": "I run it.\n```python\n1 + 1\n```\n\n```output\n2\n```\n"},
                {"type": "image", "source": image},
                {"type": "tool_use", "id": null, "name": "Bash", "input": {"command": "ls"}}])
        );
        assert_eq!(answer.body["stop_reason"], "tool_use");
        gateway.settled().await;
    }
}

#[tokio::test]
async fn a_withheld_answer_is_a_refusal_that_says_why() {
    for model in [PLAIN, GEMINI] {
        for parts in [json!([{"text": "Well, "}]), json!([])] {
            let (gateway, answer) = answers(model, &chunk(&parts, "RECITATION")).await;
            assert_eq!(answer.body["stop_reason"], "refusal");
            let explanation = answer.body["stop_details"]["explanation"].as_str().unwrap();
            assert!(explanation.contains("RECITATION"), "{explanation}");
            gateway.settled().await;
        }
        let (gateway, answer) =
            answers(model, &json!({"response": {"promptFeedback": {"blockReason": "BLOCKLIST"}}})).await;
        assert_eq!((&answer.body["stop_reason"], &answer.body["content"]), (&json!("refusal"), &json!([])));
        let explanation = answer.body["stop_details"]["explanation"].as_str().unwrap();
        assert!(explanation.contains("BLOCKLIST"), "{explanation}");
        gateway.settled().await;
    }
}

#[tokio::test]
async fn a_malformed_call_without_content_is_asked_for_again() {
    for stream in [true, false] {
        for model in [PLAIN, GEMINI] {
            let gateway = TestGateway::of(1).await;
            let malformed = chunk(&json!([]), "MALFORMED_FUNCTION_CALL");
            gateway.fault(&json!({"times": 1}), &json!({"chunks": [malformed]}));
            let answer = gateway.client.send(&ask(model, "reply with exactly: fine", stream)).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "fine"), "{model}: {}", answer.body);
            assert_eq!(gateway.route().len(), 2, "{model}");
            gateway.settled().await;
        }
    }
}

/// An error in place of a chunk is what the same error is with its own status: here the client's mistake.
#[tokio::test]
async fn an_error_inside_the_envelope_is_no_empty_answer() {
    let error = json!({"response": {"error": {"code": 400, "message": "bad \"thing\"", "status": "INVALID_ARGUMENT"}}});
    for (model, stream) in [(PLAIN, true), (PLAIN, false), (GEMINI, true), (GEMINI, false)] {
        let gateway = TestGateway::of(1).await;
        gateway.fault(&json!({}), &json!({"chunks": [error]}));
        let answer = gateway.client.send(&ask(model, "hello", stream)).await;
        assert_eq!((answer.status, &answer.body["error"]["type"]), (400, &json!("invalid_request_error")));
        assert!(
            answer.body["error"]["message"].as_str().unwrap().contains("bad \"thing\""),
            "{}",
            answer.body
        );
        gateway.settled().await;
    }
}

/// The store adds up what answers used; what no answer can have used must not break that.
#[tokio::test]
async fn counts_that_make_no_sense_do_no_harm() {
    let mut chunk = chunk(&json!([{"text": "a"}]), "STOP");
    chunk["response"]["usageMetadata"] = json!({"promptTokenCount": u64::MAX, "candidatesTokenCount": 1e200});
    let (gateway, answer) = answers(GEMINI, &chunk).await;
    assert_eq!(answer.body["usage"]["output_tokens"], 0);
    gateway.settled().await;
}
