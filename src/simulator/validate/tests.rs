mod conversations;
mod turns;

use serde_json::{Value, json};

use super::generate;
use crate::simulator::brain::THOUGHT_BEFORE_CALL;
use crate::simulator::model::{Maker, Model};
use crate::simulator::signature::{SENTINEL, Subject, issue};

const CLAUDE: &str = "claude-opus-4-6-thinking";
const PLAIN_CLAUDE: &str = "claude-sonnet-4-6";
const GEMINI: &str = "gemini-3-flash";

/// A tool loop as it should be sent.
fn good(model: &str) -> Value {
    let claude = model.contains("claude");
    let (id, thought) = (format!("{THOUGHT_BEFORE_CALL}1"), "I look.");
    let mut call = json!({"functionCall": {"name": "f", "args": {"a": "x"}, "id": id}});
    let mut model_parts = Vec::new();
    let mut config = json!({"maxOutputTokens": 40_192});
    if claude {
        if model == CLAUDE {
            config["thinkingConfig"] = json!({"include_thoughts": true, "thinking_budget": 32_000});
            model_parts.push(json!({"thought": true, "text": thought,
                "thoughtSignature": issue(Maker::Claude, Subject::Thought(thought))}));
        }
    } else {
        config["thinkingConfig"] = json!({"includeThoughts": true, "thinkingBudget": 16_000});
        call["thoughtSignature"] = json!(issue(Maker::Gemini, Subject::Call("f")));
    }
    model_parts.push(call);
    json!({
        "project": "p", "model": model, "userAgent": "antigravity", "requestType": "agent",
        "requestId": "agent-1",
        "request": {
            "contents": [
                {"role": "user", "parts": [{"text": "q"}]},
                {"role": "model", "parts": model_parts},
                {"role": "user", "parts": [
                    {"functionResponse": {"name": "f", "response": {"result": "1"}, "id": id}},
                    {"text": "and now?"},
                    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            ],
            "generationConfig": config,
            "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
            "tools": [{"functionDeclarations": [{"name": "f", "description": "", "parameters": {
                "type": "OBJECT", "required": ["a"], "properties": {
                    "a": {"type": "STRING", "enum": ["x", "y"]},
                    "list": {"type": "ARRAY", "items": {"type": "INTEGER"}}}}}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
            "sessionId": "s",
        },
    })
}

fn check(body: &Value) -> Result<(), super::Refusal> {
    generate(body, Model::of(body["model"].as_str().unwrap()), &["p"])
}

#[test]
fn good_requests_pass() {
    for model in [CLAUDE, PLAIN_CLAUDE, GEMINI] {
        check(&good(model)).unwrap();
    }
    let mut sentinel = good(GEMINI);
    sentinel["request"]["contents"][1]["parts"][0]["thoughtSignature"] = json!(SENTINEL);
    check(&sentinel).unwrap();
}

const REQUEST: &str = "/request";
const CONFIG: &str = "/request/generationConfig";
const DECLARATION: &str = "/request/tools/0/functionDeclarations/0";
const SCHEMA: &str = "/request/tools/0/functionDeclarations/0/parameters";
const FIELD_A: &str = "/request/tools/0/functionDeclarations/0/parameters/properties/a";
const MODEL_PART: &str = "/request/contents/1/parts/0";
const RESULTS: &str = "/request/contents/2/parts";

/// Puts `value` under `key` of the object (or list) at `pointer`; null takes it away.
fn changed(model: &str, pointer: &str, key: &str, value: &Value) -> Value {
    let mut body = good(model);
    let place = body.pointer_mut(pointer).unwrap();
    match (place, value) {
        (Value::Object(map), Value::Null) => {
            map.shift_remove(key);
        }
        (Value::Object(map), value) => {
            map.insert(key.to_owned(), value.clone());
        }
        (Value::Array(list), Value::Null) => {
            list.remove(key.parse().unwrap());
        }
        (Value::Array(list), value) => list.insert(key.parse().unwrap(), value.clone()),
        _ => panic!("nothing at {pointer}"),
    }
    body
}

#[test]
fn each_mistake_is_refused_by_its_path() {
    let text = |text: &str| json!({"text": text});
    let result = |name: &str, id: &str| json!({"functionResponse": {"name": name, "response": {}, "id": id}});
    let gemini_thought = json!(issue(Maker::Gemini, Subject::Thought("I look.")));
    let claude_call = json!(issue(Maker::Claude, Subject::Call("f")));
    let other_call = json!(issue(Maker::Gemini, Subject::Call("g")));
    let none = Value::Null;
    let cases = [
        // envelope
        (CLAUDE, "", "extra", json!(1), ""),
        (CLAUDE, "", "project", none.clone(), ""),
        (CLAUDE, "", "project", json!("another"), "project"),
        (CLAUDE, "", "requestType", json!("chat"), "requestType"),
        (CLAUDE, "", "requestId", json!("x"), "requestId"),
        (CLAUDE, "", "userAgent", json!(""), "userAgent"),
        (CLAUDE, REQUEST, "sessionId", none.clone(), "request"),
        (CLAUDE, REQUEST, "safetySettings", json!([]), "request"),
        (CLAUDE, REQUEST, "contents", json!([]), "request.contents"),
        // generation
        (CLAUDE, CONFIG, "max_tokens", json!(1), "request.generationConfig"),
        (CLAUDE, CONFIG, "temperature", json!("hot"), "request.generationConfig.temperature"),
        (CLAUDE, CONFIG, "topK", json!(1.5), "request.generationConfig.topK"),
        (CLAUDE, CONFIG, "stopSequences", json!([""]), "request.generationConfig.stopSequences[0]"),
        (
            CLAUDE,
            CONFIG,
            "maxOutputTokens",
            json!(32_000),
            "request.generationConfig.thinkingConfig.thinking_budget",
        ),
        (
            CLAUDE,
            CONFIG,
            "thinkingConfig",
            json!({"includeThoughts": true, "thinkingBudget": 9_000}),
            "request.generationConfig.thinkingConfig",
        ),
        (
            GEMINI,
            CONFIG,
            "thinkingConfig",
            json!({"include_thoughts": true, "thinking_budget": 9_000}),
            "request.generationConfig.thinkingConfig",
        ),
        (
            PLAIN_CLAUDE,
            CONFIG,
            "thinkingConfig",
            json!({"include_thoughts": true, "thinking_budget": 9_000}),
            "request.generationConfig.thinkingConfig",
        ),
        (CLAUDE, CONFIG, "maxOutputTokens", json!(64_001), "request.generationConfig.maxOutputTokens"),
        (CLAUDE, CONFIG, "temperature", json!(0.5), "request.generationConfig.temperature"),
        (CLAUDE, CONFIG, "topK", json!(5), "request.generationConfig.topK"),
        (CLAUDE, CONFIG, "topP", json!(0.9), "request.generationConfig.topP"),
        (
            GEMINI,
            CONFIG,
            "stopSequences",
            json!(["a", "b", "c", "d", "e", "f"]),
            "request.generationConfig.stopSequences",
        ),
        (
            GEMINI,
            CONFIG,
            "thinkingConfig",
            json!({"includeThoughts": true, "thinkingBudget": 127}),
            "request.generationConfig.thinkingConfig.thinkingBudget",
        ),
        (GEMINI, CONFIG, "maxOutputTokens", json!(65_537), "request.generationConfig.maxOutputTokens"),
        // system
        (CLAUDE, "/request/systemInstruction", "role", json!("system"), "request.systemInstruction.role"),
        (
            CLAUDE,
            "/request/systemInstruction/parts/0",
            "text",
            json!(""),
            "request.systemInstruction.parts[0].text",
        ),
        // roles and parts
        (CLAUDE, "/request/contents/0", "role", json!("assistant"), "request.contents[0].role"),
        (CLAUDE, "/request/contents/0", "role", json!("model"), "request.contents[0].role"),
        (CLAUDE, "/request/contents/0", "name", json!("x"), "request.contents[0]"),
        (CLAUDE, "/request/contents/0", "parts", json!([]), "request.contents[0].parts"),
        (
            CLAUDE,
            "/request/contents",
            "1",
            json!({"role": "user", "parts": [text("again")]}),
            "request.contents[1].role",
        ),
        (CLAUDE, "/request/contents/0/parts/0", "text", json!(""), "request.contents[0].parts[0].text"),
        (CLAUDE, "/request/contents/0/parts/0", "text", json!(" \n"), "request.contents[0].parts[0].text"),
        (
            CLAUDE,
            "/request/contents",
            "3",
            json!({"role": "model", "parts": [text("{")]}),
            "request.contents[3]",
        ),
        (CLAUDE, "/request/contents/1/parts", "2", text("so"), "request.contents[1].parts[2]"),
        (
            CLAUDE,
            "/request/contents/1/parts/1/functionCall",
            "id",
            json!("toolu_.1"),
            "request.contents[1].parts[1].functionCall.id",
        ),
        (CLAUDE, "/request/contents/0/parts/0", "cache_control", json!({}), "request.contents[0].parts[0]"),
        (
            CLAUDE,
            "/request/contents/0/parts/0",
            "thought",
            json!(true),
            "request.contents[0].parts[0].thought",
        ),
        (CLAUDE, "/request/contents/0/parts/0", "fileData", json!({}), "request.contents[0].parts[0]"),
        (CLAUDE, RESULTS, "0", text("first"), "request.contents[2].parts[1]"),
        (CLAUDE, RESULTS, "0", none.clone(), "request.contents[2]"),
        (CLAUDE, RESULTS, "1", result("f", "toolu_2"), "request.contents[2]"),
        (CLAUDE, "/request/contents", "2", none.clone(), "request.contents[1].parts[1].functionCall"),
        (
            CLAUDE,
            "/request/contents/2/parts/0/functionResponse",
            "id",
            json!("toolu_9"),
            "request.contents[2].parts[0].functionResponse",
        ),
        (
            CLAUDE,
            "/request/contents/2/parts/0/functionResponse",
            "name",
            json!("g"),
            "request.contents[2].parts[0].functionResponse",
        ),
        (
            CLAUDE,
            "/request/contents/2/parts/0/functionResponse",
            "response",
            json!("text"),
            "request.contents[2].parts[0].functionResponse.response",
        ),
        (
            CLAUDE,
            "/request/contents/2/parts/0/functionResponse",
            "id",
            none.clone(),
            "request.contents[2].parts[0].functionResponse",
        ),
        (
            CLAUDE,
            "/request/contents/2/parts/2/inlineData",
            "data",
            json!("A"),
            "request.contents[2].parts[2].inlineData.data",
        ),
        (
            CLAUDE,
            "/request/contents/2/parts/2/inlineData",
            "mimeType",
            json!("image/tiff"),
            "request.contents[2].parts[2].inlineData.mimeType",
        ),
        // thoughts and signatures
        (CLAUDE, MODEL_PART, "text", json!("I looked."), "request.contents[1].parts[0].thoughtSignature"),
        (
            CLAUDE,
            MODEL_PART,
            "thoughtSignature",
            gemini_thought,
            "request.contents[1].parts[0].thoughtSignature",
        ),
        (
            CLAUDE,
            MODEL_PART,
            "thoughtSignature",
            json!("A".repeat(60)),
            "request.contents[1].parts[0].thoughtSignature",
        ),
        (CLAUDE, MODEL_PART, "thoughtSignature", none.clone(), "request.contents[1].parts[0]"),
        (CLAUDE, "/request/contents/1/parts", "0", none.clone(), "request.contents[1]"),
        (GEMINI, MODEL_PART, "thoughtSignature", none.clone(), "request.contents[1].parts[0].functionCall"),
        (
            GEMINI,
            MODEL_PART,
            "thoughtSignature",
            claude_call,
            "request.contents[1].parts[0].thoughtSignature",
        ),
        (GEMINI, MODEL_PART, "thoughtSignature", other_call, "request.contents[1].parts[0].thoughtSignature"),
        (
            PLAIN_CLAUDE,
            MODEL_PART,
            "thoughtSignature",
            json!(SENTINEL),
            "request.contents[1].parts[0].thoughtSignature",
        ),
        (
            GEMINI,
            "/request/contents/1/parts/0/functionCall",
            "args",
            none.clone(),
            "request.contents[1].parts[0].functionCall",
        ),
        (
            GEMINI,
            "/request/contents/1/parts/0/functionCall",
            "name",
            json!("a b"),
            "request.contents[1].parts[0].functionCall.name",
        ),
        // tools
        (CLAUDE, REQUEST, "tools", json!([]), "request.tools"),
        (CLAUDE, REQUEST, "tools", none.clone(), "request.toolConfig"),
        (CLAUDE, DECLARATION, "name", json!("1f"), "request.tools[0].functionDeclarations[0].name"),
        (CLAUDE, DECLARATION, "input_schema", json!({}), "request.tools[0].functionDeclarations[0]"),
        (
            CLAUDE,
            "/request/tools/0/functionDeclarations",
            "1",
            good(CLAUDE).pointer(DECLARATION).unwrap().clone(),
            "request.tools[0].functionDeclarations[1].name",
        ),
        (
            CLAUDE,
            "/request/toolConfig/functionCallingConfig",
            "mode",
            json!("auto"),
            "request.toolConfig.functionCallingConfig.mode",
        ),
        (
            CLAUDE,
            "/request/toolConfig/functionCallingConfig",
            "allowedFunctionNames",
            json!(["g"]),
            "request.toolConfig.functionCallingConfig.allowedFunctionNames[0]",
        ),
        // schemas
        (
            CLAUDE,
            SCHEMA,
            "additionalProperties",
            json!(false),
            "request.tools[0].functionDeclarations[0].parameters",
        ),
        (
            CLAUDE,
            SCHEMA,
            "required",
            json!(["b"]),
            "request.tools[0].functionDeclarations[0].parameters.required[0]",
        ),
        (
            CLAUDE,
            SCHEMA,
            "properties",
            json!({}),
            "request.tools[0].functionDeclarations[0].parameters.properties",
        ),
        (CLAUDE, SCHEMA, "type", json!("object"), "request.tools[0].functionDeclarations[0].parameters.type"),
        (CLAUDE, FIELD_A, "type", none, "request.tools[0].functionDeclarations[0].parameters.properties.a"),
        (
            CLAUDE,
            FIELD_A,
            "type",
            json!("INTEGER"),
            "request.tools[0].functionDeclarations[0].parameters.properties.a.enum",
        ),
        (
            CLAUDE,
            FIELD_A,
            "enum",
            json!([1]),
            "request.tools[0].functionDeclarations[0].parameters.properties.a.enum[0]",
        ),
        (
            CLAUDE,
            "/request/tools/0/functionDeclarations/0/parameters/properties/list",
            "items",
            json!([{"type": "STRING"}]),
            "request.tools[0].functionDeclarations[0].parameters.properties.list.items",
        ),
        (
            CLAUDE,
            FIELD_A,
            "nullable",
            json!(true),
            "request.tools[0].functionDeclarations[0].parameters.properties.a",
        ),
    ];
    for (model, pointer, key, value, path) in cases {
        let refusal = check(&changed(model, pointer, key, &value));
        let found = refusal.map_err(|refusal| refusal.path);
        assert_eq!(found, Err(path.to_owned()), "{model}: {pointer}/{key} = {value}");
    }
}
