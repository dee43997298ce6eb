//! The `/health` report (spec `http-api.md` §1.3.1), from the store alone: quotas are as old as the last survey.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::gateway::{lost, view, views};
use super::limits::{left, silence};
use crate::account::directory::Accounts;
use crate::server::gateway::{AccountCounts, AccountHealth, AccountView as Told, HealthReport};
use crate::store::ident::InvalidReason;
use crate::store::ops::listing::AccountView;

/// How long `?refresh=true` waits for a new survey.
pub(super) const REFRESH_WAIT: Duration = Duration::from_secs(30);

/// The whole report. `latency` is the time the store took, `interval` that after which quotas are fetched anew.
pub(super) fn report(accounts: &Accounts, latency: Duration, interval: Duration) -> HealthReport {
    let (counts, now_ms) = (AccountCounts::of(&views(accounts)), accounts.now_ms);
    let readable = accounts.readable.iter().map(|account| entry(account, now_ms, interval));
    // Of an account whose record is damaged there is no more to say.
    let damaged = accounts.damaged.iter().map(|account| told(lost(account), "invalid"));
    HealthReport {
        status: "ok",
        timestamp: iso(now_ms),
        latency_ms: millis(latency),
        summary: counts.to_string(),
        counts,
        accounts: readable.chain(damaged).collect(),
        redacted: false,
    }
}

fn entry(account: &AccountView, now_ms: i64, interval: Duration) -> AccountHealth {
    let soonest = account.limits.iter().map(|limit| limit.left).filter(|left| !left.is_zero()).min();
    let mut told = AccountHealth {
        rate_limit_cooldown_remaining: soonest.map_or(0, millis),
        models: account.quotas.iter().map(|quota| (quota.model.clone(), left(quota))).collect(),
        ..told(view(account, now_ms), status(account))
    };
    if account.invalid.is_none()
        && let Some(text) = silence(account, interval, now_ms)
    {
        told.status = "error";
        told.error = Some(text.to_owned());
    }
    told
}

/// What the console is told of an account as well.
fn told(account: Told, status: &'static str) -> AccountHealth {
    AccountHealth {
        email: account.email,
        status,
        error: account.invalid_reason,
        verify_url: account.verify_url,
        subscription: account.subscription,
        last_used: account.last_used.map(iso),
        model_rate_limits: account.model_rate_limits,
        rate_limit_cooldown_remaining: 0,
        models: BTreeMap::new(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn status(account: &AccountView) -> &'static str {
    match &account.invalid {
        Some(invalid) if invalid.reason == InvalidReason::Banned => "banned",
        Some(_) => "invalid",
        None if account.limits.iter().any(|limit| !limit.left.is_zero()) => "rate-limited",
        None => "ok",
    }
}

/// Half up, as the reference rounds: 0.755 is `76%`.
pub(super) fn percent(fraction: f64) -> String {
    format!("{}%", (fraction * 100.0 + 0.5).floor())
}

pub(super) fn iso(epoch_ms: i64) -> String {
    let time = Timestamp::from_millisecond(epoch_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_the_reference_does() {
        assert_eq!(percent(0.755), "76%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(0.0), "0%");
        assert_eq!(iso(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
