//! Single rules, each with the number it has in spec `conversion.md`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{convert, convert_named, convert_raw, fold, frames, signature};
use crate::format::stream::{
    Learned, LearnedKind, MessageIds, MessageSink, NO_ANSWER, OriginalNames, SseSink, StreamConverter,
    StreamFault, no_answer,
};
use crate::google::model::{Family, ModelId};

const GEMINI: &str = "gemini-3-flash";

fn parts(parts: &Value) -> Value {
    json!({"response": {"candidates": [{"content": {"parts": parts}}]}})
}

fn ended(content: &Value, reason: &str) -> Value {
    json!({"response": {"candidates": [{"content": {"parts": content}, "finishReason": reason}]}})
}

fn content(chunks: &[Value]) -> Value {
    let outcome = convert(GEMINI, chunks);
    let message = outcome.message.unwrap();
    assert_eq!(fold(&outcome.events), message);
    message["content"].clone()
}

#[test]
fn t12_a_call_or_image_beside_text_is_never_lost() {
    let call = json!({"name": "f", "id": "1", "args": {}});
    let tool = json!({"type": "tool_use", "id": "1", "name": "f", "input": {}});
    let data = json!({"mimeType": "image/png", "data": "AA"});
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}});
    assert_eq!(content(&[parts(&json!([{"text": "", "functionCall": call}]))]), json!([tool]));
    assert_eq!(
        content(&[parts(&json!([{"text": "a", "functionCall": call}]))]),
        json!([{"type": "text", "text": "a"}, tool])
    );
    assert_eq!(
        content(&[parts(&json!([{"thought": true, "text": "a", "functionCall": call, "inlineData": data}]))]),
        json!([{"type": "thinking", "thinking": "a", "signature": ""}, tool, image])
    );
    assert_eq!(content(&[parts(&json!([{"text": "", "inlineData": data}]))]), json!([image]));
}

#[test]
fn t14_white_space_is_streamed() {
    let texts = ["Hello", " ", "World", "\n", "", "x"].map(|text| parts(&json!([{"text": text}])));
    assert_eq!(content(&texts), json!([{"type": "text", "text": "Hello World\nx"}]));
}

#[test]
fn parts_without_a_counterpart_are_skipped() {
    let odd = json!([null, {}, {"text": null}, {"text": 5}, {"thought": true}, {"thought": true, "text": ""}, {"executableCode": {}},
        {"functionCall": {}}, {"functionCall": {"name": ""}}, {"functionCall": null}, {"inlineData": {"data": "AA"}}, {"fileData": {}}]);
    let outcome = convert(GEMINI, &[parts(&odd), ended(&odd, "STOP")]);
    assert_eq!(outcome.fault, Some(StreamFault::Empty));
    assert_eq!(
        content(&[parts(&json!([{"text": "a", "thought": "yes"}]))]),
        json!([{"type": "text", "text": "a"}])
    );
}

#[test]
fn w32_signed_thoughts_in_a_row_stay_apart() {
    let (first, second) = (signature('a'), signature('b'));
    let thoughts = json!([
        {"thought": true, "text": "1"}, {"thought": true, "text": "2", "thoughtSignature": first},
        {"thought": true, "text": "3"}, {"thought": true, "thoughtSignature": second}, {"text": "x"}]);
    let wanted = json!([
        {"type": "thinking", "thinking": "12", "signature": first},
        {"type": "thinking", "thinking": "3", "signature": second}, {"type": "text", "text": "x"}]);
    assert_eq!(content(&[parts(&thoughts)]), wanted);
    let learned: Vec<_> = [first, second]
        .map(|signature| Learned { kind: LearnedKind::Thinking { signature }, family: Family::Gemini })
        .into();
    assert_eq!(convert(GEMINI, &[parts(&thoughts)]).learned, learned);
}

#[test]
fn w33_a_signature_without_text_opens_a_block_of_its_own() {
    let sign = signature('s');
    let chunks = [
        parts(&json!([{"text": "a"}, {"thought": true, "text": "", "thoughtSignature": sign}])),
        parts(&json!([{"text": "b"}])),
    ];
    assert_eq!(
        content(&chunks),
        json!([{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "", "signature": sign}, {"type": "text", "text": "b"}])
    );
}

#[test]
fn signatures_count_their_decoded_length() {
    // 49 characters that take 54 bytes in the document, and 50.
    for (length, learnt) in [(49, 0), (50, 1)] {
        let json = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"thought":true,"text":"t","thoughtSignature":"{}\u003d"}}]}}}}]}}"#,
            "s".repeat(length - 1)
        );
        let outcome = convert_raw(GEMINI, &[json.as_bytes()]);
        assert_eq!(outcome.learned.len(), learnt);
        let wanted = if learnt == 1 { "s".repeat(length - 1) + "=" } else { String::new() };
        assert_eq!(outcome.message.unwrap()["content"][0]["signature"], wanted);
    }
}

#[test]
fn a_signature_on_text_costs_nothing() {
    let part = json!([{"text": "a", "thoughtSignature": signature('s')}, {"text": "", "thoughtSignature": signature('s')}]);
    let outcome = convert(GEMINI, &[parts(&part)]);
    assert_eq!(outcome.learned, []);
    assert_eq!(outcome.message.unwrap()["content"], json!([{"type": "text", "text": "a"}]));
}

#[test]
fn calls_without_an_id_get_one_and_their_signature_is_remembered_under_it() {
    let sign = signature('s');
    let call = json!({"functionCall": {"name": "f"}, "thoughtSignature": sign});
    let outcome = convert(GEMINI, &[parts(&json!([call, call]))]);
    let mut ids = MessageIds::new([1; 32]);
    let ids = [ids.next_tool(), ids.next_tool()];
    assert_eq!(
        outcome.learned,
        ids.clone().map(|id| Learned {
            kind: LearnedKind::Tool { id, signature: sign.clone() },
            family: Family::Gemini
        })
    );
    let message = outcome.message.unwrap();
    for (block, id) in message["content"].as_array().unwrap().iter().zip(&ids) {
        assert_eq!(
            *block,
            json!({"type": "tool_use", "id": id, "name": "f", "input": {}, "thoughtSignature": sign})
        );
    }
}

#[test]
fn w11_names_are_mapped_back() {
    struct Renamed;
    impl OriginalNames for Renamed {
        fn raw<'a>(&'a self, clean: &'a str) -> &'a str {
            if clean == "a_b" { "a.b" } else { clean }
        }
    }
    let calls = json!([{"functionCall": {"name": "a_b"}}, {"functionCall": {"name": "other"}}]);
    let names: Arc<dyn OriginalNames> = Arc::new(Renamed);
    let outcome = convert_named(GEMINI, &[parts(&calls).to_string().as_bytes()], &names);
    let message = outcome.message.unwrap();
    assert_eq!(message["content"][0]["name"], "a.b");
    assert_eq!(message["content"][1]["name"], "other");
}

#[test]
fn t22_arguments_keep_their_order_and_digits() {
    let chunk = "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":\n{ \"b\" : 12345678901234567890123,\n \"10\": \"x  y\\u003c\", \"a\": 1.50 }}}]}}]}";
    let outcome = convert_raw(GEMINI, &[chunk.as_bytes()]);
    let delta = outcome.events.iter().find(|event| event["type"] == "content_block_delta").unwrap();
    assert_eq!(
        delta["delta"]["partial_json"],
        "{\"b\":12345678901234567890123,\"10\":\"x  y\\u003c\",\"a\":1.50}"
    );
    for args in ["null", "[1]", "\"x\"", "0"] {
        let chunk = format!(
            "{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"functionCall\":{{\"name\":\"f\",\"args\":{args}}}}}]}}}}]}}"
        );
        let outcome = convert_raw(GEMINI, &[chunk.as_bytes()]);
        assert_eq!(outcome.message.unwrap()["content"][0]["input"], json!({}));
    }
}

#[test]
fn stop_reasons() {
    let text = json!([{"text": "a"}]);
    let call = json!([{"functionCall": {"name": "f"}}]);
    for (reason, plain, with_call) in [
        ("STOP", "end_turn", "tool_use"),
        ("MAX_TOKENS", "max_tokens", "tool_use"),
        ("TOOL_USE", "end_turn", "tool_use"),
        ("SAFETY", "refusal", "tool_use"),
        ("RECITATION", "refusal", "tool_use"),
        ("BLOCKLIST", "refusal", "tool_use"),
        ("PROHIBITED_CONTENT", "refusal", "tool_use"),
        ("SPII", "refusal", "tool_use"),
        ("OTHER", "end_turn", "tool_use"),
        ("MALFORMED_FUNCTION_CALL", "end_turn", "tool_use"),
    ] {
        for (content, wanted) in [(&text, plain), (&call, with_call)] {
            let message = convert(GEMINI, &[ended(content, reason)]).message.unwrap();
            assert_eq!(message["stop_reason"], wanted, "{reason}");
        }
    }
    // The first one that says something wins; a stream without any is complete all the same (§13.3).
    let chunks = [ended(&text, "OTHER"), ended(&text, "MAX_TOKENS"), ended(&text, "STOP")];
    assert_eq!(convert(GEMINI, &chunks).message.unwrap()["stop_reason"], "max_tokens");
    assert_eq!(convert(GEMINI, &[parts(&text)]).message.unwrap()["stop_reason"], "end_turn");
}

#[test]
fn w42_an_end_without_content() {
    for (reason, wanted) in [
        ("SAFETY", Ok("refusal")),
        ("MAX_TOKENS", Ok("max_tokens")),
        ("STOP", Err(StreamFault::Empty)),
        ("MALFORMED_FUNCTION_CALL", Err(StreamFault::Empty)),
    ] {
        let outcome = convert(GEMINI, &[json!({"candidates": [{"finishReason": reason}]})]);
        match wanted {
            Err(fault) => assert_eq!(outcome.fault, Some(fault)),
            Ok(stop_reason) => {
                let message = outcome.message.unwrap();
                assert_eq!(fold(&outcome.events), message);
                assert_eq!((&message["stop_reason"], &message["content"]), (&json!(stop_reason), &json!([])));
            }
        }
    }
    assert_eq!(convert(GEMINI, &[]).fault, Some(StreamFault::Empty));
}

#[test]
fn w36_errors_and_blocked_prompts_in_a_stream() {
    let error = json!({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}});
    let text = parts(&json!([{"text": "a"}]));
    for (chunks, started) in [(vec![error.clone()], false), (vec![text.clone(), error.clone()], true)] {
        let outcome = convert(GEMINI, &chunks);
        assert_eq!(
            outcome.fault,
            Some(StreamFault::Upstream { body: error.to_string().into(), code: Some(429) })
        );
        assert_eq!(!outcome.events.is_empty(), started);
    }

    let blocked = json!({"response": {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}});
    let fault = StreamFault::Blocked { reason: "PROHIBITED_CONTENT".to_owned() };
    assert_eq!(convert(GEMINI, std::slice::from_ref(&blocked)).fault, Some(fault));
    let late = convert(GEMINI, &[text, blocked]);
    assert_eq!(late.message.unwrap()["stop_reason"], "refusal");
}

#[test]
fn w29_w30_w38_usage() {
    let usage = |prompt: u64, cached: u64, candidates: u64, thoughts: u64| {
        json!({"promptTokenCount": prompt, "cachedContentTokenCount": cached, "candidatesTokenCount": candidates,
            "thoughtsTokenCount": thoughts})
    };
    let mut chunks = vec![parts(&json!([{"text": "a"}])); 3];
    chunks[1]["response"]["usageMetadata"] = usage(100, 60, 1, 5);
    chunks[2]["response"]["usageMetadata"] = usage(50, 0, 9, 0);
    let outcome = convert(GEMINI, &chunks);
    assert_eq!(outcome.events[0]["message"]["usage"]["input_tokens"], 0);
    let counts = json!({"input_tokens": 0, "output_tokens": 14, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 0});
    assert_eq!(outcome.events[outcome.events.len() - 2]["usage"], counts);
    assert_eq!(outcome.message.unwrap()["usage"], counts);
    assert_eq!(outcome.usage.thinking_tokens, 5);
}

#[test]
fn payloads_that_are_no_answer() {
    let good = br#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#;
    let outcome = convert_raw(GEMINI, &[b"", b" \r\n", good, b"[DONE]"]);
    assert_eq!(outcome.fault, None);

    for (payload, defect) in [
        (&b"<html>"[..], "not JSON"),
        (br#"{"candidates":[{"cont"#, "cut off"),
        (br#"{"candidates":{"content":1}}"#, "a value of an unexpected type"),
        (b"5", "a value of an unexpected type"),
    ] {
        let outcome = convert_raw(GEMINI, &[good, payload]);
        assert!(
            matches!(outcome.fault, Some(StreamFault::Malformed { defect: found, .. }) if found == defect),
            "{outcome:?}"
        );
        assert_eq!(outcome.events.len(), 3);
    }
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let outcome = convert_raw(
        GEMINI,
        &[b"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\xffb\\ud800\"}]}}]}"],
    );
    assert_eq!(outcome.message.unwrap()["content"][0]["text"], "a\u{fffd}b\u{fffd}");
}

#[test]
fn text_is_copied_as_it_stands() {
    let chunk = br#"{"candidates":[{"content":{"parts":[{"text":"\u003ca\/\n\ud83d\ude00\""}]}}]}"#;
    let mut converter = StreamConverter::new(ModelId::new(GEMINI), Arc::new(()), MessageIds::new([1; 32]));
    let mut out = SseSink::new();
    converter.push(chunk, &mut out).unwrap();
    let text = String::from_utf8(out.take().to_vec()).unwrap();
    assert!(text.ends_with(concat!(
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":",
        r#"{"type":"text_delta","text":"\u003ca\/\n\ud83d\ude00\""}}"#,
        "\n\n"
    )));
}

#[test]
fn nothing_follows_the_end() {
    let mut converter = StreamConverter::new(ModelId::new(GEMINI), Arc::new(()), MessageIds::new([1; 32]));
    let mut out = SseSink::new();
    let chunk = parts(&json!([{"text": "a"}])).to_string();
    assert!(!converter.started());
    converter.push(chunk.as_bytes(), &mut out).unwrap();
    assert!(converter.started());
    converter.finish(&mut out).unwrap();
    assert!(!out.take().is_empty());
    converter.push(chunk.as_bytes(), &mut out).unwrap();
    converter.finish(&mut out).unwrap();
    assert!(out.is_empty());
}

#[test]
fn the_stand_in_for_no_answer() {
    let (mut sse, mut message) = (SseSink::new(), MessageSink::new());
    no_answer(&ModelId::new(GEMINI), &MessageIds::new([1; 32]), &mut sse);
    no_answer(&ModelId::new(GEMINI), &MessageIds::new([1; 32]), &mut message);
    let message: Value = serde_json::from_slice(&message.into_body().unwrap()).unwrap();
    assert_eq!(fold(&frames(&sse.take())), message);
    assert_eq!(message["content"], json!([{"type": "text", "text": NO_ANSWER}]));
    assert_eq!((&message["stop_reason"], &message["model"]), (&json!("end_turn"), &json!(GEMINI)));
}

#[test]
fn a_converter_can_be_held_across_awaits() {
    fn movable<T: Send>() {}
    movable::<StreamConverter>();
    movable::<SseSink>();
    movable::<MessageSink>();
}
