//! `GET /api/strategy/explain`: why the next request would get the account it would get; `GET /api/strategy/health`: what
//! selection thinks of the accounts.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::anthropic::error::ErrorKind;
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::configuration::StrategyHealth;
use crate::server::gateway::{SelectionQuestion, SelectionView};
use crate::server::query::Params;
use crate::server::state::AppState;
use crate::webui::keys;

/// What may be asked; all of it may be left out.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    /// As a client would name it; without it `defaultModel`.
    #[param(max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$", example = "claude-sonnet-4-6")]
    model: Option<String>,
    /// The session whose account counts, as in `X-Claude-Code-Session-Id`.
    session: Option<String>,
    /// The name or id of the client's key; without it `default` where a key is configured, else `open`.
    client_key: Option<String>,
}

/// A choice of an account, explained.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Explained {
    /// In one sentence.
    summary: String,
    /// In detail.
    selection: SelectionView,
}

/// Why the next request would get the account it would get.
///
/// Changes nothing: the script that admits requests says how it would choose now, and why.
#[utoipa::path(
    get,
    path = "/api/strategy/explain",
    operation_id = "explainStrategy",
    tag = "strategy",
    params(Asked),
    responses(
        (status = 200, description = "The choice", body = Answer<Explained>),
        (status = 404, description = "There is no such client key, or no such model, or no default one"),
        (status = 529, description = "The store does not answer")
    )
)]
pub(crate) async fn explain(
    State(state): State<Arc<AppState>>,
    Params(asked): Params<Asked>,
) -> Result<Answer<Explained>, ApiError> {
    let question = SelectionQuestion {
        model: asked.model.filter(|model| !model.is_empty()),
        session: asked.session.filter(|session| !session.is_empty()),
        client_key: state
            .key_ring
            .scope(asked.client_key.as_deref())
            .await
            .map_err(|error| keys::refusal(&error))?,
    };
    Ok(explained(state.gateway.explain(question).await?))
}

/// The answer; the command line prints from the same shape.
pub(crate) fn explained(selection: SelectionView) -> Answer<Explained> {
    Answer::new(Explained { summary: selection.summary(), selection })
}

/// What selection thinks of the accounts.
///
/// In developer mode only.
#[utoipa::path(
    get,
    path = "/api/strategy/health",
    operation_id = "getStrategyHealth",
    tag = "strategy",
    responses(
        (status = 200, description = "The trackers of hybrid", body = Answer<StrategyHealth>),
        (status = 403, description = "Developer mode is off, or the caller may not do this")
    )
)]
pub(crate) async fn health(State(state): State<Arc<AppState>>) -> Result<Answer<StrategyHealth>, ApiError> {
    if !state.gateway.config_brief().dev_mode {
        return Err(ApiError::new(ErrorKind::Permission, "Developer mode is not enabled"));
    }
    Ok(Answer::new(state.gateway.strategy_health().await?))
}
