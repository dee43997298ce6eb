//! What moves when something happens: every metric by real requests, and nothing else by them.

use std::time::Duration;

use antigravity_proxy::config::{Config, Strategy};
use antigravity_proxy::simulator::{Event, Scenario};
use antigravity_proxy::telemetry::metrics::TABLE;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::fault_proxy::FaultProxy;
use crate::redis_server::RedisServer;
use crate::support::replicas::until;
use crate::support::{GEMINI, PLAIN, Replicas, Scrape, THINKING, TestGateway, ask};

/// By how much a metric has moved.
#[derive(Clone, Copy, Debug)]
enum Move {
    By(u32),
    Up,
}
use Move::{By, Up};

/// A metric, labels of it, and how it has moved.
type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], Move);

/// The rows that do not hold between `before` and `after`.
fn wrong(before: &Scrape, after: &Scrape, rows: &[Row<'_>]) -> Vec<String> {
    let holds = |(name, labels, expected): &Row<'_>| {
        let moved = after.sum(name, labels) - before.sum(name, labels);
        let holds = match expected {
            By(by) => (moved - f64::from(*by)).abs() < 1e-6,
            Up => moved > 0.0,
        };
        (!holds).then(|| format!("{name} {labels:?} {expected:?}, but by {moved}"))
    };
    rows.iter().filter_map(holds).collect()
}

/// Waits until all of `rows` hold: some of it is settled behind the answer.
async fn moved(gateway: &TestGateway, before: &Scrape, rows: &[Row<'_>]) {
    until(async || wrong(before, &gateway.scrape(), rows).is_empty()).await;
    let wrong = wrong(before, &gateway.scrape(), rows);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Round-robin begins at the second account; pauses are short.
fn quick(config: &mut Config) {
    config.selection.strategy = Strategy::RoundRobin;
    config.selection.pinned.insert("strategy".into(), "round-robin".into());
    config.dispatch.retry_base = Duration::from_millis(10);
    config.dispatch.capacity_tiers = vec![Duration::from_millis(20)];
    config.dispatch.capacity_budget = Duration::from_millis(100);
}

async fn gateway(accounts: usize) -> TestGateway {
    TestGateway::start(Scenario::default().with_accounts(accounts), quick).await
}

/// One request against `then`, then what has moved; how many requests have ended is part of it.
async fn one(accounts: usize, stream: bool, when: Value, then: Value, end: [&str; 2], rows: &[Row<'_>]) {
    let gateway = gateway(accounts).await;
    gateway.fault(&when, &then);
    let before = gateway.scrape();
    gateway.client.send(&ask(PLAIN, "hello", stream)).await;
    let [status, outcome] = end;
    let end: [Row<'_>; 2] = [
        ("requests_total", &[("model", PLAIN), ("status", status), ("outcome", outcome)], By(1)),
        ("requests_total", &[], By(1)),
    ];
    moved(&gateway, &before, &[&end[..], rows].concat()).await;
    gateway.settled().await;
}

#[tokio::test]
async fn a_stream_that_is_served() {
    let gateway = gateway(2).await;
    let before = gateway.scrape();
    gateway.client.send(&ask(THINKING, "hello", true)).await;
    let of = &[("model", THINKING)][..];
    let tokens = |kind: &'static str| [("model", THINKING), ("kind", kind)];
    moved(
        &gateway,
        &before,
        &[
            ("requests_total", &[("model", THINKING), ("status", "200"), ("outcome", "served")], By(1)),
            ("requests_total", &[], By(1)),
            ("http_requests_total", &[("route", "/v1/messages"), ("status", "2xx")], By(1)),
            ("http_request_duration_seconds_count", &[("route", "/v1/messages")], By(1)),
            ("first_event_duration_seconds_count", of, By(1)),
            ("first_event_duration_seconds_sum", of, Up),
            ("stream_duration_seconds_count", of, By(1)),
            ("tokens_total", &tokens("input"), Up),
            ("tokens_total", &tokens("output"), Up),
            ("tokens_total", &tokens("thinking"), Up),
            ("admissions_total", &[("strategy", "round_robin"), ("decision", "normal")], By(1)),
            ("admissions_total", &[], By(1)),
            ("upstream_attempts_total", &[("outcome", "success")], By(1)),
            ("upstream_attempts_total", &[], By(1)),
            ("retries_total", &[], By(0)),
            ("limits_set_total", &[], By(0)),
            (
                "upstream_header_duration_seconds_count",
                &[("endpoint", "127.0.0.1"), ("method", "streamGenerateContent")],
                By(1),
            ),
            ("store_calls_total", &[("script", "admit")], By(1)),
            ("store_calls_total", &[("script", "settle")], By(1)),
            ("store_call_duration_seconds_count", &[("script", "admit")], By(1)),
            ("store_errors_total", &[], By(0)),
            ("streams_in_flight", &[], By(0)),
            ("settlements_queued", &[], By(0)),
        ],
    )
    .await;
    let now = gateway.scrape();
    assert!(now.sum("store_up", &[]) > 0.0);
    assert!(now.sum("build_info", &[("version", env!("CARGO_PKG_VERSION"))]) > 0.0);
}

#[tokio::test]
async fn an_answer_in_one_piece_is_no_stream() {
    let rows: &[Row<'_>] = &[
        ("first_event_duration_seconds_count", &[("model", PLAIN)], By(1)),
        ("stream_duration_seconds_count", &[], By(0)),
        ("upstream_header_duration_seconds_count", &[("method", "generateContent")], By(1)),
    ];
    one(1, false, json!({}), json!({}), ["200", "served"], rows).await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_a_stream_and_before() {
    let gateway = TestGateway::of(1).await;
    let cancelled = |status: &'static str| [("status", status), ("outcome", "cancelled"), ("model", GEMINI)];
    gateway.fault(&json!({"text": "later"}), &json!({"stall_after": 2}));
    gateway.fault(&json!({"text": "never"}), &json!({"stall_after": 0}));
    let before = gateway.scrape();
    let mut response = gateway.client.begin(&ask(GEMINI, "later", true)).await;
    assert!(response.chunk().await.unwrap().is_some());
    moved(&gateway, &before, &[("streams_in_flight", &[], By(1)), ("requests_total", &[], By(0))]).await;
    drop(response);
    let rows: &[Row<'_>] = &[
        ("requests_total", &cancelled("200"), By(1)),
        ("stream_duration_seconds_count", &[("model", GEMINI)], By(1)),
        ("streams_in_flight", &[], By(0)),
    ];
    moved(&gateway, &before, rows).await;
    for (number, stream) in [(1, true), (2, false)] {
        let (body, calls) = (ask(GEMINI, "never", stream), gateway.model_calls().len());
        {
            let waiting = gateway.client.begin(&body);
            tokio::pin!(waiting);
            tokio::select! {
                _ = &mut waiting => panic!("there is no answer"),
                called = until(async || gateway.model_calls().len() > calls) => assert!(called),
            }
        }
        moved(&gateway, &before, &[("requests_total", &cancelled("499"), By(number))]).await;
    }
    moved(&gateway, &before, &[("requests_total", &[], By(3))]).await;
    assert!(gateway.simulator.wait_for(Event::Disconnect, 3, Duration::from_secs(5)).await);
    gateway.settled().await;
}

#[tokio::test]
async fn quotas_that_are_used_up() {
    let then = json!({"fault": "quota_exhausted", "reset_ms": 7_200_000});
    let rows: &[Row<'_>] = &[
        ("limits_set_total", &[("kind", "quota")], By(2)),
        ("limits_set_total", &[], By(2)),
        ("upstream_attempts_total", &[("outcome", "rate_limited")], By(2)),
        ("retries_total", &[("reason", "rate_limited"), ("step", "account")], By(1)),
        ("retries_total", &[], By(1)),
        ("http_requests_total", &[("route", "/v1/messages"), ("status", "4xx")], By(1)),
    ];
    one(2, true, json!({"times": 2}), then, ["429", "rate_limited"], rows).await;
}

#[tokio::test]
async fn a_short_limit_that_is_waited_for() {
    let then = json!({"fault": "rate_limited", "reset_ms": 1_500});
    let rows: &[Row<'_>] = &[
        ("limits_set_total", &[("kind", "rate")], By(1)),
        ("admissions_total", &[("decision", "wait")], Up),
        ("pool_waits_total", &[("reason", "limited")], By(1)),
        ("pool_waits_total", &[], By(1)),
        ("pool_wait_duration_seconds_count", &[("reason", "limited")], By(1)),
        ("pool_wait_duration_seconds_sum", &[("reason", "limited")], Up),
        ("pool_waiters", &[], By(0)),
        ("retries_total", &[("reason", "rate_limited"), ("step", "account")], By(1)),
    ];
    one(1, true, json!({"times": 1}), then, ["200", "served"], rows).await;
}

#[tokio::test]
async fn room_that_is_waited_for() {
    let bound = |config: &mut Config| {
        quick(config);
        config.selection.pinned.insert("maxConcurrentPerAccount".into(), "1".into());
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), bound).await;
    gateway.fault(&json!({"text": "held"}), &json!({"stall_after": 2}));
    let before = gateway.scrape();
    let mut held = gateway.client.begin(&ask(GEMINI, "held", true)).await;
    assert!(held.chunk().await.unwrap().is_some());
    let body = ask(GEMINI, "hello", true);
    let (waiting, ()) = tokio::join!(gateway.client.send(&body), async {
        let rows: &[Row<'_>] = &[
            ("pool_waiters", &[], By(1)),
            ("pool_waits_total", &[("reason", "busy")], By(1)),
            ("pool_wait_duration_seconds_count", &[], By(0)),
            ("account_requests_in_flight", &[("state", "busy")], By(1)),
        ];
        moved(&gateway, &before, rows).await;
        drop(held);
    });
    assert_eq!(waiting.status, 200);
    let rows: &[Row<'_>] = &[
        ("pool_waiters", &[], By(0)),
        ("pool_waits_total", &[], By(1)),
        ("pool_wait_duration_seconds_count", &[("reason", "busy")], By(1)),
    ];
    moved(&gateway, &before, rows).await;
    gateway.settled().await;
}

#[tokio::test]
async fn a_model_without_capacity() {
    let rows: &[Row<'_>] = &[
        ("limits_set_total", &[("kind", "capacity")], By(1)),
        ("upstream_attempts_total", &[("outcome", "capacity")], Up),
        ("retries_total", &[("reason", "capacity"), ("step", "endpoint")], Up),
        ("retries_total", &[("reason", "capacity"), ("step", "same")], Up),
    ];
    one(1, true, json!({}), json!({"fault": "capacity"}), ["529", "overloaded"], rows).await;
}

#[tokio::test]
async fn upstreams_that_fail() {
    let rows: &[Row<'_>] = &[
        ("upstream_attempts_total", &[("outcome", "server_error")], Up),
        ("retries_total", &[("reason", "server_error"), ("step", "endpoint")], By(2)),
        ("retries_total", &[("reason", "server_error"), ("step", "account")], By(1)),
        ("limits_set_total", &[], By(0)),
    ];
    one(3, false, json!({}), json!({"fault": "server_error"}), ["502", "upstream_error"], rows).await;
    let rows: &[Row<'_>] = &[("upstream_attempts_total", &[("outcome", "transport")], Up)];
    one(1, true, json!({}), json!({"hang_up": true}), ["503", "upstream_error"], rows).await;
    let rows: &[Row<'_>] = &[
        ("upstream_attempts_total", &[("outcome", "empty")], By(3)),
        ("retries_total", &[("reason", "empty"), ("step", "same")], By(2)),
    ];
    one(1, true, json!({}), json!({"empty": true}), ["200", "served"], rows).await;
    let rows: &[Row<'_>] = &[("upstream_attempts_total", &[("outcome", "blocked")], By(1))];
    one(1, false, json!({}), json!({"blocked": "SAFETY"}), ["200", "served"], rows).await;
    let rows: &[Row<'_>] =
        &[("upstream_attempts_total", &[("outcome", "client_error")], By(1)), ("retries_total", &[], By(0))];
    one(2, true, json!({}), json!({"fault": "prompt_too_long"}), ["400", "client_error"], rows).await;
}

#[tokio::test]
async fn a_stream_that_breaks() {
    for fault in [json!({"cut_after": 2}), json!({"error_after": 2})] {
        let gateway = gateway(1).await;
        gateway.fault(&json!({}), &fault);
        let before = gateway.scrape();
        gateway.client.send(&ask(GEMINI, "write 200 words", true)).await;
        let rows: &[Row<'_>] = &[
            ("requests_total", &[("model", GEMINI), ("status", "200"), ("outcome", "broken")], By(1)),
            ("requests_total", &[], By(1)),
            ("stream_duration_seconds_count", &[("model", GEMINI)], By(1)),
            ("upstream_attempts_total", &[("outcome", "success")], By(1)),
        ];
        moved(&gateway, &before, rows).await;
        gateway.settled().await;
    }
}

#[tokio::test]
async fn a_deadline_that_passes() {
    let hasty = |config: &mut Config| {
        quick(config);
        config.dispatch.deadline = Duration::from_millis(300);
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), hasty).await;
    gateway.fault(&json!({"times": 1}), &json!({"delay_ms": 5_000}));
    let before = gateway.scrape();
    gateway.client.send(&ask(PLAIN, "hello", false)).await;
    let rows: &[Row<'_>] = &[
        ("requests_total", &[("model", PLAIN), ("status", "529"), ("outcome", "deadline")], By(1)),
        ("upstream_attempts_total", &[("outcome", "deadline")], By(1)),
    ];
    moved(&gateway, &before, rows).await;
}

#[tokio::test]
async fn a_failure_behind_pings_keeps_the_status_that_was_sent() {
    let impatient = |config: &mut Config| {
        quick(config);
        config.server.stream_keepalive = Duration::from_millis(50);
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), impatient).await;
    let then = json!({"fault": "quota_exhausted", "reset_ms": 7_200_000, "delay_ms": 300});
    gateway.fault(&json!({}), &then);
    let before = gateway.scrape();
    let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
    assert_eq!((answer.status, answer.count("error")), (200, 1));
    let rows: &[Row<'_>] = &[
        ("requests_total", &[("model", PLAIN), ("status", "200"), ("outcome", "rate_limited")], By(1)),
        ("requests_total", &[], By(1)),
    ];
    moved(&gateway, &before, rows).await;
}

#[tokio::test]
async fn a_model_that_stands_in() {
    let fallback = |config: &mut Config| {
        quick(config);
        config.dispatch.fallback = true;
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), fallback).await;
    gateway.fault(&json!({"model": PLAIN}), &json!({"fault": "quota_exhausted", "reset_ms": 7_200_000}));
    let before = gateway.scrape();
    gateway.client.send(&ask(PLAIN, "hello", false)).await;
    let rows: &[Row<'_>] = &[
        ("requests_total", &[("model", GEMINI), ("status", "200"), ("outcome", "served")], By(1)),
        ("requests_total", &[], By(1)),
        ("retries_total", &[("reason", "rate_limited"), ("step", "model")], By(1)),
        ("tokens_total", &[("model", GEMINI), ("kind", "output")], Up),
        ("tokens_total", &[("model", PLAIN), ("kind", "output")], By(0)),
    ];
    moved(&gateway, &before, rows).await;
}

#[tokio::test]
async fn requests_at_fault() {
    let gateway = gateway(1).await;
    let before = gateway.scrape();
    let bad = gateway.client.post("/v1/messages", &json!({"model": PLAIN, "messages": "no list"})).await;
    assert_eq!(bad.0, 400);
    assert_eq!(gateway.client.send(&ask("who@example.com", "hello", true)).await.status, 400);
    let mut odd = ask(PLAIN, "hello", false);
    odd["messages"][0]["content"] =
        json!([{"type": "text", "text": "hello"}, {"type": "hologram", "data": "x"}]);
    assert_eq!(gateway.client.send(&odd).await.status, 200);
    let rows: &[Row<'_>] = &[
        ("requests_total", &[("model", "other"), ("status", "400"), ("outcome", "client_error")], By(2)),
        ("requests_total", &[], By(3)),
        ("dropped_blocks_total", &[], By(1)),
    ];
    moved(&gateway, &before, rows).await;
}

#[tokio::test]
async fn pools_without_a_usable_account() {
    let gateway = TestGateway::start(Scenario::parse(r#"{"accounts": []}"#).unwrap(), quick).await;
    let before = gateway.scrape();
    gateway.client.send(&ask(PLAIN, "hello", true)).await;
    let rows: &[Row<'_>] = &[
        ("requests_total", &[("status", "503"), ("outcome", "no_account")], By(1)),
        ("admissions_total", &[("decision", "empty")], By(1)),
    ];
    moved(&gateway, &before, rows).await;
}

#[tokio::test]
async fn accounts_in_their_states() {
    let gateway = gateway(4).await;
    gateway.fault(&json!({"account": "dev2@example.com"}), &json!({"fault": "banned"}));
    let start = Scrape::default();
    moved(&gateway, &start, &[("accounts", &[("state", "available")], By(4)), ("accounts", &[], By(4))])
        .await;
    let off = gateway.client.post("/api/accounts/dev4@example.com/toggle", &json!({"enabled": false})).await;
    assert_eq!(off.0, 200, "{}", off.1);
    gateway.client.send(&ask(PLAIN, "hello", true)).await;
    let rows: &[Row<'_>] = &[
        ("accounts", &[("state", "available")], By(2)),
        ("accounts", &[("state", "disabled")], By(1)),
        ("accounts", &[("state", "invalid")], By(1)),
        ("accounts", &[], By(4)),
        ("retries_total", &[("reason", "banned"), ("step", "account")], By(1)),
    ];
    moved(&gateway, &start, rows).await;
}

#[tokio::test]
async fn tokens_that_are_fetched_refused_and_not_taken() {
    let gateway = gateway(3).await;
    // The survey has fetched one for each account.
    let rows: &[Row<'_>] = &[
        ("token_refreshes_total", &[("outcome", "refreshed")], By(3)),
        ("token_refresh_duration_seconds_count", &[], By(3)),
        ("upstream_header_duration_seconds_count", &[("method", "fetchAvailableModels")], Up),
        ("upstream_header_duration_seconds_count", &[("method", "loadCodeAssist")], Up),
    ];
    moved(&gateway, &Scrape::default(), rows).await;
    let before = gateway.scrape();
    gateway.fault(&json!({"times": 1}), &json!({"fault": "unauthorized"}));
    gateway.client.send(&ask(PLAIN, "hello", true)).await;
    let rows: &[Row<'_>] = &[
        ("requests_total", &[("status", "200"), ("outcome", "served")], By(1)),
        ("retries_total", &[("reason", "unauthorized"), ("step", "token")], By(1)),
        ("token_refreshes_total", &[("outcome", "refreshed")], By(1)),
        ("token_refreshes_total", &[], By(1)),
    ];
    moved(&gateway, &before, rows).await;

    // One account is lost, one cannot be served for now, the third one is as before.
    let before = gateway.scrape();
    gateway.simulator.expire_tokens();
    gateway.fault(&json!({"path": "token", "times": 1}), &json!({"fault": "invalid_grant"}));
    gateway.fault(&json!({"path": "token", "from": 2, "times": 1}), &json!({"status": 503, "body": {}}));
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", true)).await.status, 200);
    let rows: &[Row<'_>] = &[
        ("token_refreshes_total", &[("outcome", "rejected")], By(1)),
        ("token_refreshes_total", &[("outcome", "failed")], By(1)),
        ("token_refreshes_total", &[("outcome", "refreshed")], By(1)),
        ("retries_total", &[("reason", "unauthorized"), ("step", "token")], By(3)),
        ("retries_total", &[("reason", "revoked"), ("step", "account")], By(1)),
        ("retries_total", &[("reason", "no_token"), ("step", "account")], By(1)),
    ];
    moved(&gateway, &before, rows).await;
}

#[tokio::test]
async fn counts_of_tokens() {
    let gateway = gateway(1).await;
    let before = gateway.scrape();
    let body = ask(PLAIN, "How long is this?", false);
    for _ in 0..3 {
        assert_eq!(gateway.client.post("/v1/messages/count_tokens", &body).await.0, 200);
    }
    gateway.fault(&json!({"path": "countTokens"}), &json!({"fault": "server_error"}));
    gateway.client.post("/v1/messages/count_tokens", &ask(PLAIN, "And this?", false)).await;
    let rows: &[Row<'_>] = &[
        ("token_counts_total", &[("source", "upstream")], By(1)),
        ("token_counts_total", &[("source", "cache")], By(2)),
        ("token_counts_total", &[("source", "local")], By(1)),
        ("upstream_header_duration_seconds_count", &[("method", "countTokens")], By(2)),
        ("requests_total", &[], By(0)),
    ];
    moved(&gateway, &before, rows).await;
}

#[tokio::test]
async fn settings_that_are_shared() {
    let gateway = gateway(1).await;
    let before = gateway.scrape();
    let change = json!({"settings": {"accountSelection.strategy": "sticky", "maxRetries": 4}});
    let response = gateway.client.request(reqwest::Method::PATCH, "/api/settings").json(&change);
    assert_eq!(response.send().await.unwrap().status().as_u16(), 200);
    let rows: &[Row<'_>] =
        &[("shared_settings_generation", &[], Up), ("shared_settings_rejected", &[], By(0))];
    moved(&gateway, &before, rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_share_tokens_and_see_each_other() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(Scenario::default().with_accounts(3), &vec![redis.url(); 2]).await;
    for turn in 0..8 {
        assert_eq!(replicas.client(turn).send(&ask(GEMINI, "hello", true)).await.status, 200);
    }
    let refreshes = |gateway: usize, outcome: &str| {
        replicas.scrape(gateway).sum("token_refreshes_total", &[("outcome", outcome)])
    };
    assert!((refreshes(0, "refreshed") + refreshes(1, "refreshed") - 3.0).abs() < 0.5, "one for all");
    for gateway in [0, 1] {
        let known = async || {
            let scrape = replicas.scrape(gateway);
            let three = scrape.sum("accounts", &[("state", "available")]) > 2.5;
            three && scrape.sum("replicas", &[]) > 1.5
        };
        assert!(until(known).await, "{:?}", replicas.scrape(gateway));
    }
    replicas.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_and_comes_back() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let replicas = Replicas::start(Scenario::default().with_accounts(2), &[proxy.url()]).await;
    let before = replicas.scrape(0);
    let sum = |name: &str| replicas.scrape(0).sum(name, &[]);
    assert!(sum("store_up") > 0.5 && sum("store_outages_total") < 0.5, "{before:?}");
    replicas.fault(&json!({}), &json!({"delivery": {"mode": "paced", "interval_ms": 40}}));
    let mut stream =
        Box::pin(replicas.client(0).begin(&ask(GEMINI, "write 100 words", true)).await.bytes_stream());
    assert!(stream.next().await.unwrap().is_ok());
    proxy.refuse(true);
    proxy.cut();
    assert!(until(async || sum("store_up") < 0.5).await, "the store is seen to be away");
    while let Some(piece) = stream.next().await {
        piece.unwrap();
    }
    let refused = || replicas.scrape(0).sum("store_errors_total", &[("script", "settle")]);
    assert!(until(async || refused() > 0.5).await, "the stream's settlement is tried");
    assert!(sum("settlements_queued") > 0.5, "and waits");
    let away = sum("store_outage_seconds_total");
    assert!(until(async || sum("store_outage_seconds_total") > away).await, "time goes on");
    proxy.refuse(false);
    assert!(until(async || sum("store_up") > 0.5).await, "the store is back");
    assert!(until(async || sum("settlements_queued") < 0.5).await);
    assert_eq!(replicas.client(0).send(&ask(GEMINI, "hello", true)).await.status, 200);
    replicas.settled().await;
    let after = replicas.scrape(0);
    let rows: &[Row<'_>] = &[
        ("store_outages_total", &[], By(1)),
        ("store_errors_total", &[("script", "settle")], Up),
        ("requests_total", &[("outcome", "served")], By(2)),
        ("settlements_dropped_total", &[], By(0)),
        ("feed_queued", &[], By(0)),
        ("feed_dropped_total", &[], By(0)),
        ("signature_put_failures_total", &[], By(0)),
        ("spans_dropped_total", &[], By(0)),
    ];
    let wrong = wrong(&before, &after, rows);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn spans_that_no_collector_takes() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = TestGateway::start(Scenario::default(), |config| {
        config.tracing.endpoint = Some(format!("http://{nobody}/v1/traces"));
        config.tracing.delay = Duration::from_millis(20);
    })
    .await;
    let before = gateway.scrape();
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 200);
    // Root, admit, convert, attempt, settle.
    let rows: &[Row<'_>] = &[
        ("spans_dropped_total", &[("reason", "export_failed")], By(5)),
        ("spans_dropped_total", &[("reason", "queue_full")], By(0)),
    ];
    moved(&gateway, &before, rows).await;
}

/// Every metric is asked about above. What only moves with a full queue, or for a feed that is away, is moved by the
/// tests of those queues; what a collector of traces loses, in `traces.rs`.
#[test]
fn no_metric_is_forgotten() {
    let here = include_str!("metrics.rs");
    for metric in TABLE {
        let name = metric.name.strip_prefix("antigravity_proxy_").unwrap();
        let asked = [name.to_owned(), format!("{name}_count")];
        assert!(asked.iter().any(|name| here.contains(&format!("\"{name}\""))), "{name}");
    }
}
