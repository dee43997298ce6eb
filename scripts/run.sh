#!/usr/bin/env bash
# Tries the gateway without any account: builds it, starts the Cloud Code simulator and the gateway with the
# simulator's sample accounts, and prints how to point Claude Code at it. Ctrl-C ends both.
#
# PORT (default 8080) chooses the port. RELEASE=1 builds optimised (minutes instead of about one).
# Everything lives in .cache/run and starts empty each time.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-deps.sh run

profile=debug
build=(cargo build --features simulator)
if [ -n "${RELEASE:-}" ]; then
    profile=release
    build+=(--release)
fi
echo "building ($profile) ..."
"${build[@]}" --quiet
bin=${CARGO_TARGET_DIR:-target}/$profile

state=$PWD/.cache/run
rm -rf "$state"
mkdir -p "$state"
chmod 700 "$state"
echo '{}' >"$state/config.json"

pids=()
finish() {
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap finish EXIT
trap 'finish; exit 0' INT TERM

# give_up WHAT LOG: says what did not start and shows its last words.
give_up() {
    echo "$1 did not start:" >&2
    tail -n 20 "$2" >&2
    exit 1
}

"$bin/cloudcode-sim" --port 0 --scenario default --accounts 3 --write-accounts "$state/accounts.json" \
    >"$state/simulator.out" 2>"$state/simulator.log" &
simulator=$!
pids+=("$simulator")
base=
for _ in $(seq 100); do
    base=$(sed -n 's/.*"base_url" *: *"\([^"]*\)".*/\1/p' "$state/simulator.out" | head -n 1)
    [ -n "$base" ] && break
    kill -0 "$simulator" 2>/dev/null || give_up "the simulator" "$state/simulator.log"
    sleep 0.1
done
[ -n "$base" ] || give_up "the simulator" "$state/simulator.log"

export CONFIG_FILE=$state/config.json DATA_DIR=$state/data HOST=127.0.0.1 PORT=${PORT:-8080}
export CLOUDCODE_ENDPOINTS=$base OAUTH_TOKEN_URL=$base/token OAUTH_CLIENT_ID=sample OAUTH_CLIENT_SECRET=sample
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
unset API_KEY API_KEY_FILE
"$bin/antigravity-proxy" accounts import "$state/accounts.json"

"$bin/antigravity-proxy" serve 2>"$state/gateway.log" &
gateway=$!
pids+=("$gateway")
for _ in $(seq 100); do
    kill -0 "$gateway" 2>/dev/null || give_up "the gateway" "$state/gateway.log"
    "$bin/antigravity-proxy" healthcheck 2>/dev/null && break
    sleep 0.1
done
"$bin/antigravity-proxy" healthcheck || give_up "the gateway" "$state/gateway.log"
# Something else may answer on that port while the gateway has already given up.
kill -0 "$gateway" 2>/dev/null || give_up "the gateway" "$state/gateway.log"

cat <<TEXT

The gateway serves, with simulated accounts, on http://127.0.0.1:$PORT (log: .cache/run/gateway.log).
Point Claude Code at it, in another terminal:

  export ANTHROPIC_BASE_URL=http://127.0.0.1:$PORT
  export ANTHROPIC_AUTH_TOKEN=test

Ctrl-C ends it.
TEXT
wait -n "$gateway" "$simulator" || true
echo "a process ended; its last words:" >&2
tail -n 5 "$state/gateway.log" "$state/simulator.log" >&2
exit 1
