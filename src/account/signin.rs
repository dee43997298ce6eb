//! Signing in: from the address that a browser is sent to, to the account in the pool.
//!
//! A sign-in lives in the store, so any replica completes it, by the browser's return or by what a person pasted (spec
//! `http-api.md` §6.3, §10.1). Of several who try at a time one completes it; the others are told. What is malformed, and
//! what Google could not be asked, leaves it waiting.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use super::directory::{Directory, DirectoryError, SignInStored};
use crate::auth::oauth::OAuth;
use crate::auth::oauth::signin::SignInCallError;
use crate::auth::signin::{
    Authorization, NoRandomness, PasteError, Pasted, Returned, challenge, new_state, new_verifier,
    verifier_aad,
};
use crate::auth::tokens::TokenError;
use crate::auth::vault::{Sealed, Vault, VaultError};
use crate::store::Store;
use crate::store::audit::carried;
use crate::store::host::StoreError;
use crate::store::ident::OwnerId;
use crate::store::ops::signins::{
    NewSignIn, SignInEnd, SignInFailure, SignInState, SignInStatus, SignedIn, TakenSignIn,
};

/// How long a sign-in waits, and how long its result is kept (spec `http-api.md` §10.1).
pub const LIFE: Duration = Duration::from_mins(10);
/// How long one who completes it may be silent: longer than Google may take for both calls.
const HOLD: Duration = Duration::from_secs(90);

/// Sign-ins of the pool. Cheap to clone.
#[derive(Clone)]
pub struct SignIns {
    inner: Arc<Inner>,
    /// A completion runs to its end, also when the browser goes away.
    tracker: TaskTracker,
}

struct Inner {
    store: Store,
    vault: Arc<Vault>,
    oauth: OAuth,
    directory: Directory,
}

/// A sign-in that waits for its owner.
#[derive(Clone)]
pub struct Begun {
    /// Its name.
    pub state: SignInState,
    /// Where the browser goes.
    pub url: String,
    /// When it ends, ms since the epoch by the store's clock.
    pub expires_at_ms: i64,
}

/// An account that has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Its address, lower-cased.
    pub email: String,
    /// How it was stored.
    pub how: SignedIn,
}

/// How a code came here; decides whether a refused one ends the sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// With the browser: its owner is told by the status only.
    Returned,
    /// By hand: its owner is told at once and may paste again.
    Pasted,
}

/// Why a sign-in could not be begun or completed; each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The operator's OAuth client is not set.
    #[error("OAuth client is not configured: set {settings}, then restart the gateway")]
    NotConfigured {
        /// The settings' names.
        settings: &'static str,
    },
    /// `oauth.authUrl` is no address.
    #[error("oauth.authUrl is not a usable address")]
    Endpoint,
    /// What was pasted is of no use; the sign-in waits on.
    #[error(transparent)]
    Input(#[from] PasteError),
    /// The browser brought neither a code nor an error; the sign-in waits on.
    #[error("No authorization code")]
    NoCode,
    /// No such sign-in waits.
    #[error(
        "OAuth flow not found: it is unknown or has expired; a sign-in waits ten minutes. Start a new one"
    )]
    Unknown,
    /// It has ended.
    #[error(
        "OAuth flow not found: it was used already, and the account may have been added. Look at the accounts, or \
         start a new sign-in"
    )]
    Used,
    /// Another completes it.
    #[error("This sign-in is being completed by another request at this moment")]
    Busy,
    /// It has ended without an account.
    #[error("{}", explain(.0))]
    Failed(SignInFailure),
    /// Google refused a pasted code; the sign-in waits on.
    #[error(
        "Google refused the authorization code: it is wrong, has expired or was used before. Paste the whole address, \
         or open the sign-in's address once more"
    )]
    Code,
    /// Google could not be reached; the sign-in waits on, and the code is of use.
    #[error("Google could not be reached; try again")]
    Unreachable,
    /// Google did not answer as it should; the sign-in waits on, and the code may be of no use any more.
    #[error("Google did not answer as it should; open the sign-in's address once more")]
    Google,
    /// Others keep changing the account; the sign-in waits on.
    #[error("The account was changed by others at the same time; open the sign-in's address once more")]
    Contended,
    /// The key that sealed it was retired since, or is not this gateway's; one that has it may complete the sign-in.
    #[error(
        "This sign-in was begun under the encryption key {id}, which this gateway does not have (ENCRYPTION_KEYS). Start \
         a new one"
    )]
    Key {
        /// The key's id.
        id: String,
    },
    /// The store did not say whether it gave the sign-in: until that lapses it may be this call's, or nobody's.
    #[error("The store did not answer; try again in two minutes")]
    Untaken(#[source] StoreError),
    /// The work ended early, as the process does.
    #[error("The sign-in was interrupted; try again in two minutes")]
    Interrupted,
    /// The account could not be stored.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The verifier could not be sealed or opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The system gave no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Why a sign-in ended without an account, for the one who signed in.
#[must_use]
pub fn explain(failure: &SignInFailure) -> String {
    match failure {
        SignInFailure::Refused(code) => format!("OAuth error: {code}"),
        SignInFailure::Code => {
            "Google refused the authorization code: it is wrong, has expired or was used before. Start the sign-in again"
                .to_owned()
        }
        SignInFailure::Client => {
            "Google refused the OAuth client: check OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET and the redirect addresses \
             registered for it"
                .to_owned()
        }
        SignInFailure::OtherAccount(email) => format!(
            "Signed in as {email}, but another account was to sign in; nothing was changed. Start again and choose the \
             right account"
        ),
        SignInFailure::NoRefreshToken => {
            "Google returned no refresh token; remove the app's access and retry".to_owned()
        }
        SignInFailure::NoEmail => {
            "Google did not tell the account's e-mail address; nothing was stored".to_owned()
        }
        SignInFailure::Full(max) => {
            format!("Maximum of {max} accounts reached. Update maxAccounts in config to increase the limit.")
        }
        SignInFailure::Other => "The sign-in failed; start it again".to_owned(),
    }
}

impl From<TokenError> for SignInError {
    /// Of the errors of tokens, a sign-in meets one.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotConfigured { settings } => Self::NotConfigured { settings },
            _ => Self::Google,
        }
    }
}

impl fmt::Debug for SignIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignIns")
    }
}

impl SignIns {
    /// Completions run on `tracker`.
    #[must_use]
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        oauth: OAuth,
        directory: Directory,
        tracker: TaskTracker,
    ) -> Self {
        Self { inner: Arc::new(Inner { store, vault, oauth, directory }), tracker }
    }

    /// Fails when the operator's OAuth client is not set.
    pub fn check(&self) -> Result<(), SignInError> {
        self.inner.oauth.check().map_err(SignInError::from)
    }

    /// Begins a sign-in whose browser comes back to `redirect_uri`. With `expected`, it must be of that e-mail.
    pub async fn begin(&self, redirect_uri: &str, expected: Option<&str>) -> Result<Begun, SignInError> {
        let inner = &self.inner;
        let expected = expected.map(str::trim).filter(|email| !email.is_empty());
        let (state, verifier) = (new_state()?, new_verifier()?);
        let url = Authorization {
            endpoint: inner.oauth.auth_url(),
            client_id: inner.oauth.client_id()?,
            redirect_uri,
            challenge: &challenge(&verifier),
            state: &state,
            login_hint: expected,
        };
        let url = url.url().map_err(|_| SignInError::Endpoint)?;
        let _storing = inner.vault.storing().await;
        let sealed = inner.vault.seal(&verifier_aad(&state), &verifier)?;
        let signin = NewSignIn { state: &state, life: LIFE, sealed: sealed.as_str(), redirect_uri, expected };
        let (gave_way, stamp) = inner.store.begin_signin(&signin).await?;
        if gave_way > 0 {
            tracing::warn!(gave_way, "more than 20 sign-ins wait: the oldest gave way");
        }
        let life = i64::try_from(LIFE.as_millis()).unwrap_or(i64::MAX);
        Ok(Begun { state, url, expires_at_ms: stamp.now_ms.saturating_add(life) })
    }

    /// Completes the sign-in that a browser came back from, by its query (spec `http-api.md` §6.3). What names no sign-in
    /// that waits changes nothing.
    pub async fn returned(&self, query: &str) -> (Option<SignInState>, Result<Completed, SignInError>) {
        let returned = Returned::parse(query);
        let Some(state) = returned.state.as_deref().and_then(SignInState::parse) else {
            return (None, Err(SignInError::Unknown));
        };
        let answer = match (returned.error, returned.code) {
            (Some(error), _) => self.complete(&state, Outcome::Refused(error)).await,
            (None, None) => Err(SignInError::NoCode),
            (None, Some(code)) => self.complete(&state, Outcome::Code(code, Way::Returned)).await,
        };
        (Some(state), answer)
    }

    /// Completes a sign-in with what a person pasted: the address that the browser ended on, or the code in it.
    pub async fn pasted(&self, state: &str, input: &str) -> Result<Completed, SignInError> {
        let state = SignInState::parse(state.trim()).ok_or(SignInError::Unknown)?;
        let code = Pasted::parse(input)?.code_for(&state)?;
        self.complete(&state, Outcome::Code(code, Way::Pasted)).await
    }

    /// How a sign-in stands.
    pub async fn status(&self, state: &str) -> Result<SignInStatus, SignInError> {
        match SignInState::parse(state.trim()) {
            Some(state) => Ok(self.inner.store.get_signin(&state).await?),
            None => Ok(SignInStatus::Unknown),
        }
    }

    /// Completes a sign-in, or ends one that its owner or Google refused.
    async fn complete(&self, state: &SignInState, outcome: Outcome) -> Result<Completed, SignInError> {
        let (inner, state) = (Arc::clone(&self.inner), state.clone());
        // What it stores is part of what was asked for.
        let task = self.tracker.spawn(carried(async move {
            let owner = new_owner()?;
            let taken = inner.take(&state, &owner).await.map_err(untaken)?;
            let answer = match outcome {
                Outcome::Refused(error) => Err(SignInError::Failed(SignInFailure::Refused(error))),
                Outcome::Code(code, way) => inner.redeem(&state, &owner, &taken, &code, way).await,
            };
            inner.end(&state, &owner, &end_of(&answer)).await;
            match &answer {
                Ok(done) => tracing::info!(
                    target: "antigravity_proxy::audit", renewed = done.how == SignedIn::Renewed, "an account signed in"
                ),
                // The text may name the account.
                Err(SignInError::Failed(failure)) => {
                    tracing::warn!(reason = failure.name(), "a sign-in ended without an account");
                }
                Err(error) => tracing::warn!(%error, "a sign-in was not completed"),
            }
            answer
        }));
        task.await.unwrap_or(Err(SignInError::Interrupted))
    }
}

/// What Google sent back.
enum Outcome {
    Refused(String),
    Code(SecretString, Way),
}

/// What the holder of a sign-in works with.
struct Taken {
    sealed: Sealed,
    redirect_uri: String,
    expected: Option<String>,
}

impl Inner {
    async fn take(&self, state: &SignInState, owner: &OwnerId) -> Result<Taken, SignInError> {
        match self.store.take_signin(state, owner, HOLD).await? {
            TakenSignIn::Granted { sealed, redirect_uri, expected } => {
                Ok(Taken { sealed: Sealed::from_text(sealed), redirect_uri, expected })
            }
            TakenSignIn::Busy(_) => Err(SignInError::Busy),
            TakenSignIn::Used => Err(SignInError::Used),
            TakenSignIn::Unknown => Err(SignInError::Unknown),
        }
    }

    /// Trades the code for an account, and stores it.
    async fn redeem(
        &self,
        state: &SignInState,
        owner: &OwnerId,
        taken: &Taken,
        code: &SecretString,
        way: Way,
    ) -> Result<Completed, SignInError> {
        let failed = |error| failed(error, way);
        let verifier = self.vault.open(&verifier_aad(state), &taken.sealed).map_err(|error| match error {
            VaultError::UnknownKey { id } => SignInError::Key { id },
            error => error.into(),
        })?;
        let exchanged = self.oauth.exchange(code, &verifier, &taken.redirect_uri).await.map_err(failed)?;
        let email = self.oauth.email(&exchanged.access_token).await.map_err(failed)?.to_lowercase();
        if taken.expected.as_ref().is_some_and(|expected| *expected != email) {
            return Err(SignInError::Failed(SignInFailure::OtherAccount(email)));
        }
        // Whoever was silent for too long has lost it to another.
        self.take(state, owner).await?;
        match self.directory.sign_in(&email, exchanged.refresh_token.as_ref()).await? {
            SignInStored::Done(how) => Ok(Completed { email, how }),
            SignInStored::NoRefreshToken => Err(SignInError::Failed(SignInFailure::NoRefreshToken)),
            SignInStored::Full(max) => Err(SignInError::Failed(SignInFailure::Full(max))),
            SignInStored::Contended => Err(SignInError::Contended),
        }
    }

    async fn end(&self, state: &SignInState, owner: &OwnerId, end: &SignInEnd) {
        match self.store.end_signin(state, owner, end, LIFE).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("the sign-in had passed on; its result was not recorded"),
            // The account is stored, or it is not; who waits for the result learns it from the list.
            Err(error) => tracing::warn!(%error, "the result of a sign-in was not recorded"),
        }
    }
}

/// The store may have given the sign-in to a call that does not know it.
fn untaken(error: SignInError) -> SignInError {
    match error {
        SignInError::Store(error @ StoreError::Unavailable { .. }) => {
            tracing::warn!(%error, "a sign-in may be held by nobody for a while");
            SignInError::Untaken(error)
        }
        error => error,
    }
}

fn failed(error: SignInCallError, way: Way) -> SignInError {
    match (error, way) {
        (SignInCallError::NotConfigured | SignInCallError::Client, _) => {
            SignInError::Failed(SignInFailure::Client)
        }
        (SignInCallError::Code, Way::Returned) => SignInError::Failed(SignInFailure::Code),
        (SignInCallError::Code, Way::Pasted) => SignInError::Code,
        (SignInCallError::Unreachable, _) => SignInError::Unreachable,
        (SignInCallError::Failed { .. }, _) => SignInError::Google,
        (SignInCallError::NoEmail, _) => SignInError::Failed(SignInFailure::NoEmail),
    }
}

/// What is recorded of it: final failures end the sign-in, with all others it waits on.
fn end_of(answer: &Result<Completed, SignInError>) -> SignInEnd {
    match answer {
        Ok(done) => SignInEnd::Completed { email: done.email.clone(), how: done.how },
        Err(SignInError::Failed(failure)) => SignInEnd::Failed(failure.clone()),
        Err(_) => SignInEnd::Pending,
    }
}

/// A name for one who completes a sign-in, new each time.
fn new_owner() -> Result<OwnerId, SignInError> {
    OwnerId::random().ok_or_else(|| NoRandomness.into())
}

#[cfg(test)]
mod tests;
