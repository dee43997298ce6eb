//! `/health` for people and monitors, the probes for an orchestrator, `/metrics`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use crate::server::access::Entitled;
use crate::server::error::ApiError;
use crate::server::json;
use crate::server::state::AppState;

/// The pool's state; without the accounts for a caller who may not see them (spec `http-api.md` §1.3.1).
pub(crate) async fn health(
    State(state): State<Arc<AppState>>,
    Extension(Entitled(entitled)): Extension<Entitled>,
    uri: Uri,
) -> Result<Response, ApiError> {
    // A stranger cannot make this server ask the upstream.
    let refresh =
        entitled && uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "refresh=true"));
    let mut health = state.gateway.health(refresh).await?;
    if !entitled {
        redact(&mut health);
    }
    Ok(json::value(&health))
}

/// Keeps the documented fields that name nobody.
fn redact(health: &mut Value) {
    if let Value::Object(fields) = health {
        fields.retain(|name, _| {
            matches!(name.as_str(), "status" | "timestamp" | "latencyMs" | "summary" | "counts")
        });
        fields.insert("accounts".to_owned(), json!([]));
        fields.insert("redacted".to_owned(), json!(true));
    }
}

/// The process runs. Depends on nothing.
pub(crate) async fn livez() -> Response {
    json::value(&json!({ "status": "ok" }))
}

/// The process takes new requests: it has started and is not shutting down. Deliberately blind to the
/// store: an outage would take all replicas out of service at once.
pub(crate) async fn readyz(State(state): State<Arc<AppState>>) -> Response {
    probe(&[("started", state.drain.is_started()), ("accepting", !state.drain.is_draining())])
}

/// The process has started: configuration, store and listeners stood once.
pub(crate) async fn startupz(State(state): State<Arc<AppState>>) -> Response {
    probe(&[("started", state.drain.is_started())])
}

fn probe(checks: &[(&str, bool)]) -> Response {
    let ok = checks.iter().all(|(_, passed)| *passed);
    let checks: serde_json::Map<String, Value> =
        checks.iter().map(|(name, passed)| ((*name).to_owned(), json!(passed))).collect();
    let mut response = json::value(&json!({ "status": if ok { "ok" } else { "error" }, "checks": checks }));
    if !ok {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// All metrics in Prometheus text format.
pub(crate) async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    let mut response = state.gateway.metrics().into_response();
    let value = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}
