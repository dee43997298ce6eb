//! What the fake's operators do.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Fake;
use crate::server::error::ApiError;
use crate::server::gateway::limits::{AccountLimit, AccountLimits};
use crate::server::gateway::operations::{ClearedCaches, Operations, Remedy};
use crate::server::gateway::requests::{
    CancelOutcome, LiveClient, LiveReplica, LiveRequest, LiveRequests, LiveState,
};
use crate::server::gateway::{AccountCounts, Gateway as _, QuotaView};

impl Operations for Fake {
    fn account_limits(&self, refresh: bool) -> BoxFuture<'_, Result<AccountLimits, ApiError>> {
        async move {
            let accounts = self.accounts().await?;
            let counts = AccountCounts::of(&accounts);
            let left = QuotaView {
                remaining: "76%".into(),
                remaining_fraction: Some(0.755),
                reset_time: Some("2026-11-27T20:00:00Z".into()),
            };
            let limits = [("claude-a".to_owned(), Some(left)), ("gemini-b".to_owned(), None)];
            let account = |account| AccountLimit {
                account,
                status: "ok",
                error: None,
                limits: limits.clone().into(),
                snapshot_at: Some(if refresh { 2 } else { 1 }),
                cooldown_until: None,
            };
            Ok(AccountLimits {
                history: None,
                timestamp: "2026-11-27T18:00:00.000Z".into(),
                total_accounts: accounts.len(),
                models: vec!["claude-a".into(), "gemini-b".into()],
                model_config: BTreeMap::new(),
                global_quota_threshold: 0.0,
                accounts: accounts.into_iter().map(account).collect(),
                counts,
            })
        }
        .boxed()
    }

    fn refresh_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        async move { Ok(email.eq_ignore_ascii_case("a@b")) }.boxed()
    }

    fn account_remedy<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Option<Remedy>, ApiError>> {
        let remedy = match email {
            "a@b" => Some(Remedy::Nothing { enabled: true }),
            "off@b" => Some(Remedy::Nothing { enabled: false }),
            "verify@b" => Some(Remedy::Verify { url: "https://accounts.google.com/x".into() }),
            "revoked@b" => Some(Remedy::SignIn),
            "banned@b" => Some(Remedy::Appeal),
            _ => None,
        };
        async move { Ok(remedy) }.boxed()
    }

    fn reload_accounts(&self) -> BoxFuture<'_, Result<AccountCounts, ApiError>> {
        async move { Ok(AccountCounts::of(&self.accounts().await?)) }.boxed()
    }

    fn clear_caches(&self) -> BoxFuture<'_, Result<Option<ClearedCaches>, ApiError>> {
        let done = !self.just_cleared;
        async move { Ok(done.then_some(ClearedCaches { tokens: 2, projects: 1 })) }.boxed()
    }

    fn clear_signatures(&self) -> BoxFuture<'_, Result<Option<u64>, ApiError>> {
        async move { Ok(self.developer.then_some(3)) }.boxed()
    }

    fn live_requests(&self) -> BoxFuture<'_, Result<LiveRequests, ApiError>> {
        let request = LiveRequest {
            id: "req_1".into(),
            replica: "r1".into(),
            started_at: 1000,
            age_ms: 500,
            state: LiveState::Answering,
            stream: Some(true),
            requested_model: Some("opus".into()),
            model: Some("claude-a".into()),
            account: Some("a@b".into()),
            attempts: 1,
            waited_ms: 0,
            first_event_ms: Some(40),
            client: Some(LiveClient { id: "k1".into(), name: "Ada".into() }),
            session: Some("00000000000000ff".into()),
        };
        let replica = |id: &str, is_self, as_of| LiveReplica {
            id: id.into(),
            host: "h".into(),
            is_self,
            as_of,
            requests: u64::from(is_self),
        };
        let live = LiveRequests {
            requests: vec![request],
            replicas: vec![replica("r1", true, Some(1500)), replica("r2", false, None)],
            complete: false,
            omitted: 0,
        };
        async move { Ok(live) }.boxed()
    }

    fn cancel_request<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<CancelOutcome, ApiError>> {
        let outcome = match id {
            "req_1" => CancelOutcome::Done { replica: "r1".into() },
            "req_2" => CancelOutcome::Before,
            "req_3" => CancelOutcome::Ended,
            "req_4" => CancelOutcome::Unanswered(vec!["pod-2".into()]),
            _ => CancelOutcome::Unknown,
        };
        async move { Ok(outcome) }.boxed()
    }
}
