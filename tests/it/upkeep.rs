//! Keeping the pool usable by hand: refresh, reload, fix, forgetting tokens and signatures; on every replica alike.

use antigravity_proxy::simulator::Scenario;
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::replicas::until;
use crate::support::{Client, GEMINI, PLAIN, Replicas, TestGateway, ask};

const DEV1: &str = "/api/accounts/dev1%40example.com";

async fn post(client: &Client, path: &str) -> (u16, Value) {
    client.post(path, &json!({})).await
}

fn error(text: &str) -> Value {
    json!({"status": "error", "error": text})
}

#[tokio::test]
async fn a_token_that_is_forgotten_anywhere_is_used_nowhere() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(Scenario::default(), &[redis.url(), redis.url()]).await;
    let served = async |turn: usize| {
        assert_eq!(replicas.client(turn).send(&ask(PLAIN, "hello", false)).await.status, 200);
    };
    for turn in [0, 1] {
        served(turn).await;
    }
    let fetched = || replicas.refreshes().get("dev1@example.com").copied().unwrap_or_default();
    let before = fetched();
    served(1).await;
    assert_eq!(fetched(), before, "the token is good");
    let (status, body) = post(replicas.client(0), &format!("{DEV1}/refresh")).await;
    let told = json!({"status": "ok", "message": "Token cache cleared for dev1@example.com"});
    assert_eq!((status, &body), (200, &told));
    // The other replica hears of it; as long as it does not, it may use what it has.
    let renewed = until(async || {
        served(1).await;
        fetched() == before + 1
    });
    assert!(renewed.await);
    served(0).await;
    assert_eq!(fetched(), before + 1, "one for all");

    let (status, body) = post(replicas.client(1), "/refresh-token").await;
    assert_eq!((status, &body["status"]), (200, &json!("ok")), "{body}");
    assert_eq!(body["message"], "Token caches cleared and refreshed");
    assert_eq!(body["cleared"]["tokens"], 1, "{body}");
    assert!(body["cleared"]["projects"].is_u64(), "{body}");
    let renewed = until(async || {
        served(0).await;
        fetched() == before + 2
    });
    assert!(renewed.await);
    replicas.settled().await;
    replicas.shutdown().await;
}

#[tokio::test]
async fn all_tokens_are_forgotten_once_in_a_few_seconds_for_the_whole_pool() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(Scenario::default(), &[redis.url(), redis.url()]).await;
    let served = async || {
        assert_eq!(replicas.client(0).send(&ask(PLAIN, "hello", false)).await.status, 200);
    };
    let fetched = || replicas.refreshes().get("dev1@example.com").copied().unwrap_or_default();
    served().await;
    let before = fetched();
    let forget = |turn: usize| post(replicas.client(turn), "/refresh-token");
    let answers = tokio::join!(forget(0), forget(1), forget(0), forget(1));
    let answers: [(u16, Value); 4] = answers.into();
    assert!(answers.iter().all(|(status, body)| *status == 200 && body["status"] == "ok"), "{answers:?}");
    let done: Vec<_> = answers.iter().filter(|(_, body)| body["skipped"] == false).collect();
    assert_eq!(done.len(), 1, "{answers:?}");
    assert_eq!(done[0].1["cleared"]["tokens"], 1);
    let skipped = json!({
        "status": "ok", "message": "Token caches were cleared less than 5 seconds ago",
        "cleared": {"tokens": 0, "projects": 0}, "skipped": true,
    });
    assert_eq!(answers.iter().filter(|(_, body)| *body == skipped).count(), 3, "{answers:?}");
    served().await;
    assert!(fetched() <= before + 1);
    // Then again.
    let again = until(async || {
        let (_, body) = forget(1).await;
        body["skipped"] == false && body["cleared"]["tokens"] == 1
    });
    assert!(again.await);
    replicas.settled().await;
    replicas.shutdown().await;
}

#[tokio::test]
async fn an_account_that_its_owner_has_verified_is_used_again() {
    let url = "https://accounts.google.com/signin/continue?x=1";
    let rule = json!({"when": {"path": "fetchAvailableModels", "account": "dev1@example.com", "times": 1},
        "then": {"fault": "validation_required", "validation_url": url}});
    let mut scenario = Scenario::default();
    scenario.rules.push(serde_json::from_value(rule).unwrap());
    let gateway = TestGateway::start(scenario, |_| {}).await;
    assert!(until(async || gateway.account(1).await["isInvalid"] == true).await);
    let (status, body) = post(&gateway.client, &format!("{DEV1}/fix")).await;
    assert_eq!((status, &body["remedy"], &body["url"]), (200, &json!("verify"), &json!(url)), "{body}");
    assert!(body.get("state").is_none());
    let (status, _) = post(&gateway.client, &format!("{DEV1}/refresh")).await;
    assert_eq!(status, 200);
    let account = gateway.account(1).await;
    assert_eq!((&account["isInvalid"], &account["verifyUrl"]), (&json!(false), &Value::Null), "{account}");
    // It is asked at once, not when its time comes.
    let known = until(async || {
        let report = gateway.client.get("/account-limits").await.1;
        report["accounts"][0]["limits"][PLAIN].is_object()
    });
    assert!(known.await);
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 200);
    let fix = post(&gateway.client, &format!("{DEV1}/fix")).await.1;
    assert_eq!((&fix["remedy"], fix.get("url")), (&json!("none"), None), "{fix}");
}

#[tokio::test]
async fn whoever_must_sign_in_again_gets_the_address_for_it() {
    let gateway = TestGateway::of(1).await;
    gateway.fault(&json!({"path": "/token"}), &json!({"fault": "invalid_grant"}));
    post(&gateway.client, "/refresh-token").await;
    gateway.client.send(&ask(PLAIN, "hello", false)).await;
    assert!(until(async || gateway.account(1).await["isInvalid"] == true).await);
    let (status, body) = post(&gateway.client, "/api/accounts/DEV1%40Example.com/fix").await;
    assert_eq!((status, &body["remedy"]), (200, &json!("signIn")), "{body}");
    assert!(body["url"].as_str().unwrap().contains("login_hint=dev1%40example.com"), "{body}");
    let state = body["state"].as_str().unwrap();
    let standing = gateway.client.get(&format!("/api/auth/status?state={state}")).await.1;
    assert_eq!(standing["state"], "pending", "{standing}");
    // A refresh does not make a revoked sign-in a good one.
    assert_eq!(post(&gateway.client, &format!("{DEV1}/refresh")).await.0, 200);
    assert_eq!(gateway.account(1).await["isInvalid"], true);
}

#[tokio::test]
async fn an_account_that_is_not_there_is_not_found_by_any_route() {
    let gateway = TestGateway::of(1).await;
    let told = error("Account nobody@example.com not found");
    let path = "/api/accounts/nobody%40example.com";
    for (method, tail, body) in [
        ("POST", "/refresh", json!({})),
        ("POST", "/fix", json!({})),
        ("POST", "/verify", json!({})),
        ("POST", "/toggle", json!({"enabled": true})),
        ("PATCH", "", json!({"quotaThreshold": 0.5})),
        ("DELETE", "", json!({})),
    ] {
        let request = gateway.client.request(method.parse().unwrap(), &format!("{path}{tail}")).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 404, "{method} {tail}");
        assert_eq!(response.json::<Value>().await.unwrap(), told, "{method} {tail}");
    }
}

#[tokio::test]
async fn a_reload_reads_the_pool_and_leaves_it_as_it_is() {
    let gateway = TestGateway::of(2).await;
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 200);
    gateway.settled().await;
    let before = gateway.standing().await;
    let (status, body) = post(&gateway.client, "/api/accounts/reload").await;
    let told = json!({
        "status": "ok", "message": "Accounts reloaded from disk",
        "summary": "2 total, 2 available, 0 rate-limited, 0 invalid",
    });
    assert_eq!((status, &body), (200, &told));
    assert_eq!(gateway.standing().await, before);
}

#[tokio::test]
async fn signatures_are_forgotten_by_developers_only() {
    let path = "/test/clear-signature-cache";
    let gateway = TestGateway::of(1).await;
    let (status, body) = post(&gateway.client, path).await;
    assert_eq!((status, &body["error"]["type"]), (404, &json!("not_found_error")), "{body}");

    let redis = RedisServer::start();
    let replicas = Replicas::with(Scenario::default(), &[redis.url(), redis.url()], |config| {
        config.server.dev_mode = true;
    })
    .await;
    let mut body = ask(GEMINI, "run `ls`", false);
    let answer = replicas.client(0).send(&body).await;
    assert!(crate::support::replicas::carry_on(&mut body, &answer, "done"), "{}", answer.body);
    let (status, cleared) = post(replicas.client(1), path).await;
    assert_eq!((status, &cleared["success"]), (200, &json!(true)), "{cleared}");
    assert_eq!(cleared["message"], "Thinking signature cache cleared");
    assert!(cleared["cleared"].as_u64().unwrap() > 0, "{cleared}");
    assert_eq!(post(replicas.client(0), path).await.1["cleared"], 0);
    // The conversation goes on with what its client brings along.
    assert_eq!(replicas.client(0).send(&body).await.status, 200);
    replicas.shutdown().await;
}
