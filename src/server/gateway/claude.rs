//! The settings of Claude Code: a file on this machine, a profile in the store, or nothing (spec `http-api.md` §1.6.1).

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::server::error::ApiError;

/// What the console asks of the settings of Claude Code.
pub trait ClaudeCli: Send + Sync {
    /// As they are now.
    fn claude_view<'a>(&'a self, site: &'a ClaudeSite) -> BoxFuture<'a, Result<ClaudeView, ClaudeError>>;

    /// Changes the variables that point Claude Code at a gateway, and nothing else.
    fn change_claude<'a>(
        &'a self,
        site: &'a ClaudeSite,
        edit: ClaudeEdit,
    ) -> BoxFuture<'a, Result<ClaudeView, ClaudeError>>;

    /// Presets of these variables: built-in ones first, then the others by name.
    fn claude_presets<'a>(
        &'a self,
        site: &'a ClaudeSite,
    ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>>;

    /// Adds a preset or replaces the one of its name; answers all.
    fn save_claude_preset<'a>(
        &'a self,
        site: &'a ClaudeSite,
        name: &'a str,
        variables: Map<String, Value>,
    ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>>;

    /// Removes a preset; one that is not there is no error. Answers those that are left.
    fn remove_claude_preset<'a>(
        &'a self,
        site: &'a ClaudeSite,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>>;
}

/// How the gateway is reached by whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaudeSite {
    /// `publicBaseUrl`, else the address that was asked.
    pub base_url: String,
    /// The same for programs on this machine.
    pub local_url: String,
    /// Whether clients need a key.
    pub asks_for_key: bool,
}

/// Where the settings lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaudeStorage {
    /// In a file of this machine.
    Local,
    /// In the shared store, for people to copy.
    Profile,
    /// Nowhere.
    Off,
}

/// Where Claude Code is pointed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaudeTarget {
    /// To this gateway.
    Proxy,
    /// To Anthropic, or somewhere else.
    Paid,
}

/// The settings of Claude Code, as far as they are the console's business.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaudeView {
    /// Where they lie.
    pub storage: ClaudeStorage,
    /// Where they point.
    pub target: ClaudeTarget,
    /// Those of the eight variables that are set; `********` for a client key.
    pub variables: BTreeMap<String, String>,
    /// The file.
    pub path: Option<String>,
    /// How to take them over by hand.
    pub instructions: Option<String>,
    /// Why the file cannot be changed.
    pub problem: Option<String>,
    /// What of the last change was not taken, by its path in the settings.
    pub ignored: Vec<String>,
}

/// A change of the settings of Claude Code.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaudeEdit {
    /// Merges these settings, of which only the variables count; an empty text or `null` removes one.
    Merge(Map<String, Value>),
    /// Removes the variables.
    Restore,
    /// Points Claude Code to this gateway, or away from it.
    Point(ClaudeTarget),
}

/// A named set of variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClaudePreset {
    /// Its name, unique.
    pub name: String,
    /// The variables; never with a client key in them.
    pub config: BTreeMap<String, String>,
}

/// Why the settings of Claude Code cannot be shown or changed; nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClaudeError {
    /// The feature is off.
    #[error("The settings of Claude Code are not managed here (claudeCli.mode is off)")]
    Off,
    /// A variable or preset is not right.
    #[error("{field} {reason}")]
    Invalid {
        /// Which, by its path in the request.
        field: String,
        /// What is wrong and what is allowed.
        reason: &'static str,
    },
    /// A preset has no name, or one that cannot be kept.
    #[error("{0}")]
    Name(String),
    /// There are as many presets as may be.
    #[error("There are {0} presets already: delete one first")]
    Full(usize),
    /// Nobody knows where the file is.
    #[error("The directory of Claude Code's settings is not known: set CLAUDE_CONFIG_PATH")]
    NoDirectory,
    /// The file cannot be changed without losing something.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another program changes the file at the same moment.
    #[error("{}: another program changes it at the same moment; try again", .0.display())]
    Busy(PathBuf),
    /// Others change the settings of the pool at the same moment.
    #[error("Others change the settings at the same moment; try again")]
    Conflict,
    /// Reading or writing failed.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The store failed.
    #[error("{}", .0.message())]
    Failed(ApiError),
}
