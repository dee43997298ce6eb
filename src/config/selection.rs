//! What the admission script chooses by.

use std::collections::BTreeMap;
use std::time::Duration;

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
    /// A conversation stays with its account while that one is usable.
    Sticky,
}

impl Strategy {
    /// `round-robin`, `hybrid` or `sticky`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Hybrid => "hybrid",
            Self::Sticky => "sticky",
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
    /// `accountSelection.quota.refreshIntervalMs`: how old an account's quotas may become, default 5 min.
    pub quota_refresh: Duration,
    /// `globalQuotaThreshold`: the share of its quota below which an account is spared; 0 is off.
    pub global_quota_threshold: f64,
    /// `quotaSnapshotTtlMs`: how old quotas may be that somebody looks at, default 30 s.
    pub quota_snapshot: Duration,
    /// `accountSelection.quota.lowThreshold`: the share of a quota at which a warning is logged, default 0.1.
    pub quota_low: f64,
}

impl Default for SelectionConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::Hybrid,
            base: BTreeMap::new(),
            pinned: BTreeMap::new(),
            max_accounts: 0,
            quota_refresh: Duration::from_mins(5),
            global_quota_threshold: 0.0,
            quota_snapshot: Duration::from_secs(30),
            quota_low: 0.1,
        }
    }
}

impl SelectionConfig {
    /// Scripts know their defaults, so only what somebody set travels to the store.
    pub(super) fn apply(&mut self, values: &Values) {
        let named = values.text("accountSelection.strategy");
        let known = [Strategy::RoundRobin, Strategy::Hybrid, Strategy::Sticky];
        if let Some(strategy) = known.into_iter().find(|one| named == Some(one.as_str())) {
            self.strategy = strategy;
        }
        values.number("maxAccounts", &mut self.max_accounts);
        values.millis("accountSelection.quota.refreshIntervalMs", &mut self.quota_refresh);
        values.fraction("globalQuotaThreshold", &mut self.global_quota_threshold);
        values.millis("quotaSnapshotTtlMs", &mut self.quota_snapshot);
        values.fraction("accountSelection.quota.lowThreshold", &mut self.quota_low);
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
