//! `store export | redis-cli --pipe`: from a directory to Redis, and from Redis to Redis.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::gateway::{Gateway, Home, SOON, until};
use crate::http;
use crate::ledger::Ledger;
use crate::redis_server::RedisServer;
use crate::simulator::Simulator;
use crate::site::Site;

/// Feeds `commands` to a server as a user does.
async fn pipe(server: &RedisServer, commands: &[u8]) {
    let mut child = Command::new("redis-cli")
        .arg("-s")
        .arg(server.socket())
        .arg("--pipe")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(commands).await.unwrap();
    drop(input);
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("errors: 0,"), "{said}");
}

async fn accounts(gateway: &Gateway) -> Value {
    http::get(&format!("{}/api/accounts", gateway.url)).await.json()["accounts"].clone()
}

/// What a listing says of accounts, by address; the last use is left out, which the next request changes.
async fn pool(gateway: &Gateway) -> BTreeMap<String, Value> {
    let accounts = accounts(gateway).await;
    let entry = |account: &Value| (account["email"].as_str().unwrap().to_owned(), account.clone());
    accounts.as_array().unwrap().iter().map(entry).collect()
}

async fn stop(mut gateway: Gateway) {
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success(), "{}", gateway.log.text());
}

fn key_file(home: &Home) -> PathBuf {
    let entries = std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().path());
    let mut files = entries.filter(|path| path.file_name().unwrap().to_string_lossy().contains("key"));
    files.next().expect("a key file")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_moves_to_redis_with_everything_in_it() {
    let simulator = Simulator::with_accounts(3).await;
    let embedded = Home::with(&simulator);
    let mut document = simulator.accounts.clone();
    document["accounts"][2]["enabled"] = json!(false);
    document["accounts"][1]["quotaThreshold"] = json!(0.25);
    document["accounts"][1]["modelQuotaThresholds"] = json!({"gemini-3-flash": 0.5});
    embedded.succeed(&["accounts", "import", "-"], document.to_string().as_bytes()).await;
    embedded.succeed(&["settings", "set", "maxRetries=7", "globalQuotaThreshold=0.05"], b"").await;
    let gateway = embedded.start().await;
    // A limit of hours, which must still hold afterwards.
    let limited = json!({"when": {"model": "gemini-3-flash", "account": "user1@example.com"},
        "then": {"fault": "quota_exhausted", "reset_ms": 7_200_000}});
    simulator.rule(&limited).await;
    for (model, times) in [("claude-sonnet-4-6", 4), ("gemini-3-flash", 4)] {
        for _ in 0..times {
            let mut body = http::message("reply with exactly: fine", false);
            body["model"] = json!(model);
            let answer = http::post(&format!("{}/v1/messages", gateway.url), &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    let limit = |pool: &BTreeMap<String, Value>| {
        pool["user1@example.com"]["modelRateLimits"]["gemini-3-flash"]["isRateLimited"] == true
    };
    until("the limit is known", async || limit(&pool(&gateway).await)).await;
    let before = pool(&gateway).await;
    assert!(
        before["user3@example.com"]["enabled"] == false
            && before["user2@example.com"]["quotaThreshold"] == 0.25
    );
    stop(gateway).await;
    let settings = embedded.succeed(&["settings", "get", "--json"], b"").await;
    let export = embedded.run(&["store", "export"], b"").await;
    assert_eq!(export.code, Some(0), "{}", export.err);

    let redis = RedisServer::start();
    pipe(&redis, &export.bytes).await;
    let mut ledger = Ledger::new(&redis);
    let counted = ledger.counted_requests();
    assert!(counted >= 8, "every request is in the usage: {counted}");
    let refreshed = simulator.requests("/token").await.len();
    let key = std::fs::read_to_string(key_file(&embedded)).unwrap();
    let home = Home::with(&simulator).env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", key.trim());
    let gateway = home.start().await;
    let after = pool(&gateway).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (email, account) in &before {
        for (field, value) in account.as_object().unwrap() {
            // Ends are told from what is left, so the clocks of two hosts may differ by a little.
            if field == "modelRateLimits" {
                let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
                assert_eq!(names(value), names(&after[email][field]), "{email}");
            } else {
                assert_eq!(value, &after[email][field], "{field} of {email}");
            }
        }
    }
    assert!(limit(&after), "{after:?}");
    let stored = |settings: &str| {
        let rows: Value = serde_json::from_str::<Value>(settings).unwrap()["rows"].clone();
        let kept = rows.as_array().unwrap().iter().filter(|row| !row["stored"].is_null());
        kept.map(|row| (row["key"].to_string(), row["stored"].to_string())).collect::<BTreeMap<_, _>>()
    };
    let moved = home.succeed(&["settings", "get", "--json"], b"").await;
    assert_eq!((stored(&settings), stored(&settings).len()), (stored(&moved), 2));
    let answer = gateway.ask("reply with exactly: moved").await;
    assert!(answer.status == 200 && answer.text().contains("moved"), "{}", answer.text());
    assert_eq!(simulator.requests("/token").await.len(), refreshed, "the sealed access tokens still open");
    until("the request is counted with the old ones", async || ledger.counted_requests() == counted + 1)
        .await;
    assert_eq!(
        simulator
            .requests("enerateContent")
            .await
            .iter()
            .filter(|call| call["account"] == "user3@example.com")
            .count(),
        0
    );
    // Redis holds the state; the directory holds the control socket alone.
    assert!(home.succeed(&["accounts", "list"], b"").await.contains("user1@example.com"));
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_moves_to_redis_while_it_is_used_and_when_it_is_not() {
    let site = Site::start(3).await;
    let home = site.home();
    let gateway = home.start().await;
    for _ in 0..5 {
        assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
    }
    let mut old = Ledger::new(&site.redis);
    until("everything is settled", async || old.snapshot().ends.is_empty()).await;
    let running = home.run(&["store", "export"], b"").await;
    assert_eq!(running.code, Some(0), "{}", running.err);
    stop(gateway).await;
    let stopped = home.run(&["store", "export"], b"").await;
    assert_eq!(stopped.code, Some(0), "{}", stopped.err);

    for export in [running, stopped] {
        let redis = RedisServer::start();
        pipe(&redis, &export.bytes).await;
        let mut new = Ledger::new(&redis);
        let lasting = |ledger: &mut Ledger| {
            let mut contents = ledger.contents();
            // These live for seconds and may end in between.
            contents.retain(|key, _| {
                !["lock:", "tlock:", "probe:", "replicas", "feed:"].iter().any(|kind| key.contains(kind))
            });
            // The sequence goes on with each gateway that joins or leaves, the audit trail with each export.
            for (key, (_, entries)) in &mut contents {
                if key.ends_with(":meta") {
                    entries.retain(|entry| entry[0] != b"seq" && entry[0] != b"audit");
                }
            }
            contents
        };
        let (expected, found) = (lasting(&mut old), lasting(&mut new));
        assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "the same keys");
        for (key, (end, entries)) in &expected {
            let (moved_end, moved) = &found[key];
            if key.ends_with(":audit") {
                assert!(moved.len() > 2 && moved.iter().all(|entry| entries.contains(entry)), "{key}");
                continue;
            }
            assert_eq!(entries, moved, "{key}");
            // An end is written as what was left when the key was read.
            assert!((end - moved_end).abs() < 1000, "{key} ends at {moved_end} instead of {end}");
        }
        let moved = site.home().env("REDIS_URL", &redis.url());
        let gateway = moved.start().await;
        assert_eq!(gateway.ask("reply with exactly: moved").await.status, 200);
        stop(gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_one_pool_and_no_secret() {
    let site = Site::start(1).await;
    let mut stranger = site.redis.connect();
    let () = redis::cmd("SET").arg("of:another:program").arg("1").query(&mut stranger).unwrap();
    let () = redis::cmd("SET").arg("agp:v1:{other}:meta").arg("1").query(&mut stranger).unwrap();
    let () = redis::cmd("SET").arg("agp:v1:{main}:feed:logs:trimmed").arg("-").query(&mut stranger).unwrap();
    let export = site.home().run(&["store", "export"], b"").await;
    assert_eq!(export.code, Some(0), "{}", export.err);
    assert!(export.out.contains("agp:v1:{main}:acct"), "{}", export.out);
    // Neither the streams nor what belongs to them, which would say of empty ones that something was taken away.
    assert!(!export.out.contains("agp:v1:{main}:feed:"), "{}", export.out);
    for foreign in ["of:another:program", "{other}", "1//refresh"] {
        assert!(!export.out.contains(foreign), "{foreign} is in {}", export.out);
    }
}
