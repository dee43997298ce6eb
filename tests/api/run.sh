#!/usr/bin/env bash
# Builds the gateway and the simulator and holds the gateway's answers against docs/openapi.json; `SEED` and `CASES_EACH`
# choose the cases. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/venv/bin:$PATH"

if [ ! -x .cache/venv/bin/schemathesis ]; then
    echo "schemathesis is not installed: run \`make install-deps\` first" >&2
    exit 1
fi
cargo build --quiet --all-features --bins
export AGP_BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/debug
# The closing line counts: "3 passed in 61.20s".
exec .cache/venv/bin/pytest -q -p no:cacheprovider -p no:schemathesis -rP tests/api "$@"
