#!/usr/bin/env bash
# The two steps of the image's build, each a layer of the Dockerfile, and the compilation by itself:
#
#   image-build.sh dependencies   compiles what Cargo.lock names, with empty sources in place of ours
#   image-build.sh program OUT    compiles the program into OUT
#   image-build.sh measured       the same where the sources have always been these, for scripts/sizes.py
#
# CARGO_STEP (default `rustc --release`) lets the tests take a cheaper one.
set -euo pipefail

read -r -a step <<<"${CARGO_STEP:-rustc --release}"
linked=()
if [ "${step[0]}" = rustc ]; then
    # A twentieth of the room for what the loader reads and keeps; glibc >= 2.36 knows it.
    linked=(-- -C 'link-arg=-Wl,-z,pack-relative-relocs')
fi
compile() {
    cargo "${step[@]}" --locked --bin antigravity-proxy "${linked[@]}"
}

# skeleton: a file for each target that Cargo.toml names or Cargo would look for.
skeleton() {
    local target
    while read -r target; do
        mkdir -p "$(dirname "$target")"
        [ -e "$target" ] || echo 'fn main() {}' >"$target"
    done < <(
        printf '%s\n' src/main.rs src/lib.rs
        sed -n 's/^path = "\(.*\)"$/\1/p' Cargo.toml
        # A bench without a path is looked for under its name.
        awk '/^\[/ { bench = ($0 == "[[bench]]"); name = "" }
             bench && /^name = / { split($0, part, "\""); name = part[2] }
             bench && /^path = / { name = "" }
             bench && /^harness = / && name != "" { print "benches/" name ".rs" }' Cargo.toml
    )
}

case "${1:-}" in
dependencies)
    skeleton
    compile
    ;;
program)
    skeleton
    # Copied files keep their times: newer than what was compiled of the empty sources, so that Cargo sees a change.
    find src -name '*.rs' -exec touch {} +
    compile
    if [ -n "${2:-}" ]; then
        mkdir -p "$2"
        install -m 0755 "${CARGO_TARGET_DIR:-target}/release/antigravity-proxy" "$2/antigravity-proxy"
    fi
    ;;
measured)
    compile
    ;;
*)
    echo "usage: $0 dependencies | program [OUT] | measured" >&2
    exit 2
    ;;
esac
