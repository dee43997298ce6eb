//! The settings as the reference's console knows them: one document, changed field by field.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::config::{ModelEntry, Rejected};
use crate::server::error::ApiError;
use crate::server::gateway::SettingProblem;
use crate::store::ops::accounts::Change;

/// What the console asks of the settings.
pub trait Configuration: Send + Sync {
    /// What anybody may know, as this process sees it now.
    fn config_brief(&self) -> ConfigBrief;

    /// All settings as they are in force; those known last while the store is away.
    fn config_view(&self) -> BoxFuture<'_, ConfigView>;

    /// Takes the fields of `change`, in the shape of the file, that are right.
    fn configure(&self, change: Map<String, Value>) -> BoxFuture<'_, Result<Configured, ApiError>>;

    /// Changes what is said of one model.
    fn configure_model<'a>(
        &'a self,
        model: &'a str,
        change: ModelChange,
    ) -> BoxFuture<'a, Result<ModelConfigured, ApiError>>;

    /// What selection thinks of the accounts.
    fn strategy_health(&self) -> BoxFuture<'_, Result<StrategyHealth, ApiError>>;
}

/// What anybody may know of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigBrief {
    /// Most accounts of the pool: 10,000 where no limit is set.
    pub max_accounts: u64,
    /// Whether developer mode is on.
    pub dev_mode: bool,
}

/// All settings as the reference's console reads them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigView {
    /// Every setting, in the shape of the file; `********` for each secret that is set.
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// Where each came from, by dotted name: `default`, `file`, `store`, `env` or `flag`.
    #[schema(value_type = BTreeMap<String, String>)]
    pub sources: BTreeMap<&'static str, &'static str>,
    /// Settings that have another value in the shared store, which takes effect when this gateway starts next.
    #[schema(value_type = Vec<String>)]
    pub restart_required: Vec<&'static str>,
    /// Counts the changes of shared settings.
    pub generation: u64,
    /// Why the shared settings are not in force, if they are not: then the last usable ones are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// Set while the store does not answer: others may have changed settings since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub stale: bool,
}

/// What became of a change, field by field.
#[derive(Clone, Debug, PartialEq)]
pub enum Configured {
    /// Some of it is made, and in force in this gateway where it is live.
    Done {
        /// The change's own; no other change has it.
        generation: u64,
        /// What was taken, in the shape of the file.
        updates: Map<String, Value>,
        /// What was not.
        rejected: Vec<Rejected>,
        /// What is in force now.
        view: ConfigView,
    },
    /// Nothing of it was right.
    Nothing {
        /// Why.
        rejected: Vec<Rejected>,
    },
    /// Others changed settings at the same moment, twice; these are the current ones.
    Conflict(ConfigView),
}

/// A change of what is said of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelChange {
    /// The model that answers requests for this one.
    pub mapping: Change<String>,
    /// Whether consoles hide it.
    pub hidden: Change<bool>,
    /// Whether consoles show it first.
    pub pinned: Change<bool>,
}

/// What became of such a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelConfigured {
    /// It is made; this is said of the model now.
    Done(ModelEntry),
    /// Nothing was changed: with it the settings would not be usable.
    Invalid(Vec<SettingProblem>),
    /// Others changed settings at the same moment again and again.
    Conflict,
}

// Spec `http-api.md` §1.5.6.
/// What selection thinks of the accounts.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StrategyHealth {
    /// `hybrid`, `round-robin` or `sticky`.
    pub strategy: &'static str,
    /// `null` unless the strategy is hybrid: the others do not go by them.
    pub trackers: Option<Trackers>,
    /// When the store was read, ISO 8601.
    #[schema(format = DateTime)]
    pub last_updated: String,
}

/// The trackers of hybrid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Trackers {
    /// The enabled accounts, in their order.
    pub accounts: Vec<TrackerView>,
}

/// What hybrid thinks of one account; numbers are rounded to one decimal.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackerView {
    /// Its address.
    pub email: String,
    /// Health, 0 to `accountSelection.healthScore.maxScore`.
    pub health_score: f64,
    /// Whether that is at least `accountSelection.healthScore.minUsable`.
    pub is_usable: bool,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Requests in its bucket.
    pub tokens: f64,
    /// Whether there is one.
    pub has_tokens: bool,
    /// The size of the bucket.
    pub max_tokens: f64,
    /// Requests in flight.
    pub in_flight: u32,
    /// When it was last chosen, Unix epoch in milliseconds.
    pub last_used: Option<i64>,
}
