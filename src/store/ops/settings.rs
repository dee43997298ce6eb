//! Settings that all replicas share.

use std::collections::BTreeMap;

use crate::config::Setting;
use crate::store::Store;
use crate::store::audit::{FieldChange, Row};
use crate::store::feed::notice::Notice;
use crate::store::host::{Call, StoreError};
use crate::store::ident::Version;
use crate::store::registry::{GET_SETTINGS, PUT_SETTINGS};
use crate::store::reply::plain;
use crate::store::script::Script;

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
    "weights.affinity",
    "maxConcurrentPerAccount",
    "recoveryRampMs",
    "sticky.waitMs",
    "sticky.ttlMs",
    "throttle.emergencyMs",
    "throttle.lastResortMs",
    "defaultCooldownMs",
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

/// Who reads a setting, and so where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Scripts: in force with the next admission. Values are plain text.
    Selection,
    /// Gateways. Values are JSON.
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

    /// Takes `cfg/strategy` apart.
    fn split(name: &str) -> Option<(Self, String)> {
        let (place, name) = name.split_once('/')?;
        let scope = [Self::Selection, Self::Gateway].into_iter().find(|scope| scope.as_str() == place)?;
        Some((scope, name.to_owned()))
    }
}

/// The shared settings as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSettings {
    /// Grows with each change; 0 where nothing was ever changed.
    pub generation: Version,
    /// Value by scope and name.
    pub values: BTreeMap<(Scope, String), String>,
}

/// Settings to set (`Some`) and to remove (`None`), by scope and name.
pub type SettingChanges = BTreeMap<(Scope, String), Option<String>>;

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSettings {
    /// Made; the generation is now this.
    Done(Version),
    /// Somebody else changed them first; read again.
    Changed(Version),
}

/// A change for the audit trail, where nobody knows what was there before.
fn told(((scope, name), value): (&(Scope, String), &Option<String>)) -> FieldChange {
    let after =
        value.as_ref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()));
    let key =
        if *scope == Scope::Selection { Setting::of_script(name).map(|setting| setting.key) } else { None };
    FieldChange { field: key.unwrap_or(name).to_owned(), before: None, after }
}

impl Store {
    /// The shared settings; `None` while their generation is still `known`.
    pub async fn get_settings(&self, known: Option<Version>) -> Result<Option<StoredSettings>, StoreError> {
        let call = self.settings_call(&GET_SETTINGS).arg(known.map(|version| version.0));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let generation = Version(fields.number("a generation")?);
        match code.as_str() {
            "SAME" => fields.end().map(|()| None),
            "OK" => {
                let mut values = BTreeMap::new();
                while fields.left() > 0 {
                    values
                        .insert(fields.parsed("a scope and a name", Scope::split)?, fields.text("a value")?);
                }
                Ok(Some(StoredSettings { generation, values }))
            }
            other => Err(fields.unknown(other)),
        }
    }

    /// Makes `changes`, all or none, if `expected` is still the generation; `None` makes them whatever it is.
    pub async fn put_settings(
        &self,
        expected: Option<Version>,
        changes: &SettingChanges,
    ) -> Result<PutSettings, StoreError> {
        let row = Row::single(None, || changes.iter().map(told).collect());
        let mut call = self
            .settings_call(&PUT_SETTINGS)
            .key(self.keys.named("audit"))
            .arg(expected.map(|version| version.0))
            .arg(self.keys.channel())
            .arg(&*row.text);
        for ((scope, name), value) in changes {
            let name = plain(&PUT_SETTINGS, "name", name)?;
            call = call.arg(scope.as_str()).arg(name).arg(value.as_deref().unwrap_or_default());
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
            row.kept();
            let names: Vec<_> = changes.keys().map(|(_, name)| name.as_str()).collect();
            self.note(stamp, Notice::SettingsChanged { generation, names: &names });
        }
        Ok(outcome)
    }

    fn settings_call(&self, script: &'static Script) -> Call {
        ["meta", Scope::Selection.as_str(), Scope::Gateway.as_str()]
            .into_iter()
            .fold(Call::new(script), |call, key| call.key(self.keys.named(key)))
    }
}
