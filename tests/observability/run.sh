#!/usr/bin/env bash
# Alerts and dashboards: each alert on synthetic series, then all of them beside running replicas; the runbooks. Arguments
# go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/venv/bin:$PATH"

if [ ! -x .cache/venv/bin/pytest ]; then
    echo "pytest is not installed: run \`make install-deps\` first" >&2
    exit 1
fi
cargo build --quiet --all-features --bins
export AGP_BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/debug
# The closing line counts: "170 passed in 480.70s".
exec .cache/venv/bin/pytest -q -p no:cacheprovider tests/observability "$@"
