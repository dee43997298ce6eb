//! What becomes of unusual answers.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{convert, convert_raw, fold, frames, signature};
use crate::format::stream::{MessageIds, MessageSink, SseSink, StreamFault, refusal};
use crate::google::model::ModelId;

const GEMINI: &str = "gemini-3-flash";

fn parts(parts: &Value) -> Value {
    json!({"response": {"candidates": [{"content": {"parts": parts}}]}})
}

fn message(chunks: &[Value]) -> Value {
    let outcome = convert(GEMINI, chunks);
    let message = outcome.message.unwrap();
    assert_eq!(fold(&outcome.events), message);
    message
}

#[test]
fn code_that_ran_upstream_becomes_text() {
    let content = message(&[
        parts(&json!([{"text": "Let me see."}, {"executableCode": {"language": "PYTHON", "code": "print('```')\n"}}])),
        parts(&json!([{"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "```"}}, {"text": "Done."}])),
        parts(&json!([{"codeExecutionResult": {"outcome": "OUTCOME_DEADLINE_EXCEEDED", "output": "late\n"}}])),
    ])["content"]
        .clone();
    let text = "Let me see.\n````python\nprint('```')\n````\n\n````output\n```\n````\nDone.\
                \n```outcome_deadline_exceeded\nlate\n```\n";
    assert_eq!(content, json!([{"type": "text", "text": text}]));
}

#[test]
fn a_thought_with_code_stays_as_it_was_signed() {
    let part = json!([{"thought": true, "text": "t", "thoughtSignature": signature('s'),
        "executableCode": {"language": "PYTHON", "code": "1"}}]);
    assert_eq!(
        message(&[parts(&part)])["content"],
        json!([{"type": "thinking", "thinking": "t", "signature": signature('s')},
            {"type": "text", "text": "\n```python\n1\n```\n"}])
    );
}

#[test]
fn files_become_links_and_empty_parts_nothing() {
    let odd = json!([{"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a b.png"}},
        {"fileData": {"fileUri": "https://x.test/y"}}, {"fileData": {}}, {"executableCode": {"code": ""}},
        {"executableCode": {"language": 5, "code": null}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}]);
    let text = "\n[image/png](<gs://bucket/a b.png>)\n\n[file](<https://x.test/y>)\n";
    assert_eq!(message(&[parts(&odd)])["content"], json!([{"type": "text", "text": text}]));
}

#[test]
fn calls_have_ids_of_their_own() {
    let call = |id: &str| json!({"functionCall": {"name": "f", "id": id}});
    let given = ["same", "same", "call:1", "", "é", "toolu_01-A"].map(call);
    let content = message(&[parts(&json!(given)), parts(&json!([call("same")]))])["content"].clone();
    let ids: Vec<_> = content.as_array().unwrap().iter().map(|block| block["id"].as_str().unwrap()).collect();
    assert_eq!((ids[0], ids[5], ids.len()), ("same", "toolu_01-A", 7));
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    assert!(ids.iter().all(|id| !id.is_empty() && id.chars().all(allowed)), "{ids:?}");
}

#[test]
fn arguments_are_copied_digit_by_digit() {
    let args = r#"{"a":1e400,"b":-0,"c":-0.0,"a":12345678901234567890.10,"\ud83d\ude00":"\u0000\ud800x","d":[[[]]]}"#;
    let chunk = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f","args":{args}}}}}]}}}}]}}"#
    );
    let mut converter =
        super::StreamConverter::new(ModelId::new(GEMINI), std::sync::Arc::new(()), MessageIds::new([1; 32]));
    let mut out = MessageSink::new();
    converter.push(chunk.as_bytes(), &mut out).unwrap();
    converter.finish(&mut out).unwrap();
    let body = String::from_utf8(out.into_body().unwrap().to_vec()).unwrap();
    assert!(body.contains(&format!(r#""input":{}}}"#, args.replace("\\ud800", "\\ufffd"))), "{body}");

    let mut converter =
        super::StreamConverter::new(ModelId::new(GEMINI), std::sync::Arc::new(()), MessageIds::new([1; 32]));
    let mut out = SseSink::new();
    converter.push(chunk.as_bytes(), &mut out).unwrap();
    let events = frames(&out.take());
    let delta = events.iter().find(|event| event["delta"]["type"] == "input_json_delta").unwrap();
    assert_eq!(delta["delta"]["partial_json"], args.replace("\\ud800", "\\ufffd"));
}

#[test]
fn a_refusal_says_why() {
    let withheld = |reason: &str| json!({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": reason}]});
    for (reason, told) in
        [("SAFETY", "SAFETY"), ("LANGUAGE", "LANGUAGE"), ("IMAGE_RECITATION", "IMAGE_RECITATION")]
    {
        let message = message(&[withheld(reason)]);
        assert_eq!(message["stop_reason"], "refusal");
        let details = json!({"type": "refusal", "category": null,
            "explanation": format!("The upstream withheld the answer: {told}.")});
        assert_eq!(message["stop_details"], details);
    }
    for reason in ["STOP", "MAX_TOKENS", "OTHER"] {
        assert!(message(&[withheld(reason)]).get("stop_details").is_none());
    }
    // A call outweighs the reason; an earlier end stands.
    let call = json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "SAFETY"}]});
    for chunks in [vec![call], vec![withheld("STOP"), withheld("SAFETY")]] {
        assert!(message(&chunks).get("stop_details").is_none());
    }
}

#[test]
fn a_refused_prompt_is_a_message_without_content() {
    for (reason, told) in [("PROHIBITED_CONTENT", "PROHIBITED_CONTENT"), ("secret words", "no known reason")]
    {
        let (mut sse, mut whole) = (SseSink::new(), MessageSink::new());
        refusal(&ModelId::new(GEMINI), &MessageIds::new([1; 32]), reason, &mut sse);
        refusal(&ModelId::new(GEMINI), &MessageIds::new([1; 32]), reason, &mut whole);
        let message: Value = serde_json::from_slice(&whole.into_body().unwrap()).unwrap();
        assert_eq!(fold(&frames(&sse.take())), message);
        assert_eq!((&message["stop_reason"], &message["content"]), (&json!("refusal"), &json!([])));
        let explanation = message["stop_details"]["explanation"].as_str().unwrap();
        assert!(explanation.contains(told) && !explanation.contains("secret"), "{explanation}");
    }
    // Neither an empty reason nor one that is no name blocks anything.
    for reason in [json!(""), json!(null), json!(3)] {
        let chunk = json!({"promptFeedback": {"blockReason": reason}, "candidates": [{"content": {"parts": [{"text": "a"}]}}]});
        assert_eq!(message(&[chunk])["stop_reason"], "end_turn");
    }
}

#[test]
fn ends_without_content_are_asked_for_again_and_with_content_stand() {
    let reasons = [
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "NO_IMAGE",
        "OTHER",
        "NEW_ONE",
    ];
    for reason in reasons {
        let bare = json!({"candidates": [{"content": {"role": "model"}, "finishReason": reason, "finishMessage": "x"}]});
        assert_eq!(convert(GEMINI, std::slice::from_ref(&bare)).fault, Some(StreamFault::Empty), "{reason}");
        let said = message(&[parts(&json!([{"text": "a"}])), bare]);
        assert_eq!(said["stop_reason"], "end_turn", "{reason}");
    }
}

#[test]
fn an_error_inside_the_envelope_is_an_error() {
    let error = json!({"code": 503, "message": "m", "status": "UNAVAILABLE"});
    for chunk in [json!({"response": {"error": error}}), json!({"response": {}, "error": error})] {
        let body = json!({"error": error}).to_string().into();
        assert_eq!(convert(GEMINI, &[chunk]).fault, Some(StreamFault::Upstream { body, code: Some(503) }));
    }
}

#[test]
fn documents_in_one_payload_are_read_one_after_the_other() {
    let one = parts(&json!([{"text": "a"}]));
    let payload = format!("{one}\n{}\n{one}", serde_json::to_string_pretty(&one).unwrap());
    let outcome = convert_raw(GEMINI, &[payload.as_bytes(), one.to_string().as_bytes()]);
    assert_eq!(outcome.message.unwrap()["content"][0]["text"], "aaaa");
    let outcome = convert_raw(GEMINI, &[format!("{one}{{").as_bytes()]);
    assert!(matches!(outcome.fault, Some(StreamFault::Malformed { .. })));
    assert_eq!(outcome.events.len(), 3);
}

#[test]
fn thinking_and_calls_may_alternate() {
    let (first, second) = (signature('a'), signature('b'));
    let call = |id: &str| json!({"functionCall": {"name": "f", "id": id, "args": {}}});
    let chunks = [
        parts(
            &json!([{"thought": true, "text": "1"}, {"thought": true, "text": "", "thoughtSignature": first}]),
        ),
        parts(&json!([call("c1"), {"thought": true, "text": "2", "thoughtSignature": second}])),
        parts(&json!([call("c2"), {"text": "x"}, call("c3")])),
    ];
    let tool = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    assert_eq!(
        message(&chunks)["content"],
        json!([{"type": "thinking", "thinking": "1", "signature": first}, tool("c1"),
            {"type": "thinking", "thinking": "2", "signature": second}, tool("c2"),
            {"type": "text", "text": "x"}, tool("c3")])
    );
}

#[test]
fn sources_leave_no_trace() {
    let mut chunk = parts(&json!([{"text": "a"}]));
    chunk["response"]["candidates"][0]["groundingMetadata"] =
        json!({"groundingChunks": [{"web": {"uri": "u"}}]});
    chunk["response"]["candidates"][0]["citationMetadata"] = json!({"citations": [{"uri": "u"}]});
    assert_eq!(message(&[chunk])["content"], json!([{"type": "text", "text": "a"}]));
}

#[test]
fn counts_that_make_no_sense_are_left_out() {
    let with = |usage: Value| {
        let mut chunk = parts(&json!([{"text": "a"}]));
        chunk["response"]["usageMetadata"] = usage;
        chunk
    };
    let sane = with(json!({"promptTokenCount": 10, "candidatesTokenCount": 4}));
    let absurd =
        json!({"promptTokenCount": u64::MAX, "candidatesTokenCount": -7, "thoughtsTokenCount": 1e200});
    for odd in [absurd, json!(5), json!({"promptTokenCount": [1]}), json!(null)] {
        let usage = message(&[sane.clone(), with(odd)])["usage"].clone();
        assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(10), &json!(4)));
    }
    let more_cached = with(json!({"promptTokenCount": 3, "cachedContentTokenCount": 9}));
    assert_eq!(message(&[more_cached])["usage"]["input_tokens"], 0);
}
