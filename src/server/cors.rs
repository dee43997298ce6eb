//! Cross-origin rules (spec `http-api.md` §2.4): pages of other sites may call `/v1` when a key protects
//! it, and nothing else.

use axum::extract::Request as HttpRequest;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

/// What of a request matters here.
pub(crate) struct Request {
    preflight: bool,
    allowed: bool,
    headers: Option<HeaderValue>,
}

impl Request {
    pub(crate) fn of(request: &HttpRequest, path: &str, open: bool) -> Self {
        let headers = request.headers();
        let preflight = request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let allowed = path.starts_with("/v1/") && !open;
        Self { preflight, allowed, headers: requested_headers(headers).filter(|_| preflight && allowed) }
    }

    /// Whether a browser asks for permission: answered before authentication, without any handler.
    pub(crate) fn is_preflight(&self) -> bool {
        self.preflight
    }

    /// Adds the permissions to a response.
    pub(crate) fn allow(self, response: &mut HeaderMap) {
        if !self.allowed {
            return;
        }
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if !self.preflight {
            let exposed = HeaderValue::from_static("request-id, retry-after, x-should-retry");
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            return;
        }
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response.insert(VARY, HeaderValue::from_static("access-control-request-headers"));
        if let Some(headers) = self.headers {
            response.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
    }
}

/// The requested headers that a model client may send.
fn requested_headers(headers: &HeaderMap) -> Option<HeaderValue> {
    let requested = headers.get(ACCESS_CONTROL_REQUEST_HEADERS)?.to_str().ok()?.to_ascii_lowercase();
    let granted: Vec<&str> =
        requested.split(',').map(str::trim).filter(|name| is_client_header(name)).collect();
    HeaderValue::from_str(&granted.join(", ")).ok().filter(|value| !value.is_empty())
}

fn is_client_header(name: &str) -> bool {
    matches!(name, "authorization" | "x-api-key" | "content-type" | "x-app" | "user-agent")
        || name.starts_with("anthropic-")
        || name.starts_with("x-stainless-")
}
