//! Reading request bodies: bounded in size and time.

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::clock::{Alarm, Clock};
use crate::server::error::ApiError;
use crate::server::state::BodyLimits;

/// Memory taken in advance on the word of `content-length`; more comes with the bytes.
const TRUSTED_LENGTH: usize = 256 * 1024;

/// The whole body, at most `limit` bytes. A length beyond it is refused before anything is read.
pub(crate) async fn read(
    request: Request,
    limit: usize,
    limits: &BodyLimits,
    clock: &Clock,
) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    if let Some(encoding) = parts.headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let message = "Compressed request bodies are not supported: send it without content-encoding";
        return Err(unsupported(message));
    }
    let announced = content_length(&parts.headers);
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::too_large(limit));
    }
    let expected = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    collect(body, limit, expected, limits, clock).await
}

async fn collect(
    mut body: Body,
    limit: usize,
    expected: usize,
    limits: &BodyLimits,
    clock: &Clock,
) -> Result<Bytes, ApiError> {
    let end = clock.instant() + limits.total;
    let mut alarm = Alarm::default();
    let mut first = Bytes::new();
    let mut buffer = BytesMut::new();
    loop {
        let patience = end.min(clock.instant() + limits.idle);
        let data = match alarm.within(patience, body.frame()).await.ok_or_else(too_slow)? {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_broken)) => {
                return Err(ApiError::invalid("The request body ended early").closing());
            }
        };
        let so_far = first.len() + buffer.len();
        if data.len() > limit.saturating_sub(so_far) {
            return Err(ApiError::too_large(limit));
        }
        // A body that came in one piece is passed on without a copy.
        if so_far == 0 && data.len() >= expected {
            first = data;
            continue;
        }
        // Copied at once: a piece that is kept makes the connection take another buffer.
        if buffer.is_empty() {
            let least = first.len() + data.len();
            buffer.reserve(expected.clamp(least, TRUSTED_LENGTH.max(least)));
            buffer.extend_from_slice(&first);
            first = Bytes::new();
        }
        buffer.extend_from_slice(&data);
    }
    Ok(if buffer.is_empty() { first } else { buffer.freeze() })
}

/// What stands in a body: one JSON object. The error names the member that does not fit; it may quote a value, so it is
/// not for bodies that hold secrets.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    must_be_object(body)?;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| ApiError::invalid(format!("The body is not what this takes: {error}")))?;
    let rest = deserializer.end();
    rest.map_err(|error| ApiError::invalid(format!("The body is not valid JSON: {error}")))?;
    Ok(read)
}

/// The same; without a body, or with `null`, the default.
pub(crate) fn object_or_default<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    match body.trim_ascii() {
        b"" | b"null" => Ok(T::default()),
        body => object(body),
    }
}

/// A type that is read from an object is also read from an array of its members, which nobody means.
pub(crate) fn must_be_object(body: &[u8]) -> Result<(), ApiError> {
    if body.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    Err(ApiError::invalid("The body must be a JSON object"))
}

/// Reads and forgets a body of at most `limit` bytes; what is more stays unread.
pub(crate) async fn discard(body: Body, limit: usize, limits: &BodyLimits) {
    let drain = async {
        let mut body = body;
        let mut left = limit;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { break };
            left = rest;
        }
    };
    // A silent route answers the same either way.
    let _ = timeout(limits.idle, drain).await;
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether `content-type` is `application/json` or `application/…+json`.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// 415 for a body that is not JSON.
pub(crate) fn not_json() -> ApiError {
    unsupported("The request needs a JSON body: content-type: application/json")
}

fn unsupported(message: &'static str) -> ApiError {
    ApiError::invalid(message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE).closing()
}

fn too_slow() -> ApiError {
    ApiError::invalid("The request body arrived too slowly")
        .with_status(StatusCode::REQUEST_TIMEOUT)
        .closing()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{object, object_or_default};

    #[test]
    fn a_body_is_one_object_and_nothing_behind_it() {
        type Numbers = BTreeMap<String, u8>;
        let read =
            |body: &str| object::<Numbers>(body.as_bytes()).map_err(|error| error.message().to_owned());
        assert_eq!(read(" {\"a\": 1}\n").unwrap()["a"], 1);
        for (body, part) in [
            ("", "must be a JSON object"),
            ("null", "must be a JSON object"),
            ("[1]", "must be a JSON object"),
            ("{\"a\": 1", "EOF"),
            ("{\"a\": 1} {}", "not valid JSON"),
            ("{\"a\": 256}", "a: invalid value"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(part), "{body}: {error}");
        }
        for nothing in ["", " ", "null", " null\n", "{}"] {
            assert_eq!(
                object_or_default::<Numbers>(nothing.as_bytes()).unwrap(),
                Numbers::new(),
                "{nothing}"
            );
        }
        assert!(object_or_default::<Numbers>(b"[]").is_err());
    }
}
