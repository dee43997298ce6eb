#!/usr/bin/env bash
# The long runs: every test marked #[ignore], each with its own seed and length.
. "$(dirname "$0")/lib.sh"
long_runs() {
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run --all-features --run-ignored only --no-tests pass
    else
        cargo test --all-features -- --ignored
    fi
}
check "long runs" long_runs
finish soak
