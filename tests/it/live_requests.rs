//! Requests in flight: seen and cancelled from any replica, whichever answers them.

use std::time::Duration;

use antigravity_proxy::simulator::{Event, Scenario};
use antigravity_proxy::store::ident::{ReplicaId, Version};
use antigravity_proxy::store::ops::replicas::{Announcement, ReplicaState};
use reqwest::Response;
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::client::Answer;
use crate::support::replicas::until;
use crate::support::{Client, GEMINI, Replicas, TestGateway, ask};

const PATIENCE: Duration = Duration::from_secs(20);

async fn live(client: &Client) -> Value {
    let (status, body) = client.get("/api/requests/live").await;
    assert_eq!((status, &body["status"]), (200, &json!("ok")), "{body}");
    body
}

/// The only request in flight, once it is in that state.
async fn only(client: &Client, state: &str) -> Value {
    let seen = until(async || {
        let body = live(client).await;
        body["requests"].as_array().unwrap().iter().any(|one| one["state"] == state)
    });
    assert!(seen.await, "no request becomes {state}");
    let body = live(client).await;
    let [request] = &body["requests"].as_array().unwrap()[..] else { panic!("{body}") };
    request.clone()
}

async fn cancel(client: &Client, id: &str) -> (u16, Value) {
    client.post(&format!("/api/requests/{id}/cancel"), &json!({})).await
}

async fn rest_of(mut response: Response, first: &[u8]) -> Answer {
    let mut all = first.to_vec();
    while let Some(chunk) = response.chunk().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    Answer::of_stream(std::str::from_utf8(&all).unwrap())
}

async fn gone(client: &Client) {
    let gone = until(async || live(client).await["requests"].as_array().unwrap().is_empty());
    assert!(gone.await, "requests are left");
}

#[tokio::test]
async fn a_stream_of_one_replica_is_seen_and_ended_by_another() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(Scenario::default(), &[redis.url(), redis.url()]).await;
    replicas.fault(&json!({}), &json!({"stall_after": 2}));
    let standing = async || {
        let page = replicas.store(0).list_accounts(0, 10, &[GEMINI.to_owned()]).await.unwrap();
        let one = &page.accounts[0];
        (one.health.round().to_string(), one.failures, one.limits.clone(), one.cooling, one.invalid.clone())
    };
    let before = standing().await;
    let mut response = replicas.client(0).begin(&ask(GEMINI, "write 500 words", true)).await;
    let id = response.headers()["request-id"].to_str().unwrap().to_owned();
    let first = response.chunk().await.unwrap().unwrap();

    let request = only(replicas.client(1), "answering").await;
    assert_eq!((&request["id"], &request["account"]), (&json!(id), &json!("dev1@example.com")), "{request}");
    assert_eq!((&request["requestedModel"], &request["model"]), (&json!(GEMINI), &json!(GEMINI)));
    assert_eq!((&request["stream"], &request["attempts"]), (&json!(true), &json!(1)));
    assert_eq!(request["client"], json!({"id": "open", "name": "open"}), "{request}");
    assert!(request["firstEventMs"].is_u64() && request["startedAt"].as_i64().unwrap() > 1_700_000_000_000);
    let asked = live(replicas.client(1)).await;
    assert_eq!((&asked["complete"], &asked["omitted"]), (&json!(true), &json!(0)), "{asked}");
    let serving: Vec<_> =
        asked["replicas"].as_array().unwrap().iter().filter(|one| one["requests"] == 1).collect();
    assert_eq!(
        (serving.len(), &serving[0]["self"], &serving[0]["id"]),
        (1, &json!(false), &request["replica"])
    );
    // Nothing of what it says is told.
    assert!(!asked.to_string().contains("500 words"));

    let disconnects = replicas.simulator.counts().disconnects;
    let (status, body) = cancel(replicas.client(1), &id).await;
    assert_eq!((status, &body["replica"]), (200, &request["replica"]), "{body}");
    assert!(replicas.simulator.wait_for(Event::Disconnect, disconnects + 1, PATIENCE).await);
    let answer = rest_of(response, &first).await;
    let last = answer.events.last().unwrap();
    assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("permission_error")));
    assert_eq!(answer.count("message_stop"), 0);
    gone(replicas.client(1)).await;
    for turn in [0, 1] {
        let (status, body) = cancel(replicas.client(turn), &id).await;
        assert_eq!((status, &body["status"]), (409, &json!("error")), "{body}");
        let (status, body) = cancel(replicas.client(turn), "req_of_nobody").await;
        assert_eq!(status, 404, "{body}");
    }
    replicas.settled().await;
    assert_eq!(standing().await, before, "no account is blamed");
    replicas.shutdown().await;
}

#[tokio::test]
async fn what_has_no_answer_yet_is_ended_with_one() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(Scenario::default(), &[redis.url(), redis.url()]).await;
    replicas.fault(&json!({}), &json!({"stall_after": 0}));
    for stream in [true, false] {
        let body = ask(GEMINI, "hello", stream);
        let waiting = replicas.client(0).begin(&body);
        let cancelling = async {
            let request = only(replicas.client(1), "trying").await;
            assert_eq!(request["firstEventMs"], Value::Null);
            cancel(replicas.client(1), request["id"].as_str().unwrap()).await.0
        };
        let (response, status) = tokio::join!(waiting, cancelling);
        assert_eq!((status, response.status().as_u16()), (200, 403), "stream: {stream}");
        assert_eq!(response.headers()["x-should-retry"], "false");
        let told: Value = response.json().await.unwrap();
        assert_eq!(told["error"]["type"], "permission_error", "{told}");
        gone(replicas.client(1)).await;
    }
    replicas.settled().await;
    replicas.shutdown().await;
}

#[tokio::test]
async fn a_request_that_waits_for_the_pool_is_ended_too() {
    let gateway = TestGateway::start(Scenario::default(), |config| {
        config.selection.base.insert("maxConcurrentPerAccount".into(), "1".into());
    })
    .await;
    gateway.fault(&json!({}), &json!({"stall_after": 2}));
    let mut first = gateway.client.begin(&ask(GEMINI, "write 500 words", true)).await;
    assert!(first.chunk().await.unwrap().is_some());
    let body = ask(GEMINI, "hello", false);
    let waiting = gateway.client.begin(&body);
    let cancelling = async {
        let seen = until(async || {
            let body = live(&gateway.client).await;
            body["requests"].as_array().unwrap().iter().any(|one| one["state"] == "waiting")
        });
        assert!(seen.await, "nobody waits");
        let body = live(&gateway.client).await;
        let requests = body["requests"].as_array().unwrap();
        assert_eq!(requests[0]["state"], "answering", "the oldest first: {body}");
        cancel(&gateway.client, requests[1]["id"].as_str().unwrap()).await.0
    };
    let (response, status) = tokio::join!(waiting, cancelling);
    assert_eq!((status, response.status().as_u16()), (200, 403));
    drop(first);
    gateway.settled().await;
}

#[tokio::test]
async fn a_wait_after_a_try_is_one_and_counts_while_it_goes_on() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(Scenario::default(), &[redis.url(), redis.url()]).await;
    replicas.fault(&json!({"times": 1}), &json!({"fault": "rate_limited", "reset_ms": 60_000}));
    let body = ask(GEMINI, "hello", false);
    let waiting = replicas.client(0).begin(&body);
    let looking = async {
        let seen = until(async || {
            let body = live(replicas.client(1)).await;
            let requests = body["requests"].as_array().unwrap();
            requests.iter().any(|one| {
                let waited = one["waitedMs"].as_u64().unwrap();
                one["state"] == "waiting" && one["attempts"] == 1 && waited >= 500
            })
        });
        assert!(seen.await, "{}", live(replicas.client(1)).await);
        let request = live(replicas.client(1)).await["requests"][0].clone();
        assert_eq!(request["account"], "dev1@example.com", "{request}");
        assert!(request["waitedMs"].as_u64() <= request["ageMs"].as_u64(), "{request}");
        cancel(replicas.client(1), request["id"].as_str().unwrap()).await.0
    };
    let (response, status) = tokio::join!(waiting, looking);
    assert_eq!((status, response.status().as_u16()), (200, 403));
    // Nothing of the questions and answers is left in the store.
    let mut connection = redis.connect();
    let left: Vec<String> = redis::cmd("KEYS").arg("agp:v1:{main}:ask:*").query(&mut connection).unwrap();
    assert!(left.is_empty(), "{left:?}");
    replicas.settled().await;
    replicas.shutdown().await;
}

#[tokio::test]
async fn a_replica_that_does_not_answer_is_named() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(Scenario::default(), &[redis.url()]).await;
    let ghost = ReplicaId::new("ghost").unwrap();
    let announcement = Announcement {
        id: &ghost,
        ttl: Duration::from_mins(5),
        host: "pod-9",
        uptime: Duration::from_secs(1),
        in_flight: 1,
        generation: Version(0),
        state: ReplicaState::Serving,
        keys: &[],
    };
    replicas.store(0).announce_replica(&announcement).await.unwrap();
    let body = live(replicas.client(0)).await;
    assert_eq!(body["complete"], false, "{body}");
    let silent = body["replicas"].as_array().unwrap().iter().find(|one| one["id"] == "ghost").unwrap();
    assert_eq!((&silent["host"], &silent["asOf"]), (&json!("pod-9"), &Value::Null));
    let response = replicas.client(0).request(reqwest::Method::POST, "/api/requests/req_x/cancel");
    let response = response.json(&json!({})).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert!(response.json::<Value>().await.unwrap()["error"].as_str().unwrap().contains("pod-9"));
    replicas.shutdown().await;
}
