//! What no client should send: every request is answered, or refused by the gateway itself with a path; the upstream
//! refuses none.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::{GEMINI, PLAIN, THINKING, TestGateway};

const MODELS: [&str; 4] = [THINKING, PLAIN, GEMINI, "gemini-2.5-flash"];

/// Sends a body as it is: not all of these can be a [`Value`].
async fn send(gateway: &TestGateway, body: String) -> (u16, Value) {
    let request = gateway.client.request(reqwest::Method::POST, "/v1/messages");
    let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// `fields` are members of the request beside `model`, each with a comma behind it or none at the end.
fn body(model: &str, fields: &str) -> String {
    format!(r#"{{"model":"{model}","max_tokens":3000,{fields}}}"#)
}

fn asked(more: &str) -> String {
    format!(r#"{more},"messages":[{{"role":"user","content":"hello"}}]"#)
}

fn said(messages: &Value) -> String {
    format!(r#""messages":{messages}"#)
}

async fn taken(gateway: &TestGateway, cases: &[(&str, String)]) {
    let mut wrong = String::new();
    for (name, fields) in cases {
        for model in MODELS {
            let (status, answer) = send(gateway, body(model, fields)).await;
            if status != 200 {
                let _ = writeln!(wrong, "{name}, {model}: {status} {answer}");
            }
        }
    }
    for refusal in gateway.simulator.refusals() {
        let _ = writeln!(wrong, "refused upstream: {refusal:?}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn call(id: &str, name: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": name, "input": {"a": 1}})
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "done"})
}

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

fn assistant(content: impl Into<Value>) -> Value {
    json!({"role": "assistant", "content": content.into()})
}

#[tokio::test]
async fn histories_that_no_client_should_send() {
    let gateway = TestGateway::of(1).await;
    let q = || user("hello");
    let thought = |signature: &str| json!({"type": "thinking", "thinking": "hm", "signature": signature});
    let foreign = "A".repeat(300);
    let cases = [
        ("result first", json!([user(vec![result("a")]), assistant(vec![call("a", "f")])])),
        (
            "same id twice",
            json!([q(), assistant(vec![call("a", "f"), call("a", "f")]), user(vec![result("a")])]),
        ),
        (
            "two results of one call",
            json!([q(), assistant(vec![call("a", "f")]), user(vec![result("a"), result("a")])]),
        ),
        (
            "empty turns",
            json!([
                user(""),
                assistant(""),
                user(Vec::<Value>::new()),
                assistant(Vec::<Value>::new()),
                user(" ")
            ]),
        ),
        ("assistant alone", json!([assistant("hi")])),
        (
            "assistant first",
            json!([assistant(vec![call("a", "f")]), user(vec![result("a")]), assistant("hi"), q()]),
        ),
        ("system alone", json!([{"role": "system", "content": "be kind"}])),
        (
            "system between call and result",
            json!([q(), assistant(vec![call("a", "f")]), {"role": "system", "content": [text("mind")]}, user(vec![result("a")])]),
        ),
        ("prefill", json!([q(), assistant("The answer is ")])),
        ("prefilled call", json!([q(), assistant(vec![text("x"), call("a", "f")])])),
        (
            "calls without an answer",
            json!([
                q(),
                assistant(vec![call("a", "f")]),
                q(),
                assistant(vec![call("a", "f")]),
                assistant("x"),
                q()
            ]),
        ),
        ("only thoughts", json!([q(), assistant(vec![thought(&foreign)]), q()])),
        (
            "foreign thought in a loop",
            json!([q(), assistant(vec![thought(&foreign), call("a", "f")]), user(vec![result("a")])]),
        ),
        (
            "redacted in a loop",
            json!([
                q(),
                assistant(vec![json!({"type": "redacted_thinking", "data": "zz"}), call("a", "f")]),
                user(vec![result("a")])
            ]),
        ),
        (
            "own signature of nobody",
            json!([
                q(),
                assistant(vec![
                    json!({"type": "tool_use", "id": "a", "name": "f", "input": {}, "thoughtSignature": null})
                ]),
                user(vec![result("a")])
            ]),
        ),
        ("thought of the user", json!([user(vec![thought(&foreign), text("x")])])),
        (
            "NUL",
            json!([
                user("a\u{0}b"),
                assistant(vec![
                    json!({"type": "tool_use", "id": "\u{0}", "name": "\u{0}", "input": {"\u{0}": "\u{0}"}})
                ]),
                user(vec![result("\u{0}")])
            ]),
        ),
        (
            "odd names",
            json!([
                q(),
                assistant(vec![
                    call("a", ""),
                    call("b", "1st"),
                    call("c", "-x"),
                    call("d", &"9".repeat(200)),
                    call("e", "é"),
                    call("f", "a:b")
                ]),
                q()
            ]),
        ),
        (
            "odd ids",
            json!([
                q(),
                assistant(vec![call("", "f"), call(&"i".repeat(500), "f"), call("ä ö", "f")]),
                user(vec![result("ä ö"), result("")])
            ]),
        ),
    ];
    let cases: Vec<_> = cases.iter().map(|(name, messages)| (*name, said(messages))).collect();
    taken(&gateway, &cases).await;
}

#[tokio::test]
async fn odd_values_and_new_fields() {
    let gateway = TestGateway::of(1).await;
    let tool = r#"{"name":"1.st","input_schema":{"type":"object","properties":{"a":{"type":"string"}}}}"#;
    let with = |choice: &str| asked(&format!(r#""tools":[{tool}],"tool_choice":{choice}"#));
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let cases = [
        ("lone surrogates", r#""messages":[{"role":"user","content":"a\ud800b\udfff"},{"role":"assistant","content":[{"type":"tool_use","id":"\ud800","name":"\udfff","input":{"\ud800":"\ud800"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"\ud800","content":{"x":"\udc00"}}]}]"#.to_owned()),
        ("huge numbers", r#""messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"a":123456789012345678901234567890,"b":1e308,"c":-0,"d":0.1e-400}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":18446744073709551616}]}]"#.to_owned()),
        ("duplicate keys", r#""messages":"x","messages":[{"role":"assistant","role":"user","content":7e0,"content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"a":1,"a":2},"input":{"b":1,"b":2}}]}]"#.replacen(r#""messages":"x","#, "", 1).replacen(r#""content":7e0,"#, r#""content":"y","#, 1)),
        ("nested results", format!(r#""messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":[{{"type":"tool_use","id":"a","name":"f","input":{}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"a","is_error":true,"content":{}}}]}}]"#, nested(91), nested(91))),
        ("auto", with(r#"{"type":"auto","disable_parallel_tool_use":true}"#)),
        ("any", with(r#"{"type":"any"}"#)),
        ("tool", with(r#"{"type":"tool","name":"1.st"}"#)),
        ("none", with(r#"{"type":"none"}"#)),
        ("null choice", with("null")),
        ("later choice", with(r#"{"type":"later"}"#)),
        ("choice without tools", asked(r#""tool_choice":{"type":"any"}"#)),
        ("odd tool names", asked(r#""tools":[{"name":"1"},{"name":"-"},{"name":"_1"},{"name":"é"},{"name":"a b"},{"name":"a_b"},{},{"name":"tool-6"},{"name":"\ud800"},{"name":"1","description":null,"input_schema":null,"type":"custom","name":"2"}]"#)),
        ("deferred", asked(r#""tools":[{"name":"f","defer_loading":true,"input_schema":{"type":"object"}},{"type":"tool_search_tool_regex_20251119","name":"tool_search_tool_regex"}]"#)),
        ("today's fields", asked(r#""thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"max","task_budget":{"type":"tokens","total":9}},"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]},"metadata":{"user_id":"{\"session_id\":\"x\"}"},"service_tier":"auto","betas":["x"],"container":{"id":"c"},"mcp_servers":[{"type":"url"}],"speed":"fast","unknown":{"a":[null]}"#)),
        ("nulls", asked(r#""system":null,"tools":null,"tool_choice":null,"thinking":null,"output_config":null,"output_format":null,"temperature":null,"top_p":null,"top_k":null,"stop_sequences":null,"metadata":null,"stream":null"#)),
        ("sampling", asked(r#""temperature":0.3,"top_p":-0.0,"top_k":0,"stop_sequences":["a","b","c","d","e","f"]"#)),
        ("budgets", asked(r#""thinking":{"type":"enabled","budget_tokens":2147483647},"max_tokens":2147483647"#)),
        ("small budgets", asked(r#""thinking":{"type":"enabled","budget_tokens":1},"max_tokens":1"#)),
        ("whole fraction", asked(r#""max_tokens":4096.0,"top_k":4e1"#)),
        ("schema of the answer", asked(r##""output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}}}}}"##)),
        ("blank system", asked(r#""system":[{"type":"text","text":""},{"type":"text","text":"\n"}]"#)),
        ("system of other blocks", asked(r#""system":[{"type":"later","text":"x"},{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"},"citations":null}]"#)),
    ];
    taken(&gateway, &cases).await;
}

#[tokio::test]
async fn blocks_of_every_kind() {
    let gateway = TestGateway::of(1).await;
    let source = |source: Value| json!({"type": "document", "title": "t", "citations": {"enabled": true}, "source": source});
    let image = |source: Value| json!({"type": "image", "source": source});
    let blocks = json!([
        source(json!({"type": "base64", "media_type": "application/pdf", "data": "AAAA"})),
        source(json!({"type": "url", "url": "https://example.com/a.pdf"})),
        source(json!({"type": "file", "file_id": "file_1"})),
        source(json!({"type": "text", "media_type": "text/plain", "data": "words"})),
        source(json!({"type": "content", "content": [text("words"), text("")]})),
        source(json!({"type": "later"})),
        source(json!({"type": "base64", "media_type": "text/plain", "data": "d29yZHM="})),
        source(json!({"type": "base64", "media_type": "application/msword", "data": "AAAA"})),
        source(json!({"type": "base64", "media_type": "application/pdf", "data": ""})),
        image(json!({"type": "base64", "media_type": "image/png", "data": "AAAA"})),
        image(json!({"type": "base64", "media_type": "image/svg+xml", "data": "AAAA"})),
        image(json!({"type": "base64", "media_type": "IMAGE/PNG", "data": "AAAA"})),
        image(json!({"type": "base64", "media_type": "image/jpg", "data": "AAAA"})),
        image(json!({"type": "url", "url": "https://example.com/a.png"})),
        image(json!({"type": "file", "file_id": "file_1"})),
        {"type": "container_upload", "file_id": "file_1"},
        {"type": "search_result", "title": "t", "source": "s", "content": [text("c")], "citations": {"enabled": true}},
        {"type": "tool_reference", "tool_name": "f"},
        {"type": "later", "text": "words", "deep": {"content": [{"text": "more"}]}},
        {"type": "later"},
        {"type": "text", "text": "cited", "citations": [{"type": "char_location", "cited_text": "x"}], "cache_control": null},
    ]);
    let mut cases = Vec::new();
    for block in blocks.as_array().unwrap() {
        cases.push((block.to_string(), json!([user(vec![block.clone()])])));
        cases.push((
            format!("returned {block}"),
            json!([
                user("hello"),
                assistant(vec![call("a", "f")]),
                user(vec![json!({"type": "tool_result", "tool_use_id": "a", "content": [block]})])
            ]),
        ));
        cases.push((
            format!("of the model {block}"),
            json!([user("hello"), assistant(vec![block.clone()]), user("x")]),
        ));
    }
    let cases: Vec<_> = cases.iter().map(|(name, messages)| (name.as_str(), said(messages))).collect();
    taken(&gateway, &cases).await;
}

/// What is refused is refused by the gateway, with status, shape and path.
#[tokio::test]
async fn refusals_name_the_field() {
    let gateway = TestGateway::of(1).await;
    let deep = format!(
        r#""later":{}1{},"messages":[{{"role":"user","content":"x"}}]"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    let fetched = |url: &str| {
        said(&json!([user(vec![json!({"type": "image", "source": {"type": "url", "url": url}})])]))
    };
    for (fields, path) in [
        (fetched(""), "messages.0.content.0.source.url"),
        (fetched("data:image/png;base64,AAAA"), "send other data as a base64 source"),
        (fetched("file:///etc/passwd"), "messages.0.content.0.source.url"),
        (
            r#""messages":[{"role":"user","content":[{"type":"tool_use","id":"a","name":"f"}]}]"#.to_owned(),
            "messages.0.content.0",
        ),
        (
            r#""messages":[{"role":"assistant","content":[{"type":"tool_result","tool_use_id":"a"}]}]"#
                .to_owned(),
            "messages.0.content.0",
        ),
        (asked(r#""temperature":"warm""#), "temperature"),
        (asked(r#""tools":[{"name":"a"},{"name":"a"}]"#), "tools.1.name"),
        (asked(r#""tools":[{"name":"a"}],"tool_choice":{"type":"tool","name":"b"}"#), "tool_choice.name"),
        (asked(r#""max_tokens":-1"#), "max_tokens"),
        (asked(r#""stop_sequences":[" "]"#), "stop_sequences.0"),
        (deep, "nested deeper than"),
    ] {
        let (status, answer) = send(&gateway, body(PLAIN, &fields)).await;
        assert_eq!((status, &answer["type"]), (400, &json!("error")), "{fields}: {answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(path), "{path}: {answer}");
    }
    assert!(gateway.model_calls().is_empty());
    gateway.settled().await;
}

/// A tool's own name in declaration, history, choice and both forms of the answer, though three names have one clean form.
#[tokio::test]
async fn names_lead_back_in_streams_and_whole_answers() {
    let gateway = TestGateway::of(1).await;
    let long = "n".repeat(90);
    let names = ["mcp.a/b", "mcp.a b", "mcp_a_b", "1st", &long, &format!("{long}x")];
    let tools: Vec<Value> =
        names.iter().map(|name| json!({"name": name, "input_schema": {"type": "object"}})).collect();
    for model in MODELS {
        for name in names {
            let ask = |stream: bool| {
                json!({"model": model, "max_tokens": 3000, "stream": stream, "tools": tools,
                    "tool_choice": {"type": "tool", "name": name},
                    "messages": [user("hello"), assistant(vec![call("a", name)]), user(vec![result("a")]), user("go on")]})
            };
            gateway.simulator.clear_faults();
            let first: Answer = gateway.client.send(&ask(false)).await;
            assert_eq!(first.status, 200, "{}", first.body);
            let sent = gateway.model_calls().pop().unwrap().body;
            let request = &sent["request"];
            let at = names.iter().position(|one| *one == name).unwrap();
            let clean = request["tools"][0]["functionDeclarations"][at]["name"].clone();
            let turns = request["contents"].as_array().unwrap();
            let parts = || turns.iter().flat_map(|turn| turn["parts"].as_array().unwrap());
            assert!(parts().filter_map(|part| part.get("functionCall")).all(|call| call["name"] == clean));
            assert!(parts().filter_map(|part| part.get("functionResponse")).all(|one| one["name"] == clean));
            if model.starts_with("gemini") {
                let allowed = &request["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"];
                assert_eq!(allowed, &json!([clean]));
            }
            let chunk = json!({"response": {"candidates": [{"content": {"role": "model", "parts": [
                {"functionCall": {"name": clean, "args": {}}}]}, "finishReason": "STOP"}]}});
            gateway.fault(&json!({}), &json!({"chunks": [chunk]}));
            for stream in [false, true] {
                let answer = gateway.client.send(&ask(stream)).await;
                assert_eq!(answer.body["content"][0]["name"], *name, "{model} {stream}: {}", answer.body);
            }
        }
    }
    gateway.settled().await;
}
