#!/usr/bin/env bash
# The built gateway against its OpenAPI document, with a bounded number of cases.
. "$(dirname "$0")/lib.sh"
check "answers are as described" tests/api/run.sh
finish api
