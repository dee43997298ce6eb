//! Access tokens: one refresher at a time in the whole pool.

use std::fmt;
use std::time::Duration;

use super::admit::millis;
use crate::store::Store;
use crate::store::feed::notice::Notice;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{AccountId, CredentialVersion, Generation, InvalidReason, OwnerId, Source};
use crate::store::registry::{BEGIN_REFRESH, DROP_TOKEN, FAIL_REFRESH, FINISH_REFRESH, GET_OUTAGE};

/// What a caller without a token gets.
#[derive(Clone, PartialEq, Eq)]
pub enum Refresh {
    /// A fresh token; somebody else fetched it meanwhile.
    Token {
        /// The credential it came from.
        credential: CredentialVersion,
        /// Which one.
        generation: Generation,
        /// For how long it may be used.
        ttl: Duration,
        /// To be opened with the account's id.
        sealed: String,
    },
    /// The right to fetch one, and the credential to do so.
    Granted {
        /// The credential's version.
        credential: CredentialVersion,
        /// How to fetch.
        source: Source,
        /// The sealed credential.
        sealed: String,
    },
    /// Another refresher has at most so long.
    Wait(Duration),
    /// A refresh failed lately; the next may start after this.
    Failed(Duration),
    /// The account needs its owner.
    Invalid(InvalidReason),
    /// There is no such account.
    Gone,
}

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { generation, .. } => write!(f, "Token({generation})"),
            Self::Granted { credential, source, .. } => write!(f, "Granted({credential}, {source:?})"),
            Self::Wait(wait) => write!(f, "Wait({wait:?})"),
            Self::Failed(wait) => write!(f, "Failed({wait:?})"),
            Self::Invalid(reason) => write!(f, "Invalid({reason:?})"),
            Self::Gone => f.write_str("Gone"),
        }
    }
}

/// What became of a fetched token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishedRefresh {
    /// Kept as this generation.
    Kept(Generation),
    /// The lock had passed on: not kept.
    Lost,
    /// The account has a newer credential: not kept.
    Stale,
    /// The account is gone.
    Gone,
}

/// Why a refresh failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshFailure {
    /// Network, 5xx, 429, nonsense: try again later.
    Transient,
    /// The credential is no longer accepted.
    Revoked,
    /// The account has no part in it (the gateway's own OAuth client was refused): another replica may try at once.
    Withdrawn,
}

/// What a failed refresh led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedRefresh {
    /// Nobody tries again before this.
    Paused(Duration),
    /// The account is invalid now.
    Invalidated,
    /// Nothing changed but that the lock is free: it had passed on, the verdict was about an older credential, or there
    /// was none.
    Ignored,
    /// The account is gone.
    Gone,
}

impl Store {
    /// Hands out the account's token, or the right to fetch one for at most `lock`.
    pub async fn begin_refresh(
        &self,
        account: &AccountId,
        owner: &OwnerId,
        lock: Duration,
    ) -> Result<Refresh, StoreError> {
        self.begin_renewal(account, owner, lock, Duration::ZERO).await
    }

    /// As [`Store::begin_refresh`], also when the token may be used for no more than `due`: one renews it ahead of time,
    /// the others go on with it.
    pub async fn begin_renewal(
        &self,
        account: &AccountId,
        owner: &OwnerId,
        lock: Duration,
        due: Duration,
    ) -> Result<Refresh, StoreError> {
        let call = Call::new(&BEGIN_REFRESH)
            .key(self.keys.named("meta"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("acct"))
            .key(self.keys.named("cred"))
            .key(self.keys.named("tok"))
            .key(self.keys.token_lock(account))
            .key(self.keys.token_failure(account))
            .arg(account.as_str())
            .arg(owner.as_str())
            .arg(millis(lock).max(1))
            .arg(millis(due));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let refresh = match code.as_str() {
            "TOKEN" => Refresh::Token {
                credential: CredentialVersion(fields.number("a credential version")?),
                generation: Generation(fields.number("a generation")?),
                ttl: fields.millis("ms of a token's life")?,
                sealed: fields.text("a sealed token")?,
            },
            "GRANTED" => Refresh::Granted {
                credential: CredentialVersion(fields.number("a credential version")?),
                source: fields.parsed("a source", Source::from_name)?,
                sealed: fields.text("a sealed credential")?,
            },
            "WAIT" => Refresh::Wait(fields.millis("ms to wait")?),
            "FAILED" => Refresh::Failed(fields.millis("ms to wait")?),
            "INVALID" => Refresh::Invalid(fields.parsed("a reason", InvalidReason::from_name)?),
            "NONE" => Refresh::Gone,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(refresh)
    }

    /// Keeps a fetched token for `ttl` and ends the lock.
    pub async fn finish_refresh(
        &self,
        account: &AccountId,
        owner: &OwnerId,
        credential: CredentialVersion,
        ttl: Duration,
        sealed: &str,
    ) -> Result<FinishedRefresh, StoreError> {
        let call = Call::new(&FINISH_REFRESH)
            .key(self.keys.named("meta"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("tok"))
            .key(self.keys.token_lock(account))
            .key(self.keys.token_failure(account))
            .key(self.keys.named("tdown"))
            .arg(account.as_str())
            .arg(owner.as_str())
            .arg(credential.0)
            .arg(millis(ttl))
            .arg(sealed);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let finished = match code.as_str() {
            "OK" => FinishedRefresh::Kept(Generation(fields.number("a generation")?)),
            "LOST" => FinishedRefresh::Lost,
            "STALE" => FinishedRefresh::Stale,
            "NONE" => FinishedRefresh::Gone,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(finished)
    }

    /// Records a failed refresh and ends the lock.
    pub async fn fail_refresh(
        &self,
        account: &AccountId,
        owner: &OwnerId,
        credential: CredentialVersion,
        failure: RefreshFailure,
    ) -> Result<FailedRefresh, StoreError> {
        let call = Call::new(&FAIL_REFRESH)
            .key(self.keys.named("meta"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("inv"))
            .key(self.keys.token_lock(account))
            .key(self.keys.token_failure(account))
            .key(self.keys.named("tok"))
            .key(self.keys.named("tdown"))
            .arg(account.as_str())
            .arg(owner.as_str())
            .arg(credential.0)
            .arg(match failure {
                RefreshFailure::Transient => "transient",
                RefreshFailure::Revoked => "revoked",
                RefreshFailure::Withdrawn => "withdrawn",
            })
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let failed = match code.as_str() {
            "OK" => {
                let pause = fields.millis("ms of pause")?;
                match (fields.flag("whether it invalidated")?, failure) {
                    (true, _) => FailedRefresh::Invalidated,
                    (false, RefreshFailure::Transient) if !pause.is_zero() => FailedRefresh::Paused(pause),
                    (false, _) => FailedRefresh::Ignored,
                }
            }
            "LOST" => FailedRefresh::Ignored,
            "NONE" => FailedRefresh::Gone,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if failed == FailedRefresh::Invalidated {
            self.note(stamp, Notice::AccountInvalid { id: account, reason: InvalidReason::Revoked });
        }
        Ok(failed)
    }

    /// Whether tokens cannot be fetched for now: the last refresh of any account failed a short while ago.
    pub async fn fetching_fails(&self) -> Result<bool, StoreError> {
        let call = Call::new(&GET_OUTAGE).key(self.keys.named("meta")).key(self.keys.named("tdown"));
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        let fails = fields.flag("whether refreshes fail")?;
        fields.end()?;
        Ok(fails)
    }

    /// Forgets a refused token; `false` when a newer one took its place.
    pub async fn drop_token(&self, account: &AccountId, generation: Generation) -> Result<bool, StoreError> {
        let call = Call::new(&DROP_TOKEN)
            .key(self.keys.named("meta"))
            .key(self.keys.named("tok"))
            .arg(account.as_str())
            .arg(generation.0);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let dropped = match code.as_str() {
            "OK" => true,
            "STALE" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(dropped)
    }
}
