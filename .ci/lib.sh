# shellcheck shell=bash
# Sourced by every CI step: working directory, tools of .cache first in PATH, counting.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PATH="$PWD/.cache/venv/bin:$PWD/.cache/cargo/bin:$PATH"
passed=0
failed=0

# check NAME COMMAND...: runs the command and counts its outcome.
check() {
    local name=$1
    shift
    echo "== $name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "== FAILED: $name"
    fi
}

# finish STEP: the closing line; the exit code says whether all passed.
finish() {
    echo "$1: $passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

# rust_tests ARGUMENTS...: cargo nextest where it is, else cargo test.
rust_tests() {
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run --no-fail-fast "$@"
    else
        cargo test --no-fail-fast "$@"
    fi
}
