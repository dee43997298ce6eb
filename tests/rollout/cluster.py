"""What a cluster does with the chart's Deployment, as far as a rolling update needs it.

The times are the chart's own, none is shortened: probes, drain delay, grace. Two things are slower here than there, to be
on the safe side: a leaving pod is taken from the endpoints only when its readiness probe has failed often enough, not
already when it is deleted, and nginx looks at the list once a second.
"""

import asyncio
import contextlib
import json
import os
import re
import signal

import httpx2
from chart import environment

LEAVING = "antigravity-proxy"


class Pod:
    """A gateway as the kubelet runs it."""

    def __init__(self, node, name, program):
        self.node, self.name, self.program = node, name, program
        self.spec = node.release.pod
        self.container = node.release.gateway
        self.env = node.environment(self.container, name)
        self.ready = False
        self.killed = False
        self.streams_at_signal = None
        self.seconds_after_signal = None

    @property
    def log(self):
        return self.node.folder / f"{self.name}.log"

    async def start(self):
        """Returns when it says where it listens."""
        (self.node.folder / self.name).mkdir()
        with self.log.open("w") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.program, *self.container["args"], env=self.env, cwd=self.node.folder / self.name,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        assert line, self.log.read_text()
        told = json.loads(line)
        self.version, self.metrics_url = told["version"], told["metricsUrl"]
        self.address = told["url"].removeprefix("http://")

    async def get(self, path, timeout=5):
        async with httpx2.AsyncClient(trust_env=False, timeout=timeout) as client:
            return await client.get(self.metrics_url + path)

    async def passes(self, probe):
        try:
            answer = await self.get(probe["httpGet"]["path"], probe["timeoutSeconds"])
        except httpx2.TransportError:
            return False
        return 200 <= answer.status_code < 400

    async def probe(self, changed):
        """Probes as the kubelet does; `changed` is called when `ready` has changed."""
        startup, readiness = self.container["startupProbe"], self.container["readinessProbe"]
        failed = 0
        while not await self.passes(startup):
            failed += 1
            assert failed < startup["failureThreshold"], f"{self.name} does not start"
            await asyncio.sleep(startup["periodSeconds"])
        failed = 0
        while self.process.returncode is None:
            failed = 0 if await self.passes(readiness) else failed + 1
            ready = failed == 0 or (self.ready and failed < readiness["failureThreshold"])
            if ready != self.ready:
                self.ready = ready
                await changed()
            await asyncio.sleep(readiness["periodSeconds"])
        if self.ready:
            self.ready = False
            await changed()

    async def streams(self):
        """Answers that it is streaming."""
        text = (await self.get("/metrics")).text
        return int(re.search(r"^antigravity_proxy_streams_in_flight (\d+)", text, re.MULTILINE)[1])

    async def delete(self):
        """The hook, SIGTERM after it, and SIGKILL when the grace period, which the hook is part of, is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.spec["terminationGracePeriodSeconds"]
        program, *args = self.container["lifecycle"]["preStop"]["exec"]["command"]
        assert program == LEAVING
        hook = await asyncio.create_subprocess_exec(
            self.program, *args, env=self.env, cwd=self.node.folder / self.name,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        ended = [asyncio.ensure_future(hook.wait()), asyncio.ensure_future(self.process.wait())]
        await asyncio.wait(ended, timeout=end - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        if self.process.returncode is None:
            with contextlib.suppress(httpx2.TransportError):
                self.streams_at_signal = await self.streams()
            self.send(signal.SIGTERM)
        signalled = loop.time()
        try:
            await asyncio.wait_for(self.process.wait(), end - loop.time())
        except TimeoutError:
            self.killed = True
            self.send(signal.SIGKILL)
        await asyncio.gather(*ended)
        self.seconds_after_signal = loop.time() - signalled

    def kill(self):
        self.send(signal.SIGKILL)

    def send(self, number):
        """A signal; not by `terminate()`, which collects a process that has just ended before asyncio can, so that its
        exit code is lost."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def complaints(self):
        """What it logged of level WARN and above."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["level"] in ("WARN", "ERROR")]


class Deployment:
    """Pods behind an nginx, replaced as the chart's strategy says."""

    def __init__(self, node, nginx):
        self.node, self.nginx = node, nginx
        self.spec = node.release.one("Deployment")["spec"]
        self.pods, self.gone, self.leaving, self.probing = [], [], [], []
        self.lowest = None
        self.count = 0
        self.telling = asyncio.Lock()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for task in [*self.probing, *self.leaving]:
            task.cancel()
        await asyncio.gather(*self.probing, *self.leaving, return_exceptions=True)
        for pod in [*self.pods, *self.gone]:
            pod.kill()
            await pod.process.wait()

    async def endpoints(self):
        """Tells nginx who is ready; one list after the other, else an older one could come last and stay."""
        async with self.telling:
            ready = [pod.address for pod in [*self.pods, *self.gone] if pod.ready]
            if self.lowest is not None:
                self.lowest = min(self.lowest, len(ready))
            await self.nginx.endpoints(ready)

    async def create(self, program):
        """One more pod; returns when it is ready."""
        self.count += 1
        pod = Pod(self.node, f"pod-{self.count}", program)
        await pod.start()
        self.pods.append(pod)
        probing = asyncio.create_task(pod.probe(self.endpoints))
        self.probing.append(probing)
        while not pod.ready:
            assert pod.process.returncode is None, pod.log.read_text()
            if probing.done():
                probing.result()
            await asyncio.sleep(0.05)
        return pod

    async def install(self, program):
        await asyncio.gather(*[self.create(program) for _ in range(self.spec["replicas"])])
        self.lowest = len(self.pods)

    async def roll(self, program):
        """Replaces every pod; returns when all new ones are ready, while old ones may still finish their streams."""
        strategy = self.spec["strategy"]
        assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        for old in list(self.pods):
            await self.create(program)
            self.pods.remove(old)
            self.gone.append(old)
            self.leaving.append(asyncio.create_task(old.delete()))

    async def left(self):
        """Waits for the last old pod."""
        await asyncio.gather(*self.leaving)
