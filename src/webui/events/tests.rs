//! `/api/events` on the wire, over a feed in this process.

use std::sync::Arc;

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::Places;
use crate::config::ServerConfig;
use crate::server::app;
use crate::server::auth::Peer;
use crate::server::gateway::Gateway as _;
use crate::server::state::AppState;
use crate::server::tests::{Fake, state};
use crate::store::feed::Topic;
use crate::store::feed::hub::Hub;
use crate::telemetry::requests;

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

    fn event(&self, kind: &str, more: &Value) {
        let mut event = json!({"time": 5, "seq": 9, "kind": kind});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.hub.feed().append(Topic::Events, event.to_string().into());
    }

    fn ended(&self, request: &str) {
        let kept = json!({
            "time": 7, "replica": "r1", "level": "info", "target": requests::TARGET, "message": "m",
            "fields": {"outcome": "served", "account.id": "a1", "total_ms": 12, "request_id": request},
        });
        self.hub.feed().append(Topic::Logs, kept.to_string().into());
    }

    fn other_line(&self) {
        let kept = json!({
            "time": 7, "replica": "r1", "level": "info", "target": requests::TARGET, "message": "m", "fields": {"status": 200},
        });
        self.hub.feed().append(Topic::Logs, kept.to_string().into());
    }

    async fn get(&self, query: &str, last: Option<&str>) -> (StatusCode, Body) {
        let peer = Peer::Tcp("127.0.0.1:1".parse().unwrap());
        let request = http::Request::builder().uri(format!("/api/events?{query}")).extension(peer);
        let request =
            request.header("host", "localhost:8080").header("last-event-id", last.unwrap_or_default());
        let response = app(&self.state).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (response.status(), response.into_body())
    }

    async fn open(&self, query: &str, last: Option<&str>) -> Reader {
        let (status, body) = self.get(query, last).await;
        assert_eq!(status, StatusCode::OK);
        Reader { body, text: String::new() }
    }
}

/// Id, name, data.
type Told = (Option<String>, Option<String>, Option<Value>);

struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    async fn told(&mut self) -> Told {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let data = field("data: ").map(|data| serde_json::from_str(&data).unwrap());
                let told = (field("id: "), field("event: "), data);
                self.text = rest.to_owned();
                return told;
            }
            let data = self.body.frame().await.expect("the stream goes on").unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The next one that is no comment: id, name, data.
    async fn event(&mut self) -> (Option<String>, String, Value) {
        for _ in 0..10 {
            if let (id, Some(name), Some(data)) = self.told().await {
                return (id, name, data);
            }
        }
        panic!("only heartbeats");
    }

    /// The id that a stream begins with.
    async fn place(&mut self) -> String {
        for _ in 0..10 {
            if let (Some(id), None, None) = self.told().await {
                return id;
            }
        }
        panic!("no place");
    }
}

#[test]
fn places_survive_the_way_through_a_client() {
    for text in ["5-1.7-2", "-.7-2", "5-1.-", "-.-"] {
        assert_eq!(Places::parse(text).unwrap().text(), text);
    }
    for text in ["", "5-1", "5-1.", ".", "5-1.7-2.1-1", "x.y"] {
        assert_eq!(Places::parse(text), None, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_is_told_and_gone_on_from() {
    let bench = Bench::new();
    bench.event("replica.joined", &json!({"replica": "r0"}));
    let mut live = bench.open("", None).await;
    let start = live.place().await;
    bench.event("account.invalid", &json!({"account": "a1", "reason": "banned"}));
    let (first, name, data) = live.event().await;
    assert_eq!(name, "account");
    let expected = json!({
        "time": 5, "seq": 9, "kind": "account.invalid", "account": "a1", "reason": "banned", "email": "a@b",
    });
    assert_eq!(data, expected);
    bench.other_line();
    bench.ended("req_1");
    let (second, name, data) = live.event().await;
    let expected = json!({
        "time": 7, "kind": "request.ended", "request": "req_1", "replica": "r1", "email": "a@b",
        "fields": {"outcome": "served", "account.id": "a1", "total_ms": 12, "request_id": "req_1"},
    });
    assert_eq!((name.as_str(), data), ("request", expected));
    bench.event("settings.changed", &json!({"generation": 3}));
    let (third, name, _) = live.event().await;
    assert_eq!(name, "settings");
    // From each of them on, whatever the order between the two.
    let kinds = async |id: &str, count: usize| {
        let mut reader = bench.open("", Some(id)).await;
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(reader.event().await.2["kind"].as_str().unwrap().to_owned());
        }
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(&start, 3).await, ["account.invalid", "request.ended", "settings.changed"]);
    assert_eq!(kinds(&first.unwrap(), 2).await, ["request.ended", "settings.changed"]);
    assert_eq!(kinds(&second.unwrap(), 1).await, ["settings.changed"]);
    let mut after = bench.open(&format!("since={}", third.unwrap()), None).await;
    bench.event("key.created", &json!({"key": "k"}));
    assert_eq!(after.event().await.1, "key");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_wanted_is_told() {
    let bench = Bench::new();
    let mut accounts = bench.open("about=account,replica", None).await;
    assert!(accounts.place().await.ends_with(".-"));
    let mut requests = bench.open("about=request", None).await;
    assert!(requests.place().await.starts_with("-."));
    bench.event("limit.set", &json!({"account": "a1"}));
    bench.ended("req_1");
    bench.event("replica.left", &json!({"replica": "r0"}));
    assert_eq!(accounts.event().await.1, "replica");
    assert_eq!(requests.event().await.1, "request");
    for query in ["about=weather", "about=account,", "since=x", "since=5-1"] {
        assert_eq!(bench.get(query, None).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    let (_, _, data) = bench.open("history=true&about=limit", None).await.event().await;
    assert_eq!(data["kind"], "limit.set");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told() {
    let bench = Bench::new();
    bench.event("settings.changed", &json!({}));
    for id in ["3-1.-", "no id"] {
        let mut resumed = bench.open("about=settings", Some(id)).await;
        let (id, name, data) = resumed.event().await;
        assert_eq!((id, name.as_str(), &data["of"]), (None, "gap", &json!("events")));
        assert_eq!(resumed.event().await.1, "settings");
    }
}
