//! One behaviour, every host: the same story is told to each and the raw replies must be equal.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{RedisConfig, SelectionConfig, Strategy};
use antigravity_proxy::store::Store;
use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::ident::{AccountId, Generation, LeaseId, OwnerId, Source};
use antigravity_proxy::store::keys::{ConversationKey, Keys};
use antigravity_proxy::store::ops::accounts::{PutAccount, PutOutcome};
use antigravity_proxy::store::ops::admit::{Admission, Admit, Decision, Grant};
use antigravity_proxy::store::ops::listing::AccountView;
use antigravity_proxy::store::ops::settle::{Outcome, Settle, Settlement};
use antigravity_proxy::store::redis::RedisHost;
use antigravity_proxy::store::registry::ALL;
use antigravity_proxy::store::script::Script;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::plain::Plain;
use crate::redis_server::Flavour;
use crate::referee::comparable;
use crate::server::Server;

/// The moment most stories start, ms since the epoch.
pub(crate) const T: i64 = 1_800_000_000_000;

/// The model of most stories.
pub(crate) const M: &str = "m";

/// Puts a raw hash field, for states no script reaches directly.
pub(crate) static PUT_FIELD: Script =
    Script::periodic("put_field", "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return 1");

/// What an eviction or an operator may do to keys.
pub(crate) static UNLINK: Script =
    Script::periodic("unlink", "for i = 1, #KEYS do redis.call('DEL', KEYS[i]) end return 1");

/// Puts a raw string.
pub(crate) static PUT_TEXT: Script =
    Script::periodic("put_text", "redis.call('SET', KEYS[1], ARGV[1]) return 1");

/// Reads a raw hash.
pub(crate) static GET_HASH: Script = Script::periodic("get_hash", "return redis.call('HGETALL', KEYS[1])");

/// Reads how long a key lives on.
pub(crate) static LEFT: Script = Script::periodic("left", "return redis.call('PTTL', KEYS[1])");

/// The product's scripts and the suite's.
pub(crate) static SCRIPTS: LazyLock<Vec<&'static Script>> =
    LazyLock::new(|| ALL.iter().copied().chain([&PUT_FIELD, &GET_HASH, &UNLINK, &PUT_TEXT, &LEFT]).collect());

/// A number that a long run is given by the environment.
#[expect(clippy::disallowed_methods, reason = "long runs are told their seed and size so")]
pub(crate) fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no whole number: {text}")))
}

/// Passes calls on and keeps them with what was answered.
pub(crate) struct Recorder {
    inner: Arc<dyn ScriptHost>,
    told: Mutex<Vec<(Call, Reply)>>,
}

impl Recorder {
    pub(crate) fn new(inner: Arc<dyn ScriptHost>) -> Self {
        Self { inner, told: Mutex::default() }
    }

    /// The calls since the last time, in order.
    pub(crate) fn told(&self) -> Vec<(Call, Reply)> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl ScriptHost for Recorder {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        Box::pin(async move {
            let replies = self.inner.eval(batch.clone()).await?;
            self.told.lock().unwrap().extend(batch.into_iter().zip(replies.iter().cloned()));
            Ok(replies)
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.subscribe()
    }
}

/// A host under test, with the server that it needs.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) scripts: Arc<dyn ScriptHost>,
    pub(crate) server: Option<Server>,
}

/// Makes a host of an empty store.
type MakeHost = Box<dyn Fn() -> Arc<dyn ScriptHost>>;

thread_local! {
    /// Makes the only host of this thread's stories.
    static TELLING: RefCell<Option<MakeHost>> = const { RefCell::new(None) };
}

/// Runs `test`, whose stories are each told to a host from `host` and to no other.
pub(crate) fn telling<H: ScriptHost + 'static>(host: impl Fn() -> Arc<H> + 'static, test: fn()) {
    TELLING.set(Some(Box::new(move || host())));
    test();
    TELLING.take();
}

/// The embedded store, plain `EVAL` on Redis, and the product's own host on a server of each flavour that is
/// installed and on a cluster.
pub(crate) async fn hosts() -> Vec<Host> {
    if let Some(scripts) = TELLING.with_borrow(|host| host.as_ref().map(|host| host())) {
        return vec![Host { name: "told", scripts, server: None }];
    }
    let mut hosts = vec![Host { name: "embedded", scripts: Arc::new(embedded()), server: None }];
    hosts.extend(Server::start(Flavour::Redis7).map(|server| {
        let scripts = Arc::new(Plain::new(&server));
        Host { name: "plain", scripts, server: Some(server) }
    }));
    for server in Server::each().into_iter().chain(Server::cluster()) {
        let scripts = Arc::new(served(&server).await);
        hosts.push(Host { name: server.name, scripts, server: Some(server) });
    }
    hosts
}

/// The product's host on `server`.
pub(crate) async fn served(server: &Server) -> RedisHost {
    let config = RedisConfig::parse(&server.url()).unwrap();
    let channel = Keys::new("test").unwrap().channel();
    RedisHost::connect(&config, channel, ALL, Clock::system()).await.unwrap()
}

/// Tells `story` to every host and compares what they answered to calls with a fixed time.
pub(crate) async fn on_every_host(story: impl AsyncFn(Pool)) {
    let timed = |call: &Call| call.args.last().is_some_and(|now| !now.as_bytes().is_empty());
    let mut first: Option<Vec<(Call, Reply)>> = None;
    for host in hosts().await {
        let recorder = Arc::new(Recorder::new(host.scripts.clone()));
        story(Pool::new(recorder.clone())).await;
        let told: Vec<_> = recorder.told().into_iter().filter(|(call, _)| timed(call)).collect();
        let Some(expected) = &first else {
            first = Some(told);
            continue;
        };
        assert_eq!(expected.len(), told.len(), "{}", host.name);
        for (step, ((call, expected), (_, got))) in expected.iter().zip(&told).enumerate() {
            let (expected, got) = (comparable(call, expected), comparable(call, got));
            assert_eq!(expected, got, "step {step}: embedded and {}: {}", host.name, call.script.name);
        }
    }
}

/// The embedded store in memory.
pub(crate) fn embedded() -> EmbeddedHost {
    EmbeddedHost::in_memory(Clock::system(), &SCRIPTS).unwrap()
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
    /// Empty for none.
    pub(crate) conversation: &'static str,
}

/// The key of a conversation, of one client.
pub(crate) fn conversation(name: &str, model: &str) -> ConversationKey {
    ConversationKey::new("client", name, model)
}

/// A time as records hold it.
#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
pub(crate) fn time(ms: i64) -> f64 {
    ms as f64
}

/// A packed record of layout 2, in that state (`lib/hot.lua`, `lib/limits.lua`).
pub(crate) fn packed(state: u8, fields: &[f64]) -> Vec<u8> {
    std::iter::once(64 + state).chain(fields.iter().flat_map(|field| field.to_le_bytes())).collect()
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
    pub(crate) cooling: i64,
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
        cooling: 0,
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
        let mut models = Vec::new();
        for (index, state) in states.iter().enumerate() {
            // Again: the account is renewed and its state replaced.
            self.add(state.id, T).await;
            let quota_at = state.quota.map_or(0, |(_, age)| T - age);
            let flag = |set| if set { 1.0 } else { 0.0 };
            let own = state.threshold.is_some() || state.model_threshold.is_some();
            let head = u8::from(state.invalid) + u8::from(!state.enabled) * 8 + u8::from(own) * 16;
            let fields = [
                f64::from(u32::try_from(index + 1).unwrap()),
                0.0,
                if state.cooling > 0 { time(T + state.cooling) } else { 0.0 },
                state.health,
                time(T),
                flag(state.quota.is_some()),
                time(quota_at),
                0.0,
                state.used_ago.map_or(0.0, |ago| time(T - ago)),
                state.tokens,
                time(T),
                state.threshold.unwrap_or(-1.0),
                1.0,
                0.0,
                0.0,
            ];
            let hot = packed(head, &fields);
            self.put_field("hot", state.id, &hot).await;
            let limit = if state.limited > 0 { time(T + state.limited) } else { 0.0 };
            let fraction = state.quota.map_or(-1.0, |(fraction, _)| fraction);
            models.push(packed(1, &[limit, fraction, flag(state.quota.is_some()), 0.0, 0.0, 0.0, 0.0]));
        }
        self.put_models(&models).await;
        let thresholds: Vec<_> =
            (1..).zip(states).filter_map(|(n, s)| Some(format!("{n}={}", s.model_threshold?))).collect();
        if !thresholds.is_empty() {
            self.put_field("th", M, thresholds.join(" ").as_bytes()).await;
        }
    }

    /// The records for `M` of the accounts in their order; an empty one says nothing.
    pub(crate) async fn put_models(&self, records: &[Vec<u8>]) {
        // Numbers begin with 1; a page holds 32 of them (`lib/limits.lua`).
        let mut pages = vec![vec![0; 32 * 57]; records.len() / 32 + 1];
        for (index, record) in records.iter().enumerate() {
            let at = (index + 1) % 32 * 57;
            pages[(index + 1) / 32][at..at + record.len()].copy_from_slice(record);
        }
        for (number, page) in pages.iter().enumerate() {
            self.put_field("m:m", &(number * 32).to_string(), page).await;
        }
    }

    pub(crate) async fn put_field(&self, key: &str, field: &str, value: &[u8]) {
        let call = Call::new(&PUT_FIELD).key(self.key(key)).arg(field).arg(value);
        self.host.eval(vec![call]).await.unwrap();
    }

    /// A raw hash field.
    pub(crate) async fn field(&self, key: &str, field: &str) -> Option<Vec<u8>> {
        let replies = self.host.eval(vec![Call::new(&GET_HASH).key(self.key(key))]).await.unwrap();
        let items = replies[0].as_array().unwrap();
        let pair = items.chunks(2).find(|pair| pair[0].as_bytes() == Some(field.as_bytes()))?;
        pair[1].as_bytes().map(<[u8]>::to_vec)
    }

    /// How many ms a key lives on.
    pub(crate) async fn left(&self, key: &str) -> i64 {
        let replies = self.host.eval(vec![Call::new(&LEFT).key(self.key(key))]).await.unwrap();
        replies[0].as_int().unwrap()
    }

    /// Loses a key.
    pub(crate) async fn lose(&self, key: &str) {
        let call = Call::new(&UNLINK).key(self.key(key));
        self.host.eval(vec![call]).await.unwrap();
    }

    /// Lets the conversation have the account.
    pub(crate) async fn remember(&self, talk: &str, model: &str, account: &str) {
        let key = format!("stick:{}", conversation(talk, model).as_str());
        let call = Call::new(&PUT_TEXT).key(self.key(&key)).arg(account);
        self.host.eval(vec![call]).await.unwrap();
    }

    /// What admissions may change.
    pub(crate) async fn state(&self) -> Vec<BTreeMap<String, String>> {
        let mut state = Vec::new();
        for key in ["meta", "hot", "m:m"] {
            state.push(self.hash(key).await);
        }
        state
    }

    pub(crate) async fn hash(&self, key: &str) -> BTreeMap<String, String> {
        let replies = self.host.eval(vec![Call::new(&GET_HASH).key(self.key(key))]).await.unwrap();
        let items: Vec<_> = replies[0]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| String::from_utf8_lossy(item.as_bytes().unwrap()).into_owned())
            .collect();
        items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    pub(crate) async fn admit(&self, name: &str, at: i64) -> Admission {
        self.admit_with(name, at, |_| {}).await
    }

    pub(crate) async fn admit_with(&self, name: &str, at: i64, change: impl FnOnce(&mut Ask)) -> Admission {
        let mut ask =
            Ask { model: M, tried: Vec::new(), known: Vec::new(), probe_after: None, conversation: "" };
        change(&mut ask);
        let (lease, talk) = (lease(name), conversation(ask.conversation, ask.model));
        let admit = Admit {
            lease: &lease,
            lease_ttl: ms(30_000),
            model: ask.model,
            tried: &ask.tried,
            known: &ask.known,
            probe_after: ask.probe_after,
            conversation: (!ask.conversation.is_empty()).then_some(&talk),
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
        project: Some("proj"),
        ..PutAccount::new(id, email, Source::OAuth, "sealed-credential", "sess")
    }
}
