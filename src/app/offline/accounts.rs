//! Changing, trying and moving accounts without a gateway.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::{catalogue, recorded, shared};
use crate::account::directory::Directory;
use crate::account::export;
use crate::account::verify::Verifier;
use crate::app::accounts::{set, tried};
use crate::app::migration::{self, Plan, Target};
use crate::app::parts::Opened;
use crate::app::settings::SharedSettings;
use crate::auth::oauth::OAuth;
use crate::auth::tokens::Tokens;
use crate::clock::Clock;
use crate::cloudcode::{Client, http};
use crate::config::{Config, Loaded};
use crate::server::migration::{AccountChange, Migration, MigrationReport, Trial};
use crate::store::audit::Action;
use crate::telemetry::metrics::Metrics;

/// All accounts with everything that is known of them, secrets in clear.
pub async fn document(config: &Config) -> anyhow::Result<Value> {
    let clock = Clock::system();
    let opened = Opened::new(config, &clock, None).await?;
    let models = catalogue(&opened, clock)?.ids().await?;
    let work = async { Ok(opened.directory.entries(&models).await?) };
    let found = recorded(&opened.store, Action::ahead("accounts.export"), None, work).await?;
    Ok(export::document(&found.entries, &found.unreadable))
}

/// Makes `change` of the account with this address.
pub async fn change(config: &Config, email: &str, change: AccountChange) -> anyhow::Result<()> {
    let opened = Opened::new(config, &Clock::system(), None).await?;
    let work = async {
        anyhow::ensure!(opened.directory.change(email, &set(change)).await?, "Account {email} not found");
        Ok(())
    };
    recorded(&opened.store, Action::scripted("account.change"), Some(email), work).await
}

/// How the credentials of these accounts fare, in their order; `None` for one that is not known.
pub async fn verify(loaded: &Loaded, emails: &[String]) -> anyhow::Result<Vec<Option<Trial>>> {
    let clock = Clock::system();
    let opened = Opened::new(&loaded.config, &clock, None).await?;
    let metrics = Arc::new(Metrics::new()?);
    // As a gateway would: with the settings that the store holds.
    let settings = SharedSettings::load(opened.store.clone(), loaded.clone(), metrics).await?;
    let config = settings.config();
    let oauth = OAuth::new(http::client(&config.upstream)?, config.oauth.clone());
    let tokens = Tokens::new(
        oauth,
        Arc::clone(&opened.vault),
        opened.store.clone(),
        clock.clone(),
        TaskTracker::new(),
    )
    .with_databases(opened.host.is_alone());
    let client = Client::new(&config.upstream, clock).context("the upstream's client")?;
    let verifier = Verifier { store: opened.store.clone(), tokens, client };
    let directory: &Directory = &opened.directory;
    let mut trials = Vec::with_capacity(emails.len());
    for email in emails {
        let work = async { Ok(tried(directory, &verifier, email).await?) };
        trials.push(recorded(&opened.store, Action::after("account.verify"), Some(email), work).await?);
    }
    Ok(trials)
}

/// Takes over what another program has kept.
pub async fn migrate(loaded: &Loaded, migration: Migration) -> anyhow::Result<MigrationReport> {
    let plan = Plan::of(migration)?;
    let opened = Opened::new(&loaded.config, &Clock::system(), None).await?;
    let settings = shared(loaded, &opened).await?;
    let target = Target { directory: &opened.directory, store: &opened.store, settings: &settings };
    let work = async { Ok(migration::migrate(&target, plan).await?) };
    recorded(&opened.store, Action::ahead("migrate"), None, work).await
}
