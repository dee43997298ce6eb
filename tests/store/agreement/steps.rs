//! Random histories of a pool.

use std::fmt;

use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};
use proptest::prelude::*;

use crate::harness::ms;

/// Places for accounts: at most so many live at a time.
pub(super) const ACCOUNTS: u8 = 5;
/// Places for attempts: at most so many are remembered by who tells the history.
pub(super) const ATTEMPTS: u8 = 12;
pub(super) const MODELS: [&str; 2] = ["m", "n"];

/// A pool with so many accounts, and what happens to it.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) accounts: u8,
    /// More of them, whom only admissions and their ends touch.
    pub(crate) crowd: u16,
    /// Settings that are there from the start, by their place in [`SETTINGS`].
    pub(crate) settings: Vec<(usize, usize)>,
    pub(crate) steps: Vec<Step>,
}

/// One step, so many ms after the one before.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) later: i64,
    /// Counted from the end of the limit that ends next, where there is one.
    pub(crate) at_end: bool,
    pub(crate) act: Act,
}

/// What happens. Accounts, attempts and models go by their place.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A new attempt asks; or the last of its place does, once more.
    Admit {
        attempt: u8,
        again: bool,
        model: u8,
        tried: u8,
        knows: bool,
        max_wait: Option<u32>,
        conversation: Option<u8>,
    },
    /// How an attempt would fare.
    Explain {
        model: u8,
        max_wait: Option<u32>,
        conversation: Option<u8>,
    },
    /// An attempt under way ends, or (`again`) the one of that place, whatever became of it. `stray`: on that
    /// account; `old`: with an old credential.
    Settle {
        attempt: u8,
        outcome: Outcome,
        received: bool,
        stray: Option<u8>,
        old: bool,
        again: bool,
    },
    Release {
        attempt: u8,
    },
    /// Of the attempts in this set of bits.
    Heartbeat {
        attempts: u16,
    },
    /// Adds or renews; `address`: with the address of that place.
    Put {
        account: u8,
        address: u8,
        enabled: Option<bool>,
        floor: Option<u8>,
        rich: bool,
    },
    Set {
        account: u8,
        expected: Option<u8>,
        enabled: Option<bool>,
        floor: Option<u8>,
        model_floor: Option<u8>,
        text: u8,
    },
    Remove {
        account: u8,
        all_models: bool,
    },
    Invalidate {
        account: u8,
        reason: u8,
        old: bool,
    },
    /// `old`: with another credential than it has; `late`: of another cause.
    Clear {
        account: u8,
        old: bool,
        late: bool,
    },
    Quota {
        account: u8,
        fractions: [Option<u8>; 2],
    },
    /// The `value`-th of the values listed for the setting; removed when there is none.
    Setting {
        name: usize,
        value: usize,
        expected: bool,
    },
    BeginRefresh {
        account: u8,
        owner: bool,
        lock: u16,
        due: u32,
    },
    FinishRefresh {
        account: u8,
        owner: bool,
        old: bool,
        life: u32,
    },
    FailRefresh {
        account: u8,
        owner: bool,
        old: bool,
        failure: u8,
    },
    DropToken {
        account: u8,
        older: bool,
    },
    Find {
        account: u8,
    },
    /// A page of the list, behind so many.
    List {
        behind: u8,
        cap: u8,
    },
    /// The store loses a key that may be lost.
    Lose {
        key: Losable,
    },
}

/// What a store may lose (spec §9.5).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Losable {
    Attempt(u8),
    Probe(u8),
    Model(u8),
    Refresher(u8),
    Pause(u8),
    Leases,
    Conversations,
    /// One conversation's account, by conversation and model.
    Conversation(u8, u8),
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (SETTINGS[*name].0, SETTINGS[*name].1.get(*value)))
            .collect();
        writeln!(f, "{} accounts, {} more, {settings:?}", self.accounts, self.crowd)?;
        self.steps.iter().try_for_each(|step| {
            let from = if step.at_end { "next end " } else { "" };
            writeln!(f, "{from}+{} ms {:?}", step.later, step.act)
        })
    }
}

/// Settings that change on the way, with their values.
pub(super) const SETTINGS: &[(&str, &[&str])] = &[
    ("strategy", &["round-robin", "sticky", "hybrid", "other", "sticky"]),
    ("maxAccounts", &["0", "2", "4"]),
    ("globalQuotaThreshold", &["0", "0.2", "0.6"]),
    ("health.initial", &["70", "100", "45", "0"]),
    ("health.minUsable", &["50", "60", "0"]),
    ("health.maxScore", &["100", "72", "130"]),
    ("health.successReward", &["1", "7.3", "0"]),
    ("health.rateLimitPenalty", &["-10", "-33.3"]),
    ("health.failurePenalty", &["-20", "-5", "-50"]),
    ("health.emptyPenalty", &["0", "-3.7"]),
    ("health.recoveryPerHour", &["10", "0", "17.7"]),
    ("bucket.max", &["50", "3", "7"]),
    ("bucket.initial", &["50", "2", "0", "9"]),
    ("bucket.perMinute", &["6", "0.5", "1"]),
    ("quota.critical", &["0.05", "0.3"]),
    ("quota.staleMs", &["300000", "1000", "40000.7"]),
    ("quota.unknownScore", &["50", "0", "90"]),
    ("weights.health", &["2", "0", "3.1"]),
    ("weights.tokens", &["5", "0", "0.7"]),
    ("weights.quota", &["3", "0", "8"]),
    ("weights.lru", &["0.1", "0", "2.3"]),
    ("weights.inFlight", &["0", "13", "-4", "0.3"]),
    ("weights.affinity", &["0", "150", "33.3"]),
    ("maxConcurrentPerAccount", &["0", "1", "2", "3"]),
    ("recoveryRampMs", &["1000", "0", "4000", "2001"]),
    ("sticky.waitMs", &["0", "3000", "60000"]),
    ("sticky.ttlMs", &["3600000", "60000"]),
    ("throttle.emergencyMs", &["0", "250", "-7"]),
    ("throttle.lastResortMs", &["0", "20"]),
    ("defaultCooldownMs", &["60000", "1500"]),
    ("rateLimitDedupWindowMs", &["2000", "0", "60000"]),
    ("rateLimitStateResetMs", &["120000", "3000"]),
    ("maxConsecutiveFailures", &["3", "1", "2"]),
    ("extendedCooldownMs", &["60000", "1500"]),
    ("failureDecayMs", &["600000", "2500"]),
    ("capacityLimitMs", &["15000", "2000"]),
    ("forbiddenCooldownMs", &["300000", "900"]),
    ("notFoundCooldownMs", &["300000", "4000"]),
    ("unauthorizedCooldownMs", &["60000", "700"]),
    ("probeMs", &["15000", "2000"]),
    ("no such setting", &["1"]),
    ("health.initial", &["nan", "inf", "1e300", "much", "1e12", "-1e12", "999999999999"]),
];

fn outcome() -> impl Strategy<Value = Outcome> {
    let reset = prop_oneof![
        2 => Just(None),
        1 => Just(Some(ms(0))),
        2 => (1..4000_u64).prop_map(|reset| Some(ms(reset))),
        2 => (1..900_000_u64).prop_map(|reset| Some(ms(reset)))
    ];
    let kind = prop_oneof![Just(LimitKind::Quota), Just(LimitKind::Rate), Just(LimitKind::Unknown)];
    let url = prop_oneof![Just(None), Just(Some("https://accounts.google.com/x".to_owned()))];
    prop_oneof![
        10 => Just(Outcome::Success),
        6 => (kind, reset).prop_map(|(kind, reset)| Outcome::RateLimited { kind, reset }),
        2 => (-20_000..20_000).prop_map(|jitter_ms| Outcome::Capacity { jitter_ms }),
        4 => Just(Outcome::Failure),
        1 => Just(Outcome::Unauthorized),
        1 => Just(Outcome::NotFound),
        1 => Just(Outcome::Forbidden),
        1 => prop_oneof![Just(Outcome::Revoked), Just(Outcome::Banned)],
        1 => url.prop_map(|url| Outcome::Verification { url }),
        1 => Just(Outcome::ClientError),
        2 => Just(Outcome::Cancelled),
        1 => Just(Outcome::Released),
        2 => Just(Outcome::Empty),
        1 => Just(Outcome::Blocked),
    ]
}

fn rarely() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.1)
}

fn setting() -> impl Strategy<Value = (usize, usize)> {
    // Every second one is about where attempts go.
    let chosen = SETTINGS.iter().position(|(name, _)| *name == "weights.affinity").unwrap_or(0);
    let bucket = chosen - 11..chosen - 8;
    let name = prop_oneof![2 => Just(0), 4 => chosen..chosen + 5, 2 => bucket, 5 => 0..SETTINGS.len()];
    (name, 0..6_usize)
}

fn act() -> impl Strategy<Value = Act> {
    let account = || 0..ACCOUNTS;
    let attempt = || 0..ATTEMPTS;
    let floor = || prop_oneof![3 => Just(None), 1 => (0..101_u8).prop_map(Some)];
    let enabled = || prop_oneof![8 => Just(None), 3 => Just(Some(true)), 1 => Just(Some(false))];
    let conversation = || prop_oneof![1 => Just(None), 3 => (0..6_u8).prop_map(Some)];
    let max_wait = || {
        prop_oneof![
            2 => Just(None),
            1 => Just(Some(0)),
            1 => Just(Some(1500)),
            1 => Just(Some(120_000))
        ]
    };
    let key = prop_oneof![
        attempt().prop_map(Losable::Attempt),
        (0..2_u8).prop_map(Losable::Probe),
        (0..2_u8).prop_map(Losable::Model),
        account().prop_map(Losable::Refresher),
        account().prop_map(Losable::Pause),
        Just(Losable::Leases),
        Just(Losable::Conversations),
        (0..6_u8, 0..2_u8).prop_map(|(conversation, model)| Losable::Conversation(conversation, model)),
    ];
    let fraction =
        || prop_oneof![1 => Just(None), 3 => (0..101_u8).prop_map(Some), 3 => (0..8_u8).prop_map(Some)];
    prop_oneof![
        30 => (
            attempt(),
            rarely(),
            (0..3_u8, conversation()),
            prop_oneof![2 => Just(0), 1 => 0..32_u8],
            any::<bool>(),
            max_wait()
        )
            .prop_map(|(attempt, again, (model, conversation), tried, knows, max_wait)| {
                Act::Admit { attempt, again, model: model % 2, tried, knows, max_wait, conversation }
            }),
        3 => (0..2_u8, max_wait(), conversation())
            .prop_map(|(model, max_wait, conversation)| Act::Explain { model, max_wait, conversation }),
        30 => (attempt(), outcome(), any::<bool>(), prop_oneof![9 => Just(None), 1 => account().prop_map(Some)], rarely(), proptest::bool::weighted(0.2))
            .prop_map(|(attempt, outcome, received, stray, old, again)| {
                Act::Settle { attempt, outcome, received, stray, old, again }
            }),
        3 => attempt().prop_map(|attempt| Act::Release { attempt }),
        3 => any::<u16>().prop_map(|attempts| Act::Heartbeat { attempts: attempts & 0xfff }),
        2 => (account(), any::<u8>(), enabled(), floor(), any::<bool>()).prop_map(
            |(account, other, enabled, floor, rich)| {
                let address = if other < 25 { other % ACCOUNTS } else { account };
                Act::Put { account, address, enabled, floor, rich }
            }
        ),
        4 => (account(), prop_oneof![3 => Just(None), 1 => (1..4_u8).prop_map(Some)], enabled(), floor(), floor(), any::<u8>())
            .prop_map(|(account, expected, enabled, floor, model_floor, text)| {
                Act::Set { account, expected, enabled, floor, model_floor, text }
            }),
        1 => (account(), any::<bool>()).prop_map(|(account, all_models)| Act::Remove { account, all_models }),
        1 => (account(), 0..3_u8, any::<bool>())
            .prop_map(|(account, reason, old)| Act::Invalidate { account, reason, old }),
        3 => (account(), rarely(), rarely())
            .prop_map(|(account, old, late)| Act::Clear { account, old, late }),
        4 => (account(), [fraction(), fraction()])
            .prop_map(|(account, fractions)| Act::Quota { account, fractions }),
        4 => (setting(), rarely())
            .prop_map(|((name, value), expected)| Act::Setting { name, value, expected }),
        4 => (account(), any::<bool>(), 1..u16::MAX, prop_oneof![2 => Just(0), 1 => 0..400_000_u32])
            .prop_map(|(account, owner, lock, due)| Act::BeginRefresh { account, owner, lock, due }),
        3 => (account(), any::<bool>(), rarely(), 0..400_000_u32)
            .prop_map(|(account, owner, old, life)| Act::FinishRefresh { account, owner, old, life }),
        2 => (account(), any::<bool>(), rarely(), 0..10_u8)
            .prop_map(|(account, owner, old, failure)| Act::FailRefresh { account, owner, old, failure }),
        1 => (account(), any::<bool>()).prop_map(|(account, older)| Act::DropToken { account, older }),
        1 => account().prop_map(|account| Act::Find { account }),
        2 => (0..4_u8, 1..4_u8).prop_map(|(behind, cap)| Act::List { behind, cap }),
        2 => key.prop_map(|key| Act::Lose { key }),
    ]
}

/// Histories of up to 250 steps; time mostly goes on, seldom back.
pub(crate) fn history() -> impl Strategy<Value = History> {
    let later = prop_oneof![
        30 => Just(0),
        30 => 0..2500_i64,
        8 => 0..40_000_i64,
        1 => 0..900_000_i64,
        1 => prop_oneof![4 => -5000..0_i64, 1 => 0..8_000_000_i64, 1 => 0..200_000_000_i64],
    ];
    let at_end = proptest::bool::weighted(0.06);
    let step = (later, at_end, act()).prop_map(|(later, at_end, act)| Step { later, at_end, act });
    let settings = proptest::collection::vec(setting(), 0..8);
    (0..=ACCOUNTS, settings, proptest::collection::vec(step, 1..250))
        .prop_map(|(accounts, settings, steps)| History { accounts, crowd: 0, settings, steps })
}

/// As [`history`], of a pool so large that it is looked at in windows.
pub(crate) fn crowded() -> impl Strategy<Value = History> {
    (history(), 190..330_u16).prop_map(|(history, crowd)| History { crowd, ..history })
}
