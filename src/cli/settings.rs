//! `settings get | set`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::backend::Backend;
use super::exit::Exit;
use super::output;
use crate::config::Setting;
use crate::server::gateway::SettingsChange;

/// Prints one line per setting: key, value, source, and what the store holds where that is something else.
pub(super) async fn get(backend: &Backend<'_>, keys: &[String], as_json: bool) -> anyhow::Result<Exit> {
    let mut answer = backend.settings().await?;
    for key in keys {
        anyhow::ensure!(
            rows(&answer).iter().any(|row| row["key"] == **key) || Setting::find(key).is_some(),
            "{}",
            Setting::unknown(key)
        );
    }
    if let Some(rows) = answer["rows"].as_array_mut().filter(|_| !keys.is_empty()) {
        rows.retain(|row| keys.iter().any(|key| row["key"] == **key));
    }
    if let Some(settings) = answer["settings"].as_object_mut().filter(|_| !keys.is_empty()) {
        settings.retain(|key, _| keys.contains(key));
    }
    if as_json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(Exit::Ok);
    }
    if let Some(reason) = answer["rejected"].as_str() {
        output::complain(&format!("warning: the shared settings are not in force: {reason}"));
    }
    output::write(&table(rows(&answer)))?;
    output::line(&format!("generation {}", answer["generation"]))?;
    Ok(Exit::Ok)
}

/// Changes shared settings and says what becomes of each.
pub(super) async fn set(
    backend: &Backend<'_>,
    changes: Vec<(String, String)>,
    unset: Vec<String>,
    generation: Option<u64>,
) -> anyhow::Result<Exit> {
    let mut settings = BTreeMap::new();
    let changes = changes.into_iter().map(|(key, text)| {
        let value = Setting::find(&key).map_or_else(|| json!(text), |setting| setting.written(&text));
        (key, value)
    });
    for (key, value) in changes.chain(unset.into_iter().map(|key| (key, Value::Null))) {
        anyhow::ensure!(settings.insert(key.clone(), value).is_none(), "{key} is given twice");
    }
    let keys: Vec<String> = settings.keys().cloned().collect();
    let answer = backend.change_settings(&SettingsChange { generation, settings }).await?;
    for key in keys {
        let row = rows(&answer).iter().find(|row| row["key"] == *key);
        output::line(&row.map_or_else(|| format!("{key}  taken out"), outcome))?;
    }
    output::line(&format!("generation {}", answer["generation"]))?;
    Ok(Exit::Ok)
}

fn rows(answer: &Value) -> &[Value] {
    answer["rows"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn word<'r>(row: &'r Value, field: &str) -> &'r str {
    row[field].as_str().unwrap_or_default()
}

fn table(rows: &[Value]) -> String {
    let width = |of: &dyn Fn(&Value) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let keys = width(&|row| word(row, "key").chars().count());
    let values = width(&|row| text(&row["value"]).chars().count()).min(48);
    rows.iter().fold(String::new(), |table, row| {
        let (key, value) = (word(row, "key"), text(&row["value"]));
        table + &format!("{key:keys$}  {value:values$}  {}{}\n", word(row, "origin"), note(row))
    })
}

/// What the store holds, where that is not what is in force.
fn note(row: &Value) -> String {
    let stored = row.get("stored").map(text).unwrap_or_default();
    match (row.get("stored"), word(row, "shared")) {
        (_, "restart") if row["pending"] == true => match row.get("stored") {
            Some(_) => format!("; {stored} from the next start"),
            None => "; another one from the next start".to_owned(),
        },
        (Some(_), "local") => format!("; the shared store holds {stored}, which nobody reads"),
        (Some(_), "unknown") => format!("; the shared store holds {stored}, unknown to this version"),
        (Some(_), _) if word(row, "origin") != "shared store" => format!("; the shared store holds {stored}"),
        _ => String::new(),
    }
}

/// One changed setting.
fn outcome(row: &Value) -> String {
    let restart = word(row, "shared") == "restart" && row["pending"] != true;
    let when = if restart { "; each gateway takes it over when it starts next" } else { "" };
    format!("{}  {}  {}{}{when}", word(row, "key"), text(&row["value"]), word(row, "origin"), note(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_tell_what_is_in_force_and_what_is_not() {
        let row = |origin: &str, shared: &str, stored: Value, pending: bool| {
            let mut row =
                json!({ "key": "k", "value": 5, "origin": origin, "shared": shared, "pending": pending });
            if !stored.is_null() {
                row["stored"] = stored;
            }
            outcome(&row)
        };
        assert_eq!(row("default", "live", Value::Null, false), "k  5  default");
        assert_eq!(row("shared store", "live", json!(5), false), "k  5  shared store");
        assert_eq!(
            row("environment variable K", "live", json!(7), false),
            "k  5  environment variable K; the shared store holds 7"
        );
        assert_eq!(row("default", "restart", json!(7), true), "k  5  default; 7 from the next start");
        assert_eq!(
            row("shared store", "restart", Value::Null, true),
            "k  5  shared store; another one from the next start"
        );
        assert_eq!(
            row("shared store", "restart", json!(5), false),
            "k  5  shared store; each gateway takes it over when it starts next"
        );
        assert_eq!(table(&[json!({ "key": "k", "value": "", "origin": "default" })]), "k  \"\"  default\n");
    }
}
