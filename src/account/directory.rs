//! Accounts coming in, going out, and as an operator sees them.

mod signin;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::credential;
use super::export::composite;
use super::import::{self, DocumentError, Entry, Invalid, Limit, Quota, Rejected, State};
use crate::auth::tokens::credential_aad;
use crate::auth::vault::{Sealed, Vault, VaultError};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::host::{DAMAGED, StoreError};
use crate::store::ident::{AccountId, CredentialVersion, Source, Stamp};
use crate::store::ops::accounts::{Change, PutAccount, PutOutcome, SetAccount, SetOutcome};
use crate::store::ops::imports::DocumentDigest;
use crate::store::ops::listing::{Account, AccountView, DamagedAccount, Named};
use crate::store::ops::restore::{Past, PastModel};

pub use signin::SignInStored;

/// Accounts fetched per call when the whole pool is listed.
const PAGE: u32 = 500;
/// Most models whose limits are asked for at once.
const MODELS: usize = 1000;
/// Tries to store an account that others add and remove at the same time.
const PUT_TRIES: u32 = 4;
/// The version of the credential that a new account has.
const FIRST: CredentialVersion = CredentialVersion(1);
/// Why accounts of source `database` are not taken where others share the store.
const NO_DATABASE: &str = "Accounts of source \"database\" live in the IDE of their own machine, which gateways that \
     share a Redis do not: give a refresh_token, or import the IDE's token there with `accounts import --ide --manual`";

/// The pool's accounts, with the key to their secrets.
#[derive(Clone)]
pub struct Directory {
    store: Store,
    vault: Arc<Vault>,
    clock: Clock,
    databases: bool,
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
    /// What was not kept of entries that were taken.
    pub notes: Vec<Rejected>,
}

/// All accounts of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Accounts {
    /// Those that can be read.
    pub readable: Vec<AccountView>,
    /// Those whose records are damaged: they take no part in anything.
    pub damaged: Vec<DamagedAccount>,
    /// When that was so, ms since the epoch by the store's clock: how old anything of it is, is told by this one.
    pub now_ms: i64,
}

/// Accounts with everything that is known of them.
#[derive(Debug, Default)]
pub struct Entries {
    /// Those that can be read and whose credential opens.
    pub entries: Vec<Entry>,
    /// The others, and why they are left out.
    pub unreadable: Vec<Rejected>,
}

/// What becomes of an account that is known and differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It stays as it is.
    Keep,
    /// It becomes what the document says.
    Replace,
}

/// What refused entries make of a document that is imported once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// It does not count as imported: the same document is tried again.
    Retry,
    /// It counts as imported if any of its entries was taken.
    Allow,
}

/// What became of an entry that was merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It is a new account.
    Added,
    /// The account is known and is what the entry says.
    Same,
    /// The account is known, differs in these members and stays as it is.
    Differs(Vec<&'static str>),
    /// The account is known, differed in these members and is what the entry says now.
    Replaced(Vec<&'static str>),
    /// It was not taken, for this reason.
    Refused(String),
}

impl Directory {
    /// The accounts in `store`, sealed by `vault`; without those of source `database`.
    #[must_use]
    pub fn new(store: Store, vault: Arc<Vault>, clock: Clock) -> Self {
        Self { store, vault, clock, databases: false }
    }

    /// Whether accounts of source `database` are taken: where the gateway alone has the store, on the machine of the
    /// desktop application.
    #[must_use]
    pub fn with_databases(self, databases: bool) -> Self {
        Self { databases, ..self }
    }

    /// Adds or renews every account of a document; acknowledged entries are durable when this returns.
    ///
    /// What an account has lived through is taken for new ones only: of the others this pool knows better.
    pub async fn import(&self, document: &[u8]) -> Result<ImportReport, DirectoryError> {
        let (entries, failed) = import::parse(document)?;
        let mut report = ImportReport { failed, ..ImportReport::default() };
        for entry in entries {
            let email = entry.email.clone();
            match self.put(&entry, false).await? {
                Ok(PutOutcome::Added { .. }) => report.added.push(email.clone()),
                Ok(_) => report.updated.push(email.clone()),
                Err(reason) => {
                    report.failed.push(Rejected { email, reason });
                    continue;
                }
            }
            let notes = entry.notes.into_iter();
            report.notes.extend(notes.map(|reason| Rejected { email: email.clone(), reason }));
        }
        Ok(report)
    }

    /// [`Self::import`], unless this very document was imported before; then `None`. Whether a document of which an
    /// entry was refused counts as imported, `refusals` says.
    pub async fn import_once(
        &self,
        document: &[u8],
        refusals: Refusals,
    ) -> Result<Option<ImportReport>, DirectoryError> {
        let digest = DocumentDigest::of(document);
        if self.store.was_imported(&digest).await? {
            return Ok(None);
        }
        let report = self.import(document).await?;
        let taken = !(report.added.is_empty() && report.updated.is_empty());
        if report.failed.is_empty() || (refusals == Refusals::Allow && taken) {
            self.store.note_import(&digest).await?;
        }
        Ok(Some(report))
    }

    /// Brings one account in, if it is new; `known` says what happens to one that is there and differs. What it has
    /// lived through is no difference. Without `write` nothing happens, and it is told what would.
    pub async fn merge(&self, entry: &Entry, known: Known, write: bool) -> Result<Merged, DirectoryError> {
        if entry.source == Source::Database && !self.databases {
            return Ok(Merged::Refused(NO_DATABASE.into()));
        }
        let found = match self.find(&entry.email).await {
            Err(DirectoryError::Vault(error)) => return Ok(Merged::Refused(error.to_string())),
            Err(DirectoryError::Store(error @ StoreError::Damaged { .. })) => {
                return Ok(Merged::Refused(error.to_string()));
            }
            found => found?,
        };
        let Some((id, found)) = found else {
            if !write {
                return Ok(Merged::Added);
            }
            return Ok(match self.put(entry, false).await? {
                Ok(_) => Merged::Added,
                Err(reason) => Merged::Refused(reason),
            });
        };
        let differing = differing(&found, entry);
        if differing.is_empty() {
            return Ok(Merged::Same);
        }
        if known == Known::Keep {
            return Ok(Merged::Differs(differing));
        }
        if !write {
            return Ok(Merged::Replaced(differing));
        }
        if differing.iter().any(|name| OF_THE_CREDENTIAL.contains(name)) {
            if let Err(reason) = self.put(entry, true).await? {
                return Ok(Merged::Refused(reason));
            }
        } else {
            let set = SetAccount {
                enabled: entry.enabled,
                threshold: entry.quota_threshold.map_or(Change::Clear, Change::Set),
                model_thresholds: thresholds(entry, true),
                project: entry.project.clone().map_or(Change::Keep, Change::Set),
                managed_project: entry.managed_project.clone().map_or(Change::Keep, Change::Set),
                ..SetAccount::default()
            };
            match refused(self.store.set_account(&id, &set).await.map_err(DirectoryError::Store))? {
                Ok(SetOutcome::Gone) => return Ok(Merged::Refused(MEANWHILE.into())),
                Ok(_) => {}
                Err(reason) => return Ok(Merged::Refused(reason)),
            }
        }
        Ok(Merged::Replaced(differing))
    }

    /// All accounts in the pool's order. `models` are those whose limits are wanted.
    pub async fn list(&self, models: &[String]) -> Result<Accounts, StoreError> {
        list(&self.store, models).await
    }

    /// As [`Directory::list`], also with limits for models that accounts have quotas or thresholds of: an import may bring
    /// some that no account has offered yet.
    pub async fn list_known(&self, models: &[String]) -> Result<Accounts, StoreError> {
        let accounts = self.list(models).await?;
        let names = with_known(models, &accounts);
        if names.len() == models.len() { Ok(accounts) } else { self.list(&names).await }
    }

    /// Removes the account of that e-mail with everything known about it; false when there is none.
    pub async fn remove(&self, email: &str, models: &[String]) -> Result<bool, StoreError> {
        remove(&self.store, email, models).await
    }

    /// Changes the account of that e-mail; false when there is none.
    pub async fn change(&self, email: &str, set: &SetAccount) -> Result<bool, StoreError> {
        match self.store.find_account(email.trim()).await? {
            Some(id) => Ok(self.store.set_account(&id, set).await? != SetOutcome::Gone),
            None => Ok(false),
        }
    }

    /// The account of that e-mail as it is listed, with its credential.
    pub async fn account(&self, email: &str) -> Result<Option<Account>, StoreError> {
        self.store.get_account(Named::Email(email.trim())).await
    }

    /// All accounts that can be moved elsewhere, with their secrets in clear: those of source `database` have none, and
    /// those whose credential does not open are left out.
    pub async fn export(&self) -> Result<Vec<Exported>, DirectoryError> {
        let mut exported = Vec::new();
        for entry in self.entries(&[]).await?.entries {
            let (refresh_token, api_key) = match entry.source {
                Source::OAuth => (Some(composite(&entry).into()), entry.spare_key),
                Source::Manual => (None, entry.credential),
                Source::Database => continue,
            };
            exported.push(Exported { email: entry.email, refresh_token, api_key });
        }
        Ok(exported)
    }

    /// All accounts with everything that is known of them, secrets in clear, in the pool's order. Limits are those for
    /// `models` and for the models that accounts have quotas or thresholds of.
    pub async fn entries(&self, models: &[String]) -> Result<Entries, DirectoryError> {
        let names = with_known(models, &self.list(&[]).await?);
        let mut found = Entries::default();
        let Stamped { accounts, damaged, .. } = stamped(&self.store, &names).await?;
        let lost =
            |one: DamagedAccount| Rejected { email: one.name().to_owned(), reason: DAMAGED.to_owned() };
        found.unreadable.extend(damaged.into_iter().map(lost));
        for (stamp, account) in accounts {
            let (id, email) = (account.id.clone(), account.email.clone());
            // Removed meanwhile.
            let Some(sealed) = self.store.get_credential(&id).await? else { continue };
            match self.entry(stamp, account, sealed) {
                Ok(entry) => found.entries.push(entry),
                // One that is lost must not take the others with it.
                Err(error) => {
                    tracing::warn!(account.id = %id, %error, "an account is left out");
                    found.unreadable.push(Rejected { email, reason: error.to_string() });
                }
            }
        }
        Ok(found)
    }

    async fn find(&self, email: &str) -> Result<Option<(AccountId, Entry)>, DirectoryError> {
        let Some(Account { stamp, view, sealed }) = self.account(email).await? else { return Ok(None) };
        Ok(Some((view.id.clone(), self.entry(stamp, view, sealed)?)))
    }

    /// The account as a document has it.
    fn entry(&self, stamp: Stamp, account: AccountView, sealed: String) -> Result<Entry, VaultError> {
        let secret = self.vault.open(&credential_aad(account.id.as_str()), &Sealed::from_text(sealed))?;
        let (credential, spare_key) = credential::unpack(account.source, &secret);
        let until = |left: std::time::Duration| {
            stamp.now_ms.saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
        };
        let mut limits: Vec<_> = account
            .limits
            .into_iter()
            .map(|limit| Limit { model: limit.model, until_ms: until(limit.left), why: limit.why })
            .collect();
        limits.sort_by(|a, b| a.model.cmp(&b.model));
        let quota_at_ms = account.quota_at_ms.filter(|at| *at > 0);
        let quota = (account.quota_at_ms.is_some() || !account.quotas.is_empty())
            .then_some(Quota { at_ms: quota_at_ms, models: account.quotas });
        let subscription = account.subscription;
        let told = subscription.tier != "unknown"
            || subscription.project.is_some()
            || subscription.seen_at_ms.is_some();
        Ok(Entry {
            email: account.email,
            source: account.source,
            credential,
            spare_key,
            project: account.project,
            managed_project: account.managed_project,
            database: account.database.filter(|_| account.source == Source::Database),
            enabled: Some(account.enabled),
            quota_threshold: account.threshold,
            model_quota_thresholds: account.model_thresholds,
            added_at_ms: Some(account.added_at_ms),
            subscription: told.then_some(subscription),
            state: State {
                last_used_ms: account.last_used_ms,
                invalid: account.invalid.map(|invalid| Invalid {
                    reason: invalid.reason,
                    since_ms: Some(invalid.since_ms),
                    url: invalid.url,
                }),
                limits,
                quota,
            },
            notes: Vec::new(),
        })
    }

    /// Adds or renews the account; the inner error is the reason it was refused for. `whole`: what the entry does not
    /// name is cleared, not kept.
    async fn put(&self, entry: &Entry, whole: bool) -> Result<Result<PutOutcome, String>, DirectoryError> {
        if entry.source == Source::Database && !self.databases {
            return Ok(Err(NO_DATABASE.into()));
        }
        Ok(refused(self.put_allowed(entry, whole).await)?.flatten())
    }

    async fn put_allowed(
        &self,
        entry: &Entry,
        whole: bool,
    ) -> Result<Result<PutOutcome, String>, DirectoryError> {
        let known = self.store.find_account(&entry.email).await?;
        let mut id = match known {
            Some(id) => id,
            None => new_id(),
        };
        let mut outcome = self.put_as(&id, entry, whole).await?;
        for _ in 1..PUT_TRIES {
            // Somebody added the account under another id in between: seal for that one.
            let PutOutcome::Reseal(other) = outcome else { break };
            id = other;
            outcome = self.put_as(&id, entry, whole).await?;
        }
        match outcome {
            PutOutcome::Added { .. } => {
                if entry.state != State::default() {
                    // Whoever changed it meanwhile knows better.
                    self.store.restore_account(&id, FIRST, &past(&entry.state)).await?;
                }
                Ok(Ok(outcome))
            }
            PutOutcome::Renewed { .. } => Ok(Ok(outcome)),
            PutOutcome::Full { max } => Ok(Err(format!(
                "Maximum of {max} accounts reached. Update maxAccounts in config to increase the limit."
            ))),
            PutOutcome::Reseal(_) | PutOutcome::Taken => Ok(Err(MEANWHILE.into())),
        }
    }

    async fn put_as(&self, id: &AccountId, entry: &Entry, whole: bool) -> Result<PutOutcome, DirectoryError> {
        let _storing = self.vault.storing().await;
        let sealed = self.seal(id, &credential::pack(entry))?;
        let session = new_session(self.clock.epoch_ms())?;
        let put = PutAccount {
            id,
            email: &entry.email,
            source: entry.source,
            sealed: sealed.as_str(),
            project: entry.project.as_deref(),
            managed_project: entry.managed_project.as_deref(),
            session: &session,
            added_at_ms: entry.added_at_ms,
            subscription: entry.subscription.clone(),
            database: entry.database.as_deref(),
            enabled: entry.enabled,
            threshold: match entry.quota_threshold {
                Some(threshold) => Change::Set(threshold),
                None if whole => Change::Clear,
                None => Change::Keep,
            },
            model_thresholds: thresholds(entry, whole),
        };
        Ok(self.store.put_account(&put).await?)
    }

    fn seal(&self, id: &AccountId, credential: &SecretString) -> Result<Sealed, VaultError> {
        self.vault.seal(&credential_aad(id.as_str()), credential)
    }
}

/// What the store cannot keep is a fault of the entry, not of the store.
fn refused<T>(done: Result<T, DirectoryError>) -> Result<Result<T, String>, DirectoryError> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(DirectoryError::Store(StoreError::BadArgument { field, problem, .. })) => {
            Ok(Err(format!("The {field} cannot be kept: {problem}")))
        }
        Err(error) => Err(error),
    }
}

/// [`Directory::list`], which takes no key.
pub async fn list(store: &Store, models: &[String]) -> Result<Accounts, StoreError> {
    let Stamped { accounts, damaged, now_ms } = stamped(store, models).await?;
    Ok(Accounts { readable: accounts.into_iter().map(|(_, account)| account).collect(), damaged, now_ms })
}

/// [`Directory::remove`], which takes no key.
pub async fn remove(store: &Store, email: &str, models: &[String]) -> Result<bool, StoreError> {
    match store.find_account(email.trim()).await? {
        Some(id) => store.remove_account(&id, models).await,
        None => Ok(false),
    }
}

/// All accounts, each with the time of its page.
struct Stamped {
    accounts: Vec<(Stamp, AccountView)>,
    damaged: Vec<DamagedAccount>,
    /// The time of the last page.
    now_ms: i64,
}

/// `models`, and those that accounts have quotas or thresholds of.
fn with_known(models: &[String], accounts: &Accounts) -> Vec<String> {
    let known = accounts.readable.iter().flat_map(|account| {
        let quotas = account.quotas.iter().map(|quota| &quota.model);
        quotas.chain(account.model_thresholds.keys()).cloned()
    });
    let names: BTreeSet<String> = models.iter().cloned().chain(known).collect();
    names.into_iter().take(MODELS).collect()
}

async fn stamped(store: &Store, models: &[String]) -> Result<Stamped, StoreError> {
    let (mut accounts, mut damaged, mut after) = (Vec::new(), Vec::new(), 0);
    loop {
        let page = store.list_accounts(after, PAGE, models).await?;
        accounts.extend(page.accounts.into_iter().map(|account| (page.stamp, account)));
        damaged.extend(page.damaged);
        match page.next {
            Some(next) => after = next,
            None => return Ok(Stamped { accounts, damaged, now_ms: page.stamp.now_ms }),
        }
    }
}

const MEANWHILE: &str = "The account was changed by someone else at the same time; try again";

/// Differences that only a new credential settles.
const OF_THE_CREDENTIAL: &[&str] = &["source", "refreshToken", "apiKey", "dbPath"];

/// The members in which a known account is not what the entry says. What the entry leaves open, and what changes in
/// use, is no difference.
fn differing(known: &Entry, entry: &Entry) -> Vec<&'static str> {
    let clear = |secret: &Option<SecretString>| secret.as_ref().map(|one| one.expose_secret().to_owned());
    let (used, spare) = match entry.source {
        Source::Manual => ("apiKey", "apiKey"),
        Source::OAuth | Source::Database => ("refreshToken", "apiKey"),
    };
    let open = |known: &Option<String>, wanted: &Option<String>| wanted.is_some() && known != wanted;
    let members = [
        ("source", known.source != entry.source),
        (used, known.source == entry.source && clear(&known.credential) != clear(&entry.credential)),
        (spare, clear(&known.spare_key) != clear(&entry.spare_key)),
        ("dbPath", known.database != entry.database),
        ("projectId", open(&known.project, &entry.project)),
        ("managedProjectId", open(&known.managed_project, &entry.managed_project)),
        ("enabled", entry.enabled.is_some() && known.enabled != entry.enabled),
        ("quotaThreshold", known.quota_threshold != entry.quota_threshold),
        ("modelQuotaThresholds", known.model_quota_thresholds != entry.model_quota_thresholds),
    ];
    members.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

fn thresholds(entry: &Entry, whole: bool) -> Change<BTreeMap<String, f64>> {
    match &entry.model_quota_thresholds {
        map if !map.is_empty() => Change::Set(map.clone()),
        _ if whole => Change::Clear,
        _ => Change::Keep,
    }
}

/// What the store keeps of an account's past: quotas and limits by model.
fn past(state: &State) -> Past {
    let quotas = state.quota.iter().flat_map(|quota| &quota.models);
    let mut models: Vec<_> = quotas
        .map(|quota| PastModel {
            model: quota.model.clone(),
            fraction: quota.fraction,
            reset: quota.reset.clone(),
            limit: None,
        })
        .collect();
    for limit in &state.limits {
        let kept = Some((limit.until_ms, limit.why.clone()));
        match models.iter_mut().find(|model| model.model == limit.model) {
            Some(model) => model.limit = kept,
            None => {
                models.push(PastModel { model: limit.model.clone(), limit: kept, ..PastModel::default() });
            }
        }
    }
    Past {
        last_used_ms: state.last_used_ms,
        invalid: state.invalid.as_ref().map(|one| (one.reason, one.since_ms, one.url.clone())),
        quota_at_ms: state.quota.as_ref().and_then(|quota| quota.at_ms),
        models,
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
