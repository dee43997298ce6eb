//! A dispatcher over an embedded store and a scripted upstream.
//!
//! Accounts sign in with their own names, so that a call tells whose it is. Round-robin over a fresh pool begins at the
//! second account.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::stream::StreamExt as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use super::upstream::{Asked, Say};
use super::upstream::{Calls, client, seconds, shown};
use crate::account::catalogue::{Catalogue, Model};
use crate::account::lease::Leases;
use crate::account::pool::{AccountId, Pool, Source};
use crate::account::settlement::Settlements;
use crate::account::survey::{Survey, SurveyParts};
use crate::auth::oauth::OAuth;
use crate::auth::tokens::{Tokens, credential_aad};
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::cloudcode::http;
use crate::config::{DispatchConfig, ModelsConfig, OAuthConfig, SelectionConfig, Strategy, UpstreamConfig};
use crate::dispatch::error::DispatchError;
use crate::dispatch::{Dispatcher, Incoming, Parts, Reply, Settings};
use crate::format::{self, ToolCache};
use crate::store::Store;
use crate::store::embedded::EmbeddedHost;
use crate::store::ident::OwnerId;
use crate::store::keys::Keys;
use crate::store::ops::accounts::{PutAccount, SetAccount};
use crate::store::ops::listing::AccountView;
use crate::store::registry;
use crate::telemetry::Observation;
use crate::telemetry::metrics::Metrics;

pub(super) const MODEL: &str = "claude-sonnet-4-6";
pub(super) const FALLBACK: &str = "gemini-3-flash";
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// 2026-11-23T12:00:00Z.
const START_MS: i64 = 1_795_435_200_000;
/// Timers fire on whole milliseconds, never early.
const GRAIN: f64 = 0.02;

/// What a client was told, and when.
pub(super) struct Told {
    /// Seconds since the start.
    pub(super) at: f64,
    /// The text of the answer or stream, as it was sent.
    pub(super) answer: Result<String, DispatchError>,
}

impl Told {
    pub(super) fn status(&self) -> u16 {
        self.answer.as_ref().map_or_else(|error| error.answer().status, |_| 200)
    }

    pub(super) fn retry_after(&self) -> Option<u64> {
        self.answer.as_ref().err()?.answer().retry_after
    }

    pub(super) fn text(&self) -> &str {
        self.answer.as_deref().unwrap_or_else(|error| panic!("{error}"))
    }
}

/// What a test may change before the parts are put together.
pub(super) struct Setup {
    pub(super) settings: Settings,
    pub(super) selection: SelectionConfig,
}

/// A pool, a replica that serves it, and its upstream.
pub(super) struct World {
    pub(super) dispatcher: Dispatcher,
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    begun: Instant,
    calls: Calls,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    /// These accounts before an upstream that answers by `say`.
    pub(super) async fn new(accounts: &[&str], say: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        Self::with(accounts, say, |_| {}).await
    }

    /// As [`Self::new`], with other settings.
    pub(super) async fn with(
        accounts: &[&str],
        say: impl Fn(&Asked) -> Say + Send + Sync + 'static,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let mut setup = Setup { settings: settings(), selection: SelectionConfig::default() };
        setup.selection.base.insert("strategy".into(), "round-robin".into());
        change(&mut setup);
        let clock = Clock::following(START_MS);
        let begun = clock.instant();
        let host = EmbeddedHost::in_memory(clock.clone(), registry::ALL).unwrap();
        let store = Store::new(Arc::new(host), Keys::new("test").unwrap(), &setup.selection);
        let vault = Arc::new(Vault::new(&[KEY.into()]).unwrap());
        for account in accounts {
            add(&store, &vault, account).await;
        }
        let metrics = Arc::new(Metrics::new().unwrap());
        let catalogue = Catalogue::new(store.clone(), clock.clone(), Arc::clone(&metrics));
        catalogue.put([MODEL, FALLBACK].map(model).into()).await.unwrap();
        let calls = Calls::default();
        let client = client(clock.clone(), Arc::clone(&calls), say);
        let tasks = TaskTracker::new();
        let oauth = OAuth::new(http::client(&UpstreamConfig::default()).unwrap(), OAuthConfig::default());
        let tokens = Tokens::new(oauth, vault, store.clone(), clock.clone(), tasks.clone());
        let survey = Survey::new(SurveyParts {
            store: store.clone(),
            catalogue: catalogue.clone(),
            client: client.clone(),
            tokens: tokens.clone(),
            clock: clock.clone(),
            owner: OwnerId::new("survey").unwrap(),
            interval: watch::channel(Duration::from_mins(5)).1,
            low: watch::channel(0.1).1,
        });
        let (leases, stop) = (Leases::default(), CancellationToken::new());
        let ttl = Duration::from_secs(30);
        let (settlements, worker) =
            Settlements::new(store.clone(), leases.clone(), clock.clone(), Arc::clone(&metrics));
        tasks.spawn(worker.run());
        tasks.spawn(leases.renew(store.clone(), ttl, stop.clone()));
        let dispatcher = Dispatcher::new(Parts {
            settings: Arc::new(ArcSwap::from_pointee(setup.settings)),
            pool: Pool::new(store.clone(), tokens, ttl, Duration::from_hours(1)),
            client,
            catalogue,
            survey,
            settlements,
            tools: ToolCache::new(4),
            metrics: Arc::clone(&metrics),
            clock,
            tasks,
        });
        Self { dispatcher, store, metrics, begun, calls, stop }
    }

    /// Sends a request and reads its answer to the end.
    pub(super) async fn ask(&self, stream: bool) -> Told {
        let body = json!({
            "model": MODEL, "max_tokens": 100, "stream": stream,
            "messages": [{"role": "user", "content": "hello"}],
        });
        let request_id = uuid::Uuid::now_v7().simple().to_string();
        let incoming = Incoming {
            body: body.to_string().into(),
            client_key: "k".into(),
            models: Arc::default(),
            session: None,
            request_id: request_id.as_str().into(),
            observation: Observation::default(),
        };
        let reply = self.dispatcher.messages(incoming).await;
        let at = self.now();
        let answer = match reply {
            Ok(Reply::Message(body)) => Ok(String::from_utf8(body.to_vec()).unwrap()),
            Ok(Reply::Stream(frames)) => {
                let frames: Vec<Bytes> = frames.collect().await;
                Ok(String::from_utf8(frames.concat()).unwrap())
            }
            Err(error) => Err(error),
        };
        self.quiet().await;
        Told { at, answer }
    }

    /// Seconds since the start.
    pub(super) fn now(&self) -> f64 {
        seconds(self.begun)
    }

    /// Waits until everything that ended is in the store.
    pub(super) async fn quiet(&self) {
        while self.metrics.settlements_queued.get() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Checks the calls so far: `0 b:D, 60.5-61.5 a:P` are seconds, account and endpoint; a call between two times may
    /// come at any time between them, and `...` at the end stands for any more.
    pub(super) fn called(&self, expected: &str) {
        let calls = self.calls();
        let fits = |(call, expected): (&Asked, &str)| {
            let (time, place) = expected.split_once(' ').unwrap();
            let (from, to) = time.split_once('-').unwrap_or((time, time));
            let (from, to): (f64, f64) = (from.parse().unwrap(), to.parse().unwrap());
            (from..to + GRAIN).contains(&call.at) && place == format!("{}:{}", call.account, call.endpoint)
        };
        let (listed, open) =
            expected.strip_suffix(", ...").map_or((expected, false), |listed| (listed, true));
        let listed: Vec<_> = listed.split(", ").collect();
        let count = if open { calls.len() >= listed.len() } else { calls.len() == listed.len() };
        assert!(count && calls.iter().zip(listed).all(fits), "expected {expected}; called {}", shown(&calls));
    }

    /// The calls so far.
    pub(super) fn calls(&self) -> Vec<Asked> {
        self.calls.lock().unwrap().clone()
    }

    /// What the pool knows of an account.
    pub(super) async fn account(&self, id: &str) -> AccountView {
        let models = [MODEL.to_owned(), FALLBACK.to_owned()];
        let page = self.store.list_accounts(0, 100, &models).await.unwrap();
        page.accounts.into_iter().find(|one| one.id.as_str() == id).unwrap()
    }

    /// Its limit for [`MODEL`]: seconds left, to a tenth, and why; `None` without one.
    pub(super) async fn limit(&self, id: &str) -> Option<(f64, String)> {
        let limits = self.account(id).await.limits;
        let tenths = |left: Duration| (left.as_secs_f64() * 10.0).round() / 10.0;
        limits.into_iter().find(|one| one.model == MODEL).map(|one| (tenths(one.left), one.why))
    }

    /// Nothing was held against these accounts, and nothing is in flight.
    pub(super) async fn untouched(&self, accounts: &[&str]) {
        for id in accounts {
            let one = self.account(id).await;
            assert_eq!((one.failures, one.in_flight), (0, 0), "{id}");
            assert!(one.health >= 70.0, "{id} has health {}", one.health);
            assert!(one.limits.is_empty() && one.cooling.is_zero() && one.invalid.is_none(), "{one:?}");
        }
    }

    /// Switches an account off.
    pub(super) async fn disable(&self, id: &str) {
        let off = SetAccount { enabled: Some(false), ..SetAccount::default() };
        self.store.set_account(&AccountId::new(id).unwrap(), &off).await.unwrap();
    }
}

/// The defaults, without pings: a failure is then always told as one.
fn settings() -> Settings {
    Settings {
        strategy: Strategy::default(),
        dispatch: DispatchConfig::default(),
        models: ModelsConfig::default(),
        conversion: format::Options::default(),
        keepalive: Duration::from_hours(1),
        answer_timeout: Duration::from_hours(1),
        outage_grace: Duration::from_secs(20),
        default_project: "project".into(),
    }
}

fn model(id: &str) -> Model {
    Model { id: id.into(), name: id.into(), seen_ms: START_MS, offered_ms: START_MS }
}

/// An account whose token is its name.
async fn add(store: &Store, vault: &Vault, name: &str) {
    let id = AccountId::new(name).unwrap();
    let sealed = vault.seal(&credential_aad(name), &name.into()).unwrap();
    let email = format!("{name}@example.com");
    let put = PutAccount {
        managed_project: Some("project"),
        ..PutAccount::new(&id, &email, Source::Manual, sealed.as_str(), "session")
    };
    store.put_account(&put).await.unwrap();
}
