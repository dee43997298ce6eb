//! Replays the seeds of `fuzz/corpus` through the fuzz targets' own checks, on a stable compiler.
//!
//! A crash that fuzzing found stays found: its input goes into the corpus of its target.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, clippy::expect_used, reason = "the library of the fuzz targets")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Runs `target` over every file of its corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut seeds = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        let survived = catch_unwind(AssertUnwindSafe(|| target(&input))).is_ok();
        assert!(survived, "{} fails its target", path.display());
        // Inputs a step off the seeds: each cut short, and each with one byte changed.
        for at in (0..input.len()).step_by(1 + input.len() / 64) {
            let mut changed = input.clone();
            changed[at] ^= 0x15;
            for variant in [&input[..at], &changed] {
                let survived = catch_unwind(AssertUnwindSafe(|| target(variant))).is_ok();
                assert!(survived, "{} fails its target when changed at byte {at}", path.display());
            }
        }
        seeds += 1;
    }
    assert!(seeds >= 3, "{} holds too few seeds", directory.display());
}

#[test]
fn sse_decoder() {
    replay("sse_decoder", targets::sse_decoder);
}

#[test]
fn stream() {
    replay("stream", targets::stream);
}

#[test]
fn request_conversion() {
    replay("request_conversion", targets::request_conversion);
}

#[test]
fn schema() {
    replay("schema", targets::schema);
}

#[test]
fn classify() {
    replay("classify", targets::classify);
}

#[test]
fn embedded_commands() {
    replay("embedded_commands", targets::embedded_commands);
}
