//! What clients send on their own and nobody needs: answered, never read (spec `http-api.md` §1.3.5).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::json;

use crate::server::body;
use crate::server::json;
use crate::server::state::AppState;

/// `POST /` and `POST /api/event_logging/batch`: drains a small body so that the connection stays usable.
pub(crate) async fn swallow(State(state): State<Arc<AppState>>, request: Request) -> Response {
    body::discard(request.into_body(), state.limits.silent, &state.limits).await;
    hello().await
}

/// `GET` and `HEAD /api/hello`: the client's connectivity probe.
pub(crate) async fn hello() -> Response {
    json::value(&json!({ "status": "ok" }))
}
