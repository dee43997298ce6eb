//! The HTTP surface over a gateway of a few lines.

pub(crate) mod config;
mod console;
pub(crate) mod fake;
mod keys;
mod operations;
mod settings;
mod signin;

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::auth::Peer;
use super::{app, metrics_app};
use crate::config::ServerConfig;
pub(crate) use fake::{Fake, state};

const JSON: (&str, &str) = ("content-type", "application/json");
const LOCAL: (&str, &str) = ("host", "localhost:8080");

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A configuration with API key `key` and console password `pass`.
fn locked() -> ServerConfig {
    ServerConfig {
        api_keys: vec!["key".into()],
        webui_password: Some("pass".into()),
        ..ServerConfig::default()
    }
}

fn request(line: &str, headers: &[(&str, &str)], body: impl Into<Body>, peer: Peer) -> Request<Body> {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target).extension(peer);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

async fn ask(state: &Arc<super::state::AppState>, request: Request<Body>) -> Answer {
    let response = app(state).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

async fn call(config: &ServerConfig, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let peer = Peer::Tcp("127.0.0.1:1".parse().unwrap());
    ask(&state(config, Fake::default()), request(line, headers, body, peer)).await
}

#[tokio::test]
async fn every_route_asks_for_its_credentials() {
    let config = locked();
    for (line, without) in [
        ("POST /v1/messages", 401),
        ("POST /v1/messages/", 401),
        ("POST /v1/messages/count_tokens?beta=true", 401),
        ("GET /v1/models", 401),
        ("GET /v1/models/x", 401),
        ("GET /v1/unknown", 401),
        ("GET /health", 401),
        ("GET /health/", 401),
        ("GET /api/status", 401),
        ("GET /api/accounts", 401),
        ("GET /api/replicas", 401),
        ("GET /api/logs", 401),
        ("GET /api/logs/stream?history=true", 401),
        ("GET /api/events", 401),
        ("GET /api/strategy/explain?model=m", 401),
        ("GET /api/accounts/", 401),
        ("HEAD /api/accounts", 401),
        ("GET /api/accounts/export", 401),
        ("POST /api/accounts/import", 401),
        ("DELETE /api/accounts/a%40b", 401),
        ("GET /api/keys", 401),
        ("POST /api/keys", 401),
        ("PATCH /api/keys/x", 401),
        ("DELETE /api/keys/x", 401),
        ("POST /api/keys/x/revoke", 401),
        ("POST /api/keys/x/rotate", 401),
        ("POST /api/accounts/rotate-keys", 401),
        ("PATCH /api/accounts/a%40b", 401),
        ("POST /api/accounts/a%40b/toggle", 401),
        ("POST /api/accounts/a%40b/verify", 401),
        ("POST /api/migrate", 403),
        ("POST /api/drain", 403),
        ("GET /api/settings", 401),
        ("PATCH /api/settings", 401),
        ("GET /api/config", 200),
        ("HEAD /api/config/", 200),
        ("GET /API/config", 404),
        ("POST /api/config", 401),
        ("POST /api/config/", 401),
        ("POST /api/models/config", 401),
        ("GET /api/strategy/health", 401),
        ("GET /api/server/presets", 401),
        ("POST /api/server/presets", 401),
        ("PATCH /api/server/presets/x", 401),
        ("DELETE /api/server/presets/x", 401),
        ("GET /api/claude/config", 401),
        ("POST /api/claude/config", 401),
        ("POST /api/claude/config/restore", 401),
        ("GET /api/claude/mode", 401),
        ("POST /api/claude/mode", 401),
        ("GET /api/claude/presets", 401),
        ("POST /api/claude/presets", 401),
        ("DELETE /api/claude/presets/x", 401),
        ("GET /api/auth/url", 401),
        ("POST /api/auth/url", 401),
        ("POST /api/auth/complete", 401),
        ("GET /api/auth/status?state=x", 401),
        ("GET /api/unknown", 401),
        ("GET /api/store/export", 403),
        ("GET /metrics", 404),
        ("GET /API/accounts/export", 404),
        ("GET //api/accounts/export", 404),
        ("GET /api/accounts/export//", 401),
        ("GET /%61pi/accounts/export", 404),
        ("GET /v1%2Fmodels", 404),
        ("GET /.well-known/oauth-authorization-server", 404),
        ("GET /../Cargo.toml", 404),
        ("GET /%2e%2e/Cargo.toml", 404),
        ("GET /js/../../Cargo.toml", 404),
        ("GET /", 200),
        ("HEAD /", 200),
        ("POST /", 200),
        ("POST /api/event_logging/batch", 200),
        ("GET /api/hello", 200),
        ("HEAD /api/hello", 200),
        ("GET /livez", 200),
        ("GET /index.html", 200),
    ] {
        let answer = call(&config, line, &[LOCAL, JSON], "{}").await;
        assert_eq!(answer.status.as_u16(), without, "{line}: {}", answer.body);
        assert!(answer.header("request-id").starts_with("req_"), "{line}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{line}");
        if without >= 400 && !line.starts_with("HEAD") {
            assert_eq!(answer.header("content-type"), "application/json", "{line}");
            let expected =
                if line.contains(" /api/") || line.contains(" /health") { "status" } else { "type" };
            assert_eq!(answer.json()[expected], "error", "{line}");
        }
    }
}

#[tokio::test]
async fn model_errors_have_anthropics_shape() {
    let answer = call(&locked(), "POST /v1/messages?beta=true", &[JSON], "{}").await;
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(
        answer.json(),
        json!({
            "type": "error",
            "error": { "type": "authentication_error", "message": "Invalid or missing API key" },
            "request_id": answer.header("request-id"),
        })
    );
    let open = ServerConfig::default();
    let answer = call(&open, "GET /v1/nothing?secret=1", &[], "").await;
    assert_eq!(answer.json()["error"]["message"], "Endpoint GET /v1/nothing not found");
    assert_eq!(answer.json()["error"]["type"], "not_found_error");
    let answer = call(&open, "GET /api/nothing", &[LOCAL], "").await;
    assert_eq!(
        (answer.json()["type"].clone(), answer.json()["status"].clone()),
        (json!("error"), json!("error"))
    );
    let answer = call(&open, "PUT /v1/messages", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
    assert_eq!(answer.json()["type"], "error");
    let answer = call(&open, "POST /v1/messages", &[JSON], "panic").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["type"].clone()), (500, json!("api_error")));
    assert!(!answer.body.contains("secret detail"));
    let answer = call(&open, "POST /v1/messages", &[JSON], "quota").await;
    assert_eq!(answer.status.as_u16(), 429);
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), ("3600", "false"));
}

#[tokio::test]
async fn an_open_model_api_takes_no_simple_cross_site_requests() {
    let open = ServerConfig::default();
    assert_eq!(call(&open, "POST /v1/messages", &[("content-type", "text/plain")], "{}").await.status, 415);
    assert_eq!(call(&open, "POST /v1/messages", &[], "{}").await.status, 415);
    let charset = ("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(call(&open, "POST /v1/messages", &[charset], "{}").await.status, 200);
    assert_eq!(call(&locked(), "POST /v1/messages", &[("x-api-key", "key")], "{}").await.status, 200);
}

#[tokio::test]
async fn cross_origin_rules() {
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-api-key, Anthropic-Version, x-evil"),
    ];
    let answer = call(&locked(), "OPTIONS /v1/messages", &preflight, "").await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (204, "*"));
    assert_eq!(answer.header("access-control-allow-headers"), "x-api-key, anthropic-version");
    let answer = call(&locked(), "GET /v1/models", &[("x-api-key", "key")], "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    for (config, line) in
        [(ServerConfig::default(), "OPTIONS /v1/messages"), (locked(), "OPTIONS /api/accounts")]
    {
        let answer = call(&config, line, &preflight, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            (204, ""),
            "{line}"
        );
    }
    assert_eq!(call(&locked(), "OPTIONS /v1/messages", &[("x-api-key", "key")], "").await.status, 405);
}

#[tokio::test]
async fn messages_and_counts() {
    let open = ServerConfig::default();
    let headers = [JSON, ("x-claude-code-session-id", "s-1"), ("user-agent", "claude-cli/2")];
    let answer = call(&open, "POST /v1/messages?beta=true", &headers, "{\"x\":1}").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-from-gateway"), "yes");
    assert_eq!(
        answer.json(),
        json!({ "echo": "{\"x\":1}", "key": "open", "models": [], "session": "s-1", "agent": "claude-cli/2",
                "id": answer.header("request-id") })
    );
    let answer = call(&open, "POST /v1/messages", &headers, "stream").await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!((answer.header("cache-control"), answer.header("x-accel-buffering")), ("no-cache", "no"));
    assert_eq!(answer.body, "event: ping\n\nevent: message_stop\n\n");
    let answer = call(&open, "POST /v1/messages/count_tokens", &headers, "12345").await;
    assert_eq!(answer.json(), json!({ "input_tokens": 5 }));
}

#[tokio::test]
async fn bodies_are_bounded() {
    let small = ServerConfig { request_body_limit: 10, ..ServerConfig::default() };
    assert_eq!(call(&small, "POST /v1/messages", &[JSON], "0123456789").await.status, 200);
    let answer = call(&small, "POST /v1/messages", &[JSON], "0123456789a").await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (413, "close"));
    assert_eq!(answer.json()["error"]["type"], "request_too_large");
    let announced = [JSON, ("content-length", "99999999999")];
    assert_eq!(call(&small, "POST /v1/messages", &announced, "").await.status, 413);
    let pieces = futures_util::stream::iter(["01234", "56789"].map(Ok::<_, std::io::Error>));
    let answer = call(&small, "POST /v1/messages", &[JSON], Body::from_stream(pieces)).await;
    assert_eq!(answer.json()["echo"], "0123456789");
    let pieces = futures_util::stream::iter(["01234", "56789", "a"].map(Ok::<_, std::io::Error>));
    assert_eq!(call(&small, "POST /v1/messages", &[JSON], Body::from_stream(pieces)).await.status, 413);
    let gzip = [JSON, ("content-encoding", "gzip")];
    assert_eq!(call(&small, "POST /v1/messages", &gzip, "x").await.status, 415);
    let big = "[".to_owned() + &" ".repeat(5 * 1024 * 1024) + "]";
    assert_eq!(call(&small, "POST /api/accounts/import", &[LOCAL, JSON], big).await.status, 413);
}

#[tokio::test(start_paused = true)]
async fn a_trickling_body_is_given_up() {
    let drip = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        Some((Ok::<_, std::io::Error>("x"), ()))
    });
    let answer = call(&ServerConfig::default(), "POST /v1/messages", &[JSON], Body::from_stream(drip)).await;
    assert_eq!(answer.status, 408);
    let silence = futures_util::stream::pending::<Result<&str, std::io::Error>>();
    let answer =
        call(&ServerConfig::default(), "POST /v1/messages", &[JSON], Body::from_stream(silence)).await;
    assert_eq!(answer.status, 408);
}

#[tokio::test]
async fn models_come_in_pages() {
    let cases = [
        ("", &["claude-a", "gemini-b"][..], false),
        ("limit=1", &["claude-a"], true),
        ("limit=1&after_id=claude-a", &["gemini-b"], false),
        ("limit=1&before_id=gemini-b", &["claude-a"], false),
        ("limit=1&before_id=zzz", &["gemini-b"], true),
        ("after_id=claude-gone", &["gemini-b"], false),
        ("after_id=gemini-b", &[], false),
        ("before_id=claude-a&other=x", &[], false),
    ];
    for (query, want, more) in cases {
        let answer = call(&ServerConfig::default(), &format!("GET /v1/models?{query}"), &[], "").await.json();
        let ids: Vec<_> =
            answer["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
        assert_eq!((ids.as_slice(), &answer["has_more"]), (want, &json!(more)), "{query}");
        assert_eq!(answer["first_id"].as_str(), want.first().copied(), "{query}");
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("after_id=a&before_id=b", "after_id"),
    ] {
        let answer = call(&ServerConfig::default(), &format!("GET /v1/models?{query}"), &[], "").await;
        assert_eq!(answer.status, 400, "{query}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(field), "{message}");
    }
}

#[tokio::test]
async fn models_speak_to_three_kinds_of_client() {
    let answer = call(&ServerConfig::default(), "GET /v1/models?limit=1000", &[], "").await.json();
    assert_eq!((&answer["first_id"], &answer["last_id"]), (&json!("claude-a"), &json!("gemini-b")));
    assert_eq!(answer["has_more"], false);
    assert_eq!(
        answer["data"][0],
        json!({ "type": "model", "id": "claude-a", "display_name": "Claude A",
                "created_at": "2026-01-02T03:04:05.678Z", "object": "model", "created": 1_767_323_045,
                "owned_by": "anthropic", "description": "about a" })
    );
    let one = call(&ServerConfig::default(), "GET /v1/models/claude-a", &[], "").await.json();
    assert_eq!(one, answer["data"][0]);
    assert_eq!(call(&ServerConfig::default(), "GET /v1/models/none", &[], "").await.status, 404);
    assert_eq!(call(&ServerConfig::default(), "GET /v1/models/%ff", &[], "").await.status, 400);
}

#[tokio::test]
async fn health_names_nobody_to_strangers() {
    let open = ServerConfig::default();
    let answer = call(&open, "GET /health?refresh=true", &[LOCAL], "").await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        (&answer.json()["accounts"][0]["email"], &answer.json()["summary"]),
        (&json!("a@b"), &json!("fresh"))
    );
    let answer = call(&open, "GET /health?refresh=true", &[("host", "gateway.example")], "").await;
    assert_eq!(
        answer.json(),
        json!({
            "status": "ok", "timestamp": "2030-01-31T12:00:00.000Z", "latencyMs": 1, "summary": "as it was",
            "counts": { "total": 1, "available": 1, "rateLimited": 0, "invalid": 0 },
            "accounts": [], "redacted": true,
        })
    );
    let answer = call(&locked(), "GET /health", &[("x-webui-password", "pass")], "").await;
    assert_eq!(answer.json()["accounts"][0]["email"], "a@b");
}

#[tokio::test]
async fn probes_follow_the_process() {
    let state = state(&locked(), Fake::default());
    let peer = Peer::Tcp("10.0.0.9:1".parse().unwrap());
    let probe =
        async |path: &str| ask(&state, request(&format!("GET {path}"), &[], "", peer)).await.status.as_u16();
    assert_eq!((probe("/livez").await, probe("/startupz").await, probe("/readyz").await), (200, 503, 503));
    state.drain.mark_started();
    assert_eq!((probe("/livez").await, probe("/startupz").await, probe("/readyz").await), (200, 200, 200));
    state.drain.begin();
    assert_eq!((probe("/livez").await, probe("/startupz").await, probe("/readyz").await), (200, 200, 503));

    for (path, status) in [("/metrics", 200), ("/readyz", 503), ("/api/accounts", 404), ("/", 404)] {
        let response =
            metrics_app(&state).oneshot(request(&format!("GET {path}"), &[], "", peer)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test]
async fn files_are_strict_and_revalidated() {
    let page = call(&locked(), "GET /", &[], "").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!((page.header("cache-control"), page.header("x-frame-options")), ("no-cache", "DENY"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(policy.ends_with("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.body.contains("style=") && !page.body.contains("<style"), "nothing inline");
    let etag = page.header("etag");
    for tags in [etag, "*", &format!("\"other\", W/{etag}")] {
        let again = call(&locked(), "GET /", &[("if-none-match", tags)], "").await;
        assert_eq!((again.status.as_u16(), again.body.as_str(), again.header("etag")), (304, "", etag));
    }
    assert_eq!(call(&locked(), "GET /", &[("if-none-match", "\"other\"")], "").await.status, 200);
    assert_eq!(
        call(&locked(), "GET /js/app.js?t=1", &[], "").await.header("content-type"),
        "text/javascript; charset=utf-8"
    );
}

#[tokio::test]
async fn files_are_compressed_for_whoever_takes_that() {
    let state = state(&locked(), Fake::default());
    let peer = Peer::Tcp("10.0.0.9:1".parse().unwrap());
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let request = request(&format!("GET {path}"), headers, "", peer);
        let (head, body) = app(&state).oneshot(request).await.unwrap().into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    };
    let (head, plain) = get("/js/app.js", &[]).await;
    let tag = head.headers["etag"].clone();
    assert_eq!(head.headers["vary"], "accept-encoding");
    assert!(!head.headers.contains_key("content-encoding"));
    let takes = ("accept-encoding", "gzip, br");
    for _ in 0..2 {
        let (head, packed) = get("/js/app.js", &[takes]).await;
        assert_eq!(head.headers["content-encoding"], "gzip");
        assert_eq!(head.headers["vary"], "accept-encoding");
        assert!(packed.len() < plain.len() * 2 / 3, "{} of {}", packed.len(), plain.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        let packed_tag = head.headers["etag"].to_str().unwrap().to_owned();
        assert_ne!(tag, packed_tag, "other bytes have another strong tag");
        let (again, nothing) = get("/js/app.js", &[takes, ("if-none-match", &packed_tag)]).await;
        assert_eq!((again.status.as_u16(), nothing.len()), (304, 0));
        assert_eq!(get("/js/app.js", &[("if-none-match", &packed_tag)]).await.0.status, 200);
    }
}

#[tokio::test]
async fn files_from_a_directory() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.txt"), "no").unwrap();
    let directory = outside.path().join("public");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("index.html"), "mine").unwrap();
    std::fs::write(directory.join(".hidden"), "no").unwrap();
    let config = ServerConfig { public_dir: Some(directory.clone()), ..ServerConfig::default() };
    assert_eq!(call(&config, "GET /", &[], "").await.body, "mine");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.txt", directory.join("link.txt")).unwrap();
        std::os::unix::fs::symlink("index.html", directory.join("start.html")).unwrap();
        assert_eq!(call(&config, "GET /start.html", &[], "").await.body, "mine");
        assert_eq!(call(&config, "GET /link.txt", &[], "").await.status, 404);
    }
    for path in
        ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/.hidden", "/js/app.js", "/a\\b"]
    {
        let answer = call(&config, &format!("GET {path}"), &[], "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn accounts_over_the_console_api() {
    let open = ServerConfig::default();
    let list = call(&open, "GET /api/accounts", &[LOCAL], "").await;
    assert_eq!(list.header("cache-control"), "no-store");
    assert_eq!(list.json()["summary"], json!({ "total": 1, "available": 1, "rateLimited": 1, "invalid": 0 }));
    assert_eq!(list.json()["accounts"][0]["modelRateLimits"]["m"]["resetTime"], 7);
    assert!(list.json()["accounts"][0].get("quotaThreshold").is_none());

    let body = r#"{"accounts":[{"email":"new@b","refreshToken":"1//x"},{"email":"bad@b"}]}"#;
    let import = call(&open, "POST /api/accounts/import", &[LOCAL, JSON], body).await.json();
    assert_eq!(import["results"]["added"], json!(["new@b"]));
    assert_eq!(
        import["results"]["failed"],
        json!([{ "email": "bad@b", "reason": "Missing refresh_token or api_key" }])
    );
    assert_eq!(import["message"], "Imported 1 accounts");
    let once = "POST /api/accounts/import?once=true";
    let first = call(&open, once, &[LOCAL, JSON], body).await.json();
    assert_eq!((&first["results"]["added"], first.get("importedBefore")), (&json!(["new@b"]), None));
    assert_eq!(first["results"]["notes"][0]["reason"], "Retry");
    let allowed = call(&open, &format!("{once}&allowRefused=true"), &[LOCAL, JSON], body).await.json();
    assert_eq!(allowed["results"]["notes"][0]["reason"], "Allow");
    let again = call(&open, once, &[LOCAL, JSON], r#"[{"email":"again@b"}]"#).await.json();
    assert_eq!((&again["importedBefore"], &again["results"]["failed"]), (&json!(true), &json!([])));
    assert_eq!(call(&open, "POST /api/accounts/import", &[LOCAL], body).await.status, 415);
    let bad = call(&open, "POST /api/accounts/import", &[LOCAL, JSON], "[]").await;
    assert_eq!(bad.json(), json!({ "status": "error", "error": "accounts must be a non-empty array" }));

    let export = call(&open, "GET /api/accounts/export", &[LOCAL], "").await;
    assert_eq!(export.json(), json!([{ "email": "a@b", "refresh_token": "1//secret" }]));
    assert_eq!(export.header("cache-control"), "no-store");

    assert_eq!(
        call(&open, "DELETE /api/accounts/a%40b", &[LOCAL], "").await.json()["message"],
        "Account a@b removed"
    );
    let missing = call(&open, "DELETE /api/accounts/x%40b", &[LOCAL], "").await;
    assert_eq!(
        (missing.status.as_u16(), missing.json()["error"].clone()),
        (404, json!("Account x@b not found"))
    );
}

#[tokio::test]
async fn accounts_are_changed_and_tried_over_the_console_api() {
    let open = ServerConfig::default();
    let ask = async |line: &str, body: &str| {
        let answer = call(&open, line, &[LOCAL, JSON], body.to_owned()).await;
        (answer.status.as_u16(), answer.json())
    };
    let (status, answer) = ask("POST /api/accounts/a%40b/toggle", r#"{"enabled":false}"#).await;
    assert_eq!((status, answer), (200, json!({ "status": "ok", "message": "Account a@b disabled" })));
    let (status, answer) = ask("PATCH /api/accounts/a%40b", r#"{"quotaThreshold":0.5}"#).await;
    assert_eq!((status, &answer["message"]), (200, &json!("Account a@b thresholds updated")));
    assert_eq!(answer["account"], json!({ "email": "a@b", "modelQuotaThresholds": {} }));
    let (status, answer) = ask("POST /api/accounts/a%40b/verify", "").await;
    assert_eq!(
        (status, answer),
        (
            200,
            json!({ "status": "ok", "email": "a@b", "works": false, "reason": "banned", "cleared": false })
        )
    );
    for (line, body, status, error) in [
        ("POST /api/accounts/a%40b/toggle", "{}", 400, "enabled must be a boolean"),
        ("POST /api/accounts/a%40b/toggle", "[]", 400, "The body must be an object"),
        ("POST /api/accounts/x%40b/toggle", r#"{"enabled":true}"#, 404, "Account x@b not found"),
        ("POST /api/accounts/x%40b/verify", "", 404, "Account x@b not found"),
        ("PATCH /api/accounts/x%40b", "{}", 404, "Account x@b not found"),
        (
            "PATCH /api/accounts/a%40b",
            r#"{"quotaThreshold":1}"#,
            400,
            "quotaThreshold must be 0-0.99 or null",
        ),
        (
            "PATCH /api/accounts/a%40b",
            r#"{"modelQuotaThresholds":{"m":"x"}}"#,
            400,
            "Invalid threshold for model m: must be 0-0.99",
        ),
        (
            "PATCH /api/accounts/a%40b",
            r#"{"modelQuotaThresholds":[]}"#,
            400,
            "modelQuotaThresholds must be an object or null",
        ),
        (
            "PATCH /api/accounts/a%40b",
            r#"{"modelQuotaThresholdChanges":{"m":null,"n":1}}"#,
            400,
            "Invalid threshold for model n: must be 0-0.99",
        ),
        (
            "PATCH /api/accounts/a%40b",
            r#"{"modelQuotaThresholdChanges":null}"#,
            400,
            "modelQuotaThresholdChanges must be an object",
        ),
    ] {
        let (got, answer) = ask(line, body).await;
        assert_eq!((got, &answer["error"]), (status, &json!(error)), "{line} {body}");
    }
    let full = call(&open, "GET /api/accounts/export?full=true", &[LOCAL], "").await;
    assert_eq!(full.json(), json!({ "accounts": [{ "email": "a@b", "refreshToken": "1//secret" }] }));
    assert_eq!(full.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_control_socket_is_trusted() {
    let control = async |gateway, line: &str| {
        ask(&state(&locked(), gateway), request(line, &[], "", Peer::Control)).await
    };
    assert_eq!(control(Fake::default(), "GET /api/accounts").await.status, 200);
    let export = control(Fake::default(), "GET /api/store/export").await;
    assert_eq!((export.status.as_u16(), export.body.len()), (200, 300_000));
    let failed = control(Fake { export_fails: true, ..Fake::default() }, "GET /api/store/export").await;
    assert_eq!(failed.status.as_u16(), 529);
    let messages = request("POST /v1/messages", &[], "{}", Peer::Control);
    assert_eq!(ask(&state(&locked(), Fake::default()), messages).await.json()["key"], "control");
}

#[tokio::test]
async fn the_start_page_is_told_what_is_missing() {
    let status = call(&ServerConfig::default(), "GET /api/status", &[LOCAL], "").await.json();
    assert_eq!(status["store"], json!({ "mode": "embedded", "available": true }));
    assert_eq!(status["access"], json!({ "apiKey": false, "consolePassword": false }));
    let ids: Vec<_> = status["setup"].as_array().unwrap().iter().map(|step| &step["id"]).collect();
    assert_eq!(ids, ["oauth-client", "api-key", "console-password"]);
}
