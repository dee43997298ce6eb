//! Commands and flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::keys;
use crate::account::import::value::is_model;
use crate::config::Flags;
use crate::store::ops::clients::Expiry;

const AFTER_HELP: &str = "\
Settings come from flags, environment variables and a JSON file; `config check` shows them with their source.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something is there already, 4 not everything was done, \
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
    /// How an account is chosen: hybrid, round-robin or sticky.
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
    /// Print the OpenAPI document of the API that a running gateway serves.
    Openapi,
    /// Take over what the reference (Node) or its Go port has kept: accounts, settings, usage, presets.
    Migrate(MigrateArgs),
    /// Ask a gateway whether it lives; exit code 0 or 1. It knows the gateway's environment and file, not its flags.
    Healthcheck(HealthcheckArgs),
    /// Prepare the running gateway for its end: it fails /readyz at once, this returns after its drain delay, and the
    /// gateway ends when its streams have; a SIGTERM in between changes nothing.
    Drain,
    /// Manage the keys with which clients call `/v1`, one per person or machine, also while gateways run.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Set or remove the console's password, also while gateways run: within 2 s it holds on all of them.
    #[command(subcommand)]
    Password(PasswordCommand),
    /// Look at and change the settings that all gateways of the pool share.
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Look at, apply and keep named sets of shared settings.
    #[command(subcommand)]
    Presets(PresetsCommand),
    /// Work with the embedded store.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Count requests that nobody made, for the demo: `scripts/demo.py` writes the file.
    #[cfg(feature = "simulator")]
    #[command(hide = true)]
    PretendUsage {
        /// A JSON list of them.
        file: PathBuf,
    },
}

/// Whom to ask, and for what.
#[derive(Args, Debug, Default)]
pub(super) struct HealthcheckArgs {
    /// The gateway's address, such as `http://gateway:8080`; without it the one on this machine.
    #[arg(long, value_name = "URL", value_parser = http_authority)]
    pub(super) url: Option<String>,
    /// Also list the models, with the first of `API_KEY`; there must be some.
    #[arg(long)]
    pub(super) models: bool,
    /// Also ask this model for a word, with the first of `API_KEY`, which spends a little of the pool's quota.
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<String>,
}

/// `host:port` of a plain HTTP address.
fn http_authority(text: &str) -> Result<String, &'static str> {
    const WANTED: &str = "write http://host:port, without a path";
    let uri: http::Uri = text.parse().map_err(|_| WANTED)?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http") && uri.path() == "/");
    let authority = authority.filter(|authority| !authority.as_str().contains('@')).ok_or(WANTED)?;
    Ok(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountsCommand {
    /// Sign in with a Google account in a browser and put it into the pool, also while a gateway runs.
    ///
    /// Prints the address to open, then waits for the browser to come back to this machine, or for the address that
    /// it ended on (or the code in it) to be pasted. Without a terminal one line is read from standard input.
    Add {
        /// The account to sign in; that of any other is refused.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Do not open a browser.
        #[arg(long)]
        no_browser: bool,
        /// Print the outcome as JSON, and everything else to standard error.
        #[arg(long)]
        json: bool,
    },
    /// Sign an account of the pool in again, as when its sign-in was revoked.
    Reauth {
        /// Its e-mail address.
        email: String,
        /// Do not open a browser.
        #[arg(long)]
        no_browser: bool,
        /// Print the outcome as JSON, and everything else to standard error.
        #[arg(long)]
        json: bool,
    },
    /// Add or update the accounts of an accounts.json or of an export; prints what happened to each.
    Import {
        /// The file; `-` reads standard input.
        #[arg(required_unless_present = "ide", conflicts_with = "ide")]
        file: Option<PathBuf>,
        /// Only if this very file was not imported into the pool before.
        #[arg(long, conflicts_with = "ide")]
        once: bool,
        /// Refused entries are named, but where others were taken the exit code is 0 and, with --once, the file counts
        /// as imported; without this such a file is tried again.
        #[arg(long, conflicts_with = "ide")]
        allow_refused: bool,
        /// Instead of a file: the account that is signed in to the Antigravity IDE of this machine, whose token is read
        /// from the IDE's database whenever it is needed.
        #[arg(long, value_name = "DATABASE", num_args = 0..=1, default_missing_value = "")]
        ide: Option<OsString>,
        /// Whose sign-in it is, where the IDE's database does not say.
        #[arg(long, value_name = "ADDRESS", requires = "ide", conflicts_with = "file")]
        email: Option<String>,
        /// Take only the IDE's access token of this moment, as a manual account; also for pools on Redis.
        #[arg(long, requires = "ide", conflicts_with = "file")]
        manual: bool,
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Use the credential of each account once, beside the pool, and say whether it works. A failure changes nothing; a
    /// success clears the mark of an account that counts as invalid.
    Verify {
        /// Only these.
        #[arg(value_name = "EMAIL")]
        emails: Vec<String>,
        /// Print the answers as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let accounts take part in the selection again.
    Enable {
        /// Their addresses.
        #[arg(value_name = "EMAIL", required = true)]
        emails: Vec<String>,
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Leave accounts out of the selection; they stay in the pool.
    Disable {
        /// Their addresses.
        #[arg(value_name = "EMAIL", required = true)]
        emails: Vec<String>,
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set the share of its quota below which an account is spared.
    Threshold {
        /// Its e-mail address.
        email: String,
        /// From 0 up to, not including, 1; `off` takes it away.
        #[arg(value_parser = threshold)]
        value: Threshold,
        /// Only for this model.
        #[arg(long, value_parser = model)]
        model: Option<String>,
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove all accounts.
    Clear {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write all accounts with everything that is known of them, secrets in clear; `import` reads it.
    ///
    /// Exit code 4: an account whose credential does not open is left out, and told on standard error.
    Export {
        /// Write to this new file (mode 0600) instead of standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the accounts and their state.
    List {
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell which account the next request would get, and why; changes nothing.
    Explain {
        /// The model, as a client names it; without it `defaultModel`.
        #[arg(long)]
        model: Option<String>,
        /// The session whose account counts, as in `X-Claude-Code-Session-Id`.
        #[arg(long)]
        session: Option<String>,
        /// Whose session: name or id of a client key; without it `default` where `API_KEY` is set, else nobody's.
        #[arg(long, value_name = "NAME|ID")]
        key: Option<String>,
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Seal all secrets anew with the newest encryption key, while gateways serve; says which keys are needed no more.
    RotateKeys {
        /// Make a new key first. Only where keys live in the embedded store's key file, not where they are given.
        #[arg(long)]
        new_key: bool,
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove accounts.
    Remove {
        /// Their addresses.
        #[arg(value_name = "EMAIL", required = true)]
        emails: Vec<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A threshold, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold(pub(super) Option<f64>);

fn model(text: &str) -> Result<String, &'static str> {
    if !is_model(text) {
        return Err("write a model's name: at most 128 bytes, without blanks, `=` and control characters");
    }
    Ok(text.to_owned())
}

fn threshold(text: &str) -> Result<Threshold, &'static str> {
    match text.parse::<f64>() {
        _ if text == "off" => Ok(Threshold(None)),
        Ok(value) if (0.0..1.0).contains(&value) => Ok(Threshold(Some(value))),
        _ => Err("write a number from 0 up to, not including, 1, or `off`"),
    }
}

/// Where a migration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Origin {
    /// The files of the reference.
    Node,
    /// The Redis of its Go port.
    Go,
}

/// What is migrated, and how.
#[derive(Args, Debug)]
pub(super) struct MigrateArgs {
    /// Whose data it is.
    #[arg(long, value_enum, default_value = "node")]
    pub(super) from: Origin,
    /// The reference's configuration directory, by default ~/.config/antigravity-proxy; or the Go port's Redis, by
    /// default the one that this pool uses.
    #[arg(long, value_name = "DIR|URL", env = "MIGRATE_SOURCE", hide_env_values = true)]
    pub(super) source: Option<String>,
    /// This accounts.json; without --source, nothing but the files named.
    #[arg(long, value_name = "FILE")]
    pub(super) accounts: Option<PathBuf>,
    /// This usage-history.json.
    #[arg(long, value_name = "FILE")]
    pub(super) usage: Option<PathBuf>,
    /// Bring it into this Redis instead of the configured store.
    #[arg(long, value_name = "HOST:PORT|URL")]
    pub(super) redis: Option<String>,
    /// Change nothing; only tell what would become of everything.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) existing: ExistingArgs,
    /// Print the report as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What becomes of what is here and differs.
#[derive(Args, Debug)]
pub(super) struct ExistingArgs {
    /// Replace what is here and differs.
    #[arg(long, conflicts_with = "skip_existing")]
    pub(super) overwrite: bool,
    /// Leave what is here and differs, and do not call it a conflict.
    #[arg(long)]
    pub(super) skip_existing: bool,
}

/// The flags of the Go port's migration tool, which have one dash.
const GO_FLAGS: [&str; 4] = ["accounts", "usage", "redis", "dry-run"];

impl Cli {
    /// What this process was called with.
    ///
    /// # Errors
    ///
    /// Wrong usage, or help was asked for.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse_from(with_two_dashes(std::env::args_os()))
    }
}

/// `migrate -accounts FILE` as `migrate --accounts FILE`.
fn with_two_dashes(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut migrating = false;
    let own = |argument: OsString| -> Option<OsString> {
        let Some(text) = argument.to_str() else { return Some(argument) };
        migrating |= text == "migrate";
        let flag = text.strip_prefix('-').filter(|flag| migrating && !flag.starts_with('-'));
        match flag.map(|flag| flag.split_once('=').unwrap_or((flag, ""))) {
            Some(("dry-run", "false")) => None,
            Some(("dry-run", _)) => Some("--dry-run".into()),
            Some((name, _)) if GO_FLAGS.contains(&name) => Some(format!("-{text}").into()),
            _ => Some(argument),
        }
    };
    arguments.into_iter().filter_map(own).collect()
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check all settings and print each with its source; secrets are not shown.
    Check,
    /// Print the reference manual of all settings.
    #[command(hide = true)]
    Docs {
        /// That of all metrics instead.
        #[arg(long)]
        metrics: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key and print its secret, which is shown this once only.
    Create {
        /// Of the person or machine that gets it.
        name: String,
        /// When it ends: a time such as 90d, 12h or 4w from now, or 2030-01-31T12:00:00Z; without it never.
        #[arg(long, value_name = "TIME", value_parser = keys::expiry)]
        expires: Option<Expiry>,
        /// A model that it may use: an id, a name as clients ask for it, or a pattern with `*`; may be repeated.
        /// Without it all.
        #[arg(long = "model", value_name = "MODEL")]
        models: Vec<String>,
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the keys, their state and when they were used last.
    List {
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key, for good: within 2 s no gateway takes it any more.
    Revoke {
        /// Its name or id.
        #[arg(value_name = "NAME|ID")]
        key: String,
        /// Do not ask; needed without a terminal.
        #[arg(long)]
        yes: bool,
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give a key a new secret and print it; conversations and usage stay with the key.
    Rotate {
        /// Its name or id.
        #[arg(value_name = "NAME|ID")]
        key: String,
        /// How long the secret before stays good beside the new one, such as 24h; without it, it ends at once.
        #[arg(long, value_name = "TIME", value_parser = keys::span)]
        grace: Option<Duration>,
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum PasswordCommand {
    /// Set it, or another one; everybody is logged out.
    ///
    /// It is asked for twice at a terminal; without one, one line is read from standard input. Fails where
    /// `WEBUI_PASSWORD` gives it.
    Set,
    /// Remove it: the console answers to the gateway's own machine only.
    Clear {
        /// Do not ask; needed without a terminal.
        #[arg(long)]
        yes: bool,
    },
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

#[derive(Debug, Subcommand)]
pub(super) enum PresetsCommand {
    /// Name all presets: those that come with the program, and those that the pool has.
    List {
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the settings of a preset.
    Show {
        /// Its name.
        name: String,
    },
    /// Put the settings of a preset into force, in every gateway of the pool; others stay as they are.
    Apply {
        /// Its name.
        name: String,
        /// Print the whole answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keep settings under a name, in place of those that have it.
    Save {
        /// The name, at most 50 characters.
        name: String,
        /// A file of settings, `-` for standard input; without one, those in force that the built-in presets name.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Remove a preset from the pool.
    Delete {
        /// Its name.
        name: String,
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
    fn addresses_of_gateways() {
        for (text, authority) in [
            ("http://gateway:8080", Some("gateway:8080")),
            ("http://gateway/", Some("gateway:80")),
            ("http://[::1]:81", Some("[::1]:81")),
            ("https://gateway", None),
            ("gateway:8080", None),
            ("http://user@gateway", None),
            ("http://gateway/v1", None),
        ] {
            assert_eq!(http_authority(text).ok().as_deref(), authority, "{text}");
        }
    }

    #[test]
    fn the_go_tools_flags_are_taken_as_they_are() {
        let words = |text: &str| with_two_dashes(text.split(' ').map(OsString::from));
        let cli = Cli::try_parse_from(words(
            "antigravity-proxy migrate -accounts a.json -usage=u.json -redis localhost:6379 -dry-run",
        ));
        let Some(Command::Migrate(args)) = cli.unwrap().command else { panic!("no migration") };
        assert_eq!(args.accounts.as_deref(), Some(std::path::Path::new("a.json")));
        assert_eq!(args.usage.as_deref(), Some(std::path::Path::new("u.json")));
        assert_eq!(
            (args.redis.as_deref(), args.dry_run, args.from),
            (Some("localhost:6379"), true, Origin::Node)
        );
        assert_eq!(words("p migrate -dry-run=false -x")[2..], ["-x"]);
        assert_eq!(words("p accounts -usage")[2..], ["-usage"], "of other commands they are nothing");
    }

    #[test]
    fn thresholds_name_models() {
        let of = |name: &str| {
            Cli::try_parse_from(["antigravity-proxy", "accounts", "threshold", "a@b", "0.1", "--model", name])
                .is_ok()
        };
        assert!(of("claude-sonnet-4-6") && of(&"m".repeat(128)));
        for name in ["", "a b", "a=b", "a\u{1}", &"m".repeat(129)] {
            assert!(!of(name), "{name:?}");
        }
    }

    #[test]
    fn thresholds_are_fractions_or_off() {
        assert_eq!(threshold("off").unwrap().0, None);
        assert_eq!(threshold("0.25").unwrap().0, Some(0.25));
        for text in ["1", "-0.1", "NaN", "x", ""] {
            assert!(threshold(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_flags_and_ports_are_usage_errors() {
        for args in [["antigravity-proxy", "--porty"], ["antigravity-proxy", "--port=99999"]] {
            assert_eq!(Cli::try_parse_from(args).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn an_import_has_one_source_and_only_a_file_is_remembered() {
        for (text, taken) in [
            ("a.json", true),
            ("a.json --once --json", true),
            ("a.json --once --allow-refused", true),
            ("--ide", true),
            ("--ide=state.vscdb --manual --json", true),
            ("", false),
            ("--once", false),
            ("a.json --ide", false),
            ("--ide --once", false),
            ("--ide --allow-refused", false),
            ("a.json --manual", false),
            ("a.json --email=a@example.com", false),
        ] {
            let words = ["antigravity-proxy", "accounts", "import"];
            let parsed = Cli::try_parse_from(words.into_iter().chain(text.split_whitespace()));
            assert_eq!(
                parsed.map(|_| ()).map_err(|error| error.exit_code()),
                if taken { Ok(()) } else { Err(2) },
                "{text}"
            );
        }
    }
}
