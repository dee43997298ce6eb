//! Sealed secrets and the keys they are sealed by, and tokens that are renewed ahead of their end.

use antigravity_proxy::store::ident::{CredentialVersion, Generation};
use antigravity_proxy::store::ops::accounts::PutAccount;
use antigravity_proxy::store::ops::admit::{Decision, TokenState, WaitReason};
use antigravity_proxy::store::ops::sealed::{AddedKey, Forgotten, KnownKey, Place, SealedSecret};
use antigravity_proxy::store::ops::signins::{NewSignIn, SignInState};
use antigravity_proxy::store::ops::tokens::{FailedRefresh, FinishedRefresh, Refresh, RefreshFailure};

use crate::harness::{Pool, T, id, ms, new_account, on_every_host, owner};
use crate::signins::new_signin;

const CV: CredentialVersion = CredentialVersion(1);

/// Puts an account whose credential is `sealed`.
async fn put(pool: &Pool, name: &str, sealed: &str) {
    let (account, email) = (id(name), format!("{name}@example.com"));
    let put = PutAccount { sealed, ..new_account(&account, &email) };
    pool.store.at(T).put_account(&put).await.unwrap();
}

/// Gives the account a token for five minutes.
async fn token(pool: &Pool, name: &str, sealed: &str) {
    let (store, account, me) = (pool.store.at(T), id(name), owner("me"));
    store.begin_refresh(&account, &me, ms(20_000)).await.unwrap();
    store.finish_refresh(&account, &me, CV, ms(300_000), sealed).await.unwrap();
}

fn secret(name: &str, place: Place, sealed: &str) -> SealedSecret {
    SealedSecret { account: id(name), place, sealed: sealed.into() }
}

#[tokio::test]
pub(crate) async fn what_is_sealed_is_listed_and_replaced_only_as_it_was_read() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let page = store.list_sealed(0, 10).await.unwrap();
        assert!(page.secrets.is_empty() && page.next.is_none());
        for (name, sealed) in [("a", "v1.aaaaaaaa.1"), ("b", "v1.bbbbbbbb.2"), ("c", "v1.aaaaaaaa.3")] {
            put(&pool, name, sealed).await;
        }
        token(&pool, "b", "v1.aaaaaaaa.t").await;
        let first = store.list_sealed(0, 2).await.unwrap();
        assert_eq!(
            first.secrets,
            [
                secret("a", Place::Credential, "v1.aaaaaaaa.1"),
                secret("b", Place::Credential, "v1.bbbbbbbb.2"),
                secret("b", Place::Token, "v1.aaaaaaaa.t"),
            ]
        );
        let rest = store.list_sealed(first.next.unwrap(), 2).await.unwrap();
        assert_eq!((rest.secrets, rest.next), (vec![secret("c", Place::Credential, "v1.aaaaaaaa.3")], None));

        assert!(
            store.reseal(&secret("a", Place::Credential, "v1.aaaaaaaa.1"), "v1.cccccccc.1").await.unwrap()
        );
        assert!(
            !store.reseal(&secret("a", Place::Credential, "v1.aaaaaaaa.1"), "v1.dddddddd.1").await.unwrap()
        );
        assert_eq!(store.get_credential(&id("a")).await.unwrap().as_deref(), Some("v1.cccccccc.1"));
        assert!(store.reseal(&secret("b", Place::Token, "v1.aaaaaaaa.t"), "v1.cccccccc.t").await.unwrap());
        assert!(!store.reseal(&secret("b", Place::Token, "v1.aaaaaaaa.t"), "v1.dddddddd.t").await.unwrap());
        assert!(!store.reseal(&secret("x", Place::Token, "v1.aaaaaaaa.t"), "t").await.unwrap());
        assert!(!store.reseal(&secret("x", Place::Credential, "v1.aaaaaaaa.t"), "t").await.unwrap());
        // The same token as before, to the ms.
        let begun = store.begin_refresh(&id("b"), &owner("you"), ms(1)).await.unwrap();
        let expected = Refresh::Token {
            credential: CV,
            generation: Generation(1),
            ttl: ms(300_000),
            sealed: "v1.cccccccc.t".into(),
        };
        assert_eq!(begun, expected);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn keys_are_known_until_nothing_is_sealed_by_them() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let ring = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let known = |id: &str, sealed: Option<&str>, credentials| KnownKey {
            id: id.into(),
            sealed: sealed.map(str::to_owned),
            credentials,
        };
        assert!(store.list_keys().await.unwrap().is_empty());
        assert_eq!(store.add_key("aaaaaaaa", "x", &ring(&["aaaaaaaa"])).await.unwrap(), AddedKey::Done);
        assert_eq!(store.add_key("aaaaaaaa", "y", &ring(&["aaaaaaaa"])).await.unwrap(), AddedKey::Known);
        let foreign = store.add_key("bbbbbbbb", "z", &ring(&["bbbbbbbb", "aaaaaaa"])).await.unwrap();
        assert_eq!(foreign, AddedKey::Foreign("aaaaaaaa".into()));
        assert_eq!(store.list_keys().await.unwrap(), [known("aaaaaaaa", Some("x"), 0)]);
        let both = ring(&["bbbbbbbb", "aaaaaaaa"]);
        assert_eq!(store.add_key("bbbbbbbb", "z", &both).await.unwrap(), AddedKey::Done);

        put(&pool, "a", "v1.aaaaaaaa.1").await;
        put(&pool, "b", "v1.cccccccc.2").await;
        put(&pool, "c", "nothing that is sealed").await;
        token(&pool, "b", "v1.aaaaaaaa.t").await;
        assert_eq!(
            store.list_keys().await.unwrap(),
            [known("aaaaaaaa", Some("x"), 1), known("bbbbbbbb", Some("z"), 0), known("cccccccc", None, 1)]
        );
        assert_eq!(store.forget_key("aaaaaaaa").await.unwrap(), Forgotten::Used(2));
        store.reseal(&secret("a", Place::Credential, "v1.aaaaaaaa.1"), "v1.bbbbbbbb.1").await.unwrap();
        assert_eq!(store.forget_key("aaaaaaaa").await.unwrap(), Forgotten::Used(1));
        store.reseal(&secret("b", Place::Token, "v1.aaaaaaaa.t"), "v1.bbbbbbbb.t").await.unwrap();
        // A sign-in that waits needs it, until it ends.
        let state = SignInState::from_bytes([7; 16]);
        let waits = NewSignIn { sealed: "v1.aaaaaaaa.v", ..new_signin(&state) };
        store.begin_signin(&waits).await.unwrap();
        assert_eq!(store.forget_key("aaaaaaaa").await.unwrap(), Forgotten::Used(1));
        assert_eq!(store.forget_key("bbbbbbbb").await.unwrap(), Forgotten::Used(2));
        let store = pool.store.at(T + i64::try_from(waits.life.as_millis()).unwrap());
        assert_eq!(store.forget_key("aaaaaaaa").await.unwrap(), Forgotten::Done);
        assert_eq!(store.forget_key("aaaaaaaa").await.unwrap(), Forgotten::Done);
        assert_eq!(
            store.list_keys().await.unwrap(),
            [known("bbbbbbbb", Some("z"), 1), known("cccccccc", None, 1)]
        );
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_due_token_is_renewed_by_one_and_used_by_the_others() {
    on_every_host(async |pool: Pool| {
        let (a, me, you) = (id("a"), owner("me"), owner("you"));
        pool.add_all(&["a"]).await;
        token(&pool, "a", "t1").await;
        let (early, due) = (pool.store.at(T + 239_999), pool.store.at(T + 240_000));
        let minute = ms(60_000);
        let answer = early.begin_renewal(&a, &me, ms(20_000), minute).await.unwrap();
        assert!(matches!(answer, Refresh::Token { generation: Generation(1), .. }), "{answer:?}");
        let answer = due.begin_renewal(&a, &me, ms(20_000), minute).await.unwrap();
        assert!(matches!(answer, Refresh::Granted { .. }), "{answer:?}");
        assert_eq!(due.begin_renewal(&a, &you, ms(20_000), minute).await.unwrap(), Refresh::Wait(ms(20_000)));
        // Whoever needs it meanwhile goes on with it.
        let answer = due.begin_refresh(&a, &you, ms(20_000)).await.unwrap();
        assert!(matches!(answer, Refresh::Token { generation: Generation(1), .. }), "{answer:?}");
        let sent = pool.grant("l1", T + 240_000).await.token;
        assert!(matches!(sent, TokenState::Sent { generation: Generation(1), .. }), "{sent:?}");
        let kept = due.finish_refresh(&a, &me, CV, ms(300_000), "t2").await.unwrap();
        assert_eq!(kept, FinishedRefresh::Kept(Generation(2)));
        let answer = due.begin_renewal(&a, &you, ms(20_000), minute).await.unwrap();
        assert!(matches!(answer, Refresh::Token { generation: Generation(2), .. }), "{answer:?}");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn an_account_rests_while_no_token_can_be_fetched_and_only_then() {
    on_every_host(async |pool: Pool| {
        let (a, me) = (id("a"), owner("me"));
        pool.add_all(&["a"]).await;
        token(&pool, "a", "t1").await;
        // What fails ahead costs nothing.
        let store = pool.store.at(T + 250_000);
        store.begin_renewal(&a, &me, ms(20_000), ms(60_000)).await.unwrap();
        let failed = store.fail_refresh(&a, &me, CV, RefreshFailure::Transient).await.unwrap();
        assert_eq!(failed, FailedRefresh::Paused(ms(5000)));
        pool.grant("l1", T + 250_000).await;
        let held_up = store.begin_renewal(&a, &me, ms(20_000), ms(60_000)).await.unwrap();
        assert_eq!(held_up, Refresh::Failed(ms(5000)));

        let store = pool.store.at(T + 300_000);
        store.begin_refresh(&a, &me, ms(20_000)).await.unwrap();
        let failed = store.fail_refresh(&a, &me, CV, RefreshFailure::Transient).await.unwrap();
        assert_eq!(failed, FailedRefresh::Paused(ms(10_000)));
        assert!(store.fetching_fails().await.unwrap());
        let decision = pool.admit("l2", T + 300_001).await.decision;
        let waits = Decision::Wait { wait: ms(9999), reason: WaitReason::Cooling, own: false };
        assert_eq!(decision, waits);
        pool.grant("l3", T + 310_000).await;

        let store = pool.store.at(T + 310_000);
        store.begin_refresh(&a, &me, ms(20_000)).await.unwrap();
        store.finish_refresh(&a, &me, CV, ms(1000), "t2").await.unwrap();
        assert!(!store.fetching_fails().await.unwrap());

        // The gateway's own client is no fault of the account, nor is what the credential before met.
        let store = pool.store.at(T + 800_000);
        for (cv, failure) in
            [(CV, RefreshFailure::Withdrawn), (CredentialVersion(0), RefreshFailure::Transient)]
        {
            store.begin_refresh(&a, &me, ms(20_000)).await.unwrap();
            assert_eq!(store.fail_refresh(&a, &me, cv, failure).await.unwrap(), FailedRefresh::Ignored);
            let again = store.begin_refresh(&a, &owner("next"), ms(1000)).await.unwrap();
            assert!(matches!(again, Refresh::Granted { .. }), "{again:?}");
            store.finish_refresh(&a, &owner("next"), CV, ms(0), "").await.unwrap();
        }
        pool.grant("l4", T + 800_000).await;
    })
    .await;
}
