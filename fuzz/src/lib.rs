//! What must hold for any input, one function per fuzz target. The targets call them with what the fuzzer makes up;
//! `tests/fuzz_corpus.rs` calls them with the files of `corpus/`, on a stable compiler.

use std::sync::Arc;
use std::time::Duration;

use antigravity_proxy::anthropic::request::MessagesRequest;
use antigravity_proxy::clock::Clock;
use antigravity_proxy::cloudcode::classify::{classify as classify_answer, classify_stream_error};
use antigravity_proxy::format::request::convert;
use antigravity_proxy::format::stream::{MessageIds, MessageSink, Sink, SseSink, StreamConverter};
use antigravity_proxy::format::{self, KnownSignatures, Options, ToolCache, signatures_wanted};
use antigravity_proxy::google::model::ModelId;
use antigravity_proxy::sse::Decoder;
use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::{Call, Reply, ScriptHost};
use antigravity_proxy::store::script::Script;
use futures_util::FutureExt as _;
use http::HeaderMap;
use serde_json::Value;

/// However a stream is cut into reads, the decoder delivers the same payloads, none longer than its bound.
///
/// Input: two bytes for bound and length of a read, then the stream.
pub fn sse_decoder(data: &[u8]) {
    let [bound, read, stream @ ..] = data else { return };
    let bound = 4 + usize::from(*bound) * 4;
    let read = 1 + usize::from(*read % 64);
    let decode = |read: usize| {
        let mut decoder = Decoder::new(bound);
        let mut events = Vec::new();
        let mut drain = |decoder: &mut Decoder| {
            while let Some(event) = decoder.next() {
                events.push(event.map(<[u8]>::to_vec));
            }
        };
        for bytes in stream.chunks(read) {
            decoder.push(bytes);
            drain(&mut decoder);
        }
        decoder.finish();
        drain(&mut decoder);
        events
    };
    let events = decode(read);
    assert!(events.iter().flatten().all(|event| event.len() <= bound), "a payload is longer than its bound");
    assert!(events.iter().rev().skip(1).all(Result::is_ok), "something followed an error");
    assert_eq!(events, decode(stream.len().max(1)), "the result depends on how the stream was read");
}

/// However an upstream's stream is cut into reads, the client gets the same events; they are in order, each is JSON, and
/// the answer of a client that does not stream is what they add up to.
///
/// Input: one byte for the length of a read, then the stream.
pub fn stream(data: &[u8]) {
    let [read, stream @ ..] = data else { return };
    let read = 1 + usize::from(*read % 64);
    let (mut events, mut at_once, mut message) = (SseSink::new(), SseSink::new(), MessageSink::new());
    let streamed = run_stream(stream, read, &mut events);
    assert_eq!(
        run_stream(stream, stream.len().max(1), &mut at_once),
        streamed,
        "the result depends on how it was read"
    );
    assert_eq!(run_stream(stream, read, &mut message), streamed, "the sinks disagree");
    let events = events.take();
    assert_eq!(at_once.take(), events, "the events depend on how the stream was read");

    let mut decoder = Decoder::new(usize::MAX);
    decoder.push(&events);
    let (mut texts, mut blocks, mut open, mut ended) = (String::new(), 0_u64, false, false);
    let mut first = true;
    while let Some(event) = decoder.next() {
        let event = event.expect("no bound was set");
        let event: Value = serde_json::from_slice(event).expect("an event is no JSON");
        let kind = event["type"].as_str().expect("an event has a type");
        assert_eq!(first, kind == "message_start", "a message starts once");
        assert!(!ended, "something followed the end");
        first = false;
        match kind {
            "content_block_start" => {
                assert!(!open && event["index"] == blocks, "{event} out of order");
                open = true;
            }
            "content_block_delta" => {
                assert!(open && event["index"] == blocks, "{event} out of order");
                texts.push_str(event["delta"]["text"].as_str().unwrap_or_default());
            }
            "content_block_stop" => {
                assert!(open && event["index"] == blocks, "{event} out of order");
                (open, blocks) = (false, blocks + 1);
            }
            "message_delta" => assert!(!open, "a block is open at the end"),
            "message_stop" => ended = true,
            _ => {}
        }
    }
    let message = message.into_body();
    assert_eq!((message.is_some(), streamed.0.is_none()), (ended, ended), "only a whole answer is one");
    if let Some(message) = message {
        let message: Value = serde_json::from_slice(&message).expect("the message is no JSON");
        let content = message["content"].as_array().expect("a message has content");
        let folded: String = content.iter().filter_map(|block| block["text"].as_str()).collect();
        assert_eq!(
            (content.len() as u64, folded),
            (blocks, texts),
            "the message is not what the events add up to"
        );
    }
}

/// How the stream failed, if it did, and what it taught and used.
fn run_stream(stream: &[u8], read: usize, out: &mut impl Sink) -> (Option<String>, String) {
    let mut decoder = Decoder::new(16 * 1024);
    let model = ModelId::new("gemini-3-flash");
    let mut converter = StreamConverter::new(model, Arc::new(()), MessageIds::new([7; 32]));
    let mut fault = None;
    let mut drain = |decoder: &mut Decoder, converter: &mut StreamConverter| {
        while let Some(event) = decoder.next() {
            let done = match event {
                Ok(payload) => converter.push(payload, out).map_err(|fault| fault.to_string()),
                Err(too_large) => Err(too_large.to_string()),
            };
            if let Err(error) = done {
                fault = Some(error);
                return false;
            }
        }
        true
    };
    let whole = stream.chunks(read).all(|bytes| {
        decoder.push(bytes);
        drain(&mut decoder, &mut converter)
    }) && {
        decoder.finish();
        drain(&mut decoder, &mut converter)
    };
    if whole {
        fault = converter.finish(out).err().map(|fault| fault.to_string());
    }
    (fault, format!("{:?} {:?}", converter.take_learned(), converter.usage()))
}

/// A body that is taken gives a valid upstream document for either family, the same one each time: turns alternate, and
/// the first and the last of them are the user's.
///
/// Input: a Messages request.
pub fn request_conversion(data: &[u8]) {
    let Ok(request) = MessagesRequest::parse(data) else { return };
    let _ = format::tokens::estimate(&request);
    let _ = request.conversation_key(None);
    let (known, options) = (KnownSignatures::new(), Options::default());
    for model in ["claude-opus-4-6-thinking", "gemini-3.1-pro-high"] {
        let model = ModelId::new(model);
        let _ = signatures_wanted(&request, &model);
        let run = |tools: &ToolCache| {
            let converted = convert(&request, &model, &known, &options, tools).ok()?;
            Some(converted.body.render("project", "session", "agent-0").concat())
        };
        let cache = ToolCache::new(1);
        let first = run(&cache);
        assert_eq!(first, run(&cache), "cached tools give other bytes");
        assert_eq!(first, run(&ToolCache::new(0)), "the conversion is not repeatable");
        if let Some(body) = first {
            let body: Value = serde_json::from_slice(&body).expect("the upstream body is no JSON");
            let turns = body["request"]["contents"].as_array().expect("contents are no list");
            let user = |turn: &Value| turn["role"] == "user";
            assert!(turns.first().is_some_and(user) && turns.last().is_some_and(user), "{turns:?}");
            assert!(turns.windows(2).all(|pair| user(&pair[0]) != user(&pair[1])), "roles do not alternate");
            assert!(turns.iter().all(|turn| turn["parts"].as_array().is_some_and(|parts| !parts.is_empty())));
        }
    }
}

/// A tool's schema becomes one of the upstream's subset, and converting that again changes nothing.
///
/// Input: a JSON schema.
pub fn schema(data: &[u8]) {
    let Ok(schema) = str::from_utf8(data) else { return };
    let convert = |schema: &str| String::from_utf8(format::schema::convert(schema)).expect("no UTF-8");
    let text = convert(schema);
    let once: Value = serde_json::from_str(&text).expect("no JSON");
    assert_eq!(once["type"], "OBJECT", "the root of {once} is no object");
    check_subset(&once);
    assert_eq!(text, convert(&text), "converting again changed something");
}

fn check_subset(schema: &Value) {
    const KEYS: [&str; 6] = ["type", "description", "properties", "required", "items", "enum"];
    let members = schema.as_object().expect("a schema is an object");
    assert!(members.keys().all(|key| KEYS.contains(&key.as_str())), "unknown keyword in {schema}");
    if let Some(Value::Object(properties)) = members.get("properties") {
        properties.values().for_each(check_subset);
    }
    if let Some(items) = members.get("items") {
        check_subset(items);
    }
}

/// Any answer has a class; the text kept of it and the wait it asks for are bounded.
///
/// Input: two bytes of status, then header lines and an empty line, or none, then the body.
pub fn classify(data: &[u8]) {
    const NOW_MS: i64 = 1_790_000_000_000;
    let [high, low, rest @ ..] = data else { return };
    let status = 300 + u16::from_be_bytes([*high, *low]) % 300;
    let (head, body) = match rest.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (&[][..], rest),
    };
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = http::HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = http::HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
    for failure in [
        classify_answer(status, &headers, body, NOW_MS),
        classify_answer(status, &HeaderMap::new(), rest, NOW_MS),
        classify_stream_error(body, NOW_MS),
    ] {
        assert!(failure.message.as_ref().is_none_or(|text| text.len() <= 2048));
        assert!(failure.status.is_some());
        let believed = Duration::from_millis(201)..=Duration::from_hours(8 * 24);
        assert!(failure.reset.is_none_or(|reset| believed.contains(&reset)), "{:?}", failure.reset);
    }
}

/// Runs each command of ARGV: the number of its words, then its words. Answers whatever it has to say as text, so
/// that nested replies and errors can be compared.
const COMMANDS: &str = "
local at, replies = 1, {}
while at <= #ARGV do
    local words = tonumber(ARGV[at])
    replies[#replies + 1] = { redis.pcall(unpack(ARGV, at + 1, at + words)) }
    at = at + words + 1
end
return replies";

static SCRIPT: Script = Script::periodic("commands", COMMANDS);

/// Whatever is called with whatever arguments, the store answers, goes on working, and does the same twice.
///
/// Input: commands as lines of words.
pub fn embedded_commands(data: &[u8]) {
    let lines: Vec<Vec<&[u8]>> = data
        .split(|byte| *byte == b'\n')
        .map(|line| line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).take(64).collect())
        .filter(|words: &Vec<_>| !words.is_empty())
        .take(256)
        .collect();
    let run = || {
        let host = EmbeddedHost::in_memory(Clock::manual(1_790_000_000_000), &[]).expect("a store opens");
        let mut call = Call::new(&SCRIPT);
        for words in &lines {
            call = words.iter().fold(call.arg(words.len()), |call, word| call.arg(*word));
        }
        let replies = eval(&host, call);
        let alive = ["SET", "fuzz-alive", "1"]
            .iter()
            .fold(Call::new(&SCRIPT).arg(3_usize), |call, word| call.arg(*word));
        assert!(matches!(eval(&host, alive), Reply::Array(_)), "the store is broken");
        (replies, host.dump().expect("a dump"))
    };
    assert_eq!(run(), run(), "the same commands had another effect");
}

fn eval(host: &EmbeddedHost, call: Call) -> Reply {
    let answer = host.eval(vec![call]).now_or_never().expect("a store in memory answers at once");
    answer.expect("the store answers").pop().expect("one reply per call")
}
