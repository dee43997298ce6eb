//! Upstream bytes in, client's bytes out.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use serde_json::value::RawValue;

use crate::MODEL;
use crate::answer::{answer, convert, decode};

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
            b.iter(|| convert(&bytes, MODEL, |sent| _ = black_box(sent)));
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
