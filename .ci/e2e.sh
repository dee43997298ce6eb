#!/usr/bin/env bash
# The built gateway with the official clients.
. "$(dirname "$0")/lib.sh"
check "end to end" tests/e2e/run.sh
finish e2e
