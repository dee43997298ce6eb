//! Composition root: the only place that names every concrete part.

mod feed;
pub mod gateway;
mod health;
mod host;
mod lifecycle;
mod metered;
pub mod offline;
mod parts;
mod presence;
pub mod settings;

use std::sync::Arc;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

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
}

/// Runs the gateway until SIGTERM or ctrl-c, then drains and returns.
///
/// `ready` is called once with the addresses it listens on, after the store has answered.
pub async fn serve(
    loaded: Loaded,
    ready: impl FnOnce(&Listening) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let drain = Drain::new();
    lifecycle::obey_signals(drain.clone()).context("signals cannot be received")?;
    let running = Running::start(loaded, drain).await?;
    ready(running.listening())?;
    running.finished().await
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
        let application = Application::open(loaded.into(), clock.clone()).await?;
        let config = application.config();
        let control = config.store.control_socket();
        let listeners = Listeners::bind(&config.server, Some(&control)).await?;
        let address = listeners.local_addr()?;
        let metrics_url = listeners.metrics_addr().map(|metrics| format!("http://{metrics}"));
        let background = application.start(&drain).await?;
        let (gateway, store) = (application.gateway(), application.store());
        let state = AppState::new(Arc::clone(&gateway), &config.server, clock, drain.clone());
        drain.mark_started();
        if config.server.api_keys.is_empty() && !address.ip().is_loopback() {
            tracing::warn!(%address, "/v1 is open to everybody who reaches this address: set API_KEY");
        }
        let (shutdown, switch) = (Shutdown::from(&config.server), drain.clone());
        let serving = TaskTracker::new().spawn(async move {
            listeners.serve(&state, shutdown).await;
            drop(state);
            background.finish(application, &switch).await;
        });
        let listening = Listening { url: format!("http://{address}"), metrics_url };
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
