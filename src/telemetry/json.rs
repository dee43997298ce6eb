//! Log lines as flat JSON objects, one a line.
//!
//! The subscriber's own format nests the fields of spans; here the ids of a line's request stand beside its fields, as
//! log stores want them.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

use super::scope::{Fields, add_ids};

/// `{"timestamp":"…","level":"INFO","message":"…", fields…, "request_id":"…","target":"…"}`; the time is UTC.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> tracing_subscriber::fmt::FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let Fields { message, others } = Fields::of(event);
        let metadata = event.metadata();
        let mut line = Map::with_capacity(others.len() + 7);
        line.insert("timestamp".into(), time.into());
        line.insert("level".into(), metadata.level().as_str().into());
        line.insert("message".into(), message.into());
        line.extend(others);
        add_ids(context.event_scope(), &mut line);
        line.insert("target".into(), metadata.target().into());
        writeln!(writer, "{}", Value::Object(line))
    }
}
