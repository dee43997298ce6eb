#!/usr/bin/env bash
# Builds the gateway as its next version might be: another version number, one script changed, harmlessly. Prints the
# program's path.
#
# The sources are a copy of what git tracks below target/other-version; the dependencies are those of this build,
# so that only the gateway itself is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
copy=$root/target/other-version
program=antigravity-proxy-other

rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --create | tar --extract --directory "$copy"
cd "$copy"

# Another text, so another digest; the same answers.
sed -i 's/^local function answer(.*$/-- As the next version has it.\nlocal next_version = true\n&/' src/store/scripts/admit.lua
cmp -s src/store/scripts/admit.lua "$root/src/store/scripts/admit.lua" && { echo "admit.lua is not changed" >&2; exit 1; }
version=$(sed -n '0,/^version = /s/^version = "\(.*\)"$/\1/p' Cargo.toml)
sed -i "0,/^version = /s/^version = .*/version = \"${version%.*}.$((${version##*.} + 1))\"/" Cargo.toml
# A name of its own, so that the program of this build is not overwritten.
sed -i "/^default-run/d; /^\[\[bin\]\]/,/^path/s/^name = \"antigravity-proxy\"/name = \"$program\"/" Cargo.toml

CARGO_TARGET_DIR=$target cargo build --quiet --offline --all-features --bin "$program" >&2
echo "$target/debug/$program"
