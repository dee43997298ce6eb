//! Micro-benches of what the gateway itself adds to a request: conversion both ways, tool schemas, the event decoder,
//! and the embedded store's scripts, each beside a baseline of the same run. `cargo bench --bench convert -- NAME` runs
//! those whose name contains NAME; a table of ratios follows.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first thing that goes wrong"
)]

#[path = "convert/answer.rs"]
mod answer;
#[path = "gateway/bodies.rs"]
#[expect(dead_code, reason = "shared with the bench of the gateway")]
mod bodies;
#[path = "convert/ratios.rs"]
mod ratios;
#[path = "convert/request.rs"]
mod request;
#[path = "convert/store.rs"]
mod store;
#[path = "convert/stream.rs"]
mod stream;

use std::path::Path;

use criterion::Criterion;

// What the gateway runs with.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MODEL: &str = "claude-sonnet-4-6";

fn main() {
    let results = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let begun = ratios::Begun::now(&results);
    let mut criterion = Criterion::default().output_directory(&results).configure_from_args();
    request::conversion(&mut criterion);
    request::tools(&mut criterion);
    stream::answers(&mut criterion);
    stream::lines(&mut criterion);
    store::scripts(&mut criterion);
    store::admission(&mut criterion);
    criterion.final_summary();
    begun.print();
}
