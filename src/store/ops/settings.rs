//! Settings that all replicas share.

use std::collections::BTreeMap;

use crate::store::Store;
use crate::store::feed::notice::Notice;
use crate::store::host::{Call, StoreError};
use crate::store::ident::Version;
use crate::store::registry::{GET_SETTINGS, PUT_SETTINGS};
use crate::store::reply::plain;

/// Names of the settings that scripts read (`scripts/lib/settings.lua`).
pub const SELECTION_SETTINGS: &[&str] = &[
    "strategy",
    "maxAccounts",
    "globalQuotaThreshold",
    "health.initial",
    "health.minUsable",
    "health.maxScore",
    "health.successReward",
    "health.rateLimitPenalty",
    "health.failurePenalty",
    "health.emptyPenalty",
    "health.recoveryPerHour",
    "bucket.max",
    "bucket.initial",
    "bucket.perMinute",
    "quota.critical",
    "quota.staleMs",
    "quota.unknownScore",
    "weights.health",
    "weights.tokens",
    "weights.quota",
    "weights.lru",
    "weights.inFlight",
    "throttle.emergencyMs",
    "throttle.lastResortMs",
    "rateLimitDedupWindowMs",
    "rateLimitStateResetMs",
    "maxConsecutiveFailures",
    "extendedCooldownMs",
    "failureDecayMs",
    "capacityLimitMs",
    "forbiddenCooldownMs",
    "notFoundCooldownMs",
    "unauthorizedCooldownMs",
    "probeMs",
];

/// Which settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those scripts read: in force with the next admission.
    Selection,
    /// Those gateways read.
    Gateway,
}

impl Scope {
    /// `cfg` or `conf`, as its key is named.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Selection => "cfg",
            Self::Gateway => "conf",
        }
    }
}

/// Shared settings as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSettings {
    /// Grows with each change.
    pub generation: Version,
    /// Value by name.
    pub values: BTreeMap<String, String>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSettings {
    /// Made; the generation is now this.
    Done(Version),
    /// Somebody else changed them first; read again.
    Changed(Version),
}

impl Store {
    /// The shared settings of `scope`.
    pub async fn get_settings(&self, scope: Scope) -> Result<StoredSettings, StoreError> {
        let call = Call::new(&GET_SETTINGS)
            .key(self.keys.named("meta"))
            .key(self.keys.named(scope.as_str()))
            .arg(scope.as_str());
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        let generation = Version(fields.number("a generation")?);
        let mut values = BTreeMap::new();
        while fields.left() > 0 {
            values.insert(fields.text("a name")?, fields.text("a value")?);
        }
        Ok(StoredSettings { generation, values })
    }

    /// Sets (`Some`) and removes (`None`) settings, if `expected` is still their generation; `None` does so
    /// whatever it is.
    pub async fn put_settings(
        &self,
        scope: Scope,
        expected: Option<Version>,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<PutSettings, StoreError> {
        let mut call = Call::new(&PUT_SETTINGS)
            .key(self.keys.named("meta"))
            .key(self.keys.named(scope.as_str()))
            .arg(scope.as_str())
            .arg(expected.map(|version| version.0))
            .arg(self.keys.channel());
        for (name, value) in changes {
            let name = plain(&PUT_SETTINGS, "name", name)?;
            call = call.arg(name).arg(value.as_deref().unwrap_or_default());
        }
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let generation = Version(fields.number("a generation")?);
        let outcome = match code.as_str() {
            "OK" => PutSettings::Done(generation),
            "CHANGED" => PutSettings::Changed(generation),
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if matches!(outcome, PutSettings::Done(_)) {
            let names: Vec<_> = changes.keys().map(String::as_str).collect();
            self.note(stamp, Notice::SettingsChanged { scope, generation, names: &names });
        }
        Ok(outcome)
    }
}
