//! Sends one call to one endpoint and hands its answer on chunk by chunk.
//!
//! Nothing here retries; what follows a [`Failure`] is decided by the dispatcher. Dropping a pending
//! [`Client::send`] or an [`UpstreamResponse`] cancels the call at the upstream.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, StatusCode, Uri};
use reqwest::Url;
use secrecy::SecretString;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::classify::{classify, classify_stream_error};
use super::failure::{Failure, FailureClass, TransportKind};
use super::headers::{Headers, Unsendable};
use super::http::{HttpError, Trust, trusting};
use super::latency::Latency;
use super::reset;
use super::split_body::SplitBody;
use super::wire::{self, Answer, Wire};
use crate::clock::{Alarm, Clock};
use crate::config::UpstreamConfig;
use crate::google::model::ModelId;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::label::UpstreamMethod;

/// Most that is read of an error answer.
const ERROR_BODY_LIMIT: usize = 64 * 1024;
/// Time allowed for a whole call about an account (spec `http-api.md` §9.1).
const ACCOUNT_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Most that is read of the answer to one.
const ACCOUNT_ANSWER_LIMIT: usize = 4 * 1024 * 1024;
/// Settings from which no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `upstream.endpoints` is empty.
    #[error("upstream.endpoints: at least one base URL is needed")]
    NoEndpoints,
    /// An endpoint is not an http or https URL.
    #[error("upstream.endpoints: {endpoint:?} is not an http or https base URL")]
    BadEndpoint {
        /// The value.
        endpoint: String,
    },
    /// A value that is sent as a header holds characters that cannot be.
    #[error("{setting}: holds characters that cannot be sent in a header")]
    BadHeader {
        /// The setting's name.
        setting: &'static str,
    },
    /// The HTTP client itself.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// What is asked of the model (spec `conversion.md` §7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One JSON answer.
    Generate,
    /// A stream of server-sent events.
    StreamGenerate,
    /// The size of a prompt.
    CountTokens,
}

impl Method {
    fn path(self) -> &'static str {
        match self {
            Self::Generate => "/v1internal:generateContent",
            Self::StreamGenerate => "/v1internal:streamGenerateContent?alt=sse",
            Self::CountTokens => "/v1internal:countTokens",
        }
    }

    fn label(self) -> UpstreamMethod {
        match self {
            Self::Generate => UpstreamMethod::Generate,
            Self::StreamGenerate => UpstreamMethod::StreamGenerate,
            Self::CountTokens => UpstreamMethod::CountTokens,
        }
    }
}

/// What is asked about an account (spec `http-api.md` §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountMethod {
    /// Its models and quotas.
    FetchModels,
    /// Its project and subscription.
    LoadCodeAssist,
    /// A project for a new one.
    OnboardUser,
}

impl AccountMethod {
    fn path(self) -> &'static str {
        match self {
            Self::FetchModels => "/v1internal:fetchAvailableModels",
            Self::LoadCodeAssist => "/v1internal:loadCodeAssist",
            Self::OnboardUser => "/v1internal:onboardUser",
        }
    }

    fn label(self) -> UpstreamMethod {
        match self {
            Self::FetchModels => UpstreamMethod::FetchModels,
            Self::LoadCodeAssist => UpstreamMethod::LoadCodeAssist,
            Self::OnboardUser => UpstreamMethod::OnboardUser,
        }
    }
}

/// One call of a model with one account. Not `Debug`: bodies are never printed.
#[derive(Clone)]
pub struct UpstreamCall<'a> {
    /// Index into the configured endpoints; counted modulo their number.
    pub endpoint: usize,
    /// What is asked.
    pub method: Method,
    /// The model named in the body; decides about the `anthropic-beta` header.
    pub model: &'a ModelId,
    /// The JSON body in pieces, sent one after the other; some may be empty.
    pub body: &'a [Bytes],
    /// The account's access token.
    pub token: &'a SecretString,
    /// The account's upstream session id; empty to leave the header out.
    pub session_id: &'a str,
}

/// The pause before each call, which may change at any time; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pace(Arc<AtomicU64>);

impl Pace {
    /// From now on calls wait so long, to the millisecond, before they are sent; zero for not at all.
    pub fn set(&self, pause: Duration) {
        self.0.store(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// The upstream client. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    /// For calls of models.
    wire: Wire,
    /// For all others.
    http: reqwest::Client,
    endpoints: Vec<Endpoint>,
    headers: Headers,
    header_timeout: Duration,
    idle_timeout: Duration,
    pace: Pace,
    clock: Clock,
    latency: Option<Latency>,
    /// Answers in place of the network.
    #[cfg(test)]
    script: Option<scripted::Script>,
}

struct Endpoint {
    base: String,
    uri: Uri,
    generate: PathAndQuery,
    stream: PathAndQuery,
    count: PathAndQuery,
}

impl Client {
    /// Builds the client; opens no connection yet.
    pub fn new(config: &UpstreamConfig, clock: Clock) -> Result<Self, ClientError> {
        let pace = Pace::default();
        pace.set(config.pause());
        Self::paced(config, pace, clock)
    }

    /// The same with a pause before each call that changes with `pace`.
    pub fn paced(config: &UpstreamConfig, pace: Pace, clock: Clock) -> Result<Self, ClientError> {
        if config.endpoints.is_empty() {
            return Err(ClientError::NoEndpoints);
        }
        let endpoints =
            config.endpoints.iter().map(|base| Endpoint::new(base)).collect::<Result<Vec<_>, _>>()?;
        let trust = Trust::new(config)?;
        let uris: Vec<_> = endpoints.iter().map(|endpoint| endpoint.uri.clone()).collect();
        Ok(Self {
            shared: Arc::new(Shared {
                wire: Wire::new(config, &trust, &uris, clock.clone())?,
                http: trusting(config, &trust)?,
                endpoints,
                headers: Headers::new(config)?,
                header_timeout: config.header_timeout,
                idle_timeout: config.idle_timeout,
                pace,
                clock,
                latency: None,
                #[cfg(test)]
                script: None,
            }),
        })
    }

    /// The same client; the latency of its calls is measured. To be called before it is cloned.
    #[must_use]
    pub fn measured(mut self, metrics: &Arc<Metrics>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            let hosts = shared.endpoints.iter().map(|one| one.uri.host().unwrap_or_default());
            shared.latency = Some(Latency::new(metrics, hosts));
        }
        self
    }

    /// How many endpoints there are, at least one.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.shared.endpoints.len()
    }

    /// Host and port of an endpoint, for those who tell of a call.
    #[must_use]
    pub fn address(&self, endpoint: usize) -> (&str, u16) {
        let endpoint = &self.shared.endpoints[endpoint % self.shared.endpoints.len()];
        let usual = if endpoint.uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        (endpoint.uri.host().unwrap_or_default(), endpoint.uri.port_u16().unwrap_or(usual))
    }

    /// Sends `call` and waits for the answer's headers. An answer other than 2xx becomes a classified failure.
    pub async fn send(&self, call: &UpstreamCall<'_>) -> Result<UpstreamResponse, Failure> {
        let shared = &self.shared;
        let headers = shared
            .headers
            .model(call.token, call.model, call.session_id, call.method == Method::StreamGenerate)
            .map_err(unsendable)?;
        let endpoint = call.endpoint % shared.endpoints.len();
        let path = shared.endpoints[endpoint].path(call.method);
        let sending = async {
            #[cfg(test)]
            if let Some(script) = &shared.script {
                let url = shared.endpoints[endpoint].full(call.method.path());
                return scripted::play(script, url, headers, call.body).await;
            }
            let body = SplitBody::new(call.body);
            let answer = shared.wire.post(endpoint, path, headers, body).await;
            answer.map(Response::Wire).map_err(|error| error.kind())
        };
        self.answered(endpoint, call.method.label(), sending).await
    }

    /// Posts `body` to `method` of an endpoint on behalf of an account and returns the whole answer.
    pub(super) async fn account_call(
        &self,
        endpoint: usize,
        method: AccountMethod,
        token: &SecretString,
        body: Vec<u8>,
    ) -> Result<Bytes, Failure> {
        let shared = &self.shared;
        let headers = shared.headers.account(token).map_err(unsendable)?;
        let endpoint = endpoint % shared.endpoints.len();
        let url = shared.endpoints[endpoint].full(method.path());
        let sending = async {
            #[cfg(test)]
            if let Some(script) = &shared.script {
                return scripted::play(script, url, headers, &[Bytes::from(body)]).await;
            }
            let answer = shared.http.post(url).headers(headers).body(body).send().await;
            answer.map(Response::Library).map_err(|error| kind_of(&error))
        };
        timed(ACCOUNT_CALL_TIMEOUT, async {
            let response = self.answered(endpoint, method.label(), sending).await?;
            response.collect(ACCOUNT_ANSWER_LIMIT).await
        })
        .await?
    }

    /// Closes connections that nobody needed for a while, until `stop`.
    pub async fn tend(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(wire::SWEEP)).await.is_some() {
            self.shared.wire.sweep();
        }
    }

    /// Waits for the head of the answer that `sending` brings, as long as it may take.
    async fn answered(
        &self,
        endpoint: usize,
        method: UpstreamMethod,
        sending: impl Future<Output = Result<Response, TransportKind>>,
    ) -> Result<UpstreamResponse, Failure> {
        let shared = &self.shared;
        let pause = shared.pace.pause();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let sent = shared.clock.instant();
        let response = timed(shared.header_timeout, sending).await?.map_err(noted)?;
        if let Some(latency) = &shared.latency {
            let took = shared.clock.instant().saturating_duration_since(sent);
            latency.observe(endpoint, method, took);
        }
        let date_ms = reset::date_ms(response.headers()).unwrap_or_else(|| shared.clock.epoch_ms());
        let mut response = UpstreamResponse {
            date_ms,
            received: shared.clock.instant(),
            clock: shared.clock.clone(),
            idle_timeout: shared.idle_timeout,
            response,
            waiting_since: None,
            alarm: Alarm::default(),
        };
        if response.response.status().is_success() {
            response.response.forget_headers();
            return Ok(response);
        }
        // A cut or slow error body changes nothing about the status that has arrived.
        let mut text = BytesMut::new();
        let _ = timed(shared.header_timeout, async {
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = ERROR_BODY_LIMIT - text.len();
                text.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if text.len() == ERROR_BODY_LIMIT {
                    break;
                }
            }
        })
        .await;
        let status = response.response.status().as_u16();
        Err(classify(status, response.response.headers(), &text, response.now_ms()))
    }
}

impl Endpoint {
    fn new(base: &str) -> Result<Self, ClientError> {
        let base = base.trim().trim_end_matches('/').to_owned();
        let parsed = || {
            let url = Url::parse(&base).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
            let uri: Uri = url.as_str().parse().ok()?;
            let prefix = url.path().trim_end_matches('/').to_owned();
            let path = |method: Method| format!("{prefix}{}", method.path()).parse().ok();
            Some((uri, path(Method::Generate)?, path(Method::StreamGenerate)?, path(Method::CountTokens)?))
        };
        let Some((uri, generate, stream, count)) = parsed() else {
            return Err(ClientError::BadEndpoint { endpoint: base });
        };
        Ok(Self { base, uri, generate, stream, count })
    }

    fn path(&self, method: Method) -> &PathAndQuery {
        match method {
            Method::Generate => &self.generate,
            Method::StreamGenerate => &self.stream,
            Method::CountTokens => &self.count,
        }
    }

    /// The address of a method.
    fn full(&self, method: &str) -> String {
        format!("{}{method}", self.base)
    }
}

/// An answer, by whichever client it came.
enum Response {
    Wire(Answer),
    Library(reqwest::Response),
}

impl Response {
    fn status(&self) -> StatusCode {
        match self {
            Self::Wire(answer) => answer.status(),
            Self::Library(response) => response.status(),
        }
    }

    fn headers(&self) -> &HeaderMap {
        match self {
            Self::Wire(answer) => answer.headers(),
            Self::Library(response) => response.headers(),
        }
    }

    /// Frees what was read together with the headers, which a stream would keep to its end.
    fn forget_headers(&mut self) {
        match self {
            Self::Wire(answer) => answer.forget_headers(),
            Self::Library(response) => response.headers_mut().clear(),
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportKind> {
        match self {
            Self::Wire(answer) => answer.chunk().await.map_err(|error| error.kind()),
            Self::Library(response) => response.chunk().await.map_err(|error| kind_of(&error)),
        }
    }
}

/// A 2xx answer whose body is still arriving.
pub struct UpstreamResponse {
    response: Response,
    date_ms: i64,
    received: Instant,
    clock: Clock,
    idle_timeout: Duration,
    /// Since when a piece has been waited for, over calls whose future was dropped.
    waiting_since: Option<Instant>,
    alarm: Alarm,
}

impl UpstreamResponse {
    /// Takes a silence of more than `limit` for a failure, where `upstream.idleTimeoutMs` is longer.
    #[must_use]
    pub fn silent_for(mut self, limit: Duration) -> Self {
        self.idle_timeout = self.idle_timeout.min(limit);
        self
    }

    /// The next piece of the body, decompressed; `None` at its proper end. Silence longer than
    /// `upstream.idleTimeoutMs` is a failure. Cancel safe: a dropped call loses no bytes, and its waiting counts.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let since = *self.waiting_since.get_or_insert_with(|| self.clock.instant());
        let chunk = self.alarm.within(since + self.idle_timeout, self.response.chunk()).await;
        self.waiting_since = None;
        chunk.ok_or_else(|| transport(TransportKind::Timeout))?.map_err(noted)
    }

    /// The next piece as [`Self::chunk`] gives it, if it is there already; who waits afterwards is woken when it comes.
    pub async fn ready_chunk(&mut self) -> Option<Result<Option<Bytes>, Failure>> {
        let mut chunk = pin!(self.response.chunk());
        poll_fn(|context| match chunk.as_mut().poll(context) {
            Poll::Ready(chunk) => Poll::Ready(Some(chunk.map_err(noted))),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// The whole body; more than `limit` bytes are a failure.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, Failure> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > limit - whole.len() {
                return Err(transport(TransportKind::Protocol));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Classifies an error object that came inside this 200 answer.
    #[must_use]
    pub fn classify_error(&self, body: &[u8]) -> Failure {
        classify_stream_error(body, self.now_ms())
    }

    /// The upstream's time: its `Date` header plus what has passed since, in milliseconds since the epoch.
    fn now_ms(&self) -> i64 {
        let passed = self.clock.instant().saturating_duration_since(self.received);
        self.date_ms.saturating_add(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX))
    }
}

async fn timed<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(limit, future).await.map_err(|_| transport(TransportKind::Timeout))
}

fn transport(kind: TransportKind) -> Failure {
    Failure { class: FailureClass::Transport { kind }, status: None, reset: None, message: None }
}

/// The failure behind a broken exchange.
fn noted(kind: TransportKind) -> Failure {
    tracing::debug!(?kind, "upstream transport failure");
    transport(kind)
}

fn unsendable(what: Unsendable) -> Failure {
    match what {
        Unsendable::Token => {
            Failure { class: FailureClass::Unauthorized, ..transport(TransportKind::Protocol) }
        }
        Unsendable::Session => transport(TransportKind::Protocol),
    }
}

/// Reads the step that failed off the error's types; its text, which may name hosts and proxies, is not used.
fn kind_of(error: &reqwest::Error) -> TransportKind {
    let mut kind = if error.is_connect() {
        TransportKind::Connect
    } else if error.is_timeout() {
        TransportKind::Timeout
    } else if error.is_decode() {
        TransportKind::Protocol
    } else {
        TransportKind::Reset
    };
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(hyper) = inner.downcast_ref::<hyper::Error>() {
            if hyper.is_parse() || hyper.is_parse_too_large() || hyper.is_parse_status() {
                kind = TransportKind::Protocol;
            } else if hyper.is_incomplete_message() || hyper.is_closed() || hyper.is_body_write_aborted() {
                kind = TransportKind::Reset;
            }
        }
        if cause_is_cut(inner) {
            kind = TransportKind::Reset;
        }
        cause = inner.source();
    }
    kind
}

/// A broken connection under a decoder shows as a decoding error; its innermost cause tells.
fn cause_is_cut(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    error.downcast_ref::<std::io::Error>().is_some_and(|io| {
        matches!(io.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
    })
}

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;
