//! Usage: what was asked of the gateway and what it took, by hour, model, status and client key.
//!
//! A request is counted once, with the settlement of the attempt that answered it; one that no attempt answered is
//! counted by itself. `lib/usage.lua` says where.

use std::ops::ControlFlow;
use std::time::Duration;

use super::admit::millis;
use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{LeaseId, Stamp};
use crate::store::keys::{USAGE_DAY_MS, USAGE_HOUR_MS};
use crate::store::registry::{COUNT_REQUEST, GET_USAGE};
use crate::store::reply::{Fields, plain};

/// How long the counters of an hour are kept behind its beginning, at least.
pub const HOURS_KEPT_MS: i64 = 30 * USAGE_DAY_MS;
/// How long those of a day are kept behind its beginning, at least.
pub const DAYS_KEPT_MS: i64 = 90 * USAGE_DAY_MS;
/// Most that one request adds to a sum, so that no upstream's nonsense spoils a month.
pub(super) const MOST: u64 = 1_000_000_000;
/// Hashes read by one call at most, and the rows of one call above which the next reads fewer: the store does nothing
/// else meanwhile.
const TABLES_AT_ONCE: usize = 8;
const ROWS_AT_ONCE: usize = 2_000;

/// What one request counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageEntry<'a> {
    /// The model it counts for; `None` is the attempt's.
    pub model: Option<&'a str>,
    /// How it ended.
    pub status: StatusClass,
    /// Id of the client's key, never the key; a word such as `open` for requests without one.
    pub client_key: &'a str,
    /// Prompt tokens.
    pub input: u64,
    /// Answer tokens.
    pub output: u64,
    /// Prompt tokens read from the upstream's cache.
    pub cache_read: u64,
    /// Thinking tokens.
    pub thinking: u64,
    /// From the request's arrival to its end.
    pub latency: Duration,
}

impl UsageEntry<'_> {
    /// Adds to `call` what `count_usage` of `lib/usage.lua` reads: an empty `model` counts nothing.
    pub(super) fn write(&self, call: Call, model: &str, at_ms: i64) -> Result<Call, StoreError> {
        let model = plain(call.script, "counted model", model)?;
        let client_key = plain(call.script, "client key", self.client_key)?;
        Ok(call
            .arg(model)
            .arg(self.status.as_str())
            .arg(client_key)
            .arg(at_ms.div_euclid(USAGE_HOUR_MS))
            .arg(self.input.min(MOST))
            .arg(self.output.min(MOST))
            .arg(self.cache_read.min(MOST))
            .arg(self.thinking.min(MOST))
            .arg(millis(self.latency).min(MOST)))
    }
}

/// How a request ended, in few classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusClass {
    /// An answer.
    #[default]
    Success,
    /// The request was at fault.
    ClientError,
    /// Every account was limited, or the upstream had no capacity.
    RateLimited,
    /// The upstream failed, or broke off its answer.
    UpstreamError,
    /// No account, no room or no time was left, or the gateway itself failed.
    Unavailable,
    /// The client went away.
    Cancelled,
}

impl StatusClass {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Success,
        Self::ClientError,
        Self::RateLimited,
        Self::UpstreamError,
        Self::Unavailable,
        Self::Cancelled,
    ];

    /// The name in the counters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::UpstreamError => "upstream_error",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A request that ended without an answer.
#[derive(Clone, Copy, Debug)]
pub struct CountRequest<'a> {
    /// Names the request; counted again with it changes nothing.
    pub id: &'a LeaseId,
    /// The model it asked for.
    pub model: &'a str,
    /// When it ended, by the store's time as far as it is known: ms since the epoch.
    pub ended_at_ms: i64,
    /// What to count.
    pub usage: UsageEntry<'a>,
}

/// One hash of counters, by a moment that it covers, ms since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counters {
    /// Of the hour, by model, status and client key.
    Hour(i64),
    /// Of the day, by hour and model.
    Hourly(i64),
    /// Of the day, by model and client key.
    Daily(i64),
}

/// What was counted of one kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Beginning of the hour or day, ms since the epoch.
    pub at_ms: i64,
    /// The model, where the counters tell it.
    pub model: String,
    /// The status class; `None` where the counters do not tell it.
    pub status: Option<String>,
    /// The id of the client key; `None` where the counters do not tell it.
    pub client_key: Option<String>,
    /// The sums.
    pub sums: UsageSums,
}

/// Sums over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// Requests.
    pub requests: u64,
    /// Prompt tokens, without those from the cache.
    pub input: u64,
    /// Answer tokens, thinking included.
    pub output: u64,
    /// Prompt tokens read from the upstream's cache.
    pub cache_read: u64,
    /// Thinking tokens.
    pub thinking: u64,
    /// From arrival to end, ms.
    pub latency_ms: u64,
}

impl UsageSums {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.thinking = self.thinking.saturating_add(other.thinking);
        self.latency_ms = self.latency_ms.saturating_add(other.latency_ms);
    }

    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split('|').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let sums = Self {
            requests: next()?,
            input: next()?,
            output: next()?,
            cache_read: next()?,
            thinking: next()?,
            latency_ms: next()?,
        };
        numbers.next().is_none().then_some(sums)
    }
}

impl Counters {
    fn read(self, name: &str, value: &str) -> Option<UsageRow> {
        let sums = UsageSums::read(value)?;
        let fields: Vec<_> = name.split('\u{1f}').collect();
        let beginning = |at: i64, length: i64| at.div_euclid(length) * length;
        let row = |at_ms, model: &str, status: Option<&str>, key: Option<&str>| UsageRow {
            at_ms,
            model: model.to_owned(),
            status: status.map(str::to_owned),
            client_key: key.map(str::to_owned),
            sums,
        };
        match (self, fields.as_slice()) {
            (Self::Hour(at), [model, status, key]) => {
                Some(row(beginning(at, USAGE_HOUR_MS), model, Some(status), Some(key)))
            }
            (Self::Hourly(at), [hour, model]) => {
                let hour_ms = hour.parse::<i64>().ok()?.checked_mul(USAGE_HOUR_MS)?;
                (beginning(hour_ms, USAGE_DAY_MS) == beginning(at, USAGE_DAY_MS))
                    .then(|| row(hour_ms, model, None, None))
            }
            (Self::Daily(at), [model, key]) => Some(row(beginning(at, USAGE_DAY_MS), model, None, Some(key))),
            _ => None,
        }
    }
}

impl Store {
    /// Counts a request that no attempt answered; false when it was counted before.
    pub async fn count_request(&self, request: &CountRequest<'_>) -> Result<bool, StoreError> {
        counted(self.run(self.count_call(request)?).await?)
    }

    pub(super) fn count_call(&self, request: &CountRequest<'_>) -> Result<Call, StoreError> {
        let at_ms = request.ended_at_ms;
        let call = Call::new(&COUNT_REQUEST)
            .key(self.keys.named("meta"))
            .key(self.keys.req(request.id))
            .key(self.keys.usage(at_ms))
            .key(self.keys.usage_hourly(at_ms))
            .key(self.keys.usage_daily(at_ms));
        Ok(self.timed(request.usage.write(call, request.usage.model.unwrap_or(request.model), at_ms)?))
    }

    /// The store's time, and no counters.
    pub async fn usage_clock(&self) -> Result<Stamp, StoreError> {
        self.counters_of(&[], &mut |_| {}).await.map(|(stamp, _)| stamp)
    }

    /// Reads `counters` and hands every row to `each`, in no order, until it breaks off. A row that cannot be read is left
    /// out, and the log says so. Reads few hashes at a time: what is counted meanwhile may be in it or not.
    pub async fn read_usage(
        &self,
        mut counters: &[Counters],
        mut each: impl FnMut(UsageRow) -> ControlFlow<()> + Send,
    ) -> Result<(), StoreError> {
        let mut at_once = 1;
        while !counters.is_empty() {
            let (some, rest) = counters.split_at(at_once.min(counters.len()));
            counters = rest;
            let mut flow = ControlFlow::Continue(());
            let mut take = |row| {
                if flow.is_continue() {
                    flow = each(row);
                }
            };
            let (_, rows) = self.counters_of(some, &mut take).await?;
            if flow.is_break() {
                break;
            }
            at_once = if rows > ROWS_AT_ONCE { 1 } else { (at_once * 2).min(TABLES_AT_ONCE) };
        }
        Ok(())
    }

    async fn counters_of(
        &self,
        counters: &[Counters],
        each: &mut (impl FnMut(UsageRow) + Send),
    ) -> Result<(Stamp, usize), StoreError> {
        let call = counters.iter().fold(Call::new(&GET_USAGE).key(self.keys.named("meta")), |call, one| {
            call.key(match *one {
                Counters::Hour(at) => self.keys.usage(at),
                Counters::Hourly(at) => self.keys.usage_hourly(at),
                Counters::Daily(at) => self.keys.usage_daily(at),
            })
        });
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        if code != "OK" {
            return Err(fields.unknown(&code));
        }
        let (mut damaged, mut all) = (0_u32, 0);
        for one in counters {
            let rows = fields.number("how many rows there are")?;
            all += rows;
            for _ in 0..rows {
                let (name, value) = (fields.text("a row")?, fields.text("its counts")?);
                match one.read(&name, &value) {
                    Some(row) => each(row),
                    None => damaged += 1,
                }
            }
        }
        fields.end()?;
        if damaged > 0 {
            tracing::warn!(rows = damaged, "usage that cannot be read is left out");
        }
        Ok((stamp, all))
    }
}

/// Whether the request is counted by this call.
pub(super) fn counted(mut fields: Fields) -> Result<bool, StoreError> {
    let (code, _) = fields.head()?;
    if code != "OK" {
        return Err(fields.unknown(&code));
    }
    let counted = fields.flag("whether it is new")?;
    fields.end()?;
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 20_000 * USAGE_DAY_MS;
    const SUMS: UsageSums =
        UsageSums { requests: 1, input: 2, output: 3, cache_read: 4, thinking: 5, latency_ms: 6 };

    #[test]
    fn rows_say_what_they_count() {
        let row = |at_ms, model: &str, status: Option<&str>, key: Option<&str>| UsageRow {
            at_ms,
            model: model.into(),
            status: status.map(str::to_owned),
            client_key: key.map(str::to_owned),
            sums: SUMS,
        };
        let value = "1|2|3|4|5|6";
        let at = DAY + USAGE_HOUR_MS + 1;
        assert_eq!(
            Counters::Hour(at).read("m\u{1f}success\u{1f}k", value),
            Some(row(DAY + USAGE_HOUR_MS, "m", Some("success"), Some("k")))
        );
        assert_eq!(
            Counters::Hourly(at).read("480023\u{1f}m", value),
            Some(row(DAY + 23 * USAGE_HOUR_MS, "m", None, None))
        );
        assert_eq!(Counters::Daily(at).read("m\u{1f}", value), Some(row(DAY, "m", None, Some(""))));
    }

    #[test]
    fn what_cannot_be_read_is_no_row() {
        for (counters, name, value) in [
            (Counters::Hour(DAY), "m\u{1f}success\u{1f}k", "1|2|3|4|5"),
            (Counters::Hour(DAY), "m\u{1f}success\u{1f}k", "1|2|3|4|5|6|7"),
            (Counters::Hour(DAY), "m\u{1f}success\u{1f}k", "1|2|3|4|5|-6"),
            (Counters::Hour(DAY), "m\u{1f}success\u{1f}k", ""),
            (Counters::Hour(DAY), "m\u{1f}success", "1|2|3|4|5|6"),
            (Counters::Hourly(DAY), "480024\u{1f}m", "1|2|3|4|5|6"),
            (Counters::Hourly(DAY), "9223372036854775807\u{1f}m", "1|2|3|4|5|6"),
            (Counters::Hourly(DAY), "x\u{1f}m", "1|2|3|4|5|6"),
            (Counters::Daily(DAY), "m", "1|2|3|4|5|6"),
        ] {
            assert_eq!(counters.read(name, value), None, "{name} {value}");
        }
    }

    #[test]
    fn sums_do_not_wrap() {
        let mut sums = UsageSums { requests: u64::MAX, ..SUMS };
        sums.add(&SUMS);
        assert_eq!((sums.requests, sums.latency_ms), (u64::MAX, 12));
    }
}
