//! Usage as operators read it: how many requests each model, client key and status had, with their tokens and times.
//!
//! Counting is settlement's work; here the counters are read. All hours and days are UTC, and "now" is the store's.

mod history;
mod question;
mod report;

pub use self::history::{FamilyHistory, History, HourHistory};
pub use self::question::{Dimension, Grouping, Question, Step, Unanswerable};
pub use self::report::{UsageGroup, UsageNumbers, UsageReport};

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use self::question::Plan;
use self::report::Sorting;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::keys::USAGE_DAY_MS;
use crate::store::ops::usage::{Counters, HOURS_KEPT_MS};

/// Reports, and histories, that one gateway makes at a time: each reads many rows, on the connection that admits requests.
const AT_ONCE: usize = 2;
/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long what was read of a day that is over is told again. Nothing but a migration changes it.
const DAY_TOLD: Duration = Duration::from_mins(1);

/// Reads the pool's usage. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Usage {
    store: Store,
    reports: Arc<Semaphore>,
    histories: Arc<Semaphore>,
    clock: Clock,
    /// By the beginning of each day that is over.
    days: Arc<Mutex<BTreeMap<i64, Day>>>,
}

/// What was read of a day.
#[derive(Clone, Debug)]
struct Day {
    at: Instant,
    hours: Arc<[HourCount]>,
}

/// Requests of one hour for one model.
type HourCount = (i64, String, u64);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// It cannot be answered as it is.
    #[error(transparent)]
    Question(#[from] Unanswerable),
    /// Too many are asked.
    #[error("Too many read the usage at this moment")]
    Busy,
    /// The store gave none.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Usage {
    /// The usage kept in `store`.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, reports: turns(), histories: turns(), clock, days: Arc::default() }
    }

    /// Answers `question`. Reads what was counted in its range, few hashes at a time, so that the store serves others in
    /// between; what is counted meanwhile may be in the answer or not.
    pub async fn report(&self, question: &Question) -> Result<UsageReport, UsageError> {
        let _turn = turn(&self.reports).await?;
        let plan = Plan::of(question, self.store.usage_clock().await?.now_ms)?;
        let mut sorting = Sorting::new(&plan);
        self.store.read_usage(&plan.counters, |row| sorting.take(row)).await?;
        Ok(sorting.report()?)
    }

    /// Requests of the last 30 days by hour, family and model, as the reference tells them (spec `http-api.md` §4.4).
    pub async fn history(&self) -> Result<History, UsageError> {
        let _turn = turn(&self.histories).await?;
        let now = self.store.usage_clock().await?.now_ms;
        let since = now.saturating_sub(HOURS_KEPT_MS);
        let today = now.div_euclid(USAGE_DAY_MS);
        let mut history = History::default();
        // One more than today, for hours that were counted before a clock was set back.
        for day in since.div_euclid(USAGE_DAY_MS)..=today + 1 {
            // Settlements that waited for the store come late, but not by a day.
            for (at_ms, model, requests) in self.day(day * USAGE_DAY_MS, day < today - 1).await?.iter() {
                if *at_ms > since {
                    history.count(*at_ms, model, *requests);
                }
            }
        }
        Ok(history)
    }

    /// The requests of the day that begins at `day`; as they were a little ago where it is `over`.
    async fn day(&self, day: i64, over: bool) -> Result<Arc<[HourCount]>, StoreError> {
        let now = self.clock.instant();
        let kept = || self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let is_young = |day: &Day| now.saturating_duration_since(day.at) < DAY_TOLD;
        if let Some(day) = kept().get(&day).filter(|day| over && is_young(day)) {
            return Ok(Arc::clone(&day.hours));
        }
        let mut hours = Vec::new();
        self.store
            .read_usage(&[Counters::Hourly(day)], |row| {
                hours.push((row.at_ms, row.model, row.sums.requests));
                ControlFlow::Continue(())
            })
            .await?;
        let hours: Arc<[HourCount]> = hours.into();
        let mut kept = kept();
        kept.retain(|_, day| is_young(day));
        if over {
            kept.insert(day, Day { at: now, hours: Arc::clone(&hours) });
        }
        Ok(hours)
    }
}

fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, UsageError> {
    match timeout(PATIENCE, turns.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(UsageError::Busy),
    }
}
