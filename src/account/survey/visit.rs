//! One account's turn: what the store knows of it, who asks, and what the upstream says.

use std::time::Duration;

use tokio::time::Instant;

use super::Survey;
use super::schedule::{Judgement, Known, Want, judge};
use crate::account::settlement::outcome_of;
use crate::auth::tokens::{AccessToken, TokenRequest};
use crate::cloudcode::models::{ModelInfo, fetch};
use crate::cloudcode::{Failure, FailureClass};
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, CredentialVersion, InvalidReason};
use crate::store::ops::listing::AccountView;
use crate::store::ops::locks::Lock;
use crate::store::ops::models::ModelQuota;
use crate::store::ops::refreshes::quota_question;
use crate::store::ops::settle::Outcome;

/// How long a replica that asks an account may be silent before another one does: renewed every third of it.
pub(super) const LOCK: Duration = Duration::from_secs(30);
/// How long the lock stays after an answer: whoever read the older quotas meanwhile finds it held. A turn that takes
/// longer from its look to its lock looks again.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// The least time until an account that did not answer is asked again, by anybody, while no model is known.
const SOON: Duration = Duration::from_secs(5);
/// Who answers, says so within this; another replica's turn is looked at again then.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The same while somebody waits.
pub(super) const LOOK_SOON: Duration = Duration::from_millis(300);

/// What came of a turn.
pub(super) enum Turn {
    /// The account answered.
    Fetched { known: Known, models: Vec<ModelInfo> },
    /// Its quotas are young enough.
    Fresh(Known),
    /// They will be too old at this time.
    Later(Known, Instant),
    /// Another replica is at it; worth a look at this time.
    Elsewhere(Instant),
    /// It did not answer; everybody leaves it alone until this time.
    Silent(Instant),
    /// It cannot be asked: removed, switched off or invalid.
    Gone,
}

impl Survey {
    /// The turn of the account with this id and place. `waited_for`: somebody waits for its end.
    pub(super) async fn turn(
        self,
        id: AccountId,
        number: u64,
        want: Want,
        interval: Duration,
        waited_for: bool,
    ) -> Result<Turn, StoreError> {
        let parts = &self.0;
        let begun = parts.clock.instant();
        let models = parts.catalogue.ids().await?;
        let page = parts.store.list_accounts(number.saturating_sub(1), 1, &models).await?;
        let Some(account) = page.accounts.into_iter().find(|one| one.id == id && can_be_asked(one)) else {
            return Ok(Turn::Gone);
        };
        let known = self.known(&account, page.stamp.now_ms);
        match judge(want, &known, begun, interval) {
            Judgement::Fetch => {}
            Judgement::Fresh => return Ok(Turn::Fresh(known)),
            Judgement::Later(at) => return Ok(Turn::Later(known, at)),
        }
        let work = quota_question(&id);
        let elsewhere = |left: Duration| {
            let again = left.min(if waited_for { LOOK_SOON } else { LOOK_AGAIN });
            Turn::Elsewhere(parts.clock.instant() + again + crate::clock::jitter(again))
        };
        match parts.store.try_lock(&work, &parts.owner, LOCK).await? {
            Lock::Taken => {}
            Lock::Held(left) => return Ok(elsewhere(left)),
            // It did not answer another replica.
            Lock::Paused(left) => return Ok(Turn::Silent(parts.clock.instant() + left)),
        }
        if parts.clock.instant().saturating_duration_since(begun) >= AFTERWARDS {
            parts.store.unlock(&work, &parts.owner).await?;
            return Ok(elsewhere(Duration::ZERO));
        }
        let answered = tokio::select! {
            answered = self.ask(&account) => answered,
            () = self.overtaken(&work, LOCK) => return Ok(elsewhere(LOCK)),
        };
        let now = parts.clock.instant();
        // When the store fails here, the lock lapses by itself.
        Ok(if let Some(models) = answered {
            parts.store.try_lock(&work, &parts.owner, AFTERWARDS).await?;
            Turn::Fetched { known: Known { fetched: Some(now), ..known }, models }
        } else {
            let rest = if models.is_empty() { SOON } else { interval / 2 };
            parts.store.pause(&work, &parts.owner, rest).await?;
            Turn::Silent(now + rest)
        })
    }

    /// What the store knows of an account's quotas, on this process's clock.
    pub(super) fn known(&self, account: &AccountView, store_now_ms: i64) -> Known {
        let now = self.0.clock.instant();
        let age =
            account.quota_at_ms.and_then(|at| u64::try_from(store_now_ms.saturating_sub(at).max(0)).ok());
        // What is older than this process's clock is as good as unknown.
        let fetched = age.and_then(|age| now.checked_sub(Duration::from_millis(age)));
        let of_quota = account.limits.iter().filter(|limit| matches!(&*limit.why, "quota" | "unknown"));
        let limited_until = of_quota.map(|limit| now + limit.left).min();
        Known { fetched, limited_until }
    }

    /// Keeps the lock as long as it is polled; returns when another replica has it.
    pub(super) async fn overtaken(&self, work: &str, lock: Duration) {
        let parts = &self.0;
        loop {
            tokio::time::sleep(lock / 3).await;
            match parts.store.try_lock(work, &parts.owner, lock).await {
                Ok(Lock::Taken) => {}
                Ok(Lock::Held(_) | Lock::Paused(_)) => {
                    tracing::warn!(work, "another replica asks this account: the turn is given up");
                    return;
                }
                Err(error) => tracing::warn!(work, %error, "the lock could not be renewed"),
            }
        }
    }

    /// Asks one account: its token, its project if that is open, its models and quotas. `None` when it did not answer.
    async fn ask(&self, account: &AccountView) -> Option<Vec<ModelInfo>> {
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
            None => self.project(&account.id, account.credential, &token).await,
        };
        if account.managed_project.is_some() || account.project.is_some() {
            self.renew_tier(account, &token).await;
        }
        let mut fetched = fetch(&parts.client, &token.secret, project.as_deref()).await;
        if let Err(Failure { class: FailureClass::Unauthorized, .. }) = &fetched {
            // The token was voided before its time: one more try with the next one.
            fetched = match self.next_token(&request, &token).await {
                Some(next) => fetch(&parts.client, &next.secret, project.as_deref()).await,
                None => fetched,
            };
        }
        match fetched {
            Ok(models) => {
                let quotas: Vec<_> = models.iter().map(quota).collect();
                if let Err(error) = parts.store.put_quota(&account.id, &quotas).await {
                    tracing::warn!(account.id = %account.id, %error, "quotas could not be stored");
                    return None;
                }
                let low = *parts.low.borrow();
                for (model, left) in fallen(&account.quotas, &quotas, low) {
                    tracing::warn!(account.id = %account.id, model.name = %model, left, "little of the quota is left");
                }
                Some(models)
            }
            Err(failure) => {
                self.verdict(&account.id, account.credential, &failure).await;
                None
            }
        }
    }

    /// A token newer than the one that was refused.
    async fn next_token(&self, request: &TokenRequest, refused: &AccessToken) -> Option<AccessToken> {
        let tokens = &self.0.tokens;
        let next = async {
            tokens.refused(&request.account, refused.generation).await?;
            tokens.access_token(request).await
        };
        match next.await {
            Ok(token) => Some(token),
            Err(error) => {
                tracing::info!(account.id = %request.account, %error, "the account has no new access token");
                None
            }
        }
    }

    /// A ban or a demand for verification is as true here as on a request's path.
    pub(super) async fn verdict(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        failure: &Failure,
    ) {
        let (reason, url) = match outcome_of(failure) {
            Outcome::Revoked => (InvalidReason::Revoked, None),
            Outcome::Banned => (InvalidReason::Banned, None),
            Outcome::Verification { url } => (InvalidReason::Verification, url),
            _ => {
                tracing::info!(account.id = %account, class = ?failure.class, "the account named no models");
                return;
            }
        };
        tracing::warn!(account.id = %account, reason = reason.as_str(), "account needs its owner");
        let invalidated = self.0.store.invalidate_account(account, credential, reason, url.as_deref()).await;
        if let Err(error) = invalidated {
            tracing::warn!(account.id = %account, %error, "the account's state could not be stored");
        }
    }
}

/// Models whose quota has fallen to `low` or below since the last time, with what is left: each is told once.
fn fallen<'q>(before: &[ModelQuota], now: &'q [ModelQuota], low: f64) -> Vec<(&'q str, f64)> {
    let was_low = |model: &str| {
        let earlier = before.iter().find(|quota| quota.model == model);
        earlier.and_then(|quota| quota.fraction).is_some_and(|left| left <= low)
    };
    let left = now.iter().filter_map(|quota| Some((quota.model.as_str(), quota.fraction?)));
    left.filter(|(model, left)| *left <= low && !was_low(model)).collect()
}

/// Whether the upstream is asked about it.
pub(crate) fn can_be_asked(account: &AccountView) -> bool {
    account.enabled && account.invalid.is_none()
}

/// A model that is offered without a word on its quota is listed, too: the list is what the account offers.
fn quota(model: &ModelInfo) -> ModelQuota {
    ModelQuota {
        model: model.id.clone(),
        fraction: model.remaining_fraction,
        reset: model.reset_time.clone(),
        told: model.has_quota,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_that_falls_is_told_once() {
        let quotas = |list: &[(&str, Option<f64>)]| -> Vec<_> {
            let quota = |&(model, fraction): &(&str, _)| ModelQuota {
                model: model.into(),
                fraction,
                reset: None,
                told: true,
            };
            list.iter().map(quota).collect()
        };
        let now =
            quotas(&[("a", Some(0.1)), ("b", Some(0.05)), ("c", Some(0.11)), ("d", None), ("e", Some(0.0))]);
        let before = quotas(&[("a", Some(0.2)), ("b", Some(0.1)), ("c", Some(0.5)), ("d", Some(0.5))]);
        assert_eq!(fallen(&before, &now, 0.1), [("a", 0.1), ("e", 0.0)]);
        assert_eq!(fallen(&[], &now, 0.1), [("a", 0.1), ("b", 0.05), ("e", 0.0)], "nothing was known");
        assert_eq!(fallen(&now, &now, 0.1), [], "it was said");
        let unknown = quotas(&[("a", None)]);
        assert_eq!(fallen(&unknown, &now, 0.0), [("e", 0.0)]);
    }
}
