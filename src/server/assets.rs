//! The console's files: embedded in the binary, or from `publicDir`; compressed for whoever takes that.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_FRAME_OPTIONS,
};
use http::{HeaderMap, Method, StatusCode};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use crate::server::error::ApiError;
use crate::server::state::AppState;

/// Everything from here, nothing inline, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// Files smaller than this, in bytes, go as they are.
const WORTHWHILE: usize = 512;

#[derive(RustEmbed)]
#[folder = "public/"]
struct Embedded;

/// Where files come from.
#[derive(Debug)]
pub(crate) struct Assets {
    directory: Option<PathBuf>,
    /// What was compressed, by the file's name, with the hash of what it was made of: once for all who ask.
    compressed: Mutex<HashMap<String, ([u8; 32], Bytes)>>,
}

struct File {
    content: Bytes,
    sha256: [u8; 32],
}

impl Assets {
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, compressed: Mutex::default() }
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

    /// The file's content by gzip (RFC 1952), where that is worth it.
    fn gzip(&self, name: &str, file: &File) -> Option<Bytes> {
        if file.content.len() < WORTHWHILE || !is_text(content_type(name)) {
            return None;
        }
        // Each change is a single step.
        let mut compressed = self.compressed.lock().unwrap_or_else(PoisonError::into_inner);
        match compressed.get(name) {
            Some((of, content)) if *of == file.sha256 => Some(content.clone()),
            _ => {
                let content = Bytes::from(gzip(&file.content).ok()?);
                compressed.insert(name.to_owned(), (file.sha256, content.clone()));
                Some(content)
            }
        }
    }

    fn respond(&self, name: &str, file: File, request: &HeaderMap) -> Response {
        let compressed = takes_gzip(request).then(|| self.gzip(name, &file)).flatten();
        // A strong tag is that of the bytes sent (RFC 9110 §8.8.3.3).
        let (coding, variant) = if compressed.is_some() { (Some("gzip"), "-gzip") } else { (None, "") };
        let etag = format!("\"{}{variant}\"", hex::encode(&file.sha256[..16]));
        let mut response = if is_known(&etag, request) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(Body::from(compressed.unwrap_or(file.content)))
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        if let Some(coding) = coding.filter(|_| response.status() == StatusCode::OK) {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            response.headers_mut().insert(ETAG, etag);
        }
        response
    }
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

/// Whether the client takes gzip: by the last word that speaks of it, or of all codings (RFC 9110 §12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let mut weights = [None, None];
    for value in request.get_all(ACCEPT_ENCODING) {
        for coding in value.to_str().unwrap_or_default().split(',') {
            let mut parts = coding.split(';').map(str::trim);
            let of = match parts.next() {
                Some(name) if name.eq_ignore_ascii_case("gzip") => 0,
                Some("*") => 1,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            weights[of] =
                Some(weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0)));
        }
    }
    weights[0].or(weights[1]).unwrap_or(false)
}

/// Whether the client has what this tag stands for.
fn is_known(etag: &str, request: &HeaderMap) -> bool {
    request.get_all(IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|tags| {
            tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
        })
    })
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

/// The console's page.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "getConsole",
    tag = "clients",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "It is as `if-none-match` has it"),
        (status = 404, description = "There is none in `publicDir`")
    )
)]
pub(crate) async fn index(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    match state.assets.get("index.html").await {
        Some(file) => Ok(state.assets.respond("index.html", file, request.headers())),
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
            return Ok(state.assets.respond(name, file, request.headers()));
        }
    }
    Err(ApiError::no_endpoint(request.method(), path))
}

fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/") || matches!(content_type, "application/json" | "image/svg+xml")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_whoever_takes_it() {
        for (accepted, expected) in [
            (&["gzip, deflate, br"][..], true),
            (&["br", "GZIP;q=0.5"], true),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["*;q=0, gzip"], true),
            (&["gzip;q=0, *"], false),
            (&["gzip; q=0.000"], false),
            (&["gzip;q=much"], false),
            (&["identity, x-gzip"], false),
            (&[""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accepted {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(takes_gzip(&headers), expected, "{accepted:?}");
        }
    }
}
