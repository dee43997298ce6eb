#!/usr/bin/env bash
# Consoles in a real Chromium, on three replicas behind an nginx; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/venv/bin:$PATH"

if [ ! -d tests/console/node_modules ] || [ ! -d web/node_modules ] || ! python -c 'import playwright' 2>/dev/null; then
    scripts/install-deps.sh test
fi
cargo build --quiet --all-features --bins
export AGP_BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/debug
# The closing line counts: "15 passed in 61.05s".
exec .cache/venv/bin/pytest -q -p no:cacheprovider tests/console "$@"
