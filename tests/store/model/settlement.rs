//! The end of an attempt, and what it showed of its account (spec §2.11, §4, §9.6 REPORT).

use super::account::{Account, Limit, Record, Streak};
use super::admission::{Attempt, Tier};
use super::settings::Settings;
use super::{ATTEMPT_KEPT, Pool, Refusal, Stamp, Usage, elapsed};

/// Backoff of an exhausted quota whose end is not known, by how often in a row (spec §2.2).
const QUOTA_TIERS: [i64; 4] = [60_000, 300_000, 1_800_000, 7_200_000];
/// Least backoff where the end is known (spec §2.2).
const MIN_BACKOFF: i64 = 2000;
const RATE_BACKOFF: i64 = 30_000;

/// The end of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Settle {
    pub(crate) account: String,
    pub(crate) lease: String,
    /// The credential that was used.
    pub(crate) credential: u64,
    pub(crate) model: String,
    pub(crate) outcome: Outcome,
    /// Whether the client got anything.
    pub(crate) received: bool,
    /// What the request counts, if it ends here.
    pub(crate) usage: Option<Usage>,
}

/// What an attempt showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// `quota`, `rate` or `unknown`; ms to the end of the limit.
    RateLimited(String, Option<i64>),
    Capacity {
        jitter: i64,
    },
    Failure,
    Unauthorized,
    NotFound,
    Forbidden,
    /// `revoked`, `banned` or `verification`; where the owner verifies.
    Invalid(String, String),
    ClientError,
    Cancelled,
    Released,
    Empty,
    Blocked,
}

/// What a settlement did; repeated to whoever settles again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settlement {
    pub(crate) stamp: Stamp,
    pub(crate) duplicate: bool,
    /// 429s in a row, where it was one.
    pub(crate) attempt: u32,
    /// Ms until the account is usable for the model.
    pub(crate) backoff: i64,
    pub(crate) invalidated: bool,
    /// What limits it from now on, or for longer than before; empty when nothing does.
    pub(crate) limit: &'static str,
    /// There is no such account any more.
    pub(crate) gone: bool,
}

/// What a release found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    Granted(String),
    Barred,
    Ended,
}

/// What is known of the attempt that ends.
#[derive(Clone, Copy, Default)]
struct Known {
    token_taken: bool,
    probing: bool,
    admitted_at: Option<i64>,
}

impl Pool {
    /// Ends an attempt, once: settled again, it repeats its answer and changes nothing. An attempt that nobody
    /// remembers still says what it says of the account, but gets no token back.
    pub(crate) fn settle(&mut self, settle: &Settle, now: i64) -> Result<Settlement, Refusal> {
        let known = match self.attempts.get(&settle.lease).map(|kept| &kept.value) {
            Some(Attempt::Ended(settlement)) => return Ok(*settlement),
            Some(Attempt::Open(open)) if open.account != settle.account => return Err(Refusal::Mismatch),
            Some(Attempt::Open(open)) => Known {
                token_taken: open.token_taken,
                probing: open.tier == Tier::Probe,
                admitted_at: Some(open.stamp.now),
            },
            None => Known::default(),
        };
        let stamp = self.write(now);
        let full = self.is_full(&settle.account);
        let ended = self.leases.end(&settle.account, &settle.lease);
        let good = matches!(settle.outcome, Outcome::Success | Outcome::Blocked);
        // A probe that failed keeps others from probing until its lock ends.
        if known.probing && good {
            self.end_probe(&settle.model, &settle.lease, now);
        }
        let mut settlement = Settlement { stamp, gone: true, ..Settlement::default() };
        if self.account(&settle.account).is_some() {
            settlement = self.apply(settle, known, settlement, ended && full);
        }
        if let Some(usage) = &settle.usage {
            self.usage.count(usage);
        }
        let record = self.keep(Attempt::Ended(settlement), ATTEMPT_KEPT);
        self.attempts.insert(settle.lease.clone(), record);
        Ok(settlement)
    }

    /// Takes an attempt back that nobody uses; one that was not admitted yet never will be.
    pub(crate) fn release(&mut self, lease: &str, model: &str, now: i64) -> Released {
        let open = match self.attempts.get(lease).map(|kept| &kept.value) {
            Some(Attempt::Ended(_)) => return Released::Ended,
            Some(Attempt::Open(open)) => Some(open.clone()),
            None => None,
        };
        let stamp = self.write(now);
        let mut gone = true;
        let released = open.map_or(Released::Barred, |open| {
            let settings = self.settings();
            let full = self.is_full(&open.account);
            let ended = self.leases.end(&open.account, lease);
            if let Some(account) = self.account_mut(&open.account) {
                gone = false;
                if open.token_taken {
                    account.refund_token(&settings, now);
                }
                if ended && full {
                    self.announce("freed", &open.account);
                }
            }
            if open.tier == Tier::Probe {
                self.end_probe(model, lease, now);
            }
            Released::Granted(open.account)
        });
        let record =
            self.keep(Attempt::Ended(Settlement { stamp, gone, ..Settlement::default() }), ATTEMPT_KEPT);
        self.attempts.insert(lease.to_owned(), record);
        released
    }

    /// Lets the next one probe `model`, if it is `lease` that does.
    fn end_probe(&mut self, model: &str, lease: &str, now: i64) {
        if self.prober(model, now) == Some(lease) {
            self.probes.remove(model);
        }
    }

    /// Whether the account has as many requests in flight as it may.
    fn is_full(&self, account: &str) -> bool {
        let max = self.settings().get("maxConcurrentPerAccount");
        max > 0.0 && f64::from(self.leases.of(account)) >= max
    }

    /// Applies the outcome to an account that exists; `freed`: it has room now that it had not.
    fn apply(&mut self, settle: &Settle, known: Known, settlement: Settlement, freed: bool) -> Settlement {
        let (settings, now) = (self.settings(), settlement.stamp.now);
        let before = self.record(&settle.model, &settle.account);
        let Some(account) = self.account_mut(&settle.account) else { return settlement };
        let cooled = account.cooling_until;
        let mut effect = Effect {
            settlement: Settlement { gone: false, ..settlement },
            account,
            record: before.clone(),
            settings: &settings,
            now,
        };
        effect.of(settle, known);
        let Effect { mut settlement, record, account, .. } = effect;
        settlement.limit = match &record.limit {
            Some(limit) if record.until() > before.until() => Settlement::kind_of_limit(&limit.why),
            _ if account.cooling_until > cooled => "cooling",
            _ => "",
        };
        settlement.backoff = (record.until().max(account.cooling_until) - now).max(0);
        if settlement.invalidated {
            self.announce("account", &settle.account);
        }
        if record != before {
            self.put_record(&settle.model, &settle.account, record.clone(), now);
        }
        if record.until() > before.until() {
            self.announce("limit", &settle.account);
        } else if record.until() < before.until() && before.until() > now {
            self.announce("lifted", &settle.account);
        }
        if freed {
            self.announce("freed", &settle.account);
        }
        settlement
    }
}

impl Settlement {
    /// The kind of a limit by its name; none has none.
    pub(crate) fn kind_of_limit(name: &str) -> &'static str {
        let kinds =
            ["", "quota", "rate", "unknown", "capacity", "failure", "forbidden", "unsupported", "cooling"];
        kinds.into_iter().find(|kind| *kind == name).unwrap_or_else(|| panic!("a limit of kind {name}"))
    }
}

/// An outcome at work.
struct Effect<'e> {
    settlement: Settlement,
    account: &'e mut Account,
    record: Record,
    settings: &'e Settings,
    now: i64,
}

impl Effect<'_> {
    fn of(&mut self, settle: &Settle, known: Known) {
        let refunded = match &settle.outcome {
            Outcome::Success | Outcome::Blocked | Outcome::RateLimited(..) => false,
            Outcome::ClientError | Outcome::Cancelled | Outcome::Released | Outcome::Empty => {
                !settle.received
            }
            _ => true,
        };
        match &settle.outcome {
            Outcome::Success | Outcome::Blocked => self.succeeded(known),
            Outcome::RateLimited(kind, reset) => self.rate_limited(kind, *reset),
            Outcome::Capacity { jitter } => {
                let ms = self.settings.ms("capacityLimitMs") + jitter;
                self.limit(ms.max(0), "capacity");
            }
            Outcome::Failure => self.failed(),
            Outcome::Forbidden => {
                self.failed();
                self.limit(self.settings.ms("forbiddenCooldownMs"), "forbidden");
            }
            Outcome::NotFound => self.limit(self.settings.ms("notFoundCooldownMs"), "unsupported"),
            Outcome::Unauthorized => {
                if self.account.credential == settle.credential {
                    let until = self.now + self.settings.ms("unauthorizedCooldownMs");
                    self.account.cooling_until = self.account.cooling_until.max(until);
                }
            }
            Outcome::Invalid(reason, url) => {
                self.settlement.invalidated =
                    self.account.invalidate(settle.credential, reason, url, self.now);
            }
            Outcome::Empty => {
                if self.settings.get("health.emptyPenalty") != 0.0 {
                    self.account.change_health("health.emptyPenalty", self.settings, self.now);
                }
            }
            Outcome::ClientError | Outcome::Cancelled | Outcome::Released => {}
        }
        if refunded && known.token_taken {
            self.account.refund_token(self.settings, self.now);
        }
    }

    fn limit(&mut self, ms: i64, why: &str) {
        self.record.limit_for(ms, why, self.now);
    }

    /// All counters start anew. A limit that runs ends now when the attempt began after it was set: it no longer
    /// holds.
    fn succeeded(&mut self, known: Known) {
        self.account.change_health("health.successReward", self.settings, self.now);
        self.account.failures = 0;
        self.record.streak = None;
        self.record.escalation = 0;
        let later =
            known.probing || known.admitted_at.is_some_and(|admitted| self.record.limited_at < admitted);
        if later && self.record.until() > self.now {
            self.record.limit = Some(Limit { until: self.now, why: String::new() });
        }
    }

    /// 429s that come together count as one (spec §4.4, §4.5).
    fn rate_limited(&mut self, kind: &str, reset: Option<i64>) {
        let (settings, now) = (self.settings, self.now);
        let within = |streak: &Streak, window: &str| elapsed(now, streak.last) < settings.ms(window);
        match self.record.streak {
            Some(streak) if within(&streak, "rateLimitDedupWindowMs") => self.settlement.duplicate = true,
            streak => {
                let going_on = streak.filter(|streak| within(streak, "rateLimitStateResetMs"));
                let count = going_on.map_or(0, |streak| streak.count) + 1;
                self.record.streak = Some(Streak { count, last: now });
                if kind == "quota" {
                    self.record.escalation += 1;
                }
                self.account.count_failure(settings, now);
                self.account.change_health("health.rateLimitPenalty", settings, now);
            }
        }
        self.settlement.attempt = self.record.streak.map_or(0, |streak| streak.count);
        let ms = match (reset, kind) {
            (Some(reset @ 1..), _) => reset.max(MIN_BACKOFF),
            (_, "quota") => QUOTA_TIERS[self.record.escalation.clamp(1, QUOTA_TIERS.len()) - 1],
            (_, "rate") => RATE_BACKOFF,
            _ => settings.ms("defaultCooldownMs"),
        };
        self.limit(ms, kind);
    }

    /// Failures in a row rest the account.
    fn failed(&mut self) {
        self.account.count_failure(self.settings, self.now);
        self.account.change_health("health.failurePenalty", self.settings, self.now);
        if f64::from(self.account.failures) >= self.settings.get("maxConsecutiveFailures") {
            self.limit(self.settings.ms("extendedCooldownMs"), "failure");
        }
    }
}
