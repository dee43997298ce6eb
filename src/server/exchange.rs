//! The outermost layer: what every exchange has, whatever its route.
//!
//! Request id, request log, error bodies, the net for panics, preflights, and the headers that depend on the route's family.

use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, StatusCode};
use tokio::time::Instant;
use tracing::{Instrument as _, Level, Span};
use uuid::{NoContext, Timestamp, Uuid};

use crate::clock::Clock;
use crate::server::access;
use crate::server::auth::{Caller, Peer};
use crate::server::cors;
use crate::server::delivered::Delivered;
use crate::server::error::{self, ApiError};
use crate::server::gateway::RequestId;
use crate::server::headers;
use crate::server::proxies::Client;
use crate::server::state::AppState;
use crate::telemetry::requests::{self, Arrival, Ending, Observation};

/// The route whose requests are observed.
const MESSAGES: &str = "/v1/messages";

static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
static TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
/// Only where a trace of the request may be found.
static TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Wraps the router; see the module.
pub(crate) async fn exchange(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = request_id(&state.clock);
    // Shares the bytes of the request's.
    let uri = request.uri().clone();
    let path = uri.path();
    let client = state.proxies.client(request.extensions().get().copied(), request.headers());
    let mut line = Line::new(&state, &request, &request_id, &client);
    // Declared before what works for the request, so that it ends after all of that.
    let mut watched = Watched::begin(&state, &request, &client, &mut line);
    let cross_origin =
        cors::Request::of(&request, path, state.keys.is_open(), |origin| state.console.allows_origin(origin));

    let response = if cross_origin.is_preflight() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        request.extensions_mut().insert(request_id.clone());
        request.extensions_mut().insert(client);
        if let Some(watched) = &watched {
            request.extensions_mut().insert(watched.observation.clone());
        }
        let handled = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(line.scope.clone());
        // What the panic said goes to the log only, through the panic hook. Nothing is shared with the future that is lost.
        handled.await.unwrap_or_else(|_payload| ApiError::internal().into_response())
    };
    if let Some(watched) = &mut watched {
        let error = response.extensions().get::<ApiError>();
        watched.ending.answered(response.status().as_u16(), error.map(|error| error.kind().as_str()));
    }
    let mut response = error::render(response, access::family(path), &request_id);

    cross_origin.allow(response.headers_mut());
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id.0) {
        headers.insert(&REQUEST_ID, value);
    }
    headers::complete(path, headers);
    if let Some(id) = watched.as_ref().and_then(|watched| watched.observation.trace_id())
        && let Ok(value) = HeaderValue::from_str(&id)
    {
        headers.insert(&TRACE_ID, value);
    }
    line.finish(response.status());
    match watched {
        Some(Watched { ending, .. }) => response.map(|body| Body::new(Delivered::new(body, ending))),
        None => response,
    }
}

fn request_id(clock: &Clock) -> RequestId {
    let ms = u64::try_from(clock.epoch_ms()).unwrap_or_default();
    let nanos = u32::try_from(ms % 1000).unwrap_or_default() * 1_000_000;
    let uuid = Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, nanos));
    let mut id = *b"req_00000000000000000000000000000000";
    uuid.simple().encode_lower(&mut id[4..]);
    RequestId(String::from_utf8_lossy(&id).into())
}

/// A request for messages, whose line is written when its whole answer is over.
struct Watched {
    observation: Observation,
    ending: Ending,
}

impl Watched {
    /// Begins to observe `request` if it is one, and makes its scope the one of `line`.
    fn begin(state: &AppState, request: &Request, client: &Client, line: &mut Line) -> Option<Self> {
        if line.route() != MESSAGES || line.method != Method::POST {
            line.scope = tracing::error_span!(
                target: requests::TARGET, parent: None, "request", request_id = &*line.request_id.0
            );
            return None;
        }
        let arrival = Arrival {
            id: &line.request_id.0,
            method: known(&line.method),
            route: MESSAGES,
            headers: request.headers(),
            authority: request.uri().authority().map(Authority::as_str),
            welcome: is_welcome(state, request),
            peer: client.address,
        };
        let (observation, ending) = Observation::begin(&state.gateway.traces(), &state.clock, &arrival);
        line.scope = observation.scope();
        line.elsewhere = true;
        Some(Self { observation, ending })
    }
}

/// Whether the access check will let `request` in; asked only where it matters, for it costs a hash.
fn is_welcome(state: &AppState, request: &Request) -> bool {
    let headers = request.headers();
    !headers.contains_key(&TRACE_PARENT)
        || matches!(request.extensions().get(), Some(Peer::Control))
        || Caller::of(headers, &state.keys).is_ok()
}

/// One line of the log for a request that is not for messages. Written when the response head is ready; a request that
/// its client gave up before that is written as 499.
struct Line {
    state: Arc<AppState>,
    began: Instant,
    method: Method,
    /// `None` where none matched.
    route: Option<MatchedPath>,
    quiet: bool,
    peer: Option<Sender>,
    request_id: RequestId,
    /// The scope of the request's log lines.
    scope: Span,
    /// Whether a line of its own tells of the request.
    elsewhere: bool,
    written: bool,
}

impl Line {
    fn new(state: &Arc<AppState>, request: &Request, request_id: &RequestId, client: &Client) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        Self {
            state: Arc::clone(state),
            began: state.clock.instant(),
            method: request.method().clone(),
            quiet: is_quiet(name_of(route.as_ref()), request.uri().path(), request.method()),
            route,
            peer: match request.extensions().get::<Peer>() {
                Some(Peer::Control) => Some(Sender::Control),
                _ => client.address.map(Sender::Address),
            },
            request_id: request_id.clone(),
            scope: Span::none(),
            elsewhere: false,
            written: false,
        }
    }

    fn route(&self) -> &str {
        name_of(self.route.as_ref())
    }

    fn finish(&mut self, status: StatusCode) {
        self.written = true;
        self.write(status.as_u16());
    }

    fn write(&self, status: u16) {
        let took = self.state.clock.instant().duration_since(self.began);
        let route = self.route();
        self.state.gateway.observed(route, status, took);
        if self.elsewhere {
            return;
        }
        let reads = matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let level = match status {
            _ if self.quiet => Level::DEBUG,
            500.. => Level::ERROR,
            400.. => Level::WARN,
            _ if reads => Level::DEBUG,
            // What changes something.
            _ => Level::INFO,
        };
        let total_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let _scope = self.scope.enter();
        macro_rules! write_at {
            ($level:expr) => {
                tracing::event!(
                    target: requests::TARGET, $level,
                    status, method = known(&self.method), route,
                    peer = self.peer.as_ref().map(tracing::field::display), total_ms,
                    "{} {route} {status}", known(&self.method)
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

/// Who sent a request.
enum Sender {
    Control,
    Address(IpAddr),
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("control socket"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The route's pattern for logs and metrics.
fn name_of(route: Option<&MatchedPath>) -> &str {
    route.map_or("unmatched", MatchedPath::as_str)
}

/// The method, or `_OTHER` for one that HTTP does not define (OpenTelemetry, "HTTP spans"): a client can make one up of
/// any length.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS
        | Method::CONNECT
        | Method::TRACE => method.as_str(),
        _ => "_OTHER",
    }
}

/// Probes, polls, files and what clients send on their own are no news.
fn is_quiet(route: &str, path: &str, method: &Method) -> bool {
    match route {
        "unmatched" => path.starts_with("/.well-known/") || matches!(*method, Method::GET | Method::HEAD),
        // Polled by every console that is open.
        "/api/config" => matches!(*method, Method::GET | Method::HEAD),
        "/"
        | "/livez"
        | "/readyz"
        | "/startupz"
        | "/metrics"
        | "/health"
        | "/account-limits"
        | "/api/requests/live"
        | "/api/status"
        | "/api/auth/status"
        | "/api/hello"
        | "/api/event_logging/batch"
        | "/v1/messages/count_tokens" => true,
        _ => false,
    }
}
