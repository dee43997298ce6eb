"""An answer in one piece."""

import pytest

from duties import CLIENT, MESSAGES, must, should
from wire import text, user


@pytest.fixture(scope="module")
def message(api):
    return api.message().ok().json


@must("message.type", MESSAGES, "`type` is `message`, `role` is `assistant`")
def test_type(message):
    assert (message["type"], message["role"]) == ("message", "assistant")


@must("message.id", MESSAGES, "`id` is a text that begins with `msg_`")
def test_id(message):
    assert message["id"].startswith("msg_")


@must("message.id-unique", MESSAGES, "no two answers share an id")
def test_ids_differ(api, message):
    assert api.message().ok().json["id"] != message["id"]


@must("message.model", MESSAGES, "`model` names a model")
def test_model(message):
    assert isinstance(message["model"], str) and message["model"]


@must("message.content", MESSAGES, "`content` is a list of blocks with a `type`, and says something")
def test_content(message):
    assert all(isinstance(block["type"], str) for block in message["content"])
    assert any(block["type"] == "text" and block["text"] for block in message["content"])


@must("message.stop-reason", MESSAGES, "`stop_reason` is `end_turn` when the model is done")
def test_stop_reason(message):
    assert message["stop_reason"] == "end_turn"


@must("message.stop-sequence", MESSAGES, "`stop_sequence` is there, and null")
def test_stop_sequence(message):
    assert message["stop_sequence"] is None


@must("message.usage", MESSAGES, "`usage` counts input and output as whole numbers above 0")
def test_usage(message):
    for name in ("input_tokens", "output_tokens"):
        assert type(message["usage"][name]) is int and message["usage"][name] > 0


@should("message.usage-cache", MESSAGES, "`usage` tells cached tokens as whole numbers")
def test_usage_of_the_cache(message):
    for name in ("cache_read_input_tokens", "cache_creation_input_tokens"):
        assert type(message["usage"][name]) is int


@must("message.whole", CLIENT, "a client that falls back from a stream gets the same text without it")
def test_the_same_with_and_without_a_stream(api):
    words = [user(text("reply with exactly: The quick brown fox."))]
    assert api.message(messages=words).ok().text.strip() == api.stream(messages=words).ok().text.strip()


@must("message.characters", MESSAGES, "text of any script and plane survives both ways")
def test_characters(api):
    said = "naïve Ελλάδα 漢字 👩‍💻 \\ \" <tag>"
    assert said in api.message(messages=[user(text(f"reply with exactly: {said}"))]).ok().text


@must("message.null-stream", MESSAGES, "`stream: false` gives one piece")
def test_stream_false(api):
    assert api.message(stream=False).ok().json["type"] == "message"
