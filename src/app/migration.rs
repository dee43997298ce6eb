//! Taking over what another program has kept: accounts, settings, usage, presets.
//!
//! Everything is read before anything is written, so that a document of another shape changes nothing. What is here
//! already stays the same; what differs stays too and is reported, unless asked otherwise. Done twice, the second time
//! finds everything the same.

mod plan;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

pub(super) use self::plan::{Plan, left_out};
use super::settings::SharedSettings;
use crate::account::directory::{Directory, DirectoryError, Known, Merged};
use crate::config::Setting;
use crate::server::gateway::{SettingView, SettingsChange, SettingsChanged};
use crate::server::migration::{Existing, Fate, Item, MigrationReport};
use crate::store::Store;
use crate::store::audit::{FieldChange, tell};
use crate::store::ops::restore::{Merge, Presets, Row};

/// Where it goes.
pub(super) struct Target<'t> {
    pub(super) directory: &'t Directory,
    pub(super) store: &'t Store,
    pub(super) settings: &'t SharedSettings,
}

/// Does what `plan` says.
pub(super) async fn migrate(target: &Target<'_>, plan: Plan) -> Result<MigrationReport, DirectoryError> {
    let mode = Mode { existing: plan.existing, dry_run: plan.dry_run };
    let mut items = plan.items;
    for entry in plan.accounts {
        let merged = target.directory.merge(&entry, mode.known(), !mode.dry_run).await?;
        let (outcome, reason) = match merged {
            Merged::Added => (Fate::Imported, None),
            Merged::Same => (Fate::Same, None),
            Merged::Replaced(members) => {
                (Fate::Replaced, Some(format!("differed in {}", members.join(", "))))
            }
            Merged::Differs(members) => {
                (mode.stays(), Some(format!("differs in {}{}", members.join(", "), mode.hint())))
            }
            Merged::Refused(reason) => (Fate::Failed, Some(reason)),
        };
        let notes = entry.notes.into_iter().filter(|_| outcome != Fate::Failed);
        let reason = reason.into_iter().chain(notes).reduce(|all, next| format!("{all}; {next}"));
        items.push(Item { kind: "account".into(), name: entry.email, outcome, reason });
    }
    items.extend(settings(target.settings, plan.settings, mode).await?);
    items.extend(usage(target.store, plan.usage, mode).await?);
    for (family, presets) in plan.presets {
        items.extend(named_presets(target.store, family, presets, mode).await?);
    }
    items.sort_by_key(|item| plan::rank(&item.kind));
    let changed = items.iter().filter(|item| matches!(item.outcome, Fate::Imported | Fate::Replaced)).count();
    tell(FieldChange::to("dryRun", mode.dry_run));
    tell(FieldChange::to("items", items.len()));
    tell(FieldChange::to("changed", changed));
    Ok(MigrationReport { dry_run: mode.dry_run, items })
}

#[derive(Clone, Copy)]
struct Mode {
    existing: Existing,
    dry_run: bool,
}

impl Mode {
    fn known(self) -> Known {
        if self.existing == Existing::Replace { Known::Replace } else { Known::Keep }
    }

    fn merge(self) -> Merge {
        match self.existing {
            _ if self.dry_run => Merge::Look,
            Existing::Replace => Merge::Replace,
            Existing::Report | Existing::Keep => Merge::Add,
        }
    }

    /// What became of something that differs and stays.
    fn stays(self) -> Fate {
        if self.existing == Existing::Keep { Fate::Skipped } else { Fate::Conflict }
    }

    fn hint(self) -> &'static str {
        if self.existing == Existing::Report {
            "; --overwrite takes it, --skip-existing leaves it"
        } else {
            ""
        }
    }

    /// What became of a row; `what` is there instead.
    fn fate(self, row: Row, what: impl FnOnce() -> String) -> (Fate, Option<String>) {
        match row {
            Row::Added => (Fate::Imported, None),
            Row::Same => (Fate::Same, None),
            Row::Replaced => (Fate::Replaced, None),
            Row::Differs if self.existing == Existing::Replace => (Fate::Replaced, None),
            Row::Differs => (self.stays(), Some(format!("{}{}", what(), self.hint()))),
        }
    }
}

/// Settings that the shared store has or may get.
async fn settings(
    shared: &SharedSettings,
    wanted: BTreeMap<String, Value>,
    mode: Mode,
) -> Result<Vec<Item>, DirectoryError> {
    let item = |key: &str, outcome, reason: Option<String>| Item {
        kind: "setting".into(),
        name: key.to_owned(),
        outcome,
        reason,
    };
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    shared.refresh().await?;
    let view = shared.view();
    let mut items = Vec::new();
    let mut changes = BTreeMap::new();
    for (key, value) in wanted {
        let row = view.rows.iter().find(|row| row.key == key);
        match standing(&key, &value, row) {
            Standing::Same => items.push(item(&key, Fate::Same, None)),
            Standing::Other(here) if mode.existing != Existing::Replace => {
                items.push(item(&key, mode.stays(), Some(format!("the store holds {here}{}", mode.hint()))));
            }
            Standing::Other(here) => {
                changes.insert(key, (value, Fate::Replaced, Some(format!("was {here}"))));
            }
            Standing::New => _ = changes.insert(key, (value, Fate::Imported, None)),
        }
    }
    while !changes.is_empty() && !mode.dry_run {
        let change = SettingsChange {
            generation: None,
            settings: changes.iter().map(|(key, (value, ..))| (key.clone(), value.clone())).collect(),
        };
        let problems = match shared.change(&change).await? {
            SettingsChanged::Done { .. } => break,
            SettingsChanged::Conflict(_) => {
                let reason = "others change the settings at the same moment; try again";
                items.extend(changes.keys().map(|key| item(key, Fate::Failed, Some(reason.into()))));
                changes.clear();
                break;
            }
            SettingsChanged::Invalid(problems) => problems,
        };
        // What is wrong by itself stays behind; what does not fit together is left to a person.
        let before = changes.len();
        for problem in &problems {
            if changes.remove(&problem.key).is_some() {
                items.push(item(&problem.key, Fate::Failed, Some(problem.reason.clone())));
            }
        }
        if changes.len() == before {
            let reason = problems.iter().map(|one| format!("{} {}", one.key, one.reason)).collect::<Vec<_>>();
            let reason = reason.join("; ");
            items.extend(changes.keys().map(|key| item(key, Fate::Failed, Some(reason.trim().to_owned()))));
            changes.clear();
        }
    }
    items.extend(changes.into_iter().map(|(key, (_, outcome, reason))| item(&key, outcome, reason)));
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
}

/// How a setting stands here.
enum Standing {
    Same,
    New,
    /// The store holds this.
    Other(String),
}

fn standing(key: &str, value: &Value, row: Option<&SettingView>) -> Standing {
    let stored = row.and_then(|row| row.stored.as_ref());
    match stored {
        Some(here) if alike(here, value) => Standing::Same,
        Some(here) => Standing::Other(here.to_string()),
        None if row.is_some_and(|row| alike(&row.value, value)) => Standing::Same,
        // What is not listed has its default.
        None if row.is_none()
            && Setting::find(key).is_some_and(|one| alike(&one.written(one.default), value)) =>
        {
            Standing::Same
        }
        None => Standing::New,
    }
}

/// Equal, whatever way numbers are written.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        _ => a == b,
    }
}

/// Requests by hour and model, which were counted elsewhere.
async fn usage(
    store: &Store,
    hours: BTreeMap<i64, BTreeMap<String, u64>>,
    mode: Mode,
) -> Result<Vec<Item>, DirectoryError> {
    let mut items = Vec::with_capacity(hours.len());
    for (hour_ms, models) in hours {
        let rows: Vec<_> = models.into_iter().collect();
        let (outcome, reason) = match store.merge_usage(hour_ms, mode.merge(), &rows).await? {
            None => (Fate::Skipped, Some("older than 30 days, which is as long as usage is kept".to_owned())),
            Some(outcomes) => {
                // The hour fares as its least fortunate row.
                let fates = outcomes.into_iter().zip(&rows).map(|(row, (model, _))| {
                    mode.fate(row, || format!("another number of requests for {model} was brought before"))
                });
                let order = |fate: Fate| match fate {
                    Fate::Same => 0,
                    Fate::Imported => 1,
                    Fate::Replaced => 2,
                    _ => 3,
                };
                fates.max_by_key(|(fate, _)| order(*fate)).unwrap_or((Fate::Same, None))
            }
        };
        let name =
            Timestamp::from_millisecond(hour_ms).map_or_else(|_| hour_ms.to_string(), |at| at.to_string());
        items.push(Item { kind: "usage".into(), name, outcome, reason });
    }
    Ok(items)
}

async fn named_presets(
    store: &Store,
    family: Presets,
    presets: Vec<plan::Preset>,
    mode: Mode,
) -> Result<Vec<Item>, DirectoryError> {
    if presets.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<_> = presets.iter().map(|one| (one.name.clone(), one.json.clone())).collect();
    let outcomes = store.merge_presets(family, mode.merge(), &rows).await?;
    let items = presets.into_iter().zip(outcomes).map(|(preset, row)| {
        let (outcome, reason) = mode.fate(row, || "another preset of this name is here".to_owned());
        let reason = reason.into_iter().chain(preset.note).reduce(|all, next| format!("{all}; {next}"));
        Item { kind: plan::kind_of(family).into(), name: preset.name, outcome, reason }
    });
    Ok(items.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_compared_by_what_they_mean() {
        let row = |value: Value, stored: Option<Value>| SettingView {
            key: "k".into(),
            value,
            origin: "default".into(),
            source: "default",
            applies: "live",
            shared: "live",
            stored,
            pending: false,
            shape: None,
        };
        let told =
            |key: &str, value: Value, row: Option<SettingView>| match standing(key, &value, row.as_ref()) {
                Standing::Same => "same".to_owned(),
                Standing::New => "new".to_owned(),
                Standing::Other(here) => here,
            };
        assert_eq!(told("k", json!(5.0), Some(row(json!(5), None))), "same");
        assert_eq!(told("k", json!(6), Some(row(json!(5), None))), "new");
        assert_eq!(
            told("k", json!(6), Some(row(json!(5), Some(json!(6))))),
            "same",
            "of the start after next"
        );
        assert_eq!(told("k", json!(5), Some(row(json!(5), Some(json!(6))))), "6");
        assert_eq!(told("maxRetries", json!(5), None), "same");
        assert_eq!(told("maxRetries", json!(6), None), "new");
        assert!(alike(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
        assert!(!alike(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
    }

    #[test]
    fn what_differs_stays_unless_asked_otherwise() {
        let told = |existing, dry_run, row| Mode { existing, dry_run }.fate(row, || "x".into()).0;
        for (existing, fate) in [
            (Existing::Report, Fate::Conflict),
            (Existing::Keep, Fate::Skipped),
            (Existing::Replace, Fate::Replaced),
        ] {
            assert_eq!(told(existing, true, Row::Differs), fate);
            assert_eq!(Mode { existing, dry_run: true }.merge(), Merge::Look);
        }
        assert_eq!(told(Existing::Replace, false, Row::Replaced), Fate::Replaced);
    }
}
