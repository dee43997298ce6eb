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
use http::{HeaderMap, request};
use serde_json::json;

use crate::server::body;
use crate::server::error::ApiError;
use crate::server::gateway::{ClientKeyId, Incoming, MessagesReply, RequestId};
use crate::server::json;
use crate::server::state::AppState;

/// Longest header value that is passed on.
const HEADER_LIMIT: usize = 256;

/// Answers with one message or a stream of events.
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

/// Answers `{"input_tokens": n}`.
pub(crate) async fn count_tokens(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let incoming = incoming(&state, request).await?;
    let tokens = state.gateway.count_tokens(incoming).await?;
    Ok(json::value(&json!({ "input_tokens": tokens })))
}

async fn incoming(state: &AppState, request: Request) -> Result<Incoming, ApiError> {
    let (parts, body) = request.into_parts();
    let session_header = printable(&parts.headers, "x-claude-code-session-id");
    let user_agent = printable(&parts.headers, USER_AGENT.as_str());
    let (client_key, request_id) = caller(&parts)?;
    let body = body::read(Request::from_parts(parts, body), state.limits.model, &state.limits).await?;
    Ok(Incoming { body, client_key, session_header, request_id, user_agent })
}

/// Set by the layers around every `/v1` route.
fn caller(parts: &request::Parts) -> Result<(ClientKeyId, RequestId), ApiError> {
    let key = parts.extensions.get::<ClientKeyId>().cloned();
    let id = parts.extensions.get::<RequestId>().cloned();
    key.zip(id).ok_or_else(ApiError::internal)
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
