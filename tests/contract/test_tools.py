"""Tool calls and their results."""

import json

import pytest

from duties import CLIENT, GATEWAY, TOOLS, cases, must, should
from test_stream import check_nesting
from wire import PIXEL, WEATHER, text, user

ASK = [user(text('Call the tool and say nothing else: tool:get_weather {"city": "Oslo"}'))]
BOTH = [user(text('Call both in parallel: tool:get_weather {"city": "Oslo"} tool:get_weather {"city": "Rome"}'))]


@pytest.fixture(scope="module")
def message(api):
    return api.message(messages=ASK, tools=[WEATHER]).ok().json


@pytest.fixture(scope="module")
def stream(api):
    return api.stream(messages=ASK, tools=[WEATHER]).ok()


def calls(message):
    return [block for block in message["content"] if block["type"] == "tool_use"]


@must("tools.stop-reason", TOOLS, "`stop_reason` is `tool_use`")
def test_stop_reason(message):
    assert message["stop_reason"] == "tool_use"


@must("tools.call", TOOLS, "a call has the tool's own name and an object as input")
def test_call(message):
    (call,) = calls(message)
    assert call["name"] == "get_weather" and call["input"] == {"city": "Oslo"}


@must("tools.id", TOOLS, "a call's id is made of `A–Z a–z 0–9 _ -` and begins with `toolu_`")
def test_id(message):
    (call,) = calls(message)
    assert call["id"].startswith("toolu_") and call["id"].replace("_", "").replace("-", "").isalnum()


@must("tools.stream-start", TOOLS, "in a stream a call begins with id, name and an empty input")
def test_stream_start(stream):
    (block,) = [
        data["content_block"]
        for data in stream.named("content_block_start")
        if data["content_block"]["type"] == "tool_use"
    ]
    assert block["name"] == "get_weather" and block["input"] == {} and block["id"]


@must("tools.stream-json", TOOLS, "the `input_json_delta`s of a call make one JSON object")
def test_stream_json(stream):
    joined = "".join(delta["partial_json"] for delta in stream.deltas("input_json_delta"))
    assert json.loads(joined) == {"city": "Oslo"}


@must("tools.stream-stop-reason", TOOLS, "a stream's stop reason is `tool_use` too")
def test_stream_stop_reason(stream):
    assert stream.named("message_delta")[0]["delta"]["stop_reason"] == "tool_use"


@must("tools.stream-nesting", TOOLS, "calls are blocks of their own, one after the other")
def test_stream_nesting(api, stream):
    assert check_nesting(stream)
    assert check_nesting(api.stream(messages=BOTH, tools=[WEATHER]).ok())


@must("tools.parallel", TOOLS, "several calls in one answer have ids of their own")
def test_parallel(api):
    both = calls(api.message(messages=BOTH, tools=[WEATHER]).ok().json)
    assert [call["input"]["city"] for call in both] == ["Oslo", "Rome"] and both[0]["id"] != both[1]["id"]


def results(message, *contents, **fields):
    """The history with a result for each call."""
    answers = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": content} | fields
        for call, content in zip(calls(message), contents, strict=True)
    ]
    return [*ASK, {"role": "assistant", "content": message["content"]}, user(*answers)]


@pytest.mark.parametrize(
    "given",
    cases(
        (must("tools.result-text", TOOLS, "a result as a text"), ("7 degrees", {})),
        (must("tools.result-blocks", TOOLS, "a result as blocks"), ([text("7 degrees")], {})),
        (
            must("tools.result-image", TOOLS, "a result with an image"),
            (
                [
                    text("7 degrees"),
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                ],
                {},
            ),
        ),
        (must("tools.result-error", TOOLS, "a result with `is_error`"), ("7 degrees of failure", {"is_error": True})),
        (
            must("tools.result-cached", CLIENT, "a result with `cache_control`"),
            ("7 degrees", {"cache_control": {"type": "ephemeral"}}),
        ),
    ),
)
def test_results(api, message, given):
    content, fields = given
    assert "7 degrees" in api.message(messages=results(message, content, **fields), tools=[WEATHER]).ok().text


@must("tools.result-empty", TOOLS, "an empty result is accepted")
def test_empty_result(api, message):
    api.message(messages=results(message, ""), tools=[WEATHER]).ok()


@must("tools.result-and-text", CLIENT, "a text after the results, as the client's reminders, is accepted")
def test_text_after_results(api, message):
    history = results(message, "7 degrees")
    history[-1]["content"].append(text("<system-reminder>Be brief.</system-reminder>"))
    api.message(messages=history, tools=[WEATHER]).ok()


@must("tools.interrupted", CLIENT, "a history with a call that was never answered does not end the conversation")
def test_interrupted_call(api, message):
    history = [*ASK, {"role": "assistant", "content": message["content"]}, user(text("Never mind. Say hello."))]
    api.message(messages=history, tools=[WEATHER]).ok()


def named(name):
    return WEATHER | {"name": name}


@pytest.mark.parametrize(
    "name",
    cases(
        (must("tools.name-mcp", CLIENT, "an MCP tool's name comes back as it was"), "mcp__file-system__read_file"),
        (must("tools.name-long", TOOLS, "a name of 128 characters comes back as it was"), "mcp__" + "long_" * 24 + "end"),
    ),
)
def test_names(api, name):
    words = [user(text(f'Call the tool and say nothing else: tool:{name} {{"city": "Oslo"}}'))]
    choice = {"type": "tool", "name": name}
    message = api.message(messages=words, tools=[named(name)], tool_choice=choice).ok().json
    found = calls(message)
    assert not found or [call["name"] for call in found] == [name]
    history = [
        *ASK,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": name, "input": {"city": "Oslo"}}]},
        user({"type": "tool_result", "tool_use_id": "toolu_1", "content": "7 degrees"}),
    ]
    api.message(messages=history, tools=[named(name)]).ok()


SCHEMAS = {
    "no-properties": {"type": "object"},
    "nullable": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
    "union": {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}},
    "reference": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/A"}}}},
    },
    "constraints": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "a": {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a", "format": "uri"},
            "b": {"type": "number", "exclusiveMinimum": 0, "maximum": 5, "default": 1},
            "c": {"type": "array", "items": {"const": "x"}, "maxItems": 4},
            "d": {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "string"}},
            "e": {"enum": [1, "two", None]},
        },
        "required": ["a", "e"],
    },
}


@pytest.mark.parametrize(
    "schema",
    cases(
        *(
            (must(f"tools.schema-{name}", TOOLS, f"a schema is accepted: {name.replace('-', ' ')}"), schema)
            for name, schema in SCHEMAS.items()
        )
    ),
)
def test_schemas(api, schema):
    api.message(tools=[WEATHER | {"input_schema": schema}]).ok()


@pytest.mark.parametrize(
    "choice",
    cases(
        *(
            (must(f"tools.choice-{choice['type']}", TOOLS, f"`tool_choice` `{choice['type']}` is accepted"), choice)
            for choice in (
                {"type": "auto"},
                {"type": "any"},
                {"type": "none"},
                {"type": "tool", "name": "get_weather"},
            )
        ),
        (
            must("tools.choice-single", TOOLS, "`disable_parallel_tool_use` is accepted"),
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
    ),
)
def test_choices(api, choice):
    api.message(tools=[WEATHER], tool_choice=choice).ok()


@pytest.mark.parametrize(
    "fields",
    cases(
        (must("tools.cached", CLIENT, "a tool with `cache_control`"), {"cache_control": {"type": "ephemeral"}}),
        (must("tools.deferred", GATEWAY, "a tool with `defer_loading`"), {"defer_loading": True}),
        (must("tools.strict", GATEWAY, "a tool with `strict`"), {"strict": True}),
        (must("tools.eager", TOOLS, "a tool with `eager_input_streaming`"), {"eager_input_streaming": True}),
        (must("tools.custom", TOOLS, "a tool with `type: custom`"), {"type": "custom"}),
    ),
)
def test_fields(api, fields):
    api.message(tools=[WEATHER | fields]).ok()


@should("tools.server", CLIENT, "a tool that only the original API runs does not end the conversation, or is refused by name")
def test_server_tools(api):
    answer = api.message(tools=[WEATHER, {"type": "web_search_20250305", "name": "web_search"}])
    assert answer.status == 200 or "tools.1" in answer.error(400)["message"]


@must("tools.many", CLIENT, "100 tools with descriptions of 1 kB each are accepted")
def test_many_tools(api):
    tools = [named(f"tool_{number}") | {"description": "word " * 200} for number in range(100)]
    api.message(tools=tools).ok()
