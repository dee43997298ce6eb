//! `migrate`: what the reference or its Go port has kept, brought into the store.

mod go;
mod node;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::args::{MigrateArgs, Origin};
use super::backend::Backend;
use super::exit::{Exit, Misuse};
use super::output;
use crate::config::{Loaded, RedisConfig};
use crate::server::migration::{Existing, Fate, Item, Migration, MigrationReport};
use crate::store::redis::foreign;

/// Keys of the Go port that hold what is taken over (spec `http-api.md` §10.3).
const KEYS: [&str; 3] = ["antigravity:accounts:", "antigravity:ratelimits:", "antigravity:stats:"];

/// What was read: what to bring, and what is to be said already.
#[derive(Default)]
struct Brought {
    migration: Migration,
    items: Vec<Item>,
}

/// Reads, brings, reports.
pub(super) async fn run(mut loaded: Loaded, args: MigrateArgs) -> anyhow::Result<Exit> {
    let mut brought = match args.from {
        Origin::Node => {
            let directory = args.source.as_deref().map(PathBuf::from);
            node::read(directory, args.accounts, args.usage)?
        }
        Origin::Go => {
            if args.accounts.is_some() || args.usage.is_some() {
                return Err(
                    Misuse("--accounts and --usage name files: they go with --from node".into()).into()
                );
            }
            let source = match args.source.as_deref() {
                Some(text) => address(text)?,
                None => loaded.config.store.redis.clone().ok_or_else(|| {
                    Misuse("name the Go port's Redis with --source redis://HOST:PORT".to_owned())
                })?,
            };
            go::read(foreign::read(&source, &KEYS).await?)
        }
    };
    brought.migration.existing = match (args.existing.overwrite, args.existing.skip_existing) {
        (true, _) => Existing::Replace,
        (false, true) => Existing::Keep,
        (false, false) => Existing::Report,
    };
    brought.migration.dry_run = args.dry_run;
    let backend = match args.redis.as_deref() {
        Some(text) => {
            loaded.config.store.redis = Some(address(text)?);
            Backend::Offline(&loaded)
        }
        None => Backend::open(&loaded).await?,
    };
    let mut report = backend.migrate(brought.migration).await?;
    report.items.extend(brought.items);
    if args.json {
        output::line(&serde_json::to_string_pretty(&report)?)?;
    } else {
        output::write(&told(&report))?;
    }
    let left = |item: &Item| matches!(item.outcome, Fate::Conflict | Fate::Failed);
    Ok(if report.items.iter().any(left) { Exit::Partial } else { Exit::Ok })
}

/// `host:port` as the Go tool has it, or a URL.
fn address(text: &str) -> anyhow::Result<RedisConfig> {
    let url = if text.contains("://") { text.to_owned() } else { format!("redis://{text}") };
    let config = RedisConfig::parse(&url);
    // It may hold a password, so it is not repeated.
    config.ok_or_else(|| Misuse("not the address of a Redis: write HOST:PORT or redis://…".into()).into())
}

/// One line for each thing, usage in sums, and the sums of all.
fn told(report: &MigrationReport) -> String {
    let mut lines = Vec::new();
    let mut sums: BTreeMap<Fate, usize> = BTreeMap::new();
    let mut hours: BTreeMap<Fate, usize> = BTreeMap::new();
    for item in &report.items {
        *sums.entry(item.outcome).or_default() += 1;
        let plain = matches!(item.outcome, Fate::Imported | Fate::Same | Fate::Replaced | Fate::Skipped);
        if item.kind == "usage" && plain {
            *hours.entry(item.outcome).or_default() += 1;
            continue;
        }
        let reason = item.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("{:14}  {} {}{reason}", item.outcome.as_str(), item.kind, item.name));
    }
    for (fate, count) in hours {
        lines.push(format!("{:14}  usage of {count} hours", fate.as_str()));
    }
    let sums: Vec<_> = sums.iter().map(|(fate, count)| format!("{count} {}", fate.as_str())).collect();
    let sums = if sums.is_empty() { "nothing to migrate".to_owned() } else { sums.join(", ") };
    lines.push(sums + if report.dry_run { "; nothing was changed (dry run)" } else { "" });
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_in_lines_and_sums() {
        let item = |kind: &str, name: &str, outcome, reason: Option<&str>| Item {
            kind: kind.into(),
            name: name.into(),
            outcome,
            reason: reason.map(str::to_owned),
        };
        let report = MigrationReport {
            dry_run: true,
            items: vec![
                item("account", "a@b", Fate::Imported, None),
                item("setting", "apiKey", Fate::NotApplicable, Some("set API_KEY")),
                item("usage", "h1", Fate::Same, None),
                item("usage", "h2", Fate::Same, None),
                item("usage", "h3", Fate::Conflict, Some("differs")),
            ],
        };
        assert_eq!(
            told(&report),
            "imported        account a@b\nnot applicable  setting apiKey: set API_KEY\n\
             conflict        usage h3: differs\nsame            usage of 2 hours\n\
             1 imported, 2 same, 1 conflict, 1 not applicable; nothing was changed (dry run)\n"
        );
        assert_eq!(told(&MigrationReport::default()), "nothing to migrate\n");
    }

    #[test]
    fn addresses_are_those_of_the_go_tool_or_urls() {
        assert_eq!(address("localhost:6379").unwrap().endpoint.to_string(), "localhost:6379");
        assert_eq!(address("redis://:secret@h:1/2").unwrap().db, 2);
        let error = address("redis://:secret@h:port").unwrap_err();
        assert!(!error.to_string().contains("secret"));
        assert_eq!(Exit::of(&error), Exit::Usage);
    }
}
