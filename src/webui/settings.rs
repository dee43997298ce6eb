//! `/api/settings`: the settings in force, and changes of the shared ones.
//!
//! `settings` is an object of values by key, as a change has it; the reference's answer of that name is one, too
//! (`settings.port`, spec `http-api.md` §1.5.4). What else there is to say of each is in `rows`, in the manual's order.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::server::answer::{Answer, Failure};
use crate::server::error::ApiError;
use crate::server::gateway::{SettingProblem, SettingView, SettingsChange, SettingsChanged, SettingsView};
use crate::server::state::AppState;
use crate::server::{is_json, json, not_json, object, read_body};
use crate::webui::body;

/// The settings in force.
///
/// Key, value and origin of each, and the generation. Secrets are not shown.
#[utoipa::path(
    get,
    path = "/api/settings",
    operation_id = "listSettings",
    tag = "settings",
    responses((status = 200, description = "The settings", body = Answer<SettingsView>))
)]
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Answer<SettingsView>, ApiError> {
    Ok(Answer::new(state.gateway.settings().await?))
}

/// What was changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SettingsChanged)]
pub(crate) struct Changed {
    /// The generation that the change made.
    generation: u64,
    /// The values of the settings that were named, by key.
    settings: BTreeMap<String, Value>,
    /// What else there is to say of each.
    rows: Vec<SettingView>,
}

/// Somebody else changed the settings first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SettingsConflict)]
pub(crate) struct Conflict {
    /// Always `error`.
    status: Failure,
    /// In words.
    error: String,
    #[serde(flatten)]
    current: SettingsView,
}

/// Nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SettingsRefused)]
pub(crate) struct Refused {
    /// Always `error`.
    status: Failure,
    /// In words.
    error: String,
    /// Each thing that is wrong; not there when the body cannot be read at all.
    #[schema(required = false)]
    problems: Vec<SettingProblem>,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Outcome {
    Changed(Answer<Changed>),
    Conflict(Conflict),
    Refused(Refused),
}

/// Changes shared settings: all that are named, or none.
///
/// With `generation` only if that is still the current one; else 409 with the current settings. 400 with all problems
/// when the result would not be usable.
#[utoipa::path(
    patch,
    path = "/api/settings",
    operation_id = "changeSettings",
    tag = "settings",
    request_body(
        content = SettingsChange,
        example = json!({ "settings": { "accountSelection.strategy": "sticky", "maxAccounts": null } })
    ),
    responses(
        (status = 200, description = "They are changed", body = Answer<Changed>),
        (status = 400, description = "Nothing was changed", body = Refused),
        (status = 409, description = "Somebody else changed them first", body = Conflict)
    )
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let body = read_body(request, body::LIMIT, &state.limits, &state.clock).await?;
    let change: SettingsChange = object(&body)?;
    let keys: Vec<String> = change.settings.keys().cloned().collect();
    let outcome = state.gateway.change_settings(change).await?;
    Ok(match answered(outcome, &keys) {
        Outcome::Changed(answer) => answer.into_response(),
        Outcome::Conflict(answer) => json::of(StatusCode::CONFLICT, &answer),
        Outcome::Refused(answer) => json::of(StatusCode::BAD_REQUEST, &answer),
    })
}

/// The answer to a change of `keys`; the command line prints from the same shape.
pub(crate) fn answered(outcome: SettingsChanged, keys: &[String]) -> Outcome {
    match outcome {
        SettingsChanged::Done { generation, view: SettingsView { mut rows, .. } } => {
            rows.retain(|row| keys.contains(&row.key));
            let settings = rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect();
            Outcome::Changed(Answer::new(Changed { generation, settings, rows }))
        }
        SettingsChanged::Conflict(current) => {
            let generation = current.generation;
            let error = format!("Somebody else changed the settings; they are at generation {generation}");
            Outcome::Conflict(Conflict { status: Failure::Error, error, current })
        }
        SettingsChanged::Invalid(problems) => {
            let sentences: Vec<_> =
                problems.iter().map(|problem| format!("{}: {}", problem.key, problem.reason)).collect();
            let error = format!("Nothing was changed. {}", sentences.join("; "));
            Outcome::Refused(Refused { status: Failure::Error, error, problems })
        }
    }
}

impl Outcome {
    /// As the command line takes it: the answer, or the error in words.
    pub(crate) fn told(self) -> Result<Answer<Changed>, String> {
        match self {
            Self::Changed(answer) => Ok(answer),
            Self::Conflict(Conflict { error, .. }) | Self::Refused(Refused { error, .. }) => Err(error),
        }
    }
}
