//! What is left of the pool's quotas: over time, and until when it lasts.
//!
//! Replicas note the averages every ten minutes while they look at the pool ([`crate::account::survey`]); what is
//! answered here is made of those notes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::survey::can_be_asked;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::keys::{CAPACITY_SLOT_MS, USAGE_DAY_MS};
use crate::store::ops::capacity::{ModelLeft, NOTES_KEPT_MS};
use crate::store::ops::listing::AccountView;

const HOUR_MS: i64 = 60 * 60 * 1000;
/// A pace is that of this last time, ms, and of as many points at least.
const PACE_OF_MS: i64 = HOUR_MS;
const PACE_POINTS: usize = 3;
/// When the newest point is older, ms, nothing is known of the pace now.
const RECENT_MS: i64 = 3 * CAPACITY_SLOT_MS;
/// A rise by more than this is a quota that was filled again, or another account.
const RISE: f64 = 0.01;
/// A pace below this share per hour is as good as none.
const SLOWEST: f64 = 0.005;

/// What was left of the quotas of a pool's models, every ten minutes.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityHistory {
    /// When this was read, ms since the epoch, by the store's clock.
    pub now: i64,
    /// The beginning of the range, ms since the epoch.
    pub from: i64,
    /// Time from one point to the next, ms. Points are missing where no gateway looked.
    pub step_ms: i64,
    /// By model, sorted.
    pub models: Vec<ModelHistory>,
}

/// What was left of a model's quotas.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelHistory {
    /// The model.
    pub model: String,
    /// The oldest first.
    pub points: Vec<CapacityPoint>,
    /// The share of all quotas that an hour takes, by the last hour; absent where they do not fall, or too little is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<f64>,
    /// When nothing is left at that pace, if no quota is filled again before, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_out_at: Option<i64>,
}

/// What was left at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CapacityPoint {
    /// The beginning of its ten minutes, ms since the epoch.
    pub time: i64,
    /// The share left on average, 0 to 1.
    pub left: f64,
    /// The accounts that it is the average of: those that can be used and told.
    pub accounts: u32,
}

/// The average of what is left of each model, over the accounts that can be used and told it within `recent_ms`.
pub(super) fn left(accounts: &[AccountView], now_ms: i64, recent_ms: i64) -> Vec<ModelLeft> {
    let mut sums: BTreeMap<&str, (f64, u32)> = BTreeMap::new();
    let recent =
        |account: &&AccountView| account.quota_at_ms.is_some_and(|at| now_ms.saturating_sub(at) <= recent_ms);
    for account in accounts.iter().filter(|account| can_be_asked(account)).filter(recent) {
        for quota in &account.quotas {
            let Some(fraction) = quota.fraction else { continue };
            let (sum, count) = sums.entry(&quota.model).or_default();
            *sum += fraction;
            *count += 1;
        }
    }
    let average = |(model, (sum, accounts)): (&str, (f64, u32))| ModelLeft {
        model: model.to_owned(),
        fraction: sum / f64::from(accounts),
        accounts,
    };
    sums.into_iter().map(average).collect()
}

/// What was left in the last `hours`, at most the seven days that are kept.
pub async fn history(store: &Store, hours: u32) -> Result<CapacityHistory, StoreError> {
    let (stamp, _) = store.read_capacity(0).await?;
    let now = stamp.now_ms;
    let from = now - (i64::from(hours) * HOUR_MS).min(NOTES_KEPT_MS);
    let mut models: BTreeMap<String, Vec<CapacityPoint>> = BTreeMap::new();
    // A day at a time, so that the store serves others in between.
    for day in from.div_euclid(USAGE_DAY_MS)..=now.div_euclid(USAGE_DAY_MS) {
        let (_, notes) = store.read_capacity(day * USAGE_DAY_MS).await?;
        for note in notes.into_iter().filter(|note| (from..=now).contains(&note.at_ms)) {
            for ModelLeft { model, fraction, accounts } in note.models {
                let point = CapacityPoint { time: note.at_ms, left: fraction, accounts };
                models.entry(model).or_default().push(point);
            }
        }
    }
    let history = |(model, mut points): (String, Vec<CapacityPoint>)| {
        points.sort_by_key(|point| point.time);
        let (per_hour, runs_out_at) = pace(&points, now).unzip();
        ModelHistory { model, points, per_hour, runs_out_at }
    };
    Ok(CapacityHistory {
        now,
        from,
        step_ms: CAPACITY_SLOT_MS,
        models: models.into_iter().map(history).collect(),
    })
}

/// The share that an hour takes, and when nothing is left at that pace: by the straight line that fits the last hour best,
/// from the last time on that a quota was filled.
fn pace(points: &[CapacityPoint], now_ms: i64) -> Option<(f64, i64)> {
    let newest = points.last().filter(|newest| now_ms.saturating_sub(newest.time) <= RECENT_MS)?;
    let first = points.iter().position(|point| newest.time - point.time <= PACE_OF_MS)?;
    let points = &points[first..];
    let risen = points.windows(2).rposition(|pair| pair[1].left > pair[0].left + RISE);
    let points = &points[risen.map_or(0, |at| at + 1)..];
    if points.len() < PACE_POINTS {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "an hour in ms, and a few points")]
    let hours = |ms: i64| ms as f64 / HOUR_MS as f64;
    let count = f64::from(u32::try_from(points.len()).unwrap_or(u32::MAX));
    let at = |point: &CapacityPoint| hours(point.time - newest.time);
    let mean_at = points.iter().map(at).sum::<f64>() / count;
    let mean_left = points.iter().map(|point| point.left).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|point| (at(point) - mean_at).powi(2)).sum();
    let slope =
        points.iter().map(|point| (at(point) - mean_at) * (point.left - mean_left)).sum::<f64>() / spread;
    let per_hour = -slope;
    if !per_hour.is_finite() || per_hour < SLOWEST {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 200 hours, in ms")]
    let ends = newest.time + (newest.left / per_hour * 3_600_000.0) as i64;
    Some((per_hour, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const NOW: i64 = 1_800_000_000_000;

    /// Points, the newest two minutes ago.
    fn points(left: &[f64]) -> Vec<CapacityPoint> {
        let first = NOW - 2 * MINUTE - (i64::try_from(left.len()).unwrap() - 1) * CAPACITY_SLOT_MS;
        let times = (0..).map(|n| first + n * CAPACITY_SLOT_MS);
        times.zip(left).map(|(time, &left)| CapacityPoint { time, left, accounts: 3 }).collect()
    }

    #[test]
    fn a_pace_is_that_of_the_last_hour_since_a_quota_was_filled() {
        let in_minutes = |minutes: i64| NOW - 2 * MINUTE + minutes * MINUTE;
        for (left, expected) in [
            // Six percent in ten minutes: 36 in an hour, so 0.36 last an hour.
            (&[0.54, 0.48, 0.42, 0.36][..], Some((0.36, in_minutes(60)))),
            // What was before the last hour does not count.
            (&[1.0, 0.7, 0.36, 0.35, 0.34, 0.33, 0.32, 0.31, 0.30], Some((0.06, in_minutes(300)))),
            // Filled meanwhile.
            (&[0.2, 0.1, 0.9, 0.8, 0.7], Some((0.6, in_minutes(70)))),
            (&[0.3, 0.2, 0.1, 0.9, 0.8], None),
            // Used up.
            (&[0.2, 0.1, 0.0], Some((0.6, in_minutes(0)))),
            (&[0.0, 0.0, 0.0], None),
            (&[0.5, 0.5, 0.5, 0.5], None),
            (&[0.501, 0.5005, 0.5], None),
            (&[0.5, 0.505, 0.51], None),
            (&[0.6, 0.5], None),
            (&[], None),
        ] {
            let found = pace(&points(left), NOW);
            let near = match (found, expected) {
                (Some((per_hour, ends)), Some((expected, end))) => {
                    (per_hour - expected).abs() < 1e-6 && (ends - end).abs() < 1000
                }
                (found, expected) => found == expected,
            };
            assert!(near, "{left:?}: {found:?}");
        }
        let old = points(&[0.54, 0.48, 0.42, 0.36]);
        assert!(pace(&old, NOW + 28 * MINUTE).is_some());
        assert_eq!(pace(&old, NOW + 29 * MINUTE), None, "nothing is known of the pace now");
    }
}
