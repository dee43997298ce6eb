//! One behaviour, every host: the same story is told to each and the raw replies must be equal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{RedisConfig, SelectionConfig, Strategy};
use antigravity_proxy::store::Store;
use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::ident::{AccountId, Generation, LeaseId, OwnerId, Source};
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::ops::accounts::{Change, PutAccount, PutOutcome};
use antigravity_proxy::store::ops::admit::{Admission, Admit, Decision, Grant};
use antigravity_proxy::store::ops::listing::AccountView;
use antigravity_proxy::store::ops::settle::{Outcome, Settle, Settlement};
use antigravity_proxy::store::redis::RedisHost;
use antigravity_proxy::store::registry::ALL;
use antigravity_proxy::store::script::Script;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::redis_server::{Flavour, RedisServer};
use crate::server::Redis;

/// The moment most stories start, ms since the epoch.
pub(crate) const T: i64 = 1_800_000_000_000;

/// The model of most stories.
pub(crate) const M: &str = "m";

/// Puts a raw hash field, for states no script reaches directly.
pub(crate) static PUT_FIELD: Script =
    Script::periodic("put_field", "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return 1");

/// Reads a raw hash.
pub(crate) static GET_HASH: Script = Script::periodic("get_hash", "return redis.call('HGETALL', KEYS[1])");

/// Everything a pool keeps can be read through this, key by key.
pub(crate) struct Recorder {
    inner: Arc<dyn ScriptHost>,
    replies: Mutex<Vec<(&'static str, Reply)>>,
}

impl ScriptHost for Recorder {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        Box::pin(async move {
            let scripts: Vec<_> = batch.iter().map(|call| call.script.name).collect();
            let timed =
                batch.iter().all(|call| call.args.last().is_some_and(|now| !now.as_bytes().is_empty()));
            let replies = self.inner.eval(batch).await?;
            if timed {
                self.replies.lock().unwrap().extend(scripts.into_iter().zip(replies.iter().cloned()));
            }
            Ok(replies)
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.subscribe()
    }
}

/// Tells `story` to every host and compares what they answered.
pub(crate) async fn on_every_host(story: impl AsyncFn(Pool)) {
    let mut first: Option<(&str, Vec<(&str, Reply)>)> = None;
    for (name, host) in hosts().await {
        let recorder = Arc::new(Recorder { inner: host, replies: Mutex::default() });
        story(Pool::new(recorder.clone())).await;
        let replies = std::mem::take(&mut *recorder.replies.lock().unwrap());
        match &first {
            None => first = Some((name, replies)),
            Some((other, expected)) => {
                assert_eq!(expected.len(), replies.len(), "{other} and {name}");
                for (step, (expected, got)) in expected.iter().zip(&replies).enumerate() {
                    assert_eq!(expected, got, "step {step}: {other} and {name}");
                }
            }
        }
    }
}

pub(crate) async fn hosts() -> Vec<(&'static str, Arc<dyn ScriptHost>)> {
    let mut hosts: Vec<(&'static str, Arc<dyn ScriptHost>)> =
        vec![("embedded", Arc::new(embedded())), ("plain", Arc::new(Redis::start().await))];
    for flavour in Flavour::ALL {
        if flavour.installed() {
            hosts.push((flavour.name(), Arc::new(Served::start(flavour).await)));
        }
    }
    hosts
}

/// The product's own host on a server of its own.
struct Served {
    host: RedisHost,
    _server: RedisServer,
}

impl Served {
    async fn start(flavour: Flavour) -> Self {
        let server = RedisServer::with(flavour, &["--save", "", "--appendonly", "no"]);
        let channel = Keys::new("test").unwrap().channel();
        let config = RedisConfig::parse(&server.socket_url()).unwrap();
        let host = RedisHost::connect(&config, channel, ALL, Clock::system()).await.unwrap();
        Self { host, _server: server }
    }
}

impl ScriptHost for Served {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        self.host.eval(batch)
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.host.subscribe()
    }
}

/// The embedded store in memory, with the product's scripts and the suite's.
pub(crate) fn embedded() -> EmbeddedHost {
    let scripts: Vec<_> = ALL.iter().copied().chain([&PUT_FIELD, &GET_HASH]).collect();
    EmbeddedHost::in_memory(Clock::system(), &scripts).unwrap()
}

/// A pool on one host, with short words for what stories do.
#[derive(Clone)]
pub(crate) struct Pool {
    pub(crate) host: Arc<dyn ScriptHost>,
    pub(crate) store: Store,
    pub(crate) keys: Keys,
}

/// What an admission of a story asks for besides the usual.
pub(crate) struct Ask {
    pub(crate) model: &'static str,
    pub(crate) tried: Vec<AccountId>,
    pub(crate) known: Vec<(AccountId, Generation)>,
    pub(crate) probe_after: Option<Duration>,
}

/// An account's state as a vector gives it.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) id: &'static str,
    pub(crate) enabled: bool,
    pub(crate) invalid: bool,
    pub(crate) used_ago: Option<i64>,
    pub(crate) health: f64,
    pub(crate) tokens: f64,
    pub(crate) quota: Option<(f64, i64)>,
    pub(crate) threshold: Option<f64>,
    pub(crate) model_threshold: Option<f64>,
    pub(crate) limited: i64,
}

/// Health 70, 50 tokens, quota unknown, never used.
pub(crate) fn fresh(id: &'static str) -> State {
    State {
        id,
        enabled: true,
        invalid: false,
        used_ago: None,
        health: 70.0,
        tokens: 50.0,
        quota: None,
        threshold: None,
        model_threshold: None,
        limited: 0,
    }
}

/// As [`fresh`], used so long ago.
pub(crate) fn used(id: &'static str, ago: i64) -> State {
    State { used_ago: Some(ago), ..fresh(id) }
}

pub(crate) fn id(text: &str) -> AccountId {
    AccountId::new(text).unwrap()
}

pub(crate) fn lease(text: &str) -> LeaseId {
    LeaseId::new(text).unwrap()
}

pub(crate) fn owner(text: &str) -> OwnerId {
    OwnerId::new(text).unwrap()
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The reference's settings: its throttle is on.
pub(crate) fn reference(strategy: Strategy, more: &[(&str, &str)]) -> SelectionConfig {
    let mut base: BTreeMap<_, _> =
        more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    base.insert("throttle.emergencyMs".into(), "250".into());
    base.insert("throttle.lastResortMs".into(), "500".into());
    SelectionConfig { strategy, base, ..SelectionConfig::default() }
}

impl Pool {
    pub(crate) fn new(host: Arc<dyn ScriptHost>) -> Self {
        let keys = Keys::new("test").unwrap();
        let store = Store::new(host.clone(), keys.clone(), &reference(Strategy::Hybrid, &[]));
        Self { host, store, keys }
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.keys.prefix())
    }

    pub(crate) fn with(&self, selection: &SelectionConfig) -> Self {
        Self { store: self.store.with_selection(selection), ..self.clone() }
    }

    /// Adds an account of that id, address `<id>@example.com`.
    pub(crate) async fn add(&self, name: &str, at: i64) -> PutOutcome {
        self.store.at(at).put_account(&new_account(&id(name), &format!("{name}@example.com"))).await.unwrap()
    }

    pub(crate) async fn add_all(&self, names: &[&str]) {
        for name in names {
            assert!(matches!(self.add(name, T).await, PutOutcome::Added { .. }), "{name}");
        }
    }

    /// Adds the accounts and puts them into their states as of `T`.
    pub(crate) async fn arrange(&self, states: &[State]) {
        for (index, state) in states.iter().enumerate() {
            self.add_all(&[state.id]).await;
            let quota_at = state.quota.map_or(0, |(_, age)| T - age);
            let hot = format!(
                "1|{}|{}{}|0|0|{}|{}|{T}|{}|{T}|{}|{}|{quota_at}|1|0|0",
                index + 1,
                u8::from(state.enabled),
                if state.invalid { 'r' } else { 'o' },
                state.used_ago.map_or(0, |ago| T - ago),
                state.health,
                state.tokens,
                state.threshold.map_or_else(String::new, |t| t.to_string()),
                u8::from(state.quota.is_some()),
            );
            self.put_field("hot", state.id, &hot).await;
            let fraction = state.quota.map_or_else(String::new, |(fraction, _)| fraction.to_string());
            let limit = if state.limited > 0 { T + state.limited } else { 0 };
            let model = format!("1|{limit}|0||0|0|0|{fraction}|{}", u8::from(state.quota.is_some()));
            self.put_field("m:m", state.id, &model).await;
        }
        let thresholds: Vec<_> =
            states.iter().filter_map(|s| Some(format!("{}={}", s.id, s.model_threshold?))).collect();
        if !thresholds.is_empty() {
            self.put_field("th", M, &thresholds.join(" ")).await;
        }
    }

    pub(crate) async fn put_field(&self, key: &str, field: &str, value: &str) {
        let call = Call::new(&PUT_FIELD).key(self.key(key)).arg(field).arg(value);
        self.host.eval(vec![call]).await.unwrap();
    }

    pub(crate) async fn hash(&self, key: &str) -> BTreeMap<String, String> {
        let replies = self.host.eval(vec![Call::new(&GET_HASH).key(self.key(key))]).await.unwrap();
        let items: Vec<_> =
            replies[0].as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect();
        items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    pub(crate) async fn admit(&self, name: &str, at: i64) -> Admission {
        self.admit_with(name, at, |_| {}).await
    }

    pub(crate) async fn admit_with(&self, name: &str, at: i64, change: impl FnOnce(&mut Ask)) -> Admission {
        let mut ask = Ask { model: M, tried: Vec::new(), known: Vec::new(), probe_after: None };
        change(&mut ask);
        let lease = lease(name);
        let admit = Admit {
            lease: &lease,
            lease_ttl: ms(30_000),
            model: ask.model,
            tried: &ask.tried,
            known: &ask.known,
            probe_after: ask.probe_after,
        };
        self.store.at(at).admit(&admit).await.unwrap()
    }

    /// Admits and expects an account.
    pub(crate) async fn grant(&self, name: &str, at: i64) -> Grant {
        granted(self.admit(name, at).await)
    }

    pub(crate) async fn settle(&self, account: &str, name: &str, at: i64, outcome: Outcome) -> Settlement {
        self.settle_with(account, name, at, outcome, |_| {}).await
    }

    pub(crate) async fn settle_with(
        &self,
        account: &str,
        name: &str,
        at: i64,
        outcome: Outcome,
        change: impl FnOnce(&mut Settle<'_>),
    ) -> Settlement {
        let (account, lease) = (id(account), lease(name));
        let mut settle = Settle {
            account: &account,
            lease: &lease,
            credential: antigravity_proxy::store::ident::CredentialVersion(1),
            model: M,
            admitted_at_ms: at,
            outcome,
            received: false,
            usage: None,
        };
        change(&mut settle);
        self.store.at(at).settle(&settle).await.unwrap()
    }

    pub(crate) async fn view(&self, name: &str, at: i64) -> AccountView {
        let page = self.store.at(at).list_accounts(0, 1000, &[M.to_owned()]).await.unwrap();
        page.accounts.into_iter().find(|account| account.id.as_str() == name).unwrap()
    }
}

pub(crate) fn granted(admission: Admission) -> Grant {
    match admission.decision {
        Decision::Granted(grant) => *grant,
        other => panic!("no account: {other:?}"),
    }
}

pub(crate) fn new_account<'a>(id: &'a AccountId, email: &'a str) -> PutAccount<'a> {
    PutAccount {
        id,
        email,
        source: Source::OAuth,
        sealed: "sealed-credential",
        project: Some("proj"),
        managed_project: None,
        session: "sess",
        added_at_ms: None,
        subscription: None,
        database: None,
        enabled: None,
        threshold: Change::Keep,
        model_thresholds: Change::Keep,
    }
}
