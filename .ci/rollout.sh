#!/usr/bin/env bash
# Rolling updates under load, behind an nginx, as the chart has a cluster do them.
. "$(dirname "$0")/lib.sh"
check "rollout" tests/rollout/run.sh
finish rollout
