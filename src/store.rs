//! Shared state: script hosts, the scripts themselves, and one typed wrapper per script.
//!
//! [`Store`] is what the rest of the gateway sees. It builds calls and reads replies; every rule is in
//! `scripts/*.lua`, which run in whatever [`host::ScriptHost`] it was given.

pub mod audit;
pub mod embedded;
pub mod feed;
pub mod follow;
pub mod host;
pub mod ident;
pub mod keys;
pub mod ops;
pub mod redis;
pub mod registry;
mod reply;
pub mod script;
#[cfg(test)]
pub(crate) mod unsteady;

use std::fmt;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::config::{SelectionConfig, Strategy};
use feed::Feed;
use feed::notice::Notice;
use host::{Call, Event, Reply, ScriptHost, StoreError};
use ident::Stamp;
use keys::Keys;
use registry::REHEARSE;
use reply::Fields;
use script::Script;

/// One pool's shared state.
#[derive(Clone)]
pub struct Store {
    host: Arc<dyn ScriptHost>,
    keys: Keys,
    settings: Settings,
    feed: Option<Arc<dyn Feed>>,
    now_ms: Option<i64>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// This process's own settings for scripts, as lines `name=value`: below and above the shared ones.
#[derive(Clone, Debug, Default)]
struct Settings {
    base: Arc<str>,
    pinned: Arc<str>,
}

impl Settings {
    fn new(config: &SelectionConfig) -> Self {
        let lines = |settings: &std::collections::BTreeMap<String, String>| {
            settings.iter().fold(String::new(), |text, (name, value)| text + name + "=" + value + "\n")
        };
        let mut base = config.base.clone();
        // What is the scripts' default anyway is not sent with every call.
        if config.strategy != Strategy::default() {
            base.entry("strategy".into()).or_insert_with(|| config.strategy.as_str().into());
        }
        if config.max_accounts != 0 {
            base.entry("maxAccounts".into()).or_insert_with(|| config.max_accounts.to_string());
        }
        Self { base: lines(&base).into(), pinned: lines(&config.pinned).into() }
    }
}

impl Store {
    /// The pool of `keys` on `host`, with this process's own selection settings.
    #[must_use]
    pub fn new(host: Arc<dyn ScriptHost>, keys: Keys, selection: &SelectionConfig) -> Self {
        Self { host, keys, settings: Settings::new(selection), feed: None, now_ms: None }
    }

    /// The same pool at a fixed time, for tests; everywhere else scripts read the store's own clock.
    #[doc(hidden)]
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Self {
        Self { now_ms: Some(now_ms), ..self.clone() }
    }

    /// The same pool with other selection settings.
    #[must_use]
    pub fn with_selection(&self, selection: &SelectionConfig) -> Self {
        Self { settings: Settings::new(selection), ..self.clone() }
    }

    /// The same pool; what its wrappers change from now on is noted in `feed`.
    #[must_use]
    pub fn noting(&self, feed: Arc<dyn Feed>) -> Self {
        Self { feed: Some(feed), ..self.clone() }
    }

    /// Where changes are noted, if they are.
    #[must_use]
    pub fn feed(&self) -> Option<&dyn Feed> {
        self.feed.as_deref()
    }

    /// The pool's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The pool's events from now on; see [`ops::PoolEvent::parse`].
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.host.subscribe()
    }

    /// Tries every command that scripts use, once: fails where the server or the user's access rules lack one.
    pub async fn rehearse(&self) -> Result<(), StoreError> {
        let call = Call::new(&REHEARSE)
            .key(self.keys.named("meta"))
            .key(self.keys.named("scratch"))
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        fields.end()
    }

    /// Closes a call with the time, the last argument of every script: empty unless a test fixed it.
    fn timed(&self, call: Call) -> Call {
        call.arg(self.now_ms)
    }

    /// Adds the two lines of own settings.
    fn configured(&self, call: Call) -> Call {
        call.arg(&*self.settings.base).arg(&*self.settings.pinned)
    }

    /// Tells operators what this process's call has changed.
    fn note(&self, stamp: Stamp, notice: Notice<'_>) {
        if let Some(feed) = &self.feed {
            notice.append(stamp, &**feed);
        }
    }

    async fn run(&self, call: Call) -> Result<Fields, StoreError> {
        let script = call.script;
        let mut replies = self.host.eval(vec![call]).await?.into_iter();
        single(script, replies.next())
    }
}

/// The reply of one call of a batch.
fn single(script: &'static Script, reply: Option<Reply>) -> Result<Fields, StoreError> {
    let reply = reply.ok_or_else(|| StoreError::bad_reply(script, "one reply per call", &Reply::Nil))?;
    Fields::new(script, reply)
}
