#!/usr/bin/env bash
# Alerts, dashboards and runbooks, with promtool and a Prometheus beside running replicas.
. "$(dirname "$0")/lib.sh"
check "observability" tests/observability/run.sh
finish observability
