#!/usr/bin/env bash
# Licences, sources and bans of dependencies. The advisory database is not asked: it needs the network.
. "$(dirname "$0")/lib.sh"
check "cargo deny" cargo deny --all-features check bans licenses sources
finish deny
