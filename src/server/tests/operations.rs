//! What operators do to accounts, caches and requests, on the wire.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Fake, LOCAL, ask, call, locked, request, state};
use crate::config::ServerConfig;
use crate::server::auth::Peer;

const PASSWORD: (&str, &str) = ("x-webui-password", "pass");

async fn open(line: &str) -> Answer {
    call(&ServerConfig::default(), line, &[LOCAL], "").await
}

async fn told(line: &str) -> (u16, Value) {
    let answer = open(line).await;
    assert_eq!(answer.header("cache-control"), "no-store", "{line}");
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn account_limits_are_json_or_text() {
    let answer = open("GET /account-limits").await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let report = answer.json();
    assert_eq!((&report["totalAccounts"], &report["models"]), (&json!(1), &json!(["claude-a", "gemini-b"])));
    let account = &report["accounts"][0];
    let left = json!({"remaining": "76%", "remainingFraction": 0.755, "resetTime": "2026-11-27T20:00:00Z"});
    assert_eq!(account["limits"], json!({"claude-a": left, "gemini-b": null}));
    assert_eq!((&account["email"], &account["snapshotAt"]), (&json!("a@b"), &json!(1)));
    assert_eq!(open("GET /account-limits?refresh=true").await.json()["accounts"][0]["snapshotAt"], 2);
    let text = open("GET /account-limits?format=table").await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert!(text.body.starts_with("Account Limits (") && text.body.contains("\nclaude-a "), "{}", text.body);
    assert!(!text.body.ends_with('\n'));

    let refused = call(&locked(), "GET /account-limits", &[], "").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["status"]), (401, &json!("error")));
    let elsewhere = [("host", "gateway.example")];
    let stranger = call(&ServerConfig::default(), "GET /account-limits", &elsewhere, "").await;
    assert_eq!(stranger.status, 403, "it names accounts");
}

#[tokio::test]
async fn accounts_are_kept_usable() {
    let ok = |body: Value| (200, body);
    assert_eq!(
        told("POST /api/accounts/A%40b/refresh").await,
        ok(json!({"status": "ok", "message": "Token cache cleared for A@b"}))
    );
    let gone = json!({"status": "error", "error": "Account x@b not found"});
    assert_eq!(told("POST /api/accounts/x%40b/refresh").await, (404, gone.clone()));
    assert_eq!(told("POST /api/accounts/x%40b/fix").await, (404, gone));
    assert_eq!(
        told("POST /api/accounts/reload").await,
        ok(json!({
            "status": "ok", "message": "Accounts reloaded from disk",
            "summary": "1 total, 1 available, 1 rate-limited, 0 invalid",
        }))
    );
    for (email, remedy, members) in [
        ("a@b", "none", vec!["message", "remedy", "status"]),
        ("off@b", "none", vec!["message", "remedy", "status"]),
        ("banned@b", "appeal", vec!["message", "remedy", "status"]),
        ("verify@b", "verify", vec!["message", "remedy", "status", "url"]),
        (
            "revoked@b",
            "signIn",
            vec![
                "callbackListening",
                "expiresAt",
                "message",
                "redirectUri",
                "remedy",
                "state",
                "status",
                "url",
            ],
        ),
    ] {
        let (status, body) = told(&format!("POST /api/accounts/{}/fix", email.replace('@', "%40"))).await;
        let mut found: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        found.sort();
        assert_eq!(
            (status, body["remedy"].as_str(), found),
            (200, Some(remedy), members.into_iter().map(Into::into).collect())
        );
    }
}

#[tokio::test]
async fn requests_in_flight_are_listed_and_ended() {
    let (status, live) = told("GET /api/requests/live").await;
    assert_eq!((status, &live["status"], &live["complete"]), (200, &json!("ok"), &json!(false)));
    let request = json!({
        "id": "req_1", "replica": "r1", "startedAt": 1000, "ageMs": 500, "state": "answering", "stream": true,
        "requestedModel": "opus", "model": "claude-a", "account": "a@b", "attempts": 1, "waitedMs": 0,
        "firstEventMs": 40, "client": {"id": "k1", "name": "Ada"}, "session": "00000000000000ff",
    });
    assert_eq!(live["requests"], json!([request]));
    let silent = json!({"id": "r2", "host": "h", "self": false, "asOf": null, "requests": 0});
    assert_eq!(live["replicas"][1], silent);
    for (id, status, told) in [
        ("req_1", 200, json!({"status": "ok", "message": "Request req_1 cancelled", "replica": "r1"})),
        ("req_2", 409, json!({"status": "error", "error": "Request req_2 was cancelled before"})),
        ("req_3", 409, json!({"status": "error", "error": "Request req_3 has ended"})),
        (
            "req_4",
            503,
            json!({"status": "error", "error": "No request in flight has this id, but pod-2 did not answer"}),
        ),
        ("req_5", 404, json!({"status": "error", "error": "No request in flight has this id"})),
        ("a%20b", 404, json!({"status": "error", "error": "No request in flight has this id"})),
    ] {
        let answer = open(&format!("POST /api/requests/{id}/cancel")).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, told), "{id}");
        assert_eq!(!answer.header("retry-after").is_empty(), status == 503, "{id}");
    }
    assert_eq!(open("POST /api/requests/%ff/cancel").await.status, 400);
}

#[tokio::test]
async fn tokens_are_forgotten_for_operators_and_clients() {
    let body = json!({
        "status": "ok", "message": "Token caches cleared and refreshed", "cleared": {"tokens": 2, "projects": 1},
        "skipped": false,
    });
    assert_eq!(told("POST /refresh-token").await, (200, body));
    let body = json!({
        "status": "ok", "message": "Token caches were cleared less than 5 seconds ago",
        "cleared": {"tokens": 0, "projects": 0}, "skipped": true,
    });
    let again = state(&ServerConfig::default(), Fake { just_cleared: true, ..Fake::default() });
    let peer = Peer::Tcp("127.0.0.1:1".parse().unwrap());
    let answer = ask(&again, request("POST /refresh-token", &[LOCAL], String::new(), peer)).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, body));
    let locked = locked();
    for (headers, status) in [
        (&[][..], 401),
        (&[PASSWORD], 200),
        (&[("x-api-key", "key")], 200),
        (&[("authorization", "Bearer key")], 200),
        (&[("x-api-key", "other")], 401),
        (&[("x-webui-password", "key")], 401),
    ] {
        let answer = call(&locked, "POST /refresh-token", headers, "").await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?}");
        assert!(status == 200 || answer.json()["status"] == "error", "{}", answer.body);
    }
    // Without either it is for this machine alone, as the console is.
    let stranger =
        call(&ServerConfig::default(), "POST /refresh-token", &[("host", "gateway.example")], "").await;
    assert_eq!(stranger.status, 403);
    let keyless = ServerConfig { webui_password: Some("pass".into()), ..ServerConfig::default() };
    assert_eq!(call(&keyless, "POST /refresh-token", &[LOCAL], "").await.status, 401, "no key opens no door");
    assert_eq!(open("GET /refresh-token").await.status, 405);
}

#[tokio::test]
async fn signatures_are_forgotten_in_developer_mode_only() {
    let peer = Peer::Tcp("127.0.0.1:1".parse().unwrap());
    let clear = async |developer, config: &ServerConfig| {
        let state = state(config, Fake { developer, ..Fake::default() });
        ask(&Arc::clone(&state), request("POST /test/clear-signature-cache", &[LOCAL], "", peer)).await
    };
    let open = ServerConfig::default();
    let done = clear(true, &open).await;
    let told = json!({"success": true, "message": "Thinking signature cache cleared", "cleared": 3});
    assert_eq!((done.status.as_u16(), done.json()), (200, told));
    let missing = clear(false, &open).await;
    assert_eq!((missing.status.as_u16(), &missing.json()["error"]["type"]), (404, &json!("not_found_error")));
    assert_eq!(clear(true, &locked()).await.status, 401);
}
