//! The console's files: embedded in the binary, or from `publicDir`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, Method, StatusCode};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use crate::server::auth::hex;
use crate::server::error::ApiError;
use crate::server::state::AppState;

/// Everything from here, nothing inline, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "public/"]
struct Embedded;

/// Where files come from.
#[derive(Debug)]
pub(crate) struct Assets {
    directory: Option<PathBuf>,
}

struct File {
    content: Bytes,
    sha256: [u8; 32],
}

impl Assets {
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// The file at a URL path without its leading slash.
    async fn get(&self, name: &str) -> Option<File> {
        if !is_plain(name) {
            return None;
        }
        let Some(directory) = &self.directory else {
            let file = Embedded::get(name)?;
            let content = match file.data {
                std::borrow::Cow::Borrowed(data) => Bytes::from_static(data),
                std::borrow::Cow::Owned(data) => data.into(),
            };
            return Some(File { content, sha256: file.metadata.sha256_hash() });
        };
        let content = Bytes::from(read_below(directory, name).await?);
        let sha256 = Sha256::digest(&content).into();
        Some(File { content, sha256 })
    }
}

/// Only names that cannot lead anywhere else: plain segments, no dot files, no escapes.
fn is_plain(name: &str) -> bool {
    name.split('/').all(|segment| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    })
}

/// Follows symbolic links only as far as they stay below the directory.
async fn read_below(directory: &Path, name: &str) -> Option<Vec<u8>> {
    let root = tokio::fs::canonicalize(directory).await.ok()?;
    let path = tokio::fs::canonicalize(root.join(name)).await.ok()?;
    if !path.starts_with(&root) {
        return None;
    }
    tokio::fs::read(path).await.ok()
}

/// `GET /`.
pub(crate) async fn index(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    match state.assets.get("index.html").await {
        Some(file) => Ok(respond("index.html", file, request.headers())),
        None => Err(ApiError::no_endpoint(request.method(), request.uri().path())),
    }
}

/// What matched no route: a file, or 404 as JSON.
pub(crate) async fn file_or_404(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let path = request.uri().path();
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let name = path.strip_prefix('/').unwrap_or(path);
        if let Some(file) = state.assets.get(name).await {
            return Ok(respond(name, file, request.headers()));
        }
    }
    Err(ApiError::no_endpoint(request.method(), path))
}

fn respond(name: &str, file: File, request: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex(&file.sha256[..16]));
    let unchanged = request.get_all(IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|tags| {
            tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
        })
    });
    let mut response = Response::new(if unchanged { Body::empty() } else { Body::from(file.content) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map" | "webmanifest") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
