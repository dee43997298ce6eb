//! Composition root: the only place that names every concrete part.

mod accounts;
mod addresses;
mod census;
mod claude;
mod configuration;
mod feed;
pub mod gateway;
mod health;
mod host;
mod lifecycle;
mod limits;
mod metered;
mod migration;
pub mod offline;
mod operations;
mod parts;
mod presence;
mod presets;
mod requests;
mod rotation;
mod selection;
pub mod settings;
mod signin;

use std::sync::Arc;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::auth::console::Console;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::server::drain::Drain;
use crate::server::gateway::Gateway;
use crate::server::listen::{Listeners, Shutdown};
use crate::server::state::AppState;
use crate::store::Store;

pub use parts::Application;

/// Where a gateway listens, with the ports that the system chose.
pub struct Listening {
    /// The model API and the console.
    pub url: String,
    /// Metrics and probes, when they have a listener.
    pub metrics_url: Option<String>,
    /// With it the console's first password may be set from another machine; `None` where there is one, or nobody else
    /// can connect.
    pub setup_token: Option<SecretString>,
}

/// Runs the gateway until SIGTERM or ctrl-c, then drains and returns; before it serves, at once.
///
/// `ready` is called once with the addresses it listens on, after the store has answered.
pub async fn serve(
    loaded: Loaded,
    ready: impl FnOnce(&Listening) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let drain = Drain::new();
    lifecycle::obey_signals(drain.clone()).context("signals cannot be received")?;
    let running = tokio::select! {
        biased;
        started = Running::start(loaded, drain.clone()) => started?,
        () = drain.begun() => return Ok(()),
    };
    ready(running.listening())?;
    running.finished().await
}

/// A token for the first password; without one a gateway runs as well.
async fn setup_token(console: &Console) -> Option<SecretString> {
    console.setup_token().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "there is no setup token");
        None
    })
}

/// A gateway at work: what [`serve`] runs, without the process around it. Several may run in one process, each
/// with a data directory of its own.
pub struct Running {
    listening: Listening,
    store: Store,
    gateway: Arc<dyn Gateway>,
    drain: Drain,
    serving: JoinHandle<()>,
}

impl Running {
    /// Starts a gateway that serves until `drain` begins, with `loaded` and what the store holds of shared settings.
    pub async fn start(loaded: impl Into<Loaded>, drain: Drain) -> anyhow::Result<Self> {
        let clock = Clock::system();
        // Once per process, and large.
        let application = Box::pin(Application::open(loaded.into(), clock.clone())).await?;
        let config = application.config();
        let control = config.store.control_socket();
        let listeners = Listeners::bind(&config.server, Some(&control)).await?;
        let address = listeners.local_addr()?;
        let metrics_url = listeners.metrics_addr().map(|metrics| format!("http://{metrics}"));
        let background = application.start(&drain).await?;
        let (gateway, store, keys) = (application.gateway(), application.store(), application.key_ring());
        let open = keys.keys().is_open();
        let console = application.console();
        // Who reaches it from elsewhere cannot set the first password without a token.
        let remote = !address.ip().is_loopback();
        let setup_token = if remote { setup_token(&console).await } else { None };
        let state =
            AppState::new(Arc::clone(&gateway), keys, console, &config.server, clock.clone(), drain.clone());
        drain.mark_started();
        if open && !address.ip().is_loopback() {
            tracing::warn!(
                %address, "/v1 is open to everybody who reaches this address: run `keys create NAME`, or set API_KEY"
            );
        }
        let (shutdown, switch) = (Shutdown::from(&config.server), drain.clone());
        let serving = TaskTracker::new().spawn(async move {
            listeners.serve(&state, shutdown).await;
            drop(state);
            background.finish(application, &switch, &clock).await;
        });
        let listening = Listening { url: format!("http://{address}"), metrics_url, setup_token };
        Ok(Self { listening, store, gateway, drain, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Its shared state.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The seam behind its HTTP surface.
    #[must_use]
    pub fn gateway(&self) -> &Arc<dyn Gateway> {
        &self.gateway
    }

    /// Waits until the drain has begun and is complete.
    pub async fn finished(self) -> anyhow::Result<()> {
        // The last settlements are written when nobody can send one any more.
        drop(self.gateway);
        self.serving.await.context("the gateway ended early")
    }

    /// Drains and ends it.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        self.drain.begin();
        self.finished().await
    }
}
