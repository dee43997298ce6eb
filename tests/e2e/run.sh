#!/usr/bin/env bash
# Builds the gateway and the simulator and runs the official clients against them; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/venv/bin:$PATH"

if [ ! -x .cache/venv/bin/pytest ] || [ ! -d tests/e2e/node_modules ]; then
    echo "the clients are not installed: run \`make install-deps\` first" >&2
    exit 1
fi
cargo build --quiet --all-features --bins
export AGP_BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/debug
# The closing line counts: "34 passed in 39.70s".
exec .cache/venv/bin/pytest -q -p no:cacheprovider tests/e2e "$@"
