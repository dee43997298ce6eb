//! `/api/settings`: the settings in force, and changes of the shared ones.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::server::auth::Peer;
use crate::server::error::ApiError;
use crate::server::gateway::{SettingsChange, SettingsChanged, SettingsView};
use crate::server::state::AppState;
use crate::server::{is_json, json, not_json, read_body};

/// `GET /api/settings`: key, value, origin of each, and the generation. Secrets are not shown.
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    Ok(json::value(&listed(&state.gateway.settings().await?)))
}

/// `PATCH /api/settings` with `{"settings": {"<key>": value or null}, "generation"?: n}`. 409 with the current
/// settings when `generation` is not the current one, 400 with all problems when the result would not be usable.
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let peer = request.extensions().get::<Peer>().copied();
    let body = read_body(request, state.limits.import, &state.limits).await?;
    let change: SettingsChange = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid(format!("The body is no change of settings: {error}")))?;
    let keys: Vec<String> = change.settings.keys().cloned().collect();
    let outcome = state.gateway.change_settings(change).await?;
    if let SettingsChanged::Done(view) = &outcome {
        let generation = view.generation;
        tracing::info!(target: "antigravity_proxy::audit", ?peer, ?keys, generation, "shared settings changed");
    }
    let (status, body) = answered(&outcome, &keys);
    let mut response = json::value(&body);
    *response.status_mut() = status;
    Ok(response.into_response())
}

/// The answer to a listing; the command line prints from the same shape.
pub(crate) fn listed(view: &SettingsView) -> Value {
    let mut body = json!(view);
    body["status"] = json!("ok");
    body
}

/// The answer to a change of `keys`; the command line prints from the same shape.
pub(crate) fn answered(outcome: &SettingsChanged, keys: &[String]) -> (StatusCode, Value) {
    match outcome {
        SettingsChanged::Done(view) => {
            let rows: Vec<_> = view.settings.iter().filter(|row| keys.contains(&row.key)).collect();
            (StatusCode::OK, json!({ "status": "ok", "generation": view.generation, "settings": rows }))
        }
        SettingsChanged::Conflict(view) => {
            let error =
                format!("Somebody else changed the settings; they are at generation {}", view.generation);
            let mut body = json!(view);
            body["status"] = json!("error");
            body["error"] = json!(error);
            (StatusCode::CONFLICT, body)
        }
        SettingsChanged::Invalid(problems) => {
            let sentences: Vec<_> =
                problems.iter().map(|problem| format!("{}: {}", problem.key, problem.reason)).collect();
            let error = format!("Nothing was changed. {}", sentences.join("; "));
            (StatusCode::BAD_REQUEST, json!({ "status": "error", "error": error, "problems": problems }))
        }
    }
}
