//! Tokens, pauses, signatures, replicas, and the ends of keys.

use antigravity_proxy::store::ident::{CredentialVersion, Generation};
use antigravity_proxy::store::keys::{SigKey, SigKind};
use antigravity_proxy::store::ops::settle::Outcome;
use antigravity_proxy::store::ops::tokens::RefreshFailure;

use super::super::golden::Scribe;
use super::{renew, settle};
use crate::harness::{M, Pool, T, id, ms, owner};
use crate::replicas::{announcement, replica};

pub(super) async fn tokens(pool: Pool, scribe: &Scribe) {
    pool.add_all(&["a", "b"]).await;
    let (a, b, me, cv) = (id("a"), id("b"), owner("me"), CredentialVersion(1));
    let store = pool.store.at(T);
    for account in [&a, &b] {
        drop(store.begin_refresh(account, &me, ms(20_000)).await);
        drop(store.finish_refresh(account, &me, cv, ms(5000), "t").await);
    }
    for at in [T + 4999, T + 5000, T + 5001] {
        pool.admit_with(&format!("l{at}"), at, |ask| ask.known = vec![(id("a"), Generation(1))]).await;
        pool.admit_with(&format!("k{at}"), at, |ask| {
            ask.known = vec![(id("b"), Generation(1)), (id("a"), Generation(11)), (id("aa"), Generation(1))];
        })
        .await;
        pool.view("a", at).await;
        drop(pool.store.at(at).begin_refresh(&a, &me, ms(20_000)).await);
    }
    let mut at = T + 10_000;
    for _ in 0..6 {
        let store = pool.store.at(at);
        drop(store.begin_refresh(&a, &me, ms(20_000)).await);
        drop(store.fail_refresh(&a, &owner("you"), cv, RefreshFailure::Transient).await);
        drop(store.fail_refresh(&a, &me, cv, RefreshFailure::Transient).await);
        drop(store.begin_refresh(&a, &me, ms(20_000)).await);
        for pause in [4999, 5000, 9999, 10_000] {
            drop(pool.store.at(at + pause).begin_refresh(&a, &me, ms(20_000)).await);
        }
        at += 60_000;
    }
    // A refresh that succeeds ends the pauses.
    let store = pool.store.at(at);
    drop(store.begin_refresh(&a, &me, ms(20_000)).await);
    drop(store.finish_refresh(&a, &me, cv, ms(5000), "t").await);
    drop(store.drop_token(&a, Generation(2)).await);
    drop(store.begin_refresh(&a, &me, ms(20_000)).await);
    drop(store.fail_refresh(&a, &me, cv, RefreshFailure::Transient).await);
    at += 60_000;
    // A pause is remembered a minute longer than it lasts.
    scribe.clock().advance_ms(119_999);
    drop(pool.store.at(at + 119_999).fail_refresh(&a, &me, cv, RefreshFailure::Transient).await);
    renew(&pool, "a", at).await;
    drop(pool.store.at(at).begin_refresh(&a, &me, ms(20_000)).await);
    drop(pool.store.at(at).fail_refresh(&a, &me, cv, RefreshFailure::Transient).await);
    drop(pool.add("a", at).await);
    drop(pool.store.at(at).begin_refresh(&a, &me, ms(20_000)).await);
    drop(pool.store.at(at).fail_refresh(&a, &me, CredentialVersion(2), RefreshFailure::Revoked).await);
    drop(pool.store.at(at).begin_refresh(&a, &me, ms(20_000)).await);
    drop(pool.store.at(at).remove_account(&a, &[]).await);
    pool.add("c", at).await;
    drop(pool.store.at(at).begin_refresh(&id("c"), &me, ms(20_000)).await);
    drop(pool.store.at(at).fail_refresh(&id("c"), &me, cv, RefreshFailure::Transient).await);
    drop(pool.store.at(at).begin_refresh(&id("c"), &me, ms(20_000)).await);
    drop(pool.store.at(at).remove_account(&id("c"), &[]).await);
    pool.add("d", at).await;
    drop(pool.store.at(at).begin_refresh(&id("d"), &me, ms(20_000)).await);
    drop(pool.store.at(at).remove_account(&id("d"), &[]).await);
    pool.add("e", at).await;
    for _ in 0..2 {
        drop(pool.store.at(at).begin_refresh(&id("e"), &me, ms(20_000)).await);
        drop(pool.store.at(at).fail_refresh(&id("e"), &me, cv, RefreshFailure::Transient).await);
        renew(&pool, "e", at).await;
    }
    // What is kept of a token that goes with a pause, a refresher and a quota.
    drop(store.begin_refresh(&b, &me, ms(20_000)).await);
    drop(store.drop_token(&b, Generation(1)).await);
    drop(store.begin_refresh(&b, &me, ms(20_000)).await);
    drop(store.fail_refresh(&b, &me, cv, RefreshFailure::Transient).await);
    drop(pool.store.at(T + 5000).begin_refresh(&b, &me, ms(20_000)).await);
    drop(store.finish_refresh(&b, &me, cv, ms(5000), "u").await);
    drop(pool.store.at(T + 5000).remove_account(&b, &[M.to_owned()]).await);
}

pub(super) async fn signatures(pool: Pool, scribe: &Scribe) {
    let key = |n: u8| SigKey::new("k", SigKind::Thinking, &n.to_string());
    let store = pool.store.at(T);
    drop(store.put_signatures(&[(key(1), "one".to_owned()), (key(2), "two".to_owned())], ms(999)).await);
    // Written with half as much time again: it is written anew when less than the time itself is left.
    for later in [499, 1, 1, 600, 899, 1498] {
        scribe.clock().advance_ms(later);
        drop(store.get_signatures(&[key(1), key(3), key(2)], ms(999)).await);
    }
}

pub(super) async fn signatures_at_half(pool: Pool, scribe: &Scribe) {
    let key = SigKey::new("k", SigKind::Tool, "x");
    let store = pool.store.at(T);
    drop(store.put_signatures(&[(key.clone(), "v".to_owned())], ms(1000)).await);
    scribe.clock().advance_ms(500);
    drop(store.get_signatures(&[key], ms(1000)).await);
}

pub(super) async fn ends_of_keys(pool: Pool, scribe: &Scribe) {
    // What is known for a model is kept on when an hour of its time is over, and not before.
    pool.add_all(&["a"]).await;
    for later in [0, 3_600_000] {
        scribe.clock().advance_ms(later);
        let now = scribe.clock().epoch_ms();
        settle(&pool, "a", &format!("l{later}"), now, Outcome::Capacity { jitter_ms: 0 }).await;
    }
}

pub(super) async fn replicas(pool: Pool, _: &Scribe) {
    let beat = async |name: &str, at: i64, in_flight: u64| {
        let id = replica(name);
        let own = antigravity_proxy::store::ops::replicas::Announcement {
            in_flight,
            uptime: ms(in_flight * 3),
            ..announcement(&id)
        };
        drop(pool.store.at(at).announce_replica(&own).await);
    };
    for (n, name) in [(0, "c"), (1, "b"), (2, "a")] {
        beat(name, T + 10 * n, n.unsigned_abs() + 1).await;
    }
    for at in [T + 15_000, T + 15_010, T + 15_011] {
        drop(pool.store.at(at).list_replicas().await);
        beat("a", at, 9).await;
    }
    drop(pool.store.at(T).list_replicas().await);
    drop(pool.store.at(T).retire_replica(&replica("a")).await);
}
