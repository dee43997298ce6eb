use serde_json::{Value, json};

use super::super::signatures::{Remembered, SignatureKey};
use super::super::{KnownSignatures, Options, ToolCache};
use super::{Converted, INTERLEAVED_HINT, Recovery, Warning, convert};
use crate::anthropic::request::MessagesRequest;
use crate::google::model::{Family, ModelId};

mod golden;
mod pairing;
mod property;
mod thoughts;

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

#[test]
fn a_changed_budget_is_told() {
    let body = r#"{"max_tokens":64000,"thinking":{"type":"enabled","budget_tokens":5},"messages":[{"role":"user","content":"q"}]}"#;
    let told = |model: &str| converted(body, model, &Options::default()).warnings;
    assert_eq!(told("claude-opus-4-6-thinking"), [Warning::BudgetChanged(5, 1_024)]);
    assert_eq!(told("gemini-3-pro"), [Warning::BudgetChanged(5, 128)]);
    assert_eq!(told("claude-sonnet-4-6"), []);
}

/// Fields that the upstream knows nothing of change no byte.
#[test]
fn fields_without_effect() {
    let body = |more: &str| format!(r#"{{{more}"messages":[{{"role":"user","content":"q"}}]}}"#);
    let bytes = |more: &str, model: &str| {
        converted(&body(more), model, &Options::default()).body.render("p", "s", "agent-1")
    };
    let more = r#""context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"},
        {"type":"clear_tool_uses_20250919","trigger":{"type":"input_tokens","value":1},"keep":{"type":"tool_uses","value":0}}]},
        "metadata":{"user_id":"u"},"service_tier":"auto","betas":["a"],"container":"c","mcp_servers":[],"inference_geo":"eu",
        "thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"high"},"anthropic_version":"x","#;
    for model in ["claude-opus-4-6-thinking", "gemini-3-pro"] {
        assert_eq!(bytes(more, model), bytes("", model));
    }
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
    assert_eq!(parts(json!([{"name": "f"}]))[1]["text"], super::ONE_CALL);
    assert_eq!(parts(Value::Null).len(), 1);
}

/// Only the attribution line itself is dropped, wherever the client put it.
#[test]
fn attribution_stands_alone_or_in_front_of_a_prompt() {
    let line = "x-anthropic-billing-header: cc_version=1; cc_entrypoint=cli;";
    for (system, drop, keep) in [
        (json!(line), vec![], vec![line]),
        (json!([{"type": "text", "text": line}]), vec![], vec![line]),
        (json!(format!("{line}\nYou \\are\nC")), vec!["You \\are\nC"], vec![line, "You \\are\nC"]),
        (json!(format!("{line}\n\n")), vec![], vec![line]),
        (
            json!([{"type": "text", "text": " \n"}, {"type": "text", "text": "A\nB"}]),
            vec!["A\nB"],
            vec!["A\nB"],
        ),
    ] {
        let body = json!({"system": system, "messages": [{"role": "user", "content": "q"}]}).to_string();
        for (keep_attribution_block, want) in [(false, drop), (true, keep)] {
            let options = Options { keep_attribution_block, ..Options::default() };
            let got = envelope(&converted(&body, "gemini-3-pro", &options));
            let parts = got["request"]["systemInstruction"]["parts"].as_array();
            let texts: Vec<&str> =
                parts.into_iter().flatten().map(|part| part["text"].as_str().unwrap()).collect();
            assert_eq!(texts, want, "{system}");
        }
    }
}
