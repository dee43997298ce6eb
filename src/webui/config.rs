//! `/api/config`: the settings as the reference's console reads and changes them (spec `http-api.md` §1.5.1, §1.5.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::config::Rejected;
use crate::server::Entitled;
use crate::server::answer::{Answer, Failure};
use crate::server::error::ApiError;
use crate::server::gateway::configuration::{ConfigBrief, ConfigView, Configured};
use crate::server::json;
use crate::server::state::AppState;
use crate::webui::body;

/// The settings. Strangers are told `maxAccounts` and `devMode` of `config`, and nothing behind it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Config)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    /// Of the program.
    version: &'static str,
    /// Whether a password opens the console.
    auth_required: bool,
    /// Every setting, in the shape of the file; `********` for each secret that is set.
    #[schema(value_type = Object)]
    config: Map<String, Value>,
    #[serde(flatten)]
    #[schema(value_type = Known)]
    known: Option<Known>,
}

// Flattened where it is there, so nothing of it is required.
/// What those are told besides who may know.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigDetails)]
#[serde(rename_all = "camelCase")]
struct Known {
    /// Where each came from, by dotted name: `default`, `file`, `store`, `env` or `flag`.
    #[schema(required = false, value_type = BTreeMap<String, String>)]
    sources: BTreeMap<&'static str, &'static str>,
    /// Settings that have another value in the shared store, which takes effect when this gateway starts next.
    #[schema(required = false, value_type = Vec<String>)]
    restart_required: Vec<&'static str>,
    /// Counts the changes of shared settings.
    #[schema(required = false)]
    generation: u64,
    /// Why the shared settings are not in force, if they are not: then the last usable ones are.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    /// Set while the store does not answer: others may have changed settings since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    stale: bool,
    /// How to change them.
    #[schema(required = false)]
    note: &'static str,
}

/// A change that was made, at least in part.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigSaved)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Saved {
    /// In one sentence.
    message: &'static str,
    /// What was taken, in the shape of the file.
    #[schema(value_type = Object)]
    updates: Map<String, Value>,
    /// What was not, and why.
    rejected: Vec<Rejected>,
    #[serde(flatten)]
    view: ConfigView,
}

/// A change of which nothing was right.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigRefused)]
pub(crate) struct Refused {
    /// Always `error`.
    status: Failure,
    /// In words, with every reason: the reference's console shows nothing else.
    error: String,
    /// Fields that are not right, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    rejected: Vec<Rejected>,
}

/// A change that was not made because others were faster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigConflict)]
pub(crate) struct Conflict {
    /// Always `error`.
    status: Failure,
    /// In words.
    error: &'static str,
    /// The current settings.
    #[serde(flatten)]
    view: ConfigView,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Outcome {
    Saved(Answer<Saved>),
    Refused(Refused),
    Conflict(Conflict),
}

const NOTHING: &str = "No valid configuration updates provided";

/// The settings, in the shape of the settings file.
///
/// Never refused: who is not entitled is told little.
#[utoipa::path(
    get,
    path = "/api/config",
    operation_id = "getConfig",
    tag = "settings",
    responses((status = 200, description = "The settings", body = Answer<Shown>))
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    Extension(Entitled(entitled)): Extension<Entitled>,
) -> Answer<Shown> {
    let version = env!("CARGO_PKG_VERSION");
    let auth_required = state.console.has_password();
    if !entitled {
        let ConfigBrief { max_accounts, dev_mode } = state.gateway.config_brief();
        let brief = [("maxAccounts", max_accounts.into()), ("devMode", dev_mode.into())];
        let config = brief.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        return Answer::new(Shown { version, auth_required, config, known: None });
    }
    let ConfigView { config, sources, restart_required, generation, unusable, stale } =
        state.gateway.config_view().await;
    let note = "Change settings with POST /api/config; GET /api/settings describes each";
    let known = Some(Known { sources, restart_required, generation, unusable, stale, note });
    Answer::new(Shown { version, auth_required, config, known })
}

/// Changes settings, field by field.
///
/// The body has any settings in the shape of the settings file, nested or by dotted name: what is right is taken, what is
/// not is told. `GET /api/settings` says of each what is allowed.
#[utoipa::path(
    post,
    path = "/api/config",
    operation_id = "changeConfig",
    tag = "settings",
    request_body(content = Object, example = json!({ "maxRetries": 5, "accountSelection": { "strategy": "sticky" } })),
    responses(
        (status = 200, description = "At least some of it is changed", body = Answer<Saved>),
        (status = 400, description = "Nothing of it is right", body = Refused),
        (status = 409, description = "Others change settings at the same moment", body = Conflict)
    )
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let change = body::object(&state, request, NOTHING).await?;
    let outcome = state.gateway.configure(change).await?;
    Ok(match answered(outcome) {
        Outcome::Saved(answer) => answer.into_response(),
        Outcome::Refused(answer) => json::of(StatusCode::BAD_REQUEST, &answer),
        Outcome::Conflict(answer) => json::of(StatusCode::CONFLICT, &answer),
    })
}

/// The answer to a change; the command line prints from the same shape.
pub(crate) fn answered(outcome: Configured) -> Outcome {
    match outcome {
        Configured::Done { generation, updates, rejected, view } => {
            let message = if view.restart_required.is_empty() {
                "Configuration saved."
            } else {
                "Configuration saved. Restart server to apply some changes."
            };
            let view = ConfigView { generation, ..view };
            Outcome::Saved(Answer::new(Saved { message, updates, rejected, view }))
        }
        Configured::Nothing { rejected } => {
            let reasons: Vec<_> =
                rejected.iter().map(|Rejected { field, reason }| format!("{field} {reason}")).collect();
            let error = if reasons.is_empty() {
                NOTHING.to_owned()
            } else {
                format!("{NOTHING}: {}", reasons.join("; "))
            };
            Outcome::Refused(Refused { status: Failure::Error, error, rejected })
        }
        Configured::Conflict(view) => {
            let error =
                "Others changed the settings at the same moment; these are the current ones, try again";
            Outcome::Conflict(Conflict { status: Failure::Error, error, view })
        }
    }
}

impl Outcome {
    /// As the command line takes it: the answer, or the error in words with a line for each field.
    pub(crate) fn told(self) -> Result<Answer<Saved>, String> {
        match self {
            Self::Saved(answer) => Ok(answer),
            Self::Conflict(Conflict { error, .. }) => Err(error.to_owned()),
            Self::Refused(Refused { rejected, .. }) => {
                let lines = rejected.iter().map(|one| format!("\n  {}: {}", one.field, one.reason));
                Err(lines.fold(NOTHING.to_owned(), |told, line| told + &line))
            }
        }
    }
}
