//! What a migration means, read as a whole before anything is written.

mod secrets;

pub(in crate::app) use self::secrets::left_out;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::account::import::{self, DocumentError, Entry};
use crate::config::{BuiltInPreset, Kind, Setting, Sharing};
use crate::server::migration::{Existing, Fate, Item, Migration};
use crate::store::keys::USAGE_HOUR_MS;
use crate::store::ops::restore::Presets;

/// A document that cannot be what it is called; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum PlanError {
    /// The accounts.
    #[error("accounts: {0}")]
    Accounts(DocumentError),
    /// Another document has another shape.
    #[error("{document}: expected {expected}")]
    Shape {
        /// Which.
        document: &'static str,
        /// Its shape.
        expected: &'static str,
    },
}

/// What is to be done.
pub(in crate::app) struct Plan {
    pub(super) accounts: Vec<Entry>,
    /// Only those that the shared store may hold.
    pub(super) settings: BTreeMap<String, Value>,
    /// Requests by hour, ms since the epoch, and model.
    pub(super) usage: BTreeMap<i64, BTreeMap<String, u64>>,
    pub(super) presets: Vec<(Presets, Vec<Preset>)>,
    pub(super) existing: Existing,
    pub(super) dry_run: bool,
    /// What is decided already.
    pub(super) items: Vec<Item>,
}

/// One preset as the store keeps it.
pub(super) struct Preset {
    pub(super) name: String,
    pub(super) json: String,
    /// What was not kept of it.
    pub(super) note: Option<String>,
}

/// The place of a kind of items in the report.
pub(super) fn rank(kind: &str) -> usize {
    let kinds = ["account", "setting", "usage", kind_of(Presets::Server), kind_of(Presets::Claude)];
    kinds.iter().position(|other| *other == kind).unwrap_or(kinds.len())
}

pub(super) fn kind_of(family: Presets) -> &'static str {
    match family {
        Presets::Server => "server preset",
        Presets::Claude => "claude preset",
    }
}

impl Plan {
    /// Reads all of it.
    ///
    /// # Errors
    ///
    /// A document has not its shape; single things that are wrong become items instead.
    pub(in crate::app) fn of(migration: Migration) -> Result<Self, PlanError> {
        let mut plan = Self {
            accounts: Vec::new(),
            settings: BTreeMap::new(),
            usage: BTreeMap::new(),
            presets: Vec::new(),
            existing: migration.existing,
            dry_run: migration.dry_run,
            items: Vec::new(),
        };
        if let Some(document) = migration.accounts {
            plan.take_accounts(document)?;
        }
        if let Some(document) = migration.config {
            let Value::Object(fields) = document else {
                return Err(PlanError::Shape { document: "config", expected: "an object" });
            };
            plan.take_settings("", fields);
        }
        if let Some(document) = migration.usage {
            let Value::Object(hours) = document else {
                return Err(PlanError::Shape { document: "usage", expected: "an object of hours" });
            };
            for (key, counts) in hours {
                plan.take_hour(&key, &counts);
            }
        }
        for (family, document) in
            [(Presets::Server, migration.server_presets), (Presets::Claude, migration.claude_presets)]
        {
            match document {
                None => {}
                Some(Value::Array(presets)) => plan.take_presets(family, presets),
                Some(_) => return Err(PlanError::Shape { document: "presets", expected: "a list" }),
            }
        }
        Ok(plan)
    }

    fn note(&mut self, kind: &str, name: impl Into<String>, outcome: Fate, reason: impl Into<String>) {
        let item = Item { kind: kind.to_owned(), name: name.into(), outcome, reason: Some(reason.into()) };
        self.items.push(item);
    }

    fn take_accounts(&mut self, document: Value) -> Result<(), PlanError> {
        let list = document.get("accounts").unwrap_or(&document);
        if list.as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        if document.get("settings").and_then(Value::as_object).is_some_and(|settings| !settings.is_empty()) {
            let reason = "the settings beside the accounts have no effect in the reference either";
            self.note("setting", "accounts.json: settings", Fate::NotApplicable, reason);
        }
        let (entries, rejected) = import::read(document).map_err(PlanError::Accounts)?;
        for one in rejected {
            self.note("account", one.email, Fate::Failed, one.reason);
        }
        self.accounts = entries;
        Ok(())
    }

    fn take_settings(&mut self, prefix: &str, fields: Map<String, Value>) {
        for (name, value) in fields {
            // Comments.
            if name.starts_with('_') {
                continue;
            }
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match (Setting::find(&key), value) {
                (Some(setting), value) => self.take_setting(setting, value),
                (None, Value::Object(fields)) if !fields.is_empty() => self.take_settings(&key, fields),
                (None, _) => self.note("setting", key, Fate::NotApplicable, "there is no such setting here"),
            }
        }
    }

    fn take_setting(&mut self, setting: &'static Setting, value: Value) {
        let value = if matches!(setting.kind, Kind::ModelMapping) { mapping(value) } else { value };
        let empty = value.is_null() || value == json!("") || value == json!([]);
        if empty && !matches!(setting.kind, Kind::ModelMapping) {
            return;
        }
        if setting.reserved {
            let reason = format!("has no effect here: {}", setting.meaning);
            self.note("setting", setting.key, Fate::NotApplicable, reason);
        } else if setting.sharing == Sharing::Local {
            let reason = match setting.stored(&value) {
                Ok(_) => "is never shared".to_owned(),
                Err(problem) => problem.reason,
            };
            self.note("setting", setting.key, Fate::NotApplicable, reason);
        } else if let Err(problem) = setting.stored(&value) {
            self.note("setting", setting.key, Fate::Failed, problem.reason);
        } else {
            self.settings.insert(setting.key.to_owned(), value);
        }
    }

    /// `{"_total": n, "<family>": {"_subtotal": n, "<short name>": n}}`, keyed by the start of a local hour: any time
    /// counts to the UTC hour that it lies in.
    fn take_hour(&mut self, key: &str, counts: &Value) {
        let Ok(at) = key.parse::<Timestamp>() else {
            return self.note("usage", shown(key), Fate::Failed, "is no time");
        };
        let Some(families) = counts.as_object() else {
            return self.note("usage", shown(key), Fate::Failed, "holds no counters");
        };
        let hour = at.as_millisecond().div_euclid(USAGE_HOUR_MS) * USAGE_HOUR_MS;
        let mut models: BTreeMap<String, u64> = BTreeMap::new();
        let mut counted = 0_u64;
        for (family, names) in families {
            for (short, count) in
                names.as_object().into_iter().flatten().filter(|(name, _)| *name != "_subtotal")
            {
                let Some(count) = whole(count) else {
                    let reason = format!("the counter of {} is no number", shown(short));
                    return self.note("usage", shown(key), Fate::Failed, reason);
                };
                let sum = models.entry(model(family, short)).or_default();
                *sum = sum.saturating_add(count);
                counted = counted.saturating_add(count);
            }
        }
        let total = families.get("_total").or_else(|| families.get("total")).and_then(whole);
        let rest = total.unwrap_or_default().saturating_sub(counted);
        if rest > 0 {
            *models.entry("other".to_owned()).or_default() += rest;
        }
        models.retain(|_, count| *count > 0);
        if models.is_empty() {
            return;
        }
        let kept = self.usage.entry(hour).or_default();
        for (model, count) in models {
            let sum = kept.entry(model).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    fn take_presets(&mut self, family: Presets, presets: Vec<Value>) {
        let mut kept: Vec<Preset> = Vec::new();
        let kind = kind_of(family);
        for preset in presets {
            let mut name = preset["name"].as_str().map(str::trim).unwrap_or_default().to_owned();
            let built_in =
                BuiltInPreset::all().iter().find(|one| family == Presets::Server && one.name == name);
            let known_there = built_in.is_some_and(|one| one.description_key.is_some());
            if built_in.is_some() && !known_there {
                // Somebody's own of the same name.
                name.push_str(" (imported)");
            }
            let fits = !name.is_empty() && name.chars().count() <= 200 && !name.chars().any(char::is_control);
            if !fits {
                self.note(kind, shown(&name), Fate::Failed, "a preset needs a name");
            } else if kept.iter().any(|other| other.name == name) {
                self.note(kind, name, Fate::Failed, "the name stands in the file before");
            } else if preset["builtIn"] == true || known_there {
                self.note(kind, name, Fate::NotApplicable, "comes with the program");
            } else if let Value::Object(config) = &preset["config"] {
                let (config, note) = left_out(family, config);
                let mut json = json!({ "config": config });
                if let Some(description) = preset["description"].as_str().filter(|text| !text.is_empty()) {
                    json["description"] = json!(description);
                }
                kept.push(Preset { name, json: json.to_string(), note });
            } else {
                self.note(kind, name, Fate::Failed, "a preset needs an object `config`");
            }
        }
        self.presets.push((family, kept));
    }
}

/// The Go port's mapping of texts as one of objects.
fn mapping(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let entry = |(name, value): (String, Value)| match value {
        Value::String(target) => (name, json!({ "mapping": target })),
        value => (name, value),
    };
    Value::Object(fields.into_iter().map(entry).collect())
}

/// The model of a family's short name (spec `http-api.md` §4.2).
fn model(family: &str, short: &str) -> String {
    let whole = match family {
        "claude" | "gemini" => format!("{family}-{short}"),
        _ => short.to_owned(),
    };
    let fits =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '[' | ']' | '@');
    if whole.len() <= 128 && !short.is_empty() && whole.chars().all(fits) { whole } else { "other".into() }
}

fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64().filter(|number| (0.0..9e15).contains(number))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    Some(number.round() as u64)
}

/// A name out of a document, fit for a message.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(migration: Value) -> Plan {
        Plan::of(serde_json::from_value(migration).unwrap()).unwrap()
    }

    #[test]
    fn settings_go_where_they_belong() {
        let plan = plan(json!({ "config": {
            "_comment": "x", "apiKey": "marker-of-a-key", "webuiPassword": "", "maxRetries": 7, "port": 9000,
            "accountSelection": { "strategy": "sticky", "quota": { "lowThreshold": 0.2, "staleMs": 60000 } },
            "modelMapping": { "a": { "mapping": "b", "hidden": true }, "c": "d" },
            "switchAccountDelayMs": 3000, "persistTokenCache": false, "firstRetryDelayMs": 500, "unheardOf": 1, "redisAddr": "localhost:6379", "retryBaseMs": "soon",
        }}));
        assert_eq!(
            plan.settings,
            BTreeMap::from([
                ("accountSelection.quota.lowThreshold".to_owned(), json!(0.2)),
                ("accountSelection.quota.staleMs".to_owned(), json!(60000)),
                ("accountSelection.strategy".to_owned(), json!("sticky")),
                ("maxRetries".to_owned(), json!(7)),
                (
                    "modelMapping".to_owned(),
                    json!({"a": {"mapping": "b", "hidden": true}, "c": {"mapping": "d"}})
                ),
                ("switchAccountDelayMs".to_owned(), json!(3000)),
            ])
        );
        let fates: BTreeMap<_, _> = plan
            .items
            .iter()
            .map(|item| (item.name.as_str(), (item.outcome, item.reason.as_deref().unwrap())))
            .collect();
        for (key, fate, text) in [
            ("apiKey", Fate::NotApplicable, "API_KEY"),
            ("port", Fate::NotApplicable, "PORT"),
            ("redisAddr", Fate::NotApplicable, "REDIS_ADDR"),
            ("persistTokenCache", Fate::NotApplicable, "no effect"),
            ("firstRetryDelayMs", Fate::NotApplicable, "no effect"),
            ("unheardOf", Fate::NotApplicable, "no such setting"),
            ("retryBaseMs", Fate::Failed, "allowed"),
        ] {
            let (told, reason) = fates[key];
            assert_eq!(told, fate, "{key}");
            assert!(reason.contains(text), "{key}: {reason}");
            assert!(!reason.contains("marker"), "{reason}");
        }
        assert_eq!(fates.len(), 7);
    }

    #[test]
    fn hours_are_those_of_utc_and_nothing_is_lost() {
        let plan = plan(json!({ "usage": {
            "2026-11-23T15:00:00.000Z": {"_total": 6, "claude": {"_subtotal": 4, "sonnet-4-6": 4},
                "other": {"_subtotal": 1, "gpt": 1}},
            "2026-11-23T09:30:00.000Z": {"_total": 2, "gemini": {"_subtotal": 2, "3-flash": 2}},
            "2026-11-23T09:45:00.000Z": {"total": 3, "gemini": {"_subtotal": 3, "3-flash": 3.0}},
            "2026-11-23T10:00:00.000Z": {"_total": 0},
            "yesterday": {"_total": 1}, "2026-11-23T11:00:00.000Z": 7,
            "2026-11-23T12:00:00.000Z": {"claude": {"x": "many"}},
        }}));
        let hour = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let counts = |rows: &[(&str, u64)]| -> BTreeMap<String, u64> {
            rows.iter().map(|(model, count)| ((*model).to_owned(), *count)).collect()
        };
        assert_eq!(
            plan.usage,
            BTreeMap::from([
                (hour("2026-11-23T09:00:00Z"), counts(&[("gemini-3-flash", 5)])),
                (hour("2026-11-23T15:00:00Z"), counts(&[("claude-sonnet-4-6", 4), ("gpt", 1), ("other", 1)])),
            ])
        );
        let failed: Vec<_> = plan.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(failed, ["yesterday", "2026-11-23T11:00:00.000Z", "2026-11-23T12:00:00.000Z"]);
    }

    #[test]
    fn presets_are_kept_without_keys() {
        let plan = plan(json!({
            "serverPresets": [{"name": "Conservative", "config": {}}, {"name": "x", "builtIn": true, "config": {}},
                {"name": " Mine ", "config": {"maxRetries": 3}, "description": "d"}, {"name": "Mine", "config": {}},
                {"name": "", "config": {}}, {"name": "None"}, {"name": "Team", "config": {"maxRetries": 2}}],
            "claudePresets": [{"name": "Test", "config": {"ANTHROPIC_AUTH_TOKEN": "test"}},
                {"name": "Own", "config": {"ANTHROPIC_AUTH_TOKEN": "sk-own", "ANTHROPIC_MODEL": "m"}}],
        }));
        let kept: Vec<_> =
            plan.presets[0].1.iter().map(|one| (one.name.as_str(), one.json.as_str())).collect();
        let expected = [
            ("Mine", r#"{"config":{"maxRetries":3},"description":"d"}"#),
            ("Team (imported)", r#"{"config":{"maxRetries":2}}"#),
        ];
        assert_eq!(kept, expected);
        let kept: Vec<_> = plan.presets[1].1.iter().map(|one| one.json.as_str()).collect();
        assert_eq!(
            kept,
            [
                r#"{"config":{"ANTHROPIC_AUTH_TOKEN":"test"}}"#,
                r#"{"config":{"ANTHROPIC_AUTH_TOKEN":"<your API key>","ANTHROPIC_MODEL":"m"}}"#
            ]
        );
        assert!(plan.presets[1].1[1].note.as_deref().unwrap().contains("ANTHROPIC_AUTH_TOKEN"));
        let fates: Vec<_> = plan.items.iter().map(|item| item.outcome).collect();
        assert_eq!(
            fates,
            [Fate::NotApplicable, Fate::NotApplicable, Fate::Failed, Fate::Failed, Fate::Failed]
        );
    }

    #[test]
    fn a_document_of_another_shape_is_refused_as_a_whole() {
        for migration in [
            json!({"accounts": {"a": 1}}),
            json!({"accounts": [], "config": []}),
            json!({"usage": [1]}),
            json!({"serverPresets": {}}),
        ] {
            let told = Plan::of(serde_json::from_value(migration.clone()).unwrap());
            assert!(told.is_err(), "{migration}");
        }
        assert!(plan(json!({"accounts": {"accounts": []}})).accounts.is_empty());
    }
}
