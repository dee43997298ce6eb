//! Several gateways on one Redis in front of one simulator.

use std::collections::BTreeMap;
use std::time::Duration;

use antigravity_proxy::app::Running;
use antigravity_proxy::config::{Config, RedisConfig};
use antigravity_proxy::server::drain::Drain;
use antigravity_proxy::simulator::{Recorded, Scenario, Simulator};
use antigravity_proxy::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Answer;
use super::{Client, Scrape, add_fault, model_calls, settings};
use crate::redis_server::RedisServer;

/// What every gateway of a test seals with.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// How long a condition may take to come true on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Gateways that share a Redis, and their simulator.
pub(crate) struct Replicas {
    pub(crate) simulator: Simulator,
    gateways: Vec<Replica>,
}

struct Replica {
    running: Running,
    client: Client,
    _data: TempDir,
}

impl Replicas {
    /// One gateway per URL of the same Redis; the scenario's accounts are in the pool and its models known.
    pub(crate) async fn start(scenario: Scenario, urls: &[String]) -> Self {
        Self::with(scenario, urls, |_| {}).await
    }

    /// As [`Self::start`]; `change` has the last word on each gateway's settings.
    pub(crate) async fn with(scenario: Scenario, urls: &[String], change: impl Fn(&mut Config)) -> Self {
        let replicas = Self::cold(scenario, urls, change).await;
        replicas.import(0, &replicas.simulator.accounts_json()).await;
        for replica in &replicas.gateways {
            // A first request would wait for the survey; after this nothing of it is left to wait for.
            let known = until(async || {
                !replica.client.get("/v1/models").await.1["data"].as_array().unwrap().is_empty()
            });
            assert!(known.await, "the pool's models become known");
        }
        replicas
    }

    /// The gateways alone, started together: what the store does not have, nobody has.
    pub(crate) async fn cold(scenario: Scenario, urls: &[String], change: impl Fn(&mut Config)) -> Self {
        Self::on(Simulator::start(scenario).await.unwrap(), urls, change).await
    }

    /// As [`Self::cold`], in front of a simulator that runs.
    pub(crate) async fn on(simulator: Simulator, urls: &[String], change: impl Fn(&mut Config)) -> Self {
        let starting = urls.iter().map(|url| {
            let data = tempfile::tempdir().unwrap();
            let mut config = settings(&simulator, data.path());
            config.server.metrics_addr = Some(([127, 0, 0, 1], 0).into());
            on_redis(&mut config, url);
            change(&mut config);
            async move {
                let running = Box::pin(Running::start(config, Drain::new())).await.unwrap();
                let client = Client::new(&running.listening().url);
                Replica { running, client, _data: data }
            }
        });
        let gateways = futures_util::future::join_all(starting).await;
        Self { simulator, gateways }
    }

    /// The client of the gateway whose turn it is.
    pub(crate) fn client(&self, turn: usize) -> &Client {
        &self.gateways[turn % self.gateways.len()].client
    }

    /// The shared state, as a gateway has it.
    pub(crate) fn store(&self, gateway: usize) -> &Store {
        self.gateways[gateway].running.store()
    }

    /// Ends the last of the gateways.
    pub(crate) fn end_last(&mut self) -> impl Future<Output = ()> + use<> {
        let last = self.gateways.pop().unwrap();
        async move { last.running.shutdown().await.unwrap() }
    }

    /// Imports accounts on one gateway.
    pub(crate) async fn import(&self, gateway: usize, accounts: &Value) {
        let gateway = self.gateways[gateway].running.gateway();
        gateway.import_accounts(accounts.to_string().into()).await.unwrap();
    }

    /// What a gateway exports now.
    pub(crate) fn scrape(&self, gateway: usize) -> Scrape {
        Scrape::of(&self.gateways[gateway].running.gateway().metrics())
    }

    /// The value of a metric without labels, `antigravity_proxy_<name>`.
    pub(crate) async fn metric(&self, gateway: usize, name: &str) -> f64 {
        let listening = self.gateways[gateway].running.listening();
        let url = format!("{}/metrics", listening.metrics_url.as_ref().unwrap());
        let text = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
        let text = text.text().await.unwrap();
        let start = format!("antigravity_proxy_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {start}in {text}")).parse().unwrap()
    }

    /// Adds a fault to calls of a model.
    pub(crate) fn fault(&self, when: &Value, then: &Value) {
        add_fault(&self.simulator, when, then);
    }

    /// The calls of a model so far.
    pub(crate) fn model_calls(&self) -> Vec<Recorded> {
        model_calls(&self.simulator)
    }

    /// The account of the last call of a model.
    pub(crate) fn last_account(&self) -> String {
        self.model_calls().last().and_then(|call| call.account.clone()).unwrap_or_default()
    }

    /// How often each account's token was fetched.
    pub(crate) fn refreshes(&self) -> BTreeMap<String, usize> {
        let mut refreshes = BTreeMap::new();
        for one in self.simulator.recorded().into_iter().filter(|one| one.path == "/token") {
            *refreshes.entry(one.account.unwrap_or_default()).or_default() += 1;
        }
        refreshes
    }

    /// Requests in flight by the store's count, as the gateway sees it.
    pub(crate) async fn in_flight(&self, gateway: usize) -> u32 {
        let page = self.gateways[gateway].running.store().list_accounts(0, 1000, &[]).await.unwrap();
        page.accounts.iter().map(|account| account.in_flight).sum()
    }

    /// Waits until no lease is left; also: nothing was refused as malformed, and no call had to go without the
    /// signature that belongs to it.
    pub(crate) async fn settled(&self) {
        for gateway in 0..self.gateways.len() {
            assert!(until(async || self.in_flight(gateway).await == 0).await, "leases are left");
        }
        assert_eq!(self.simulator.refusals().len(), 0, "{:?}", self.simulator.refusals());
        for call in self.model_calls() {
            assert!(
                !call.body.to_string().contains("skip_thought_signature_validator"),
                "a signature was lost"
            );
        }
    }

    /// Ends all gateways; their last settlements are written.
    pub(crate) async fn shutdown(self) -> Simulator {
        for replica in self.gateways {
            drop(replica.client);
            replica.running.shutdown().await.unwrap();
        }
        self.simulator
    }
}

/// Points a gateway at the Redis of `url`.
pub(crate) fn on_redis(config: &mut Config, url: &str) {
    config.store.redis = Some(RedisConfig::parse(url).unwrap());
    config.store.encryption_keys = vec![KEY.to_owned().into()];
}

/// What the start of a gateway on `url` comes to: nothing, or the sentence it is refused with.
pub(crate) async fn started(url: &str) -> Result<(), String> {
    let simulator = Simulator::start(Scenario::default()).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = settings(&simulator, data.path());
    on_redis(&mut config, url);
    config.store.outage_grace = Duration::from_secs(1);
    match Box::pin(Running::start(config, Drain::new())).await {
        Ok(running) => running.shutdown().await.map_err(|error| format!("{error:#}")),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Whether `condition` came true in time.
pub(crate) async fn until(condition: impl AsyncFn() -> bool) -> bool {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.is_ok()
}

/// Requests in the store's usage counters, over all hours, models and keys.
pub(crate) fn requests_counted(redis: &RedisServer) -> u64 {
    let mut connection = redis.connect();
    let hours: Vec<String> = redis::cmd("KEYS").arg("agp:v1:{main}:usage:*").query(&mut connection).unwrap();
    let rows = hours
        .iter()
        .flat_map(|hour| -> Vec<String> { redis::cmd("HVALS").arg(hour).query(&mut connection).unwrap() });
    rows.map(|row| row.split('|').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Adds the answer's turn to the conversation, with a result for its tool call; false when it calls none.
pub(crate) fn carry_on(body: &mut Value, answer: &Answer, result: &str) -> bool {
    let content = answer.body["content"].as_array().unwrap_or_else(|| panic!("no message: {}", answer.body));
    let Some(call) = content.iter().find(|block| block["type"] == "tool_use") else { return false };
    let result = json!({"type": "tool_result", "tool_use_id": call["id"], "content": result});
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": content}));
    messages.push(json!({"role": "user", "content": [result]}));
    true
}
