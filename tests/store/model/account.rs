//! What is known of one account, and of one account for one model.

use std::collections::BTreeMap;

use super::settings::Settings;
use super::tokens::Token;
use super::{elapsed, number};

/// An account (spec §1, with the target's changes of §9.5).
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) id: String,
    /// Its place in the order of accounts; grows and is never given twice.
    pub(crate) number: u64,
    pub(crate) email: String,
    pub(crate) source: String,
    pub(crate) project: Option<String>,
    pub(crate) managed_project: Option<String>,
    pub(crate) session: String,
    pub(crate) added_at: i64,
    pub(crate) tier: String,
    pub(crate) tier_project: Option<String>,
    pub(crate) tier_seen_at: Option<i64>,
    pub(crate) database: Option<String>,
    /// Version of the descriptive record.
    pub(crate) version: u64,
    /// Quota floors by model, and of the account.
    pub(crate) thresholds: BTreeMap<String, f64>,
    pub(crate) threshold: Option<f64>,
    pub(crate) enabled: bool,
    pub(crate) invalid: Option<Invalid>,
    /// Its credential, and how many it has had.
    pub(crate) sealed: String,
    pub(crate) credential: u64,
    pub(crate) cooling_until: i64,
    pub(crate) last_used: Option<i64>,
    pub(crate) health: Option<Level>,
    pub(crate) bucket: Option<Level>,
    /// Failures in a row, over all models, and when the last was.
    pub(crate) failures: u32,
    pub(crate) failed_at: i64,
    pub(crate) quotas: Option<Quotas>,
    pub(crate) token: Token,
}

/// Why an account needs its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// `revoked`, `banned` or `verification`.
    pub(crate) reason: String,
    pub(crate) since: i64,
    pub(crate) url: Option<String>,
}

/// A number as of a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    value: f64,
    at: i64,
}

/// Quotas as they were fetched.
#[derive(Clone, Debug)]
pub(crate) struct Quotas {
    pub(crate) at: i64,
    pub(crate) rows: Vec<Quota>,
}

/// What is left of one model's quota.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quota {
    pub(crate) model: String,
    pub(crate) fraction: Option<f64>,
    pub(crate) reset: Option<String>,
}

/// What is known for one model, by account.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelRecords {
    pub(crate) by_account: BTreeMap<String, Record>,
    /// When the store forgets all of it.
    pub(crate) ends: i64,
}

/// What is known of one account for one model (spec §4.1, §4.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) limit: Option<Limit>,
    /// When a limit was last asked for, whether or not it became longer by it.
    pub(crate) limited_at: i64,
    /// 429s in a row.
    pub(crate) streak: Option<Streak>,
    /// Exhausted quotas in a row: which of the tiers comes next.
    pub(crate) escalation: usize,
    /// What is left of the quota, by the list fetched last.
    pub(crate) fraction: Option<f64>,
}

/// A limit; it has ended when `until` is reached. One without a reason was tried since, at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) until: i64,
    pub(crate) why: String,
}

/// 429s in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streak {
    pub(crate) count: u32,
    pub(crate) last: i64,
}

impl Limit {
    /// When it ends; `now` at the latest when it was tried since, whatever the clock says.
    pub(crate) fn runs_until(&self, now: i64) -> i64 {
        if self.why.is_empty() { self.until.min(now) } else { self.until }
    }
}

impl Record {
    /// Limits last until the latest end anybody named (spec §10, row 8).
    pub(crate) fn limit_for(&mut self, ms: i64, why: &str, now: i64) {
        self.limited_at = now;
        if now + ms > self.until() {
            self.limit = Some(Limit { until: now + ms, why: why.to_owned() });
        }
    }

    /// When the limit ends or ended; 0 without one.
    pub(crate) fn until(&self) -> i64 {
        self.limit.as_ref().map_or(0, |limit| limit.until)
    }
}

impl Account {
    /// Health grows back by the hour (spec §5.4).
    pub(crate) fn health(&self, settings: &Settings, now: i64) -> f64 {
        let Some(health) = self.health else { return settings.get("health.initial") };
        let hours = number(elapsed(now, health.at)) / 3_600_000.0;
        (health.value + hours * settings.get("health.recoveryPerHour")).min(settings.get("health.maxScore"))
    }

    pub(crate) fn change_health(&mut self, by: &str, settings: &Settings, now: i64) {
        let changed = self.health(settings, now) + settings.get(by);
        let value = changed.min(settings.get("health.maxScore")).max(0.0);
        self.health = Some(Level { value, at: now });
    }

    /// The bucket fills by the minute (spec §5.4).
    pub(crate) fn tokens(&self, settings: &Settings, now: i64) -> f64 {
        let Some(bucket) = self.bucket else { return settings.get("bucket.initial") };
        let minutes = number(elapsed(now, bucket.at)) / 60_000.0;
        (bucket.value + minutes * settings.get("bucket.perMinute")).min(settings.get("bucket.max"))
    }

    pub(crate) fn take_token(&mut self, settings: &Settings, now: i64) {
        self.bucket = Some(Level { value: self.tokens(settings, now) - 1.0, at: now });
    }

    pub(crate) fn refund_token(&mut self, settings: &Settings, now: i64) {
        let value = (self.tokens(settings, now) + 1.0).min(settings.get("bucket.max"));
        self.bucket = Some(Level { value, at: now });
    }

    /// One more failure in a row; old ones do not count (spec §9.6, REPORT 5).
    pub(crate) fn count_failure(&mut self, settings: &Settings, now: i64) {
        if elapsed(now, self.failed_at) > settings.ms("failureDecayMs") {
            self.failures = 0;
        }
        self.failures += 1;
        self.failed_at = now;
    }

    /// The floor below which its quota for `model` is critical: the model's, else the account's, else the global
    /// one; one that is not above zero counts as the setting's (spec §5.4).
    pub(crate) fn floor(&self, model: &str, settings: &Settings) -> f64 {
        let own = self.thresholds.get(model).copied().or(self.threshold);
        let floor = own.unwrap_or_else(|| settings.get("globalQuotaThreshold"));
        if floor > 0.0 { floor } else { settings.get("quota.critical") }
    }

    /// Whether its quotas were fetched lately.
    pub(crate) fn quotas_are_fresh(&self, settings: &Settings, now: i64) -> bool {
        self.quotas.as_ref().is_some_and(|quotas| elapsed(now, quotas.at) < settings.ms("quota.staleMs"))
    }

    /// Marks it as needing its owner, if the verdict is about the credential it has and it was valid.
    pub(crate) fn invalidate(&mut self, credential: u64, reason: &str, url: &str, now: i64) -> bool {
        if self.credential != credential || self.invalid.is_some() {
            return false;
        }
        let url = Some(url.to_owned()).filter(|url| !url.is_empty());
        self.invalid = Some(Invalid { reason: reason.to_owned(), since: now, url });
        true
    }
}
