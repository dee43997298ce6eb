//! The reference's files (spec `http-api.md` §3.1).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Brought;

/// Reads what is there. A file that is not JSON is the end of it: nothing was changed yet.
///
/// `directory` is the reference's configuration directory, by default where the reference has it; `accounts` and
/// `usage` are files that count instead of those in there. With one of them and no directory, only they are read.
pub(super) fn read(
    directory: Option<PathBuf>,
    accounts: Option<PathBuf>,
    usage: Option<PathBuf>,
) -> anyhow::Result<Brought> {
    let directory = match directory {
        Some(directory) => Some(directory),
        None if accounts.is_some() || usage.is_some() => None,
        None => {
            let home = std::env::home_dir().context("name the directory with --source")?;
            Some(home.join(".config/antigravity-proxy"))
        }
    };
    if let Some(directory) = &directory {
        anyhow::ensure!(directory.is_dir(), "{} is no directory", directory.display());
    }
    let mut faults = Vec::new();
    let mut take = |path: PathBuf, must: bool| match json(&path) {
        Ok(None) if must => {
            faults.push(format!("{} is not there", path.display()));
            None
        }
        Ok(found) => found,
        Err(error) => {
            faults.push(format!("{error:#}"));
            None
        }
    };
    let mut inside = |name: &str| take(directory.as_ref()?.join(name), false);
    let config = inside("config.json");
    let server_presets = inside("server-presets.json");
    // The Go port calls them otherwise.
    let claude_presets = inside("claude-presets.json").or_else(|| inside("presets.json"));
    let elsewhere = config.as_ref().and_then(|config| config["accountConfigPath"].as_str());
    let elsewhere = elsewhere.map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from);
    let accounts = match (accounts, elsewhere, &directory) {
        (Some(file), ..) => take(file, true),
        (None, Some(file), Some(directory)) => take(directory.join(file), true),
        (None, _, Some(directory)) => take(directory.join("accounts.json"), false),
        (None, _, None) => None,
    };
    let usage = match (usage, &directory) {
        (Some(file), _) => take(file, true),
        (None, Some(directory)) => take(directory.join("usage-history.json"), false),
        (None, None) => None,
    };
    anyhow::ensure!(faults.is_empty(), "nothing was changed: {}", faults.join("; "));
    let mut brought = Brought::default();
    let migration = &mut brought.migration;
    (migration.accounts, migration.config, migration.usage) = (accounts, config, usage);
    (migration.server_presets, migration.claude_presets) = (server_presets, claude_presets);
    let all = [
        &migration.accounts,
        &migration.config,
        &migration.usage,
        &migration.server_presets,
        &migration.claude_presets,
    ];
    if let Some(directory) = directory.filter(|_| all.iter().all(|found| found.is_none())) {
        anyhow::bail!("{} holds none of the reference's files", directory.display());
    }
    Ok(brought)
}

/// A file's JSON; `None` when there is no such file. The error says where it stops being JSON, and nothing of what it
/// holds.
fn json(path: &Path) -> anyhow::Result<Option<Value>> {
    let text = match std::fs::read(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    serde_json::from_slice(text).map(Some).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        anyhow::anyhow!("{} is not valid JSON: line {line}, column {column}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_found_where_the_reference_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let read = || read(Some(dir.path().to_owned()), None, None);
        assert!(read().err().unwrap().to_string().contains("none of the reference's files"));
        put("accounts.json", "\u{feff}[]");
        put("presets.json", "[1]");
        let migration = read().unwrap().migration;
        assert_eq!((migration.accounts, migration.claude_presets), (Some(json!([])), Some(json!([1]))));
        put("claude-presets.json", "[2]");
        put("config.json", r#"{"accountConfigPath": "other.json"}"#);
        put("other.json", "[3]");
        let migration = read().unwrap().migration;
        assert_eq!((migration.accounts, migration.claude_presets), (Some(json!([3])), Some(json!([2]))));
        std::fs::remove_file(dir.path().join("other.json")).unwrap();
        assert!(read().err().unwrap().to_string().contains("other.json is not there"));
    }

    #[test]
    fn every_corrupt_file_is_named_with_its_place_and_without_its_text() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("accounts.json"), "{\n \"accounts\": [marker").unwrap();
        std::fs::write(dir.path().join("usage-history.json"), "").unwrap();
        let error = read(Some(dir.path().to_owned()), None, None).err().unwrap().to_string();
        assert!(error.contains("accounts.json is not valid JSON: line 2, column 15"), "{error}");
        assert!(error.contains("usage-history.json is not valid JSON: line 1, column 0"), "{error}");
        assert!(!error.contains("marker"), "{error}");
    }

    #[test]
    fn single_files_as_the_go_tool_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.json");
        std::fs::write(&file, "[1]").unwrap();
        std::fs::write(dir.path().join("config.json"), "broken").unwrap();
        let migration = read(None, Some(file), None).unwrap().migration;
        assert_eq!((migration.accounts, migration.usage), (Some(json!([1])), None));
        assert!(read(None, None, Some(dir.path().join("none.json"))).is_err());
    }
}
