//! Whether an account works: its credential is used once, beside the pool.
//!
//! A token is made of the credential and the account's models are asked for with it. That is more than a refresh: a ban
//! or a demand for verification shows, too. A failure changes nothing, because the pool judges by its own rules; a
//! success proves that an account that counts as invalid is not, and clears that; what was found out meanwhile, of that
//! credential or a newer one, stays.

use crate::auth::tokens::Tokens;
use crate::cloudcode::models::fetch;
use crate::cloudcode::{Client, Failure, FailureClass};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ops::accounts::ClearOutcome;
use crate::store::ops::listing::Account;

/// What it takes.
#[derive(Clone)]
pub struct Verifier {
    /// Shared state.
    pub store: Store,
    /// Access tokens.
    pub tokens: Tokens,
    /// The upstream.
    pub client: Client,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The upstream took the credential; `cleared`: the account counted as invalid before.
    Works {
        /// Whether it is valid again.
        cleared: bool,
    },
    /// It did not, for this reason.
    Fails(String),
}

impl Verifier {
    /// Tries `account`.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub async fn verify(&self, account: &Account) -> Result<Verdict, StoreError> {
        let token = match self.tokens.trial(account).await {
            Ok(token) => token,
            Err(error) => return Ok(Verdict::Fails(error.to_string())),
        };
        let account = &account.view;
        let project = account.managed_project.as_deref().or(account.project.as_deref());
        if let Err(failure) = fetch(&self.client, &token, project).await
            && let Some(reason) = refusal(&failure)
        {
            return Ok(Verdict::Fails(reason));
        }
        let Some(invalid) = &account.invalid else { return Ok(Verdict::Works { cleared: false }) };
        let outcome = self.store.clear_invalid(&account.id, account.credential, invalid.since_ms).await?;
        Ok(Verdict::Works { cleared: outcome == ClearOutcome::Done })
    }
}

/// What a failed call says against the account; `None` when it was taken and only had no turn.
fn refusal(failure: &Failure) -> Option<String> {
    Some(match &failure.class {
        FailureClass::RateLimited { .. } | FailureClass::Capacity => return None,
        FailureClass::Unauthorized => "the upstream refuses its access token".into(),
        FailureClass::CredentialRevoked => "the account's sign-in was revoked or has expired".into(),
        FailureClass::Banned => "the provider has disabled the account".into(),
        FailureClass::VerificationRequired { url: Some(url) } => {
            format!("the owner must verify the account at {url}")
        }
        FailureClass::VerificationRequired { url: None } => "the owner must verify the account".into(),
        FailureClass::Forbidden => "the upstream refuses the account".into(),
        _ => match failure.status {
            Some(status) => format!("the upstream answered with status {status}"),
            None => "the upstream does not answer".into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::auth::oauth::OAuth;
    use crate::auth::tokens::credential_aad;
    use crate::auth::vault::Vault;
    use crate::clock::Clock;
    use crate::cloudcode::client::scripted::Posted;
    use crate::cloudcode::{LimitKind, TransportKind, http};
    use crate::config::{OAuthConfig, UpstreamConfig};
    use crate::store::ident::{AccountId, CredentialVersion, InvalidReason, Source};
    use crate::store::ops::listing::Named;
    use crate::store::unsteady::{Unsteady, add_account};

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    /// What happens to the account between the upstream's being asked and its answer.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Meanwhile {
        Nothing,
        /// Somebody else clears it, and it is banned.
        Banned,
        /// It is signed in anew, and the new credential is banned.
        Replaced,
    }

    /// Tries an account that was banned, while `meanwhile` happens; whether it was cleared, and is banned afterwards.
    async fn tried(meanwhile: Meanwhile) -> (Verdict, bool) {
        let clock = Clock::following(1_800_000_000_000);
        let store = Unsteady::new(clock.clone()).pool();
        let vault = Arc::new(Vault::new(&[KEY.into()]).unwrap());
        let id = AccountId::new("a").unwrap();
        let sealed = vault.seal(&credential_aad("a"), &"token".into()).unwrap();
        add_account(&store, &id, Source::Manual, sealed.as_str()).await;
        let first = CredentialVersion(1);
        store.invalidate_account(&id, first, InvalidReason::Banned, None).await.unwrap();
        let account = store.get_account(Named::Id(&id)).await.unwrap().unwrap();
        let since = account.view.invalid.as_ref().unwrap().since_ms;

        let (others, theirs) = (store.clone(), id.clone());
        let script = move |_: Posted| {
            let (store, id, sealed) = (others.clone(), theirs.clone(), sealed.clone());
            async move {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                let banned = match meanwhile {
                    Meanwhile::Nothing => None,
                    Meanwhile::Banned => {
                        store.clear_invalid(&id, first, since).await.unwrap();
                        Some(first)
                    }
                    Meanwhile::Replaced => {
                        add_account(&store, &id, Source::Manual, sealed.as_str()).await;
                        Some(CredentialVersion(2))
                    }
                };
                if let Some(credential) = banned {
                    store.invalidate_account(&id, credential, InvalidReason::Banned, None).await.unwrap();
                }
                Ok(::http::Response::new(reqwest::Body::from(r#"{"models":{}}"#)).into())
            }
            .boxed()
        };
        let config =
            UpstreamConfig { endpoints: vec!["http://one.test".into()], ..UpstreamConfig::default() };
        let client = Client::new(&config, clock.clone()).unwrap().scripted(Arc::new(script));
        let oauth = OAuth::new(http::client(&UpstreamConfig::default()).unwrap(), OAuthConfig::default());
        let tokens = Tokens::new(oauth, vault, store.clone(), clock, TaskTracker::new());
        let verdict = Verifier { store: store.clone(), tokens, client }.verify(&account).await.unwrap();
        let after = store.get_account(Named::Id(&id)).await.unwrap().unwrap();
        (verdict, after.view.invalid.is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_found_out_while_an_account_is_tried_is_not_cleared() {
        assert_eq!(tried(Meanwhile::Nothing).await, (Verdict::Works { cleared: true }, false));
        for meanwhile in [Meanwhile::Banned, Meanwhile::Replaced] {
            assert_eq!(tried(meanwhile).await, (Verdict::Works { cleared: false }, true), "{meanwhile:?}");
        }
    }

    #[test]
    fn only_what_speaks_against_the_account_or_leaves_it_open_is_a_failure() {
        let told = |class, status| refusal(&Failure { class, status, reset: None, message: None });
        for class in [FailureClass::RateLimited { kind: LimitKind::Quota }, FailureClass::Capacity] {
            assert_eq!(told(class, Some(429)), None);
        }
        let url = Some("https://accounts.google.com/v".to_owned());
        for (class, status, text) in [
            (FailureClass::Banned, Some(403), "disabled"),
            (FailureClass::VerificationRequired { url }, Some(403), "https://accounts.google.com/v"),
            (FailureClass::Server, Some(500), "status 500"),
            (FailureClass::Transport { kind: TransportKind::Connect }, None, "does not answer"),
        ] {
            assert!(told(class, status).unwrap().contains(text));
        }
    }
}
