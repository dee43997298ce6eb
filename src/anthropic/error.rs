//! Errors as the Messages API reports them.
//!
//! Source: spec `http-api.md` §1.2 and the public list of error types.

use bytes::{BufMut, Bytes, BytesMut};

use super::json::write::push_string;

/// The closed set of error types a client can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is at fault.
    InvalidRequest,
    /// The client's own key is missing or wrong; never an upstream's refusal.
    Authentication,
    /// The client may not do this.
    Permission,
    /// No such route or object.
    NotFound,
    /// The body exceeds the limit.
    RequestTooLarge,
    /// A limit is reached; comes with `retry-after`.
    RateLimit,
    /// Anything that went wrong on this side or upstream.
    Api,
    /// No capacity for now.
    Overloaded,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::InvalidRequest,
        Self::Authentication,
        Self::Permission,
        Self::NotFound,
        Self::RequestTooLarge,
        Self::RateLimit,
        Self::Api,
        Self::Overloaded,
    ];

    /// The wire value of `error.type`.
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

    /// The HTTP status that goes with it when nothing more precise is known.
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

/// The error object: `{"type":"error","error":{"type":…,"message":…}}`.
#[must_use]
pub fn body(kind: ErrorKind, message: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 80);
    write(&mut out, kind, message);
    out.freeze()
}

pub(super) fn write(out: &mut BytesMut, kind: ErrorKind, message: &str) {
    out.put_slice(b"{\"type\":\"error\",\"error\":{\"type\":\"");
    out.put_slice(kind.as_str().as_bytes());
    out.put_slice(b"\",\"message\":");
    push_string(out, message);
    out.put_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, body};

    #[test]
    fn names_and_statuses() {
        let table: Vec<_> = ErrorKind::ALL.iter().map(|kind| (kind.as_str(), kind.status())).collect();
        assert_eq!(
            table,
            [
                ("invalid_request_error", 400),
                ("authentication_error", 401),
                ("permission_error", 403),
                ("not_found_error", 404),
                ("request_too_large", 413),
                ("rate_limit_error", 429),
                ("api_error", 500),
                ("overloaded_error", 529),
            ]
        );
    }

    #[test]
    fn the_message_is_escaped() {
        let body: serde_json::Value =
            serde_json::from_slice(&body(ErrorKind::Api, "a \"b\"\n\u{1}")).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"type": "error", "error": {"type": "api_error", "message": "a \"b\"\n\u{1}"}})
        );
    }
}
