//! `POST /v1/messages` and `POST /v1/messages/count_tokens`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, StatusCode, request};
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::auth::Caller;
use crate::server::body;
use crate::server::error::ApiError;
use crate::server::gateway::{Incoming, MessagesReply, RequestId};
use crate::server::json;
use crate::server::state::AppState;
use crate::telemetry::Observation;

/// Longest header value that is passed on.
const HEADER_LIMIT: usize = 256;

/// Answers with one message or a stream of events.
///
/// Request, answer, events and errors are those of Anthropic's [Messages API](https://docs.anthropic.com/en/api/messages);
/// they are not described here again. 503 says that no account can be used, 529 that none has capacity for now or that the
/// store does not answer.
#[utoipa::path(
    post,
    path = "/v1/messages",
    operation_id = "createMessage",
    tag = "models",
    request_body(content = Object, description = "As Anthropic's Messages API has it"),
    responses(
        (status = 200, description = "A message, or with `stream` its events", content(
            (Object = "application/json"),
            (String = "text/event-stream")
        )),
        (status = 403, description = "The client key may not use the model"),
        (status = 404, description = "The upstream does not know the model"),
        (status = 429, description = "The quota is used up; `retry-after` says until when"),
        (status = 502, description = "The upstream refuses or fails"),
        (status = 529, description = "No capacity")
    )
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let incoming = incoming(&state, request).await?;
    Ok(match state.gateway.messages(incoming).await? {
        MessagesReply::Message { body, headers } => {
            let mut response = json::bytes(body);
            response.headers_mut().extend(headers);
            response
        }
        MessagesReply::Stream(events) => stream(events),
    })
}

/// How long a prompt is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct TokenCount {
    /// In tokens.
    input_tokens: u64,
}

/// Counts the tokens of a prompt.
///
/// Request and answer are those of Anthropic's
/// [token counting](https://docs.anthropic.com/en/api/messages-count-tokens).
#[utoipa::path(
    post,
    path = "/v1/messages/count_tokens",
    operation_id = "countTokens",
    tag = "models",
    request_body(content = Object, description = "As Anthropic's Messages API has it"),
    responses(
        (status = 200, description = "The count", body = TokenCount),
        (status = 403, description = "The client key may not use the model"),
        (status = 529, description = "No capacity")
    )
)]
pub(crate) async fn count_tokens(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let incoming = incoming(&state, request).await?;
    let input_tokens = state.gateway.count_tokens(incoming).await?;
    Ok(json::of(StatusCode::OK, &TokenCount { input_tokens }))
}

async fn incoming(state: &AppState, request: Request) -> Result<Incoming, ApiError> {
    let (parts, body) = request.into_parts();
    let session_header = printable(&parts.headers, "x-claude-code-session-id");
    let user_agent = printable(&parts.headers, USER_AGENT.as_str());
    let (Caller { key, name, models }, request_id) = caller(&parts)?;
    // Only requests for messages are observed.
    let observation = parts.extensions.get::<Observation>().cloned().unwrap_or_default();
    observation.came_from(&key.0, &name);
    let body =
        body::read(Request::from_parts(parts, body), state.limits.model, &state.limits, &state.clock).await?;
    Ok(Incoming { body, client_key: key, models, session_header, request_id, user_agent, observation })
}

/// Set by the layers around every `/v1` route.
fn caller(parts: &request::Parts) -> Result<(Caller, RequestId), ApiError> {
    let caller = parts.extensions.get::<Caller>().cloned();
    let id = parts.extensions.get::<RequestId>().cloned();
    caller.zip(id).ok_or_else(ApiError::internal)
}

fn printable(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (!text.is_empty() && text.len() <= HEADER_LIMIT).then(|| text.to_owned())
}

/// One write per item; the connection asks for the next only when the last is on its way, and drops the
/// stream as soon as the client is gone.
fn stream(events: BoxStream<'static, Bytes>) -> Response {
    let mut response = Body::from_stream(events.map(Ok::<_, Infallible>)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
