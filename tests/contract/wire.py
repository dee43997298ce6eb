"""HTTP as a client sees it: nothing is repeated, nothing is repaired, every piece has its time."""

import base64
import http.client
import json
import time
import urllib.parse
from dataclasses import dataclass, field

HELLO = [{"role": "user", "content": "Say hello."}]
# What Claude Code sends along with every request, beside the credentials.
CLAUDE_CODE = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "user-agent": "claude-cli/2.1.330 (external, sdk-cli)",
    "x-app": "cli",
    "x-claude-code-session-id": "5f0c6a52-6f2f-4b52-9f0e-3d1f7f0d9a41",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600",
}
WEATHER = {
    "name": "get_weather",
    "description": "Current weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCB3UNq9AAAAABJRU5ErkJggg=="
PAGE = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").decode()


class NoAnswer(AssertionError):
    """Nothing, or not the whole answer, arrived in time."""


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def text(words):
    return {"type": "text", "text": words}


@dataclass
class Event:
    """One event of a stream, read as strictly as its grammar allows."""

    name: str
    data: dict


@dataclass
class Exchange:
    """An answer, whole or up to where it was broken off; times are seconds since the request was sent."""

    status: int
    headers: dict
    pieces: list = field(default_factory=list)
    took: float = 0.0
    complete: bool = True

    @property
    def body(self):
        return b"".join(piece for _, piece in self.pieces)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        found = []
        for frame in self.body.decode().replace("\r\n", "\n").split("\n\n"):
            lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
            if not lines:
                continue
            assert len(lines) == 2, f"an event of {len(lines)} lines"
            assert lines[0].startswith("event: ") and lines[1].startswith("data: "), lines
            found.append(Event(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))))
        return found

    @property
    def content(self):
        """The events without pings."""
        return [event for event in self.events if event.name != "ping"]

    def named(self, name):
        return [event.data for event in self.events if event.name == name]

    def deltas(self, kind):
        return [data["delta"] for data in self.named("content_block_delta") if data["delta"]["type"] == kind]

    @property
    def text(self):
        """The text of the answer, streamed or not."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return "".join(delta["text"] for delta in self.deltas("text_delta"))
        return "".join(block["text"] for block in self.json["content"] if block["type"] == "text")

    def ok(self):
        assert self.status == 200, f"{self.status}: {self.body[:300].decode(errors='replace')}"
        return self

    def error(self, *statuses):
        """The error object, after a look at its shape."""
        said = f"{self.status}: {self.body[:300].decode(errors='replace')}"
        assert self.status in statuses, said
        assert self.headers.get("content-type", "").startswith("application/json"), said
        answer = self.json
        assert answer["type"] == "error" and isinstance(answer["error"]["type"], str), said
        assert isinstance(answer["error"]["message"], str) and answer["error"]["message"], said
        return answer["error"]


class Client:
    """Sends requests to one base URL with one key."""

    def __init__(self, url, key, model, thinker):
        self.url = urllib.parse.urlsplit(url)
        self.key = key
        self.model = model
        self.thinker = thinker

    def credentials(self):
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    def connect(self, timeout):
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        return kind(self.url.hostname, self.url.port, timeout=timeout)

    def send(self, method, path, body=None, headers=None, *, credentials=None, timeout=60, stop=None, connection=None):
        """One exchange. `stop` is asked after every piece whether the client hangs up."""
        sent = dict(CLAUDE_CODE)
        if body is not None:
            sent["content-type"] = "application/json"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent |= self.credentials() if credentials is None else credentials
        sent |= headers or {}
        sent = {name: value for name, value in sent.items() if value is not None}
        own = connection is None
        connection = connection or self.connect(timeout)
        began = time.monotonic()
        try:
            connection.request(method, self.url.path.rstrip("/") + path, body, sent)
            return self.receive(connection, connection.getresponse(), began, timeout, stop)
        except (TimeoutError, ConnectionError, http.client.HTTPException) as failure:
            raise NoAnswer(f"{type(failure).__name__} after {time.monotonic() - began:.1f} s") from failure
        finally:
            if own:
                connection.close()

    @staticmethod
    def receive(connection, response, began, timeout, stop):
        headers = {name.lower(): value for name, value in response.getheaders()}
        exchange = Exchange(response.status, headers)
        try:
            while piece := response.read1(65536):
                now = time.monotonic() - began
                exchange.pieces.append((now, piece))
                if stop and stop(exchange):
                    exchange.complete = False
                    break
                if now > timeout:
                    raise NoAnswer(f"no end after {now:.1f} s")
            else:
                # Tells a short body from a whole one, and leaves the connection to the next request.
                response.read()
        except http.client.IncompleteRead:
            exchange.complete = False
        exchange.took = time.monotonic() - began
        return exchange

    def get(self, path, **options):
        return self.send("GET", path, **options)

    def request(self, **fields):
        """A request of a few words; fields that are `None` are left out."""
        body = {"model": self.model, "max_tokens": 1024, "messages": HELLO} | fields
        return {name: value for name, value in body.items() if value is not None}

    def message(self, *, options=None, **fields):
        return self.send("POST", "/v1/messages", self.request(**fields), **(options or {}))

    def stream(self, *, options=None, **fields):
        return self.message(stream=True, options=options, **fields)

    def count(self, *, options=None, **fields):
        body = self.request(**fields)
        body.pop("max_tokens")
        return self.send("POST", "/v1/messages/count_tokens", body, **(options or {}))
