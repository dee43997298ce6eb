//! The search for an account's project, off any request's path where it can be.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::Survey;
use super::visit::LOOK_AGAIN;
use crate::auth::tokens::AccessToken;
use crate::cloudcode::project::{Project, Tier, discover, look};
use crate::store::ident::{AccountId, CredentialVersion, OwnerId};
use crate::store::ops::accounts::{Change, SetAccount};
use crate::store::ops::listing::AccountView;
use crate::store::ops::locks::Lock;
use crate::store::ops::refreshes::{project_search, tier_search};

/// How long an account for which no project was found is left alone, by all replicas.
const PROJECT_PAUSE: Duration = Duration::from_mins(1);
/// How long a replica that looks for a project may be silent before another one does; renewed as long as it looks.
const SEARCH_LOCK: Duration = Duration::from_secs(30);
/// How long a tier counts as known, and how soon it is looked for again after a failure.
const TIER_LIFE: Duration = Duration::from_hours(12);
const TIER_PAUSE: Duration = Duration::from_mins(10);

/// The search for an account's project.
pub(super) enum Search {
    /// Under way: everybody waits for the same answer.
    Flight(Shared<BoxFuture<'static, Option<String>>>),
    /// It found none, or another replica looks; not repeated before this.
    Pause(Instant),
}

impl Survey {
    /// The account's project: found once for all who ask, by one replica for all of them, and not looked for again soon
    /// where there is none. What the search shows of the account itself, such as a ban, is stored.
    pub async fn project(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        token: &AccessToken,
    ) -> Option<String> {
        let flight = {
            let mut projects = self.projects();
            match projects.get(account) {
                Some(Search::Flight(flight)) => flight.clone(),
                Some(Search::Pause(until)) if *until > self.0.clock.instant() => return None,
                _ => {
                    let (survey, id, token) = (self.clone(), account.clone(), token.clone());
                    let search = async move {
                        let found = survey.elected(&id, credential, &token).await;
                        survey.arrived(&id, &found);
                        found.ok()
                    };
                    let flight = search.boxed().shared();
                    projects.insert(account.clone(), Search::Flight(flight.clone()));
                    flight
                }
            }
        };
        flight.await
    }

    /// The account's project is looked for again at the next occasion, though it was looked for in vain.
    pub(super) fn forget_pause(&self, account: &AccountId) {
        let mut projects = self.projects();
        if matches!(projects.get(account), Some(Search::Pause(_))) {
            projects.remove(account);
        }
    }

    fn arrived(&self, account: &AccountId, found: &Result<String, Duration>) {
        let mut projects = self.projects();
        match found {
            Ok(_) => _ = projects.remove(account),
            Err(pause) => {
                projects.insert(account.clone(), Search::Pause(self.0.clock.instant() + *pause));
            }
        }
    }

    /// Looks for the project if no other replica does or did just now in vain; else says when to look again.
    async fn elected(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        token: &AccessToken,
    ) -> Result<String, Duration> {
        let parts = &self.0;
        let work = project_search(account);
        match parts.store.try_lock(&work, &parts.owner, SEARCH_LOCK).await {
            Ok(Lock::Taken) => {}
            // What the other one finds comes with the next admission.
            Ok(Lock::Held(left) | Lock::Paused(left)) => return Err(left.min(LOOK_AGAIN)),
            Err(error) => {
                tracing::debug!(account.id = %account, %error, "the search for a project is put off");
                return Err(LOOK_AGAIN);
            }
        }
        let found = tokio::select! {
            found = self.search(account, credential, token) => found,
            () = self.overtaken(&work, SEARCH_LOCK) => return Err(LOOK_AGAIN),
        };
        // When this fails, the lock lapses by itself.
        let left = match &found {
            Some(_) => parts.store.unlock(&work, &parts.owner).await.map(drop),
            None => parts.store.try_lock(&work, &parts.owner, PROJECT_PAUSE).await.map(drop),
        };
        if let Err(error) = left {
            tracing::debug!(account.id = %account, %error, "the lock of a search lapses by itself");
        }
        found.ok_or(PROJECT_PAUSE)
    }

    /// Asks for the tier, and the project behind it, of an account whose project is known, twice a day in the whole
    /// pool. A failure keeps what is known.
    pub(super) async fn renew_tier(&self, account: &AccountView, token: &AccessToken) {
        let parts = &self.0;
        // Nobody's lock: it is the memory of when the tier was looked for.
        let work = tier_search(&account.id, account.credential);
        let Some(nobody) = OwnerId::random() else { return };
        if !matches!(parts.store.try_lock(&work, &nobody, TIER_LIFE).await, Ok(Lock::Taken)) {
            return;
        }
        match look(&parts.client, &token.secret, account.project.as_deref()).await {
            Ok(found) => self.keep(&account.id, &found).await,
            Err(failure) => {
                tracing::info!(account.id = %account.id, class = ?failure.class, "the account's tier could not be renewed");
                self.verdict(&account.id, account.credential, &failure).await;
                if let Err(error) = parts.store.try_lock(&work, &nobody, TIER_PAUSE).await {
                    tracing::debug!(account.id = %account.id, %error, "the tier is looked for later");
                }
            }
        }
    }

    /// Stores project and tier; a tier that the upstream does not name leaves the known one.
    async fn keep(&self, account: &AccountId, found: &Project) {
        let managed = found.id.clone().filter(|_| found.managed);
        let set = SetAccount {
            tier: (found.tier != Tier::Unknown).then(|| found.tier.as_str().to_owned()),
            tier_project: managed.clone().map_or(Change::Keep, Change::Set),
            managed_project: managed.map_or(Change::Keep, Change::Set),
            ..SetAccount::default()
        };
        if let Err(error) = self.0.store.set_account(account, &set).await {
            tracing::warn!(account.id = %account, %error, "the account's project could not be stored");
        }
    }

    fn projects(&self) -> MutexGuard<'_, HashMap<AccountId, Search>> {
        // Each change is a single step.
        self.0.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the upstream for the project, onboarding the account when it has none, and stores project and tier.
    async fn search(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        token: &AccessToken,
    ) -> Option<String> {
        match discover(&self.0.client, &token.secret, None).await {
            Ok(found) => {
                self.keep(account, &found).await;
                found.id
            }
            Err(failure) => {
                tracing::info!(account.id = %account, class = ?failure.class, "the account's project is not known");
                self.verdict(account, credential, &failure).await;
                None
            }
        }
    }
}
