//! `/account-limits`: what is left of the accounts' quotas, as JSON and as text (spec `http-api.md` §1.3.2).

mod table;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use crate::server::error::ApiError;
use crate::server::gateway::limits::AccountLimits;
use crate::server::json;
use crate::server::query::{self, Params};
use crate::server::state::AppState;

/// How to tell.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Wish {
    /// `table` for text; anything else is `json`.
    #[serde(default)]
    format: Option<String>,
    /// `true`: ask the accounts anew and wait for that, at most 5 s; the whole pool does so once in 5 s.
    #[serde(default, deserialize_with = "query::wanted")]
    #[param(value_type = Option<String>, example = "true")]
    refresh: bool,
    /// `true`: tell also how many requests there were by hour, as `GET /api/stats/history` does.
    #[serde(default, deserialize_with = "query::wanted")]
    #[param(value_type = Option<String>, example = "true")]
    include_history: bool,
}

/// What is left of the accounts' quotas.
///
/// Quotas that are older than `quotaSnapshotTtlMs` are fetched anew first, each by one gateway for all of them; accounts that
/// do not answer within 5 s are shown with what is known of them. Disabled and invalid accounts are never asked.
#[utoipa::path(
    get,
    path = "/account-limits",
    operation_id = "getAccountLimits",
    tag = "accounts",
    params(Wish),
    responses(
        (status = 200, description = "The accounts", content(
            (AccountLimits = "application/json"),
            (String = "text/plain"),
        ))
    )
)]
pub(crate) async fn limits(
    State(state): State<Arc<AppState>>,
    Params(wish): Params<Wish>,
) -> Result<Response, ApiError> {
    let mut report = state.gateway.account_limits(wish.refresh).await?;
    if wish.format.as_deref() != Some("table") {
        if wish.include_history {
            report.history = Some(state.gateway.usage_history().await?);
        }
        return Ok(json::of(StatusCode::OK, &report));
    }
    let mut response = table::render(&report, state.clock.epoch_ms()).into_response();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}
