#!/usr/bin/env bash
# Examines what Claude Code's gateways owe their client. `URL` and `KEY` name the gateway; without `URL` this one
# is built and examined in front of its simulator, and with `REFERENCE` (a directory where npm installed
# `antigravity-claude-proxy`) the Node.js program. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/venv/bin:$PATH"

if [ ! -x .cache/venv/bin/pytest ]; then
    echo "pytest is not installed: run \`make install-deps\` first" >&2
    exit 1
fi
if [ -z "${URL:-}" ]; then
    unset URL
    cargo build --quiet --all-features --bins
    export AGP_BIN_DIR=${CARGO_TARGET_DIR:-$PWD/target}/debug
fi
if [ -z "${KEY:-}" ]; then
    unset KEY
fi
# The closing line counts: "266 passed, 3 xfailed in 99.50s".
exec .cache/venv/bin/pytest -q -p no:cacheprovider --tb=short tests/contract "$@"
