#!/usr/bin/env bash
# Format, lints and documentation links.
. "$(dirname "$0")/lib.sh"
node_tools=tests/e2e/node_modules/.bin
mapfile -t pages < <(git ls-files 'public/*.html' 'public/*.css' 'public/*.js' 'public/i18n/*.json' 'web/*.js' ':!public/vendor' 'tests/e2e/*.mjs' 'tests/contract/*.mjs' 'tests/chart/*.mjs')
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)

check "format" cargo fmt --check
check "clippy" cargo clippy --all-targets --all-features -- -D warnings
check "rustdoc" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --all-features
check "format of pages" "$node_tools/prettier" --config tests/e2e/.prettierrc.json --check "${pages[@]}"
check "lints of pages" "$node_tools/eslint" -c tests/e2e/eslint.config.mjs --max-warnings 0 public web tests/e2e tests/contract tests/chart
check "types of the console" npm --prefix web run --silent check
check "vendored libraries" scripts/vendor.sh --check
check "shell syntax" bash -n "${scripts[@]}"
if command -v shellcheck >/dev/null; then
    check "shellcheck" shellcheck --exclude SC1091 "${scripts[@]}"
fi
finish lint
