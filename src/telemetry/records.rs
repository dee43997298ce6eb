//! Log records as values, for those who keep them: what the subscriber lets through, in a bounded channel.
//!
//! The channel belongs to the process, as the subscriber does. Where nobody follows it, a record costs one atomic
//! load; a follower that falls behind is told how many records it missed ([`broadcast::error::RecvError::Lagged`]).

use std::borrow::Cow;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::scope::add_ids;
use super::scrub::{addresses, secrets};

/// Records that wait for the slowest follower.
const WAITING: usize = 1024;
/// Bytes of text in one record; what is longer ends in `…`.
const TEXT: usize = 4096;
/// The feed that keeps records does not read about itself, nor do those who are sent what it keeps.
const KEEPERS: [&str; 2] = ["antigravity_proxy::store::feed", "antigravity_proxy::server::event_stream"];
/// What this program writes; of libraries only warnings and errors are kept. What they say at lower levels may be about
/// the very sending of records, each of which would make the next.
const OWN: &str = "antigravity_proxy";
/// A name that an operator gave, as which an address may be meant.
const NAMED: &str = "client.key.name";

static RECORDS: LazyLock<broadcast::Sender<Arc<Record>>> = LazyLock::new(|| broadcast::channel(WAITING).0);

/// The records from now on.
#[must_use]
pub fn follow() -> broadcast::Receiver<Arc<Record>> {
    RECORDS.subscribe()
}

/// One log record. Its texts come to at most 4 KiB.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// The module that wrote it.
    pub target: &'static str,
    /// The sentence.
    pub message: String,
    /// The other fields, in order: strings, numbers and booleans; last the ids of its request, when it has one.
    pub fields: Map<String, Value>,
}

/// A record as the feed keeps it, as one JSON object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept<'a> {
    /// When it was kept, ms since the epoch, by the replica's clock.
    pub time: i64,
    /// The replica that wrote it.
    #[serde(borrow)]
    pub replica: Cow<'a, str>,
    /// The name of its machine or pod; empty in what an earlier version kept.
    #[serde(borrow, default)]
    pub host: Cow<'a, str>,
    /// See [`Record::level`].
    #[serde(borrow)]
    pub level: Cow<'a, str>,
    /// See [`Record::target`].
    #[serde(borrow)]
    pub target: Cow<'a, str>,
    /// See [`Record::message`].
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// See [`Record::fields`].
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// Sends what the subscriber below it lets through to the followers.
pub(super) struct Records;

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if RECORDS.receiver_count() == 0 || !is_kept(metadata.target(), *metadata.level()) {
            return;
        }
        let mut text = Text { left: TEXT, message: String::new(), fields: Map::new() };
        event.record(&mut text);
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let Text { message, mut fields, .. } = text;
        add_ids(context.event_scope(event), &mut fields);
        // The last follower may just have gone.
        drop(RECORDS.send(Arc::new(Record { level, target: metadata.target(), message, fields })));
    }
}

fn is_kept(target: &str, level: Level) -> bool {
    let below = |module: &str| {
        target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    (below(OWN) || level <= Level::WARN) && !KEEPERS.into_iter().any(below)
}

/// Message and fields of a record, as far as there is room, without what nobody shall read.
struct Text {
    left: usize,
    message: String,
    fields: Map<String, Value>,
}

impl Text {
    fn fit(&mut self, mut text: String) -> String {
        if text.len() > self.left {
            text.truncate(text.floor_char_boundary(self.left));
            text.push('…');
        }
        self.left = self.left.saturating_sub(text.len());
        text
    }

    fn put(&mut self, field: &Field, value: impl FnOnce(&mut Self) -> Value) {
        if self.left > field.name().len() {
            self.left -= field.name().len();
            let value = value(self);
            self.fields.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a string fails only if the value's own format does; it is then kept as far as it came.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let shown = secrets(value);
        let shown = if field.name() == NAMED { shown } else { addresses(shown) };
        if field.name() == "message" {
            self.message = self.fit(shown.into_owned());
        } else {
            self.put(field, |text| text.fit(shown.into_owned()).into());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |_| value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |_| value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |_| value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, |_| value.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The records of `log` in this thread; those of other tests have other targets.
    fn recorded(target: &str, log: impl FnOnce()) -> Vec<Arc<Record>> {
        let mut records = follow();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Records), log);
        std::iter::from_fn(|| records.try_recv().ok()).filter(|record| record.target == target).collect()
    }

    #[test]
    fn a_record_keeps_its_fields() {
        let records = recorded("antigravity_proxy::fields", || {
            tracing::warn!(target: "antigravity_proxy::fields", count = 3, ok = true, account.id = "a1", at = ?Some(1), "two {}", 2);
        });
        let [record] = &records[..] else { panic!("{records:?}") };
        assert_eq!((record.level, record.message.as_str()), ("warn", "two 2"));
        assert_eq!(
            Value::Object(record.fields.clone()),
            json!({"count": 3, "ok": true, "account.id": "a1", "at": "Some(1)"})
        );
    }

    #[test]
    fn a_record_is_bounded() {
        let records = recorded("antigravity_proxy::bounds", || {
            tracing::info!(target: "antigravity_proxy::bounds", first = "x", long = "ß".repeat(TEXT), last = "y", "a message");
        });
        let record = &records[0];
        let long = record.fields["long"].as_str().unwrap();
        assert!(long.ends_with("ß…") && long.len() <= TEXT + 3, "{}", long.len());
        assert!(record.fields.contains_key("first") && !record.fields.contains_key("last"));
        assert!(serde_json::to_string(&record.fields).unwrap().len() < 5000);
    }

    #[test]
    fn what_is_about_keeping_records_is_not_kept() {
        for (target, level, kept) in [
            ("antigravity_proxy", Level::TRACE, true),
            ("antigravity_proxy::request", Level::INFO, true),
            ("antigravity_proxy::store::feed::redis", Level::ERROR, false),
            ("antigravity_proxy::store::feeder", Level::ERROR, true),
            ("antigravity_proxy::server::event_stream", Level::WARN, false),
            ("antigravity_proxys", Level::INFO, false),
            ("hyper::proto::h1::io", Level::TRACE, false),
            ("h2::codec", Level::DEBUG, false),
            ("rustls::conn", Level::WARN, true),
        ] {
            assert_eq!(is_kept(target, level), kept, "{target} {level}");
        }
        let target = "antigravity_proxy::store::feed::redis";
        let log = || tracing::error!(target: "antigravity_proxy::store::feed::redis", "full");
        assert_eq!(recorded(target, log), []);
    }

    #[test]
    fn a_record_has_no_secrets_and_no_addresses() {
        let records = recorded("antigravity_proxy::scrubbed", || {
            tracing::error!(
                target: "antigravity_proxy::scrubbed",
                error = "refused: Bearer abcdefghijk", client.key.name = "ada@example.com", at = ?Some("eve@example.com"),
                "ada@example.com sent ya29.abcdef"
            );
        });
        let record = &records[0];
        assert_eq!(record.message, "…@example.com sent ***");
        let fields = json!({
            "error": "refused: Bearer ***", "client.key.name": "ada@example.com", "at": "Some(\"…@example.com\")"
        });
        assert_eq!(Value::Object(record.fields.clone()), fields);
    }
}
