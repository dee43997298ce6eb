//! What operators do to accounts, caches and requests (spec `http-api.md` §1.3.2–1.3.4, §1.4).

use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

use super::AccountCounts;
use super::limits::AccountLimits;
use super::requests::{CancelOutcome, LiveRequests};
use crate::server::error::ApiError;

/// What operators ask for beside the accounts themselves.
pub trait Operations: Send + Sync {
    /// The accounts and what is left of their quotas. Those are as old as `quotaSnapshotTtlMs` at most, with `refresh` as old as
    /// a few seconds, as far as the accounts answer in time.
    fn account_limits(&self, refresh: bool) -> BoxFuture<'_, Result<AccountLimits, ApiError>>;

    /// Forgets what was derived from the credential of the account with this e-mail address, and believes that its owner has
    /// verified it where that was wanted; `false` when there is none.
    fn refresh_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>>;

    /// What helps the account with this e-mail address; `None` when there is none.
    fn account_remedy<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Option<Remedy>, ApiError>>;

    /// Looks at the whole pool again, as if this process had just started.
    fn reload_accounts(&self) -> BoxFuture<'_, Result<AccountCounts, ApiError>>;

    /// Forgets the access tokens of all accounts, and when their projects were looked for, in the whole pool; `None` when
    /// that was done a few seconds ago, and is not again.
    fn clear_caches(&self) -> BoxFuture<'_, Result<Option<ClearedCaches>, ApiError>>;

    /// Forgets all signatures of the pool and answers how many; `None` outside of developer mode.
    fn clear_signatures(&self) -> BoxFuture<'_, Result<Option<u64>, ApiError>>;

    /// The requests for messages that are being answered by all replicas.
    fn live_requests(&self) -> BoxFuture<'_, Result<LiveRequests, ApiError>>;

    /// Ends the request of that id, whichever replica answers it.
    fn cancel_request<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<CancelOutcome, ApiError>>;
}

/// What was forgotten in the whole pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClearedCaches {
    /// Access tokens.
    pub tokens: u64,
    /// Accounts whose project and tier are looked for anew.
    pub projects: u64,
}

/// What helps an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing has to be done but to switch it on, if it is off.
    Nothing {
        /// Whether it is on.
        enabled: bool,
    },
    /// Its owner verifies it; then it is refreshed.
    Verify {
        /// Where.
        url: String,
    },
    /// Its owner signs in again.
    SignIn,
    /// Its owner appeals to the provider.
    Appeal,
}

impl Remedy {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> RemedyName {
        match self {
            Self::Nothing { .. } => RemedyName::None,
            Self::Verify { .. } => RemedyName::Verify,
            Self::SignIn => RemedyName::SignIn,
            Self::Appeal => RemedyName::Appeal,
        }
    }
}

/// What helps an account, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RemedyName {
    /// Nothing: it is in use, or switched off.
    None,
    /// Its owner verifies it at `url`; then it is to be refreshed.
    Verify,
    /// Its owner signs in again at `url`.
    SignIn,
    /// Its owner appeals to the provider; nothing can be done here.
    Appeal,
}
