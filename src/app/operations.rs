//! What operators do to accounts, caches and requests.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::gateway::{AppGateway, store_refusal, views};
use super::limits::{self, FRESHEST, Frame, PATIENCE};
use super::requests::name_accounts;
use crate::config::Config;
use crate::server::error::ApiError;
use crate::server::gateway::AccountCounts;
use crate::server::gateway::limits::AccountLimits;
use crate::server::gateway::operations::{ClearedCaches, Operations, Remedy};
use crate::server::gateway::requests::{CancelOutcome, LiveRequests};
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, CredentialVersion, InvalidReason, OwnerId, RequestName};
use crate::store::ops::listing::{Invalidity, Named};
use crate::store::ops::locks::Lock;
use crate::store::ops::refreshes::Refreshed;
use crate::store::redis::Page;

/// The lock that says when quotas were last asked for because somebody wanted them fresh.
const FRESH: &str = "fresh-quotas";
/// The lock that says when the tokens of all accounts were forgotten last, and how long nobody does that again: each time
/// costs a call per account.
const FORGET: &str = "forget-tokens";
const FORGET_PACE: Duration = Duration::from_secs(5);
/// Names of signatures that are forgotten in one go.
const NAMES: usize = 8192;

impl Operations for AppGateway {
    fn account_limits(&self, refresh: bool) -> BoxFuture<'_, Result<AccountLimits, ApiError>> {
        async move {
            // What a console has just changed on another replica has to be in its next report.
            if let Err(error) = self.settings.refresh().await {
                tracing::debug!(%error, "the shared settings could not be read");
            }
            let Config { selection: config, models, .. } = self.settings.config();
            let age = if refresh { FRESHEST } else { config.quota_snapshot.max(FRESHEST) };
            let mut accounts = self.list().await?;
            if refresh && self.may_refresh().await {
                self.survey.completed_within(PATIENCE).await;
                accounts = self.list().await?;
            } else if !limits::is_young(&accounts, age) {
                self.survey.younger_than(age, PATIENCE).await;
                accounts = self.list().await?;
            }
            let frame = Frame {
                model_config: models.entries,
                threshold: config.global_quota_threshold,
                interval: config.quota_refresh,
            };
            Ok(limits::report(&accounts, frame))
        }
        .boxed()
    }

    fn refresh_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        async move {
            let account = match self.store.get_account(Named::Email(email.trim())).await {
                Ok(Some(account)) => (account.view.id, account.view.credential),
                Ok(None) => return Ok(false),
                // Nothing is known of its credential; its token may be there.
                Err(StoreError::Damaged { account }) => (account, CredentialVersion(0)),
                Err(error) => return Err(store_refusal(&error)),
            };
            let refreshed = self.forget(&[account], true).await?;
            Ok(refreshed.accounts > 0)
        }
        .boxed()
    }

    fn account_remedy<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Option<Remedy>, ApiError>> {
        async move {
            let account = match self.store.get_account(Named::Email(email.trim())).await {
                Ok(Some(account)) => account.view,
                Ok(None) => return Ok(None),
                // A new credential mends its record, too.
                Err(StoreError::Damaged { .. }) => return Ok(Some(Remedy::SignIn)),
                Err(error) => return Err(store_refusal(&error)),
            };
            Ok(Some(match account.invalid {
                None => Remedy::Nothing { enabled: account.enabled },
                Some(Invalidity { reason: InvalidReason::Banned, .. }) => Remedy::Appeal,
                Some(Invalidity { reason: InvalidReason::Verification, url: Some(url), .. }) => {
                    Remedy::Verify { url }
                }
                Some(_) => Remedy::SignIn,
            }))
        }
        .boxed()
    }

    fn reload_accounts(&self) -> BoxFuture<'_, Result<AccountCounts, ApiError>> {
        async move {
            self.catalogue.forget();
            self.settings.refresh().await.map_err(|error| store_refusal(&error))?;
            self.survey.request();
            Ok(AccountCounts::of(&views(&self.list().await?)))
        }
        .boxed()
    }

    fn clear_caches(&self) -> BoxFuture<'_, Result<Option<ClearedCaches>, ApiError>> {
        async move {
            let taken = self.is_first(FORGET, FORGET_PACE).await.map_err(|error| store_refusal(&error))?;
            let Some(owner) = taken else { return Ok(None) };
            let cleared = self.clear_all().await;
            // What was not done may be tried again at once.
            if cleared.is_err()
                && let Err(error) = self.store.unlock(FORGET, &owner).await
            {
                tracing::debug!(%error, "tokens are not forgotten again for a moment");
            }
            cleared.map(Some)
        }
        .boxed()
    }

    fn clear_signatures(&self) -> BoxFuture<'_, Result<Option<u64>, ApiError>> {
        async move {
            if !self.settings.config().server.dev_mode {
                return Ok(None);
            }
            let prefix = self.store.keys().signatures();
            let (mut forgotten, mut page) = (0, Some(Page::first()));
            while let Some(current) = page {
                let found = self.host.names(&prefix, current).await;
                let (names, next) = found.map_err(|error| store_refusal(&error))?;
                for names in names.chunks(NAMES) {
                    let done = self.store.forget_signatures(names).await;
                    forgotten += done.map_err(|error| store_refusal(&error))?;
                }
                page = next;
            }
            Ok(Some(forgotten))
        }
        .boxed()
    }

    fn live_requests(&self) -> BoxFuture<'_, Result<LiveRequests, ApiError>> {
        async move {
            let mut live = self.requests.list().await.map_err(|error| store_refusal(&error))?;
            if live.requests.iter().any(|request| request.account.is_some()) {
                let accounts = self.directory.list(&[]).await.map_err(|error| store_refusal(&error))?;
                let emails: HashMap<_, _> = accounts
                    .readable
                    .into_iter()
                    .map(|one| (one.id.as_str().to_owned(), one.email))
                    .collect();
                name_accounts(&mut live, &emails);
            }
            Ok(live)
        }
        .boxed()
    }

    fn cancel_request<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<CancelOutcome, ApiError>> {
        async move {
            // What can be no request's id is none's.
            let Ok(name) = RequestName::new(id) else { return Ok(CancelOutcome::Unknown) };
            self.requests.cancel(&name).await.map_err(|error| store_refusal(&error))
        }
        .boxed()
    }
}

impl AppGateway {
    /// Forgets in the store, and here at once; the other replicas hear of it.
    async fn forget(
        &self,
        accounts: &[(AccountId, CredentialVersion)],
        verified: bool,
    ) -> Result<Refreshed, ApiError> {
        let refreshed = self.store.refresh_accounts(accounts, verified).await;
        for (id, _) in accounts {
            self.tokens.forget(id);
        }
        refreshed.map_err(|error| store_refusal(&error))
    }

    /// Forgets what was derived from the credentials of all accounts.
    async fn clear_all(&self) -> Result<ClearedCaches, ApiError> {
        let accounts = self.directory.list(&[]).await.map_err(|error| store_refusal(&error))?;
        let readable = accounts.readable.into_iter().map(|one| (one.id, one.credential));
        let damaged = accounts.damaged.into_iter().map(|one| (one.id, CredentialVersion(0)));
        let accounts: Vec<_> = readable.chain(damaged).collect();
        let Refreshed { tokens, projects, .. } = self.forget(&accounts, false).await?;
        Ok(ClearedCaches { tokens, projects })
    }

    /// Whether nobody in the pool has made the accounts be asked anew just now.
    pub(super) async fn may_refresh(&self) -> bool {
        match self.is_first(FRESH, FRESHEST).await {
            Ok(taken) => taken.is_some(),
            Err(error) => {
                tracing::debug!(%error, "quotas are not fetched anew");
                false
            }
        }
    }

    /// Takes `work` for all replicas for `time`; `None` when somebody has. With the owner it can be given back.
    async fn is_first(&self, work: &str, time: Duration) -> Result<Option<OwnerId>, StoreError> {
        let Some(nobody) = OwnerId::random() else {
            return Err(StoreError::Unavailable { reason: "the system's random source failed".into() });
        };
        let lock = self.store.try_lock(work, &nobody, time).await?;
        Ok((lock == Lock::Taken).then_some(nobody))
    }
}
