//! `password set | clear` with a gateway and without one, on both stores; the setup token; who is in the trail.

use serde_json::{Value, json};

use crate::gateway::{Gateway, Home, until};
use crate::http;
use crate::redis_server::RedisServer;
use crate::simulator::Simulator;

const SEALING: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

async fn status(gateway: &Gateway, password: &str) -> u16 {
    http::send("GET", &format!("{}/api/status", gateway.url), &[("x-webui-password", password)], b"")
        .await
        .status
}

async fn trail(gateway: &Gateway, password: &str) -> Vec<Value> {
    let url = format!("{}/api/audit?limit=200", gateway.url);
    let answer = http::send("GET", &url, &[("x-webui-password", password)], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["records"].as_array().unwrap().clone()
}

/// Sets, changes and removes it, with and without a gateway; `homes` share a store, or are one.
async fn commands_work(homes: &[&Home]) {
    let (home, other) = (homes[0], homes[homes.len() - 1]);
    let none = home.run(&["password", "clear", "--yes"], b"").await;
    assert!(none.code == Some(1) && none.err.contains("No password is set"), "{}", none.err);
    let weak = home.run(&["password", "set"], b"12345\n").await;
    assert!(weak.code == Some(1) && weak.err.contains("at least 6 characters"), "{}", weak.err);
    let empty = home.run(&["password", "set"], b"\n").await;
    assert_eq!(empty.code, Some(2), "{}", empty.err);
    let set = home.run(&["password", "set"], b"open sesame\n").await;
    assert!(set.code == Some(0) && set.out.is_empty(), "{}{}", set.out, set.err);
    assert!(set.err.contains("everybody is logged out") && set.err.contains("easily guessed"), "{}", set.err);

    let gateway = other.start().await;
    assert_eq!((status(&gateway, "").await, status(&gateway, "open sesame").await), (401, 200));
    let set = home.run(&["password", "set"], b"a much longer one\r\n").await;
    assert!(set.code == Some(0) && !set.err.contains("warning"), "{}", set.err);
    until("the new one holds", async || status(&gateway, "a much longer one").await == 200).await;
    assert_eq!(status(&gateway, "open sesame").await, 401);
    home.succeed(&["keys", "create", "ada"], b"").await;

    let told = trail(&gateway, "a much longer one").await;
    let actions: Vec<_> = told.iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert_eq!(actions[0], "key.create", "{actions:?}");
    let changes: Vec<_> = told.iter().filter(|one| one["action"] == "password.change").collect();
    let done: Vec<_> = changes.iter().filter(|one| one["outcome"] == "done").collect();
    assert_eq!(done.len(), 2, "{changes:?}");
    // A command that opens the store itself is its user's, one that asks a gateway as well.
    let kinds: Vec<_> = done.iter().map(|one| one["actor"]["kind"].as_str().unwrap()).collect();
    let asked = if homes.len() == 1 { "control" } else { "command" };
    assert_eq!(kinds, [asked, "command"]);
    assert!(done.iter().all(|one| one["actor"]["id"].as_str().unwrap().starts_with("uid ")), "{done:?}");
    assert!(done[1]["from"].as_str().is_some_and(|host| !host.is_empty()), "{done:?}");
    for secret in ["sesame", "longer one", "argon2"] {
        assert!(!format!("{told:?}").contains(secret) && !gateway.log.text().contains(secret), "{secret}");
    }

    let asks = home.run(&["password", "clear"], b"").await;
    assert!(asks.code == Some(2) && asks.err.contains("--yes"), "{}", asks.err);
    assert_eq!(home.run(&["password", "clear", "--yes"], b"").await.code, Some(0));
    until("there is none", async || status(&gateway, "").await == 200).await;
}

#[tokio::test]
async fn the_password_is_set_and_removed_on_the_embedded_store() {
    let simulator = Simulator::with_accounts(0).await;
    let home = Home::with(&simulator);
    commands_work(&[&home]).await;
    let help = home.succeed(&["password", "--help"], b"").await;
    assert!(help.contains("set") && help.contains("clear") && help.contains("within 2 s"), "{help}");
}

#[tokio::test]
async fn the_password_is_set_and_removed_on_redis() {
    let simulator = Simulator::with_accounts(0).await;
    let redis = RedisServer::start();
    let home = || Home::with(&simulator).env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", SEALING);
    let (one, other) = (home(), home());
    commands_work(&[&one, &other]).await;
}

#[tokio::test]
async fn a_configured_password_is_not_changed() {
    let simulator = Simulator::with_accounts(0).await;
    let home = Home::with(&simulator).env("WEBUI_PASSWORD", "configured one");
    let refused = async || {
        let ended = home.run(&["password", "set"], b"a much longer one\n").await;
        assert!(
            ended.code == Some(1) && ended.err.contains("Password is set by environment"),
            "{}",
            ended.err
        );
    };
    refused().await;
    let gateway = home.start().await;
    refused().await;
    assert_eq!(status(&gateway, "configured one").await, 200);
    assert!(!gateway.log.text().contains("agp_setup_"));
}

#[tokio::test]
async fn a_setup_token_is_printed_where_others_can_connect() {
    let simulator = Simulator::with_accounts(0).await;
    let home = Home::with(&simulator);
    let alone = home.start().await;
    assert!(!alone.log.text().contains("agp_setup_"), "nobody could use it");
    let home = Home::with(&simulator).env("HOST", "0.0.0.0").env("ALLOW_INSECURE_CONSOLE", "true");
    let mut gateway = home.start().await;
    gateway.url = gateway.url.replace("0.0.0.0", "127.0.0.1");
    until("it is printed", async || gateway.log.text().contains("(POST /api/config/password")).await;
    let log = gateway.log.text();
    let token = &log[log.find("agp_setup_").unwrap_or_else(|| panic!("{log}"))..];
    let token = token.split_whitespace().next().unwrap();
    let url = format!("{}/api/config/password", gateway.url);
    let body = json!({ "newPassword": "a much longer one" }).to_string();
    let ask = async |headers: &[(&str, &str)]| {
        // As from elsewhere.
        let headers =
            [&[("content-type", "application/json"), ("x-forwarded-for", "203.0.113.1")], headers].concat();
        http::send("POST", &url, &headers, body.as_bytes()).await
    };
    assert_eq!(ask(&[]).await.status, 403);
    let wrong = ask(&[("x-setup-token", "agp_setup_wrong")]).await;
    assert!(wrong.status == 403 && wrong.text().contains("setup token"), "{}", wrong.text());
    let set = ask(&[("x-setup-token", token)]).await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(status(&gateway, "a much longer one").await, 200);
    let told = trail(&gateway, "a much longer one").await;
    assert_eq!((&told[0]["actor"]["kind"], &told[0]["outcome"]), (&json!("setup"), &json!("done")));
    assert!(!format!("{told:?}").contains(token));
    // It is in none of the records that gateways keep of what they log.
    let logged = gateway.log.text().lines().filter(|line| line.contains("agp_setup_")).count();
    assert_eq!(logged, 1);
    gateway.kill().await;
    let again = home.start().await;
    assert!(!again.log.text().contains("agp_setup_"), "there is a password");
}
