#!/usr/bin/env bash
# Tries the gateway without any account: builds it, starts the Cloud Code simulator and the gateway with the
# simulator's sample accounts, and prints how to point Claude Code at it. Ctrl-C ends both.
#
# PORT (default 8080; 0 takes a free one) chooses the port. RELEASE=1 builds optimised, which takes longer.
# Everything lives in .cache/run and starts empty each time.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-deps.sh run

profile=debug
build=(cargo build --all-features --bins)
if [ -n "${RELEASE:-}" ]; then
    profile=release
    build+=(--release)
fi
echo "building ($profile; minutes the first time) ..."
"${build[@]}"
bin=${CARGO_TARGET_DIR:-target}/$profile

state=$PWD/.cache/run
rm -rf "$state"
mkdir -p "$state"
chmod 700 "$state"

simulator=
gateway=
# shellcheck disable=SC2329 # the traps call it
finish() {
    trap - EXIT
    trap '' INT TERM
    # The gateway first, so that it can tell the simulator that its calls are over.
    for pid in $gateway $simulator; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}
trap finish EXIT
trap 'finish; exit 0' INT TERM

# give_up WHAT LOG: says what did not start and shows its last words.
give_up() {
    echo "$1 did not start:" >&2
    tail -n 20 "$2" >&2
    exit 1
}

# ready PID FILE FIELD: the field of the JSON line that the process prints to FILE when it serves.
ready() {
    local value
    for _ in $(seq 300); do
        # The file may not be there yet.
        value=$(sed -n "s/.*\"$3\":\"\([^\"]*\)\".*/\1/p" "$2" 2>/dev/null)
        if [ -n "$value" ]; then
            echo "$value"
            return
        fi
        kill -0 "$1" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

"$bin/cloudcode-sim" --accounts 3 --write-accounts "$state/accounts.json" \
    >"$state/simulator.out" 2>"$state/simulator.log" &
simulator=$!
base=$(ready "$simulator" "$state/simulator.out" baseUrl) || give_up "the simulator" "$state/simulator.log"

# Only these settings: nothing of the shell's, a real account or a proxy for example, gets in.
settings=(HOME="$state" PATH="$PATH" HOST=127.0.0.1 PORT="${PORT:-8080}" DATA_DIR="$state/data"
    CLOUDCODE_ENDPOINTS="$base" OAUTH_AUTH_URL="$base/auth" OAUTH_TOKEN_URL="$base/token"
    OAUTH_USERINFO_URL="$base/userinfo" OAUTH_CLIENT_ID=sample OAUTH_CLIENT_SECRET=sample)
env -i "${settings[@]}" "$bin/antigravity-proxy" accounts import "$state/accounts.json"

env -i "${settings[@]}" "$bin/antigravity-proxy" >"$state/gateway.out" 2>"$state/gateway.log" &
gateway=$!
url=$(ready "$gateway" "$state/gateway.out" url) || give_up "the gateway" "$state/gateway.log"

cat <<TEXT

The gateway serves simulated accounts on $url (log: .cache/run/gateway.log).
Point Claude Code at it, in another terminal:

  export ANTHROPIC_BASE_URL=$url
  export ANTHROPIC_AUTH_TOKEN=test

The models are simulated: ask one to run \`date\` and it uses the tool. Ctrl-C ends it.
TEXT
wait -n "$gateway" "$simulator" || true
echo "a process ended; the last words of both:" >&2
tail -n 5 "$state/gateway.log" "$state/simulator.log" >&2
exit 1
