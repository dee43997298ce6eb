//! What came from elsewhere: an account's past, presets, counters of earlier hours.

use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{AccountId, CredentialVersion, InvalidReason};
use crate::store::keys::USAGE_HOUR_MS;
use crate::store::ops::models::QUOTA_MODELS_MAX;
use crate::store::ops::usage::{HOURS_KEPT_MS, MOST};
use crate::store::registry::{MERGE_ROWS, MERGE_USAGE, RESTORE_ACCOUNT};
use crate::store::reply::{Fields, plain};

/// What an account has lived through elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// When it was last chosen, ms since the epoch.
    pub last_used_ms: Option<i64>,
    /// Why it is invalid, since when (ms; `None` is now), and where its owner verifies it.
    pub invalid: Option<(InvalidReason, Option<i64>, Option<String>)>,
    /// When its quotas were fetched, ms; `None` when that is unknown.
    pub quota_at_ms: Option<i64>,
    /// What is known of it and single models; only the first [`QUOTA_MODELS_MAX`] are kept.
    pub models: Vec<PastModel>,
}

/// What was known of an account and a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastModel {
    /// The model.
    pub model: String,
    /// Share of the quota that is left, 0 to 1; `None` when unknown.
    pub fraction: Option<f64>,
    /// When it is whole again, as the upstream wrote it.
    pub reset: Option<String>,
    /// When a limit ends, ms, and why there is one, by the store's name; one that has ended is not kept.
    pub limit: Option<(i64, String)>,
}

/// What became of a [`Past`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Taken over.
    Done,
    /// The account has another credential by now: nothing was changed.
    Stale,
    /// There is no such account.
    Gone,
}

/// What may be done with rows that are known otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Nothing, nor with any other: only look.
    Look,
    /// They stay.
    Add,
    /// They are replaced.
    Replace,
}

/// What became of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// It is new.
    Added,
    /// It was there.
    Same,
    /// Another value is there and stays.
    Differs,
    /// Another value was there.
    Replaced,
}

/// A family of named presets, each a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presets {
    /// Of the gateway's settings.
    Server,
    /// Of Claude Code's settings.
    Claude,
}

impl Presets {
    /// `presets:server` or `presets:claude`, as its key is named.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Server => "presets:server",
            Self::Claude => "presets:claude",
        }
    }
}

impl Merge {
    fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Add => "add",
            Self::Replace => "replace",
        }
    }
}

impl Row {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "added" => Some(Self::Added),
            "same" => Some(Self::Same),
            "differs" => Some(Self::Differs),
            "replaced" => Some(Self::Replaced),
            _ => None,
        }
    }
}

/// What became of each row; `None` when all came too late.
fn merged(mut fields: Fields) -> Result<Option<Vec<Row>>, StoreError> {
    let (code, _) = fields.head()?;
    let outcome = match code.as_str() {
        "OK" => {
            let mut outcomes = Vec::with_capacity(fields.left());
            while fields.left() > 0 {
                outcomes.push(fields.parsed("what became of a row", Row::from_name)?);
            }
            Some(outcomes)
        }
        "OVER" => None,
        other => return Err(fields.unknown(other)),
    };
    fields.end()?;
    Ok(outcome)
}

impl Store {
    /// Gives an account its past, if `credential` is still the one it has; acknowledged when it is on disk.
    pub async fn restore_account(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        past: &Past,
    ) -> Result<Restored, StoreError> {
        let script = &RESTORE_ACCOUNT;
        let mut call = Call::new(script);
        for key in ["meta", "hot", "inv", "quota"] {
            call = call.key(self.keys.named(key));
        }
        let mut rows = String::new();
        let models = &past.models[..past.models.len().min(QUOTA_MODELS_MAX)];
        for model in models {
            let name = plain(script, "model", &model.model)?;
            call = call.key(self.keys.model(name));
            let fraction = model.fraction.filter(|f| f.is_finite()).map(|f| f.clamp(0.0, 1.0).to_string());
            let reset = plain(script, "reset", model.reset.as_deref().unwrap_or_default())?;
            let (until, why) = match &model.limit {
                Some((until, why)) => (until.to_string(), plain(script, "why", why)?),
                None => (String::new(), ""),
            };
            let fields = [name, &fraction.unwrap_or_default(), reset, &until, why];
            rows.push_str(&fields.join("\u{1f}"));
            rows.push('\u{1e}');
        }
        let quota_at = if models.is_empty() { past.quota_at_ms } else { Some(past.quota_at_ms.unwrap_or(0)) };
        let (reason, since, url) = match &past.invalid {
            Some((reason, since, url)) => (reason.as_str(), *since, url.as_deref().unwrap_or_default()),
            None => ("", None, ""),
        };
        let call = call
            .arg(account.as_str())
            .arg(credential.0)
            .arg(past.last_used_ms)
            .arg(reason)
            .arg(since)
            .arg(plain(script, "address", url)?)
            .arg(quota_at)
            .arg(rows)
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let outcome = match code.as_str() {
            "OK" => Restored::Done,
            "STALE" => Restored::Stale,
            "NONE" => Restored::Gone,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(outcome)
    }

    /// Brings presets, `name → JSON`, into `family`; what became of each, in their order.
    pub async fn merge_presets(
        &self,
        family: Presets,
        mode: Merge,
        presets: &[(String, String)],
    ) -> Result<Vec<Row>, StoreError> {
        let key = self.keys.named(family.key());
        let mut call = Call::new(&MERGE_ROWS).key(self.keys.named("meta")).key(key).arg(mode.as_str());
        for (name, value) in presets {
            call = call.arg(name.as_str()).arg(value.as_str());
        }
        Ok(merged(self.run(self.timed(call)).await?)?.unwrap_or_default())
    }

    /// Brings the requests of one hour, counted elsewhere, into its counters: a row for each model, apart from those
    /// that are counted here, so that the same hour never counts twice. `requests` are by model; the answer is in their
    /// order, `None` when the hour is too old to be kept.
    pub async fn merge_usage(
        &self,
        hour_ms: i64,
        mode: Merge,
        requests: &[(String, u64)],
    ) -> Result<Option<Vec<Row>>, StoreError> {
        let mut call = Call::new(&MERGE_USAGE)
            .key(self.keys.named("meta"))
            .key(self.keys.usage(hour_ms))
            .key(self.keys.usage_hourly(hour_ms))
            .key(self.keys.usage_daily(hour_ms))
            .arg(mode.as_str())
            .arg(hour_ms.saturating_add(HOURS_KEPT_MS))
            .arg(hour_ms.div_euclid(USAGE_HOUR_MS));
        for (model, count) in requests {
            call = call.arg(plain(&MERGE_USAGE, "model", model)?).arg((*count).min(MOST));
        }
        merged(self.run(self.timed(call)).await?)
    }
}
