//! Account and store commands that open the store themselves: a data directory that no gateway uses, or Redis. The answers have the shape of the
//! gateway's own API, so that a command prints the same either way.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::gateway::view;
use super::parts::Opened;
use super::settings::SharedSettings;
use crate::account::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::server::gateway::{ImportFailure, ImportReport, SettingsChange, SettingsChanged};
use crate::store::redis::Page;
use crate::telemetry::metrics::Metrics;
use crate::webui::accounts::{imported, listed};
use crate::webui::settings;

/// Adds or renews the accounts of a document.
pub async fn import(config: &Config, document: Value) -> anyhow::Result<Value> {
    let opened = Opened::new(config, &Clock::system(), None).await?;
    let report = opened.directory.import(&serde_json::to_vec(&document)?).await?;
    let failed = report.failed.into_iter();
    Ok(imported(&ImportReport {
        added: report.added,
        updated: report.updated,
        failed: failed.map(|entry| ImportFailure { email: entry.email, reason: entry.reason }).collect(),
    }))
}

/// Lists all accounts, without any secret.
pub async fn list(config: &Config) -> anyhow::Result<Value> {
    let clock = Clock::system();
    let opened = Opened::new(config, &clock, None).await?;
    let models = catalogue(&opened, clock.clone())?.ids().await?;
    let now_ms = clock.epoch_ms();
    let accounts: Vec<_> =
        opened.directory.list(&models).await?.iter().map(|account| view(account, now_ms)).collect();
    Ok(listed(&accounts))
}

/// Removes the account with this e-mail address.
pub async fn remove(config: &Config, email: &str) -> anyhow::Result<Value> {
    let clock = Clock::system();
    let opened = Opened::new(config, &clock, None).await?;
    let models = catalogue(&opened, clock)?.ids().await?;
    anyhow::ensure!(opened.directory.remove(email, &models).await?, "Account {email} not found");
    Ok(json!({ "status": "ok", "message": format!("Account {email} removed") }))
}

/// Writes the whole store as RESP commands.
pub async fn export(config: &Config, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let opened = Opened::new(config, &Clock::system(), None).await?;
    let mut page = Some(Page::first());
    while let Some(current) = page {
        let (commands, next) = opened.host.export(opened.store.keys(), current).await?;
        out.write_all(&commands)?;
        page = next;
    }
    Ok(out.flush()?)
}

/// The settings with which a gateway would start, and what the store says of them.
pub async fn settings(loaded: &Loaded) -> anyhow::Result<Value> {
    Ok(settings::listed(&shared(loaded).await?.view()))
}

/// Changes shared settings; what is wrong with the change is the error.
pub async fn change_settings(loaded: &Loaded, change: &SettingsChange) -> anyhow::Result<Value> {
    let shared = shared(loaded).await?;
    let mut outcome = shared.change(change).await?;
    if let SettingsChanged::Done(view) = &mut outcome {
        // As the next gateway to start sees them.
        *view = shared.restarted().await?.view();
    }
    let keys: Vec<_> = change.settings.keys().cloned().collect();
    let (_, answer) = settings::answered(&outcome, &keys);
    match outcome {
        SettingsChanged::Done(_) => Ok(answer),
        _ => anyhow::bail!("{}", answer["error"].as_str().unwrap_or_default()),
    }
}

async fn shared(loaded: &Loaded) -> anyhow::Result<SharedSettings> {
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    Ok(SharedSettings::load(opened.store, loaded.clone(), Arc::new(Metrics::new()?)).await?)
}

fn catalogue(opened: &Opened, clock: Clock) -> anyhow::Result<Catalogue> {
    Ok(Catalogue::new(opened.store.clone(), clock, Arc::new(Metrics::new()?)))
}
