//! The `/health` report (spec `http-api.md` §1.3.1), from the store alone: quotas are as old as the last survey.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::gateway::{explain, view};
use crate::server::gateway::AccountCounts;
use crate::store::ident::InvalidReason;
use crate::store::ops::listing::AccountView;

/// How long `?refresh=true` waits for a new survey.
pub(super) const REFRESH_WAIT: Duration = Duration::from_secs(30);

/// The whole report. `latency` is the time the store took.
pub(super) fn report(accounts: &[AccountView], now_ms: i64, latency: Duration) -> Value {
    let views: Vec<_> = accounts.iter().map(|account| view(account, now_ms)).collect();
    let counts = AccountCounts::of(&views);
    json!({
        "status": "ok",
        "timestamp": iso(now_ms),
        "latencyMs": u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        "summary": format!(
            "{} total, {} available, {} rate-limited, {} invalid",
            counts.total, counts.available, counts.rate_limited, counts.invalid
        ),
        "counts": counts,
        "accounts": accounts.iter().map(|account| entry(account, now_ms)).collect::<Vec<_>>(),
    })
}

fn entry(account: &AccountView, now_ms: i64) -> Value {
    let limits = view(account, now_ms).model_rate_limits;
    let soonest = account.limits.iter().map(|limit| limit.left).filter(|left| !left.is_zero()).min();
    let mut fields = Map::new();
    fields.insert("email".into(), json!(account.email));
    fields.insert("status".into(), json!(status(account)));
    if let Some(invalid) = &account.invalid {
        fields.insert("error".into(), json!(explain(invalid.reason)));
    }
    fields.insert("lastUsed".into(), account.last_used_ms.map_or(Value::Null, |at| json!(iso(at))));
    fields.insert("modelRateLimits".into(), json!(limits));
    let remaining = soonest.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    fields.insert("rateLimitCooldownRemaining".into(), json!(remaining));
    let models: Map<String, Value> = account
        .quotas
        .iter()
        .map(|quota| {
            let remaining = quota.fraction.map_or_else(|| "N/A".to_owned(), percent);
            let value =
                json!({ "remaining": remaining, "remainingFraction": quota.fraction, "resetTime": quota.reset });
            (quota.model.clone(), value)
        })
        .collect();
    fields.insert("models".into(), Value::Object(models));
    Value::Object(fields)
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
fn percent(fraction: f64) -> String {
    format!("{}%", (fraction * 100.0 + 0.5).floor())
}

fn iso(epoch_ms: i64) -> String {
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
