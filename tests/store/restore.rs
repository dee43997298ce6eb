//! What comes from elsewhere: an account's past, presets, counters of earlier hours.

use antigravity_proxy::store::ident::{CredentialVersion, InvalidReason};
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::accounts::PutOutcome;
use antigravity_proxy::store::ops::admit::Decision;
use antigravity_proxy::store::ops::listing::{Invalidity, ModelLimit};
use antigravity_proxy::store::ops::models::ModelQuota;
use antigravity_proxy::store::ops::restore::{Merge, Past, PastModel, Presets, Restored, Row};
use antigravity_proxy::store::ops::settle::{Outcome, UsageEntry};

use crate::harness::{M, Pool, T, id, ms, on_every_host};

const FIRST: CredentialVersion = CredentialVersion(1);
const HOUR: i64 = 3_600_000;

fn model(name: &str, fraction: Option<f64>, limit: Option<(i64, &str)>) -> PastModel {
    let limit = limit.map(|(until, why)| (until, why.to_owned()));
    PastModel { model: name.into(), fraction, reset: fraction.map(|_| "2027-01-01T00:00:00Z".into()), limit }
}

#[tokio::test]
pub(crate) async fn an_account_comes_with_its_past() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        pool.add_all(&["a", "b"]).await;
        let past = Past {
            last_used_ms: Some(T - 5000),
            invalid: None,
            quota_at_ms: Some(T - 1000),
            models: vec![
                model(M, Some(0.25), Some((T + 90_000, "quota"))),
                model("free", None, None),
                model("over", None, Some((T - 1, "rate"))),
                model("now", None, Some((T, "rate"))),
                model("soon", Some(1.0), Some((T + 1, "capacity"))),
            ],
        };
        let store = pool.store.at(T);
        assert_eq!(store.restore_account(&id("b"), FIRST, &past).await.unwrap(), Restored::Done);
        let channel = pool.keys.channel();
        for expected in ["a", "b", "b"] {
            let event = PoolEvent::parse(&channel, &events.recv().await.unwrap());
            assert_eq!(event, Some(PoolEvent::Account(id(expected))));
        }
        let names: Vec<_> = past.models.iter().map(|one| one.model.clone()).collect();
        let page = store.list_accounts(0, 10, &names).await.unwrap();
        let [a, b] = &page.accounts[..] else { panic!("{page:?}") };
        assert_eq!((a.last_used_ms, a.quota_at_ms, a.limits.len(), &a.invalid), (None, None, 0, &None));
        assert_eq!((b.last_used_ms, b.quota_at_ms, &b.invalid), (Some(T - 5000), Some(T - 1000), &None));
        let quotas: Vec<_> = past
            .models
            .iter()
            .map(|one| ModelQuota {
                model: one.model.clone(),
                fraction: one.fraction,
                reset: one.reset.clone(),
                told: one.fraction.is_some() || one.reset.is_some(),
            })
            .collect();
        assert_eq!(b.quotas, quotas);
        let limit = |model: &str, left, why: &str| ModelLimit {
            model: model.into(),
            left: ms(left),
            why: why.into(),
        };
        assert_eq!(b.limits, [limit(M, 90_000, "quota"), limit("soon", 1, "capacity")]);
        // Selection goes by it.
        for name in ["l1", "l2", "l3"] {
            assert_eq!(pool.grant(name, T).await.account, id("a"));
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn quotas_from_elsewhere_are_as_old_as_they_are() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b"]).await;
        let store = pool.store.at(T);
        // Used up a moment ago: the other account serves. The same long ago binds nobody.
        let used_up = |at: Option<i64>| Past {
            quota_at_ms: at,
            models: vec![model(M, Some(0.0), None)],
            ..Past::default()
        };
        store.restore_account(&id("a"), FIRST, &used_up(Some(T - 1000))).await.unwrap();
        store.restore_account(&id("b"), FIRST, &used_up(None)).await.unwrap();
        for name in ["l1", "l2"] {
            assert_eq!(pool.grant(name, T).await.account, id("b"), "a is spared");
        }
        let page = store.list_accounts(0, 10, &[]).await.unwrap();
        let told: Vec<_> =
            page.accounts.iter().map(|one| (one.quota_at_ms, one.quotas[0].fraction)).collect();
        assert_eq!(told, [(Some(T - 1000), Some(0.0)), (Some(0), Some(0.0))]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn times_ahead_of_the_store_are_now() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let past = Past { last_used_ms: Some(T + 1), quota_at_ms: Some(T + 1), ..Past::default() };
        pool.store.at(T).restore_account(&id("a"), FIRST, &past).await.unwrap();
        let account = pool.view("a", T).await;
        assert_eq!((account.last_used_ms, account.quota_at_ms), (Some(T), Some(T + 1)));
        // An older use does not replace a younger one.
        pool.grant("l", T + 10).await;
        let past = Past { last_used_ms: Some(T + 5), ..Past::default() };
        pool.store.at(T + 20).restore_account(&id("a"), FIRST, &past).await.unwrap();
        assert_eq!(pool.view("a", T + 20).await.last_used_ms, Some(T + 10));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn an_account_stays_invalid_wherever_it_comes_from() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b", "c"]).await;
        let store = pool.store.at(T);
        let url = "https://accounts.google.com/v";
        let invalid = |reason, since, url: Option<&str>| Past {
            invalid: Some((reason, since, url.map(str::to_owned))),
            ..Past::default()
        };
        let verification = invalid(InvalidReason::Verification, Some(7), Some(url));
        store.restore_account(&id("a"), FIRST, &verification).await.unwrap();
        store
            .restore_account(&id("b"), FIRST, &invalid(InvalidReason::Banned, None, Some(url)))
            .await
            .unwrap();
        let told = |reason, since_ms, url: Option<&str>| {
            Some(Invalidity { reason, since_ms, url: url.map(str::to_owned) })
        };
        assert_eq!(pool.view("a", T).await.invalid, told(InvalidReason::Verification, 7, Some(url)));
        assert_eq!(pool.view("b", T).await.invalid, told(InvalidReason::Banned, T, Some(url)));
        for name in ["l1", "l2"] {
            assert_eq!(pool.grant(name, T).await.account, id("c"));
        }
        store.restore_account(&id("c"), FIRST, &invalid(InvalidReason::Revoked, None, None)).await.unwrap();
        let decision = pool.admit("l3", T).await.decision;
        assert!(!matches!(decision, Decision::Granted(_) | Decision::Wait { .. }), "{decision:?}");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_past_belongs_to_the_credential_it_came_with() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let nobody = store.restore_account(&id("a"), FIRST, &Past::default()).await.unwrap();
        assert_eq!(nobody, Restored::Gone, "in an empty pool");
        pool.add_all(&["a"]).await;
        assert!(matches!(pool.add("a", T).await, PutOutcome::Renewed { .. }));
        let past = Past {
            last_used_ms: Some(T),
            invalid: Some((InvalidReason::Revoked, None, None)),
            quota_at_ms: Some(T),
            models: vec![model(M, Some(0.5), Some((T + 1000, "rate")))],
        };
        let before = pool.state().await;
        assert_eq!(store.restore_account(&id("a"), FIRST, &past).await.unwrap(), Restored::Stale);
        assert_eq!(store.restore_account(&id("x"), FIRST, &past).await.unwrap(), Restored::Gone);
        assert_eq!(pool.state().await, before);
    })
    .await;
}

fn rows(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
pub(crate) async fn presets_are_merged_as_asked() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let merge = async |mode, pairs: &[(&str, &str)]| {
            store.merge_presets(Presets::Server, mode, &rows(pairs)).await.unwrap()
        };
        let key = "presets:server";
        assert_eq!(merge(Merge::Look, &[("a", "1"), ("b", "2")]).await, [Row::Added, Row::Added]);
        assert!(pool.hash(key).await.is_empty());
        assert_eq!(merge(Merge::Add, &[("a", "1"), ("b", "2")]).await, [Row::Added, Row::Added]);
        assert_eq!(
            merge(Merge::Add, &[("a", "1"), ("b", "3"), ("c", "4")]).await,
            [Row::Same, Row::Differs, Row::Added]
        );
        let all = |pairs: &[(&str, &str)]| rows(pairs).into_iter().collect();
        assert_eq!(pool.hash(key).await, all(&[("a", "1"), ("b", "2"), ("c", "4")]));
        let changed = &[("a", "1"), ("b", "3"), ("d", "5")];
        assert_eq!(merge(Merge::Look, changed).await, [Row::Same, Row::Differs, Row::Added]);
        assert_eq!(pool.hash(key).await.len(), 3);
        assert_eq!(merge(Merge::Replace, changed).await, [Row::Same, Row::Replaced, Row::Added]);
        assert_eq!(pool.hash(key).await, all(&[("a", "1"), ("b", "3"), ("c", "4"), ("d", "5")]));
        assert_eq!(merge(Merge::Replace, changed).await, [Row::Same; 3]);
        let other = store.merge_presets(Presets::Claude, Merge::Add, &rows(&[("a", "9")])).await.unwrap();
        assert_eq!(other, [Row::Added], "another family");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn an_hour_counts_once() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let hour = T - T % HOUR;
        let counts = |n| [("claude-a".to_owned(), n), ("gemini-b".to_owned(), 2)];
        let merge = async |mode, n| store.merge_usage(hour, mode, &counts(n)).await.unwrap();
        assert_eq!(merge(Merge::Add, 5).await, Some(vec![Row::Added; 2]));
        assert_eq!(merge(Merge::Add, 5).await, Some(vec![Row::Same; 2]));
        assert_eq!(merge(Merge::Add, 6).await, Some(vec![Row::Differs, Row::Same]));
        assert_eq!(merge(Merge::Replace, 6).await, Some(vec![Row::Replaced, Row::Same]));
        let counted = pool.hash(&format!("usage:{}", hour / HOUR)).await;
        assert_eq!(counted["claude-a\u{1f}unknown\u{1f}migrated"], "6|0|0|0|0|0");
        assert_eq!(counted.len(), 2);
        // Those that are counted here are kept longer, and that stays.
        pool.add_all(&["a"]).await;
        pool.grant("l", T - HOUR).await;
        let entry = UsageEntry { client_key: "k", ..UsageEntry::default() };
        pool.settle_with("a", "l", T - HOUR, Outcome::Success, |settle| settle.usage = Some(entry)).await;
        let merged = store.merge_usage(T - HOUR, Merge::Add, &counts(1)).await.unwrap();
        assert_eq!(merged, Some(vec![Row::Added; 2]));
        assert_eq!(pool.hash(&format!("usage:{}", hour / HOUR - 1)).await.len(), 3);
        // As long as those that are counted here.
        let month = 30 * 24 * HOUR;
        for (at, kept) in [(hour + month - 1, true), (hour + month, false), (hour + month + 1, false)] {
            let merged = pool.store.at(at).merge_usage(hour, Merge::Add, &counts(6)).await.unwrap();
            assert_eq!(merged.is_some(), kept, "{at}");
        }
    })
    .await;
}
