//! Settings of the rules and their defaults (spec §8), and how layers of them lie above each other.

use std::collections::BTreeMap;

/// Settings by name, as text.
pub(crate) type Layer = BTreeMap<String, String>;

/// How accounts are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    Hybrid,
    RoundRobin,
    Sticky,
}

const DEFAULTS: &[(&str, f64)] = &[
    ("maxAccounts", 0.0),
    ("maxConcurrentPerAccount", 0.0),
    ("globalQuotaThreshold", 0.0),
    ("health.initial", 70.0),
    ("health.minUsable", 50.0),
    ("health.maxScore", 100.0),
    ("health.successReward", 1.0),
    ("health.rateLimitPenalty", -10.0),
    ("health.failurePenalty", -20.0),
    ("health.emptyPenalty", 0.0),
    ("health.recoveryPerHour", 10.0),
    ("bucket.max", 50.0),
    ("bucket.initial", 50.0),
    ("bucket.perMinute", 6.0),
    ("quota.critical", 0.05),
    ("quota.staleMs", 300_000.0),
    ("quota.unknownScore", 50.0),
    ("weights.health", 2.0),
    ("weights.tokens", 5.0),
    ("weights.quota", 3.0),
    ("weights.lru", 0.1),
    ("weights.inFlight", 0.0),
    ("weights.affinity", 0.0),
    ("sticky.waitMs", 0.0),
    ("sticky.ttlMs", 3_600_000.0),
    ("recoveryRampMs", 1000.0),
    ("throttle.emergencyMs", 0.0),
    ("throttle.lastResortMs", 0.0),
    ("defaultCooldownMs", 60_000.0),
    ("rateLimitDedupWindowMs", 2000.0),
    ("rateLimitStateResetMs", 120_000.0),
    ("maxConsecutiveFailures", 3.0),
    ("extendedCooldownMs", 60_000.0),
    ("failureDecayMs", 600_000.0),
    ("capacityLimitMs", 15_000.0),
    ("forbiddenCooldownMs", 300_000.0),
    ("notFoundCooldownMs", 300_000.0),
    ("unauthorizedCooldownMs", 60_000.0),
    ("probeMs", 15_000.0),
];

/// The settings in force.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) strategy: Strategy,
    numbers: BTreeMap<&'static str, f64>,
}

impl Settings {
    /// The defaults with `layers` above them, the last on top. An unknown name and a value that is no sane number
    /// are passed over; times are whole and not negative.
    pub(crate) fn of(layers: &[&Layer]) -> Self {
        let mut settings = Self { strategy: Strategy::Hybrid, numbers: DEFAULTS.iter().copied().collect() };
        for (name, value) in layers.iter().flat_map(|layer| layer.iter()) {
            if name == "strategy" {
                settings.strategy = match value.as_str() {
                    "round-robin" => Strategy::RoundRobin,
                    "sticky" => Strategy::Sticky,
                    _ => Strategy::Hybrid,
                };
                continue;
            }
            let Some(setting) = settings.numbers.get_mut(name.as_str()) else { continue };
            match value.parse::<f64>() {
                Ok(value) if value.abs() < 1e12 => {
                    *setting = if name.ends_with("Ms") { value.floor().max(0.0) } else { value };
                }
                _ => {}
            }
        }
        settings
    }

    /// Whether the strategy in force remembers which account a conversation used.
    pub(crate) fn remembers(&self) -> bool {
        match self.strategy {
            Strategy::Sticky => true,
            Strategy::Hybrid => self.get("weights.affinity") != 0.0,
            Strategy::RoundRobin => false,
        }
    }

    /// The number of that name.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.numbers[name]
    }

    /// The time of that name, ms.
    #[expect(clippy::cast_possible_truncation, reason = "times are whole and below 1e12")]
    pub(crate) fn ms(&self, name: &str) -> i64 {
        self.numbers[name] as i64
    }
}
