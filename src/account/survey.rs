//! Regular rounds over the accounts: which models they offer, what is left of their quotas, which project they
//! belong to.
//!
//! One replica at a time does a round, elected by a lock; the results are in the store for all. A round also
//! finishes what an import leaves open: an account without a project is onboarded here, off any request's path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::catalogue::{Catalogue, Model};
use super::directory::Directory;
use super::settlement::outcome_of;
use crate::auth::tokens::{AccessToken, TokenRequest, Tokens};
use crate::clock::Clock;
use crate::cloudcode::models::{ModelInfo, fetch};
use crate::cloudcode::project::discover;
use crate::cloudcode::{Client, Failure};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, InvalidReason, OwnerId};
use crate::store::ops::accounts::{Change, SetAccount};
use crate::store::ops::listing::AccountView;
use crate::store::ops::locks::Lock;
use crate::store::ops::models::ModelQuota;
use crate::store::ops::settle::Outcome;

/// Between two rounds; up to a tenth more at random, so that replicas do not ask for the lock together.
const INTERVAL: Duration = Duration::from_mins(5);
/// After a round that found nothing, and while another replica holds the lock at start.
const SOON: Duration = Duration::from_secs(5);
/// How long a round may take before another replica may begin one.
const LOCK: Duration = Duration::from_mins(2);
/// Accounts asked at once.
const PARALLEL: usize = 4;
/// The lock's name.
const WORK: &str = "survey";

/// Surveys the pool. Cheap to clone.
#[derive(Clone)]
pub struct Survey(Arc<Parts>);

struct Parts {
    store: Store,
    directory: Directory,
    catalogue: Catalogue,
    client: Client,
    tokens: Tokens,
    clock: Clock,
    owner: OwnerId,
    accounts: AtomicU32,
    wanted: Notify,
    done: Notify,
}

/// What a survey needs.
pub struct SurveyParts {
    /// Shared state.
    pub store: Store,
    /// The accounts.
    pub directory: Directory,
    /// Where the models go.
    pub catalogue: Catalogue,
    /// The upstream.
    pub client: Client,
    /// Access tokens.
    pub tokens: Tokens,
    /// Time.
    pub clock: Clock,
    /// This process, as the holder of the lock.
    pub owner: OwnerId,
}

impl Survey {
    /// A survey that has not begun.
    #[must_use]
    pub fn new(parts: SurveyParts) -> Self {
        Self(Arc::new(Parts {
            store: parts.store,
            directory: parts.directory,
            catalogue: parts.catalogue,
            client: parts.client,
            tokens: parts.tokens,
            clock: parts.clock,
            owner: parts.owner,
            accounts: AtomicU32::new(0),
            wanted: Notify::new(),
            done: Notify::new(),
        }))
    }

    /// How many accounts the last look at the pool found.
    #[must_use]
    pub fn account_count(&self) -> u32 {
        self.0.accounts.load(Ordering::Relaxed)
    }

    /// Asks for a round now: accounts came in, or a request found no models.
    pub fn request(&self) {
        self.0.wanted.notify_one();
    }

    /// Waits until the next round is over, at most `limit`.
    pub async fn completed_within(&self, limit: Duration) {
        let done = self.0.done.notified();
        self.request();
        let _ = tokio::time::timeout(limit, done).await;
    }

    /// Surveys until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let pause = match self.round().await {
                Ok(true) => INTERVAL + jitter(INTERVAL / 10),
                Ok(false) => SOON + jitter(SOON),
                Err(error) => {
                    tracing::warn!(%error, "the accounts could not be surveyed");
                    SOON + jitter(SOON)
                }
            };
            self.0.done.notify_waiters();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.wanted.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One round, if this replica may do it. True when the catalogue has models afterwards.
    async fn round(&self) -> Result<bool, StoreError> {
        let parts = &self.0;
        let accounts = parts.directory.list(&[]).await?;
        parts.accounts.store(u32::try_from(accounts.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
        parts.catalogue.forget();
        let Lock::Taken = parts.store.try_lock(WORK, &parts.owner, LOCK).await? else {
            return Ok(!parts.catalogue.models().await?.is_empty());
        };
        let visits = accounts
            .into_iter()
            .filter(|account| account.enabled && account.invalid.is_none())
            .map(|account| self.clone().account(account));
        let found: Vec<Option<Vec<ModelInfo>>> =
            stream::iter(visits).buffer_unordered(PARALLEL).collect().await;
        let complete = found.iter().all(Option::is_some);
        let models = self.union(found.into_iter().flatten().flatten());
        let known = !models.is_empty();
        if known {
            let merged = if complete { models } else { self.with_earlier(models).await? };
            parts.catalogue.put(merged).await?;
        }
        parts.store.unlock(WORK, &parts.owner).await?;
        Ok(known)
    }

    fn union(&self, found: impl Iterator<Item = ModelInfo>) -> Vec<Model> {
        let seen_ms = self.0.clock.epoch_ms();
        let mut models = BTreeMap::new();
        for info in found {
            let name = info.display_name.unwrap_or_else(|| info.id.clone());
            models.entry(info.id.clone()).or_insert(Model { id: info.id, name, seen_ms });
        }
        models.into_values().collect()
    }

    /// Keeps what an account that did not answer this time may have brought in earlier.
    async fn with_earlier(&self, mut models: Vec<Model>) -> Result<Vec<Model>, StoreError> {
        models.extend(self.0.catalogue.models().await?.iter().cloned());
        Ok(models)
    }

    /// One account: its token, its project if that is open, its models and quotas. `None` when it did not answer.
    async fn account(self, account: AccountView) -> Option<Vec<ModelInfo>> {
        let parts = &self.0;
        let request = TokenRequest {
            account: account.id.as_str().to_owned(),
            source: account.source,
            credential_version: account.credential.0,
            admitted: None,
        };
        let token = match parts.tokens.access_token(&request).await {
            Ok(token) => token,
            Err(error) => {
                tracing::info!(account.id = %account.id, %error, "the account has no access token");
                return None;
            }
        };
        let project = match account.managed_project.clone().or_else(|| account.project.clone()) {
            Some(project) => Some(project),
            None => self.project(&account.id, &token).await,
        };
        match fetch(&parts.client, &token.secret, project.as_deref()).await {
            Ok(models) => {
                let quotas: Vec<_> = models.iter().filter(|model| model.has_quota).map(quota).collect();
                if let Err(error) = parts.store.put_quota(&account.id, &quotas).await {
                    tracing::warn!(account.id = %account.id, %error, "quotas could not be stored");
                }
                Some(models)
            }
            Err(failure) => {
                self.verdict(&account, &failure).await;
                None
            }
        }
    }

    /// Finds the account's project, onboarding it when it has none, and stores both project and tier.
    pub async fn project(&self, account: &AccountId, token: &AccessToken) -> Option<String> {
        let found = match discover(&self.0.client, &token.secret, None).await {
            Ok(found) => found,
            Err(failure) => {
                tracing::info!(account.id = %account, class = ?failure.class, "the account's project is not known");
                return None;
            }
        };
        let set = SetAccount {
            managed_project: match &found.id {
                Some(id) if found.managed => Change::Set(id.clone()),
                _ => Change::Keep,
            },
            tier: Some(found.tier.as_str().to_owned()),
            ..SetAccount::default()
        };
        if let Err(error) = self.0.store.set_account(account, &set).await {
            tracing::warn!(account.id = %account, %error, "the account's project could not be stored");
        }
        found.id
    }

    /// A ban or a demand for verification is as true here as on a request's path.
    async fn verdict(&self, account: &AccountView, failure: &Failure) {
        let (reason, url) = match outcome_of(failure) {
            Outcome::Revoked => (InvalidReason::Revoked, None),
            Outcome::Banned => (InvalidReason::Banned, None),
            Outcome::Verification { url } => (InvalidReason::Verification, url),
            _ => {
                tracing::info!(account.id = %account.id, class = ?failure.class, "the account named no models");
                return;
            }
        };
        tracing::warn!(account.id = %account.id, reason = reason.as_str(), "account needs its owner");
        let invalidated =
            self.0.store.invalidate_account(&account.id, account.credential, reason, url.as_deref()).await;
        if let Err(error) = invalidated {
            tracing::warn!(account.id = %account.id, %error, "the account's state could not be stored");
        }
    }
}

fn quota(model: &ModelInfo) -> ModelQuota {
    ModelQuota {
        model: model.id.clone(),
        fraction: model.remaining_fraction,
        reset: model.reset_time.clone(),
    }
}

fn jitter(most: Duration) -> Duration {
    getrandom::u32().map_or(Duration::ZERO, |random| most.mul_f64(f64::from(random) / f64::from(u32::MAX)))
}
