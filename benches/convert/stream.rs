//! Upstream bytes in, client's bytes out.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use antigravity_proxy::format::stream::{MessageIds, SseSink, StreamConverter};
use antigravity_proxy::google::model::ModelId;
use antigravity_proxy::sse::Decoder;
use criterion::{BenchmarkId, Criterion, Throughput};
use serde_json::json;
use serde_json::value::RawValue;

use crate::{MODEL, bodies};

/// One read of a busy connection.
const READ: usize = 16 * 1024;

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

/// Hands each event of `bytes` to `take`, read by read.
fn decode(bytes: &[u8], mut take: impl FnMut(&[u8]), mut read_done: impl FnMut()) {
    let mut decoder = Decoder::new(usize::MAX);
    for read in bytes.chunks(READ) {
        decoder.push(read);
        while let Some(event) = decoder.next() {
            take(event.unwrap());
        }
        read_done();
    }
}

/// Answers that stream as a busy model sends them.
pub(crate) fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("stream");
    for chunks in [20, 200, 2_000] {
        let bytes = answer(chunks);
        group.throughput(Throughput::Elements(chunks as u64));
        group.bench_function(BenchmarkId::new("split", chunks), |b| {
            b.iter(|| decode(&bytes, |event| _ = black_box(event.len()), || ()));
        });
        group.bench_function(BenchmarkId::new("decode", chunks), |b| {
            let scan = |event: &[u8]| _ = black_box(serde_json::from_slice::<&RawValue>(event).unwrap());
            b.iter(|| decode(&bytes, scan, || ()));
        });
        group.bench_function(BenchmarkId::new("convert", chunks), |b| {
            b.iter(|| {
                let mut converter =
                    StreamConverter::new(ModelId::new(MODEL), Arc::new(()), MessageIds::new([7; 32]));
                let sink = std::cell::RefCell::new(SseSink::new());
                decode(
                    &bytes,
                    |event| converter.push(event, &mut *sink.borrow_mut()).unwrap(),
                    || _ = black_box(sink.borrow_mut().take()),
                );
                converter.finish(&mut *sink.borrow_mut()).unwrap();
                black_box(sink.borrow_mut().take())
            });
        });
    }
    group.finish();
}

/// One long line in many reads, as an inline image comes.
pub(crate) fn lines(c: &mut Criterion) {
    let mut group = c.benchmark_group("line");
    for (name, length) in [("1 MB", 1_000_000), ("10 MB", 10_000_000)] {
        let bytes = [b"data: \"".as_slice(), &vec![b'A'; length], b"\"\n\n"].concat();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("split", name), |b| {
            b.iter(|| decode(&bytes, |event| _ = black_box(event.len()), || ()));
        });
    }
    group.finish();
}
