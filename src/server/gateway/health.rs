//! The `/health` report (spec `http-api.md` §1.3.1).

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{AccountCounts, ModelLimit, SubscriptionView};

/// How the pool fares.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// Always `ok`: a gateway that cannot tell answers an error.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// When it was made, as in RFC 3339, with milliseconds, in UTC.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// How long the store took, in milliseconds.
    pub latency_ms: u64,
    /// The counts in words.
    #[schema(example = "3 total, 2 available, 1 rate-limited, 1 invalid")]
    pub summary: String,
    /// How many accounts are in which state.
    pub counts: AccountCounts,
    /// Each account; empty for strangers.
    pub accounts: Vec<AccountHealth>,
    /// `true` for strangers, who see no accounts; else it is not there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub redacted: bool,
}

impl HealthReport {
    /// What strangers may see: nothing that names anybody.
    #[must_use]
    pub fn redacted(self) -> Self {
        // Written out, so that a new member is decided on here.
        let Self { status, timestamp, latency_ms, summary, counts, accounts: _, redacted: _ } = self;
        Self { status, timestamp, latency_ms, summary, counts, accounts: Vec::new(), redacted: true }
    }
}

/// How one account fares.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountHealth {
    /// Its address.
    pub email: String,
    /// `ok`, `rate-limited` (by at least one limit that holds now), `invalid`, `banned`, or `error` when it does not answer.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Why it is out of use and what its owner has to do; left out when it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where its owner verifies it; left out when there is nothing to verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_url: Option<String>,
    /// What its owner pays for.
    pub subscription: SubscriptionView,
    /// Its last request, as in RFC 3339.
    #[schema(format = DateTime)]
    pub last_used: Option<String>,
    /// Limits by model id.
    pub model_rate_limits: BTreeMap<String, ModelLimit>,
    /// Milliseconds until the first of its limits ends; 0 when none holds.
    pub rate_limit_cooldown_remaining: u64,
    /// Quotas by model id, as old as the last survey.
    pub models: BTreeMap<String, QuotaView>,
}

/// What is left of a model's quota.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaView {
    /// In percent, or `N/A`.
    #[schema(example = "76%")]
    pub remaining: String,
    /// From 0 to 1; `null` when the upstream has not said.
    pub remaining_fraction: Option<f64>,
    /// When it is full again, as the upstream says it.
    pub reset_time: Option<String>,
}
