//! Changing, trying and moving accounts (spec `http-api.md` §1.4, §8.5).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use crate::account::import::value::{THRESHOLDS_MAX, is_model, shown};
use crate::anthropic::error::ErrorKind;
use crate::server::answer::{Answer, Said};
use crate::server::error::ApiError;
use crate::server::migration::{AccountChange, Migration, MigrationReport, Trial};
use crate::server::state::AppState;
use crate::server::{is_json, json, must_be_object, not_json, read_body};
use crate::store::ops::accounts::Change;
use crate::webui::body;

/// An account in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AccountPath {
    /// The account's address, compared without case.
    #[param(
        min_length = 1,
        max_length = 254,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$",
        example = "ada@example.com"
    )]
    email: String,
}

pub(super) type Email = Result<Path<AccountPath>, PathRejection>;

/// What becomes of an account's switch.
#[derive(Debug, ToSchema)]
#[schema(as = AccountSwitch)]
#[expect(dead_code, reason = "describes what toggle reads")]
pub(crate) struct Switch {
    /// Whether it takes part in selection from now on.
    enabled: bool,
}

/// Switches an account on or off.
#[utoipa::path(
    post,
    path = "/api/accounts/{email}/toggle",
    operation_id = "toggleAccount",
    tag = "accounts",
    params(AccountPath),
    request_body = Switch,
    responses(
        (status = 200, description = "It is switched", body = Answer<Said>),
        (status = 404, description = "No account has this address")
    )
)]
pub(crate) async fn toggle(
    State(state): State<Arc<AppState>>,
    email: Email,
    request: Request,
) -> Result<Answer<Said>, ApiError> {
    let email = address(email)?;
    let body = body(&state, request).await?;
    let Some(enabled) = body["enabled"].as_bool() else {
        return Err(ApiError::invalid("enabled must be a boolean"));
    };
    let change = AccountChange { enabled: Some(enabled), ..AccountChange::default() };
    if !state.gateway.change_account(&email, change).await? {
        return Err(not_found(&email));
    }
    let switched = if enabled { "enabled" } else { "disabled" };
    Ok(Answer::new(Said { message: format!("Account {email} {switched}") }))
}

/// Quota floors of an account. What is left out stays; `null` takes it away.
#[derive(Debug, ToSchema)]
#[schema(as = AccountThresholds)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, clippy::struct_field_names, reason = "describes what change reads")]
pub(crate) struct Thresholds {
    /// The lowest fraction of a quota at which the account is still chosen.
    #[schema(minimum = 0, exclusive_maximum = 1, nullable)]
    quota_threshold: Option<f64>,
    /// The same by model id, replaced as a whole; at most 256 models.
    #[schema(schema_with = by_model)]
    model_quota_thresholds: Option<BTreeMap<String, f64>>,
    /// Of single models, whatever somebody else changes of others.
    #[schema(schema_with = changes_by_model)]
    model_quota_threshold_changes: BTreeMap<String, Option<f64>>,
}

/// Fractions by model id, or `null`.
fn by_model() -> Schema {
    models(
        SchemaType::from_iter([Type::Object, Type::Null]),
        Type::Number.into(),
        "The same by model id, replaced as a whole.",
    )
}

/// Fractions by model id, `null` for one that loses its own.
fn changes_by_model() -> Schema {
    models(
        Type::Object.into(),
        SchemaType::from_iter([Type::Number, Type::Null]),
        "Of single models, whatever somebody else changes of others; `null` takes one away. Made after \
         `modelQuotaThresholds`.",
    )
}

fn models(kind: SchemaType, fraction: SchemaType, description: &str) -> Schema {
    let fraction = ObjectBuilder::new().schema_type(fraction);
    let model = ObjectBuilder::new().schema_type(Type::String).max_length(Some(128));
    ObjectBuilder::new()
        .schema_type(kind)
        .description(Some(description))
        .property_names(Some(model.pattern(Some(r"^[^\s=\u0000-\u001f\u007f-\u009f]+$"))))
        .additional_properties(Some(fraction.minimum(Some(0)).exclusive_maximum(Some(1))))
        .max_properties(Some(THRESHOLDS_MAX))
        .into()
}

/// Thresholds were changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ThresholdsChanged {
    /// In one sentence.
    message: String,
    /// What the account has now.
    account: AccountNow,
}

/// The thresholds of an account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountNow {
    /// Its address.
    email: String,
    /// By model id.
    model_quota_thresholds: BTreeMap<String, f64>,
    /// Its own; left out when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_threshold: Option<f64>,
}

/// Changes the quota floors of an account.
#[utoipa::path(
    patch,
    path = "/api/accounts/{email}",
    operation_id = "changeAccount",
    tag = "accounts",
    params(AccountPath),
    request_body = Thresholds,
    responses(
        (status = 200, description = "They are changed", body = Answer<ThresholdsChanged>),
        (status = 404, description = "No account has this address")
    )
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    email: Email,
    request: Request,
) -> Result<Answer<ThresholdsChanged>, ApiError> {
    let email = address(email)?;
    let body = body(&state, request).await?;
    let change = thresholds(&body)?;
    if !state.gateway.change_account(&email, change.clone()).await? {
        return Err(not_found(&email));
    }
    let accounts = state.gateway.accounts().await?;
    let now = accounts.into_iter().find(|account| account.email.eq_ignore_ascii_case(&email));
    let (quota_threshold, model_quota_thresholds) =
        now.map(|now| (now.quota_threshold, now.model_quota_thresholds)).unwrap_or_default();
    Ok(Answer::new(ThresholdsChanged {
        message: format!("Account {email} thresholds updated"),
        account: AccountNow { email, model_quota_thresholds, quota_threshold },
    }))
}

fn threshold(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| (0.0..1.0).contains(number))
}

/// What a body says of thresholds, checked as the reference does.
fn thresholds(body: &Value) -> Result<AccountChange, ApiError> {
    let quota_threshold = match body.get("quotaThreshold") {
        None => Change::Keep,
        Some(Value::Null) => Change::Clear,
        Some(value) => {
            let refused = || ApiError::invalid("quotaThreshold must be 0-0.99 or null");
            Change::Set(threshold(value).ok_or_else(refused)?)
        }
    };
    let model_quota_thresholds = match body.get("modelQuotaThresholds") {
        None => Change::Keep,
        Some(Value::Null) => Change::Clear,
        Some(Value::Object(models)) => Change::Set(by_model_of("modelQuotaThresholds", models, threshold)?),
        Some(_) => return Err(ApiError::invalid("modelQuotaThresholds must be an object or null")),
    };
    let model_quota_threshold_changes = match body.get("modelQuotaThresholdChanges") {
        None => BTreeMap::new(),
        Some(Value::Object(models)) => by_model_of("modelQuotaThresholdChanges", models, |value| {
            if value.is_null() { Some(None) } else { threshold(value).map(Some) }
        })?,
        Some(_) => return Err(ApiError::invalid("modelQuotaThresholdChanges must be an object")),
    };
    let enabled = None;
    Ok(AccountChange { enabled, quota_threshold, model_quota_thresholds, model_quota_threshold_changes })
}

/// What `field` says of each model, as `read` takes it.
fn by_model_of<T>(
    field: &str,
    models: &Map<String, Value>,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<String, T>, ApiError> {
    if models.len() > THRESHOLDS_MAX {
        return Err(ApiError::invalid(format!("{field} may name at most {THRESHOLDS_MAX} models")));
    }
    let each = |(model, value): (&String, &Value)| {
        let wrong =
            |why: &str| ApiError::invalid(format!("Invalid threshold for model {}: {why}", shown(model)));
        if !is_model(model) {
            return Err(wrong("no model's name"));
        }
        read(value).map(|read| (model.clone(), read)).ok_or_else(|| wrong("must be 0-0.99"))
    };
    models.iter().map(each).collect()
}

/// Tries whether an account's credential works.
///
/// Once, beside the pool: it is not chosen for requests by this, and what was found invalid and works is cleared.
#[utoipa::path(
    post,
    path = "/api/accounts/{email}/verify",
    operation_id = "verifyAccount",
    tag = "accounts",
    params(AccountPath),
    responses(
        (status = 200, description = "It was tried", body = Answer<Trial>),
        (status = 404, description = "No account has this address")
    )
)]
pub(crate) async fn verify(
    State(state): State<Arc<AppState>>,
    email: Email,
) -> Result<Answer<Trial>, ApiError> {
    let email = address(email)?;
    let trial = state.gateway.verify_account(&email).await?.ok_or_else(|| not_found(&email))?;
    Ok(Answer::new(trial))
}

/// Takes over what another program has kept.
#[utoipa::path(
    post,
    path = "/api/migrate",
    operation_id = "migrateOther",
    tag = "operations",
    request_body = Migration,
    responses((status = 200, description = "What became of everything", body = MigrationReport))
)]
pub(crate) async fn migrate(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let body = read_body(request, state.limits.migration, &state.limits, &state.clock).await?;
    must_be_object(&body)?;
    let migration: Migration = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid(format!("The body is no migration: {error}")))?;
    let report = state.gateway.migrate(migration).await?;
    Ok(json::of(StatusCode::OK, &report))
}

async fn body(state: &AppState, request: Request) -> Result<Value, ApiError> {
    let value = body::json(state, request).await?;
    if value.is_object() { Ok(value) } else { Err(ApiError::invalid("The body must be an object")) }
}

pub(super) fn address(email: Email) -> Result<String, ApiError> {
    let Ok(Path(AccountPath { email })) = email else {
        return Err(ApiError::invalid("The address in the path is not valid UTF-8"));
    };
    if email.chars().any(char::is_control) {
        return Err(ApiError::invalid("The address in the path holds control characters"));
    }
    if email.chars().count() > 254 {
        return Err(ApiError::invalid("The address in the path is longer than 254 characters"));
    }
    Ok(email.trim().to_owned())
}

pub(super) fn not_found(email: &str) -> ApiError {
    ApiError::new(ErrorKind::NotFound, format!("Account {email} not found"))
}
