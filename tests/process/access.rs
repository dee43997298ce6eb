//! Who gets in: keys for the model API, password or this machine for the console.

use std::net::UdpSocket;

use serde_json::json;

use crate::gateway::{Gateway, Home};
use crate::http::{self, Answer};
use crate::simulator::Simulator;

const JSON: (&str, &str) = ("content-type", "application/json");

/// Everything below `/api` that does something, and what does not exist there.
const CONSOLE: &[(&str, &str)] = &[
    ("GET", "/api/status"),
    ("GET", "/api/accounts"),
    ("GET", "/api/accounts/export"),
    ("POST", "/api/accounts/import"),
    ("DELETE", "/api/accounts/user1@example.com"),
    ("GET", "/api/no/such/route"),
    ("POST", "/api/status"),
    ("GET", "/api/accounts/"),
];

async fn call(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::send(method, &format!("{}{path}", gateway.url), headers, b"").await
}

/// Without any credential, or with wrong ones, nobody learns or changes anything.
async fn closed(gateway: &Gateway, headers: &[(&str, &str)], status: u16) {
    for (method, path) in CONSOLE {
        let answer = call(gateway, method, path, headers).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.text());
        assert!(!answer.text().contains("example.com"), "{method} {path}: {}", answer.text());
        assert!(answer.headers.contains_key("request-id"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_password_guards_the_console_also_on_this_machine() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator).env("WEBUI_PASSWORD", "open sesame").env("API_KEY", "key-1");
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let gateway = home.start().await;
    closed(&gateway, &[], 401).await;
    closed(&gateway, &[("x-webui-password", "guess")], 401).await;
    // The model API's key opens nothing here.
    closed(&gateway, &[("authorization", "Bearer key-1"), ("x-api-key", "key-1")], 401).await;
    assert_eq!(call(&gateway, "GET", "/health", &[]).await.status, 401);
    for header in [("x-webui-password", "open sesame"), ("authorization", "bearer open sesame")] {
        let answer = call(&gateway, "GET", "/api/accounts", &[header]).await;
        assert_eq!(answer.status, 200, "{header:?}: {}", answer.text());
        assert_eq!(answer.json()["accounts"][0]["email"], "user1@example.com");
        assert_eq!(call(&gateway, "GET", "/health", &[header]).await.status, 200);
        assert_eq!(call(&gateway, "GET", "/api/no/such/route", &[header]).await.status, 404);
        // Only over the control socket, whatever the credentials.
        assert_eq!(call(&gateway, "GET", "/api/store/export", &[header]).await.status, 403);
    }
    // The command line needs no password: the socket is its owner's alone.
    assert!(home.succeed(&["accounts", "list"], b"").await.contains("user1@example.com"));
    // Guessing is slowed down.
    let mut guesses = Vec::new();
    for guess in 0..8 {
        guesses.push(
            call(&gateway, "GET", "/api/status", &[("x-webui-password", &format!("guess {guess}"))]).await,
        );
    }
    let last = guesses.last().unwrap();
    assert_eq!(last.status, 429, "{}", last.text());
    assert!(last.headers["retry-after"].parse::<u64>().is_ok_and(|seconds| seconds > 0));
    // What clients ask on their own stays open.
    for (method, path, status) in [
        ("HEAD", "/", 200),
        ("GET", "/api/hello", 200),
        ("POST", "/api/event_logging/batch", 200),
        ("GET", "/livez", 200),
    ] {
        assert_eq!(call(&gateway, method, path, &[]).await.status, status, "{method} {path}");
    }
}

/// An address of this machine that is not loopback, if it has one: asked from the routing table, nothing is sent.
fn outer_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

#[tokio::test]
async fn without_a_password_the_console_is_for_this_machine_under_its_own_name() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator).env("HOST", "0.0.0.0").env("ALLOWED_HOSTS", "console.test");
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let mut gateway = home.start().await;
    let port = gateway.url.rsplit(':').next().unwrap().to_owned();
    gateway.url = format!("http://127.0.0.1:{port}");
    for host in ["localhost", "127.0.0.1", "[::1]", "console.test"] {
        let answer = call(&gateway, "GET", "/api/accounts", &[("host", &format!("{host}:{port}"))]).await;
        assert_eq!(answer.status, 200, "{host}: {}", answer.text());
    }
    // A name that somebody else's DNS points here.
    closed(&gateway, &[("host", "rebound.test")], 403).await;
    // A page of another site, in a browser on this machine.
    for header in [("origin", "https://elsewhere.test"), ("sec-fetch-site", "cross-site")] {
        for (method, path) in CONSOLE.iter().filter(|(method, _)| *method != "GET") {
            let answer = call(&gateway, method, path, &[header, JSON]).await;
            assert_eq!(answer.status, 403, "{method} {path} {header:?}: {}", answer.text());
        }
    }
    let answer = call(&gateway, "GET", "/api/accounts", &[]).await;
    assert_eq!(answer.json()["accounts"].as_array().map(Vec::len), Some(1), "nothing was changed");

    let Some(outer) = outer_address() else {
        eprintln!("skipped the rest: this machine has only its loopback interface");
        return;
    };
    gateway.url = format!("http://{outer}:{port}");
    closed(&gateway, &[], 403).await;
    closed(&gateway, &[("host", "localhost")], 403).await;
    closed(&gateway, &[("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1")], 403).await;
    let health = call(&gateway, "GET", "/health", &[]).await;
    assert_eq!((health.status, &health.json()["redacted"]), (200, &json!(true)), "{}", health.text());
    assert!(!health.text().contains("example.com"), "{}", health.text());
}

#[tokio::test]
async fn a_key_opens_the_model_api_in_either_header() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator).env("API_KEY", "key-1, key-2").env("WEBUI_PASSWORD", "open sesame");
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let gateway = home.start().await;
    let body = http::message("reply with exactly: in", false).to_string();
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let headers = [&[JSON], headers].concat();
        http::send("POST", &format!("{}{path}", gateway.url), &headers, body.as_bytes()).await
    };
    let wrong: &[&[(&str, &str)]] = &[
        &[],
        &[("x-api-key", "key-3")],
        &[("x-api-key", "")],
        &[("x-api-key", "key-1, key-2")],
        &[("authorization", "Bearer key")],
        &[("authorization", "Basic key-1")],
        &[("authorization", "key-1")],
        &[("authorization", "Bearer open sesame"), ("x-webui-password", "open sesame")],
    ];
    for headers in wrong {
        for path in ["/v1/messages", "/v1/messages/count_tokens", "/v1/no/such/route"] {
            let answer = ask(path, headers).await;
            assert_eq!(answer.status, 401, "{path} {headers:?}: {}", answer.text());
            assert_eq!(answer.json()["error"]["type"], "authentication_error");
        }
        assert_eq!(call(&gateway, "GET", "/v1/models", headers).await.status, 401, "{headers:?}");
    }
    assert!(simulator.requests("enerateContent").await.is_empty());
    let right: &[&[(&str, &str)]] = &[
        &[("x-api-key", "key-1")],
        &[("x-api-key", "key-2")],
        &[("authorization", "Bearer key-1")],
        &[("authorization", "bearer  key-2")],
        &[("x-api-key", "wrong"), ("authorization", "Bearer key-2")],
    ];
    for headers in right {
        let answer = ask("/v1/messages", headers).await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
        assert_eq!(call(&gateway, "GET", "/v1/models", headers).await.status, 200, "{headers:?}");
    }
}
