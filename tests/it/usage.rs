//! Usage as operators read it: every request once, by how it ended, from whichever gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use antigravity_proxy::config::{Config, Strategy};
use antigravity_proxy::simulator::{Delivery, Mode, Scenario};
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::client::Answer;
use crate::support::replicas::until;
use crate::support::{Client, GEMINI, PLAIN, Replicas, TestGateway, ask};

const HOUR: i64 = 3_600_000;

/// Round-robin begins at the second account; pauses are short.
fn quick(config: &mut Config) {
    config.selection.strategy = Strategy::RoundRobin;
    config.selection.pinned.insert("strategy".into(), "round-robin".into());
    config.dispatch.retry_base = Duration::from_millis(10);
    config.dispatch.capacity_tiers = vec![Duration::from_millis(20)];
    config.dispatch.capacity_budget = Duration::from_millis(100);
}

async fn usage(client: &Client, query: &str) -> Value {
    let (status, told) = client.get(&format!("/api/usage?{query}")).await;
    assert_eq!((status, &told["status"]), (200, &json!("ok")), "{told}");
    told
}

/// Requests by the values of `names`, blank between.
async fn requests(client: &Client, names: &str) -> BTreeMap<String, u64> {
    let told = usage(client, &format!("groupBy={names}")).await;
    let mut requests = BTreeMap::new();
    for row in told["usage"].as_array().unwrap() {
        let names: Vec<_> = names.split(',').map(|name| row[name].as_str().unwrap()).collect();
        *requests.entry(names.join(" ")).or_default() += row["requests"].as_u64().unwrap();
    }
    requests
}

/// Waits until exactly these were counted.
async fn counts(client: &Client, names: &str, wanted: &[(&str, u64)]) {
    let wanted: BTreeMap<_, _> = wanted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let total = |counted: &BTreeMap<String, u64>| counted.values().sum::<u64>();
    until(async || total(&requests(client, names).await) >= total(&wanted)).await;
    assert_eq!(requests(client, names).await, wanted);
}

#[tokio::test]
async fn a_request_counts_once_however_it_ends() {
    let gateway = TestGateway::start(Scenario::default().with_accounts(3), quick).await;
    let send = async |stream: bool| gateway.client.send(&ask(PLAIN, "hello", stream)).await.status;
    let row = |status: &str| format!("{PLAIN} {status}");

    // Answered: at once, by the last of three accounts, and with a refusal.
    assert_eq!((send(true).await, send(false).await), (200, 200));
    gateway.fault(&json!({"times": 2}), &json!({"fault": "unauthorized"}));
    assert_eq!(send(true).await, 200);
    gateway.fault(&json!({"times": 1}), &json!({"fault": "server_error"}));
    assert_eq!(send(false).await, 200);
    counts(&gateway.client, "model,status", &[(&row("success"), 4)]).await;

    // The client's fault, and the upstream's.
    gateway.fault(&json!({"times": 1}), &json!({"fault": "prompt_too_long"}));
    assert_eq!(send(true).await, 400);
    gateway.fault(&json!({"times": 1}), &json!({"cut_after": 2}));
    assert_eq!(send(true).await, 200, "its stream is cut later");
    let wanted = [(row("client_error"), 1), (row("success"), 4), (row("upstream_error"), 1)];
    let wanted: Vec<_> = wanted.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    counts(&gateway.client, "model,status", &wanted).await;

    // Given up in the middle of the answer.
    gateway.fault(&json!({"times": 1}), &json!({"stall_after": 2}));
    let mut response = gateway.client.begin(&ask(PLAIN, "write 500 words", true)).await;
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    let cancelled = row("cancelled");
    let mut wanted = wanted;
    wanted.push((&cancelled, 1));
    counts(&gateway.client, "model,status", &wanted).await;

    // What is no request for a known model does not count.
    let (status, _) = gateway.client.post("/v1/messages/count_tokens", &ask(PLAIN, "hello", false)).await;
    assert_eq!(status, 200);
    assert_eq!(gateway.client.send(&ask("no-such-model", "hello", false)).await.status, 400);
    assert_eq!(gateway.client.post("/v1/messages", &json!({"model": PLAIN})).await.0, 400);
    counts(&gateway.client, "model,status", &wanted).await;
    gateway.settled().await;
}

#[tokio::test]
async fn requests_that_meet_nothing_but_limits_count_as_limited() {
    let gateway = TestGateway::start(Scenario::default().with_accounts(2), quick).await;
    gateway.fault(&json!({}), &json!({"fault": "quota_exhausted", "reset_ms": 7_200_000}));
    // The first meets both accounts, the others find them limited and get none.
    for _ in 0..4 {
        assert_eq!(gateway.client.send(&ask(PLAIN, "hello", true)).await.status, 429);
    }
    counts(&gateway.client, "model,status,key", &[(&format!("{PLAIN} rate_limited open"), 4)]).await;
    gateway.settled().await;
}

#[tokio::test]
async fn requests_that_no_account_can_serve_count_without_making_up_models() {
    let gateway = TestGateway::start(Scenario::parse(r#"{"accounts": []}"#).unwrap(), quick).await;
    for model in [PLAIN, "made-up-1", "made-up-2"] {
        assert_eq!(gateway.client.send(&ask(model, "hello", true)).await.status, 503);
    }
    counts(&gateway.client, "model,status", &[("other unavailable", 3)]).await;
    assert_eq!(gateway.client.get("/api/stats/history").await.0, 200);
}

#[tokio::test]
async fn the_model_that_stood_in_is_the_one_that_counts() {
    let fallback = |config: &mut Config| {
        quick(config);
        config.dispatch.fallback = true;
    };
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), fallback).await;
    gateway.fault(&json!({"model": PLAIN}), &json!({"fault": "quota_exhausted", "reset_ms": 7_200_000}));
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 200);
    counts(&gateway.client, "model,status", &[(&format!("{GEMINI} success"), 1)]).await;
    // Where that fails too, what was asked for.
    gateway.fault(&json!({}), &json!({"fault": "quota_exhausted", "reset_ms": 7_200_000}));
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 429);
    let wanted = [(format!("{PLAIN} rate_limited"), 1), (format!("{GEMINI} success"), 1)];
    let wanted: Vec<_> = wanted.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    counts(&gateway.client, "model,status", &wanted).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_named() {
    let gateway = TestGateway::of(1).await;
    for (query, field) in [
        ("from=yesterday", "from"),
        ("from=-1", "from"),
        ("to=253402300800000", "to"),
        ("from=5&to=5", "from"),
        ("from=2999-01-01T00:00:00Z", "from"),
        ("step=week", "step"),
        ("groupBy=model,colour", "groupBy"),
        ("groupby=model", "groupby"),
    ] {
        let (status, told) = gateway.client.get(&format!("/api/usage?{query}")).await;
        let error = told["error"].as_str().unwrap_or_default();
        assert_eq!((status, &told["status"]), (400, &json!("error")), "{query}: {told}");
        assert!(error.contains(field), "{query}: {error}");
    }
    assert_eq!(usage(&gateway.client, "").await["usage"], json!([]));
    assert_eq!(gateway.client.get("/api/stats/history").await, (200, json!({})));
}

/// Three gateways answer at once; each tells the same, and it is what the answers told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_gateway_tells_the_usage_of_all() {
    let mut scenario = Scenario::default().with_accounts(4);
    scenario.delivery = Delivery { mode: Mode::Burst, ..Delivery::default() };
    let redis = RedisServer::start();
    let replicas = Replicas::with(scenario, &vec![redis.url(); 3], quick).await;
    let mut keys = Vec::new();
    for (turn, name) in ["ada", "bea"].into_iter().enumerate() {
        let (status, made) = replicas.client(turn).post("/api/keys", &json!({ "name": name })).await;
        assert_eq!(status, 201, "{made}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, secret) = (text(&made["key"]["id"]), text(&made["secret"]));
        for turn in 0..3 {
            let known = until(async || {
                let models = replicas.client(turn).request(Method::GET, "/v1/models");
                models.bearer_auth(&secret).send().await.unwrap().status() == 200
            });
            assert!(known.await, "the key is known everywhere");
        }
        keys.push((id, secret));
    }
    let send = async |number: usize| {
        let (id, secret) = &keys[number % 2];
        let model = [PLAIN, GEMINI][usize::from(number.is_multiple_of(3))];
        let body = ask(model, &format!("number {number}"), true);
        let request = replicas.client(number).request(Method::POST, "/v1/messages").json(&body);
        let text = request.bearer_auth(secret).send().await.unwrap().text().await.unwrap();
        let answer = Answer::of_stream(&text);
        assert_eq!(answer.count("message_stop"), 1, "{text}");
        let usage = |name: &str| answer.body["usage"][name].as_u64().unwrap_or_default();
        let tokens = [usage("input_tokens"), usage("output_tokens"), usage("cache_read_input_tokens")];
        (format!("{model} {id}"), tokens)
    };
    let answers: Vec<_> = futures_util::stream::iter(0..90).map(send).buffer_unordered(24).collect().await;
    replicas.settled().await;

    let mut wanted: BTreeMap<String, (u64, [u64; 3])> = BTreeMap::new();
    for (name, tokens) in answers {
        let sums = wanted.entry(name).or_default();
        sums.0 += 1;
        sums.1.iter_mut().zip(tokens).for_each(|(sum, tokens)| *sum += tokens);
    }
    let counted =
        until(async || usage(replicas.client(0), "").await["totals"]["requests"].as_u64().unwrap() >= 90);
    assert!(counted.await, "all settlements are written");
    for turn in 0..3 {
        let client = replicas.client(turn);
        for step in ["hour", "day"] {
            let told = usage(client, &format!("step={step}&groupBy=model,key")).await;
            let mut sums: BTreeMap<String, (u64, [u64; 3])> = BTreeMap::new();
            for row in told["usage"].as_array().unwrap() {
                let number = |name: &str| row[name].as_u64().unwrap();
                let name = format!("{} {}", row["model"].as_str().unwrap(), row["key"].as_str().unwrap());
                let entry = sums.entry(name).or_default();
                entry.0 += number("requests");
                for (sum, name) in entry.1.iter_mut().zip(["inputTokens", "outputTokens", "cacheReadTokens"])
                {
                    *sum += number(name);
                }
            }
            assert_eq!(sums, wanted, "{turn} {step}");
            assert_eq!(told["totals"]["requests"], 90, "{turn} {step}");
        }
        let by_status = requests(client, "status").await;
        assert_eq!(by_status, BTreeMap::from([("success".to_owned(), 90)]), "{turn}");
        let (status, history) = client.get("/api/stats/history").await;
        assert_eq!(status, 200);
        let hours = history.as_object().unwrap();
        let sum = |path: &[&str]| -> u64 {
            let of = |hour: &Value| path.iter().fold(hour.clone(), |at, name| at[*name].clone());
            hours.values().map(|hour| of(hour).as_u64().unwrap_or_default()).sum()
        };
        assert_eq!(
            (
                sum(&["_total"]),
                sum(&["claude", "_subtotal"]),
                sum(&["claude", "sonnet-4-6"]),
                sum(&["gemini", "3-flash"])
            ),
            (90, 60, 60, 30),
            "{history}"
        );
        for hour in hours.keys() {
            let time: jiff::Timestamp = hour.parse().unwrap();
            assert!(hour.ends_with(":00:00.000Z") && time.as_millisecond() % HOUR == 0, "{hour}");
        }
    }
    replicas.shutdown().await;
}

/// What is left is noted as soon as it is known.
#[tokio::test]
async fn what_was_left_is_told_by_model() {
    let gateway = TestGateway::start(Scenario::default().with_accounts(2), quick).await;
    let client = &gateway.client;
    let history = async |query: &str| client.get(&format!("/api/capacity/history{query}")).await;
    until(async || history("").await.1["models"].as_array().is_some_and(|models| !models.is_empty())).await;
    let (status, told) = history("?hours=1").await;
    assert_eq!((status, &told["status"], &told["stepMs"]), (200, &json!("ok"), &json!(600_000)));
    assert_eq!(told["now"].as_i64().unwrap() - told["from"].as_i64().unwrap(), 3_600_000);
    let model = told["models"].as_array().unwrap().iter().find(|one| one["model"] == PLAIN).unwrap();
    let point = &model["points"][0];
    assert!(point["left"].as_f64().is_some_and(|left| (0.0..=1.0).contains(&left)), "{point}");
    assert!(point["accounts"].as_u64().is_some_and(|accounts| accounts >= 1), "{point}");
    assert_eq!(model.get("runsOutAt"), None, "one point has no pace");
    for wrong in ["?hours=0", "?hours=169", "?hours=x", "?days=1"] {
        let (status, told) = history(wrong).await;
        assert_eq!((status, &told["status"]), (400, &json!("error")), "{wrong}: {told}");
    }
}
