//! `/api/requests`: the requests in flight on all replicas, and ending one of them.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::anthropic::error::ErrorKind;
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::requests::{CancelOutcome, LiveRequests};
use crate::server::state::AppState;

/// Seconds until replicas that did not answer have done so, or are known to be gone.
const AGAIN: u64 = 15;

/// The requests that are being answered now, by whichever replica.
///
/// Requests for messages, with nothing of what they say. Every replica is asked at that moment and has two seconds to answer;
/// `complete` tells whether all did.
#[utoipa::path(
    get,
    path = "/api/requests/live",
    operation_id = "listLiveRequests",
    tag = "status",
    responses((status = 200, description = "The requests", body = Answer<LiveRequests>))
)]
pub(crate) async fn live(State(state): State<Arc<AppState>>) -> Result<Answer<LiveRequests>, ApiError> {
    Ok(Answer::new(state.gateway.live_requests().await?))
}

/// A request in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RequestPath {
    /// The `request-id` of its answer, as the list of live requests has it.
    #[param(min_length = 1, max_length = 128, example = "req_0193c1f0a1b27d3c8f4e5a6b7c8d9e0f")]
    id: String,
}

/// A request was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RequestCancelled {
    /// In one sentence.
    message: String,
    /// The id of the replica that answered it.
    replica: String,
}

/// Ends a request, whichever replica answers it.
///
/// Its upstream call is closed at once and no account is blamed. Its client is told by an error of type `permission_error`,
/// which clients do not send again by themselves: status 403, or the event that ends its stream.
#[utoipa::path(
    post,
    path = "/api/requests/{id}/cancel",
    operation_id = "cancelRequest",
    tag = "status",
    params(RequestPath),
    responses(
        (status = 200, description = "It is cancelled", body = Answer<RequestCancelled>),
        (status = 404, description = "No replica has it"),
        (status = 409, description = "It has ended, or was cancelled before"),
        (status = 503, description = "No replica that answered has it, but some did not answer")
    )
)]
pub(crate) async fn cancel(
    State(state): State<Arc<AppState>>,
    path: Result<Path<RequestPath>, PathRejection>,
) -> Result<Answer<RequestCancelled>, ApiError> {
    let Ok(Path(RequestPath { id })) = path else {
        return Err(ApiError::invalid("The request's id in the path is not valid UTF-8"));
    };
    let conflict = |text: String| ApiError::invalid(text).with_status(StatusCode::CONFLICT);
    match state.gateway.cancel_request(&id).await? {
        CancelOutcome::Done { replica } => {
            Ok(Answer::new(RequestCancelled { message: format!("Request {id} cancelled"), replica }))
        }
        CancelOutcome::Before => Err(conflict(format!("Request {id} was cancelled before"))),
        CancelOutcome::Ended => Err(conflict(format!("Request {id} has ended"))),
        CancelOutcome::Unknown => Err(ApiError::new(ErrorKind::NotFound, "No request in flight has this id")),
        CancelOutcome::Unanswered(hosts) => {
            let text = format!("No request in flight has this id, but {} did not answer", hosts.join(", "));
            Err(ApiError::unavailable(text).with_retry_after(AGAIN))
        }
    }
}
