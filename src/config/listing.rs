//! The settings for people: what each is and where it came from. Secrets are never shown.

use serde_json::Value as Json;

use super::load::Loaded;
use super::problem::Origin;
use super::setting::Setting;
use super::settings::SETTINGS;
use super::values::{json, render};

/// One setting as it is in force.
#[derive(Clone, Debug)]
pub struct SettingRow<'l> {
    /// What it is.
    pub setting: &'static Setting,
    /// Its value; `None` where there is none, and for secrets.
    pub value: Option<Json>,
    /// Where the value came from.
    pub origin: &'l Origin,
}

impl Loaded {
    /// All settings that act in this version or were set, in the manual's order.
    pub fn rows(&self) -> impl Iterator<Item = SettingRow<'_>> {
        self.listed().map(|setting| SettingRow {
            setting,
            value: match self.values.get(setting.key) {
                _ if setting.is_secret() => None,
                Some(value) => Some(json(value)),
                None => self.derived(setting.key).map(Json::String),
            },
            origin: self.values.origin(setting.key),
        })
    }

    /// One line per setting that acts in this version or was set: key, value, source. Of secrets only
    /// whether they are set.
    #[must_use]
    pub fn listing(&self) -> String {
        let rows: Vec<(&str, String, String)> = self
            .listed()
            .map(|setting| {
                let value = match self.values.get(setting.key) {
                    Some(_) if setting.is_secret() => "set".into(),
                    Some(value) => quote_empty(render(value)),
                    None => self.derived(setting.key).unwrap_or_else(|| "not set".into()),
                };
                (setting.key, value, self.values.origin(setting.key).to_string())
            })
            .collect();
        let width = |text: &str| text.chars().count();
        let keys = rows.iter().map(|row| width(row.0)).max().unwrap_or(0);
        let longest = rows.iter().map(|row| width(&row.1)).max().unwrap_or(0).min(48);
        rows.into_iter().fold(String::new(), |listing, (key, value, origin)| {
            listing + &format!("{key:keys$}  {value:longest$}  {origin}\n")
        })
    }

    fn listed(&self) -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| !setting.reserved || self.values.is_set(setting.key))
    }

    /// Values that follow from others or from the surroundings.
    pub(super) fn derived(&self, key: &str) -> Option<String> {
        match key {
            "claudeCli.configPath" => Some(self.config.claude.directory.as_ref()?.display().to_string()),
            "dataDir" => Some(self.config.store.data_dir.display().to_string()),
            "drainDelayMs" => Some(self.config.server.drain_delay.as_millis().to_string()),
            "upstream.userAgent" => Some(self.config.upstream.user_agent.clone()),
            _ => None,
        }
    }
}

fn quote_empty(text: String) -> String {
    if text.is_empty() { "\"\"".into() } else { text }
}
