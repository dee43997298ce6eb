//! One Redis, one simulator, and homes of gateways that share them.

use serde_json::{Value, json};

use crate::gateway::Home;
use crate::redis_server::{Flavour, RedisServer};
use crate::simulator::Simulator;

/// Another one.
pub(crate) const NEWER_KEY: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
/// 32 bytes in base64; every gateway of a pool has the same.
pub(crate) const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Answers a request of this text within some hundred milliseconds.
pub(crate) const BRISK: &str = "briskly write 12 words";
/// Streams for more than seven seconds.
pub(crate) const SLOW: &str = "slowly write 100 words";
/// Streams for more than fourteen seconds.
pub(crate) const SLOWER: &str = "slowly write 200 words";

/// What replicas share: one server of Redis, or several that belong together.
pub(crate) struct Site<R = RedisServer> {
    pub(crate) redis: R,
    pub(crate) simulator: Simulator,
    url: String,
    settings: Value,
}

impl Site {
    /// With `accounts` accounts in the pool, used in turn. Answers are paced by the simulator, so that the load on
    /// the machine is small and the same everywhere.
    pub(crate) async fn start(accounts: usize) -> Self {
        let redis = RedisServer::with(Flavour::Redis7, &["--appendonly", "yes", "--appendfsync", "always"]);
        let url = redis.url();
        Self::on(redis, url, accounts).await
    }
}

impl<R> Site<R> {
    /// As [`Site::start`], with Redis at `url`.
    pub(crate) async fn on(redis: R, url: String, accounts: usize) -> Self {
        let simulator = Simulator::with_accounts(accounts).await;
        for (text, interval_ms) in [("briskly", 40), ("slowly", 100)] {
            let delivery = json!({"mode": "paced", "interval_ms": interval_ms, "chunk_chars": 8});
            simulator.rule(&json!({"when": {"text": text}, "then": {"delivery": delivery}})).await;
        }
        let settings = json!({"accountSelection": {"strategy": "round-robin"}, "leaseTtlMs": 3000});
        let site = Self { redis, simulator, url, settings };
        // Not through a gateway: the command opens Redis itself.
        let document = site.simulator.accounts.to_string();
        site.home().succeed(&["accounts", "import", "-"], document.as_bytes()).await;
        site
    }

    /// Adds settings to the configuration file of homes made from now on.
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.settings[name] = value;
    }

    /// A home of one more replica.
    pub(crate) fn home(&self) -> Home {
        Home::with(&self.simulator)
            .env("REDIS_URL", &self.url)
            .env("ENCRYPTION_KEYS", ENCRYPTION_KEY)
            .file(&self.settings)
    }

    /// The accounts whose calls the simulator has answered since exchange `after`, and the last exchange.
    pub(crate) async fn callers(&self, after: u64) -> (Vec<String>, u64) {
        let calls = self.simulator.requests("enerateContent").await;
        let id = |call: &Value| call["id"].as_u64().unwrap();
        let last = calls.iter().map(id).max().unwrap_or(after);
        let new = calls.iter().filter(|call| id(call) > after);
        (new.map(|call| call["account"].as_str().unwrap().to_owned()).collect(), last)
    }
}
