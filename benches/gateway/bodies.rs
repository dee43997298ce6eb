//! Messages requests of the sizes that matter: a small one, and one of the size and make of a Claude Code turn.

use serde_json::{Value, json};

/// About 1 kB.
pub(crate) fn small(model: &str) -> Value {
    json!({
        "model": model, "max_tokens": 1024, "stream": true,
        "messages": [{"role": "user", "content": sentence(7, 900)}],
    })
}

/// About 120 kB: three system blocks, 24 tools of which two are large, a short history with a tool loop.
pub(crate) fn claude_code_turn(model: &str) -> Value {
    let tools: Vec<Value> = (0..24)
        .map(|n| {
            let length = match n {
                0 => 16_000,
                1 => 9_000,
                _ => 2_000,
            };
            json!({
                "name": format!("Tool{n}"), "description": sentence(n, length),
                "input_schema": {
                    "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
                    "properties": {
                        "path": {"type": "string", "description": sentence(n + 1, 120), "minLength": 1},
                        "limit": {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]},
                        "mode": {"enum": ["fast", "careful"], "description": sentence(n + 2, 80)},
                        "kind": {"const": "file"},
                        "labels": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"},
                                   "additionalProperties": {"type": "string"}},
                        "edits": {"type": "array", "maxItems": 40, "items": {"type": "object",
                                  "properties": {"old": {"type": "string"}, "new": {"type": "string"}},
                                  "required": ["old", "new"], "additionalProperties": false}},
                    },
                    "required": ["path"], "additionalProperties": false,
                },
            })
        })
        .collect();
    json!({
        "model": model, "max_tokens": 32000, "stream": true,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=0.0.0; cc_entrypoint=bench;"},
            {"type": "text", "text": sentence(3, 60), "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": sentence(4, 14_000), "cache_control": {"type": "ephemeral"}},
        ],
        "tools": tools,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": sentence(5, 6_000)}, {"type": "text", "text": "Read the file."}]},
            {"role": "assistant", "content": [{"type": "text", "text": "I will read it."},
                {"type": "tool_use", "id": "toolu_bench_1", "name": "Tool2", "input": {"path": "src/lib.rs"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_bench_1",
                "content": [{"type": "text", "text": sentence(6, 9_000)}], "cache_control": {"type": "ephemeral"}}]},
        ],
        "metadata": {"user_id": "{\"device_id\":\"bench\",\"account_uuid\":\"\",\"session_id\":\"2d0f6a86-5b1f-4d0e-8e57-000000000001\"}"},
        "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    })
}

/// A conversation without tools of about `bytes`: turns of at most 8 kB, which the user and the assistant take.
pub(crate) fn conversation(model: &str, bytes: usize) -> Value {
    const TURN: usize = 8_000;
    let mut messages = Vec::new();
    let mut left = bytes.saturating_sub(100);
    while left > 0 || messages.len().is_multiple_of(2) {
        let length = left.clamp(20, TURN);
        let role = if messages.len().is_multiple_of(2) { "user" } else { "assistant" };
        messages.push(json!({"role": role, "content": sentence(messages.len(), length)}));
        // A turn is more than its text.
        left = left.saturating_sub(length + 40);
    }
    json!({"model": model, "max_tokens": 1024, "stream": true, "messages": messages})
}

/// `length` characters of harmless prose with the line breaks and quotes that real prompts have.
pub(crate) fn sentence(seed: usize, length: usize) -> String {
    const WORDS: [&str; 12] = [
        "gateway",
        "account",
        "\"quoted\"",
        "stream",
        "token",
        "replica",
        "request",
        "limit",
        "signature",
        "model",
        "answer",
        "store",
    ];
    let mut text = String::with_capacity(length + 16);
    let mut n = seed;
    while text.len() < length {
        text.push_str(WORDS[n % WORDS.len()]);
        text.push(if n.is_multiple_of(17) { '\n' } else { ' ' });
        n = n.wrapping_mul(31).wrapping_add(7);
    }
    text.truncate(length);
    text
}
