//! `GET /v1/models` and `GET /v1/models/{id}`.
//!
//! One shape for three readers (spec `http-api.md` §1.2.3): Anthropic's SDKs (`type`, `display_name`,
//! `created_at`, `has_more`), the reference's users (`object`, `created`, `owned_by`) and Claude Code's
//! discovery (`id`, `display_name`, `description`).

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::anthropic::error::ErrorKind;
use crate::server::error::ApiError;
use crate::server::gateway::ModelEntry;
use crate::server::json;
use crate::server::state::AppState;

/// All models, sorted by id, on one page.
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let mut models = state.gateway.models().await?;
    let aliases = state.gateway.aliases().await?;
    models.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let id = |model: Option<&ModelEntry>| model.map(|model| model.id.clone());
    Ok(json::value(&json!({
        "object": "list",
        "data": models.iter().map(entry).collect::<Vec<_>>(),
        "first_id": id(models.first()),
        "last_id": id(models.last()),
        "has_more": false,
        "aliases": aliases
            .iter()
            .map(|(pattern, model)| json!({ "pattern": pattern, "model": model }))
            .collect::<Vec<_>>(),
    })))
}

/// One model.
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Ok(Path(id)) = id else {
        return Err(ApiError::invalid("The model id in the path is not valid UTF-8"));
    };
    let models = state.gateway.models().await?;
    match models.iter().find(|model| model.id == id) {
        Some(model) => Ok(json::value(&entry(model))),
        None => Err(ApiError::new(ErrorKind::NotFound, format!("Model {id} not found"))),
    }
}

fn entry(model: &ModelEntry) -> Value {
    let created = Timestamp::from_millisecond(model.created_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": created.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "object": "model",
        "created": created.as_second(),
        "owned_by": "anthropic",
        "description": model.description,
    })
}
