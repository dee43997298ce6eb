//! The settings as the console's API shows them.

use serde_json::Value;

use super::{Current, SharedSettings};
use crate::config::{Setting, SettingRow, Sharing};
use crate::server::gateway::{SettingView, SettingsView};

impl SharedSettings {
    /// Everything that is in force, and what the store says of it.
    #[must_use]
    pub fn view(&self) -> SettingsView {
        let current = self.inner.current.load();
        let mut rows: Vec<_> = current.running.rows().map(|row| current.row(&row)).collect();
        let missing = current.stored.values.keys().filter(|&key| !rows.iter().any(|row| row.key == *key));
        let missing: Vec<_> = missing.map(|key| current.not_in_force(key)).collect();
        rows.extend(missing);
        let settings = rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect();
        let (generation, rejected) = (current.stored.generation.0, current.rejected.clone());
        SettingsView { generation, rejected, settings, rows }
    }
}

impl Current {
    fn row(&self, row: &SettingRow<'_>) -> SettingView {
        let key = row.setting.key;
        SettingView {
            key: key.to_owned(),
            value: row.value.clone().unwrap_or_default(),
            origin: row.origin.to_string(),
            source: row.origin.word(),
            applies: match row.setting.sharing {
                _ if row.origin.is_pinned() || !row.setting.is_shared() => "fixed",
                Sharing::Restart => "restart",
                Sharing::Live | Sharing::Local => "live",
            },
            shared: row.setting.sharing.as_str(),
            stored: self.stored(key, Some(row.setting)),
            pending: self.pending.contains(key),
            shape: Some(row.setting.shape()),
        }
    }

    /// A key that the store holds without any effect.
    fn not_in_force(&self, key: &str) -> SettingView {
        let setting = Setting::find(key);
        SettingView {
            key: key.to_owned(),
            value: Value::Null,
            origin: "default".to_owned(),
            source: "default",
            applies: "fixed",
            shared: setting.map_or("unknown", |setting| setting.sharing.as_str()),
            stored: self.stored(key, setting),
            pending: false,
            shape: setting.map(Setting::shape),
        }
    }

    /// The stored value; never that of a secret, which somebody put there although nobody reads it.
    fn stored(&self, key: &str, setting: Option<&'static Setting>) -> Option<Value> {
        let text = self.stored.values.get(key)?;
        match setting {
            Some(setting) if setting.is_secret() => None,
            _ => Some(serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())),
        }
    }
}
