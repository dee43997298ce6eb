//! The command line. Parses, loads the settings, runs one command and turns its outcome into an exit code.

mod accounts;
mod args;
mod backend;
mod exchange;
mod exit;
mod healthcheck;
mod output;
mod settings;
mod store;

pub use args::Cli;
pub use exit::{Exit, Unavailable};
pub use output::complain;

use args::{AccountsCommand, Command, ConfigCommand, SettingsCommand, StoreCommand};
use backend::Backend;

use crate::config::{Config, LoadInput, reference};
use crate::{app, telemetry};

/// Runs the command of `cli`; everything it has to say is said when this returns.
pub async fn run(cli: Cli) -> Exit {
    match command(cli).await {
        Ok(exit) => exit,
        Err(error) => {
            complain(&format!("{error:#}"));
            Exit::of(&error)
        }
    }
}

/// One line that a script waits for: the addresses, also where the system chose the ports.
fn announce(listening: &app::Listening) -> anyhow::Result<()> {
    let mut ready = serde_json::json!({ "url": listening.url, "version": env!("CARGO_PKG_VERSION") });
    if let Some(metrics) = &listening.metrics_url {
        ready["metricsUrl"] = metrics.as_str().into();
    }
    Ok(output::line(&ready.to_string())?)
}

async fn command(cli: Cli) -> anyhow::Result<Exit> {
    let command = cli.command.unwrap_or(Command::Serve);
    if let Command::Config(ConfigCommand::Docs) = command {
        output::write(&reference())?;
        return Ok(Exit::Ok);
    }
    let loaded = Config::load(&LoadInput::from_process(cli.settings.into()))?;
    match command {
        Command::Serve => {
            telemetry::init(&loaded.config.telemetry, loaded.config.server.dev_mode)?;
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            app::serve(loaded, announce).await.map(|()| Exit::Ok)
        }
        Command::Config(_) => {
            output::write(&loaded.listing())?;
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"));
            }
            Ok(Exit::Ok)
        }
        Command::Healthcheck => healthcheck::run(&loaded.config.server).await,
        Command::Accounts(command) => {
            let backend = Backend::open(&loaded).await?;
            match command {
                AccountsCommand::Import { file } => accounts::import(&backend, &file).await,
                AccountsCommand::List { json } => accounts::list(&backend, json).await,
                AccountsCommand::Remove { email } => accounts::remove(&backend, &email).await,
            }
        }
        Command::Settings(command) => {
            let backend = Backend::open(&loaded).await?;
            match command {
                SettingsCommand::Get { keys, json } => settings::get(&backend, &keys, json).await,
                SettingsCommand::Set { changes, unset, generation } => {
                    settings::set(&backend, changes, unset, generation).await
                }
            }
        }
        Command::Store(StoreCommand::Export { output }) => {
            store::export(&Backend::open(&loaded).await?, output.as_deref()).await
        }
    }
}
