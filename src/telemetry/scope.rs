//! Which request a log line belongs to: the fields of the request's span, kept where lines can find them.

use std::fmt::{Debug, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::requests::TARGET;

/// Keeps the fields of requests' spans.
pub(super) struct Scopes;

/// `request_id`, and `trace_id` and `span_id` where there is a trace.
struct Ids(Vec<(&'static str, String)>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Scopes {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != TARGET {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let mut ids = Ids(Vec::with_capacity(3));
        attributes.record(&mut ids);
        span.extensions_mut().insert(ids);
    }
}

/// Adds to `fields` what the scope of a line says.
pub(super) fn add_ids<'s, S>(scope: Option<Scope<'s, S>>, fields: &mut Map<String, Value>)
where
    S: LookupSpan<'s>,
{
    for span in scope.into_iter().flatten() {
        if let Some(Ids(ids)) = span.extensions().get::<Ids>() {
            fields.extend(ids.iter().map(|(name, id)| ((*name).to_owned(), id.as_str().into())));
        }
    }
}

impl Visit for Ids {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(text, "{value:?}");
        self.0.push((field.name(), text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }
}

/// A line's message and its other fields, as values.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) others: Map<String, Value>,
}

impl Fields {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a string fails only if the value's own format does; it is then kept as far as it came.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}
