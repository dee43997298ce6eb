//! Account and store commands, with a gateway and without one.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::gateway::{Home, until};
use crate::simulator::Simulator;

fn addresses(list: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(list).unwrap();
    let mut found: Vec<_> = list["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["email"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    found
}

async fn commands_work(home: &Home, document: &Value) {
    let document = document.to_string();
    let out = home.succeed(&["accounts", "import", "-"], document.as_bytes()).await;
    assert!(out.contains("added    user1@example.com"), "{out}");
    assert!(out.ends_with("2 added, 0 updated, 0 failed\n"), "{out}");
    let out = home.succeed(&["accounts", "import", "-"], document.as_bytes()).await;
    assert!(out.ends_with("0 added, 2 updated, 0 failed\n"), "{out}");
    let mixed = json!([{"email": "user3@example.com", "refresh_token": "1//three"}, {"email": "nobody"}, 7]);
    let ended = home.run(&["accounts", "import", "-"], mixed.to_string().as_bytes()).await;
    assert_eq!(ended.code, Some(4), "{}{}", ended.out, ended.err);
    assert!(ended.out.ends_with("1 added, 0 updated, 2 failed\n"), "{}", ended.out);

    let out = home.succeed(&["accounts", "list"], b"").await;
    assert_eq!(out.lines().count(), 3, "{out}");
    let listed = home.succeed(&["accounts", "list", "--json"], b"").await;
    assert_eq!(addresses(&listed), ["user1@example.com", "user2@example.com", "user3@example.com"]);
    assert!(!listed.contains("1//"), "a refresh token is shown: {listed}");

    let out = home.succeed(&["accounts", "remove", "--yes", "user3@example.com"], b"").await;
    assert_eq!(out, "removed  user3@example.com\n");
    let ended = home.run(&["accounts", "remove", "--yes", "user3@example.com"], b"").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("user3@example.com not found"), "{}", ended.err);
    let listed = home.succeed(&["accounts", "list", "--json"], b"").await;
    assert_eq!(addresses(&listed), ["user1@example.com", "user2@example.com"]);
    for email in ["user1@example.com", "user2@example.com"] {
        home.succeed(&["accounts", "remove", "--yes", email], b"").await;
    }
    only_once(home, &document).await;
}

/// What was imported once and removed by somebody does not come back with the next start of a pod.
async fn only_once(home: &Home, document: &str) {
    let once = ["accounts", "import", "--once", "-"];
    let out = home.succeed(&once, document.as_bytes()).await;
    assert!(
        out.ends_with("2 added, 0 updated, 0 failed\n"),
        "an import without --once is not remembered: {out}"
    );
    home.succeed(&["accounts", "remove", "--yes", "user1@example.com"], b"").await;
    let out = home.succeed(&once, document.as_bytes()).await;
    assert_eq!(out, "imported before: nothing to do\n");
    let told = home.succeed(&[&once[..], &["--json"]].concat(), document.as_bytes()).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["importedBefore"], &told["results"]["added"]), (&json!(true), &json!([])));
    let listed = home.succeed(&["accounts", "list", "--json"], b"").await;
    assert_eq!(addresses(&listed), ["user2@example.com"]);
    // A document that was not taken as a whole is tried again.
    let mixed = json!([{"email": "user3@example.com", "refresh_token": "1//three"}, 7]).to_string();
    for counts in ["1 added, 0 updated, 1 failed\n", "0 added, 1 updated, 1 failed\n"] {
        let ended = home.run(&once, mixed.as_bytes()).await;
        assert!(ended.code == Some(4) && ended.out.ends_with(counts), "{}{}", ended.out, ended.err);
    }
    good_entries_are_enough(home, &mixed).await;
    home.succeed(&["accounts", "remove", "--yes", "user2@example.com"], b"").await;
}

/// A pod starts though an entry of its file is bad, and imports what is good of it once.
async fn good_entries_are_enough(home: &Home, mixed: &str) {
    let allowed = ["accounts", "import", "--once", "--allow-refused", "-"];
    let out = home.succeed(&allowed, mixed.as_bytes()).await;
    assert!(out.contains("failed   unknown: Invalid entry"), "the refused one is named: {out}");
    assert!(out.ends_with("0 added, 1 updated, 1 failed\n"), "{out}");
    home.succeed(&["accounts", "remove", "--yes", "user3@example.com"], b"").await;
    for again in [&allowed[..], &["accounts", "import", "--once", "-"]] {
        assert_eq!(home.succeed(again, mixed.as_bytes()).await, "imported before: nothing to do\n");
    }
    // A file that changed is another one.
    let changed = json!([{"email": "user3@example.com", "refresh_token": "1//three"}, {"email": "bad"}]);
    let out = home.succeed(&allowed, changed.to_string().as_bytes()).await;
    assert!(out.ends_with("1 added, 0 updated, 1 failed\n"), "{out}");
    home.succeed(&["accounts", "remove", "--yes", "user3@example.com"], b"").await;
    // Nothing of this one was taken, so it is no use and does not count.
    for _ in 0..2 {
        let ended = home.run(&[&allowed[..], &["--json"]].concat(), b"[7]").await;
        assert!(ended.code == Some(4) && ended.out.contains("Invalid entry"), "{}{}", ended.out, ended.err);
    }
}

#[tokio::test]
async fn commands_work_without_a_gateway() {
    let simulator = Simulator::with_accounts(2).await;
    let home = Home::with(&simulator);
    commands_work(&home, &simulator.accounts).await;
}

#[tokio::test]
async fn commands_work_beside_a_gateway_which_serves_what_they_change() {
    let simulator = Simulator::with_accounts(2).await;
    let home = Home::with(&simulator);
    let gateway = home.start().await;
    commands_work(&home, &simulator.accounts).await;
    let ask = async || gateway.ask("reply with exactly: here").await;
    assert_eq!(ask().await.status, 503, "the pool is empty");
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    until("the imported accounts serve", async || ask().await.status == 200).await;
    assert_eq!(ask().await.json()["content"][0]["text"], "here");
}

/// The commands of an export, each as its words.
fn commands(mut rest: &[u8]) -> Vec<Vec<Vec<u8>>> {
    fn line<'a>(rest: &mut &'a [u8]) -> &'a str {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a line's end");
        let (line, after) = rest.split_at(end);
        *rest = &after[2..];
        std::str::from_utf8(line).unwrap()
    }
    let mut commands = Vec::new();
    while !rest.is_empty() {
        let count: usize = line(&mut rest).strip_prefix('*').expect("an array").parse().unwrap();
        let word = |_| {
            let length: usize = line(&mut rest).strip_prefix('$').expect("a string").parse().unwrap();
            let (word, after) = rest.split_at(length);
            rest = &after[2..];
            word.to_vec()
        };
        commands.push((0..count).map(word).collect());
    }
    commands
}

/// The words after the name of every command, by key.
fn contents(export: &[u8]) -> BTreeMap<String, BTreeSet<Vec<u8>>> {
    let mut keys: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for command in commands(export) {
        if let [_, key, rest @ ..] = &command[..] {
            keys.entry(String::from_utf8(key.clone()).unwrap()).or_default().extend(rest.iter().cloned());
        }
    }
    keys
}

async fn is_there(program: &str) -> bool {
    let found =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    found.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn an_export_is_taken_by_a_real_redis() {
    for program in ["redis-server", "redis-cli"] {
        if !is_there(program).await {
            eprintln!("skipped: {program} is not installed");
            return;
        }
    }
    let simulator = Simulator::with_accounts(5).await;
    let home = Home::with(&simulator);
    let gateway = home.start().await;
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let answer = gateway.ask("reply with exactly: kept").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let running = home.run(&["store", "export"], b"").await;
    assert_eq!(running.code, Some(0), "{}", running.err);
    gateway.kill().await;
    let export = home.run(&["store", "export"], b"").await;
    assert_eq!(export.code, Some(0), "{}", export.err);
    let keys = contents(&export.bytes);
    for durable in ["roster", "email", "acct", "cred"] {
        let key = format!("agp:v1:{{main}}:{durable}");
        assert!(keys.contains_key(&key), "{key} is not in {:?}", keys.keys());
        assert_eq!(contents(&running.bytes).get(&key), keys.get(&key), "{key}, with and without a gateway");
    }

    let socket = home.path().join("redis.sock");
    let _server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
        .arg(home.path())
        .arg("--unixsocket")
        .arg(&socket)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let redis = async |args: &[&str]| {
        let output = Command::new("redis-cli").arg("-s").arg(&socket).args(args).output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    until("redis answers", async || redis(&["PING"]).await == "PONG").await;
    let file = home.path().join("export.resp");
    let written = home.run(&["store", "export", "--output", file.to_str().unwrap()], b"").await;
    assert_eq!(written.code, Some(0), "{}", written.err);
    let piped = Command::new("redis-cli")
        .arg("-s")
        .arg(&socket)
        .arg("--pipe")
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(piped.status.success() && said.contains("errors: 0"), "{said}");
    for key in keys.keys() {
        assert_ne!(redis(&["TYPE", key]).await, "none", "{key} did not arrive");
    }
    let count = |name: &str| keys[&format!("agp:v1:{{main}}:{name}")].len() / 2;
    assert_eq!(redis(&["HLEN", "agp:v1:{main}:cred"]).await, "5");
    assert_eq!(redis(&["HLEN", "agp:v1:{main}:acct"]).await, count("acct").to_string());
    assert_eq!(redis(&["ZCARD", "agp:v1:{main}:roster"]).await, "5");
    let id = redis(&["HGET", "agp:v1:{main}:email", "user1@example.com"]).await;
    let sealed = redis(&["HGET", "agp:v1:{main}:cred", &id]).await;
    assert!(!sealed.is_empty() && !sealed.contains("1//refresh-1"), "{sealed}");
}
