#!/usr/bin/env bash
# Runs each fuzz target for SECONDS_EACH (600) from its committed seeds, or only those named as arguments; stops at the
# first finding, which is left in fuzz/artifacts and belongs into fuzz/corpus with its mending. What else the fuzzer makes
# up stays below .cache/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.cache/cargo/bin:$PATH"
seconds=${SECONDS_EACH:-600}

command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root .cache/cargo cargo-fuzz@0.13.2
# The instrumentation is an unstable flag of a stable compiler. No `unsafe` code of ours, hence no sanitizer.
export RUSTC_BOOTSTRAP=1
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(ls fuzz/corpus)
for target in "${targets[@]}"; do
    made=.cache/fuzz/$target
    mkdir -p "$made"
    echo "== $target, $seconds s"
    cargo fuzz run --sanitizer none --target-dir target/fuzz "$target" "$made" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=4096 -max_len=16384 -print_final_stats=1 -verbosity=0
done
