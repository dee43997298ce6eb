//! Room on an account: the bound of concurrent requests, the ramp behind a limit, and what is counted when keys get
//! lost.

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::host::Call;
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::admit::{Decision, Renewal, WaitReason};
use antigravity_proxy::store::ops::release::Release;
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};

use crate::harness::{M, Pool, T, UNLINK, fresh, granted, id, lease, ms, on_every_host, reference};

const STRATEGIES: [Strategy; 3] = [Strategy::Hybrid, Strategy::RoundRobin, Strategy::Sticky];

fn busy() -> Decision {
    Decision::Wait { wait: ms(1000), reason: WaitReason::Busy, own: false }
}

#[tokio::test]
pub(crate) async fn an_account_serves_as_many_as_it_may() {
    for strategy in STRATEGIES {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[("maxConcurrentPerAccount", "2")]));
            pool.add_all(&["a", "b"]).await;
            let mut taken = Vec::new();
            for n in 0..4 {
                taken.push(pool.grant(&format!("l{n}"), T).await.account);
            }
            taken.sort();
            assert_eq!(taken, [id("a"), id("a"), id("b"), id("b")], "{strategy:?}");
            assert_eq!(pool.admit("l4", T).await.decision, busy(), "{strategy:?}");
            // Not a probe either: it is no limit that keeps them.
            let probing = pool.admit_with("l5", T, |ask| ask.probe_after = Some(ms(0))).await;
            assert_eq!(probing.decision, busy());
            let account = granted(pool.admit("l0", T).await).account;
            pool.settle(account.as_str(), "l0", T, Outcome::Cancelled).await;
            assert_eq!(pool.grant("l6", T).await.account, account, "{strategy:?}");
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn a_limited_account_without_room_is_no_probe() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        pool.grant("l1", T).await;
        pool.grant("l2", T).await;
        let limit = Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(ms(600_000)) };
        pool.settle("a", "l2", T, limit).await;
        let one = pool.with(&reference(Strategy::Hybrid, &[("maxConcurrentPerAccount", "1")]));
        let probing = async |name| one.admit_with(name, T, |ask| ask.probe_after = Some(ms(0))).await;
        let wait = Decision::Wait { wait: ms(600_000), reason: WaitReason::Limited, own: false };
        assert_eq!(probing("l3").await.decision, wait);
        one.settle("a", "l1", T, Outcome::Cancelled).await;
        assert_eq!(granted(probing("l3").await).account, id("a"));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn room_is_announced_once_and_only_where_there_was_none() {
    on_every_host(async |pool: Pool| {
        let pool = pool.with(&reference(Strategy::Hybrid, &[("maxConcurrentPerAccount", "2")]));
        let channel = pool.keys.channel();
        let mut events = pool.store.subscribe();
        pool.add_all(&["a"]).await;
        for name in ["l1", "l2"] {
            pool.grant(name, T).await;
        }
        pool.settle("a", "l1", T, Outcome::Success).await;
        pool.settle("a", "l1", T, Outcome::Success).await;
        pool.settle("a", "l2", T, Outcome::Success).await;
        for name in ["l3", "l4"] {
            pool.grant(name, T).await;
        }
        pool.store.at(T).release(Release { lease: &lease("l3"), model: M }).await.unwrap();
        pool.grant("l5", T).await;
        // The limit is the model's, the room is for other models, too.
        pool.settle("a", "l5", T, Outcome::RateLimited { kind: LimitKind::Rate, reset: None }).await;
        pool.store.at(T).put_models("x").await.unwrap();
        let expected = [
            PoolEvent::Account(id("a")),
            PoolEvent::Freed(id("a")),
            PoolEvent::Freed(id("a")),
            PoolEvent::Limit(id("a")),
            PoolEvent::Freed(id("a")),
            PoolEvent::Models,
        ];
        for expected in expected {
            let event = tokio::time::timeout(ms(10_000), events.recv()).await.unwrap().unwrap();
            assert_eq!(PoolEvent::parse(&channel, &event), Some(expected));
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_limit_that_ended_is_tried_step_by_step() {
    for strategy in STRATEGIES {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[]));
            pool.add_all(&["a"]).await;
            let reset = Some(ms(10_000));
            pool.grant("l0", T).await;
            pool.settle("a", "l0", T, Outcome::RateLimited { kind: LimitKind::Quota, reset }).await;
            // The ramp begins with the first request, not with the end of the limit.
            let end = T + 10_700;
            let waits = |wait| Decision::Wait { wait: ms(wait), reason: WaitReason::Recovering, own: false };
            pool.grant("l1", end).await;
            assert_eq!(pool.admit("l2", end).await.decision, waits(334), "{strategy:?}");
            assert_eq!(pool.admit("l3", end + 100).await.decision, waits(234));
            pool.grant("l4", end + 334).await;
            assert_eq!(pool.admit("l5", end + 335).await.decision, waits(332));
            pool.grant("l6", end + 667).await;
            assert_eq!(pool.admit("l8", end + 999).await.decision, waits(1));
            for n in 0..10 {
                pool.grant(&format!("m{n}"), end + 1000).await;
            }
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn a_limit_that_a_success_lifts_is_tried_step_by_step_too() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[fresh("a")]).await;
        let reset = Some(ms(600_000));
        pool.grant("l0", T).await;
        pool.settle("a", "l0", T, Outcome::RateLimited { kind: LimitKind::Quota, reset }).await;
        let probe = granted(pool.admit_with("l1", T + 1, |ask| ask.probe_after = Some(ms(60_000))).await);
        assert_eq!(probe.account, id("a"));
        pool.settle("a", "l1", T + 2, Outcome::Success).await;
        pool.grant("l2", T + 2).await;
        let decision = pool.admit("l3", T + 2).await.decision;
        assert_eq!(decision, Decision::Wait { wait: ms(334), reason: WaitReason::Recovering, own: false });
        // A success behind a limit that has ended leaves the ramp to its time.
        pool.settle("a", "l2", T + 3, Outcome::Success).await;
        pool.grant("l4", T + 3).await;
        assert!(matches!(pool.admit("l5", T + 3).await.decision, Decision::Wait { .. }));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn lost_leases_and_conversations_are_counted_anew() {
    on_every_host(async |pool: Pool| {
        let pool = pool.with(&reference(Strategy::Sticky, &[]));
        pool.add_all(&["a", "b"]).await;
        for name in ["l1", "l2", "l3", "l4"] {
            pool.admit_with(name, T, |ask| ask.conversation = "talk").await;
        }
        let beat = async |names: &[&str]| {
            let leases: Vec<_> = names.iter().map(|name| lease(name)).collect();
            pool.store.at(T).heartbeat(&leases, ms(30_000)).await.unwrap().renewals
        };
        assert_eq!(beat(&["l1", "l2", "l3", "l4"]).await, [Renewal::Renewed; 4]);
        let lost = Call::new(&UNLINK).key(pool.key("leases")).key(pool.key("convs"));
        pool.host.eval(vec![lost]).await.unwrap();
        // One ends, one begins while nobody counts; then the holders beat.
        pool.settle("a", "l1", T, Outcome::Success).await;
        pool.admit_with("l5", T, |ask| ask.conversation = "talk").await;
        assert_eq!(beat(&["l2", "l3"]).await, [Renewal::Revived; 2]);
        assert_eq!(beat(&["l4", "l5"]).await, [Renewal::Revived, Renewal::Renewed]);
        let view = pool.view("a", T).await;
        assert_eq!((view.in_flight, view.conversations), (4, 1));
        for name in ["l2", "l3", "l4", "l5"] {
            pool.settle("a", name, T, Outcome::Success).await;
        }
        assert_eq!(pool.view("a", T).await.in_flight, 0);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn recovery_outlives_a_clock_that_steps_back() {
    for strategy in STRATEGIES {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[]));
            pool.add_all(&["a"]).await;
            let reset = Some(ms(10_000));
            pool.grant("l0", T).await;
            pool.settle("a", "l0", T, Outcome::RateLimited { kind: LimitKind::Quota, reset }).await;
            pool.grant("l1", T + 10_500).await;
            // As after a fail-over to a server whose clock is behind: the limit has ended all the same.
            let behind = T + 10_300;
            assert!(pool.view("a", behind).await.limits.is_empty(), "{strategy:?}");
            let waits = Decision::Wait { wait: ms(334), reason: WaitReason::Recovering, own: false };
            let waiting = pool.admit_with("l2", behind, |ask| ask.probe_after = Some(ms(0))).await;
            assert_eq!(waiting.decision, waits, "{strategy:?}");
            pool.settle("a", "l1", behind, Outcome::Success).await;
            pool.grant("l3", behind).await;
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn a_damaged_record_keeps_nobody_from_being_counted() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b", "c"]).await;
        for (name, account) in [("l1", "a"), ("l2", "b"), ("l3", "c")] {
            assert_eq!(pool.grant(name, T).await.account, id(account));
        }
        pool.put_field("hot", "b", b"?").await;
        pool.host.eval(vec![Call::new(&UNLINK).key(pool.key("leases"))]).await.unwrap();
        let beat = pool.store.at(T).heartbeat(&[lease("l1"), lease("l2")], ms(1000)).await.unwrap();
        assert_eq!(beat.renewals, [Renewal::Revived; 2]);
        let after = pool.store.at(T + 1000).heartbeat(&[], ms(1000)).await.unwrap();
        assert_eq!(after.lapsed, 2);
        // The list reads every record.
        pool.store.at(T).remove_account(&id("b"), &[]).await.unwrap();
        for account in ["a", "c"] {
            assert_eq!(pool.view(account, T + 1000).await.in_flight, 0, "{account}");
        }
    })
    .await;
}
