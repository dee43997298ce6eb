//! Commands and flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

const AFTER_HELP: &str = "\
Settings come from flags, environment variables and a JSON file; `config check` shows them with their source.

Exit codes: 0 done, 1 failed, 2 wrong usage, 4 not everything was imported, \
69 store or gateway not available, 78 configuration not usable.";

/// Gateway that serves the Anthropic Messages API from a pool of Google Cloud Code accounts.
///
/// Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "antigravity-proxy", version, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Settings that have flags; accepted before and after the command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Settings")]
pub(super) struct Settings {
    /// Developer mode: log level at least `debug`.
    #[arg(long, global = true)]
    dev_mode: bool,
    /// Older name of --dev-mode.
    #[arg(long, global = true)]
    debug: bool,
    /// Let another model answer when the asked one is exhausted.
    #[arg(long, global = true)]
    fallback: bool,
    /// How an account is chosen: hybrid or round-robin.
    #[arg(long, global = true, value_name = "NAME")]
    strategy: Option<String>,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, global = true, value_name = "PORT")]
    port: Option<u16>,
    /// Address to listen on.
    #[arg(long, global = true, value_name = "ADDRESS")]
    host: Option<String>,
}

impl From<Settings> for Flags {
    fn from(settings: Settings) -> Self {
        let Settings { dev_mode, debug, fallback, strategy, port, host } = settings;
        Self { dev_mode, debug, fallback, strategy, port, host }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway (the default).
    Serve,
    /// Manage the pool's accounts, also while a gateway runs.
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Look at the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask the gateway on this machine whether it lives; exit code 0 or 1.
    Healthcheck,
    /// Look at and change the settings that all gateways of the pool share.
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Work with the embedded store.
    #[command(subcommand)]
    Store(StoreCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountsCommand {
    /// Add or update the accounts of an accounts.json or of an export; prints what happened to each.
    Import {
        /// The file; `-` reads standard input.
        file: PathBuf,
    },
    /// List the accounts and their state.
    List {
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove an account.
    Remove {
        /// Its e-mail address.
        email: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check all settings and print each with its source; secrets are not shown.
    Check,
    /// Print the reference manual of all settings.
    #[command(hide = true)]
    Docs,
}

#[derive(Debug, Subcommand)]
pub(super) enum SettingsCommand {
    /// Show the settings in force, where each came from, and the generation of the shared ones.
    Get {
        /// Only these.
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change shared settings: all of them, or none.
    #[command(arg_required_else_help = true)]
    Set {
        /// The new values; objects are written as JSON, lists with commas.
        #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
        changes: Vec<(String, String)>,
        /// Take a setting out of the store, so that file or default holds again; may be repeated.
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        /// Only if this is still the generation that `settings get` shows.
        #[arg(long, value_name = "NUMBER")]
        generation: Option<u64>,
    },
}

fn assignment(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE"),
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Write the store as Redis commands, for `redis-cli --pipe`.
    Export {
        /// Write to this file (mode 0600) instead of standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    fn flags(args: &[&str]) -> Flags {
        Cli::try_parse_from([&["antigravity-proxy"], args].concat()).unwrap().settings.into()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_work_with_and_without_the_command() {
        for args in [
            &["--dev-mode", "--strategy=hybrid", "--port", "9", "--host", "::1", "--fallback"][..],
            &["serve", "--dev-mode", "--strategy", "hybrid", "--port=9", "--host=::1", "--fallback"],
            &[
                "--port",
                "9",
                "--dev-mode",
                "config",
                "check",
                "--strategy",
                "hybrid",
                "--host=::1",
                "--fallback",
            ],
        ] {
            let flags = flags(args);
            assert!(flags.dev_mode && flags.fallback && !flags.debug, "{args:?}");
            assert_eq!(flags.strategy.as_deref(), Some("hybrid"), "{args:?}");
            assert_eq!((flags.port, flags.host.as_deref()), (Some(9), Some("::1")), "{args:?}");
        }
        assert!(flags(&["--debug"]).debug);
    }

    #[test]
    fn unknown_flags_and_ports_are_usage_errors() {
        for args in [["antigravity-proxy", "--porty"], ["antigravity-proxy", "--port=99999"]] {
            assert_eq!(Cli::try_parse_from(args).unwrap_err().exit_code(), 2);
        }
    }
}
