//! Composition root: the only place that names every concrete part.

pub mod gateway;
mod health;
mod lifecycle;
mod metered;
pub mod offline;
mod parts;

use anyhow::Context as _;

use crate::clock::Clock;
use crate::config::Config;
use crate::server::drain::Drain;
use crate::server::listen::{Listeners, Shutdown};
use crate::server::state::AppState;

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
    config: Config,
    ready: impl FnOnce(&Listening) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    let application = Application::open(&config, clock.clone())?;
    let control = config.store.control_socket();
    let listeners = Listeners::bind(&config.server, Some(&control)).await?;
    let address = listeners.local_addr()?;
    let drain = Drain::new();
    lifecycle::obey_signals(drain.clone()).context("signals cannot be received")?;
    let background = application.start().await?;
    let state = AppState::new(application.gateway(), &config.server, clock, drain.clone());
    drain.mark_started();
    if config.server.api_keys.is_empty() && !address.ip().is_loopback() {
        tracing::warn!(%address, "/v1 is open to everybody who reaches this address: set API_KEY");
    }
    let metrics_url = listeners.metrics_addr().map(|metrics| format!("http://{metrics}"));
    ready(&Listening { url: format!("http://{address}"), metrics_url })?;
    listeners.serve(&state, Shutdown::from(&config.server)).await;
    drop(state);
    background.finish(application, &drain).await;
    Ok(())
}
