//! The feed of logs of real processes: read at changing gateways while one is killed and Redis restarts; and no log line
//! that is about sending log lines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::gateway::{Home, SOON, until};
use crate::http;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::simulator::Simulator;
use crate::site::{BRISK, Site};

/// A stream of lines, as a browser reads it.
struct Lines {
    http: reqwest::Client,
    query: &'static str,
    answer: Option<reqwest::Response>,
    text: String,
    last: Option<String>,
    /// Ids and lines.
    seen: Vec<(String, Value)>,
}

impl Lines {
    fn new(query: &'static str) -> Self {
        // Another test may have been quicker with the same provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, query, answer: None, text: String::new(), last: None, seen: Vec::new() }
    }

    /// Connects, again if it was connected; false when nobody answers.
    async fn connect(&mut self, url: &str) -> bool {
        self.text.clear();
        let mut request = self.http.get(format!("{url}/api/logs/stream?{}", self.query));
        if let Some(last) = &self.last {
            request = request.header("last-event-id", last);
        }
        self.answer = request.send().await.ok();
        assert!(self.answer.as_ref().is_none_or(|answer| answer.status() == 200));
        self.answer.is_some()
    }

    /// Reads what comes within `patience`; false when the connection has ended.
    async fn read(&mut self, patience: Duration) -> bool {
        let Some(answer) = &mut self.answer else { return false };
        let Ok(piece) = tokio::time::timeout(patience, answer.chunk()).await else { return true };
        let Ok(Some(piece)) = piece else { return false };
        self.text.push_str(&String::from_utf8_lossy(&piece));
        while let Some((frame, rest)) = self.text.split_once("\n\n") {
            let field =
                |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(id) = field("id: ") {
                if let Some(data) = field("data: ") {
                    self.seen.push((id.clone(), serde_json::from_str(&data).unwrap()));
                }
                self.last = Some(id);
            } else {
                assert!(!frame.contains("\"gap\":true"), "{frame}");
            }
            self.text = rest.to_owned();
        }
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_read_once_though_a_gateway_is_killed_and_redis_restarts() {
    let mut site = Site::start(2).await;
    let (one, two) = (site.home(), site.home());
    let (first, second) = (one.start().await, two.start().await);
    let mut lines = Lines::new("");
    assert!(lines.connect(&first.url).await);
    until("it stands somewhere", async || {
        assert!(lines.read(Duration::from_millis(20)).await);
        lines.last.is_some()
    })
    .await;
    let start = lines.last.clone().unwrap();

    let urls = [first.url.clone(), second.url.clone()];
    let (turn, alive) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let route = {
        let (urls, turn, alive) = (urls.clone(), Arc::clone(&turn), Arc::clone(&alive));
        move || {
            let both = alive.load(Ordering::SeqCst) == 0;
            urls[if both { turn.fetch_add(1, Ordering::Relaxed) % 2 } else { 1 }].clone()
        }
    };
    let load = Load::start(4, BRISK, route);
    // Reads on, at the other gateway after every few pieces.
    let mut at = 0;
    let mut read_until = async |lines: &mut Lines, done: &dyn Fn(&Lines) -> bool| {
        let reading = async {
            let mut pieces = 0;
            while !done(lines) {
                pieces += 1;
                let dead = alive.load(Ordering::SeqCst) > 0;
                if !lines.read(Duration::from_millis(50)).await || pieces % 5 == 0 {
                    at += 1;
                    lines.connect(&urls[if dead { 1 } else { at % 2 }]).await;
                }
            }
        };
        tokio::time::timeout(SOON, reading).await.expect("lines come");
    };
    read_until(&mut lines, &|lines| lines.seen.len() > 40).await;
    alive.store(1, Ordering::SeqCst);
    first.kill().await;
    let before = lines.seen.len();
    read_until(&mut lines, &|lines| lines.seen.len() > before + 20).await;
    site.redis.kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    site.redis.restart();
    let before = load.answered();
    read_until(&mut lines, &|_| load.answered() > before + 20).await;
    let seen = load.finish().await;
    let served: BTreeSet<_> = seen
        .answers
        .iter()
        .filter(|answer| answer.url == second.url)
        .map(|answer| answer.request.clone())
        .collect();
    let told = |lines: &Lines| -> Vec<String> {
        let of_requests = lines.seen.iter().filter(|(_, line)| line["fields"]["outcome"] == "served");
        of_requests.map(|(_, line)| line["requestId"].as_str().unwrap_or_default().to_owned()).collect()
    };
    // An answer goes before its line.
    read_until(&mut lines, &|lines| {
        let told: BTreeSet<_> = told(lines).into_iter().collect();
        served.is_subset(&told)
    })
    .await;
    let told = told(&lines);
    assert_eq!(told.len(), told.iter().collect::<BTreeSet<_>>().len(), "each once");
    assert!(lines.seen.iter().any(|(_, line)| line["level"] == "SUCCESS"));

    // What the stream has, and nothing else.
    let mut ledger = Ledger::new(&site.redis);
    let key = ledger.key("feed:logs");
    let last = lines.seen.last().unwrap().0.clone();
    let kept: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(key).arg(format!("({start}")).arg(last).query(ledger.connection()).unwrap();
    let kept: Vec<_> = kept.ids.into_iter().map(|entry| entry.id).collect();
    assert_eq!(lines.seen.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), kept);
    let replicas: BTreeSet<_> = lines.seen.iter().map(|(_, line)| line["replica"].to_string()).collect();
    assert_eq!(replicas.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_lines_makes_no_lines() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator).env("LOG_LEVEL", "trace,antigravity_proxy=trace");
    let document = simulator.accounts.to_string();
    home.succeed(&["accounts", "import", "-"], document.as_bytes()).await;
    let gateway = home.start().await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut lines = Lines::new("history=true");
        assert!(lines.connect(&gateway.url).await);
        readers.push(lines);
    }
    assert_eq!(gateway.ask(BRISK).await.status, 200);
    let mut read = async |patience: Duration| {
        let reading = async {
            loop {
                for lines in &mut readers {
                    assert!(lines.read(Duration::from_millis(10)).await);
                }
            }
        };
        let _never: Result<(), _> = tokio::time::timeout(patience, reading).await;
        readers[0].seen.len()
    };
    let settled = read(Duration::from_secs(2)).await;
    assert!(settled > 3, "{settled}");
    let later = read(Duration::from_secs(5)).await;
    // What background work says now and then.
    assert!(later - settled < 50, "{settled}, then {later}");
    let stderr = gateway.log.text();
    assert!(stderr.contains("TRACE hyper") || stderr.contains("TRACE mio"), "libraries do say much");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_references_way_of_reading_logs_works() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator).env("WEBUI_PASSWORD", "hunter2-hunter2");
    let document = simulator.accounts.to_string();
    home.succeed(&["accounts", "import", "-"], document.as_bytes()).await;
    let gateway = home.start().await;
    assert_eq!(gateway.ask(BRISK).await.status, 200);
    let console = [("x-webui-password", "hunter2-hunter2")];
    let list = async || {
        let url = format!("{}/api/logs?limit=50", gateway.url);
        http::send("GET", &url, &console, b"").await.json()
    };
    until("the request is told", async || {
        list().await["logs"].as_array().unwrap().iter().any(|line| line["level"] == "SUCCESS")
    })
    .await;
    let list = list().await;
    assert_eq!(list["status"], "ok");
    for line in list["logs"].as_array().unwrap() {
        let level = line["level"].as_str().unwrap();
        assert!(["INFO", "SUCCESS", "WARN", "ERROR", "DEBUG"].contains(&level), "{line}");
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        assert!(line["message"].is_string(), "{line}");
    }
}
