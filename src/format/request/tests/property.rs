//! Whatever comes in: no panic, the same bytes twice, and a body that the upstream takes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("")),
        Just(json!(" \n")),
        "[a-c\\\\\"\n\u{e9}\u{1f600}]{1,6}".prop_map(Value::from)
    ]
}

fn id() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!("toolu_A")), Just(json!("toolu_B")), Just(json!("toolu_C"))]
}

fn name() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!("f")), Just(json!("mcp.x/y")), Just(json!("mcp_x_y"))]
}

fn signed() -> impl Strategy<Value = Value> {
    prop_oneof![Just("SIG_C"), Just("SIG_G"), Just("SIG_U"), Just("")].prop_map(|sig| {
        let sig = if sig.is_empty() { String::new() } else { signature(sig) };
        json!({"type": "thinking", "thinking": "hm", "signature": sig})
    })
}

fn media() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}})),
        Just(json!({"type": "image", "source": {"type": "url", "url": "https://x/"}})),
        Just(json!({"type": "document", "source": {"type": "file", "file_id": "f"}})),
        Just(json!({"type": "document", "source": {"type": "text", "data": "d"}})),
        Just(json!({"type": "search_result", "source": "s", "title": "t", "content": []})),
        Just(json!({"type": "container_upload"})),
    ]
}

fn text() -> impl Strategy<Value = Value> {
    word().prop_map(|text| json!({"text": text, "type": "text"}))
}

fn returned() -> impl Strategy<Value = Value> {
    prop_oneof![
        word(),
        Just(Value::Null),
        Just(json!(3)),
        Just(json!({"k": 1})),
        prop::collection::vec(prop_oneof![text(), media()], 0..3).prop_map(Value::from),
    ]
}

fn message() -> impl Strategy<Value = Value> {
    let of_user = prop_oneof![
        text(),
        media(),
        (id(), returned(), any::<bool>())
            .prop_map(|(id, content, bad)| json!({"content": content, "type": "tool_result",
            "tool_use_id": id, "is_error": bad})),
    ];
    let of_assistant = prop_oneof![
        text(),
        signed(),
        Just(json!({"type": "redacted_thinking", "data": "z"})),
        (id(), name())
            .prop_map(|(id, name)| json!({"type": "tool_use", "id": id, "name": name, "input": {"x": 1}})),
    ];
    prop_oneof![
        word().prop_map(|content| json!({"role": "user", "content": content})),
        word().prop_map(|content| json!({"role": "assistant", "content": content})),
        prop::collection::vec(of_user, 0..4).prop_map(|content| json!({"role": "user", "content": content})),
        prop::collection::vec(of_assistant, 0..4)
            .prop_map(|content| json!({"role": "assistant", "content": content})),
    ]
}

fn request() -> impl Strategy<Value = Value> {
    let tools = prop::sample::subsequence(vec!["f", "mcp.x/y", "mcp_x_y"], 0..=3).prop_map(|names| {
        Value::from(names.iter().map(|name| json!({"name": name, "input_schema": {}})).collect::<Vec<_>>())
    });
    (prop::collection::vec(message(), 1..8), tools, any::<bool>()).prop_map(|(messages, tools, system)| {
        let system = if system { json!([{"type": "text", "text": "S"}]) } else { Value::Null };
        json!({"messages": messages, "tools": tools, "system": system})
    })
}

/// What the upstream insists on.
fn check(body: &Value, family: Family) {
    let turns = body["request"]["contents"].as_array().unwrap();
    let mut open: Vec<(Value, Value)> = Vec::new();
    for (index, turn) in turns.iter().enumerate() {
        let parts = turn["parts"].as_array().unwrap();
        assert!(!parts.is_empty());
        assert!(index == 0 || turns[index - 1]["role"] != turn["role"], "roles alternate");
        let mut calls = Vec::new();
        let mut answers_over = false;
        for part in parts {
            if let Some(answer) = part.get("functionResponse") {
                assert!(!answers_over && turn["role"] == "user" && answer["response"].is_object());
                let pair = (answer["id"].clone(), answer["name"].clone());
                let at = open.iter().position(|call| *call == pair).expect("an answer has its call");
                open.remove(at);
                continue;
            }
            answers_over = true;
            if let Some(call) = part.get("functionCall") {
                assert_eq!(turn["role"], "model");
                assert_eq!(part.get("thoughtSignature").is_some(), family == Family::Gemini);
                calls.push((call["id"].clone(), call["name"].clone()));
            } else {
                assert!(calls.is_empty(), "nothing follows a call");
                if let Some(text) = part.get("text") {
                    assert!(!text.as_str().unwrap().is_empty());
                }
            }
            if part.get("thought").is_some() {
                let own = if family == Family::Claude { "SIG_C" } else { "SIG_G" };
                assert!(family == Family::Unknown || part["thoughtSignature"] == signature(own));
            }
        }
        assert!(open.is_empty(), "every call is answered at once");
        open = calls;
    }
    assert!(open.is_empty());
}

fn anything() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "messages",
        "role",
        "content",
        "type",
        "text",
        "thinking",
        "signature",
        "tool_use",
        "id",
        "name",
        "input",
        "system",
        "tools",
        "input_schema",
        "source",
        "data",
        "tool_choice",
        "max_tokens",
        "properties",
        "anyOf",
        "items",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        prop::sample::select(vec![
            "user",
            "assistant",
            "text",
            "tool_use",
            "tool_result",
            "image",
            "thinking",
            "object"
        ])
        .prop_map(Into::into),
    ];
    leaf.prop_recursive(7, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|members| {
                Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn valid_requests_convert_to_what_the_upstream_takes(request in request()) {
        let body = request.to_string();
        for model in ["claude-opus-4-6-thinking", "claude-sonnet-4-6", "gemini-3-pro", "gpt-oss-120b"] {
            let once = converted(&body, model, &Options::default());
            let again = converted(&body, model, &Options::default());
            prop_assert_eq!(once.body.render("p", "s", "r"), again.body.render("p", "s", "r"));
            check(&envelope(&once), ModelId::new(model).family());
        }
    }

    #[test]
    fn arbitrary_json_never_panics(value in anything(), tools in anything(), message in anything()) {
        let whole = json!({"messages": [message], "tools": tools, "system": value});
        for body in [value.to_string(), whole.to_string()] {
            if let Ok(request) = MessagesRequest::parse(body.as_bytes()) {
                let model = ModelId::new("gemini-3-pro");
                if let Ok(converted) = convert(&request, &model, &known(), &Options::default(), &ToolCache::new(1)) {
                    envelope(&converted);
                }
                prop_assert!(!request.conversation_key(None).is_empty());
                prop_assert!(crate::format::tokens::estimate(&request) > 0);
            }
        }
    }
}
