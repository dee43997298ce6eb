//! The loopback listener: for browsers on the machine of this process (spec `http-api.md` §6.3).
//!
//! One for all sign-ins that began here. It is bound when the first begins and closed when none waits any more: those
//! completed elsewhere are given up when their time is over.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{refusal, told};
use crate::account::signin::{Completed, LIFE, SignInError, SignIns};
use crate::clock::Clock;
use crate::server::callback_app;
use crate::server::listen::serve_aside;
use crate::store::ops::signins::SignInState;
use crate::webui::signin::{not_get, page};

/// Ports behind the first one that are tried when it is taken.
const FURTHER_PORTS: u16 = 5;

/// Listens for browsers that come back, while any is expected. Cheap to clone.
#[derive(Clone)]
pub(super) struct CallbackListener(Arc<Inner>);

struct Inner {
    /// The first port, 0 for any; `None` listens nowhere.
    port: Option<u16>,
    signins: SignIns,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Sign-ins that began here, and when they end.
    expected: HashMap<String, Instant>,
    /// Sign-ins that are about to begin here.
    beginning: usize,
}

struct Open {
    port: u16,
    close: CancellationToken,
}

/// Keeps the listener open while a sign-in begins.
pub(super) struct Hold {
    listener: CallbackListener,
    port: Option<u16>,
}

impl Hold {
    /// The port that is listened on, if any.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// The sign-in has begun: the listener stays open for it. Answers its name.
    pub(super) fn expect(self, state: &SignInState) -> String {
        let name = state.as_str().to_owned();
        if self.port.is_some() {
            let end = self.listener.0.clock.instant() + LIFE;
            self.listener.state().expected.insert(name.clone(), end);
        }
        name
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.listener.state();
        state.beginning -= 1;
        state.close_if_idle();
    }
}

impl State {
    fn close_if_idle(&mut self) {
        if self.expected.is_empty()
            && self.beginning == 0
            && let Some(open) = self.open.take()
        {
            open.close.cancel();
        }
    }
}

impl CallbackListener {
    /// Listens from `port` on, where that is one; nothing is bound yet.
    pub(super) fn new(
        port: Option<u16>,
        signins: SignIns,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner { port, signins, clock, tasks, stop, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete when the lock is given back.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees that it is open, where it may be.
    pub(super) fn open(&self) -> Hold {
        let mut state = self.state();
        state.beginning += 1;
        if state.open.is_none()
            && !self.0.stop.is_cancelled()
            && let Some(first) = self.0.port
        {
            state.open = self.bind(first);
        }
        let port = state.open.as_ref().map(|open| open.port);
        Hold { listener: self.clone(), port }
    }

    fn bind(&self, first: u16) -> Option<Open> {
        let further = if first == 0 { 0 } else { FURTHER_PORTS };
        let ports = first..=first.saturating_add(further);
        let mut refused = None;
        for port in ports {
            match bind(port) {
                Ok((port, listeners)) => {
                    let close = self.0.stop.child_token();
                    let app = callback_app(self.handler());
                    self.0.tasks.spawn(serve_aside(listeners, app, close.clone()));
                    self.0.tasks.spawn(self.clone().expire(close.clone()));
                    return Some(Open { port, close });
                }
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused {
            let last = first.saturating_add(further);
            tracing::warn!(
                %error, first, last,
                "no port for the sign-in's callback: paste the address that the browser ends on, or free a port"
            );
        }
        None
    }

    fn handler(
        &self,
    ) -> impl Fn(Request) -> BoxFuture<'static, Response> + Clone + Send + Sync + 'static + use<> {
        let listener = self.clone();
        move |request: Request| {
            let listener = listener.clone();
            async move {
                if let Some(refusal) = not_get(&request) {
                    return refusal;
                }
                let query = request.uri().query().unwrap_or_default();
                let (state, done) = listener.0.signins.returned(query).await;
                if let Some(state) = state {
                    listener.settled(state.as_str(), &done);
                }
                page(&done.map(told).map_err(refusal))
            }
            .boxed()
        }
    }

    /// Gives up what is over, until it closes.
    async fn expire(self, close: CancellationToken) {
        loop {
            let now = self.0.clock.instant();
            let next = {
                let mut state = self.state();
                state.expected.retain(|_, end| *end > now);
                state.close_if_idle();
                state.expected.values().min().copied()
            };
            tokio::select! {
                () = close.cancelled() => return,
                () = tokio::time::sleep_until(next.unwrap_or(now + LIFE)) => {}
            }
        }
    }

    /// Nobody comes back any more when a sign-in has ended.
    pub(super) fn settled(&self, state: &str, done: &Result<Completed, SignInError>) {
        let over =
            matches!(done, Ok(_) | Err(SignInError::Failed(_) | SignInError::Used | SignInError::Unknown));
        if over {
            let mut known = self.state();
            known.expected.remove(state);
            known.close_if_idle();
        }
    }
}

/// The same port on both loopback addresses, so that no other program receives what is sent to `localhost`. A machine
/// without IPv6 has one of them.
fn bind(port: u16) -> io::Result<(u16, Vec<tokio::net::TcpListener>)> {
    let first = listen((Ipv4Addr::LOCALHOST, port).into())?;
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    match listen((Ipv6Addr::LOCALHOST, port).into()) {
        Ok(listener) => listeners.push(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(error) => tracing::debug!(%error, "no IPv6 loopback address for the sign-in's callback"),
    }
    Ok((port, listeners))
}

fn listen(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
