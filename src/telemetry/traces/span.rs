//! Spans of one request: the root and, below it, one for each phase.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use opentelemetry::trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use opentelemetry_semantic_conventions::attribute::ERROR_TYPE;

/// Most phases of one request that become spans; of a request that tries a whole pool the first ones tell enough.
const PHASES: u32 = 128;
/// Longest text of an attribute, in bytes; what is longer is cut.
const TEXT: usize = 256;
/// Why a span ended of which nobody said how: its request was given up.
const CANCELLED: &str = "cancelled";

/// The trace of one request.
pub(in crate::telemetry) struct Trace {
    context: SpanContext,
    /// `None` when it is not recorded: then only the ids are of use.
    recorded: Option<Recorded>,
}

struct Recorded {
    tracer: SdkTracer,
    root: Mutex<Option<Span>>,
    /// What phases are below.
    parent: Context,
    phases: AtomicU32,
}

impl Trace {
    /// The trace with this root.
    pub(super) fn new(tracer: SdkTracer, root: Span) -> Self {
        let context = root.span_context().clone();
        let recorded = root.is_recording().then(|| Recorded {
            tracer,
            parent: Context::new().with_remote_span_context(context.clone()),
            root: Mutex::new(Some(root)),
            phases: AtomicU32::new(0),
        });
        Self { context, recorded }
    }

    /// Its ids.
    pub(in crate::telemetry) fn context(&self) -> &SpanContext {
        &self.context
    }

    /// Begins a phase.
    pub(in crate::telemetry) fn phase(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Phase {
        let Some(recorded) = &self.recorded else { return Phase::default() };
        if recorded.phases.fetch_add(1, Ordering::Relaxed) >= PHASES {
            return Phase::default();
        }
        let builder = recorded.tracer.span_builder(name).with_kind(kind);
        Phase(Some(Box::new(recorded.tracer.build_with_context(builder, &recorded.parent))))
    }

    /// Ends the root with what `attributes` tells; `failure` is the reason where the gateway failed.
    pub(in crate::telemetry) fn end(&self, failure: bool, attributes: impl FnOnce() -> Vec<KeyValue>) {
        let Some(recorded) = &self.recorded else { return };
        let root = recorded.root.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut root) = root else { return };
        root.set_attributes(attributes());
        let left_out = recorded.phases.load(Ordering::Relaxed).saturating_sub(PHASES);
        if left_out > 0 {
            root.set_attribute(KeyValue::new("antigravity_proxy.spans.left_out", i64::from(left_out)));
        }
        if failure {
            root.set_status(Status::error(""));
        }
        root.end();
    }
}

/// One phase of a request; nothing where the request is not traced. It ends with [`Phase::end`], and when it is dropped
/// before: then its request was given up.
#[derive(Default)]
#[must_use = "a phase ends when it is dropped"]
pub struct Phase(Option<Box<Span>>);

impl Phase {
    /// Whether anybody will see it: what is costly to tell is told only then.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Tells a number, a flag or a word of this program.
    pub fn tell(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Tells a text, of which the first 256 bytes count.
    pub fn tell_text(&mut self, key: &'static str, text: &str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, bounded(text)));
        }
    }

    /// Notes that `what` happens now.
    pub fn note(&mut self, what: &'static str) {
        if let Some(span) = &mut self.0 {
            span.add_event(what, Vec::new());
        }
    }

    /// Ends it now.
    pub fn end(mut self) {
        if let Some(mut span) = self.0.take() {
            span.end();
        }
    }

    /// Ends it now as failed; `reason` is a word of a closed set.
    pub fn fail(mut self, reason: &'static str) {
        if let Some(mut span) = self.0.take() {
            span.set_attribute(KeyValue::new(ERROR_TYPE, reason));
            span.set_status(Status::error(""));
            span.end();
        }
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(ERROR_TYPE, CANCELLED));
            span.end();
        }
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_recorded() { "Phase(recorded)" } else { "Phase(none)" })
    }
}

/// `text` as a value of bounded size.
pub(in crate::telemetry) fn bounded(text: &str) -> StringValue {
    text[..text.floor_char_boundary(TEXT)].to_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character() {
        assert_eq!(bounded("short").as_str(), "short");
        let cut = bounded(&"ß".repeat(TEXT));
        assert_eq!(cut.as_str().len(), TEXT);
        assert_eq!(bounded(&format!("x{}", "ß".repeat(TEXT))).as_str().len(), TEXT - 1);
    }
}
