//! Requests in flight: one lease per attempt, renewed while it is under way (spec §9.5, §9.6 HEARTBEAT).

use std::collections::BTreeMap;

use super::admission::Attempt;
use super::{ATTEMPT_KEPT, Pool};

/// Most leases that an admission drops.
pub(super) const LAPSED_BY_ADMISSION: usize = 64;
/// Most leases that a heartbeat drops.
pub(crate) const LAPSED_BY_HEARTBEAT: usize = 256;

/// What became of a lease that was to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    Unknown,
    Renewed,
    Revived,
}

/// Members that lapse, counted by account: leases, and assignments of conversations.
///
/// Those that a store loses still count, until a heartbeat counts anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    /// End by `<account>/<name>`.
    ends: BTreeMap<String, i64>,
    /// How many of each account were lost.
    lost: BTreeMap<String, u32>,
}

fn member(account: &str, name: &str) -> String {
    format!("{account}/{name}")
}

fn account_of(member: &str) -> &str {
    member.split('/').next().unwrap_or_default()
}

impl Leases {
    /// How many `account` has.
    pub(crate) fn of(&self, account: &str) -> u32 {
        let first = member(account, "");
        let own = self.ends.range(first.clone()..).take_while(|(member, _)| member.starts_with(&first));
        u32::try_from(own.count()).unwrap_or(u32::MAX) + self.lost.get(account).copied().unwrap_or(0)
    }

    /// Counts one, or renews it; true when it was there.
    pub(super) fn put(&mut self, account: &str, name: &str, ends: i64) -> bool {
        self.ends.insert(member(account, name), ends).is_some()
    }

    /// Ends one; true when it was there.
    pub(super) fn end(&mut self, account: &str, name: &str) -> bool {
        self.ends.remove(&member(account, name)).is_some()
    }

    /// Drops up to `cap` of those whose end has come, the oldest first; how many.
    pub(super) fn lapse(&mut self, now: i64, cap: usize) -> usize {
        let mut dead: Vec<_> = self
            .ends
            .iter()
            .filter(|(_, ends)| **ends <= now)
            .map(|(member, ends)| (*ends, member.clone()))
            .collect();
        dead.sort();
        dead.truncate(cap);
        for (_, member) in &dead {
            self.ends.remove(member);
        }
        dead.len()
    }

    /// The store loses them all.
    pub(crate) fn lose(&mut self) {
        for member in std::mem::take(&mut self.ends).into_keys() {
            *self.lost.entry(account_of(&member).to_owned()).or_default() += 1;
        }
    }

    /// Counts anew.
    fn recount(&mut self) {
        self.lost.clear();
    }

    /// The account is gone. What it has lapses.
    pub(super) fn forget(&mut self, account: &str) {
        self.lost.remove(account);
    }
}

impl Pool {
    /// Renews the leases of attempts under way for `ms`, one that lapsed lives again; then drops those whose holder
    /// is gone. Answers what became of each, and how many were dropped. Counts anew what was lost.
    pub(crate) fn heartbeat(&mut self, leases: &[String], ms: i64, now: i64) -> (Vec<Renewal>, usize) {
        self.leases.recount();
        self.conversations.live.recount();
        let renewals = leases.iter().map(|lease| self.renew(lease, now + ms)).collect();
        let lapsed = self.leases.lapse(now, LAPSED_BY_HEARTBEAT);
        if !leases.is_empty() || lapsed > 0 {
            self.write(now);
        }
        (renewals, lapsed)
    }

    fn renew(&mut self, lease: &str, ends: i64) -> Renewal {
        let Some(Attempt::Open(open)) = self.attempts.get(lease).map(|kept| &kept.value) else {
            return Renewal::Unknown;
        };
        let account = open.account.clone();
        if self.account(&account).is_none() {
            return Renewal::Unknown;
        }
        let kept_until = self.clock + ATTEMPT_KEPT;
        if let Some(kept) = self.attempts.get_mut(lease) {
            kept.ends = kept_until;
        }
        if self.leases.put(&account, lease, ends) { Renewal::Renewed } else { Renewal::Revived }
    }
}
