//! Server presets and changes field by field, without a gateway.

use serde_json::{Map, Value};

use super::{Opened, recorded, shared};
use crate::app::presets;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::server::gateway::presets::{NewPreset, PresetError};
use crate::store::audit::Action;
use crate::webui;

/// All server presets.
pub async fn list(loaded: &Loaded) -> anyhow::Result<Value> {
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    Ok(webui::presets::listed(presets::list(&opened.store).await.map_err(|error| told(&error))?).into_value())
}

/// Adds one, or replaces the one of its name.
pub async fn save(loaded: &Loaded, new: NewPreset) -> anyhow::Result<Value> {
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    let name = new.name.clone();
    let work = async { presets::save(&opened.store, new).await.map_err(|error| told(&error)) };
    let saved = recorded(&opened.store, Action::scripted("preset.save"), Some(&name), work).await?;
    Ok(webui::presets::answered(saved, "saved").into_value())
}

/// Removes one.
pub async fn remove(loaded: &Loaded, name: &str) -> anyhow::Result<Value> {
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    let work = async { presets::remove(&opened.store, name).await.map_err(|error| told(&error)) };
    let left = recorded(&opened.store, Action::scripted("preset.remove"), Some(name), work).await?;
    Ok(webui::presets::removed(name, left).into_value())
}

/// The settings with which a gateway would start, in the shape of the file.
pub async fn config(loaded: &Loaded) -> anyhow::Result<Value> {
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    Ok(serde_json::json!(shared(loaded, &opened).await?.document()))
}

/// Takes the fields of `change` that are right; the error says why none was.
pub async fn configure(loaded: &Loaded, change: &Map<String, Value>) -> anyhow::Result<Value> {
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    let settings = shared(loaded, &opened).await?;
    let work = async { Ok(settings.configure(change).await?) };
    let outcome = recorded(&opened.store, Action::scripted("settings.change"), None, work).await?;
    let answer = webui::config::answered(outcome).told().map_err(anyhow::Error::msg)?;
    Ok(answer.into_value())
}

fn told(error: &PresetError) -> anyhow::Error {
    anyhow::Error::msg(error.to_string())
}
