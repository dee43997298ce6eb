//! Gateways in this process in front of a simulator: one over the embedded store in a directory of its own, or
//! several over one Redis.

pub(crate) mod client;
pub(crate) mod replicas;
pub(crate) mod scrape;

use std::path::Path;
use std::time::Duration;

use antigravity_proxy::app::Running;
use antigravity_proxy::config::Config;
use antigravity_proxy::server::drain::Drain;
use antigravity_proxy::simulator::{Action, Recorded, Scenario, Simulator, When};
use antigravity_proxy::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use client::Client;
pub(crate) use replicas::Replicas;
pub(crate) use scrape::Scrape;

pub(crate) const THINKING: &str = "claude-opus-4-6-thinking";
pub(crate) const PLAIN: &str = "claude-sonnet-4-6";
pub(crate) const GEMINI: &str = "gemini-3-flash";
const PATIENCE: Duration = Duration::from_secs(10);

/// One gateway, its simulator and its data.
pub(crate) struct TestGateway {
    pub(crate) simulator: Simulator,
    pub(crate) client: Client,
    config: Config,
    running: Running,
    data: TempDir,
}

impl TestGateway {
    /// In front of `count` accounts.
    pub(crate) async fn of(count: usize) -> Self {
        Self::start(Scenario::default().with_accounts(count), |_| {}).await
    }

    /// In front of `scenario`; `change` has the last word on the settings.
    pub(crate) async fn start(scenario: Scenario, change: impl FnOnce(&mut Config)) -> Self {
        let simulator = Simulator::start(scenario).await.unwrap();
        let data = tempfile::tempdir().unwrap();
        let mut config = settings(&simulator, data.path());
        change(&mut config);
        let running = Box::pin(Running::start(config.clone(), Drain::new())).await.unwrap();
        let accounts = simulator.accounts_json();
        if !accounts["accounts"].as_array().unwrap().is_empty() {
            running.gateway().import_accounts(accounts.to_string().into()).await.unwrap();
        }
        let client = Client::new(&running.listening().url);
        let gateway = Self { simulator, client, config, running, data };
        // A first request would wait for the survey; after this nothing of it is left to wait for.
        gateway.client.get("/v1/models").await;
        gateway
    }

    /// Ends the gateway and starts another one on the same data.
    pub(crate) async fn restart(self) -> Self {
        let Self { simulator, config, running, data, .. } = self;
        running.shutdown().await.unwrap();
        let running = Box::pin(Running::start(config.clone(), Drain::new())).await.unwrap();
        let client = Client::new(&running.listening().url);
        Self { simulator, client, config, running, data }
    }

    /// Ends it.
    pub(crate) async fn shutdown(self) {
        self.running.shutdown().await.unwrap();
    }

    /// Imports accounts.
    pub(crate) async fn import(&self, accounts: &Value) {
        self.running.gateway().import_accounts(accounts.to_string().into()).await.unwrap();
    }

    /// Adds a fault to calls of a model.
    pub(crate) fn fault(&self, when: &Value, then: &Value) {
        add_fault(&self.simulator, when, then);
    }

    /// The calls of a model so far.
    pub(crate) fn model_calls(&self) -> Vec<Recorded> {
        model_calls(&self.simulator)
    }

    /// Account and endpoint of each call of a model, as `1@0`.
    pub(crate) fn route(&self) -> Vec<String> {
        let number = |account: Option<String>| {
            let name = account.unwrap_or_default();
            name.trim_start_matches("dev").split('@').next().unwrap_or_default().to_owned()
        };
        self.model_calls()
            .into_iter()
            .map(|one| format!("{}@{}", number(one.account), one.endpoint))
            .collect()
    }

    /// The entry of account `number` in `/health`.
    pub(crate) async fn health(&self, number: usize) -> Value {
        let health = self.client.get("/health").await.1;
        entry(&health["accounts"], number)
    }

    /// The entry of account `number` in `/api/accounts`.
    pub(crate) async fn account(&self, number: usize) -> Value {
        let accounts = self.client.get("/api/accounts").await.1;
        entry(&accounts["accounts"], number)
    }

    /// What it exports now.
    pub(crate) fn scrape(&self) -> Scrape {
        Scrape::of(&self.running.gateway().metrics())
    }

    /// Its shared state.
    pub(crate) fn store(&self) -> &Store {
        self.running.store()
    }

    /// Requests in flight by the store's count.
    pub(crate) async fn in_flight(&self) -> u32 {
        let page = self.running.store().list_accounts(0, 1000, &[]).await.unwrap();
        page.accounts.iter().map(|account| account.in_flight).sum()
    }

    /// What admission changes, per account: its bucket's level, health, failures, last use and limits.
    pub(crate) async fn admission_state(&self) -> Vec<String> {
        let models: Vec<_> = [THINKING, PLAIN, GEMINI].map(str::to_owned).into();
        let page = self.running.store().list_accounts(0, 1000, &models).await.unwrap();
        let state = |one: &antigravity_proxy::store::ops::listing::AccountView| {
            let chosen = (one.tokens, one.health, one.failures, one.last_used_ms);
            format!("{} {chosen:?} {:?} {:?} {:?}", one.email, one.limits, one.cooling, one.invalid)
        };
        page.accounts.iter().map(state).collect()
    }

    /// What is held against each account: its health, failures in a row, limits, rest and invalidity.
    pub(crate) async fn standing(&self) -> Vec<String> {
        let models: Vec<_> = [THINKING, PLAIN, GEMINI].map(str::to_owned).into();
        let page = self.running.store().list_accounts(0, 1000, &models).await.unwrap();
        let standing = |one: &antigravity_proxy::store::ops::listing::AccountView| {
            // Health recovers by ten an hour.
            let health = one.health.round();
            format!("{health} {} {:?} {:?} {:?}", one.failures, one.limits, one.cooling, one.invalid)
        };
        page.accounts.iter().map(standing).collect()
    }

    /// Waits until no lease is left; also: nothing was refused as malformed.
    pub(crate) async fn settled(&self) {
        let settled = tokio::time::timeout(PATIENCE, async {
            while self.in_flight().await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(settled.await.is_ok(), "leases are left");
        assert_eq!(self.simulator.refusals().len(), 0, "{:?}", self.simulator.refusals());
    }
}

/// The settings of a gateway on free ports, with its data in `data`.
pub(crate) fn settings(simulator: &Simulator, data: &Path) -> Config {
    let mut config = Config::default();
    config.server.host = "127.0.0.1".into();
    config.server.port = 0;
    config.server.metrics_addr = None;
    config.server.shutdown_grace = Duration::from_secs(5);
    config.store.data_dir = data.to_owned();
    config.upstream.endpoints = simulator.endpoint_urls();
    config.oauth.client_id = Some("client".into());
    config.oauth.client_secret = Some("secret".to_owned().into());
    config.oauth.token_url = format!("{}/token", simulator.base_url());
    config.oauth.userinfo_url = format!("{}/userinfo", simulator.base_url());
    config
}

/// Adds a fault to calls of a model.
fn add_fault(simulator: &Simulator, when: &Value, then: &Value) {
    let mut when: When = serde_json::from_value(when.clone()).unwrap();
    when.path.get_or_insert_with(|| "generateContent".into());
    let then: Action = serde_json::from_value(then.clone()).unwrap();
    simulator.add_fault(when, then);
}

/// The calls of a model so far.
fn model_calls(simulator: &Simulator) -> Vec<Recorded> {
    let mut all = simulator.recorded();
    all.retain(|one| one.path.to_ascii_lowercase().contains("generatecontent"));
    all
}

fn entry(accounts: &Value, number: usize) -> Value {
    let email = format!("dev{number}@example.com");
    let all = accounts.as_array().unwrap_or_else(|| panic!("no accounts in {accounts}"));
    all.iter().find(|account| account["email"] == email.as_str()).cloned().unwrap()
}

/// A request of one user turn.
pub(crate) fn ask(model: &str, text: &str, stream: bool) -> Value {
    let mut body = json!({
        "model": model, "max_tokens": 4000, "stream": stream,
        "messages": [{"role": "user", "content": text}],
        "tools": [{"name": "Bash", "description": "Runs a command", "input_schema": {
            "type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}],
    });
    if model.contains("thinking") || model.contains("gemini") {
        body["thinking"] = json!({"type": "enabled", "budget_tokens": 2000});
    }
    body
}
