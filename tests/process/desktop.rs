//! The account that is signed in to the desktop application.

use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::gateway::Home;
use crate::http;
use crate::redis_server::RedisServer;
use crate::simulator::Simulator;
use crate::site::ENCRYPTION_KEY;

/// The application's database, in use by it.
struct Desktop {
    path: PathBuf,
    own: Connection,
}

impl Desktop {
    /// Where the application has it below this home.
    fn below(home: &Home) -> Self {
        let folder = home.path().join(".config/Antigravity/User/globalStorage");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("state.vscdb");
        let own = Connection::open(&path).unwrap();
        own.pragma_update(None, "journal_mode", "WAL").unwrap();
        own.execute_batch("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
            .unwrap();
        Self { path, own }
    }

    fn signs_in(&self, email: &str, token: &str) {
        let status = json!({"apiKey": token, "email": email, "name": "User"}).to_string();
        self.own.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?1)", [status]).unwrap();
    }
}

/// An access token that the simulator knows, as the application gets one.
async fn token(simulator: &Simulator, number: usize) -> String {
    let form = format!(
        "grant_type=refresh_token&client_id=client&client_secret=client-secret&refresh_token=1//refresh-{number}"
    );
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = http::send("POST", &format!("{}/token", simulator.url), &headers, form.as_bytes()).await;
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

#[tokio::test]
async fn its_token_is_read_whenever_it_is_needed() {
    let simulator = Simulator::with_accounts(2).await;
    let home = Home::with(&simulator);
    let desktop = Desktop::below(&home);
    desktop.signs_in("User1@example.com", &token(&simulator, 1).await);
    // The application is in the middle of a write.
    desktop.own.execute_batch("BEGIN IMMEDIATE").unwrap();
    desktop.signs_in("user1@example.com", "not-yet");
    let out = home.succeed(&["accounts", "import", "--ide"], b"").await;
    assert!(out.contains("added    user1@example.com"), "{out}");
    let gateway = home.start().await;
    let ask = async || gateway.ask("reply with exactly: here").await;
    let answer = ask().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    desktop.own.execute_batch("ROLLBACK").unwrap();
    let listed: Value =
        serde_json::from_str(&home.succeed(&["accounts", "list", "--json"], b"").await).unwrap();
    assert_eq!(listed["accounts"][0]["source"], "database");
    let out = home.succeed(&["accounts", "verify"], b"").await;
    assert_eq!(out, "✓ user1@example.com\n");

    // The application renews its token; the old one is void.
    simulator.expire_tokens().await;
    desktop.signs_in("user1@example.com", &token(&simulator, 1).await);
    assert_eq!(ask().await.status, 200);

    // It goes away: this account rests, the other one serves.
    let accounts =
        simulator.accounts["accounts"].as_array().unwrap_or_else(|| simulator.accounts.as_array().unwrap());
    let other = json!([accounts[1]]).to_string();
    home.succeed(&["accounts", "import", "-"], other.as_bytes()).await;
    drop(desktop.own);
    std::fs::rename(&desktop.path, desktop.path.with_extension("away")).unwrap();
    simulator.expire_tokens().await;
    for _ in 0..4 {
        let answer = ask().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let ended = home.run(&["accounts", "verify", "user1@example.com"], b"").await;
    assert_eq!(ended.code, Some(4));
    assert!(ended.out.contains("Database not found at"), "{}", ended.out);
    // It goes along with an export, which holds no credential of it.
    let document: Value = serde_json::from_str(&home.succeed(&["accounts", "export"], b"").await).unwrap();
    let account = &document["accounts"][0];
    assert_eq!((&account["source"], account.get("apiKey")), (&json!("database"), None));
    assert_eq!(account["dbPath"], desktop.path.to_str().unwrap());
}

#[tokio::test]
async fn pools_on_redis_take_the_token_of_the_moment_only() {
    let simulator = Simulator::with_accounts(1).await;
    let redis = RedisServer::start();
    let home = Home::with(&simulator).env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
    let desktop = Desktop::below(&home);
    let ended = home.run(&["accounts", "import", "--ide"], b"").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("sign in to Antigravity"), "{}", ended.err);
    let status = json!({"apiKey": token(&simulator, 1).await}).to_string();
    desktop.own.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?1)", [status]).unwrap();
    let path = desktop.path.to_str().unwrap();
    let ended = home.run(&["accounts", "import", "--ide", path], b"").await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("--email"), "{}", ended.err);
    let import = ["accounts", "import", "--ide", path, "--email", "user1@example.com"];
    let ended = home.run(&import, b"").await;
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.out.contains("--ide --manual"), "{}", ended.out);
    home.succeed(&[&import[..], &["--manual"]].concat(), b"").await;
    let gateway = home.start().await;
    assert_eq!(gateway.ask("reply with exactly: here").await.status, 200);
}
