#!/usr/bin/env bash
# Format, lints and documentation links.
. "$(dirname "$0")/lib.sh"
check "format" cargo fmt --check
check "clippy" cargo clippy --all-targets --all-features -- -D warnings
check "rustdoc" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --all-features
check "shell syntax" bash -n .ci/*.sh .ci/run scripts/*.sh
finish lint
