//! Retries, waits and deadlines.

use std::time::Duration;

use super::values::Values;

/// Retries, waits and deadlines of one request (spec `dispatch.md` §2.2, §2.11).
#[derive(Clone, Debug)]
pub struct DispatchConfig {
    /// `maxRetries`, 1–20, default 5: least number of account attempts.
    pub max_retries: u32,
    /// `requestDeadlineMs`: until the first event, default 180 s.
    pub deadline: Duration,
    /// `maxWaitBeforeErrorMs`, default 120 s: longest wait for a limited pool.
    pub max_wait: Duration,
    /// `accountSelection.sticky.waitMs`, which scripts read, too: how long a request waits for the account that has its
    /// conversation while others are usable, default 0.
    pub own_wait: Duration,
    /// `retryBaseMs`, default 1 s: first pause between failures of one kind.
    pub retry_base: Duration,
    /// `retryMaxMs`, default 30 s: the cap of that pause.
    pub retry_max: Duration,
    /// `switchAccountDelayMs`, default 0: the least pause before an account is asked again because no other is usable.
    pub again_pause: Duration,
    /// `maxCapacityRetries`, 1–10, default 5.
    pub max_capacity_retries: u32,
    /// `capacityBackoffTiersMs`, default 5, 10, 20, 30, 60 s.
    pub capacity_tiers: Vec<Duration>,
    /// `capacityBudgetMs`: all capacity waits of one request together, default 60 s.
    pub capacity_budget: Duration,
    /// `quotaExhaustedStatus`: 429 (default) or 400 as the reference answers.
    pub quota_exhausted_status: u16,
    /// `maxWaiters`: requests of this process that may wait for the pool at once, default 1,000.
    pub max_waiters: usize,
    /// `fallbackEnabled` / `FALLBACK` / `--fallback`.
    pub fallback: bool,
    /// `countTokens.source`: ask the upstream (`upstream`, default, true) or estimate (`local`, false).
    pub count_upstream: bool,
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self {
            max_retries: 5,
            deadline: Duration::from_mins(3),
            max_wait: Duration::from_mins(2),
            own_wait: Duration::ZERO,
            retry_base: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            again_pause: Duration::ZERO,
            max_capacity_retries: 5,
            capacity_tiers: [5, 10, 20, 30, 60].map(Duration::from_secs).to_vec(),
            capacity_budget: Duration::from_mins(1),
            quota_exhausted_status: 429,
            max_waiters: 1000,
            fallback: false,
            count_upstream: true,
        }
    }
}

impl DispatchConfig {
    pub(super) fn apply(&mut self, values: &Values) {
        values.number("maxRetries", &mut self.max_retries);
        values.millis("requestDeadlineMs", &mut self.deadline);
        values.millis("maxWaitBeforeErrorMs", &mut self.max_wait);
        values.millis("accountSelection.sticky.waitMs", &mut self.own_wait);
        values.millis("retryBaseMs", &mut self.retry_base);
        values.millis("retryMaxMs", &mut self.retry_max);
        values.millis("switchAccountDelayMs", &mut self.again_pause);
        values.number("maxCapacityRetries", &mut self.max_capacity_retries);
        values.millis_list("capacityBackoffTiersMs", &mut self.capacity_tiers);
        values.millis("capacityBudgetMs", &mut self.capacity_budget);
        values.number("quotaExhaustedStatus", &mut self.quota_exhausted_status);
        values.number("maxWaiters", &mut self.max_waiters);
        values.flag("fallbackEnabled", &mut self.fallback);
        if let Some(word) = values.text("countTokens.source") {
            self.count_upstream = word == "upstream";
        }
    }
}
