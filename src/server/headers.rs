//! Headers that tell browsers what they must not do with an answer (spec `http-api.md` §1.1, §1.8).

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// For answers that are no pages: should one be shown as a page, it can do nothing.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// What neither the console nor anything else here needs.
const NOTHING: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), autoplay=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
     microphone=(), midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), usb=(), \
     xr-spatial-tracking=()",
);
/// Paths whose answers nobody may keep, and those below the first.
const PRIVATE: [&str; 4] = ["/api", "/health", "/account-limits", "/refresh-token"];

/// Adds what is missing to the answer of a request for `path`. Pages bring a policy of their own. What the model API
/// answers is for programs, and for pages of any site where a key protects it.
pub(crate) fn complete(path: &str, headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if path == "/v1" || path.starts_with("/v1/") {
        return;
    }
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, NO_PAGE),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        // A page may know when the window in which somebody signs in is closed.
        (OPENER, HeaderValue::from_static("same-origin-allow-popups")),
        (RESOURCE, HeaderValue::from_static("same-origin")),
        (PERMISSIONS, NOTHING),
    ] {
        headers.entry(name).or_insert(value);
    }
    let below = |prefix: &&str| {
        path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if PRIVATE.iter().any(below) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
