//! Server presets: the built-in ones, which never change, and those in the store.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::gateway::{AppGateway, store_refusal};
use crate::config::{BuiltInPreset, Patch, Rejected};
use crate::server::gateway::presets::{
    NewPreset, PRESET_DESCRIPTION_MAX, PRESET_NAME_MAX, PresetChange, PresetError, SavedPreset, ServerPreset,
    ServerPresets,
};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ops::accounts::Change;
use crate::store::ops::presets::{self as kept, ChangePreset, PutPreset};
use crate::store::ops::restore::Presets;

/// Most presets of a family in the store.
pub(super) const PRESETS_MAX: usize = 200;
/// How often a change is made anew because others change the preset at the same moment.
const CHANGE_TRIES: usize = 8;

/// A preset as the store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Kept {
    config: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl ServerPresets for AppGateway {
    fn server_presets(&self) -> BoxFuture<'_, Result<Vec<ServerPreset>, PresetError>> {
        async move { list(&self.store).await }.boxed()
    }

    fn save_server_preset(&self, new: NewPreset) -> BoxFuture<'_, Result<SavedPreset, PresetError>> {
        async move { save(&self.store, new).await }.boxed()
    }

    fn change_server_preset<'a>(
        &'a self,
        name: &'a str,
        change: PresetChange,
    ) -> BoxFuture<'a, Result<SavedPreset, PresetError>> {
        async move { self::change(&self.store, name, change).await }.boxed()
    }

    fn remove_server_preset<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<ServerPreset>, PresetError>> {
        async move { remove(&self.store, name).await }.boxed()
    }
}

/// All presets: the built-in ones first, then the others by name.
pub(super) async fn list(store: &Store) -> Result<Vec<ServerPreset>, PresetError> {
    let stored = store.list_presets(Presets::Server).await.map_err(|error| failed(&error))?;
    let built_in = BuiltInPreset::all().iter().map(|preset| ServerPreset {
        name: preset.name.to_owned(),
        config: preset.config.clone(),
        built_in: true,
        description_key: preset.description_key,
        description: Some(preset.description.to_owned()),
    });
    let custom = readable(stored).into_iter().map(|(name, kept)| ServerPreset {
        name,
        config: kept.config,
        built_in: false,
        description_key: None,
        description: kept.description,
    });
    Ok(built_in.chain(custom).collect())
}

/// Adds a preset or replaces the one of its name.
pub(super) async fn save(store: &Store, new: NewPreset) -> Result<SavedPreset, PresetError> {
    let name = named(&new.name)?;
    if BuiltInPreset::is_name(&name) {
        return Err(PresetError::Overwrites(name));
    }
    let (config, rejected) = settings(&new.config);
    if config.is_empty() {
        return Err(PresetError::NoConfig(rejected));
    }
    let kept = Kept { config, description: described(new.description)? };
    let put = store.put_preset(Presets::Server, &name, &text(&kept), PRESETS_MAX).await;
    match put.map_err(|error| failed(&error))? {
        PutPreset::Done => Ok(SavedPreset { name, presets: list(store).await?, rejected }),
        PutPreset::Full => Err(PresetError::Full(PRESETS_MAX)),
    }
}

/// Changes a preset.
pub(super) async fn change(
    store: &Store,
    name: &str,
    change: PresetChange,
) -> Result<SavedPreset, PresetError> {
    if BuiltInPreset::is_name(name) {
        return Err(PresetError::BuiltIn(name.to_owned()));
    }
    let new_name = change.name.as_deref().map(named).transpose()?.unwrap_or_else(|| name.to_owned());
    if BuiltInPreset::is_name(&new_name) {
        return Err(PresetError::Reserved(new_name));
    }
    let (config, rejected) = change.config.as_ref().map(settings).unwrap_or_default();
    let description = match change.description {
        Change::Set(text) => described(Some(text))?.map_or(Change::Clear, Change::Set),
        other => other,
    };
    if change.name.is_none() && description == Change::Keep && config.is_empty() {
        return Err(PresetError::NoChange(rejected));
    }
    for _ in 0..CHANGE_TRIES {
        let mut stored = store.list_presets(Presets::Server).await.map_err(|error| failed(&error))?;
        let Some(known) = stored.remove(name).filter(|text| !text.is_empty()) else {
            return Err(PresetError::Unknown(name.to_owned()));
        };
        let mut kept: Kept = serde_json::from_str(&known).unwrap_or_default();
        merge(&mut kept.config, config.clone());
        match &description {
            Change::Keep => {}
            Change::Clear => kept.description = None,
            Change::Set(text) => kept.description = Some(text.clone()),
        }
        let json = text(&kept);
        let change = kept::PresetChange { name, known: &known, new_name: &new_name, json: &json };
        let changed = store.change_preset(Presets::Server, &change).await;
        match changed.map_err(|error| failed(&error))? {
            ChangePreset::Done => {
                return Ok(SavedPreset { name: name.to_owned(), presets: list(store).await?, rejected });
            }
            ChangePreset::Gone => return Err(PresetError::Unknown(name.to_owned())),
            ChangePreset::Taken => return Err(PresetError::Taken(new_name)),
            ChangePreset::Changed => {}
        }
    }
    Err(PresetError::Changed)
}

/// Removes a preset; answers those that are left.
pub(super) async fn remove(store: &Store, name: &str) -> Result<Vec<ServerPreset>, PresetError> {
    if BuiltInPreset::is_name(name) {
        return Err(PresetError::Stays(name.to_owned()));
    }
    store.remove_preset(Presets::Server, name, false).await.map_err(|error| failed(&error))?;
    list(store).await
}

fn failed(error: &StoreError) -> PresetError {
    PresetError::Failed(store_refusal(error))
}

/// Presets that can be read; what another version has left there in another shape is passed over. One of the name of a
/// built-in one is from a time when that was not built in; it cannot be reached and is not shown.
fn readable(stored: BTreeMap<String, String>) -> BTreeMap<String, Kept> {
    let mut presets = BTreeMap::new();
    for (name, text) in
        stored.into_iter().filter(|(name, text)| !text.is_empty() && !BuiltInPreset::is_name(name))
    {
        match serde_json::from_str(&text) {
            Ok(kept) => _ = presets.insert(name, kept),
            Err(error) => tracing::warn!(preset = name, %error, "a preset in the store cannot be read"),
        }
    }
    presets
}

fn text(kept: &Kept) -> String {
    serde_json::json!(kept).to_string()
}

/// A name without the blanks around it.
pub(super) fn named(name: &str) -> Result<String, PresetError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(PresetError::NoName);
    }
    if name.chars().count() > PRESET_NAME_MAX {
        return Err(PresetError::LongName);
    }
    if name.chars().any(char::is_control) {
        return Err(PresetError::BadName);
    }
    Ok(name.to_owned())
}

/// A description, if it says something.
fn described(text: Option<String>) -> Result<Option<String>, PresetError> {
    let text = text.filter(|text| !text.is_empty());
    match &text {
        Some(text) if text.chars().count() > PRESET_DESCRIPTION_MAX => Err(PresetError::LongDescription),
        _ => Ok(text),
    }
}

/// The settings that are right, and what is wrong with the others.
fn settings(config: &Map<String, Value>) -> (Map<String, Value>, Vec<Rejected>) {
    let patch = Patch::read(config);
    (patch.document(), patch.rejected)
}

/// `from` over `into`: objects are merged, everything else is replaced.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => _ = into.insert(name, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names() {
        assert_eq!(named("  Mine "), Ok("Mine".to_owned()));
        assert_eq!(named(" "), Err(PresetError::NoName));
        assert_eq!(named(&"ä".repeat(50)), Ok("ä".repeat(50)), "characters, not bytes");
        assert_eq!(named(&"ä".repeat(51)), Err(PresetError::LongName));
        assert_eq!(named("a\u{1f}b"), Err(PresetError::BadName));
        assert_eq!(PresetError::LongName.to_string(), "Preset name must be 50 characters or fewer");
    }

    #[test]
    fn changes_reach_into_groups() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let mut config = object(json!({
            "maxRetries": 3, "capacityBackoffTiersMs": [1000, 2000],
            "accountSelection": {"strategy": "sticky", "weights": {"health": 1, "lru": 2}}
        }));
        merge(
            &mut config,
            object(json!({
                "maxRetries": 4, "capacityBackoffTiersMs": [5000], "retryBaseMs": 100,
                "accountSelection": {"weights": {"lru": 3}, "quota": {"staleMs": 40000}}
            })),
        );
        assert_eq!(
            Value::Object(config),
            json!({
                "maxRetries": 4, "capacityBackoffTiersMs": [5000], "retryBaseMs": 100,
                "accountSelection": {"strategy": "sticky", "weights": {"health": 1, "lru": 3}, "quota": {"staleMs": 40000}}
            })
        );
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let stored = [
            ("a", r#"{"config":{"maxRetries":3}}"#),
            ("b", "{}"),
            ("c", ""),
            ("d", "not JSON"),
            ("Team", r#"{"config":{}}"#),
        ];
        let stored = stored.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        assert_eq!(readable(stored).keys().collect::<Vec<_>>(), ["a"]);
    }
}
