//! `/api/logs`, its stream and `/api/events` over several gateways on one Redis: resumed at any of them, over its restart.

use std::collections::BTreeSet;
use std::time::Duration;

use antigravity_proxy::simulator::Scenario;
use antigravity_proxy::store::feed::Topic;
use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::redis_server::{Flavour, RedisServer};
use crate::support::replicas::{PATIENCE, until};
use crate::support::{Client, PLAIN, Replicas, ask};

/// Records of each gateway.
const EACH: usize = 200;

/// A stream as a browser reads it: it remembers the last id.
struct Source {
    path: String,
    last: Option<String>,
    answer: Option<Response>,
    text: String,
}

impl Source {
    fn new(path: &str) -> Self {
        Self { path: path.to_owned(), last: None, answer: None, text: String::new() }
    }

    /// Connects, again if it was connected.
    async fn connect(&mut self, client: &Client) {
        let mut request = client.request(Method::GET, &self.path).timeout(PATIENCE);
        if let Some(last) = &self.last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        self.answer = Some(answer);
        self.text.clear();
    }

    /// Name and data of the next event; `None` at the end of the connection.
    async fn event(&mut self) -> Option<(Option<String>, Value)> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let (id, name, data) = (field("id: "), field("event: "), field("data: "));
                self.text = rest.to_owned();
                self.last = id.or(self.last.take());
                if let Some(data) = data {
                    return Some((name, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let piece = self.answer.as_mut().unwrap().chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Waits until it stands somewhere.
    async fn placed(&mut self, client: &Client) {
        self.connect(client).await;
        while self.last.is_none() {
            let piece = self.answer.as_mut().unwrap().chunk().await.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
            if let Some((frame, _)) = self.text.rsplit_once("\n\n") {
                let id = frame.lines().find_map(|line| line.strip_prefix("id: "));
                self.last = id.map(str::to_owned);
            }
        }
    }
}

/// Writes a log record as a gateway does.
fn log(replicas: &Replicas, gateway: usize, level: &str, number: usize) {
    let kept = json!({
        "time": 1_767_225_600_000_i64, "replica": format!("r{gateway}"), "host": "pod", "level": level,
        "target": "antigravity_proxy::test", "message": format!("test {gateway}:{number}"),
    });
    replicas.store(gateway).feed().unwrap().append(Topic::Logs, kept.to_string().into());
}

/// Reads `count` lines that are this test's, changing the gateway every few of them.
async fn hop(replicas: &Replicas, mut source: Source, first: usize, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut turn = first;
    while seen.len() < count {
        source.connect(replicas.client(turn)).await;
        turn += 1;
        for _ in 0..7 + 3 * (turn % 5) {
            let Some((name, line)) = source.event().await else { break };
            assert_eq!((name, line.get("gap")), (None, None), "{line}");
            seen.push(line["summary"].as_str().unwrap().to_owned());
            if seen.len() == count {
                break;
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_once_in_order_at_changing_gateways_over_a_restart_of_redis() {
    let kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = RedisServer::with(Flavour::Redis7, &kept);
    let urls = vec![redis.url(); 2];
    let replicas = Replicas::cold(Scenario::default(), &urls, |_| {}).await;
    let mut sources = Vec::new();
    for number in 0..6 {
        let mut source = Source::new("/api/logs/stream?q=test&level=info");
        source.placed(replicas.client(number)).await;
        sources.push(source);
    }
    let writing = async {
        for number in 0..EACH {
            for gateway in 0..2 {
                log(&replicas, gateway, "info", number);
                log(&replicas, gateway, "debug", number);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            if number == EACH / 2 {
                redis.kill();
                tokio::time::sleep(Duration::from_millis(300)).await;
                redis.restart();
            }
        }
    };
    let reading =
        join_all(sources.into_iter().enumerate().map(|(at, source)| hop(&replicas, source, at, 2 * EACH)));
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(reading, writing) });
    let (seen, ()) = both.await.expect("all lines come");
    for other in &seen {
        assert_eq!(*other, seen[0]);
    }
    for gateway in 0..2 {
        let of = seen[0].iter().filter(|text| text.starts_with(&format!("test {gateway}:")));
        let expected: Vec<_> = (0..EACH).map(|number| format!("test {gateway}:{number}")).collect();
        assert_eq!(of.cloned().collect::<Vec<_>>(), expected);
    }
    // The same to who asks for them afterwards, wherever.
    for turn in 0..2 {
        let list = replicas.client(turn).get("/api/logs?q=test&level=info").await.1;
        let kept: Vec<_> =
            list["logs"].as_array().unwrap().iter().map(|line| line["summary"].clone()).collect();
        assert_eq!(kept, seen[0].iter().map(|text| json!(text)).collect::<Vec<_>>());
    }
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_redis_ends_no_stream() {
    let kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = RedisServer::with(Flavour::Redis7, &kept);
    let replicas = Replicas::cold(Scenario::default(), &vec![redis.url(); 2], |_| {}).await;
    let mut source = Source::new("/api/logs/stream?q=test");
    source.placed(replicas.client(0)).await;
    log(&replicas, 1, "info", 1);
    assert_eq!(source.event().await.unwrap().1["summary"], "test 1:1");
    redis.kill();
    log(&replicas, 1, "info", 2);
    let (status, answer) = replicas.client(0).get("/api/logs").await;
    assert_eq!((status, &answer["error"]), (503, &json!("Storage unavailable")));
    let (status, answer) = replicas.client(0).get("/health").await;
    assert_eq!(
        (status, &answer["status"], &answer["error"]),
        (503, &json!("error"), &json!("Storage unavailable"))
    );
    assert!(answer["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{answer}");
    // One that begins meanwhile gets its head, and goes on later.
    let mut history = Source::new("/api/logs/stream?history=true&q=test");
    history.connect(replicas.client(1)).await;
    let silence = tokio::time::timeout(Duration::from_secs(2), source.event()).await;
    assert!(silence.is_err(), "{silence:?}");
    redis.restart();
    let rest = async {
        assert_eq!(source.event().await.unwrap().1["summary"], "test 1:2");
        for expected in ["test 1:1", "test 1:2"] {
            assert_eq!(history.event().await.unwrap().1["summary"], expected);
        }
    };
    tokio::time::timeout(PATIENCE, rest).await.expect("it goes on");
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_tells_how_many_were_dropped_while_redis_was_away() {
    const WRITTEN: usize = 6000;
    let kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = RedisServer::with(Flavour::Redis7, &kept);
    let replicas = Replicas::cold(Scenario::default(), &[redis.url()], |_| {}).await;
    let feed = replicas.store(0).feed().unwrap();
    assert!(until(async || feed.waiting(Topic::Events) == 0).await);
    let mut source = Source::new("/api/logs/stream");
    source.placed(replicas.client(0)).await;
    redis.kill();
    let event = json!({"kind": "key.made", "id": "k", "time": 1_767_225_600_000_i64, "seq": 1});
    feed.append(Topic::Events, event.to_string().into());
    for number in 0..WRITTEN {
        log(&replicas, 0, "info", number);
    }
    redis.restart();
    let (mut seen, mut lost, mut lost_at) = (Vec::new(), Vec::new(), 0);
    let reading = async {
        while seen.last() != Some(&(WRITTEN - 1)) {
            let (_, line) = source.event().await.unwrap();
            assert_eq!(line.get("gap"), None, "{line}");
            let text = line["summary"].as_str().unwrap();
            if let Some(number) = text.strip_prefix("test 0:") {
                seen.push(number.parse::<usize>().unwrap());
            } else if let Some(count) = text.strip_suffix(" log lines dropped)") {
                assert_eq!(line["level"], "WARN", "{line}");
                assert_eq!(line["fields"]["dropped"].to_string(), count[1..]);
                lost.push(count[1..].parse::<usize>().unwrap());
                lost_at = seen.len();
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("all lines come");
    assert_eq!(lost.len(), 1, "{lost:?}");
    let missing = WRITTEN - seen.len();
    // Of the gateway's own lines some are missing, too.
    assert!((missing..missing + 200).contains(&lost[0]), "{missing} of {lost:?}");
    assert!(missing > 1000, "{missing}");
    let (before, behind) = seen.split_at(lost_at);
    assert_eq!(before, (0..lost_at).collect::<Vec<_>>());
    assert_eq!(behind, (lost_at + missing..WRITTEN).collect::<Vec<_>>());
    assert!(until(async || feed.waiting(Topic::Events) == 0).await);
    let events = feed.recent(Topic::Events, 99).await.unwrap().entries;
    assert!(events.iter().any(|entry| entry.text == event.to_string()), "the event was not evicted");
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_no_line_can_have_is_refused_or_begins_anew() {
    let redis = RedisServer::start();
    let replicas = Replicas::cold(Scenario::default(), &[redis.url()], |_| {}).await;
    let client = replicas.client(0);
    let top = "18446744073709551615-18446744073709551615";
    for path in ["logs?since", "logs?before", "logs/stream?since", "events?since"] {
        let (status, answer) = client.get(&format!("/api/{path}={top}")).await;
        assert_eq!((status, &answer["status"]), (400, &json!("error")), "{path}: {answer}");
    }
    let last = "999999999999999-999999999999999";
    for name in ["since", "before"] {
        let (status, answer) = client.get(&format!("/api/logs?q=test&{name}={last}")).await;
        assert_eq!((status, &answer["logs"]), (200, &json!([])), "{name}: {answer}");
    }
    // What a browser sends by itself is no mistake of anybody's: what is no id begins with all there is, of which nothing
    // has been lost yet.
    for (number, (id, gap)) in [(top, false), (last, true)].into_iter().enumerate() {
        let mut source = Source::new("/api/logs/stream?q=test");
        source.last = Some(id.to_owned());
        source.connect(client).await;
        let reading = async {
            if gap {
                let (_, first) = source.event().await.unwrap();
                assert_eq!(first["gap"], true, "{first}");
            }
            log(&replicas, 0, "info", number);
            loop {
                let (_, line) = source.event().await.unwrap();
                assert_eq!(line.get("gap"), None, "{line}");
                if line["summary"] == format!("test 0:{number}") {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the line comes");
    }
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_gateway_ends_its_streams_and_another_goes_on() {
    let redis = RedisServer::start();
    let mut replicas = Replicas::cold(Scenario::default(), &vec![redis.url(); 2], |_| {}).await;
    let mut sources = Vec::new();
    for number in 0..20 {
        let path = if number % 2 == 0 { "/api/logs/stream?q=test" } else { "/api/events?about=replica" };
        let mut source = Source::new(path);
        source.placed(replicas.client(1)).await;
        sources.push(source);
    }
    let ended = replicas.end_last();
    let closing = join_all(sources.iter_mut().map(async |source| while source.event().await.is_some() {}));
    // Well before the grace in which a shutdown waits for answers.
    let both = tokio::time::timeout(Duration::from_secs(4), async { tokio::join!(ended, closing) });
    both.await.expect("they end at once");
    log(&replicas, 0, "info", 7);
    for (number, source) in sources.iter_mut().enumerate() {
        source.connect(replicas.client(0)).await;
        let awaited = async {
            let mut first = true;
            loop {
                let (name, data) = source.event().await.unwrap();
                if number % 2 == 0 {
                    assert_eq!((first, name, &data["summary"]), (true, None, &json!("test 0:7")));
                    return;
                }
                assert_eq!(name.as_deref(), Some("replica"));
                // That they began may have been told a moment before.
                if data["kind"] == "replica.left" {
                    return;
                }
                first = false;
            }
        };
        tokio::time::timeout(PATIENCE, awaited).await.expect("another goes on");
    }
    replicas.shutdown().await;
}

/// The events until each of these kinds has been told.
async fn told(source: &mut Source, kinds: &[&str]) -> Vec<Value> {
    let mut told: Vec<Value> = Vec::new();
    let reading = async {
        while !kinds.iter().all(|kind| told.iter().any(|event| event["kind"] == *kind)) {
            let (name, event) = source.event().await.unwrap();
            let kind = event["kind"].as_str().unwrap();
            assert_eq!(name.as_deref(), kind.split('.').next(), "{event}");
            told.push(event);
        }
    };
    let all = tokio::time::timeout(PATIENCE, reading).await;
    assert!(all.is_ok(), "{kinds:?} are not all told: {told:?}");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_changes_everybody_is_told() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(Scenario::default().with_accounts(2), &vec![redis.url(); 2]).await;
    let mut sources = Vec::new();
    for turn in 0..2 {
        let mut source = Source::new("/api/events");
        source.placed(replicas.client(turn)).await;
        sources.push(source);
    }
    let limited = "dev2@example.com";
    replicas.fault(
        &json!({"account": limited, "times": 1}),
        &json!({"fault": "quota_exhausted", "reset_ms": 600_000}),
    );
    let met = until(async || {
        assert_eq!(replicas.client(0).send(&ask(PLAIN, "hello", true)).await.status, 200);
        replicas.model_calls().iter().any(|call| call.status != 200)
    });
    assert!(met.await);
    let toggle = json!({"enabled": false});
    let (status, _) = replicas.client(1).post("/api/accounts/dev1%40example.com/toggle", &toggle).await;
    assert_eq!(status, 200);
    let change = json!({"settings": {"maxRetries": 7}});
    let request = replicas.client(0).request(Method::PATCH, "/api/settings").json(&change);
    assert_eq!(request.send().await.unwrap().status(), 200);
    for source in &mut sources {
        let wanted = ["limit.set", "account.changed", "settings.changed"];
        let told = told(source, &wanted).await;
        let of = |kind: &str| told.iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
        let [limit] = of("limit.set")[..] else { panic!("{told:?}") };
        assert_eq!(
            (&limit["email"], &limit["model"], &limit["reason"]),
            (&json!(limited), &json!(PLAIN), &json!("quota"))
        );
        let [changed] = of("account.changed")[..] else { panic!("{told:?}") };
        assert_eq!(changed["email"], "dev1@example.com");
        assert_eq!(of("settings.changed")[0]["names"], json!(["maxRetries"]));
        let once: BTreeSet<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(once.len(), told.len());
    }
    let request = replicas.client(1).request(Method::DELETE, "/api/accounts/dev1%40example.com");
    assert_eq!(request.send().await.unwrap().status(), 200);
    for source in &mut sources {
        told(source, &["account.removed"]).await;
    }
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_session_or_the_password_that_opened_it() {
    let redis = RedisServer::start();
    let replicas = Replicas::cold(Scenario::default(), &vec![redis.url(); 2], |_| {}).await;
    let mut before = Source::new("/api/events");
    before.placed(replicas.client(0)).await;
    let body = json!({"oldPassword": "", "newPassword": "open sesame!"});
    assert_eq!(replicas.client(0).post("/api/config/password", &body).await.0, 200);
    // Whoever came in while there was no password is out.
    let ended = async |source: &mut Source| {
        let reading = async { while source.event().await.is_some() {} };
        assert!(tokio::time::timeout(PATIENCE, reading).await.is_ok(), "it ends");
    };
    ended(&mut before).await;

    let log_in = async || {
        let body = json!({"password": "open sesame!"});
        let (status, answer) = replicas.client(0).post("/api/session", &body).await;
        assert_eq!(status, 200, "{answer}");
        format!("Bearer {}", answer["token"].as_str().unwrap())
    };
    let open = async |path: &str, header: (&str, &str)| {
        let request = replicas.client(1).request(Method::GET, path).header(header.0, header.1);
        request.timeout(PATIENCE).send().await.unwrap()
    };
    let (one, other) = (log_in().await, log_in().await);
    let mut sources = Vec::new();
    for bearer in [&one, &other] {
        let mut source = Source::new("");
        source.answer = Some(open("/api/logs/stream", ("authorization", bearer)).await);
        assert_eq!(source.answer.as_ref().unwrap().status(), 200);
        sources.push(source);
    }
    // A browser: a ticket is good once, for either stream; a password in the address for the log stream alone.
    let ticket = async |bearer: &str| {
        let request = replicas.client(0).request(Method::POST, "/api/logs/ticket");
        let answer: Value =
            request.header("authorization", bearer).send().await.unwrap().json().await.unwrap();
        answer["ticket"].as_str().unwrap().to_owned()
    };
    for path in ["/api/logs/stream", "/api/events"] {
        let path = format!("{path}?ticket={}", ticket(&other).await);
        assert_eq!(open(&path, ("x-none", "")).await.status(), 200);
        assert_eq!(open(&path, ("x-none", "")).await.status(), 401);
    }
    let password = "password=open%20sesame!";
    assert_eq!(open(&format!("/api/logs/stream?{password}"), ("x-none", "")).await.status(), 200);
    assert_eq!(open(&format!("/api/events?{password}"), ("x-none", "")).await.status(), 401);

    let mut by_ticket = Source::new("");
    by_ticket.answer =
        Some(open(&format!("/api/events?ticket={}", ticket(&one).await), ("x-none", "")).await);

    let request = replicas.client(0).request(Method::DELETE, "/api/session").header("authorization", &one);
    assert_eq!(request.send().await.unwrap().status(), 200);
    ended(&mut sources[0]).await;
    ended(&mut by_ticket).await;
    log(&replicas, 0, "info", 1);
    let line = tokio::time::timeout(PATIENCE, async {
        loop {
            let (_, line) = sources[1].event().await.expect("the other goes on");
            if line["summary"] == "test 0:1" {
                return line;
            }
        }
    });
    line.await.expect("it is told");
    replicas.shutdown().await;
}
