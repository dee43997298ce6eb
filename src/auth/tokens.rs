//! Access tokens: a short local cache, one refresh at a time in this process and across replicas.
//!
//! The store arbitrates between replicas (spec `dispatch.md` §9.6): whoever is told to refresh does so and stores
//! the sealed result under the next generation; the others wait for it. The work runs in a tracked task of its own,
//! so that a client that goes away neither loses a finished refresh nor leaves a lock behind. A store that is away
//! for a moment is waited for: what was fetched meanwhile is not thrown away.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::oauth::{Minted, OAuth};
use super::vault::{Sealed, Vault, VaultError};
use crate::clock::{Clock, jitter};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, CredentialVersion, Generation, OwnerId, Source};
use crate::store::ops::tokens::{FinishedRefresh, Refresh, RefreshFailure};

/// Longest use of a token without asking the store again.
const LOCAL_TTL: Duration = Duration::from_secs(30);
/// Pause between looks at a refresh that another is doing, or at a store that is away; so much more at random.
const POLL: Duration = Duration::from_millis(100);
const POLL_JITTER: Duration = Duration::from_millis(150);
/// How long one refresher may take before another one is let in, and how long one waits for another.
const LOCK: Duration = Duration::from_secs(20);
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
    /// The credential's source cannot be used by this program.
    #[error("accounts with credentials of source {} are not supported", source_name.as_str())]
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
    vault: Arc<Vault>,
    store: Store,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cached: HashMap<AccountId, Cached>,
    flights: HashMap<(AccountId, CredentialVersion), Flight>,
}

struct Cached {
    credential: CredentialVersion,
    token: AccessToken,
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
        Self { inner: Arc::new(Inner { oauth, vault, store, clock, state: Mutex::default() }), tracker }
    }

    /// A token of the account: the local one, the admitted one, the store's, or a fresh one, in this order.
    pub async fn access_token(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        if request.source == Source::Database {
            return Err(TokenError::SourceUnsupported { source_name: request.source });
        }
        if request.source == Source::OAuth {
            self.inner.oauth.check()?;
        }
        if let Some(admitted) = &request.admitted {
            return self.inner.adopt(&request.account, request.credential, admitted);
        }
        let flight = {
            let mut state = self.inner.state();
            if let Some(token) = state.usable(request, self.inner.clock.instant()) {
                return Ok(token);
            }
            let key = (request.account.clone(), request.credential);
            state.flights.entry(key).or_insert_with(|| self.depart(request.clone())).clone()
        };
        flight.await
    }

    /// The generation of every account's token that this process can still use: admission hands out only others.
    #[must_use]
    pub fn known_generations(&self) -> Vec<(AccountId, Generation)> {
        let now = self.inner.clock.instant();
        let state = self.inner.state();
        let usable = state.cached.iter().filter(|(_, cached)| cached.token.use_until > now);
        usable.map(|(account, cached)| (account.clone(), cached.token.generation)).collect()
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
        self.inner.state().cached.remove(account);
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
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held, and each change is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn obtain(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let TokenRequest { account, credential, .. } = request;
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
                        return self.adopt(account, *credential, &stored);
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
        let (sealed, minted) = match self.refresh(request, sealed).await {
            Ok(fresh) => fresh,
            Err(error) => {
                let failure = match error {
                    TokenError::Revoked => RefreshFailure::Revoked,
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
        let finish = || self.store.finish_refresh(account, owner, *credential, minted.ttl, sealed.as_str());
        Ok(match self.patiently(lapses, finish).await? {
            FinishedRefresh::Kept(generation) => {
                Some(self.cache(account, *credential, minted.secret, generation, minted.ttl))
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

    async fn refresh(
        &self,
        request: &TokenRequest,
        credential: &Sealed,
    ) -> Result<(Sealed, Minted), TokenError> {
        let credential = self.vault.open(&credential_aad(request.account.as_str()), credential)?;
        let minted = match request.source {
            Source::OAuth => self.oauth.refresh(&credential).await?,
            Source::Manual => Minted { secret: credential, ttl: self.oauth.token_ttl() },
            Source::Database => return Err(TokenError::SourceUnsupported { source_name: request.source }),
        };
        Ok((self.vault.seal(&token_aad(request.account.as_str()), &minted.secret)?, minted))
    }

    fn adopt(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        stored: &StoredToken,
    ) -> Result<AccessToken, TokenError> {
        let secret = self.vault.open(&token_aad(account.as_str()), &stored.sealed)?;
        Ok(self.cache(account, credential, secret, stored.generation, stored.remaining))
    }

    fn cache(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        secret: SecretString,
        generation: Generation,
        remaining: Duration,
    ) -> AccessToken {
        let use_until = self.clock.instant() + remaining.min(LOCAL_TTL);
        let token = AccessToken { secret: Arc::new(secret), generation, use_until };
        self.state().cached.insert(account.clone(), Cached { credential, token: token.clone() });
        token
    }
}

async fn pause() {
    tokio::time::sleep(POLL + jitter(POLL_JITTER)).await;
}

/// A name for one holder of a lock, new for every flight.
fn owner() -> Result<OwnerId, TokenError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| VaultError::Seal)?;
    // Digits are always an id.
    OwnerId::new(&u128::from_ne_bytes(bytes).to_string()).map_err(|_| VaultError::Seal.into())
}

#[cfg(test)]
mod tests;
