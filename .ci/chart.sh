#!/usr/bin/env bash
# The Helm chart, rendered and checked against Kubernetes' schemas; k8s/; Dockerfile, compose.yaml, systemd unit.
. "$(dirname "$0")/lib.sh"
check "chart" tests/chart/run.sh
finish chart
