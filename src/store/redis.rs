//! The store in Redis or Valkey, for any number of gateways.
//!
//! One multiplexed connection carries everything: pipelines of `EVALSHA`, and the pool's events as RESP3 pushes. It
//! leads to the one server that holds the pool, also in a cluster or behind Sentinels. A call fails fast when Redis
//! does not answer; what may be repeated is repeated once at this level when the connection broke, and by the callers,
//! with patience, when Redis is away.

mod access;
mod check;
mod cluster;
mod export;
mod follow;
pub mod foreign;
mod link;
mod locate;
mod refusal;
mod reply;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::{Cmd, FromRedisValue as _, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

pub use self::export::Page;
use self::link::Link;
pub(super) use self::locate::Locator;
use super::host::{Call, Event, Reply, ScriptHost, StoreError};
use super::keys::{Key, Keys};
use super::script::{Durability, Script};
use crate::clock::Clock;
use crate::config::RedisConfig;

/// Events a slow subscriber may be behind.
const EVENTS: usize = 1024;
/// Round trips of one batch at most: as it is, with the scripts that were missing, and the same at another node.
const ROUNDS: usize = 4;

/// A pool's Redis.
pub struct RedisHost {
    link: Arc<Link>,
    events: broadcast::Sender<Event>,
    // End with the host.
    _tasks: JoinSet<()>,
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
        let link = Arc::new(Link::open(config, &channel, sender, clock).await?);
        check::check(&link).await?;
        check::load(&link, scripts).await?;
        check::subscribe(&link, &channel).await?;
        let (events, _) = broadcast::channel(EVENTS);
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&link);
        tasks.spawn(async move { kept.keep().await });
        let subscription = follow::Subscription {
            channel,
            scripts: scripts.to_vec(),
            pushes,
            events: events.clone(),
            checked: link.address(),
        };
        tasks.spawn(follow::follow(Arc::clone(&link), subscription));
        Ok(Self { link, events, _tasks: tasks })
    }

    /// Tries every command of the feed of events and logs of the pool of `keys`, once: fails as [`RedisHost::connect`] does,
    /// naming what the user's access rules lack.
    pub async fn try_feed(&self, keys: &Keys) -> Result<(), StoreError> {
        check::try_feed(&self.link, &keys.scratch_feed()).await
    }

    /// The keys that begin with `prefix`, as commands for `redis-cli --pipe`, page by page: begin with
    /// [`Page::first`], go on with the page each answer names until there is none. While gateways serve, each key is whole, but
    /// not all are of the same moment. The feed of events and logs is not among them.
    pub async fn export(&self, prefix: &str, page: Page) -> Result<(Vec<u8>, Option<Page>), StoreError> {
        export::export(&self.link, prefix, page).await
    }

    /// The names of keys that begin with `prefix`, page by page as with [`RedisHost::export`]; a key that stays is named at
    /// least once.
    pub async fn names(&self, prefix: &str, page: Page) -> Result<(Vec<String>, Option<Page>), StoreError> {
        let (names, next) = export::names(&self.link, prefix, page).await?;
        // Keys of ours are text.
        Ok((names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect(), next))
    }

    /// Every reply of `batch`. Calls of scripts that the server does not know are repeated with the scripts, calls
    /// that another node must answer are repeated there: neither have run.
    async fn run(&self, batch: &[Call]) -> Result<Vec<Reply>, RedisError> {
        let mut replies = vec![Value::Nil; batch.len()];
        let mut left: Vec<usize> = (0..batch.len()).collect();
        let mut with_scripts = false;
        for _round in 0..ROUNDS {
            let commands = left.len() * if with_scripts { 2 } else { 1 };
            let mut pipeline = Pipeline::with_capacity(commands);
            if with_scripts {
                for &at in &left {
                    pipeline.add_command(load(batch[at].script));
                }
            }
            for &at in &left {
                pipeline.add_command(evalsha(&batch[at]));
            }
            let answers = self.link.pipeline(&pipeline, commands).await?;
            for (at, answer) in left.iter().zip(answers.into_iter().skip(commands - left.len())) {
                replies[*at] = answer;
            }
            let moved = left.iter().find_map(|&at| refusal_of(&replies[at], ServerErrorKind::Moved));
            if let Some(details) = moved {
                self.link.moved(details).await;
            }
            left.retain(|&at| {
                let refused = |kind| refusal_of(&replies[at], kind).is_some();
                refused(ServerErrorKind::Moved) || refused(ServerErrorKind::NoScript)
            });
            if left.is_empty() {
                break;
            }
            with_scripts = true;
        }
        Ok(replies.into_iter().map(reply::read).collect())
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
                    let key = call.keys.first().map_or("", Key::as_str);
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
    let keys: usize = call.keys.iter().map(|key| key.as_bytes().len()).sum();
    let args: usize = call.args.iter().map(|arg| arg.as_bytes().len()).sum();
    let mut command = Cmd::with_capacity(3 + call.keys.len() + call.args.len(), 64 + keys + args);
    command.arg("EVALSHA").arg(call.script.sha1()).arg(call.keys.len());
    for key in &call.keys {
        command.arg(key.as_bytes());
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

/// What `reply` says besides, when it is this error.
fn refusal_of(reply: &Value, kind: ServerErrorKind) -> Option<&str> {
    match reply {
        Value::ServerError(error) if error.kind() == Some(kind) => Some(error.details().unwrap_or_default()),
        _ => None,
    }
}

/// A map of texts; other values are left out.
fn texts(value: Value) -> HashMap<String, String> {
    let pairs: Vec<(Value, Value)> = match value {
        Value::Map(pairs) => pairs,
        // Before RESP3, and for CONFIG GET on some servers: names and values in turn.
        Value::Array(items) => {
            items.chunks(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone()))).collect()
        }
        _ => Vec::new(),
    };
    let text = |value| String::from_redis_value(value).ok();
    pairs.into_iter().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}
