//! `POST /api/config/password` (spec `http-api.md` §1.5.3).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::console::{Right, Tried};
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::server::{
    Client, SETUP_HEADER, door_refusal, forbidden, is_json, not_json, read_body, request_client,
};
use crate::store::audit::{Actor, Author};
use crate::webui::session;

/// Most bytes of a body.
const BODY_LIMIT: usize = 16 * 1024;
/// Passwords of fewer characters are weak.
const WEAK: usize = 12;

// The members are read one by one, so that the answer names what is missing.
/// A change of the console's password.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = PasswordChange)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    /// The present one; not needed for the first one, nor over the control socket.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    old_password: Value,
    /// The new one, of at least 6 characters and at most 1,024 bytes; empty to remove it.
    #[serde(default)]
    #[schema(required = true, value_type = String)]
    new_password: Value,
    /// Whether an empty new password removes the present one.
    #[serde(default)]
    clear: bool,
}

/// What was done.
#[derive(Serialize, ToSchema)]
#[schema(as = PasswordChanged)]
pub(crate) struct Changed {
    /// In one sentence.
    message: &'static str,
    /// What should be better.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

/// Changes the console's password.
///
/// All sessions end. An empty `newPassword` with `"clear": true` removes it. The first password is set from the gateway's
/// own machine, or with the setup token that the gateway printed when it started in `x-setup-token`.
#[utoipa::path(
    post,
    path = "/api/config/password",
    operation_id = "changePassword",
    tag = "console",
    request_body(
        content = Asked,
        example = json!({ "oldPassword": "open sesame", "newPassword": "correct horse battery" })
    ),
    responses(
        (
            status = 200, description = "It is changed, and the cookie is taken back", body = Answer<Changed>,
            headers(("set-cookie" = String, description = "Forgets the session's cookie"))
        ),
        (
            status = 403,
            description = "The present password or the setup token is wrong, or the caller may not do this"
        ),
        (status = 409, description = "The configuration has a password, or others change it at the same moment")
    )
)]
pub(crate) async fn change(
    State(state): State<Arc<AppState>>,
    Extension(author): Extension<Author>,
    request: Request,
) -> Result<Response, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let (parts, body) = request.into_parts();
    let body = read_body(Request::new(body), BODY_LIMIT, &state.limits, &state.clock).await?;
    // The parser's own text may quote a password.
    let asked: Asked = serde_json::from_slice(&body).map_err(|_| {
        ApiError::invalid("The body must be a JSON object with the texts oldPassword and newPassword")
    })?;
    let new = match asked.new_password {
        Value::String(text) if !text.is_empty() => Some(SecretString::from(text)),
        Value::String(_) | Value::Null if asked.clear => None,
        _ => return Err(ApiError::invalid("New password is required")),
    };
    let setup = parts.headers.get(SETUP_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let console = state.console.console();
    let right = if matches!(author.actor, Actor::Control(_)) {
        Right::Owner
    } else if console.is_closed().await {
        match asked.old_password.as_str().filter(|old| !old.is_empty()) {
            Some(old) => {
                let client = client(&parts);
                match state.console.try_password(old.as_bytes(), &parts, &client, "").await? {
                    Tried::Right(generation) => Right::Known(generation),
                    Tried::Open => Right::First,
                    Tried::Wrong | Tried::Blocked(_) => return Err(forbidden("Invalid current password")),
                }
            }
            None => return Err(forbidden("Invalid current password")),
        }
    } else if author.actor == Actor::Setup {
        Right::Setup(setup)
    } else {
        Right::First
    };
    console.set_password(new.as_ref(), right).await.map_err(|error| door_refusal(&error))?;
    let weak = new.as_ref().is_some_and(|new| new.expose_secret().chars().count() < WEAK);
    let message = if new.is_some() { "Password changed successfully" } else { "Password removed" };
    let warning = weak.then_some("Passwords of fewer than 12 characters are easily guessed");
    let mut response = Answer::new(Changed { message, warning }).into_response();
    session::forget_cookie(response.headers_mut());
    Ok(response)
}

/// Who sent the request.
pub(super) fn client(parts: &Parts) -> Client {
    request_client(parts)
}
