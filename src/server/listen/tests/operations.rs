//! No operator is at work here.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Streaming;
use crate::server::error::ApiError;
use crate::server::gateway::AccountCounts;
use crate::server::gateway::limits::AccountLimits;
use crate::server::gateway::operations::{ClearedCaches, Operations, Remedy};
use crate::server::gateway::requests::{CancelOutcome, LiveRequests};

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T, ApiError>> {
    async { Err(ApiError::internal()) }.boxed()
}

impl Operations for Streaming {
    fn account_limits(&self, _: bool) -> BoxFuture<'_, Result<AccountLimits, ApiError>> {
        refused()
    }

    fn refresh_account<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        refused()
    }

    fn account_remedy<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Remedy>, ApiError>> {
        refused()
    }

    fn reload_accounts(&self) -> BoxFuture<'_, Result<AccountCounts, ApiError>> {
        refused()
    }

    fn clear_caches(&self) -> BoxFuture<'_, Result<Option<ClearedCaches>, ApiError>> {
        refused()
    }

    fn clear_signatures(&self) -> BoxFuture<'_, Result<Option<u64>, ApiError>> {
        refused()
    }

    fn live_requests(&self) -> BoxFuture<'_, Result<LiveRequests, ApiError>> {
        refused()
    }

    fn cancel_request<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<CancelOutcome, ApiError>> {
        refused()
    }
}
