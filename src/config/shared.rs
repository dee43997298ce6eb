//! Values of the shared store, as the layer between file and environment.
//!
//! The store is the only source that changes while a gateway runs, and the only one that another version may have
//! written. So it is merged again whenever it changes, as a whole: what comes out is either valid by the same rules
//! as at the start, or not taken at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::Config;
use super::layer::{Layer, Reader, unknown};
use super::load::{Layers, Loaded, check_together};
use super::problem::{ConfigErrors, Origin, Problem};
use super::setting::{Kind, Setting, Sharing};
use super::settings::SETTINGS;
use super::value::{Raw, normalise};
use super::values::{json, render};

/// Longest value the store takes, bytes of JSON.
const LONGEST_VALUE: usize = 64 * 1024;

/// Values of the shared store: JSON texts by the setting's key.
pub type SharedValues = BTreeMap<String, String>;

impl From<Config> for Loaded {
    /// Settings that were made by a program: no file, no environment; the shared store lies above them.
    fn from(config: Config) -> Self {
        let cwd = PathBuf::from(".");
        let layers = Layers { below: vec![Reader::defaults()], above: Vec::new(), own: config.clone(), cwd };
        let values = layers.merge(&Layer::default()).unwrap_or_default();
        let origins = values.origins.clone();
        Self { config, origins, warnings: Vec::new(), file: None, values, layers: Arc::new(layers) }
    }
}

impl Loaded {
    /// These settings with `shared` between file and environment; of an earlier call nothing is left. The warnings
    /// are about `shared` only.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the whole, by the rules of the start.
    pub fn with_shared(&self, shared: &SharedValues) -> Result<Self, ConfigErrors> {
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let layers = &self.layers;
        let layer = Reader { cwd: &layers.cwd, problems: &mut problems }.shared(shared, &mut warnings);
        let mut values = match layers.merge(&layer) {
            Ok(values) => values,
            Err(problem) => {
                problems.push(problem);
                return Err(ConfigErrors { problems });
            }
        };
        check_together(&values, &mut problems, &mut warnings);
        if !problems.is_empty() {
            return Err(ConfigErrors { problems });
        }
        let mut config = layers.own.clone();
        values.only_set = true;
        config.apply(&values);
        values.only_set = false;
        let (origins, file) = (values.origins.clone(), self.file.clone());
        Ok(Self { config, origins, warnings, file, values, layers: Arc::clone(layers) })
    }

    /// The settings whose values differ from those of `other`.
    #[must_use]
    pub fn differing(&self, other: &Self) -> BTreeSet<&'static str> {
        let keys = SETTINGS.iter().map(|setting| setting.key);
        keys.filter(|key| self.values.get(key) != other.values.get(key)).collect()
    }
}

impl Setting {
    /// `value` as the store keeps it: for scripts as plain text, else as JSON.
    ///
    /// # Errors
    ///
    /// The setting is never shared, or the value is not allowed.
    pub fn stored(&'static self, value: &Json) -> Result<String, Problem> {
        if self.reserved {
            let reason = format!("has no effect. {}", self.meaning);
            return Err(Problem::new(self.key, &Origin::Store, reason));
        }
        if self.sharing == Sharing::Local {
            let elsewhere = match (self.in_file, self.env) {
                (true, []) => "the file".to_owned(),
                (true, names) => format!("the file or {}", names.join("/")),
                (false, names) => names.join("/"),
            };
            let reason = format!("is never shared; set it where the gateway runs, in {elsewhere}");
            return Err(Problem::new(self.key, &Origin::Store, reason));
        }
        let text = value.to_string();
        if text.len() > LONGEST_VALUE {
            let reason = format!("is longer than {LONGEST_VALUE} bytes");
            return Err(Problem::new(self.key, &Origin::Store, reason));
        }
        let Some(normal) = normalise(self.kind, Raw::Json(value), Path::new("")) else {
            let reason =
                format!("{} is not usable; allowed: {}", Raw::Json(value).shown(), self.kind.allowed());
            return Err(Problem::new(self.key, &Origin::Store, reason));
        };
        Ok(if self.script.is_some() { render(&normal) } else { text })
    }

    /// The JSON text of what [`Setting::stored`] gave.
    #[must_use]
    pub fn restored(&self, text: String) -> String {
        let plain = self.script.is_some() && !matches!(serde_json::from_str(&text), Ok(Json::Number(_)));
        if plain { Json::String(text).to_string() } else { text }
    }

    /// The JSON that `text`, as a person writes it on a command line, means for this setting. A text that is not
    /// allowed stays a text, so that whoever checks it can say what is.
    #[must_use]
    pub fn written(&self, text: &str) -> Json {
        let objects =
            matches!(self.kind, Kind::ModelMapping | Kind::ClaudeProfile | Kind::Aliases | Kind::TextMap);
        let value = if objects {
            serde_json::from_str(text).ok()
        } else {
            normalise(self.kind, Raw::Text(text), Path::new("")).map(|kind| json(&kind))
        };
        value.unwrap_or_else(|| text.into())
    }

    /// What to say of a key that no setting has.
    #[must_use]
    pub fn unknown(key: &str) -> Problem {
        Problem::new(key, &Origin::Store, unknown(key))
    }
}

#[cfg(test)]
mod tests;
