//! The one place where an error becomes a response.
//!
//! A handler returns [`ApiError`]; it travels as an extension of an empty response up to the outermost
//! layer, which knows the request id and the route's family, and calls `render`.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};

use crate::anthropic::error::ErrorKind;
use crate::server::answer::{ConsoleError, Failure, ModelError, ModelErrorDetail};
use crate::server::gateway::RequestId;
use crate::server::json;

/// A refusal or failure, as the caller shall see it. Texts name no accounts, secrets or upstream bodies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.as_str())]
pub struct ApiError {
    kind: ErrorKind,
    status: StatusCode,
    message: Cow<'static, str>,
    timestamp: Option<String>,
    retry_after: Option<u64>,
    should_retry: Option<bool>,
    unrouted: bool,
    close: bool,
}

impl ApiError {
    /// An error with the kind's own status.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            status: StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            message: message.into(),
            timestamp: None,
            retry_after: None,
            should_retry: None,
            unrouted: false,
            close: false,
        }
    }

    /// The request is at fault.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// What it takes to answer is not there at this moment: 503, where an overload of models is 529.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Overloaded, message).with_status(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The store does not answer.
    #[must_use]
    pub fn store_unavailable() -> Self {
        Self::unavailable("Storage unavailable")
    }

    /// Something went wrong here; the details are in the log under the request id.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(ErrorKind::Api, "Internal error; the server's log has the details under this request id")
    }

    /// The method and path name no endpoint (spec `http-api.md` §1.7); `path` comes without query.
    #[must_use]
    pub fn no_endpoint(method: &Method, path: &str) -> Self {
        let message = format!("Endpoint {method} {path} not found");
        Self { unrouted: true, ..Self::new(ErrorKind::NotFound, message) }
    }

    /// The path exists, the method does not; the router adds `allow`.
    #[must_use]
    pub fn method_not_allowed(method: &Method, path: &str) -> Self {
        Self::invalid(format!("Method {method} is not allowed for {path}"))
            .with_status(StatusCode::METHOD_NOT_ALLOWED)
    }

    /// The body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message = format!("The request body exceeds the limit of {limit} bytes");
        Self::new(ErrorKind::RequestTooLarge, message).closing()
    }

    /// Replaces the kind's own status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds the time to a console's error, as in RFC 3339.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: String) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Adds `retry-after`, in whole seconds as clients expect it.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds `x-should-retry`: `false` where waiting is pointless.
    #[must_use]
    pub fn with_should_retry(mut self, should_retry: bool) -> Self {
        self.should_retry = Some(should_retry);
        self
    }

    /// Ends the connection after the answer, because the rest of the request is not wanted.
    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The value of `error.type`.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `retry-after` in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// `x-should-retry`.
    #[must_use]
    pub fn should_retry(&self) -> Option<bool> {
        self.should_retry
    }
}

impl IntoResponse for ApiError {
    /// An empty response that carries the error; `render` gives it its body.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Whose error shape a route speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `{"type":"error","error":{…},"request_id":…}`.
    Model,
    /// `{"status":"error","error":"…"}`.
    Console,
}

/// Gives a response that carries an [`ApiError`] its body and headers; leaves any other as it is.
pub(crate) fn render(mut response: Response, family: Family, request_id: &RequestId) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let body = match family {
        Family::Console if !error.unrouted => {
            let ApiError { status, message, timestamp, .. } = &error;
            json::of(
                *status,
                &ConsoleError { status: Failure::Error, error: message, timestamp: timestamp.as_deref() },
            )
        }
        family => {
            let body = ModelError {
                kind: Failure::Error,
                error: ModelErrorDetail { kind: error.kind.as_str(), message: error.message },
                request_id: &request_id.0,
                status: (family == Family::Console).then_some(Failure::Error),
            };
            json::of(error.status, &body)
        }
    };
    *response.body_mut() = body.into_body();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(should_retry) = error.should_retry {
        let value = if should_retry { "true" } else { "false" };
        headers.insert("x-should-retry", HeaderValue::from_static(value));
    }
    if error.kind == ErrorKind::Authentication && family == Family::Model {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if error.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if error.status != StatusCode::METHOD_NOT_ALLOWED {
        headers.remove(ALLOW);
    }
    response
}
