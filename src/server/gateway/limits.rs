//! The `/account-limits` report (spec `http-api.md` §1.3.2).

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::{AccountCounts, AccountView, QuotaView};
use crate::config::ModelEntry;
use crate::usage::History;

/// The accounts and what is left of their quotas.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountLimits {
    /// When it was made, as in RFC 3339, with milliseconds, in UTC.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Accounts of the pool.
    pub total_accounts: usize,
    /// Ids of the models that any account has a quota of, sorted.
    pub models: Vec<String>,
    /// What `modelMapping` says, by model id.
    pub model_config: BTreeMap<String, ModelEntry>,
    /// Share of its quota below which an account is spared, unless it has a threshold of its own; 0 is off.
    pub global_quota_threshold: f64,
    /// Each account.
    pub accounts: Vec<AccountLimit>,
    /// Requests by hour, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = hours, required = false)]
    pub history: Option<History>,
    /// How many accounts are in which state.
    #[serde(skip)]
    pub counts: AccountCounts,
}

/// One account and what is left of its quotas.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountLimit {
    /// The account.
    #[serde(flatten)]
    pub account: AccountView,
    /// `ok`, `invalid`, `banned`, or `error` when it does not answer.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Why it is not `ok`.
    pub error: Option<String>,
    /// By each of the report's models; `null` where the account has no quota of it.
    #[schema(schema_with = by_model)]
    pub limits: BTreeMap<String, Option<QuotaView>>,
    /// When its quotas were fetched, Unix epoch in milliseconds.
    pub snapshot_at: Option<i64>,
    /// Until when it rests from all requests, Unix epoch in milliseconds; `null` when it does not.
    pub cooldown_until: Option<i64>,
}

/// The history has a schema of its own.
fn hours() -> Ref {
    Ref::from_schema_name(<History as utoipa::ToSchema>::name())
}

/// Quotas by model id, some of them `null`.
fn by_model() -> Schema {
    let quota = OneOfBuilder::new()
        .item(Ref::from_schema_name(<QuotaView as utoipa::ToSchema>::name()))
        .item(ObjectBuilder::new().schema_type(Type::Null));
    ObjectBuilder::new()
        .description(Some("By each of the report's models; `null` where the account has no quota of it."))
        .additional_properties(Some(Schema::OneOf(quota.build())))
        .into()
}
