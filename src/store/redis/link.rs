//! The connection, and what is done when it is not what it should be.
//!
//! The library's manager reconnects by itself after a connection broke. It cannot know of three other conditions:
//! a peer that has gone silent without closing (a half-open connection), one that answers but should not be talked
//! to any more (a primary that became a replica, credentials that changed), and a pool that lives elsewhere now
//! (fail-over, a moved slot). Then the manager is replaced. Where the pool may move, its place is asked for first,
//! by [`Link::keep`], for as long as it takes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, Pipeline, PushInfo, RedisError, Value};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::access::within;
use super::cluster;
use super::locate::{Found, Locator, Topology};
use super::refusal::{self, unsuitable};
use super::reply::Outage;
use crate::clock::{Clock, jitter};
use crate::config::{RedisConfig, RedisNode};
use crate::store::host::StoreError;

/// Silence after which a connection counts as half-open.
const SILENCE: Duration = Duration::from_secs(2);
/// Least time between two replacements of a connection to one place.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);
/// First and longest pause between two searches for the pool's place; up to as much again is added at random.
const SEARCH_MIN: Duration = Duration::from_millis(50);
const SEARCH_MAX: Duration = Duration::from_millis(400);
/// Commands that may wait for the connection's writer.
const PIPELINE_BUFFER: usize = 1024;
/// First and longest pause between attempts to connect.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_millis(500);
/// What the library's own time-out may be late by.
const MARGIN: Duration = Duration::from_millis(100);

/// One connection to the server that holds the pool, which mends itself.
pub(super) struct Link {
    locator: Locator,
    config: ConnectionManagerConfig,
    peer: ArcSwap<Peer>,
    limit: Duration,
    connect_limit: Duration,
    clock: Clock,
    state: Mutex<State>,
    replaced: Notify,
    doubted: Notify,
    /// Searches that found the pool.
    found: watch::Sender<u64>,
}

struct Peer {
    at: Found,
    manager: ConnectionManager,
}

#[derive(Default)]
struct State {
    silent_since: Option<Instant>,
    replaced_at: Option<Instant>,
    /// Whether the connection is no good, even if the pool has not moved.
    broken: bool,
    /// Who said that the pool has moved to it.
    hint: Option<RedisNode>,
}

impl Link {
    /// A link to the pool of `channel`, which connects with its first command. Events and other pushes go to
    /// `pushes`. Where the pool may move, [`Link::keep`] has to run.
    pub(super) async fn open(
        config: &RedisConfig,
        channel: &str,
        pushes: mpsc::UnboundedSender<PushInfo>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let locator = Locator::new(config, channel)?;
        let manager_config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.command_timeout))
            .set_number_of_retries(2)
            .set_min_delay(RECONNECT_MIN)
            .set_max_delay(RECONNECT_MAX)
            .set_pipeline_buffer_size(PIPELINE_BUFFER)
            .set_push_sender(pushes)
            .set_automatic_resubscription();
        let peer = Peer::new(locator.locate(None).await?, &manager_config)?;
        Ok(Self {
            locator,
            config: manager_config,
            peer: ArcSwap::from_pointee(peer),
            limit: config.command_timeout + MARGIN,
            connect_limit: config.connect_timeout + config.command_timeout,
            clock,
            state: Mutex::default(),
            replaced: Notify::new(),
            doubted: Notify::new(),
            found: watch::Sender::new(0),
        })
    }

    /// Where Redis listens.
    pub(super) fn address(&self) -> Arc<str> {
        Arc::clone(&self.peer.load().at.address)
    }

    /// What the address was said to be of.
    pub(super) fn topology(&self) -> Topology {
        self.locator.topology()
    }

    /// Sends `pipeline` of `count` commands as one write and returns their replies, errors among them.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline, count: usize) -> Result<Vec<Value>, RedisError> {
        let mut manager = self.manager();
        let sent = manager.send_packed_commands(pipeline, 0, count);
        self.watched(self.limit, sent).await
    }

    /// Sends one command. An error it is answered with is an `Err`.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut manager = self.manager();
        let sent = manager.send_packed_command(command);
        self.watched(self.limit, sent).await?.extract_error()
    }

    /// As [`Link::command`], with time to connect first.
    pub(super) async fn first_command(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut manager = self.manager();
        let sent = manager.send_packed_command(command);
        self.watched(self.connect_limit, sent).await?.extract_error()
    }

    /// Subscribes the present connection, and those that follow it, to `channel`.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<(), RedisError> {
        let mut manager = self.manager();
        let sent = manager.subscribe(channel);
        self.watched(self.connect_limit, sent).await
    }

    /// Resolves when the connection was replaced by one without subscriptions.
    pub(super) async fn was_replaced(&self) {
        self.replaced.notified().await;
    }

    /// What a failed exchange is to the callers.
    pub(super) fn unavailable(&self, error: &RedisError) -> StoreError {
        refusal::unavailable(&self.address(), error)
    }

    /// What an answer is that says that Redis cannot work now.
    pub(super) fn refused(&self, condition: Outage) -> StoreError {
        let reason = format!("Redis at {} {condition}", self.address());
        if condition.is_about_the_peer() {
            self.replace();
        } else if condition.is_about_the_place() {
            self.doubt();
        }
        StoreError::Unavailable { reason }
    }

    /// Waits, not for long, until the pool was looked for again: a node answered that it has moved, with `details`.
    pub(super) async fn moved(&self, details: &str) {
        if !self.locator.may_move() {
            return;
        }
        let mut found = self.found.subscribe();
        let node = self.peer.load().at.node.clone();
        self.state().hint = node.and_then(|node| cluster::target(details, &node));
        self.doubt();
        // An error is the end of the link; the time is up or the pool is found, and the next answer tells.
        let _ = tokio::time::timeout(self.connect_limit, found.changed()).await;
    }

    /// Has the pool looked for, where it may have moved.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Looks for the pool whenever its place is in doubt, until it is found. Never returns.
    pub(super) async fn keep(&self) {
        loop {
            self.doubted.notified().await;
            let (mut told, mut pause) = (false, SEARCH_MIN);
            while self.locator.may_move()
                && let Err(error) = self.search().await
            {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "looking for the Redis that holds the pool");
                }
                tokio::time::sleep(pause + jitter(pause)).await;
                pause = (2 * pause).min(SEARCH_MAX);
            }
        }
    }

    async fn search(&self) -> Result<(), StoreError> {
        let hint = self.state().hint.take();
        let found = self.locator.locate(hint).await?;
        let moved = found.address != self.peer.load().at.address;
        if moved || std::mem::take(&mut self.state().broken) {
            self.install(found)?;
        }
        self.found.send_modify(|searches| *searches += 1);
        Ok(())
    }

    fn manager(&self) -> ConnectionManager {
        self.peer.load().manager.clone()
    }

    async fn watched<T>(
        &self,
        limit: Duration,
        exchange: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let outcome = within(limit, exchange).await;
        match &outcome {
            Ok(_) => self.state().silent_since = None,
            Err(error) if error.is_timeout() => self.note_silence(),
            // A manager whose attempt to connect ended in anything but an I/O error keeps that for ever: refused
            // credentials, a greeting that is none.
            Err(error) if !error.is_io_error() => self.replace(),
            Err(_) => self.doubt(),
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

    /// Replaces the connection: at once, or when the pool's place is certain.
    fn replace(&self) {
        let now = self.clock.instant();
        let lately = self.state().replaced_at.is_some_and(|at| now.duration_since(at) < REPLACE_PAUSE);
        if self.locator.may_move() {
            self.state().broken |= !lately;
            self.doubt();
        } else if !lately && let Err(error) = self.install(self.peer.load().at.clone()) {
            tracing::error!(%error, "the connection to Redis cannot be replaced");
        }
    }

    fn install(&self, at: Found) -> Result<(), StoreError> {
        let now = self.clock.instant();
        *self.state() = State { replaced_at: Some(now), ..State::default() };
        tracing::info!(address = %at.address, "connecting to Redis anew");
        self.peer.store(Arc::new(Peer::new(at, &self.config)?));
        self.replaced.notify_one();
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Its parts are whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    fn new(at: Found, config: &ConnectionManagerConfig) -> Result<Self, StoreError> {
        let manager = Client::open(at.server.clone())
            .and_then(|client| ConnectionManager::new_lazy_with_config(client, config.clone()))
            .map_err(|error| unsuitable(&at.address, error.to_string()))?;
        Ok(Self { at, manager })
    }
}
