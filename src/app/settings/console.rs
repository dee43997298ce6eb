//! The settings as the reference's console changes them: a document, field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{CHANGE_TRIES, Put, SharedSettings, Stored};
use crate::config::{ConfigErrors, Judged, Loaded, ModelEntry, Patch, SharedValues};
use crate::server::gateway::SettingProblem;
use crate::server::gateway::configuration::{
    ConfigBrief, ConfigView, Configured, ModelChange, ModelConfigured,
};
use crate::store::host::StoreError;
use crate::store::ops::accounts::Change;

/// What stands for a secret.
const HIDDEN: &str = "********";
/// Most accounts of any pool: what consoles are told where no limit is set, for 0 means none at all to them.
const ACCOUNTS_MAX: u32 = 10_000;
/// A change is made anew once when others were faster (spec `http-api.md` §10.1).
const CONFIGURE_TRIES: usize = 2;
/// What is said of models.
const MODELS: &str = "modelMapping";

impl SharedSettings {
    /// What anybody may know.
    #[must_use]
    pub fn brief(&self) -> ConfigBrief {
        let config = &self.inner.current.load().running.config;
        ConfigBrief {
            max_accounts: accounts(config.selection.max_accounts).into(),
            dev_mode: config.server.dev_mode,
        }
    }

    /// Everything that is in force, as this process knows it.
    #[must_use]
    pub fn document(&self) -> ConfigView {
        let current = self.inner.current.load();
        let mut config = current.running.document(HIDDEN);
        if let Some(most) = config.get_mut("maxAccounts") {
            *most = json!(accounts(most.as_u64().and_then(|most| u32::try_from(most).ok()).unwrap_or(0)));
        }
        ConfigView {
            config,
            sources: current.running.sources(),
            restart_required: current.pending.iter().copied().collect(),
            generation: current.stored.generation.0,
            unusable: current.rejected.clone(),
            stale: false,
        }
    }

    /// Takes the fields of `change` that are right, if nobody else changes settings meanwhile.
    pub async fn configure(&self, change: &Map<String, Value>) -> Result<Configured, StoreError> {
        let patch = Patch::read(change);
        let _one_at_a_time = self.inner.changing.lock().await;
        for _ in 0..CONFIGURE_TRIES {
            let stored = self.stored().await?;
            let judged = self.inner.own.judge(&stored.values, &patch);
            if judged.is_empty() {
                return Ok(Configured::Nothing { rejected: judged.rejected });
            }
            let updates = judged.document();
            let Judged { accepted, rejected, .. } = judged;
            let mut generation = stored.generation;
            if !accepted.is_empty() {
                let changes: BTreeMap<_, _> =
                    accepted.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                match self.put(&stored, &changes).await? {
                    Put::Done(own) => generation = own,
                    Put::Invalid(problems) => {
                        return Ok(Configured::Nothing { rejected: problems_as_fields(problems) });
                    }
                    Put::Changed => continue,
                }
            }
            let view = self.document();
            return Ok(Configured::Done { generation: generation.0, updates, rejected, view });
        }
        self.refresh().await?;
        Ok(Configured::Conflict(self.document()))
    }

    /// Changes what is said of `model`: what others say of other models meanwhile stays.
    pub async fn configure_model(
        &self,
        model: &str,
        change: &ModelChange,
    ) -> Result<ModelConfigured, StoreError> {
        let _one_at_a_time = self.inner.changing.lock().await;
        for _ in 0..CHANGE_TRIES {
            let stored = self.stored().await?;
            let mut models = match entries(&self.inner.own, &stored.values) {
                Ok(models) => models,
                Err(errors) => return Ok(ModelConfigured::Invalid(problems(errors))),
            };
            let entry = change_entry(&mut models, model, change);
            let changes = BTreeMap::from([(MODELS.to_owned(), json!(models))]);
            match self.put(&stored, &changes).await? {
                Put::Done(_) => return Ok(ModelConfigured::Done(entry)),
                Put::Invalid(problems) => return Ok(ModelConfigured::Invalid(problems)),
                Put::Changed => {}
            }
        }
        Ok(ModelConfigured::Conflict)
    }

    async fn stored(&self) -> Result<Stored, StoreError> {
        Ok(self.inner.store.get_settings(None).await?.map(Stored::from).unwrap_or_default())
    }
}

fn accounts(most: u32) -> u32 {
    if most == 0 { ACCOUNTS_MAX } else { most }
}

fn problems(errors: ConfigErrors) -> Vec<SettingProblem> {
    errors.problems.into_iter().map(super::shown).collect()
}

fn problems_as_fields(problems: Vec<SettingProblem>) -> Vec<crate::config::Rejected> {
    let field = |one: SettingProblem| crate::config::Rejected { field: one.key, reason: one.reason };
    problems.into_iter().map(field).collect()
}

/// What is said of models with `stored` in force.
fn entries(own: &Loaded, stored: &SharedValues) -> Result<BTreeMap<String, ModelEntry>, ConfigErrors> {
    Ok(own.with_shared(stored)?.config.models.entries)
}

/// Changes the entry of `model` and answers it; one that says nothing is taken out. A model that would stand for itself
/// has no mapping.
fn change_entry(models: &mut BTreeMap<String, ModelEntry>, model: &str, change: &ModelChange) -> ModelEntry {
    fn apply<T: Clone>(field: &mut Option<T>, change: &Change<T>) {
        match change {
            Change::Keep => {}
            Change::Clear => *field = None,
            Change::Set(value) => *field = Some(value.clone()),
        }
    }
    let mut entry = models.remove(model).unwrap_or_default();
    apply(&mut entry.mapping, &change.mapping);
    apply(&mut entry.hidden, &change.hidden);
    apply(&mut entry.pinned, &change.pinned);
    entry.mapping = entry.mapping.filter(|target| !target.is_empty() && target != model);
    if entry != ModelEntry::default() {
        models.insert(model.to_owned(), entry.clone());
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(mapping: Option<&str>, hidden: Option<bool>, pinned: Option<bool>) -> ModelEntry {
        ModelEntry { mapping: mapping.map(str::to_owned), hidden, pinned }
    }

    #[test]
    fn entries_are_merged_and_those_that_say_nothing_go() {
        let mut models = BTreeMap::from([("b".to_owned(), entry(None, Some(true), None))]);
        let set =
            |target: &str| ModelChange { mapping: Change::Set(target.into()), ..ModelChange::default() };
        let mut made = |model: &str, change: ModelChange| change_entry(&mut models, model, &change);
        assert_eq!(made("a", set("b")), entry(Some("b"), None, None));
        let pin = ModelChange { pinned: Change::Set(true), ..ModelChange::default() };
        assert_eq!(made("a", pin), entry(Some("b"), None, Some(true)), "the others stay");
        // One hop, so that two may stand for one another.
        assert_eq!(made("b", set("a")), entry(Some("a"), Some(true), None));
        for nothing in [set("a"), set(""), ModelChange { mapping: Change::Clear, ..ModelChange::default() }] {
            assert_eq!(made("a", set("b")).mapping.as_deref(), Some("b"));
            assert_eq!(made("a", nothing), entry(None, None, Some(true)));
        }
        let unpin = ModelChange { pinned: Change::Clear, ..ModelChange::default() };
        assert_eq!(made("a", unpin), ModelEntry::default());
        assert_eq!(models.keys().collect::<Vec<_>>(), ["b"]);
    }
}
