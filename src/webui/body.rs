//! Bodies of requests to the console's API: JSON, at most 1 MiB.

use axum::extract::Request;
use serde_json::{Map, Value};

use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::server::{is_json, not_json, read_body};

/// Spec `http-api.md` §1.1.
pub(crate) const LIMIT: usize = 1024 * 1024;

/// The body as JSON of any kind.
pub(crate) async fn json(state: &AppState, request: Request) -> Result<Value, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let body = read_body(request, LIMIT, &state.limits, &state.clock).await?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid(format!("The body is not valid JSON: {error}")))
}

/// The body as an object; anything else is refused with `otherwise`.
pub(crate) async fn object(
    state: &AppState,
    request: Request,
    otherwise: &'static str,
) -> Result<Map<String, Value>, ApiError> {
    match json(state, request).await? {
        Value::Object(object) => Ok(object),
        _ => Err(ApiError::invalid(otherwise)),
    }
}
