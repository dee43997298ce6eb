//! HTTP: the model API, probes, the console's API and files.
//!
//! A request passes [`exchange`](self) (id, log, error bodies, the net for panics), [`access`](self) (credentials, before
//! the body is read) and its handler. Everything the application does is behind
//! [`gateway::Gateway`].

mod access;
pub(crate) mod answer;
mod assets;
mod audit;
pub mod auth;
mod body;
mod caches;
mod cors;
mod delivered;
mod door;
pub mod drain;
pub mod error;
pub(crate) mod event_stream;
mod exchange;
pub mod gateway;
mod headers;
mod health;
pub(crate) mod json;
mod limits;
pub mod listen;
mod messages;
pub mod migration;
mod models;
pub mod openapi;
pub mod pipe;
mod proxies;
pub(crate) mod query;
mod silent;
pub mod state;
pub(crate) mod whole;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get};
use http::Uri;
use http::uri::PathAndQuery;
use tower::util::MapRequest;
use utoipa::openapi::HttpMethod;
use utoipa_axum::PathItemExt as _;
#[cfg(any(test, feature = "simulator"))]
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::webui;
pub(crate) use access::Entitled;
pub(crate) use body::{is_json, must_be_object, not_json, object, object_or_default, read as read_body};
pub(crate) use door::{
    COOKIE_NAME, SETUP as SETUP_HEADER, client as request_client, digest_of as session_digest, forbidden,
    refusal as door_refusal, required as wrong_password, session_token, shown_session,
};
use error::ApiError;
pub(crate) use proxies::Client;
use state::AppState;

/// A complete HTTP application, ready for a listener or a test.
pub type App = MapRequest<Router, fn(Request) -> Request>;

/// Each route once, handlers of one path together: their descriptions say path and method. `$made` makes of them what is
/// served, or the document.
macro_rules! routes_of_main {
    ($made:ident) => {{
        use webui::{
            accounts, audit, capacity, claude, config, drain, events, keys, logs, models as model_config,
            password, presets, replicas, requests, rotation, session, settings, signin, status, store,
            strategy, tickets, usage,
        };
        $made! {
            accounts::list;
            accounts::import;
            accounts::export;
            rotation::rotate;
            accounts::manage::change, accounts::remove;
            accounts::manage::toggle;
            accounts::manage::verify;
            accounts::upkeep::refresh;
            accounts::upkeep::fix;
            accounts::upkeep::reload;
            limits::limits;
            caches::refresh_tokens;
            signin::begin, signin::begin_by_post;
            signin::complete;
            signin::status;
            keys::list, keys::create;
            keys::change, keys::revoke;
            keys::revoke_by_post;
            keys::rotate;
            settings::list, settings::change;
            config::get, config::change;
            model_config::configure;
            presets::list, presets::save;
            presets::change, presets::remove;
            claude::get, claude::change;
            claude::restore;
            claude::mode, claude::point;
            claude::presets, claude::save;
            claude::remove;
            session::get, session::open, session::end;
            session::end_all;
            password::change;
            audit::list;
            tickets::create;
            strategy::explain;
            strategy::health;
            status::get;
            logs::list;
            logs::stream;
            events::stream;
            usage::get;
            usage::history;
            capacity::history;
            replicas::list;
            requests::live;
            requests::cancel;
            health::health;
            health::livez;
            health::readyz;
            health::startupz;
            openapi::get;
            store::export;
            accounts::manage::migrate;
            drain::begin;
            caches::clear_signatures;
            messages::create;
            messages::count_tokens;
            models::list;
            models::get;
            assets::index, silent::root;
            silent::hello;
            silent::events;
            signin::returned;
            signin::returned_there;
        }
    }};
}

/// What is served. Of the descriptions only path and methods are made: all of them together take megabytes, which an idle
/// gateway should not have touched.
macro_rules! served {
    ($($($handler:path),+;)+) => {{
        let mut router = Router::new();
        $($(
            utoipa_axum::paste! {
                let path = routes!(@path [path()] of $handler);
                let methods = routes!(@path [methods()] of $handler);
            }
            router = serve(router, &path, &methods, &$handler);
        )+)+
        router
    }};
}

/// What the document tells.
#[cfg(any(test, feature = "simulator"))]
macro_rules! described {
    ($($($handler:path),+;)+) => {
        OpenApiRouter::with_openapi(openapi::head())$(.routes(routes!($($handler),+)))+
    };
}

/// Everything on the main port and on the control socket. Who may call what is in `access`.
pub fn app(state: &Arc<AppState>) -> App {
    let routes = routes_of_main!(served)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(assets::file_or_404)
        .layer(from_fn_with_state(Arc::clone(state), access::check));
    finish(routes, state)
}

fn serve<H, T>(
    router: Router<Arc<AppState>>,
    path: &str,
    methods: &[HttpMethod],
    handler: &H,
) -> Router<Arc<AppState>>
where
    H: Handler<T, Arc<AppState>>,
    T: 'static,
{
    let on = |all: MethodRouter<_>, method: &HttpMethod| all.on(method.to_method_filter(), handler.clone());
    router.route(path, methods.iter().fold(MethodRouter::new(), on))
}

/// All routes with their descriptions.
#[cfg(any(test, feature = "simulator"))]
fn routes() -> OpenApiRouter<Arc<AppState>> {
    routes_of_main!(described)
}

/// The metrics listener: probes and `/metrics`, without credentials; it belongs on a private address.
pub fn metrics_app(state: &Arc<AppState>) -> App {
    let routes = served! { health::livez; health::readyz; health::startupz; }
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_endpoint);
    finish(routes, state)
}

/// Nothing but the addresses that Google sends browsers back to, for a listener of their own.
pub(crate) fn callback_app<T: 'static>(handler: impl Handler<T, ()>) -> App {
    let [one, other] = access::CALLBACKS;
    let routes = Router::new().route(one, get(handler.clone())).route(other, get(handler));
    MapRequest::new(routes, without_trailing_slash)
}

/// What every application has around its routes.
fn finish(routes: Router<Arc<AppState>>, state: &Arc<AppState>) -> App {
    let layered =
        routes.layer(from_fn_with_state(Arc::clone(state), exchange::exchange)).with_state(Arc::clone(state));
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
