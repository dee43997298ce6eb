#!/usr/bin/env bash
# Unit, property, snapshot, store and HTTP tests; benches and fuzz targets must compile.
. "$(dirname "$0")/lib.sh"
check "rust tests" rust_tests --all-features
check "fuzz targets" cargo check --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir target
check "doc tests" cargo test --quiet --doc --all-features
check "console library" npm --prefix web test --silent
finish test
