//! How long the upstream takes to the headers of its answers, by endpoint and method.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::Histogram;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::label::{Label as _, UpstreamMethod};

/// Most hosts that get a label of their own.
const MAX_HOSTS: usize = 4;
/// The label of all others.
const OTHER: &str = "other";

/// The histograms of a client's endpoints.
pub(super) struct Latency {
    metrics: Arc<Metrics>,
    /// By endpoint.
    labels: Vec<String>,
    /// By endpoint, then method; made with the first call.
    seconds: Vec<OnceLock<Histogram>>,
}

impl Latency {
    /// Of endpoints at these hosts, in their order.
    pub(super) fn new<'h>(metrics: &Arc<Metrics>, hosts: impl IntoIterator<Item = &'h str>) -> Self {
        let mut named: Vec<&str> = Vec::new();
        let mut labels = Vec::new();
        for host in hosts {
            if named.len() < MAX_HOSTS && !named.contains(&host) {
                named.push(host);
            }
            labels.push(if named.contains(&host) { host.to_owned() } else { OTHER.to_owned() });
        }
        let seconds = (0..labels.len() * UpstreamMethod::ALL.len()).map(|_| OnceLock::new()).collect();
        Self { metrics: Arc::clone(metrics), labels, seconds }
    }

    /// The headers of an answer of `endpoint` came after `took`.
    pub(super) fn observe(&self, endpoint: usize, method: UpstreamMethod, took: Duration) {
        let Some(label) = self.labels.get(endpoint) else { return };
        let histogram =
            self.seconds[endpoint * UpstreamMethod::ALL.len() + method.index()].get_or_init(|| {
                self.metrics.upstream_header_seconds.with_label_values(&[label.as_str(), method.label()])
            });
        histogram.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_label_until_there_are_too_many() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let hosts: Vec<String> = (0..6).map(|n| format!("h{}.example.com", n / 2)).collect();
        let more: Vec<String> = (0..8).map(|n| format!("more{n}.example.com")).collect();
        let all: Vec<&str> = hosts.iter().chain(&more).map(String::as_str).collect();
        let latency = Latency::new(&metrics, all.iter().copied());
        for endpoint in 0..all.len() {
            latency.observe(endpoint, UpstreamMethod::Generate, Duration::from_millis(20));
            latency.observe(endpoint, UpstreamMethod::CountTokens, Duration::from_secs(2));
        }
        latency.observe(all.len(), UpstreamMethod::Generate, Duration::ZERO);
        let count = |endpoint: &str, method: &str| {
            metrics.upstream_header_seconds.with_label_values(&[endpoint, method]).get_sample_count()
        };
        assert_eq!(count("h0.example.com", "generateContent"), 2, "two endpoints at one host");
        assert_eq!(count("h2.example.com", "countTokens"), 2);
        assert_eq!(count("more0.example.com", "generateContent"), 1, "the fourth");
        assert_eq!(count("other", "generateContent"), 7);
        assert_eq!(count("other", "loadCodeAssist"), 0);
    }
}
