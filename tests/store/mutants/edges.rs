//! Histories at the edges: empty pools, records nobody can read, moments to the millisecond, and numbers that are
//! just too large.

mod choices;
mod counts;
mod keys;
mod limits;
mod seals;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::Store;
use antigravity_proxy::store::ident::{CredentialVersion, Generation, InvalidReason, Version};
use antigravity_proxy::store::keys::{SigKey, SigKind};
use antigravity_proxy::store::ops::accounts::{Change, PutAccount, SetAccount};
use antigravity_proxy::store::ops::admit::Admit;
use antigravity_proxy::store::ops::clients::ClientChange;
use antigravity_proxy::store::ops::imports::DocumentDigest;
use antigravity_proxy::store::ops::listing::Named;
use antigravity_proxy::store::ops::presets::PresetChange;
use antigravity_proxy::store::ops::release::Release;
use antigravity_proxy::store::ops::restore::{Merge, Presets};
use antigravity_proxy::store::ops::sealed::{Place, SealedSecret};
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome, Settle};
use antigravity_proxy::store::ops::tokens::RefreshFailure;
use antigravity_proxy::store::ops::usage::{CountRequest, Counters, UsageEntry};

use super::golden::{Golden, Scribe};
use crate::clients::client;
use crate::harness::{M, Pool, T, id, lease, ms, new_account, owner};
use crate::replicas::replica;

use self::choices::{pools_of_one, probes, strategies};
use self::counts::{bounds, layers, many_leases, many_rows, rows_with_time};
use self::keys::{ends_of_keys, replicas, signatures, signatures_at_half, tokens};
use self::limits::{
    busy_talks, damages, ends_of_limits, floors, instants, large_pools_at_the_bound, many_talks, recoveries,
    rests, talks,
};
use self::seals::{renewals, seals};

/// All of them.
pub(super) async fn goldens() -> Vec<Golden> {
    let mut goldens = Vec::new();
    macro_rules! tell {
        ($($story:ident)*) => {$(
            let scribe = Scribe::new(T);
            $story(Pool::new(Arc::clone(&scribe) as Arc<_>), &scribe).await;
            goldens.push(scribe.golden(stringify!($story)));
        )*};
    }
    tell!(
        nothing_there unreadable moments escalation thresholds many_leases many_rows rows_with_time bounds strategies tokens renewals
        seals probes pools_of_one signatures signatures_at_half ends_of_keys layers replicas recoveries ends_of_limits
        floors instants rests talks busy_talks many_talks damages large_pools_at_the_bound
    );
    goldens
}

/// Every call that finds nothing.
async fn reads(store: &Store) {
    let (a, me, attempt) = (id("a"), owner("me"), lease("l"));
    let cv = CredentialVersion(1);
    drop(store.take_ticket("t").await);
    drop(store.find_account("a@example.com").await);
    drop(store.get_credential(&a).await);
    drop(store.get_account(Named::Id(&a)).await);
    drop(store.get_account(Named::Email("a@example.com")).await);
    drop(store.get_models().await);
    drop(store.was_imported(&DocumentDigest::of(b"x")).await);
    drop(store.usage_clock().await);
    drop(store.read_usage(&[Counters::Hour(T), Counters::Daily(T)], |_| ControlFlow::Continue(())).await);
    drop(store.merge_usage(T, Merge::Look, &[(M.to_owned(), 1)]).await);
    drop(store.get_settings(None).await);
    drop(store.get_settings(Some(Version(0))).await);
    drop(store.put_settings(Some(Version(3)), &BTreeMap::new()).await);
    drop(store.get_signatures(&[SigKey::new("k", SigKind::Tool, "x")], ms(1000)).await);
    drop(store.list_accounts(0, 10, &[M.to_owned()]).await);
    drop(store.count_accounts(&[M.to_owned()]).await);
    drop(store.list_replicas().await);
    drop(store.list_trackers(0, 10).await);
    drop(store.list_presets(Presets::Server).await);
    drop(store.remove_preset(Presets::Server, "p", false).await);
    let change = PresetChange { name: "p", known: "", new_name: "q", json: "{}" };
    drop(store.change_preset(Presets::Server, &change).await);
    drop(store.put_preset(Presets::Server, "p", "{}", 0).await);
    drop(store.list_clients(Some(Version(0))).await);
    drop(store.list_clients(None).await);
    drop(store.touch_clients(&[(client("k"), ms(0))]).await);
    drop(store.change_client(&client("k"), &ClientChange::default()).await);
    drop(store.retire_replica(&replica("r")).await);
    drop(store.clear_invalid(&a, cv, 0).await);
    drop(store.invalidate_account(&a, cv, InvalidReason::Banned, None).await);
    drop(store.begin_refresh(&a, &me, ms(1000)).await);
    drop(store.finish_refresh(&a, &me, cv, ms(1000), "t").await);
    drop(store.fail_refresh(&a, &me, cv, RefreshFailure::Transient).await);
    drop(store.drop_token(&a, Generation(0)).await);
    drop(store.drop_token(&a, Generation(1)).await);
    drop(store.begin_renewal(&a, &me, ms(1000), ms(500)).await);
    drop(store.fetching_fails().await);
    drop(store.list_sealed(0, 10).await);
    drop(store.list_keys().await);
    drop(store.forget_key("aaaaaaaa").await);
    let secret = SealedSecret { account: a.clone(), place: Place::Credential, sealed: "s".into() };
    drop(store.reseal(&secret, "t").await);
    drop(store.put_quota(&a, &[]).await);
    drop(store.set_account(&a, &SetAccount::default()).await);
    drop(store.remove_account(&a, &[]).await);
    drop(store.unlock("w", &me).await);
    drop(store.check_session(None, Some("d"), Some(ms(1000))).await);
    drop(store.list_audit(None, 10).await);
    drop(store.heartbeat(&[], ms(1000)).await);
    drop(store.heartbeat(&[attempt], ms(1000)).await);
    drop(store.rehearse().await);
}

/// Settles, whatever comes of it.
async fn settle(pool: &Pool, account: &str, name: &str, at: i64, outcome: Outcome) {
    let (account, lease) = (id(account), lease(name));
    let settle = Settle {
        account: &account,
        lease: &lease,
        credential: CredentialVersion(1),
        model: M,
        admitted_at_ms: T,
        outcome,
        received: false,
        usage: None,
    };
    drop(pool.store.at(at).settle(&settle).await);
}

/// Makes the account invalid and valid again, so that its state is new.
async fn renew(pool: &Pool, account: &str, at: i64) {
    let (account, cv, store) = (id(account), CredentialVersion(1), pool.store.at(at));
    drop(store.invalidate_account(&account, cv, InvalidReason::Banned, None).await);
    drop(store.clear_invalid(&account, cv, at).await);
}

async fn nothing_there(pool: Pool, _: &Scribe) {
    reads(&pool.store.at(T)).await;
    pool.add_all(&["b"]).await;
    reads(&pool.store.at(T)).await;
    pool.add_all(&["a"]).await;
    reads(&pool.store.at(T)).await;
    // The sequence is lost, so all begins anew.
    drop(pool.store.at(T).try_lock("x", &owner("you"), ms(1000)).await);
    drop(pool.store.at(T).release(Release { lease: &lease("gone"), model: M }).await);
    let lost = async || {
        pool.lose("meta").await;
        pool.store.at(T)
    };
    drop(lost().await.put_account(&new_account(&id("c"), "b@example.com")).await);
    drop(lost().await.try_lock("x", &owner("me"), ms(1000)).await);
    let request = lease("r");
    let count = CountRequest { id: &request, model: M, ended_at_ms: T, usage: UsageEntry::default() };
    for _again in 0..2 {
        drop(lost().await.count_request(&count).await);
    }
    drop(lost().await.release(Release { lease: &lease("gone"), model: M }).await);
    reads(&lost().await).await;
}

/// Records of another layout, each read by every script that reads it.
async fn unreadable(pool: Pool, _: &Scribe) {
    pool.add_all(&["a", "b"]).await;
    let mut number = 0;
    for (key, bytes) in [("m:m", 32 * 57), ("m:m", 5), ("tok", 5), ("hot", 121), ("hot", 5), ("acct", 5)] {
        let field = if key == "m:m" { "0" } else { "a" };
        let good = pool.field(key, field).await;
        pool.put_field(key, field, &vec![3; bytes]).await;
        number += 1;
        let lease = lease(&format!("l{number}"));
        let admit = Admit {
            lease: &lease,
            lease_ttl: ms(1000),
            model: M,
            tried: &[],
            known: &[],
            probe_after: None,
            conversation: None,
        };
        drop(pool.store.at(T).admit(&admit).await);
        drop(pool.store.at(T).list_accounts(0, 10, &[M.to_owned()]).await);
        drop(pool.store.at(T).drop_token(&id("a"), Generation(1)).await);
        renew(&pool, "a", T).await;
        settle(&pool, "a", &format!("k{number}"), T, Outcome::Success).await;
        pool.put_field(key, field, &good.unwrap_or_default()).await;
        if key == "tok" || key == "m:m" {
            pool.lose(key).await;
        }
    }
    for record in ["1", "2\u{1f}1"] {
        let parts = [record, &"\u{1f}".repeat(13)].concat();
        pool.put_field("acct", "b", parts.as_bytes()).await;
        drop(pool.store.at(T).set_account(&id("b"), &SetAccount::default()).await);
        drop(pool.store.at(T).remove_account(&id("b"), &[]).await);
    }
}

/// Just before, at, and just after each end.
async fn moments(pool: Pool, _: &Scribe) {
    let limited = |kind| Outcome::RateLimited { kind, reset: None };
    let mut number = 0;
    for window in [1999, 2000, 2001, 119_999, 120_000, 120_001] {
        for kind in [LimitKind::Quota, LimitKind::Rate] {
            number += 1;
            let name = format!("a{number}");
            pool.add(&name, T).await;
            settle(&pool, &name, &format!("x{number}"), T, limited(kind)).await;
            settle(&pool, &name, &format!("y{number}"), T + window, limited(kind)).await;
            settle(&pool, &name, &format!("z{number}"), T + window, limited(LimitKind::Quota)).await;
        }
    }
    for decay in [599_999, 600_000, 600_001] {
        number += 1;
        let name = format!("a{number}");
        pool.add(&name, T).await;
        settle(&pool, &name, &format!("x{number}"), T, Outcome::Failure).await;
        settle(&pool, &name, &format!("y{number}"), T + decay, Outcome::Failure).await;
        pool.view(&name, T + decay).await;
    }
    for reset in [0, 1, 2, 1999, 2000, 2001] {
        number += 1;
        let name = format!("a{number}");
        pool.add(&name, T).await;
        let outcome = Outcome::RateLimited { kind: LimitKind::Unknown, reset: Some(ms(reset)) };
        settle(&pool, &name, &format!("x{number}"), T, outcome).await;
        // Lifted at the moment it ends, and just before and after.
        for at in [T + 1999, T + 2000, T + 2001] {
            pool.settle_with(&name, &format!("p{number}-{at}"), at, Outcome::Success, |_| {}).await;
            pool.view(&name, at).await;
        }
    }
}

async fn escalation(pool: Pool, _: &Scribe) {
    pool.add_all(&["a", "b"]).await;
    let limited = |kind| Outcome::RateLimited { kind, reset: None };
    for n in 0..7 {
        let at = T + n * 10_000;
        settle(&pool, "a", &format!("l{n}"), at, limited(LimitKind::Quota)).await;
        // A model more each time.
        pool.settle_with("b", &format!("k{n}"), at, limited(LimitKind::Quota), |settle| settle.model = "n")
            .await;
        settle(&pool, "b", &format!("j{n}"), at, limited(LimitKind::Unknown)).await;
        pool.admit(&format!("i{n}"), at).await;
    }
    // Each limit lifted by one that was admitted at its end.
    for at in [T + 7_260_000, T + 7_260_001] {
        let name = format!("g{at}");
        pool.admit(&name, at).await;
        settle(&pool, "a", &name, at, Outcome::Success).await;
    }
    let empty = crate::harness::reference(Strategy::default(), &[("health.emptyPenalty", "-3")]);
    let pool = pool.with(&empty);
    for received in [true, false] {
        let name = format!("e{received}");
        pool.settle_with("a", &name, T, Outcome::Empty, |settle| settle.received = received).await;
        pool.view("a", T).await;
        pool.settle_with("a", &format!("c{received}"), T, Outcome::ClientError, |settle| {
            settle.received = received;
        })
        .await;
        pool.view("a", T).await;
    }
}

async fn thresholds(pool: Pool, _: &Scribe) {
    let floors = |list: &[(&str, f64)]| -> Change<BTreeMap<String, f64>> {
        Change::Set(list.iter().map(|(model, floor)| ((*model).to_owned(), *floor)).collect())
    };
    pool.add_all(&["a", "b", "c"]).await;
    let store = pool.store.at(T);
    for (account, model_thresholds, threshold) in [
        ("a", floors(&[("m", 0.3), ("n", 0.1)]), Change::Set(0.2)),
        ("b", floors(&[("m", 0.0)]), Change::Keep),
        ("c", floors(&[("m", 0.7)]), Change::Set(0.9)),
        ("a", Change::Keep, Change::Clear),
        ("a", floors(&[("n", 0.1)]), Change::Keep),
        ("b", Change::Clear, Change::Set(0.4)),
        ("c", floors(&[]), Change::Keep),
    ] {
        let (account, email) = (id(account), format!("{account}@example.com"));
        let put = PutAccount { threshold, model_thresholds, ..new_account(&account, &email) };
        drop(store.put_account(&put).await);
        pool.hash("th").await;
        pool.view(account.as_str(), T).await;
    }
    for name in ["a", "b"] {
        drop(store.remove_account(&id(name), &[M.to_owned(), "n".to_owned()]).await);
        pool.hash("th").await;
    }
}
