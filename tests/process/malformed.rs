//! Bad input: said what and where, never passed on, never fatal.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cases::bad_bodies;
use crate::gateway::{Gateway, Home};
use crate::http::{self, Answer};
use crate::simulator::Simulator;

const JSON: (&str, &str) = ("content-type", "application/json");
const LARGE: usize = 60 * 1024 * 1024;

async fn served() -> (Simulator, Home, Gateway) {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator);
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let gateway = home.start().await;
    (simulator, home, gateway)
}

/// The shape that clients expect of every error; returns the message.
fn refused(answer: &Answer, status: u16, kind: &str, name: &str) -> String {
    assert_eq!(answer.status, status, "{name}: {}", answer.text());
    assert!(answer.whole, "{name}: {answer:?}");
    assert_eq!(answer.headers.get("content-type").map(String::as_str), Some("application/json"), "{name}");
    let body = answer.json();
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)), "{name}: {body}");
    let id = answer.headers.get("request-id").unwrap_or_else(|| panic!("{name}: no request-id"));
    assert!(id.starts_with("req_"), "{name}: {id}");
    assert_eq!(body["request_id"], **id, "{name}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// Nothing reached a model, the gateway lives and serves.
async fn unharmed(simulator: &Simulator, gateway: &mut Gateway) {
    for path in ["enerateContent", "countTokens"] {
        let seen = simulator.requests(path).await;
        assert!(seen.is_empty(), "the upstream has seen {seen:?}");
    }
    assert!(gateway.runs(), "{}", gateway.log.text());
    let answer = gateway.ask("reply with exactly: still here").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["content"][0]["text"], "still here");
    assert!(!gateway.log.text().contains("panicked"), "{}", gateway.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_is_answered_with_its_place() {
    let (simulator, _home, mut gateway) = served().await;
    let cases = bad_bodies();
    assert!(cases.len() >= 100);
    let mut wrong = Vec::new();
    for case in &cases {
        let mut paths = vec!["/v1/messages?beta=true"];
        // Counting needs no model.
        paths.extend((case.words != "model").then_some("/v1/messages/count_tokens"));
        for path in paths {
            let url = format!("{}{path}", gateway.url);
            let answer = http::send("POST", &url, &[JSON], &case.body).await;
            let message = refused(&answer, 400, "invalid_request_error", &case.name);
            if !message.contains(&case.words) || message.len() > 400 {
                wrong.push(format!("{path} {}: {message:?} instead of {:?}", case.name, case.words));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    unharmed(&simulator, &mut gateway).await;
}

/// `data` in chunks of 1 MiB.
fn chunked(data: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(data.len() + 4096);
    for piece in data.chunks(1 << 20) {
        framed.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_413_however_it_is_sent() {
    let (simulator, _home, mut gateway) = served().await;
    let mut body = http::message(&"x".repeat(LARGE), false).to_string().into_bytes();
    let framed = chunked(&body);
    let chunks = [JSON, ("transfer-encoding", "chunked")];
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let url = format!("{}{path}", gateway.url);
        let host = http::split(&url).0;
        let whole = http::request("POST", &url, &[JSON], &body);
        let pieces = http::request("POST", &url, &chunks, &framed);
        for (name, request) in [("content-length", whole), ("chunked", pieces)] {
            let answer = http::exchange(host, &request).await.unwrap_or_else(|| panic!("{name}: no answer"));
            let message = refused(&answer, 413, "request_too_large", name);
            assert!(message.contains("52428800"), "{message}");
        }
        // The length alone decides: nothing of it has to be sent.
        let announced = http::request("POST", &url, &[JSON, ("content-length", "999999999999")], b"");
        refused(&http::exchange(host, &announced).await.unwrap(), 413, "request_too_large", "announced");
    }
    body.truncate(0);
    unharmed(&simulator, &mut gateway).await;
}

#[tokio::test]
async fn the_limit_is_a_setting() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator).file(&json!({"requestBodyLimit": "2kb"}));
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let gateway = home.start().await;
    for (length, status) in [(1500, 200), (2048, 413)] {
        let answer = gateway.ask(&"x".repeat(length)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

/// Method, path, headers; status, kind and words of the answer.
type Misdirected<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn wrong_routes_methods_and_framing_are_answered_in_shape() {
    let (simulator, _home, mut gateway) = served().await;
    let good = http::message("reply with exactly: no", false).to_string();
    let invalid = "invalid_request_error";
    let cases: &[Misdirected<'_>] = &[
        ("POST", "/v1/messages", &[("content-type", "text/plain")], 415, invalid, "application/json"),
        (
            "POST",
            "/v1/messages",
            &[("content-type", "application/x-www-form-urlencoded")],
            415,
            invalid,
            "JSON",
        ),
        ("POST", "/v1/messages", &[], 415, invalid, "content-type"),
        ("POST", "/v1/messages", &[JSON, ("content-encoding", "gzip")], 415, invalid, "content-encoding"),
        ("POST", "/v1/messages", &[JSON, ("content-encoding", "nonsense")], 415, invalid, "content-encoding"),
        ("POST", "/v1/message", &[JSON], 404, "not_found_error", "POST /v1/message not found"),
        ("POST", "/v1/messages/batches", &[JSON], 404, "not_found_error", "not found"),
        ("POST", "/v2/messages", &[JSON], 404, "not_found_error", "not found"),
        ("POST", "/v1/%ff%fe", &[JSON], 404, "not_found_error", "not found"),
        ("GET", "/v1/messages", &[], 405, invalid, "GET is not allowed"),
        ("PUT", "/v1/messages", &[JSON], 405, invalid, "PUT is not allowed"),
        ("DELETE", "/v1/models", &[], 405, invalid, "DELETE is not allowed"),
        ("BREW", "/v1/messages", &[JSON], 405, invalid, "BREW is not allowed"),
        ("GET", "/v1/models/no-such-model", &[], 404, "not_found_error", ""),
    ];
    for (method, path, headers, status, kind, words) in cases {
        let body = if *method == "GET" { "" } else { &good };
        let answer = http::send(method, &format!("{}{path}", gateway.url), headers, body.as_bytes()).await;
        let name = format!("{method} {path} {headers:?}");
        let message = refused(&answer, *status, kind, &name);
        assert!(message.contains(words), "{name}: {message}");
    }
    let url = format!("{}/v1/messages", gateway.url);
    for framed in
        [&b"zz\r\nhello\r\n0\r\n\r\n"[..], b"5\r\nhel\r\n0\r\n\r\n", b"-1\r\n\r\n", b"fffffffffffffffff\r\nx"]
    {
        let answer = http::send("POST", &url, &[JSON, ("transfer-encoding", "chunked")], framed).await;
        refused(&answer, 400, invalid, &String::from_utf8_lossy(framed));
    }
    // The console's routes have a shape of their own.
    for (body, words) in
        [("", "JSON"), ("{", "JSON"), ("[]", "accounts"), ("{\"accounts\":7}", "accounts"), ("7", "acc")]
    {
        let answer =
            http::send("POST", &format!("{}/api/accounts/import", gateway.url), &[JSON], body.as_bytes())
                .await;
        let said = answer.json();
        assert_eq!((answer.status, &said["status"]), (400, &json!("error")), "{body}: {said}");
        assert!(said["error"].as_str().unwrap().contains(words), "{body}: {said}");
        assert!(answer.headers["request-id"].starts_with("req_"));
    }
    unharmed(&simulator, &mut gateway).await;
}

/// What is no HTTP, or ends in the middle, costs its own connection and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_harm_nobody_else() {
    let (simulator, _home, mut gateway) = served().await;
    let body = http::message("reply with exactly: no", false).to_string();
    let url = format!("{}/v1/messages", gateway.url);
    let whole = http::request("POST", &url, &[JSON], body.as_bytes());
    let huge = "x".repeat(1 << 20);
    let texts: Vec<Vec<u8>> = vec![
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"GARBAGE\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\xff".to_vec(),
        http::request("POST", &url, &[JSON, ("content-length", "-5")], body.as_bytes()),
        http::request("POST", &url, &[JSON, ("content-length", "many")], body.as_bytes()),
        http::request("POST", &url, &[JSON, ("x-large", &huge)], body.as_bytes()),
        whole[..whole.len() - 5].to_vec(),
        whole[..40].to_vec(),
        Vec::new(),
    ];
    for text in &texts {
        let mut connection = TcpStream::connect(http::split(&url).0).await.unwrap();
        connection.write_all(text).await.ok();
        connection.shutdown().await.ok();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(40), connection.read_to_end(&mut answer)).await;
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
        assert!(read.is_ok(), "{shown:?} keeps its connection");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.contains(" 200 "), "{shown:?}: {answer}");
    }
    unharmed(&simulator, &mut gateway).await;
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = http::get(&format!("{}/metrics", gateway.metrics_url)).await.text();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_unusual_is_accepted() {
    let (simulator, _home, gateway) = served().await;
    let dropped = "antigravity_proxy_dropped_blocks_total";
    let url = format!("{}/v1/messages", gateway.url);
    let answered = async |body: &str, text: &str| {
        let answer = http::send("POST", &url, &[JSON], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        assert_eq!(answer.json()["content"][0]["text"], text, "{body}");
    };
    answered(
        r#"{"model":"claude-sonnet-4-6","max_tokens":null,"stream":null,"system":null,"tools":null,"tool_choice":null,
            "temperature":null,"top_p":null,"top_k":null,"stop_sequences":null,"metadata":null,"thinking":null,
            "output_config":null,"service_tier":null,"container":null,"mcp_servers":null,"context_management":null,
            "messages":[{"role":"user","content":"reply with exactly: nulls"}]}"#,
        "nulls",
    )
    .await;
    answered(
        r#"{"model":"claude-sonnet-4-6","max_tokens":9,"novel":{"deep":[1,{"er":null}]},"":0,"stream":false,
            "messages":[{"role":"user","novel":7,"content":[{"type":"text","text":"reply with exactly: fields",
            "citations":null,"cache_control":{"type":"ephemeral","ttl":"9h"},"novel":[]}]}]}"#,
        "fields",
    )
    .await;
    assert_eq!(metric(&gateway, dropped).await, 0);
    answered(
        r#"{"model":"claude-sonnet-4-6","max_tokens":9,"messages":[{"role":"user","content":[
            {"type":"hologram","data":{"x":[1]}},{"type":"server_tool_use","id":"a","name":"b","input":7},
            {"type":"text","text":"reply with exactly: blocks"}]}]}"#,
        "blocks",
    )
    .await;
    // What a server's tool was asked is sent on as a note; in the other block there is nothing to read.
    assert_eq!(metric(&gateway, dropped).await, 1);
    answered(
        r#"{"model":7.5e1,"model":"claude-sonnet-4-6","max_tokens":9,"max_tokens":90,
            "messages":[{"role":"user","content":"reply with exactly: first"}],
            "messages":[{"role":"assistant","role":"user","content":"reply with exactly: second",
            "content":[{"type":"text","text":"reply with exactly: third","text":"reply with exactly: fourth"}]}]}"#
            .replace("\"model\":7.5e1,", "\"model\":\"no-such-model\",")
            .as_str(),
        "fourth",
    )
    .await;
    let deep = format!("{}{}", "[".repeat(95), "]".repeat(95));
    answered(
        &format!(
            r#"{{"model":"claude-sonnet-4-6","max_tokens":9,"novel":{deep},
            "messages":[{{"role":"user","content":"reply with exactly: deep"}}]}}"#
        ),
        "deep",
    )
    .await;
    answered(
        "\n\t {\"model\" : \"claude-sonnet-4-6\" , \"max_tokens\" : 9.0 , \"messages\" : \
         [ { \"role\" : \"user\" , \"content\" : \"reply with exactly: \\u0062lanks\" } ] } \r\n",
        "blanks",
    )
    .await;
    let refusals: Value = http::get(&format!("{}/sim/refusals", simulator.url)).await.json();
    assert_eq!(refusals, json!([]), "the upstream got what it refuses");
}
