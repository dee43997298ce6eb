//! The settings as the console's API shows them.

use serde_json::Value;

use super::{Current, SharedSettings};
use crate::config::{Setting, SettingRow};
use crate::server::gateway::{SettingView, SettingsView};

impl SharedSettings {
    /// Everything that is in force, and what the store says of it.
    #[must_use]
    pub fn view(&self) -> SettingsView {
        let current = self.inner.current.load();
        let mut settings: Vec<_> = current.running.rows().map(|row| current.row(&row)).collect();
        let missing = current.stored.values.keys().filter(|&key| !settings.iter().any(|row| row.key == *key));
        let missing: Vec<_> = missing.map(|key| current.not_in_force(key)).collect();
        settings.extend(missing);
        SettingsView { generation: current.stored.generation.0, rejected: current.rejected.clone(), settings }
    }
}

impl Current {
    fn row(&self, row: &SettingRow<'_>) -> SettingView {
        let key = row.setting.key;
        SettingView {
            key: key.to_owned(),
            value: row.value.clone().unwrap_or_default(),
            origin: row.origin.to_string(),
            shared: row.setting.sharing.as_str(),
            stored: self.stored(key, Some(row.setting)),
            pending: self.pending.contains(key),
        }
    }

    /// A key that the store holds without any effect.
    fn not_in_force(&self, key: &str) -> SettingView {
        let setting = Setting::find(key);
        SettingView {
            key: key.to_owned(),
            value: Value::Null,
            origin: "default".to_owned(),
            shared: setting.map_or("unknown", |setting| setting.sharing.as_str()),
            stored: self.stored(key, setting),
            pending: false,
        }
    }

    /// The stored value; never that of a secret, which somebody put there although nobody reads it.
    fn stored(&self, key: &str, setting: Option<&Setting>) -> Option<Value> {
        let text = self.stored.values.get(key)?;
        match setting {
            Some(setting) if setting.is_secret() => None,
            _ => Some(serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())),
        }
    }
}
