//! The command line. Parses, loads the settings, runs one command and turns its outcome into an exit code.

mod accounts;
mod args;
mod backend;
mod drain;
mod exchange;
mod exit;
mod file;
mod healthcheck;
mod keys;
mod manage;
mod manual;
mod migrate;
mod output;
mod password;
mod presets;
mod prompt;
mod settings;
mod signin;
mod store;

use std::path::PathBuf;

pub use args::Cli;
pub use exit::{Conflict, Exit, Misuse, Unavailable};
pub use output::complain;

use args::{
    AccountsCommand, Command, ConfigCommand, KeysCommand, PasswordCommand, PresetsCommand, SettingsCommand,
    StoreCommand,
};
use backend::Backend;
use manage::Action;

use crate::account::directory::Refusals;
use crate::auth::client_keys::NewKey;
use crate::config::{Config, LoadInput, reference};
use crate::server::openapi;
use crate::{app, telemetry};

/// Runs the command of `cli`; everything it has to say is said when this returns.
pub async fn run(cli: Cli) -> Exit {
    match Box::pin(command(cli)).await {
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
    if let Some(token) = &listening.setup_token {
        password::announce(token)?;
    }
    Ok(output::line(&ready.to_string())?)
}

async fn command(cli: Cli) -> anyhow::Result<Exit> {
    let command = cli.command.unwrap_or(Command::Serve);
    match command {
        Command::Config(ConfigCommand::Docs { metrics }) => {
            output::write(&if metrics { manual::metrics() } else { reference() })?;
            return Ok(Exit::Ok);
        }
        Command::Openapi => {
            output::write(openapi::text())?;
            return Ok(Exit::Ok);
        }
        _ => {}
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
        // Openapi is answered above.
        Command::Config(_) | Command::Openapi => {
            output::write(&loaded.listing())?;
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"));
            }
            Ok(Exit::Ok)
        }
        Command::Healthcheck(asked) => healthcheck::run(&loaded.config.server, &asked).await,
        Command::Drain => drain::run(&Backend::open(&loaded).await?).await,
        Command::Accounts(command) => {
            let backend = Backend::open(&loaded).await?;
            match command {
                AccountsCommand::Add { email, no_browser, json } => {
                    let options = signin::Options { email, known: false, browser: !no_browser, json };
                    signin::add(&loaded, &backend, &options).await
                }
                AccountsCommand::Reauth { email, no_browser, json } => {
                    let options =
                        signin::Options { email: Some(email), known: true, browser: !no_browser, json };
                    signin::add(&loaded, &backend, &options).await
                }
                AccountsCommand::Import { file, once, allow_refused, ide, email, manual, json } => {
                    let document = match (file, ide) {
                        (Some(file), _) => accounts::document(&file)?,
                        (None, path) => {
                            let path = path.filter(|path| !path.is_empty()).map(PathBuf::from);
                            manage::from_ide(path, email, manual).await?
                        }
                    };
                    let refusals = if allow_refused { Refusals::Allow } else { Refusals::Retry };
                    accounts::import(&backend, document, once, refusals, json).await
                }
                AccountsCommand::Verify { emails, json } => manage::verify(&backend, emails, json).await,
                AccountsCommand::Enable { emails, json } => {
                    manage::each(&backend, &emails, &Action::Enable, true, json).await
                }
                AccountsCommand::Disable { emails, json } => {
                    manage::each(&backend, &emails, &Action::Disable, true, json).await
                }
                AccountsCommand::Threshold { email, value, model, json } => {
                    let action = Action::Threshold(value.0, model);
                    manage::each(&backend, &[email], &action, true, json).await
                }
                AccountsCommand::Clear { yes, json } => manage::clear(&backend, yes, json).await,
                AccountsCommand::Export { output } => manage::export(&backend, output.as_deref()).await,
                AccountsCommand::List { json } => accounts::list(&backend, json).await,
                AccountsCommand::Explain { model, session, key, json } => {
                    accounts::explain(&backend, model.as_deref(), session.as_deref(), key.as_deref(), json)
                        .await
                }
                AccountsCommand::RotateKeys { new_key, json } => {
                    accounts::rotate_keys(&backend, new_key, json).await
                }
                AccountsCommand::Remove { emails, yes, json } => {
                    manage::each(&backend, &emails, &Action::Remove, yes, json).await
                }
            }
        }
        Command::Keys(command) => {
            let backend = Backend::open(&loaded).await?;
            match command {
                KeysCommand::Create { name, expires, models, json } => {
                    keys::create(&backend, NewKey { name, expires, models }, json).await
                }
                KeysCommand::List { json } => keys::list(&backend, json).await,
                KeysCommand::Revoke { key, yes, json } => keys::revoke(&backend, &key, yes, json).await,
                KeysCommand::Rotate { key, grace, json } => {
                    keys::rotate(&backend, &key, grace.unwrap_or_default(), json).await
                }
            }
        }
        Command::Migrate(args) => migrate::run(loaded, args).await,
        Command::Password(command) => {
            let backend = Backend::open(&loaded).await?;
            match command {
                PasswordCommand::Set => password::set(&backend).await,
                PasswordCommand::Clear { yes } => password::clear(&backend, yes).await,
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
        Command::Presets(command) => {
            let backend = Backend::open(&loaded).await?;
            match command {
                PresetsCommand::List { json } => presets::list(&backend, json).await,
                PresetsCommand::Show { name } => presets::show(&backend, &name).await,
                PresetsCommand::Apply { name, json } => presets::apply(&backend, &name, json).await,
                PresetsCommand::Save { name, file, description } => {
                    presets::save(&backend, &name, file.as_deref(), description).await
                }
                PresetsCommand::Delete { name } => presets::delete(&backend, &name).await,
            }
        }
        Command::Store(StoreCommand::Export { output }) => {
            store::export(&Backend::open(&loaded).await?, output.as_deref()).await
        }
        #[cfg(feature = "simulator")]
        Command::PretendUsage { file } => {
            let requests = serde_json::from_slice(&std::fs::read(file)?)?;
            let counted = app::offline::past::pretend(&loaded.config, requests).await?;
            output::line(&format!("{counted} requests counted"))?;
            Ok(Exit::Ok)
        }
    }
}
