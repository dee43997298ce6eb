//! The reference's shape of usage: `{"<hour>": {"_total": n, "<family>": {"_subtotal": n, "<model>": n}}}`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// Requests by hour; hours without any are not there. The key is the hour's beginning in UTC, such as
/// `2026-11-23T15:00:00.000Z`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
pub struct History(BTreeMap<String, HourHistory>);

/// Requests of one hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct HourHistory {
    /// All of them.
    #[serde(rename = "_total")]
    pub total: u64,
    /// Those for models of Claude; left out when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claude: Option<FamilyHistory>,
    /// Those for models of Gemini; left out when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gemini: Option<FamilyHistory>,
    /// Those for others; left out when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<FamilyHistory>,
}

/// Requests of one hour for the models of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FamilyHistory {
    /// All of them.
    #[serde(rename = "_subtotal")]
    pub subtotal: u64,
    /// By model, without the family's name in front.
    #[serde(flatten)]
    pub models: BTreeMap<String, u64>,
}

/// A family of models, by what their names contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Claude,
    Gemini,
    Other,
}

impl History {
    /// Adds `requests` for `model` in the hour that begins at `hour_ms`, ms since the epoch.
    pub(super) fn count(&mut self, hour_ms: i64, model: &str, requests: u64) {
        let Ok(time) = Timestamp::from_millisecond(hour_ms) else { return };
        let hour = self.0.entry(time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()).or_default();
        let (family, short) = family_of(model);
        let family = match family {
            Family::Claude => &mut hour.claude,
            Family::Gemini => &mut hour.gemini,
            Family::Other => &mut hour.other,
        };
        let family = family.get_or_insert_default();
        let count = family.models.entry(short.to_owned()).or_default();
        for sum in [&mut hour.total, &mut family.subtotal, count] {
            *sum = sum.saturating_add(requests);
        }
    }
}

/// The family of a model and its name within it (spec `http-api.md` §4.2).
fn family_of(model: &str) -> (Family, &str) {
    let lower = model.to_ascii_lowercase();
    let families = [("claude", Family::Claude), ("gemini", Family::Gemini)];
    let Some((name, family)) = families.into_iter().find(|(name, _)| lower.contains(name)) else {
        return (Family::Other, named(model));
    };
    let rest = lower.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    let short = rest.and_then(|rest| model.get(model.len() - rest.len()..));
    (family, named(short.unwrap_or(model)))
}

/// A name that is none of the shape's own members.
fn named(short: &str) -> &str {
    if short.is_empty() || short.starts_with('_') { "unknown" } else { short }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn families_are_the_references() {
        for (model, family, short) in [
            ("claude-sonnet-4-6", Family::Claude, "sonnet-4-6"),
            ("Claude-X", Family::Claude, "X"),
            ("gemini-3-flash", Family::Gemini, "3-flash"),
            ("my-gemini-3", Family::Gemini, "my-gemini-3"),
            ("gemini", Family::Gemini, "gemini"),
            ("claude-", Family::Claude, "unknown"),
            ("claude-_subtotal", Family::Claude, "unknown"),
            ("gemini-claude", Family::Claude, "gemini-claude"),
            ("gpt-oss-120b", Family::Other, "gpt-oss-120b"),
            ("_total", Family::Other, "unknown"),
            ("other", Family::Other, "other"),
        ] {
            assert_eq!(family_of(model), (family, short), "{model}");
        }
    }

    #[test]
    fn the_shape_is_the_references() {
        const HOUR: i64 = 1_795_446_000_000;
        let mut history = History::default();
        assert_eq!(serde_json::to_value(&history).unwrap(), json!({}));
        history.count(HOUR + 3_600_000, "gpt-oss", 1);
        history.count(HOUR, "claude-sonnet-4-6", 3);
        history.count(HOUR, "CLAUDE-sonnet-4-6", 1);
        history.count(HOUR, "gemini-3-flash", 2);
        assert_eq!(
            serde_json::to_string(&history).unwrap(),
            concat!(
                r#"{"2026-11-23T15:00:00.000Z":{"_total":6,"claude":{"_subtotal":4,"sonnet-4-6":4},"#,
                r#""gemini":{"_subtotal":2,"3-flash":2}},"#,
                r#""2026-11-23T16:00:00.000Z":{"_total":1,"other":{"_subtotal":1,"gpt-oss":1}}}"#
            )
        );
    }
}
