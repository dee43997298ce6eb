//! Named presets: a family of them is one HASH. Built-in ones are no matter of the store, but that one was removed is.

use std::collections::BTreeMap;

use super::restore::Presets;
use crate::store::Store;
use crate::store::audit::{FieldChange, Row};
use crate::store::host::{Call, StoreError};
use crate::store::registry::{CHANGE_PRESET, LIST_PRESETS, PUT_PRESET, REMOVE_PRESET};
use crate::store::reply::plain;
use crate::store::script::Script;

/// A change of a preset that its maker has read.
#[derive(Clone, Copy, Debug)]
pub struct PresetChange<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its JSON as it was read.
    pub known: &'a str,
    /// Its new name; the same keeps it.
    pub new_name: &'a str,
    /// Its new JSON.
    pub json: &'a str,
}

/// What became of a new preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutPreset {
    /// It is kept.
    Done,
    /// There are as many as may be.
    Full,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangePreset {
    /// Made.
    Done,
    /// There is no such preset.
    Gone,
    /// Somebody else changed it first; read again.
    Changed,
    /// Another one has the new name.
    Taken,
}

impl Store {
    /// JSON by name of what is kept of `family`; an empty text stands for a built-in preset that was removed.
    pub async fn list_presets(&self, family: Presets) -> Result<BTreeMap<String, String>, StoreError> {
        let mut fields = self.run(self.timed(self.presets_call(&LIST_PRESETS, family))).await?;
        fields.head()?;
        let mut presets = BTreeMap::new();
        while fields.left() > 0 {
            presets.insert(fields.text("a name")?, fields.text("a preset")?);
        }
        Ok(presets)
    }

    /// Keeps `json` under `name`, where there are not `most` others already; acknowledged when it is on disk.
    pub async fn put_preset(
        &self,
        family: Presets,
        name: &str,
        json: &str,
        most: usize,
    ) -> Result<PutPreset, StoreError> {
        let row = Row::single(Some(name), Vec::new);
        let call = self.presets_call(&PUT_PRESET, family).key(self.keys.named("audit"));
        let call = call.arg(plain(&PUT_PRESET, "name", name)?).arg(json).arg(most).arg(&*row.text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let outcome = match code.as_str() {
            "OK" => PutPreset::Done,
            "FULL" => PutPreset::Full,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if outcome == PutPreset::Done {
            row.kept();
        }
        Ok(outcome)
    }

    /// Makes `change`, if the preset is still as it was read and the new name is free.
    pub async fn change_preset(
        &self,
        family: Presets,
        change: &PresetChange<'_>,
    ) -> Result<ChangePreset, StoreError> {
        let renamed = (change.new_name != change.name).then(|| FieldChange::to("name", change.new_name));
        let row = Row::single(Some(change.name), || renamed.into_iter().collect());
        let call = self
            .presets_call(&CHANGE_PRESET, family)
            .key(self.keys.named("audit"))
            .arg(change.name)
            .arg(change.known)
            .arg(plain(&CHANGE_PRESET, "name", change.new_name)?)
            .arg(change.json)
            .arg(&*row.text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let outcome = match code.as_str() {
            "OK" => ChangePreset::Done,
            "NONE" => ChangePreset::Gone,
            "CHANGED" => ChangePreset::Changed,
            "TAKEN" => ChangePreset::Taken,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if outcome == ChangePreset::Done {
            row.kept();
        }
        Ok(outcome)
    }

    /// Removes a preset; `built_in` when it is there without being kept. `false` when it is not there.
    pub async fn remove_preset(
        &self,
        family: Presets,
        name: &str,
        built_in: bool,
    ) -> Result<bool, StoreError> {
        let row = Row::single(Some(name), Vec::new);
        let call = self.presets_call(&REMOVE_PRESET, family).key(self.keys.named("audit"));
        let call = call.arg(name).arg(built_in).arg(&*row.text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let removed = match code.as_str() {
            "OK" => true,
            "NONE" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if removed {
            row.kept();
        }
        Ok(removed)
    }

    fn presets_call(&self, script: &'static Script, family: Presets) -> Call {
        Call::new(script).key(self.keys.named("meta")).key(self.keys.named(family.key()))
    }
}
