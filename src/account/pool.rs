//! What a request asks of the pool: an account with its token, what is remembered of signatures, and news.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::auth::tokens::{AccessToken, StoredToken, TokenError, TokenRequest, Tokens};
use crate::auth::vault::Sealed;
use crate::store::Store;
use crate::store::ident::Generation;
use crate::store::ops::PoolEvent;
use crate::store::ops::admit::{Admit, TokenState};

pub use crate::store::host::StoreError;
pub use crate::store::ident::{AccountId, LeaseId, Source};
pub use crate::store::keys::{SigKey, SigKind};
pub use crate::store::ops::admit::{Admission, Decision, Grant, WaitReason};

/// Most held tokens that an admission names.
const HELD_TOKENS_MAX: usize = 16;

/// The pool as dispatch sees it. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    store: Store,
    tokens: Tokens,
    lease_ttl: Duration,
    signature_ttl: Duration,
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
    /// Signatures the conversation needs.
    pub recall: &'a [SigKey],
}

impl Pool {
    /// The pool in `store`. A signature is remembered for `signature_ttl` after its last use.
    #[must_use]
    pub fn new(store: Store, tokens: Tokens, lease_ttl: Duration, signature_ttl: Duration) -> Self {
        Self { store, tokens, lease_ttl, signature_ttl }
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
                generation: generation.0,
                remaining: *ttl,
            }),
            TokenState::Missing | TokenState::Held { .. } => None,
        };
        if grant.token == TokenState::Missing {
            // The store has none, so what this process may still hold was dropped by another.
            self.tokens.forget(grant.account.as_str());
        }
        self.tokens.access_token(&request(grant, admitted)).await
    }

    /// A token newer than `refused`, which the upstream did not take.
    pub async fn fresh_token(&self, grant: &Grant, refused: &AccessToken) -> Result<AccessToken, TokenError> {
        self.tokens.refused(grant.account.as_str(), refused.generation).await?;
        self.tokens.access_token(&request(grant, None)).await
    }

    /// Waits for `limit`, or until an account or a setting changes anywhere.
    pub async fn changed_within(&self, limit: Duration) {
        let mut events = self.store.subscribe();
        let channel = self.store.keys().channel();
        let changed = async {
            loop {
                match events.recv().await {
                    Ok(event) => {
                        let news = PoolEvent::parse(&channel, &event);
                        if matches!(news, Some(PoolEvent::Account(_) | PoolEvent::Settings | PoolEvent::Gap))
                        {
                            return;
                        }
                    }
                    Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        // Both ends of the wait mean the same: ask again.
        let _ = tokio::time::timeout(limit, changed).await;
    }

    /// The tokens this process holds, so that admission does not send them again; none when there are many, since
    /// sending one sealed token costs less than naming all that are held.
    fn held_tokens(&self) -> Vec<(AccountId, Generation)> {
        let held = self.tokens.known_generations();
        if held.len() > HELD_TOKENS_MAX {
            return Vec::new();
        }
        let held = held.into_iter();
        held.filter_map(|(id, generation)| Some((AccountId::new(&id).ok()?, Generation(generation))))
            .collect()
    }
}

fn request(grant: &Grant, admitted: Option<StoredToken>) -> TokenRequest {
    TokenRequest {
        account: grant.account.as_str().to_owned(),
        source: grant.source,
        credential_version: grant.credential.0,
        admitted,
    }
}
