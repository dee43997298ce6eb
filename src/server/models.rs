//! `GET /v1/models` and `GET /v1/models/{id}`.
//!
//! One shape for three readers (spec `http-api.md` §1.2.3): Anthropic's SDKs (`type`, `display_name`,
//! `created_at`, `has_more`), the reference's users (`object`, `created`, `owned_by`) and Claude Code's
//! discovery (`id`, `display_name`, `description`).

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::anthropic::error::ErrorKind;
use crate::server::auth::Caller;
use crate::server::error::ApiError;
use crate::server::gateway::ModelEntry;
use crate::server::json;
use crate::server::query::Params;
use crate::server::state::AppState;

/// Most models of a page that the Models API gives; what is asked beyond is an error there as here.
const LARGEST_PAGE: usize = 1000;

/// What the query asks of the list: models after or before one of them, in the order of the ids.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Models on the page; all of them when missing, as the reference's users expect.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only models behind this one. Not together with `before_id`.
    after_id: Option<String>,
    /// Only models before this one: the last of them. Not together with `after_id`.
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

/// The models that a caller may use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The page, sorted by id.
    data: Vec<Model>,
    /// The first id of the page.
    first_id: Option<String>,
    /// The last id of the page.
    last_id: Option<String>,
    /// Whether there are more in the direction of the paging.
    has_more: bool,
    /// Which model serves an id that fits a pattern, in the order in which patterns are tried.
    aliases: Vec<Alias>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    /// Always `model`.
    #[serde(rename = "type")]
    #[schema(example = "model")]
    kind: &'static str,
    /// What a client writes into `model`.
    id: String,
    /// A name for people.
    display_name: String,
    /// When it was first seen, as in RFC 3339, in UTC.
    #[schema(format = DateTime)]
    created_at: String,
    /// Always `model`.
    #[schema(example = "model")]
    object: &'static str,
    /// When it was first seen, in seconds since the Unix epoch.
    created: i64,
    /// Always `anthropic`.
    #[schema(example = "anthropic")]
    owned_by: &'static str,
    /// One sentence about it.
    description: String,
}

/// A pattern of ids, and what serves them now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelAlias)]
pub(crate) struct Alias {
    /// An id, or one with `*` for anything.
    #[schema(example = "claude-sonnet-*")]
    pattern: String,
    /// The model.
    model: String,
}

impl From<&ModelEntry> for Model {
    fn from(model: &ModelEntry) -> Self {
        let created = Timestamp::from_millisecond(model.created_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            kind: "model",
            id: model.id.clone(),
            display_name: model.display_name.clone(),
            created_at: created.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            object: "model",
            created: created.as_second(),
            owned_by: "anthropic",
            description: model.description.clone(),
        }
    }
}

/// The models that the caller may use.
///
/// Sorted by id; a page of them if the query asks for that, as in Anthropic's Models API. `aliases` is this gateway's
/// own.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "listModels",
    tag = "models",
    params(Paging),
    responses(
        (status = 200, description = "The models", body = ModelList),
        (status = 529, description = "The store does not answer")
    )
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Params(paging): Params<Paging>,
) -> Result<Response, ApiError> {
    let mut models = state.gateway.models(&caller.models).await?;
    models.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let (page, has_more) = paging.page(&models)?;
    let aliases = state.gateway.aliases(&caller.models).await?;
    let id = |model: Option<&ModelEntry>| model.map(|model| model.id.clone());
    let list = ModelList {
        object: "list",
        data: page.iter().map(Model::from).collect(),
        first_id: id(page.first()),
        last_id: id(page.last()),
        has_more,
        aliases: aliases.into_iter().map(|(pattern, model)| Alias { pattern, model }).collect(),
    };
    Ok(json::of(StatusCode::OK, &list))
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    operation_id = "getModel",
    tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "The model", body = Model),
        (status = 404, description = "It is not there, or the caller may not use it"),
        (status = 529, description = "The store does not answer")
    )
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Ok(Path(id)) = id else {
        return Err(ApiError::invalid("The model id in the path is not valid UTF-8"));
    };
    let models = state.gateway.models(&caller.models).await?;
    match models.iter().find(|model| model.id == id) {
        Some(model) => Ok(json::of(StatusCode::OK, &Model::from(model))),
        None => Err(ApiError::new(ErrorKind::NotFound, format!("Model {id} not found"))),
    }
}
