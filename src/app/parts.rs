//! The parts of a gateway, put together from its settings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::addresses::Addresses;
use super::census::Census;
use super::claude::ClaudeDesk;
use super::feed::{self, LogKeeper};
use super::gateway::AppGateway;
use super::host::Host;
use super::metered::Metered;
use super::presence::{self, Presence};
use super::requests::Requests;
use super::settings::SharedSettings;
use super::signin::Desk;
use crate::account::catalogue::Catalogue;
use crate::account::directory::Directory;
use crate::account::lease::Leases;
use crate::account::pool::Pool;
use crate::account::settlement::{SettlementWorker, Settlements};
use crate::account::survey::{Survey, SurveyParts};
use crate::account::verify::Verifier;
use crate::auth::client_keys::KeyRing;
use crate::auth::console::Console;
use crate::auth::oauth::OAuth;
use crate::auth::rotation::{self, RotationError};
use crate::auth::tokens::Tokens;
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::cloudcode::{Client, Collector, http};
use crate::config::{Config, Loaded};
use crate::dispatch::{Dispatcher, Parts};
use crate::format::ToolCache;
use crate::server::drain::Drain;
use crate::server::gateway::Gateway;
use crate::store::Store;
use crate::store::feed::hub::Hub;
use crate::store::feed::redis::FeedWriter;
use crate::store::host::ScriptHost;
use crate::store::ident::{OwnerId, ReplicaId};
use crate::store::keys::Keys;
use crate::store::ops::PoolEvent;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{self, Traces};
use crate::usage::Usage;

/// Converted tool declarations kept; a client sends the same ones turn after turn.
const TOOL_SETS: usize = 64;
/// How long background tasks, the last settlements and the last traces may take together when the process ends.
const LAST_WORK: Duration = Duration::from_secs(5);
/// How long the last records may take after that. Orchestrators give 10 s beyond the time of streams (the chart does).
const LAST_RECORDS: Duration = Duration::from_secs(3);

/// The store, opened: what both a serving gateway and an offline command need.
pub(super) struct Opened {
    pub(super) host: Host,
    pub(super) store: Store,
    pub(super) directory: Directory,
    pub(super) vault: Arc<Vault>,
    pub(super) replica: ReplicaId,
    pub(super) feed_writer: Option<FeedWriter>,
    /// Brings log records to the feed, in a gateway.
    pub(super) logs: Option<LogKeeper>,
    /// Where events and logs are read, in a gateway.
    pub(super) hub: Option<Hub>,
}

impl Opened {
    /// Opens the store of `config` and the keys to its secrets.
    pub(super) async fn new(
        config: &Config,
        clock: &Clock,
        metrics: Option<&Arc<Metrics>>,
    ) -> anyhow::Result<Self> {
        let keys = Keys::new(&config.store.pool)?;
        let host = Host::open(config, &keys, clock).await?;
        let scripts: Arc<dyn ScriptHost> = match metrics {
            Some(metrics) => Arc::new(Metered::new(host.scripts(), Arc::clone(metrics), clock.clone())),
            None => host.scripts(),
        };
        let replica = ReplicaId::new(&uuid::Uuid::now_v7().simple().to_string())?;
        let mut store = Store::new(scripts, keys.clone(), &config.selection);
        let (mut feed_writer, mut logs, mut hub) = (None, None, None);
        if let Some(metrics) = metrics {
            let open = feed::open(config, &keys, &replica, clock, metrics)?;
            store = store.noting(Arc::clone(&open.feed));
            (feed_writer, logs, hub) = (open.writer, Some(open.logs), Some(Hub::new(open.feed)));
        }
        rotation::refuse_wrong_keys(&config.store, &store).await.map_err(unlocked)?;
        store.rehearse().await?;
        if hub.is_some() {
            host.try_feed(&keys).await?;
        }
        // An embedded store's directory is locked from here on, so that a new key file is made once.
        let vault = Arc::new(rotation::open(&config.store, &store).await.map_err(unlocked)?);
        let directory =
            Directory::new(store.clone(), Arc::clone(&vault), clock.clone()).with_databases(host.is_alone());
        Ok(Self { host, store, directory, vault, replica, feed_writer, logs, hub })
    }
}

/// The store without the keys to its secrets, for what needs none.
pub(super) struct Closed {
    pub(super) store: Store,
    _host: Host,
}

impl Closed {
    /// Opens the store of `config`, whoever's keys it is sealed with.
    pub(super) async fn new(config: &Config, clock: &Clock) -> anyhow::Result<Self> {
        let keys = Keys::new(&config.store.pool)?;
        let host = Host::open(config, &keys, clock).await?;
        let store = Store::new(host.scripts(), keys, &config.selection);
        store.rehearse().await?;
        Ok(Self { store, _host: host })
    }
}

/// The cause itself, by which the exit code is chosen.
pub(super) fn unlocked(error: RotationError) -> anyhow::Error {
    match error {
        RotationError::Vault(error) => error.into(),
        RotationError::Store(error) => error.into(),
        other => other.into(),
    }
}

/// A gateway that has its parts but does not run yet.
pub struct Application {
    gateway: Arc<AppGateway>,
    tasks: TaskTracker,
    stop: CancellationToken,
    client: Client,
    survey: Survey,
    presence: Presence,
    census: Census,
    catalogue: Catalogue,
    leases: Leases,
    tokens: Tokens,
    store: Store,
    settings: SharedSettings,
    key_ring: KeyRing,
    console: Console,
    lease_ttl: Duration,
    traces: Traces,
    workers: Mutex<Option<Workers>>,
}

/// What empties queues until nobody can fill them any more.
struct Workers {
    settlements: SettlementWorker,
    /// A feed within the process needs none.
    feed: Option<FeedWriter>,
    logs: Option<LogKeeper>,
}

/// What runs beside the listeners.
pub(super) struct Background {
    settlements: TaskTracker,
    logs: TaskTracker,
    stop_logs: CancellationToken,
    feed: TaskTracker,
    stop_feed: CancellationToken,
}

impl Application {
    /// Opens the store, reads the shared settings and puts the parts together; nothing runs yet.
    pub async fn open(loaded: Loaded, clock: Clock) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new()?);
        let opened = Opened::new(&loaded.config, &clock, Some(&metrics)).await?;
        let settings = SharedSettings::load(opened.store.clone(), loaded, Arc::clone(&metrics))
            .await
            .context("the store does not answer")?;
        let config = &settings.config();
        let key_ring = KeyRing::new(opened.store.clone(), &config.server.api_keys, clock.clone());
        key_ring.load().await.context("the store does not answer")?;
        let password = config.server.webui_password.as_ref();
        let console = Console::new(opened.store.clone(), Arc::clone(&opened.vault), password, clock.clone());
        console.load().await.context("the store does not answer")?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let desk = Desk::new(&opened, config, clock.clone(), false, tasks.clone(), stop.clone())?;
        let leases = Leases::default();
        let client = Client::paced(&config.upstream, settings.pace(), clock.clone())
            .context("the upstream's client")?;
        let client = client.measured(&metrics);
        let oauth = OAuth::new(http::client(&config.upstream)?, config.oauth.clone());
        let oauth_client = config.oauth.client_id.is_some() && config.oauth.client_secret.is_some();
        let store = opened.store.clone();
        let tokens =
            Tokens::new(oauth, Arc::clone(&opened.vault), store.clone(), clock.clone(), tasks.clone())
                .with_databases(opened.host.is_alone())
                .measured(&metrics);
        let catalogue = Catalogue::new(store.clone(), clock.clone(), Arc::clone(&metrics));
        let survey = Survey::new(SurveyParts {
            store: store.clone(),
            catalogue: catalogue.clone(),
            client: client.clone(),
            tokens: tokens.clone(),
            clock: clock.clone(),
            owner: OwnerId::new(&uuid::Uuid::now_v7().simple().to_string())?,
            interval: settings.quota_refresh(),
            low: settings.quota_low(),
        });
        let verifier = Verifier { store: store.clone(), tokens: tokens.clone(), client: client.clone() };
        let presence = Presence {
            id: opened.replica,
            store: store.clone(),
            vault: Arc::clone(&opened.vault),
            settings: settings.clone(),
            leases: leases.clone(),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            started: clock.instant(),
        };
        let census = Census {
            store: store.clone(),
            catalogue: catalogue.clone(),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            wanted: Arc::default(),
        };
        let (settlements, worker) =
            Settlements::new(store.clone(), leases.clone(), clock.clone(), Arc::clone(&metrics));
        let dispatcher = Dispatcher::new(Parts {
            settings: settings.dispatch(),
            pool: Pool::new(
                store.clone(),
                tokens.clone(),
                config.store.lease_ttl,
                config.store.signature_ttl,
            ),
            client: client.clone(),
            catalogue: catalogue.clone(),
            survey: survey.clone(),
            settlements,
            tools: ToolCache::new(TOOL_SETS),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            tasks: tasks.clone(),
        });
        let requests = Requests::new(
            presence.id.clone(),
            presence::host(),
            store.clone(),
            dispatcher.in_flight().clone(),
            clock.clone(),
        );
        let local = opened.host.is_alone() && config.server.is_loopback();
        // Last: from here on there is a thread.
        let traces = traces(config, presence.id.as_str(), &metrics)?;
        let gateway = Arc::new(AppGateway {
            dispatcher,
            requests,
            directory: opened.directory,
            vault: opened.vault,
            tokens: tokens.clone(),
            host: opened.host,
            store: store.clone(),
            catalogue: catalogue.clone(),
            survey: survey.clone(),
            usage: Usage::new(store.clone(), clock.clone()),
            verifier,
            presence: presence.clone(),
            metrics,
            settings: settings.clone(),
            started: clock.instant(),
            addresses: Addresses::new(store.clone(), clock.clone()),
            clock,
            oauth_client,
            claude: ClaudeDesk::new(&config.claude, local),
            desk,
            traces: traces.clone(),
            hub: opened.hub.context("a gateway has a feed")?,
        });
        Ok(Self {
            gateway,
            tasks,
            stop,
            client,
            survey,
            presence,
            census,
            catalogue,
            leases,
            tokens,
            store,
            settings,
            key_ring,
            console,
            lease_ttl: config.store.lease_ttl,
            traces,
            workers: Mutex::new(Some(Workers {
                settlements: worker,
                feed: opened.feed_writer,
                logs: opened.logs,
            })),
        })
    }

    /// The seam to the HTTP surface.
    #[must_use]
    pub fn gateway(&self) -> Arc<dyn Gateway> {
        Arc::clone(&self.gateway) as _
    }

    /// The settings in force.
    pub(super) fn config(&self) -> Config {
        self.settings.config()
    }

    /// The shared state.
    pub(super) fn store(&self) -> Store {
        self.store.clone()
    }

    /// The client keys.
    pub(super) fn key_ring(&self) -> KeyRing {
        self.key_ring.clone()
    }

    /// The console's door.
    pub(super) fn console(&self) -> Console {
        self.console.clone()
    }

    /// Begins the background work, once the store has answered; it shows others when `drain` begins.
    pub(super) async fn start(&self, drain: &Drain) -> anyhow::Result<Background> {
        self.catalogue.models().await.context("the store does not answer")?;
        let (settlements, logs, feed) = (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());
        let (stop_logs, stop_feed) = (CancellationToken::new(), CancellationToken::new());
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(workers) = workers {
            settlements.spawn(workers.settlements.run());
            if let Some(writer) = workers.feed {
                feed.spawn(writer.run(stop_feed.clone()));
            }
            if let Some(keeper) = workers.logs {
                logs.spawn(keeper.run(stop_logs.clone()));
            }
        }
        settlements.close();
        logs.close();
        feed.close();
        self.tasks.spawn(self.gateway.hub.clone().run(self.stop.clone()));
        self.tasks.spawn(telemetry::sum_up(self.stop.clone()));
        self.tasks.spawn(self.client.clone().tend(self.stop.clone()));
        self.tasks.spawn(self.survey.clone().run(self.stop.clone()));
        self.tasks.spawn(self.tokens.clone().renew_ahead(self.stop.clone()));
        self.tasks.spawn(self.presence.clone().run(drain.clone(), self.stop.clone()));
        self.tasks.spawn(self.census.clone().run(self.stop.clone()));
        self.tasks.spawn(self.leases.clone().renew(self.store.clone(), self.lease_ttl, self.stop.clone()));
        self.tasks.spawn(self.settings.clone().follow(self.stop.clone()));
        self.tasks.spawn(self.key_ring.clone().follow(self.stop.clone()));
        self.tasks.spawn(self.console.clone().follow(self.stop.clone()));
        let hearers = Hearers {
            survey: self.survey.clone(),
            catalogue: self.catalogue.clone(),
            tokens: self.tokens.clone(),
            vault: Arc::clone(&self.gateway.vault),
            census: self.census.clone(),
            requests: self.gateway.requests.clone(),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn(follow_events(self.store.clone(), hearers, self.stop.clone()));
        Ok(Background { settlements, logs, stop_logs, feed, stop_feed })
    }
}

/// The way of traces to a collector, when there is one.
fn traces(config: &Config, instance: &str, metrics: &Arc<Metrics>) -> anyhow::Result<Traces> {
    if config.tracing.endpoint.is_none() {
        return Ok(Traces::off());
    }
    let collector = Collector::new(&config.tracing, &config.upstream).context("the collector's client")?;
    Ok(Traces::start(&config.tracing, collector, instance, metrics)?)
}

impl Background {
    /// Ends the background work: running tasks finish, then the last settlements are written. A second signal
    /// ends the patience of both.
    pub(super) async fn finish(self, application: Application, drain: &Drain, clock: &Clock) {
        let work = clock.instant() + LAST_WORK;
        let traces = application.traces.clone();
        let working = async {
            application.stop.cancel();
            application.tasks.close();
            if patiently(application.tasks.wait(), work, drain).await.is_none() {
                tracing::warn!("background work did not end in time");
            }
            // The queue closes with the last sender.
            drop(application);
            if patiently(self.settlements.wait(), work, drain).await.is_none() {
                tracing::warn!("the last settlements were not written; their leases lapse by themselves");
            }
        };
        // All requests have ended. A collector that does not answer must not use up the time of the store.
        let tracing = async {
            if !patiently(traces.shutdown(LAST_WORK), work, drain).await.unwrap_or_default() {
                tracing::warn!("the last traces did not reach the collector");
            }
        };
        tokio::join!(working, tracing);
        // Leaving and settling are noted, too.
        let records = work + LAST_RECORDS;
        self.stop_logs.cancel();
        patiently(self.logs.wait(), records, drain).await;
        self.stop_feed.cancel();
        if patiently(self.feed.wait(), records, drain).await.is_none() {
            tracing::warn!("the last events and log records were not written to the feed");
        }
    }
}

/// The outcome of `work`, if it ended by `end` and the process may take that time.
async fn patiently<T>(work: impl Future<Output = T>, end: Instant, drain: &Drain) -> Option<T> {
    tokio::select! {
        ended = tokio::time::timeout_at(end, work) => ended.ok(),
        () = drain.was_cut() => None,
    }
}

/// Whom events of the pool concern.
struct Hearers {
    survey: Survey,
    catalogue: Catalogue,
    tokens: Tokens,
    vault: Arc<Vault>,
    census: Census,
    requests: Requests,
    tasks: TaskTracker,
}

/// What other processes and commands change becomes known here.
async fn follow_events(store: Store, hearers: Hearers, stop: CancellationToken) {
    use tokio::sync::broadcast::error::RecvError;
    let Hearers { survey, catalogue, tokens, vault, census, requests, tasks } = hearers;
    let channel = store.keys().channel();
    let mut events = store.subscribe();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            Ok(event) => match PoolEvent::parse(&channel, &event) {
                Some(PoolEvent::Account(id)) => {
                    // Removed, or signed in anew.
                    tokens.forget(&id);
                    survey.changed(&id);
                    census.request();
                }
                Some(PoolEvent::Models) => catalogue.forget(),
                Some(PoolEvent::Limit(id)) => {
                    survey.limited(id);
                    census.request();
                }
                Some(PoolEvent::Lifted(_)) => census.request(),
                Some(PoolEvent::Asked(id, question)) => {
                    let requests = requests.clone();
                    tasks.spawn(async move { requests.answer(&id, &question).await });
                }
                Some(PoolEvent::Gap) => {
                    missed(&survey, &catalogue);
                    // The store may be another one, which has to know the keys as well.
                    if let Err(error) = rotation::flush(&vault, &store).await {
                        tracing::warn!(%error, "the store may not know the key that this gateway seals with");
                    }
                }
                Some(
                    PoolEvent::Freed(_)
                    | PoolEvent::Settings
                    | PoolEvent::Clients
                    | PoolEvent::Console
                    | PoolEvent::Replica(_),
                )
                | None => {}
            },
            Err(RecvError::Lagged(_)) => missed(&survey, &catalogue),
            Err(RecvError::Closed) => return,
        }
    }
}

fn missed(survey: &Survey, catalogue: &Catalogue) {
    catalogue.forget();
    survey.request();
}
