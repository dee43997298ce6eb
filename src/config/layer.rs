//! The sources of settings. Each is a [`::config::Source`] of values that are already checked and know their origin.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ::config::{Map, Source, Value, ValueKind};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::problem::{Origin, Problem, nearest};
use super::setting::{Kind, Setting, Sharing};
use super::settings::SETTINGS;
use super::value::{Raw, normalise};

/// One source: checked values by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) values: Vec<(&'static Setting, Origin, ValueKind)>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self
            .values
            .iter()
            .map(|(setting, origin, kind)| {
                (setting.key.to_owned(), Value::new(Some(&origin.to_string()), kind.clone()))
            })
            .collect())
    }
}

/// Collects values and everything that is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) cwd: &'a Path,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn accept(&mut self, layer: &mut Layer, setting: &'static Setting, origin: Origin, raw: Raw<'_>) {
        if let Some(kind) = normalise(setting.kind, raw, self.cwd) {
            layer.values.push((setting, origin, kind));
            return;
        }
        let mut problem = Problem::new(setting.key, &origin, "");
        let allowed = setting.kind.allowed();
        problem.usage |= matches!(setting.kind, Kind::Strategy);
        problem.reason = if setting.is_secret() {
            format!("the value (not shown, it is secret) is not usable; allowed: {allowed}")
        } else if matches!(setting.kind, Kind::Url(_) | Kind::BareUrl(_) | Kind::UrlList(_))
            && raw.shown().contains(['@', '?'])
        {
            format!("the value (not shown, it may hold a password or key) is not usable; allowed: {allowed}")
        } else {
            format!("{} is not usable; allowed: {allowed}", raw.shown())
        };
        self.problems.push(problem);
    }

    /// What is built in, as far as it is a plain value.
    pub(super) fn defaults() -> Layer {
        let mut layer = Layer::default();
        for setting in SETTINGS {
            if let Some(kind) = setting.built_in() {
                layer.values.push((setting, Origin::Default, kind));
            }
        }
        layer
    }

    /// The file at `path`; a missing one is a problem (the caller has looked for it).
    pub(super) fn file(&mut self, path: &Path) -> Layer {
        let mut layer = Layer::default();
        let origin = Origin::File(path.to_owned());
        let text = match fs::read(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                self.problems.push(Problem::new("", &origin, format!("cannot be read: {error}")));
                return layer;
            }
        };
        match serde_json::from_slice(&text) {
            Ok(Json::Object(document)) => self.object(&mut layer, &origin, "", &document),
            Ok(_) => self.problems.push(Problem::new("", &origin, "must be a JSON object")),
            Err(error) => {
                self.problems.push(Problem::new("", &origin, format!("is not valid JSON: {error}")));
            }
        }
        layer
    }

    fn object(
        &mut self,
        layer: &mut Layer,
        origin: &Origin,
        parent: &str,
        object: &serde_json::Map<String, Json>,
    ) {
        for (name, value) in object {
            if name.starts_with('_') {
                continue;
            }
            let key = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            match Setting::find(&key) {
                Some(setting) if setting.in_file => {
                    // Empty texts and nulls are how sample files say "not set".
                    let unset = value.is_null() || (value == "" && setting.default.is_empty());
                    if !unset {
                        self.accept(layer, setting, origin.clone(), Raw::Json(value));
                    }
                }
                Some(setting) => self.problems.push(Problem::new(
                    &key,
                    origin,
                    format!(
                        "cannot be set in the file; use the environment variable {}",
                        setting.env.join("/")
                    ),
                )),
                None => match value {
                    Json::Object(inner) if is_group(&key) => self.object(layer, origin, &key, inner),
                    _ if is_group(&key) => {
                        self.problems.push(Problem::new(&key, origin, "must be a JSON object"));
                    }
                    _ => self.problems.push(Problem::new(&key, origin, unknown(&key))),
                },
            }
        }
    }

    /// Values of the shared store: JSON texts by key. What this version does not know, or keeps to each process,
    /// is left out with a warning: another version may have written it.
    pub(super) fn shared(&mut self, values: &BTreeMap<String, String>, warnings: &mut Vec<String>) -> Layer {
        let mut layer = Layer::default();
        for (key, text) in values {
            let reason = match Setting::find(key) {
                Some(setting) if setting.sharing != Sharing::Local => {
                    match serde_json::from_str(text) {
                        Ok(value) => self.accept(&mut layer, setting, Origin::Store, Raw::Json(&value)),
                        Err(error) => {
                            let reason = format!("is not valid JSON: {error}");
                            self.problems.push(Problem::new(setting.key, &Origin::Store, reason));
                        }
                    }
                    continue;
                }
                Some(_) => "is never taken from there",
                None => "is unknown to this version",
            };
            warnings.push(format!("{key} ({}): ignored, it {reason}", Origin::Store));
        }
        layer
    }

    /// The environment. An empty variable counts as unset, except where empty means "off".
    pub(super) fn environment(&mut self, env: &BTreeMap<String, String>) -> Layer {
        let mut layer = Layer::default();
        for setting in SETTINGS {
            let empty_counts = matches!(setting.kind, Kind::Address);
            let direct = setting
                .env
                .iter()
                .find_map(|&name| Some((name, env.get(name).filter(|v| empty_counts || !v.is_empty())?)));
            let file = if setting.is_secret() { self.named_file(setting, env) } else { None };
            match (direct, file) {
                (Some((name, _)), Some((file_name, ..))) => self.problems.push(Problem::new(
                    setting.key,
                    &Origin::Env(file_name.clone()),
                    format!("{name} is set too; set only one of the two"),
                )),
                (Some((name, value)), None) => {
                    self.accept(&mut layer, setting, Origin::Env(name.to_owned()), Raw::Text(value));
                }
                (None, Some((name, path, text))) => {
                    let origin = Origin::EnvFile(name, path);
                    match text {
                        Ok(text) => {
                            let text = text.trim_end_matches(['\r', '\n']);
                            self.accept(&mut layer, setting, origin, Raw::Text(text));
                        }
                        Err(error) => self.problems.push(Problem::new(
                            setting.key,
                            &origin,
                            format!("cannot be read: {error}"),
                        )),
                    }
                }
                (None, None) => {}
            }
        }
        layer
    }

    fn named_file(
        &self,
        setting: &Setting,
        env: &BTreeMap<String, String>,
    ) -> Option<(String, PathBuf, std::io::Result<Zeroizing<String>>)> {
        setting.env.iter().find_map(|name| {
            let name = format!("{name}_FILE");
            let path = self.cwd.join(env.get(&name).filter(|path| !path.is_empty())?);
            let text = fs::read_to_string(&path).map(Zeroizing::new);
            Some((name, path, text))
        })
    }

    /// Command-line flags as `(flag, value)`.
    pub(super) fn flags(&mut self, flags: &[(&'static str, String)]) -> Layer {
        let mut layer = Layer::default();
        for (flag, value) in flags {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.flag == Some(*flag)) {
                self.accept(&mut layer, setting, Origin::Flag(flag), Raw::Text(value));
            }
        }
        layer
    }
}

impl Setting {
    /// The built-in value, where it is a plain one.
    pub(super) fn built_in(&self) -> Option<ValueKind> {
        let plain = !self.default.is_empty() && !self.default.contains('<');
        plain.then(|| normalise(self.kind, Raw::Text(self.default), Path::new("")))?
    }
}

pub(super) fn is_group(key: &str) -> bool {
    SETTINGS.iter().any(|s| s.in_file && s.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

pub(super) fn unknown(key: &str) -> String {
    let names = SETTINGS.iter().filter(|setting| setting.in_file).map(|setting| setting.key);
    match nearest(key, names) {
        Some(near) => format!("there is no such setting; did you mean `{near}`?"),
        None => "there is no such setting; docs/configuration.md lists them all".into(),
    }
}
