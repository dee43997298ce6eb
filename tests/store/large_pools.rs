//! Pools of more than 200 accounts: hybrid and sticky look at a window, round-robin at whom it needs.

use std::collections::BTreeMap;

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::ops::admit::Decision;
use antigravity_proxy::store::ops::settle::Outcome;

use crate::harness::{Pool, T, granted, id, ms, on_every_host, packed, reference, time};

const ACCOUNTS: usize = 500;

fn name(n: usize) -> String {
    format!("a{n:04}")
}

/// A pool of so many accounts, where `limited` tells who is limited for an hour.
async fn fill(pool: &Pool, limited: impl Fn(usize) -> bool) {
    let mut limits = Vec::new();
    for n in 0..ACCOUNTS {
        pool.add(&name(n), T).await;
        let limit = packed(1, &[time(T + 3_600_000), -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        limits.push(if limited(n) { limit } else { Vec::new() });
    }
    pool.put_models(&limits).await;
}

/// Admissions one after the other, each settled at once: how often each account was chosen.
async fn shares(pool: &Pool, admissions: i64) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for n in 0..admissions {
        let (lease, at) = (format!("l{n}"), T + n * 100);
        let account = pool.grant(&lease, at).await.account;
        pool.settle(account.as_str(), &lease, at, Outcome::Released).await;
        *shares.entry(account.as_str().to_owned()).or_default() += 1;
    }
    shares
}

#[tokio::test]
pub(crate) async fn every_account_of_a_large_pool_gets_its_share() {
    for strategy in [Strategy::Hybrid, Strategy::RoundRobin, Strategy::Sticky] {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[]));
            fill(&pool, |_| false).await;
            let shares = shares(&pool, 3 * i64::try_from(ACCOUNTS).unwrap()).await;
            let (least, most) = (shares.values().min().unwrap(), shares.values().max().unwrap());
            match strategy {
                Strategy::RoundRobin | Strategy::Hybrid => {
                    assert_eq!((shares.len(), *least, *most), (ACCOUNTS, 3, 3), "{strategy:?}");
                }
                // Without conversations everybody is equal: the first of each window.
                Strategy::Sticky => assert_eq!((shares.len(), *least, *most), (5, 300, 300)),
            }
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn the_only_usable_account_is_found_wherever_it_stands() {
    for strategy in [Strategy::Hybrid, Strategy::RoundRobin, Strategy::Sticky] {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[]));
            fill(&pool, |n| n != 333).await;
            for n in 0..6 {
                let lease = format!("l{n}");
                assert_eq!(pool.grant(&lease, T).await.account, id(&name(333)), "{strategy:?}");
                pool.settle(&name(333), &lease, T, Outcome::Success).await;
            }
            let tried = granted(pool.admit_with("t1", T, |ask| ask.tried = vec![id(&name(333))]).await);
            assert!(tried.tried, "{strategy:?}");
            pool.store.at(T).remove_account(&id(&name(333)), &["m".into()]).await.unwrap();
            let Decision::Wait { wait, .. } = pool.admit("l9", T).await.decision else {
                panic!("nobody is usable")
            };
            assert_eq!(wait, ms(3_600_000));
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn a_conversation_keeps_its_account_in_a_large_pool() {
    for (strategy, setting) in [(Strategy::Sticky, "0"), (Strategy::Hybrid, "1000")] {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[("weights.affinity", setting)]));
            fill(&pool, |_| false).await;
            let mut accounts = Vec::new();
            for n in 0..12 {
                let grant =
                    granted(pool.admit_with(&format!("l{n}"), T + n, |ask| ask.conversation = "talk").await);
                accounts.push(grant.account);
            }
            accounts.dedup();
            assert_eq!(accounts.len(), 1, "{strategy:?}: {accounts:?}");
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn a_damaged_record_stops_nobody() {
    for strategy in [Strategy::Hybrid, Strategy::RoundRobin, Strategy::Sticky] {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[]));
            pool.add_all(&["a", "b", "c"]).await;
            pool.put_field("hot", "a", b"1|1|1o|0").await;
            // What is known of the model is as good as lost.
            pool.put_field("m:m", "0", b"?").await;
            for n in 0..4 {
                assert_ne!(pool.grant(&format!("l{n}"), T).await.account, id("a"), "{strategy:?}");
            }
            for name in ["b", "c"] {
                pool.store.at(T).remove_account(&id(name), &["m".into()]).await.unwrap();
            }
            assert_eq!(pool.admit("l9", T).await.decision, Decision::Damaged);
        })
        .await;
    }
}
