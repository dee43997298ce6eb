"""What a request may hold."""

import pytest

from duties import CLIENT, GATEWAY, MESSAGES, PRACTICE, cases, must, should
from wire import HELLO, PAGE, PIXEL, text, user

EPHEMERAL = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
BILLING = text("x-anthropic-billing-header: cc_version=2.1.330.1; cc_entrypoint=sdk-cli;")
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PAGE}}
PLAIN_DOCUMENT = {
    "type": "document",
    "title": "Notes",
    "citations": {"enabled": True},
    "source": {"type": "text", "media_type": "text/plain", "data": "The sky is blue."},
}
IDENTITY = '{"device_id":"d0","account_uuid":"","session_id":"5f0c6a52-6f2f-4b52-9f0e-3d1f7f0d9a41"}'
EDITS = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}


@pytest.mark.parametrize(
    "fields",
    cases(
        (must("fields.system-text", MESSAGES, "`system` as a text"), {"system": "Be brief."}),
        (must("fields.system-blocks", MESSAGES, "`system` as blocks with `cache_control`"), {"system": [text("Be brief.") | EPHEMERAL]}),
        (must("fields.billing", GATEWAY, "an attribution line as the first block of `system`"), {"system": [BILLING, text("Be brief.")]}),
        (must("fields.metadata", CLIENT, "`metadata.user_id` with JSON inside"), {"metadata": {"user_id": IDENTITY}}),
        (must("fields.effort", CLIENT, "`output_config.effort`"), {"output_config": {"effort": "high"}}),
        (must("fields.context-management", CLIENT, "`context_management`"), {"context_management": EDITS}),
        (must("fields.stop-sequences", MESSAGES, "`stop_sequences`"), {"stop_sequences": ["\n\nHuman:"]}),
        (must("fields.temperature", MESSAGES, "`temperature`"), {"temperature": 0.5}),
        (must("fields.top", MESSAGES, "`top_p` and `top_k`"), {"top_p": 0.95, "top_k": 40}),
        (must("fields.service-tier", MESSAGES, "`service_tier`"), {"service_tier": "auto"}),
        (must("fields.unknown", GATEWAY, "fields that nobody knows yet"), {"new_field": {"a": [1]}}),
        (must("fields.max-tokens", CLIENT, "`max_tokens` of 64,000"), {"max_tokens": 64000}),
        (must("fields.tools-empty", MESSAGES, "an empty list of tools"), {"tools": []}),
        (should("fields.null", PRACTICE, "null for a field that may be missing"), {"system": None, "temperature": None, "tools": None}),
        (must("fields.format", MESSAGES, "`output_config.format` with a schema"), {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}}}}),
    ),
)  # fmt: skip
def test_fields(api, fields):
    body = api.request() | fields
    assert api.send("POST", "/v1/messages", body).ok().json["content"]


@pytest.mark.parametrize(
    "messages",
    cases(
        (must("fields.content-text", MESSAGES, "`content` as a text"), HELLO),
        (must("fields.content-blocks", MESSAGES, "`content` as blocks with `cache_control`"), [user(text("Say"), text("hello.") | EPHEMERAL)]),
        (must("fields.image", MESSAGES, "an image"), [user(IMAGE, text("What is it?"))]),
        (must("fields.pdf", MESSAGES, "a PDF"), [user(PDF, text("What is it?"))]),
        (must("fields.document", MESSAGES, "a document of plain text"), [user(PLAIN_DOCUMENT, text("What is it?"))]),
        (must("fields.twice", MESSAGES, "two turns of the user in a row"), [*HELLO, *HELLO]),
        (must("fields.prefill", MESSAGES, "a beginning of the answer"), [*HELLO, {"role": "assistant", "content": "Hel"}]),
        (must("fields.system-role", CLIENT, "the role `system` in the middle"), [*HELLO, {"role": "assistant", "content": "Hello."}, {"role": "system", "content": "Be brief."}, *HELLO]),
        (should("fields.block-unknown", GATEWAY, "a block of a type that nobody knows yet"), [user({"type": "hologram", "data": "x"}, text("Say hello."))]),
        (must("fields.block-extra", GATEWAY, "an unknown field of a block"), [user(text("Say hello.") | {"new_field": 1})]),
        (should("fields.block-empty", CLIENT, "an empty text among others"), [user(text(""), text("Say hello."))]),
        (must("fields.reference", CLIENT, "a result that refers to a tool"), [*HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_9", "name": "ToolSearch", "input": {}}]}, user({"type": "tool_result", "tool_use_id": "toolu_9", "content": [{"type": "tool_reference", "tool_name": "Read"}]}, text("Say hello."))]),
        (must("fields.long", CLIENT, "a history of 200 turns"), [{"role": role, "content": f"turn {n}"} for n in range(100) for role in ("user", "assistant")] + HELLO),
        (must("fields.large", CLIENT, "a body of 5 MB"), [user(text("word " * 1_000_000), text("Say hello."))]),
    ),
)  # fmt: skip
def test_messages(api, messages):
    assert api.message(messages=messages).ok().json["content"]


@pytest.mark.parametrize(
    "model",
    cases(
        (must("fields.alias-opus", CLIENT, "the model that the client calls opus"), "claude-opus-4-8"),
        (must("fields.alias-sonnet", CLIENT, "… sonnet"), "claude-sonnet-5"),
        (must("fields.alias-haiku", CLIENT, "… haiku, with a date"), "claude-haiku-4-5-20251001"),
        (should("fields.alias-wide", CLIENT, "a name with `[1m]`"), "claude-sonnet-5[1m]"),
    ),
)
def test_names_of_models(api, model):
    assert api.message(model=model, max_tokens=32000, thinking={"type": "adaptive"}).ok().json["content"]
