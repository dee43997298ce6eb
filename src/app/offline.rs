//! Account and store commands that open the store themselves: a data directory that no gateway uses, or Redis. The answers have the shape of the
//! gateway's own API, so that a command prints the same either way.

mod accounts;
#[cfg(feature = "simulator")]
pub mod past;
pub mod presets;
pub mod signin;
mod trail;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

pub use self::accounts::{change, document, migrate, verify};
use self::trail::recorded;
use super::accounts::import_report;
use super::gateway::views;
use super::parts::{Closed, Opened, unlocked};
use super::rotation::Rotation;
use super::selection;
use super::settings::SharedSettings;
use crate::account::alias::{self, Resolution};
use crate::account::catalogue::Catalogue;
use crate::account::directory::{self, Refusals};
use crate::auth::client_keys::{KeyError, KeyRing, NewKey};
use crate::auth::console::{Console, ConsoleError, Right};
use crate::auth::rotation;
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::server::answer::Answer;
use crate::server::gateway::{SelectionQuestion, SettingsChange, SettingsChanged};
use crate::store::Store;
use crate::store::audit::Action;
use crate::store::redis::Page;
use crate::telemetry::metrics::Metrics;
use crate::webui::accounts::{imported, imported_before, listed, removed};
use crate::webui::keys;
use crate::webui::rotation::rotated;
use crate::webui::settings;
use crate::webui::strategy::explained;

/// Adds or renews the accounts of a document; with `once` only if this very document was not imported before, which
/// its value says more of.
pub async fn import(config: &Config, document: Value, once: Option<Refusals>) -> anyhow::Result<Value> {
    let opened = Opened::new(config, &Clock::system(), None).await?;
    let document = serde_json::to_vec(&document)?;
    let work = async {
        if let Some(refusals) = once {
            let report = opened.directory.import_once(&document, refusals).await?;
            return Ok(report.map_or_else(imported_before, |report| imported(import_report(report))));
        }
        Ok(imported(import_report(opened.directory.import(&document).await?)))
    };
    Ok(recorded(&opened.store, Action::ahead("accounts.import"), None, work).await?.into_value())
}

/// Lists all accounts, without any secret.
pub async fn list(config: &Config) -> anyhow::Result<Value> {
    let clock = Clock::system();
    // Also under lost keys: whoever has lost one needs to know the accounts.
    let closed = Closed::new(config, &clock).await?;
    let models = offered(&closed.store, clock.clone())?.ids().await?;
    Ok(listed(views(&directory::list(&closed.store, &models).await?)).into_value())
}

/// Says which account the next request would get, and why.
pub async fn explain(
    config: &Config,
    model: Option<&str>,
    session: Option<&str>,
    key: Option<&str>,
) -> anyhow::Result<Value> {
    let clock = Clock::system();
    let opened = Opened::new(config, &clock, None).await?;
    let offered = catalogue(&opened, clock)?.ids().await?;
    let model = match alias::resolve(model, &offered, &config.models) {
        Resolution::Model(id) => id,
        Resolution::Missing => anyhow::bail!("name a model: there is no default one"),
        Resolution::Unknown(id) => anyhow::bail!("the pool offers no model {id}"),
    };
    let question = SelectionQuestion {
        model: None,
        session: session.map(str::to_owned),
        client_key: KeyRing::new(opened.store.clone(), &config.server.api_keys, Clock::system())
            .scope(key)
            .await
            .map_err(told)?,
    };
    let told =
        selection::explain(&opened.store, &opened.directory, &config.dispatch, model, &question).await?;
    Ok(explained(told).into_value())
}

/// Removes the account with this e-mail address, which takes no key.
pub async fn remove(config: &Config, email: &str) -> anyhow::Result<Value> {
    let clock = Clock::system();
    let closed = Closed::new(config, &clock).await?;
    let models = offered(&closed.store, clock)?.ids().await?;
    let work = async {
        let removed = directory::remove(&closed.store, email, &models).await?;
        anyhow::ensure!(removed, "Account {email} not found");
        Ok(())
    };
    recorded(&closed.store, Action::scripted("account.remove"), Some(email), work).await?;
    rotation::forget_lost(&config.store, &closed.store).await.map_err(unlocked)?;
    Ok(removed(email).into_value())
}

/// Takes encryption keys off the pool's list that are lost and that nothing needs any more; answers their ids.
pub async fn forget_lost_keys(config: &Config) -> anyhow::Result<Vec<String>> {
    let closed = Closed::new(config, &Clock::system()).await?;
    rotation::forget_lost(&config.store, &closed.store).await.map_err(unlocked)
}

/// The client keys of the store, and those of this configuration.
pub async fn keys(config: &Config) -> anyhow::Result<Value> {
    let (ring, _) = key_ring(config).await?;
    let (clients, now_ms) = ring.list().await.map_err(told)?;
    Ok(keys::listed(ring.keys().configured(), &clients, now_ms, ring.keys().is_open()).into_value())
}

/// Makes a client key.
pub async fn create_key(config: &Config, new: &NewKey) -> anyhow::Result<Value> {
    let (ring, store) = key_ring(config).await?;
    let work = async { ring.create(new).await.map_err(told) };
    let made = recorded(&store, Action::scripted("key.create"), Some(&new.name), work).await?;
    Ok(keys::told(made, ring.keys().now_ms()).into_value())
}

/// Revokes the client key with this id or name.
pub async fn revoke_key(config: &Config, which: &str) -> anyhow::Result<Value> {
    let (ring, store) = key_ring(config).await?;
    let work = async { ring.revoke(which).await.map_err(told) };
    let revoked = recorded(&store, Action::scripted("key.revoke"), Some(which), work).await?;
    Ok(keys::changed(&revoked, ring.keys().now_ms()).into_value())
}

/// Gives the client key with this id or name a new secret.
pub async fn rotate_key(config: &Config, which: &str, grace: Duration) -> anyhow::Result<Value> {
    let (ring, store) = key_ring(config).await?;
    let work = async { ring.rotate(which, grace).await.map_err(told) };
    let rotated = recorded(&store, Action::scripted("key.rotate"), Some(which), work).await?;
    Ok(keys::told(rotated, ring.keys().now_ms()).into_value())
}

/// The store's own error decides the exit code.
fn told(error: KeyError) -> anyhow::Error {
    match error {
        KeyError::Store(error) => error.into(),
        other => other.into(),
    }
}

async fn key_ring(config: &Config) -> anyhow::Result<(KeyRing, Store)> {
    let clock = Clock::system();
    let opened = Opened::new(config, &clock, None).await?;
    let ring = KeyRing::new(opened.store.clone(), &config.server.api_keys, clock);
    ring.load().await?;
    Ok((ring, opened.store))
}

/// Sets the console's password, or removes it with `None`; all its sessions end.
pub async fn set_password(config: &Config, new: Option<&SecretString>) -> anyhow::Result<()> {
    let clock = Clock::system();
    let Opened { store, vault, .. } = Opened::new(config, &clock, None).await?;
    let console = Console::new(store.clone(), vault, config.server.webui_password.as_ref(), clock);
    let work = async {
        console.set_password(new, Right::Owner).await.map_err(|error| match error {
            ConsoleError::Store(error) => error.into(),
            other => other.into(),
        })
    };
    recorded(&store, Action::scripted("password.change"), None, work).await
}

/// Seals every secret anew with the newest encryption key.
pub async fn rotate_keys(config: &Config, new_key: bool) -> anyhow::Result<Value> {
    let opened = Opened::new(config, &Clock::system(), None).await?;
    let Opened { host, store, directory, vault, .. } = &opened;
    let rotation = Rotation { host, store, directory, vault, own: None };
    let work = async { rotation.run(new_key).await.map_err(unlocked) };
    Ok(rotated(recorded(store, Action::ahead("secrets.rotate"), None, work).await?).into_value())
}

/// Writes the whole store as RESP commands.
pub async fn export(config: &Config, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let opened = Opened::new(config, &Clock::system(), None).await?;
    let work = async {
        let mut page = Some(Page::first());
        while let Some(current) = page {
            let (commands, next) = opened.host.export(opened.store.keys(), current).await?;
            out.write_all(&commands)?;
            page = next;
        }
        Ok(out.flush()?)
    };
    recorded(&opened.store, Action::ahead("store.export"), None, work).await
}

/// The settings with which a gateway would start, and what the store says of them.
pub async fn settings(loaded: &Loaded) -> anyhow::Result<Value> {
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    Ok(Answer::new(shared(loaded, &opened).await?.view()).into_value())
}

/// Changes shared settings; what is wrong with the change is the error.
pub async fn change_settings(loaded: &Loaded, change: &SettingsChange) -> anyhow::Result<Value> {
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    let shared = shared(loaded, &opened).await?;
    let work = async { Ok(shared.change(change).await?) };
    let mut outcome = recorded(&opened.store, Action::scripted("settings.change"), None, work).await?;
    if let SettingsChanged::Done { view, .. } = &mut outcome {
        // As the next gateway to start sees them.
        *view = shared.restarted().await?.view();
    }
    let keys: Vec<_> = change.settings.keys().cloned().collect();
    let answer = settings::answered(outcome, &keys).told().map_err(anyhow::Error::msg)?;
    Ok(answer.into_value())
}

async fn shared(loaded: &Loaded, opened: &Opened) -> anyhow::Result<SharedSettings> {
    Ok(SharedSettings::load(opened.store.clone(), loaded.clone(), Arc::new(Metrics::new()?)).await?)
}

fn catalogue(opened: &Opened, clock: Clock) -> anyhow::Result<Catalogue> {
    offered(&opened.store, clock)
}

fn offered(store: &Store, clock: Clock) -> anyhow::Result<Catalogue> {
    Ok(Catalogue::new(store.clone(), clock, Arc::new(Metrics::new()?)))
}
