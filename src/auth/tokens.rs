//! Access tokens: a short local cache, one refresh at a time in this process and across replicas.
//!
//! The store arbitrates between replicas (spec `dispatch.md` §9.6): whoever is told to refresh does so and stores
//! the sealed result under the next generation; the others wait for it. The work runs in a tracked task of its own,
//! so that a client that goes away neither loses a finished refresh nor leaves a lock behind. A store that is away
//! for a moment is waited for: what was fetched meanwhile is not thrown away.
//!
//! Tokens of accounts in use are renewed before they end (`tokens/renewal.rs`), so that requests rarely wait for one.

mod plan;
mod renewal;
mod tally;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::plan::Plan;
use super::desktop::{self, DesktopError};
use super::oauth::{Minted, OAuth};
use super::vault::{Sealed, Vault, VaultError};
use crate::clock::{Clock, jitter};
use crate::config::desktop_database;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, CredentialVersion, Generation, OwnerId, Source};
use crate::store::ops::listing::Account;
use crate::store::ops::tokens::{FinishedRefresh, Refresh, RefreshFailure};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::label::RefreshOutcome;

/// Longest use of a token without asking the store again.
const LOCAL_TTL: Duration = Duration::from_secs(30);
/// Pause between looks at a refresh that another is doing, or at a store that is away; so much more at random.
const POLL: Duration = Duration::from_millis(100);
const POLL_JITTER: Duration = Duration::from_millis(150);
/// How long one refresher may take before another one is let in.
const LOCK: Duration = Duration::from_secs(20);
/// How long a request waits for a token. Then another account may serve it; the refresh goes on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody asks with an OAuth client that was refused.
const CLIENT_PAUSE: Duration = Duration::from_secs(30);
/// How long the store may take to forget a refused token.
const DROP_LIMIT: Duration = Duration::from_secs(5);
/// How often a refresh whose result the store did not take is begun again.
const ATTEMPTS: u32 = 3;

/// Whose token is wanted.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The account.
    pub account: AccountId,
    /// Where its credential comes from.
    pub source: Source,
    /// The version of its credential that admission named; a token made from another one is not used.
    pub credential: CredentialVersion,
    /// The token that admission handed out, when this process did not have its generation.
    pub admitted: Option<StoredToken>,
}

/// A token ready for use.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The bearer token.
    pub secret: Arc<SecretString>,
    /// Counts the account's tokens; names the one to drop after a 401.
    pub generation: Generation,
    /// When this process stops using it.
    pub use_until: Instant,
}

/// A token as the store keeps it, sealed for `<account id>:token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// The sealed token.
    pub sealed: Sealed,
    /// Counts the account's tokens.
    pub generation: Generation,
    /// How much longer it may be used.
    pub remaining: Duration,
}

/// Why there is no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// Accounts that sign in with Google need the operator's OAuth client.
    #[error("accounts that sign in with Google cannot be used until {settings} are set")]
    NotConfigured {
        /// The settings' names.
        settings: &'static str,
    },
    /// The operator's OAuth client was refused; no account is at fault.
    #[error("Google refused the OAuth client: check OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET")]
    Misconfigured,
    /// Only signing in again helps.
    #[error("the account's sign-in was revoked or has expired")]
    Revoked,
    /// It may work later.
    #[error("no access token could be fetched for now")]
    Transient {
        /// The token endpoint's status, when there was one.
        status: Option<u16>,
        /// When to try again, when known.
        retry_after: Option<Duration>,
    },
    /// The account was removed or signed in anew: admit again.
    #[error("the account was changed meanwhile")]
    Changed,
    /// The desktop application's database gives no token now.
    #[error(transparent)]
    Desktop(DesktopError),
    /// The credential's source cannot be used by this gateway.
    #[error(
        "accounts of source {} cannot be used by gateways that share a Redis: import a refresh token or a manual token",
        source_name.as_str()
    )]
    SourceUnsupported {
        /// The source.
        source_name: Source,
    },
    /// Sealing or opening failed.
    #[error(transparent)]
    Vault(Arc<VaultError>),
    /// The store failed, or was away for too long.
    #[error("the store failed: {0}")]
    Store(Arc<StoreError>),
}

impl From<VaultError> for TokenError {
    fn from(error: VaultError) -> Self {
        Self::Vault(Arc::new(error))
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// The associated data of an account's sealed access token.
#[must_use]
pub fn token_aad(account: &str) -> String {
    format!("{account}:token")
}

/// The associated data of an account's sealed credential.
#[must_use]
pub fn credential_aad(account: &str) -> String {
    format!("{account}:credential")
}

type Flight = Shared<BoxFuture<'static, Result<AccessToken, TokenError>>>;

/// Access tokens of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
    tracker: TaskTracker,
}

struct Inner {
    oauth: OAuth,
    databases: bool,
    vault: Arc<Vault>,
    store: Store,
    clock: Clock,
    state: Mutex<State>,
    /// Told when a token may have to be renewed earlier than was known.
    planned: Notify,
    metrics: Option<Arc<Metrics>>,
}

#[derive(Default)]
struct State {
    cached: HashMap<AccountId, Cached>,
    plan: Plan,
    /// When the OAuth client was refused last; none when it was accepted since.
    client_refused: Option<Instant>,
    flights: HashMap<(AccountId, CredentialVersion), Flight>,
}

struct Cached {
    credential: CredentialVersion,
    token: AccessToken,
    /// What it was opened from.
    sealed: Sealed,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Refreshes run on `tracker`.
    #[must_use]
    pub fn new(oauth: OAuth, vault: Arc<Vault>, store: Store, clock: Clock, tracker: TaskTracker) -> Self {
        let inner = Inner {
            oauth,
            databases: false,
            vault,
            store,
            clock,
            state: Mutex::default(),
            planned: Notify::new(),
            metrics: None,
        };
        Self { inner: Arc::new(inner), tracker }
    }

    /// Whether tokens of accounts of source `database` are read: where the gateway runs on the machine of the desktop
    /// application and alone has the store. To be called before the value is cloned.
    #[must_use]
    pub fn with_databases(mut self, databases: bool) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.databases = databases;
        }
        self
    }

    /// What has to be fetched is counted. To be called before the value is cloned.
    #[must_use]
    pub fn measured(mut self, metrics: &Arc<Metrics>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.metrics = Some(Arc::clone(metrics));
        }
        self
    }

    /// A token made anew of the account's credential, beside cache and lock: whether the credential works. Nothing is
    /// changed by it, whatever it finds.
    pub async fn trial(&self, account: &Account) -> Result<SecretString, TokenError> {
        let sealed = Sealed::from_text(account.sealed.clone());
        Ok(self.inner.mint(&account.view.id, account.view.source, &sealed).await?.secret)
    }

    /// A token of the account: the local one, the admitted one, the store's, or a fresh one, in this order.
    pub async fn access_token(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        if request.source == Source::Database && !self.inner.databases {
            return Err(TokenError::SourceUnsupported { source_name: request.source });
        }
        if let Some(admitted) = &request.admitted {
            match self.inner.adopt(request, admitted) {
                // Sealed by a key that this process lacks: a new token replaces it.
                Err(TokenError::Vault(error)) => {
                    tracing::warn!(account.id = %request.account, %error, "a stored token does not open");
                    self.refused(&request.account, admitted.generation).await?;
                }
                adopted => return adopted,
            }
        }
        let flight = {
            let mut state = self.inner.state();
            if let Some(token) = state.usable(request, self.inner.clock.instant()) {
                return Ok(token);
            }
            let key = (request.account.clone(), request.credential);
            state.flights.entry(key).or_insert_with(|| self.depart(request.clone())).clone()
        };
        let late = TokenError::Transient { status: None, retry_after: None };
        tokio::time::timeout(PATIENCE, flight).await.unwrap_or(Err(late))
    }

    /// Says that a request uses the account: its token is renewed before it ends.
    pub fn used(&self, account: &AccountId) {
        if self.inner.state().plan.used(account) {
            self.inner.planned.notify_one();
        }
    }

    /// Whether Google refuses the gateway's own OAuth client; no account is at fault then.
    #[must_use]
    pub fn client_is_refused(&self) -> bool {
        self.inner.state().client_refused.is_some()
    }

    /// The generation of every account's token that this process can still use: admission hands out only others.
    /// Nothing where they are more than `most`.
    #[must_use]
    pub fn known_generations(&self, most: usize) -> Vec<(AccountId, Generation)> {
        let now = self.inner.clock.instant();
        let state = self.inner.state();
        let usable = || state.cached.iter().filter(|(_, cached)| cached.token.use_until > now);
        if usable().count() > most {
            return Vec::new();
        }
        usable().map(|(account, cached)| (account.clone(), cached.token.generation)).collect()
    }

    /// After a 401: forgets the token of this generation here and in the store; a newer one stays.
    pub async fn refused(&self, account: &AccountId, generation: Generation) -> Result<(), TokenError> {
        let inner = &self.inner;
        inner.state().cached.retain(|id, cached| id != account || cached.token.generation != generation);
        let until = inner.clock.instant() + DROP_LIMIT;
        inner.patiently(until, || inner.store.drop_token(account, generation)).await?;
        Ok(())
    }

    /// Forgets what this process knows of an account (removed, or signed in anew).
    pub fn forget(&self, account: &AccountId) {
        let mut state = self.inner.state();
        state.cached.remove(account);
        state.plan.forget(account);
    }

    fn depart(&self, request: TokenRequest) -> Flight {
        let inner = Arc::clone(&self.inner);
        let task = self.tracker.spawn(async move {
            let _landing = Landing { inner: &inner, request: &request };
            inner.obtain(&request).await
        });
        let interrupted = TokenError::Transient { status: None, retry_after: None };
        task.map(move |joined| joined.unwrap_or(Err(interrupted))).boxed().shared()
    }
}

/// Removes the flight whatever ends it, so that a later caller starts a new one.
struct Landing<'a> {
    inner: &'a Inner,
    request: &'a TokenRequest,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let key = (self.request.account.clone(), self.request.credential);
        self.inner.state().flights.remove(&key);
    }
}

impl State {
    fn usable(&self, request: &TokenRequest, now: Instant) -> Option<AccessToken> {
        let cached = self.cached.get(&request.account)?;
        let fits = cached.credential == request.credential && cached.token.use_until > now;
        fits.then(|| cached.token.clone())
    }

    /// What `sealed` says, where it was opened before.
    fn opened(&self, account: &AccountId, sealed: &Sealed) -> Option<Arc<SecretString>> {
        let cached = self.cached.get(account).filter(|cached| cached.sealed == *sealed)?;
        Some(Arc::clone(&cached.token.secret))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held, and each change is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn obtain(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let TokenRequest { account, credential, .. } = request;
        self.may_ask(request.source)?;
        let unavailable = TokenError::Transient { status: None, retry_after: None };
        let give_up = self.clock.instant() + LOCK;
        let owner = owner()?;
        for _ in 0..ATTEMPTS {
            let sealed = loop {
                let begin = || self.store.begin_refresh(account, &owner, LOCK);
                match self.patiently(give_up, begin).await? {
                    Refresh::Token { credential: current, .. } if current != *credential => {
                        return Err(TokenError::Changed);
                    }
                    Refresh::Token { generation, ttl, sealed, .. } => {
                        let sealed = Sealed::from_text(sealed);
                        let stored = StoredToken { sealed, generation, remaining: ttl };
                        match self.adopt(request, &stored) {
                            Err(TokenError::Vault(error)) => {
                                tracing::warn!(account.id = %account, %error, "a stored token does not open");
                                self.store.drop_token(account, generation).await?;
                            }
                            adopted => {
                                if adopted.is_ok() {
                                    self.count(request.source, RefreshOutcome::Adopted);
                                }
                                return adopted;
                            }
                        }
                    }
                    Refresh::Granted { credential: current, .. } if current != *credential => {
                        // Finishing for the outdated credential stores nothing and gives the lock back.
                        self.store.finish_refresh(account, &owner, *credential, Duration::ZERO, "").await?;
                        return Err(TokenError::Changed);
                    }
                    Refresh::Granted { sealed, .. } => break Sealed::from_text(sealed),
                    Refresh::Wait(_) if self.clock.instant() >= give_up => return Err(unavailable),
                    Refresh::Wait(_) => pause().await,
                    Refresh::Failed(wait) => {
                        return Err(TokenError::Transient { status: None, retry_after: Some(wait) });
                    }
                    Refresh::Invalid(_) | Refresh::Gone => return Err(TokenError::Changed),
                }
            };
            let lapses = self.clock.instant() + LOCK;
            if let Some(token) = self.renew(request, &owner, &sealed, lapses).await? {
                return Ok(token);
            }
        }
        Err(unavailable)
    }

    /// Fetches a token as the one who holds the lock until `lapses`. `None` when the store has not taken it: the lock
    /// had passed on, or this one's first try had arrived after all.
    async fn renew(
        &self,
        request: &TokenRequest,
        owner: &OwnerId,
        sealed: &Sealed,
        lapses: Instant,
    ) -> Result<Option<AccessToken>, TokenError> {
        let TokenRequest { account, credential, .. } = request;
        let minted = match self.mint(&request.account, request.source, sealed).await {
            Ok(fresh) => fresh,
            Err(error) => {
                self.count(request.source, tally::outcome_of(&error));
                let failure = match error {
                    TokenError::Revoked => RefreshFailure::Revoked,
                    TokenError::Misconfigured | TokenError::NotConfigured { .. } => RefreshFailure::Withdrawn,
                    _ => RefreshFailure::Transient,
                };
                let fail = || self.store.fail_refresh(account, owner, *credential, failure);
                if let Err(fault) = self.patiently(lapses, fail).await {
                    // The cause is worth more than a failure to record it; the lock lapses by itself.
                    tracing::warn!(account.id = %account, error = %fault, "a failed refresh was not recorded");
                }
                return Err(error);
            }
        };
        let _storing = self.vault.storing().await;
        let sealed = self.vault.seal(&token_aad(account.as_str()), &minted.secret)?;
        let finish = || self.store.finish_refresh(account, owner, *credential, minted.ttl, sealed.as_str());
        let finished = self.patiently(lapses, finish).await;
        let kept = matches!(finished, Ok(FinishedRefresh::Kept(_)));
        self.count(request.source, if kept { RefreshOutcome::Refreshed } else { RefreshOutcome::Unstored });
        Ok(match finished? {
            FinishedRefresh::Kept(generation) => {
                Some(self.cache(request, Arc::new(minted.secret), &sealed, generation, minted.ttl))
            }
            FinishedRefresh::Lost | FinishedRefresh::Stale | FinishedRefresh::Gone => None,
        })
    }

    /// Repeats `operation` while the store is away, until `until`.
    async fn patiently<T, F>(&self, until: Instant, operation: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match operation().await {
                Err(StoreError::Unavailable { .. }) if self.clock.instant() < until => pause().await,
                answer => return answer,
            }
        }
    }

    /// Whether tokens of `source` can be asked for: the gateway's own client is known and was not refused just now.
    fn may_ask(&self, source: Source) -> Result<(), TokenError> {
        if source != Source::OAuth {
            return Ok(());
        }
        self.oauth.check()?;
        let now = self.clock.instant();
        match self.state().client_refused {
            Some(at) if now.saturating_duration_since(at) < CLIENT_PAUSE => Err(TokenError::Misconfigured),
            _ => Ok(()),
        }
    }

    async fn mint(
        &self,
        account: &AccountId,
        source: Source,
        credential: &Sealed,
    ) -> Result<Minted, TokenError> {
        let credential = self.vault.open(&credential_aad(account.as_str()), credential)?;
        match source {
            Source::OAuth => {
                let asked = self.clock.instant();
                let minted = self.oauth.refresh(&credential).await;
                self.exchanged(self.clock.instant().saturating_duration_since(asked));
                self.judge(minted.as_ref().err());
                minted
            }
            Source::Manual => Ok(Minted { secret: credential, ttl: self.oauth.token_ttl() }),
            Source::Database if !self.databases => Err(TokenError::SourceUnsupported { source_name: source }),
            Source::Database => self.read_database(&credential).await.map_err(TokenError::Desktop),
        }
    }

    /// `place` is the path of the database, empty for the usual one; it is read anew each time, because the desktop
    /// application renews its token as it likes.
    async fn read_database(&self, place: &SecretString) -> Result<Minted, DesktopError> {
        let named = Some(place.expose_secret()).filter(|place| !place.is_empty()).map(PathBuf::from);
        let path = named.or_else(desktop_database).ok_or(DesktopError::NoHome)?;
        let found = desktop::fetch(path).await?;
        let left = found.ends_s.map(|ends| ends.saturating_mul(1000).saturating_sub(self.clock.epoch_ms()));
        if left.is_some_and(|left| left <= 0) {
            return Err(DesktopError::Ended);
        }
        let left = left.and_then(|left| u64::try_from(left).ok()).map(Duration::from_millis);
        Ok(Minted { secret: found.token, ttl: self.oauth.usable_for(left) })
    }

    /// What an answer of the token endpoint says of the gateway's own client.
    fn judge(&self, error: Option<&TokenError>) {
        let accepted = matches!(error, None | Some(TokenError::Revoked));
        let mut state = self.state();
        if matches!(error, Some(TokenError::Misconfigured)) {
            if state.client_refused.replace(self.clock.instant()).is_none() {
                tracing::error!(
                    "Google refuses the OAuth client: check OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET"
                );
            }
        } else if accepted && state.client_refused.take().is_some() {
            tracing::info!("Google accepts the OAuth client again");
        }
    }

    fn adopt(&self, request: &TokenRequest, stored: &StoredToken) -> Result<AccessToken, TokenError> {
        // Of a large pool the same tokens come again and again.
        let opened = self.state().opened(&request.account, &stored.sealed);
        let secret = match opened {
            Some(secret) => secret,
            None => Arc::new(self.vault.open(&token_aad(request.account.as_str()), &stored.sealed)?),
        };
        Ok(self.cache(request, secret, &stored.sealed, stored.generation, stored.remaining))
    }

    fn cache(
        &self,
        request: &TokenRequest,
        secret: Arc<SecretString>,
        sealed: &Sealed,
        generation: Generation,
        remaining: Duration,
    ) -> AccessToken {
        let now = self.clock.instant();
        let token = AccessToken { secret, generation, use_until: now + remaining.min(LOCAL_TTL) };
        let cached = Cached { credential: request.credential, token: token.clone(), sealed: sealed.clone() };
        let mut state = self.state();
        state.plan.learnt(request, generation, now + remaining, remaining);
        state.cached.insert(request.account.clone(), cached);
        token
    }
}

async fn pause() {
    tokio::time::sleep(POLL + jitter(POLL_JITTER)).await;
}

/// A name for one holder of a lock, new for every flight.
fn owner() -> Result<OwnerId, TokenError> {
    OwnerId::random().ok_or_else(|| VaultError::Seal.into())
}

#[cfg(test)]
mod tests;
