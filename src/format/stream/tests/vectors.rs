//! The vectors `N*` and `E*`. They were taken from the reference; each test says where the answer is better
//! (`W…`).

use serde_json::{Value, json};

use super::{Outcome, convert, fold, signature};
use crate::format::stream::{Learned, LearnedKind, MessageIds, StreamFault};
use crate::google::model::Family;

const SHORT: &str = "SHORT";

fn message_id() -> String {
    MessageIds::new([1; 32]).message()
}

fn finished(model: &str, chunks: &[Value]) -> Outcome {
    let outcome = convert(model, chunks);
    assert_eq!(outcome.fault, None);
    assert_eq!(Some(fold(&outcome.events)), outcome.message);
    outcome
}

fn message_start(model: &str, input: u64, cached: u64) -> Value {
    json!({"type": "message_start", "message": {"id": message_id(), "type": "message", "role": "assistant", "content": [],
        "model": model, "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": input, "output_tokens": 0,
        "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0}}})
}

fn block(index: u32, block: &Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u32, delta: &Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u32) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

/// With `input_tokens`, and thoughts among the output tokens (W38, W30).
fn message_delta(reason: &str, input: u64, output: u64, cached: u64) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {
        "input_tokens": input, "output_tokens": output, "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0}})
}

/// Neighbouring texts are joined (W28), a call means `tool_use` (W31), thoughts are counted (W30), and a
/// signature too short to be taken back is not handed out, as in streaming (T25).
#[test]
fn n1_whole_answer() {
    let sig_g = signature('g');
    let outcome = finished(
        "claude-sonnet-4-6",
        &[json!({"response": {"candidates": [{"content": {"role": "model", "parts": [
            {"text": "hm", "thought": true, "thoughtSignature": SHORT}, {"text": "Hi"}, {"text": " there"},
            {"functionCall": {"name": "f", "id": "toolu_1"}, "thoughtSignature": sig_g}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 7,
            "thoughtsTokenCount": 3, "totalTokenCount": 110}}})],
    );
    assert_eq!(
        outcome.message.unwrap(),
        json!({"id": message_id(), "type": "message", "role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "Hi there"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "thoughtSignature": sig_g}],
            "model": "claude-sonnet-4-6", "stop_reason": "tool_use", "stop_sequence": null, "usage": {
            "input_tokens": 40, "output_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 0}})
    );
    assert_eq!(
        outcome.learned,
        [Learned {
            kind: LearnedKind::Tool { id: "toolu_1".to_owned(), signature: sig_g },
            family: Family::Claude
        }]
    );
    assert_eq!(outcome.usage.thinking_tokens, 3);
}

/// W30 and W38; and a thinking block starts with the `signature` key that the public API sends.
#[test]
fn e1_thinking_text_and_call() {
    let model = "claude-opus-4-6-thinking";
    let sig_c = signature('c');
    let outcome = finished(
        model,
        &[
            json!({"response": {"candidates": [{"content": {"parts": [{"thought": true, "text": "hm"}]}}],
                "usageMetadata": {"promptTokenCount": 100, "cachedContentTokenCount": 60}}}),
            json!({"response": {"candidates": [{"content": {"parts": [
                {"thought": true, "text": "", "thoughtSignature": sig_c}]}}]}}),
            json!({"response": {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}}),
            json!({"response": {"candidates": [{"content": {"parts": [{"text": " "}, {"text": ""}]}}]}}),
            json!({"response": {"candidates": [{"content": {"parts": [
                {"functionCall": {"name": "f", "args": {"a": 1}, "id": "toolu_1"}}]}}]}}),
            json!({"response": {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 7,
                "thoughtsTokenCount": 3}}}),
        ],
    );
    assert_eq!(
        outcome.events,
        [
            message_start(model, 40, 60),
            block(0, &json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, &json!({"type": "thinking_delta", "thinking": "hm"})),
            delta(0, &json!({"type": "thinking_delta", "thinking": ""})),
            delta(0, &json!({"type": "signature_delta", "signature": sig_c})),
            stop(0),
            block(1, &json!({"type": "text", "text": ""})),
            delta(1, &json!({"type": "text_delta", "text": "Hi"})),
            delta(1, &json!({"type": "text_delta", "text": " "})),
            stop(1),
            block(2, &json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}})),
            delta(2, &json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"})),
            stop(2),
            message_delta("tool_use", 40, 10, 60),
            json!({"type": "message_stop"}),
        ]
    );
    assert_eq!(
        outcome.learned,
        [
            LearnedKind::Thinking { signature: sig_c },
            LearnedKind::Tool { id: "toolu_1".to_owned(), signature: String::new() },
        ]
        .map(|kind| Learned { kind, family: Family::Claude })
    );
}

/// W38, and the `signature` key as in E1.
#[test]
fn e2_image_between_thinking_and_text() {
    let model = "claude-opus-4-6-thinking";
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let outcome = finished(
        model,
        &[
            json!({"candidates": [{"content": {"parts": [{"thought": true, "text": "x", "thoughtSignature": SHORT},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, {"text": "ok"}]},
            "finishReason": "MAX_TOKENS"}]}),
        ],
    );
    assert_eq!(
        outcome.events,
        [
            message_start(model, 0, 0),
            block(0, &json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, &json!({"type": "thinking_delta", "thinking": "x"})),
            stop(0),
            block(1, &image),
            stop(1),
            block(2, &json!({"type": "text", "text": ""})),
            delta(2, &json!({"type": "text_delta", "text": "ok"})),
            stop(2),
            message_delta("max_tokens", 0, 0, 0),
            json!({"type": "message_stop"}),
        ]
    );
    assert_eq!(outcome.learned, []);
}

/// Empty parts do not start a message: this is an empty reply, which can be retried (W37).
#[test]
fn e3_only_an_empty_text() {
    let outcome = convert(
        "claude-opus-4-6-thinking",
        &[
            json!({"response": {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 5}}}),
        ],
    );
    assert_eq!(outcome.fault, Some(StreamFault::Empty));
    assert_eq!(outcome.events, [] as [Value; 0]);
    assert_eq!(outcome.usage.input_tokens, 5);
}
