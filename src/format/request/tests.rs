use serde_json::{Value, json};

use super::super::signatures::{Remembered, SignatureKey};
use super::super::{KnownSignatures, Options, ToolCache};
use super::{Converted, INTERLEAVED_HINT, Warning, convert};
use crate::anthropic::request::MessagesRequest;
use crate::format::turns::Recovery;
use crate::google::model::{Family, ModelId};

mod generation;
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
    serde_json::from_slice(&converted.body.render("project", "session", "agent-1").concat()).unwrap()
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
    let [head, none, rest, tail] = converted.body.render("p\"", "s", "agent-1");
    assert_eq!(
        std::str::from_utf8(&[head.clone(), none, rest].concat()).unwrap(),
        r#"{"model":"gemini-2.5-flash","request":{"contents":[{"role":"user","parts":[{"text":"a\nb"}]}],"generationConfig":{"maxOutputTokens":7,"temperature":0,"topK":3},"#
    );
    assert_eq!(
        std::str::from_utf8(&tail).unwrap(),
        r#""sessionId":"s"},"project":"p\"","userAgent":"antigravity","requestType":"agent","requestId":"agent-1"}"#
    );
    let [again, ..] = converted.body.render("other", "s2", "agent-2");
    assert_eq!(head.as_ptr(), again.as_ptr(), "the head is shared");
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
