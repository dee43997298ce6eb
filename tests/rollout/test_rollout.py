"""Rolling updates under load, and what makes them harmless, each by itself.

Three gateways share a real Redis behind a real nginx with the settings of the chart's Ingress; Google is simulated. They
are replaced by a build with another version and another script, one by one, as the chart has a cluster do it, and back.
"""

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path

import httpx2
import pytest
import yaml
from chart import BINARY, CHART, Release, over
from cluster import Deployment
from ingress import Nginx, kept
from load import MODEL, RULE, Load
from node import Node, process, until

OTHER = Path(os.environ["AGP_OTHER"])
STREAMS = int(os.environ.get("STREAMS", "50"))
SECONDS = float(os.environ.get("STREAM_SECONDS", "20"))
RATE = float(os.environ.get("RATE", "20"))
REPLICAS = 3
VALUES = {
    "replicaCount": REPLICAS,
    "ingress": {"enabled": True, "host": "claude.example.com", "tls": {"enabled": False}},
}


@pytest.fixture
def node(tmp_path):
    """Machine, Redis, accounts; an account serves four requests at once, as the chart's preset has it."""
    accounts = tmp_path / "accounts.json"
    simulator = [BINARY.parent / "cloudcode-sim", "--accounts", str(STREAMS), "--write-accounts", accounts]
    with process(simulator) as google:
        url = json.loads(google.stdout.readline())["baseUrl"]
        values = over(yaml.safe_load((CHART / "ci/readme-values.yaml").read_text()), VALUES)
        upstream = {"CLOUDCODE_ENDPOINTS": url, "OAUTH_TOKEN_URL": f"{url}/token"}
        node = Node(Release(values), tmp_path, upstream)
        node.google = url
        node.key = node.generated["api-key"].decode()
        assert httpx2.post(f"{url}/sim/faults", json=RULE, trust_env=False).status_code < 300
        with node.valkey():
            until("the store listens", (tmp_path / "redis.sock").exists)
            hook = node.release.one("Job", "-import")["spec"]["template"]["spec"]["containers"][0]
            imports = [arg.replace("/run/accounts", str(tmp_path)) for arg in hook["args"]]
            until("the accounts are imported", lambda: node.run(hook, "import", imports).returncode == 0)
            yield node


@contextlib.asynccontextmanager
async def cluster(node, **other):
    """Nginx with no endpoint yet, and a deployment without a pod; `other` replaces annotations of the Ingress."""
    async with Nginx(node.release.one("Ingress"), node.folder / "nginx", **other) as nginx:
        async with Deployment(node, nginx) as deployment:
            yield nginx, deployment


async def eventually(what, holds, within=60):
    end = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < end, f"not within {within} s: {what}"
        await asyncio.sleep(0.05)


async def upstream_calls(node):
    async with httpx2.AsyncClient(trust_env=False) as client:
        requests = (await client.get(f"{node.google}/sim/requests")).json()
    return [one for one in requests if "enerateContent" in one["path"]]


def question(words, **more):
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": words}], **more}


def client(node, nginx, **options):
    headers = {"x-api-key": node.key, "anthropic-version": "2023-06-01"}
    return httpx2.AsyncClient(base_url=nginx.url, headers=headers, trust_env=False, timeout=60, **options)


def versions(node, pod):
    """The versions of the replicas that are alive, as the console has them."""
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=f"{pod.env['DATA_DIR']}/control.sock")) as console:
        return set(console.get("http://gateway/api/replicas").json()["versions"])


def test_rolling_updates_break_no_stream_and_lose_no_request(node, capfd):
    async def rehearsal():
        async with cluster(node) as (nginx, deployment):
            await deployment.install(BINARY)
            old = deployment.pods[0].version
            mixed = []
            async with Load(nginx.url, node.key, STREAMS, SECONDS, RATE) as load:
                await eventually("every client streams", lambda: asyncio.sleep(0, load.open == STREAMS), SECONDS * 2)
                begun = time.monotonic()
                for program in (OTHER, BINARY):
                    rolling = asyncio.create_task(deployment.roll(program))
                    while not rolling.done():
                        mixed.append(await asyncio.to_thread(versions, node, deployment.pods[-1]))
                        await asyncio.sleep(0.02)
                    await rolling
                    # The way back begins when the last stream of the old ones is over.
                    await deployment.left()
                took = time.monotonic() - begun
            seen = load.seen
            with capfd.disabled():
                print(f"\n{took:.0f} s, 6 pods replaced; {seen}")
                for pod in deployment.gone:
                    print(f"{pod.name} {pod.version}: {pod.streams_at_signal} streams at SIGTERM, "
                          f"ended {pod.seconds_after_signal:.1f} s after it")  # fmt: skip
            await check(nginx, deployment, seen, old, mixed)

    async def check(nginx, deployment, seen, old, mixed):
        assert not seen.failures, "\n".join(seen.failures[:10])
        assert seen.streams >= STREAMS and seen.requests >= RATE * SECONDS
        assert [pod.version for pod in deployment.pods] == [old] * REPLICAS
        other = {pod.version for pod in deployment.gone} - {old}
        assert len(other) == 1, "the other build has another version"
        assert {old} | other in mixed, "both versions served at once"
        assert deployment.lowest >= REPLICAS, "never fewer pods than wanted"
        for pod in deployment.gone:
            assert (pod.process.returncode, pod.killed) == (0, False), pod.log.read_text()
            assert pod.seconds_after_signal < SECONDS + 10, "it waits for its streams and for nothing else"
        begun_before = [pod.streams_at_signal for pod in deployment.gone]
        assert min(begun_before) > 0 and sum(begun_before) >= STREAMS / 2, begun_before
        for pod in [*deployment.pods, *deployment.gone]:
            assert not pod.complaints()
        assert not nginx.complaints()
        # Every pod had its share, and those that left said so to nginx.
        log = nginx.log()
        assert {one["upstreams"].split(", ")[-1] for one in log} == {
            pod.address for pod in [*deployment.pods, *deployment.gone]
        }
        for pod in deployment.gone:
            assert any(one["connection"] == "close" for one in log if one["upstreams"] == pod.address)
        assert not any(one["connection"] for one in log if one["upstreams"] in {pod.address for pod in deployment.pods})
        async with httpx2.AsyncClient(trust_env=False) as google:
            assert (await google.get(f"{node.google}/sim/refusals")).json() == []

    asyncio.run(rehearsal())


def test_the_rehearsal_sees_what_breaks(node):
    """The same load where a pod does not get the time: so the clients would notice."""

    async def crash():
        async with cluster(node) as (nginx, deployment):
            await deployment.install(BINARY)
            async with Load(nginx.url, node.key, streams=12, seconds=6, rate=1) as load:
                await eventually("every client streams", lambda: asyncio.sleep(0, load.open == 12))
                victim = deployment.pods[0]
                # More than the one short request that may be among them.
                await eventually("the pod streams", lambda: streaming(victim))
                victim.kill()
                await victim.process.wait()
            return load.seen

    async def streaming(pod):
        return await pod.streams() >= 3

    seen = asyncio.run(crash())
    assert any(failure.startswith("stream-") for failure in seen.failures), str(seen)


def test_kept_connections_end_with_the_answer_that_says_so(node):
    """Nginx keeps its connections; those to a pod that leaves are given up before the pod closes them."""

    async def drain():
        async with cluster(node) as (nginx, deployment), client(node, nginx) as asking:
            pod = await deployment.create(BINARY)
            await eventually("nginx knows it", lambda: ok(asking))
            # More than one worker has a connection after some of them.
            for _ in range(20):
                assert await ok(asking)
            idle = kept(pod.address)
            for _ in range(20):
                assert await ok(asking)
            assert idle and kept(pod.address) == idle, "the same connections served all of them"

            leaving = asyncio.create_task(pod.delete())
            await eventually("it is draining", lambda: draining(pod))
            before = len(nginx.log())
            while not leaving.done() and kept(pod.address):
                assert await ok(asking)
                await asyncio.sleep(0.05)
            assert not leaving.done(), "none is left long before the pod goes"
            assert await ok(asking), "and it still serves"
            assert {one["connection"] for one in nginx.log()[before:]} == {"close"}
            await leaving
            assert pod.process.returncode == 0
            # An idle pod goes at once when its delay is over.
            assert pod.seconds_after_signal < 2

    async def ok(asking):
        return (await asking.get("/v1/models")).status_code == 200

    async def draining(pod):
        return (await pod.get("/readyz")).status_code == 503

    asyncio.run(drain())


def test_a_pod_that_is_gone_costs_no_request(node):
    """Requests to an endpoint that refuses connections go to another one, and only there."""

    async def gone():
        async with cluster(node) as (nginx, deployment), client(node, nginx) as asking:
            pods = [await deployment.create(BINARY) for _ in range(2)]
            dead = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            host, port = dead.sockets[0].getsockname()
            dead.close()
            await dead.wait_closed()
            await nginx.endpoints([f"{host}:{port}", *[pod.address for pod in pods]])
            await asyncio.sleep(1.1)
            # Also a body that nginx does not hold back.
            long = "x" * 400_000
            for number in range(12):
                words = f"reply with exactly: {number} {long if number % 2 else ''}"
                answer = await asking.post("/v1/messages", json=question(words))
                assert answer.status_code == 200, answer.text
            retried = [one["statuses"] for one in nginx.log() if ", " in one["upstreams"]]
            assert len(retried) >= 3 and set(retried) == {"502, 200"}, retried
            assert len(await upstream_calls(node)) == 12, "each was served once"

    asyncio.run(gone())


WHOLE = {"proxy-request-buffering": "on"}
REPEATING = WHOLE | {"proxy-next-upstream": "error timeout http_502 non_idempotent"}


@pytest.mark.parametrize("other", [{}, WHOLE, REPEATING], ids=["chart", "whole", "repeating"])
def test_a_request_that_may_have_been_served_is_not_repeated(node, other):
    """A pod that dies with a request in its hands: the client is told, nobody else gets the request, not even an nginx
    that holds all of it. Another policy than the chart's repeats it, so a repetition would be seen."""

    async def died():
        hands = []

        async def dying(reader, writer):
            hands.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        async with cluster(node, **other) as (nginx, deployment):
            pod = await deployment.create(BINARY)
            async with await asyncio.start_server(dying, "127.0.0.1", 0) as dead, client(node, nginx) as asking:
                host, port = dead.sockets[0].getsockname()
                await nginx.endpoints([f"{host}:{port}", pod.address])
                await asyncio.sleep(1.1)
                statuses = [
                    (await asking.post("/v1/messages", json=question(f"reply with exactly: {number}"))).status_code
                    for number in range(8)
                ]
            assert len(await upstream_calls(node)) == statuses.count(200) > 0
            repeated = [one for one in nginx.log() if ", " in one["upstreams"]]
            assert len(hands) == statuses.count(502) + len(repeated) > 0
            assert bool(repeated) == (other is REPEATING)

    asyncio.run(died())


def test_the_largest_body_gets_through_and_a_larger_one_is_refused(node):
    """32 MB, as clients send at most."""

    async def large():
        async with cluster(node) as (nginx, deployment), client(node, nginx) as asking:
            await deployment.create(BINARY)
            await eventually("nginx knows it", lambda: served(asking))
            answer = await asking.post("/v1/messages", json=question("x" * 32_000_000))
            assert answer.status_code == 200, answer.text
            assert len(await upstream_calls(node)) == 1
            answer = await asking.post("/v1/messages", content=b"[" * 60_000_000)
            assert answer.status_code == 413

    async def served(asking):
        return (await asking.get("/v1/models")).status_code == 200

    asyncio.run(large())
