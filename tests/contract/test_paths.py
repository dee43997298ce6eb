"""Where a client knocks."""

import pytest

from duties import CLIENT, COUNTING, ERRORS, GATEWAY, HTTP, MESSAGES, MODELS, cases, must, should


@pytest.mark.parametrize(
    "query",
    cases(
        (must("paths.messages", MESSAGES, "`POST /v1/messages` answers"), ""),
        (must("paths.messages-beta", GATEWAY, "`?beta=true` makes no difference"), "?beta=true"),
        (must("paths.messages-query", GATEWAY, "unknown query parameters are ignored"), "?beta=true&new=1"),
        (should("paths.messages-slash", HTTP, "one trailing slash makes no difference"), "/"),
    ),
)
def test_messages(api, query):
    assert api.send("POST", "/v1/messages" + query, api.request()).ok().json["type"] == "message"


@pytest.mark.parametrize(
    "query",
    cases(
        (must("paths.count-tokens", COUNTING, "`POST /v1/messages/count_tokens` answers"), ""),
        (must("paths.count-tokens-beta", CLIENT, "… with `?beta=true` too"), "?beta=true"),
    ),
)
def test_count_tokens(api, query):
    body = api.request(max_tokens=None)
    assert api.send("POST", "/v1/messages/count_tokens" + query, body).ok().json["input_tokens"] > 0


@pytest.mark.parametrize(
    "query",
    cases(
        (must("paths.models", MODELS, "`GET /v1/models` answers"), ""),
        (must("paths.models-limit", GATEWAY, "`?limit=1000`, as the client asks, makes no difference"), "?limit=1000"),
    ),
)
def test_models(api, query):
    assert api.get("/v1/models" + query).ok().json["data"]


@pytest.mark.parametrize(
    "probe",
    cases(
        (must("paths.probe-root", CLIENT, "`HEAD /`, the client's first request, is answered 2xx"), ("HEAD", "/")),
        (must("paths.probe-hello", GATEWAY, "`HEAD /api/hello` is answered 2xx"), ("HEAD", "/api/hello")),
        (should("paths.hello", GATEWAY, "`GET /api/hello` is answered 2xx"), ("GET", "/api/hello")),
    ),
)
def test_probes_need_no_key(api, probe):
    assert api.send(*probe, credentials={}).status // 100 == 2


@should("paths.event-logging", CLIENT, "`POST /api/event_logging/batch` is swallowed with 2xx")
def test_events_are_swallowed(api):
    assert api.send("POST", "/api/event_logging/batch", {"events": []}).status // 100 == 2


@pytest.mark.parametrize(
    "target",
    cases(
        (must("paths.unknown", ERRORS, "an unknown path is 404 `not_found_error`"), ("GET", "/v1/nothing")),
        (
            must("paths.well-known", CLIENT, "`/.well-known/…` is a JSON 404, never a page: the client looks for OAuth"),
            ("GET", "/.well-known/oauth-authorization-server"),
        ),
        (must("paths.v1-root", ERRORS, "`GET /v1/` is a JSON error"), ("GET", "/v1/")),
    ),
)
def test_unknown_paths(api, target):
    assert api.send(*target).error(404)["type"] == "not_found_error"


@must("paths.method", HTTP, "a wrong method is a 404 or 405 in the errors' own shape")
def test_wrong_method(api):
    api.get("/v1/messages").error(404, 405)


@should("paths.method-allow", HTTP, "405 tells the methods that are there in `allow`")
def test_wrong_method_says_which(api):
    answer = api.get("/v1/messages")
    assert answer.status == 405 and "POST" in answer.headers["allow"]


@should("paths.unknown-query-hidden", ERRORS, "an error's text does not repeat the query, which may hold secrets")
def test_queries_are_not_repeated(api):
    assert b"hush-hush" not in api.get("/v1/nothing?key=hush-hush").body


@must("paths.keep-alive", HTTP, "a connection serves one request after the other")
def test_connections_are_kept(api):
    connection = api.connect(30)
    try:
        first = api.send("GET", "/v1/models", connection=connection).ok()
        socket = connection.sock
        second = api.send("POST", "/v1/messages", api.request(), connection=connection).ok()
        assert socket is not None and connection.sock is socket
        assert first.json["data"] and second.json["content"]
    finally:
        connection.close()


@should("paths.keep-alive-error", HTTP, "… after an error about the body too")
def test_connections_are_kept_after_an_error(api):
    connection = api.connect(30)
    try:
        api.send("POST", "/v1/messages", {"model": 1}, connection=connection).error(400)
        socket = connection.sock
        api.send("GET", "/v1/models", connection=connection).ok()
        assert socket is not None and connection.sock is socket
    finally:
        connection.close()
