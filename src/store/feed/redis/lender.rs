//! A bounded set of connections, each used by one at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleResult, TimeoutType};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisError};

use super::super::FeedError;
use crate::store::redis::Locator;

/// Lends connections; makes them when they are needed.
pub(super) struct Lender {
    locator: Arc<Locator>,
    /// To the place where the feed was found last.
    pool: Mutex<Option<Arc<Pool<Server>>>>,
    size: usize,
    answer: Duration,
    blocking: Duration,
}

/// Makes the connections, and tells whether an idle one is still good.
struct Server {
    client: Client,
    limits: AsyncConnectionConfig,
}

impl Manager for Server {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        self.client.get_multiplexed_async_connection_with_config(&self.limits).await
    }

    async fn recycle(
        &self,
        idle: &mut MultiplexedConnection,
        _metrics: &Metrics,
    ) -> RecycleResult<RedisError> {
        // Nothing here watches keys, and a user who may do no more than docs/redis.md grants may not UNWATCH them:
        // each refusal would cost a new connection.
        let _pong: String = redis::cmd("PING").query_async(idle).await?;
        Ok(())
    }
}

impl Lender {
    /// Up to `size` connections to the server that `locator` finds. A command that blocks may take as long as
    /// `blocking`, any other as long as `answer`.
    pub(super) fn new(locator: Arc<Locator>, size: usize, answer: Duration, blocking: Duration) -> Self {
        Self { locator, pool: Mutex::default(), size, answer, blocking }
    }

    pub(super) async fn lend(&self) -> Result<Lent<'_>, FeedError> {
        let pool = self.pool().await?;
        match pool.get().await {
            Ok(pooled) => Ok(Lent { lender: self, pool, connection: pooled.clone(), pooled: Some(pooled) }),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(FeedError::Busy),
            Err(error) => {
                self.forget(&pool);
                Err(unavailable(&error))
            }
        }
    }

    /// The connections to the feed's server, which is looked for where it is not known.
    async fn pool(&self) -> Result<Arc<Pool<Server>>, FeedError> {
        let present = self.known().clone();
        if let Some(pool) = present {
            return Ok(pool);
        }
        let found = self.locator.locate(None).await.map_err(|error| unavailable(&error))?;
        let made = Arc::new(self.connections(found.server)?);
        // Unless another was faster.
        Ok(Arc::clone(self.known().get_or_insert(made)))
    }

    fn connections(&self, server: ConnectionInfo) -> Result<Pool<Server>, FeedError> {
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.answer))
            .set_response_timeout(Some(self.blocking));
        let client = Client::open(server).map_err(|error| unavailable(&error))?;
        Pool::builder(Server { client, limits })
            .max_size(self.size)
            .wait_timeout(Some(self.answer))
            .create_timeout(Some(self.answer))
            .recycle_timeout(Some(self.answer))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| unavailable(&error))
    }

    /// Has the feed looked for again, where it may have moved from the server of `pool`.
    fn forget(&self, pool: &Arc<Pool<Server>>) {
        let mut known = self.known();
        if self.locator.may_move() && known.as_ref().is_some_and(|present| Arc::ptr_eq(present, pool)) {
            *known = None;
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<Pool<Server>>>> {
        // Whole after any panic.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. Unless it is given back it is closed: an answer may still be on its way.
pub(super) struct Lent<'l> {
    lender: &'l Lender,
    pool: Arc<Pool<Server>>,
    connection: MultiplexedConnection,
    pooled: Option<Object<Server>>,
}

impl Lent<'_> {
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// The answer to a command that does not block.
    pub(super) async fn answer<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, FeedError> {
        let answer = tokio::time::timeout(self.lender.answer, command).await;
        self.checked(answer.unwrap_or_else(|_late| Err(io::Error::from(io::ErrorKind::TimedOut).into())))
    }

    /// `answer`, after which the feed may have to be looked for.
    pub(super) fn checked<T>(&self, answer: Result<T, RedisError>) -> Result<T, FeedError> {
        answer.map_err(|error| {
            self.lender.forget(&self.pool);
            unavailable(&error)
        })
    }

    /// Every command has been answered.
    pub(super) fn give_back(mut self) {
        self.pooled = None;
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(pooled) = self.pooled.take() {
            drop(Object::take(pooled));
        }
    }
}

pub(super) fn unavailable(error: &impl fmt::Display) -> FeedError {
    FeedError::Unavailable { reason: error.to_string() }
}
