//! Protection by default: every route needs the console's credentials unless this file says otherwise.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;

use crate::server::auth::{Caller, Peer};
use crate::server::door::{self, Special};
use crate::server::error::{ApiError, Family};
use crate::server::event_stream::StreamSession;
use crate::server::gateway::RequestId;
use crate::server::state::AppState;
use crate::server::{audit, body};
use crate::store::audit::{Actor, Author};

/// Routes that anybody may call. Static files are public too: they are no routes.
const PUBLIC: &[&str] = &["/", "/api/hello", "/api/event_logging/batch", "/livez", "/readyz", "/startupz"];
/// Where Google sends browsers back to: public, for who comes there proves by the state that a sign-in is his.
pub(crate) const CALLBACKS: [&str; 2] = ["/oauth-callback", "/oauth/callback"];
/// Routes that answer strangers in a form without addresses when no password is set.
const REDACTABLE: &[&str] = &["/health"];
/// Routes for operators and for clients with a key.
const EITHER: &[&str] = &["/refresh-token"];
/// Routes that answer strangers in short when they read, whether there is a password or not.
const BRIEF: &[&str] = &["/api/config"];
/// Routes that exist over the control socket only.
const CONTROL_ONLY: &[&str] = &["/api/store/export", "/api/migrate", "/api/drain"];

/// What a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Public,
    ApiKey,
    Console,
    Redactable,
    /// A client key where there is one, else what the console asks for.
    Either,
    Brief,
    ControlOnly,
}

impl Access {
    /// By matched route, not by raw path. What matched nothing ends in 404 or a file, but below a
    /// protected prefix only for those who may know.
    pub(super) fn of(route: Option<&str>, path: &str) -> Self {
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match route {
            Some(route) if PUBLIC.contains(&route) || CALLBACKS.contains(&route) => Self::Public,
            Some(route) if REDACTABLE.contains(&route) => Self::Redactable,
            Some(route) if EITHER.contains(&route) => Self::Either,
            Some(route) if BRIEF.contains(&route) => Self::Brief,
            Some(route) if CONTROL_ONLY.contains(&route) => Self::ControlOnly,
            _ if below("/v1") => Self::ApiKey,
            Some(_) => Self::Console,
            None if below("/api") => Self::Console,
            None => Self::Public,
        }
    }

    /// As the OpenAPI document names it.
    #[cfg(any(test, feature = "simulator"))]
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::ApiKey => "apiKey",
            Self::Console => "console",
            Self::Redactable => "redactable",
            Self::Either => "consoleOrKey",
            Self::Brief => "brief",
            Self::ControlOnly => "control",
        }
    }
}

/// Whether the caller may see accounts and settings; set on redactable and brief routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entitled(pub(crate) bool);

/// The error shape that belongs to a path.
pub(crate) fn family(path: &str) -> Family {
    let console =
        path.starts_with("/api/") || matches!(path, "/health" | "/account-limits" | "/refresh-token");
    if console { Family::Console } else { Family::Model }
}

/// Checks credentials before the body is read, and tells handlers who calls.
pub(crate) async fn check(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let (mut parts, request_body) = request.into_parts();
    match admit(&state, &mut parts).await {
        // Requests of model clients, and what changes nothing, are no news for the trail.
        Ok(None) => next.run(Request::from_parts(parts, request_body)).await,
        Ok(Some(actor)) => {
            let client = door::client(&parts);
            let author = Author {
                from: client.address.map(|address| address.to_string()),
                request: parts.extensions.get::<RequestId>().map(|id| id.0.as_ref().to_owned()),
                actor,
            };
            parts.extensions.insert(author.clone());
            audit::run(&state, author, Request::from_parts(parts, request_body), next).await
        }
        Err(error) => error.into_response(),
    }
}

/// Lets a request in, as whom where that matters for the audit trail, or says why not.
async fn admit(state: &AppState, parts: &mut http::request::Parts) -> Result<Option<Actor>, ApiError> {
    let route = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let peer = parts.extensions.get::<Peer>().copied();
    let effect = route.is_some_and(|route| audit::action(&parts.method, route).is_some());
    let callback = route.is_some_and(|route| CALLBACKS.contains(&route));
    match Special::of(&parts.method, route) {
        Some(Special::Login) => {
            state.console.check_login(parts)?;
            return Ok(Some(door::control(parts).unwrap_or(Actor::Password)));
        }
        Some(Special::Password) => return state.console.check_password_change(parts).await.map(Some),
        Some(stream @ (Special::Stream | Special::Events)) => {
            let (actor, session) = state.console.check_stream(parts, stream == Special::Stream).await?;
            parts.extensions.insert(StreamSession(session));
            return Ok(Some(actor));
        }
        Some(Special::Export) => return state.console.check_export(parts).await.map(Some),
        None => {}
    }
    match Access::of(route, parts.uri.path()) {
        Access::Public => Ok(callback.then_some(Actor::Browser)),
        Access::ApiKey if peer == Some(Peer::Control) => {
            parts.extensions.insert(Caller::control());
            Ok(None)
        }
        Access::ApiKey => {
            let caller = Caller::of(&parts.headers, &state.keys)?;
            // Without a key, a page of any site could spend the quota with a request that needs no preflight.
            if state.keys.is_open() && parts.method == Method::POST && !body::is_json(&parts.headers) {
                return Err(body::not_json());
            }
            parts.extensions.insert(caller);
            Ok(None)
        }
        Access::Brief if matches!(parts.method, Method::GET | Method::HEAD) => {
            let entitled = state.console.is_entitled(parts).await;
            parts.extensions.insert(Entitled(entitled));
            Ok(None)
        }
        // A key that is not asked for proves nothing.
        Access::Either if !state.keys.is_open() && Caller::of(&parts.headers, &state.keys).is_ok() => {
            Ok(Caller::of(&parts.headers, &state.keys)
                .ok()
                .map(|caller| Actor::Key(caller.key.0.to_string())))
        }
        Access::Console | Access::Brief | Access::Either => {
            state.console.check(parts, effect).await.map(Some)
        }
        Access::Redactable => {
            let entitled = match state.console.check(parts, effect).await {
                Ok(_) => true,
                Err(error) if state.console.has_password() => return Err(error),
                Err(_stranger) => false,
            };
            parts.extensions.insert(Entitled(entitled));
            Ok(None)
        }
        Access::ControlOnly => {
            let message = "This is available over the control socket in the data directory only";
            door::control(parts).map(Some).ok_or_else(|| door::forbidden(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Access;

    #[test]
    fn everything_is_protected_unless_listed() {
        for (route, path, access) in [
            (Some("/"), "/", Access::Public),
            (Some("/livez"), "/livez", Access::Public),
            (Some("/oauth-callback"), "/oauth-callback", Access::Public),
            (Some("/oauth/callback"), "/oauth/callback", Access::Public),
            (Some("/api/auth/url"), "/api/auth/url", Access::Console),
            (Some("/api/auth/complete"), "/api/auth/complete", Access::Console),
            (Some("/api/auth/status"), "/api/auth/status", Access::Console),
            (Some("/v1/messages"), "/v1/messages", Access::ApiKey),
            (Some("/health"), "/health", Access::Redactable),
            (Some("/api/accounts"), "/api/accounts", Access::Console),
            (Some("/account-limits"), "/account-limits", Access::Console),
            (Some("/test/clear-signature-cache"), "/test/clear-signature-cache", Access::Console),
            (Some("/refresh-token"), "/refresh-token", Access::Either),
            (Some("/api/config"), "/api/config", Access::Brief),
            (Some("/api/models/config"), "/api/models/config", Access::Console),
            (Some("/api/store/export"), "/api/store/export", Access::ControlOnly),
            (Some("/api/drain"), "/api/drain", Access::ControlOnly),
            (Some("/something/new"), "/something/new", Access::Console),
            (None, "/v1/unknown", Access::ApiKey),
            (None, "/v1", Access::ApiKey),
            (None, "/v1x", Access::Public),
            (None, "/api/unknown", Access::Console),
            (None, "/js/app.js", Access::Public),
        ] {
            assert_eq!(Access::of(route, path), access, "{path}");
        }
    }
}
