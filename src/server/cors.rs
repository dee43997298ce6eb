//! Cross-origin rules (spec `http-api.md` §2.4): pages of other sites may call `/v1` when a key protects it; the console's
//! API, and an open `/v1`, only those that `cors.allowedOrigins` lists.

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
    model: bool,
    /// The origin that is told it may: `*`, or the one that asks.
    allowed: Option<HeaderValue>,
    headers: Option<HeaderValue>,
}

impl Request {
    /// `open` says that no key protects the model API; `listed` which origins may call more than that.
    pub(crate) fn of(
        request: &HttpRequest,
        path: &str,
        open: bool,
        listed: impl FnOnce(&HeaderValue) -> bool,
    ) -> Self {
        let headers = request.headers();
        let origin = headers.get(ORIGIN);
        let preflight = request.method() == Method::OPTIONS
            && origin.is_some()
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let model = path.starts_with("/v1/");
        let allowed = if model && !open {
            Some(HeaderValue::from_static("*"))
        } else {
            origin.filter(|origin| listed(origin)).cloned()
        };
        let granted = allowed.as_ref().filter(|_| preflight).and_then(|_| requested_headers(headers, model));
        Self { preflight, model, allowed, headers: granted }
    }

    /// Whether a browser asks for permission: answered before authentication, without any handler.
    pub(crate) fn is_preflight(&self) -> bool {
        self.preflight
    }

    /// Adds the permissions to a response.
    pub(crate) fn allow(self, response: &mut HeaderMap) {
        let Some(origin) = self.allowed else { return };
        if origin != "*" {
            response.append(VARY, HeaderValue::from_static("origin"));
        }
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !self.preflight {
            let exposed = HeaderValue::from_static("request-id, retry-after, x-should-retry, x-trace-id");
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            return;
        }
        let methods =
            if self.model { "GET, POST, OPTIONS" } else { "GET, POST, PATCH, PUT, DELETE, OPTIONS" };
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response.append(VARY, HeaderValue::from_static("access-control-request-headers"));
        if let Some(headers) = self.headers {
            response.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
    }
}

/// The requested headers that a client of this part may send.
fn requested_headers(headers: &HeaderMap, model: bool) -> Option<HeaderValue> {
    let requested = headers.get(ACCESS_CONTROL_REQUEST_HEADERS)?.to_str().ok()?.to_ascii_lowercase();
    let fits = if model { is_client_header } else { is_console_header };
    let granted: Vec<&str> = requested.split(',').map(str::trim).filter(|name| fits(name)).collect();
    HeaderValue::from_str(&granted.join(", ")).ok().filter(|value| !value.is_empty())
}

fn is_client_header(name: &str) -> bool {
    matches!(name, "authorization" | "x-api-key" | "content-type" | "x-app" | "user-agent")
        || name.starts_with("anthropic-")
        || name.starts_with("x-stainless-")
}

fn is_console_header(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "content-type"
            | "last-event-id"
            | "x-requested-with"
            | "x-setup-token"
            | "x-webui-password"
    )
}
