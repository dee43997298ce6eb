//! The pool's rules once more, in plain Rust: one thread, no keys, no packed records, no scripts.
//!
//! Written from spec `dispatch.md` (§4 limits and counters, §5 strategies, §2.11 outcomes, §9.4 to §9.6 atomic
//! operations), not from the scripts, so that the two can be held against each other: each operation takes the same
//! question as its script and must give the same answer, and leave the same accounts behind.
//!
//! Every operation takes `now`, the time the rules reckon with. Records that a store keeps for a while only end by
//! the store's own clock, which [`Pool::advance`] moves.

#![allow(dead_code, unused_imports, reason = "each suite uses its part")]

mod account;
mod admission;
mod conversations;
mod leases;
mod roster;
mod selection;
mod settings;
mod settlement;
mod tokens;
mod usage;

use std::collections::BTreeMap;

pub(crate) use self::account::{Account, Quota, Record};
pub(crate) use self::admission::{Admission, Ask, Decision, Grant, Held, Tier};
pub(crate) use self::leases::Renewal;
pub(crate) use self::roster::{Changes, Edit, NewAccount, Put, Set};
pub(crate) use self::selection::{Candidate, Explained};
pub(crate) use self::settings::{Layer, Settings};
pub(crate) use self::settlement::{Outcome, Released, Settle, Settlement};
pub(crate) use self::tokens::{Begun, FailedRefresh, FinishedRefresh, RefreshFailure};
pub(crate) use self::usage::{Counters, Sums, Usage};

use self::account::ModelRecords;
use self::admission::Attempt;
use self::conversations::Conversations;
use self::leases::Leases;
use self::tokens::{Lock, Pause};

/// How long the record of an attempt is kept, ms.
const ATTEMPT_KEPT: i64 = 900_000;

/// When an answer was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Writes of the pool so far.
    pub(crate) seq: u64,
    /// The time reckoned with, ms since the epoch.
    pub(crate) now: i64,
}

/// Why a call is refused; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The attempt has ended.
    Settled,
    /// The attempt holds another account.
    Mismatch,
}

/// Something that a store keeps until its clock passes an end.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    value: T,
    ends: i64,
}

/// The pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    /// Writes so far.
    pub(crate) seq: u64,
    /// The store's own clock: what ends kept records.
    clock: i64,
    /// In the order of their numbers.
    pub(crate) accounts: Vec<Account>,
    /// The number of the newest account.
    newest: u64,
    /// What is known of accounts for each model.
    models: BTreeMap<String, ModelRecords>,
    attempts: BTreeMap<String, Kept<Attempt>>,
    pub(crate) leases: Leases,
    pub(crate) conversations: Conversations,
    /// Who probes a limited model.
    probes: BTreeMap<String, Kept<Lock>>,
    /// Who refreshes an account's token.
    refreshers: BTreeMap<String, Kept<Lock>>,
    /// When an account's token may be refreshed again.
    pauses: BTreeMap<String, Kept<Pause>>,
    /// The account that round-robin chose last, by number.
    cursor: Option<u64>,
    /// Where the window of a large pool begins, as a place in the order of accounts.
    window: usize,
    /// Settings of the process that asks, below and above the shared ones.
    pub(crate) base: Layer,
    pub(crate) pinned: Layer,
    /// Shared settings that the rules read.
    pub(crate) shared: Layer,
    /// Shared settings that only gateways read.
    pub(crate) gateway: Layer,
    /// Changes of shared settings so far.
    pub(crate) generation: u64,
    /// What requests counted.
    pub(crate) usage: Counters,
    /// Requests that were counted without an attempt.
    counted: BTreeMap<String, Kept<()>>,
    /// What was announced since the last look: `<kind> <id> <seq>`.
    pub(crate) events: Vec<String>,
}

impl Pool {
    /// An empty pool whose process has these settings.
    pub(crate) fn new(base: Layer, pinned: Layer) -> Self {
        Self { base, pinned, ..Self::default() }
    }

    /// Moves the store's own clock to `to`: what it kept up to then is gone.
    pub(crate) fn advance(&mut self, to: i64) {
        self.clock = self.clock.max(to);
        let clock = self.clock;
        self.attempts.retain(|_, kept| clock <= kept.ends);
        self.counted.retain(|_, kept| clock <= kept.ends);
        self.probes.retain(|_, kept| clock <= kept.ends);
        self.refreshers.retain(|_, kept| clock <= kept.ends);
        self.pauses.retain(|_, kept| clock <= kept.ends);
        self.models.retain(|_, records| clock <= records.ends);
        self.conversations.advance(clock);
    }

    /// The settings in force: defaults, below those of the process, below the shared ones, below the pinned ones.
    pub(crate) fn settings(&self) -> Settings {
        Settings::of(&[&self.base, &self.shared, &self.pinned])
    }

    /// Counts a write that is about nothing the rules know.
    pub(crate) fn note_write(&mut self) {
        self.seq += 1;
    }

    /// Counts a write.
    fn write(&mut self, now: i64) -> Stamp {
        self.seq += 1;
        self.read(now)
    }

    fn read(&self, now: i64) -> Stamp {
        Stamp { seq: self.seq, now }
    }

    fn keep<T>(&self, value: T, ms: i64) -> Kept<T> {
        Kept { value, ends: self.clock + ms }
    }

    /// Announces that something happened to `id`.
    fn announce(&mut self, kind: &str, id: &str) {
        self.events.push(format!("{kind} {id} {}", self.seq));
    }

    pub(crate) fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    fn account_mut(&mut self, id: &str) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.id == id)
    }

    /// What is known of `id` for `model`.
    pub(crate) fn record(&self, model: &str, id: &str) -> Record {
        self.models.get(model).and_then(|records| records.by_account.get(id)).cloned().unwrap_or_default()
    }

    /// When the limit ends that ends next.
    pub(crate) fn next_end(&self, now: i64) -> Option<i64> {
        let records = self.models.values().flat_map(|records| records.by_account.values());
        records.map(Record::until).filter(|until| *until > now).min()
    }

    /// Writes what is known of `id` for `model`. All that is known for a model is forgotten two days after it last
    /// mattered (spec §9.5: such records may be lost).
    fn put_record(&mut self, model: &str, id: &str, record: Record, now: i64) {
        const TWO_DAYS: i64 = 172_800_000;
        const HOUR: i64 = 3_600_000;
        let left = record.limit.as_ref().map_or(0, |limit| limit.until - now);
        let keep = left.max(TWO_DAYS);
        let clock = self.clock;
        let records = self.models.entry(model.to_owned()).or_default();
        records.by_account.insert(id.to_owned(), record);
        if records.ends - clock < keep {
            records.ends = clock + keep + HOUR;
        }
    }

    // What a store may lose without notice.

    pub(crate) fn lose_attempt(&mut self, lease: &str) {
        self.attempts.remove(lease);
    }

    pub(crate) fn lose_probe(&mut self, model: &str) {
        self.probes.remove(model);
    }

    pub(crate) fn lose_model(&mut self, model: &str) {
        self.models.remove(model);
    }

    pub(crate) fn lose_refresher(&mut self, id: &str) {
        self.refreshers.remove(id);
    }

    pub(crate) fn lose_pause(&mut self, id: &str) {
        self.pauses.remove(id);
    }

    // Shared settings.

    /// Makes `changes` (scripts' or gateways', name, value or removal) if `expected` is still the generation.
    pub(crate) fn put_settings(
        &mut self,
        expected: Option<u64>,
        changes: &[(bool, String, Option<String>)],
        now: i64,
    ) -> Result<u64, u64> {
        if expected.is_some_and(|expected| expected != self.generation) {
            return Err(self.generation);
        }
        self.write(now);
        self.generation += 1;
        for (for_rules, name, value) in changes {
            let layer = if *for_rules { &mut self.shared } else { &mut self.gateway };
            match value.as_deref() {
                None | Some("") => layer.remove(name),
                Some(value) => layer.insert(name.clone(), value.to_owned()),
            };
        }
        let generation = self.generation.to_string();
        self.announce("settings", &generation);
        Ok(self.generation)
    }
}

/// Ms from `since` to `now`; a clock that stepped back counts as standing still (spec §9.6).
fn elapsed(now: i64, since: i64) -> i64 {
    (now - since).max(0)
}

/// Ms as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ms")]
fn number(ms: i64) -> f64 {
    ms as f64
}
