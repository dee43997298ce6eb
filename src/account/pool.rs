//! What a request asks of the pool: an account with its token, what is remembered of signatures, and news.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::auth::tokens::{AccessToken, StoredToken, TokenError, TokenRequest, Tokens};
use crate::auth::vault::Sealed;
use crate::clock::jitter;
use crate::store::Store;
use crate::store::host::Event;
use crate::store::ident::Generation;
use crate::store::ops::PoolEvent;
use crate::store::ops::admit::{Admit, TokenState};

pub use crate::store::host::StoreError;
pub use crate::store::ident::{AccountId, LeaseId, Source};
pub use crate::store::keys::{ConversationKey, SigKey, SigKind};
pub use crate::store::ops::admit::{Admission, Decision, Grant, Tier, WaitReason};

/// Most held tokens that an admission names.
const HELD_TOKENS_MAX: usize = 16;
/// Accounts looked at together when one is only wanted for a look.
const PEEKED: u32 = 100;
/// Time over which the replicas that hear of the same event come back, each with one request.
const SPREAD: Duration = Duration::from_millis(20);

/// The pool as dispatch sees it. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    store: Store,
    tokens: Tokens,
    lease_ttl: Duration,
    signature_ttl: Duration,
    channel: Arc<str>,
}

/// Why no account could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum PeekError {
    /// The store failed or was away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The account has no token now.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// One attempt's question.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Id of the attempt; asking again with it repeats the answer.
    pub lease: &'a LeaseId,
    /// The upstream model.
    pub model: &'a str,
    /// Accounts this request tried; used again only when no other is usable.
    pub tried: &'a [AccountId],
    /// A longer wait than this lets one caller at a time probe the account that is free soonest.
    pub longest_wait: Duration,
    /// The conversation, for the account it should stay with; `None` when any account will do.
    pub conversation: Option<&'a ConversationKey>,
    /// Signatures the conversation needs.
    pub recall: &'a [SigKey],
}

impl Pool {
    /// The pool in `store`. A signature is remembered for `signature_ttl` after its last use.
    #[must_use]
    pub fn new(store: Store, tokens: Tokens, lease_ttl: Duration, signature_ttl: Duration) -> Self {
        let channel = store.keys().channel().into();
        Self { store, tokens, lease_ttl, signature_ttl, channel }
    }

    /// An account, its lease and token, and what is known of `ask.recall` in its order: one round trip.
    pub async fn admit(&self, ask: &Ask<'_>) -> Result<(Admission, Vec<Option<String>>), StoreError> {
        let admit = Admit {
            lease: ask.lease,
            lease_ttl: self.lease_ttl,
            model: ask.model,
            tried: ask.tried,
            known: &self.held_tokens(),
            probe_after: Some(ask.longest_wait),
            conversation: ask.conversation,
        };
        self.store.admit_with_signatures(&admit, ask.recall, self.signature_ttl).await
    }

    /// Remembers signatures, so that every replica knows them.
    pub async fn remember(&self, entries: &[(SigKey, String)]) -> Result<(), StoreError> {
        self.store.put_signatures(entries, self.signature_ttl).await
    }

    /// The granted account's access token.
    pub async fn token(&self, grant: &Grant) -> Result<AccessToken, TokenError> {
        let admitted = match &grant.token {
            TokenState::Sent { generation, ttl, sealed } => Some(StoredToken {
                sealed: Sealed::from_text(sealed.clone()),
                generation: *generation,
                remaining: *ttl,
            }),
            TokenState::Missing | TokenState::Held { .. } => None,
        };
        if grant.token == TokenState::Missing {
            // The store has none, so what this process may still hold was dropped by another.
            self.tokens.forget(&grant.account);
        }
        let token = self.tokens.access_token(&request(grant, admitted)).await?;
        self.tokens.used(&grant.account);
        Ok(token)
    }

    /// The token of an account that could serve `model` now, without admitting anything: the pool is only read, so no
    /// bucket, cursor, assignment or limit changes. Of the usable ones the account with a token at hand and the
    /// fewest requests in flight is taken; `None` when none is usable.
    pub async fn peek(&self, model: &str) -> Result<Option<AccessToken>, PeekError> {
        let mut after = 0;
        loop {
            let page = self.store.list_accounts(after, PEEKED, &[model.to_owned()]).await?;
            let usable = page.accounts.iter().filter(|one| {
                one.enabled && one.invalid.is_none() && one.cooling.is_zero() && one.limits.is_empty()
            });
            if let Some(chosen) = usable.min_by_key(|one| (one.token_ttl.is_zero(), one.in_flight)) {
                let request = TokenRequest {
                    account: chosen.id.clone(),
                    source: chosen.source,
                    credential: chosen.credential,
                    admitted: None,
                };
                return Ok(Some(self.tokens.access_token(&request).await?));
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(None),
            }
        }
    }

    /// A token newer than `refused`, which the upstream did not take.
    pub async fn fresh_token(&self, grant: &Grant, refused: &AccessToken) -> Result<AccessToken, TokenError> {
        self.tokens.refused(&grant.account, refused.generation).await?;
        self.tokens.access_token(&request(grant, None)).await
    }

    /// Whether tokens cannot be fetched for now: an account that rests may do so for want of one.
    pub async fn fetching_fails(&self) -> Result<bool, StoreError> {
        self.store.fetching_fails().await
    }

    /// News of the pool from now on. Taken before an admission, it misses nothing that happens after it.
    #[must_use]
    pub fn news(&self) -> News {
        News { events: self.store.subscribe(), channel: Arc::clone(&self.channel) }
    }

    /// The tokens this process holds, so that admission does not send them again; none when there are many, since
    /// sending one sealed token costs less than naming all that are held.
    fn held_tokens(&self) -> Vec<(AccountId, Generation)> {
        self.tokens.known_generations(HELD_TOKENS_MAX)
    }
}

/// What happens to the pool, as far as it may free an account.
#[derive(Debug)]
pub struct News {
    events: Receiver<Event>,
    channel: Arc<str>,
}

impl News {
    /// Waits for `limit`, or until an account may have become usable: it or a setting changed, a limit was lifted, a
    /// busy one has room.
    pub async fn changed_within(mut self, limit: Duration) {
        let changed = async {
            let room = loop {
                match self.next().await {
                    Promise::Room => break true,
                    Promise::Change => break false,
                    Promise::Nothing => {}
                }
            };
            // Room is taken at once: who comes by chance would be first else.
            if !room {
                tokio::time::sleep(jitter(SPREAD)).await;
            }
        };
        // Both ends of the wait mean the same: ask again.
        let _ = tokio::time::timeout(limit, changed).await;
    }

    /// What the next event promises. A limit that begins or grows promises nothing.
    async fn next(&mut self) -> Promise {
        match self.events.recv().await {
            Ok(event) => match PoolEvent::parse(&self.channel, &event) {
                Some(PoolEvent::Freed(_)) => Promise::Room,
                Some(PoolEvent::Account(_) | PoolEvent::Lifted(_) | PoolEvent::Settings | PoolEvent::Gap) => {
                    Promise::Change
                }
                _ => Promise::Nothing,
            },
            Err(RecvError::Lagged(_)) => Promise::Change,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// What an event means to those that wait.
enum Promise {
    /// One more request fits.
    Room,
    /// An account may have become usable.
    Change,
    Nothing,
}

fn request(grant: &Grant, admitted: Option<StoredToken>) -> TokenRequest {
    TokenRequest {
        account: grant.account.clone(),
        source: grant.source,
        credential: grant.credential,
        admitted,
    }
}

#[cfg(test)]
mod tests;
