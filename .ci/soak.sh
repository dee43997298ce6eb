#!/usr/bin/env bash
# The long runs, each with its seed: the properties of conversion over CASES (100,000) cases each, from SEED (this day,
# if not given); then every test marked #[ignore]; then rolling updates under 300 streams of two minutes, the operator's
# API against its description, CASES_EACH (150) random cases per operation and kind, at least 5,000 in all; the console
# with a large pool, how fast it is and whether it grows within CONSOLE_MINUTES (30), and what Lighthouse says of it; and
# what the program weighs.
. "$(dirname "$0")/lib.sh"
seed=${SEED:-$(date +%Y%m%d)}
cases=${CASES:-100000}
long_runs() {
    # Runs that are random of themselves take SEED, and OPERATIONS where it is given.
    export SEED=$seed
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
check "rolling updates, 300 streams of two minutes" \
    env STREAMS=300 STREAM_SECONDS=120 BEAT=0.5 tests/rollout/run.sh -k rolling
check "answers are as described, seed $seed" \
    env SEED="$seed" CASES_EACH="${CASES_EACH:-150}" CASES_LEAST=5000 tests/api/run.sh
python=.cache/venv/bin/python
export AGP_BIN_DIR=${AGP_BIN_DIR:-${CARGO_TARGET_DIR:-$PWD/target}/debug}
check "programs for the console" cargo build --quiet --all-features --bins
check "the console's answers to its user" "$python" tests/console/volume.py
check "the console's heap" "$python" tests/console/volume.py --soak "${CONSOLE_MINUTES:-30}"
check "the console by Lighthouse" "$python" tests/console/lighthouse.py
check "sizes" python3 scripts/sizes.py
finish soak
