//! A log line as the console reads it.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::store::feed::{Cursor, Entry};
use crate::telemetry::logs::AUDIT;
use crate::telemetry::records::Kept;
use crate::telemetry::requests;

/// The levels of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum LogLevel {
    /// Details, also finer ones.
    Debug,
    /// What happens.
    Info,
    /// What went well: a request that was served, a change that an operator made.
    Success,
    /// What could not be done, or may become a fault.
    Warn,
    /// A fault.
    Error,
}

impl LogLevel {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Success, Self::Warn, Self::Error];

    /// As it is written.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Success => "SUCCESS",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    fn of(kept: &Kept<'_>) -> Self {
        let served = || kept.fields.get("outcome").is_some_and(|outcome| outcome == "served");
        match &*kept.level {
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" if kept.target == requests::TARGET && served() => Self::Success,
            "info" if kept.target == AUDIT => Self::Success,
            "info" => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogLine {
    /// Its place among the lines of all replicas, the same at each of them; for `since`, `before` and `Last-Event-ID`.
    /// Not there in a line that only tells of a gap.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    #[schema(value_type = Option<String>)]
    pub(crate) id: Option<Cursor>,
    /// When it was written, by the clock of its replica: RFC 3339 in UTC, with milliseconds.
    pub(crate) timestamp: String,
    /// Its level.
    pub(crate) level: LogLevel,
    /// What it says: a sentence, then its fields as `name=value`.
    pub(crate) message: String,
    /// The sentence alone.
    pub(crate) summary: String,
    /// The fields: texts, numbers and booleans.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object, required = false)]
    pub(crate) fields: Map<String, Value>,
    /// The module that wrote it.
    pub(crate) target: String,
    /// The id of the replica that wrote it; new with each start.
    pub(crate) replica: String,
    /// The name of its machine or pod.
    pub(crate) pod: String,
    /// The request that it belongs to, where it belongs to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// The trace of that request, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    /// `true` where lines are missing that are no longer kept; else it is not there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub(crate) gap: bool,
    /// When it was written, ms since the epoch.
    #[serde(skip)]
    pub(super) time: i64,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn as_text<S: Serializer>(id: &Option<Cursor>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

impl LogLine {
    /// The line that `entry` is; `None` when a later version wrote something else.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let kept: Kept<'_> = serde_json::from_slice(&entry.text).ok()?;
        let level = LogLevel::of(&kept);
        let mut fields = kept.fields;
        let mut take = |name: &str| match fields.shift_remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (request_id, trace_id, _span) = (take("request_id"), take("trace_id"), take("span_id"));
        Some(Self {
            id: Some(entry.cursor),
            timestamp: time(kept.time),
            level,
            message: message(&kept.message, &fields),
            summary: kept.message.into_owned(),
            fields,
            target: kept.target.into_owned(),
            replica: kept.replica.into_owned(),
            pod: kept.host.into_owned(),
            request_id,
            trace_id,
            gap: false,
            time: kept.time,
        })
    }

    /// What a stream says where lines are missing.
    pub(super) fn gap(now_ms: i64) -> Self {
        let summary = "Log lines are missing here: they are no longer kept";
        Self {
            id: None,
            timestamp: time(now_ms),
            level: LogLevel::Warn,
            message: summary.into(),
            summary: summary.into(),
            fields: Map::new(),
            target: module_path!().into(),
            replica: String::new(),
            pod: String::new(),
            request_id: None,
            trace_id: None,
            gap: true,
            time: now_ms,
        }
    }
}

/// `2026-01-01T00:00:00.000Z`; the beginning of the epoch for what is no time.
fn time(ms: i64) -> String {
    format!("{:.3}", Timestamp::from_millisecond(ms).unwrap_or_default())
}

/// The sentence, then the fields.
fn message(sentence: &str, fields: &Map<String, Value>) -> String {
    let mut message = sentence.to_owned();
    for (name, value) in fields {
        let plain = |text: &str| {
            !text.is_empty()
                && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=')
        };
        // Writing to a string does not fail.
        let _ = match value {
            Value::String(text) if plain(text) => write!(message, " {name}={text}"),
            other => write!(message, " {name}={other}"),
        };
    }
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(kept: &Value) -> Option<Value> {
        let entry = Entry { cursor: "5-7".parse().unwrap(), text: kept.to_string().into() };
        LogLine::of(&entry).map(|line| serde_json::to_value(line).unwrap())
    }

    #[test]
    fn a_line_is_the_references_and_more() {
        let kept = json!({
            "time": 1_767_225_600_123_i64, "replica": "r1", "host": "pod-1", "level": "warn", "target": "antigravity_proxy::x",
            "message": "it failed", "fields": {
                "count": 3, "error": "no \"such\" thing", "account.id": "a1", "empty": "", "request_id": "req_1", "trace_id": "t",
                "span_id": "s",
            },
        });
        let expected = json!({
            "id": "5-7", "timestamp": "2026-01-01T00:00:00.123Z", "level": "WARN",
            "message": "it failed count=3 error=\"no \\\"such\\\" thing\" account.id=a1 empty=\"\"", "summary": "it failed",
            "fields": {"count": 3, "error": "no \"such\" thing", "account.id": "a1", "empty": ""},
            "target": "antigravity_proxy::x", "replica": "r1", "pod": "pod-1", "requestId": "req_1", "traceId": "t",
        });
        assert_eq!(line(&kept), Some(expected));
        assert_eq!(line(&json!({"other": 1})), None);
        let gap = serde_json::to_value(LogLine::gap(0)).unwrap();
        assert_eq!((&gap["gap"], &gap["level"], gap.get("id")), (&json!(true), &json!("WARN"), None));
    }

    #[test]
    fn levels() {
        for (level, target, outcome, expected) in [
            ("trace", "antigravity_proxy::x", "", "DEBUG"),
            ("debug", requests::TARGET, "served", "DEBUG"),
            ("info", "antigravity_proxy::x", "served", "INFO"),
            ("info", requests::TARGET, "served", "SUCCESS"),
            ("info", requests::TARGET, "cancelled", "INFO"),
            ("info", AUDIT, "", "SUCCESS"),
            ("warn", AUDIT, "", "WARN"),
            ("error", requests::TARGET, "internal", "ERROR"),
        ] {
            let kept = json!({
                "time": 0, "replica": "r", "level": level, "target": target, "message": "m", "fields": {"outcome": outcome},
            });
            assert_eq!(line(&kept).unwrap()["level"], expected, "{level} {target} {outcome}");
        }
    }
}
