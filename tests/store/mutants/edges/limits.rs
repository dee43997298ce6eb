//! Limits and conversations to the millisecond, and pools as large as is looked at as a whole.

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::ops::accounts::{Change, SetAccount};
use antigravity_proxy::store::ops::explain::Explain;
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};

use super::super::golden::Scribe;
use super::{renew, settle};
use crate::harness::{M, Pool, State, T, conversation, fresh, id, ms, new_account, reference, used};

fn limited(kind: LimitKind, reset: u64) -> Outcome {
    Outcome::RateLimited { kind, reset: Some(ms(reset)) }
}

async fn talk(pool: &Pool, name: &str, at: i64) {
    pool.admit_with(name, at, |ask| ask.conversation = "x").await;
}

async fn explain(pool: &Pool, talk: &str, at: i64) {
    let key = conversation(talk, M);
    for conversation in [None, Some(&key)] {
        let explain = Explain { model: M, conversation, probe_after: Some(ms(0)) };
        drop(pool.store.at(at).explain(&explain).await);
    }
}

pub(super) async fn recoveries(pool: Pool, _: &Scribe) {
    for (n, behind) in [9_999, 10_000, 10_001, 10_999].into_iter().enumerate() {
        let name = format!("a{n}");
        pool.add(&name, T).await;
        settle(&pool, &name, &format!("l{n}"), T, limited(LimitKind::Rate, 2000)).await;
        let others: Vec<_> = (0..n).map(|n| id(&format!("a{n}"))).collect();
        for round in 0..2 {
            let tried = others.clone();
            pool.admit_with(&format!("k{n}{round}"), T + 2000 + behind, |ask| ask.tried = tried).await;
        }
    }
    // A lifted limit recovers at once, also for those that were in flight before.
    pool.add("b", T).await;
    let off = SetAccount { enabled: Some(false), ..SetAccount::default() };
    for n in 0..4 {
        drop(pool.store.at(T).set_account(&id(&format!("a{n}")), &off).await);
    }
    pool.admit("b1", T).await;
    settle(&pool, "b", "b2", T, limited(LimitKind::Quota, 60_000)).await;
    settle(&pool, "b", "b3", T, limited(LimitKind::Rate, 60_000)).await;
    pool.admit("b4", T).await;
    settle(&pool, "b", "b1", T, Outcome::Success).await;
    pool.admit_with("b5", T + 1, |ask| ask.probe_after = Some(ms(0))).await;
    pool.admit_with("b6", T + 20_000, |ask| ask.probe_after = Some(ms(0))).await;
    settle(&pool, "b", "b5", T + 20_000, Outcome::Success).await;
    let bound = pool.with(&reference(Strategy::Hybrid, &[("maxConcurrentPerAccount", "9")]));
    for (n, later) in [20_001, 20_400, 20_700, 21_000, 21_000, 21_000, 21_001].into_iter().enumerate() {
        bound.admit(&format!("c{n}"), T + later).await;
    }
    // A probe's success at the very end of the limit.
    settle(&pool, "b", "b7", T + 30_000, limited(LimitKind::Quota, 5000)).await;
    pool.admit_with("b8", T + 30_001, |ask| ask.probe_after = Some(ms(0))).await;
    settle(&pool, "b", "b8", T + 35_000, Outcome::Success).await;
    pool.admit("b9", T + 35_000).await;
}

pub(super) async fn ends_of_limits(pool: Pool, _: &Scribe) {
    pool.add_all(&["a"]).await;
    // A probe's success at the very end of the limit, and nothing after it.
    settle(&pool, "a", "l1", T, limited(LimitKind::Quota, 5000)).await;
    pool.admit_with("l2", T + 1, |ask| ask.probe_after = Some(ms(0))).await;
    settle(&pool, "a", "l2", T + 5000, Outcome::Success).await;
    // A cooldown ends where there is a bound.
    let bound = pool.with(&reference(Strategy::Sticky, &[("maxConcurrentPerAccount", "2")]));
    settle(&pool, "a", "l3", T + 10_000, Outcome::Unauthorized).await;
    for at in [T + 69_999, T + 70_000, T + 70_001] {
        bound.admit(&format!("k{at}"), at).await;
    }
    renew(&pool, "a", T + 80_000).await;
    settle(&pool, "a", "l4", T + 80_000, Outcome::Unauthorized).await;
    renew(&pool, "a", T + 80_000).await;
    // As when it was set, in the same moment.
    pool.add_all(&["z"]).await;
    let zero = SetAccount { threshold: Change::Set(0.0), ..SetAccount::default() };
    drop(pool.store.at(T).set_account(&id("z"), &zero).await);
    pool.view("z", T).await;
    for at in [T, T + 5] {
        let tier = SetAccount { tier: Some("pro".to_owned()), ..SetAccount::default() };
        drop(pool.store.at(at).set_account(&id("z"), &tier).await);
        pool.view("z", at).await;
    }
    // A limit of no time at all.
    pool.add_all(&["s"]).await;
    let short = pool.with(&reference(Strategy::Hybrid, &[("capacityLimitMs", "1000")]));
    settle(&short, "s", "s1", T, Outcome::Capacity { jitter_ms: -5000 }).await;
}

pub(super) async fn floors(pool: Pool, _: &Scribe) {
    let quota = |name, fraction| State { quota: Some((fraction, 0)), threshold: Some(0.0), ..fresh(name) };
    let plain = State { threshold: None, ..quota("e", 0.2) };
    pool.arrange(&[quota("a", 0.04), quota("b", 0.2), quota("c", 0.06), quota("d", 0.0), plain]).await;
    for global in ["0", "0.3"] {
        explain(&pool.with(&reference(Strategy::Hybrid, &[("globalQuotaThreshold", global)])), "x", T).await;
    }
}

/// What is kept for no time at all.
pub(super) async fn instants(pool: Pool, _: &Scribe) {
    pool.add_all(&["a"]).await;
    let at_once = [("sticky.ttlMs", "0"), ("probeMs", "0")];
    let pool = pool.with(&reference(Strategy::Sticky, &at_once));
    talk(&pool, "l1", T).await;
    settle(&pool, "a", "l1", T, limited(LimitKind::Quota, 60_000)).await;
    pool.admit_with("l2", T + 1, |ask| ask.probe_after = Some(ms(0))).await;
}

pub(super) async fn rests(pool: Pool, _: &Scribe) {
    let pool = pool.with(&reference(Strategy::Hybrid, &[("weights.lru", "1000000")]));
    for pair in [
        [used("a", -1), used("b", 0)],
        [used("a", 3_600_000), used("b", 3_600_001)],
        [used("a", 0), used("b", 1)],
    ] {
        pool.arrange(&pair).await;
        explain(&pool, "x", T).await;
    }
}

pub(super) async fn talks(pool: Pool, _: &Scribe) {
    let sticky = pool.with(&reference(Strategy::Sticky, &[]));
    let patient = pool.with(&reference(Strategy::Sticky, &[("sticky.waitMs", "60000")]));
    pool.add_all(&["a", "b", "c"]).await;
    // On the second of three: the third is next.
    pool.remember("x", M, "b").await;
    settle(&pool, "b", "l1", T, limited(LimitKind::Quota, 3000)).await;
    talk(&sticky, "l2", T).await;
    pool.remember("x", M, "b").await;
    pool.admit_with("l3", T, |ask| (ask.conversation, ask.tried) = ("x", vec![id("b")])).await;
    pool.remember("x", M, "b").await;
    patient.admit_with("l4", T, |ask| (ask.conversation, ask.tried) = ("x", vec![id("b")])).await;
    pool.remember("x", M, "b").await;
    talk(&patient, "l5", T).await;
    for at in [T + 2998, T + 2999, T + 3000] {
        pool.remember("x", M, "b").await;
        talk(&sticky, &format!("k{at}"), at).await;
    }
    // All alike and all tried, as after a loss: around to its own account.
    for name in ["leases", "convs"] {
        pool.lose(name).await;
    }
    drop(pool.store.at(T + 90_000).heartbeat(&[], ms(1)).await);
    for account in ["a", "b", "c"] {
        pool.lose(&format!("stick:{}", conversation("x", M).as_str())).await;
        pool.remember("x", M, account).await;
        let tried = ["a", "b", "c"].map(id).to_vec();
        sticky
            .admit_with(&format!("j{account}"), T + 90_000, |ask| {
                (ask.conversation, ask.tried) = ("x", tried);
            })
            .await;
        for name in ["leases", "convs"] {
            pool.lose(name).await;
        }
        drop(pool.store.at(T + 90_000).heartbeat(&[], ms(1)).await);
    }
    // Nothing is usable: its own account's limit is told, with its own reason.
    pool.remember("x", M, "a").await;
    settle(&pool, "a", "h1", T + 100_000, limited(LimitKind::Quota, 50_000)).await;
    for (account, jitter_ms) in [("b", 0), ("c", 1)] {
        settle(&pool, account, &format!("h{account}"), T + 100_000, Outcome::Capacity { jitter_ms }).await;
    }
    for wait in [49_999, 50_000] {
        let name = format!("h{wait}");
        sticky
            .admit_with(&name, T + 100_000, |ask| (ask.conversation, ask.probe_after) = ("x", Some(ms(wait))))
            .await;
    }
}

/// The conversation's account is busy in the moment in which its limit ends.
pub(super) async fn busy_talks(pool: Pool, _: &Scribe) {
    let pool = pool.with(&reference(Strategy::Sticky, &[("maxConcurrentPerAccount", "1")]));
    pool.add_all(&["a"]).await;
    talk(&pool, "l1", T).await;
    settle(&pool, "a", "l2", T, limited(LimitKind::Quota, 2000)).await;
    for at in [T + 1999, T + 2000, T + 2001] {
        let name = format!("k{at}");
        pool.admit_with(&name, at, |ask| (ask.conversation, ask.probe_after) = ("x", Some(ms(5000)))).await;
    }
}

/// More conversations than one admission drops.
pub(super) async fn many_talks(pool: Pool, _: &Scribe) {
    const TALKS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const MODELS: [&str; 9] = ["m", "n", "o", "p", "q", "r", "s", "t", "u"];
    let pool = pool.with(&reference(Strategy::Sticky, &[("sticky.ttlMs", "60000")]));
    pool.add_all(&["a"]).await;
    for model in MODELS {
        for talk in TALKS {
            let name = format!("{model}{talk}");
            pool.admit_with(&name, T, |ask| (ask.model, ask.conversation) = (model, talk)).await;
        }
    }
    talk(&pool, "l1", T + 60_000).await;
    pool.view("a", T + 60_000).await;
    talk(&pool, "l2", T + 60_000).await;
    pool.view("a", T + 60_000).await;
}

/// What cannot be read is explained too, and counts are left alone while nothing was lost.
pub(super) async fn damages(pool: Pool, _: &Scribe) {
    pool.add_all(&["a", "b"]).await;
    pool.admit("l1", T).await;
    pool.admit("l2", T).await;
    drop(pool.store.at(T).heartbeat(&[], ms(1)).await);
    super::counts::miscount(&pool).await;
    drop(pool.store.at(T).heartbeat(&[], ms(1)).await);
    pool.view("a", T).await;
    pool.put_field("hot", "b", &[3; 121]).await;
    explain(&pool, "x", T).await;
    pool.put_field("hot", "a", b"?").await;
    explain(&pool, "x", T).await;
}

/// Two hundred accounts are looked at as a whole, one more is not.
pub(super) async fn large_pools_at_the_bound(pool: Pool, _: &Scribe) {
    let hybrid = pool.with(&reference(Strategy::Hybrid, &[("weights.affinity", "1")]));
    let next = pool.with(&reference(Strategy::RoundRobin, &[]));
    for n in 0..200 {
        let name = format!("a{n}");
        drop(pool.store.at(T).put_account(&new_account(&id(&name), &format!("{name}@example.com"))).await);
    }
    pool.admit("l1", T).await;
    settle(&pool, "a100", "k1", T, limited(LimitKind::Quota, 60_000)).await;
    pool.add("z", T).await;
    pool.admit("l2", T).await;
    // The conversation's account is the first, the last and none of those in the window.
    for account in ["a100", "a101", "a199", "z", "a98", "a99"] {
        pool.remember("x", M, account).await;
        explain(&hybrid, "x", T).await;
    }
    explain(&next, "x", T).await;
    pool.view("a100", T).await;
    for n in 100..200 {
        settle(&pool, &format!("a{n}"), &format!("j{n}"), T, limited(LimitKind::Quota, 60_000)).await;
    }
    explain(&hybrid, "x", T).await;
    pool.lose("cfg").await;
}
