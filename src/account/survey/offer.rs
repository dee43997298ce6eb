//! The catalogue of models as it follows from what the accounts offered last.

use std::collections::{BTreeMap, HashMap};

use super::visit::can_be_asked;
use crate::account::catalogue::Model;
use crate::store::ops::listing::AccountView;

/// How long a model that no account offers stays while some account does not answer, ms.
pub(super) const MEMORY_MS: i64 = 24 * 60 * 60 * 1000;
/// A list that differs only in times is written again when they have grown by this, ms.
const GRAIN_MS: i64 = 60 * 60 * 1000;

/// The pool's models: what its accounts offered when they answered last. While one of them has not answered for
/// `recent_ms`, what is in `earlier` stays for a day, since that one may offer it; when all do, it leaves at once.
pub(super) fn offer(
    accounts: &[AccountView],
    earlier: &[Model],
    names: &HashMap<String, String>,
    now_ms: i64,
    recent_ms: i64,
) -> Vec<Model> {
    let mut offered: BTreeMap<&str, i64> = BTreeMap::new();
    let mut complete = true;
    for account in accounts.iter().filter(|account| can_be_asked(account)) {
        let at = account.quota_at_ms.filter(|at| now_ms.saturating_sub(*at) < MEMORY_MS);
        complete &= at.is_some_and(|at| now_ms.saturating_sub(at) <= recent_ms);
        let Some(at) = at else { continue };
        for quota in &account.quotas {
            let last = offered.entry(&quota.model).or_insert(at);
            *last = at.max(*last);
        }
    }
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for (id, offered_ms) in offered {
        let before = earlier.iter().find(|model| model.id == id);
        let name = names.get(id).cloned().or_else(|| before.map(|model| model.name.clone()));
        let model = Model {
            id: id.to_owned(),
            name: name.unwrap_or_else(|| id.to_owned()),
            seen_ms: before.map_or(now_ms, |model| model.seen_ms),
            offered_ms,
        };
        models.insert(model.id.clone(), model);
    }
    if !complete {
        for model in remembered(earlier, now_ms) {
            models.entry(model.id.clone()).or_insert(model);
        }
    }
    models.into_values().collect()
}

/// Whether `new` is worth writing over `old`.
pub(super) fn differ(old: &[Model], new: &[Model]) -> bool {
    let alike = |(old, new): (&Model, &Model)| {
        old.id == new.id && old.name == new.name && new.offered_ms.saturating_sub(old.offered_ms) < GRAIN_MS
    };
    old.len() != new.len() || !old.iter().zip(new).all(alike)
}

/// Those of `models` that an account offered within [`MEMORY_MS`].
fn remembered(models: &[Model], now_ms: i64) -> impl Iterator<Item = Model> {
    let models = models.iter().cloned().map(move |mut model| {
        if model.offered_ms == 0 {
            model.offered_ms = now_ms;
        }
        model
    });
    models.filter(move |model| now_ms.saturating_sub(model.offered_ms) < MEMORY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, offered_ms: i64) -> Model {
        Model { id: id.into(), name: id.into(), seen_ms: 1, offered_ms }
    }

    #[test]
    fn what_nobody_offers_is_remembered_for_a_day() {
        let now_ms = 1_800_000_000_000;
        let earlier =
            [model("new", now_ms), model("old", now_ms - MEMORY_MS + 1), model("gone", now_ms - MEMORY_MS)];
        let kept: Vec<_> = remembered(&earlier, now_ms).map(|model| model.id).collect();
        assert_eq!(kept, ["new", "old"]);
        // The day of a model from an earlier version's list begins now.
        let kept: Vec<_> = remembered(&[model("undated", 0)], now_ms).collect();
        assert_eq!(kept, [model("undated", now_ms)]);
    }

    #[test]
    fn a_list_is_written_for_what_it_says_and_now_and_then_for_its_times() {
        let old = [model("a", 1), model("b", 1)];
        assert!(!differ(&old, &[model("a", GRAIN_MS), model("b", 1)]));
        assert!(differ(&old, &[model("a", 1), model("b", GRAIN_MS + 1)]));
        assert!(differ(&old, &[model("a", 1)]) && differ(&old, &[model("a", 1), model("c", 1)]));
        let renamed = Model { name: "B".into(), ..model("b", 1) };
        assert!(differ(&old, &[model("a", 1), renamed]));
    }
}
