//! `/api/logs` and its stream on the wire, over a feed in this process.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::config::ServerConfig;
use crate::server::app;
use crate::server::auth::Peer;
use crate::server::gateway::Gateway as _;
use crate::server::state::AppState;
use crate::server::tests::{Fake, state};
use crate::store::feed::hub::Hub;
use crate::store::feed::{ENTRY_MAX, Topic};
use crate::telemetry::requests;

/// A gateway whose feed is written by the test.
struct Bench {
    state: Arc<AppState>,
    hub: Hub,
    _running: TaskTracker,
}

impl Bench {
    fn new() -> Self {
        let fake = Fake::default();
        let hub = fake.feed();
        let running = TaskTracker::new();
        running.spawn(hub.clone().run(CancellationToken::new()));
        Self { state: state(&ServerConfig::default(), fake), hub, _running: running }
    }

    fn log(&self, level: &str, message: &str, fields: &Value) {
        let target = if fields.get("outcome").is_some() { requests::TARGET } else { "antigravity_proxy::x" };
        let kept = json!({
            "time": 1_767_225_600_000_i64, "replica": "r1", "host": "pod-1", "level": level, "target": target,
            "message": message, "fields": fields,
        });
        self.hub.feed().append(Topic::Logs, kept.to_string().into());
    }

    fn numbers(&self, range: std::ops::Range<u32>) {
        for number in range {
            self.log("info", &number.to_string(), &json!({}));
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Body) {
        let peer = Peer::Tcp("127.0.0.1:1".parse().unwrap());
        let mut request = http::Request::builder().uri(path).extension(peer).header("host", "localhost:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = app(&self.state).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (response.status(), response.into_body())
    }

    async fn list(&self, query: &str) -> Value {
        let (status, body) = self.get(&format!("/api/logs?{query}"), &[]).await;
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["status"], if status == StatusCode::OK { "ok" } else { "error" }, "{body}");
        body
    }

    async fn messages(&self, query: &str) -> Vec<String> {
        let list = self.list(query).await;
        let logs = list["logs"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
        logs.map(|line| line["summary"].as_str().unwrap().to_owned()).collect()
    }

    async fn open(&self, query: &str, last: Option<&str>) -> Reader {
        let headers: Vec<_> = last.into_iter().map(|id| ("last-event-id", id)).collect();
        let (status, body) = self.get(&format!("/api/logs/stream?{query}"), &headers).await;
        assert_eq!(status, StatusCode::OK);
        Reader { body, text: String::new() }
    }
}

/// An event of a stream: its id, and its data where it is no comment.
type Event = (Option<String>, Option<Value>);

struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    async fn event(&mut self) -> Event {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let read = (field("id: "), field("data: ").map(|data| serde_json::from_str(&data).unwrap()));
                self.text = rest.to_owned();
                return read;
            }
            let data = self.body.frame().await.expect("the stream goes on").unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The next lines, and the last id.
    async fn lines(&mut self, count: usize) -> (Vec<Value>, String) {
        let (mut lines, mut last, mut comments) = (Vec::new(), String::new(), 0);
        while lines.len() < count {
            assert!(comments < 10, "only heartbeats after {lines:?}");
            comments += 1;
            let (id, data) = self.event().await;
            if data.is_some() {
                comments = 0;
            }
            lines.extend(data);
            last = id.unwrap_or(last);
        }
        (lines, last)
    }

    async fn numbers(&mut self, count: usize) -> (Vec<u32>, String) {
        let (lines, last) = self.lines(count).await;
        (lines.iter().map(|line| line["message"].as_str().unwrap().parse().unwrap()).collect(), last)
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_found_by_what_they_have() {
    let bench = Bench::new();
    bench.log("info", "served one", &json!({"outcome": "served", "request_id": "req_1", "model": "Gemini"}));
    bench.log("info", "a start", &json!({}));
    bench.log("warn", "a warning", &json!({"request_id": "req_1"}));
    bench.log("debug", "a detail", &json!({}));
    bench.log("error", "a fault", &json!({"model": "gemini"}));
    for (query, expected) in [
        ("", &["served one", "a start", "a warning", "a detail", "a fault"] as &[&str]),
        ("level=warn,ERROR", &["a warning", "a fault"]),
        ("level=SUCCESS", &["served one"]),
        ("level=info", &["a start"]),
        ("q=GEMINI", &["served one", "a fault"]),
        ("q=gemini&level=error", &["a fault"]),
        ("request=req_1", &["served one", "a warning"]),
        ("replica=pod-1&limit=1", &["a fault"]),
        ("replica=r1&limit=2", &["a detail", "a fault"]),
        ("replica=other", &[]),
        ("from=1767225600001", &[]),
        ("from=1767225600000&to=1767225600001&level=debug", &["a detail"]),
        ("to=1767225600000", &[]),
        ("from=2026-01-01T00:00:00.000Z&level=debug", &["a detail"]),
    ] {
        assert_eq!(bench.messages(query).await, expected, "{query}");
    }
    for (query, told) in [
        ("limit=0", "limit: must be a number between 1 and 1000"),
        ("limit=1001", "limit: must be a number between 1 and 1000"),
        ("limit=x", "limit: must be a number between 1 and 1000"),
        ("level=loud", "level must be some of"),
        ("since=x", "since must be the id of a line"),
        ("before=1", "before must be the id of a line"),
        ("since=1-1&before=1-1", "since and before cannot both be given"),
        ("from=x", "from: must be milliseconds since the epoch"),
        ("lvl=ERROR", "unknown field `lvl`, expected one of `limit`, `level`"),
    ] {
        let answer = bench.list(query).await;
        assert_eq!(answer["status"], "error", "{query}");
        assert!(answer["error"].as_str().unwrap().contains(told), "{query}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_paged_both_ways_without_gap_or_duplicate() {
    let bench = Bench::new();
    bench.numbers(0..2500);
    let mut seen: Vec<String> = Vec::new();
    let mut query = "limit=700".to_owned();
    loop {
        let page = bench.list(&query).await;
        let mut older: Vec<_> = page["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect();
        older.append(&mut seen);
        seen = older;
        let Some(before) = page["older"].as_str() else { break };
        query = format!("limit=700&before={before}");
    }
    assert_eq!(seen, (0..2500).map(|number| number.to_string()).collect::<Vec<_>>());
    // One in a thousand, far back.
    assert_eq!(bench.messages("q=77&limit=2").await, ["2377", "2477"]);
    assert_eq!(bench.messages("q=1234").await, ["1234"]);

    let first = bench.list("limit=2500&q=0").await;
    assert_eq!(first["status"], "error", "the limit is a thousand");
    let mut next = bench.list("before=1-1").await["next"].as_str().unwrap().to_owned();
    let mut forward = Vec::new();
    loop {
        let page = bench.list(&format!("since={next}&limit=999")).await;
        // Before the first there is nothing that this ring knows of.
        assert_eq!(page["gap"], forward.is_empty(), "{next}");
        let lines = page["logs"].as_array().unwrap();
        if lines.is_empty() {
            break;
        }
        forward.extend(lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()));
        page["next"].as_str().unwrap().clone_into(&mut next);
    }
    assert_eq!(forward, seen);
    bench.numbers(2500..2501);
    assert_eq!(bench.messages(&format!("since={next}")).await, ["2500"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_where_another_ended() {
    let bench = Bench::new();
    bench.numbers(0..5);
    let mut live = bench.open("", None).await;
    assert_eq!(live.event().await, (None, None), "the head");
    let (start, nothing) = live.event().await;
    assert_eq!(nothing, None);
    bench.numbers(5..8);
    assert_eq!(live.numbers(3).await.0, [5, 6, 7]);
    // Whoever left before the first line.
    let (seen, last) = bench.open("", start.as_deref()).await.numbers(2).await;
    assert_eq!(seen, [5, 6]);
    // The browser's word goes before the address, which it sends again.
    let old = start.unwrap();
    let mut resumed = bench.open(&format!("history=true&since={old}"), Some(&last)).await;
    bench.numbers(8..9);
    assert_eq!(resumed.numbers(2).await.0, [7, 8]);
    assert_eq!(bench.open(&format!("since={old}"), None).await.numbers(4).await.0, [5, 6, 7, 8]);

    let mut history = bench.open("history=true", None).await;
    assert_eq!(history.numbers(9).await.0, (0..9).collect::<Vec<_>>());
    let mut some = bench.open("history=true&limit=2", None).await;
    assert_eq!(some.numbers(2).await.0, [7, 8]);
    bench.numbers(9..10);
    assert_eq!(some.numbers(1).await.0, [9]);
    assert_eq!(history.numbers(1).await.0, [9]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_few_lines_remembers_those_it_passed_over() {
    let bench = Bench::new();
    let mut errors = bench.open("level=error", None).await;
    errors.event().await;
    let (start, _) = errors.event().await;
    bench.numbers(0..100);
    let (passed, nothing) = errors.event().await;
    assert_eq!(nothing, None, "a heartbeat");
    assert!(passed > start);
    bench.log("error", "a fault", &json!({}));
    let (lines, last) = errors.lines(1).await;
    assert_eq!((lines[0]["level"].as_str(), lines[0]["id"].as_str()), (Some("ERROR"), Some(last.as_str())));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_kept_is_told() {
    let bench = Bench::new();
    bench.numbers(0..2);
    let (_, last) = bench.open("history=true", None).await.numbers(1).await;
    // More than the ring holds.
    let filler = "x".repeat(ENTRY_MAX / 2);
    for _ in 0..3000 {
        bench.log("debug", &filler, &json!({}));
    }
    bench.numbers(2..3);
    let mut resumed = bench.open("level=info,warn", Some(&last)).await;
    let (lines, _) = resumed.lines(2).await;
    assert_eq!((&lines[0]["gap"], &lines[0]["level"]), (&json!(true), &json!("WARN")));
    assert_eq!(lines[0].get("id"), None);
    assert_eq!((&lines[1]["message"], lines[1].get("gap")), (&json!("2"), None));
    // An id of who knows what.
    let (lines, _) = bench.open("level=info", Some("no-id")).await.lines(2).await;
    assert_eq!((&lines[0]["gap"], &lines[1]["message"]), (&json!(true), &json!("2")));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_alive_within_fifteen_seconds() {
    let bench = Bench::new();
    let mut live = bench.open("", None).await;
    live.event().await;
    live.event().await;
    for _ in 0..3 {
        let beat = tokio::time::timeout(Duration::from_secs(15), live.event()).await;
        assert_eq!(beat.expect("within 15 s"), (None, None));
    }
}
