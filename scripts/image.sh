#!/usr/bin/env bash
# Builds the image and starts it as a cluster would: read-only, without capabilities, as its own user. Needs a docker engine.
#
# IMAGE (default antigravity-proxy:local) names it; PLATFORM (linux/amd64, linux/arm64) builds for another machine,
# emulated, and then does not start it.
set -euo pipefail
cd "$(dirname "$0")/.."
image=${IMAGE:-antigravity-proxy:local}

if ! docker info >/dev/null 2>&1; then
    echo "no docker engine answers: start one, or set DOCKER_HOST" >&2
    exit 1
fi

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
docker build ${PLATFORM:+--platform "$PLATFORM"} --tag "$image" \
    --build-arg VERSION="$version" \
    --build-arg REVISION="$(git rev-parse HEAD)" \
    --build-arg CREATED="$(git log -1 --format=%cI)" .
[ -z "${PLATFORM:-}" ] || exit 0

if docker run --rm --entrypoint /bin/sh "$image" -c true >/dev/null 2>&1; then
    echo "the image has a shell" >&2
    exit 1
fi
container=$(docker run --detach --read-only --cap-drop ALL --security-opt no-new-privileges \
    --tmpfs /var/lib/antigravity-proxy:uid=65532,gid=65532,mode=0700 --health-interval 1s "$image")
trap 'docker rm --force "$container" >/dev/null' EXIT

health=
for _ in $(seq 60); do
    health=$(docker inspect --format '{{.State.Health.Status}}' "$container")
    [ "$health" != starting ] && break
    sleep 1
done
if [ "$health" != healthy ]; then
    docker logs "$container" >&2
    echo "the container is $health" >&2
    exit 1
fi
docker exec "$container" antigravity-proxy config check >/dev/null
docker exec "$container" antigravity-proxy healthcheck --url http://127.0.0.1:8080
# As a preStop hook does it; an idle gateway may be gone before the command is told so.
docker exec "$container" antigravity-proxy drain || true
code=$(timeout 30 docker wait "$container")
[ "$code" = 0 ] || { echo "the gateway ended with $code" >&2; exit 1; }
docker image inspect --format "$image: {{.Size}} bytes" "$image"
