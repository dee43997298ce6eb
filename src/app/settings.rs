//! The settings that all gateways of a pool share: read from the store, kept current, changed.
//!
//! Scripts read theirs in the store; what is here is the rest, followed as `store/follow.rs` says. Live settings are
//! swapped as one; the others are kept as they were when the process started. Values that are not usable together
//! change nothing: the last usable ones stay.

mod console;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::cloudcode::Pace;
use crate::config::{Config, ConfigErrors, Loaded, Problem, Setting, SharedValues, Sharing};
use crate::dispatch::{LiveSettings, Settings};
use crate::format::Options;
use crate::server::gateway::{SettingProblem, SettingsChange, SettingsChanged};
use crate::store::Store;
use crate::store::audit::{FieldChange, tell};
use crate::store::follow::Follower;
use crate::store::host::StoreError;
use crate::store::ident::Version;
use crate::store::ops::PoolEvent;
use crate::store::ops::settings::{PutSettings, SELECTION_SETTINGS, Scope, SettingChanges, StoredSettings};
use crate::telemetry;
use crate::telemetry::metrics::Metrics;

/// How often a change without a generation is made anew because others change settings at the same moment.
const CHANGE_TRIES: usize = 8;

/// The shared settings as this process knows them. Cheap to clone.
#[derive(Clone)]
pub struct SharedSettings {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    /// File, environment and flags of this process.
    own: Loaded,
    /// What the store held for the start, of settings that are not live.
    at_start: SharedValues,
    current: ArcSwap<Current>,
    outlets: Outlets,
    metrics: Arc<Metrics>,
    /// One look at a time, so that what was read earlier never replaces what was read later.
    looking: Mutex<()>,
    /// Changes of this process do not get into each other's way.
    changing: Mutex<()>,
}

/// Where live settings are read while the process runs.
#[derive(Clone)]
struct Outlets {
    dispatch: LiveSettings,
    pace: Pace,
    quota_refresh: watch::Sender<Duration>,
    quota_low: watch::Sender<f64>,
}

impl Outlets {
    fn of(config: &Config) -> Self {
        let outlets = Self {
            dispatch: Arc::new(ArcSwap::from_pointee(settings(config))),
            pace: Pace::default(),
            quota_refresh: watch::Sender::new(config.selection.quota_refresh),
            quota_low: watch::Sender::new(config.selection.quota_low),
        };
        outlets.pace.set(config.upstream.pause());
        outlets
    }

    fn follow(&self, config: &Config) {
        self.dispatch.store(Arc::new(settings(config)));
        self.pace.set(config.upstream.pause());
        let (every, low) = (config.selection.quota_refresh, config.selection.quota_low);
        self.quota_refresh.send_if_modified(|last| std::mem::replace(last, every) != every);
        self.quota_low.send_replace(low);
    }
}

/// One state of the store and what follows from it.
struct Current {
    stored: Stored,
    running: Loaded,
    /// Settings that will be different after the next start.
    pending: BTreeSet<&'static str>,
    /// Why the stored values are not in force.
    rejected: Option<String>,
}

/// The store's values by key, wherever it keeps them.
#[derive(Clone, Default)]
struct Stored {
    generation: Version,
    values: SharedValues,
}

/// What became of changes.
enum Put {
    /// Made; they have this generation.
    Done(Version),
    /// With them the settings would not be usable.
    Invalid(Vec<SettingProblem>),
    /// Somebody else changed settings first.
    Changed,
}

impl From<StoredSettings> for Stored {
    fn from(stored: StoredSettings) -> Self {
        let mut values = SharedValues::new();
        for ((scope, name), text) in stored.values {
            match scope {
                Scope::Gateway => values.insert(name, text),
                Scope::Selection => match Setting::of_script(&name) {
                    Some(setting) => values.insert(setting.key.to_owned(), setting.restored(text)),
                    // Scripts know more names than there are settings.
                    None if SELECTION_SETTINGS.contains(&&*name) => None,
                    None => values.insert(name, text),
                },
            };
        }
        Self { generation: stored.generation, values }
    }
}

impl SharedSettings {
    /// Reads the shared settings once. Values that are not usable leave `own` as it is.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn load(store: Store, own: Loaded, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let stored: Stored = store.get_settings(None).await?.map(Into::into).unwrap_or_default();
        let at_start = match own.with_shared(&stored.values) {
            Ok(_) => only(&stored.values, Sharing::Restart),
            Err(_) => SharedValues::new(),
        };
        let first = Current::next(&own, &at_start, stored, own.clone());
        let inner = Inner {
            store,
            own,
            at_start,
            outlets: Outlets::of(&first.running.config),
            current: ArcSwap::from_pointee(first),
            metrics,
            looking: Mutex::default(),
            changing: Mutex::default(),
        };
        let shared = Self { inner: Arc::new(inner) };
        shared.report(&shared.inner.current.load());
        set_log_level(&shared.inner.own.config, &shared.config());
        Ok(shared)
    }

    /// The same store as a process that starts now sees it.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn restarted(&self) -> Result<Self, StoreError> {
        let inner = &self.inner;
        Self::load(inner.store.clone(), inner.own.clone(), Arc::clone(&inner.metrics)).await
    }

    /// The settings in force: at the start all of them, later with the live ones of the moment.
    #[must_use]
    pub fn config(&self) -> Config {
        self.inner.current.load().running.config.clone()
    }

    /// The generation of what the store held when it was read last.
    #[must_use]
    pub fn generation(&self) -> Version {
        self.inner.current.load().stored.generation
    }

    /// What dispatch takes from them.
    #[must_use]
    pub fn dispatch(&self) -> LiveSettings {
        Arc::clone(&self.inner.outlets.dispatch)
    }

    /// The pause before each call of the upstream.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.inner.outlets.pace.clone()
    }

    /// How old an account's quotas may become.
    #[must_use]
    pub fn quota_refresh(&self) -> watch::Receiver<Duration> {
        self.inner.outlets.quota_refresh.subscribe()
    }

    /// The share of a quota at which a warning is logged.
    #[must_use]
    pub fn quota_low(&self) -> watch::Receiver<f64> {
        self.inner.outlets.quota_low.subscribe()
    }

    /// Keeps them current until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let mut follower = Follower::new(&self.inner.store, PoolEvent::Settings);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = follower.due() => {}
            }
            if let Err(error) = follower.look(|whole| self.look(whole)).await {
                tracing::debug!(%error, "the shared settings could not be read");
            }
        }
    }

    /// Takes over what changed in the store: one call, which answers nothing while the generation is the known one.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.look(false).await
    }

    async fn look(&self, whole: bool) -> Result<(), StoreError> {
        let inner = &self.inner;
        let _one_at_a_time = inner.looking.lock().await;
        let last = inner.current.load_full();
        let known = (!whole).then_some(last.stored.generation);
        let Some(stored) = inner.store.get_settings(known).await?.map(Stored::from) else { return Ok(()) };
        if stored.generation == last.stored.generation && stored.values == last.stored.values {
            return Ok(());
        }
        let next = Current::next(&inner.own, &inner.at_start, stored, last.running.clone());
        self.report(&next);
        set_log_level(&last.running.config, &next.running.config);
        inner.outlets.follow(&next.running.config);
        inner.current.store(Arc::new(next));
        Ok(())
    }

    /// Makes `change`, if the whole is usable with it.
    pub async fn change(&self, change: &SettingsChange) -> Result<SettingsChanged, StoreError> {
        let _one_at_a_time = self.inner.changing.lock().await;
        for _ in 0..CHANGE_TRIES {
            let stored = self.inner.store.get_settings(None).await?.map(Stored::from).unwrap_or_default();
            if change.generation.is_some_and(|expected| expected != stored.generation.0) {
                break;
            }
            match self.put(&stored, &change.settings).await? {
                Put::Done(generation) => {
                    return Ok(SettingsChanged::Done { generation: generation.0, view: self.view() });
                }
                Put::Invalid(problems) => return Ok(SettingsChanged::Invalid(problems)),
                Put::Changed if change.generation.is_some() => break,
                Put::Changed => {}
            }
        }
        self.refresh().await?;
        Ok(SettingsChanged::Conflict(self.view()))
    }

    /// Makes changes of what was read, if the whole is usable with them and nobody was faster; what is live is then in
    /// force here.
    async fn put(&self, stored: &Stored, changes: &BTreeMap<String, Value>) -> Result<Put, StoreError> {
        let puts = match puts(&self.inner.own, &stored.values, changes) {
            Ok(puts) => puts,
            Err(problems) => return Ok(Put::Invalid(problems)),
        };
        // They are still so when the change is made, else it is not.
        told(&stored.values, changes);
        match self.inner.store.put_settings(Some(stored.generation), &puts).await? {
            PutSettings::Done(generation) => {
                self.refresh().await?;
                Ok(Put::Done(generation))
            }
            PutSettings::Changed(_) => Ok(Put::Changed),
        }
    }

    /// Says what a new state of the store means.
    fn report(&self, current: &Current) {
        let generation = current.stored.generation;
        let metrics = &self.inner.metrics;
        metrics.shared_settings_generation.set(i64::try_from(generation.0).unwrap_or(i64::MAX));
        metrics.shared_settings_rejected.set(i64::from(current.rejected.is_some()));
        match &current.rejected {
            Some(reason) => {
                tracing::error!(%generation, %reason, "the shared settings are not usable; the last usable ones stay");
            }
            None if generation.0 > 0 => {
                tracing::info!(%generation, pending = ?current.pending, "shared settings taken over");
            }
            None => {}
        }
        for warning in &current.running.warnings {
            tracing::warn!("{warning}");
        }
    }
}

impl Current {
    /// What follows from `stored`; `last` is what runs now.
    fn next(own: &Loaded, at_start: &SharedValues, stored: Stored, last: Loaded) -> Self {
        let mut wanted = stored.values.clone();
        wanted.retain(|key, _| Setting::find(key).is_none_or(|found| found.sharing != Sharing::Restart));
        wanted.extend(at_start.clone());
        let judged = own.with_shared(&stored.values).and_then(|all| Ok((all, own.with_shared(&wanted)?)));
        match judged {
            Ok((all, running)) => {
                let mut pending = all.differing(&running);
                pending
                    .retain(|key| Setting::find(key).is_some_and(|found| found.sharing == Sharing::Restart));
                Self { stored, running, pending, rejected: None }
            }
            Err(errors) => {
                // What there was to say of them has been said.
                let mut running = last;
                running.warnings.clear();
                Self { stored, running, pending: BTreeSet::new(), rejected: Some(errors.to_string()) }
            }
        }
    }
}

fn only(values: &SharedValues, sharing: Sharing) -> SharedValues {
    let fits = |key: &str| Setting::find(key).is_some_and(|setting| setting.sharing == sharing);
    values.iter().filter(|(key, _)| fits(key)).map(|(key, text)| (key.clone(), text.clone())).collect()
}

/// `changes` as the store takes them, if `stored` is usable with them.
fn puts(
    own: &Loaded,
    stored: &SharedValues,
    changes: &BTreeMap<String, Value>,
) -> Result<SettingChanges, Vec<SettingProblem>> {
    let (mut puts, mut problems, mut values) = (SettingChanges::new(), Vec::new(), stored.clone());
    for (key, value) in changes {
        let place = match Setting::find(key) {
            Some(Setting { script: Some(name), .. }) => (Scope::Selection, (*name).to_owned()),
            _ => (Scope::Gateway, key.clone()),
        };
        if value.is_null() {
            // Whatever another version left there can be taken out.
            if Setting::find(key).is_none() && values.remove(key).is_none() {
                problems.push(Setting::unknown(key));
            }
            values.remove(key);
            puts.insert(place, None);
            continue;
        }
        match Setting::find(key).ok_or_else(|| Setting::unknown(key)).and_then(|found| found.stored(value)) {
            Ok(text) => {
                values.insert(key.clone(), value.to_string());
                puts.insert(place, Some(text));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if let Err(ConfigErrors { problems: together }) = own.with_shared(&values) {
        problems.extend(together);
    }
    if problems.is_empty() { Ok(puts) } else { Err(problems.into_iter().map(shown).collect()) }
}

/// Says in the audit trail what changes. Values of secrets, which somebody may have put where nobody reads them, and of
/// settings that another version knows, are not shown.
fn told(stored: &SharedValues, changes: &BTreeMap<String, Value>) {
    for (key, value) in changes {
        let open = Setting::find(key).is_some_and(|setting| !setting.is_secret());
        let before = stored.get(key).map(|text| match serde_json::from_str(text) {
            _ if !open => "(not shown)".into(),
            Ok(value) => value,
            Err(_) => Value::from(text.as_str()),
        });
        tell(FieldChange { field: key.clone(), before, after: Some(value.clone()).filter(|_| open) });
    }
}

fn shown(problem: Problem) -> SettingProblem {
    SettingProblem { key: problem.key, reason: problem.reason }
}

fn set_log_level(last: &Config, next: &Config) {
    let level = |config: &Config| (config.telemetry.level.clone(), config.server.dev_mode);
    if level(last) == level(next) {
        return;
    }
    if let Err(error) = telemetry::set_level(&next.telemetry, next.server.dev_mode) {
        tracing::warn!(%error, "the log level stays as it is");
    }
}

/// What dispatch takes from the configuration.
fn settings(config: &Config) -> Settings {
    let conversion = &config.conversion;
    Settings {
        dispatch: config.dispatch.clone(),
        models: config.models.clone(),
        conversion: Options {
            keep_attribution_block: conversion.keep_attribution_block,
            honour_disabled_thinking: conversion.honour_disabled_thinking,
            reorder_always: conversion.reorder_always,
            refuse_server_tools: conversion.refuse_server_tools,
            system_preamble: config.upstream.system_preamble.clone(),
            user_agent_field: config.upstream.client_name.clone(),
        },
        keepalive: config.server.stream_keepalive,
        answer_timeout: config.upstream.answer_timeout,
        outage_grace: config.store.outage_grace,
        default_project: config.upstream.default_project.clone(),
        strategy: config.selection.strategy,
    }
}

#[cfg(test)]
mod tests;
