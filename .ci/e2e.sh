#!/usr/bin/env bash
# The built gateway with the official clients.
. "$(dirname "$0")/lib.sh"
if [ -x tests/e2e/run.sh ]; then
    check "end to end" tests/e2e/run.sh
fi
finish e2e
