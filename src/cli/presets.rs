//! `presets list | show | apply | save | delete`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::accounts;
use super::backend::Backend;
use super::exit::Exit;
use super::output;
use crate::config::BuiltInPreset;

/// Prints one line per preset: its name and what it is for.
pub(super) async fn list(backend: &Backend<'_>, as_json: bool) -> anyhow::Result<Exit> {
    let answer = backend.presets().await?;
    if as_json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<_> = all(&answer).iter().map(|one| (text(&one["name"]), about(one))).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, about) in rows {
        output::line(format!("{name:width$}  {about}").trim_end())?;
    }
    Ok(Exit::Ok)
}

/// Prints the settings of one.
pub(super) async fn show(backend: &Backend<'_>, name: &str) -> anyhow::Result<Exit> {
    let config = config_of(&backend.presets().await?, name)?;
    output::line(&serde_json::to_string_pretty(&config)?)?;
    Ok(Exit::Ok)
}

/// Puts the settings of one into force.
pub(super) async fn apply(backend: &Backend<'_>, name: &str, as_json: bool) -> anyhow::Result<Exit> {
    let config = config_of(&backend.presets().await?, name)?;
    let answer = backend.configure(&config).await?;
    let rejected = rejected(&answer);
    if as_json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
    } else {
        output::line(&format!("applied  {name}  generation {}", answer["generation"]))?;
        let waiting = answer["restartRequired"].as_array().into_iter().flatten().map(text);
        let waiting: Vec<_> = waiting.collect();
        if !waiting.is_empty() {
            output::line(&format!("from the next start of each gateway: {}", waiting.join(", ")))?;
        }
        complain(&rejected);
    }
    Ok(if rejected.is_empty() { Exit::Ok } else { Exit::Partial })
}

/// Keeps the settings of a file, or those in force that the built-in presets name.
pub(super) async fn save(
    backend: &Backend<'_>,
    name: &str,
    file: Option<&Path>,
    description: Option<String>,
) -> anyhow::Result<Exit> {
    let config = match file {
        Some(file) => serde_json::from_slice(&accounts::read(file)?).with_context(|| {
            format!("{}: must be a JSON object, as the file of settings is", file.display())
        })?,
        None => in_force(&backend.config().await?["config"]),
    };
    let answer = backend.save_preset(name, config, description).await?;
    let rejected = rejected(&answer);
    output::line(text(&answer["message"]))?;
    complain(&rejected);
    Ok(if rejected.is_empty() { Exit::Ok } else { Exit::Partial })
}

/// Removes one.
pub(super) async fn delete(backend: &Backend<'_>, name: &str) -> anyhow::Result<Exit> {
    let there = all(&backend.presets().await?).iter().any(|one| one["name"] == name);
    anyhow::ensure!(there, "there is no preset {name:?}; `presets list` names them");
    output::line(text(&backend.delete_preset(name).await?["message"]))?;
    Ok(Exit::Ok)
}

fn complain(reasons: &[String]) {
    for reason in reasons {
        output::complain(reason);
    }
}

fn all(answer: &Value) -> &[Value] {
    answer["presets"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn about(preset: &Value) -> String {
    let built_in = if preset["builtIn"] == true { "(built in) " } else { "" };
    format!("{built_in}{}", text(&preset["description"]))
}

fn config_of(answer: &Value, name: &str) -> anyhow::Result<Map<String, Value>> {
    let preset = all(answer).iter().find(|one| one["name"] == name);
    let config = preset.and_then(|one| one["config"].as_object());
    config.cloned().with_context(|| format!("there is no preset {name:?}; `presets list` names them"))
}

fn rejected(answer: &Value) -> Vec<String> {
    let fields = answer["rejected"].as_array().into_iter().flatten();
    fields.map(|one| format!("left out: {}: {}", text(&one["field"]), text(&one["reason"]))).collect()
}

/// Of the settings in force those that the built-in presets name.
fn in_force(config: &Value) -> Map<String, Value> {
    fn same(named: &Map<String, Value>, config: &Value) -> Map<String, Value> {
        let of = |(name, value): (&String, &Value)| {
            let here = config.get(name)?;
            let here = match value {
                Value::Object(named) => Value::Object(same(named, here)),
                _ => here.clone(),
            };
            (here != Value::Object(Map::new())).then(|| (name.clone(), here))
        };
        named.iter().filter_map(of).collect()
    }
    BuiltInPreset::all().first().map(|preset| same(&preset.config, config)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_in_force_is_saved_as_far_as_presets_go() {
        let config = json!({
            "maxRetries": 9, "port": 1, "apiKey": "********",
            "accountSelection": { "strategy": "sticky", "weights": { "lru": 0.5, "affinity": 150 }, "sticky": { "ttlMs": 1 } },
        });
        assert_eq!(
            Value::Object(in_force(&config)),
            json!({ "maxRetries": 9, "accountSelection": { "strategy": "sticky", "weights": { "lru": 0.5 } } })
        );
    }

    #[test]
    fn presets_are_told_in_a_line() {
        assert_eq!(about(&json!({ "builtIn": true, "description": "d" })), "(built in) d");
        assert_eq!(about(&json!({ "name": "a" })), "");
    }
}
