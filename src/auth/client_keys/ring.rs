//! The client keys of a pool, kept current in this process and changed through it.
//!
//! They are followed as `store/follow.rs` says. While the store is away the last known keys stay in force.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::directory::{Directory, KeyError, Made, NewKey, id_of};
use super::{ClientKeys, OPEN};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::follow::Follower;
use crate::store::host::StoreError;
use crate::store::ops::PoolEvent;
use crate::store::ops::clients::{Client, ClientChange};

/// Between two writings of last uses.
const WRITE_USES: Duration = Duration::from_secs(15);

/// The client keys of a pool. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct KeyRing {
    keys: ClientKeys,
    store: Store,
    directory: Directory,
    /// One look at a time, so that what was read earlier never replaces what was read later.
    looking: Arc<Mutex<()>>,
}

impl KeyRing {
    /// The `configured` keys, and those of `store` from the first look on.
    #[must_use]
    pub fn new(store: Store, configured: &[SecretString], clock: Clock) -> Self {
        let keys = ClientKeys::new(configured, clock);
        Self { keys, directory: Directory::new(store.clone()), store, looking: Arc::default() }
    }

    /// What requests are checked against.
    #[must_use]
    pub fn keys(&self) -> &ClientKeys {
        &self.keys
    }

    /// Reads the stored keys, whatever is known of them.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn load(&self) -> Result<(), StoreError> {
        self.look(true).await
    }

    /// Keeps them current until `stop`, and writes when keys were used.
    pub async fn follow(self, stop: CancellationToken) {
        let mut follower = Follower::new(&self.store, PoolEvent::Clients);
        let mut writes = tokio::time::interval(WRITE_USES);
        writes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = writes.tick() => {
                    self.write_uses().await;
                    continue;
                }
                () = follower.due() => {}
            }
            if let Err(error) = follower.look(|whole| self.look(whole)).await {
                tracing::debug!(%error, "the client keys could not be read; those known stay in force");
            }
        }
        self.write_uses().await;
    }

    /// All stored keys by name, revoked ones too, and the store's time, ms since the epoch.
    pub async fn list(&self) -> Result<(Vec<Client>, i64), KeyError> {
        self.write_uses().await;
        self.directory.list().await
    }

    /// Makes a key.
    pub async fn create(&self, new: &NewKey) -> Result<Made, KeyError> {
        let made = self.directory.create(new, self.keys.now_ms()).await?;
        self.changed().await;
        Ok(made)
    }

    /// Changes name, expiry or models of the key with this id or name.
    pub async fn edit(&self, which: &str, change: ClientChange) -> Result<Client, KeyError> {
        let client = self.directory.edit(which, change, self.keys.now_ms()).await?;
        self.changed().await;
        Ok(client)
    }

    /// Gives the key with this id or name a new secret; the one before stays good for `grace`.
    pub async fn rotate(&self, which: &str, grace: Duration) -> Result<Made, KeyError> {
        let made = self.directory.rotate(which, grace).await?;
        self.changed().await;
        Ok(made)
    }

    /// Revokes the key with this id or name, for good.
    pub async fn revoke(&self, which: &str) -> Result<Client, KeyError> {
        let client = self.directory.revoke(which).await?;
        self.changed().await;
        Ok(client)
    }

    /// The id that scopes what the caller with this key does: `which` is the name or id of a stored key, or any other
    /// id; without it the first configured key, else `open`.
    pub async fn scope(&self, which: Option<&str>) -> Result<String, KeyError> {
        match which {
            None => Ok(self.keys.configured().into_iter().next().unwrap_or_else(|| OPEN.to_owned())),
            Some(which) => Ok(id_of(&self.directory.list().await?.0, which)),
        }
    }

    /// Takes over what this process changed: its own next request goes by it.
    async fn changed(&self) {
        if let Err(error) = self.look(false).await {
            tracing::debug!(%error, "the changed client keys could not be read; they will be");
        }
    }

    async fn look(&self, whole: bool) -> Result<(), StoreError> {
        let _one_at_a_time = self.looking.lock().await;
        let known = (!whole).then(|| self.keys.generation());
        let looked = self.store.list_clients(known).await?;
        self.keys.heard(looked.now_ms);
        if let Some(clients) = looked.clients {
            let (generation, before, was_open) =
                (clients.generation, self.keys.generation(), self.keys.is_open());
            self.keys.take_over(clients);
            if generation != before {
                tracing::info!(%generation, "client keys taken over");
            }
            if was_open && !self.keys.is_open() {
                tracing::info!("/v1 asks for a key: client keys were made");
            }
        }
        Ok(())
    }

    async fn write_uses(&self) {
        let uses = self.keys.unwritten();
        if uses.is_empty() {
            return;
        }
        let ages: Vec<_> = uses.iter().map(|(id, at)| (id.clone(), self.keys.since(*at))).collect();
        match self.store.touch_clients(&ages).await {
            Ok(()) => self.keys.written(&uses),
            Err(error) => tracing::debug!(%error, "last uses of client keys could not be written"),
        }
    }
}
