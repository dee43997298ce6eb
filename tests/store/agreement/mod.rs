//! Scripts and model told the same random histories: every answer must be equal, and now and then everything that
//! can be seen of the pool.
//!
//! `SEED=…` tells a run again.

mod attempts;
mod look;
mod seen;
pub(crate) mod stage;
pub(crate) mod steps;
mod upkeep;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::ScriptHost;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use self::stage::{Stage, Tally};
use self::steps::{History, crowded, history};
use crate::harness::{SCRIPTS, T, served, setting};
use crate::redis_server::Flavour;
use crate::server::Server;

/// Kinds of answers that every run has.
const USUAL: [&str; 15] = [
    "Normal",
    "Normal again",
    "Quota",
    "Emergency",
    "LastResort",
    "Probe",
    "wait: limited",
    "wait: cooling",
    "refused",
    "success",
    "rate_limited",
    "settled again",
    "cleared",
    "mismatch",
    "gone",
];
/// And every long run.
const SELDOM: [&str; 8] = [
    "duplicate",
    "LastResort again",
    "Emergency again",
    "wait: recovering",
    "wait: busy, own",
    "wait: limited, own",
    "none enabled",
    "invalid: revoked banned verification",
];

fn assert_all(tally: &Tally, kinds: &[&str]) {
    for kind in kinds {
        assert!(tally.contains_key(*kind), "no history has {kind}");
    }
}

/// Tells random histories of at least so many steps in total to hosts that `stage` makes. The first that model and
/// scripts tell differently is cut down to the steps it takes.
fn agree(
    operations: usize,
    histories: &impl Strategy<Value = History>,
    stage: impl Fn(&History) -> Stage,
) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = setting("SEED").unwrap_or_else(|| u64::from(getrandom::u32().unwrap()));
    let (told, tally) = (Cell::new(0), RefCell::new(Tally::new()));
    for seed in first.. {
        let config = Config {
            cases: 4,
            max_shrink_iters: 0,
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(histories, |history| {
            told.set(told.get() + history.steps.len());
            let answers = runtime.block_on(stage(&history).tell(&history)).map_err(TestCaseError::fail)?;
            for (kind, count) in answers {
                *tally.borrow_mut().entry(kind).or_default() += count;
            }
            Ok(())
        });
        if let Err(TestError::Fail(_, history)) = outcome {
            let shortest =
                shortest(history, |history| runtime.block_on(stage(history).tell(history)).is_err());
            let difference = runtime.block_on(stage(&shortest).tell(&shortest)).unwrap_err();
            panic!("SEED={seed} tells it again\n{difference}\n{shortest:?}");
        }
        if told.get() >= operations {
            break;
        }
    }
    let tally = tally.into_inner();
    println!("{} operations, seed {first}: {tally:?}", told.get());
    tally
}

/// The steps that it takes: of a history that is `told` differently, without all that can be left out.
fn shortest(mut history: History, differs: impl Fn(&History) -> bool) -> History {
    for at in (0..history.settings.len()).rev() {
        let mut shorter = history.clone();
        shorter.settings.remove(at);
        if differs(&shorter) {
            history = shorter;
        }
    }
    let mut size = history.steps.len();
    while size > 0 {
        let mut at = 0;
        let before = history.steps.len();
        while at < history.steps.len() {
            let mut shorter = history.clone();
            let end = (at + size).min(shorter.steps.len());
            let left_out: i64 = shorter.steps.drain(at..end).map(|step| step.later).sum();
            let mut later = shorter.clone();
            if let Some(step) = later.steps.get_mut(at) {
                step.later += left_out;
            }
            // Without the time that passed, or with it.
            match [shorter, later].into_iter().find(|shorter| differs(shorter)) {
                Some(shorter) => history = shorter,
                None => at += size,
            }
        }
        // Once more with single steps, as long as that helps.
        if size > 1 || history.steps.len() == before {
            size /= 2;
        }
    }
    history
}

/// A new store in memory, whose clock goes with the history.
pub(crate) fn embedded(history: &History) -> Stage {
    let clock = Clock::manual(T);
    let host: Arc<dyn ScriptHost> = Arc::new(EmbeddedHost::in_memory(clock.clone(), &SCRIPTS).unwrap());
    Stage::new(host, "agreement", Some(clock), history)
}

#[test]
fn the_scripts_agree_with_the_model() {
    let tally = agree(12_000, &history(), embedded);
    assert_all(&tally, &USUAL);
}

#[test]
fn the_scripts_agree_with_the_model_about_large_pools() {
    agree(500, &crowded(), embedded);
}

#[test]
fn the_scripts_agree_with_the_model_on_redis() {
    let Some(server) = Server::start(Flavour::Redis7) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let host: Arc<dyn ScriptHost> = Arc::new(runtime.block_on(served(&server)));
    let pools = Cell::new(0);
    agree(3000, &history(), |history| {
        pools.set(pools.get() + 1);
        Stage::new(Arc::clone(&host), &format!("agreement-{}", pools.get()), None, history)
    });
}

#[test]
#[ignore = "long: make soak"]
fn the_scripts_agree_with_the_model_for_long() {
    let tally =
        agree(usize::try_from(setting("OPERATIONS").unwrap_or(1_000_000)).unwrap(), &history(), embedded);
    assert_all(&tally, &USUAL);
    assert_all(&tally, &SELDOM);
    agree(20_000, &crowded(), embedded);
}
