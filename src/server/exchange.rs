//! The outermost layer: what every exchange has, whatever its route.
//!
//! Request id, request log, error bodies, preflights, and the headers that depend on the route's family.

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use tokio::time::Instant;
use tracing::Level;
use uuid::{NoContext, Timestamp, Uuid};

use crate::clock::Clock;
use crate::server::access;
use crate::server::auth::Peer;
use crate::server::cors;
use crate::server::error::{self, ApiError};
use crate::server::gateway::RequestId;
use crate::server::state::AppState;

static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Wraps the router; see the module.
pub(crate) async fn exchange(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = request_id(&state.clock);
    let path = request.uri().path().to_owned();
    let mut line = Line::new(&state, &request, &path, &request_id);
    let cross_origin = cors::Request::of(&request, &path, state.keys.is_open());

    let response = if cross_origin.is_preflight() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        request.extensions_mut().insert(request_id.clone());
        next.run(request).await
    };
    let mut response = error::render(response, access::family(&path), &request_id);

    cross_origin.allow(response.headers_mut());
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id.0) {
        headers.insert(&REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if path.starts_with("/api/") || path == "/health" {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    line.finish(response.status());
    response
}

/// Turns a panic into a plain 500; the payload goes to the log only through the panic hook.
pub(crate) fn panicked(_payload: Box<dyn Any + Send + 'static>) -> http::Response<Body> {
    ApiError::internal().into_response()
}

fn request_id(clock: &Clock) -> RequestId {
    let ms = u64::try_from(clock.epoch_ms()).unwrap_or_default();
    let nanos = u32::try_from(ms % 1000).unwrap_or_default() * 1_000_000;
    let uuid = Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, nanos));
    RequestId(format!("req_{}", uuid.simple()).into())
}

/// One line of the request log. Written when the response head is ready; a request that its client gave
/// up before that is written as 499.
struct Line {
    state: Arc<AppState>,
    began: Instant,
    method: Method,
    route: String,
    quiet: bool,
    peer: Option<Peer>,
    request_id: RequestId,
    written: bool,
}

impl Line {
    fn new(state: &Arc<AppState>, request: &Request, path: &str, request_id: &RequestId) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
        Self {
            state: Arc::clone(state),
            began: state.clock.instant(),
            method: request.method().clone(),
            route: route.to_owned(),
            quiet: is_quiet(route, path, request.method()),
            peer: request.extensions().get::<Peer>().copied(),
            request_id: request_id.clone(),
            written: false,
        }
    }

    fn finish(&mut self, status: StatusCode) {
        self.written = true;
        self.write(status.as_u16());
    }

    fn write(&self, status: u16) {
        let level = match status {
            _ if self.quiet => Level::DEBUG,
            500.. => Level::ERROR,
            400.. => Level::WARN,
            _ => Level::INFO,
        };
        let took = self.state.clock.instant().duration_since(self.began);
        self.state.gateway.observed(&self.route, status, took);
        let ms = took.as_millis();
        macro_rules! write_at {
            ($level:expr) => {
                tracing::event!(
                    target: "antigravity_proxy::request", $level,
                    method = %self.method, route = self.route, status, ms = %ms,
                    peer = self.peer.map(tracing::field::debug), request_id = &*self.request_id.0,
                    "request"
                )
            };
        }
        match level {
            Level::ERROR => write_at!(Level::ERROR),
            Level::WARN => write_at!(Level::WARN),
            Level::INFO => write_at!(Level::INFO),
            _ => write_at!(Level::DEBUG),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.written {
            self.write(499);
        }
    }
}

/// Probes, polls, files and what clients send on their own are no news.
fn is_quiet(route: &str, path: &str, method: &Method) -> bool {
    match route {
        "unmatched" => path.starts_with("/.well-known/") || matches!(*method, Method::GET | Method::HEAD),
        "/"
        | "/livez"
        | "/readyz"
        | "/startupz"
        | "/metrics"
        | "/health"
        | "/api/status"
        | "/api/hello"
        | "/api/event_logging/batch"
        | "/v1/messages/count_tokens" => true,
        _ => false,
    }
}
