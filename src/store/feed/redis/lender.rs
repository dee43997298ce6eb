//! A bounded set of connections, each used by one at a time.

use std::fmt;
use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime, TimeoutType};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionInfo, RedisError};

use super::super::FeedError;

/// Lends connections; makes them when they are needed.
pub(super) struct Lender {
    pool: Pool,
    answer: Duration,
}

impl Lender {
    /// Up to `size` connections to `server`. A command that blocks may take as long as `blocking`, any other as long
    /// as `answer`.
    pub(super) fn new(
        server: &ConnectionInfo,
        size: usize,
        answer: Duration,
        blocking: Duration,
    ) -> Result<Self, FeedError> {
        let timeouts = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(answer))
            .set_response_timeout(Some(blocking));
        let manager =
            Manager::new_with_config(server.clone(), timeouts).map_err(|error| unavailable(&error))?;
        let pool = Pool::builder(manager)
            .max_size(size)
            .wait_timeout(Some(answer))
            .create_timeout(Some(answer))
            .recycle_timeout(Some(answer))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| unavailable(&error))?;
        Ok(Self { pool, answer })
    }

    pub(super) async fn lend(&self) -> Result<Lent, FeedError> {
        let pooled = self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => FeedError::Busy,
            error => unavailable(&error),
        })?;
        Ok(Lent { connection: pooled.clone(), pooled: Some(pooled), answer: self.answer })
    }
}

/// A connection in use. Unless it is given back it is closed: an answer may still be on its way.
pub(super) struct Lent {
    connection: MultiplexedConnection,
    pooled: Option<Connection>,
    answer: Duration,
}

impl Lent {
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// The answer to a command that does not block.
    pub(super) async fn answer<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, FeedError> {
        match tokio::time::timeout(self.answer, command).await {
            Ok(answer) => answer.map_err(|error| unavailable(&error)),
            Err(_) => Err(FeedError::Unavailable { reason: "no answer in time".into() }),
        }
    }

    /// Every command has been answered.
    pub(super) fn give_back(mut self) {
        self.pooled = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(pooled) = self.pooled.take() {
            drop(Connection::take(pooled));
        }
    }
}

pub(super) fn unavailable(error: &impl fmt::Display) -> FeedError {
    FeedError::Unavailable { reason: error.to_string() }
}
