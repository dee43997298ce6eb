#!/usr/bin/env bash
# Rolling updates behind an nginx, without a cluster; arguments go to pytest.
#
# STREAMS (50) long streams of STREAM_SECONDS (20), a piece every BEAT (0.2) seconds, and RATE (20) short requests per
# second.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/venv/bin:$PATH"

if [ ! -x .cache/venv/bin/pytest ] || [ ! -d .cache/debian/nginx ]; then
    scripts/install-deps.sh test
fi
cargo build --quiet --all-features --bins
export AGP_BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/debug
AGP_OTHER=$(scripts/other-version.sh)
export AGP_OTHER
# The closing line counts: "6 passed in 150.12s".
exec .cache/venv/bin/pytest -q -p no:cacheprovider tests/rollout "$@"
