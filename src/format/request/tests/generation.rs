//! Limits, budgets, sampling, and what is asked for in words.

use serde_json::{Value, json};

use super::super::super::Options;
use super::super::ONE_CALL;
use super::*;

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
        // What the original API refuses is moved into the range that works.
        (
            "claude-x-thinking",
            "64000",
            r#"{"type":"enabled","budget_tokens":5}"#,
            r#"{"maxOutputTokens":64000,"thinkingConfig":{"include_thoughts":true,"thinking_budget":1024}}"#,
        ),
        (
            "claude-x-thinking",
            "200000",
            r#"{"type":"enabled","budget_tokens":100000}"#,
            r#"{"maxOutputTokens":64000,"thinkingConfig":{"include_thoughts":true,"thinking_budget":55808}}"#,
        ),
        (
            "claude-x-thinking",
            "100",
            r#"{"type":"enabled","budget_tokens":100000}"#,
            r#"{"maxOutputTokens":64000,"thinkingConfig":{"include_thoughts":true,"thinking_budget":55808}}"#,
        ),
        (
            "claude-x-thinking",
            "64000",
            r#"{"type":"enabled","budget_tokens":-1}"#,
            r#"{"maxOutputTokens":64000,"thinkingConfig":{"include_thoughts":true,"thinking_budget":32000}}"#,
        ),
        ("claude-sonnet-4-6", "128000", "null", r#"{"maxOutputTokens":64000}"#),
        (
            "gemini-3-pro",
            "1",
            r#"{"type":"adaptive","display":"omitted"}"#,
            r#"{"maxOutputTokens":129,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":128}}"#,
        ),
        (
            "gemini-3-pro",
            "300",
            r#"{"type":"some_new_type"}"#,
            r#"{"maxOutputTokens":300,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":150}}"#,
        ),
        (
            "gemini-3-pro",
            "16000",
            r#"{"type":"enabled","budget_tokens":-7}"#,
            r#"{"maxOutputTokens":16000,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":-1}}"#,
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
fn a_changed_budget_is_told() {
    let body = r#"{"max_tokens":64000,"thinking":{"type":"enabled","budget_tokens":5},"messages":[{"role":"user","content":"q"}]}"#;
    let told = |model: &str| converted(body, model, &Options::default()).warnings;
    assert_eq!(told("claude-opus-4-6-thinking"), [Warning::BudgetChanged(5, 1_024)]);
    assert_eq!(told("gemini-3-pro"), [Warning::BudgetChanged(5, 128)]);
    assert_eq!(told("claude-sonnet-4-6"), []);
}

#[test]
fn sampling_follows_what_the_model_takes() {
    let input = json!({"temperature": 0.5, "top_p": 0.9, "top_k": 0, "messages": [{"role": "user", "content": "q"}],
        "stop_sequences": ["a", "b", "c", "d", "e", "f"]});
    let config = |model: &str| inner(&input, model)["generationConfig"].clone();
    let gemini = config("gemini-3-pro");
    assert_eq!(
        (&gemini["temperature"], &gemini["topP"], gemini.get("topK")),
        (&json!(0.5), &json!(0.9), None)
    );
    assert_eq!(gemini["stopSequences"], json!(["a", "b", "c", "d", "e"]));
    let plain = config("claude-sonnet-4-6");
    assert_eq!((&plain["temperature"], &plain["topP"]), (&json!(0.5), &json!(0.9)));
    assert_eq!(plain["stopSequences"].as_array().unwrap().len(), 6);
    let thinking = config("claude-opus-4-6-thinking");
    assert!(thinking.get("temperature").is_none() && thinking.get("topP").is_none());
    let told = |model: &str| converted(&input.to_string(), model, &Options::default()).warnings;
    assert_eq!(told("gemini-3-pro"), [Warning::StopSequencesLeftOut(1)]);
    assert_eq!(told("claude-opus-4-6-thinking"), [Warning::SamplingLeftOut(vec!["temperature", "top_p"])]);
    let good = json!({"temperature": 1.0, "top_p": 0.95, "messages": input["messages"]});
    let config = inner(&good, "claude-opus-4-6-thinking")["generationConfig"].clone();
    assert_eq!((&config["temperature"], &config["topP"]), (&json!(1.0), &json!(0.95)));
}

#[test]
fn a_schema_for_the_answer_is_asked_for_in_words() {
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}}});
    let tools = json!([{"name": "f"}]);
    for (field, tools, model, mime) in [
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
            Value::Null,
            "gemini-3-pro",
            true,
        ),
        (json!({"output_format": {"schema": schema, "type": "json_schema"}}), tools, "gemini-3-pro", false),
        (
            json!({"output_format": {"schema": schema, "type": "json_schema"}}),
            Value::Null,
            "claude-sonnet-4-6",
            false,
        ),
    ] {
        let mut input = field;
        input["messages"] = json!([{"role": "user", "content": "q"}]);
        input["tools"] = tools;
        let got = inner(&input, model);
        let told = got["systemInstruction"]["parts"][0]["text"].as_str().unwrap();
        assert!(told.ends_with(&format!("\n{schema}")), "{told}");
        let kind = got["generationConfig"].get("responseMimeType");
        assert_eq!(kind.is_some_and(|kind| kind == "application/json"), mime, "{got}");
    }
    let other = json!({"output_config": {"format": {"type": "text"}}, "messages": [{"role": "user", "content": "q"}]});
    assert!(inner(&other, "gemini-3-pro").get("systemInstruction").is_none());
}

#[test]
fn one_call_at_a_time_is_asked_for() {
    let input = |tools: Value| {
        json!({"system": "S", "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}, "tools": tools,
            "messages": [{"role": "user", "content": "q"}]})
    };
    let parts = |tools: Value| {
        inner(&input(tools), "gemini-3-pro")["systemInstruction"]["parts"].as_array().unwrap().clone()
    };
    assert_eq!(parts(json!([{"name": "f"}]))[1]["text"], ONE_CALL);
    assert_eq!(parts(Value::Null).len(), 1);
}
