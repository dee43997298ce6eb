//! Tests of the state machine: the vectors of spec `conversion.md` §8–§9, single rules, and properties.

mod answers;
mod properties;
mod rules;
mod shapes;
mod streams;
mod vectors;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Learned, MessageIds, MessageSink, OriginalNames, SseSink, StreamConverter, StreamFault, Usage};
use crate::google::model::ModelId;
use crate::sse::Decoder;

/// What one answer came to, in both forms.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// The streamed events.
    events: Vec<Value>,
    /// The non-streaming message, when it was finished.
    message: Option<Value>,
    fault: Option<StreamFault>,
    learned: Vec<Learned>,
    usage: Usage,
}

fn signature(letter: char) -> String {
    letter.to_string().repeat(60)
}

fn convert(model: &str, chunks: &[Value]) -> Outcome {
    let payloads: Vec<String> = chunks.iter().map(Value::to_string).collect();
    convert_raw(model, &payloads.iter().map(String::as_bytes).collect::<Vec<_>>())
}

fn convert_raw(model: &str, payloads: &[&[u8]]) -> Outcome {
    let names: Arc<dyn OriginalNames> = Arc::new(());
    convert_named(model, payloads, &names)
}

/// Runs the chunks into each kind of sink.
fn convert_named(model: &str, payloads: &[&[u8]], names: &Arc<dyn OriginalNames>) -> Outcome {
    let converter = || StreamConverter::new(ModelId::new(model), Arc::clone(names), MessageIds::new([1; 32]));
    let (mut streaming, mut sse) = (converter(), SseSink::new());
    let fault = run(&mut streaming, payloads, &mut sse).err();
    let (mut folding, mut message) = (converter(), MessageSink::new());
    assert_eq!(run(&mut folding, payloads, &mut message).err(), fault);
    assert_eq!(folding.started(), streaming.started());

    let message = message.into_body().map(|body| serde_json::from_slice(&body).unwrap());
    assert_eq!(message.is_some(), fault.is_none());
    let outcome = Outcome {
        events: frames(&sse.take()),
        message,
        fault,
        learned: streaming.take_learned(),
        usage: streaming.usage(),
    };
    assert_eq!(streaming.started(), !outcome.events.is_empty());
    assert_eq!(folding.take_learned(), outcome.learned);
    outcome
}

fn run(
    converter: &mut StreamConverter,
    payloads: &[&[u8]],
    out: &mut impl super::Sink,
) -> Result<(), StreamFault> {
    for payload in payloads {
        converter.push(payload, out)?;
    }
    converter.finish(out)
}

/// Reads frames back; each must be `event: <type>` and one line of data with the same type.
fn frames(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut names = text.lines().filter_map(|line| line.strip_prefix("event: "));
    assert_eq!(text.lines().count(), text.matches("\n\n").count() * 3);
    let mut decoder = Decoder::new(usize::MAX);
    decoder.push(bytes);
    let mut events = Vec::new();
    while let Some(event) = decoder.next() {
        let event: Value = serde_json::from_slice(event.unwrap()).unwrap();
        assert_eq!(names.next(), event["type"].as_str());
        events.push(event);
    }
    assert_eq!(names.next(), None);
    events
}

/// Folds events the way a client does, and checks their order on the way.
fn fold(events: &[Value]) -> Value {
    let mut events = events.iter();
    let start = events.next().unwrap();
    assert_eq!(start["type"], "message_start");
    let mut message = start["message"].clone();
    let mut inputs: Vec<String> = Vec::new();
    let mut open = false;
    loop {
        let event = events.next().unwrap();
        let content = message["content"].as_array_mut().unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert!(!open);
                assert_eq!(event["index"], content.len());
                content.push(event["content_block"].clone());
                inputs.push(String::new());
                open = true;
            }
            "content_block_delta" => {
                assert!(open);
                assert_eq!(event["index"], content.len() - 1);
                let delta = &event["delta"];
                let block = content.last_mut().unwrap();
                for (kind, field) in
                    [("text_delta", "text"), ("thinking_delta", "thinking"), ("signature_delta", "signature")]
                {
                    if delta["type"] == kind {
                        let text = block[field].as_str().unwrap().to_owned() + delta[field].as_str().unwrap();
                        block[field] = json!(text);
                    }
                }
                if delta["type"] == "input_json_delta" {
                    inputs.last_mut().unwrap().push_str(delta["partial_json"].as_str().unwrap());
                }
            }
            "content_block_stop" => {
                assert!(open);
                assert_eq!(event["index"], content.len() - 1);
                open = false;
            }
            "message_delta" => {
                assert!(!open);
                for (content, input) in content.iter_mut().zip(&inputs) {
                    if content["type"] == "tool_use" {
                        content["input"] = serde_json::from_str(input).unwrap();
                    }
                }
                for (field, value) in event["delta"].as_object().unwrap() {
                    message[field] = value.clone();
                }
                for (count, value) in event["usage"].as_object().unwrap() {
                    message["usage"][count] = value.clone();
                }
                assert_eq!(events.next().unwrap()["type"], "message_stop");
                assert_eq!(events.next(), None);
                return message;
            }
            other => panic!("unexpected event {other}"),
        }
    }
}
