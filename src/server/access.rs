//! Protection by default: every route needs the console's credentials unless this file says otherwise.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};

use crate::anthropic::error::ErrorKind;
use crate::server::auth::Peer;
use crate::server::body;
use crate::server::error::{ApiError, Family};
use crate::server::gateway::ClientKeyId;
use crate::server::state::AppState;

/// Routes that anybody may call. Static files are public too: they are no routes.
const PUBLIC: &[&str] = &["/", "/api/hello", "/api/event_logging/batch", "/livez", "/readyz", "/startupz"];
/// Routes that answer strangers in a form without addresses when no password is set.
const REDACTABLE: &[&str] = &["/health"];
/// Routes that exist over the control socket only.
const CONTROL_ONLY: &[&str] = &["/api/store/export"];

/// What a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Public,
    ApiKey,
    Console,
    Redactable,
    ControlOnly,
}

impl Access {
    /// By matched route, not by raw path. What matched nothing ends in 404 or a file, but below a
    /// protected prefix only for those who may know.
    fn of(route: Option<&str>, path: &str) -> Self {
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match route {
            Some(route) if PUBLIC.contains(&route) => Self::Public,
            Some(route) if REDACTABLE.contains(&route) => Self::Redactable,
            Some(route) if CONTROL_ONLY.contains(&route) => Self::ControlOnly,
            _ if below("/v1") => Self::ApiKey,
            Some(_) => Self::Console,
            None if below("/api") => Self::Console,
            None => Self::Public,
        }
    }
}

/// Whether the caller may see accounts; set on redactable routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entitled(pub(crate) bool);

/// The error shape that belongs to a path.
pub(crate) fn family(path: &str) -> Family {
    if path.starts_with("/api/") || path == "/health" { Family::Console } else { Family::Model }
}

/// Checks credentials before the body is read, and tells handlers who calls.
pub(crate) async fn check(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let (mut parts, request_body) = request.into_parts();
    match admit(&state, &mut parts) {
        Ok(()) => next.run(Request::from_parts(parts, request_body)).await,
        Err(error) => error.into_response(),
    }
}

fn admit(state: &AppState, parts: &mut http::request::Parts) -> Result<(), ApiError> {
    let route = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let peer = parts.extensions.get::<Peer>().copied();
    match Access::of(route, parts.uri.path()) {
        Access::Public => Ok(()),
        Access::ApiKey if peer == Some(Peer::Control) => {
            parts.extensions.insert(ClientKeyId("control".to_owned()));
            Ok(())
        }
        Access::ApiKey => {
            let key = state.keys.check(&parts.headers)?;
            // Without a key, a page of any site could spend the quota with a request that needs no preflight.
            if state.keys.is_open() && parts.method == Method::POST && !body::is_json(&parts.headers) {
                return Err(body::not_json());
            }
            parts.extensions.insert(key);
            Ok(())
        }
        Access::Console => state.console.check(peer, parts),
        Access::Redactable => {
            let entitled = match state.console.check(peer, parts) {
                Ok(()) => true,
                Err(error) if state.console.has_password() => return Err(error),
                Err(_stranger) => false,
            };
            parts.extensions.insert(Entitled(entitled));
            Ok(())
        }
        Access::ControlOnly if peer == Some(Peer::Control) => Ok(()),
        Access::ControlOnly => {
            let message = "This is available over the control socket in the data directory only";
            Err(ApiError::new(ErrorKind::Permission, message).with_status(StatusCode::FORBIDDEN))
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
            (Some("/v1/messages"), "/v1/messages", Access::ApiKey),
            (Some("/health"), "/health", Access::Redactable),
            (Some("/api/accounts"), "/api/accounts", Access::Console),
            (Some("/api/store/export"), "/api/store/export", Access::ControlOnly),
            (Some("/something/new"), "/something/new", Access::Console),
            (None, "/v1/unknown", Access::ApiKey),
            (None, "/v1", Access::ApiKey),
            (None, "/v1x", Access::Public),
            (None, "/api/unknown", Access::Console),
            (None, "/js/start.js", Access::Public),
        ] {
            assert_eq!(Access::of(route, path), access, "{path}");
        }
    }
}
