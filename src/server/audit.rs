//! The audit trail of the console's API: which route does what, and that it is recorded.
//!
//! A route that changes something has its action in [`action`]; a test walks all routes. One that is forgotten there is
//! recorded all the same, under its method and route.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::server::access::CALLBACKS;
use crate::server::door;
use crate::server::state::AppState;
use crate::store::audit::{Action, Actor, Author, Entry, FieldChange, Outcome, tell};

/// Of routes that have no action of their own.
const OTHER: Action = Action::after("other");
const LOGIN: Action = Action::scripted("session.open");

/// What a request to this route does, by method and route; `None` where it changes nothing. `HEAD` is `GET`.
pub(crate) fn action(method: &Method, route: &str) -> Option<Action> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let action = match (method, route) {
        ("POST", "/api/accounts/import") => Action::ahead("accounts.import"),
        ("GET", "/api/accounts/export") => Action::ahead("accounts.export"),
        ("POST", "/api/accounts/rotate-keys") => Action::ahead("secrets.rotate"),
        ("POST", "/api/accounts/{email}/toggle") | ("PATCH", "/api/accounts/{email}") => {
            Action::scripted("account.change")
        }
        ("DELETE", "/api/accounts/{email}") => Action::scripted("account.remove"),
        ("POST", "/api/accounts/{email}/verify") => Action::after("account.verify"),
        ("POST", "/api/accounts/{email}/refresh") => Action::after("account.refresh"),
        ("POST", "/api/accounts/{email}/fix") => Action::after("account.fix"),
        ("POST", "/api/accounts/reload") => Action::after("accounts.reload"),
        ("POST", "/refresh-token") => Action::after("tokens.refresh"),
        ("GET" | "POST", "/api/auth/url") => Action::after("signin.begin"),
        ("POST", "/api/auth/complete") => Action::scripted("signin.complete"),
        ("GET", route) if CALLBACKS.contains(&route) => Action::scripted("signin.complete"),
        ("POST", "/api/keys") => Action::scripted("key.create"),
        ("PATCH", "/api/keys/{id}") => Action::scripted("key.change"),
        ("DELETE", "/api/keys/{id}") | ("POST", "/api/keys/{id}/revoke") => Action::scripted("key.revoke"),
        ("POST", "/api/keys/{id}/rotate") => Action::scripted("key.rotate"),
        ("PATCH", "/api/settings") | ("POST", "/api/config") => Action::scripted("settings.change"),
        ("POST", "/api/models/config") => Action::scripted("settings.models"),
        ("POST", "/api/config/password") => Action::scripted("password.change"),
        ("POST", "/api/session") => LOGIN,
        ("DELETE", "/api/session") => Action::scripted("session.end"),
        ("DELETE", "/api/sessions") => Action::scripted("sessions.end"),
        ("POST", "/api/logs/ticket") => Action::after("logs.ticket"),
        ("POST", "/api/requests/{id}/cancel") => Action::after("request.cancel"),
        ("POST", "/api/migrate") => Action::ahead("migrate"),
        ("GET", "/api/store/export") => Action::ahead("store.export"),
        ("POST", "/api/drain") => Action::after("drain"),
        ("GET" | "OPTIONS", _) => return None,
        ("POST", "/api/server/presets") => Action::scripted("preset.save"),
        ("PATCH", "/api/server/presets/{name}") => Action::scripted("preset.change"),
        ("DELETE", "/api/server/presets/{name}") => Action::scripted("preset.remove"),
        ("POST", "/api/claude/presets") => Action::scripted("claude.preset.save"),
        ("DELETE", "/api/claude/presets/{name}") => Action::scripted("claude.preset.remove"),
        (_, route) if route.starts_with("/api/claude/") => Action::scripted("claude.change"),
        (_, route) if route.starts_with("/test/") => Action::after("test"),
        _ => OTHER,
    };
    Some(action)
}

/// Runs the handler of a route that changes something as an entry of the trail.
pub(crate) async fn run(state: &Arc<AppState>, author: Author, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let Some((route, action)) =
        route.and_then(|route| Some((route.clone(), action(request.method(), &route)?)))
    else {
        return next.run(request).await;
    };
    let named = target(&route, request.uri().path());
    let method = request.method().clone();
    let work = async move {
        if action == OTHER {
            tell(FieldChange::to("route", format!("{method} {route}")));
        }
        next.run(request).await
    };
    // What strangers are refused is not the operators' history, and must not push that out.
    let stranger = matches!(author.actor, Actor::Browser | Actor::Setup) || action == LOGIN;
    let outcome =
        |response: &Response| outcome(response).filter(|(one, _)| !stranger || *one == Outcome::Done);
    let store = state.console.console().store();
    match store.recorded(Entry::new(author, action, named), work, outcome).await {
        Ok(response) => response,
        Err(error) => door::unavailable(&error).into_response(),
    }
}

/// What an answer says of how far its action came; the method that a route does not have did nothing.
fn outcome(response: &Response) -> Option<(Outcome, Option<u16>)> {
    let status = response.status();
    let outcome = match status {
        StatusCode::METHOD_NOT_ALLOWED => return None,
        status if status.is_server_error() => Outcome::Failed,
        status if status.is_client_error() => Outcome::Refused,
        _ => Outcome::Done,
    };
    Some((outcome, Some(status.as_u16())))
}

/// What stands in the path where the route has parameters.
fn target(route: &str, path: &str) -> Option<String> {
    let parts = route.split('/').zip(path.split('/')).filter(|(part, _)| part.starts_with('{'));
    let parts: Vec<_> =
        parts.map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned()).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_what_the_path_names() {
        assert_eq!(
            target("/api/accounts/{email}/toggle", "/api/accounts/a%40b/toggle").as_deref(),
            Some("a@b")
        );
        assert_eq!(target("/api/accounts/import", "/api/accounts/import"), None);
        assert_eq!(target("/x/{a}/{b}", "/x/1/%ff").as_deref(), Some("1/\u{fffd}"));
    }

    #[test]
    fn what_reads_is_no_action_and_what_nobody_named_is_one() {
        let of = |method: &str, route: &str| action(&method.parse().unwrap(), route).map(|one| one.name);
        assert_eq!(of("GET", "/api/accounts"), None);
        assert_eq!(of("HEAD", "/api/accounts/export"), Some("accounts.export"));
        assert_eq!(of("HEAD", "/oauth-callback"), Some("signin.complete"));
        assert_eq!(of("POST", "/api/new/thing"), Some("other"));
        assert_eq!(of("OPTIONS", "/api/keys"), None);
    }
}
