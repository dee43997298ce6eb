//! The listeners: main port, metrics, control socket; from bind to the last byte of a shutdown.
//!
//! The accept loop is our own, because a server that faces clients needs what the stock one lacks: bounds
//! on connections and on the time for a request head, and a shutdown in the order that an orchestrator
//! expects: `/readyz` fails, connections are still accepted for a while, though none is kept, then refused, streams
//! finish.

mod connection;
#[cfg(unix)]
mod control;
mod descriptors;
mod linger;
mod preface;
mod signal;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::server::auth::{ControlUser, Peer};
use crate::server::drain::Drain;
use crate::server::state::AppState;
use crate::server::{App, app, metrics_app};
use connection::Connections;
pub use connection::Limits;

/// Why the process cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({setting}): {source}")]
    Bind {
        /// What was asked for.
        address: String,
        /// The setting that names it.
        setting: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The control socket cannot be made.
    #[error("cannot create the control socket {}: {source}", path.display())]
    Control {
        /// Its path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// How a shutdown proceeds.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long connections are still accepted after `/readyz` began to fail.
    pub drain_delay: Duration,
    /// How long open requests and streams may take after that.
    pub grace: Duration,
}

impl From<&ServerConfig> for Shutdown {
    fn from(config: &ServerConfig) -> Self {
        Self { drain_delay: config.drain_delay, grace: config.shutdown_grace }
    }
}

/// Bound sockets, not yet serving.
pub struct Listeners {
    main: TcpListener,
    metrics: Option<TcpListener>,
    #[cfg(unix)]
    control: Option<control::ControlSocket>,
    limits: Limits,
}

impl Listeners {
    /// Binds the main port, the metrics address and, when a path is given, the control socket there.
    ///
    /// A metrics address that is taken is an error only when the operator chose it.
    pub async fn bind(config: &ServerConfig, control: Option<&Path>) -> Result<Self, ListenError> {
        let main = TcpListener::bind((config.host.as_str(), config.port)).await.map_err(|source| {
            ListenError::Bind {
                address: format!("{}:{}", config.host, config.port),
                setting: "HOST, PORT",
                source,
            }
        })?;
        let metrics = match config.metrics_addr {
            None => None,
            Some(address) => match TcpListener::bind(address).await {
                Ok(listener) => Some(listener),
                Err(source) if config.metrics_addr_explicit => {
                    return Err(ListenError::Bind {
                        address: address.to_string(),
                        setting: "METRICS_ADDR",
                        source,
                    });
                }
                Err(error) => {
                    tracing::warn!(%address, %error, "no metrics listener: set METRICS_ADDR to a free address");
                    None
                }
            },
        };
        #[cfg(unix)]
        let control = match control {
            None => None,
            Some(path) => Some(
                control::ControlSocket::bind(path)
                    .await
                    .map_err(|source| ListenError::Control { path: path.to_owned(), source })?,
            ),
        };
        #[cfg(not(unix))]
        let _ = control;
        Ok(Self {
            main,
            metrics,
            #[cfg(unix)]
            control,
            limits: descriptors::limits(),
        })
    }

    /// Replaces the limits of connections.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The main port's address, with the port that the system chose when 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.main.local_addr()
    }

    /// The metrics listener's address, when there is one.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// Serves until the shutdown that `state.drain` begins is complete: every connection is closed and
    /// every task has ended. Probes and metrics answer until the last stream has finished.
    pub async fn serve(self, state: &Arc<AppState>, shutdown: Shutdown) {
        let drain = &state.drain;
        let application = app(state);
        let clients = Connections::new(self.limits);
        let observers = Connections::new(Limits { connections: self.limits.observers, ..self.limits });
        #[cfg(unix)]
        let commands = Connections::new(self.limits);

        let main = self.main;
        #[cfg(unix)]
        let control = self.control;
        let serving = async {
            tokio::select! {
                () = accept_tcp(&main, &application, &clients) => {}
                () = drained(drain, shutdown.drain_delay, &clients) => {}
            }
            drop(main);
            clients.close(shutdown.grace, drain).await;
        };
        // Commands are served as long as this process holds the store.
        let commanding = async {
            #[cfg(unix)]
            accept_control(control.as_ref(), &application, &commands).await;
            #[cfg(not(unix))]
            pending::<()>().await;
        };
        let observing = async {
            match &self.metrics {
                Some(listener) => accept_tcp(listener, &metrics_app(state), &observers).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = serving => {}
            () = observing => {}
            () = commanding => {}
        }
        drop(self.metrics);
        observers.close(Duration::from_secs(1), drain).await;
        #[cfg(unix)]
        {
            drop(control);
            commands.close(Duration::from_secs(10), drain).await;
        }
    }
}

/// Serves `app` on `listeners` until `stop`, then lets the answers under way be sent.
pub(crate) async fn serve_aside(listeners: Vec<TcpListener>, app: App, stop: CancellationToken) {
    let connections = Connections::new(Limits { connections: 64, ..Limits::default() });
    let accepting = listeners.iter().map(|listener| accept_tcp(listener, &app, &connections));
    tokio::select! {
        _ = futures_util::future::join_all(accepting) => {}
        () = stop.cancelled() => {}
    }
    drop(listeners);
    connections.close(Duration::from_secs(2), &Drain::new()).await;
}

/// The shutdown has begun and its delay, in which clients take leave, is over.
async fn drained(drain: &Drain, delay: Duration, clients: &Connections) {
    drain.begun().await;
    clients.leave();
    tokio::select! {
        () = sleep(delay) => {}
        () = drain.was_cut() => {}
    }
}

async fn accept_tcp(listener: &TcpListener, app: &App, connections: &Connections) {
    loop {
        let permit = connections.permit().await;
        match listener.accept().await {
            Ok((stream, address)) => {
                undelayed(&stream);
                connections.spawn(stream, Peer::Tcp(address), None, app.clone(), permit);
            }
            Err(error) => accept_failed(&error).await,
        }
    }
}

#[cfg(unix)]
async fn accept_control(socket: Option<&control::ControlSocket>, app: &App, connections: &Connections) {
    let Some(socket) = socket else { return pending().await };
    loop {
        // The operator gets in even when clients hold every connection.
        match socket.accept().await {
            Ok(stream) => {
                let user = stream.peer_cred().ok().map(|of| ControlUser(of.uid()));
                connections.spawn(stream, Peer::Control, user, app.clone(), None);
            }
            Err(error) => accept_failed(&error).await,
        }
    }
}

/// Each event of a stream leaves at once.
fn undelayed(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY refused");
    }
}

/// A connection that died in the queue is nobody's fault; want of descriptors or memory needs a pause.
async fn accept_failed(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    tracing::error!(%error, "cannot accept connections");
    sleep(Duration::from_millis(200)).await;
}

#[cfg(test)]
mod tests;
