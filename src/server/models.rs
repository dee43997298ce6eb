//! `GET /v1/models` and `GET /v1/models/{id}`.
//!
//! One shape for three readers (spec `http-api.md` §1.2.3): Anthropic's SDKs (`type`, `display_name`,
//! `created_at`, `has_more`), the reference's users (`object`, `created`, `owned_by`) and Claude Code's
//! discovery (`id`, `display_name`, `description`).

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::anthropic::error::ErrorKind;
use crate::server::error::ApiError;
use crate::server::gateway::ModelEntry;
use crate::server::json;
use crate::server::state::AppState;

/// Most models of a page that the Models API gives; what is asked beyond is an error there as here.
const LARGEST_PAGE: usize = 1000;

/// What the query asks of the list: models after or before one of them, in the order of the ids.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    /// Models on the page; all of them when missing, as the reference's users expect.
    limit: Option<usize>,
    after_id: Option<String>,
    before_id: Option<String>,
}

impl Paging {
    /// The part of the sorted `models` that is asked for, and whether there are more in the direction of the paging.
    /// An id that is gone by now still tells where to go on.
    fn page<'a>(&self, models: &'a [ModelEntry]) -> Result<(&'a [ModelEntry], bool), ApiError> {
        let limit = self.limit.unwrap_or(LARGEST_PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            return Err(ApiError::invalid(format!("limit: must be from 1 to {LARGEST_PAGE}, not {limit}")));
        }
        match (&self.after_id, &self.before_id) {
            (Some(_), Some(_)) => Err(ApiError::invalid("after_id: cannot be given together with before_id")),
            (None, Some(before)) => {
                let found = &models[..models.partition_point(|model| model.id < *before)];
                Ok((&found[found.len().saturating_sub(limit)..], found.len() > limit))
            }
            (after, None) => {
                let start = models.partition_point(|model| Some(&model.id) <= after.as_ref());
                let found = &models[start..];
                Ok((&found[..limit.min(found.len())], found.len() > limit))
            }
        }
    }
}

/// The models, sorted by id, a page of them if the query asks for that (Models API, "List Models").
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(paging) = paging.map_err(|refused| ApiError::invalid(refused.body_text()))?;
    let mut models = state.gateway.models().await?;
    models.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let (page, has_more) = paging.page(&models)?;
    let aliases = state.gateway.aliases().await?;
    let id = |model: Option<&ModelEntry>| model.map(|model| model.id.clone());
    Ok(json::value(&json!({
        "object": "list",
        "data": page.iter().map(entry).collect::<Vec<_>>(),
        "first_id": id(page.first()),
        "last_id": id(page.last()),
        "has_more": has_more,
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
