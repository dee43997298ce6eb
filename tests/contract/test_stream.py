"""A stream's events, their order and their shapes."""

import pytest

from duties import GATEWAY, MESSAGES, PRACTICE, STREAMING, must, should
from wire import text, user

KNOWN = {
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    "ping", "error",
}  # fmt: skip


@pytest.fixture(scope="module")
def stream(api):
    return api.stream().ok()


@must("stream.content-type", STREAMING, "a stream is `text/event-stream`")
def test_content_type(stream):
    assert stream.headers["content-type"].split(";")[0] == "text/event-stream"


@must("stream.frames", STREAMING, "every event is an `event` line, one `data` line of JSON and an empty line")
def test_frames(stream):
    assert stream.events and stream.body.endswith(b"\n\n")


@must("stream.names", STREAMING, "an event's name is the `type` of its data")
def test_names(stream):
    assert all(event.name == event.data["type"] for event in stream.events)


@must("stream.known", STREAMING, "there are no events but the documented ones")
def test_known_events(stream):
    assert {event.name for event in stream.events} <= KNOWN


@must("stream.start", STREAMING, "`message_start` comes first, once")
def test_start(stream):
    assert stream.content[0].name == "message_start" and len(stream.named("message_start")) == 1


@must("stream.start-message", STREAMING, "`message_start` has a message: id, type, role, model")
def test_start_message(stream):
    message = stream.named("message_start")[0]["message"]
    assert message["id"].startswith("msg_") and message["model"]
    assert (message["type"], message["role"]) == ("message", "assistant")


@must("stream.start-empty", STREAMING, "… without content, stop reason or stop sequence yet")
def test_start_is_empty(stream):
    message = stream.named("message_start")[0]["message"]
    assert message["content"] == [] and message["stop_reason"] is None and message["stop_sequence"] is None


@must("stream.start-usage", STREAMING, "… with whole numbers in `usage`")
def test_start_usage(stream):
    usage = stream.named("message_start")[0]["message"]["usage"]
    assert type(usage["input_tokens"]) is int and type(usage["output_tokens"]) is int


@should("stream.start-input", GATEWAY, "… with the input tokens: the client's context meter reads them there")
def test_start_input(stream):
    usage = stream.named("message_start")[0]["message"]["usage"]
    assert usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0) > 0


@must("stream.indices", STREAMING, "blocks are numbered 0, 1, 2 …")
def test_indices(stream):
    starts = [data["index"] for data in stream.named("content_block_start")]
    assert starts == list(range(len(starts))) != []


@must("stream.nesting", STREAMING, "a block ends before the next begins; deltas belong to the open one")
def test_nesting(stream):
    check_nesting(stream)


def check_nesting(stream):
    inside = None
    for event in stream.content:
        if event.name == "content_block_start":
            assert inside is None
            inside = event.data["index"]
        elif event.name in ("content_block_delta", "content_block_stop"):
            assert event.data["index"] == inside is not None
            inside = None if event.name == "content_block_stop" else inside
        else:
            assert inside is None
    return True


@must("stream.text-start", STREAMING, "a text block begins empty")
def test_text_starts_empty(stream):
    starts = [data["content_block"] for data in stream.named("content_block_start")]
    assert {"type": "text", "text": ""}.items() <= next(one for one in starts if one["type"] == "text").items()


@must("stream.text", STREAMING, "text comes in `text_delta`s, none of them empty")
def test_text(stream):
    deltas = stream.deltas("text_delta")
    assert deltas and all(delta["text"] for delta in deltas)


@must("stream.message-delta", STREAMING, "`message_delta` comes once, after all blocks")
def test_message_delta(stream):
    names = [event.name for event in stream.content]
    assert names.count("message_delta") == 1 and names[-2:] == ["message_delta", "message_stop"]


@must("stream.stop-reason", STREAMING, "`message_delta` tells the stop reason")
def test_stop_reason(stream):
    delta = stream.named("message_delta")[0]["delta"]
    assert delta["stop_reason"] == "end_turn" and delta["stop_sequence"] is None


@must("stream.usage", STREAMING, "`message_delta` tells the output tokens of the whole answer")
def test_usage(stream):
    begun = stream.named("message_start")[0]["message"]["usage"]["output_tokens"]
    ended = stream.named("message_delta")[0]["usage"]["output_tokens"]
    assert type(ended) is int and ended > 0 and ended >= begun


@must("stream.stop", STREAMING, "`message_stop` is last, and the body ends after it")
def test_stop(stream):
    assert stream.content[-1].name == "message_stop" and stream.complete


@must("stream.no-done", STREAMING, "there is no `[DONE]`, which other APIs have")
def test_no_done(stream):
    assert b"[DONE]" not in stream.body


@must("stream.pure", STREAMING, "an answer that succeeds has no `error` event")
def test_no_error(stream):
    assert stream.named("error") == []


@must("stream.characters", MESSAGES, "no character is cut between two events")
def test_characters(api):
    said = "日本語のテキスト 👩‍💻👨‍👩‍👧 ñandú" * 8
    assert said in api.stream(messages=[user(text(f"reply with exactly: {said}"))]).ok().text


@should("stream.one-connection", PRACTICE, "a stream's connection serves the next request")
def test_the_connection_is_kept(api):
    connection = api.connect(30)
    try:
        api.send("POST", "/v1/messages", api.request(stream=True), connection=connection).ok()
        socket = connection.sock
        api.send("GET", "/v1/models", connection=connection).ok()
        assert socket is not None and connection.sock is socket
    finally:
        connection.close()
