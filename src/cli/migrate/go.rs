//! The Go port's keys in Redis as the reference's documents (spec `http-api.md` §10.3, `dispatch.md` §9.11).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Brought;
use crate::server::migration::{Fate, Item};
use crate::store::redis::foreign::Foreign;

const ACCOUNT: &str = "antigravity:accounts:";
const INDEX: &str = "antigravity:accounts:index";
const LIMIT: &str = "antigravity:ratelimits:";
const HOUR: &str = "antigravity:stats:";

/// What the keys hold. The index is a set without an order: accounts come by their addresses.
pub(super) fn read(keys: BTreeMap<String, Foreign>) -> Brought {
    let mut index = BTreeSet::new();
    let mut accounts: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut limits: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut hours = Map::new();
    let mut brought = Brought::default();
    let mut unread = BTreeSet::new();
    for (key, value) in keys {
        match value {
            Foreign::Set(members) if key == INDEX => index = members,
            Foreign::Hash(fields) if key != INDEX => {
                if let Some(email) = key.strip_prefix(ACCOUNT) {
                    accounts.insert(email.to_owned(), fields);
                } else if let Some((email, model)) =
                    key.strip_prefix(LIMIT).and_then(|rest| rest.split_once(':'))
                {
                    limits.entry(email.to_owned()).or_default().insert(model.to_owned(), limit(&fields));
                } else if let Some(hour) = key.strip_prefix(HOUR) {
                    hours.insert(format!("{hour}:00:00Z"), counters(fields));
                }
            }
            other => {
                let reason = match other {
                    Foreign::Garbled => "holds something that is not UTF-8",
                    _ => "is not of the type that the Go port gives it",
                };
                brought.items.push(failed(&key, reason));
                unread.extend(key.strip_prefix(ACCOUNT).map(str::to_owned));
            }
        }
    }
    let mut list = Vec::new();
    for email in &index {
        match accounts.remove(email) {
            Some(fields) => list.push(account(email, fields, limits.remove(email).unwrap_or_default())),
            // That was told of its key.
            None if unread.contains(email) => {}
            None => brought.items.push(item(email, Fate::Failed, "stands in the index and has no record")),
        }
    }
    for email in accounts.keys() {
        brought.items.push(item(email, Fate::Skipped, "is not in the index, so the Go port does not use it"));
    }
    brought.migration.accounts = Some(json!({ "accounts": list }));
    brought.migration.usage = (!hours.is_empty()).then_some(Value::Object(hours));
    brought
}

fn item(name: &str, outcome: Fate, reason: &str) -> Item {
    Item { kind: "account".into(), name: name.to_owned(), outcome, reason: Some(reason.to_owned()) }
}

/// A key that could not be read.
fn failed(key: &str, reason: &str) -> Item {
    let kind = if key.starts_with(HOUR) { "usage" } else { "account" };
    let name = key.chars().filter(|c| !c.is_control()).collect();
    Item { kind: kind.into(), name, outcome: Fate::Failed, reason: Some(reason.to_owned()) }
}

/// Texts as they are; members that are JSON in a text as what they hold. What is not JSON stays a text, so that it is
/// refused by its name later.
fn account(email: &str, fields: BTreeMap<String, String>, limits: Map<String, Value>) -> Value {
    let mut account = Map::new();
    account.insert("email".to_owned(), json!(email));
    for (name, text) in fields {
        if text.is_empty() || name == "email" {
            continue;
        }
        let nested = matches!(&*name, "subscription" | "quota" | "quotaThreshold" | "modelQuotaThresholds");
        let value = match serde_json::from_str(&text) {
            Ok(value) if nested => value,
            _ => Value::String(text),
        };
        account.insert(name, value);
    }
    // The Go port has 0 for what it does not know, which its reset time tells apart.
    let models = account.get_mut("quota").and_then(|quota| quota.get_mut("models"));
    for quota in models.and_then(Value::as_object_mut).into_iter().flat_map(|models| models.values_mut()) {
        let nothing = quota["remainingFraction"].as_f64() == Some(0.0);
        let reset = quota["resetTime"].as_str().is_some_and(|time| !time.is_empty());
        if nothing && !reset && quota.is_object() {
            quota["remainingFraction"] = Value::Null;
        }
    }
    account.insert("modelRateLimits".to_owned(), Value::Object(limits));
    Value::Object(account)
}

fn limit(fields: &BTreeMap<String, String>) -> Value {
    json!({ "isRateLimited": fields.get("isRateLimited"), "resetTime": fields.get("resetTime") })
}

/// `_total`, `<family>:_subtotal`, `<family>:<short name>`.
fn counters(fields: BTreeMap<String, String>) -> Value {
    let mut hour = Map::new();
    for (name, text) in fields {
        let count = text.parse::<u64>().map_or(Value::String(text), |count| json!(count));
        match name.split_once(':') {
            Some((family, short)) => {
                let family = hour.entry(family).or_insert_with(|| json!({}));
                family[short] = count;
            }
            None => _ = hour.insert(name, count),
        }
    }
    Value::Object(hour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::import;

    fn hash(fields: &[(&str, &str)]) -> Foreign {
        Foreign::Hash(fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn nothing_of_an_account_is_lost() {
        let keys = BTreeMap::from([
            (INDEX.to_owned(), Foreign::Set(["b@x", "a@x", "gone@x"].map(str::to_owned).into())),
            (
                format!("{ACCOUNT}a@x"),
                hash(&[
                    ("email", "a@x"),
                    ("source", "oauth"),
                    ("enabled", "false"),
                    ("refreshToken", "1//r|p|m"),
                    ("apiKey", "k"),
                    ("isInvalid", "true"),
                    ("invalidReason", "some words"),
                    ("lastUsed", "2026-11-20T10:00:00Z"),
                    ("quotaThreshold", "0.25"),
                    (
                        "subscription",
                        r#"{"tier":"ultra","projectId":"p","detectedAt":"2026-11-01T00:00:00Z"}"#,
                    ),
                    (
                        "quota",
                        r#"{"models":{"m":{"remainingFraction":0,"resetTime":""},
                        "n":{"remainingFraction":0,"resetTime":"2026-11-20T10:00:00Z"}},"lastChecked":1764201600000}"#,
                    ),
                    ("modelQuotaThresholds", r#"{"m":0.5}"#),
                ]),
            ),
            (format!("{ACCOUNT}b@x"), hash(&[("email", "b@x"), ("source", "manual"), ("apiKey", "k")])),
            (format!("{ACCOUNT}stray@x"), hash(&[("email", "stray@x")])),
            (
                format!("{LIMIT}a@x:m"),
                hash(&[
                    ("isRateLimited", "true"),
                    ("resetTime", "2033-05-18T03:33:20Z"),
                    ("actualResetMs", "5"),
                ]),
            ),
            (
                format!("{HOUR}2026-11-23T15"),
                hash(&[("_total", "3"), ("claude:_subtotal", "3"), ("claude:x", "3")]),
            ),
        ]);
        let brought = read(keys);
        let (entries, rejected) = import::read(brought.migration.accounts.unwrap()).unwrap();
        assert!(rejected.is_empty(), "{rejected:?}");
        let a = &entries[0];
        assert_eq!((a.email.as_str(), a.enabled, entries[1].email.as_str()), ("a@x", Some(false), "b@x"));
        assert_eq!((a.project.as_deref(), a.managed_project.as_deref()), (Some("p"), Some("m")));
        assert!(a.spare_key.is_some());
        assert_eq!((a.quota_threshold, a.model_quota_thresholds["m"]), (Some(0.25), 0.5));
        let subscription = a.subscription.as_ref().unwrap();
        assert_eq!((subscription.tier.as_str(), subscription.seen_at_ms), ("ultra", Some(1_793_491_200_000)));
        let quota = a.state.quota.as_ref().unwrap();
        let fractions: Vec<_> = quota.models.iter().map(|one| one.fraction).collect();
        assert_eq!(fractions, [None, Some(0.0)]);
        assert_eq!(a.state.last_used_ms, Some(1_795_168_800_000));
        assert_eq!((a.state.limits[0].model.as_str(), a.state.limits[0].until_ms), ("m", 2_000_000_000_000));
        assert!(a.state.invalid.is_none() && a.notes[0].contains("tried anew"), "{:?}", a.notes);
        assert_eq!(brought.migration.usage.unwrap()["2026-11-23T15:00:00Z"]["claude"]["x"], 3);
        let told: Vec<_> = brought.items.iter().map(|item| (item.name.as_str(), item.outcome)).collect();
        assert_eq!(told, [("gone@x", Fate::Failed), ("stray@x", Fate::Skipped)]);
    }

    #[test]
    fn keys_that_cannot_be_read_are_failed_by_their_names() {
        let of = |rest: &str| format!("{ACCOUNT}{rest}");
        let keys = BTreeMap::from([
            (INDEX.to_owned(), Foreign::Set(["a@x", "b@x", "c@x"].map(str::to_owned).into())),
            (of("a@x"), Foreign::Garbled),
            (of("b@x"), Foreign::Other("string".into())),
            (of("c@x"), hash(&[("source", "manual"), ("apiKey", "k")])),
            (format!("{LIMIT}c@x:m"), Foreign::Set(BTreeSet::new())),
            (format!("{HOUR}2026-11-23T15"), Foreign::Other("list".into())),
        ]);
        let brought = read(keys);
        let (entries, rejected) = import::read(brought.migration.accounts.unwrap()).unwrap();
        assert_eq!((entries.len(), rejected.len(), entries[0].email.as_str()), (1, 0, "c@x"));
        let told: Vec<_> = brought
            .items
            .iter()
            .map(|item| (item.kind.as_str(), item.name.as_str(), item.reason.as_deref().unwrap()))
            .collect();
        let kind = "is not of the type that the Go port gives it";
        assert_eq!(
            told,
            [
                ("account", &*of("a@x"), "holds something that is not UTF-8"),
                ("account", &*of("b@x"), kind),
                ("account", &*format!("{LIMIT}c@x:m"), kind),
                ("usage", &*format!("{HOUR}2026-11-23T15"), kind),
            ]
        );
        assert!(brought.items.iter().all(|item| item.outcome == Fate::Failed));

        for index in [Foreign::Garbled, Foreign::Other("string".into()), hash(&[("a@x", "1")])] {
            let brought = read(BTreeMap::from([(INDEX.to_owned(), index)]));
            let told: Vec<_> = brought.items.iter().map(|item| (item.name.as_str(), item.outcome)).collect();
            assert_eq!(told, [(INDEX, Fate::Failed)]);
        }
    }

    #[test]
    fn a_member_that_is_no_json_is_refused_by_its_name() {
        let keys = BTreeMap::from([
            (INDEX.to_owned(), Foreign::Set(["a@x".to_owned()].into())),
            (format!("{ACCOUNT}a@x"), hash(&[("refreshToken", "r"), ("quota", "{broken")])),
        ]);
        let (_, rejected) = import::read(read(keys).migration.accounts.unwrap()).unwrap();
        assert!(rejected[0].reason.contains("quota must be an object"), "{rejected:?}");
    }
}
