//! `/api/session` and `/api/sessions`: logging in and out (spec `http-api.md` §2.2).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{HeaderValue, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::console::{Opened, SESSION_LIFE, Session, Tried};
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::server::{
    COOKIE_NAME, door_refusal, is_json, not_json, read_body, session_token, shown_session, wrong_password,
};
use crate::store::audit::Author;
use crate::webui::password;

/// Most bytes of a body.
const BODY_LIMIT: usize = 16 * 1024;

/// What opens a session.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Login {
    /// The console's password.
    #[schema(example = "open sesame")]
    password: String,
}

/// A session that has just been opened.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionOpened)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoggedIn {
    /// Proves the session: sent as `Authorization: Bearer …`; browsers send the cookie instead. Shown this once only.
    token: String,
    /// When it ends at the latest, Unix epoch in milliseconds.
    expires_at: i64,
    /// When it ends unless it is used.
    idle_expires_at: i64,
    /// The session.
    session: SessionView,
}

/// A session, without what proves it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Session)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    /// By which the audit trail names it.
    id: String,
    /// When it began, Unix epoch in milliseconds.
    created_at: i64,
    /// When it ends at the latest.
    expires_at: i64,
    /// When it ends unless it is used.
    idle_expires_at: i64,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        Self {
            id: session.id,
            created_at: session.begun_ms,
            expires_at: session.ends_ms,
            idle_expires_at: session.idle_ends_ms,
        }
    }
}

/// Who is calling.
#[derive(Serialize, ToSchema)]
#[schema(as = Caller)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WhoAmI {
    /// How the caller got in: `session`, `password`, `local` (this machine, where there is no password) or `control`.
    actor: &'static str,
    /// The session, where it is one.
    session: Option<SessionView>,
    /// Whether a password is set at all.
    password_set: bool,
    /// Whether it comes from the gateways' configuration, so that it cannot be changed here.
    password_pinned: bool,
}

/// What was ended.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionsEnded)]
pub(crate) struct Ended {
    /// Sessions that ended.
    ended: u64,
}

/// Logs in: a token for programs, and a cookie for browsers.
#[utoipa::path(
    post,
    path = "/api/session",
    operation_id = "openSession",
    tag = "console",
    request_body = Login,
    responses(
        (
            status = 200, description = "The session", body = Answer<LoggedIn>,
            headers(("set-cookie" = String, description = "The session's cookie"))
        ),
        (status = 409, description = "No password is set, or it was changed at this moment")
    )
)]
pub(crate) async fn open(State(state): State<Arc<AppState>>, request: Request) -> Result<Response, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let (parts, body) = request.into_parts();
    let client = password::client(&parts);
    let body = read_body(Request::new(body), BODY_LIMIT, &state.limits, &state.clock).await?;
    let Login { password } = serde_json::from_slice(&body)
        .map_err(|_| ApiError::invalid("The body must be a JSON object with the text password"))?;
    let tried = state.console.try_password(password.as_bytes(), &parts, &client, "").await?;
    let generation = match tried {
        Tried::Right(generation) => generation,
        Tried::Open => {
            return Err(ApiError::invalid("No password is set, so there is nothing to log in to")
                .with_status(StatusCode::CONFLICT));
        }
        Tried::Wrong | Tried::Blocked(_) => return Err(wrong_password()),
    };
    let opened = state.console.console().open(generation).await.map_err(|error| door_refusal(&error))?;
    let Some(Opened { token, session }) = opened else {
        return Err(ApiError::invalid("The password was changed at this moment; log in with the new one")
            .with_status(StatusCode::CONFLICT));
    };
    let answer = LoggedIn {
        token: token.expose_secret().to_owned(),
        expires_at: session.ends_ms,
        idle_expires_at: session.idle_ends_ms,
        session: session.into(),
    };
    let mut response = Answer::new(answer).into_response();
    set_cookie(response.headers_mut(), token.expose_secret(), SESSION_LIFE.as_secs(), client.secure);
    Ok(response)
}

/// Who is calling, and until when.
#[utoipa::path(
    get,
    path = "/api/session",
    operation_id = "getSession",
    tag = "console",
    responses((status = 200, description = "The caller", body = Answer<WhoAmI>))
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    Extension(author): Extension<Author>,
    headers: HeaderMap,
) -> Result<Answer<WhoAmI>, ApiError> {
    let console = state.console.console();
    Ok(Answer::new(WhoAmI {
        actor: author.actor.kind(),
        session: shown_session(&state.console, &headers).await?.map(SessionView::from),
        password_set: console.has_password(),
        password_pinned: console.is_pinned(),
    }))
}

/// Logs out.
///
/// The session that the request shows ends, on every replica within 2 s.
#[utoipa::path(
    delete,
    path = "/api/session",
    operation_id = "endSession",
    tag = "console",
    responses(
        (
            status = 200, description = "It is ended", body = Answer<Ended>,
            headers(("set-cookie" = String, description = "Forgets the session's cookie"))
        ),
        (status = 400, description = "The request shows no session")
    )
)]
pub(crate) async fn end(State(state): State<Arc<AppState>>, request: Request) -> Result<Response, ApiError> {
    let token = session_token(request.headers()).ok_or_else(|| {
        ApiError::invalid(
            "There is no session to end: send its token as Authorization: Bearer, or its cookie",
        )
    })?;
    let ended = state.console.console().end(token).await.map_err(|error| door_refusal(&error.into()))?;
    Ok(logged_out(u64::from(ended)))
}

/// Logs everybody out, everywhere.
#[utoipa::path(
    delete,
    path = "/api/sessions",
    operation_id = "endSessions",
    tag = "console",
    responses((
        status = 200, description = "All sessions are ended", body = Answer<Ended>,
        headers(("set-cookie" = String, description = "Forgets the session's cookie"))
    ))
)]
pub(crate) async fn end_all(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let ended = state.console.console().end_all().await.map_err(|error| door_refusal(&error.into()))?;
    Ok(logged_out(ended))
}

fn logged_out(ended: u64) -> Response {
    let mut response = Answer::new(Ended { ended }).into_response();
    forget_cookie(response.headers_mut());
    response
}

/// Takes the cookie from the browser.
pub(super) fn forget_cookie(headers: &mut HeaderMap) {
    set_cookie(headers, "", 0, false);
}

/// No script reads it, and no other site's page makes a browser send it.
fn set_cookie(headers: &mut HeaderMap, token: &str, seconds: u64, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        headers.insert(SET_COOKIE, value);
    }
}
