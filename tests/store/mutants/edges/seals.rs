//! What is sealed, by which keys, and tokens that are renewed or cannot be.

use antigravity_proxy::store::ident::CredentialVersion;
use antigravity_proxy::store::ops::accounts::PutAccount;
use antigravity_proxy::store::ops::sealed::{Place, SealedSecret};
use antigravity_proxy::store::ops::signins::{NewSignIn, SignInState};
use antigravity_proxy::store::ops::tokens::RefreshFailure;

use super::super::golden::Scribe;
use crate::harness::{Pool, T, id, ms, new_account, owner};
use crate::signins::new_signin;

pub(super) async fn seals(pool: Pool, _: &Scribe) {
    let store = pool.store.at(T);
    let (me, cv) = (owner("me"), CredentialVersion(1));
    for (name, sealed) in [("a", "v1.aaaaaaaa.1"), ("b", "v1.bbbbbbbb.2"), ("c", "odd")] {
        let (account, email) = (id(name), format!("{name}@example.com"));
        drop(store.put_account(&PutAccount { sealed, ..new_account(&account, &email) }).await);
    }
    drop(store.begin_refresh(&id("b"), &me, ms(20_000)).await);
    drop(store.finish_refresh(&id("b"), &me, cv, ms(5000), "v1.aaaaaaaa.t").await);
    for (cursor, cap) in [(0, 2), (2, 2), (1, 1), (0, 3), (0, 4), (9, 1)] {
        drop(store.list_sealed(cursor, cap).await);
    }
    let ring = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    drop(store.add_key("dddddddd", "d", &ring(&["dddddddd"])).await);
    drop(store.add_key("dddddddd", "e", &ring(&["dddddddd", "x"])).await);
    drop(store.add_key("aaaaaaaa", "a", &ring(&["aaaaaaaa", "ddddddd"])).await);
    drop(store.add_key("aaaaaaaa", "a", &ring(&["aaaaaaaa", "dddddddd"])).await);
    drop(store.add_key("eeeeeeee", "e", &ring(&["eeeeeeee"])).await);
    drop(store.list_keys().await);
    let secret =
        |name: &str, place, sealed: &str| SealedSecret { account: id(name), place, sealed: sealed.into() };
    for key in ["aaaaaaaa", "bbbbbbbb", "dddddddd", "dddddddd"] {
        drop(store.forget_key(key).await);
    }
    for (secret, anew) in [
        (secret("a", Place::Credential, "v1.aaaaaaaa.2"), "v1.cccccccc.1"),
        (secret("a", Place::Credential, "v1.aaaaaaaa.1"), "v1.cccccccc.1"),
        (secret("b", Place::Token, "v1.bbbbbbbb.2"), "v1.cccccccc.t"),
        (secret("b", Place::Token, "v1.aaaaaaaa.t"), "v1.cccccccc.t"),
        (secret("a", Place::Token, "x"), "v1.cccccccc.t"),
        (secret("x", Place::Credential, "x"), "v1.cccccccc.t"),
    ] {
        drop(store.reseal(&secret, anew).await);
        drop(store.forget_key("aaaaaaaa").await);
    }
    let state = SignInState::from_bytes([7; 16]);
    let waits = NewSignIn { sealed: "v1.eeeeeeee.v", life: ms(1000), ..new_signin(&state) };
    drop(store.begin_signin(&waits).await);
    for at in [T, T + 1, T + 999, T + 1000] {
        drop(pool.store.at(at).forget_key("dddddddd").await);
        drop(pool.store.at(at).forget_key("eeeeeeee").await);
    }
    drop(store.list_keys().await);
    drop(store.begin_refresh(&id("b"), &me, ms(1000)).await);
    // Credentials that were lost.
    pool.lose("cred").await;
    drop(store.list_sealed(0, 10).await);
    drop(store.list_keys().await);
    // A gateway of a version that does not tell its keys.
    let fields = ["1", &(T + 1000).to_string(), "0.0.9", "digest", "host", "1", "0", "0", "serving", "1"];
    pool.put_field("replicas", "old", fields.join("\u{1f}").as_bytes()).await;
    drop(store.list_replicas().await);
}

pub(super) async fn renewals(pool: Pool, scribe: &Scribe) {
    pool.add_all(&["a", "b"]).await;
    let (a, b, me, you, cv) = (id("a"), id("b"), owner("me"), owner("you"), CredentialVersion(1));
    let store = pool.store.at(T);
    drop(store.begin_refresh(&a, &me, ms(20_000)).await);
    drop(store.finish_refresh(&a, &me, cv, ms(5000), "t").await);
    for due in [0, 999, 1000, 1001] {
        drop(pool.store.at(T + 4000).begin_renewal(&a, &me, ms(20_000), ms(due)).await);
    }
    // What fails ahead costs nothing, what fails without a token a rest; others may have one already.
    drop(pool.store.at(T + 4000).fail_refresh(&a, &me, cv, RefreshFailure::Transient).await);
    pool.view("a", T + 4000).await;
    drop(store.fetching_fails().await);
    drop(store.begin_refresh(&b, &me, ms(20_000)).await);
    drop(store.fail_refresh(&b, &me, cv, RefreshFailure::Transient).await);
    pool.view("b", T).await;
    drop(store.fetching_fails().await);
    scribe.clock().advance_ms(34_999);
    drop(store.fetching_fails().await);
    scribe.clock().advance_ms(2);
    drop(store.fetching_fails().await);
    let later = pool.store.at(T + 60_000);
    drop(later.begin_refresh(&b, &me, ms(20_000)).await);
    drop(later.fail_refresh(&b, &me, cv, RefreshFailure::Transient).await);
    pool.view("b", T + 60_000).await;
    drop(later.fetching_fails().await);
    drop(later.begin_refresh(&a, &you, ms(20_000)).await);
    drop(later.finish_refresh(&a, &you, cv, ms(5000), "u").await);
    drop(later.fetching_fails().await);
    // No part in it, or a credential that has gone.
    for (version, failure) in [
        (cv, RefreshFailure::Withdrawn),
        (CredentialVersion(7), RefreshFailure::Transient),
        (cv, RefreshFailure::Transient),
    ] {
        let last = pool.store.at(T + 200_000);
        drop(last.begin_refresh(&b, &me, ms(20_000)).await);
        drop(last.fail_refresh(&b, &me, version, failure).await);
        pool.view("b", T + 200_000).await;
        drop(last.begin_refresh(&b, &you, ms(1000)).await);
        drop(last.finish_refresh(&b, &you, cv, ms(0), "").await);
    }
}
