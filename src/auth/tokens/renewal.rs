//! Renews tokens of accounts in use before they end, one replica for all.
//!
//! Each replica that uses an account looks at its token in the last fifth of its life. The store lets one of them fetch
//! a new one, the others find it there; until then all go on with the old one. So no request waits for a refresh that
//! could have been done ahead, and what fails ahead has time to be tried again.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::plan::Due;
use super::{CLIENT_PAUSE, Inner, LOCK, StoredToken, TokenError, Tokens, owner};
use crate::auth::vault::Sealed;
use crate::clock::jitter;
use crate::store::ops::tokens::Refresh;
use crate::telemetry::metrics::label::RefreshOutcome;

/// Renewals at the same time.
const PARALLEL: usize = 8;
/// Pause before a look at what another replica is doing, or at a store that is away; so much more at random.
const AGAIN: Duration = Duration::from_secs(1);
/// Pause after a failure of one's own, the least that the store makes of it.
const FAILED: Duration = Duration::from_secs(5);

impl Tokens {
    /// Renews until `stop`; what is under way then is finished.
    pub async fn renew_ahead(self, stop: CancellationToken) {
        let inner = &*self.inner;
        let mut working = FuturesUnordered::new();
        loop {
            while working.len() < PARALLEL
                && let Some(due) = inner.begin_due()
            {
                working.push(inner.look(due));
            }
            let next = inner.state().plan.next_at().filter(|_| working.len() < PARALLEL);
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(()) = working.next() => {}
                () = inner.planned.notified() => {}
                () = sleep => {}
            }
        }
        while working.next().await.is_some() {}
    }
}

impl Inner {
    fn begin_due(&self) -> Option<Due> {
        let now = self.clock.instant();
        self.state().plan.begin(now)
    }

    /// Looks at one token, and at it again later when that is of use.
    async fn look(&self, due: Due) {
        if let Some(pause) = self.renew_due(&due).await {
            let at = self.clock.instant() + pause + jitter(AGAIN);
            self.state().plan.again(&due, at);
        }
    }

    /// Renews the token if nobody else does or has; answers when it is worth another look.
    async fn renew_due(&self, due: &Due) -> Option<Duration> {
        let (account, credential) = (&due.request.account, due.request.credential);
        if self.may_ask(due.request.source).is_err() {
            return Some(CLIENT_PAUSE);
        }
        let owner = owner().ok()?;
        let begun = match self.store.begin_renewal(account, &owner, LOCK, due.window).await {
            Ok(begun) => begun,
            Err(error) => {
                tracing::debug!(account.id = %account, %error, "the token's renewal is put off");
                return Some(AGAIN);
            }
        };
        match begun {
            Refresh::Token { credential: current, generation, ttl, sealed } if current == credential => {
                if generation == due.generation {
                    return Some(ttl.saturating_sub(due.window));
                }
                let stored = StoredToken { sealed: Sealed::from_text(sealed), generation, remaining: ttl };
                match self.adopt(&due.request, &stored) {
                    Ok(_) => self.count(due.request.source, RefreshOutcome::Adopted),
                    Err(error) => {
                        tracing::warn!(account.id = %account, %error, "a renewed token does not open");
                    }
                }
                None
            }
            Refresh::Granted { credential: current, sealed, .. } if current == credential => {
                let lapses = self.clock.instant() + LOCK;
                match self.renew(&due.request, &owner, &Sealed::from_text(sealed), lapses).await {
                    Ok(Some(_)) => None,
                    Ok(None) => Some(AGAIN),
                    Err(TokenError::Revoked) => {
                        self.state().plan.gone(account, credential);
                        None
                    }
                    Err(error) => {
                        tracing::info!(account.id = %account, %error, "the token could not be renewed ahead of its end");
                        Some(FAILED)
                    }
                }
            }
            Refresh::Granted { .. } => {
                // Finishing for the outdated credential stores nothing and gives the lock back.
                let given_back =
                    self.store.finish_refresh(account, &owner, credential, Duration::ZERO, "").await;
                if let Err(error) = given_back {
                    tracing::debug!(account.id = %account, %error, "the lock of a refresh lapses by itself");
                }
                None
            }
            Refresh::Wait(left) => Some(left.min(AGAIN)),
            Refresh::Failed(wait) => Some(wait),
            Refresh::Token { .. } | Refresh::Invalid(_) | Refresh::Gone => {
                self.state().plan.gone(account, credential);
                None
            }
        }
    }
}
