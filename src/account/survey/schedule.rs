//! When which account is asked for its quotas. Pure: times and chances come from the caller.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::ident::AccountId;

/// Quotas are fetched anew when they are this old, in hundredths of the interval: always before it is over, so that
/// they never go stale between two fetches, and not together.
const SOONEST: u32 = 80;
const LATEST: u32 = 90;
/// Quotas that are younger are not fetched because of a limit.
const LIMIT_SPACING: Duration = Duration::from_mins(1);

/// Why an account is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Its interval is over.
    Interval,
    /// A limit was reported at this time.
    Limit(Instant),
    /// A limit of its quota ended at this time.
    Reset(Instant),
    /// Somebody asked for it at this time.
    Now(Instant),
}

/// What the store knows of an account's quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// When they were fetched.
    pub(super) fetched: Option<Instant>,
    /// When the first of its quota limits ends.
    pub(super) limited_until: Option<Instant>,
}

/// Whether an account that is due is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Its quotas are too old.
    Fetch,
    /// They are not.
    Fresh,
    /// They will be soon, for the same reason.
    Later(Instant),
}

/// Judges an account by what the store knows of it now: another replica may have been faster.
pub(super) fn judge(want: Want, known: &Known, now: Instant, interval: Duration) -> Judgement {
    let Some(fetched) = known.fetched else { return Judgement::Fetch };
    if now.saturating_duration_since(fetched) >= interval * SOONEST / 100 {
        return Judgement::Fetch;
    }
    let outdated = match want {
        Want::Limit(reported) => fetched < reported && known.limited_until.is_some(),
        Want::Reset(ended) => fetched < ended,
        Want::Now(asked) if fetched < asked => return Judgement::Fetch,
        Want::Interval | Want::Now(_) => false,
    };
    let earliest = fetched + LIMIT_SPACING;
    match (outdated, earliest <= now) {
        (false, _) => Judgement::Fresh,
        (true, true) => Judgement::Fetch,
        (true, false) => Judgement::Later(earliest),
    }
}

/// A share of the spread between the soonest and the latest moment, 0 to 1.
pub(super) type Chance = f64;

/// The accounts that are asked from time to time.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: HashMap<AccountId, Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    fetched: Option<Instant>,
    chance: Chance,
    /// A look before the interval is over.
    early: Option<(Instant, Want)>,
    /// Somebody wants quotas that were fetched after the second of these; since the first.
    asked: Option<(Instant, Instant)>,
    /// Nothing happens before this.
    rests_until: Instant,
    busy: bool,
    /// It rests because another replica asks it.
    elsewhere: bool,
}

impl Entry {
    /// Since when it is due, or will be, whether it rests or not.
    fn due(&self, interval: Duration) -> Instant {
        let regular =
            self.fetched.map_or(self.rests_until, |fetched| fetched + spread(interval, self.chance));
        let planned = self.early.map_or(regular, |(early, _)| early.min(regular));
        self.asked.map_or(planned, |(asked, _)| asked.min(planned))
    }

    fn at(&self, interval: Duration) -> Instant {
        self.due(interval).max(self.rests_until)
    }

    fn wake(&mut self, at: Instant, want: Want) {
        if self.early.is_none_or(|(early, _)| at < early) {
            self.early = Some((at, want));
        }
    }

    fn knows(&mut self, known: &Known, chance: Chance) {
        if known.fetched > self.fetched {
            self.fetched = known.fetched;
            self.chance = chance;
        }
        if let Some(end) = known.limited_until {
            self.wake(end + after_reset(chance), Want::Reset(end));
        }
    }
}

fn spread(interval: Duration, chance: Chance) -> Duration {
    interval * SOONEST / 100 + (interval * (LATEST - SOONEST) / 100).mul_f64(chance.clamp(0.0, 1.0))
}

/// A few seconds, so that the upstream knows of it, too, and replicas do not ask together.
pub(super) fn after_reset(chance: Chance) -> Duration {
    Duration::from_secs(2) + Duration::from_secs(3).mul_f64(chance.clamp(0.0, 1.0))
}

impl Schedule {
    /// Takes over who is in the pool: `accounts` are those that can be asked.
    pub(super) fn reconcile(
        &mut self,
        accounts: impl Iterator<Item = (AccountId, u64, Known)>,
        now: Instant,
        mut chance: impl FnMut() -> Chance,
    ) {
        let mut earlier = std::mem::take(&mut self.entries);
        for (id, number, known) in accounts {
            let mut entry = earlier.remove(&id).unwrap_or_else(|| Entry {
                number,
                fetched: None,
                chance: chance(),
                early: None,
                asked: None,
                rests_until: now,
                busy: false,
                elsewhere: false,
            });
            entry.number = number;
            // How long it is limited is read with its turn.
            entry.knows(&Known { limited_until: None, ..known }, chance());
            self.entries.insert(id, entry);
        }
        // A turn that is under way ends in its own time.
        self.entries.extend(earlier.into_iter().filter(|(_, entry)| entry.busy));
    }

    /// The account that has been due for the longest time, from now on under way.
    pub(super) fn begin(&mut self, now: Instant, interval: Duration) -> Option<(AccountId, u64, Want)> {
        let ready = |entry: &Entry| !entry.busy && entry.at(interval) <= now;
        let (id, entry) = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| ready(entry))
            .min_by_key(|(_, entry)| entry.due(interval))?;
        (entry.busy, entry.elsewhere) = (true, false);
        // What is planned besides stays planned: it may be about something newer.
        if let Some((_, since)) = entry.asked.take() {
            return Some((id.clone(), entry.number, Want::Now(since)));
        }
        let want = entry.early.take_if(|(early, _)| *early <= now).map_or(Want::Interval, |(_, want)| want);
        Some((id.clone(), entry.number, want))
    }

    /// When the next account is due; `None` when none waits.
    pub(super) fn next_at(&self, interval: Duration) -> Option<Instant> {
        self.entries.values().filter(|entry| !entry.busy).map(|entry| entry.at(interval)).min()
    }

    /// Looks at the account at `at`, if that is sooner than planned.
    pub(super) fn wake(&mut self, id: &AccountId, at: Instant, want: Want) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.wake(at, want);
        }
    }

    /// Looks at every account now; answers which.
    pub(super) fn wake_all(&mut self, now: Instant) -> Vec<AccountId> {
        for entry in self.entries.values_mut() {
            entry.early = Some((now, Want::Now(now)));
            entry.rests_until = now;
        }
        self.entries.keys().cloned().collect()
    }

    /// Looks now at the accounts whose quotas were fetched before `since`, as far as is known here, but not at those that are
    /// left alone because they do not answer; answers which, those that are under way included.
    pub(super) fn wake_older(&mut self, since: Instant, now: Instant) -> Vec<AccountId> {
        let mut woken = Vec::new();
        for (id, entry) in &mut self.entries {
            if entry.fetched.is_some_and(|fetched| fetched >= since) {
                continue;
            }
            if entry.elsewhere {
                entry.rests_until = now;
            }
            if !entry.busy && entry.rests_until > now {
                continue;
            }
            if !entry.busy {
                entry.asked = Some((now, since));
            }
            woken.push(id.clone());
        }
        woken
    }

    /// The accounts that have never answered and are not left alone because of that. Those that another replica asks
    /// are looked at now.
    pub(super) fn unknown(&mut self, now: Instant) -> Vec<AccountId> {
        for entry in self.entries.values_mut().filter(|entry| entry.elsewhere) {
            entry.rests_until = now;
        }
        let wanted = |entry: &Entry| entry.fetched.is_none() && (entry.busy || entry.rests_until <= now);
        self.entries.iter().filter(|(_, entry)| wanted(entry)).map(|(id, _)| id.clone()).collect()
    }

    /// Whether a turn of the account is under way, or one that somebody may wait for is still to come.
    pub(super) fn wanted(&self, id: &AccountId) -> bool {
        let asked_for = |entry: &Entry| {
            let early = matches!(entry.early, Some((_, Want::Now(_))));
            entry.busy || early || entry.asked.is_some() || entry.fetched.is_none()
        };
        self.entries.get(id).is_some_and(asked_for)
    }

    /// Ends a turn with what is known now.
    pub(super) fn learnt(&mut self, id: &AccountId, known: &Known, chance: Chance) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.busy = false;
            entry.knows(known, chance);
        }
    }

    /// Ends a turn that is repeated at `at` for the same reason.
    pub(super) fn postpone(&mut self, id: &AccountId, at: Instant, want: Want) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.busy = false;
            match want {
                Want::Interval => entry.rests_until = at,
                want => entry.wake(at, want),
            }
        }
    }

    /// Ends a turn because another replica asks the account; what came of that is looked at at `at`.
    pub(super) fn elsewhere(&mut self, id: &AccountId, at: Instant, want: Want) {
        self.postpone(id, at, want);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.elsewhere = true;
        }
    }

    /// Ends a turn in which the account did not answer: it is left alone until `until`.
    pub(super) fn rest(&mut self, id: &AccountId, until: Instant) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.busy = false;
            entry.rests_until = until;
        }
    }

    /// The account is left alone no longer.
    pub(super) fn end_rest(&mut self, id: &AccountId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.busy) {
            entry.rests_until = entry.rests_until.min(now);
        }
    }

    /// The account cannot be asked any more.
    pub(super) fn remove(&mut self, id: &AccountId) {
        self.entries.remove(id);
    }

    /// The accounts under way.
    pub(super) fn under_way(&self) -> Vec<AccountId> {
        self.entries.iter().filter(|(_, entry)| entry.busy).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const INTERVAL: Duration = Duration::from_mins(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn id(name: &str) -> AccountId {
        AccountId::new(name).unwrap()
    }

    fn known(fetched: Instant) -> Known {
        Known { fetched: Some(fetched), limited_until: None }
    }

    #[test]
    fn quotas_are_fetched_before_they_are_as_old_as_the_interval() {
        for chance in [0.0, 0.5, 1.0] {
            let after = spread(INTERVAL, chance);
            assert!((240 * SECOND..=270 * SECOND).contains(&after), "{after:?}");
        }
    }

    #[test]
    fn what_is_too_old_depends_on_the_reason() {
        let now = Clock::system().instant() + Duration::from_hours(1);
        let ago = |seconds: u32| now - seconds * SECOND;
        let limited = |fetched| Known { limited_until: Some(now + SECOND), ..known(fetched) };
        for (want, known, expected) in [
            (Want::Interval, Known::default(), Judgement::Fetch),
            (Want::Interval, known(ago(239)), Judgement::Fresh),
            (Want::Interval, known(ago(240)), Judgement::Fetch),
            (Want::Now(ago(10)), known(ago(11)), Judgement::Fetch),
            (Want::Now(ago(10)), known(ago(10)), Judgement::Fresh),
            (Want::Reset(ago(10)), known(ago(60)), Judgement::Fetch),
            (Want::Reset(ago(10)), known(ago(59)), Judgement::Later(now + SECOND)),
            (Want::Reset(ago(10)), known(ago(9)), Judgement::Fresh),
            (Want::Limit(ago(3)), limited(ago(100)), Judgement::Fetch),
            (Want::Limit(ago(3)), limited(ago(2)), Judgement::Fresh),
            (Want::Limit(ago(3)), limited(ago(50)), Judgement::Later(now + 10 * SECOND)),
            // The limit was not one of quota.
            (Want::Limit(ago(3)), known(ago(100)), Judgement::Fresh),
        ] {
            assert_eq!(judge(want, &known, now, INTERVAL), expected, "{want:?} {known:?}");
        }
    }

    #[test]
    fn the_one_that_is_due_for_longest_comes_first_and_nobody_twice_at_once() {
        let now = Clock::system().instant() + Duration::from_hours(1);
        let mut schedule = Schedule::default();
        let accounts = [("a", 250), ("b", 260), ("c", 10)];
        let listed = accounts.map(|(name, age)| (id(name), 1, known(now - age * SECOND)));
        schedule.reconcile(listed.into_iter(), now, || 0.0);
        let mut begun = || schedule.begin(now, INTERVAL).map(|(id, ..)| id);
        assert_eq!([begun(), begun(), begun()], [Some(id("b")), Some(id("a")), None]);
        assert_eq!(schedule.next_at(INTERVAL), Some(now + 230 * SECOND));
        schedule.learnt(&id("a"), &known(now), 0.0);
        schedule.rest(&id("b"), now + SECOND);
        assert_eq!(schedule.next_at(INTERVAL), Some(now + SECOND));
        // A shorter interval counts from the last fetch.
        assert_eq!(schedule.begin(now, 12 * SECOND).map(|(id, ..)| id), Some(id("c")));
    }

    #[test]
    fn a_limit_wakes_early_and_again_when_it_ends() {
        let now = Clock::system().instant() + Duration::from_hours(1);
        let mut schedule = Schedule::default();
        schedule.reconcile([(id("a"), 1, known(now - 100 * SECOND))].into_iter(), now, || 0.0);
        schedule.wake(&id("a"), now + 3 * SECOND, Want::Limit(now));
        let later = now + 3 * SECOND;
        assert_eq!(schedule.begin(later, INTERVAL), Some((id("a"), 1, Want::Limit(now))));
        let end = later + 30 * SECOND;
        schedule.learnt(&id("a"), &Known { fetched: Some(later), limited_until: Some(end) }, 0.0);
        let due = end + after_reset(0.0);
        assert_eq!(schedule.next_at(INTERVAL), Some(due));
        assert_eq!(schedule.begin(due, INTERVAL), Some((id("a"), 1, Want::Reset(end))));
    }

    #[test]
    fn who_wants_younger_quotas_wakes_the_older_and_what_was_planned_stays() {
        let now = Clock::system().instant() + Duration::from_hours(1);
        let mut schedule = Schedule::default();
        let accounts = [("a", 40), ("b", 20), ("c", 40), ("d", 40)];
        let listed = accounts.map(|(name, age)| (id(name), 1, known(now - age * SECOND)));
        schedule.reconcile(listed.into_iter(), now, || 0.0);
        schedule.rest(&id("c"), now + SECOND);
        schedule.elsewhere(&id("d"), now + SECOND, Want::Interval);
        schedule.wake(&id("a"), now, Want::Limit(now));
        let since = now - 30 * SECOND;
        let mut woken = schedule.wake_older(since, now);
        woken.sort();
        assert_eq!(woken, [id("a"), id("d")], "c does not answer");
        let mut begun: Vec<_> = std::iter::from_fn(|| schedule.begin(now, INTERVAL)).collect();
        begun.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(begun, [(id("a"), 1, Want::Now(since)), (id("d"), 1, Want::Now(since))]);
        let mut woken = schedule.wake_older(since, now);
        woken.sort();
        assert_eq!(woken, [id("a"), id("d")], "they are under way");
        schedule.learnt(&id("a"), &known(now - 10 * SECOND), 0.0);
        assert_eq!(schedule.begin(now, INTERVAL), Some((id("a"), 1, Want::Limit(now))));
        schedule.end_rest(&id("c"), now);
        let mut woken = schedule.wake_older(since, now);
        woken.sort();
        assert_eq!(woken, [id("c"), id("d")], "a is young now, c is left alone no longer");
    }

    #[test]
    fn what_leaves_the_pool_leaves_the_schedule() {
        let now = Clock::system().instant();
        let mut schedule = Schedule::default();
        let listed =
            |names: &[&str]| -> Vec<_> { names.iter().map(|name| (id(name), 1, Known::default())).collect() };
        schedule.reconcile(listed(&["a", "b"]).into_iter(), now, || 0.0);
        assert_eq!(schedule.unknown(now).len(), 2);
        schedule.reconcile(listed(&["b"]).into_iter(), now, || 0.0);
        assert_eq!(schedule.unknown(now), [id("b")]);
        schedule.elsewhere(&id("b"), now + SECOND, Want::Interval);
        assert_eq!(schedule.next_at(INTERVAL), Some(now + SECOND));
        assert_eq!(schedule.unknown(now), [id("b")], "it is asked, though by another");
        assert_eq!(schedule.begin(now, INTERVAL).map(|(id, ..)| id), Some(id("b")));
        schedule.rest(&id("b"), now + SECOND);
        assert!(schedule.unknown(now).is_empty());
        assert_eq!(schedule.wake_all(now), [id("b")]);
        assert_eq!(schedule.begin(now, INTERVAL).map(|(id, ..)| id), Some(id("b")));
        assert_eq!(schedule.under_way(), [id("b")]);
        schedule.remove(&id("b"));
        assert_eq!(schedule.next_at(INTERVAL), None);
    }
}
