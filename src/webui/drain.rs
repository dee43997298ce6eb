//! `POST /api/drain`: begins the shutdown as SIGTERM does, over the control socket only.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::answer::Answer;
use crate::server::state::AppState;

/// A shutdown that has begun.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Draining {
    /// How long connections are still accepted, in milliseconds.
    drain_delay_ms: u64,
    /// How long streams may take after that, in milliseconds.
    shutdown_grace_ms: u64,
}

/// Begins the shutdown.
///
/// `/readyz` fails from now on. A SIGTERM that follows finds the shutdown under way: it is the first one, so it cuts
/// nothing, and the delay does not begin anew.
#[utoipa::path(
    post,
    path = "/api/drain",
    operation_id = "beginDrain",
    tag = "operations",
    responses((status = 200, description = "It has begun", body = Answer<Draining>))
)]
pub(crate) async fn begin(State(state): State<Arc<AppState>>) -> Answer<Draining> {
    if !state.drain.is_draining() {
        tracing::info!("draining, as asked over the control socket");
    }
    state.drain.begin();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Answer::new(Draining {
        drain_delay_ms: millis(state.shutdown.drain_delay),
        shutdown_grace_ms: millis(state.shutdown.grace),
    })
}
