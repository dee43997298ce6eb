//! Merged values, handed to the typed sections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
#[cfg(test)]
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::config::{Value, ValueKind};
use ipnet::IpNet;
use secrecy::SecretString;
use serde_json::Value as Json;

use super::models::ModelEntry;
use super::problem::Origin;
use super::value::network;

/// What all layers together say. The typed accessors overwrite their target where a value is set and
/// leave it alone where none is.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    pub(super) root: ::config::Config,
    pub(super) origins: BTreeMap<&'static str, Origin>,
    /// Leaves what is only built in alone, where the target holds it already.
    pub(super) only_set: bool,
    #[cfg(test)]
    pub(super) read: Arc<Mutex<std::collections::BTreeSet<String>>>,
}

impl Values {
    pub(super) fn new(root: ::config::Config, origins: BTreeMap<&'static str, Origin>) -> Self {
        Self {
            root,
            origins,
            only_set: false,
            #[cfg(test)]
            read: Arc::default(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&ValueKind> {
        #[cfg(test)]
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        if self.only_set && !self.is_set(key) {
            return None;
        }
        let mut node = &self.root.cache;
        for name in key.split('.') {
            let ValueKind::Table(table) = &node.kind else { return None };
            node = table.get(name)?;
        }
        Some(&node.kind)
    }

    pub(super) fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        *self.origin(key) != Origin::Default
    }

    pub(super) fn flag(&self, key: &str, target: &mut bool) {
        if let Some(ValueKind::Boolean(value)) = self.get(key) {
            *target = *value;
        }
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, key: &str, target: &mut T) {
        if let Some(ValueKind::I64(value)) = self.get(key)
            && let Ok(value) = T::try_from(*value)
        {
            *target = value;
        }
    }

    pub(super) fn fraction(&self, key: &str, target: &mut f64) {
        if let Some(ValueKind::Float(value)) = self.get(key) {
            *target = *value;
        }
    }

    pub(super) fn millis(&self, key: &str, target: &mut Duration) {
        let mut ms: Option<u64> = None;
        if let Some(ValueKind::I64(value)) = self.get(key) {
            ms = u64::try_from(*value).ok();
        }
        if let Some(ms) = ms {
            *target = Duration::from_millis(ms);
        }
    }

    pub(super) fn millis_list(&self, key: &str, target: &mut Vec<Duration>) {
        if let Some(ValueKind::Array(items)) = self.get(key) {
            *target = items
                .iter()
                .filter_map(|item| match item.kind {
                    ValueKind::I64(ms) => u64::try_from(ms).ok().map(Duration::from_millis),
                    _ => None,
                })
                .collect();
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(ValueKind::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn string(&self, key: &str, target: &mut String) {
        if let Some(text) = self.text(key) {
            text.clone_into(target);
        }
    }

    pub(super) fn optional(&self, key: &str, target: &mut Option<String>) {
        if let Some(text) = self.text(key) {
            *target = Some(text.to_owned());
        }
    }

    pub(super) fn path(&self, key: &str, target: &mut Option<PathBuf>) {
        if let Some(text) = self.text(key) {
            *target = Some(PathBuf::from(text));
        }
    }

    /// An empty text switches the address off.
    pub(super) fn address(&self, key: &str, target: &mut Option<SocketAddr>) {
        if let Some(text) = self.text(key) {
            *target = text.parse().ok();
        }
    }

    pub(super) fn secret(&self, key: &str, target: &mut Option<SecretString>) {
        if let Some(text) = self.text(key) {
            *target = Some(SecretString::from(text));
        }
    }

    pub(super) fn secrets(&self, key: &str, target: &mut Vec<SecretString>) {
        if let Some(items) = self.items(key) {
            *target = items.into_iter().map(SecretString::from).collect();
        }
    }

    pub(super) fn list(&self, key: &str, target: &mut Vec<String>) {
        if let Some(items) = self.items(key) {
            *target = items;
        }
    }

    pub(super) fn networks(&self, key: &str, target: &mut Vec<IpNet>) {
        if let Some(items) = self.items(key) {
            *target = items.iter().filter_map(|item| network(item)).collect();
        }
    }

    fn items(&self, key: &str) -> Option<Vec<String>> {
        match self.get(key) {
            Some(ValueKind::Array(items)) => Some(strings(items)),
            _ => None,
        }
    }

    /// An object of texts.
    pub(super) fn text_map(&self, key: &str, target: &mut BTreeMap<String, String>) {
        if let Some(ValueKind::Table(table)) = self.get(key) {
            *target = table
                .iter()
                .filter_map(|(name, value)| match &value.kind {
                    ValueKind::String(text) => Some((name.clone(), text.clone())),
                    _ => None,
                })
                .collect();
        }
    }

    /// What is said of single models.
    pub(super) fn model_entries(&self, key: &str, target: &mut BTreeMap<String, ModelEntry>) {
        if let Some(ValueKind::Table(models)) = self.get(key) {
            let entry = |value: &Value| {
                let ValueKind::Table(entry) = &value.kind else { return ModelEntry::default() };
                let flag = |name: &str| match entry.get(name).map(|value| &value.kind) {
                    Some(ValueKind::Boolean(flag)) => Some(*flag),
                    _ => None,
                };
                let mapping = match entry.get("mapping").map(|value| &value.kind) {
                    Some(ValueKind::String(target)) => Some(target.clone()),
                    _ => None,
                };
                ModelEntry { mapping, hidden: flag("hidden"), pinned: flag("pinned") }
            };
            *target = models.iter().map(|(model, value)| (model.clone(), entry(value))).collect();
        }
    }

    /// An object of lists, in the order of the file.
    pub(super) fn list_map(&self, key: &str) -> Option<Vec<(String, Vec<String>)>> {
        let Some(ValueKind::Table(table)) = self.get(key) else { return None };
        let lists = table.iter().filter_map(|(name, value)| match &value.kind {
            ValueKind::Array(items) => Some((name.clone(), strings(items))),
            _ => None,
        });
        Some(lists.collect())
    }
}

fn strings(items: &[Value]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| match &item.kind {
            ValueKind::String(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

/// A value as `config check` and scripts see it: lists joined by commas, whole numbers without a fraction.
pub(super) fn render(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Array(items) => items.iter().map(|item| render(&item.kind)).collect::<Vec<_>>().join(","),
        ValueKind::Table(table) => {
            let entries: Vec<_> =
                table.iter().map(|(key, value)| format!("{key}: {}", render(&value.kind))).collect();
            format!("{{{}}}", entries.join("; "))
        }
        ValueKind::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value as JSON; whole numbers without a fraction.
pub(super) fn json(kind: &ValueKind) -> Json {
    match kind {
        ValueKind::Boolean(flag) => (*flag).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::Array(items) => items.iter().map(|item| json(&item.kind)).collect(),
        ValueKind::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), json(&value.kind))).collect()
        }
        ValueKind::String(text) => text.as_str().into(),
        // Floats, written with the fewest digits.
        other => serde_json::from_str(&other.to_string()).unwrap_or(Json::Null),
    }
}
