//! JSON answers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use serde_json::Value;

use crate::server::error::ApiError;

/// A 200 with a value.
pub(crate) fn value(value: &Value) -> Response {
    bytes(value.to_string().into())
}

/// What `answer` is in JSON, with its status.
pub(crate) fn of<T: Serialize>(status: StatusCode, answer: &T) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => {
            let mut response = bytes(body.into());
            *response.status_mut() = status;
            response
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            ApiError::internal().into_response()
        }
    }
}

/// A 200 with JSON that is already rendered.
pub(crate) fn bytes(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
