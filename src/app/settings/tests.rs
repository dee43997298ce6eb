use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::broadcast;

use super::*;
use crate::clock::Clock;
use crate::config::{Flags, LoadInput};
use crate::server::gateway::SettingView;
use crate::store::embedded::EmbeddedHost;
use crate::store::host::{Call, Event, Reply, ScriptHost};
use crate::store::ident::{AccountId, LeaseId, Source};
use crate::store::keys::Keys;
use crate::store::ops::accounts::PutAccount;
use crate::store::ops::admit::{Admit, Decision, Tier};
use crate::store::registry;

/// Longest time after which a change holds in another gateway.
const PROMISED: Duration = Duration::from_secs(2);

/// One host that any number of gateways share.
struct Bench {
    host: Arc<EmbeddedHost>,
    _data: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let host = EmbeddedHost::open(data.path(), Clock::system(), registry::ALL).unwrap();
        Self { host: Arc::new(host), _data: data }
    }

    fn store(&self, own: &Loaded) -> Store {
        Store::new(Arc::clone(&self.host) as _, Keys::new("main").unwrap(), &own.config.selection)
    }

    async fn gateway(&self, own: Loaded) -> SharedSettings {
        let metrics = Arc::new(Metrics::new().unwrap());
        SharedSettings::load(self.store(&own), own, metrics).await.unwrap()
    }

    /// What another version wrote, past all checks.
    async fn write(&self, name: &str, value: Option<&str>) {
        let puts = BTreeMap::from([((Scope::Gateway, name.to_owned()), value.map(str::to_owned))]);
        self.store(&Config::default().into()).put_settings(None, &puts).await.unwrap();
    }
}

fn with_env(env: &[(&str, &str)]) -> Loaded {
    let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let input =
        LoadInput { env, cwd: "/nowhere".into(), home: Some("/nowhere".into()), flags: Flags::default() };
    Config::load(&input).unwrap()
}

fn change(settings: &Value) -> SettingsChange {
    SettingsChange { generation: None, settings: serde_json::from_value(settings.clone()).unwrap() }
}

async fn make(gateway: &SharedSettings, settings: &Value) -> u64 {
    match gateway.change(&change(settings)).await.unwrap() {
        SettingsChanged::Done { generation, .. } => generation,
        other => panic!("{other:?}"),
    }
}

fn row(gateway: &SharedSettings, key: &str) -> SettingView {
    let view = gateway.view();
    view.rows.into_iter().find(|row| row.key == key).unwrap()
}

fn retries(gateway: &SharedSettings) -> u32 {
    gateway.dispatch().load().dispatch.max_retries
}

/// Polls until `gateway` has `expected` retries; how long that took at most.
async fn until_retries(gateway: &SharedSettings, expected: u32) {
    let wait = async {
        while retries(gateway) != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PROMISED, wait).await.is_ok(), "still {}", retries(gateway));
}

/// A host whose events are lost.
struct Deaf(Arc<EmbeddedHost>, broadcast::Sender<Event>);

impl ScriptHost for Deaf {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        self.0.eval(batch)
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.1.subscribe()
    }
}

#[tokio::test]
async fn a_change_reaches_the_others_by_its_event_or_without_one() {
    let bench = Bench::new();
    let (here, there) =
        (bench.gateway(Config::default().into()).await, bench.gateway(Config::default().into()).await);
    let deaf = Arc::new(Deaf(Arc::clone(&bench.host), broadcast::channel(1).0));
    let store = Store::new(deaf, Keys::new("main").unwrap(), &Config::default().selection);
    let deaf = SharedSettings::load(store, Config::default().into(), Arc::new(Metrics::new().unwrap()));
    let deaf = deaf.await.unwrap();
    let stop = CancellationToken::new();
    let following = tokio::task::LocalSet::new();
    following.spawn_local(there.clone().follow(stop.clone()));
    following.spawn_local(deaf.clone().follow(stop.clone()));
    following
        .run_until(async {
            for wanted in [7, 8] {
                make(&here, &json!({ "maxRetries": wanted })).await;
                assert_eq!(retries(&here), wanted, "in force where it was made when the answer is there");
                until_retries(&there, wanted).await;
                until_retries(&deaf, wanted).await;
            }
            make(&here, &json!({ "maxRetries": null })).await;
            until_retries(&there, 5).await;
            stop.cancel();
        })
        .await;
    following.await;
}

#[tokio::test]
async fn a_change_for_scripts_holds_with_the_next_admission_anywhere() {
    let bench = Bench::new();
    let here = bench.gateway(Config::default().into()).await;
    let own = with_env(&[]);
    let there = bench.store(&own);
    let id = AccountId::new("a").unwrap();
    let account = PutAccount::new(&id, "a@example.com", Source::OAuth, "sealed", "s");
    there.put_account(&account).await.unwrap();
    let tier = async |store: &Store, lease: &str| {
        let lease = LeaseId::new(lease).unwrap();
        let admit = Admit {
            lease: &lease,
            lease_ttl: Duration::from_secs(30),
            model: "m",
            tried: &[],
            known: &[],
            probe_after: None,
            conversation: None,
        };
        match store.admit(&admit).await.unwrap().decision {
            Decision::Granted(grant) => grant.tier,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(tier(&there, "l1").await, Tier::Normal);
    make(&here, &json!({ "accountSelection.healthScore.minUsable": 90 })).await;
    assert_ne!(tier(&there, "l2").await, Tier::Normal, "a new account has 70");
    assert_eq!(row(&here, "accountSelection.healthScore.minUsable").value, json!(90));
    make(&here, &json!({ "accountSelection.healthScore.minUsable": null })).await;
    assert_eq!(tier(&there, "l3").await, Tier::Normal);
}

#[tokio::test]
async fn the_environment_beats_the_store() {
    let bench = Bench::new();
    let here = bench.gateway(with_env(&[("FALLBACK", "true")])).await;
    make(&here, &json!({ "fallbackEnabled": false, "maxRetries": 9 })).await;
    assert!(here.dispatch().load().dispatch.fallback);
    let shown = row(&here, "fallbackEnabled");
    assert_eq!((shown.value, shown.stored), (json!(true), Some(json!(false))));
    assert_eq!(shown.origin, "environment variable FALLBACK");
    let other = bench.gateway(with_env(&[])).await;
    assert!(!other.dispatch().load().dispatch.fallback);
    assert_eq!((retries(&other), row(&other, "maxRetries").origin), (9, "shared store".to_owned()));
}

#[tokio::test]
async fn unusable_values_leave_the_last_usable_ones_in_force() {
    let bench = Bench::new();
    let gateway = bench.gateway(with_env(&[])).await;
    make(&gateway, &json!({ "maxRetries": 7 })).await;
    bench.write("retryBaseMs", Some("\"soon\"")).await;
    bench.write("maxRetries", Some("8")).await;
    gateway.refresh().await.unwrap();
    assert_eq!(retries(&gateway), 7);
    assert_eq!(gateway.inner.metrics.shared_settings_rejected.get(), 1);
    let view = gateway.view();
    assert!(view.rejected.as_ref().unwrap().contains("retryBaseMs (shared store)"), "{view:?}");
    assert_eq!(view.generation, 3);
    // A gateway that starts now has nothing better than its own.
    let fresh = bench.gateway(with_env(&[])).await;
    assert_eq!((retries(&fresh), fresh.inner.metrics.shared_settings_rejected.get()), (5, 1));
    // No further change is let through that does not mend it.
    let refused = gateway.change(&change(&json!({ "maxRetries": 9 }))).await.unwrap();
    assert!(
        matches!(&refused, SettingsChanged::Invalid(problems) if problems[0].key == "retryBaseMs"),
        "{refused:?}"
    );
    make(&fresh, &json!({ "retryBaseMs": null })).await;
    gateway.refresh().await.unwrap();
    for gateway in [&gateway, &fresh] {
        assert_eq!((retries(gateway), gateway.inner.metrics.shared_settings_rejected.get()), (8, 0));
        assert_eq!(gateway.view().rejected, None);
    }
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_shown_left_alone_and_can_be_taken_out() {
    let bench = Bench::new();
    bench.write("fromTheFuture", Some("{\"x\":1}")).await;
    bench.write("apiKey", Some("\"hidden-value\"")).await;
    let gateway = bench.gateway(with_env(&[])).await;
    make(&gateway, &json!({ "maxRetries": 6 })).await;
    let unknown = row(&gateway, "fromTheFuture");
    assert_eq!((unknown.shared, unknown.stored), ("unknown", Some(json!({ "x": 1 }))));
    assert!(!json!(gateway.view()).to_string().contains("hidden-value"));
    make(&gateway, &json!({ "fromTheFuture": null, "apiKey": null })).await;
    assert!(gateway.view().rows.iter().all(|row| row.key != "fromTheFuture"));
    let stored = bench.store(&with_env(&[])).get_settings(None).await.unwrap().unwrap();
    assert_eq!(stored.values.len(), 1, "{stored:?}");
    // There is nothing left to take out.
    let refused = gateway.change(&change(&json!({ "fromTheFuture": null }))).await.unwrap();
    assert!(matches!(refused, SettingsChanged::Invalid(_)));
}

#[tokio::test]
async fn of_two_who_read_the_same_generation_one_is_told_of_the_other() {
    let bench = Bench::new();
    let (here, there) = (bench.gateway(with_env(&[])).await, bench.gateway(with_env(&[])).await);
    let at = |generation, value: u32| SettingsChange {
        generation: Some(generation),
        ..change(&json!({ "maxRetries": value }))
    };
    assert!(matches!(here.change(&at(0, 6)).await.unwrap(), SettingsChanged::Done { generation: 1, .. }));
    match there.change(&at(0, 7)).await.unwrap() {
        SettingsChanged::Conflict(view) => {
            assert_eq!(view.generation, 1);
            assert_eq!(row(&there, "maxRetries").stored, Some(json!(6)), "the current ones come with it");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(there.change(&at(1, 7)).await.unwrap(), SettingsChanged::Done { .. }));
    // Without a generation nobody's change is lost.
    let (one, two) = (change(&json!({ "retryBaseMs": 300 })), change(&json!({ "retryMaxMs": 4000 })));
    let made = tokio::join!(here.change(&one), there.change(&two));
    assert!(matches!(made, (Ok(SettingsChanged::Done { .. }), Ok(SettingsChanged::Done { .. }))), "{made:?}");
    here.refresh().await.unwrap();
    let settings = here.dispatch().load_full();
    let pauses = (settings.dispatch.retry_base, settings.dispatch.retry_max);
    assert_eq!(pauses, (Duration::from_millis(300), Duration::from_secs(4)));
}

/// A host on which somebody else changes settings before each of the first `rivals` changes.
struct Rivalled(Arc<EmbeddedHost>, AtomicUsize);

impl ScriptHost for Rivalled {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        Box::pin(async move {
            let put = batch.iter().any(|call| call.script.name == "put_settings");
            let rivals =
                put && self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            if rivals {
                let store = Store::new(
                    Arc::clone(&self.0) as _,
                    Keys::new("main").unwrap(),
                    &Config::default().selection,
                );
                store.put_settings(None, &BTreeMap::new()).await?;
            }
            self.0.eval(batch).await
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}

#[tokio::test]
async fn a_change_without_a_generation_is_made_anew_when_another_came_first() {
    let bench = Bench::new();
    for (rivals, made) in [(0, true), (1, true), (CHANGE_TRIES - 1, true), (CHANGE_TRIES, false)] {
        let host = Arc::new(Rivalled(Arc::clone(&bench.host), AtomicUsize::new(rivals)));
        let store = Store::new(host, Keys::new("main").unwrap(), &Config::default().selection);
        let gateway = SharedSettings::load(store, with_env(&[]), Arc::new(Metrics::new().unwrap()));
        let gateway = gateway.await.unwrap();
        let outcome = gateway.change(&change(&json!({ "maxRetries": 6 }))).await.unwrap();
        assert_eq!(matches!(outcome, SettingsChanged::Done { .. }), made, "{rivals}: {outcome:?}");
    }
}

#[tokio::test]
async fn everything_wrong_with_a_change_is_said_and_nothing_is_made() {
    let bench = Bench::new();
    let gateway = bench.gateway(with_env(&[])).await;
    let wrong = json!({
        "maxRetrys": 3, "port": 1, "apiKey": "hidden-value", "maxRetries": 99, "retryBaseMs": 9000, "retryMaxMs": 8000,
        "maxAccounts": 3,
    });
    let SettingsChanged::Invalid(problems) = gateway.change(&change(&wrong)).await.unwrap() else {
        panic!("it was made");
    };
    let said = |key: &str, part: &str| {
        assert!(
            problems.iter().any(|one| one.key == key && one.reason.contains(part)),
            "{key}: {problems:?}"
        );
    };
    said("maxRetrys", "did you mean `maxRetries`?");
    said("port", "never shared; set it where the gateway runs, in the file or PORT");
    said("apiKey", "API_KEY");
    said("maxRetries", "from 1 to 20");
    said("retryBaseMs", "must not exceed");
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(problems.iter().all(|problem| !problem.reason.contains("hidden-value")));
    assert_eq!(gateway.view().generation, 0);
    assert!(bench.store(&with_env(&[])).get_settings(None).await.unwrap().unwrap().values.is_empty());
}

#[tokio::test]
async fn what_needs_a_restart_waits_for_it_and_says_so() {
    let bench = Bench::new();
    let gateway = bench.gateway(with_env(&[])).await;
    make(&gateway, &json!({ "leaseTtlMs": 9000, "upstream.clientName": "other", "maxRetries": 6 })).await;
    let shown = row(&gateway, "leaseTtlMs");
    assert_eq!((shown.value, shown.stored, shown.pending), (json!(30_000), Some(json!(9000)), true));
    assert_eq!(shown.shared, "restart");
    assert!(!row(&gateway, "maxRetries").pending);
    // Sent in two places, which must not differ.
    assert_eq!(gateway.dispatch().load().conversion.user_agent_field, "antigravity");
    let next = bench.gateway(with_env(&[])).await;
    assert_eq!(next.config().store.lease_ttl, Duration::from_secs(9));
    assert_eq!(next.config().upstream.client_name, "other");
    assert_eq!((row(&next, "leaseTtlMs").pending, row(&next, "leaseTtlMs").value), (false, json!(9000)));
    // Back again before the restart: nothing is left to wait for. The other one waits for its own.
    make(&gateway, &json!({ "leaseTtlMs": null })).await;
    assert!(!row(&gateway, "leaseTtlMs").pending && row(&gateway, "upstream.clientName").pending);
    next.refresh().await.unwrap();
    assert!(row(&next, "leaseTtlMs").pending);
    assert_eq!(next.config().store.lease_ttl, Duration::from_secs(9));
}

#[tokio::test]
async fn how_often_quotas_are_fetched_is_followed() {
    let bench = Bench::new();
    let gateway = bench.gateway(Config::default().into()).await;
    let mut every = gateway.quota_refresh();
    assert_eq!(*every.borrow_and_update(), Duration::from_mins(5));
    make(&gateway, &json!({ "maxRetries": 7 })).await;
    assert!(!every.has_changed().unwrap());
    make(&gateway, &json!({ "accountSelection.quota.refreshIntervalMs": 60_000 })).await;
    assert_eq!(*every.borrow_and_update(), Duration::from_mins(1));
}

#[tokio::test]
async fn a_store_that_was_emptied_gives_the_own_settings_back() {
    let bench = Bench::new();
    let gateway = bench.gateway(with_env(&[])).await;
    make(&gateway, &json!({ "maxRetries": 6 })).await;
    let (elsewhere, own) = (Bench::new(), with_env(&[]));
    // The same generation, but of another store: only a whole look can tell.
    elsewhere.write("maxRetries", Some("7")).await;
    let inner = Inner {
        store: elsewhere.store(&own),
        own: own.clone(),
        at_start: SharedValues::new(),
        current: ArcSwap::new(gateway.inner.current.load_full()),
        outlets: gateway.inner.outlets.clone(),
        metrics: Arc::clone(&gateway.inner.metrics),
        looking: Mutex::default(),
        changing: Mutex::default(),
    };
    let moved = SharedSettings { inner: Arc::new(inner) };
    moved.look(false).await.unwrap();
    assert_eq!(retries(&moved), 6);
    moved.look(true).await.unwrap();
    assert_eq!(retries(&moved), 7);
    let empty = Bench::new();
    let inner = Inner {
        store: empty.store(&own),
        own,
        at_start: SharedValues::new(),
        current: ArcSwap::new(moved.inner.current.load_full()),
        outlets: moved.inner.outlets.clone(),
        metrics: Arc::clone(&moved.inner.metrics),
        looking: Mutex::default(),
        changing: Mutex::default(),
    };
    let moved = SharedSettings { inner: Arc::new(inner) };
    moved.look(false).await.unwrap();
    assert_eq!(retries(&moved), 5);
}

/// A host behind which another store may take the place of the first, with a network that fails.
struct Replaced {
    stores: [Arc<EmbeddedHost>; 2],
    second: AtomicBool,
    /// Looks that still fail.
    failing: AtomicUsize,
    events: broadcast::Sender<Event>,
}

impl ScriptHost for Replaced {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        Box::pin(async move {
            let fails = |left: usize| left.checked_sub(1);
            if self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
                return Err(StoreError::Unavailable { reason: "test".into() });
            }
            self.stores[usize::from(self.second.load(Ordering::SeqCst))].eval(batch).await
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

#[tokio::test]
async fn another_store_of_the_same_generation_is_read_even_when_the_first_look_at_it_fails() {
    let benches = [Bench::new(), Bench::new()];
    for (bench, wanted) in benches.iter().zip([7, 8]) {
        make(&bench.gateway(with_env(&[])).await, &json!({ "maxRetries": wanted })).await;
    }
    let host = Arc::new(Replaced {
        stores: [Arc::clone(&benches[0].host), Arc::clone(&benches[1].host)],
        second: AtomicBool::new(false),
        failing: AtomicUsize::new(0),
        events: broadcast::channel(8).0,
    });
    let store = Store::new(Arc::clone(&host) as _, Keys::new("main").unwrap(), &Config::default().selection);
    let gateway =
        SharedSettings::load(store, with_env(&[]), Arc::new(Metrics::new().unwrap())).await.unwrap();
    assert_eq!((retries(&gateway), gateway.generation()), (7, Version(1)));
    let stop = CancellationToken::new();
    let changing = async {
        // Its first look.
        tokio::task::yield_now().await;
        host.second.store(true, Ordering::SeqCst);
        host.failing.store(1, Ordering::SeqCst);
        host.events.send(Event::Gap).unwrap();
        let failed = async {
            while host.failing.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PROMISED, failed).await.unwrap();
        until_retries(&gateway, 8).await;
        stop.cancel();
    };
    tokio::join!(gateway.clone().follow(stop.clone()), changing);
}
