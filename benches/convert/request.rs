//! Parse, convert, render: everything between the client's bytes and the upstream's.

use std::hint::black_box;

use antigravity_proxy::anthropic::request::MessagesRequest;
use antigravity_proxy::format::request::convert;
use antigravity_proxy::format::{KnownSignatures, Options, ToolCache};
use antigravity_proxy::google::model::ModelId;
use criterion::{BenchmarkId, Criterion, Throughput};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::{MODEL, bodies};

/// A Claude Code turn behind a history of `turns` tool calls of about 8.5 kB.
fn conversation(turns: usize) -> String {
    let mut body = bodies::claude_code_turn(MODEL);
    let history = body["messages"].as_array_mut().unwrap();
    for n in 0..turns {
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

/// The whole way of a request, with tools that are known and tools that are new.
pub(crate) fn conversion(c: &mut Criterion) {
    let cases = [
        ("1 kB", bodies::small(MODEL).to_string()),
        ("120 kB", conversation(0)),
        ("1.2 MB", conversation(124)),
        ("2 MB", conversation(220)),
    ];
    let (model, known, options) = (ModelId::new(MODEL), KnownSignatures::new(), Options::default());
    let whole = |body: &str, tools: &ToolCache| {
        let request = MessagesRequest::parse_with(body.as_bytes(), tools).unwrap();
        let converted = convert(&request, &model, &known, &options, tools).unwrap();
        black_box(converted.body.render("project", "session", "agent-0"));
    };
    let mut group = c.benchmark_group("request");
    for (name, body) in &cases {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("scan", name), |b| {
            b.iter(|| black_box(serde_json::from_str::<&RawValue>(body).unwrap().get().len()));
        });
        group.bench_function(BenchmarkId::new("parse and print", name), |b| {
            b.iter(|| black_box(serde_json::to_vec(&serde_json::from_str::<Value>(body).unwrap()).unwrap()));
        });
        group.bench_function(BenchmarkId::new("parse only", name), |b| {
            b.iter(|| black_box(MessagesRequest::parse(body.as_bytes()).unwrap().stream));
        });
        let (cached, uncached) = (ToolCache::new(8), ToolCache::new(0));
        group.bench_function(BenchmarkId::new("convert", name), |b| b.iter(|| whole(body, &cached)));
        group.bench_function(BenchmarkId::new("convert, new tools", name), |b| {
            b.iter(|| whole(body, &uncached));
        });
    }
    group.finish();
}

/// Tool declarations alone, never seen before.
pub(crate) fn tools(c: &mut Criterion) {
    let (model, known, options) = (ModelId::new(MODEL), KnownSignatures::new(), Options::default());
    let uncached = ToolCache::new(0);
    let mut group = c.benchmark_group("tools");
    for times in [1, 10] {
        let once = bodies::claude_code_turn(MODEL)["tools"].as_array().unwrap().clone();
        let tools: Vec<Value> = (0..times)
            .flat_map(|round| {
                once.iter().cloned().map(move |mut tool| {
                    tool["name"] = json!(format!("{}_{round}", tool["name"].as_str().unwrap()));
                    tool
                })
            })
            .collect();
        let (count, list) = (tools.len(), json!(tools).to_string());
        let body = format!(r#"{{"messages":[{{"role":"user","content":"q"}}],"tools":{list}}}"#);
        let request = MessagesRequest::parse(body.as_bytes()).unwrap();
        group.throughput(Throughput::Bytes(list.len() as u64));
        group.bench_function(BenchmarkId::new("parse", count), |b| {
            b.iter(|| black_box(serde_json::from_str::<Value>(&list).unwrap()));
        });
        group.bench_function(BenchmarkId::new("convert", count), |b| {
            b.iter(|| black_box(convert(&request, &model, &known, &options, &uncached).unwrap()));
        });
    }
    group.finish();
}
