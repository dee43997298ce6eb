//! The store in Redis or Valkey, for any number of gateways.
//!
//! One multiplexed connection carries everything: pipelines of `EVALSHA`, and the pool's events as RESP3 pushes. A
//! call fails fast when Redis does not answer; what may be repeated is repeated once at this level when the
//! connection broke, and by the callers, with patience, when Redis is away.

mod check;
mod export;
mod follow;
mod link;
mod reply;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, Value};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

pub use self::export::Page;
use self::link::Link;
pub(super) use self::link::connection_info;
use super::host::{Call, Event, Reply, ScriptHost, StoreError};
use super::script::{Durability, Script};
use crate::clock::Clock;
use crate::config::RedisConfig;

/// Events a slow subscriber may be behind.
const EVENTS: usize = 1024;

/// A pool's Redis.
pub struct RedisHost {
    link: Arc<Link>,
    events: broadcast::Sender<Event>,
    // Ends with the host.
    _follower: JoinSet<()>,
}

impl RedisHost {
    /// Connects, checks that this Redis may hold the pool, loads `scripts` and subscribes to `channel`.
    ///
    /// Fails with [`StoreError::Unavailable`] when Redis does not answer (it may later), with
    /// [`StoreError::Unsuitable`] and what to change when it is not fit, now or ever.
    pub async fn connect(
        config: &RedisConfig,
        channel: String,
        scripts: &[&'static Script],
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let link = Arc::new(Link::new(config, sender, clock)?);
        check::check(&link).await?;
        check::load(&link, scripts).await?;
        check::subscribe(&link, &channel).await?;
        let (events, _) = broadcast::channel(EVENTS);
        let mut follower = JoinSet::new();
        follower.spawn(follow::follow(
            Arc::clone(&link),
            follow::Subscription { channel, scripts: scripts.to_vec(), pushes, events: events.clone() },
        ));
        Ok(Self { link, events, _follower: follower })
    }

    /// The keys that begin with `prefix`, as commands for `redis-cli --pipe`, page by page: begin with
    /// [`Page::first`], go on with the page each answer names until there is none. While gateways serve, each key is whole, but
    /// not all are of the same moment.
    pub async fn export(&self, prefix: &str, page: Page) -> Result<(Vec<u8>, Option<Page>), StoreError> {
        export::export(&self.link, prefix, page).await
    }

    /// Every reply of `batch`; calls of scripts that Redis does not know are repeated with the scripts.
    async fn run(&self, batch: &[Call]) -> Result<Vec<Reply>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(batch.len());
        for call in batch {
            pipeline.add_command(evalsha(call));
        }
        let mut values = self.link.pipeline(&pipeline, batch.len()).await?;
        let unknown: Vec<usize> = (0..values.len()).filter(|&at| is_noscript(&values[at])).collect();
        if !unknown.is_empty() {
            // After a restart or a `SCRIPT FLUSH`; what was answered NOSCRIPT has not run.
            let mut pipeline = Pipeline::with_capacity(2 * unknown.len());
            for &at in &unknown {
                pipeline.add_command(load(batch[at].script));
            }
            for &at in &unknown {
                pipeline.add_command(evalsha(&batch[at]));
            }
            let answers = self.link.pipeline(&pipeline, 2 * unknown.len()).await?;
            for (at, value) in unknown.iter().zip(answers.into_iter().skip(unknown.len())) {
                values[*at] = value;
            }
        }
        Ok(values.into_iter().map(reply::read).collect())
    }
}

impl ScriptHost for RedisHost {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        Box::pin(async move {
            let repeatable = batch.iter().all(|call| call.script.durability == Durability::Periodic);
            let mut outcome = self.run(&batch).await;
            // A connection that broke, after an idle time or a restart, is there again at once; the first call
            // to notice must not fail for it.
            if repeatable && outcome.as_ref().is_err_and(RedisError::is_connection_dropped) {
                outcome = self.run(&batch).await;
            }
            let replies = outcome.map_err(|error| self.link.unavailable(&error))?;
            for (call, reply) in batch.iter().zip(&replies) {
                let Reply::Error(error) = reply else { continue };
                if let Some(condition) = reply::Outage::of(error) {
                    return Err(self.link.refused(condition));
                }
                if reply::is_denial(error) {
                    let key = call.keys.first().map_or("", String::as_str);
                    return Err(check::denied(&self.link, error, key));
                }
            }
            Ok(replies)
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

fn evalsha(call: &Call) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(call.script.sha1()).arg(call.keys.len());
    for key in &call.keys {
        command.arg(key);
    }
    for arg in &call.args {
        command.arg(arg.as_bytes());
    }
    command
}

fn load(script: &Script) -> Cmd {
    let mut command = redis::cmd("SCRIPT");
    command.arg("LOAD").arg(script.source);
    command
}

fn is_noscript(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(redis::ServerErrorKind::NoScript))
}

/// Whether the server refuses who this gateway says it is.
fn is_refusal_of_credentials(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}
