//! Accounts coming in, going out, and as an operator sees them.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::import::{self, DocumentError, Entry, Rejected};
use crate::auth::tokens::credential_aad;
use crate::auth::vault::{Sealed, Vault, VaultError};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, Source};
use crate::store::ops::accounts::{Change, PutAccount, PutOutcome, Subscription};
use crate::store::ops::listing::AccountView;

/// Accounts fetched per call when the whole pool is listed.
const PAGE: u32 = 500;

/// The pool's accounts, with the key to their secrets.
#[derive(Clone)]
pub struct Directory {
    store: Store,
    vault: Arc<Vault>,
    clock: Clock,
}

/// Why an operation on the directory failed as a whole.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// The document cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The store refused or did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A credential could not be sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The system gave no randomness for an id.
    #[error("the system's random source failed")]
    Random,
}

/// What became of each entry of an import, by e-mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// New accounts.
    pub added: Vec<String>,
    /// Accounts whose credential was replaced.
    pub updated: Vec<String>,
    /// Entries that were not taken.
    pub failed: Vec<Rejected>,
}

impl Directory {
    /// The accounts in `store`, sealed by `vault`.
    #[must_use]
    pub fn new(store: Store, vault: Arc<Vault>, clock: Clock) -> Self {
        Self { store, vault, clock }
    }

    /// Adds or renews every account of a document; acknowledged entries are durable when this returns.
    pub async fn import(&self, document: &[u8]) -> Result<ImportReport, DirectoryError> {
        let (entries, failed) = import::parse(document)?;
        let mut report = ImportReport { failed, ..ImportReport::default() };
        for entry in entries {
            match self.put(&entry).await? {
                PutOutcome::Added { .. } => report.added.push(entry.email),
                PutOutcome::Renewed { .. } => report.updated.push(entry.email),
                PutOutcome::Full { max } => report.failed.push(Rejected {
                    reason: format!(
                        "Maximum of {max} accounts reached. Update maxAccounts in config to increase the limit."
                    ),
                    email: entry.email,
                }),
                PutOutcome::Reseal(_) | PutOutcome::Taken => report.failed.push(Rejected {
                    reason: "The account was changed by someone else at the same time; try again".into(),
                    email: entry.email,
                }),
            }
        }
        Ok(report)
    }

    /// All accounts in the pool's order. `models` are those whose limits are wanted.
    pub async fn list(&self, models: &[String]) -> Result<Vec<AccountView>, StoreError> {
        let (mut accounts, mut after) = (Vec::new(), 0);
        loop {
            let page = self.store.list_accounts(after, PAGE, models).await?;
            accounts.extend(page.accounts);
            match page.next {
                Some(next) => after = next,
                None => return Ok(accounts),
            }
        }
    }

    /// Removes the account of that e-mail with everything known about it; false when there is none.
    pub async fn remove(&self, email: &str, models: &[String]) -> Result<bool, StoreError> {
        match self.store.find_account(email.trim()).await? {
            Some((id, _)) => self.store.remove_account(&id, models).await,
            None => Ok(false),
        }
    }

    /// All accounts that can be moved elsewhere, with their secrets in clear: those of source `database` have none.
    pub async fn export(&self) -> Result<Vec<Exported>, DirectoryError> {
        let mut exported = Vec::new();
        for account in self.list(&[]).await? {
            let Some(sealed) = self.store.get_credential(&account.id).await? else { continue };
            let secret = self.vault.open(&credential_aad(account.id.as_str()), &Sealed::from_text(sealed))?;
            let (refresh_token, api_key) = match account.source {
                Source::OAuth => (Some(composite(&secret, &account)), None),
                Source::Manual => (None, Some(secret)),
                Source::Database => continue,
            };
            exported.push(Exported { email: account.email, refresh_token, api_key });
        }
        Ok(exported)
    }

    async fn put(&self, entry: &Entry) -> Result<PutOutcome, DirectoryError> {
        let known = self.store.find_account(&entry.email).await?;
        let id = match known {
            Some((id, _)) => id,
            None => new_id(),
        };
        let outcome = self.put_as(&id, entry).await?;
        // Somebody added the account under another id in between: seal for that one.
        match outcome {
            PutOutcome::Reseal(id) => self.put_as(&id, entry).await,
            outcome => Ok(outcome),
        }
    }

    async fn put_as(&self, id: &AccountId, entry: &Entry) -> Result<PutOutcome, DirectoryError> {
        let sealed = self.seal(id, &entry.credential)?;
        let session = new_session(self.clock.epoch_ms())?;
        let put = PutAccount {
            id,
            email: &entry.email,
            source: entry.source,
            sealed: sealed.as_str(),
            project: entry.project.as_deref(),
            managed_project: entry.managed_project.as_deref(),
            session: &session,
            added_at_ms: None,
            subscription: entry.tier.clone().map(|tier| Subscription {
                tier,
                project: None,
                seen_at_ms: None,
            }),
            database: None,
            enabled: Some(entry.enabled),
            threshold: entry.quota_threshold.map_or(Change::Keep, Change::Set),
            model_thresholds: if entry.model_quota_thresholds.is_empty() {
                Change::Keep
            } else {
                Change::Set(entry.model_quota_thresholds.clone())
            },
        };
        Ok(self.store.put_account(&put).await?)
    }

    fn seal(&self, id: &AccountId, credential: &SecretString) -> Result<Sealed, VaultError> {
        self.vault.seal(&credential_aad(id.as_str()), credential)
    }
}

/// One account with its secrets, for moving it elsewhere.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The account's address.
    pub email: String,
    /// The composite refresh token (spec `http-api.md` §6.6).
    pub refresh_token: Option<SecretString>,
    /// The fixed access token.
    pub api_key: Option<SecretString>,
}

/// `token|project|managed project`; without projects the token alone, which reads back the same.
fn composite(token: &SecretString, account: &AccountView) -> SecretString {
    let token = token.expose_secret();
    let project = account.project.as_deref().unwrap_or_default();
    match &account.managed_project {
        Some(managed) => format!("{token}|{project}|{managed}").into(),
        None if project.is_empty() => token.to_owned().into(),
        None => format!("{token}|{project}").into(),
    }
}

/// A new opaque id; it sorts by time of creation.
fn new_id() -> AccountId {
    AccountId::new(&uuid::Uuid::now_v7().simple().to_string())
        .unwrap_or_else(|_| unreachable!("hex digits are an id"))
}

/// A session id as the upstream's own client makes one: a random UUID and the time in ms, no separator
/// (spec `conversion.md` §7.3). It stays with the account, so that every replica sends the same.
fn new_session(now_ms: i64) -> Result<String, DirectoryError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| DirectoryError::Random)?;
    Ok(format!("{}{now_ms:013}", uuid::Builder::from_random_bytes(bytes).into_uuid()))
}
