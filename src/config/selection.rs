//! What the admission script chooses by.

use std::collections::BTreeMap;

use super::problem::Origin;
use super::settings::SETTINGS;
use super::values::{Values, render};

/// How accounts are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// One account after the other.
    RoundRobin,
    /// The best score of health, tokens, quota and rest.
    #[default]
    Hybrid,
}

impl Strategy {
    /// `round-robin` or `hybrid`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Hybrid => "hybrid",
        }
    }
}

/// What the admission script chooses by; read by scripts, so every number travels to the store
/// (spec `dispatch.md` §5, §8). Fractions are 0–1, times ms.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectionConfig {
    /// `accountSelection.strategy` / `STRATEGY` / `ACCOUNT_STRATEGY` / `--strategy`.
    pub strategy: Strategy,
    /// Settings that differ from the scripts' defaults, by their flat store name (for example
    /// `health.initial`): from the file (`base`, below the store) …
    pub base: BTreeMap<String, String>,
    /// … and from environment or flags (`pinned`, above the store).
    pub pinned: BTreeMap<String, String>,
    /// `maxAccounts`, 0 = unlimited (default), up to 10,000.
    pub max_accounts: u32,
}

impl Default for SelectionConfig {
    fn default() -> Self {
        Self { strategy: Strategy::Hybrid, base: BTreeMap::new(), pinned: BTreeMap::new(), max_accounts: 0 }
    }
}

impl SelectionConfig {
    /// Scripts know their defaults, so only what somebody set travels to the store.
    pub(super) fn apply(&mut self, values: &Values) {
        if values.text("accountSelection.strategy") == Some(Strategy::RoundRobin.as_str()) {
            self.strategy = Strategy::RoundRobin;
        }
        values.number("maxAccounts", &mut self.max_accounts);
        for setting in SETTINGS {
            let Some(name) = setting.script else { continue };
            let Some(value) = values.get(setting.key) else { continue };
            let target = match values.origin(setting.key) {
                // What the store holds, scripts read there.
                Origin::Default | Origin::Store => continue,
                Origin::File(_) => &mut self.base,
                Origin::Env(_) | Origin::EnvFile(..) | Origin::Flag(_) => &mut self.pinned,
            };
            target.insert(name.to_owned(), render(value));
        }
    }
}
