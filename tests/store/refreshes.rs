//! Forgetting what can be had anew.

use antigravity_proxy::store::host::Event;
use antigravity_proxy::store::ident::{AccountId, CredentialVersion, InvalidReason};
use antigravity_proxy::store::keys::{SigKey, SigKind};
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::locks::Lock;
use antigravity_proxy::store::ops::refreshes::{Refreshed, project_search, quota_question, tier_search};
use antigravity_proxy::store::ops::settle::Outcome;
use antigravity_proxy::store::ops::tokens::{Refresh, RefreshFailure};

use crate::harness::{Pool, T, id, ms, on_every_host, owner};

const CV: CredentialVersion = CredentialVersion(1);

fn named(ids: &[&str]) -> Vec<(AccountId, CredentialVersion)> {
    ids.iter().map(|one| (id(one), CV)).collect()
}

async fn refresh(pool: &Pool, at: i64, ids: &[&str], verified: bool) -> Refreshed {
    pool.store.at(at).refresh_accounts(&named(ids), verified).await.unwrap()
}

/// Gives the account a token.
async fn token(pool: &Pool, name: &str, at: i64) {
    let store = pool.store.at(at);
    let (account, me) = (id(name), owner("me"));
    store.begin_refresh(&account, &me, ms(20_000)).await.unwrap();
    store.finish_refresh(&account, &me, CV, ms(300_000), "t").await.unwrap();
}

async fn lock(pool: &Pool, at: i64, work: &str, time: u64) -> Lock {
    pool.store.at(at).try_lock(work, &owner("me"), ms(time)).await.unwrap()
}

async fn is_free(pool: &Pool, at: i64, work: &str) -> bool {
    pool.store.at(at).try_lock(work, &owner("you"), ms(1)).await.unwrap() == Lock::Taken
}

#[tokio::test]
pub(crate) async fn tokens_and_pauses_are_forgotten_of_those_accounts_alone() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b", "c"]).await;
        for name in ["a", "b"] {
            token(&pool, name, T).await;
        }
        let store = pool.store.at(T);
        store.begin_refresh(&id("c"), &owner("me"), ms(20_000)).await.unwrap();
        store.fail_refresh(&id("c"), &owner("me"), CV, RefreshFailure::Transient).await.unwrap();
        let begun = async |name: &str, at| {
            pool.store.at(at).begin_refresh(&id(name), &owner("you"), ms(20_000)).await.unwrap()
        };
        assert!(matches!(begun("c", T + 1).await, Refresh::Failed(_)));

        let done = refresh(&pool, T + 10, &["a", "c", "gone"], false).await;
        assert_eq!(done, Refreshed { accounts: 2, tokens: 1, projects: 0, valid: 0 });
        assert!(matches!(begun("a", T + 11).await, Refresh::Granted { .. }));
        assert!(matches!(begun("b", T + 11).await, Refresh::Token { .. }), "it was not named");
        assert!(matches!(begun("c", T + 11).await, Refresh::Granted { .. }), "the pause is over");
        assert_eq!(refresh(&pool, T + 12, &["a"], false).await.tokens, 0, "twice");
        assert_eq!(refresh(&pool, T + 12, &[], true).await, Refreshed::default());
        // The next token has a generation of its own.
        let store = pool.store.at(T + 13);
        store.finish_refresh(&id("a"), &owner("you"), CV, ms(1000), "u").await.unwrap();
        let Refresh::Token { generation, .. } = begun("a", T + 14).await else { panic!("no token") };
        assert_eq!(generation.0, 2);
        assert_eq!(refresh(&pool, T + 15, &["b"], false).await.tokens, 1);
        assert_eq!(pool.field("tok", "b").await.unwrap(), b"1|1|1|0|", "its generation never comes back");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_was_looked_for_is_looked_for_anew_but_whoever_is_at_it_is_left_in_peace() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b", "c", "d"]).await;
        lock(&pool, T, &project_search(&id("a")), 60_000).await;
        lock(&pool, T, &tier_search(&id("b"), CV), 600_000).await;
        lock(&pool, T, &tier_search(&id("c"), CredentialVersion(2)), 600_000).await;
        // A pause goes however short it is, a lock stays however long.
        for (name, time) in [("a", 15_000), ("d", 150_000)] {
            pool.store.at(T).pause(&quota_question(&id(name)), &owner("me"), ms(time)).await.unwrap();
        }
        lock(&pool, T, &quota_question(&id("b")), 150_000).await;
        let done = refresh(&pool, T, &["a", "b", "c"], false).await;
        assert_eq!((done.accounts, done.projects), (3, 2));
        for (work, free) in [
            (project_search(&id("a")), true),
            (tier_search(&id("b"), CV), true),
            (tier_search(&id("c"), CredentialVersion(2)), false),
            (quota_question(&id("a")), true),
            (quota_question(&id("b")), false),
            (quota_question(&id("d")), false),
        ] {
            assert_eq!(is_free(&pool, T, &work).await, free, "{work}");
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_an_owner_has_verified_is_valid_again_and_nothing_else() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b", "c", "d"]).await;
        let store = pool.store.at(T);
        for lease in ["l1", "l2", "l3"] {
            pool.settle("a", lease, T, Outcome::Failure).await;
        }
        pool.settle("a", "l4", T, Outcome::Unauthorized).await;
        let before = pool.view("a", T).await;
        assert!(before.health < 70.0 && before.failures > 0 && !before.cooling.is_zero(), "{before:?}");
        for (name, reason, url) in [
            ("a", InvalidReason::Verification, Some("https://accounts.google.com/x")),
            ("b", InvalidReason::Revoked, None),
            ("c", InvalidReason::Banned, None),
        ] {
            store.invalidate_account(&id(name), CV, reason, url).await.unwrap();
        }
        let all = ["a", "b", "c", "d"];
        assert_eq!(refresh(&pool, T + 1, &all, false).await.valid, 0, "nobody says so");
        assert!(pool.view("a", T + 1).await.invalid.is_some());
        assert_eq!(refresh(&pool, T + 2, &all, true).await.valid, 1);
        let view = pool.view("a", T + 2).await;
        assert_eq!((view.invalid, view.failures, view.cooling), (None, 0, ms(0)));
        assert!((view.health - 70.0).abs() < 1e-9, "its health starts anew: {}", view.health);
        assert!(pool.field("inv", "a").await.is_none());
        for name in ["b", "c"] {
            assert!(pool.view(name, T + 2).await.invalid.is_some(), "{name}");
        }
        assert_eq!(refresh(&pool, T + 3, &all, true).await.valid, 0);
        // One whose record is damaged keeps nobody from it.
        pool.put_field("hot", "b", b"odd").await;
        assert_eq!(refresh(&pool, T + 4, &["b", "a"], true).await.accounts, 2);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn every_gateway_hears_of_it() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        pool.add_all(&["a", "b", "c"]).await;
        let channel = pool.keys.channel();
        refresh(&pool, T, &["b", "gone", "a"], false).await;
        for expected in ["a", "b", "c", "b", "a"] {
            let event: Event = tokio::time::timeout(ms(20_000), events.recv()).await.unwrap().unwrap();
            assert_eq!(PoolEvent::parse(&channel, &event), Some(PoolEvent::Account(id(expected))));
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn signatures_are_forgotten_by_their_names() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let keys: Vec<_> = ["x", "y", "z"].iter().map(|one| SigKey::new("k", SigKind::Tool, one)).collect();
        let entries: Vec<_> = keys.iter().map(|key| (key.clone(), "v".to_owned())).collect();
        store.put_signatures(&entries, ms(60_000)).await.unwrap();
        assert_eq!(store.forget_signatures(&[]).await.unwrap(), 0);
        let name = |key: &SigKey| format!("{}{}", pool.keys.signatures(), key.as_str());
        let names =
            [name(&keys[0]), name(&keys[2]), format!("{}none", pool.keys.signatures()), pool.key("meta")];
        assert_eq!(store.forget_signatures(&names).await.unwrap(), 2, "meta is no signature");
        let left = store.get_signatures(&keys, ms(60_000)).await.unwrap();
        assert_eq!(left, [None, Some("v".to_owned()), None]);
    })
    .await;
}
