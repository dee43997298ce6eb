//! HTTP/1.1 to the upstream, driven by the task of the request itself.
//!
//! A library's pool gives each connection a task of its own, so that every piece of an answer wakes two tasks, often on two
//! cores; that costs more than reading the piece does (`docs/performance.md`). Here whoever waits for an answer polls its
//! connection too. Parsing, framing and flow control are hyper's, TLS is rustls's. A connection goes back to the pool when
//! its answer was read to the end; dropping an answer before that closes it, which is how the upstream learns.

mod dial;
mod inflate;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HOST, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use tokio::time::Instant;

use self::dial::{Dial, Socket};
use self::inflate::Inflate;
use super::failure::TransportKind;
use super::http::{HttpError, POOL_IDLE, POOL_IDLE_PER_HOST, Trust};
use super::split_body::SplitBody;
use crate::clock::Clock;
use crate::config::UpstreamConfig;

/// How often is looked for connections that nobody has used for [`POOL_IDLE`].
pub(super) const SWEEP: Duration = Duration::from_secs(15);
/// What is read at once of an answer at the most, and so what joins its pieces.
const READ_MOST: usize = 64 * 1024;

/// Why an exchange did not come to its end.
#[derive(Debug)]
pub(super) enum WireError {
    /// There was no connection.
    Connect,
    /// The connection, or what came over it, was at fault.
    Http(hyper::Error),
    /// What came could not be decompressed.
    Encoding,
}

impl WireError {
    /// The step that failed, read off the error's type.
    pub(super) fn kind(&self) -> TransportKind {
        match self {
            Self::Connect => TransportKind::Connect,
            Self::Encoding => TransportKind::Protocol,
            Self::Http(error) if error.is_timeout() => TransportKind::Timeout,
            Self::Http(error) if error.is_parse() => TransportKind::Protocol,
            Self::Http(_) => TransportKind::Reset,
        }
    }
}

/// Connections to each endpoint. Clones share them.
#[derive(Clone)]
pub(super) struct Wire(Arc<Inner>);

struct Inner {
    endpoints: Vec<Endpoint>,
    clock: Clock,
}

struct Endpoint {
    dial: Dial,
    host: HeaderValue,
    /// Those that wait for a request, the one that waits longest first.
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    line: Line,
    since: Instant,
}

impl Wire {
    /// With an endpoint for each URL; opens no connection yet.
    pub(super) fn new(
        config: &UpstreamConfig,
        trust: &Trust,
        endpoints: &[Uri],
        clock: Clock,
    ) -> Result<Self, HttpError> {
        let dials = dial::Factory::new(config, trust)?;
        let endpoint = |uri: &Uri| {
            let authority = uri.authority().map_or("", |authority| authority.as_str());
            Endpoint {
                dial: dials.to(uri),
                host: HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("")),
                idle: Mutex::default(),
            }
        };
        let endpoints = endpoints.iter().map(endpoint).collect();
        Ok(Self(Arc::new(Inner { endpoints, clock })))
    }

    /// Posts `body` to `path` of an endpoint and waits for the answer's head.
    pub(super) async fn post(
        &self,
        endpoint: usize,
        path: &PathAndQuery,
        headers: HeaderMap,
        body: SplitBody,
    ) -> Result<Answer, WireError> {
        let to = &self.0.endpoints[endpoint];
        let mut request = to.request(path, headers, body);
        while let Some(mut line) = self.idle(endpoint).await {
            match line.exchange(request).await {
                Ok(response) => return Ok(self.answer(endpoint, line, response)),
                // It was closed while it waited: nothing was sent of the request.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(WireError::Http(error.into_error())),
                },
            }
        }
        let mut line = Line::new(to.dial.connect().await.map_err(|_| WireError::Connect)?).await?;
        match line.exchange(request).await {
            Ok(response) => Ok(self.answer(endpoint, line, response)),
            Err(error) => Err(WireError::Http(error.into_error())),
        }
    }

    fn answer(&self, endpoint: usize, line: Line, response: Response<Incoming>) -> Answer {
        let (head, body) = response.into_parts();
        let packed = head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
        let inflate = packed.then(|| Box::new(Inflate::new()));
        Answer {
            status: head.status,
            headers: head.headers,
            body,
            inflate,
            line: Some(line),
            endpoint,
            wire: self.clone(),
        }
    }

    /// The connection that was used last and is still open.
    async fn idle(&self, endpoint: usize) -> Option<Line> {
        loop {
            let found = self.waiting(endpoint).pop_back()?;
            if self.0.clock.instant().duration_since(found.since) > POOL_IDLE {
                // All others have waited longer.
                self.waiting(endpoint).clear();
                return None;
            }
            let mut line = found.line;
            poll_fn(|context| {
                line.drive(context);
                Poll::Ready(())
            })
            .await;
            if line.is_ready() {
                return Some(line);
            }
        }
    }

    fn keep(&self, endpoint: usize, line: Line) {
        let since = self.0.clock.instant();
        let mut idle = self.waiting(endpoint);
        if idle.len() == POOL_IDLE_PER_HOST {
            idle.pop_front();
        }
        idle.push_back(Idle { line, since });
    }

    /// Closes what has waited too long.
    pub(super) fn sweep(&self) {
        let now = self.0.clock.instant();
        for endpoint in 0..self.0.endpoints.len() {
            self.waiting(endpoint).retain(|one| now.duration_since(one.since) <= POOL_IDLE);
        }
    }

    fn waiting(&self, endpoint: usize) -> MutexGuard<'_, VecDeque<Idle>> {
        self.0.endpoints[endpoint].idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    fn request(&self, path: &PathAndQuery, mut headers: HeaderMap, body: SplitBody) -> Request<SplitBody> {
        headers.insert(HOST, self.host.clone());
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip"));
        let target = self.dial.target(path);
        if let Some(secret) = self.dial.credentials() {
            headers.insert(PROXY_AUTHORIZATION, secret.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        request
    }
}

/// One connection, and the way to send requests over it.
struct Line {
    sender: SendRequest<SplitBody>,
    /// `None` once it has ended.
    connection: Option<Pin<Box<Connection<Socket, SplitBody>>>>,
}

impl Line {
    async fn new(socket: Socket) -> Result<Self, WireError> {
        let (sender, connection) =
            Builder::new().max_buf_size(READ_MOST).handshake(socket).await.map_err(WireError::Http)?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    /// Lets the connection do what it can do now.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(context).is_ready()
        {
            // What went wrong is told to whoever waits for the answer.
            self.connection = None;
        }
    }

    fn is_ready(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    async fn exchange(
        &mut self,
        request: Request<SplitBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<SplitBody>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            self.drive(context);
            answer.as_mut().poll(context)
        })
        .await
    }
}

/// An answer whose body is still arriving.
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    inflate: Option<Box<Inflate>>,
    /// `None` once the body was read to its end.
    line: Option<Line>,
    endpoint: usize,
    wire: Wire,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn forget_headers(&mut self) {
        self.headers = HeaderMap::new();
    }

    /// The next piece of the body, decompressed; `None` at its proper end. Cancel safe.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, WireError> {
        poll_fn(|context| self.poll_chunk(context)).await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, WireError>> {
        loop {
            match ready!(self.poll_frame(context)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let data = match &mut self.inflate {
                        Some(inflate) => inflate.push(&data).map_err(|_| WireError::Encoding)?,
                        None => data,
                    };
                    if !data.is_empty() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(WireError::Http(error))),
                None => {
                    let whole = self.inflate.as_mut().is_none_or(|inflate| inflate.is_whole());
                    self.release(context);
                    return Poll::Ready(if whole { Ok(None) } else { Err(WireError::Encoding) });
                }
            }
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if let Some(line) = &mut self.line {
            line.drive(context);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    /// Gives the connection back, if it can take another request.
    fn release(&mut self, context: &mut Context<'_>) {
        if let Some(mut line) = self.line.take() {
            line.drive(context);
            if line.is_ready() {
                self.wire.keep(self.endpoint, line);
            }
        }
    }
}

#[cfg(test)]
mod tests;
