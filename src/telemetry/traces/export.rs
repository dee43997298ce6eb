//! The way of finished spans to the collector, bounded and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

use super::Metrics;
use crate::telemetry::metrics::label::SpanLoss;

/// How many spans wait to be sent. The SDK's own queue has the same bound, but says only at its end what it dropped.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    waiting: Arc<AtomicUsize>,
    most: usize,
    metrics: Arc<Metrics>,
}

impl Queue {
    pub(super) fn new(most: usize, metrics: &Arc<Metrics>) -> Self {
        Self { waiting: Arc::default(), most, metrics: Arc::clone(metrics) }
    }

    /// Stands before `processor`, which queues and sends.
    pub(super) fn before<P>(self, processor: P) -> Bounded<P> {
        Bounded { queue: self, processor }
    }

    /// Takes a place, unless there is none.
    fn enter(&self) -> bool {
        let room = |waiting| (waiting < self.most).then_some(waiting + 1);
        let entered = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok();
        if !entered {
            self.metrics.spans_dropped.of(SpanLoss::QueueFull).inc();
        }
        entered
    }

    fn leave(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::AcqRel);
    }
}

/// A processor that never gets more than fits into its queue.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    queue: Queue,
    processor: P,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// An exporter that counts what it could not send.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    queue: Queue,
}

impl<E> Counted<E> {
    pub(super) fn new(exporter: E, queue: Queue) -> Self {
        Self { exporter, queue }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.leave(spans);
        let sent = self.exporter.export(batch).await;
        if sent.is_err() {
            let lost = self.queue.metrics.spans_dropped.of(SpanLoss::ExportFailed);
            lost.inc_by(u64::try_from(spans).unwrap_or(u64::MAX));
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
