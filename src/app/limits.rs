//! The `/account-limits` report (spec `http-api.md` §1.3.2), from the store alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::gateway::{explain, told_of_damage, view, views};
use super::health::{iso, percent};
use crate::account::directory::Accounts;
use crate::config::ModelEntry;
use crate::server::gateway::limits::{AccountLimit, AccountLimits};
use crate::server::gateway::{AccountCounts, QuotaView};
use crate::store::ident::InvalidReason;
use crate::store::ops::listing::AccountView;
use crate::store::ops::models::ModelQuota;

/// How long a look waits for accounts whose quotas have to be fetched.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// No look causes a fetch of quotas that are younger.
pub(super) const FRESHEST: Duration = Duration::from_secs(5);

/// What the report says besides the accounts.
pub(super) struct Frame {
    /// `modelMapping`.
    pub(super) model_config: BTreeMap<String, ModelEntry>,
    /// `globalQuotaThreshold`.
    pub(super) threshold: f64,
    /// `accountSelection.quota.refreshIntervalMs`.
    pub(super) interval: Duration,
}

/// Whether no account that can be asked has quotas older than `age`.
pub(super) fn is_young(accounts: &Accounts, age: Duration) -> bool {
    let asked = accounts.readable.iter().filter(|one| one.enabled && one.invalid.is_none());
    let mut ages = asked.map(|one| one.quota_at_ms.map(|at| accounts.now_ms.saturating_sub(at)));
    ages.all(|one| one.is_some_and(|one| one <= millis(age)))
}

/// The whole report.
pub(super) fn report(accounts: &Accounts, frame: Frame) -> AccountLimits {
    let Frame { model_config, threshold, interval } = frame;
    let (views, now_ms) = (views(accounts), accounts.now_ms);
    let quotas = accounts.readable.iter().flat_map(|account| &account.quotas);
    // Models that are only offered are not listed (spec `http-api.md` §9.3).
    let models: BTreeSet<_> = quotas.filter(|quota| quota.told).map(|quota| quota.model.clone()).collect();
    let nothing = || models.iter().map(|model| (model.clone(), None)).collect::<BTreeMap<_, _>>();
    let readable = accounts.readable.iter().map(|account| {
        let (status, error) = standing(account, interval, now_ms);
        let mut limits = nothing();
        let told = account.quotas.iter().filter(|quota| quota.told);
        limits.extend(told.map(|quota| (quota.model.clone(), Some(left(quota)))));
        AccountLimit {
            account: view(account, now_ms),
            status,
            error: error.map(str::to_owned),
            limits,
            snapshot_at: account.quota_at_ms,
            cooldown_until: (!account.cooling.is_zero())
                .then(|| now_ms.saturating_add(millis(account.cooling))),
        }
    });
    // Of an account whose record is damaged there is no more to say.
    let damaged = views[accounts.readable.len()..].iter().map(|account| AccountLimit {
        account: account.clone(),
        status: "invalid",
        error: Some(told_of_damage()),
        limits: nothing(),
        snapshot_at: None,
        cooldown_until: None,
    });
    AccountLimits {
        history: None,
        timestamp: iso(now_ms),
        total_accounts: views.len(),
        accounts: readable.chain(damaged).collect(),
        models: models.into_iter().collect(),
        model_config,
        global_quota_threshold: threshold,
        counts: AccountCounts::of(&views),
    }
}

pub(super) fn left(quota: &ModelQuota) -> QuotaView {
    QuotaView {
        remaining: quota.fraction.map_or_else(|| "N/A".to_owned(), percent),
        remaining_fraction: quota.fraction,
        reset_time: quota.reset.clone(),
    }
}

fn standing(account: &AccountView, interval: Duration, now_ms: i64) -> (&'static str, Option<&'static str>) {
    match &account.invalid {
        Some(invalid) if invalid.reason == InvalidReason::Banned => ("banned", Some(explain(invalid.reason))),
        Some(invalid) => ("invalid", Some(explain(invalid.reason))),
        None => match silence(account, interval, now_ms) {
            Some(text) => ("error", Some(text)),
            None => ("ok", None),
        },
    }
}

/// What is said of an account that is asked and has missed two turns: it does not answer.
pub(super) fn silence(account: &AccountView, interval: Duration, now_ms: i64) -> Option<&'static str> {
    let told = account.quota_at_ms.unwrap_or(account.added_at_ms);
    let late = account.enabled && now_ms.saturating_sub(told) > millis(interval * 2);
    late.then_some("It has not told its quotas for some time: the log says why")
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ident::{AccountId, CredentialVersion, Source, Version};
    use crate::store::ops::accounts::Subscription;
    use crate::store::ops::listing::{DamagedAccount, Invalidity};

    const NOW: i64 = 1_800_000_000_000;
    const MINUTE: i64 = 60_000;

    fn account(name: &str, quota_at_ms: Option<i64>) -> AccountView {
        AccountView {
            id: AccountId::new(name).unwrap(),
            number: 1,
            email: format!("{name}@example.com"),
            source: Source::OAuth,
            project: None,
            managed_project: None,
            session: "s".into(),
            added_at_ms: NOW - 60 * MINUTE,
            subscription: Subscription { tier: "unknown".into(), project: None, seen_at_ms: None },
            database: None,
            version: Version(1),
            model_thresholds: BTreeMap::new(),
            enabled: true,
            invalid: None,
            credential: CredentialVersion(1),
            in_flight: 0,
            conversations: 0,
            cooling: Duration::ZERO,
            last_used_ms: None,
            health: 70.0,
            tokens: 50.0,
            threshold: None,
            failures: 0,
            token_ttl: Duration::ZERO,
            quota_at_ms,
            quotas: Vec::new(),
            limits: Vec::new(),
        }
    }

    fn invalid(reason: InvalidReason) -> Invalidity {
        Invalidity { reason, since_ms: NOW, url: None }
    }

    #[test]
    fn each_account_says_how_it_stands() {
        let interval = Duration::from_mins(5);
        let old = Some(NOW - 11 * MINUTE);
        let new = AccountView { added_at_ms: NOW, ..account("a", None) };
        for (account, status) in [
            (account("a", Some(NOW)), "ok"),
            (account("a", Some(NOW - 10 * MINUTE)), "ok"),
            (account("a", old), "error"),
            (account("a", None), "error"),
            (new, "ok"),
            (AccountView { enabled: false, ..account("a", old) }, "ok"),
            (AccountView { invalid: Some(invalid(InvalidReason::Banned)), ..account("a", old) }, "banned"),
            (AccountView { invalid: Some(invalid(InvalidReason::Revoked)), ..account("a", old) }, "invalid"),
        ] {
            let (told, error) = standing(&account, interval, NOW);
            assert_eq!((told, error.is_none()), (status, status == "ok"), "{account:?}");
        }
    }

    #[test]
    fn only_accounts_that_can_be_asked_must_be_young() {
        let off = AccountView { enabled: false, ..account("b", None) };
        let banned = AccountView { invalid: Some(invalid(InvalidReason::Banned)), ..account("c", None) };
        let young = |readable: Vec<AccountView>| {
            let accounts = Accounts { readable, damaged: Vec::new(), now_ms: NOW };
            is_young(&accounts, Duration::from_secs(30))
        };
        assert!(young(vec![account("a", Some(NOW - 30_000)), off, banned]));
        assert!(!young(vec![account("a", Some(NOW - 30_001))]));
        assert!(!young(vec![account("a", None)]));
        assert!(young(Vec::new()));
    }

    #[test]
    fn every_account_has_an_entry_for_each_model_that_anybody_has_a_quota_of() {
        let quota = |model: &str, fraction, reset: Option<&str>| ModelQuota {
            model: model.into(),
            fraction,
            reset: reset.map(Into::into),
            told: true,
        };
        let one = AccountView {
            quotas: vec![
                quota("b", Some(0.755), Some("later")),
                ModelQuota { told: false, ..quota("offered", None, None) },
            ],
            cooling: Duration::from_secs(2),
            ..account("one", Some(NOW))
        };
        let two = AccountView {
            quotas: vec![quota("a", None, Some("later")), quota("empty", None, None)],
            ..account("two", Some(NOW))
        };
        let lost =
            DamagedAccount { id: AccountId::new("lost").unwrap(), number: 3, email: Some("lost@x".into()) };
        let accounts = Accounts { readable: vec![one, two], damaged: vec![lost], now_ms: NOW };
        let frame = Frame { model_config: BTreeMap::new(), threshold: 0.2, interval: Duration::from_mins(5) };
        let report = serde_json::to_value(report(&accounts, frame)).unwrap();
        assert_eq!(
            report["models"],
            serde_json::json!(["a", "b", "empty"]),
            "what is only offered is left out"
        );
        assert_eq!((&report["totalAccounts"], &report["globalQuotaThreshold"]), (&3.into(), &0.2.into()));
        let limits = |at: usize| &report["accounts"][at]["limits"];
        let left = serde_json::json!({"remaining": "76%", "remainingFraction": 0.755, "resetTime": "later"});
        assert_eq!((&limits(0)["a"], &limits(0)["b"]), (&serde_json::Value::Null, &left));
        assert_eq!(limits(1)["a"]["remaining"], "N/A");
        assert_eq!(limits(2), &serde_json::json!({"a": null, "b": null, "empty": null}));
        let nothing = serde_json::json!({"remaining": "N/A", "remainingFraction": null, "resetTime": null});
        assert_eq!(limits(1)["empty"], nothing);
        assert_eq!(report["accounts"][2]["status"], "invalid");
        assert_eq!(report["accounts"][0]["cooldownUntil"], NOW + 2000);
        assert_eq!(report["timestamp"], iso(NOW), "the store's time");
        assert!(report.get("counts").is_none());
    }
}
