//! Properties over random answers.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{convert, convert_raw, fold};

/// A part as the upstream may send it, oddities included.
fn part() -> impl Strategy<Value = Value> {
    let text = prop_oneof![Just(String::new()), "[ -~\\n\\t\"\\\\é😀]{1,12}"];
    let signature = prop_oneof![Just(None), Just(Some("short".to_owned())), "[a-c]{50}".prop_map(Some)];
    let call = prop::option::weighted(
        0.3,
        (prop::option::of("[a-z]{1,4}"), prop::option::of("[a-z0-9]{1,4}"), prop::option::of(json_value())),
    );
    (prop::option::weighted(0.8, text), any::<bool>(), signature, call, prop::bool::weighted(0.1)).prop_map(
        |(text, thought, signature, call, image)| {
            let mut part = json!({});
            if let Some(text) = text {
                part["text"] = json!(text);
            }
            if thought {
                part["thought"] = json!(true);
            }
            if let Some(signature) = signature {
                part["thoughtSignature"] = json!(signature);
            }
            if let Some((name, id, args)) = call {
                part["functionCall"] = json!({"name": name, "id": id, "args": args});
            }
            if image {
                part["inlineData"] = json!({"mimeType": "image/png", "data": "AAAA"});
            }
            part
        },
    )
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            // Keys of the protocol, so that odd values land where they are read.
            prop::collection::btree_map(
                prop::sample::select(vec![
                    "response",
                    "candidates",
                    "content",
                    "parts",
                    "text",
                    "thought",
                    "thoughtSignature",
                    "functionCall",
                    "name",
                    "id",
                    "args",
                    "inlineData",
                    "mimeType",
                    "data",
                    "finishReason",
                    "usageMetadata",
                    "promptTokenCount",
                    "promptFeedback",
                    "blockReason",
                    "error",
                    "code",
                    "x",
                ])
                .prop_map(str::to_owned),
                inner,
                0..5
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn chunk()(
        parts in prop::collection::vec(part(), 0..5),
        reason in prop::option::weighted(0.3, prop::sample::select(vec!["STOP", "MAX_TOKENS", "SAFETY", "OTHER"])),
        usage in prop::option::of((0_u32..9, 0_u32..9, 0_u32..9, 0_u32..9)),
        enveloped in any::<bool>(),
    ) -> Value {
        let mut answer = json!({"candidates": [{"content": {"role": "model", "parts": parts}}]});
        if let Some(reason) = reason {
            answer["candidates"][0]["finishReason"] = json!(reason);
        }
        if let Some((prompt, cached, candidates, thoughts)) = usage {
            answer["usageMetadata"] = json!({"promptTokenCount": prompt, "cachedContentTokenCount": cached,
                "candidatesTokenCount": candidates, "thoughtsTokenCount": thoughts});
        }
        if enveloped { json!({"response": answer}) } else { answer }
    }
}

/// All chunks as one answer.
fn joined(chunks: &[Value]) -> Value {
    let mut whole = json!({"candidates": [{"content": {"parts": []}}], "usageMetadata": {}});
    let mut parts = Vec::new();
    for chunk in chunks {
        let answer = chunk.get("response").unwrap_or(chunk);
        let candidate = &answer["candidates"][0];
        parts.extend(candidate["content"]["parts"].as_array().unwrap().iter().cloned());
        if let Some(reason) = candidate.get("finishReason") {
            let said = &mut whole["candidates"][0]["finishReason"];
            if said.is_null() || said == "OTHER" {
                *said = reason.clone();
            }
        }
        for (count, value) in answer.get("usageMetadata").and_then(Value::as_object).into_iter().flatten() {
            if *value != 0 {
                whole["usageMetadata"][count] = value.clone();
            }
        }
    }
    whole["candidates"][0]["content"]["parts"] = Value::Array(parts);
    whole
}

proptest! {
    #[test]
    fn streaming_and_whole_answers_agree(chunks in prop::collection::vec(chunk(), 0..6)) {
        let streamed = convert("gemini-3-flash", &chunks);
        if streamed.fault.is_none() {
            // `fold` checks order, indices and that each start has its stop.
            prop_assert_eq!(Some(fold(&streamed.events)), streamed.message.clone());
        }
        let whole = convert("gemini-3-flash", &[joined(&chunks)]);
        prop_assert_eq!(&streamed.message, &whole.message);
        prop_assert_eq!(&streamed.fault, &whole.fault);
        prop_assert_eq!(&streamed.learned, &whole.learned);
        prop_assert_eq!(streamed.usage, whole.usage);
    }

    #[test]
    fn any_json_is_taken_or_refused(values in prop::collection::vec(json_value(), 0..4)) {
        let outcome = convert("claude-opus-4-6-thinking", &values);
        if outcome.fault.is_none() {
            prop_assert_eq!(Some(fold(&outcome.events)), outcome.message);
        }
    }

    #[test]
    fn any_parts_are_taken_or_refused(parts in prop::collection::vec(json_value(), 0..4), text in ".{0,5}") {
        let chunk = json!({"candidates": [{"content": {"parts": parts}}, {"content": {"parts": [{"text": text}]}}]});
        let outcome = convert("claude-opus-4-6-thinking", &[chunk]);
        if outcome.fault.is_none() {
            prop_assert_eq!(Some(fold(&outcome.events)), outcome.message);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0_usize..80) {
        convert_raw("x", &[&bytes]);
        let whole = joined(&[json!({"candidates": [{"content": {"parts": [{"text": "é"}]}}]})]).to_string();
        convert_raw("x", &[&whole.as_bytes()[..cut.min(whole.len())]]);
    }
}
