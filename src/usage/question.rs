//! A question about usage, and which counters answer it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::keys::{USAGE_DAY_MS, USAGE_HOUR_MS};
use crate::store::ops::usage::{Counters, DAYS_KEPT_MS, HOURS_KEPT_MS};

/// The range of a question that names none, by its step.
const HOURS_SHOWN_MS: i64 = USAGE_DAY_MS;
const DAYS_SHOWN_MS: i64 = 30 * USAGE_DAY_MS;
/// The last moment that may be named: the end of the year 9999.
pub(super) const LAST_MS: i64 = 253_402_300_799_999;

/// A question about usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// From when on, ms since the epoch; `None` is a day before `to`, or 30 days by days.
    pub from_ms: Option<i64>,
    /// Until when, not itself in it; `None` is now.
    pub to_ms: Option<i64>,
    /// How long each piece of the answer is.
    pub step: Step,
    /// What is told apart.
    pub group_by: Grouping,
}

/// How long each piece of an answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// An hour.
    #[default]
    Hour,
    /// A day, by UTC.
    Day,
}

/// Something that requests can be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// The upstream model.
    Model,
    /// The client's key, by its id.
    Key,
    /// How it ended.
    Status,
}

/// What is told apart; all is one when it is empty.
pub type Grouping = BTreeSet<Dimension>;

/// Why a question cannot be answered as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// A moment lies before the epoch or behind the year 9999.
    #[error("{0} must be between 0 and 253402300799999, in milliseconds since the epoch")]
    Moment(&'static str),
    /// The range is empty.
    #[error("from must be before to, which is now unless it is given")]
    Empty,
    /// The answer would be too long.
    #[error(
        "groupBy tells more than {0} things apart in this range: name fewer, or ask for a shorter range or by the day"
    )]
    Long(usize),
}

/// How a question is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The store's time, ms since the epoch.
    pub(super) now_ms: i64,
    /// From when on; the beginning of a step.
    pub(super) from_ms: i64,
    /// Until when; the end of a step.
    pub(super) to_ms: i64,
    /// What lies before this is not kept.
    pub(super) kept_since_ms: i64,
    pub(super) step: Step,
    pub(super) group_by: Grouping,
    /// What is read.
    pub(super) counters: Vec<Counters>,
}

impl Step {
    pub(super) fn ms(self) -> i64 {
        match self {
            Self::Hour => USAGE_HOUR_MS,
            Self::Day => USAGE_DAY_MS,
        }
    }

    /// The beginning of the step that contains `at_ms`.
    pub(super) fn floor(self, at_ms: i64) -> i64 {
        at_ms.div_euclid(self.ms()) * self.ms()
    }

    /// The first beginning of a step that is not before `at_ms`.
    fn ceil(self, at_ms: i64) -> i64 {
        self.floor(at_ms + self.ms() - 1)
    }
}

impl Plan {
    pub(super) fn of(question: &Question, now_ms: i64) -> Result<Self, Unanswerable> {
        let step = question.step;
        let within = |name, at: Option<i64>| match at {
            Some(at) if !(0..=LAST_MS).contains(&at) => Err(Unanswerable::Moment(name)),
            at => Ok(at),
        };
        let shown = if step == Step::Hour { HOURS_SHOWN_MS } else { DAYS_SHOWN_MS };
        let to = within("to", question.to_ms)?.unwrap_or(now_ms.max(1));
        let from = within("from", question.from_ms)?.unwrap_or_else(|| (to - shown).max(0));
        if from >= to {
            return Err(Unanswerable::Empty);
        }
        let (from_ms, to_ms) = (step.floor(from), step.ceil(to));
        let told = |dimension| question.group_by.contains(&dimension);
        // The counters that tell no more than is asked for: status only those by the hour, a key by the day for longest.
        let (each, counters): (Step, fn(i64) -> Counters) = match step {
            Step::Day if !told(Dimension::Status) => (Step::Day, Counters::Daily),
            Step::Hour if !told(Dimension::Status) && !told(Dimension::Key) => (Step::Day, Counters::Hourly),
            _ => (Step::Hour, Counters::Hour),
        };
        let kept = if matches!(counters(0), Counters::Daily(_)) { DAYS_KEPT_MS } else { HOURS_KEPT_MS };
        let kept_since_ms = step.ceil(now_ms - kept);
        // A step ahead, for what was counted before a clock was set back.
        let (first, last) = (from_ms.max(kept_since_ms), to_ms.min(step.floor(now_ms) + 2 * step.ms()));
        let mut at = each.floor(first);
        let counters = std::iter::from_fn(|| {
            let next = (at < last).then(|| counters(at));
            at += each.ms();
            next
        });
        let counters = counters.collect();
        let group_by = question.group_by.clone();
        Ok(Self { now_ms, from_ms, to_ms, kept_since_ms, step, group_by, counters })
    }

    /// Whether what was counted at `at_ms` is asked for.
    pub(super) fn covers(&self, at_ms: i64) -> bool {
        (self.from_ms.max(self.kept_since_ms)..self.to_ms).contains(&at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = USAGE_HOUR_MS;
    const DAY: i64 = USAGE_DAY_MS;
    /// Half past noon of some day.
    const NOW: i64 = 20_000 * DAY + 12 * HOUR + HOUR / 2;

    fn plan(from: Option<i64>, to: Option<i64>, step: Step, group_by: &[Dimension]) -> Plan {
        let group_by = group_by.iter().copied().collect();
        Plan::of(&Question { from_ms: from, to_ms: to, step, group_by }, NOW).unwrap()
    }

    #[test]
    fn a_question_without_a_range_is_about_what_was_just_now() {
        let hours = plan(None, None, Step::Hour, &[]);
        assert_eq!((hours.from_ms, hours.to_ms), (NOW - DAY - HOUR / 2, NOW + HOUR / 2));
        let today = 20_000 * DAY;
        assert_eq!(hours.counters, [Counters::Hourly(today - DAY), Counters::Hourly(today)]);
        let days = plan(None, None, Step::Day, &[]);
        assert_eq!((days.from_ms, days.to_ms), (today - 30 * DAY, today + DAY));
        assert_eq!(days.counters.len(), 31);
    }

    #[test]
    fn each_question_reads_the_counters_that_tell_no_more_than_it_asks() {
        use Dimension::{Key, Model, Status};
        let (from, to) = (Some(NOW - HOUR), Some(NOW));
        for (step, group_by, read) in [
            (Step::Hour, &[][..], Counters::Hourly(20_000 * DAY)),
            (Step::Hour, &[Model], Counters::Hourly(20_000 * DAY)),
            (Step::Hour, &[Key], Counters::Hour(20_000 * DAY + 11 * HOUR)),
            (Step::Hour, &[Model, Status], Counters::Hour(20_000 * DAY + 11 * HOUR)),
            (Step::Day, &[], Counters::Daily(20_000 * DAY)),
            (Step::Day, &[Model, Key], Counters::Daily(20_000 * DAY)),
            (Step::Day, &[Status], Counters::Hour(20_000 * DAY)),
        ] {
            assert_eq!(plan(from, to, step, group_by).counters.first(), Some(&read), "{step:?} {group_by:?}");
        }
        assert_eq!(plan(from, to, Step::Hour, &[Key]).counters.len(), 2);
        assert_eq!(plan(from, to, Step::Day, &[Status]).counters.len(), 24, "the whole day");
    }

    #[test]
    fn no_more_is_read_than_is_kept() {
        let ever = (Some(0), Some(LAST_MS));
        let hours = plan(ever.0, ever.1, Step::Hour, &[Dimension::Key]);
        assert_eq!(hours.kept_since_ms, NOW - HOURS_KEPT_MS + HOUR / 2);
        assert_eq!(hours.counters.len(), 30 * 24 + 1);
        assert_eq!(hours.counters.first(), Some(&Counters::Hour(hours.kept_since_ms)));
        assert_eq!(hours.counters.last(), Some(&Counters::Hour(NOW + HOUR / 2)), "the next hour");
        assert!(hours.covers(hours.kept_since_ms) && !hours.covers(hours.kept_since_ms - 1));
        let by_model = plan(ever.0, ever.1, Step::Hour, &[]);
        assert_eq!(by_model.counters.len(), 31);
        let days = plan(ever.0, ever.1, Step::Day, &[Dimension::Key]);
        assert_eq!((days.kept_since_ms, days.counters.len()), (20_000 * DAY - 89 * DAY, 91));
        let status = plan(ever.0, ever.1, Step::Day, &[Dimension::Status]);
        assert_eq!(status.kept_since_ms, 20_000 * DAY - 29 * DAY, "days that are kept whole");
        assert_eq!((status.from_ms, status.to_ms), (0, 2_932_897 * DAY));
        let before = plan(Some(0), Some(DAY), Step::Day, &[]);
        assert_eq!(before.counters, []);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ask =
            |from_ms, to_ms| Plan::of(&Question { from_ms, to_ms, ..Question::default() }, NOW).unwrap_err();
        assert_eq!(ask(Some(-1), None), Unanswerable::Moment("from"));
        assert_eq!(ask(None, Some(LAST_MS + 1)), Unanswerable::Moment("to"));
        assert_eq!(ask(None, Some(0)), Unanswerable::Empty);
        assert_eq!(ask(Some(5), Some(5)), Unanswerable::Empty);
        assert_eq!(ask(Some(NOW + 1), None), Unanswerable::Empty);
    }
}
