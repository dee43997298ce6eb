//! `accounts add` and `accounts reauth`, from the first prompt to a served request.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::gateway::{Gateway, Home, SOON};
use crate::http;
use crate::redis_server::RedisServer;
use crate::simulator::Simulator;
use crate::site::ENCRYPTION_KEY;
use crate::terminal::Terminal;

const ADD: &[&str] = &["accounts", "add", "--no-browser"];
const PROMPT: &str = "Address or code: ";

/// The address that the words on a screen ask to open.
fn address(screen: &str) -> String {
    let line = screen.lines().find_map(|line| line.strip_prefix("  http"));
    format!("http{}", line.unwrap_or_else(|| panic!("no address in {screen}")).trim())
}

/// A person signs in: the address that the browser is sent back to.
async fn consent(url: &str) -> String {
    let answer = http::get(url).await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    answer.headers["location"].clone()
}

/// Where the browser would come to when its way to `localhost` led to the gateway's port.
fn at(gateway: &Gateway, back: &str) -> String {
    format!("{}{}", gateway.url, http::split(back).1)
}

async fn serves(gateway: &Gateway) {
    let answer = gateway.ask("reply with exactly: here").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("here"), "{}", answer.text());
}

async fn pool(home: &Home) -> Vec<String> {
    let listed: Value =
        serde_json::from_str(&home.succeed(&["accounts", "list", "--json"], b"").await).unwrap();
    let accounts = listed["accounts"].as_array().unwrap().iter();
    accounts.map(|account| account["email"].as_str().unwrap().to_owned()).collect()
}

/// The code in an address.
fn code(back: &str) -> String {
    let (_, rest) = back.split_once("code=").unwrap();
    rest.split('&').next().unwrap().to_owned()
}

/// Everything below a directory.
fn files(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let read = entries.map(|path| match std::fs::symlink_metadata(&path).unwrap().file_type() {
        kind if kind.is_dir() => files(&path),
        kind if kind.is_file() => String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned(),
        _ => String::new(),
    });
    read.collect()
}

/// From an empty pool to two accounts, by every way. Answers the codes that were used.
async fn from_the_first_prompt_to_a_served_request(home: &Home) -> Vec<String> {
    let mut codes = Vec::new();
    // No gateway: the command works on the store. Mistakes are said, and the prompt comes again.
    let mut terminal = Terminal::start(home, ADD);
    let screen = terminal.shows(PROMPT, 1).await;
    let back = consent(&address(&screen)).await;
    assert!(back.starts_with("http://localhost:") && back.contains("/oauth-callback?"), "{back}");
    terminal.types("short");
    terminal.shows("Input is too short", 1).await;
    terminal.shows(PROMPT, 2).await;
    terminal.types("");
    terminal.shows(PROMPT, 3).await;
    terminal.types(&back);
    codes.push(code(&back));
    let (code, screen) = terminal.ended().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.ends_with("added    user1@example.com\r\n"), "{screen}");
    assert!(!screen.contains("1//") && !screen.contains("client-secret"), "{screen}");

    // The browser comes back by itself to the listener of the command: it ends without a key pressed.
    let terminal = Terminal::start(home, &["accounts", "reauth", "USER1@example.com", "--no-browser"]);
    let screen = terminal.shows(PROMPT, 1).await;
    assert!(screen.contains("comes back to http://localhost:"), "{screen}");
    let url = address(&screen).replace("USER1", "user1");
    let back = consent(&url).await;
    codes.push(self::code(&back));
    let page = http::get(&back).await;
    assert!(
        page.status == 200 && page.text().contains("user1@example.com signed in again"),
        "{}",
        page.text()
    );
    let (code, screen) = terminal.ended().await;
    assert!(code == Some(0) && screen.ends_with("renewed  user1@example.com\r\n"), "{screen}");

    let gateway = home.start().await;
    serves(&gateway).await;

    // Beside the gateway, which conducts the sign-in: once by hand, once by the gateway's own port.
    let mut terminal =
        Terminal::start(home, &["accounts", "add", "--no-browser", "--email", "user2@example.com"]);
    let screen = terminal.shows(PROMPT, 1).await;
    let back = consent(&address(&screen)).await;
    terminal.types(&back);
    codes.push(self::code(&back));
    let (code, screen) = terminal.ended().await;
    assert!(code == Some(0) && screen.ends_with("added    user2@example.com\r\n"), "{screen}");
    let terminal = Terminal::start(home, ADD);
    let screen = terminal.shows(PROMPT, 1).await;
    let back = consent(&address(&screen)).await;
    codes.push(self::code(&back));
    let page = http::get(&at(&gateway, &back)).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let (code, screen) = terminal.ended().await;
    assert!(code == Some(0) && screen.ends_with("renewed  user1@example.com\r\n"), "{screen}");
    assert_eq!(pool(home).await, ["user1@example.com", "user2@example.com"]);
    serves(&gateway).await;
    let metrics = http::get(&format!("{}/metrics", gateway.metrics_url)).await.text();
    holds_no_secret(&[gateway.log.text(), metrics, files(home.path())].concat(), &codes);
    codes
}

fn holds_no_secret(text: &str, codes: &[String]) {
    for secret in codes.iter().map(String::as_str).chain(["1//refresh", "ya29.sim", "client-secret"]) {
        let at = text.find(secret);
        let around = at.map(|at| text[..at + secret.len()].chars().rev().take(200).collect::<String>());
        assert!(at.is_none(), "{secret} after (backwards) {around:?}");
    }
}

#[tokio::test]
async fn on_a_terminal_with_the_embedded_store() {
    let simulator = Simulator::with_accounts(2).await;
    from_the_first_prompt_to_a_served_request(&Home::with(&simulator)).await;
}

#[tokio::test]
async fn on_a_terminal_with_redis() {
    let simulator = Simulator::with_accounts(2).await;
    let redis = RedisServer::start();
    let home = Home::with(&simulator).env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
    let codes = from_the_first_prompt_to_a_served_request(&home).await;
    let mut connection = redis.connect();
    let mut held = String::new();
    for key in redis::cmd("KEYS").arg("*").query::<Vec<String>>(&mut connection).unwrap() {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection).unwrap();
        let read = match kind.as_str() {
            "string" => redis::cmd("GET").arg(&key).to_owned(),
            "hash" => redis::cmd("HGETALL").arg(&key).to_owned(),
            "zset" => redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).to_owned(),
            "stream" => redis::cmd("XRANGE").arg(&key).arg("-").arg("+").to_owned(),
            other => panic!("{key} is a {other}"),
        };
        let value: redis::Value = read.query(&mut connection).unwrap();
        held += &readable(&value);
    }
    assert!(held.contains("user1@example.com"), "the accounts are in there");
    holds_no_secret(&held, &codes);
}

/// All texts of an answer of Redis.
fn readable(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned() + "\n",
        redis::Value::Array(items) => items.iter().map(readable).collect(),
        redis::Value::Map(pairs) => {
            pairs.iter().map(|(key, value)| readable(key) + &readable(value)).collect()
        }
        _ => String::new(),
    }
}

#[tokio::test]
async fn a_script_pipes_the_address_in_and_reads_json() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator);
    let mut command = home.command(&["accounts", "add", "--json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    let reading = async {
        loop {
            let line = words.next_line().await.unwrap().expect("an address");
            if line.starts_with("  http") {
                break address(&line);
            }
        }
    };
    let url = tokio::time::timeout(SOON, reading).await.unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(format!("{}\n", consent(&url).await).as_bytes()).await.unwrap();
    let status = tokio::time::timeout(SOON, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out, json!({"status": "ok", "email": "user1@example.com", "reauth": false}));
}

#[tokio::test]
async fn what_cannot_work_is_said_with_its_exit_code() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator);
    let ended = home.run(ADD, b"").await;
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("standard input ended before the sign-in was completed"), "{}", ended.err);
    assert!(!ended.out.contains(PROMPT), "no prompt without a terminal: {}", ended.out);
    let ended = home.run(ADD, b"http://localhost/?error=access_denied\n").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("OAuth error: access_denied"), "{}", ended.err);
    let ended = home.run(&["accounts", "reauth", "nobody@example.com"], b"").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("Account nobody@example.com not found"), "{}", ended.err);

    // Another account than the one that was to sign in.
    let mut terminal =
        Terminal::start(&home, &["accounts", "add", "--no-browser", "--email", "other@example.com"]);
    let screen = terminal.shows(PROMPT, 1).await;
    let url = address(&screen).replace("other%40example.com", "user1%40example.com");
    let back = consent(&url).await;
    terminal.types(&back);
    let (code, screen) = terminal.ended().await;
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("Signed in as user1@example.com, but another account"), "{screen}");
    assert!(pool(&home).await.is_empty());

    // Without a client of the operator's, offline and beside a gateway.
    let home = home.env("OAUTH_CLIENT_SECRET", "");
    let refused = async || {
        let ended = home.run(ADD, b"").await;
        assert_eq!(ended.code, Some(2), "{}{}", ended.out, ended.err);
        assert!(ended.err.contains("OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET"), "{}", ended.err);
    };
    refused().await;
    let _gateway = home.start().await;
    refused().await;
}

#[tokio::test]
async fn a_sign_in_outlives_a_gateway_that_is_killed() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator);
    // As soon as it is answered, it is on the disk.
    for _ in 0..5 {
        let gateway = home.start().await;
        let begun = http::get(&format!("{}/api/auth/url", gateway.url)).await.json();
        gateway.kill().await;
        let gateway = home.start().await;
        let back = consent(begun["url"].as_str().unwrap()).await;
        let page = http::get(&at(&gateway, &back)).await;
        assert_eq!(page.status, 200, "{}", page.text());
        serves(&gateway).await;
        gateway.kill().await;
    }
}
