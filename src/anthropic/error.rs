//! Error kinds of the Messages API and their one JSON shape.

use bytes::Bytes;
use serde_json::json;

/// The closed set of `error.type` values that this product answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is at fault and would fail again.
    InvalidRequest,
    /// The client's key is missing or wrong; never used for an upstream's failure.
    Authentication,
    /// The caller is known and may not do this.
    Permission,
    /// No such endpoint or object.
    NotFound,
    /// The body is larger than the limit.
    RequestTooLarge,
    /// A quota or rate limit; carries `retry-after`.
    RateLimit,
    /// Anything that went wrong on this side or upstream.
    Api,
    /// Temporarily out of capacity.
    Overloaded,
}

impl ErrorKind {
    /// The value of `error.type` on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::RequestTooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Api => "api_error",
            Self::Overloaded => "overloaded_error",
        }
    }

    /// The HTTP status that goes with the kind unless the error says otherwise.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Authentication => 401,
            Self::Permission => 403,
            Self::NotFound => 404,
            Self::RequestTooLarge => 413,
            Self::RateLimit => 429,
            Self::Api => 500,
            Self::Overloaded => 529,
        }
    }
}

/// `{"type":"error","error":{"type":…,"message":…}}`.
#[must_use]
pub fn body(kind: ErrorKind, message: &str) -> Bytes {
    json!({ "type": "error", "error": { "type": kind.as_str(), "message": message } }).to_string().into()
}
