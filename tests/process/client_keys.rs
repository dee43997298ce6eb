//! `keys create | list | revoke | rotate`, with a gateway and without one, on both stores.

use serde_json::{Value, json};

use crate::gateway::{Gateway, Home, SOON, until};
use crate::http;
use crate::redis_server::RedisServer;
use crate::simulator::Simulator;

const SEALING: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The secret that a command printed, alone and nothing else.
fn secret(out: &str) -> String {
    let line = out.strip_suffix('\n').unwrap();
    assert!(line.starts_with("agp_") && line.len() == 47 && !line.contains(char::is_whitespace), "{out}");
    line.to_owned()
}

async fn listed(home: &Home) -> Value {
    serde_json::from_str(&home.succeed(&["keys", "list", "--json"], b"").await).unwrap()
}

/// Makes, rotates and revokes keys; all secrets that were shown, the one of `bea` first, which is in force.
async fn commands_work(home: &Home) -> Vec<String> {
    let made = home
        .run(&["keys", "create", "ada", "--expires", "90d", "--model", "gemini-*", "--model", "haiku"], b"")
        .await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    let ada = secret(&made.out);
    assert!(made.err.contains("made: ada (key_") && made.err.contains("first client key"), "{}", made.err);
    assert!(!made.err.contains(&ada), "{}", made.err);
    let made = home.run(&["keys", "create", "bea"], b"").await;
    assert!(made.code == Some(0) && !made.err.contains("first client key"), "{}", made.err);
    let bea = secret(&made.out);
    let text = home.succeed(&["keys", "create", "Cy's laptop", "--json"], b"").await;
    let cy: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&cy["key"]["name"], &cy["key"]["state"]), (&json!("Cy's laptop"), &json!("active")), "{cy}");
    let cy_id = cy["key"]["id"].as_str().unwrap();

    for (args, code, part) in [
        (&["create", "ada"][..], 1, "named \"ada\" already"),
        (&["create", "default"], 1, "`default`"),
        (&["create", "eve", "--model", "a b"], 1, "models: "),
        (&["create", "eve", "--expires", "2001-01-01T00:00:00Z"], 1, "must lie ahead"),
        (&["create", "eve", "--expires", "soon"], 2, "write a time such as 90d"),
        (&["create"], 2, "<NAME>"),
        (&["revoke", "bea"], 2, "add --yes"),
        (&["revoke", "eve", "--yes"], 1, "no client key \"eve\""),
        (&["revoke", "default", "--yes"], 1, "API_KEY"),
        (&["rotate", "eve"], 1, "no client key \"eve\""),
        (&["rotate", "bea", "--grace", "31d"], 1, "at most 30 days"),
    ] {
        let ended = home.run(&[&["keys"], args].concat(), b"").await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{args:?}: {}", ended.err);
    }

    let rotated = home.run(&["keys", "rotate", "ada", "--grace", "24h"], b"").await;
    assert!(rotated.code == Some(0) && rotated.err.contains("stays good until"), "{}", rotated.err);
    let second = secret(&rotated.out);
    let rotated = home.run(&["keys", "rotate", cy_id], b"").await;
    assert!(rotated.code == Some(0) && rotated.err.contains("refused from now on"), "{}", rotated.err);
    let third = secret(&rotated.out);
    let out = home.succeed(&["keys", "revoke", cy_id, "--yes"], b"").await;
    assert_eq!(out, format!("revoked  Cy's laptop  {cy_id}\n"));
    let again = home.run(&["keys", "revoke", "Cy's laptop", "--yes"], b"").await;
    assert!(again.code == Some(1) && again.err.contains("is revoked"), "{}", again.err);

    let out = home.succeed(&["keys", "list"], b"").await;
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect())
        .collect();
    let names: Vec<_> = rows.iter().map(|row| (row[0], row[2])).collect();
    assert_eq!(names, [("Cy's laptop", "revoked"), ("ada", "active"), ("bea", "active")], "{out}");
    assert!(rows[1][3].starts_with("gemini-* haiku; never used; expires 20"), "{out}");
    assert!(rows[1][3].contains("; secret before good until 20"), "{out}");
    assert_eq!(rows[2][3], "all models; never used", "{out}");
    let list = listed(home).await;
    assert_eq!((&list["open"], list["keys"].as_array().unwrap().len()), (&json!(false), 3));
    let life =
        list["keys"][1]["expiresAt"].as_i64().unwrap() - list["keys"][1]["createdAt"].as_i64().unwrap();
    assert_eq!(life, 90 * 86_400_000);
    let secrets = vec![bea, ada, second, third, cy["secret"].as_str().unwrap().to_owned()];
    for secret in &secrets {
        assert!(!list.to_string().contains(secret.as_str()) && !out.contains(secret.as_str()));
    }
    secrets
}

async fn asked(gateway: &Gateway, secret: &str) -> u16 {
    let headers = [("x-api-key", secret), ("content-type", "application/json")];
    let body = http::message("reply with exactly: in", false).to_string();
    http::send("POST", &format!("{}/v1/messages", gateway.url), &headers, body.as_bytes()).await.status
}

/// A gateway that starts on what the commands left: the secrets in their order are good or not.
async fn goes_by(gateway: &Gateway, secrets: &[String]) {
    let mut answers = Vec::new();
    for secret in secrets {
        answers.push(asked(gateway, secret).await);
    }
    assert_eq!(answers, [200, 403, 403, 401, 401], "the model is not one that ada may use");
    assert_eq!(asked(gateway, "").await, 401);
}

/// No file below `data` holds one of `secrets`.
fn nowhere_in(data: &std::path::Path, secrets: &[String]) {
    let mut looked = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        // Not the control socket.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        looked += 1;
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "a secret is in {}", path.display());
        }
    }
    assert!(looked > 0);
}

#[tokio::test]
async fn commands_work_without_a_gateway_and_one_that_starts_goes_by_them() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator);
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let open = home.run(&["keys", "list"], b"").await;
    assert!(
        open.code == Some(0) && open.out.is_empty() && open.err.contains("open"),
        "{}{}",
        open.out,
        open.err
    );
    let secrets = commands_work(&home).await;
    nowhere_in(&home.data(), &secrets);
    let mut gateway = home.start().await;
    goes_by(&gateway, &secrets).await;
    // Its end writes when the keys were used.
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success());
    let list = listed(&home).await;
    let used: Vec<_> =
        list["keys"].as_array().unwrap().iter().map(|key| key["lastUsedAt"].is_i64()).collect();
    assert_eq!(used, [false, true, true], "{list}");
    for secret in &secrets {
        assert!(!gateway.log.text().contains(secret.as_str()));
    }
}

#[tokio::test]
async fn commands_work_beside_a_gateway_which_goes_by_them_at_once() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator).env("LOG_LEVEL", "debug");
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let mut gateway = home.start().await;
    until("it serves", async || asked(&gateway, "").await == 200).await;
    let secrets = commands_work(&home).await;
    goes_by(&gateway, &secrets).await;
    home.succeed(&["keys", "revoke", "bea", "--yes"], b"").await;
    assert_eq!(asked(&gateway, &secrets[0]).await, 401);
    let explained =
        home.succeed(&["accounts", "explain", "--model", "claude-sonnet-4-6", "--key", "ada"], b"").await;
    assert!(explained.contains("user1@example.com"), "{explained}");
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success());
    let log = gateway.log.text();
    assert!(log.contains("key.create is done") && log.contains("key.revoke is done"), "{log}");
    nowhere_in(&home.data(), &secrets);
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()));
    }
}

#[tokio::test]
async fn commands_work_on_redis_also_while_a_gateway_runs_elsewhere() {
    let redis = RedisServer::start();
    let simulator = Simulator::with_accounts(1).await;
    let on_redis = || Home::with(&simulator).env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", SEALING);
    // The commands open the store themselves: the gateway's socket is in another directory.
    let (home, other) = (on_redis(), on_redis());
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    let mut gateway = other.start().await;
    until("it serves", async || asked(&gateway, "").await == 200).await;
    let secrets = commands_work(&home).await;
    until("it has heard of the last change", async || asked(&gateway, &secrets[3]).await == 401).await;
    until("it has heard of the first key", async || asked(&gateway, "").await == 401).await;
    until("it knows the key", async || asked(&gateway, &secrets[0]).await == 200).await;
    goes_by(&gateway, &secrets).await;
    home.succeed(&["keys", "revoke", "bea", "--yes"], b"").await;
    until("it has heard of the end", async || asked(&gateway, &secrets[0]).await == 401).await;
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success());
    let away =
        on_redis().env("REDIS_URL", "redis://127.0.0.1:1").file(&json!({ "storeOutageGraceMs": 1000 }));
    assert_eq!(away.run(&["keys", "list"], b"").await.code, Some(69));
}

#[tokio::test]
async fn at_a_terminal_a_revocation_is_asked_about() {
    let home = Home::new();
    let made = home.run(&["keys", "create", "ada"], b"").await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    for (typed, code, said) in
        [("\n", 1, "nothing was changed"), ("n\n", 1, "nothing was changed"), ("y\n", 0, "revoked  ada")]
    {
        let ended = home.at_terminal(&["keys", "revoke", "ada"], typed).await;
        assert_eq!(ended.code, Some(code), "{typed:?}: {}", ended.out);
        assert!(ended.out.contains("Revoke the key \"ada\" for good? [y/N]"), "{typed:?}: {}", ended.out);
        assert!(ended.out.contains(said), "{typed:?}: {}", ended.out);
        let state = &listed(&home).await["keys"][0]["state"];
        assert_eq!(*state, if code == 0 { "revoked" } else { "active" }, "{typed:?}");
    }
}

/// Where nothing can be written, as on a full disk.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_secret_is_shown_or_said_to_be_lost() {
    use std::process::Stdio;

    let home = Home::new();
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let run = async |args: &[&str], out, err| {
        let child = home.command(args).stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        child.wait_with_output().await.unwrap()
    };
    let silent = run(&["keys", "create", "ada"], Stdio::piped(), full()).await;
    assert_eq!(silent.status.code(), Some(0));
    let shown = secret(std::str::from_utf8(&silent.stdout).unwrap());
    for args in
        [&["keys", "rotate", "ada"][..], &["keys", "rotate", "ada", "--json"], &["keys", "create", "bea"]]
    {
        let lost = run(args, full(), Stdio::piped()).await;
        let said = String::from_utf8(lost.stderr).unwrap();
        assert_eq!(lost.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("is lost; `keys rotate key_"), "{args:?}: {said}");
        assert!(!said.contains("agp_") && !said.contains(&shown), "{args:?}: {said}");
    }
}
