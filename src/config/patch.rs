//! A change of shared settings in the shape of the file, judged field by field: what is right is taken, what is wrong is
//! told (spec `http-api.md` §1.5.2, §3.2, §3.3).
//!
//! [`Patch::read`] looks at each field by itself, [`Loaded::judge`] at what this process pins and at the whole that
//! would come of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::layer::is_group;
use super::load::Loaded;
use super::problem::Problem;
use super::setting::{Setting, Sharing};
use super::shared::SharedValues;
use super::value::{Raw, normalise};
use super::values::json;

/// The reason for fields that the environment or a flag decides.
const PINNED: &str = "set by environment";
/// Two names of one switch.
const DEVELOPER_MODE: [&str; 2] = ["devMode", "debug"];

/// One field that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RejectedField)]
pub struct Rejected {
    /// Its dotted name.
    pub field: String,
    /// One sentence, never with a secret in it.
    pub reason: String,
}

/// Fields of a change, each allowed by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// New values by key, in their normal form.
    pub accepted: BTreeMap<&'static str, Json>,
    /// What is not allowed, in the order in which it was given.
    pub rejected: Vec<Rejected>,
    /// Allowed, and nothing to be changed: it is so in any case.
    pub granted: BTreeMap<&'static str, Json>,
    /// The name by which developer mode was given.
    developer_mode: &'static str,
}

/// What is to become of a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// What goes into the store.
    pub accepted: BTreeMap<&'static str, Json>,
    /// Everything else that was given, but for `granted`.
    pub rejected: Vec<Rejected>,
    /// As [`Patch::granted`].
    pub granted: BTreeMap<&'static str, Json>,
}

impl Patch {
    /// Reads a change in the shape of the file: nested objects, or dotted names. Names that begin with `_` are comments.
    #[must_use]
    pub fn read(body: &Map<String, Json>) -> Self {
        let mut patch = Self::default();
        patch.object("", body);
        let [dev_mode, debug] = DEVELOPER_MODE;
        let given = if patch.accepted.contains_key(dev_mode) { dev_mode } else { debug };
        if let Some(on) = patch.accepted.get(given).cloned() {
            patch.developer_mode = given;
            patch.accepted.insert(dev_mode, on.clone());
            patch.accepted.insert(debug, on);
        }
        patch
    }

    /// Whether nothing of it is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.granted.is_empty()
    }

    /// What is allowed, in the shape of the file.
    #[must_use]
    pub fn document(&self) -> Map<String, Json> {
        nested(self.accepted.iter().chain(&self.granted))
    }

    fn object(&mut self, parent: &str, object: &Map<String, Json>) {
        for (name, value) in object.iter().filter(|(name, _)| !name.starts_with('_')) {
            let key = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            match (Setting::find(&key), value) {
                (Some(setting), _) => self.field(setting, value),
                (None, Json::Object(inner)) if is_group(&key) => self.object(&key, inner),
                (None, _) if is_group(&key) => self.reject(&key, "must be a JSON object"),
                (None, _) => self.reject(&key, Setting::unknown(&key).reason),
            }
        }
    }

    fn field(&mut self, setting: &'static Setting, value: &Json) {
        let elsewhere = match setting.key {
            "modelMapping" => Some("is changed with POST /api/models/config"),
            "webuiPassword" => Some("is changed with POST /api/config/password"),
            _ => None,
        };
        if let Some(reason) = elsewhere {
            return self.reject(setting.key, reason);
        }
        let normal = normalise(setting.kind, Raw::Json(value), Path::new("")).map(|kind| json(&kind));
        if setting.reserved && normal.is_some() && normal == setting.built_in().map(|kind| json(&kind)) {
            self.granted.extend(normal.map(|value| (setting.key, value)));
            return;
        }
        match setting.stored(value) {
            Ok(_) => self.accepted.extend(normal.map(|value| (setting.key, value))),
            Err(problem) => self.reject(setting.key, problem.reason),
        }
    }

    fn reject(&mut self, field: &str, reason: impl Into<String>) {
        self.rejected.push(Rejected { field: field.to_owned(), reason: reason.into() });
    }
}

impl Judged {
    /// Whether nothing of it was right.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.granted.is_empty()
    }

    /// What was taken, in the shape of the file.
    #[must_use]
    pub fn document(&self) -> Map<String, Json> {
        nested(self.accepted.iter().chain(&self.granted))
    }
}

impl Loaded {
    /// What is to become of `patch` where the store holds `stored`: fields that this process pins are rejected, then those
    /// with which the whole would not be usable.
    #[must_use]
    pub fn judge(&self, stored: &SharedValues, patch: &Patch) -> Judged {
        let Patch { mut accepted, mut rejected, granted, developer_mode } = patch.clone();
        let mut reject = |key: &str, reason: &str| {
            rejected.push(Rejected { field: key.to_owned(), reason: reason.to_owned() });
        };
        let pinned = |key: &str| self.origins.get(key).is_some_and(super::Origin::is_pinned);
        if DEVELOPER_MODE.into_iter().any(pinned) && accepted.contains_key(DEVELOPER_MODE[0]) {
            // One of the two decides, whatever becomes of the other.
            accepted.retain(|key, _| !DEVELOPER_MODE.contains(key));
            reject(developer_mode, PINNED);
        }
        accepted.retain(|key, _| {
            let open = !pinned(key);
            if !open {
                reject(key, PINNED);
            }
            open
        });
        while !accepted.is_empty() {
            let mut whole = stored.clone();
            whole.extend(accepted.iter().map(|(key, value)| ((*key).to_owned(), value.to_string())));
            let Err(errors) = self.with_shared(&whole) else { break };
            let mut none_at_fault = true;
            for problem in &errors.problems {
                for key in problem.about() {
                    if accepted.remove(key).is_some() {
                        none_at_fault = false;
                        reject(key, &problem.reason);
                    }
                }
            }
            if none_at_fault {
                // It was so before: whatever is wrong in the store has to be mended first.
                let reason = format!("the shared settings are not usable as they are: {errors}");
                for key in accepted.keys() {
                    reject(key, &reason);
                }
                accepted.clear();
            }
        }
        Judged { accepted, rejected, granted }
    }

    /// All settings in the shape of the file, as they are in force; `hidden` stands for each secret that is set, an empty
    /// text for one that is not.
    #[must_use]
    pub fn document(&self, hidden: &str) -> Map<String, Json> {
        let values = super::settings::SETTINGS.iter().map(|setting| {
            let value = match self.values.get(setting.key) {
                Some(_) if setting.is_secret() => hidden.into(),
                None if setting.is_secret() => "".into(),
                Some(value) => json(value),
                None => self.derived(setting.key).map_or_else(|| empty(setting), Json::String),
            };
            (setting.key, value)
        });
        let mut values: BTreeMap<_, _> = values.collect();
        for key in DEVELOPER_MODE {
            values.insert(key, self.config.server.dev_mode.into());
        }
        nested(values.iter())
    }

    /// Where each setting's value came from: `default`, `file`, `store`, `env` or `flag`.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<&'static str, &'static str> {
        let keys = super::settings::SETTINGS.iter().map(|setting| setting.key);
        keys.map(|key| (key, self.values.origin(key).word())).collect()
    }
}

/// What a form shows where there is no value.
fn empty(setting: &'static Setting) -> Json {
    match setting.shape().kind {
        "string" => "".into(),
        "array" => Json::Array(Vec::new()),
        _ => Json::Null,
    }
}

/// `a.b` → `{"a": {"b": …}}`.
pub(super) fn nested<'v>(values: impl Iterator<Item = (&'v &'static str, &'v Json)>) -> Map<String, Json> {
    let mut document = Map::new();
    for (key, value) in values {
        put(&mut document, key, value);
    }
    document
}

fn put(object: &mut Map<String, Json>, key: &str, value: &Json) {
    match key.split_once('.') {
        None => _ = object.insert(key.to_owned(), value.clone()),
        Some((name, rest)) => {
            let inner = object.entry(name).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

impl Problem {
    /// The settings it is about.
    fn about(&self) -> Vec<&str> {
        if self.among.is_empty() { vec![&self.key] } else { self.among.to_vec() }
    }
}

impl Setting {
    /// Whether a preset or a change in the console may name it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.sharing != Sharing::Local && !self.reserved
    }
}

#[cfg(test)]
mod tests;
