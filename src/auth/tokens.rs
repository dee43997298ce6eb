//! Access tokens: a short local cache, one refresh at a time in this process and across replicas.
//!
//! The store arbitrates between replicas (spec `dispatch.md` §9.6): whoever is told to refresh does so and stores
//! the sealed result under the next generation; the others wait for it. The work runs in a tracked task of its own,
//! so that a client that goes away neither loses a finished refresh nor leaves a lock behind.

use std::collections::HashMap;
use std::error::Error;
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
use crate::store::ident::Source;
use crate::store::ops::tokens::RefreshFailure;

/// Longest use of a token without asking the store again.
const LOCAL_TTL: Duration = Duration::from_secs(30);
/// Pause between looks at a refresh that another replica is doing; up to as much again is added at random.
const POLL: Duration = Duration::from_millis(100);
/// How long another replica's refresh is waited for: the life of its lock.
const WAIT_LIMIT: Duration = Duration::from_secs(20);
/// How often a refresh whose result the store did not take is begun again.
const ATTEMPTS: u32 = 3;

/// Whose token is wanted.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The account's opaque id.
    pub account: String,
    /// Where its credential comes from.
    pub source: Source,
    /// The version of its credential that admission named; a token made from another one is not used.
    pub credential_version: u64,
    /// The token that admission handed out, when this process did not have its generation.
    pub admitted: Option<StoredToken>,
}

/// A token ready for use.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The bearer token.
    pub secret: Arc<SecretString>,
    /// Counts the account's tokens; names the one to drop after a 401.
    pub generation: u64,
    /// When this process stops using it.
    pub use_until: Instant,
}

/// A token as the store keeps it, sealed for `<account id>:token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// The sealed token.
    pub sealed: Sealed,
    /// Counts the account's tokens.
    pub generation: u64,
    /// How much longer it may be used.
    pub remaining: Duration,
}

/// A failure of the store, kept as its text and cause.
pub type StoreFault = Arc<dyn Error + Send + Sync>;

/// The four steps that replicas take together; each is one script.
pub trait TokenStore: Send + Sync {
    /// Gives the stored token if it was made from this credential version, else tells one caller to refresh: its
    /// `owner` then holds the account's refresh lock for 20 s.
    fn begin_refresh<'a>(
        &'a self,
        account: &'a str,
        credential_version: u64,
        owner: &'a str,
    ) -> BoxFuture<'a, Result<Begun, StoreFault>>;

    /// Stores a token for `ttl` under the next generation and releases the lock, if `owner` still holds it and the
    /// credential is still of this version. `None`: neither was done.
    fn finish_refresh<'a>(
        &'a self,
        account: &'a str,
        credential_version: u64,
        owner: &'a str,
        token: &'a Sealed,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<u64>, StoreFault>>;

    /// Releases the lock, if `owner` holds it. After a transient failure nobody refreshes for 5 s, doubling up to
    /// 60 s while failures go on; after a revocation the account is invalid, if its credential is still of this
    /// version.
    fn fail_refresh<'a>(
        &'a self,
        account: &'a str,
        credential_version: u64,
        owner: &'a str,
        failure: RefreshFailure,
    ) -> BoxFuture<'a, Result<(), StoreFault>>;

    /// Deletes the stored token if it is still of this generation.
    fn drop_token<'a>(&'a self, account: &'a str, generation: u64) -> BoxFuture<'a, Result<(), StoreFault>>;
}

/// The answer of [`TokenStore::begin_refresh`].
#[derive(Clone, Debug)]
pub enum Begun {
    /// There is a token.
    Token(StoredToken),
    /// The caller must refresh with this credential, sealed for `<account id>:credential`.
    Refresh {
        /// The sealed refresh token (plain or composite) or key.
        credential: Sealed,
    },
    /// Another caller is refreshing.
    Busy,
    /// A refresh has just failed.
    Backoff {
        /// When the next one is allowed.
        retry_after: Duration,
    },
    /// There is no such account, or its credential is of another version.
    Changed,
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
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFault),
}

impl From<VaultError> for TokenError {
    fn from(error: VaultError) -> Self {
        Self::Vault(Arc::new(error))
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
    store: Arc<dyn TokenStore>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cached: HashMap<String, Cached>,
    flights: HashMap<(String, u64), Flight>,
}

struct Cached {
    credential_version: u64,
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
    pub fn new(
        oauth: OAuth,
        vault: Arc<Vault>,
        store: Arc<dyn TokenStore>,
        clock: Clock,
        tracker: TaskTracker,
    ) -> Self {
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
            return self.inner.adopt(&request.account, request.credential_version, admitted);
        }
        let flight = {
            let mut state = self.inner.state();
            if let Some(token) = state.usable(request, self.inner.clock.instant()) {
                return Ok(token);
            }
            let key = (request.account.clone(), request.credential_version);
            state.flights.entry(key).or_insert_with(|| self.depart(request.clone())).clone()
        };
        flight.await
    }

    /// The generation of every account's token that this process can still use: admission hands out only others.
    #[must_use]
    pub fn known_generations(&self) -> Vec<(String, u64)> {
        let now = self.inner.clock.instant();
        let state = self.inner.state();
        let usable = state.cached.iter().filter(|(_, cached)| cached.token.use_until > now);
        usable.map(|(account, cached)| (account.clone(), cached.token.generation)).collect()
    }

    /// After a 401: forgets the token of this generation here and in the store; a newer one stays.
    pub async fn refused(&self, account: &str, generation: u64) -> Result<(), TokenError> {
        self.inner.state().cached.retain(|id, cached| id != account || cached.token.generation != generation);
        self.inner.store.drop_token(account, generation).await.map_err(TokenError::Store)
    }

    /// Forgets what this process knows of an account (removed, or signed in anew).
    pub fn forget(&self, account: &str) {
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
        let key = (self.request.account.clone(), self.request.credential_version);
        self.inner.state().flights.remove(&key);
    }
}

impl State {
    fn usable(&self, request: &TokenRequest, now: Instant) -> Option<AccessToken> {
        let cached = self.cached.get(&request.account)?;
        let fits = cached.credential_version == request.credential_version && cached.token.use_until > now;
        fits.then(|| cached.token.clone())
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held, and each change is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn obtain(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let account = request.account.as_str();
        let version = request.credential_version;
        let give_up = self.clock.instant() + WAIT_LIMIT;
        let owner = owner()?;
        let mut attempts = 0;
        loop {
            match self.store.begin_refresh(account, version, &owner).await.map_err(TokenError::Store)? {
                Begun::Token(stored) => return self.adopt(account, version, &stored),
                Begun::Changed => return Err(TokenError::Changed),
                Begun::Backoff { retry_after } => {
                    return Err(TokenError::Transient { status: None, retry_after: Some(retry_after) });
                }
                Begun::Busy if self.clock.instant() >= give_up => {
                    return Err(TokenError::Transient { status: None, retry_after: None });
                }
                Begun::Busy => tokio::time::sleep(POLL + jitter(POLL)).await,
                Begun::Refresh { credential } => {
                    let fresh = self.refresh(request, &credential).await;
                    let (sealed, minted) = match fresh {
                        Ok(fresh) => fresh,
                        Err(error) => {
                            let failure = match error {
                                TokenError::Revoked => RefreshFailure::Revoked,
                                _ => RefreshFailure::Transient,
                            };
                            // The cause is worth more than a failure to record it; the lock lapses by itself.
                            let _ = self.store.fail_refresh(account, version, &owner, failure).await;
                            return Err(error);
                        }
                    };
                    let finished = self.store.finish_refresh(account, version, &owner, &sealed, minted.ttl);
                    if let Some(generation) = finished.await.map_err(TokenError::Store)? {
                        return Ok(self.cache(account, version, minted.secret, generation, minted.ttl));
                    }
                    attempts += 1;
                    if attempts == ATTEMPTS {
                        return Err(TokenError::Transient { status: None, retry_after: None });
                    }
                }
            }
        }
    }

    async fn refresh(
        &self,
        request: &TokenRequest,
        credential: &Sealed,
    ) -> Result<(Sealed, Minted), TokenError> {
        let credential = self.vault.open(&credential_aad(&request.account), credential)?;
        let minted = match request.source {
            Source::OAuth => self.oauth.refresh(&credential).await?,
            Source::Manual => Minted { secret: credential, ttl: self.oauth.token_ttl() },
            Source::Database => return Err(TokenError::SourceUnsupported { source_name: request.source }),
        };
        Ok((self.vault.seal(&token_aad(&request.account), &minted.secret)?, minted))
    }

    fn adopt(&self, account: &str, version: u64, stored: &StoredToken) -> Result<AccessToken, TokenError> {
        let secret = self.vault.open(&token_aad(account), &stored.sealed)?;
        Ok(self.cache(account, version, secret, stored.generation, stored.remaining))
    }

    fn cache(
        &self,
        account: &str,
        credential_version: u64,
        secret: SecretString,
        generation: u64,
        remaining: Duration,
    ) -> AccessToken {
        let use_until = self.clock.instant() + remaining.min(LOCAL_TTL);
        let token = AccessToken { secret: Arc::new(secret), generation, use_until };
        let cached = Cached { credential_version, token: token.clone() };
        self.state().cached.insert(account.to_owned(), cached);
        token
    }
}

/// A name for one holder of a lock, new for every flight.
fn owner() -> Result<String, TokenError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| VaultError::Seal)?;
    Ok(u128::from_ne_bytes(bytes).to_string())
}

#[cfg(test)]
mod tests;
