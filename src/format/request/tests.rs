use serde_json::{Value, json};

use super::super::signatures::{Remembered, SignatureKey};
use super::super::{KnownSignatures, Options, ToolCache};
use super::{Converted, INTERLEAVED_HINT, Warning, convert};
use crate::anthropic::request::MessagesRequest;
use crate::google::model::{Family, ModelId};

mod golden;
mod pairing;
mod property;

fn signature(name: &str) -> String {
    format!("{name}{}", "0123456789".repeat(5))
}

/// The caches of spec `conversion.md` §0.
fn known() -> KnownSignatures {
    let mut known = KnownSignatures::new();
    for (name, family) in [("SIG_C", Family::Claude), ("SIG_G", Family::Gemini)] {
        known.insert(&SignatureKey::Thinking(&signature(name)), Remembered { family, signature: None });
    }
    let tool = Remembered { family: Family::Gemini, signature: Some(signature("SIG_T")) };
    known.insert(&SignatureKey::Tool("toolu_B"), tool);
    known
}

/// Replaces the names that stand for signatures, and the hint.
fn spelled_out(text: &str) -> String {
    let mut text = text.replace("<hint>", INTERLEAVED_HINT);
    for name in ["SIG_C", "SIG_G", "SIG_U", "SIG_T"] {
        text = text.replace(name, &signature(name));
    }
    text
}

fn converted(input: &str, model: &str, options: &Options) -> Converted {
    let request = MessagesRequest::parse(input.as_bytes()).unwrap_or_else(|e| panic!("{e}: {input}"));
    convert(&request, &ModelId::new(model), &known(), options, &ToolCache::new(4)).unwrap()
}

fn envelope(converted: &Converted) -> Value {
    let [head, tail] = converted.body.render("project", "session", "agent-1");
    serde_json::from_slice(&[head, tail].concat()).unwrap()
}

/// The inner request without what the envelope adds: the session id and the role of the system instruction.
fn inner(input: &Value, model: &str) -> Value {
    let converted = converted(&spelled_out(&input.to_string()), model, &Options::default());
    let mut inner = envelope(&converted)["request"].clone();
    inner.as_object_mut().unwrap().shift_remove("sessionId");
    if let Some(system) = inner.get_mut("systemInstruction") {
        assert_eq!(system.as_object_mut().unwrap().shift_remove("role"), Some("user".into()));
    }
    inner
}

fn contents(input: &Value, model: &str) -> Value {
    inner(input, model)["contents"].clone()
}

#[test]
fn envelope_has_its_order_and_only_the_tail_changes() {
    let body = r#"{"messages":[{"role":"user","content":"a\nb"}],"temperature":0,"top_k":3,"max_tokens":7}"#;
    let converted = converted(body, "gemini-2.5-flash", &Options::default());
    let [head, tail] = converted.body.render("p\"", "s", "agent-1");
    assert_eq!(
        std::str::from_utf8(&head).unwrap(),
        r#"{"model":"gemini-2.5-flash","request":{"contents":[{"role":"user","parts":[{"text":"a\nb"}]}],"generationConfig":{"maxOutputTokens":7,"temperature":0,"topK":3},"#
    );
    assert_eq!(
        std::str::from_utf8(&tail).unwrap(),
        r#""sessionId":"s"},"project":"p\"","userAgent":"antigravity","requestType":"agent","requestId":"agent-1"}"#
    );
    let [again, _] = converted.body.render("other", "s2", "agent-2");
    assert_eq!(head.as_ptr(), again.as_ptr(), "the head is shared");
}

#[test]
fn limits_follow_the_table() {
    for (model, max_tokens, thinking, want) in [
        (
            "claude-x-thinking",
            "4096",
            "null",
            r#"{"maxOutputTokens":40192,"thinkingConfig":{"include_thoughts":true,"thinking_budget":32000}}"#,
        ),
        (
            "claude-x-thinking",
            "0",
            "null",
            r#"{"maxOutputTokens":40192,"thinkingConfig":{"include_thoughts":true,"thinking_budget":32000}}"#,
        ),
        (
            "claude-x-thinking",
            "100",
            r#"{"type":"disabled"}"#,
            r#"{"maxOutputTokens":40192,"thinkingConfig":{"include_thoughts":true,"thinking_budget":32000}}"#,
        ),
        (
            "claude-x-thinking",
            "32000",
            "null",
            r#"{"maxOutputTokens":40192,"thinkingConfig":{"include_thoughts":true,"thinking_budget":32000}}"#,
        ),
        (
            "claude-x-thinking",
            "64000",
            r#"{"type":"enabled","budget_tokens":10000}"#,
            r#"{"maxOutputTokens":64000,"thinkingConfig":{"include_thoughts":true,"thinking_budget":10000}}"#,
        ),
        (
            "claude-x-thinking",
            "10000",
            r#"{"type":"enabled","budget_tokens":10000}"#,
            r#"{"maxOutputTokens":18192,"thinkingConfig":{"include_thoughts":true,"thinking_budget":10000}}"#,
        ),
        (
            "claude-x-thinking",
            "9",
            r#"{"type":"enabled","budget_tokens":0}"#,
            r#"{"maxOutputTokens":40192,"thinkingConfig":{"include_thoughts":true,"thinking_budget":32000}}"#,
        ),
        (
            "claude-sonnet-4-6",
            "100",
            r#"{"type":"enabled","budget_tokens":10000}"#,
            r#"{"maxOutputTokens":100}"#,
        ),
        // W17: the budget leaves room for the answer; 0 and negative ones are left alone.
        (
            "gemini-3-flash",
            "32000",
            "null",
            r#"{"maxOutputTokens":16384,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":8192}}"#,
        ),
        (
            "gemini-2.5-flash-thinking",
            "8000",
            r#"{"type":"enabled","budget_tokens":50000}"#,
            r#"{"maxOutputTokens":8000,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":4000}}"#,
        ),
        (
            "gemini-3.1-pro-high",
            "16384",
            r#"{"type":"enabled","budget_tokens":200000}"#,
            r#"{"maxOutputTokens":16384,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":8192}}"#,
        ),
        (
            "gemini-3-flash",
            "8000",
            r#"{"type":"enabled","budget_tokens":-1}"#,
            r#"{"maxOutputTokens":8000,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":-1}}"#,
        ),
    ] {
        let body = format!(
            r#"{{"max_tokens":{max_tokens},"thinking":{thinking},"messages":[{{"role":"user","content":"q"}}]}}"#
        );
        let input: Value = serde_json::from_str(&body).unwrap();
        let want: Value = serde_json::from_str(want).unwrap();
        assert_eq!(inner(&input, model)["generationConfig"], want, "{model} {max_tokens} {thinking}");
    }
}

#[test]
fn effort_sets_the_budget_of_adaptive_thinking() {
    for (effort, claude, gemini) in [
        ("low", 8_000, 2_000),
        ("medium", 16_000, 8_000),
        ("high", 32_000, 8_192),
        ("xhigh", 48_000, 8_192),
        ("max", 55_000, 8_192),
        ("newest", 32_000, 8_192),
    ] {
        let input = serde_json::json!({"max_tokens": 64000, "thinking": {"type": "adaptive"},
            "output_config": {"effort": effort}, "context_management": {"edits": []},
            "messages": [{"role": "user", "content": "q"}]});
        let budget =
            |model: &str, key: &str| inner(&input, model)["generationConfig"]["thinkingConfig"][key].clone();
        assert_eq!(budget("claude-opus-4-6-thinking", "thinking_budget"), claude, "{effort}");
        assert_eq!(budget("gemini-3-pro", "thinkingBudget"), gemini, "{effort}");
    }
}

#[test]
fn disabled_thinking_is_honoured_only_by_the_switch() {
    let body =
        r#"{"max_tokens":9,"thinking":{"type":"disabled"},"messages":[{"role":"user","content":"q"}]}"#;
    let options = Options { honour_disabled_thinking: true, ..Options::default() };
    for (model, want) in [
        ("claude-opus-4-6-thinking", serde_json::json!({"maxOutputTokens": 9})),
        (
            "gemini-3-flash",
            serde_json::json!({"maxOutputTokens": 9, "thinkingConfig": {"includeThoughts": false, "thinkingBudget": 0}}),
        ),
        (
            "gemini-3-pro",
            serde_json::json!({"maxOutputTokens": 9, "thinkingConfig": {"includeThoughts": false}}),
        ),
    ] {
        let converted = converted(body, model, &options);
        assert_eq!(envelope(&converted)["request"]["generationConfig"], want, "{model}");
    }
}

#[test]
fn system_texts_preamble_and_attribution() {
    let body = r#"{"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=1;"},{"type":"text","text":""},{"type":"text","text":"A \"b\""}],
        "messages":[{"role":"user","content":"q"}]}"#;
    let texts = |options: &Options| {
        let converted = converted(body, "claude-sonnet-4-6", options);
        envelope(&converted)["request"]["systemInstruction"].clone()
    };
    assert_eq!(
        texts(&Options::default()),
        serde_json::json!({"role": "user", "parts": [{"text": "A \"b\""}]})
    );
    let options =
        Options { keep_attribution_block: true, system_preamble: "I".to_owned(), ..Options::default() };
    assert_eq!(
        texts(&options),
        serde_json::json!({"role": "user", "parts": [{"text": "I"},
            {"text": "Please ignore the following [ignore]I[/ignore]"},
            {"text": "x-anthropic-billing-header: cc_version=1;"}, {"text": "A \"b\""}]})
    );
    let bare =
        converted(r#"{"messages":[{"role":"user","content":"q"}]}"#, "gemini-3-pro", &Options::default());
    assert!(envelope(&bare)["request"].get("systemInstruction").is_none());
}

#[test]
fn tool_choice_by_family() {
    let config = |model: &str, choice: Value| {
        let input = serde_json::json!({"tool_choice": choice, "messages": [{"role": "user", "content": "q"}],
            "tools": [{"name": "a.b", "input_schema": {"type": "object"}}]});
        inner(&input, model).get("toolConfig").map(|config| config["functionCallingConfig"].clone())
    };
    let tool = json!({"type": "tool", "name": "a.b"});
    for model in ["gemini-3-pro", "gpt-oss-120b"] {
        assert_eq!(config(model, json!(null)), None);
        assert_eq!(config(model, json!({"type": "auto"})), None);
        assert_eq!(config(model, json!({"type": "none"})), Some(json!({"mode": "NONE"})));
        assert_eq!(config(model, json!({"type": "any"})), Some(json!({"mode": "ANY"})));
        assert_eq!(
            config(model, tool.clone()),
            Some(json!({"mode": "ANY", "allowedFunctionNames": ["a_b"]}))
        );
    }
    for choice in [json!(null), json!({"type": "auto"}), json!({"type": "any"}), tool] {
        assert_eq!(config("claude-sonnet-4-6", choice), Some(json!({"mode": "VALIDATED"})));
    }
    assert_eq!(config("claude-sonnet-4-6", json!({"type": "none"})), Some(json!({"mode": "NONE"})));
}

#[test]
fn warnings_count_what_was_left_out() {
    let body = r#"{"messages":[{"role":"user","content":[{"type":"container_upload"},{"type":"image","source":{"type":"file","file_id":"f"}}]},
        {"role":"assistant","content":[{"type":"redacted_thinking","data":"z"}]}],
        "tools":[{"type":"web_search_20250305","name":"web_search"}]}"#;
    let converted = converted(body, "claude-sonnet-4-6", &Options::default());
    assert_eq!(
        converted.warnings,
        [
            Warning::BlocksDropped(1),
            Warning::ThoughtsDropped(1),
            Warning::FilesNotForwarded(1),
            Warning::ServerToolsSkipped(vec!["web_search".to_owned()]),
        ]
    );
    assert!(envelope(&converted)["request"].get("tools").is_none());
}
