//! `/api/claude/*`: the settings of Claude Code (spec `http-api.md` §1.6.1).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::HOST;
use http::uri::Authority;
use http::{StatusCode, request};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::claude::{
    ClaudeEdit, ClaudeError, ClaudePreset, ClaudeSite, ClaudeStorage, ClaudeTarget, ClaudeView,
};
use crate::server::state::AppState;
use crate::store::audit::{FieldChange, tell};
use crate::webui::body;
use crate::webui::presets::PresetPath;

/// Variables of Claude Code, in the shape of its settings file.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaudeVariables)]
struct Variables {
    /// Only the eight that point Claude Code at a gateway; `********` for a client key.
    env: BTreeMap<String, String>,
}

/// The settings of Claude Code, after whatever was done.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaudeSettings)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// The variables.
    config: Variables,
    /// The file; `null` where there is none.
    path: Option<String>,
    /// Whether a change of them changes Claude Code on this machine.
    editable: bool,
    /// `local`, `profile` or `off`.
    storage: ClaudeStorage,
    /// Where they point, when that was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<ClaudeTarget>,
    /// How to take them over by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    /// Why they cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What of the change was not taken, by its path in the settings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<String>,
    /// What was done; left out when they are only shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
}

impl Settings {
    fn of(view: ClaudeView) -> Self {
        Self {
            config: Variables { env: view.variables },
            path: view.path,
            editable: view.storage == ClaudeStorage::Local,
            storage: view.storage,
            mode: None,
            instructions: view.instructions,
            problem: view.problem,
            ignored: view.ignored,
            message: None,
        }
    }
}

/// Where the settings point.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaudeMode)]
pub(crate) struct Mode {
    /// To this gateway, or elsewhere.
    mode: ClaudeTarget,
}

/// New variables of Claude Code, in the shape of its settings file. What it has besides is not touched, but told.
#[derive(ToSchema)]
#[schema(as = ClaudeChange)]
#[expect(dead_code, reason = "describes what is read member by member")]
struct Change {
    /// New texts of the eight variables; an empty one or `null` removes it.
    #[schema(required = false, value_type = Object)]
    env: Map<String, Value>,
}

/// Where to point Claude Code.
#[derive(ToSchema)]
#[schema(as = ClaudePointing)]
#[expect(dead_code, reason = "describes what is read member by member")]
struct Pointing {
    /// To this gateway, or away from it.
    mode: ClaudeTarget,
}

/// A preset to be kept.
#[derive(ToSchema)]
#[schema(as = ClaudePresetCreation)]
#[expect(dead_code, reason = "describes what is read member by member")]
struct Creation {
    /// Its name; blanks around it do not count.
    #[schema(min_length = 1, max_length = 50, example = "Mine")]
    name: String,
    /// The variables; others are left out.
    #[schema(value_type = Object)]
    config: Map<String, Value>,
}

/// All presets, after whatever was done.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaudePresets)]
pub(crate) struct Listing {
    /// The built-in ones first, then the others by name.
    presets: Vec<ClaudePreset>,
    /// What was done; left out when they are only listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl IntoResponse for ClaudeError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Off => StatusCode::FORBIDDEN,
            Self::Invalid { .. } | Self::Name(_) | Self::Full(_) => StatusCode::BAD_REQUEST,
            Self::NoDirectory | Self::Unusable { .. } | Self::Busy(_) | Self::Conflict => {
                StatusCode::CONFLICT
            }
            Self::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Failed(error) => return error.clone().into_response(),
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(error = %self, "the settings of Claude Code could not be changed");
        }
        ApiError::invalid(self.to_string()).with_status(status).into_response()
    }
}

/// The variables that point Claude Code at a gateway.
#[utoipa::path(
    get,
    path = "/api/claude/config",
    operation_id = "getClaudeConfig",
    tag = "claude",
    responses((status = 200, description = "The settings", body = Answer<Settings>))
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Settings>, ClaudeError> {
    let (parts, _) = request.into_parts();
    let view = state.gateway.claude_view(&site(&state, &parts)).await?;
    Ok(Answer::new(Settings::of(view)))
}

/// Changes the variables that point Claude Code at a gateway, and nothing else of its settings.
#[utoipa::path(
    post,
    path = "/api/claude/config",
    operation_id = "changeClaudeConfig",
    tag = "claude",
    request_body(content = Change, example = json!({ "env": { "ANTHROPIC_MODEL": "gemini-3-flash" } })),
    responses(
        (status = 200, description = "They are changed", body = Answer<Settings>),
        (status = 400, description = "Nothing was changed: a variable is not right"),
        (status = 403, description = "These settings are not managed here, or the caller may not do this"),
        (status = 409, description = "The file cannot be changed, or others change it at the same moment")
    )
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Settings>, ClaudeError> {
    let (parts, body) = request.into_parts();
    let site = site(&state, &parts);
    let request = Request::from_parts(parts, body);
    let asked = body::object(&state, request, "Invalid config updates").await.map_err(ClaudeError::Failed)?;
    if let Some(Value::Object(variables)) = asked.get("env") {
        tell(FieldChange::to("variables", names(variables)));
    }
    let view = state.gateway.change_claude(&site, ClaudeEdit::Merge(asked)).await?;
    let message = Some("Claude configuration updated");
    Ok(Answer::new(Settings { message, ..Settings::of(view) }))
}

/// Removes the variables that point Claude Code at a gateway.
#[utoipa::path(
    post,
    path = "/api/claude/config/restore",
    operation_id = "restoreClaudeConfig",
    tag = "claude",
    responses(
        (status = 200, description = "They are gone", body = Answer<Settings>),
        (status = 403, description = "These settings are not managed here, or the caller may not do this"),
        (status = 409, description = "The file cannot be changed, or others change it at the same moment")
    )
)]
pub(crate) async fn restore(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Settings>, ClaudeError> {
    let (parts, _) = request.into_parts();
    tell(FieldChange::to("mode", "restored"));
    let view = state.gateway.change_claude(&site(&state, &parts), ClaudeEdit::Restore).await?;
    let message = Some("Claude CLI configuration restored to defaults");
    Ok(Answer::new(Settings { message, ..Settings::of(view) }))
}

/// Where Claude Code is pointed to.
#[utoipa::path(
    get,
    path = "/api/claude/mode",
    operation_id = "getClaudeMode",
    tag = "claude",
    responses((status = 200, description = "Where", body = Answer<Mode>))
)]
pub(crate) async fn mode(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Mode>, ClaudeError> {
    let (parts, _) = request.into_parts();
    let view = state.gateway.claude_view(&site(&state, &parts)).await?;
    Ok(Answer::new(Mode { mode: view.target }))
}

/// Points Claude Code to this gateway, or away from it.
#[utoipa::path(
    post,
    path = "/api/claude/mode",
    operation_id = "changeClaudeMode",
    tag = "claude",
    request_body = Pointing,
    responses(
        (status = 200, description = "It is pointed there", body = Answer<Settings>),
        (status = 403, description = "These settings are not managed here, or the caller may not do this"),
        (status = 409, description = "The file cannot be changed, or others change it at the same moment")
    )
)]
pub(crate) async fn point(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Settings>, ClaudeError> {
    const EITHER: &str = "mode must be \"proxy\" or \"paid\"";
    let (parts, body) = request.into_parts();
    let site = site(&state, &parts);
    let request = Request::from_parts(parts, body);
    let asked = body::object(&state, request, EITHER).await.map_err(ClaudeError::Failed)?;
    let (target, message) = match asked.get("mode").and_then(Value::as_str) {
        Some("proxy") => (ClaudeTarget::Proxy, "Switched to Proxy mode. Restart Claude CLI to apply."),
        Some("paid") => {
            (ClaudeTarget::Paid, "Switched to Paid (Anthropic API) mode. Restart Claude CLI to apply.")
        }
        _ => return Err(ClaudeError::Failed(ApiError::invalid(EITHER))),
    };
    tell(FieldChange::to("mode", json!(target)));
    let view = state.gateway.change_claude(&site, ClaudeEdit::Point(target)).await?;
    let settings = Settings { mode: Some(target), message: Some(message), ..Settings::of(view) };
    Ok(Answer::new(settings))
}

/// Named sets of these variables: the built-in ones and those that were kept.
#[utoipa::path(
    get,
    path = "/api/claude/presets",
    operation_id = "listClaudePresets",
    tag = "claude",
    responses((status = 200, description = "All presets", body = Answer<Listing>))
)]
pub(crate) async fn presets(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Listing>, ClaudeError> {
    let (parts, _) = request.into_parts();
    let presets = state.gateway.claude_presets(&site(&state, &parts)).await?;
    Ok(Answer::new(Listing { presets, message: None }))
}

/// Keeps a preset, or replaces the one of its name.
#[utoipa::path(
    post,
    path = "/api/claude/presets",
    operation_id = "saveClaudePreset",
    tag = "claude",
    request_body(
        content = Creation,
        example = json!({ "name": "Mine", "config": { "ANTHROPIC_MODEL": "gemini-3-flash" } })
    ),
    responses(
        (status = 200, description = "It is kept", body = Answer<Listing>),
        (status = 400, description = "It is not kept: something does not fit"),
        (status = 403, description = "These settings are not managed here, or the caller may not do this")
    )
)]
pub(crate) async fn save(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Listing>, ClaudeError> {
    let (parts, body) = request.into_parts();
    let site = site(&state, &parts);
    let request = Request::from_parts(parts, body);
    let asked =
        body::object(&state, request, "Preset name is required").await.map_err(ClaudeError::Failed)?;
    let (name, variables) = preset(&asked)?;
    tell(FieldChange::to("name", name.trim()));
    tell(FieldChange::to("variables", names(&variables)));
    let presets = state.gateway.save_claude_preset(&site, name, variables).await?;
    let name = name.trim();
    let message = Some(format!("Preset \"{name}\" saved"));
    Ok(Answer::new(Listing { presets, message }))
}

/// Deletes a preset.
///
/// One that is not there is no error.
#[utoipa::path(
    delete,
    path = "/api/claude/presets/{name}",
    operation_id = "removeClaudePreset",
    tag = "claude",
    params(PresetPath),
    responses(
        (status = 200, description = "It is not there any more", body = Answer<Listing>),
        (status = 403, description = "These settings are not managed here, or the caller may not do this")
    )
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    name: Result<Path<PresetPath>, PathRejection>,
    request: Request,
) -> Result<Answer<Listing>, ClaudeError> {
    let unreadable = "The preset's name in the path is not valid UTF-8";
    let Ok(Path(PresetPath { name })) = name else {
        return Err(ClaudeError::Failed(ApiError::invalid(unreadable)));
    };
    let (parts, _) = request.into_parts();
    let presets = state.gateway.remove_claude_preset(&site(&state, &parts), &name).await?;
    let message = Some(format!("Preset \"{name}\" deleted"));
    Ok(Answer::new(Listing { presets, message }))
}

/// The variables of a change, for the audit trail: their values may be keys.
fn names(variables: &Map<String, Value>) -> Vec<String> {
    variables.keys().cloned().collect()
}

fn preset(asked: &Map<String, Value>) -> Result<(&str, Map<String, Value>), ClaudeError> {
    let required = |text: &'static str| ClaudeError::Failed(ApiError::invalid(text));
    let name = asked.get("name").and_then(Value::as_str).filter(|name| !name.trim().is_empty());
    let name = name.ok_or_else(|| required("Preset name is required"))?;
    let config = asked.get("config").and_then(Value::as_object);
    Ok((name, config.ok_or_else(|| required("Config object is required"))?.clone()))
}

/// How this gateway is reached by whoever sent the request.
fn site(state: &AppState, parts: &request::Parts) -> ClaudeSite {
    let authority = match parts.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => parts.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    let public = state.public_base_url.as_deref();
    // Whoever makes it up is told so himself.
    let https = parts.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let (base_url, local_url) = addresses(public, authority.as_ref(), https, state.port);
    ClaudeSite { base_url, local_url, asks_for_key: !state.keys.is_open() }
}

/// The address for everybody, and the one for this machine: `public` for both if there is one. Else the address that was
/// asked, over TLS if `https`; a loopback one has the name that programs of this machine know.
fn addresses(public: Option<&str>, asked: Option<&Authority>, https: bool, port: u16) -> (String, String) {
    if let Some(public) = public {
        return (public.to_owned(), public.to_owned());
    }
    let port = asked.and_then(Authority::port_u16).unwrap_or(if asked.is_some() { 80 } else { port });
    let local = if port == 80 { "http://localhost".to_owned() } else { format!("http://localhost:{port}") };
    match asked.filter(|asked| !is_loopback(asked.host())) {
        Some(elsewhere) => {
            let scheme = if https { "https" } else { "http" };
            (format!("{scheme}://{}", without_user(elsewhere)), local)
        }
        None => (local.clone(), local),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_user(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_an_address_that_they_reach() {
        for (public, asked, base, local) in [
            (
                Some("https://gw.example/x"),
                Some("localhost:8080"),
                "https://gw.example/x",
                "https://gw.example/x",
            ),
            (None, Some("localhost:8080"), "http://localhost:8080", "http://localhost:8080"),
            (None, Some("127.0.0.1:9000"), "http://localhost:9000", "http://localhost:9000"),
            (None, Some("[::1]:9000"), "http://localhost:9000", "http://localhost:9000"),
            (None, Some("localhost"), "http://localhost", "http://localhost"),
            (None, Some("gateway.lan:8080"), "http://gateway.lan:8080", "http://localhost:8080"),
            (None, Some("gateway.lan"), "http://gateway.lan", "http://localhost"),
            (None, Some("user:pw@gateway.lan:1"), "http://gateway.lan:1", "http://localhost:1"),
            (None, None, "http://localhost:8081", "http://localhost:8081"),
        ] {
            let asked = asked.map(|asked| asked.parse::<Authority>().unwrap());
            let told = addresses(public, asked.as_ref(), false, 8081);
            assert_eq!(told, (base.to_owned(), local.to_owned()), "{asked:?}");
        }
        let asked = "gateway.lan".parse::<Authority>().unwrap();
        assert_eq!(addresses(None, Some(&asked), true, 8081).0, "https://gateway.lan", "behind a proxy");
    }
}
