"""The official Python client against the built gateway."""

import base64
import time

import anthropic
import pytest

from programs import CLAUDE, GEMINI, PLAIN

WEATHER = {
    "name": "get_weather",
    "description": "Current weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"anyOf": [{"enum": ["C", "F"]}, {"type": "null"}]}},
        "required": ["city"],
    },
}
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").decode()


@pytest.fixture
def client(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key="test-key", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", [PLAIN, CLAUDE, GEMINI])
def test_create(client, model):
    message = client.messages.create(
        model=model, max_tokens=2000, messages=[{"role": "user", "content": "Say hello to the gateway"}]
    )
    assert message.type == "message" and message.role == "assistant"
    assert message.stop_reason == "end_turn"
    assert any(block.type == "text" and block.text for block in message.content)
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


@pytest.mark.parametrize("model", [PLAIN, CLAUDE, GEMINI])
def test_stream_helper_gives_the_same_message_as_its_events(client, model):
    with client.messages.stream(
        model=model, max_tokens=2000, messages=[{"role": "user", "content": "Say hello in a stream"}]
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == "".join(block.text for block in final.content if block.type == "text") != ""
    assert final.stop_reason == "end_turn" and final.usage.output_tokens > 0


@pytest.mark.parametrize("model", [PLAIN, CLAUDE, GEMINI])
@pytest.mark.parametrize("streaming", [True, False])
def test_tool_loop(client, model, streaming):
    def turn(messages):
        arguments = dict(model=model, max_tokens=4000, tools=[WEATHER], messages=messages)
        if not streaming:
            return client.messages.create(**arguments)
        with client.messages.stream(**arguments) as stream:
            return stream.get_final_message()

    messages = [{"role": "user", "content": 'tool:get_weather {"city":"Oslo"}'}]
    first = turn(messages)
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert call.name == "get_weather" and call.input == {"city": "Oslo"}

    messages += [
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "7 degrees, rain"}]}
            ],
        },
    ]
    second = turn(messages)
    assert second.stop_reason == "end_turn"
    assert "7 degrees" in "".join(block.text for block in second.content if block.type == "text")


def test_thinking_is_returned_with_its_signature_and_taken_back(client):
    messages = [{"role": "user", "content": "think about prime numbers"}]
    arguments = dict(model=CLAUDE, max_tokens=8000, thinking={"type": "enabled", "budget_tokens": 2000})
    first = client.messages.create(messages=messages, **arguments)
    thought = next(block for block in first.content if block.type == "thinking")
    assert thought.thinking and len(thought.signature) >= 50
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "and now?"}]
    assert client.messages.create(messages=messages, **arguments).content


@pytest.mark.parametrize("model", [PLAIN, CLAUDE, GEMINI])
def test_images_and_documents(client, model, picture):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    message = client.messages.create(
        model=model,
        max_tokens=2000,
        messages=[{"role": "user", "content": [image, document, {"type": "text", "text": "What do you see?"}]}],
    )
    text = "".join(block.text for block in message.content if block.type == "text")
    assert "image/png" in text and "application/pdf" in text


def test_errors_are_the_clients_own_classes(client, gateway):
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(model=PLAIN, max_tokens=10, messages=[{"role": "user", "content": "x"}])
    with pytest.raises(anthropic.BadRequestError) as error:
        client.messages.create(model=PLAIN, max_tokens=10, messages=[{"role": "user", "content": 3}])
    assert "messages.0.content" in str(error.value)
    with pytest.raises(anthropic.BadRequestError) as error:
        client.messages.create(model="no-such-model", max_tokens=10, messages=[{"role": "user", "content": "x"}])
    assert "no-such-model" in str(error.value)
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("no-such-model")


def test_models_and_token_count(client):
    models = {model.id: model for model in client.models.list()}
    assert {CLAUDE, GEMINI, PLAIN} <= set(models) and models[CLAUDE].display_name
    count = client.messages.count_tokens(model=PLAIN, messages=[{"role": "user", "content": "How long is this?"}])
    assert 1 <= count.input_tokens <= 50


def test_aborting_a_stream_closes_the_upstream_connection(client, simulator):
    slow = {"delivery": {"mode": "paced", "interval_ms": 100, "chunk_chars": 10}}
    with simulator.fault({"text": "write 900 words slowly"}, slow):
        before = simulator.call("GET", "/sim/connections")["disconnects"]
        with client.messages.stream(
            model=PLAIN, max_tokens=8000, messages=[{"role": "user", "content": "write 900 words slowly"}]
        ) as stream:
            assert next(iter(stream.text_stream))
        aborted = time.monotonic()
        # Answers 408, which raises, when it is not seen in time.
        simulator.call("GET", f"/sim/wait?event=disconnect&at_least={before + 1}&timeout_ms=5000")
        assert time.monotonic() - aborted < 1.0


@pytest.mark.parametrize("model", [PLAIN, CLAUDE, GEMINI])
@pytest.mark.parametrize("streaming", [True, False])
def test_unusual_answers_do_not_confuse_the_client(client, simulator, model, streaming):
    parts = [
        {"text": "Here is a picture."},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"executableCode": {"language": "PYTHON", "code": "1 + 1"}},
    ]
    answer = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "RECITATION"}]}
    arguments = dict(model=model, max_tokens=4000, messages=[{"role": "user", "content": "something unusual"}])
    with simulator.fault({"text": "something unusual"}, {"chunks": [{"response": answer}]}):
        if streaming:
            with client.messages.stream(**arguments) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**arguments)
    assert [block.type for block in message.content] == ["text", "image", "text"]
    assert message.content[1].source == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert message.content[2].text == "\n```python\n1 + 1\n```\n"
    assert message.stop_reason == "refusal" and "RECITATION" in message.stop_details.explanation
