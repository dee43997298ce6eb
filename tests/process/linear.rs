//! Many gateways on one Redis under a load of successes, limits, failures and cancelled requests: what they did is
//! one history, and the model tells it without contradiction.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, SOON};
use crate::http;
use crate::redis_server::RedisServer;
use crate::replay::Replay;
use crate::script_calls::{seq, writes};
use crate::site::Site;
use crate::tap::{Called, Tap};

const ACCOUNTS: usize = 50;

/// How much of it.
struct Size {
    gateways: usize,
    clients: usize,
    time: Duration,
}

/// The n-th call of a model fails in this way, counted over all gateways.
fn faults() -> Vec<Value> {
    let mut rules = Vec::new();
    for call in (150..6000).step_by(13) {
        let then = match call % 9 {
            0 => json!({"fault": "quota_exhausted", "reset_ms": 3000}),
            1 | 2 => json!({"fault": "rate_limited", "reset_ms": 1200}),
            3 => json!({"fault": "capacity"}),
            4 => json!({"hang_up": true}),
            5 => json!({"empty": true}),
            6 => json!({"fault": "permission_denied"}),
            _ => json!({"fault": "server_error"}),
        };
        rules.push(json!({"when": {"path": "enerateContent", "from": call, "times": 1}, "then": then}));
    }
    // On both endpoints of every third account.
    for number in (1..=ACCOUNTS).step_by(3) {
        let account = format!("user{number}@example.com");
        let then = json!({"fault": "server_error"});
        rules.push(json!({"when": {"text": "unlucky", "account": account, "times": 60}, "then": then}));
    }
    for call in [400, 900] {
        let then = json!({"fault": "validation_required"});
        rules.push(json!({"when": {"path": "enerateContent", "from": call, "times": 1}, "then": then}));
    }
    rules
}

/// Asks until `time` is over; every fifth request is given up in its middle.
async fn client(url: String, number: usize, time: Duration, answered: Arc<AtomicUsize>) {
    let begun = Clock::system().instant();
    for request in number.. {
        if begun.elapsed() > time {
            return;
        }
        let text = match request % 9 {
            8 => "be unlucky",
            odd if odd % 2 == 1 => "briskly write 12 words",
            _ => "reply with exactly: fine",
        };
        let body = http::message(text, request % 4 == 1).to_string();
        let headers = [("content-type", "application/json")];
        let bytes = http::request("POST", &format!("{url}/v1/messages"), &headers, body.as_bytes());
        if request % 5 == 0 {
            let Ok(mut connection) = TcpStream::connect(http::split(&url).0).await else { continue };
            connection.write_all(&bytes).await.ok();
            let mut piece = [0; 64];
            let patience = Duration::from_millis(10 * (request as u64 % 9));
            tokio::time::timeout(patience, connection.read(&mut piece)).await.ok();
        } else if http::exchange(http::split(&url).0, &bytes).await.is_some_and(|answer| answer.status == 200)
        {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the gateways told the store, from the first account to the last word.
async fn recorded(strategy: &str, size: &Size) -> (Vec<Called>, usize) {
    let redis = RedisServer::start();
    let tap = Tap::start(redis.address()).await;
    let url = tap.url();
    let mut pool = Site::on(redis, url, ACCOUNTS).await;
    for rule in faults() {
        pool.simulator.rule(&rule).await;
    }
    pool.set("accountSelection", json!({"strategy": strategy}));
    // Without a bound, the usable accounts change seldom enough to see that they take turns.
    let bound = if strategy == "round-robin" { 0 } else { 2 };
    pool.set("maxConcurrentPerAccount", json!(bound));
    let mut gateways: Vec<Gateway> = Vec::new();
    let homes: Vec<_> = (0..size.gateways).map(|_| pool.home()).collect();
    for home in &homes {
        gateways.push(home.start().await);
    }
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..size.clients {
        let url = gateways[number % gateways.len()].url.clone();
        clients.spawn(client(url, number, size.time, Arc::clone(&answered)));
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    for gateway in &mut gateways {
        gateway.terminate().await;
        gateway.ended(SOON).await;
    }
    let answered = answered.load(Ordering::Relaxed);
    (tap.calls(), answered)
}

/// Tells the model what `strategy` did.
async fn assert_linear(strategy: &str, size: &Size) {
    let (mut calls, answered) = recorded(strategy, size).await;
    calls.retain(|call| {
        let refused = call.reply[0].starts_with('-');
        assert!(!refused || call.reply[0].starts_with("-NOSCRIPT"), "{call:?}");
        !refused
    });
    // A write has its own place; whoever only read comes behind the last write that it saw.
    calls.sort_by_key(|call| (seq(call), !writes(call)));
    let mut replay = Replay::default();
    for call in &calls {
        replay.tell(call);
    }
    println!(
        "{strategy}: {answered} answers, {} calls, {} admissions, up to {} in turn: {:?}",
        calls.len(),
        replay.admissions,
        replay.longest_turn,
        replay.tally
    );
    assert_eq!(replay.in_flight(), 0, "nothing is left in flight");
    assert!(answered > 0);
    // A short run on a busy machine may be over before anything fails.
    if size.time > Duration::from_secs(30) {
        for kind in ["success", "rate_limited", "failure", "cancelled"] {
            assert!(replay.tally.contains_key(kind), "no {kind}");
        }
        assert!(strategy != "round-robin" || replay.longest_turn > 1, "no account had two turns in a row");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_few_gateways_do_is_one_history() {
    for strategy in ["round-robin", "hybrid", "sticky"] {
        let size = Size { gateways: 2, clients: 16, time: Duration::from_secs(3) };
        assert_linear(strategy, &size).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn what_eight_gateways_do_is_one_history() {
    for strategy in ["round-robin", "hybrid", "sticky"] {
        let size = Size { gateways: 8, clients: 64, time: Duration::from_mins(1) };
        assert_linear(strategy, &size).await;
    }
}
