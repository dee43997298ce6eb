//! The built-in presets: the reference's three (spec `http-api.md` §3.6) and one for teams (`design.md` §5).

use std::sync::LazyLock;

use serde_json::{Map, Value as Json};

use super::patch::{Patch, nested};

/// A named set of settings that comes with the program.
#[derive(Debug)]
pub struct BuiltInPreset {
    /// Its name.
    pub name: &'static str,
    /// The name of its description in the reference's tables of texts.
    pub description_key: Option<&'static str>,
    /// What it is for.
    pub description: &'static str,
    /// Settings in the shape of the file.
    pub config: Map<String, Json>,
}

/// One setting of all presets, in their order: JSON.
type Row = (&'static str, [&'static str; 4]);

/// Each names every setting that another one names, so that one undoes the other.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("maxRetries", ["5", "3", "8", "5"]),
    ("retryBaseMs", ["1000", "500", "2000", "1000"]),
    ("retryMaxMs", ["30000", "15000", "60000", "30000"]),
    ("defaultCooldownMs", ["10000", "5000", "20000", "60000"]),
    ("maxWaitBeforeErrorMs", ["120000", "60000", "240000", "120000"]),
    ("maxAccounts", ["10", "50", "10", "0"]),
    ("maxConcurrentPerAccount", ["0", "0", "0", "4"]),
    ("globalQuotaThreshold", ["0", "0.1", "0.2", "0"]),
    ("rateLimitDedupWindowMs", ["2000", "1000", "3000", "2000"]),
    ("maxConsecutiveFailures", ["3", "2", "5", "3"]),
    ("extendedCooldownMs", ["60000", "30000", "120000", "60000"]),
    ("maxCapacityRetries", ["5", "3", "8", "5"]),
    ("switchAccountDelayMs", ["5000", "3000", "8000", "0"]),
    ("capacityBackoffTiersMs", ["[5000,10000,20000,30000,60000]", "[3000,6000,12000,20000,40000]",
        "[8000,15000,30000,45000,90000]", "[5000,10000,20000,30000,60000]"]),
    ("accountSelection.strategy", ["\"hybrid\"", "\"hybrid\"", "\"sticky\"", "\"sticky\""]),
    ("accountSelection.healthScore.initial", ["70", "70", "80", "70"]),
    ("accountSelection.healthScore.successReward", ["1", "1", "2", "1"]),
    ("accountSelection.healthScore.rateLimitPenalty", ["-10", "-15", "-5", "-10"]),
    ("accountSelection.healthScore.failurePenalty", ["-20", "-25", "-10", "-20"]),
    ("accountSelection.healthScore.recoveryPerHour", ["10", "5", "3", "10"]),
    ("accountSelection.healthScore.minUsable", ["50", "40", "50", "50"]),
    ("accountSelection.healthScore.maxScore", ["100", "100", "100", "100"]),
    ("accountSelection.tokenBucket.maxTokens", ["50", "30", "80", "50"]),
    ("accountSelection.tokenBucket.tokensPerMinute", ["6", "8", "4", "6"]),
    ("accountSelection.tokenBucket.initialTokens", ["50", "30", "80", "50"]),
    ("accountSelection.quota.lowThreshold", ["0.1", "0.15", "0.2", "0.1"]),
    ("accountSelection.quota.criticalThreshold", ["0.05", "0.05", "0.1", "0.05"]),
    ("accountSelection.quota.staleMs", ["300000", "180000", "300000", "300000"]),
    ("accountSelection.weights.health", ["2", "5", "3", "2"]),
    ("accountSelection.weights.tokens", ["5", "2", "4", "5"]),
    ("accountSelection.weights.quota", ["3", "3", "2", "3"]),
    ("accountSelection.weights.lru", ["0.1", "0.01", "0.05", "0.1"]),
    ("accountSelection.throttle.emergencyMs", ["0", "0", "0", "0"]),
    ("accountSelection.throttle.lastResortMs", ["0", "0", "0", "0"]),
];

/// Name, description key, description.
#[rustfmt::skip]
const NAMES: [(&str, Option<&str>, &str); 4] = [
    ("Default (3-5 Accounts)", Some("presetDefaultDesc"), "The reference's defaults, for a few accounts."),
    ("Many Accounts (10+)", Some("presetManyAccountsDesc"), "Short rests and quick changes of account, where there are many."),
    ("Conservative", Some("presetConservativeDesc"), "Long rests and few changes of account, to spare them."),
    ("Team", None, "Many people on one pool: a conversation stays with its account, no account serves more than four requests at once, nobody is slowed down."),
];

static PRESETS: LazyLock<Vec<BuiltInPreset>> = LazyLock::new(|| {
    let preset = |(place, (name, description_key, description)): (usize, (_, _, _))| {
        let values: Vec<(&'static str, Json)> = ROWS
            .iter()
            .map(|(key, values)| (*key, serde_json::from_str(values[place]).unwrap_or_default()))
            .collect();
        let config = nested(values.iter().map(|(key, value)| (key, value)));
        BuiltInPreset { name, description_key, description, config }
    };
    NAMES.into_iter().enumerate().map(preset).collect()
});

impl BuiltInPreset {
    /// All of them, in their order.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &PRESETS
    }

    /// Whether one has this name.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        Self::all().iter().any(|preset| preset.name == name)
    }

    /// Its settings, read as a change.
    #[must_use]
    pub fn patch(&self) -> Patch {
        Patch::read(&self.config)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Config, Loaded, SharedValues};

    #[test]
    fn every_preset_is_usable_as_a_whole_whatever_was_before() {
        let own = Loaded::from(Config::default());
        let mut stored = SharedValues::new();
        for first in BuiltInPreset::all() {
            for preset in [first].into_iter().chain(BuiltInPreset::all()) {
                let patch = preset.patch();
                assert_eq!(patch.rejected, [], "{}", preset.name);
                let judged = own.judge(&stored, &patch);
                assert_eq!(
                    (judged.rejected.len(), judged.accepted.len()),
                    (0, ROWS.len()),
                    "{}",
                    preset.name
                );
                stored.extend(
                    judged.accepted.iter().map(|(key, value)| ((*key).to_owned(), value.to_string())),
                );
                let config = own.with_shared(&stored).unwrap().config;
                let sticky = ["Conservative", "Team"].contains(&preset.name);
                assert_eq!(config.selection.strategy.as_str(), if sticky { "sticky" } else { "hybrid" });
            }
        }
    }

    #[test]
    fn the_reference_has_three_of_them() {
        let many = &BuiltInPreset::all()[1];
        assert_eq!(
            (many.name, many.description_key),
            ("Many Accounts (10+)", Some("presetManyAccountsDesc"))
        );
        assert_eq!(
            json!(many.config),
            json!({
                "maxRetries": 3, "retryBaseMs": 500, "retryMaxMs": 15_000, "defaultCooldownMs": 5000,
                "maxWaitBeforeErrorMs": 60_000, "maxAccounts": 50, "maxConcurrentPerAccount": 0,
                "globalQuotaThreshold": 0.1, "rateLimitDedupWindowMs": 1000, "maxConsecutiveFailures": 2,
                "extendedCooldownMs": 30_000, "maxCapacityRetries": 3, "switchAccountDelayMs": 3000,
                "capacityBackoffTiersMs": [3000, 6000, 12_000, 20_000, 40_000],
                "accountSelection": {
                    "strategy": "hybrid",
                    "healthScore": {"initial": 70, "successReward": 1, "rateLimitPenalty": -15, "failurePenalty": -25,
                        "recoveryPerHour": 5, "minUsable": 40, "maxScore": 100},
                    "tokenBucket": {"maxTokens": 30, "tokensPerMinute": 8, "initialTokens": 30},
                    "quota": {"lowThreshold": 0.15, "criticalThreshold": 0.05, "staleMs": 180_000},
                    "weights": {"health": 5, "tokens": 2, "quota": 3, "lru": 0.01},
                    "throttle": {"emergencyMs": 0, "lastResortMs": 0}
                }
            })
        );
        let conservative = json!(BuiltInPreset::all()[2].config);
        for (pointer, value) in [
            ("/capacityBackoffTiersMs", json!([8000, 15_000, 30_000, 45_000, 90_000])),
            ("/accountSelection/quota/criticalThreshold", json!(0.1)),
            ("/accountSelection/weights/lru", json!(0.05)),
            ("/accountSelection/healthScore/initial", json!(80)),
            ("/accountSelection/tokenBucket/tokensPerMinute", json!(4)),
            ("/switchAccountDelayMs", json!(8000)),
        ] {
            assert_eq!(conservative.pointer(pointer), Some(&value), "{pointer}");
        }
        assert!(BuiltInPreset::is_name("Team") && !BuiltInPreset::is_name("team"));
    }
}
