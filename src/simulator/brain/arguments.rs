//! Sensible arguments from a declared schema.

use serde_json::{Map, Value, json};

/// All required properties of `schema`, with values that fit their names and `instruction`.
pub(super) fn arguments(schema: &Value, instruction: &str) -> Value {
    let mut args = Map::new();
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for name in required.iter().filter_map(Value::as_str) {
        args.insert(name.to_owned(), value(name, &schema["properties"][name], instruction));
    }
    Value::Object(args)
}

/// The same with one property given, and a description where the schema has one.
pub(super) fn with(schema: &Value, name: &str, text: &str) -> Value {
    let mut args = arguments(schema, text);
    args[name] = json!(text);
    if schema["properties"].get("description").is_some() {
        args["description"] = json!("Run what the user asked for");
    }
    args
}

fn value(name: &str, schema: &Value, instruction: &str) -> Value {
    match schema["type"].as_str() {
        Some("INTEGER" | "NUMBER") => json!(1),
        Some("BOOLEAN") => json!(false),
        Some("ARRAY") => json!([value(name, &schema["items"], instruction)]),
        Some("OBJECT") => arguments(schema, instruction),
        _ => match schema["enum"][0].as_str() {
            Some(first) => json!(first),
            None => json!(text(name, instruction)),
        },
    }
}

fn text(name: &str, instruction: &str) -> String {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["command"]) {
        "echo simulated".to_owned()
    } else if has(&["url", "uri"]) {
        word(instruction, |word| word.contains("://")).unwrap_or_else(|| "https://example.com/".to_owned())
    } else if has(&["path", "file"]) {
        word(instruction, |word| word.starts_with('/') || word.starts_with("./"))
            .unwrap_or_else(|| "/tmp/simulated.txt".to_owned())
    } else if has(&["pattern", "glob"]) {
        "*".to_owned()
    } else if has(&["description", "subject", "reason"]) {
        "Asked by the user".to_owned()
    } else if has(&["query", "prompt", "content", "question", "text", "message"]) {
        instruction.chars().take(200).collect()
    } else {
        "simulated".to_owned()
    }
}

/// The first word of the instruction that fits, without the punctuation around it.
fn word(instruction: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
    instruction
        .split_whitespace()
        .map(|word| word.trim_matches(['"', '\'', '`', ',', ';', '(', ')']).trim_end_matches(['.', '?', '!']))
        .find(|word| fits(word))
        .map(str::to_owned)
}
