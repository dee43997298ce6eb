#!/usr/bin/env bash
# Consoles in a real Chromium, on three replicas behind an nginx.
. "$(dirname "$0")/lib.sh"
check "console" tests/console/run.sh
finish console
