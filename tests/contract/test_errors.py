"""What is wrong with a request, and how it is said."""

import pytest

from duties import ERRORS, GATEWAY, HTTP, MESSAGES, PRACTICE, cases, must, should
from wire import HELLO, text, user


@pytest.mark.parametrize(
    "body",
    cases(
        (must("errors.json", ERRORS, "a body that is not JSON: 400, never a page"), b"{"),
        (must("errors.empty", ERRORS, "an empty body: 400"), b""),
        (must("errors.list", ERRORS, "a body that is no object: 400"), b"[]"),
        (must("errors.utf8", ERRORS, "a body that is not UTF-8: 400"), b'{"model": "\xff"}'),
        (must("errors.deep", PRACTICE, "10,000 brackets: 400, and the server lives on"), b"[" * 10_000),
    ),
)
def test_bodies(api, body):
    assert api.send("POST", "/v1/messages", body).error(400)["type"] == "invalid_request_error"
    api.get("/v1/models").ok()


@pytest.mark.parametrize(
    "case",
    cases(
        (must("errors.no-model", MESSAGES, "`model` is missing"), ({"model": None}, "model")),
        (must("errors.model-type", MESSAGES, "`model` is a number"), ({"model": 5}, "model")),
        (must("errors.no-messages", MESSAGES, "`messages` is missing"), ({"messages": None}, "messages")),
        (must("errors.messages-empty", MESSAGES, "`messages` is empty"), ({"messages": []}, "messages")),
        (must("errors.messages-type", MESSAGES, "`messages` is a text"), ({"messages": "hi"}, "messages")),
        (must("errors.message-null", MESSAGES, "a message is null"), ({"messages": [None]}, "messages.0")),
        (must("errors.role", MESSAGES, "a role that there is not"), ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role")),
        (must("errors.content-type", MESSAGES, "`content` is a number"), ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content")),
        (must("errors.block-null", MESSAGES, "a block is null"), ({"messages": [user(None)]}, "messages.0.content.0")),
        (must("errors.max-tokens", MESSAGES, "`max_tokens` is negative"), ({"max_tokens": -1}, "max_tokens")),
        (must("errors.temperature", MESSAGES, "`temperature` is 3"), ({"temperature": 3}, "temperature")),
        (must("errors.tools", MESSAGES, "`tools` is a text"), ({"tools": "all"}, "tools")),
        (should("errors.tool-name", MESSAGES, "a tool without a name"), ({"tools": [{"input_schema": {"type": "object"}}]}, "tools.0")),
        (must("errors.tool-type", MESSAGES, "a tool is a number"), ({"tools": [5]}, "tools.0")),
        (must("errors.choice-type", MESSAGES, "`tool_choice` is a text"), ({"tool_choice": "auto"}, "tool_choice")),
        (must("errors.system", MESSAGES, "`system` is a number"), ({"system": 1}, "system")),
        (must("errors.stream", MESSAGES, "`stream` is a text"), ({"stream": "yes"}, "stream")),
        (must("errors.image", MESSAGES, "an image without a source"), ({"messages": [user({"type": "image"}, text("x"))]}, "messages.0.content.0")),
        (should("errors.choice", MESSAGES, "a `tool_choice` that there is not"), ({"tool_choice": {"type": "maybe"}}, "tool_choice")),
    ),
)  # fmt: skip
def test_fields(api, case):
    fields, path = case
    error = api.message(**fields).error(400)
    assert error["type"] == "invalid_request_error" and path in error["message"], error["message"]


@must("errors.unknown-model", ERRORS, "an unknown model is 400 or 404, and the error names it")
def test_unknown_model(api):
    error = api.message(model="no-such-model").error(400, 404)
    assert error["type"] in ("invalid_request_error", "not_found_error") and "no-such-model" in error["message"]


@must("errors.stream-status", ERRORS, "a bad request for a stream gets its status, not a stream")
def test_streams_fail_with_a_status(api):
    api.stream(messages=3).error(400)


@must("errors.no-echo", PRACTICE, "an error does not repeat the prompt")
def test_prompts_are_not_repeated(api):
    answer = api.message(messages=[user(text("hush-hush")), {"role": "king", "content": "hush-hush"}])
    answer.error(400)
    assert b"hush-hush" not in answer.body


@should("errors.content-type-header", HTTP, "another content type is refused with 400 or 415, as JSON")
def test_content_type(api):
    answer = api.send("POST", "/v1/messages", api.request(), headers={"content-type": "text/plain"})
    assert answer.status == 200 or answer.error(400, 415)


@must("errors.afterwards", GATEWAY, "after all that it answers as before")
def test_afterwards(api):
    assert api.message(messages=HELLO).ok().text
