#!/usr/bin/env bash
# Programs of Debian packages, without installing them: nothing is started as a service, no port is taken, and the
# system stays as it is.
#
#   unpack-debian.sh FOLDER PACKAGE...   the packages, and what they need that the system lacks, below FOLDER
#
# Runs them with LD_LIBRARY_PATH=FOLDER/usr/lib/<machine>. Root, or sudo, is needed only where the lists of packages are
# missing or old.
set -euo pipefail
folder=$(realpath --canonicalize-missing "$1")
shift

if [ -f "$folder/.unpacked" ] && [ "$(cat "$folder/.unpacked")" = "$*" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "missing: $* (Debian's package names). This system has no apt-get: install them and try again." >&2
    exit 1
fi

# Those named also where the system has them, so that all is in one place.
fetch() {
    apt-get -qq -y -o Debug::NoLocking=1 -o Dir::Cache::archives="$folder/archives" \
        --download-only --reinstall --no-install-recommends install "$@"
}

rm -rf "$folder"
mkdir -p "$folder/archives/partial"
if ! fetch "$@" >/dev/null 2>&1; then
    sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    fetch "$@" >/dev/null
fi
for package in "$folder"/archives/*.deb; do
    dpkg-deb --extract "$package" "$folder"
done
rm -rf "$folder/archives"
echo "$*" >"$folder/.unpacked"
