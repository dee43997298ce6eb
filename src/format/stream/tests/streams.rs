//! Random upstream streams, byte by byte as they come from a connection, through decoder and machine into both sinks.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{fold, frames};
use crate::format::stream::{
    Learned, LearnedKind, MessageIds, MessageSink, Sink, SseSink, StreamConverter, StreamFault, Usage,
};
use crate::google::model::ModelId;
use crate::sse::Decoder;

/// The longest event taken here.
const LIMIT: usize = 8 * 1024;

fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("\n".to_owned()), "[ -~\\n\\té😀`]{1,10}"]
}

fn signature() -> impl Strategy<Value = String> {
    prop_oneof![Just("short".to_owned()), "[a-c]{49,51}"]
}

fn call() -> impl Strategy<Value = Value> {
    let id = prop::option::of(prop::sample::select(vec!["c1", "c2", "call:3", ""]));
    let args = prop::sample::select(vec![
        json!({}),
        json!({"a": 1, "b": [null, -0.0, 1e300]}),
        json!({"k \"": " v\n"}),
        json!(null),
        json!([1]),
        json!("x"),
    ]);
    (prop::sample::select(vec!["f", "g", ""]), id, prop::option::of(args)).prop_map(|(name, id, args)| {
        let mut call = json!({"name": name});
        if let Some(id) = id {
            call["id"] = json!(id);
        }
        if let Some(args) = args {
            call["args"] = args;
        }
        call
    })
}

/// Every kind of part, and combinations that no upstream should send.
fn part() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => words().prop_map(|text| json!({"text": text})),
        3 => words().prop_map(|text| json!({"thought": true, "text": text})),
        2 => (words(), signature()).prop_map(|(text, s)| json!({"thought": true, "text": text, "thoughtSignature": s})),
        1 => signature().prop_map(|s| json!({"thought": true, "thoughtSignature": s})),
        1 => (words(), signature()).prop_map(|(text, s)| json!({"text": text, "thoughtSignature": s})),
        2 => call().prop_map(|call| json!({"functionCall": call})),
        1 => (call(), signature()).prop_map(|(call, s)| json!({"functionCall": call, "thoughtSignature": s})),
        1 => (words(), call(), any::<bool>(), signature()).prop_map(|(text, call, thought, s)| {
            json!({"text": text, "thought": thought, "functionCall": call, "thoughtSignature": s})
        }),
        1 => Just(json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})),
        1 => words().prop_map(|code| json!({"executableCode": {"language": "PYTHON", "code": code}})),
        1 => words().prop_map(|out| json!({"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": out}})),
        1 => Just(json!({"fileData": {"mimeType": "text/plain", "fileUri": "gs://b/f"}})),
        1 => prop::sample::select(vec![json!(null), json!({}), json!({"videoMetadata": {}}), json!({"text": 5})]),
    ]
}

fn usage() -> impl Strategy<Value = Value> {
    let count = prop::sample::select(vec![
        json!(0),
        json!(7),
        json!(90),
        json!("12"),
        json!(-4),
        json!(u64::MAX),
        json!(1e30),
        json!(null),
        json!({}),
    ]);
    prop::collection::btree_map(
        prop::sample::select(vec![
            "promptTokenCount",
            "cachedContentTokenCount",
            "candidatesTokenCount",
            "thoughtsTokenCount",
            "totalTokenCount",
        ])
        .prop_map(str::to_owned),
        count,
        0..5,
    )
    .prop_map(|counts| Value::Object(counts.into_iter().collect()))
}

prop_compose! {
    fn chunk()(
        parts in prop::option::weighted(0.9, prop::collection::vec(part(), 0..4)),
        reason in prop::option::weighted(0.2, prop::sample::select(vec![
            "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY",
            "OTHER", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOOL_USE", "NEVER_HEARD_OF", "",
        ])),
        usage in prop::option::weighted(0.4, usage()),
        shape in 0_usize..10,
        blocked in prop::option::weighted(0.03, Just("SAFETY")),
    ) -> Value {
        let mut candidate = json!({});
        if let Some(parts) = parts {
            candidate["content"] = json!({"role": "model", "parts": parts});
        }
        if let Some(reason) = reason {
            candidate["finishReason"] = json!(reason);
        }
        let mut answer = match shape {
            0 => json!({"candidates": [candidate, {"content": {"parts": [{"text": "of another candidate"}]}}]}),
            1 => json!({"candidates": [], "modelVersion": "m"}),
            _ => json!({"candidates": [candidate]}),
        };
        if let Some(usage) = usage {
            answer["usageMetadata"] = usage;
        }
        if let Some(reason) = blocked {
            answer["promptFeedback"] = json!({"blockReason": reason});
        }
        if shape % 2 == 0 { answer } else { json!({"response": answer, "traceId": "t"}) }
    }
}

/// One event of the stream, with the line ends and the framing it comes in.
fn event() -> impl Strategy<Value = String> {
    let end = prop::sample::select(vec!["\n", "\r\n"]);
    let rare = prop::sample::select(vec![
        "data: [DONE]",
        ": comment",
        "event: message",
        "id: 7",
        "retry: 10",
        "data:",
        "",
        "garbage",
        "data: no JSON",
        "data: {\"cut\":",
        "data: {\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\"}}",
        "data: []",
        "data: 7",
    ]);
    prop_oneof![
        12 => (chunk(), end.clone(), 0_usize..4).prop_map(|(chunk, end, form)| match form {
            0 => format!("data:{chunk}{end}{end}"),
            1 => {
                // One document over several lines.
                let lines = serde_json::to_string_pretty(&chunk).unwrap();
                let lines: Vec<_> = lines.lines().map(|line| format!("data: {line}{end}")).collect();
                format!("event: x{end}{}{end}", lines.concat())
            }
            _ => format!("data: {chunk}{end}{end}"),
        }),
        1 => (rare, end).prop_map(|(line, end)| format!("{line}{end}{end}")),
    ]
}

prop_compose! {
    fn stream()(
        mark in prop::bool::weighted(0.2),
        events in prop::collection::vec(event(), 0..7),
        last in prop::option::weighted(0.3, chunk()),
    ) -> Vec<u8> {
        let mut stream = if mark { "\u{feff}".to_owned() } else { String::new() };
        stream.extend(events);
        stream.extend(last.map(|last| format!("data: {last}")));
        stream.into_bytes()
    }
}

/// What a stream came to.
#[derive(Debug, PartialEq)]
struct Run {
    fault: Option<Fault>,
    learned: Vec<Learned>,
    usage: Usage,
}

#[derive(Debug, PartialEq)]
enum Fault {
    TooLarge,
    Stream(StreamFault),
}

/// Reads the stream as it arrives in pieces of the given lengths, over and over.
fn read(stream: &[u8], pieces: &[usize], out: &mut impl Sink) -> Run {
    let mut decoder = Decoder::new(LIMIT);
    let mut converter = StreamConverter::new(
        ModelId::new("gemini-3-flash"),
        std::sync::Arc::new(()),
        MessageIds::new([1; 32]),
    );
    let mut go = |decoder: &mut Decoder| {
        while let Some(payload) = decoder.next() {
            let payload = payload.map_err(|_| Fault::TooLarge)?;
            converter.push(payload, out).map_err(Fault::Stream)?;
        }
        Ok(())
    };
    let mut rest = stream;
    let mut done = Ok(());
    for length in pieces.iter().cycle() {
        let (piece, tail) = rest.split_at((*length).min(rest.len()));
        decoder.push(piece);
        rest = tail;
        done = go(&mut decoder);
        if rest.is_empty() || done.is_err() {
            break;
        }
    }
    if done.is_ok() {
        decoder.finish();
        done = go(&mut decoder);
    }
    let done = done.and_then(|()| converter.finish(out).map_err(Fault::Stream));
    Run { fault: done.err(), learned: converter.take_learned(), usage: converter.usage() }
}

/// Checks a stream that ended in a fault: what was handed out is the beginning of a message.
fn check_beginning(events: &[Value]) {
    let mut blocks = 0_u64;
    let mut open = false;
    for (at, event) in events.iter().enumerate() {
        let kind = event["type"].as_str().unwrap();
        assert_eq!(at == 0, kind == "message_start");
        match kind {
            "message_start" => {}
            "content_block_start" => {
                assert!(!open && event["index"] == blocks);
                open = true;
            }
            "content_block_delta" => assert!(open && event["index"] == blocks),
            "content_block_stop" => {
                assert!(open && event["index"] == blocks);
                open = false;
                blocks += 1;
            }
            other => panic!("{other} in an answer that failed"),
        }
    }
}

/// Checks what holds for the content of every message.
fn check_content(message: &Value, learned: &[Learned]) {
    let mut ids = HashSet::new();
    let mut joined = None;
    for block in message["content"].as_array().unwrap() {
        let kind = block["type"].as_str().unwrap();
        match kind {
            "text" => {
                assert_ne!(block["text"], "");
                assert_ne!(joined, Some("text"), "neighbouring texts are one");
            }
            "thinking" => {
                let signature = block["signature"].as_str().unwrap();
                assert!(!signature.is_empty() || block["thinking"] != "");
                let known =
                    |known: &Learned| known.kind == LearnedKind::Thinking { signature: signature.to_owned() };
                assert!(signature.is_empty() || (signature.len() >= 50 && learned.iter().any(known)));
            }
            "tool_use" => {
                assert!(block["input"].is_object());
                let id = block["id"].as_str().unwrap();
                assert!(!id.is_empty() && ids.insert(id.to_owned()), "{id} twice");
                if let Some(signature) = block.get("thoughtSignature") {
                    let signature = signature.as_str().unwrap().to_owned();
                    assert!(signature.len() >= 50);
                    let kind = LearnedKind::Tool { id: id.to_owned(), signature };
                    assert!(learned.iter().any(|learned| learned.kind == kind));
                }
            }
            "image" => assert_eq!(block["source"]["type"], "base64"),
            other => panic!("a block of type {other}"),
        }
        joined = Some(kind);
    }
    assert_eq!(message["stop_reason"] == "tool_use", !ids.is_empty());
    assert_eq!(message["stop_reason"] == "refusal", message.get("stop_details").is_some());
}

fn check(stream: &[u8], pieces: &[usize]) {
    let mut sse = SseSink::new();
    let streamed = read(stream, pieces, &mut sse);
    let bytes = sse.take();
    let events = frames(&bytes);

    // The borders of the pieces never matter.
    let mut at_once = SseSink::new();
    assert_eq!(read(stream, &[usize::MAX], &mut at_once), streamed);
    assert_eq!(at_once.take(), bytes);

    // The whole answer is the fold of the same events.
    let mut folded = MessageSink::new();
    assert_eq!(read(stream, pieces, &mut folded), streamed);
    let message = folded.into_body().map(|body| serde_json::from_slice::<Value>(&body).unwrap());
    if let Some(message) = &message {
        assert_eq!(streamed.fault, None);
        assert_eq!(fold(&events), *message);
        check_content(message, &streamed.learned);
    } else {
        assert!(streamed.fault.is_some());
        check_beginning(&events);
        let silent =
            matches!(streamed.fault, Some(Fault::Stream(StreamFault::Empty | StreamFault::Blocked { .. })));
        assert!(!silent || events.is_empty());
    }
    let signature = |learned: &Learned| match &learned.kind {
        LearnedKind::Thinking { signature } | LearnedKind::Tool { signature, .. } => signature.len(),
    };
    assert!(streamed.learned.iter().all(|learned| signature(learned) >= 50));
    assert!(streamed.usage.output_tokens >= streamed.usage.thinking_tokens);
}

proptest! {
    #[test]
    fn any_stream_in_any_pieces(stream in stream(), pieces in prop::collection::vec(1_usize..40, 1..12)) {
        check(&stream, &pieces);
    }

    #[test]
    fn any_stream_with_any_bytes_changed(
        mut stream in stream(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for (at, byte) in changes {
            if !stream.is_empty() {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
        }
        stream.truncate(cut.index(stream.len() + 1));
        check(&stream, &[7, 1, 64]);
    }
}

#[test]
fn an_event_over_the_bound_ends_the_answer() {
    let small = json!({"candidates": [{"content": {"parts": [{"text": "a"}]}}]});
    let large = json!({"candidates": [{"content": {"parts": [{"text": "b".repeat(2 * LIMIT)}]}}]});
    let stream = format!("data: {small}\n\ndata: {large}\n\ndata: {small}\n\n");
    let mut out = SseSink::new();
    assert_eq!(read(stream.as_bytes(), &[100], &mut out).fault, Some(Fault::TooLarge));
    assert_eq!(frames(&out.take()).len(), 3);
    check(stream.as_bytes(), &[100]);
}
