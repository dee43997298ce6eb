//! The parts of a gateway, put together from its settings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::feed::{self, LogKeeper};
use super::gateway::AppGateway;
use super::host::Host;
use super::metered::Metered;
use super::presence::Presence;
use super::settings::SharedSettings;
use crate::account::catalogue::Catalogue;
use crate::account::directory::Directory;
use crate::account::lease::Leases;
use crate::account::pool::Pool;
use crate::account::settlement::{SettlementWorker, Settlements};
use crate::account::survey::{Survey, SurveyParts};
use crate::auth::oauth::OAuth;
use crate::auth::tokens::Tokens;
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::cloudcode::{Client, http};
use crate::config::{Config, Loaded};
use crate::dispatch::{Dispatcher, Parts};
use crate::format::ToolCache;
use crate::server::drain::Drain;
use crate::server::gateway::Gateway;
use crate::store::Store;
use crate::store::feed::redis::FeedWriter;
use crate::store::host::ScriptHost;
use crate::store::ident::{OwnerId, ReplicaId};
use crate::store::keys::Keys;
use crate::store::ops::PoolEvent;
use crate::telemetry::metrics::Metrics;

/// Converted tool declarations kept; a client sends the same ones turn after turn.
const TOOL_SETS: usize = 64;
/// How long background tasks, and then the last settlements, may take when the process ends.
const LAST_WORK: Duration = Duration::from_secs(10);

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
        let (mut feed_writer, mut logs) = (None, None);
        if let Some(metrics) = metrics {
            let open = feed::open(config, &keys, &replica, clock, metrics)?;
            store = store.noting(open.feed);
            (feed_writer, logs) = (open.writer, Some(open.logs));
        }
        store.rehearse().await?;
        // An embedded store's directory is locked from here on, so that a new key file is made once.
        let vault = Arc::new(Vault::from_config(&config.store)?);
        let directory = Directory::new(store.clone(), Arc::clone(&vault), clock.clone());
        Ok(Self { host, store, directory, vault, replica, feed_writer, logs })
    }
}

/// A gateway that has its parts but does not run yet.
pub struct Application {
    gateway: Arc<AppGateway>,
    tasks: TaskTracker,
    stop: CancellationToken,
    survey: Survey,
    presence: Presence,
    catalogue: Catalogue,
    leases: Leases,
    tokens: Tokens,
    store: Store,
    settings: SharedSettings,
    lease_ttl: Duration,
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
        let tasks = TaskTracker::new();
        let leases = Leases::default();
        let client = Client::new(&config.upstream, clock.clone()).context("the upstream's client")?;
        let oauth = OAuth::new(http::client(&config.upstream)?, config.oauth.clone());
        let oauth_client = config.oauth.client_id.is_some() && config.oauth.client_secret.is_some();
        let store = opened.store.clone();
        let tokens =
            Tokens::new(oauth, Arc::clone(&opened.vault), store.clone(), clock.clone(), tasks.clone());
        let catalogue = Catalogue::new(store.clone(), clock.clone(), Arc::clone(&metrics));
        let survey = Survey::new(SurveyParts {
            store: store.clone(),
            directory: opened.directory.clone(),
            catalogue: catalogue.clone(),
            client: client.clone(),
            tokens: tokens.clone(),
            clock: clock.clone(),
            owner: OwnerId::new(&uuid::Uuid::now_v7().simple().to_string())?,
        });
        let presence = Presence {
            id: opened.replica,
            store: store.clone(),
            settings: settings.clone(),
            leases: leases.clone(),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            started: clock.instant(),
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
            client,
            catalogue: catalogue.clone(),
            survey: survey.clone(),
            settlements,
            tools: ToolCache::new(TOOL_SETS),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            tasks: tasks.clone(),
        });
        let gateway = Arc::new(AppGateway {
            dispatcher,
            directory: opened.directory,
            host: opened.host,
            keys: store.keys().clone(),
            catalogue: catalogue.clone(),
            survey: survey.clone(),
            presence: presence.clone(),
            metrics,
            settings: settings.clone(),
            started: clock.instant(),
            clock,
            oauth_client,
        });
        Ok(Self {
            gateway,
            tasks,
            stop: CancellationToken::new(),
            survey,
            presence,
            catalogue,
            leases,
            tokens,
            store,
            settings,
            lease_ttl: config.store.lease_ttl,
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
        self.tasks.spawn(self.survey.clone().run(self.stop.clone()));
        self.tasks.spawn(self.presence.clone().run(drain.clone(), self.stop.clone()));
        self.tasks.spawn(self.leases.clone().renew(self.store.clone(), self.lease_ttl, self.stop.clone()));
        self.tasks.spawn(self.settings.clone().follow(self.stop.clone()));
        self.tasks.spawn(follow_events(
            self.store.clone(),
            self.survey.clone(),
            self.catalogue.clone(),
            self.tokens.clone(),
            self.stop.clone(),
        ));
        Ok(Background { settlements, logs, stop_logs, feed, stop_feed })
    }
}

impl Background {
    /// Ends the background work: running tasks finish, then the last settlements are written. A second signal
    /// ends the patience of both.
    pub(super) async fn finish(self, application: Application, drain: &Drain) {
        application.stop.cancel();
        application.tasks.close();
        if !patiently(application.tasks.wait(), drain).await {
            tracing::warn!("background work did not end in time");
        }
        // The queue closes with the last sender.
        drop(application);
        if !patiently(self.settlements.wait(), drain).await {
            tracing::warn!("the last settlements were not written; their leases lapse by themselves");
        }
        // Leaving and settling are noted, too.
        self.stop_logs.cancel();
        patiently(self.logs.wait(), drain).await;
        self.stop_feed.cancel();
        if !patiently(self.feed.wait(), drain).await {
            tracing::warn!("the last events and log records were not written to the feed");
        }
    }
}

/// Whether `work` ended within the time that the end of a process may take.
async fn patiently(work: impl Future<Output = ()>, drain: &Drain) -> bool {
    tokio::select! {
        ended = tokio::time::timeout(LAST_WORK, work) => ended.is_ok(),
        () = drain.was_cut() => false,
    }
}

/// What other processes and commands change becomes known here.
async fn follow_events(
    store: Store,
    survey: Survey,
    catalogue: Catalogue,
    tokens: Tokens,
    stop: CancellationToken,
) {
    use tokio::sync::broadcast::error::RecvError;
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
                    survey.request();
                }
                Some(PoolEvent::Models) => catalogue.forget(),
                Some(PoolEvent::Gap) => missed(&survey, &catalogue),
                Some(
                    PoolEvent::Limit(_) | PoolEvent::Lifted(_) | PoolEvent::Settings | PoolEvent::Replica(_),
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
