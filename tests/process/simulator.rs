//! The simulator as a child process, ruled over its control routes.

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::http;

/// A running simulator; it is killed when dropped.
pub(crate) struct Simulator {
    pub(crate) url: String,
    pub(crate) endpoints: Vec<String>,
    /// What `accounts import` reads.
    pub(crate) accounts: Value,
    _child: Child,
    _dir: TempDir,
}

impl Simulator {
    /// Starts with `count` sample accounts.
    pub(crate) async fn with_accounts(count: usize) -> Self {
        Self::start(&json!({"accounts": sample(count)})).await
    }

    /// Starts with a scenario.
    pub(crate) async fn start(scenario: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("scenario.json");
        std::fs::write(&file, scenario.to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloudcode-sim"))
            .arg("--scenario")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let read = tokio::time::timeout(crate::gateway::SOON, out.read_line(&mut line)).await;
        assert!(matches!(read, Ok(Ok(1..))), "the simulator does not start");
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["baseUrl"].as_str().unwrap().to_owned();
        let endpoints = ready["endpoints"].as_array().unwrap().iter();
        let endpoints = endpoints.map(|url| url.as_str().unwrap().to_owned()).collect();
        let accounts = http::get(&format!("{url}/sim/accounts.json")).await.json();
        Self { url, endpoints, accounts, _child: child, _dir: dir }
    }

    /// Adds a rule.
    pub(crate) async fn rule(&self, rule: &Value) {
        let answer = http::post(&format!("{}/sim/faults", self.url), rule).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// What was received of which the path contains `path`.
    pub(crate) async fn requests(&self, path: &str) -> Vec<Value> {
        let answer = http::get(&format!("{}/sim/requests?path={path}", self.url)).await.json();
        answer.as_array().unwrap().clone()
    }

    /// Makes all access tokens void.
    pub(crate) async fn expire_tokens(&self) {
        let answer = http::post(&format!("{}/sim/tokens/expire", self.url), &json!({})).await;
        assert_eq!(answer.status, 204);
    }
}

/// `count` accounts of a scenario, `user1@example.com` and so on.
pub(crate) fn sample(count: usize) -> Value {
    let account = |number: usize| {
        json!({
            "email": format!("user{number}@example.com"),
            "refresh_token": format!("1//refresh-{number}"),
            "project": format!("project-{number}"),
        })
    };
    (1..=count).map(account).collect()
}
