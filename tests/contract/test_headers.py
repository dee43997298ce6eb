"""Headers of requests and answers."""

import gzip

import pytest

from duties import CLIENT, ERRORS, GATEWAY, HTTP, MESSAGES, PRACTICE, STREAMING, cases, must, should


@must("headers.content-type", MESSAGES, "a message is `application/json`")
def test_content_type(api):
    assert api.message().ok().headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    "send",
    cases(
        (must("headers.request-id", ERRORS, "an answer carries `request-id`"), lambda api: api.message()),
        (must("headers.request-id-stream", ERRORS, "a stream carries `request-id`"), lambda api: api.stream()),
        (must("headers.request-id-error", ERRORS, "an error carries `request-id`"), lambda api: api.message(messages=3)),
        (should("headers.request-id-count", ERRORS, "a token count carries `request-id`"), lambda api: api.count()),
        (
            should("headers.request-id-models", ERRORS, "the model list carries `request-id`"),
            lambda api: api.get("/v1/models"),
        ),
    ),
)
def test_request_id(api, send):
    assert send(api).headers.get("request-id")


@should("headers.request-id-unique", ERRORS, "no two answers share a `request-id`")
def test_request_ids_differ(api):
    assert len({api.get("/v1/models").headers.get("request-id") for _ in range(5)}) == 5


@should("headers.request-id-body", ERRORS, "an error's body carries the same id as `request_id`")
def test_the_body_has_the_id(api):
    answer = api.message(messages=3)
    assert answer.json["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    "headers",
    cases(
        (must("headers.beta", GATEWAY, "unknown `anthropic-beta` entries are accepted"), {"anthropic-beta": "new-2031-01-01"}),
        (should("headers.beta-none", MESSAGES, "`anthropic-beta` may be missing"), {"anthropic-beta": None}),
        (should("headers.version-none", PRACTICE, "`anthropic-version` may be missing"), {"anthropic-version": None}),
        (must("headers.open-list", GATEWAY, "unknown `anthropic-…` headers are accepted"), {"anthropic-something": "x"}),
        (
            must("headers.identity", GATEWAY, "the client's identity headers are accepted"),
            {
                "x-claude-code-agent-id": "7d0e",
                "x-claude-code-parent-agent-id": "5a1c",
                "x-claude-code-request-class": "subagent",
                "x-claude-code-agent-type": "Explore",
                "x-claude-code-compaction": "true",
            },
        ),
        (must("headers.charset", HTTP, "`content-type` may carry a charset"), {"content-type": "application/json; charset=utf-8"}),
        (must("headers.accept", HTTP, "`accept: text/event-stream` does not make it a stream"), {"accept": "text/event-stream"}),
        (should("headers.browser", MESSAGES, "a browser's header of consent is accepted"), {"anthropic-dangerous-direct-browser-access": "true"}),
    ),
)
def test_headers_of_requests(api, headers):
    assert api.message(options={"headers": headers}).ok().json["type"] == "message"


@must("headers.compression", CLIENT, "`accept-encoding: gzip, deflate, br, zstd` leads to a readable answer")
def test_compression(api):
    answer = api.message(options={"headers": {"accept-encoding": "gzip, deflate, br, zstd"}}).ok()
    coding = answer.headers.get("content-encoding", "identity")
    body = gzip.decompress(answer.body) if coding == "gzip" else answer.body
    assert coding in ("gzip", "identity") and b'"type":"message"' in body.replace(b" ", b"")


@must("headers.stream-plain", CLIENT, "a stream is not compressed, whatever the client accepts: compressors hold it back")
def test_streams_are_not_compressed(api):
    answer = api.stream(options={"headers": {"accept-encoding": "gzip, deflate, br, zstd"}}).ok()
    assert "content-encoding" not in answer.headers and answer.content[-1].name == "message_stop"


@should("headers.stream-uncached", STREAMING, "a stream is `cache-control: no-cache` or `no-store`")
def test_streams_are_not_cached(api):
    assert api.stream().ok().headers["cache-control"].startswith("no-")


@should("headers.stream-unbuffered", GATEWAY, "`x-accel-buffering: no` keeps proxies on the way from collecting a stream")
def test_streams_are_not_buffered(api):
    assert api.stream().ok().headers["x-accel-buffering"] == "no"
