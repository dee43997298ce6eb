//! The answer to a question about usage.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use utoipa::ToSchema;

use super::question::{Dimension, Plan, Step, Unanswerable};
use crate::store::ops::usage::{UsageRow, UsageSums};

/// Most groups of one answer.
const MOST_GROUPS: usize = 50_000;

/// What was asked of the pool and what it took, in a range of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    /// From when on: the beginning of a step.
    pub from: i64,
    /// Until when, not itself in it: the end of a step.
    pub to: i64,
    /// The store's time at which it was read; the step that contains it goes on.
    pub now: i64,
    /// What lies before this moment is not kept, or not in such detail.
    pub kept_since: i64,
    /// How long a step is.
    pub step: Step,
    /// What is told apart.
    pub group_by: Vec<Dimension>,
    /// One entry for each step and each group that had a request, in the order of time.
    pub usage: Vec<UsageGroup>,
    /// All of them together.
    pub totals: UsageNumbers,
}

/// The requests of one step that have in common what is told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageGroup {
    /// The beginning of the step.
    pub at: i64,
    /// The upstream model, `other` for names that no model of the pool has; left out unless models are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The client key's id; `open` for requests without a key, `control` for those over the control socket, `default` and
    /// its like for keys of the configuration, `migrated` for what another program counted, `other` for what was too
    /// much to be told apart. Left out unless keys are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How they ended: `success`, `client_error`, `rate_limited`, `upstream_error`, `unavailable` (no account, room or time
    /// was left), `cancelled` by the client, or `unknown` where another program counted. Left out unless they are told
    /// apart by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The numbers.
    #[serde(flatten)]
    pub numbers: UsageNumbers,
}

/// Sums over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageNumbers {
    /// Requests, however they ended; each counts once.
    pub requests: u64,
    /// Prompt tokens, without those that were read from the upstream's cache.
    pub input_tokens: u64,
    /// Answer tokens, thinking included.
    pub output_tokens: u64,
    /// Prompt tokens that were read from the upstream's cache.
    pub cache_read_tokens: u64,
    /// Thinking tokens.
    pub thinking_tokens: u64,
    /// Milliseconds from arrival to end, of all requests together: divide by `requests` for the mean.
    pub latency_ms: u64,
}

impl From<UsageSums> for UsageNumbers {
    fn from(sums: UsageSums) -> Self {
        Self {
            requests: sums.requests,
            input_tokens: sums.input,
            output_tokens: sums.output,
            cache_read_tokens: sums.cache_read,
            thinking_tokens: sums.thinking,
            latency_ms: sums.latency_ms,
        }
    }
}

/// Step, and model, key and status where they are told apart.
type Place = (i64, [Option<String>; 3]);

/// Rows on their way to a report.
pub(super) struct Sorting<'p> {
    plan: &'p Plan,
    groups: BTreeMap<Place, UsageSums>,
    totals: UsageSums,
}

impl<'p> Sorting<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self { plan, groups: BTreeMap::new(), totals: UsageSums::default() }
    }

    /// Adds a row to its group, if it is asked for; breaks off when there are too many groups for a report.
    pub(super) fn take(&mut self, row: UsageRow) -> ControlFlow<()> {
        if self.groups.len() > MOST_GROUPS {
            return ControlFlow::Break(());
        }
        if !self.plan.covers(row.at_ms) {
            return ControlFlow::Continue(());
        }
        let told =
            |dimension, value: Option<String>| value.filter(|_| self.plan.group_by.contains(&dimension));
        let group = [
            told(Dimension::Model, Some(row.model)),
            told(Dimension::Key, row.client_key),
            told(Dimension::Status, row.status),
        ];
        self.groups.entry((self.plan.step.floor(row.at_ms), group)).or_default().add(&row.sums);
        self.totals.add(&row.sums);
        ControlFlow::Continue(())
    }

    pub(super) fn report(self) -> Result<UsageReport, Unanswerable> {
        if self.groups.len() > MOST_GROUPS {
            return Err(Unanswerable::Long(MOST_GROUPS));
        }
        let groups = self.groups.into_iter();
        let usage = groups.map(|((at, [model, key, status]), sums)| UsageGroup {
            at,
            model,
            key,
            status,
            numbers: sums.into(),
        });
        let Plan { now_ms, from_ms, to_ms, kept_since_ms, step, group_by, counters: _ } = self.plan;
        Ok(UsageReport {
            from: *from_ms,
            to: *to_ms,
            now: *now_ms,
            kept_since: *kept_since_ms,
            step: *step,
            group_by: group_by.iter().copied().collect(),
            usage: usage.collect(),
            totals: self.totals.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::Question;
    use super::*;
    use crate::store::keys::USAGE_HOUR_MS as HOUR;

    const NOW: i64 = 480_000 * HOUR + 1;

    fn row(at_ms: i64, model: &str, key: &str, status: &str, requests: u64) -> UsageRow {
        let sums =
            UsageSums { requests, input: 10, output: 20, cache_read: 30, thinking: 40, latency_ms: 50 };
        UsageRow {
            at_ms,
            model: model.into(),
            client_key: Some(key.into()),
            status: Some(status.into()),
            sums,
        }
    }

    fn plan(group_by: &[Dimension]) -> Plan {
        let group_by = group_by.iter().copied().collect();
        Plan::of(&Question { group_by, ..Question::default() }, NOW).unwrap()
    }

    #[test]
    fn rows_come_together_by_step_and_what_is_told_apart() {
        let plan = plan(&[Dimension::Model, Dimension::Status]);
        let mut sorting = Sorting::new(&plan);
        let hour = NOW - 1;
        for one in [
            row(hour, "b", "k", "success", 1),
            row(hour, "a", "k", "success", 2),
            row(hour, "a", "l", "success", 4),
            row(hour, "a", "l", "cancelled", 8),
            row(hour - HOUR, "a", "k", "success", 16),
            row(hour - 25 * HOUR, "a", "k", "success", 32),
            row(hour + HOUR, "a", "k", "success", 64),
        ] {
            assert!(sorting.take(one).is_continue());
        }
        let report = sorting.report().unwrap();
        assert_eq!(report.totals.requests, 31, "what is asked for and no more");
        let told: Vec<_> = report
            .usage
            .iter()
            .map(|group| {
                let UsageGroup { at, model, key, status, numbers } = group;
                let names = [model, key, status].map(|name| name.as_deref().unwrap_or("-"));
                (at - hour, names.join(" "), numbers.requests, numbers.output_tokens)
            })
            .collect();
        assert_eq!(
            told,
            [
                (-HOUR, "a - success".into(), 16, 20),
                (0, "a - cancelled".into(), 8, 20),
                (0, "a - success".into(), 6, 40),
                (0, "b - success".into(), 1, 20),
            ]
        );
    }

    #[test]
    fn the_json_has_the_names_that_are_documented() {
        let plan = plan(&[Dimension::Key]);
        let mut sorting = Sorting::new(&plan);
        assert!(sorting.take(row(NOW - 1, "m", "k", "success", 1)).is_continue());
        let told = serde_json::to_value(sorting.report().unwrap()).unwrap();
        let numbers = serde_json::json!({
            "requests": 1, "inputTokens": 10, "outputTokens": 20, "cacheReadTokens": 30, "thinkingTokens": 40,
            "latencyMs": 50,
        });
        let mut group = numbers.clone();
        group["at"] = (NOW - 1).into();
        group["key"] = "k".into();
        assert_eq!(
            told,
            serde_json::json!({
                "from": NOW - 1 - 24 * HOUR, "to": NOW - 1 + HOUR, "now": NOW, "keptSince": NOW - 1 - 719 * HOUR,
                "step": "hour", "groupBy": ["key"], "usage": [group], "totals": numbers,
            })
        );
    }

    #[test]
    fn an_answer_has_an_end() {
        let plan = plan(&[Dimension::Key]);
        let mut sorting = Sorting::new(&plan);
        for n in 0..=MOST_GROUPS {
            assert!(sorting.take(row(NOW - 1, "m", &n.to_string(), "success", 1)).is_continue());
        }
        assert!(sorting.take(row(NOW - 1, "m", "k", "success", 1)).is_break(), "no more is read");
        assert_eq!(sorting.report(), Err(Unanswerable::Long(MOST_GROUPS)));
    }
}
