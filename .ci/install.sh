#!/usr/bin/env bash
# Installs what the tests need.
. "$(dirname "$0")/lib.sh"
check "install" scripts/install-deps.sh test
finish install
