//! [`TokenStore`] over the pool's scripts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::tokens::{Begun, StoreFault, StoredToken, TokenStore};
use super::vault::Sealed;
use crate::store::Store;
use crate::store::ident::{AccountId, CredentialVersion, Generation, OwnerId};
use crate::store::ops::tokens::{FinishedRefresh, Refresh, RefreshFailure};

/// How long one refresher may take before another one is let in.
const LOCK: Duration = Duration::from_secs(20);

impl TokenStore for Store {
    fn begin_refresh<'a>(
        &'a self,
        account: &'a str,
        credential_version: u64,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Begun, StoreFault>> {
        async move {
            let (account, owner) = (account_id(account)?, owner_id(owner)?);
            let wanted = CredentialVersion(credential_version);
            let refresh = Self::begin_refresh(self, &account, &owner, LOCK).await.map_err(fault)?;
            Ok(match refresh {
                Refresh::Token { credential, .. } if credential != wanted => Begun::Changed,
                Refresh::Token { generation, ttl, sealed, .. } => Begun::Token(StoredToken {
                    sealed: Sealed::from_text(sealed),
                    generation: generation.0,
                    remaining: ttl,
                }),
                Refresh::Granted { credential, .. } if credential != wanted => {
                    // Finishing for the outdated credential stores nothing and gives the lock back.
                    Self::finish_refresh(self, &account, &owner, wanted, Duration::ZERO, "")
                        .await
                        .map_err(fault)?;
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
            let finished = Self::finish_refresh(self, &account, &owner, version, ttl, token.as_str());
            Ok(match finished.await.map_err(fault)? {
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
            Self::fail_refresh(self, &account, &owner, version, failure).await.map_err(fault)?;
            Ok(())
        }
        .boxed()
    }

    fn drop_token<'a>(&'a self, account: &'a str, generation: u64) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            let account = account_id(account)?;
            Self::drop_token(self, &account, Generation(generation)).await.map_err(fault)?;
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
