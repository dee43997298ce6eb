//! The settings of Claude Code, wherever they lie: in a file of this machine, as a profile in the shared store, nowhere.

mod file;
mod variables;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use self::file::SettingsFile;
use self::variables::Changes;
use super::gateway::{AppGateway, store_refusal};
use super::migration::left_out;
use super::presets::{PRESETS_MAX, named};
use crate::config::claude::{KEY_PLACEHOLDER, KEY_VARIABLE, NO_KEY, is_no_key, is_value};
use crate::config::{ClaudeConfig, ClaudeMode};
use crate::server::error::ApiError;
use crate::server::gateway::claude::{
    ClaudeCli, ClaudeEdit, ClaudeError, ClaudePreset, ClaudeSite, ClaudeStorage, ClaudeTarget, ClaudeView,
};
use crate::server::gateway::{SettingsChange, SettingsChanged};
use crate::store::host::StoreError;
use crate::store::ops::presets::PutPreset;
use crate::store::ops::restore::Presets;

/// The setting that holds the profile.
const PROFILE: &str = "claudeCli.profile";
/// How often a change of the profile is made anew because others change settings at the same moment.
const CHANGE_TRIES: usize = 8;

/// Where the settings of Claude Code lie.
pub(super) struct ClaudeDesk {
    mode: ClaudeMode,
    directory: Option<PathBuf>,
    /// One change of the file at a time.
    changing: Arc<Mutex<()>>,
}

impl ClaudeDesk {
    /// As `config` says; `local` is whether this is the only gateway of its pool and listens on a loopback address.
    pub(super) fn new(config: &ClaudeConfig, local: bool) -> Self {
        Self { mode: config.mode(local), directory: config.directory.clone(), changing: Arc::default() }
    }

    fn file(&self) -> Result<SettingsFile, ClaudeError> {
        self.directory.as_deref().map(SettingsFile::new).ok_or(ClaudeError::NoDirectory)
    }

    async fn change_file(&self, site: &ClaudeSite, edit: ClaudeEdit) -> Result<ClaudeView, ClaudeError> {
        let file = self.file()?;
        let site = site.clone();
        let changing = Arc::clone(&self.changing).lock_owned().await;
        blocking(move || {
            let _one_at_a_time = changing;
            let mut ignored = Vec::new();
            let document = file.update(|document| {
                let (changes, others) = changes(document, &edit, &site.local_url, &site)?;
                ignored = others;
                variables::apply(document, &changes);
                Ok(())
            })?;
            Ok(ClaudeView { ignored, ..local_view(&file, &document, &site) })
        })
        .await
    }

    async fn read_file(&self, site: &ClaudeSite) -> Result<ClaudeView, ClaudeError> {
        let (file, site) = (self.file()?, site.clone());
        blocking(move || match file.read() {
            Ok(found) => Ok(local_view(&file, &found.document, &site)),
            Err(error @ (ClaudeError::Unusable { .. } | ClaudeError::Io { .. })) => {
                let problem = Some(error.to_string());
                Ok(ClaudeView { problem, ..local_view(&file, &Map::new(), &site) })
            }
            Err(error) => Err(error),
        })
        .await
    }
}

/// Runs what waits for disks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClaudeError> + Send + 'static,
) -> Result<T, ClaudeError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(ClaudeError::Failed(ApiError::internal())))
}

fn local_view(file: &SettingsFile, document: &Map<String, Value>, site: &ClaudeSite) -> ClaudeView {
    ClaudeView {
        storage: ClaudeStorage::Local,
        target: variables::target(document, site),
        variables: variables::shown(document),
        path: Some(file.path().display().to_string()),
        instructions: None,
        problem: None,
        ignored: Vec::new(),
    }
}

/// The changes of `edit`, and what of it is not taken; built-in presets point to `url`.
fn changes(
    document: &Map<String, Value>,
    edit: &ClaudeEdit,
    url: &str,
    site: &ClaudeSite,
) -> Result<(Changes, Vec<String>), ClaudeError> {
    match edit {
        ClaudeEdit::Merge(asked) => variables::asked_for(document, asked),
        ClaudeEdit::Restore | ClaudeEdit::Point(ClaudeTarget::Paid) => {
            Ok((variables::replaced(None), Vec::new()))
        }
        ClaudeEdit::Point(ClaudeTarget::Proxy) => {
            Ok((variables::pointed_here(document, url, site), Vec::new()))
        }
    }
}

impl ClaudeCli for AppGateway {
    fn claude_view<'a>(&'a self, site: &'a ClaudeSite) -> BoxFuture<'a, Result<ClaudeView, ClaudeError>> {
        async move {
            match self.claude.mode {
                ClaudeMode::Local => self.claude.read_file(site).await,
                ClaudeMode::Profile => {
                    // Another replica may have made the change that this one has not heard of yet.
                    if let Err(error) = self.settings.refresh().await {
                        tracing::debug!(%error, "the shared settings could not be read");
                    }
                    Ok(self.profile_view(site))
                }
                ClaudeMode::Off => Ok(ClaudeView {
                    storage: ClaudeStorage::Off,
                    target: ClaudeTarget::Paid,
                    variables: BTreeMap::new(),
                    path: None,
                    instructions: None,
                    problem: None,
                    ignored: Vec::new(),
                }),
            }
        }
        .boxed()
    }

    fn change_claude<'a>(
        &'a self,
        site: &'a ClaudeSite,
        edit: ClaudeEdit,
    ) -> BoxFuture<'a, Result<ClaudeView, ClaudeError>> {
        async move {
            match self.claude.mode {
                ClaudeMode::Local => self.claude.change_file(site, edit).await,
                ClaudeMode::Profile => self.change_profile(site, &edit).await,
                ClaudeMode::Off => Err(ClaudeError::Off),
            }
        }
        .boxed()
    }

    fn claude_presets<'a>(
        &'a self,
        site: &'a ClaudeSite,
    ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>> {
        async move {
            let kept = self.store.list_presets(Presets::Claude).await.map_err(|error| failed(&error))?;
            Ok(presets(self.built_in(site), kept))
        }
        .boxed()
    }

    fn save_claude_preset<'a>(
        &'a self,
        site: &'a ClaudeSite,
        name: &'a str,
        variables: Map<String, Value>,
    ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>> {
        async move {
            if self.claude.mode == ClaudeMode::Off {
                return Err(ClaudeError::Off);
            }
            let name = named(name).map_err(|error| ClaudeError::Name(error.to_string()))?;
            let text = json!({ "config": preset_config(&variables)? }).to_string();
            let put = self.store.put_preset(Presets::Claude, &name, &text, PRESETS_MAX).await;
            match put.map_err(|error| failed(&error))? {
                PutPreset::Done => self.claude_presets(site).await,
                PutPreset::Full => Err(ClaudeError::Full(PRESETS_MAX)),
            }
        }
        .boxed()
    }

    fn remove_claude_preset<'a>(
        &'a self,
        site: &'a ClaudeSite,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>> {
        async move {
            if self.claude.mode == ClaudeMode::Off {
                return Err(ClaudeError::Off);
            }
            let built_in = variables::is_built_in(name);
            let removed = self.store.remove_preset(Presets::Claude, name, built_in).await;
            removed.map_err(|error| failed(&error))?;
            self.claude_presets(site).await
        }
        .boxed()
    }
}

impl AppGateway {
    /// The built-in presets for whoever takes them over.
    fn built_in(&self, site: &ClaudeSite) -> Vec<ClaudePreset> {
        let local = self.claude.mode == ClaudeMode::Local;
        let url = if local { &site.local_url } else { &site.base_url };
        variables::built_in(url, site.asks_for_key)
    }

    /// The profile in the shape of a settings file.
    fn profile(&self, site: &ClaudeSite) -> Map<String, Value> {
        let kept = self.settings.config().claude.profile;
        let kept = kept.or_else(|| self.built_in(site).into_iter().next().map(|preset| preset.config));
        let mut document = Map::new();
        if let Some(variables) = kept.filter(|variables| !variables.is_empty()) {
            document.insert("env".to_owned(), json!(variables));
        }
        document
    }

    fn profile_view(&self, site: &ClaudeSite) -> ClaudeView {
        let document = self.profile(site);
        let mut variables = variables::shown(&document);
        if site.asks_for_key
            && let Some(key) = variables.get_mut(KEY_VARIABLE).filter(|key| *key == NO_KEY)
        {
            KEY_PLACEHOLDER.clone_into(key);
        }
        ClaudeView {
            storage: ClaudeStorage::Profile,
            target: variables::target(&document, site),
            instructions: Some(variables::instructions(&variables)),
            variables,
            path: None,
            problem: None,
            ignored: Vec::new(),
        }
    }

    async fn change_profile(&self, site: &ClaudeSite, edit: &ClaudeEdit) -> Result<ClaudeView, ClaudeError> {
        for _ in 0..CHANGE_TRIES {
            self.settings.refresh().await.map_err(|error| failed(&error))?;
            let generation = self.settings.generation().0;
            let mut document = self.profile(site);
            let (mut changes, mut ignored) = changes(&document, edit, &site.base_url, site)?;
            for (name, value) in &mut changes {
                // A key of somebody would lie in the store for all to read.
                if *name == KEY_VARIABLE && value.as_deref().is_some_and(|key| !is_no_key(key)) {
                    *value = Some(KEY_PLACEHOLDER.to_owned());
                    ignored.push(format!("env.{KEY_VARIABLE}"));
                }
            }
            variables::apply(&mut document, &changes);
            let value = document.get("env").cloned().unwrap_or_else(|| json!({}));
            let settings = BTreeMap::from([(PROFILE.to_owned(), value)]);
            let change = SettingsChange { generation: Some(generation), settings };
            match self.settings.change(&change).await.map_err(|error| failed(&error))? {
                SettingsChanged::Done { .. } => {
                    return Ok(ClaudeView { ignored, ..self.profile_view(site) });
                }
                SettingsChanged::Conflict(_) => {}
                SettingsChanged::Invalid(problems) => {
                    let sentences: Vec<_> =
                        problems.iter().map(|one| format!("{}: {}", one.key, one.reason)).collect();
                    return Err(ClaudeError::Failed(ApiError::invalid(sentences.join("; "))));
                }
            }
        }
        Err(ClaudeError::Conflict)
    }
}

fn failed(error: &StoreError) -> ClaudeError {
    ClaudeError::Failed(store_refusal(error))
}

/// The built-in presets, as far as nobody removed or replaced them, and then those that are kept.
fn presets(built_in: Vec<ClaudePreset>, mut kept: BTreeMap<String, String>) -> Vec<ClaudePreset> {
    let mut presets = Vec::new();
    for preset in built_in {
        match kept.remove(&preset.name) {
            Some(text) => presets.extend(read(preset.name, &text)),
            None => presets.push(preset),
        }
    }
    presets.extend(kept.into_iter().filter_map(|(name, text)| read(name, &text)));
    presets
}

/// A preset as it is kept; `None` for one that was removed or cannot be read.
fn read(name: String, text: &str) -> Option<ClaudePreset> {
    if text.is_empty() {
        return None;
    }
    let kept: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(config) = kept["config"].as_object() else {
        tracing::warn!(preset = name, "a preset in the store cannot be read");
        return None;
    };
    let variables =
        config.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    Some(ClaudePreset { name, config: variables.collect() })
}

/// The variables of a preset as the store may have them: no keys, no passwords.
fn preset_config(variables: &Map<String, Value>) -> Result<Map<String, Value>, ClaudeError> {
    for (name, value) in variables {
        if !value.as_str().is_some_and(is_value) {
            let field =
                format!("config.{}", name.chars().filter(|c| !c.is_control()).take(64).collect::<String>());
            let reason = "must be a text of at most 4096 bytes without control characters";
            return Err(ClaudeError::Invalid { field, reason });
        }
    }
    let (mut config, _) = left_out(Presets::Claude, variables);
    config.retain(|_, value| value.is_string());
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_presets_may_be_replaced_and_removed() {
        let names = |kept: &[(&str, &str)]| -> Vec<(String, usize)> {
            let kept = kept.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
            let all = presets(variables::built_in("http://x", false), kept);
            all.into_iter().map(|preset| (preset.name, preset.config.len())).collect()
        };
        let told = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
            list.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
        };
        assert_eq!(names(&[]), told(&[("Claude Thinking", 8), ("Gemini 1M", 8)]));
        let kept = [
            ("Claude Thinking", ""),
            ("Gemini 1M", r#"{"config":{"ANTHROPIC_MODEL":"m"}}"#),
            ("A", r#"{"config":{"ANTHROPIC_MODEL":"m","N":5}}"#),
            ("B", "damaged"),
            ("C", ""),
        ];
        assert_eq!(names(&kept), told(&[("Gemini 1M", 1), ("A", 1)]));
    }

    #[test]
    fn presets_keep_no_secret() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let config = preset_config(&object(json!({
            "ANTHROPIC_AUTH_TOKEN": "sk-secret", "ANTHROPIC_BASE_URL": "https://user:secret@host", "ANTHROPIC_MODEL": "m"
        })));
        assert_eq!(
            config.map(Value::Object),
            Ok(json!({
                "ANTHROPIC_AUTH_TOKEN": "<your API key>", "ANTHROPIC_BASE_URL": "https://host", "ANTHROPIC_MODEL": "m"
            }))
        );
        let told = preset_config(&object(json!({"ANTHROPIC_AUTH_TOKEN": "test"}))).unwrap();
        assert_eq!(told["ANTHROPIC_AUTH_TOKEN"], "test");
        for wrong in [json!({"A": 1}), json!({"A": null}), json!({"A": "x\ny"}), json!({"A": {}})] {
            assert!(preset_config(&object(wrong)).is_err());
        }
    }
}
