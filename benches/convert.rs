//! Micro-benches of what the gateway itself adds to a request: conversion both ways, the event decoder, and the
//! embedded store's scripts. `cargo bench --bench convert -- NAME` runs those whose name contains NAME.
#![expect(clippy::unwrap_used, reason = "a bench ends at the first thing that goes wrong")]

#[path = "gateway/bodies.rs"]
mod bodies;
#[path = "convert/store.rs"]
mod store;

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use antigravity_proxy::anthropic::request::MessagesRequest;
use antigravity_proxy::format::request::convert;
use antigravity_proxy::format::stream::{MessageIds, SseSink, StreamConverter};
use antigravity_proxy::format::{KnownSignatures, Options, ToolCache};
use antigravity_proxy::google::model::ModelId;
use antigravity_proxy::sse::Decoder;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

// What the gateway runs with.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MODEL: &str = "claude-sonnet-4-6";
/// One read of a busy connection.
const READ: usize = 16 * 1024;

/// A Claude Code turn behind a history of tool calls, about 2 MB.
fn long_conversation() -> String {
    let mut body = bodies::claude_code_turn(MODEL);
    let history = body["messages"].as_array_mut().unwrap();
    for n in 0..220 {
        let id = format!("toolu_long_{n}");
        history.push(json!({"role": "assistant", "content": [
            {"type": "text", "text": bodies::sentence(n, 300)},
            {"type": "tool_use", "id": id, "name": "Tool2", "input": {"path": format!("src/file_{n}.rs")}},
        ]}));
        history.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": bodies::sentence(n, 8_000)}]},
        ]}));
    }
    body.to_string()
}

/// Parse, convert, render: everything between the client's bytes and the upstream's.
fn request(c: &mut Criterion) {
    let turn = bodies::claude_code_turn(MODEL).to_string();
    let cases = [
        ("1 kB", bodies::small(MODEL).to_string(), 8),
        ("120 kB", turn.clone(), 8),
        ("120 kB, new tools", turn, 0),
        ("2 MB", long_conversation(), 8),
    ];
    let (model, known, options) = (ModelId::new(MODEL), KnownSignatures::new(), Options::default());
    let mut group = c.benchmark_group("request");
    for (name, body, cached_tools) in &cases {
        let tools = ToolCache::new(*cached_tools);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(*name, |b| {
            b.iter(|| {
                let request = MessagesRequest::parse(body.as_bytes()).unwrap();
                let converted = convert(&request, &model, &known, &options, &tools).unwrap();
                black_box(converted.body.render("project", "session", "agent-0"))
            });
        });
        group.bench_function(BenchmarkId::new("parse only", name), |b| {
            b.iter(|| black_box(MessagesRequest::parse(body.as_bytes()).unwrap().stream));
        });
    }
    group.finish();
}

/// An upstream answer of `chunks` events of 24 characters each.
fn answer(chunks: usize) -> Vec<u8> {
    let mut stream = String::new();
    for n in 0..chunks {
        let part = json!({"text": bodies::sentence(n, 24)});
        let mut chunk = json!({"response": {"candidates": [{"content": {"role": "model", "parts": [part]}}],
            "usageMetadata": {"promptTokenCount": 30_000, "candidatesTokenCount": n, "totalTokenCount": 30_000 + n}},
            "traceId": "0123456789abcdef"});
        if n + 1 == chunks {
            chunk["response"]["candidates"][0]["finishReason"] = json!("STOP");
        }
        // Writing to a string cannot fail.
        let _ = write!(stream, "data: {chunk}\r\n\r\n");
    }
    stream.into_bytes()
}

/// Upstream bytes in, client's bytes out.
fn stream(c: &mut Criterion) {
    let mut group = c.benchmark_group("stream");
    for chunks in [20, 2_000] {
        let bytes = answer(chunks);
        group.throughput(Throughput::Elements(chunks as u64));
        group.bench_function(BenchmarkId::new("decode and convert", chunks), |b| {
            b.iter(|| {
                let mut decoder = Decoder::new(1 << 20);
                let mut converter =
                    StreamConverter::new(ModelId::new(MODEL), Arc::new(()), MessageIds::new([7; 32]));
                let mut sink = SseSink::new();
                for read in bytes.chunks(READ) {
                    decoder.push(read);
                    while let Some(event) = decoder.next() {
                        converter.push(event.unwrap(), &mut sink).unwrap();
                    }
                    black_box(sink.take());
                }
                converter.finish(&mut sink).unwrap();
                black_box(sink.take())
            });
        });
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("decode only", chunks), |b| {
            b.iter(|| {
                let mut decoder = Decoder::new(1 << 20);
                let mut payload = 0;
                for read in bytes.chunks(READ) {
                    decoder.push(read);
                    while let Some(event) = decoder.next() {
                        payload += event.unwrap().len();
                    }
                }
                black_box(payload)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, request, stream, store::scripts, store::admission);
criterion_main!(benches);
