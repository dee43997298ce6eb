use std::sync::Arc;

use super::ToolCache;
use crate::anthropic::request::{KnownTools as _, MessagesRequest, RequestError};

fn body(name: &str) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"q"}}],"tools":[{{"name":"{name}","description":"a \"b\""}}]}}"#
    )
}

#[test]
fn declarations_are_kept_by_their_bytes_up_to_the_capacity() {
    let cache = ToolCache::new(2);
    let bodies = ["a", "b", "c"].map(body);
    let declared = |index: usize| {
        let request = MessagesRequest::parse_with(bodies[index].as_bytes(), &cache).unwrap();
        let tools = request.tools.unwrap();
        (tools.known.is_some(), cache.declared(&tools))
    };
    let (known, first) = declared(0);
    assert!(!known);
    let (known, again) = declared(0);
    assert!(known && Arc::ptr_eq(&first, &again));
    assert!(!declared(1).0);
    assert!(declared(0).0);
    // The one that was used longest ago makes room.
    assert!(!declared(2).0);
    assert_eq!(cache.len(), 2);
    assert!(declared(0).0);
    assert!(!declared(1).0);
}

/// What is known of tools is their whole text: neither a longer one nor one that differs anywhere.
#[test]
fn only_the_same_bytes_are_known() {
    let cache = ToolCache::new(8);
    let mut body = body("a");
    body.insert_str(body.len() - 1, r#","metadata":{}"#);
    cache.declared(MessagesRequest::parse(body.as_bytes()).unwrap().tools.as_ref().unwrap());
    let start = body.find("[{\"name\"").unwrap();
    let end = body.find(",\"metadata").unwrap();
    assert_eq!(cache.front(&body[start..]).map(|(_, length)| length), Some(end - start));
    assert_eq!(cache.front(&body[start..end]).map(|(_, length)| length), Some(end - start));
    assert_eq!(cache.front(&body[start..end - 1]), None);
    for at in start..end {
        let mut other = body.clone().into_bytes();
        other[at] ^= 1;
        if let Ok(other) = std::str::from_utf8(&other[start..]) {
            assert_eq!(cache.front(other), None, "{other}");
        }
    }
}

/// Known tools are read when somebody asks for them.
#[test]
fn known_tools_have_their_names() {
    let cache = ToolCache::new(1);
    let parse = |choice: &str| {
        let body = body("a")
            .replace("\"tools\"", &format!(r#""tool_choice":{{"type":"tool","name":"{choice}"}},"tools""#));
        let request = MessagesRequest::parse_with(body.as_bytes(), &cache)?;
        cache.declared(request.tools.as_ref().unwrap());
        Ok::<_, RequestError>(request.tools.unwrap().list().len())
    };
    assert_eq!(parse("a"), Ok(1));
    assert_eq!(parse("a"), Ok(1));
    assert_eq!(parse("b").unwrap_err().message, "tool_choice.name: no tool of this name in tools");
}

/// The declarations of `tools`, and the names that were left out.
fn declared(tools: &serde_json::Value) -> (serde_json::Value, Vec<String>) {
    let body =
        serde_json::json!({"messages": [{"role": "user", "content": "q"}], "tools": tools}).to_string();
    let request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let declared = ToolCache::new(0).declared(request.tools.as_ref().unwrap());
    let json = serde_json::from_slice(&declared.json).unwrap_or_default();
    (json, declared.skipped.iter().map(|skipped| format!("{} {}", skipped.index, skipped.name)).collect())
}

#[test]
fn tools_of_known_types_are_declared_and_those_of_the_api_left_out() {
    let (tools, skipped) = declared(&serde_json::json!([
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 100},
        {"type": "computer_20250124", "name": "computer", "display_width_px": 10, "display_height_px": 10},
        {"type": "memory_20250818", "name": "memory"},
        {"type": "mcp_toolset", "mcp_server_name": "x"},
        {"type": "bash_tool", "name": "odd"},
        {"type": "custom", "name": "own", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
    ]));
    assert_eq!(skipped, ["0 web_search", "5 mcp_toolset", "6 odd"]);
    let declarations = tools[0]["functionDeclarations"].as_array().unwrap();
    let names: Vec<_> = declarations.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bash", "str_replace_based_edit_tool", "computer", "memory", "own"]);
    for declaration in declarations {
        assert!(crate::simulator::validate::parameters(&declaration["parameters"]).is_ok(), "{declaration}");
    }
    assert!(declarations[0]["parameters"]["properties"]["restart"].is_object());
}

#[test]
fn servers_tools_are_refused_where_the_operator_wants_it() {
    use crate::format::{KnownSignatures, Options, request::convert};
    let body = r#"{"messages":[{"role":"user","content":"q"}],"tools":[{"name":"own"},{"type":"web_search_20250305","name":"web_search"}]}"#;
    let request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let model = crate::google::model::ModelId::new("claude-sonnet-4-6");
    let run = |refuse_server_tools| {
        let options = Options { refuse_server_tools, ..Options::default() };
        convert(&request, &model, &KnownSignatures::new(), &options, &ToolCache::new(0))
    };
    assert_eq!(run(false).unwrap().warnings.len(), 1);
    let refusal = run(true).unwrap_err().message;
    assert!(refusal.starts_with("tools.1: web_search ") && refusal.contains("leave it out"), "{refusal}");
}
