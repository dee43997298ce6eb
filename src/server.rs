//! HTTP: the model API, probes, the console's API and files.
//!
//! A request passes [`exchange`](self) (id, log, error bodies), the panic net, [`access`](self)
//! (credentials, before the body is read) and its handler. Everything the application does is behind
//! [`gateway::Gateway`].

mod access;
mod assets;
pub mod auth;
mod body;
mod cors;
pub mod drain;
pub mod error;
mod exchange;
pub mod gateway;
mod health;
pub(crate) mod json;
pub mod listen;
mod messages;
mod models;
pub mod pipe;
mod silent;
pub mod state;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use http::Uri;
use http::uri::PathAndQuery;
use tower::util::MapRequest;
use tower_http::catch_panic::CatchPanicLayer;

use crate::webui;
pub(crate) use body::{is_json, not_json, read as read_body};
use error::ApiError;
use state::AppState;

/// A complete HTTP application, ready for a listener or a test.
pub type App = MapRequest<Router, fn(Request) -> Request>;

/// Everything on the main port and on the control socket. Who may call what is in `access`.
pub fn app(state: &Arc<AppState>) -> App {
    let routes = Router::new()
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::get))
        .route("/health", get(health::health))
        .route("/", get(assets::index).post(silent::swallow))
        .route("/api/hello", get(silent::hello))
        .route("/api/event_logging/batch", post(silent::swallow))
        .route("/api/status", get(webui::status::get))
        .route("/api/replicas", get(webui::replicas::list))
        .route("/api/accounts", get(webui::accounts::list))
        .route("/api/accounts/import", post(webui::accounts::import))
        .route("/api/accounts/export", get(webui::accounts::export))
        .route("/api/accounts/{email}", delete(webui::accounts::remove))
        .route("/api/settings", get(webui::settings::list).patch(webui::settings::change))
        .route("/api/store/export", get(webui::store::export))
        .merge(probes())
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(assets::file_or_404)
        .layer(from_fn_with_state(Arc::clone(state), access::check));
    finish(routes, state)
}

/// The metrics listener: probes and `/metrics`, without credentials; it belongs on a private address.
pub fn metrics_app(state: &Arc<AppState>) -> App {
    let routes = probes()
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_endpoint);
    finish(routes, state)
}

fn probes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/startupz", get(health::startupz))
}

/// What every application has around its routes.
fn finish(routes: Router<Arc<AppState>>, state: &Arc<AppState>) -> App {
    let layered = routes
        .layer(CatchPanicLayer::custom(exchange::panicked))
        .layer(from_fn_with_state(Arc::clone(state), exchange::exchange))
        .with_state(Arc::clone(state));
    MapRequest::new(layered, without_trailing_slash)
}

/// `/health/` is `/health`; decided before routing, so that credentials are checked for the same route.
fn without_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let Some(shorter) = path.strip_suffix('/').filter(|rest| !rest.is_empty() && !rest.ends_with('/')) else {
        return request;
    };
    let path_and_query = match request.uri().query() {
        Some(query) => format!("{shorter}?{query}"),
        None => shorter.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path_and_query).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::method_not_allowed(request.method(), request.uri().path())
}

async fn no_endpoint(request: Request) -> ApiError {
    ApiError::no_endpoint(request.method(), request.uri().path())
}

#[cfg(test)]
pub(crate) mod tests;
