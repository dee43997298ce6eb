//! Traces: where they go and which are taken, by OpenTelemetry's standard variables.
//!
//! Source: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter Configuration". Two
//! differences: without an endpoint tracing is off, and what is not usable is an error instead of a default.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::values::Values;

/// Where traces go, how, and which.
#[derive(Clone, Debug)]
pub struct TracingConfig {
    /// The whole address spans are posted to; `None` switches tracing off. From `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`,
    /// else `OTEL_EXPORTER_OTLP_ENDPOINT` and `/v1/traces`.
    pub endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, `OTEL_EXPORTER_OTLP_HEADERS`: valid header names and values, decoded.
    pub headers: Vec<(String, SecretString)>,
    /// Time allowed for one batch, its retries included: the shorter of `OTEL_EXPORTER_OTLP_TIMEOUT` (default 10 s) and
    /// `OTEL_BSP_EXPORT_TIMEOUT` (default 30 s).
    pub timeout: Duration,
    /// `OTEL_EXPORTER_OTLP_COMPRESSION=gzip`.
    pub gzip: bool,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: TraceSampler,
    /// `OTEL_SERVICE_NAME`, else `service.name` of the attributes, else `antigravity-proxy`.
    pub service_name: String,
    /// `OTEL_RESOURCE_ATTRIBUTES` but for `service.name`, decoded.
    pub resource: Vec<(String, String)>,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: spans that wait to be sent; more are dropped.
    pub queue: usize,
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`: spans in one request, at most `queue`.
    pub batch: usize,
    /// `OTEL_BSP_SCHEDULE_DELAY`: longest time until a span is sent.
    pub delay: Duration,
}

/// Which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSampler {
    /// Whether the client's decision counts where it sends a `traceparent`.
    pub parent_based: bool,
    /// The share of requests without such a decision, 0 to 1, chosen by their trace id.
    pub ratio: f64,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            gzip: false,
            sampler: TraceSampler { parent_based: true, ratio: 1.0 },
            service_name: "antigravity-proxy".into(),
            resource: Vec::new(),
            queue: 2048,
            batch: 512,
            delay: Duration::from_secs(5),
        }
    }
}

impl TracingConfig {
    pub(super) fn apply(&mut self, values: &Values) {
        let (mut disabled, mut batch_timeout) = (false, Duration::from_secs(30));
        values.flag("tracing.disabled", &mut disabled);
        // The only protocol there is; any other was refused.
        values.text("tracing.protocol");
        let exported = values.text("tracing.exporter") != Some("none");
        let base = values.text("tracing.endpoint").map(|base| format!("{base}/v1/traces"));
        let whole = values.text("tracing.tracesEndpoint").map(str::to_owned);
        if let Some(endpoint) = whole.or(base) {
            self.endpoint = Some(endpoint);
        }
        if disabled || !exported {
            self.endpoint = None;
        }
        if let Some(headers) = values.text("tracing.headers").and_then(headers) {
            self.headers = headers;
        }
        values.millis("tracing.timeoutMs", &mut self.timeout);
        values.millis("tracing.batch.timeoutMs", &mut batch_timeout);
        self.timeout = self.timeout.min(batch_timeout);
        if let Some(word) = values.text("tracing.compression") {
            self.gzip = word == "gzip";
        }
        let mut ratio = 1.0;
        values.fraction("tracing.samplerArg", &mut ratio);
        if let Some(name) = values.text("tracing.sampler") {
            let (parent_based, kind) = match name.strip_prefix("parentbased_") {
                Some(kind) => (true, kind),
                None => (false, name),
            };
            let ratio = match kind {
                "always_on" => 1.0,
                "always_off" => 0.0,
                _ => ratio,
            };
            self.sampler = TraceSampler { parent_based, ratio };
        }
        values.string("tracing.serviceName", &mut self.service_name);
        if let Some(mut attributes) = values.text("tracing.resourceAttributes").and_then(pairs) {
            let named = attributes.extract_if(.., |(key, _)| key == "service.name").last();
            if let Some((_, name)) = named.filter(|_| !values.is_set("tracing.serviceName")) {
                self.service_name = name;
            }
            self.resource = attributes;
        }
        values.number("tracing.batch.queue", &mut self.queue);
        values.number("tracing.batch.size", &mut self.batch);
        values.millis("tracing.batch.delayMs", &mut self.delay);
    }
}

/// `key=value,key=value` with both percent-encoded (the form of W3C Baggage without properties), as the variables for
/// headers and resource attributes have it; `None` when it is anything else.
pub(super) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let decode = |part: &str| Some(percent_decode_str(part.trim()).decode_utf8().ok()?.into_owned());
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = decode(key).filter(|key| !key.is_empty())?;
            Some((key, decode(value)?))
        })
        .collect()
}

/// The same, for names and values that can be sent as headers.
pub(super) fn headers(text: &str) -> Option<Vec<(String, SecretString)>> {
    let sendable = |name: &str, value: &str| {
        HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
    };
    pairs(text)?
        .into_iter()
        .map(|(name, value)| sendable(&name, &value).then(|| (name, SecretString::from(value))))
        .collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn pairs_are_decoded_or_refused_whole() {
        let some = |text: &[(&str, &str)]| {
            Some(text.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(pairs("a=1, b = x%20y%2C ,,c="), some(&[("a", "1"), ("b", "x y,"), ("c", "")]));
        assert_eq!(pairs("a=b=c"), some(&[("a", "b=c")]));
        for wrong in ["a", "a=1,b", "=1", "a=%ff"] {
            assert_eq!(pairs(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn headers_are_sendable() {
        let read = headers("Authorization=Bearer%20token").unwrap();
        assert_eq!((read[0].0.as_str(), read[0].1.expose_secret()), ("Authorization", "Bearer token"));
        for wrong in ["a b=1", "a=%0a", "a=1,b c=2"] {
            assert!(headers(wrong).is_none(), "{wrong}");
        }
    }
}
