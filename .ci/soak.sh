#!/usr/bin/env bash
# The long runs, each with its seed: the properties of conversion over CASES (100,000) cases each, from SEED (this day,
# if not given); then every test marked #[ignore].
. "$(dirname "$0")/lib.sh"
seed=${SEED:-$(date +%Y%m%d)}
cases=${CASES:-100000}
long_runs() {
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run --all-features --run-ignored only --no-tests pass
    else
        cargo test --all-features -- --ignored
    fi
}
conversion() {
    echo "SEED=$seed CASES=$cases make soak tells it again"
    # Built for speed: so many cases take hours otherwise.
    PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 PROPTEST_RNG_SEED=$seed PROPTEST_CASES=$cases \
        cargo test --profile soak --all-features --lib -- format:: anthropic:: sse:: simulator::validate
}
check "properties of conversion, seed $seed" conversion
check "long runs" long_runs
finish soak
