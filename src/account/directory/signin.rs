//! An account that has just signed in.

use secrecy::SecretString;

use super::{Directory, DirectoryError, new_id, new_session};
use crate::account::credential;
use crate::auth::tokens::credential_aad;
use crate::auth::vault::Sealed;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, Source};
use crate::store::ops::accounts::{PutAccount, PutOutcome};
use crate::store::ops::listing::{Account, Named};
use crate::store::ops::signins::SignedIn;

/// How often the account's id is looked up anew when others change the account at the same time.
const ATTEMPTS: u32 = 4;

/// What became of an account that has signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInStored {
    /// It is stored, with this sign-in's credential or with the known one.
    Done(SignedIn),
    /// The sign-in brought no refresh token, and none is known. Nothing was written.
    NoRefreshToken,
    /// The pool has as many accounts as it may: so many. Nothing was written.
    Full(u32),
    /// Others kept changing it. Nothing was written.
    Contended,
}

impl Directory {
    /// Stores the account of an e-mail address with its refresh token, as source `oauth`; it is valid again, and what
    /// else is known of it stays. Without a token the known one is kept, if there is one; with a token, a known one that
    /// does not open any more, or belongs to a damaged record, is none.
    pub async fn sign_in(
        &self,
        email: &str,
        token: Option<&SecretString>,
    ) -> Result<SignInStored, DirectoryError> {
        let email = email.trim().to_lowercase();
        let session = new_session(self.clock.epoch_ms())?;
        let mut known = self.store.find_account(&email).await?;
        for _ in 0..ATTEMPTS {
            let before = match &known {
                Some(id) => match self.known_credential(id).await {
                    Err(error) if token.is_some() && is_lost(&error) => {
                        tracing::warn!(account.id = %id, %error, "the credential of before is given up");
                        None
                    }
                    known => known?,
                },
                None => None,
            };
            let Some(credential) = credential::renewed(token, before.as_ref()) else {
                return Ok(SignInStored::NoRefreshToken);
            };
            let id = known.take().unwrap_or_else(new_id);
            let _storing = self.vault.storing().await;
            let sealed = self.seal(&id, &credential)?;
            let put = PutAccount::new(&id, &email, Source::OAuth, sealed.as_str(), &session);
            match self.store.put_account(&put).await? {
                PutOutcome::Added { .. } => return Ok(SignInStored::Done(SignedIn::Added)),
                PutOutcome::Renewed { .. } => return Ok(SignInStored::Done(SignedIn::Renewed)),
                PutOutcome::Full { max } => return Ok(SignInStored::Full(max)),
                PutOutcome::Reseal(owner) => known = Some(owner),
                // It was removed in between.
                PutOutcome::Taken => {}
            }
        }
        Ok(SignInStored::Contended)
    }

    /// The credential of an account that has a refresh token.
    async fn known_credential(&self, id: &AccountId) -> Result<Option<SecretString>, DirectoryError> {
        let account = self.store.get_account(Named::Id(id)).await?;
        let Some(Account { sealed, .. }) = account.filter(|account| account.view.source == Source::OAuth)
        else {
            return Ok(None);
        };
        Ok(Some(self.vault.open(&credential_aad(id.as_str()), &Sealed::from_text(sealed))?))
    }
}

/// Whether what was known of the account is lost for good.
fn is_lost(error: &DirectoryError) -> bool {
    matches!(error, DirectoryError::Vault(_) | DirectoryError::Store(StoreError::Damaged { .. }))
}
