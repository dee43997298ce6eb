//! Choices, probes, and pools of few accounts.

use std::collections::BTreeMap;

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::ident::{CredentialVersion, InvalidReason};
use antigravity_proxy::store::ops::accounts::{PutAccount, SetAccount};
use antigravity_proxy::store::ops::release::Release;
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};

use super::super::golden::Scribe;
use super::settle;
use crate::harness::{M, Pool, State, T, fresh, id, lease, ms, new_account, owner, used};

/// Settings left at their defaults, and ties.
pub(super) async fn strategies(pool: Pool, _: &Scribe) {
    use antigravity_proxy::config::SelectionConfig;
    let of = |strategy| pool.with(&SelectionConfig { strategy, ..SelectionConfig::default() });
    let (hybrid, next) = (of(Strategy::Hybrid), of(Strategy::RoundRobin));
    pool.arrange(&[
        used("c", 3_599_000),
        used("b", 3_600_000),
        used("a", 3_601_000),
        State { health: 49.5, ..fresh("d") },
        State { health: 50.0, tokens: 0.5, ..fresh("e") },
        State { quota: Some((0.05, 299_999)), ..fresh("f") },
        State { quota: Some((0.2, 300_000)), ..fresh("g") },
        State { quota: Some((0.2, 0)), threshold: Some(0.0), ..fresh("h") },
    ])
    .await;
    for n in 0..24 {
        hybrid.admit(&format!("l{n}"), T + 1000 * (n / 4)).await;
    }
    for n in 0..24 {
        next.admit(&format!("k{n}"), T).await;
    }
    // All but the last that were left are tried.
    let everybody = ["a", "b", "c", "d", "e", "f", "g", "h"].map(id);
    for n in 0..8 {
        for (name, pool) in [("h", &hybrid), ("n", &next)] {
            let tried = everybody[..n].to_vec();
            pool.admit_with(&format!("{name}{n}"), T, |ask| ask.tried = tried).await;
        }
    }
    for (index, name) in ["d", "e"].into_iter().enumerate() {
        for account in everybody.iter().filter(|account| account.as_str() != name) {
            let off = SetAccount { enabled: Some(false), ..SetAccount::default() };
            drop(pool.store.at(T).set_account(account, &off).await);
        }
        let on = SetAccount { enabled: Some(true), ..SetAccount::default() };
        drop(pool.store.at(T).set_account(&id(name), &on).await);
        hybrid.admit(&format!("o{index}"), T).await;
    }
    for weight in ["1", "-1", "0.5"] {
        let config = crate::harness::reference(Strategy::Hybrid, &[("weights.inFlight", weight)]);
        let weighted = pool.with(&config);
        for account in &everybody {
            let on = SetAccount { enabled: Some(true), ..SetAccount::default() };
            drop(pool.store.at(T).set_account(account, &on).await);
        }
        for n in 0..6 {
            weighted.admit(&format!("w{n}{weight}"), T + 100_000).await;
        }
    }
}

pub(super) async fn probes(pool: Pool, _: &Scribe) {
    pool.arrange(&[State { limited: 60_000, ..fresh("a") }, State { limited: 60_000, ..fresh("b") }]).await;
    for (n, wait) in [59_999, 60_000, 60_001].into_iter().rev().enumerate() {
        pool.admit_with(&format!("l{n}"), T, |ask| ask.probe_after = Some(ms(wait))).await;
    }
    drop(pool.store.at(T).release(Release { lease: &lease("l2"), model: M }).await);
    for (n, outcome) in [Outcome::Success, Outcome::Blocked, Outcome::Failure].into_iter().enumerate() {
        let name = format!("k{n}");
        pool.admit_with(&name, T, |ask| ask.probe_after = Some(ms(0))).await;
        for account in ["a", "b"] {
            settle(&pool, account, &name, T, outcome.clone()).await;
        }
        for account in ["a", "b"] {
            let limited = Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(ms(60_000)) };
            settle(&pool, account, &format!("j{n}{account}"), T, limited).await;
        }
    }
    for at in [T + 14_999, T + 15_000, T + 15_001] {
        pool.admit_with(&format!("i{at}"), at, |ask| ask.probe_after = Some(ms(0))).await;
    }
}

/// One account, one change at a time.
pub(super) async fn pools_of_one(pool: Pool, _: &Scribe) {
    let a = id("a");
    let limited = crate::harness::reference(Strategy::default(), &[]);
    for max in [1, 2] {
        let config = antigravity_proxy::config::SelectionConfig { max_accounts: max, ..limited.clone() };
        let pool = pool.with(&config);
        pool.add("a", T).await;
        pool.add("b", T).await;
        pool.add("c", T).await;
    }
    let pinned = BTreeMap::from([
        ("bucket.max".to_owned(), "20".to_owned()),
        ("maxAccounts".to_owned(), "2".to_owned()),
    ]);
    let base = BTreeMap::from([("bucket.initial".to_owned(), "10".to_owned())]);
    let pool = pool.with(&antigravity_proxy::config::SelectionConfig { base, pinned, ..Default::default() });
    pool.add("d", T).await;
    pool.view("a", T).await;
    pool.admit("l1", T).await;
    pool.admit("l2", T).await;
    for account in ["a", "b"] {
        pool.view(account, T).await;
    }
    drop(pool.store.at(T).release(Release { lease: &lease("l1"), model: M }).await);
    drop(pool.store.at(T).release(Release { lease: &lease("l2"), model: M }).await);
    drop(pool.store.at(T).release(Release { lease: &lease("l3"), model: M }).await);
    for account in ["a", "b"] {
        pool.view(account, T + 600_000).await;
        settle(&pool, account, &format!("k{account}"), T + 600_000, Outcome::Success).await;
    }
    let put = PutAccount { added_at_ms: Some(T - 5), ..new_account(&a, "a@example.com") };
    drop(pool.store.at(T).put_account(&put).await);
    let other = id("o");
    let put = PutAccount { added_at_ms: Some(T - 5), ..new_account(&other, "o@example.com") };
    drop(pool.with(&limited).store.at(T).put_account(&put).await);
    pool.view("o", T).await;
    drop(pool.store.at(T).remove_account(&other, &[]).await);
    for (name, reason) in [("a", InvalidReason::Verification), ("b", InvalidReason::Revoked)] {
        for cv in [3, 2, 1] {
            let url = Some("https://accounts.google.com/z");
            drop(
                pool.store.at(T + 1).invalidate_account(&id(name), CredentialVersion(cv), reason, url).await,
            );
        }
        pool.view(name, T).await;
    }
    drop(pool.store.at(T).try_lock("w", &owner("me"), ms(1000)).await);
    for at in [T + 999, T + 1000, T + 1001] {
        drop(pool.store.at(at).try_lock("w", &owner("you"), ms(1)).await);
        drop(pool.store.at(at).unlock("w", &owner("me")).await);
    }
    drop(pool.store.at(T).put_models("text").await);
    drop(pool.store.at(T + 7).get_models().await);
}
