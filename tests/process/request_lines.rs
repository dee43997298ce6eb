//! Every request for messages leaves exactly one line in the log, whatever became of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::collector::Collector;
use crate::gateway::{Gateway, Home, SOON, until};
use crate::http;
use crate::simulator::Simulator;

const KEY: &str = "key-of-the-client";

struct World {
    simulator: Simulator,
    gateway: Gateway,
    /// The outcomes that must be in the log, as `outcome status`.
    expected: Vec<String>,
}

impl World {
    async fn start(home: impl FnOnce(Home) -> Home) -> Self {
        let simulator = Simulator::with_accounts(2).await;
        let home = home(Home::with(&simulator).env("API_KEY", KEY).file(&json!({
            "requestBodyLimit": 10_000, "requestDeadlineMs": 3_000, "maxWaitBeforeErrorMs": 0, "retryBaseMs": 100,
        })));
        home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
        let gateway = home.start().await;
        http::send("GET", &format!("{}/v1/models", gateway.url), &[("x-api-key", KEY)], b"").await;
        Self { simulator, gateway, expected: Vec::new() }
    }

    fn head(&self, body: &[u8], key: &str) -> Vec<u8> {
        let headers = [("content-type", "application/json"), ("x-api-key", key)];
        http::request("POST", &format!("{}/v1/messages", self.gateway.url), &headers, body)
    }

    /// Sends `body` and expects its line to tell of `outcome` and the answer's status.
    async fn send(&mut self, body: &[u8], key: &str, status: u16, outcome: &str) {
        let bytes = self.head(body, key);
        let answer = http::exchange(http::split(&self.gateway.url).0, &bytes).await.expect("an answer");
        assert_eq!(answer.status, status, "{outcome}: {}", answer.text());
        self.expected.push(format!("{outcome} {status}"));
    }

    async fn ask(&mut self, stream: bool, status: u16, outcome: &str) {
        let body = http::message("reply with exactly: fine", stream).to_string();
        self.send(body.as_bytes(), KEY, status, outcome).await;
    }

    /// The next calls of a model meet `fault`.
    async fn fault(&self, fault: Value, times: u32) {
        self.simulator
            .rule(&json!({"when": {"path": "enerateContent", "times": times}, "then": fault}))
            .await;
    }

    async fn calls(&self) -> usize {
        self.simulator.requests("enerateContent").await.len()
    }

    /// Begins a stream that never ends; what comes until `enough` is read, then the client goes away.
    async fn leave(&mut self, enough: &str, status: u16) {
        let called = self.calls().await;
        let body = http::message("write 300 words", true).to_string();
        let mut connection = TcpStream::connect(http::split(&self.gateway.url).0).await.unwrap();
        connection.write_all(&self.head(body.as_bytes(), KEY)).await.unwrap();
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(enough) {
            let mut piece = [0; 4096];
            let more = tokio::time::timeout(SOON, connection.read(&mut piece)).await.unwrap().unwrap();
            assert!(more > 0);
            read.extend_from_slice(&piece[..more]);
        }
        until("the upstream is called", async || self.calls().await > called).await;
        drop(connection);
        self.expected.push(format!("cancelled {status}"));
    }

    /// All lines about requests for messages, once there are as many as requests; the gateway has ended then.
    async fn lines(mut self) -> (Vec<Value>, Vec<String>) {
        until("every request has its line", async || {
            of_messages(&self.gateway.log.text()).len() >= self.expected.len()
        })
        .await;
        self.gateway.terminate().await;
        assert!(self.gateway.ended(SOON).await.success());
        (of_messages(&self.gateway.log.text()), self.expected)
    }
}

fn of_messages(log: &str) -> Vec<Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"] == "antigravity_proxy::request" && line["route"] == "/v1/messages")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_whatever_became_of_it() {
    let collector = Collector::start().await;
    let traced = |home: Home| {
        home.env("LOG_FORMAT", "json")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
    };
    let mut world = World::start(traced).await;
    for stream in [true, false] {
        world.ask(stream, 200, "served").await;
        world.fault(json!({"fault": "server_error"}), 1).await;
        world.ask(stream, 200, "served").await;
        world.fault(json!({"fault": "invalid_argument"}), 1).await;
        world.ask(stream, 400, "client_error").await;
    }
    // Refused before dispatch has seen them.
    let good = http::message("hello", false).to_string();
    world.send(good.as_bytes(), "wrong-key", 401, "client_error").await;
    world.send(b"{\"messages\":", KEY, 400, "client_error").await;
    world.send(good.replace("claude-sonnet-4-6", "no-such-model").as_bytes(), KEY, 400, "client_error").await;
    world.send(&vec![b' '; 20_000], KEY, 413, "client_error").await;
    // Cut off before its body was there.
    let whole = world.head(good.as_bytes(), KEY);
    let mut connection = TcpStream::connect(http::split(&world.gateway.url).0).await.unwrap();
    connection.write_all(&whole[..whole.len() - 10]).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await.unwrap();
    world.expected.push("client_error 400".into());
    // A stream that breaks, clients that leave, a deadline.
    world.fault(json!({"cut_after": 2, "text": "one two three four five six seven eight nine"}), 1).await;
    world.ask(true, 200, "broken").await;
    world.fault(json!({"stall_after": 2}), 1).await;
    world.leave("text_delta", 200).await;
    world.fault(json!({"stall_after": 0}), 1).await;
    world.leave("", 499).await;
    world.fault(json!({"stall_after": 0}), 1).await;
    world.ask(false, 529, "deadline").await;
    // The quota of all accounts is used up.
    world.fault(json!({"fault": "quota_exhausted", "reset_ms": 7_200_000}), 100).await;
    world.ask(true, 429, "rate_limited").await;

    let (lines, mut expected) = world.lines().await;
    let mut told: Vec<_> = lines
        .iter()
        .map(|line| format!("{} {}", line["outcome"].as_str().unwrap(), line["status"]))
        .collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected, "{lines:#?}");
    let by_id: BTreeMap<_, _> =
        lines.iter().map(|line| (line["request_id"].as_str().unwrap().to_owned(), line)).collect();
    assert_eq!(by_id.len(), lines.len(), "each line is of another request");

    for line in &lines {
        let served = line["outcome"] == "served";
        assert_eq!(line["level"], if served || line["outcome"] == "cancelled" { "INFO" } else { "WARN" });
        assert!(line["total_ms"].is_u64() && line["peer"] == "127.0.0.1", "{line}");
        // Each is in a trace, which tells the same.
        let trace = collector.trace_of(line["request_id"].as_str().unwrap()).await;
        trace.assert_consistent();
        assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(trace.root.trace), &json!(trace.root.id)));
        assert_eq!(line["outcome"], trace.root.get("antigravity_proxy.outcome"));
        assert_eq!(line["attempts"].to_string(), trace.root.get("antigravity_proxy.attempts"));
        if line["status"] == 401 {
            assert!(line.get("client.key.id").is_none(), "{line}");
        } else {
            assert_eq!(
                (&line["client.key.id"], &line["client.key.name"]),
                (&json!("default"), &json!("default"))
            );
        }
        if served {
            assert!(
                line["tokens.input"].as_u64().unwrap() > 0 && line["tokens.output"].as_u64().unwrap() > 0,
                "{line}"
            );
            assert!(line["first_event_ms"].as_u64() <= line["total_ms"].as_u64(), "{line}");
            assert_eq!(
                (&line["stop_reason"], &line["model.asked"]),
                (&json!("end_turn"), &json!("claude-sonnet-4-6"))
            );
            assert_eq!(
                (&line["model.served"], line["session"].as_str().unwrap().len()),
                (&line["model.asked"], 16)
            );
            assert!(
                line["stream"].is_boolean() && !line["account.id"].as_str().unwrap().contains('@'),
                "{line}"
            );
        }
    }
    let retried = lines.iter().filter(|line| line["outcome"] == "served" && line["attempts"] == 2).count();
    assert_eq!(retried, 2, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_people_it_is_one_readable_line() {
    let mut world = World::start(|home| home.env("LOG_FORMAT", "text")).await;
    world.ask(true, 200, "served").await;
    let log = world.gateway.log.clone();
    until("it has its line", async || log.text().contains("200 served")).await;
    world.gateway.terminate().await;
    assert!(world.gateway.ended(SOON).await.success());
    let text = log.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("POST /v1/messages 200 served")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    for part in [
        " INFO ",
        "request_id=\"req_",
        "outcome=\"served\"",
        "model.served=\"claude-sonnet-4-6\"",
        "attempts=1",
    ] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    // Who only looks is no news.
    assert!(!text.contains("GET /v1/models"), "{text}");
}
