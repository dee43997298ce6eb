//! Election: one replica does a piece of background work.

use std::time::Duration;

use super::admit::millis;
use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::OwnerId;
use crate::store::registry::{TRY_LOCK, UNLOCK};
use crate::store::reply::plain;

/// Whether the caller was elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// The caller holds it; asking again renews it.
    Taken,
    /// Another holds it for at most so long.
    Held(Duration),
    /// Another has made a pause of it ([`Store::pause`]): nobody is at it for so long.
    Paused(Duration),
}

impl Store {
    /// Tries to be the one who does `work` for `ttl`.
    pub async fn try_lock(&self, work: &str, owner: &OwnerId, ttl: Duration) -> Result<Lock, StoreError> {
        self.lock(work, owner, ttl, false).await
    }

    /// Tries to keep everybody else from `work` for `ttl` without doing it: others are told so. Its owner may go back to the
    /// work before that, with [`Store::try_lock`].
    pub async fn pause(&self, work: &str, owner: &OwnerId, ttl: Duration) -> Result<Lock, StoreError> {
        self.lock(work, owner, ttl, true).await
    }

    async fn lock(
        &self,
        work: &str,
        owner: &OwnerId,
        ttl: Duration,
        pause: bool,
    ) -> Result<Lock, StoreError> {
        let call = Call::new(&TRY_LOCK)
            .key(self.keys.named("meta"))
            .key(self.keys.lock(plain(&TRY_LOCK, "work", work)?))
            .arg(owner.as_str())
            .arg(millis(ttl).max(1))
            .arg(pause);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let lock = match code.as_str() {
            "OK" => Lock::Taken,
            "HELD" => Lock::Held(fields.millis("ms left")?),
            "PAUSED" => Lock::Paused(fields.millis("ms left")?),
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(lock)
    }

    /// Gives `work` up; `false` when it was no longer the caller's.
    pub async fn unlock(&self, work: &str, owner: &OwnerId) -> Result<bool, StoreError> {
        let call = Call::new(&UNLOCK)
            .key(self.keys.named("meta"))
            .key(self.keys.lock(plain(&UNLOCK, "work", work)?))
            .arg(owner.as_str());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let freed = match code.as_str() {
            "OK" => true,
            "LOST" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(freed)
    }
}
