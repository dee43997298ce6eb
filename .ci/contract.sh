#!/usr/bin/env bash
# What a gateway owes Claude Code, and whether docs/contract.md says what was found.
. "$(dirname "$0")/lib.sh"
mkdir -p .cache
export REPORT="$PWD/.cache/contract.json"
check "contract" tests/contract/run.sh
check "docs/contract.md" .cache/venv/bin/python tests/contract/table.py --check docs/contract.md ours="$REPORT"
finish contract
