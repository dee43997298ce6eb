//! `/api/keys` on the wire, and what its keys open.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Fake, JSON, LOCAL, ask, request, state};
use crate::config::ServerConfig;
use crate::server::auth::Peer;
use crate::server::state::AppState;

struct Bench(Arc<AppState>);

impl Bench {
    fn new(api_keys: &[&str]) -> Self {
        let api_keys = api_keys.iter().map(|&key| key.into()).collect();
        Self(state(&ServerConfig { api_keys, ..ServerConfig::default() }, Fake::default()))
    }

    async fn call(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let peer = Peer::Tcp("127.0.0.1:1".parse().unwrap());
        ask(&self.0, request(line, headers, body.to_owned(), peer)).await
    }

    /// Status and body of a call of the console API.
    async fn api(&self, line: &str, body: &Value) -> (u16, Value) {
        let answer = self.call(line, &[LOCAL, JSON], &body.to_string()).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        (answer.status.as_u16(), answer.json())
    }

    /// Makes a key; its secret and id.
    async fn made(&self, body: &Value) -> (String, String) {
        let (status, made) = self.api("POST /api/keys", body).await;
        assert_eq!((status, &made["status"]), (201, &json!("ok")), "{made}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["secret"]), text(&made["key"]["id"]))
    }

    /// Status and body of a Messages request.
    async fn messages(&self, secret: &str) -> (u16, Value) {
        let answer = self.call("POST /v1/messages", &[JSON, ("x-api-key", secret)], "{}").await;
        if answer.status == 401 {
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
        (answer.status.as_u16(), answer.json())
    }
}

#[tokio::test]
async fn a_key_opens_the_model_api_from_its_making_to_its_end() {
    let bench = Bench::new(&[]);
    assert_eq!(bench.messages("").await.1["key"], "open");
    let (ada, id) = bench.made(&json!({ "name": " ada ", "models": ["claude-*"] })).await;
    assert!(ada.starts_with("agp_") && id.starts_with("key_"), "{id}");
    let (status, refused) = bench.messages("").await;
    assert_eq!((status, &refused["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!(refused["error"]["message"], "Invalid or missing API key");
    let (status, echo) = bench.messages(&ada).await;
    assert_eq!((status, &echo["key"], &echo["models"]), (200, &json!(id), &json!(["claude-*"])));
    for line in ["GET /v1/models", "GET /v1/models/claude-a", "POST /v1/messages/count_tokens"] {
        let with = bench.call(line, &[JSON, ("authorization", &format!("Bearer {ada}"))], "{}").await;
        assert_eq!(with.status, 200, "{line}: {}", with.body);
        assert_eq!(bench.call(line, &[JSON], "{}").await.status, 401, "{line}");
    }
    // A key of the model API opens nothing else.
    assert_eq!(bench.call("GET /api/store/export", &[LOCAL, ("x-api-key", &ada)], "").await.status, 403);

    let (status, changed) = bench.api("PATCH /api/keys/ada", &json!({ "name": "Ada", "models": null })).await;
    assert_eq!((status, &changed["key"]["name"], &changed["key"]["id"]), (200, &json!("Ada"), &json!(id)));
    assert_eq!(bench.messages(&ada).await.1["models"], json!([]));

    let (status, rotated) = bench.api(&format!("POST /api/keys/{id}/rotate"), &json!({})).await;
    assert_eq!(status, 200, "{rotated}");
    let new = rotated["secret"].as_str().unwrap();
    assert_eq!(bench.messages(new).await.1["key"], json!(id), "what is scoped by it stays");
    let (status, refused) = bench.messages(&ada).await;
    assert_eq!(status, 401);
    assert!(refused["error"]["message"].as_str().unwrap().contains("\"Ada\" was rotated"), "{refused}");

    let (status, revoked) = bench.api("DELETE /api/keys/Ada", &json!({})).await;
    assert_eq!((status, &revoked["key"]["state"]), (200, &json!("revoked")));
    let (status, refused) = bench.messages(new).await;
    assert_eq!(status, 401);
    assert!(refused["error"]["message"].as_str().unwrap().contains("\"Ada\" was revoked"), "{refused}");
    assert_eq!(bench.messages("").await.0, 401, "the last key is revoked, and nobody gets in without one");
}

#[tokio::test]
async fn keys_are_listed_without_what_would_let_anybody_in() {
    let bench = Bench::new(&["own-secret"]);
    let (before, _) = bench.made(&json!({ "name": "bea", "expiresInDays": 90 })).await;
    let (ada, id) = bench.made(&json!({ "name": "ada", "expiresAt": "2099-01-31T12:00:00Z" })).await;
    bench.messages(&ada).await;
    let (status, rotated) = bench.api("POST /api/keys/bea/rotate", &json!({ "graceMs": 60_000 })).await;
    assert_eq!(status, 200, "{rotated}");
    assert_eq!(bench.messages(&before).await.0, 200, "in its grace");
    assert_eq!(bench.messages("own-secret").await.1["key"], "default");
    let list = bench.call("GET /api/keys", &[LOCAL], "").await;
    for secret in [&before, &ada, rotated["secret"].as_str().unwrap(), "own-secret"] {
        assert!(!list.body.contains(secret));
        assert!(!list.body.contains(&crate::auth::client_keys::KeyDigest::of(secret.as_bytes()).to_hex()));
    }
    let list = list.json();
    assert_eq!((&list["status"], &list["open"]), (&json!("ok"), &json!(false)));
    let names: Vec<_> = list["keys"].as_array().unwrap().iter().map(|key| key["name"].clone()).collect();
    assert_eq!(names, ["default", "ada", "bea"]);
    let own = json!({ "id": "default", "name": "default", "source": "configuration", "state": "active", "models": [] });
    assert_eq!(list["keys"][0], own);
    let ada = &list["keys"][1];
    assert_eq!((&ada["id"], &ada["state"], &ada["source"]), (&json!(id), &json!("active"), &json!("store")));
    assert_eq!(ada["expiresAt"], 4_073_544_000_000_i64);
    assert!(ada["lastUsedAt"].as_i64().unwrap() > 0 && ada["revokedAt"].is_null(), "{ada}");
    let bea = &list["keys"][2];
    let left = bea["expiresAt"].as_i64().unwrap() - bea["createdAt"].as_i64().unwrap();
    assert_eq!(left, 90 * 86_400_000);
    assert!(bea["previousSecretUntil"].as_i64().is_some(), "{bea}");
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let bench = Bench::new(&["own-secret"]);
    bench.made(&json!({ "name": "ada" })).await;
    bench.made(&json!({ "name": "bea" })).await;
    bench.made(&json!({ "name": "gone" })).await;
    assert_eq!(bench.api("POST /api/keys/gone/revoke", &json!({})).await.0, 200);
    let far = "9999-01-01T00:00:00Z";
    for (line, body, status, part) in [
        ("POST /api/keys", json!({}), 400, "missing field `name`"),
        ("POST /api/keys", json!({ "name": "a", "limit": 1 }), 400, "unknown field `limit`"),
        ("POST /api/keys", json!(["a"]), 400, "must be a JSON object"),
        ("POST /api/keys", json!({ "name": "" }), 400, "name: 1 to 64"),
        ("POST /api/keys", json!({ "name": "default" }), 400, "name: `default`"),
        ("POST /api/keys", json!({ "name": "ada" }), 409, "named \"ada\""),
        ("POST /api/keys", json!({ "name": "a", "models": ["a b"] }), 400, "models: "),
        ("POST /api/keys", json!({ "name": "a", "models": "m" }), 400, "models: "),
        ("POST /api/keys", json!({ "name": "a", "expiresAt": 1 }), 400, "must lie ahead"),
        ("POST /api/keys", json!({ "name": "a", "expiresAt": far }), 400, "at most 100 years"),
        ("POST /api/keys", json!({ "name": "a", "expiresAt": "soon" }), 400, "expiresAt: expected a time"),
        ("POST /api/keys", json!({ "name": "a", "expiresInDays": 0 }), 400, "must lie ahead"),
        ("POST /api/keys", json!({ "name": "a", "expiresInDays": -1 }), 400, "expiresInDays: "),
        ("POST /api/keys", json!({ "name": "a", "expiresInDays": 1, "expiresInMs": 1 }), 400, "Give one of"),
        ("PATCH /api/keys/ada", json!({}), 400, "Nothing to change"),
        ("PATCH /api/keys/ada", json!({ "models": [] }), 400, "null to allow all"),
        ("PATCH /api/keys/ada", json!({ "models": ["-"] }), 400, "models: "),
        ("PATCH /api/keys/ada", json!({ "name": "bea" }), 409, "named \"bea\""),
        ("PATCH /api/keys/ada", json!({ "expiresAt": 1 }), 400, "must lie ahead"),
        ("PATCH /api/keys/eve", json!({ "name": "e" }), 404, "no client key \"eve\""),
        ("PATCH /api/keys/default", json!({ "name": "e" }), 409, "API_KEY"),
        ("PATCH /api/keys/gone", json!({ "name": "e" }), 409, "\"gone\" is revoked"),
        ("POST /api/keys/gone/rotate", json!({}), 409, "\"gone\" is revoked"),
        ("POST /api/keys/ada/rotate", json!({ "graceMs": 2_592_000_001_u64 }), 400, "grace: at most 30 days"),
        ("POST /api/keys/ada/rotate", json!({ "grace": 1 }), 400, "unknown field `grace`"),
        ("DELETE /api/keys/eve", json!({}), 404, "no client key \"eve\""),
        ("DELETE /api/keys/default-2", json!({}), 409, "API_KEY"),
        ("DELETE /api/keys/gone", json!({}), 409, "\"gone\" is revoked"),
        ("DELETE /api/keys", json!({}), 405, "not allowed"),
    ] {
        let (found, answer) = bench.api(line, &body).await;
        assert_eq!((found, &answer["status"]), (status, &json!("error")), "{line} {body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{line} {body}: {answer}");
    }
    assert_eq!(bench.call("POST /api/keys", &[LOCAL], "{}").await.status, 415);
    assert_eq!(bench.call("POST /api/keys/ada/rotate", &[LOCAL], "{}").await.status, 415);
    assert_eq!(bench.call("POST /api/keys/ada/rotate", &[LOCAL], "").await.status, 200);
    assert_eq!(bench.call("DELETE /api/keys/%ff", &[LOCAL], "").await.status, 400);
}

/// The answer of a preflight depends on whether a key protects `/v1`.
#[tokio::test]
async fn pages_of_other_sites_may_call_once_there_is_a_key() {
    let bench = Bench::new(&[]);
    let allowed = async || {
        let answer = bench.call("GET /v1/models", &[("origin", "https://elsewhere.test")], "").await;
        answer.headers.contains_key("access-control-allow-origin")
    };
    assert!(!allowed().await);
    assert_eq!(bench.call("POST /v1/messages", &[], "{}").await.status, 415);
    let (secret, _) = bench.made(&json!({ "name": "ada" })).await;
    assert!(allowed().await);
    assert_eq!(bench.call("POST /v1/messages", &[("x-api-key", &secret)], "{}").await.status, 200);
    let status = bench.call("GET /api/status", &[LOCAL], "").await.json();
    assert_eq!(status["access"]["apiKey"], true);
}

#[tokio::test]
async fn an_explanation_is_asked_by_a_keys_name() {
    let bench = Bench::new(&["own"]);
    let (_, id) = bench.made(&json!({ "name": "ada" })).await;
    let scope = async |query: &str| {
        let line = format!("GET /api/strategy/explain?session=s{query}");
        bench.call(&line, &[LOCAL], "").await.json()["selection"]["strategy"].clone()
    };
    assert_eq!(scope("").await, "default/s");
    assert_eq!(scope("&clientKey=ada").await, json!(format!("{id}/s")));
    assert_eq!(scope(&format!("&clientKey={id}")).await, json!(format!("{id}/s")));
    assert_eq!(scope("&clientKey=open").await, "open/s");
}
