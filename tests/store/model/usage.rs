//! What is counted of requests (spec `http-api.md` §4.1, §4.3 NEW): each once, by what is known of it.

use std::collections::BTreeMap;

use super::{ATTEMPT_KEPT, Pool, Stamp};

/// What one request counts.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// Hours since the epoch.
    pub(crate) hour: i64,
    pub(crate) model: String,
    pub(crate) status: String,
    pub(crate) key: String,
    /// Input, output, cache read, thinking, latency.
    pub(crate) by: [u64; 5],
}

/// Sums by hour or day, and by what is told apart: requests first, then as [`Usage::by`].
pub(crate) type Sums = BTreeMap<(i64, Vec<String>), [u64; 6]>;

/// Everything that was counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// By hour: model, status, client key.
    pub(crate) hours: Sums,
    /// By day: hour, model.
    pub(crate) hourly: Sums,
    /// By day: model, client key.
    pub(crate) daily: Sums,
}

impl Counters {
    pub(super) fn count(&mut self, usage: &Usage) {
        let Usage { hour, model, status, key, by } = usage.clone();
        let day = hour.div_euclid(24);
        for (sums, place) in [
            (&mut self.hours, (hour, vec![model.clone(), status, key.clone()])),
            (&mut self.hourly, (day, vec![hour.to_string(), model.clone()])),
            (&mut self.daily, (day, vec![model, key])),
        ] {
            let sums = sums.entry(place).or_default();
            sums[0] += 1;
            for (sum, by) in sums[1..].iter_mut().zip(by) {
                *sum += by;
            }
        }
    }
}

impl Pool {
    /// Counts a request that no attempt answered; false when it was counted before.
    pub(crate) fn count_request(&mut self, id: &str, usage: &Usage, now: i64) -> (bool, Stamp) {
        if self.counted.contains_key(id) {
            return (false, self.read(now));
        }
        let stamp = self.write(now);
        self.usage.count(usage);
        let kept = self.keep((), ATTEMPT_KEPT);
        self.counted.insert(id.to_owned(), kept);
        (true, stamp)
    }
}
