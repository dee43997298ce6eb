#!/usr/bin/env bash
# Generated files are what the sources make.
. "$(dirname "$0")/lib.sh"
generated=(docs helm k8s web/types public)
unchanged() {
    local before after
    before=$(git diff HEAD -- "${generated[@]}" | sha256sum)
    make --no-print-directory generate || return 1
    after=$(git diff HEAD -- "${generated[@]}" | sha256sum)
    if [ "$before" != "$after" ]; then
        git --no-pager diff --stat -- "${generated[@]}"
        echo "generated files are out of date: run \`make generate\` and commit the result"
        return 1
    fi
}
check "generated files" unchanged
finish generated
