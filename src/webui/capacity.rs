//! `GET /api/capacity/history`: what was left of the quotas, and until when it lasts.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;

use crate::account::capacity::CapacityHistory;
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::query::Params;
use crate::server::state::AppState;

/// Hours that are kept, and those that are told unasked.
const MOST: u32 = 7 * 24;
const UNASKED: u32 = 24;

/// How much of it.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The last so many hours.
    #[param(minimum = 1, maximum = 168, default = 24)]
    hours: Option<u32>,
}

/// What was left of the quotas.
///
/// For each model every ten minutes the average over the accounts that can be used, from the notes of whichever gateway
/// was first, kept for seven days. `runsOutAt` is when nothing is left at the pace of the last hour; it is absent while
/// quotas do not fall.
#[utoipa::path(
    get,
    path = "/api/capacity/history",
    operation_id = "getCapacityHistory",
    tag = "status",
    params(Asked),
    responses((status = 200, description = "What was left", body = Answer<CapacityHistory>))
)]
pub(crate) async fn history(
    State(state): State<Arc<AppState>>,
    Params(asked): Params<Asked>,
) -> Result<Answer<CapacityHistory>, ApiError> {
    let hours = asked.hours.unwrap_or(UNASKED);
    if !(1..=MOST).contains(&hours) {
        return Err(ApiError::invalid(format!("hours must be from 1 to {MOST}")));
    }
    Ok(Answer::new(state.gateway.capacity_history(hours).await?))
}
