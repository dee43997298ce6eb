//! `/api/session`, `/api/config/password`, `/api/logs/ticket` and `/api/audit` on the wire.

#[path = "../../../tests/support/routes.rs"]
mod routes;

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::{Answer, Fake, JSON, LOCAL, ask, locked, request, state};
use crate::config::ServerConfig;
use crate::server::audit;
use crate::server::auth::{ControlUser, Peer};
use crate::server::state::AppState;

const HOME: &str = "127.0.0.1:5";
const AWAY: &str = "192.0.2.7:5";
const PASS: (&str, &str) = ("x-webui-password", "pass");

struct Bench(Arc<AppState>);

impl Bench {
    fn new(config: &ServerConfig) -> Self {
        Self(state(config, Fake::default()))
    }

    async fn call(&self, peer: &str, line: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let peer = Peer::Tcp(peer.parse().unwrap());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = ask(&self.0, request(line, headers, body, peer)).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{line}");
        answer
    }

    async fn away(&self, line: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let answer = self.call(AWAY, line, headers, body).await;
        (answer.status.as_u16(), answer.json())
    }

    /// Over the control socket, as root.
    async fn owner(&self, line: &str, body: &Value) -> (u16, Value) {
        let mut request = request(line, &[JSON], body.to_string(), Peer::Control);
        request.extensions_mut().insert(ControlUser(0));
        let answer = ask(&self.0, request).await;
        (answer.status.as_u16(), answer.json())
    }

    async fn trail(&self, query: &str) -> Vec<Value> {
        let (status, trail) = self.owner(&format!("GET /api/audit?{query}"), &Value::Null).await;
        assert_eq!((status, &trail["status"]), (200, &json!("ok")), "{trail}");
        trail["records"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_session_from_login_to_logout() {
    let bench = Bench::new(&locked());
    let answer = bench.call(AWAY, "POST /api/session", &[JSON], &json!({ "password": "pass" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (login, cookie) = (answer.json(), answer.header("set-cookie").to_owned());
    let token = login["token"].as_str().unwrap();
    assert!(token.starts_with("agps_") && token.len() == 48, "{token}");
    assert_eq!(
        cookie,
        format!("agp_session={token}; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict"),
        "without TLS"
    );
    let week = login["expiresAt"].as_i64().unwrap() - login["session"]["createdAt"].as_i64().unwrap();
    let idle = login["idleExpiresAt"].as_i64().unwrap() - login["session"]["createdAt"].as_i64().unwrap();
    assert_eq!((week, idle), (604_800_000, 43_200_000));
    let bearer = format!("Bearer {token}");
    let bearer = ("authorization", bearer.as_str());
    let (status, me) = bench.away("GET /api/session", &[bearer], &Value::Null).await;
    assert_eq!((status, &me["actor"], &me["session"]), (200, &json!("session"), &login["session"]));
    assert_eq!((&me["passwordSet"], &me["passwordPinned"]), (&json!(true), &json!(true)));
    let cookie = format!("a=b; agp_session={token}; c=d");
    assert_eq!(bench.away("GET /api/session", &[("cookie", &cookie)], &Value::Null).await.0, 200);
    let by_password = bench.away("GET /api/session", &[PASS], &Value::Null).await.1;
    assert_eq!((&by_password["actor"], &by_password["session"]), (&json!("password"), &Value::Null));

    let answer = bench.call(AWAY, "DELETE /api/session", &[bearer], &Value::Null).await;
    assert_eq!(answer.json(), json!({ "status": "ok", "ended": 1 }));
    assert!(answer.header("set-cookie").starts_with("agp_session=; Path=/; Max-Age=0;"), "it is taken back");
    assert_eq!(bench.away("GET /api/session", &[bearer], &Value::Null).await.0, 401);
    assert_eq!(bench.away("DELETE /api/session", &[bearer], &Value::Null).await.0, 401);
    let (status, none) = bench.away("DELETE /api/session", &[PASS], &Value::Null).await;
    assert_eq!(status, 400, "{none}");
    for _ in 0..2 {
        bench.away("POST /api/session", &[JSON], &json!({ "password": "pass" })).await;
    }
    let (_, all) = bench.away("DELETE /api/sessions", &[PASS], &Value::Null).await;
    assert_eq!(all["ended"], 2);

    let told: Vec<_> = bench
        .trail("")
        .await
        .iter()
        .rev()
        .map(|one| format!("{} {} {}", one["actor"]["kind"], one["action"], one["outcome"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "password session.open done",
            "session session.end done",
            "password session.end refused",
            "password session.open done",
            "password session.open done",
            "password sessions.end done",
        ]
    );
    let ended = &bench.trail("action=session.end&actor=session").await[0];
    assert_eq!(ended["actor"]["id"], login["session"]["id"]);
    assert_eq!((&ended["from"], ended["changes"].as_array().unwrap().len()), (&json!("192.0.2.7"), 1));
    assert!(ended["requestId"].as_str().unwrap().starts_with("req_"));
}

#[tokio::test]
async fn a_login_may_fail_in_many_ways() {
    let bench = Bench::new(&locked());
    let login = json!({ "password": "pass" });
    for (headers, body, status, error) in [
        (&[][..], &login, 415, "JSON"),
        (&[JSON], &json!({}), 400, "the text password"),
        (&[JSON], &json!({ "password": 7 }), 400, "the text password"),
        (&[JSON], &json!({ "password": "wrong" }), 401, "Unauthorized: Password required"),
        (&[JSON, ("origin", "https://evil.test")], &login, 403, "another site"),
        (&[JSON, ("sec-fetch-site", "cross-site")], &login, 403, "another site"),
    ] {
        let (found, answer) = bench.away("POST /api/session", headers, body).await;
        assert_eq!((found, &answer["status"]), (status, &json!("error")), "{body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(error), "{body}: {answer}");
    }
    for guess in 0..4 {
        bench.away("POST /api/session", &[JSON], &json!({ "password": format!("guess {guess}") })).await;
    }
    let answer = bench.call(AWAY, "POST /api/session", &[JSON], &login).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].clone()), (429, json!("Too many attempts")));
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    let told: Vec<_> = bench.trail("").await.iter().map(|one| one["action"].clone()).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told[0] == "login.locked" && told[1..].iter().all(|one| one == "login.failed"), "{told:?}");
    let open = Bench::new(&ServerConfig::default());
    let (status, answer) = open.away("POST /api/session", &[LOCAL, JSON], &login).await;
    assert_eq!(
        (status, &answer["error"]),
        (409, &json!("No password is set, so there is nothing to log in to"))
    );
}

#[tokio::test]
async fn the_cookie_is_for_tls_where_a_trusted_proxy_says_so() {
    let config = ServerConfig { trusted_proxies: vec!["192.0.2.0/24".parse().unwrap()], ..locked() };
    let bench = Bench::new(&config);
    let tls = ("x-forwarded-proto", "https");
    let cookie = async |peer: &str, headers: &[(&str, &str)]| {
        let headers = [&[JSON], headers].concat();
        let answer = bench.call(peer, "POST /api/session", &headers, &json!({ "password": "pass" })).await;
        answer.header("set-cookie").ends_with("; Secure")
    };
    assert!(cookie(AWAY, &[tls]).await);
    assert!(!cookie(AWAY, &[("x-forwarded-proto", "http")]).await);
    assert!(!cookie("203.0.113.1:1", &[tls]).await, "anybody may say so");
}

#[tokio::test]
async fn the_password_is_changed_by_those_who_may() {
    let bench = Bench::new(&ServerConfig::default());
    let line = "POST /api/config/password";
    let change = async |peer: &str, headers: &[(&str, &str)], body: Value| {
        let headers = [&[LOCAL, JSON], headers].concat();
        let answer = bench.call(peer, line, &headers, &body).await;
        (answer.status.as_u16(), answer.json())
    };
    let new = json!({ "newPassword": "open sesame" });
    assert_eq!(change(AWAY, &[], new.clone()).await.0, 403);
    assert_eq!(change(AWAY, &[("x-setup-token", "agp_setup_x")], new.clone()).await.0, 403);
    assert_eq!(change(HOME, &[("x-forwarded-for", "203.0.113.1")], new.clone()).await.0, 403);
    for (body, error) in [
        (json!({}), "New password is required"),
        (json!({ "newPassword": "" }), "New password is required"),
        (json!({ "newPassword": 7 }), "New password is required"),
        (json!({ "newPassword": "12345" }), "Password must be at least 6 characters"),
        (json!("x"), "The body must be a JSON object"),
    ] {
        let (status, answer) = change(HOME, &[], body.clone()).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer["error"].as_str().unwrap().starts_with(error), "{body}: {answer}");
    }
    let token = bench.0.console.console().setup_token().await.unwrap().unwrap();
    let token = secrecy::ExposeSecret::expose_secret(&token).to_owned();
    let (status, done) = change(AWAY, &[("x-setup-token", &token)], new.clone()).await;
    assert_eq!((status, &done["message"]), (200, &json!("Password changed successfully")), "{done}");
    assert_eq!(done["warning"], "Passwords of fewer than 12 characters are easily guessed");
    assert_eq!(change(AWAY, &[("x-setup-token", &token)], new.clone()).await.0, 401, "there is one now");
    assert_eq!(change(HOME, &[], new).await.0, 401, "also here");

    // The reference's console sends the header and the old one.
    let by = ("x-webui-password", "open sesame");
    let other = |old: Value| json!({ "oldPassword": old, "newPassword": "a much longer one" });
    for wrong in [Value::Null, json!(""), json!(7), json!("wrong")] {
        let (status, answer) = change(AWAY, &[by], other(wrong.clone())).await;
        assert_eq!((status, &answer["error"]), (403, &json!("Invalid current password")), "{wrong}");
    }
    let (_, login) = bench.away("POST /api/session", &[JSON], &json!({ "password": "open sesame" })).await;
    let bearer = format!("Bearer {}", login["token"].as_str().unwrap());
    let bearer = ("authorization", bearer.as_str());
    let (status, done) = change(AWAY, &[bearer], other(json!("open sesame"))).await;
    assert_eq!((status, done.get("warning")), (200, None), "{done}");
    assert_eq!(
        bench.away("GET /api/session", &[bearer], &Value::Null).await.0,
        401,
        "everybody is logged out"
    );
    assert_eq!(bench.away("GET /api/session", &[by], &Value::Null).await.0, 401);
    let by = ("x-webui-password", "a much longer one");
    assert_eq!(bench.away("GET /api/session", &[by], &Value::Null).await.0, 200);
    let clear = json!({ "oldPassword": "a much longer one", "newPassword": "", "clear": true });
    assert_eq!(change(AWAY, &[by], clear.clone()).await.1["message"], "Password removed");
    assert_eq!(change(HOME, &[], clear).await.0, 409, "there is none");
    // The owner of the gateway needs to know nothing.
    assert_eq!(bench.owner(line, &json!({ "newPassword": "forgotten it" })).await.0, 200);
    assert_eq!(bench.owner(line, &json!({ "newPassword": "another one!" })).await.0, 200);

    let told: Vec<_> = bench
        .trail("action=password.change")
        .await
        .iter()
        .rev()
        .filter(|one| one["outcome"] == "done")
        .map(|one| (one["actor"]["kind"].as_str().unwrap().to_owned(), one["generation"].clone()))
        .collect();
    let kinds: Vec<_> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["setup", "session", "password", "control", "control"]);
    assert_eq!(
        told.iter().map(|(_, generation)| generation.clone()).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5].map(Value::from)
    );
    let all = bench.trail("limit=200").await;
    assert_eq!(all[0]["actor"], json!({ "kind": "control", "id": "uid 0" }));
    for secret in ["sesame", "longer one", "forgotten", "argon2", &token] {
        assert!(!format!("{all:?}").contains(secret), "{secret}");
    }
    let pinned = Bench::new(&locked());
    let (status, answer) = pinned.owner(line, &json!({ "newPassword": "another one!" })).await;
    assert_eq!((status, &answer["error"]), (409, &json!("Password is set by environment")));
}

#[tokio::test]
async fn a_ticket_is_made_for_the_stream() {
    let bench = Bench::new(&locked());
    assert_eq!(bench.away("POST /api/logs/ticket", &[], &Value::Null).await.0, 401);
    let (status, made) = bench.away("POST /api/logs/ticket", &[PASS], &Value::Null).await;
    assert_eq!(status, 200, "{made}");
    let ticket = made["ticket"].as_str().unwrap();
    assert!(ticket.starts_with("agp_ticket_") && made["expiresAt"].as_i64().unwrap() > 0, "{made}");
    let whose = bench.0.console.console().take_ticket(ticket).await.unwrap();
    assert_eq!(whose, Some(None), "no session asked for it");
    // Elsewhere the address opens nothing.
    for query in [format!("ticket={ticket}"), "password=pass".to_owned()] {
        for path in ["/api/accounts", "/api/audit", "/health"] {
            assert_eq!(bench.away(&format!("GET {path}?{query}"), &[], &Value::Null).await.0, 401, "{path}");
        }
    }
}

#[tokio::test]
async fn the_trail_is_read_in_pages_and_by_what_is_asked_for() {
    let bench = Bench::new(&locked());
    assert_eq!(bench.away("GET /api/audit", &[], &Value::Null).await.0, 401);
    for number in 0..7 {
        let body = json!({ "name": format!("key {number}") });
        assert_eq!(bench.away("POST /api/keys", &[PASS, JSON], &body).await.0, 201);
        bench.owner("POST /api/keys", &json!({ "name": "key 0" })).await;
    }
    let page =
        async |query: &str| bench.away(&format!("GET /api/audit?{query}"), &[PASS], &Value::Null).await.1;
    let numbers = |page: &Value| -> Vec<i64> {
        page["records"].as_array().unwrap().iter().map(|one| one["number"].as_i64().unwrap()).collect()
    };
    let (mut before, mut all) = (String::new(), Vec::new());
    loop {
        let page = page(&format!("limit=3{before}")).await;
        all.extend(numbers(&page));
        let Some(next) = page["next"].as_u64() else { break };
        before = format!("&before={next}");
    }
    assert_eq!(all, (1..=14).rev().collect::<Vec<_>>());
    let control = page("actor=control&limit=3").await;
    assert_eq!((numbers(&control), &control["next"]), (vec![14, 12, 10], &json!(10)));
    let control = page("actor=control&limit=200&before=10").await;
    assert_eq!((numbers(&control), &control["next"]), (vec![8, 6, 4, 2], &Value::Null));
    assert_eq!(numbers(&page("actor=control:uid").await).len(), 7);
    assert_eq!(numbers(&page("actor=control:x").await).len(), 0);
    assert_eq!(numbers(&page("action=key").await).len(), 14);
    assert_eq!(numbers(&page("action=key.create&actor=password").await).len(), 7);
    assert_eq!(numbers(&page("action=ke").await).len(), 0);
    let first = &page("before=2").await["records"][0];
    assert_eq!(
        (&first["target"], &first["outcome"], &first["generation"]),
        (&json!("key 0"), &json!("done"), &json!(1))
    );
    let second = &page("before=3").await["records"][0];
    assert_eq!((&second["outcome"], &second["httpStatus"]), (&json!("refused"), &json!(409)));
    for query in ["limit=0", "limit=201", "limit=x", "before=-1", "before=9007199254740992", "since=1"] {
        let (status, answer) = bench.away(&format!("GET /api/audit?{query}"), &[PASS], &Value::Null).await;
        assert_eq!((status, &answer["status"]), (400, &json!("error")), "{query}: {answer}");
    }
}

#[tokio::test]
async fn what_is_done_with_secrets_is_recorded_before_it_is_done() {
    let bench = Bench::new(&locked());
    let (status, _) = bench.away("GET /api/accounts/export", &[PASS], &Value::Null).await;
    assert_eq!(status, 200);
    let body = json!([{ "email": "new@b", "refreshToken": "1//x" }]);
    bench.away("POST /api/accounts/import", &[PASS, JSON], &body).await;
    bench.away("POST /api/accounts/import", &[PASS, JSON], &json!([])).await;
    bench.away("DELETE /api/accounts/x%40b", &[PASS], &Value::Null).await;
    bench.away("PUT /api/accounts/x%40b", &[PASS], &Value::Null).await;
    let told: Vec<_> = bench
        .trail("")
        .await
        .iter()
        .rev()
        .map(|one| format!("{} {} {}", one["action"], one["outcome"], one["target"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "accounts.export begun null",
            "accounts.export done null",
            "accounts.import begun null",
            "accounts.import done null",
            "accounts.import begun null",
            "accounts.import refused null",
            "account.remove refused x@b",
        ]
    );
}

#[test]
fn every_route_that_changes_something_names_its_action() {
    let free = ["/", "/api/event_logging/batch"];
    for (method, path) in routes::routes(crate::server::openapi::text()) {
        if method == "GET" || path.starts_with("/v1/") || free.contains(&path.as_str()) {
            continue;
        }
        let action = audit::action(&Method::from_bytes(method.as_bytes()).unwrap(), &path);
        let name = action.map(|action| action.name);
        assert!(name.is_some_and(|name| name != "other"), "{method} {path} has no action in server/audit.rs");
    }
}

#[tokio::test]
async fn answers_tell_browsers_what_they_must_not_do() {
    let bench = Bench::new(&locked());
    for (line, status) in [
        ("GET /api/accounts", 401),
        ("GET /api/none", 401),
        ("GET /health", 401),
        ("GET /none", 404),
        ("GET /", 200),
        ("GET /oauth-callback?x", 400),
        ("GET /js/app.js", 200),
    ] {
        let peer = Peer::Tcp(AWAY.parse().unwrap());
        let answer = ask(&bench.0, request(line, &[], "", peer)).await;
        assert_eq!(answer.status.as_u16(), status, "{line}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{line}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{line}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin-allow-popups"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{line} {name}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"), "{line}");
    }
    let model = ask(&bench.0, request("GET /v1/models", &[("x-api-key", "key")], "", Peer::Control)).await;
    assert_eq!(model.header("content-security-policy"), "", "for programs");
}

#[tokio::test]
async fn only_listed_origins_may_call_the_console() {
    let config = ServerConfig { cors_origins: vec!["https://app.test".into()], ..locked() };
    let bench = Bench::new(&config);
    let ask = async |line: &str, origin: &str, headers: &[(&str, &str)]| {
        let headers = [&[("origin", origin)], headers].concat();
        let peer = Peer::Tcp(AWAY.parse().unwrap());
        ask(&bench.0, request(line, &headers, "", peer)).await
    };
    let preflight = [
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "X-WebUI-Password, content-type, cookie, x-evil"),
    ];
    for path in ["/api/settings", "/health", "/account-limits", "/refresh-token"] {
        let answer = ask(&format!("OPTIONS {path}"), "https://app.test", &preflight).await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.test", "{path}");
        assert_eq!(answer.header("access-control-allow-headers"), "x-webui-password, content-type");
        assert!(answer.header("access-control-allow-methods").contains("PATCH"));
        assert_eq!(answer.header("access-control-allow-credentials"), "", "the cookie is never sent");
        let other = ask(&format!("OPTIONS {path}"), "https://app.test.evil.test", &preflight).await;
        assert_eq!((other.status.as_u16(), other.header("access-control-allow-origin")), (204, ""), "{path}");
    }
    let answer = ask("GET /api/accounts", "https://app.test", &[PASS]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-allow-origin")),
        (200, "https://app.test")
    );
    assert_eq!(answer.header("vary"), "origin");
    let answer = ask("GET /api/accounts", "https://evil.test", &[PASS]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, ""));
    let changed =
        ask("DELETE /api/accounts/a%40b", "https://app.test", &[PASS, ("sec-fetch-site", "cross-site")])
            .await;
    assert_eq!(changed.status, 200);
    assert_eq!(ask("DELETE /api/accounts/a%40b", "https://evil.test", &[PASS]).await.status, 403);
}
