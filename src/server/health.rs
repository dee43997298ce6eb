//! `/health` for people and monitors, the probes for an orchestrator, `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::server::access::Entitled;
use crate::server::answer::Fine;
use crate::server::error::ApiError;
use crate::server::gateway::HealthReport;
use crate::server::json;
use crate::server::query::{self, Params};
use crate::server::state::AppState;

/// What may be asked of `/health`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wish {
    /// `true`: fetch the quotas anew and wait for that, at most 30 s. Strangers are not obeyed.
    #[serde(default, deserialize_with = "query::wanted")]
    #[param(value_type = Option<String>, example = "true")]
    refresh: bool,
}

/// How the pool fares.
///
/// Strangers see no accounts where no password is set. Not for orchestrators: `/livez` and `/readyz` are.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "getHealth",
    tag = "status",
    params(Wish),
    responses((status = 200, description = "The report", body = HealthReport))
)]
pub(crate) async fn health(
    State(state): State<Arc<AppState>>,
    Extension(Entitled(entitled)): Extension<Entitled>,
    Params(wish): Params<Wish>,
) -> Result<Response, ApiError> {
    // A stranger cannot make this server ask the upstream.
    let report = state.gateway.health(entitled && wish.refresh).await?;
    let report = if entitled { report } else { report.redacted() };
    Ok(json::of(StatusCode::OK, &report))
}

/// The answer of a probe.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Probe {
    /// `ok` or `error`.
    #[schema(example = "ok")]
    status: &'static str,
    /// What was looked at, and whether it is well.
    #[schema(example = json!({ "started": true, "accepting": true }))]
    checks: BTreeMap<&'static str, bool>,
}

/// Whether the process runs.
///
/// Depends on nothing.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "probeLiveness",
    tag = "status",
    responses((status = 200, description = "It does", body = Fine))
)]
pub(crate) async fn livez() -> Fine {
    Fine::default()
}

/// Whether the process takes new requests.
///
/// It has started and is not shutting down. Deliberately blind to the store: an outage would take all replicas out of
/// service at once.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "probeReadiness",
    tag = "status",
    responses(
        (status = 200, description = "It does", body = Probe),
        (status = 503, description = "It does not yet, or not any more", body = Probe)
    )
)]
pub(crate) async fn readyz(State(state): State<Arc<AppState>>) -> Response {
    probe([("started", state.drain.is_started()), ("accepting", !state.drain.is_draining())])
}

/// Whether the process has started.
///
/// Configuration, store and listeners stood once.
#[utoipa::path(
    get,
    path = "/startupz",
    operation_id = "probeStartup",
    tag = "status",
    responses(
        (status = 200, description = "It has", body = Probe),
        (status = 503, description = "Not yet", body = Probe)
    )
)]
pub(crate) async fn startupz(State(state): State<Arc<AppState>>) -> Response {
    probe([("started", state.drain.is_started())])
}

fn probe<const N: usize>(checks: [(&'static str, bool); N]) -> Response {
    let (status, word) = if checks.iter().all(|(_, passed)| *passed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "error")
    };
    json::of(status, &Probe { status: word, checks: checks.into() })
}

/// All metrics in Prometheus text format.
pub(crate) async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    let mut response = state.gateway.metrics().into_response();
    let value = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}
