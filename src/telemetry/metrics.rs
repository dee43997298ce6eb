//! The gateway's metrics.
//!
//! Names are `antigravity_proxy_<noun>_<unit>[_total]`; each field's doc comment is the metric's help
//! text. Labels are bounded: every label value comes from a closed enum of this file or from
//! [`Metrics::model_label`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Latency buckets of whole requests and upstream calls, seconds.
const REQUEST_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];
/// Latency buckets of store calls, seconds.
const STORE_SECONDS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];
/// Most distinct models that get a label of their own.
const MAX_MODELS: usize = 100;

macro_rules! metrics {
    ($( #[doc = $help:literal] $field:ident: $kind:ident $(<$buckets:ident>)? = $name:literal $([$($label:literal),+])?; )+) => {
        /// Handles of all metrics; `Sync`, shared behind an `Arc`.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            models: ArcSwap<BTreeSet<String>>,
            $( #[doc = $help] pub $field: $kind, )+
        }

        impl Metrics {
            /// Registers everything in a registry of its own.
            ///
            /// # Errors
            ///
            /// Two metrics of the same name: a mistake in this file, found by its test.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $( let $field = metrics!(@build $kind $(<$buckets>)? $name, $help.trim(), [$($($label),+)?]);
                   registry.register(Box::new($field.clone()))?; )+
                let metrics = Self { registry, models: ArcSwap::default(), $($field),+ };
                metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
                Ok(metrics)
            }
        }
    };
    (@build IntCounter $name:literal, $help:expr, []) => { IntCounter::new(concat!("antigravity_proxy_", $name), $help)? };
    (@build IntGauge $name:literal, $help:expr, []) => { IntGauge::new(concat!("antigravity_proxy_", $name), $help)? };
    (@build IntCounterVec $name:literal, $help:expr, [$($label:literal),+]) => {
        IntCounterVec::new(Opts::new(concat!("antigravity_proxy_", $name), $help), &[$($label),+])?
    };
    (@build IntGaugeVec $name:literal, $help:expr, [$($label:literal),+]) => {
        IntGaugeVec::new(Opts::new(concat!("antigravity_proxy_", $name), $help), &[$($label),+])?
    };
    (@build Histogram<$buckets:ident> $name:literal, $help:expr, []) => {
        Histogram::with_opts(
            HistogramOpts::new(concat!("antigravity_proxy_", $name), $help).buckets($buckets.to_vec()),
        )?
    };
    (@build HistogramVec<$buckets:ident> $name:literal, $help:expr, [$($label:literal),+]) => {
        HistogramVec::new(
            HistogramOpts::new(concat!("antigravity_proxy_", $name), $help).buckets($buckets.to_vec()),
            &[$($label),+],
        )?
    };
}

metrics! {
    /// HTTP requests by route pattern and status class.
    http_requests: IntCounterVec = "http_requests_total" ["route", "status"];
    /// Time from a request's head to its answer's head, by route pattern; a stream goes on after that.
    http_request_seconds: HistogramVec<REQUEST_SECONDS> = "http_request_duration_seconds" ["route"];
    /// Time from a request's arrival at dispatch to the first event of its answer, to its end where it is not streamed.
    first_event_seconds: Histogram<REQUEST_SECONDS> = "first_event_duration_seconds";
    /// Answers that are being streamed.
    streams: IntGauge = "streams_in_flight";
    /// Upstream calls by outcome class.
    upstream_attempts: IntCounterVec = "upstream_attempts_total" ["outcome"];
    /// Time from an upstream call to its response headers.
    upstream_header_seconds: Histogram<REQUEST_SECONDS> = "upstream_header_duration_seconds";
    /// Requests to choose an account, by what was decided.
    admissions: IntCounterVec = "admissions_total" ["decision"];
    /// Requests that waited for the pool.
    waits: IntCounter = "pool_waits_total";
    /// Requests that are waiting for the pool.
    waiters: IntGauge = "pool_waiters";
    /// Content blocks of unknown type left out of a request.
    dropped_blocks: IntCounter = "dropped_blocks_total";
    /// Tokens by model and direction: `input`, `output`, `cache_read`.
    tokens: IntCounterVec = "tokens_total" ["model", "direction"];
    /// Answers of `count_tokens` by where the number came from: `upstream`, `cache`, `local`.
    token_counts: IntCounterVec = "token_counts_total" ["source"];
    /// Store calls by script.
    store_calls: IntCounterVec = "store_calls_total" ["script"];
    /// Failed store calls by script.
    store_errors: IntCounterVec = "store_errors_total" ["script"];
    /// Time of one round trip to the store.
    store_seconds: Histogram<STORE_SECONDS> = "store_call_duration_seconds";
    /// Whether the last store call succeeded.
    store_up: IntGauge = "store_up";
    /// Signatures that could not be remembered.
    signature_put_failures: IntCounter = "signature_put_failures_total";
    /// Settlements that wait for the store.
    settlements_queued: IntGauge = "settlements_queued";
    /// Settlements given up because too many were waiting.
    settlements_dropped: IntCounter = "settlements_dropped_total";
    /// Replicas of the pool that are alive, as this one saw them last.
    replicas: IntGauge = "replicas";
    /// Events and log records that were dropped before a reader could see them.
    feed_dropped: IntCounterVec = "feed_dropped_total" ["topic"];
    /// Whether the settings in the shared store are not usable, so that the last usable ones stay in force.
    shared_settings_rejected: IntGauge = "shared_settings_rejected";
    /// The generation of the shared settings that this gateway knows.
    shared_settings_generation: IntGauge = "shared_settings_generation";
    /// The running version; always 1.
    build_info: IntGaugeVec = "build_info" ["version"];
}

/// The classes of HTTP status that label [`Metrics::http_requests`].
#[must_use]
pub fn status_class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// One more in a gauge for as long as it lives.
#[derive(Debug)]
pub struct Gauged(IntGauge);

impl Gauged {
    /// Adds one to `gauge` now and takes it away on drop.
    #[must_use]
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Counts one finished HTTP request. `route` is the matched pattern, never the raw path.
    pub fn http_request(&self, route: &str, status: u16, took: Duration) {
        self.http_requests.with_label_values(&[route, status_class(status)]).inc();
        self.http_request_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Replaces the catalogue of models that get labels of their own; of more than 100 the first in
    /// alphabetical order.
    pub fn set_models<'m>(&self, ids: impl IntoIterator<Item = &'m str>) {
        let mut models: BTreeSet<String> = ids.into_iter().map(str::to_owned).collect();
        while models.len() > MAX_MODELS {
            models.pop_last();
        }
        self.models.store(Arc::new(models));
    }

    /// `model` when it is in the catalogue, else `other`, so that clients cannot create labels.
    #[must_use]
    pub fn model_label<'m>(&self, model: &'m str) -> &'m str {
        if self.models.load().contains(model) { model } else { "other" }
    }

    /// Counts what one answer used.
    pub fn used_tokens(&self, model: &str, input: u64, output: u64, cache_read: u64) {
        let model = self.model_label(model);
        for (direction, count) in [("input", input), ("output", output), ("cache_read", cache_read)] {
            self.tokens.with_label_values(&[model, direction]).inc_by(count);
        }
    }

    /// Counts one call of `script` as part of a round trip.
    pub fn store_call(&self, script: &'static str, failed: bool) {
        self.store_calls.with_label_values(&[script]).inc();
        if failed {
            self.store_errors.with_label_values(&[script]).inc();
        }
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        match TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            Ok(()) => text,
            // Only names or labels that are not legal can fail; those of this file are, by its test.
            Err(error) => format!("# {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_named_by_the_rule_and_rendered() {
        let metrics = Metrics::new().unwrap();
        metrics.http_request("/v1/messages", 200, Duration::from_millis(20));
        metrics.used_tokens("m", 1, 2, 3);
        metrics.store_call("admit", true);
        let text = metrics.render();
        for line in [
            "antigravity_proxy_http_requests_total{route=\"/v1/messages\",status=\"2xx\"} 1",
            "antigravity_proxy_http_request_duration_seconds_count{route=\"/v1/messages\"} 1",
            "antigravity_proxy_store_errors_total{script=\"admit\"} 1",
            "# HELP antigravity_proxy_streams_in_flight Answers that are being streamed.",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        for family in metrics.registry.gather() {
            assert!(family.name().starts_with("antigravity_proxy_"), "{}", family.name());
        }
    }

    #[test]
    fn clients_cannot_create_model_labels() {
        let metrics = Metrics::new().unwrap();
        metrics.set_models(["claude-a", "gemini-b"]);
        for model in ["claude-a", "gemini-b", "x1", "x2", "x3"] {
            metrics.used_tokens(model, 10, 1, 0);
        }
        let count = |model: &str| metrics.tokens.with_label_values(&[model, "input"]).get();
        assert_eq!((count("claude-a"), count("other")), (10, 30));
        let ids: Vec<String> = (0..500).map(|n| format!("m{n:03}")).collect();
        metrics.set_models(ids.iter().map(String::as_str));
        assert_eq!((metrics.model_label("m099"), metrics.model_label("m100")), ("m099", "other"));
    }
}
