//! [`TokenStore`] over the pool's scripts, with patience: a refresh that an outage of the store interrupts goes on
//! after it, so that neither the token nor the request that needs it is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::tokens::{Begun, StoreFault, StoredToken, TokenStore};
use super::vault::Sealed;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, CredentialVersion, Generation, OwnerId};
use crate::store::ops::tokens::{FinishedRefresh, Refresh, RefreshFailure};

/// How long one refresher may take before another one is let in.
const LOCK: Duration = Duration::from_secs(20);
/// Pause between tries while the store is away.
const PAUSE: Duration = Duration::from_millis(200);

/// The tokens in the store. Each step is repeated while the store is away, for at most `grace`: all of them may be,
/// after a lost reply, by their owner.
#[derive(Clone, Debug)]
pub struct SharedTokens {
    store: Store,
    grace: Duration,
    clock: Clock,
}

impl SharedTokens {
    /// The tokens in `store`, for which an outage of up to `grace` is waited out.
    #[must_use]
    pub fn new(store: Store, grace: Duration, clock: Clock) -> Self {
        Self { store, grace, clock }
    }

    async fn patiently<T, F>(&self, step: impl Fn() -> F) -> Result<T, StoreFault>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let give_up = self.clock.instant() + self.grace;
        loop {
            match step().await {
                Err(StoreError::Unavailable { .. }) if self.clock.instant() + PAUSE < give_up => {
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done.map_err(fault),
            }
        }
    }
}

impl TokenStore for SharedTokens {
    fn begin_refresh<'a>(
        &'a self,
        account: &'a str,
        credential_version: u64,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Begun, StoreFault>> {
        async move {
            let (account, owner) = (account_id(account)?, owner_id(owner)?);
            let wanted = CredentialVersion(credential_version);
            let refresh = self.patiently(|| self.store.begin_refresh(&account, &owner, LOCK)).await?;
            Ok(match refresh {
                Refresh::Token { credential, .. } if credential != wanted => Begun::Changed,
                Refresh::Token { generation, ttl, sealed, .. } => Begun::Token(StoredToken {
                    sealed: Sealed::from_text(sealed),
                    generation: generation.0,
                    remaining: ttl,
                }),
                Refresh::Granted { credential, .. } if credential != wanted => {
                    // Finishing for the outdated credential stores nothing and gives the lock back.
                    self.patiently(|| {
                        self.store.finish_refresh(&account, &owner, wanted, Duration::ZERO, "")
                    })
                    .await?;
                    Begun::Changed
                }
                Refresh::Granted { sealed, .. } => Begun::Refresh { credential: Sealed::from_text(sealed) },
                Refresh::Wait(_) => Begun::Busy,
                Refresh::Failed(retry_after) => Begun::Backoff { retry_after },
                Refresh::Invalid(_) | Refresh::Gone => Begun::Changed,
            })
        }
        .boxed()
    }

    fn finish_refresh<'a>(
        &'a self,
        account: &'a str,
        credential_version: u64,
        owner: &'a str,
        token: &'a Sealed,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<u64>, StoreFault>> {
        async move {
            let (account, owner) = (account_id(account)?, owner_id(owner)?);
            let version = CredentialVersion(credential_version);
            let finished =
                self.patiently(|| self.store.finish_refresh(&account, &owner, version, ttl, token.as_str()));
            Ok(match finished.await? {
                FinishedRefresh::Kept(generation) => Some(generation.0),
                FinishedRefresh::Lost | FinishedRefresh::Stale | FinishedRefresh::Gone => None,
            })
        }
        .boxed()
    }

    fn fail_refresh<'a>(
        &'a self,
        account: &'a str,
        credential_version: u64,
        owner: &'a str,
        failure: RefreshFailure,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            let (account, owner) = (account_id(account)?, owner_id(owner)?);
            let version = CredentialVersion(credential_version);
            self.patiently(|| self.store.fail_refresh(&account, &owner, version, failure)).await?;
            Ok(())
        }
        .boxed()
    }

    fn drop_token<'a>(&'a self, account: &'a str, generation: u64) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            let account = account_id(account)?;
            self.patiently(|| self.store.drop_token(&account, Generation(generation))).await?;
            Ok(())
        }
        .boxed()
    }
}

fn account_id(text: &str) -> Result<AccountId, StoreFault> {
    AccountId::new(text).map_err(fault)
}

fn owner_id(text: &str) -> Result<OwnerId, StoreFault> {
    OwnerId::new(text).map_err(fault)
}

fn fault(error: impl std::error::Error + Send + Sync + 'static) -> StoreFault {
    Arc::new(error)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::broadcast;

    use super::*;
    use crate::config::SelectionConfig;
    use crate::store::host::{Call, Event, Reply, ScriptHost};
    use crate::store::keys::Keys;

    /// Is away for some calls, then answers as `drop_token` does.
    struct Away(AtomicU32);

    impl ScriptHost for Away {
        fn eval(&self, _: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
            let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            let answer = match left {
                Ok(_) => Err(StoreError::Unavailable { reason: "a test".into() }),
                Err(_) => {
                    let reply = vec![Reply::Bulk("OK".into()), Reply::Int(1), Reply::Int(1)];
                    Ok(vec![Reply::Array(reply)])
                }
            };
            async move { answer }.boxed()
        }

        fn subscribe(&self) -> broadcast::Receiver<Event> {
            broadcast::channel(1).1
        }
    }

    fn tokens(away: u32) -> SharedTokens {
        let host = Arc::new(Away(AtomicU32::new(away)));
        let store = Store::new(host, Keys::new("main").unwrap(), &SelectionConfig::default());
        SharedTokens::new(store, Duration::from_secs(20), Clock::system())
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_waited_out_within_the_grace() {
        tokens(99).drop_token("x1", 1).await.unwrap();
        let clock = Clock::system();
        let begun = clock.instant();
        let error = tokens(u32::MAX).drop_token("x1", 1).await.unwrap_err();
        assert!(error.downcast_ref::<StoreError>().is_some(), "{error}");
        let waited = clock.instant() - begun;
        assert!((19..=20).contains(&waited.as_secs()), "{waited:?}");
    }
}
