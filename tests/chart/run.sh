#!/usr/bin/env bash
# Renders the chart with each values file of its ci/ and checks what comes out; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/venv/bin:$PATH"

if [ ! -x .cache/venv/bin/pytest ] || [ ! -d tests/chart/node_modules ]; then
    scripts/install-deps.sh test
fi
# The settings that the chart writes are given to the program itself.
cargo build --quiet --all-features --bins
export AGP_BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/debug
# The closing line counts: "235 passed in 39.70s".
exec .cache/venv/bin/pytest -q -p no:cacheprovider tests/chart "$@"
