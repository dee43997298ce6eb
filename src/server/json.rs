//! JSON answers.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

/// A 200 with a value.
pub(crate) fn value(value: &Value) -> Response {
    bytes(value.to_string().into())
}

/// A 200 with JSON that is already rendered.
pub(crate) fn bytes(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
