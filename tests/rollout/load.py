"""Clients of the model API: long streams in flight all the time, and short requests at a fixed rate."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import time
from dataclasses import dataclass, field

import httpx2

# Of the simulator's answers to texts with the word: a piece at each beat, in seconds.
BEAT = float(os.environ.get("BEAT", "0.2"))
PIECE = 8
RULE = {
    "when": {"text": "slowly"},
    "then": {"delivery": {"mode": "paced", "interval_ms": int(BEAT * 1000), "chunk_chars": PIECE}},
}
MODEL = "claude-sonnet-4-5"


class Broken(Exception):
    """What a client got is not the whole answer."""


@dataclass
class Seen:
    """What the clients saw; times in seconds."""

    streams: int = 0
    requests: int = 0
    failures: list = field(default_factory=list)
    waits: list = field(default_factory=list)
    silences: list = field(default_factory=list)

    def percentile(self, values, percent):
        return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]

    def __str__(self):
        waits = " / ".join(f"{self.percentile(self.waits, percent) * 1000:.0f}" for percent in (50, 99, 100))
        return (
            f"{self.streams} streams, {self.requests} short requests, {len(self.failures)} failures; "
            f"short requests p50/p99/max {waits} ms; longest silence in a stream {max(self.silences, default=0):.1f} s"
        )


def text_of(name, length):
    """A text that no other answer has, not even as its beginning."""
    words = (f"{name}.{number}" for number in itertools.count())
    text = ""
    while len(text) < length:
        text = f"{text} {next(words)}" if text else next(words)
    return text


class Load:
    """Runs until the context ends; then every request may finish. `seen` is complete after that."""

    def __init__(self, url, key, streams, seconds, rate):
        self.url, self.streams, self.seconds, self.rate = url, streams, seconds, rate
        self.headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
        self.seen, self.open = Seen(), 0
        self.stopped = asyncio.Event()

    async def __aenter__(self):
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30)
        timeout = httpx2.Timeout(60, connect=10)
        # Nothing is tried twice: the first failure counts.
        self.client = httpx2.AsyncClient(
            base_url=self.url, headers=self.headers, limits=limits, timeout=timeout, trust_env=False
        )
        clients = [self.streaming(number) for number in range(self.streams)]
        self.tasks = [asyncio.create_task(client) for client in [*clients, self.asking()]]
        return self

    async def __aexit__(self, *_):
        self.stopped.set()
        await asyncio.gather(*self.tasks)
        await self.client.aclose()

    async def pause(self, seconds):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)

    async def streaming(self, number):
        """One stream after the other; the clients begin at times of their own, so that streams end at all times, and not
        in step with the other requests, which would send them all to the same endpoint."""
        await self.pause(random.Random(number).uniform(0, self.seconds))
        for turn in itertools.count():
            if self.stopped.is_set():
                return
            self.open += 1
            try:
                name = f"stream-{number}-{turn}"
                length = int(self.seconds / BEAT * PIECE)
                if await self.whole(name, self.stream(name, length, slowly=True)):
                    self.seen.streams += 1
            finally:
                self.open -= 1

    async def asking(self):
        """A request at each tick, however long the ones before take; every second one as a stream."""
        begun, asked = time.monotonic(), set()
        for number in itertools.count():
            await self.pause(begun + number / self.rate - time.monotonic())
            if self.stopped.is_set():
                break
            asked.add(task := asyncio.create_task(self.short(number)))
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)

    async def short(self, number):
        begun, name = time.monotonic(), f"short-{number}"
        ask = self.stream if number % 2 else self.message
        if await self.whole(name, ask(name, 64)):
            self.seen.requests += 1
            self.seen.waits.append(time.monotonic() - begun)

    async def whole(self, name, work):
        """Whether the answer came whole; whatever went wrong with it is a failure of that name."""
        begun = time.monotonic()
        try:
            await work
        except (httpx2.TransportError, Broken, ValueError, KeyError) as error:
            self.seen.failures.append(f"{name} after {time.monotonic() - begun:.2f} s: {error!r}")
            return False
        return True

    @contextlib.asynccontextmanager
    async def asked(self, name, text, **more):
        """The answer to a request, when it is 200."""
        body = {
            "model": MODEL, "max_tokens": 32000, "messages": [{"role": "user", "content": text}], **more
        }  # fmt: skip
        # A conversation of its own.
        headers = {"x-claude-code-session-id": name}
        async with self.client.stream("POST", "/v1/messages", json=body, headers=headers) as answer:
            if answer.status_code != 200:
                raise Broken(f"{answer.status_code} {(await answer.aread()).decode()[:300]}")
            yield answer

    async def message(self, name, length):
        expected = text_of(name, length)
        async with self.asked(name, f"reply with exactly: {expected}") as answer:
            content = json.loads(await answer.aread())["content"]
            if "".join(block.get("text", "") for block in content) != expected:
                raise Broken(f"another text: {content}")

    async def stream(self, name, length, slowly=False):
        expected = text_of(name, length)
        words = f"{'slowly ' if slowly else ''}reply with exactly: {expected}"
        async with self.asked(name, words, stream=True) as answer:
            last, events, parts = time.monotonic(), [], []
            async for line in answer.aiter_lines():
                if not line.startswith("data:"):
                    continue
                event = json.loads(line.removeprefix("data:"))
                now = time.monotonic()
                self.seen.silences.append(now - last)
                last = now
                if event["type"] == "error":
                    raise Broken(f"an error event: {line}")
                events.append(event["type"])
                parts.append(event.get("delta", {}).get("text", ""))
            if not events or (events[0], events[-1]) != ("message_start", "message_stop"):
                raise Broken(f"a broken stream: {len(events)} events, the last {events[-1:]}")
            if "".join(parts) != expected:
                raise Broken(f"another text: {''.join(parts)}")
