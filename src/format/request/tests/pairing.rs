//! Turns, calls and their answers.
#![expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]

use serde_json::{Value, json};

use super::super::super::{Options, ToolCache, signatures_wanted};
use super::super::convert;
use super::*;

fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

fn assistant(content: Value) -> Value {
    json!({"role": "assistant", "content": content})
}

fn call(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "read.file", "input": {"b": 1, "a": 2}})
}

fn result(id: &str, content: Value) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": content})
}

fn turns(messages: &[Value], model: &str) -> Value {
    contents(&json!({"messages": messages}), model)
}

/// A short form: role and, for each part, what it is.
fn shape(contents: &Value) -> Vec<String> {
    let part = |part: &Value| {
        if let Some(call) = part.get("functionCall") {
            return format!("call {}", call["id"].as_str().unwrap_or("-"));
        }
        if let Some(answer) = part.get("functionResponse") {
            return format!("answer {} {}", answer["id"].as_str().unwrap_or("-"), answer["response"]);
        }
        if part.get("inlineData").is_some() {
            return "inline".to_owned();
        }
        if part.get("fileData").is_some() {
            return "file".to_owned();
        }
        let kind = if part.get("thought").is_some() { "thought" } else { "text" };
        format!("{kind} {}", part["text"].as_str().unwrap())
    };
    let turn = |turn: &Value| {
        let parts: Vec<String> = turn["parts"].as_array().unwrap().iter().map(part).collect();
        format!("{}: {}", turn["role"].as_str().unwrap(), parts.join(" | "))
    };
    contents.as_array().unwrap().iter().map(turn).collect()
}

const INTERRUPTED: &str = r#"{"result":"[Tool call was interrupted.]","is_error":true}"#;

#[test]
fn neighbours_merge_with_answers_in_front() {
    let messages = [
        user(json!("q")),
        json!({"role": "system", "content": "mind this"}),
        assistant(json!([call("a")])),
        assistant(json!([{"type": "text", "text": "t"}, call("b")])),
        user(json!([{"type": "text", "text": "x"}, result("a", json!("1"))])),
        user(json!([result("b", json!("2"))])),
        user(json!("")),
    ];
    assert_eq!(
        shape(&turns(&messages, "claude-sonnet-4-6")),
        [
            "user: text q | text <system-reminder>\nmind this\n</system-reminder>",
            "model: text t | call a | call b",
            r#"user: answer a {"result":"1"} | answer b {"result":"2"} | text x"#,
        ]
    );
}

#[test]
fn blank_messages_become_a_full_stop() {
    for content in [json!(""), json!(" \n"), json!([]), json!([{"type": "text", "text": "\u{feff}"}])] {
        assert_eq!(shape(&turns(&[user(content.clone())], "gemini-3-pro")), ["user: text ."], "{content}");
    }
}

#[test]
fn every_kind_of_result_is_an_object() {
    for (content, want) in [
        (json!("s"), r#"{"result":"s"}"#),
        (json!(""), r#"{"result":""}"#),
        (json!(null), r#"{"result":""}"#),
        (json!(7), r#"{"result":7}"#),
        (json!(true), r#"{"result":true}"#),
        (json!({"k": [1]}), r#"{"k":[1]}"#),
        (json!([]), r#"{"result":""}"#),
        (
            json!([{"type": "text", "text": "a"}, {"type": "odd"}, {"type": "text", "text": "b"}]),
            r#"{"result":"a\nb"}"#,
        ),
        (
            json!([{"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "c"}]}]),
            r#"{"result":"t\ns\nc"}"#,
        ),
        (
            json!([{"type": "tool_reference", "tool_name": "WebFetch"}]),
            r#"{"result":"The tool WebFetch is loaded and can be called."}"#,
        ),
        (
            json!([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}]),
            r#"{"result":"d"}"#,
        ),
    ] {
        let messages = [assistant(json!([call("a")])), user(json!([result("a", content.clone())]))];
        let got = turns(&messages, "claude-sonnet-4-6");
        assert_eq!(got[1]["parts"][0]["functionResponse"]["response"].to_string(), want, "{content}");
    }
    let missing = json!({"type": "tool_result", "tool_use_id": "a", "is_error": true});
    let got = turns(&[assistant(json!([call("a")])), user(json!([missing]))], "claude-sonnet-4-6");
    assert_eq!(got[1]["parts"][0]["functionResponse"]["response"], json!({"result": "", "is_error": true}));
    let object = json!({"type": "tool_result", "tool_use_id": "a", "is_error": true, "content": {"k": 1}});
    let got = turns(&[assistant(json!([call("a")])), user(json!([object]))], "claude-sonnet-4-6");
    let response = &got[1]["parts"][0]["functionResponse"]["response"];
    assert_eq!(*response, json!({"result": {"k": 1}, "is_error": true}));
}

#[test]
fn media_of_results_stand_at_the_end_of_the_message() {
    let png =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let url = json!({"type": "image", "source": {"type": "url", "url": "https://x/y"}});
    let pdf = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "BB"}});
    let messages = [
        assistant(json!([call("a"), call("b")])),
        user(
            json!([result("a", json!([png, url])), result("b", json!([pdf])), {"type": "text", "text": "t"}]),
        ),
    ];
    assert_eq!(
        shape(&turns(&messages, "claude-sonnet-4-6"))[1],
        r#"user: answer a {"result":"Image attached"} | answer b {"result":"Document attached"} | text t | inline | file | inline"#
    );
}

#[test]
fn calls_and_results_always_pair() {
    let messages = [
        user(json!([result("lost", json!("r"))])),
        assistant(json!([call("a"), call("b")])),
        user(json!([result("b", json!("2")), result("b", json!("again"))])),
        assistant(json!("so")),
        user(json!([result("a", json!({"late": "\"x\""}))])),
        assistant(json!([call("c")])),
    ];
    let orphan = "[Result of a tool call that is not part of this conversation]";
    assert_eq!(
        shape(&turns(&messages, "claude-sonnet-4-6")),
        [
            format!("user: text {orphan}\nr"),
            "model: call a | call b".to_owned(),
            format!("user: answer b {{\"result\":\"2\"}} | answer a {INTERRUPTED} | text {orphan}\nagain"),
            "model: text so".to_owned(),
            format!("user: text {orphan}\n{{\"late\":\"\\\"x\\\"\"}}"),
            "model: call c".to_owned(),
            format!("user: answer c {INTERRUPTED}"),
        ]
    );
}

#[test]
fn names_are_clean_everywhere_and_lead_back() {
    let long = "m".repeat(70);
    let input = json!({"messages": [
            user(json!("q")),
            assistant(json!([{"type": "tool_use", "id": "a", "name": "x.y", "input": {}},
                             {"type": "tool_use", "id": "b", "name": "old.one"}])),
            user(json!([result("a", json!("1")), result("b", json!("2"))])),
        ],
        "tools": [{"name": "x.y"}, {"name": "x_y"}, {"name": long}, {"name": format!("{long}2")}, {"name": "é😀"}]});
    let got = converted(&input.to_string(), "gemini-2.5-flash", &Options::default());
    let request = envelope(&got)["request"].clone();
    let declared: Vec<&str> = request["tools"][0]["functionDeclarations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!((declared[1], declared[2], declared[4]), ("x_y", &*"m".repeat(64), "___"));
    assert!(declared[0].starts_with("x_y_") && declared[3].starts_with("mmm") && declared[3].len() == 64);
    for (clean, raw) in declared.iter().zip(["x.y", "x_y", &long, &format!("{long}2"), "é😀"]) {
        assert_eq!((got.names.raw(clean), got.names.clean(raw)), (raw, *clean));
    }
    let parts = &request["contents"][1]["parts"];
    assert_eq!(parts[0]["functionCall"]["name"], declared[0]);
    assert_eq!(parts[1]["functionCall"]["name"], "old_one");
    assert_eq!(request["contents"][2]["parts"][0]["functionResponse"]["name"], declared[0]);
    assert_eq!(got.names.raw("invented"), "invented");
}

fn thinking(signature: &str) -> Value {
    json!({"type": "thinking", "thinking": "hm", "signature": signature})
}

/// The tool loop of spec `conversion.md` §5.8, as it should be (§13.2).
#[test]
fn recovery_follows_what_survives() {
    let long_own =
        json!({"type": "tool_use", "id": "a", "name": "f", "input": {}, "thoughtSignature": "SIG_U"});
    for (first, calls, gemini, claude) in [
        (None, call("a"), true, false),
        (None, call("toolu_B"), false, false),
        (None, long_own, false, true),
        (Some(thinking("")), call("a"), true, true),
        (Some(thinking("SIG_G")), call("a"), false, true),
        (Some(thinking("SIG_C")), call("a"), true, false),
        (Some(thinking("SIG_U")), call("a"), true, true),
        (Some(json!({"type": "redacted_thinking", "data": "z"})), call("a"), true, true),
    ] {
        let id = calls["id"].as_str().unwrap().to_owned();
        let mut blocks: Vec<Value> = first.into_iter().collect();
        blocks.push(json!({"type": "text", "text": "t"}));
        blocks.push(calls);
        let messages = [user(json!("q")), assistant(json!(blocks)), user(json!([result(&id, json!("r"))]))];
        for (model, recovers) in [("gemini-3-pro", gemini), ("claude-opus-4-6-thinking", claude)] {
            let shape = shape(&turns(&messages, model));
            assert_eq!(shape.len(), if recovers { 5 } else { 3 }, "{model} {blocks:?} {shape:?}");
            if recovers {
                assert_eq!(shape[3..], ["model: text [Tool execution completed.]", "user: text [Continue]"]);
            }
        }
        for model in ["gemini-2.5-flash", "claude-sonnet-4-6", "gpt-oss-120b"] {
            assert_eq!(shape(&turns(&messages, model)).len(), 3, "{model}");
        }
    }
}

#[test]
fn several_answering_messages_are_counted() {
    let messages = [
        user(json!("q")),
        assistant(json!([call("a"), call("b")])),
        user(json!([result("a", json!("1"))])),
        user(json!([result("b", json!("2"))])),
    ];
    assert_eq!(shape(&turns(&messages, "gemini-3-pro"))[3], "model: text [2 tool executions completed.]");
}

#[test]
fn no_foreign_or_unknown_signature_is_sent() {
    let messages = [
        user(json!("q")),
        assistant(
            json!([thinking("SIG_C"), thinking("SIG_G"), thinking("SIG_U"), {"type": "text", "text": "t"}]),
        ),
    ];
    for (model, want) in [
        ("claude-sonnet-4-6", Some("SIG_C")),
        ("gemini-3-pro", Some("SIG_G")),
        ("gpt-oss-120b", Some("SIG_U")),
    ] {
        let got = turns(&messages, model);
        let sent: Vec<String> = got[1]["parts"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|part| Some(part.get("thoughtSignature")?.as_str()?.to_owned()))
            .collect();
        assert_eq!(sent, want.map(signature).into_iter().collect::<Vec<_>>(), "{model}");
    }
    // A call whose signature is known to be another family's gets none of its own either.
    let body = json!({"messages": [assistant(json!([{"type": "tool_use", "id": "c1", "name": "f", "thoughtSignature": signature("SIG_C")}]))]}).to_string();
    let request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let mut known = known();
    known.insert(
        &SignatureKey::Tool("c1"),
        Remembered { family: Family::Claude, signature: Some(signature("SIG_C")) },
    );
    let converted =
        convert(&request, &ModelId::new("gemini-3-pro"), &known, &Options::default(), &ToolCache::new(0))
            .unwrap();
    let part = &envelope(&converted)["request"]["contents"][0]["parts"][0];
    assert_eq!(part["thoughtSignature"], "skip_thought_signature_validator");
}

#[test]
fn order_of_assistant_blocks() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let messages =
        [user(json!("q")), assistant(json!([thinking("SIG_C"), text("x"), thinking("SIG_C"), text("y")]))];
    let body = spelled_out(&json!({"messages": messages}).to_string());
    for (always, want) in [
        (true, "model: thought hm | thought hm | text x | text y"),
        (false, "model: thought hm | text x | thought hm | text y"),
    ] {
        let options = Options { reorder_always: always, ..Options::default() };
        let got = converted(&body, "claude-sonnet-4-6", &options);
        assert_eq!(shape(&envelope(&got)["request"]["contents"])[1], want);
    }
    let messages = [assistant(json!([call("a"), text("x"), thinking("SIG_C"), text(" "), call("b")]))];
    for always in [true, false] {
        let options = Options { reorder_always: always, ..Options::default() };
        let got = converted(
            &spelled_out(&json!({"messages": messages}).to_string()),
            "claude-sonnet-4-6",
            &options,
        );
        assert_eq!(
            shape(&envelope(&got)["request"]["contents"])[0],
            "model: thought hm | text x | call a | call b"
        );
    }
}

#[test]
fn wanted_signatures_are_newest_first_and_distinct() {
    let body = spelled_out(
        &json!({"messages": [
            assistant(json!([thinking("SIG_C"), call("a")])), user(json!([result("a", json!(""))])),
            assistant(json!([thinking("SIG_G"), thinking("short"), call("b"), call("a")])), user(json!("x")),
        ]})
        .to_string(),
    );
    let request = MessagesRequest::parse(body.as_bytes()).unwrap();
    let (c, g) = (signature("SIG_C"), signature("SIG_G"));
    let claude = signatures_wanted(&request, &ModelId::new("claude-sonnet-4-6"));
    assert_eq!(claude, [SignatureKey::Thinking(&g), SignatureKey::Thinking(&c)]);
    let gemini = signatures_wanted(&request, &ModelId::new("gemini-3-pro"));
    assert_eq!(
        gemini,
        [
            SignatureKey::Tool("a"),
            SignatureKey::Tool("b"),
            SignatureKey::Thinking(&g),
            SignatureKey::Thinking(&c)
        ]
    );
    for remembered in [
        Remembered { family: Family::Gemini, signature: Some("a:b".to_owned()) },
        Remembered { family: Family::Claude, signature: None },
    ] {
        assert_eq!(Remembered::decode(&remembered.encode()), remembered);
    }
}
