//! Shared settings of a running gateway: what a change does to the requests after it, and to those under way.

use std::time::Duration;

use antigravity_proxy::config::RedisConfig;
use antigravity_proxy::simulator::Scenario;
use reqwest::Method;
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::{GEMINI, PLAIN, TestGateway, ask};

async fn change(gateway: &TestGateway, body: &Value) -> (u16, Value) {
    let answer = gateway.client.request(Method::PATCH, "/api/settings").json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn set(gateway: &TestGateway, settings: Value) -> Value {
    let (status, answer) = change(gateway, &json!({ "settings": settings })).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn row(gateway: &TestGateway, key: &str) -> Value {
    let (status, view) = gateway.client.get("/api/settings").await;
    assert_eq!(status, 200, "{view}");
    view["rows"].as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone()
}

#[tokio::test]
async fn the_next_request_goes_by_the_new_settings() {
    let gateway = TestGateway::of(1).await;
    set(&gateway, json!({ "modelMapping": { "mine": { "mapping": GEMINI, "hidden": true } } })).await;
    assert_eq!(gateway.client.send(&ask("mine", "hello", true)).await.status, 200);
    let listed = gateway.client.get("/v1/models").await.1;
    assert!(listed["data"].as_array().unwrap().iter().any(|model| model["id"] == "mine"), "{listed}");
    assert_eq!(row(&gateway, "modelMapping").await["stored"]["mine"]["hidden"], true, "kept as it was given");

    set(&gateway, json!({ "modelMapping": null, "upstream.systemPreamble": "You are a gateway's test." }))
        .await;
    assert_eq!(gateway.client.send(&ask("mine", "hello", true)).await.status, 400);
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", true)).await.status, 200);
    let bodies: Vec<String> = gateway.model_calls().iter().map(|call| call.body.to_string()).collect();
    let with_preamble: Vec<_> = bodies.iter().map(|body| body.contains("a gateway's test")).collect();
    assert_eq!(with_preamble, [false, true]);
    gateway.settled().await;
}

#[tokio::test]
async fn a_request_keeps_the_settings_it_began_with() {
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), |config| {
        config.dispatch.capacity_tiers = vec![Duration::from_millis(500)];
    })
    .await;
    gateway.fault(&json!({ "times": 1 }), &json!({ "fault": "capacity" }));
    gateway.fault(&json!({}), &json!({ "fault": "rate_limited", "reset_ms": 3_600_000 }));
    let body = ask(PLAIN, "hello", false);
    let begun = gateway.client.send(&body);
    let changed = async {
        while gateway.model_calls().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        set(&gateway, json!({ "quotaExhaustedStatus": 400 })).await;
    };
    let (before, ()) = tokio::join!(begun, changed);
    let after = gateway.client.send(&body).await;
    assert_eq!((before.status, after.status), (429, 400), "{} {}", before.body, after.body);
    gateway.settled().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_and_a_conflict_shows_the_current_settings() {
    let gateway = TestGateway::of(0).await;
    let (status, answer) =
        change(&gateway, &json!({ "settings": { "maxRetries": 0, "port": 1, "maxAccounts": 2 } })).await;
    assert_eq!((status, &answer["status"]), (400, &json!("error")), "{answer}");
    let keys: Vec<_> = answer["problems"].as_array().unwrap().iter().map(|one| one["key"].clone()).collect();
    assert_eq!(keys, ["maxRetries", "port"]);
    let generation = gateway.client.get("/api/settings").await.1["generation"].clone();
    assert_eq!(generation, 0, "nothing was made");

    let done = json!({ "generation": 0, "settings": { "maxRetries": 6, "leaseTtlMs": 5000 } });
    let (status, answer) = change(&gateway, &done).await;
    assert_eq!((status, &answer["generation"]), (200, &json!(1)), "{answer}");
    assert_eq!(answer["rows"][0]["pending"], true, "{answer}");
    assert_eq!((&answer["rows"][1]["value"], &answer["rows"][1]["pending"]), (&json!(6), &json!(false)));
    let (status, answer) = change(&gateway, &done).await;
    assert_eq!((status, &answer["generation"]), (409, &json!(1)), "{answer}");
    let rows = answer["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["key"] == "maxRetries" && row["stored"] == 6), "{answer}");

    for body in [
        json!([]),
        json!({}),
        json!({ "settings": {}, "extra": 1 }),
        json!({ "settings": { "a": 1 }, "generation": -1 }),
    ] {
        assert_eq!(change(&gateway, &body).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn settings_outlive_the_gateway_and_those_that_waited_are_taken_at_its_start() {
    let gateway = TestGateway::of(0).await;
    set(&gateway, json!({ "leaseTtlMs": 5000, "maxRetries": 6, "accountSelection.strategy": "round-robin" }))
        .await;
    assert_eq!(row(&gateway, "leaseTtlMs").await["value"], 30_000);
    assert_eq!(row(&gateway, "accountSelection.strategy").await["value"], "round-robin");
    let gateway = gateway.restart().await;
    let lease = row(&gateway, "leaseTtlMs").await;
    assert_eq!(
        (&lease["value"], &lease["pending"], &lease["origin"]),
        (&json!(5000), &json!(false), &json!("shared store"))
    );
    assert_eq!(row(&gateway, "maxRetries").await["value"], 6);
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let gateway = TestGateway::of(0).await;
    let (_, view) = gateway.client.get("/api/settings").await;
    assert!(
        view["rows"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["key"] == "oauth.clientSecret" && row["value"].is_null())
    );
    let (status, answer) =
        change(&gateway, &json!({ "settings": { "webuiPassword": "hidden-value" } })).await;
    assert_eq!(status, 400);
    assert!(!answer.to_string().contains("hidden-value"), "{answer}");
}

/// A gateway on `redis`, in front of a simulator of its own.
async fn on_redis(redis: &RedisServer) -> TestGateway {
    let store = RedisConfig::parse(&redis.url());
    TestGateway::start(Scenario::default().with_accounts(1), |config| {
        config.store.redis = store;
        config.store.encryption_keys = vec!["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()];
    })
    .await
}

/// Waits until the `/v1/models` of `gateway` shows `model` or no longer does: it is read from the live settings.
async fn until_listed(gateway: &TestGateway, model: &str, shown: bool) {
    let waiting = async {
        loop {
            let listed = gateway.client.get("/v1/models").await.1;
            if listed["data"].as_array().unwrap().iter().any(|entry| entry["id"] == model) == shown {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(2), waiting).await.is_ok(),
        "{model}: {shown} is not the case"
    );
}

#[tokio::test]
async fn a_change_at_one_gateway_is_in_force_at_the_other() {
    let redis = RedisServer::start();
    let (one, two) = (on_redis(&redis).await, on_redis(&redis).await);
    set(&one, json!({ "modelMapping": { "mine": { "mapping": GEMINI } } })).await;
    until_listed(&two, "mine", true).await;
    set(&two, json!({ "modelMapping": null })).await;
    until_listed(&one, "mine", false).await;
    let late = json!({ "generation": 1, "settings": { "maxRetries": 6 } });
    assert_eq!(change(&one, &late).await.0, 409, "the other one's change counts");
    one.settled().await;
    two.settled().await;
}
