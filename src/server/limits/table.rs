//! The report as text, for terminals (spec `http-api.md` §1.3.2).

use std::fmt::Write as _;
use std::iter::repeat_n;

use jiff::Timestamp;

use crate::server::gateway::QuotaView;
use crate::server::gateway::limits::{AccountLimit, AccountLimits};

/// Width of the columns of the first table; the last has what it needs.
const NAME: usize = 25;
const STATUS: usize = 15;
const USED: usize = 25;
/// Width of the line under its head.
const RULE: usize = 90;
/// Longest name in the first table, and in the second.
const SHORT_NAME: usize = 22;
const LONG_NAME: usize = 26;
/// Width of a column of the second table, and the least one of its first.
const CELL: usize = 30;
const MODEL: usize = 28;

/// The report in two tables; `now_ms` is when it was made.
pub(super) fn render(report: &AccountLimits, now_ms: i64) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "Account Limits ({})", date(now_ms));
    let _ = writeln!(out, "Accounts: {}\n", report.counts);
    let _ = writeln!(out, "{:NAME$}{:STATUS$}{:USED$}Quota Reset", "Account", "Status", "Last Used");
    rule(&mut out, RULE);
    for account in &report.accounts {
        let used = account.account.last_used.map_or_else(|| "never".to_owned(), date);
        let _ = writeln!(
            out,
            "{:NAME$}{:STATUS$}{used:USED$}{}",
            name(account, SHORT_NAME),
            status(account),
            reset(account)
        );
        if let Some(error) = &account.error {
            let _ = writeln!(out, "  └─ {error}");
        }
    }
    let longest = report.models.iter().map(|model| model.chars().count()).max().unwrap_or_default();
    let width = longest.max(MODEL) + 2;
    let _ = write!(out, "\n{:width$}", "Model");
    for account in &report.accounts {
        let _ = write!(out, "{:CELL$}", name(account, LONG_NAME));
    }
    out.push('\n');
    rule(&mut out, width + CELL * report.accounts.len());
    for model in &report.models {
        let _ = write!(out, "{model:width$}");
        for account in &report.accounts {
            let _ = write!(out, "{:CELL$}", cell(account, model, now_ms));
        }
        out.push('\n');
    }
    out.pop();
    out
}

fn rule(out: &mut String, width: usize) {
    out.extend(repeat_n('─', width));
    out.push('\n');
}

/// What stands before the `@`.
fn name(account: &AccountLimit, longest: usize) -> String {
    let email = &account.account.email;
    email.split('@').next().unwrap_or(email).chars().take(longest).collect()
}

fn is_exhausted(left: &QuotaView) -> bool {
    left.remaining_fraction.is_none_or(|fraction| fraction <= 0.0)
}

fn status(account: &AccountLimit) -> String {
    if account.account.is_invalid {
        return "invalid".to_owned();
    }
    if account.status == "error" {
        return "error".to_owned();
    }
    let quotas = || account.limits.values().flatten();
    match quotas().filter(|left| is_exhausted(left)).count() {
        0 => "ok".to_owned(),
        exhausted => format!("({exhausted}/{}) limited", quotas().count()),
    }
}

/// When the quota of its first Claude model is full again.
fn reset(account: &AccountLimit) -> String {
    let claude = account.limits.iter().find(|(model, left)| left.is_some() && model.contains("claude"));
    let time = claude.and_then(|(_, left)| left.as_ref()?.reset_time.as_deref());
    match time.map(str::parse::<Timestamp>) {
        None => "-".to_owned(),
        Some(Ok(time)) => date(time.as_millisecond()),
        // In whatever form the upstream has it.
        Some(Err(_)) => time.unwrap_or_default().to_owned(),
    }
}

fn cell(account: &AccountLimit, model: &str, now_ms: i64) -> String {
    if account.status != "ok" {
        return format!("[{}]", account.status);
    }
    let Some(Some(left)) = account.limits.get(model) else { return "-".to_owned() };
    if !is_exhausted(left) {
        return left.remaining.clone();
    }
    let Some(reset) = left.reset_time.as_deref().and_then(|time| time.parse::<Timestamp>().ok()) else {
        return "0% (exhausted)".to_owned();
    };
    match reset.as_millisecond().saturating_sub(now_ms) {
        ..=0 => "0% (resetting...)".to_owned(),
        wait => format!("0% (wait {})", duration(wait)),
    }
}

/// `1h2m3s`; what is less than a second is left out.
fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// In UTC.
fn date(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::server::gateway::{AccountCounts, AccountView, SubscriptionView};

    const NOW: i64 = 1_795_800_000_000;

    fn account(
        email: &str,
        status: &'static str,
        limits: &[(&str, Option<f64>, Option<&str>)],
    ) -> AccountLimit {
        let left = |(model, fraction, reset): &(&str, Option<f64>, Option<&str>)| {
            let remaining = fraction.map_or("N/A".into(), |f| format!("{}%", (f * 100.0 + 0.5).floor()));
            let left =
                QuotaView { remaining, remaining_fraction: *fraction, reset_time: reset.map(Into::into) };
            ((*model).to_owned(), Some(left))
        };
        let mut all: BTreeMap<_, _> = MODELS.iter().map(|model| ((*model).to_owned(), None)).collect();
        all.extend(limits.iter().map(left));
        AccountLimit {
            account: AccountView {
                id: "a".into(),
                email: email.into(),
                source: "oauth".into(),
                enabled: true,
                project_id: None,
                model_rate_limits: BTreeMap::new(),
                is_invalid: matches!(status, "invalid" | "banned"),
                invalid_reason: None,
                verify_url: None,
                last_used: (status == "ok").then_some(NOW - 60_000),
                quota_threshold: None,
                model_quota_thresholds: BTreeMap::new(),
                subscription: SubscriptionView::default(),
            },
            status,
            error: (status != "ok").then(|| format!("It is {status}")),
            limits: all,
            snapshot_at: None,
            cooldown_until: None,
        }
    }

    const MODELS: [&str; 3] = ["claude-opus-4-6-thinking", "claude-sonnet-4-6", "gemini-3-flash"];

    #[test]
    fn the_table_is_as_the_reference_has_it() {
        let reset = Some("2026-11-27T19:02:03Z");
        let accounts = vec![
            account(
                "a-very-long-name-of-somebody@example.com",
                "ok",
                &[
                    ("claude-opus-4-6-thinking", Some(0.755), reset),
                    ("claude-sonnet-4-6", Some(0.0), reset),
                    ("gemini-3-flash", None, None),
                ],
            ),
            account("b@example.com", "ok", &[("gemini-3-flash", Some(0.0), Some("2026-11-27T17:00:00Z"))]),
            account("c@example.com", "banned", &[("claude-sonnet-4-6", Some(1.0), None)]),
            account("d@example.com", "error", &[]),
        ];
        let report = AccountLimits {
            history: None,
            timestamp: String::new(),
            total_accounts: 4,
            models: MODELS.map(str::to_owned).into(),
            model_config: BTreeMap::new(),
            global_quota_threshold: 0.0,
            accounts,
            counts: AccountCounts { total: 4, available: 3, rate_limited: 1, invalid: 1 },
        };
        let golden = include_str!("table.golden.txt");
        let rendered = render(&report, NOW);
        assert!(!rendered.ends_with('\n'));
        // The file ends with a line, as files do; blanks at the ends of its lines are marked.
        let marked: String = rendered.lines().flat_map(|line| [line, "|\n"]).collect();
        assert_eq!(marked, golden, "\n{marked}");
    }

    #[test]
    fn an_empty_pool_has_tables_too() {
        let report = AccountLimits {
            history: None,
            timestamp: String::new(),
            total_accounts: 0,
            models: Vec::new(),
            model_config: BTreeMap::new(),
            global_quota_threshold: 0.0,
            accounts: Vec::new(),
            counts: AccountCounts::default(),
        };
        let rendered = render(&report, NOW);
        assert_eq!(rendered.lines().count(), 8, "{rendered}");
        assert!(rendered.ends_with(&"─".repeat(30)));
    }

    #[test]
    fn waits_are_told_as_the_reference_does() {
        for (ms, text) in [(999, "0s"), (59_999, "59s"), (60_000, "1m0s"), (3_723_000, "1h2m3s")] {
            assert_eq!(duration(ms), text);
        }
    }
}
