//! What a migration brings and what becomes of it (spec `http-api.md` §8.5, §10.3).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::store::ops::accounts::Change;

/// What another program has kept: the reference's files as they are, or what was made of another store in their shape.
/// Its `Debug` form tells only which of them are there: they hold credentials.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migration {
    /// `accounts.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Value>,
    /// `config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// `usage-history.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// `server-presets.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_presets: Option<Value>,
    /// `claude-presets.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claude_presets: Option<Value>,
    /// What becomes of things that are here and differ.
    #[serde(default)]
    pub existing: Existing,
    /// Change nothing, only tell.
    #[serde(default)]
    pub dry_run: bool,
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("accounts", &self.accounts.is_some())
            .field("config", &self.config.is_some())
            .field("usage", &self.usage.is_some())
            .field("server_presets", &self.server_presets.is_some())
            .field("claude_presets", &self.claude_presets.is_some())
            .field("existing", &self.existing)
            .field("dry_run", &self.dry_run)
            .finish()
    }
}

/// What becomes of things that are here and differ from what is brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MigrationExisting)]
pub enum Existing {
    /// They stay, and the report calls them conflicts.
    #[default]
    Report,
    /// They stay.
    Keep,
    /// They are replaced.
    Replace,
}

/// What became of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MigrationOutcome)]
pub enum Fate {
    /// It is new here.
    Imported,
    /// Something else was here.
    Replaced,
    /// It was here already.
    Same,
    /// It stays behind as asked, or because nobody needs it any more.
    Skipped,
    /// Something else is here and stays.
    Conflict,
    /// It has no place here; the reason says where it belongs.
    NotApplicable,
    /// It cannot be taken.
    Failed,
}

impl Fate {
    /// In words for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Replaced => "replaced",
            Self::Same => "same",
            Self::Skipped => "skipped",
            Self::Conflict => "conflict",
            Self::NotApplicable => "not applicable",
            Self::Failed => "failed",
        }
    }
}

/// One thing and what became of it; no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = MigrationItem)]
pub struct Item {
    /// `account`, `setting`, `usage`, `server preset` or `claude preset`.
    pub kind: String,
    /// An address, a key, the start of an hour, a preset's name.
    pub name: String,
    /// What became of it.
    pub outcome: Fate,
    /// Why, where that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of everything, in the order accounts, settings, usage, presets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationReport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Everything.
    pub items: Vec<Item>,
}

/// How an account's credential fared in a real use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = AccountTrial)]
pub struct Trial {
    /// The account's address.
    pub email: String,
    /// Whether the upstream took it.
    pub works: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the account counted as invalid before and does not any more.
    #[serde(default)]
    pub cleared: bool,
}

/// What an operator changes of an account; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountChange {
    /// Whether it takes part in selection.
    pub enabled: Option<bool>,
    /// Its quota floor; `null` takes it away.
    #[serde(default, deserialize_with = "present")]
    pub quota_threshold: Change<f64>,
    /// Its quota floors by model, replaced as a whole; `null` takes them away.
    #[serde(default, deserialize_with = "present")]
    pub model_quota_thresholds: Change<BTreeMap<String, f64>>,
    /// Single ones of them, changed after that; `null` takes one away.
    #[serde(default)]
    pub model_quota_threshold_changes: BTreeMap<String, Option<f64>>,
}

/// `null` is told from what is not there.
fn present<'d, T: Deserialize<'d>, D: Deserializer<'d>>(deserializer: D) -> Result<Change<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map_or(Change::Clear, Change::Set))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_a_document_is_shown() {
        let document = Some(json!({"accounts": [{"email": "marker@x", "refreshToken": "marker"}]}));
        let migration = Migration {
            accounts: document.clone(),
            config: document.clone(),
            usage: document.clone(),
            server_presets: document.clone(),
            claude_presets: document,
            ..Migration::default()
        };
        let told = format!("{migration:?}");
        assert!(told.contains("accounts: true") && !told.contains("marker"), "{told}");
    }
}
