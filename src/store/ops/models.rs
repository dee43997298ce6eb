//! The shared catalogue of models, and the quotas of accounts for them.

use std::time::Duration;

use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::AccountId;
use crate::store::registry::{GET_MODELS, PUT_MODELS, PUT_QUOTA};
use crate::store::reply::plain;

/// Most models of one account's quota list; the rest is left out.
pub const QUOTA_MODELS_MAX: usize = 256;

/// The catalogue as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredModels {
    /// How long ago it was fetched.
    pub age: Duration,
    /// What [`Store::put_models`] was given.
    pub text: String,
}

/// What is left of one model's quota.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelQuota {
    /// The model.
    pub model: String,
    /// Share that is left, 0 to 1; `None` when unknown.
    pub fraction: Option<f64>,
    /// When it is whole again, as the upstream wrote it.
    pub reset: Option<String>,
    /// Whether there is a quota, of which nothing else may be known; else the model is only offered.
    pub told: bool,
}

impl Store {
    /// Keeps the catalogue, an opaque text.
    pub async fn put_models(&self, text: &str) -> Result<(), StoreError> {
        let call = Call::new(&PUT_MODELS)
            .key(self.keys.named("meta"))
            .key(self.keys.named("models"))
            .arg(text)
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        fields.end()
    }

    /// The catalogue, however old; `None` when it was never fetched or not within a day.
    pub async fn get_models(&self) -> Result<Option<StoredModels>, StoreError> {
        let call = Call::new(&GET_MODELS).key(self.keys.named("meta")).key(self.keys.named("models"));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let models = match code.as_str() {
            "OK" => Some(StoredModels { age: fields.millis("an age")?, text: fields.text("a catalogue")? }),
            "NONE" => None,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(models)
    }

    /// Replaces all quotas of `account`; a model that is not listed becomes unknown. `false` when the
    /// account is gone.
    pub async fn put_quota(&self, account: &AccountId, quotas: &[ModelQuota]) -> Result<bool, StoreError> {
        let mut call = Call::new(&PUT_QUOTA)
            .key(self.keys.named("meta"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("quota"));
        let mut rows = String::new();
        for quota in quotas.iter().take(QUOTA_MODELS_MAX) {
            let model = plain(&PUT_QUOTA, "model", &quota.model)?;
            call = call.key(self.keys.model(model));
            let fraction = quota.fraction.filter(|f| f.is_finite()).map(|f| f.clamp(0.0, 1.0).to_string());
            let reset = plain(&PUT_QUOTA, "reset", quota.reset.as_deref().unwrap_or_default())?;
            for part in [model, "\u{1f}", &fraction.unwrap_or_default(), "\u{1f}", reset] {
                rows.push_str(part);
            }
            rows.push_str(if quota.told { "\u{1f}told\u{1e}" } else { "\u{1e}" });
        }
        let mut fields = self.run(self.timed(call.arg(account.as_str()).arg(rows))).await?;
        let (code, _) = fields.head()?;
        let known = match code.as_str() {
            "OK" => true,
            "NONE" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(known)
    }
}
