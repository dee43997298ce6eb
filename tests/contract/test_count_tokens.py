"""Counting tokens."""

import concurrent.futures

import pytest

from duties import CLIENT, COUNTING, ERRORS, GATEWAY, PRACTICE, cases, must, should
from wire import HELLO, PIXEL, WEATHER, text, user


def count(api, **fields):
    return api.count(**fields).ok().json["input_tokens"]


@must("count.number", COUNTING, "`input_tokens` is a whole number above 0")
def test_number(api):
    number = count(api)
    assert type(number) is int and number > 0


@must("count.text", COUNTING, "more text, more tokens")
def test_text(api):
    assert count(api, messages=[user(text("Say hello. " * 100))]) > 10 * count(api)


@must("count.system", COUNTING, "the system prompt counts")
def test_system(api):
    assert count(api, system="Be as brief as you can. " * 20) >= count(api) + 50


@must("count.tools", COUNTING, "tools count")
def test_tools(api):
    assert count(api, tools=[WEATHER | {"description": "weather of a city " * 40}]) >= count(api) + 50


@should("count.image", COUNTING, "images count")
def test_image(api):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    assert count(api, messages=[user(text("Say hello."), image)]) > count(api, messages=[user(text("Say hello."))])


@must("count.stable", PRACTICE, "the same request has the same number")
def test_stable(api):
    assert count(api) == count(api)


@should("count.usage", COUNTING, "the number is within a quarter of what the answer's `usage` tells")
def test_usage(api):
    words = [user(text("The quick brown fox jumps over the lazy dog. " * 60 + "Say hello."))]
    usage = api.message(messages=words).ok().json["usage"]
    used = usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0)
    assert abs(count(api, messages=words) - used) <= used / 4


@must("count.many", CLIENT, "16 at once, as `/context` asks, are all answered")
def test_sixteen_at_once(api):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: api.count(messages=[user(text(f"word {n} " * n))]), range(1, 17)))
    assert [answer.status for answer in answers] == [200] * 16


@pytest.mark.parametrize(
    "fields",
    cases(
        (must("count.thinking", CLIENT, "`thinking` is accepted"), {"thinking": {"type": "adaptive"}}),
        (must("count.unknown", GATEWAY, "unknown fields are accepted"), {"new_field": 1}),
        (must("count.alias", CLIENT, "the client's names of models are known"), {"model": "claude-haiku-4-5-20251001"}),
        (
            must("count.history", CLIENT, "a history with calls and results is counted"),
            {
                "messages": [
                    *HELLO,
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}]},
                    user({"type": "tool_result", "tool_use_id": "toolu_1", "content": "7 degrees"}),
                ],
                "tools": [WEATHER],
            },
        ),
        (must("count.large", CLIENT, "1 MB is counted"), {"messages": [user(text("word " * 200_000))]}),
    ),
)
def test_requests(api, fields):
    assert count(api, **fields) > 0


@pytest.mark.parametrize(
    "fields",
    cases(
        (must("count.no-messages", ERRORS, "without `messages`: 400"), {"messages": None}),
        (must("count.bad-messages", ERRORS, "`messages` of a wrong type: 400"), {"messages": 3}),
    ),
)
def test_bad_requests(api, fields):
    assert api.count(**fields).error(400)["type"] == "invalid_request_error"


@must("count.free", COUNTING, "counting generates nothing")
def test_counting_generates_nothing(api, laboratory):
    before = laboratory.simulator.last_request()
    assert count(api, messages=[user(text("Count me, and nothing else."))]) > 0
    assert laboratory.simulator.requests("enerateContent", before) == []
