//! Traces of model requests, sent to an OpenTelemetry collector as OTLP over HTTP.
//!
//! Spans are made by hand where a request passes, not from log lines: only what is written down here can leave the
//! process, and that is never a prompt, a token, an e-mail address or a key. Whether a request is traced is decided
//! once, when it arrives; for one that is not, and without a collector, no span is built at all.
//!
//! Finished spans go through a bounded queue to a thread of their own, so a collector that is slow or away costs spans,
//! which are counted, and nothing else.

mod context;
mod export;
mod span;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanLimits,
};
use opentelemetry_semantic_conventions::attribute;
use tokio::sync::oneshot;

use self::export::{Counted, Queue};
pub use self::span::Phase;
pub(super) use self::span::{Trace, bounded};
use super::Metrics;
use crate::config::{TraceSampler, TracingConfig};

/// The name of this instrumentation.
const SCOPE: &str = "antigravity-proxy";
/// Bounds of one span; those of its texts are in [`span`].
const LIMITS: SpanLimits = SpanLimits {
    max_events_per_span: 16,
    max_attributes_per_span: 48,
    max_links_per_span: 1,
    max_attributes_per_event: 8,
    max_attributes_per_link: 1,
};

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The exporter refuses its settings.
    #[error("traces cannot be sent to the collector: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Begins traces. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<On>>);

struct On {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// No traces.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Sends the traces of this process, which calls itself `instance`, to `config.endpoint` through `http`; without an
    /// endpoint there are none. Needs no runtime, but `http` may.
    pub fn start(
        config: &TracingConfig,
        http: impl HttpClient + 'static,
        instance: &str,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, TracesError> {
        let Some(endpoint) = &config.endpoint else { return Ok(Self::off()) };
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(http)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(config.timeout);
        if config.gzip {
            exporter = exporter.with_compression(Compression::Gzip);
        }
        let queue = Queue::new(config.queue, metrics);
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(config.queue)
            .with_max_export_batch_size(config.batch)
            .with_scheduled_delay(config.delay)
            .build();
        let processor = BatchSpanProcessor::builder(Counted::new(exporter.build()?, queue.clone()))
            .with_batch_config(batches)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue.before(processor))
            .with_sampler(sampler(config.sampler))
            .with_span_limits(LIMITS)
            .with_resource(resource(config, instance))
            .build();
        let tracer = provider.tracer(SCOPE);
        Ok(Self(Some(Arc::new(On { provider, tracer }))))
    }

    /// Whether requests may be traced.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins the trace of a request, or goes on with that which its client tells in `headers`; those of strangers, who
    /// could have everything recorded, are not given. `None` when there is nothing to see of it anywhere: tracing is off,
    /// or it is neither recorded here nor known to the client. Only one that is recorded asks for `attributes`.
    pub(super) fn begin(
        &self,
        name: &'static str,
        headers: Option<&HeaderMap>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Option<Trace> {
        let on = self.0.as_ref()?;
        let given = headers.and_then(context::parent);
        let known = given.is_some();
        let parent = match given {
            Some(given) => Context::new().with_remote_span_context(given),
            None => Context::new(),
        };
        let builder = on.tracer.span_builder(name).with_kind(SpanKind::Server);
        let mut root = on.tracer.build_with_context(builder, &parent);
        if root.is_recording() {
            root.set_attributes(attributes());
        }
        (known || root.is_recording()).then(|| Trace::new(on.tracer.clone(), root))
    }

    /// Sends what waits, for at most `limit`, and ends tracing. Whether everything was sent.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        let Some(on) = &self.0 else { return true };
        let provider = on.provider.clone();
        let (told, ended) = oneshot::channel();
        // A thread nobody has to wait for: the process may have to end before a collector that does not answer gives up.
        let flush = std::thread::Builder::new().name("traces-end".into()).spawn(move || {
            let sent = provider.shutdown_with_timeout(limit).is_ok();
            // Nobody waits any more when the process must end at once.
            let _ = told.send(sent);
        });
        flush.is_ok() && ended.await.unwrap_or(false)
    }
}

fn sampler(sampler: TraceSampler) -> Sampler {
    let own = match sampler.ratio {
        ratio if ratio >= 1.0 => Sampler::AlwaysOn,
        ratio if ratio <= 0.0 => Sampler::AlwaysOff,
        ratio => Sampler::TraceIdRatioBased(ratio),
    };
    if sampler.parent_based { Sampler::ParentBased(Box::new(own)) } else { own }
}

fn resource(config: &TracingConfig, instance: &str) -> Resource {
    let own = [
        KeyValue::new(attribute::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
        KeyValue::new(attribute::SERVICE_INSTANCE_ID, instance.to_owned()),
    ];
    let given = config.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    // Of two with one name the later one stays.
    Resource::builder()
        .with_attributes(own.into_iter().chain(given))
        .with_service_name(config.service_name.clone())
        .build()
}
