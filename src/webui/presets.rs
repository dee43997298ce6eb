//! `/api/server/presets`: named sets of settings (spec `http-api.md` §1.5.7).

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::config::Rejected;
use crate::server::answer::{Answer, Failure};
use crate::server::error::ApiError;
use crate::server::gateway::presets::{NewPreset, PresetChange, PresetError, SavedPreset, ServerPreset};
use crate::server::json;
use crate::server::state::AppState;
use crate::store::audit::{FieldChange, tell};
use crate::store::ops::accounts::Change;
use crate::webui::body;

/// A preset in a path.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct PresetPath {
    /// The preset's name.
    #[param(min_length = 1, example = "Night")]
    pub(super) name: String,
}

type Which = Result<Path<PresetPath>, PathRejection>;

/// A preset to be kept.
#[derive(ToSchema)]
#[schema(as = ServerPresetCreation)]
#[expect(dead_code, reason = "describes what new_preset reads")]
struct Creation {
    /// Its name; blanks around it do not count.
    #[schema(min_length = 1, max_length = 50, example = "Night")]
    name: String,
    /// Settings in the shape of the file; those that are not right are left out and told.
    #[schema(value_type = Object)]
    config: Map<String, Value>,
    /// What it is for.
    #[schema(max_length = 500)]
    description: Option<String>,
}

/// A change of a preset; what is left out stays.
#[derive(ToSchema)]
#[schema(as = ServerPresetChange)]
#[expect(dead_code, reason = "describes what preset_change reads")]
struct Edition {
    /// Its new name.
    #[schema(min_length = 1, max_length = 50)]
    name: Option<String>,
    /// Settings in the shape of the file, which replace those of the same names.
    #[schema(value_type = Option<Object>)]
    config: Option<Map<String, Value>>,
    /// What it is for; `null` takes it away.
    #[schema(max_length = 500)]
    description: Option<String>,
}

/// All presets, after whatever was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerPresets)]
pub(crate) struct Listing {
    /// The built-in ones first, then the others by name.
    presets: Vec<ServerPreset>,
    /// What was done; left out when they are only listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Settings that were left out, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    rejected: Vec<Rejected>,
}

/// Why nothing was done.
#[derive(Serialize, ToSchema)]
#[schema(as = ServerPresetRefused)]
struct Refused {
    /// Always `error`.
    status: Failure,
    /// In words.
    error: String,
    /// Settings that are not right, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    rejected: Vec<Rejected>,
}

impl IntoResponse for PresetError {
    fn into_response(self) -> Response {
        let error = self.to_string();
        let (status, rejected) = match self {
            Self::Failed(error) => return error.into_response(),
            Self::NoConfig(rejected) | Self::NoChange(rejected) => (StatusCode::BAD_REQUEST, rejected),
            Self::Changed => (StatusCode::CONFLICT, Vec::new()),
            _ => (StatusCode::BAD_REQUEST, Vec::new()),
        };
        json::of(status, &Refused { status: Failure::Error, error, rejected })
    }
}

/// Named sets of settings: the built-in ones and those that were kept.
#[utoipa::path(
    get,
    path = "/api/server/presets",
    operation_id = "listServerPresets",
    tag = "settings",
    responses((status = 200, description = "All presets", body = Answer<Listing>))
)]
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Answer<Listing>, PresetError> {
    Ok(listed(state.gateway.server_presets().await?))
}

/// Keeps a preset, or replaces the one of its name.
#[utoipa::path(
    post,
    path = "/api/server/presets",
    operation_id = "saveServerPreset",
    tag = "settings",
    request_body(content = Creation, example = json!({ "name": "Night", "config": { "maxRetries": 3 } })),
    responses(
        (status = 200, description = "It is kept", body = Answer<Listing>),
        (status = 400, description = "It is not kept", body = Refused)
    )
)]
pub(crate) async fn save(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Listing>, PresetError> {
    let asked = body::object(&state, request, "The body must be a JSON object").await;
    let new = new_preset(&asked.map_err(PresetError::Failed)?)?;
    tell(FieldChange::to("name", new.name.as_str()));
    tell(FieldChange::to("config", named(&new.config)));
    let saved = state.gateway.save_server_preset(new).await?;
    Ok(answered(saved, "saved"))
}

/// Changes a preset.
#[utoipa::path(
    patch,
    path = "/api/server/presets/{name}",
    operation_id = "changeServerPreset",
    tag = "settings",
    params(PresetPath),
    request_body(content = Edition, example = json!({ "config": { "maxRetries": 4 } })),
    responses(
        (status = 200, description = "It is changed", body = Answer<Listing>),
        (status = 400, description = "It is not changed: something does not fit, or there is no such preset", body = Refused),
        (status = 409, description = "Others change it at the same moment", body = Refused)
    )
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    name: Which,
    request: Request,
) -> Result<Answer<Listing>, PresetError> {
    let name = path(name)?;
    let asked = body::object(&state, request, "The body must be a JSON object").await;
    let change = preset_change(&asked.map_err(PresetError::Failed)?)?;
    if let Some(name) = &change.name {
        tell(FieldChange::to("name", name.as_str()));
    }
    if let Some(config) = &change.config {
        tell(FieldChange::to("config", named(config)));
    }
    let saved = state.gateway.change_server_preset(&name, change).await?;
    Ok(answered(saved, "updated"))
}

/// Deletes a preset.
///
/// One that is not there is no error.
#[utoipa::path(
    delete,
    path = "/api/server/presets/{name}",
    operation_id = "removeServerPreset",
    tag = "settings",
    params(PresetPath),
    responses(
        (status = 200, description = "It is not there any more", body = Answer<Listing>),
        (status = 400, description = "It is built in", body = Refused)
    )
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    name: Which,
) -> Result<Answer<Listing>, PresetError> {
    let name = path(name)?;
    let presets = state.gateway.remove_server_preset(&name).await?;
    Ok(removed(&name, presets))
}

/// The answer to a listing; the command line prints from the same shape, as from the two below.
pub(crate) fn listed(presets: Vec<ServerPreset>) -> Answer<Listing> {
    Answer::new(Listing { presets, message: None, rejected: Vec::new() })
}

/// The answer when a preset was kept.
pub(crate) fn answered(saved: SavedPreset, done: &str) -> Answer<Listing> {
    let SavedPreset { name, presets, rejected } = saved;
    let message = Some(format!("Server preset \"{name}\" {done}"));
    Answer::new(Listing { presets, message, rejected })
}

/// The answer when one was removed.
pub(crate) fn removed(name: &str, presets: Vec<ServerPreset>) -> Answer<Listing> {
    answered(SavedPreset { name: name.to_owned(), presets, rejected: Vec::new() }, "deleted")
}

/// What of the settings is in a change, for the audit trail.
fn named(config: &Map<String, Value>) -> Vec<String> {
    config.keys().cloned().collect()
}

/// The name in a path.
fn path(name: Which) -> Result<String, PresetError> {
    let unreadable = "The preset's name in the path is not valid UTF-8";
    name.map(|Path(PresetPath { name })| name).map_err(|_| PresetError::Failed(ApiError::invalid(unreadable)))
}

fn wrong(text: &'static str) -> PresetError {
    PresetError::Failed(ApiError::invalid(text))
}

/// A text that may be left out.
fn text(
    asked: &Map<String, Value>,
    field: &str,
    wrongly: &'static str,
) -> Result<Option<String>, PresetError> {
    match asked.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(wrongly)),
    }
}

const NAME: &str = "Preset name must be a text";
const DESCRIPTION: &str = "Preset description must be a text";
const CONFIG: &str = "Config object is required";

fn new_preset(asked: &Map<String, Value>) -> Result<NewPreset, PresetError> {
    let name =
        text(asked, "name", NAME)?.filter(|name| !name.trim().is_empty()).ok_or(PresetError::NoName)?;
    let Some(Value::Object(config)) = asked.get("config") else { return Err(wrong(CONFIG)) };
    let description = text(asked, "description", DESCRIPTION)?;
    Ok(NewPreset { name, config: config.clone(), description })
}

fn preset_change(asked: &Map<String, Value>) -> Result<PresetChange, PresetError> {
    let config = match asked.get("config") {
        None | Some(Value::Null) => None,
        Some(Value::Object(config)) => Some(config.clone()),
        Some(_) => return Err(wrong(CONFIG)),
    };
    let description = match asked.get("description") {
        Some(Value::Null) => Change::Clear,
        _ => text(asked, "description", DESCRIPTION)?.map_or(Change::Keep, Change::Set),
    };
    Ok(PresetChange { name: text(asked, "name", NAME)?, description, config })
}
