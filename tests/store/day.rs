//! A simulated day: how often a conversation's next turn finds its prompt in the upstream's cache, by strategy.
//!
//! 40 users have 6 conversations each, one after the other, on 12 accounts. The gap between two turns is log-normal with
//! a median of 40 s; a turn adds some 500 tokens to 20,000. Each account has a quota of 450 requests per five hours. A
//! hit is a turn whose account served the conversation within the last five minutes, with at least nine tenths of the
//! prompt; first turns, and turns after a longer gap, are left out. The seed is fixed, so the figures are, too.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::ident::{AccountId, CredentialVersion};
use antigravity_proxy::store::keys::ConversationKey;
use antigravity_proxy::store::ops::admit::{Admit, Decision};
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome, Settle};

use crate::harness::{M, Pool, T, embedded, lease, ms, reference, time};

const USERS: usize = 40;
const CONVERSATIONS: usize = 6;
const ACCOUNTS: usize = 12;
const TURNS: f64 = 20.0;
const QUOTA: u32 = 450;
const WINDOW: i64 = 5 * 3_600_000;
const CACHE: i64 = 5 * 60_000;

/// xorshift64*, so that the day is the same everywhere.
struct Chance(u64);

impl Chance {
    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        f64::from(u32::try_from(bits).unwrap()) / 4_294_967_296.0
    }

    /// Normally distributed, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.share(), self.share());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    fn ms(&mut self, least: i64, most: i64) -> i64 {
        whole(time(least) + self.share() * time(most - least))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a day")]
fn whole(ms: f64) -> i64 {
    ms as i64
}

/// One turn that is to come: when, of which user, the how manieth of a conversation.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: i64,
    user: usize,
    conversation: usize,
    number: u32,
}

#[derive(Clone, Copy, Default)]
struct Share {
    hits: u32,
    turns: u32,
}

impl Share {
    fn percent(self) -> f64 {
        100.0 * f64::from(self.hits) / f64::from(self.turns)
    }
}

/// Who chooses.
enum Chooser {
    Strategy(Pool),
    Random,
}

async fn day(chooser: &Chooser) -> Share {
    let mut chance = Chance(20_261_127);
    // Of its own, so that every chooser has the same day.
    let mut dice = Chance(7);
    let mut turns = BinaryHeap::new();
    for user in 0..USERS {
        let at = T + chance.ms(0, 3_600_000);
        turns.push(Reverse(Turn { at, user, conversation: 0, number: 0 }));
    }
    let mut share = Share::default();
    let mut spent: BTreeMap<(String, i64), u32> = BTreeMap::new();
    let mut caches: BTreeMap<(usize, usize, String), (i64, f64)> = BTreeMap::new();
    let mut sizes: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    let mut served_at: BTreeMap<(usize, usize), i64> = BTreeMap::new();
    while let Some(Reverse(turn)) = turns.pop() {
        let talk = (turn.user, turn.conversation);
        let size = sizes.entry(talk).or_insert(20_000.0);
        *size += (500.0 * chance.normal().exp()).min(1500.0);
        let size = *size;
        let account = serve(chooser, &turn, &mut dice, &mut spent).await;
        let warm = caches.get(&(talk.0, talk.1, account.clone()));
        let last = served_at.insert(talk, turn.at);
        if last.is_some_and(|last| turn.at - last <= CACHE) {
            share.turns += 1;
            let hit = warm.is_some_and(|(at, before)| turn.at - at <= CACHE && before / size >= 0.9);
            share.hits += u32::from(hit);
        }
        caches.insert((talk.0, talk.1, account), (turn.at, size));
        let gap = whole(40_000.0 * chance.normal().exp());
        let next = if chance.share() < 1.0 / TURNS {
            Turn {
                at: turn.at + chance.ms(60_000, 3_600_000),
                conversation: turn.conversation + 1,
                number: 0,
                ..turn
            }
        } else {
            Turn { at: turn.at + gap, number: turn.number + 1, ..turn }
        };
        if next.conversation < CONVERSATIONS {
            turns.push(Reverse(next));
        }
    }
    share
}

/// The account that answers the turn; those whose quota is used up say so first.
async fn serve(
    chooser: &Chooser,
    turn: &Turn,
    dice: &mut Chance,
    used: &mut BTreeMap<(String, i64), u32>,
) -> String {
    let window = turn.at.div_euclid(WINDOW);
    let mut tried: Vec<AccountId> = Vec::new();
    let talk = ConversationKey::new("client", &format!("{}-{}", turn.user, turn.conversation), M);
    loop {
        let attempt = lease(&format!("{}-{}-{}-{}", turn.user, turn.conversation, turn.number, tried.len()));
        let id = match chooser {
            Chooser::Random => AccountId::new(&account(whole(dice.share() * 12.0))).unwrap(),
            Chooser::Strategy(pool) => {
                let admit = Admit {
                    lease: &attempt,
                    lease_ttl: ms(30_000),
                    model: M,
                    tried: &tried,
                    known: &[],
                    probe_after: None,
                    conversation: Some(&talk),
                };
                match pool.store.at(turn.at).admit(&admit).await.unwrap().decision {
                    Decision::Granted(grant) => grant.account,
                    other => panic!("the day's quotas suffice: {other:?}"),
                }
            }
        };
        let count = used.entry((id.as_str().to_owned(), window)).or_default();
        *count += 1;
        let exhausted = *count > QUOTA;
        if let Chooser::Strategy(pool) = chooser {
            let reset = u64::try_from((window + 1) * WINDOW - turn.at).unwrap();
            let outcome = if exhausted {
                Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(ms(reset)) }
            } else {
                Outcome::Success
            };
            let settle = Settle {
                account: &id,
                lease: &attempt,
                credential: CredentialVersion(1),
                model: M,
                admitted_at_ms: turn.at,
                outcome,
                received: !exhausted,
                usage: None,
            };
            pool.store.at(turn.at + 8000).settle(&settle).await.unwrap();
        }
        if !exhausted {
            return id.as_str().to_owned();
        }
        tried.push(id);
    }
}

fn account(number: i64) -> String {
    format!("account{number:02}")
}

async fn chooser(strategy: Strategy, more: &[(&str, &str)]) -> Chooser {
    let pool = Pool::new(Arc::new(embedded())).with(&reference(strategy, more));
    for number in 0..ACCOUNTS {
        pool.add(&account(i64::try_from(number).unwrap()), T).await;
    }
    Chooser::Strategy(pool)
}

#[tokio::test]
async fn a_day_of_prompt_caches() {
    let affinity = [("weights.affinity", "150")];
    let mut shares = Vec::new();
    for (name, chooser) in [
        ("sticky", chooser(Strategy::Sticky, &[]).await),
        ("hybrid, affinity 150", chooser(Strategy::Hybrid, &affinity).await),
        ("hybrid", chooser(Strategy::Hybrid, &[]).await),
        ("round-robin", chooser(Strategy::RoundRobin, &[]).await),
        ("random", Chooser::Random),
    ] {
        let share = day(&chooser).await;
        println!("{name:22} {:5.1} % of {} turns", share.percent(), share.turns);
        shares.push(share.percent());
    }
    assert!(shares[0] >= 95.0 && shares[1] >= 90.0, "{shares:?}");
    assert!(shares[2] < shares[1] && shares[4] < shares[1], "what is compared differs: {shares:?}");
}
