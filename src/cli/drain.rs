//! `drain`: what an orchestrator runs before it ends the gateway (`preStop`).

use std::time::Duration;

use anyhow::Context as _;

use super::backend::Backend;
use super::exit::Exit;
use super::output;

/// Makes the running gateway's `/readyz` fail and returns when its drain delay is over: whoever sends SIGTERM then
/// does not wait a second time.
pub(super) async fn run(backend: &Backend<'_>) -> anyhow::Result<Exit> {
    let answer = backend.drain().await?;
    let delay = answer["drainDelayMs"].as_u64().context("the gateway's answer has no drainDelayMs")?;
    tokio::time::sleep(Duration::from_millis(delay)).await;
    output::line("drained: new connections are refused, open streams go on")?;
    Ok(Exit::Ok)
}
