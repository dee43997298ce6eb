"""Thoughts, and their way through a conversation."""

import pytest

from duties import CLIENT, GATEWAY, THINKING, cases, must
from wire import WEATHER, text, user

QUESTION = [user(text("think about prime numbers"))]
ENABLED = {"type": "enabled", "budget_tokens": 2000}
# Long enough for a signature, and nobody's.
FOREIGN = "RXh0ZXJuYWxTaWduYXR1cmU" * 12


@pytest.fixture(scope="module")
def asked(api):
    return {"model": api.thinker, "max_tokens": 8000, "thinking": ENABLED}


@pytest.fixture(scope="module")
def message(api, asked):
    return api.message(messages=QUESTION, **asked).ok().json


@pytest.fixture(scope="module")
def stream(api, asked):
    return api.stream(messages=QUESTION, **asked).ok()


@must("thinking.block", THINKING, "an answer has its thoughts, with a signature, before its text")
def test_block(message):
    kinds = [block["type"] for block in message["content"]]
    assert kinds[0] == "thinking" and "text" in kinds
    assert message["content"][0]["thinking"] and message["content"][0]["signature"]


@must("thinking.stream-start", THINKING, "in a stream a thought begins empty")
def test_stream_start(stream):
    block = stream.named("content_block_start")[0]["content_block"]
    assert block["type"] == "thinking" and block["thinking"] == "" and not block.get("signature")


@must("thinking.stream-delta", THINKING, "thoughts come in `thinking_delta`s")
def test_stream_delta(stream):
    assert "".join(delta["thinking"] for delta in stream.deltas("thinking_delta"))


@must("thinking.stream-signature", THINKING, "one `signature_delta` ends the thought")
def test_stream_signature(stream):
    block = [event for event in stream.content if event.data.get("index") == 0]
    assert [event.name for event in block][-1] == "content_block_stop"
    kinds = [event.data["delta"]["type"] for event in block if event.name == "content_block_delta"]
    assert kinds[-1] == "signature_delta" and kinds.count("signature_delta") == 1
    assert block[-2].data["delta"]["signature"]


@must("thinking.replay", THINKING, "thoughts are taken back in the next turn")
def test_replay(api, asked, message):
    history = [*QUESTION, {"role": "assistant", "content": message["content"]}, user(text("And now?"))]
    assert api.message(messages=history, **asked).ok().text


@must("thinking.loop", THINKING, "thoughts go through a loop of tools")
def test_loop(api, asked):
    words = [user(text('Call the tool: tool:get_weather {"city": "Oslo"}'))]
    first = api.message(messages=words, tools=[WEATHER], **asked).ok().json
    call = next(block for block in first["content"] if block["type"] == "tool_use")
    result = user({"type": "tool_result", "tool_use_id": call["id"], "content": "7 degrees"})
    history = [*words, {"role": "assistant", "content": first["content"]}, result]
    assert "7 degrees" in api.message(messages=history, tools=[WEATHER], **asked).ok().text


def past(*blocks):
    return [*QUESTION, {"role": "assistant", "content": [*blocks, text("Done.")]}, user(text("Say hello."))]


@pytest.mark.parametrize(
    "history",
    cases(
        (
            must("thinking.foreign", GATEWAY, "a thought of another model, with its signature, does not end the conversation"),
            past({"type": "thinking", "thinking": "Hm.", "signature": FOREIGN}),
        ),
        (
            must("thinking.unsigned", CLIENT, "nor does one without a signature"),
            past({"type": "thinking", "thinking": "Hm.", "signature": ""}),
        ),
        (must("thinking.redacted", THINKING, "nor a redacted one"), past({"type": "redacted_thinking", "data": FOREIGN})),
        (must("thinking.dropped", CLIENT, "nor thoughts that the client has left out"), past()),
    ),
)
def test_histories(api, asked, history):
    assert api.message(messages=history, **asked).ok().text


@must("thinking.other-model", CLIENT, "another model goes on with a conversation that has thoughts")
def test_another_model(api, message):
    history = [*QUESTION, {"role": "assistant", "content": message["content"]}, user(text("Say hello."))]
    assert api.message(messages=history).ok().text


@pytest.mark.parametrize(
    "thinking",
    cases(
        (must("thinking.adaptive", CLIENT, "`adaptive`, without a beta"), {"type": "adaptive"}),
        (must("thinking.display", CLIENT, "`adaptive` with `display`"), {"type": "adaptive", "display": "omitted"}),
        (must("thinking.disabled", THINKING, "`disabled`"), {"type": "disabled"}),
        (must("thinking.large", CLIENT, "a budget of 31,999"), {"type": "enabled", "budget_tokens": 31999}),
    ),
)
def test_kinds(api, thinking):
    assert api.message(model=api.thinker, max_tokens=32000, thinking=thinking).ok().text
