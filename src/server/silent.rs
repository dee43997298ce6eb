//! What clients send on their own and nobody needs: answered, never read (spec `http-api.md` §1.3.5).

use std::sync::Arc;

use axum::extract::{Request, State};

use crate::server::answer::Fine;
use crate::server::body;
use crate::server::state::AppState;

/// Takes what a client sends to the root, and forgets it.
#[utoipa::path(
    post,
    path = "/",
    operation_id = "swallowRoot",
    tag = "clients",
    responses((status = 200, description = "Forgotten", body = Fine))
)]
pub(crate) async fn root(state: State<Arc<AppState>>, request: Request) -> Fine {
    swallow(state, request).await
}

/// Takes a client's telemetry, and forgets it.
#[utoipa::path(
    post,
    path = "/api/event_logging/batch",
    operation_id = "swallowEvents",
    tag = "clients",
    responses((status = 200, description = "Forgotten", body = Fine))
)]
pub(crate) async fn events(state: State<Arc<AppState>>, request: Request) -> Fine {
    swallow(state, request).await
}

/// Drains a small body so that the connection stays usable.
async fn swallow(State(state): State<Arc<AppState>>, request: Request) -> Fine {
    body::discard(request.into_body(), state.limits.silent, &state.limits).await;
    Fine::default()
}

/// Tells a client that it has reached a server.
#[utoipa::path(
    get,
    path = "/api/hello",
    operation_id = "sayHello",
    tag = "clients",
    responses((status = 200, description = "It has", body = Fine))
)]
pub(crate) async fn hello() -> Fine {
    Fine::default()
}
