//! The connection, and what is done when it is not what it should be.
//!
//! The library's manager reconnects by itself after a connection broke. It cannot know of two other conditions:
//! a peer that has gone silent without closing (a half-open connection), and one that answers but should not be
//! talked to any more (a primary that became a replica, credentials that changed). Then the manager is replaced.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisError, Value,
};
use secrecy::ExposeSecret as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::reply::Outage;
use crate::clock::Clock;
use crate::config::{RedisConfig, RedisEndpoint};
use crate::store::host::StoreError;

/// Silence after which a connection counts as half-open.
const SILENCE: Duration = Duration::from_secs(2);
/// Least time between two replacements.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);
/// Commands that may wait for the connection's writer.
const PIPELINE_BUFFER: usize = 1024;
/// First and longest pause between attempts to connect.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_millis(500);
/// What the library's own time-out may be late by.
const MARGIN: Duration = Duration::from_millis(100);

/// One connection to Redis that mends itself.
pub(super) struct Link {
    client: Client,
    config: ConnectionManagerConfig,
    manager: ArcSwap<ConnectionManager>,
    address: String,
    limit: Duration,
    connect_limit: Duration,
    clock: Clock,
    state: Mutex<State>,
    replaced: Notify,
}

#[derive(Default)]
struct State {
    silent_since: Option<Instant>,
    replaced_at: Option<Instant>,
}

impl Link {
    /// A link that connects with its first command. Events and other pushes go to `pushes`.
    pub(super) fn new(
        config: &RedisConfig,
        pushes: mpsc::UnboundedSender<PushInfo>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let address = config.endpoint.to_string();
        let wrong = |error: RedisError| StoreError::Unsuitable {
            address: address.clone(),
            problem: error.to_string(),
        };
        let client = Client::open(connection_info(config).map_err(wrong)?).map_err(wrong)?;
        let manager_config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.command_timeout))
            .set_number_of_retries(2)
            .set_min_delay(RECONNECT_MIN)
            .set_max_delay(RECONNECT_MAX)
            .set_pipeline_buffer_size(PIPELINE_BUFFER)
            .set_push_sender(pushes)
            .set_automatic_resubscription();
        let manager =
            ConnectionManager::new_lazy_with_config(client.clone(), manager_config.clone()).map_err(wrong)?;
        Ok(Self {
            client,
            config: manager_config,
            manager: ArcSwap::from_pointee(manager),
            address,
            limit: config.command_timeout + MARGIN,
            connect_limit: config.connect_timeout + config.command_timeout,
            clock,
            state: Mutex::default(),
            replaced: Notify::new(),
        })
    }

    /// Where Redis listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends `pipeline` of `count` commands as one write and returns their replies, errors among them.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline, count: usize) -> Result<Vec<Value>, RedisError> {
        let mut manager = self.manager();
        let sent = manager.send_packed_commands(pipeline, 0, count);
        self.within(self.limit, sent).await
    }

    /// Sends one command. An error it is answered with is an `Err`.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut manager = self.manager();
        let sent = manager.send_packed_command(command);
        self.within(self.limit, sent).await?.extract_error()
    }

    /// As [`Link::command`], with time to connect first.
    pub(super) async fn first_command(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut manager = self.manager();
        let sent = manager.send_packed_command(command);
        self.within(self.connect_limit, sent).await?.extract_error()
    }

    /// Subscribes the present connection, and those that follow it, to `channel`.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<(), RedisError> {
        let mut manager = self.manager();
        let sent = manager.subscribe(channel);
        self.within(self.connect_limit, sent).await
    }

    /// Resolves when the connection was replaced by one without subscriptions.
    pub(super) async fn was_replaced(&self) {
        self.replaced.notified().await;
    }

    /// What a failed exchange is to the callers.
    pub(super) fn unavailable(&self, error: &RedisError) -> StoreError {
        let reason = if is_timeout(error) {
            format!("Redis at {} does not answer", self.address)
        } else {
            format!("Redis at {}: {error}", self.address)
        };
        StoreError::Unavailable { reason }
    }

    /// What an answer is that says that Redis cannot work now.
    pub(super) fn refused(&self, condition: Outage) -> StoreError {
        if condition.is_about_the_peer() {
            self.replace();
        }
        StoreError::Unavailable { reason: format!("Redis at {} {condition}", self.address) }
    }

    fn manager(&self) -> ConnectionManager {
        self.manager.load().as_ref().clone()
    }

    async fn within<T>(
        &self,
        limit: Duration,
        exchange: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let outcome = match tokio::time::timeout(limit, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        match &outcome {
            Ok(_) => self.state().silent_since = None,
            Err(error) if is_timeout(error) => self.note_silence(),
            // A manager whose attempt to connect ended in anything but an I/O error keeps that for ever: refused
            // credentials, a greeting that is none.
            Err(error) if !error.is_io_error() => self.replace(),
            Err(_) => {}
        }
        outcome
    }

    fn note_silence(&self) {
        let now = self.clock.instant();
        let since = *self.state().silent_since.get_or_insert(now);
        if now.duration_since(since) >= SILENCE {
            self.replace();
        }
    }

    fn replace(&self) {
        let now = self.clock.instant();
        {
            let mut state = self.state();
            if state.replaced_at.is_some_and(|at| now.duration_since(at) < REPLACE_PAUSE) {
                return;
            }
            *state = State { silent_since: None, replaced_at: Some(now) };
        }
        match ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone()) {
            Ok(manager) => {
                tracing::info!(address = %self.address, "connecting to Redis anew");
                self.manager.store(Arc::new(manager));
                self.replaced.notify_one();
            }
            Err(error) => tracing::error!(%error, "the connection to Redis cannot be replaced"),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Two times are whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_timeout(error: &RedisError) -> bool {
    error.is_timeout()
}

/// `config` in the client's terms.
pub(in crate::store) fn connection_info(config: &RedisConfig) -> Result<ConnectionInfo, RedisError> {
    let address = match &config.endpoint {
        RedisEndpoint::Tcp { host, port, tls: false } => ConnectionAddr::Tcp(host.clone(), *port),
        RedisEndpoint::Tcp { host, port, tls: true } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
        RedisEndpoint::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let mut settings = RedisConnectionInfo::default()
        .set_db(i64::from(config.db))
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if let Some(name) = &config.username {
        settings = settings.set_username(name);
    }
    if let Some(password) = &config.password {
        settings = settings.set_password(password.expose_secret());
    }
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(address.into_connection_info()?.set_redis_settings(settings).set_tcp_settings(tcp))
}
