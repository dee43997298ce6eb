//! Turns, calls and their answers.
#![expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]

use serde_json::{Value, json};

use super::super::super::Options;
use super::*;

pub(super) fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

pub(super) fn assistant(content: Value) -> Value {
    json!({"role": "assistant", "content": content})
}

pub(super) fn call(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "read.file", "input": {"b": 1, "a": 2}})
}

pub(super) fn result(id: &str, content: Value) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": content})
}

pub(super) fn turns(messages: &[Value], model: &str) -> Value {
    contents(&json!({"messages": messages}), model)
}

/// A short form: role and, for each part, what it is.
pub(super) fn shape(contents: &Value) -> Vec<String> {
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
        assert_eq!(got[2]["parts"][0]["functionResponse"]["response"].to_string(), want, "{content}");
    }
    let missing = json!({"type": "tool_result", "tool_use_id": "a", "is_error": true});
    let got = turns(&[assistant(json!([call("a")])), user(json!([missing]))], "claude-sonnet-4-6");
    assert_eq!(got[2]["parts"][0]["functionResponse"]["response"], json!({"result": "", "is_error": true}));
    let object = json!({"type": "tool_result", "tool_use_id": "a", "is_error": true, "content": {"k": 1}});
    let got = turns(&[assistant(json!([call("a")])), user(json!([object]))], "claude-sonnet-4-6");
    let response = &got[2]["parts"][0]["functionResponse"]["response"];
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
        shape(&turns(&messages, "claude-sonnet-4-6"))[2],
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

/// Ids that Claude models refuse become good ones, the same on call and result, and no two calls share one.
#[test]
fn ids_are_good_and_unique() {
    let odd = "functions.f:0";
    let messages = [
        user(json!("q")),
        assistant(json!([call(odd), call("a"), call("")])),
        user(
            json!([result(odd, json!("1")), result("a", json!("2")), {"type": "tool_result", "content": "3"}]),
        ),
        assistant(json!([call(odd), call("a"), call("a")])),
        user(json!([result("a", json!("4")), result(odd, json!("5")), result("a", json!("6"))])),
    ];
    let ids = |messages: &[Value]| -> Vec<(String, String)> {
        let contents = turns(messages, "claude-sonnet-4-6");
        let parts = contents.as_array().unwrap().iter().flat_map(|turn| turn["parts"].as_array().unwrap());
        parts
            .filter_map(|part| {
                let (value, shown) = if let Some(call) = part.get("functionCall") {
                    (call, "call".to_owned())
                } else {
                    let answer = part.get("functionResponse")?;
                    (answer, answer["response"]["result"].as_str().unwrap().to_owned())
                };
                Some((value["id"].as_str().unwrap().to_owned(), shown))
            })
            .collect()
    };
    let got = ids(&messages);
    let (calls, answers): (Vec<_>, Vec<_>) = got.iter().cloned().partition(|(_, shown)| shown == "call");
    let calls: Vec<String> = calls.into_iter().map(|(id, _)| id).collect();
    assert_eq!((calls[1].as_str(), calls[4].as_str(), calls[5].as_str()), ("a", "a_2", "a_3"));
    for (at, id) in calls.iter().enumerate() {
        assert!(
            !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
            "{id}"
        );
        assert!(!calls[..at].contains(id), "{id}");
    }
    let answered = |result: &str| answers.iter().find(|(_, shown)| shown == result).unwrap().0.clone();
    assert_eq!(
        ["1", "2", "3", "5", "4", "6"].map(answered).to_vec(),
        calls,
        "each result goes to its call, equal ids in their order"
    );
    assert_eq!(ids(&messages[..3]), got[..6], "ids of a growing conversation stay");
}

/// Matching results to calls one by one would take minutes here.
#[test]
fn many_calls_at_once_are_matched_in_linear_time() {
    let ids: Vec<String> = (0..50_000).map(|at| format!("toolu_{at}")).collect();
    let calls: Vec<Value> = ids.iter().map(|id| call(id)).collect();
    let results: Vec<Value> = ids.iter().rev().map(|id| result(id, json!(id))).collect();
    let got = turns(&[user(json!("q")), assistant(json!(calls)), user(json!(results))], "claude-sonnet-4-6");
    let answers = got[2]["parts"].as_array().unwrap();
    assert_eq!(answers.len(), ids.len());
    for answer in answers {
        assert_eq!(answer["functionResponse"]["id"], answer["functionResponse"]["response"]["result"]);
    }
}

#[test]
fn blank_search_results_are_left_out() {
    let blank = json!({"type": "search_result", "title": " ", "source": "", "content": [{"type": "text", "text": "\n"}]});
    let filled = json!({"type": "search_result", "title": "T", "source": "s", "content": [{"type": "text", "text": "\n"}]});
    let got = turns(
        &[user(
            json!([blank, filled, {"type": "document", "source": {"type": "content", "content": [blank]}}]),
        )],
        "claude-sonnet-4-6",
    );
    assert_eq!(shape(&got), ["user: text T\ns"]);
}

#[test]
fn a_prefilled_answer_is_followed_by_a_request_to_go_on() {
    let messages = [user(json!("q")), assistant(json!("{ "))];
    for model in ["claude-opus-4-6-thinking", "gemini-3-pro"] {
        let got = shape(&turns(&messages, model));
        assert_eq!(got[..2], ["user: text q", "model: text { "]);
        assert!(got.len() == 3 && got[2].starts_with("user: text Go on"), "{got:?}");
    }
    let blank = [user(json!("q")), assistant(json!(" "))];
    assert_eq!(shape(&turns(&blank, "gemini-3-pro")), ["user: text q"]);
    let alone = [assistant(json!("hi")), user(json!("q"))];
    assert_eq!(shape(&turns(&alone, "gemini-3-pro")), ["user: text .", "model: text hi", "user: text q"]);
}

#[test]
fn what_only_the_original_api_understands_becomes_notes() {
    let long = "x".repeat(20_000);
    let messages = [
        user(json!([{"type": "text", "text": "q"}, {"type": "container_upload", "file_id": "file_1"}])),
        assistant(json!([
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "a \"b\""}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [
                {"type": "web_search_result", "title": "T", "url": "https://x/", "encrypted_content": "ZZZZ", "page_age": "1 day"}]},
            {"type": "mcp_tool_use", "id": "m", "name": "echo", "server_name": "srv", "input": {}},
            {"type": "mcp_tool_result", "tool_use_id": "m", "is_error": false, "content": [{"type": "text", "text": "hi"}]},
            {"type": "code_execution_tool_result", "tool_use_id": "c", "content":
                {"type": "code_execution_result", "stdout": "out\n", "stderr": "", "return_code": 0}},
            {"type": "compaction", "content": "We fixed \"it\"."},
            {"type": "newest", "text": long},
            {"type": "empty_one", "id": "x"},
        ])),
        user(json!([result(
            "gone",
            json!([{"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result", "url": "https://y/",
            "content": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "page"}}}}])
        )])),
    ];
    let body = json!({"messages": messages}).to_string();
    let got = converted(&body, "claude-sonnet-4-6", &Options::default());
    let contents = envelope(&got)["request"]["contents"].clone();
    assert_eq!(contents[0]["parts"][1]["text"], "[A file that cannot be forwarded was left out.]");
    let notes: Vec<&str> =
        contents[1]["parts"].as_array().unwrap().iter().map(|part| part["text"].as_str().unwrap()).collect();
    assert_eq!(
        notes[..6],
        [
            "[server_tool_use web_search]\n{\"query\":\"a \\\"b\\\"\"}",
            "[web_search_tool_result]\nT\nhttps://x/\n1 day",
            "[mcp_tool_use echo]",
            "[mcp_tool_result]\nhi",
            "[code_execution_tool_result]\nout\n",
            "[compaction]\nWe fixed \"it\".",
        ]
    );
    assert_eq!(notes.len(), 7);
    assert!(notes[6].starts_with("[newest]\nxxx") && notes[6].ends_with("x\n[The rest was left out.]"));
    assert!(notes[6].len() < 17_000);
    let late = contents[2]["parts"][0]["text"].as_str().unwrap();
    assert!(late.ends_with("[web_fetch_tool_result]\nhttps://y/\npage"), "{late}");
    assert_eq!(
        got.warnings,
        [
            Warning::BlocksDropped(1),
            Warning::OrphanResults(1),
            Warning::FilesNotForwarded(1),
            Warning::BlocksNoted(8),
        ]
    );
}

#[test]
fn documents_keep_title_and_context() {
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "BBBB"});
    let content = json!([{"type": "text", "text": "inner"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]);
    let messages = [
        assistant(json!([call("a")])),
        user(json!([
            result("a", json!([{"type": "document", "title": "R", "source": pdf}])),
            {"type": "document", "source": pdf, "title": "T \"x\"", "context": "from mail", "citations": {"enabled": true}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}, "title": null},
            {"type": "document", "source": {"type": "content", "content": content}, "context": " "},
            {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
            {"type": "document", "source": {"type": "file", "file_id": "f"}, "title": "F"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}},
        ])),
    ];
    assert_eq!(
        shape(&turns(&messages, "gemini-3-pro"))[2],
        "user: answer a {\"result\":\"[Document: R]\"} | text [Document: T \"x\"]\nfrom mail | inline | text plain | \
         text inner | inline | file | text [Document: F] | text [A file that cannot be forwarded was left out.] | \
         text [A file that cannot be forwarded was left out.] | inline"
    );
}

/// A picture that a model drew comes back in its turn, where no upstream model takes it.
#[test]
fn media_of_the_model_move_to_the_user() {
    let png =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let messages =
        [user(json!("draw")), assistant(json!([png, call("a")])), user(json!([result("a", json!("r"))]))];
    assert_eq!(
        shape(&turns(&messages, "gemini-3-pro"))[1..3],
        [
            "model: text [The file that was shown here follows in the next message.] | call a",
            "user: answer a {\"result\":\"r\"} | inline",
        ]
    );
    assert_eq!(
        shape(&turns(
            &messages[..1].iter().cloned().chain([assistant(json!([png]))]).collect::<Vec<_>>(),
            "gemini-3-pro"
        ))
        .len(),
        3
    );
}
