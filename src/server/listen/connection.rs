//! One client connection, and all of them together.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http::Version;
use http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tower::Service;

use super::linger::{Lingering, Unread, WatchedBody};
use super::preface::{Prefaced, Protocol};
use super::signal::Signal;
use crate::server::App;
use crate::server::auth::{ControlUser, Peer};
use crate::server::drain::Drain;

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open at once; more wait in the system's queue.
    pub connections: usize,
    /// Open at once on the metrics port.
    pub observers: usize,
    /// From the connection to the end of its first request head, whatever arrives in between.
    pub first_request: Duration,
    /// For every later head of HTTP/1, the idle time before it included: longer than the 60 s after which
    /// common load balancers close an idle connection, so that the two ends do not race.
    pub next_request: Duration,
    /// Bytes of a request head.
    pub head: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            observers: 64,
            first_request: Duration::from_secs(30),
            next_request: Duration::from_secs(75),
            head: 64 * 1024,
        }
    }
}

/// Spawns HTTP/2 work as tracked tasks that end with the cut.
#[derive(Clone)]
struct Tracked {
    tracker: TaskTracker,
    cut: Signal,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, work: F) {
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = cut.given() => {}
                _ = work => {}
            }
        });
    }
}

/// All connections of one or more listeners.
#[derive(Clone)]
pub(super) struct Connections {
    tasks: Tracked,
    leaving: Signal,
    closing: Signal,
    permits: Arc<Semaphore>,
    protocols: Arc<Protocols>,
    limits: Limits,
}

/// How each protocol is spoken.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Tracked>,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        let tasks = Tracked { tracker: TaskTracker::new(), cut: Signal::default() };
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.next_request)
            .max_header_size(limits.head)
            .max_buf_size(limits.head);
        let mut http2 = http2::Builder::new(tasks.clone());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(256)
            .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        Self {
            tasks,
            leaving: Signal::default(),
            closing: Signal::default(),
            permits: Arc::new(Semaphore::new(limits.connections)),
            protocols: Arc::new(Protocols { http1, http2 }),
            limits,
        }
    }

    /// Waits for a free place.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Serves one connection in a task of its own; the place is free again when it ends.
    pub(super) fn spawn<I>(
        &self,
        io: I,
        peer: Peer,
        user: Option<ControlUser>,
        app: App,
        permit: Option<OwnedSemaphorePermit>,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (ends, limits) = ((self.leaving.clone(), self.closing.clone()), self.limits);
        let (protocols, cut) = (Arc::clone(&self.protocols), self.tasks.cut.clone());
        self.tasks.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = cut.given() => {}
                // Made here: a future that is handed over has its place twice in the task.
                () = serve(io, (peer, user), app, &protocols, limits, ends) => {}
            }
            drop(permit);
        });
    }

    /// From now on each answer of HTTP/1 ends its connection and says so. Whoever keeps connections, as a load balancer
    /// does, then opens its next one elsewhere, instead of sending a request on a connection that [`Self::close`] is
    /// about to end: such a request is lost, and nobody may repeat it for the client (RFC 9112 §9.3.1, §9.5). HTTP/2
    /// needs no such notice, since its GOAWAY names the requests that were not served.
    pub(super) fn leave(&self) {
        self.leaving.give();
    }

    /// Closes idle connections now and busy ones after their answer; what is left after `grace`, or when
    /// patience is over, is cut.
    pub(super) async fn close(&self, grace: Duration, drain: &Drain) {
        self.closing.give();
        self.tasks.tracker.close();
        tokio::select! {
            () = self.tasks.tracker.wait() => return,
            () = sleep(grace) => {}
            () = drain.was_cut() => {}
        }
        tracing::warn!(tasks = self.tasks.tracker.len(), "connections cut: the shutdown's grace is over");
        self.tasks.cut.give();
        self.tasks.tracker.wait().await;
    }
}

async fn serve<I>(
    io: I,
    (peer, user): (Peer, Option<ControlUser>),
    app: App,
    protocols: &Protocols,
    limits: Limits,
    (leaving, closing): (Signal, Signal),
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unread = Unread::default();
    let requested = Signal::default();
    let service = service_fn(|request: hyper::Request<Incoming>| {
        requested.give();
        let mut request: Request = request.map(|body| Body::new(WatchedBody::new(body, unread.clone())));
        request.extensions_mut().insert(peer);
        if let Some(user) = user {
            request.extensions_mut().insert(user);
        }
        let (leaving, kept) = (leaving.clone(), request.version() <= Version::HTTP_11);
        let answer = app.clone().call(request);
        async move {
            let mut answer = answer.await.unwrap_or_else(|never| match never {});
            if kept && leaving.is_given() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = async {
        let mut io = Prefaced::new(io);
        let protocol = tokio::select! {
            biased;
            protocol = io.protocol() => protocol,
            // Nothing was asked yet.
            () = last_call(&closing) => return Ok(()),
        };
        let io = TokioIo::new(Lingering::new(io, unread.clone()));
        match protocol {
            Ok(Protocol::Http1) => {
                to_its_end(pin!(protocols.http1.serve_connection(io, &service)), &closing).await
            }
            // Boxed: it is large, and mostly it is the other one.
            Ok(Protocol::Http2) => {
                to_its_end(Box::pin(protocols.http2.serve_connection(io, &service)).as_mut(), &closing).await
            }
            Err(_gone) => Ok(()),
        }
    };
    let too_slow = async {
        // Covers what the protocol's own timer does not: a peer that never says which protocol it speaks.
        if timeout(limits.first_request, requested.given()).await.is_ok() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        ended = serving => {
            if let Err(error) = ended {
                tracing::debug!(?peer, %error, "connection ended");
            }
        }
        () = too_slow => tracing::debug!(?peer, "no request in time"),
    }
}

/// Drives a connection to its end, which is after the answer under way once `closing` is given.
async fn to_its_end<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    closing: &Signal,
) -> Result<(), C::Error> {
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = last_call(closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Resolves when `closing` was given and what has come until then could be read: who asked already gets an answer.
async fn last_call(closing: &Signal) {
    closing.given().await;
    // Until the runtime has looked what sockets there are to read, nobody knows.
    yield_now().await;
}
