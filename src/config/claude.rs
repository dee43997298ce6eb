//! The settings of Claude Code that the console may edit (spec `http-api.md` §1.6.1).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::values::Values;

/// The variables that point Claude Code at a gateway; nothing else of its settings is ever touched.
pub const VARIABLES: [&str; 8] = [
    "ANTHROPIC_BASE_URL",
    KEY_VARIABLE,
    "ANTHROPIC_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ENABLE_EXPERIMENTAL_MCP_CLI",
];

/// The one that holds a client key.
pub const KEY_VARIABLE: &str = "ANTHROPIC_AUTH_TOKEN";

/// What stands for a client key where none may be kept or told.
pub const KEY_PLACEHOLDER: &str = "<your API key>";

/// What clients send to a gateway that asks for no key.
pub const NO_KEY: &str = "test";

/// Longest value of a variable, in bytes.
const LONGEST_VALUE: usize = 4096;

/// Whether a text is no client key: nothing, [`NO_KEY`] or [`KEY_PLACEHOLDER`].
#[must_use]
pub fn is_no_key(text: &str) -> bool {
    text.is_empty() || text == NO_KEY || text == KEY_PLACEHOLDER
}

/// Whether a variable may have this value.
#[must_use]
pub fn is_value(text: &str) -> bool {
    text.len() <= LONGEST_VALUE && !text.chars().any(char::is_control)
}

/// What the console edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaudeMode {
    /// The settings file of this machine.
    Local,
    /// A profile in the shared store, which people copy.
    Profile,
    /// Nothing.
    Off,
}

/// The settings of Claude Code, as the console may edit them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaudeConfig {
    /// `claudeCli.mode` / `CLAUDE_CLI_MODE`; `None` decides by where the gateway runs.
    pub mode: Option<ClaudeMode>,
    /// `claudeCli.configPath` / `CLAUDE_CONFIG_PATH`, default `~/.claude`; `None` without a home directory.
    pub directory: Option<PathBuf>,
    /// `claudeCli.profile`: variables of the shared profile; `None` for those of the first built-in preset.
    pub profile: Option<BTreeMap<String, String>>,
}

impl ClaudeConfig {
    pub(super) fn apply(&mut self, values: &Values) {
        if let Some(word) = values.text("claudeCli.mode") {
            self.mode = match word {
                "local" => Some(ClaudeMode::Local),
                "profile" => Some(ClaudeMode::Profile),
                "off" => Some(ClaudeMode::Off),
                _ => None,
            };
        }
        values.path("claudeCli.configPath", &mut self.directory);
        let mut profile = BTreeMap::new();
        values.text_map("claudeCli.profile", &mut profile);
        if values.get("claudeCli.profile").is_some() {
            self.profile = Some(profile);
        }
    }

    /// What is edited, where `local` is whether this is the only gateway of its pool and listens on a loopback address.
    #[must_use]
    pub fn mode(&self, local: bool) -> ClaudeMode {
        self.mode.unwrap_or(if local { ClaudeMode::Local } else { ClaudeMode::Profile })
    }
}
