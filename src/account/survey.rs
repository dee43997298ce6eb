//! Regular rounds over the accounts: which models they offer, what is left of their quotas, which project they
//! belong to.
//!
//! One replica at a time does a round, elected by a lock; the results are in the store for all. A round also
//! finishes what an import leaves open: an account without a project is onboarded here, off any request's path.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::catalogue::{Catalogue, Model};
use super::directory::Directory;
use super::settlement::outcome_of;
use crate::auth::tokens::{AccessToken, TokenRequest, Tokens};
use crate::clock::{Clock, jitter};
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
/// After a round that found nothing, and the least time between two rounds.
const SOON: Duration = Duration::from_secs(5);
/// How long an account for which no project was found is left alone.
const PROJECT_PAUSE: Duration = Duration::from_mins(5);
/// How long a replica that surveys may be silent before another one may begin: the lock is renewed every third of it.
const LOCK: Duration = Duration::from_mins(2);
/// How long a model that no account offers stays while some account does not answer, ms.
const MEMORY_MS: i64 = 24 * 60 * 60 * 1000;
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
    projects: Mutex<HashMap<AccountId, Search>>,
    wanted: Notify,
    /// Rounds begun, and rounds ended.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
}

/// The search for an account's project.
enum Search {
    /// Under way: everybody waits for the same answer.
    Flight(Shared<BoxFuture<'static, Option<String>>>),
    /// It found none; not repeated before this.
    Pause(Instant),
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
            projects: Mutex::default(),
            wanted: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
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

    /// Waits until a round that begins after this call is over, at most `limit`.
    pub async fn completed_within(&self, limit: Duration) {
        let mut ended = self.0.ended.subscribe();
        let wanted = self.0.begun.load(Ordering::SeqCst) + 1;
        self.request();
        // The caller looks at the catalogue either way.
        let _ = tokio::time::timeout(limit, ended.wait_for(|ended| *ended >= wanted)).await;
    }

    /// Surveys until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut earliest = self.0.clock.instant();
        loop {
            let round = self.0.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let outcome = tokio::select! {
                () = stop.cancelled() => return self.resign().await,
                outcome = self.round() => outcome,
            };
            self.0.ended.send_replace(round);
            let pause = match outcome {
                Ok(true) => INTERVAL + jitter(INTERVAL / 10),
                Ok(false) => SOON + jitter(SOON),
                Err(error) => {
                    tracing::warn!(%error, "the accounts could not be surveyed");
                    SOON + jitter(SOON)
                }
            };
            let next = async {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // The first request after a while is served at once, a stream of them in measured steps.
                    () = self.0.wanted.notified() => tokio::time::sleep_until(earliest).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = next => {}
            }
            earliest = self.0.clock.instant() + SOON;
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
        let visited = tokio::select! {
            visited = self.visit(accounts) => visited,
            () = self.overtaken() => Ok(false),
        };
        self.resign().await;
        visited
    }

    /// Keeps the lock as long as it is polled; returns when another replica has it.
    async fn overtaken(&self) {
        let parts = &self.0;
        loop {
            tokio::time::sleep(LOCK / 3).await;
            match parts.store.try_lock(WORK, &parts.owner, LOCK).await {
                Ok(Lock::Taken) => {}
                Ok(Lock::Held(_)) => {
                    tracing::warn!("another replica surveys the accounts: this round is given up");
                    return;
                }
                Err(error) => tracing::warn!(%error, "the survey's lock could not be renewed"),
            }
        }
    }

    /// Gives the lock back, if this replica has it; else it lapses.
    async fn resign(&self) {
        if let Err(error) = self.0.store.unlock(WORK, &self.0.owner).await {
            tracing::debug!(%error, "the survey's lock lapses by itself");
        }
    }

    /// Asks every usable account and writes what they offer. True when there are models.
    async fn visit(&self, accounts: Vec<AccountView>) -> Result<bool, StoreError> {
        let parts = &self.0;
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
        Ok(known)
    }

    fn union(&self, found: impl Iterator<Item = ModelInfo>) -> Vec<Model> {
        let now_ms = self.0.clock.epoch_ms();
        let mut models = BTreeMap::new();
        for info in found {
            let name = info.display_name.unwrap_or_else(|| info.id.clone());
            models.entry(info.id.clone()).or_insert(Model {
                id: info.id,
                name,
                seen_ms: now_ms,
                offered_ms: now_ms,
            });
        }
        models.into_values().collect()
    }

    /// Keeps what an account that did not answer this time may have brought in earlier, but not for ever: what no
    /// account has offered for a day leaves the catalogue. When all answer, what none offers leaves at once.
    async fn with_earlier(&self, mut models: Vec<Model>) -> Result<Vec<Model>, StoreError> {
        let earlier = self.0.catalogue.models().await?;
        models.extend(remembered(&earlier, self.0.clock.epoch_ms()));
        Ok(models)
    }

    /// One account: its token, its project if that is open, its models and quotas. `None` when it did not answer.
    async fn account(self, account: AccountView) -> Option<Vec<ModelInfo>> {
        let parts = &self.0;
        let request = TokenRequest {
            account: account.id.clone(),
            source: account.source,
            credential: account.credential,
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

    /// The account's project: found once for all who ask, and not looked for again soon where there is none.
    pub async fn project(&self, account: &AccountId, token: &AccessToken) -> Option<String> {
        let flight = {
            let mut projects = self.projects();
            match projects.get(account) {
                Some(Search::Flight(flight)) => flight.clone(),
                Some(Search::Pause(until)) if *until > self.0.clock.instant() => return None,
                _ => {
                    let (survey, id, token) = (self.clone(), account.clone(), token.clone());
                    let search = async move {
                        let found = survey.search(&id, &token).await;
                        survey.arrived(&id, found.is_some());
                        found
                    };
                    let flight = search.boxed().shared();
                    projects.insert(account.clone(), Search::Flight(flight.clone()));
                    flight
                }
            }
        };
        flight.await
    }

    fn arrived(&self, account: &AccountId, found: bool) {
        let mut projects = self.projects();
        if found {
            projects.remove(account);
        } else {
            projects.insert(account.clone(), Search::Pause(self.0.clock.instant() + PROJECT_PAUSE));
        }
    }

    fn projects(&self) -> MutexGuard<'_, HashMap<AccountId, Search>> {
        // Each change is a single step.
        self.0.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the upstream for the project, onboarding the account when it has none, and stores project and tier.
    async fn search(&self, account: &AccountId, token: &AccessToken) -> Option<String> {
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

/// Those of `models` that an account offered within [`MEMORY_MS`].
fn remembered(models: &[Model], now_ms: i64) -> impl Iterator<Item = Model> {
    let models = models.iter().cloned().map(move |mut model| {
        if model.offered_ms == 0 {
            model.offered_ms = now_ms;
        }
        model
    });
    models.filter(move |model| now_ms.saturating_sub(model.offered_ms) < MEMORY_MS)
}

fn quota(model: &ModelInfo) -> ModelQuota {
    ModelQuota {
        model: model.id.clone(),
        fraction: model.remaining_fraction,
        reset: model.reset_time.clone(),
    }
}

#[cfg(test)]
mod tests;
