//! `POST /api/logs/ticket`: lets a browser open an event stream, for which it can send no headers (spec `http-api.md` §2.2).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use http::HeaderMap;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::server::{door_refusal, session_digest};
use crate::store::audit::Author;

/// A ticket.
#[derive(Serialize, ToSchema)]
#[schema(as = LogTicket)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TicketView {
    /// Good once, as `GET /api/logs/stream?ticket=…` or `GET /api/events?ticket=…`.
    ticket: String,
    /// When it ends, Unix epoch in milliseconds.
    expires_at: i64,
}

/// Makes a ticket for the log stream.
///
/// A browser's event stream can send no headers; the ticket in its address stands for the caller.
#[utoipa::path(
    post,
    path = "/api/logs/ticket",
    operation_id = "createLogTicket",
    tag = "console",
    responses((status = 200, description = "It is good once, for a minute", body = Answer<TicketView>))
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    Extension(author): Extension<Author>,
    headers: HeaderMap,
) -> Result<Answer<TicketView>, ApiError> {
    let session = session_digest(&author.actor, &headers);
    let ticket = state.console.console().ticket(session).await.map_err(|error| door_refusal(&error))?;
    Ok(Answer::new(TicketView {
        ticket: ticket.ticket.expose_secret().to_owned(),
        expires_at: ticket.ends_ms,
    }))
}
