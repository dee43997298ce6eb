//! Leases when something goes wrong: replies get lost, requests go away, holders die.

use antigravity_proxy::store::host::StoreError;
use antigravity_proxy::store::ident::CredentialVersion;
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::admit::{Admit, Decision, Renewal, Tier};
use antigravity_proxy::store::ops::release::{Ended, Ending, Release, Released};
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome, Settle};

use crate::harness::{M, Pool, State, T, fresh, granted, id, lease, ms, on_every_host};

async fn release(pool: &Pool, name: &str, at: i64) -> Released {
    pool.store.at(at).release(Release { lease: &lease(name), model: M }).await.unwrap()
}

/// Admits where a refusal is expected; its code.
async fn refusal(pool: &Pool, name: &str, at: i64) -> String {
    let lease = lease(name);
    let admit = Admit {
        lease: &lease,
        lease_ttl: ms(30_000),
        model: M,
        tried: &[],
        known: &[],
        probe_after: None,
        conversation: None,
    };
    match pool.store.at(at).admit(&admit).await.unwrap_err() {
        StoreError::Script { error, .. } => error.code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
pub(crate) async fn a_released_attempt_leaves_nothing_behind() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        pool.grant("l1", T).await;
        pool.grant("l2", T).await;
        let before = pool.view("a", T).await;
        assert_eq!((before.in_flight, before.tokens.round()), (2, 48.0));
        assert_eq!(release(&pool, "l1", T).await, Released::Granted(id("a")));
        let after = pool.view("a", T).await;
        assert_eq!((after.in_flight, after.tokens.round(), after.failures), (1, 49.0, 0));
        // Repeated, renewed, asked for again, settled late: nothing changes.
        assert_eq!(release(&pool, "l1", T).await, Released::Ended);
        let beat = pool.store.at(T).heartbeat(&[lease("l1")], ms(30_000)).await.unwrap();
        assert_eq!(beat.renewals, [Renewal::Unknown]);
        assert_eq!(refusal(&pool, "l1", T).await, "SETTLED");
        pool.settle("a", "l1", T, Outcome::Failure).await;
        assert_eq!(pool.view("a", T).await, after);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_released_attempt_is_not_admitted_afterwards() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        assert_eq!(release(&pool, "l1", T).await, Released::Barred);
        assert_eq!(refusal(&pool, "l1", T + 5000).await, "SETTLED");
        assert_eq!(release(&pool, "l1", T + 5000).await, Released::Ended);
        let view = pool.view("a", T + 5000).await;
        assert_eq!((view.in_flight, view.tokens), (0, 50.0));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_settled_attempt_stays_settled() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        pool.grant("l1", T).await;
        pool.settle("a", "l1", T, Outcome::Failure).await;
        let settled = pool.view("a", T).await;
        assert_eq!(release(&pool, "l1", T).await, Released::Ended);
        assert_eq!(pool.view("a", T).await, settled);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn release_survives_what_happened_to_lease_and_account() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        pool.grant("l1", T).await;
        // Lapsed: it is not counted down twice, the token still returns.
        pool.store.at(T + 31_000).heartbeat(&[], ms(30_000)).await.unwrap();
        pool.grant("l2", T + 31_000).await;
        assert_eq!(release(&pool, "l1", T + 31_000).await, Released::Granted(id("a")));
        assert_eq!(pool.view("a", T + 31_000).await.in_flight, 1);
        pool.store.at(T + 31_000).remove_account(&id("a"), &[]).await.unwrap();
        assert_eq!(release(&pool, "l2", T + 31_000).await, Released::Granted(id("a")));
        assert_eq!(refusal(&pool, "l2", T + 31_000).await, "SETTLED");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_released_probe_lets_the_next_one_through() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[State { limited: 600_000, ..fresh("a") }]).await;
        let probe = async |name: &str, at: i64| {
            pool.admit_with(name, at, |ask| ask.probe_after = Some(ms(1000))).await.decision
        };
        assert!(matches!(probe("l1", T).await, Decision::Granted(grant) if grant.tier == Tier::Probe));
        assert!(matches!(probe("l2", T).await, Decision::Wait { .. }));
        release(&pool, "l2", T).await;
        assert!(matches!(probe("l3", T).await, Decision::Wait { .. }), "only the prober's release counts");
        release(&pool, "l1", T).await;
        assert!(matches!(probe("l4", T).await, Decision::Granted(_)));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn many_attempts_end_in_one_round_trip_each_with_its_answer() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b"]).await;
        let [one, two, three] = ["l1", "l2", "l3"].map(lease);
        let mut accounts = Vec::new();
        for name in ["l1", "l2", "l3"] {
            accounts.push(pool.grant(name, T).await.account);
        }
        let settle = |account, lease| Settle {
            account,
            lease,
            credential: CredentialVersion(1),
            model: M,
            admitted_at_ms: T,
            outcome: Outcome::Success,
            received: true,
            usage: None,
        };
        let stranger = if accounts[1] == id("a") { id("b") } else { id("a") };
        let endings = [
            Ending::Settle(settle(&accounts[0], &one)),
            Ending::Settle(settle(&stranger, &two)),
            Ending::Release(Release { lease: &two, model: "bad\u{1f}model" }),
            Ending::Release(Release { lease: &two, model: M }),
            Ending::Release(Release { lease: &three, model: M }),
        ];
        let ends = pool.store.at(T).end_all(&endings).await.unwrap();
        assert!(matches!(&ends[0], Ok(Ended::Settled(settlement)) if !settlement.gone));
        assert!(matches!(&ends[1], Err(StoreError::Script { error, .. }) if error.code == "MISMATCH"));
        assert!(matches!(&ends[2], Err(StoreError::BadArgument { .. })));
        assert!(
            matches!(&ends[3], Ok(Ended::Released(Released::Granted(account))) if *account == accounts[1])
        );
        assert!(
            matches!(&ends[4], Ok(Ended::Released(Released::Granted(account))) if *account == accounts[2])
        );
        assert_eq!(pool.view("a", T).await.in_flight + pool.view("b", T).await.in_flight, 0);
        assert!(pool.store.end_all(&[]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
pub(crate) async fn one_heartbeat_sweeps_all_leases_of_dead_holders() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        for n in 0..600 {
            pool.grant(&format!("dead-{n}"), T).await;
        }
        pool.grant("alive", T).await;
        let beat = pool.store.at(T + 20_000).heartbeat(&[lease("alive")], ms(30_000)).await.unwrap();
        assert_eq!((beat.lapsed, pool.view("a", T).await.in_flight), (0, 601));
        // A holder of nothing sweeps as well.
        let beat = pool.store.at(T + 30_000).heartbeat(&[], ms(30_000)).await.unwrap();
        assert_eq!((beat.lapsed, beat.renewals.len()), (600, 0));
        assert_eq!(pool.view("a", T + 30_000).await.in_flight, 1);
        let idle = pool.store.at(T + 31_000).heartbeat(&[], ms(30_000)).await.unwrap();
        assert_eq!(idle.lapsed, 0);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn heartbeats_come_in_chunks() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let mut leases = vec![lease("unknown"); 2500];
        for at in [0, 1023, 1024, 2499] {
            pool.grant(&format!("l{at}"), T).await;
            leases[at] = lease(&format!("l{at}"));
        }
        let beat = pool.store.at(T + 1).heartbeat(&leases, ms(30_000)).await.unwrap();
        let renewed: Vec<_> = (0..2500).filter(|at| beat.renewals[*at] == Renewal::Renewed).collect();
        assert_eq!((renewed, beat.renewals.len()), (vec![0, 1023, 1024, 2499], 2500));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn only_a_limit_that_still_held_is_lifted() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        let channel = pool.keys.channel();
        pool.add_all(&["a"]).await;
        let quota = |reset| Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(ms(reset)) };
        let probe = async |name: &str, at: i64| {
            granted(pool.admit_with(name, at, |ask| ask.probe_after = Some(ms(1000))).await);
            pool.settle("a", name, at, Outcome::Success).await;
        };
        pool.settle("a", "l1", T, quota(60_000)).await;
        probe("l2", T + 1).await;
        pool.settle("a", "l3", T + 2, quota(60_000)).await;
        // It has ended by itself.
        probe("l4", T + 70_000).await;
        pool.settle("a", "l5", T + 70_001, Outcome::Revoked).await;
        let account = id("a");
        for expected in [
            PoolEvent::Account(account.clone()),
            PoolEvent::Limit(account.clone()),
            PoolEvent::Lifted(account.clone()),
            PoolEvent::Limit(account.clone()),
            PoolEvent::Account(account),
        ] {
            let event = tokio::time::timeout(ms(10_000), events.recv()).await.unwrap().unwrap();
            assert_eq!(PoolEvent::parse(&channel, &event), Some(expected));
        }
    })
    .await;
}
