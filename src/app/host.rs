//! The store's host: embedded or Redis, decided by the configuration.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, RedisConfig};
use crate::server::gateway::StoreMode;
use crate::store::embedded::EmbeddedHost;
use crate::store::host::{ScriptHost, StoreError};
use crate::store::keys::Keys;
use crate::store::redis::{Page, RedisHost};
use crate::store::registry;

/// Pause between attempts to reach a Redis that does not answer yet.
const PAUSE: Duration = Duration::from_millis(500);

/// Whatever runs the scripts. Cheap to clone.
#[derive(Clone)]
pub(super) enum Host {
    Embedded(Arc<EmbeddedHost>),
    Redis(Arc<RedisHost>),
}

impl Host {
    /// Opens the store that `config` names. A Redis that does not answer is waited for as long as a request would
    /// wait for it (`storeOutageGraceMs`).
    pub(super) async fn open(config: &Config, keys: &Keys, clock: &Clock) -> anyhow::Result<Self> {
        match &config.store.redis {
            None => {
                // A script is compiled when it is first called: a process calls few of them, and each takes memory.
                let host = EmbeddedHost::open(&config.store.data_dir, clock.clone(), &[])?;
                Ok(Self::Embedded(Arc::new(host)))
            }
            Some(redis) => {
                let give_up = clock.instant() + config.store.outage_grace;
                let mut told = false;
                loop {
                    match connect(redis, keys, clock).await {
                        Err(error) if is_away(&error) && clock.instant() + PAUSE < give_up => {
                            if !std::mem::replace(&mut told, true) {
                                tracing::warn!(%error, "waiting for the store");
                            }
                            tokio::time::sleep(PAUSE).await;
                        }
                        connected => return Ok(Self::Redis(Arc::new(connected?))),
                    }
                }
            }
        }
    }

    /// The scripts' side of it.
    pub(super) fn scripts(&self) -> Arc<dyn ScriptHost> {
        match self {
            Self::Embedded(host) => Arc::clone(host) as _,
            Self::Redis(host) => Arc::clone(host) as _,
        }
    }

    /// Tries what the feed of events and logs needs of a Redis.
    pub(super) async fn try_feed(&self, keys: &Keys) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Redis(host) => host.try_feed(keys).await,
        }
    }

    /// Whether no other machine can have the same store.
    pub(super) fn is_alone(&self) -> bool {
        self.mode() == StoreMode::Embedded
    }

    pub(super) fn mode(&self) -> StoreMode {
        match self {
            Self::Embedded(_) => StoreMode::Embedded,
            Self::Redis(_) => StoreMode::Redis,
        }
    }

    /// Makes an embedded store forget what was there before: its journal is written anew from what is there now. Answers
    /// whether there is one.
    pub(super) fn forget_history(&self) -> Result<bool, StoreError> {
        match self {
            Self::Embedded(host) => host.compact().map(|()| true),
            Self::Redis(_) => Ok(false),
        }
    }

    /// The names of keys that begin with `prefix`, page by page, from [`Page::first`] until no next one is named.
    pub(super) async fn names(
        &self,
        prefix: &str,
        page: Page,
    ) -> Result<(Vec<String>, Option<Page>), StoreError> {
        match self {
            Self::Embedded(host) => Ok((host.names(prefix)?, None)),
            Self::Redis(host) => host.names(prefix, page).await,
        }
    }

    /// The pool of `keys` as commands for `redis-cli --pipe`, page by page, from [`Page::first`] until no next one
    /// is named. An embedded store is one page.
    pub(super) async fn export(&self, keys: &Keys, page: Page) -> anyhow::Result<(Vec<u8>, Option<Page>)> {
        match self {
            Self::Embedded(host) => {
                let mut commands = Vec::new();
                host.export(&mut commands)?;
                Ok((commands, None))
            }
            Self::Redis(host) => Ok(host.export(keys.prefix(), page).await?),
        }
    }
}

async fn connect(config: &RedisConfig, keys: &Keys, clock: &Clock) -> Result<RedisHost, StoreError> {
    // Once per start, and large.
    Box::pin(RedisHost::connect(config, keys.channel(), registry::ALL, clock.clone())).await
}

fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. })
}
