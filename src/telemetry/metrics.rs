//! The gateway's metrics.
//!
//! Names are `antigravity_proxy_<noun>_<unit>[_total]`; each field's doc comment is the metric's help text, and
//! `docs/metrics.md` is made of this table and of [`label`]. Labels are bounded: their values come from closed enums,
//! from the routes, scripts and endpoints of the program, or are models of the pool, of which 50 get a label of their
//! own. With every value in use a gateway exports fewer than 5,000 series (`tests/it/cardinality.rs`).

mod family;
pub mod label;
mod models;
pub mod process;
pub mod reference;
pub mod runtime;
mod total;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Counter, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use self::family::{Counters, Gauges, Grid, Histograms};
use self::label::{
    AccountState, AttemptOutcome, CountSource, Decision, Endpoint, Label as _, LabelValues, LimitKind, Model,
    Outcome, RefreshOutcome, RetryReason, RetryStep, Route, Script, SpanLoss, Status, StatusClass, Strategy,
    TokenKind, Topic, UpstreamMethod, Values, Version, WaitReason,
};
pub use self::models::ModelMetrics;
use self::models::{Families, Models};

/// Answers of the console and heads of streams, seconds.
const HTTP_SECONDS: &[f64] = &[0.01, 0.1, 0.5, 2.5, 10.0];
/// Time to the first event, seconds.
const FIRST_EVENT_SECONDS: &[f64] = &[0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0];
/// Streams, seconds.
const STREAM_SECONDS: &[f64] = &[1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0];
/// Calls of the upstream and of the token endpoint, seconds.
const UPSTREAM_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Waits for the pool, seconds.
const WAIT_SECONDS: &[f64] = &[0.05, 0.25, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0];
/// Round trips to the store, seconds.
const STORE_SECONDS: &[f64] = &[0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0];

/// One row of the table, for the manual.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its whole name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels and what may stand in them.
    pub labels: &'static [(&'static str, Values)],
    /// Its help text.
    pub help: &'static str,
}

/// The help text of a row of `table`.
fn help_of(table: &[Metric], name: &str) -> &'static str {
    table.iter().find(|row| row.name == name).map_or("", |row| row.help)
}

macro_rules! metrics {
    ($( #[doc = $help:literal] $field:ident: $kind:ident $(<$buckets:ident>)? = $name:literal $([$($label:ident: $values:ident),+])?; )+) => {
        /// A handle of each metric.
        #[derive(Debug)]
        pub struct Handles {
            $( #[doc = $help] pub $field: metrics!(@type $kind [$($($values)+)?]), )+
        }

        /// All metrics of this table.
        pub const TABLE: &[Metric] = &[$( Metric {
            name: concat!("antigravity_proxy_", $name),
            kind: metrics!(@word $kind),
            labels: &[$($( (stringify!($label), <$values as LabelValues>::VALUES), )+)?],
            help: $help.trim_ascii(),
        }, )+];

        impl Handles {
            fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
                $(
                    let opts = metrics!(@opts [$($buckets)?] concat!("antigravity_proxy_", $name), $help.trim_ascii());
                    let $field = metrics!(@build $kind [$($($label $values)+)?] opts);
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok(Self { $($field),+ })
            }
        }
    };
    (@word IntCounter) => { "counter" };
    (@word Counter) => { "counter" };
    (@word Counters) => { "counter" };
    (@word Grid) => { "counter" };
    (@word IntCounterVec) => { "counter" };
    (@word IntGauge) => { "gauge" };
    (@word Gauges) => { "gauge" };
    (@word IntGaugeVec) => { "gauge" };
    (@word Histogram) => { "histogram" };
    (@word Histograms) => { "histogram" };
    (@word HistogramVec) => { "histogram" };
    // Closed labels are part of the type; open ones are given where something is counted.
    (@type Counters [$values:ident]) => { Counters<$values> };
    (@type Gauges [$values:ident]) => { Gauges<$values> };
    (@type Histograms [$values:ident]) => { Histograms<$values> };
    (@type Grid [$first:ident $second:ident]) => { Grid<$first, $second> };
    (@type $kind:ident [$($values:ident)*]) => { $kind };
    (@opts [] $name:expr, $help:expr) => { Opts::new($name, $help) };
    (@opts [$buckets:ident] $name:expr, $help:expr) => { HistogramOpts::new($name, $help).buckets($buckets.to_vec()) };
    (@build Counters [$label:ident $values:ident] $opts:ident) => { Counters::new($opts, stringify!($label))? };
    (@build Gauges [$label:ident $values:ident] $opts:ident) => { Gauges::new($opts, stringify!($label))? };
    (@build Histograms [$label:ident $values:ident] $opts:ident) => { Histograms::new($opts, stringify!($label))? };
    (@build Grid [$a:ident $first:ident $b:ident $second:ident] $opts:ident) => {
        Grid::new($opts, [stringify!($a), stringify!($b)])?
    };
    (@build $kind:ident [] $opts:ident) => { $kind::with_opts($opts)? };
    (@build $kind:ident [$($label:ident $values:ident)+] $opts:ident) => { $kind::new($opts, &[$(stringify!($label)),+])? };
}

metrics! {
    /// HTTP requests by route and class of status; 4xx includes those that their client gave up.
    http_requests: IntCounterVec = "http_requests_total" [route: Route, status: StatusClass];
    /// Time from a request's head to its answer's head; a stream goes on after that.
    http_request_seconds: HistogramVec<HTTP_SECONDS> = "http_request_duration_seconds" [route: Route];
    /// Model requests (`/v1/messages`) that have ended, counted once, with the end of the whole answer; what was refused before it was looked at (key, size of the body) is in `http_requests_total` alone. The model is the one that answered, else the one that was to.
    requests: IntCounterVec = "requests_total" [model: Model, status: Status, outcome: Outcome];
    /// Time from a model request's arrival to the first event of its answer, to its end where it is not streamed.
    first_event_seconds: HistogramVec<FIRST_EVENT_SECONDS> = "first_event_duration_seconds" [model: Model];
    /// Time from the first event of a streamed answer to its end, whatever ended it.
    stream_seconds: HistogramVec<STREAM_SECONDS> = "stream_duration_seconds" [model: Model];
    /// Answers that are being streamed.
    streams: IntGauge = "streams_in_flight";
    /// Tokens of answers.
    tokens: IntCounterVec = "tokens_total" [model: Model, kind: TokenKind];
    /// Accounts of the pool by state, the same in every replica; counted every 15 to 18 s and within 2 s of a change, in pools of thousands less often.
    accounts: Gauges = "accounts" [state: AccountState];
    /// Requests in flight on accounts in that state, of all replicas; read together with the accounts.
    account_requests: Gauges = "account_requests_in_flight" [state: AccountState];
    /// Requests to choose an account, by strategy and by what was decided; one request asks again after a wait or a failure.
    admissions: Grid = "admissions_total" [strategy: Strategy, decision: Decision];
    /// Waits for the pool, by what a request waited for when it began to.
    waits: Counters = "pool_waits_total" [reason: WaitReason];
    /// Time from the beginning of a wait to an account, or until the request gave up.
    wait_seconds: Histograms<WAIT_SECONDS> = "pool_wait_duration_seconds" [reason: WaitReason];
    /// Requests that are waiting for the pool.
    waiters: IntGauge = "pool_waiters";
    /// What was tried again within one request, by why and how.
    retries: Grid = "retries_total" [reason: RetryReason, step: RetryStep];
    /// Limits of accounts that this replica's requests newly met or extended.
    limits_set: Counters = "limits_set_total" [kind: LimitKind];
    /// Access tokens that this replica had to get; fixed tokens are not counted.
    token_refreshes: Counters = "token_refreshes_total" [outcome: RefreshOutcome];
    /// Time of one exchange with the token endpoint, failed ones included.
    token_refresh_seconds: Histogram<UPSTREAM_SECONDS> = "token_refresh_duration_seconds";
    /// Upstream calls of model requests by how they ended; one that a client gave up is not counted.
    upstream_attempts: Counters = "upstream_attempts_total" [outcome: AttemptOutcome];
    /// Time from an upstream call to the headers of its answer, whatever its status.
    upstream_header_seconds: HistogramVec<UPSTREAM_SECONDS> = "upstream_header_duration_seconds" [endpoint: Endpoint, method: UpstreamMethod];
    /// Content blocks of unknown type left out of a request.
    dropped_blocks: IntCounter = "dropped_blocks_total";
    /// Answers of `count_tokens` by where the number came from.
    token_counts: Counters = "token_counts_total" [source: CountSource];
    /// Store calls by script.
    store_calls: IntCounterVec = "store_calls_total" [script: Script];
    /// Failed store calls by script.
    store_errors: IntCounterVec = "store_errors_total" [script: Script];
    /// Time of the round trip to the store that a script took part in; one trip may carry several.
    store_seconds: HistogramVec<STORE_SECONDS> = "store_call_duration_seconds" [script: Script];
    /// Whether the store answers.
    store_up: IntGauge = "store_up";
    /// Times the store became unreachable.
    store_outages: IntCounter = "store_outages_total";
    /// Time without the store, an outage that lasts included.
    store_outage_seconds: Counter = "store_outage_seconds_total";
    /// Signatures that could not be remembered.
    signature_put_failures: IntCounter = "signature_put_failures_total";
    /// Settlements that wait for the store.
    settlements_queued: IntGauge = "settlements_queued";
    /// Settlements given up because too many were waiting.
    settlements_dropped: IntCounter = "settlements_dropped_total";
    /// Replicas of the pool that are alive, as this one saw them last.
    replicas: IntGauge = "replicas";
    /// Events and log records that wait to be written to the feed.
    feed_queued: Gauges = "feed_queued" [topic: Topic];
    /// Events and log records that were dropped before a reader could see them.
    feed_dropped: Counters = "feed_dropped_total" [topic: Topic];
    /// Spans of traces that never reached the collector.
    spans_dropped: Counters = "spans_dropped_total" [reason: SpanLoss];
    /// Whether the settings in the shared store are not usable, so that the last usable ones stay in force.
    shared_settings_rejected: IntGauge = "shared_settings_rejected";
    /// The generation of the shared settings that this gateway knows.
    shared_settings_generation: IntGauge = "shared_settings_generation";
    /// The running version; always 1.
    build_info: IntGaugeVec = "build_info" [version: Version];
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

/// All metrics; `Sync`, shared behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    models: Models,
    handles: Handles,
}

impl Deref for Metrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.handles
    }
}

impl Metrics {
    /// Registers everything in a registry of its own.
    ///
    /// # Errors
    ///
    /// Two metrics of the same name: a mistake in this file, found by its test.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let handles = Handles::new(&registry)?;
        registry.register(Box::new(runtime::Runtime::new()?))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(process::Process::new()?))?;
        handles.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let models = Models::new(Families {
            requests: handles.requests.clone(),
            first_event: handles.first_event_seconds.clone(),
            stream: handles.stream_seconds.clone(),
            tokens: handles.tokens.clone(),
        });
        Ok(Self { registry, models, handles })
    }

    /// Counts one finished HTTP request. `route` is the matched pattern, never the raw path.
    pub fn http_request(&self, route: &str, status: u16, took: Duration) {
        self.http_requests.with_label_values(&[route, StatusClass::of(status).label()]).inc();
        self.http_request_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Tells which models the pool offers: they get labels of their own, at most 50 in the life of a process.
    pub fn set_models<'m>(&self, ids: impl IntoIterator<Item = &'m str>) {
        self.models.add(&ids.into_iter().collect::<Vec<_>>());
    }

    /// The metrics of `model`; those of `other` unless the pool offers it, so that clients cannot create labels.
    #[must_use]
    pub fn model(&self, model: &str) -> Arc<ModelMetrics> {
        self.models.get(model)
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
        let model = metrics.model("m");
        model.began_after(Duration::from_millis(300));
        model.streamed_for(Duration::from_secs(2));
        model.used(TokenKind::Thinking, 3);
        let text = metrics.render();
        for line in [
            "antigravity_proxy_http_requests_total{route=\"/v1/messages\",status=\"2xx\"} 1",
            "antigravity_proxy_http_request_duration_seconds_count{route=\"/v1/messages\"} 1",
            "antigravity_proxy_first_event_duration_seconds_bucket{model=\"other\",le=\"0.5\"} 1",
            "antigravity_proxy_stream_duration_seconds_sum{model=\"other\"} 2",
            "antigravity_proxy_tokens_total{kind=\"thinking\",model=\"other\"} 3",
            "# HELP antigravity_proxy_streams_in_flight Answers that are being streamed.",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        for metric in TABLE {
            let bare = metric.name.strip_prefix("antigravity_proxy_").unwrap();
            assert_eq!(metric.kind == "counter", bare.ends_with("_total"), "{bare}");
            assert_eq!(metric.kind == "histogram", bare.ends_with("_duration_seconds"), "{bare}");
            assert!(metric.help.ends_with('.') || metric.help.ends_with("always 1"), "{}", metric.help);
        }
    }

    #[test]
    fn what_alerts_ask_about_is_there_before_it_happens() {
        let metrics = Metrics::new().unwrap();
        metrics.set_models(["m"]);
        let text = metrics.render();
        for line in [
            "antigravity_proxy_requests_total{model=\"m\",outcome=\"served\",status=\"200\"} 0",
            "antigravity_proxy_requests_total{model=\"other\",outcome=\"overloaded\",status=\"529\"} 0",
            "antigravity_proxy_retries_total{reason=\"capacity\",step=\"account\"} 0",
            "antigravity_proxy_admissions_total{decision=\"wait\",strategy=\"sticky\"} 0",
            "antigravity_proxy_limits_set_total{kind=\"quota\"} 0",
            "antigravity_proxy_token_refreshes_total{outcome=\"rejected\"} 0",
            "antigravity_proxy_pool_waits_total{reason=\"busy\"} 0",
            "antigravity_proxy_store_outages_total 0",
            "antigravity_proxy_store_outage_seconds_total 0",
            "antigravity_proxy_accounts{state=\"available\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn clients_cannot_create_model_labels() {
        let metrics = Metrics::new().unwrap();
        metrics.set_models(["claude-a", "gemini-b"]);
        for model in ["claude-a", "gemini-b", "x1", "x2", "x3"] {
            metrics.model(model).used(TokenKind::Input, 10);
        }
        let count = |model: &str| metrics.tokens.with_label_values(&[model, "input"]).get();
        assert_eq!((count("claude-a"), count("other")), (10, 30));
    }

    #[test]
    fn models_come_and_go_and_their_labels_stay_few() {
        let metrics = Metrics::new().unwrap();
        metrics.set_models(["first"]);
        metrics.model("first").used(TokenKind::Input, 1);
        for day in 0..10 {
            let ids: Vec<String> = (0..20).map(|n| format!("m{day}-{n}")).collect();
            metrics.set_models(ids.iter().map(String::as_str));
            for id in &ids {
                metrics.model(id).used(TokenKind::Input, 1);
            }
        }
        metrics.model("first").used(TokenKind::Input, 1);
        let text = metrics.render();
        let labels = text.lines().filter(|line| line.contains("tokens_total{kind=\"input\"")).count();
        assert_eq!(labels, models::MAX_MODELS + 1, "and the label of all others");
        assert!(text.contains("antigravity_proxy_tokens_total{kind=\"input\",model=\"first\"} 2"));
        assert!(text.contains("antigravity_proxy_tokens_total{kind=\"input\",model=\"m2-8\"} 1"));
        assert!(text.contains("antigravity_proxy_tokens_total{kind=\"input\",model=\"other\"} 151"));
    }
}
