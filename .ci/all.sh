#!/usr/bin/env bash
# Every step in order; each can be run alone. Goes on after a failed step, so that one run shows everything.
. "$(dirname "$0")/lib.sh"
if ! .ci/install.sh; then
    echo "steps: 0 passed, 1 failed"
    exit 1
fi
for step in lint deny test generated e2e api contract chart rollout observability console; do
    check "$step" ".ci/$step.sh"
done
finish steps
