//! The way to an OpenTelemetry collector: with the trust, proxies and time-outs of every other call.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use opentelemetry_http::{HttpClient, HttpError as ExportError, ResponseBodyTooLarge};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;

use super::http::{self, HttpError};
use crate::config::{TracingConfig, UpstreamConfig};

/// Most that is read of a collector's answer.
const ANSWER: usize = 1024 * 1024;

/// Sends spans. They come from a thread of the exporter; the work is done on the runtime that made this.
pub struct Collector {
    http: reqwest::Client,
    /// Headers with the operator's secrets; marked so that nobody prints them.
    headers: HeaderMap,
    timeout: Duration,
    runtime: Handle,
}

impl Collector {
    /// A client for the collector of `config`, by `upstream`'s trust roots and proxies. Needs a runtime.
    pub fn new(config: &TracingConfig, upstream: &UpstreamConfig) -> Result<Self, HttpError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            // Both were checked when they were read.
            let (Ok(name), Ok(mut value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.expose_secret()))
            else {
                continue;
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let http = http::client(upstream)?;
        Ok(Self { http, headers, timeout: config.timeout, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(
        &self,
        request: ::http::Request<Bytes>,
    ) -> Result<::http::Response<Bytes>, ExportError> {
        let (mut parts, body) = request.into_parts();
        // The exporter has the same headers from the environment, unmarked.
        parts.headers.extend(self.headers.clone());
        let sending = self
            .http
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body)
            .timeout(self.timeout);
        // An exchange outlives an exporter that no longer waits for it by its time-out at most.
        self.runtime.spawn(answered(sending)).await?
    }
}

/// The whole answer, whatever its status.
async fn answered(request: reqwest::RequestBuilder) -> Result<::http::Response<Bytes>, ExportError> {
    let mut response = request.send().await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER {
            return Err(Box::new(ResponseBodyTooLarge::new()));
        }
        body.extend_from_slice(&chunk);
    }
    let mut answer = ::http::Response::new(body.freeze());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    Ok(answer)
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}
