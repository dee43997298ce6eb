//! Records that cannot be read: they cost the account that they belong to, and nobody else.

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::host::StoreError;
use antigravity_proxy::store::ident::{CredentialVersion, Generation};
use antigravity_proxy::store::ops::accounts::{PutAccount, PutOutcome, SetAccount};
use antigravity_proxy::store::ops::admit::{Decision, TokenState};
use antigravity_proxy::store::ops::explain::{Explain, Outcome as Explained, Verdict};
use antigravity_proxy::store::ops::listing::{DamagedAccount, Named};
use antigravity_proxy::store::ops::release::{Release, Released};
use antigravity_proxy::store::ops::sealed::Forgotten;
use antigravity_proxy::store::ops::settle::Outcome;
use antigravity_proxy::store::ops::tokens::{FinishedRefresh, Refresh};

use crate::harness::{
    M, Pool, State, T, fresh, granted, id, lease, ms, new_account, on_every_host, owner, reference,
};

/// A record with a field less than it has, and one of another layout.
const BROKEN: [&[u8]; 3] = [
    b"?",
    b"1\x1f1\x1fa@example.com\x1foauth\x1fp\x1f\x1fs\x1f0\x1fpro\x1f\x1f\x1f\x1f1",
    b"2\x1f1\x1fa@example.com\x1foauth\x1fp\x1f\x1fs\x1f0\x1fpro\x1f\x1f\x1f\x1f1\x1f",
];

async fn explained(pool: &Pool) -> (Explained, Vec<(String, Verdict)>) {
    let ask = Explain { model: M, conversation: None, probe_after: None };
    let told = pool.store.at(T).explain(&ask).await.unwrap();
    let verdict =
        |one: antigravity_proxy::store::ops::explain::Candidate| (one.account.to_string(), one.verdict);
    (told.outcome, told.candidates.into_iter().map(verdict).collect())
}

fn damaged(name: &str, number: u64) -> DamagedAccount {
    DamagedAccount { id: id(name), number, email: Some(format!("{name}@example.com")) }
}

#[tokio::test]
pub(crate) async fn an_account_whose_description_is_damaged_is_passed_over() {
    for strategy in [Strategy::Hybrid, Strategy::RoundRobin, Strategy::Sticky] {
        for broken in BROKEN {
            on_every_host(async |pool: Pool| {
                let pool = pool.with(&reference(strategy, &[]));
                pool.add_all(&["a", "b", "c"]).await;
                // It has a conversation, and what is asked for twice is told anew.
                pool.remember("talk", M, "b").await;
                let talk = async |name: &str| {
                    granted(pool.admit_with(name, T, |ask| ask.conversation = "talk").await).account
                };
                let before = talk("l0").await;
                pool.put_field("acct", before.as_str(), broken).await;
                for name in ["l0", "l1", "l2", "l3", "l4"] {
                    assert_ne!(talk(name).await, before, "{strategy:?} {name}");
                    assert_ne!(pool.grant(&format!("{name}-alone"), T).await.account, before, "{strategy:?}");
                }
                let (outcome, candidates) = explained(&pool).await;
                assert!(matches!(&outcome, Explained::Chosen { account, .. } if *account != before));
                let verdict = (before.to_string(), Verdict::Damaged);
                assert!(candidates.contains(&verdict), "{strategy:?}: {candidates:?}");
                let others: Vec<_> =
                    ["a", "b", "c"].into_iter().filter(|name| *name != before.as_str()).collect();
                let off = SetAccount { enabled: Some(false), ..SetAccount::default() };
                pool.store.at(T).set_account(&id(others[0]), &off).await.unwrap();
                pool.store.at(T).remove_account(&id(others[1]), &[]).await.unwrap();
                assert_eq!(pool.admit("l9", T).await.decision, Decision::Damaged, "{strategy:?}");
                assert_eq!(explained(&pool).await.0, Explained::Damaged);
            })
            .await;
        }
    }
}

#[tokio::test]
pub(crate) async fn a_damaged_account_is_no_probe_either() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[State { limited: 600_000, ..fresh("a") }, State { limited: 900_000, ..fresh("b") }])
            .await;
        pool.put_field("acct", "a", b"?").await;
        let probe = granted(pool.admit_with("l1", T, |ask| ask.probe_after = Some(ms(120_000))).await);
        assert_eq!(probe.account, id("b"));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn in_a_large_pool_all_but_the_damaged_serve() {
    on_every_host(async |pool: Pool| {
        let pool = pool.with(&reference(Strategy::Hybrid, &[]));
        let names: Vec<_> = (0..230).map(|n| format!("a{n:03}")).collect();
        for name in &names {
            pool.add(name, T).await;
            if !name.ends_with('7') {
                pool.put_field("acct", name, b"?").await;
            }
        }
        for n in 0..46 {
            let account = pool.grant(&format!("l{n}"), T + n).await.account;
            assert!(account.as_str().ends_with('7'), "{account}");
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn damaged_accounts_are_told_apart_and_can_be_removed() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b", "c", "d", "e"]).await;
        let store = pool.store.at(T);
        pool.put_field("hot", "b", b"?").await;
        pool.put_field("acct", "c", b"?").await;
        pool.put_field("acct", "e", b"?").await;
        pool.put_field("email", "e@example.com", b"other").await;
        let page = store.list_accounts(0, 10, &[M.to_owned()]).await.unwrap();
        let readable: Vec<_> = page.accounts.iter().map(|one| one.id.as_str()).collect();
        assert_eq!((readable, page.total, page.next), (vec!["a", "d"], 5, None));
        let nameless = DamagedAccount { email: None, ..damaged("e", 5) };
        assert_eq!(page.damaged, [damaged("b", 2), damaged("c", 3), nameless.clone()]);
        assert_eq!((page.damaged[0].name(), nameless.name()), ("b@example.com", "e"));
        let page = store.list_accounts(0, 3, &[]).await.unwrap();
        assert_eq!((page.accounts.len(), page.damaged.len(), page.next), (1, 2, Some(3)));
        let page = store.list_accounts(3, 3, &[]).await.unwrap();
        assert_eq!((page.accounts.len(), page.damaged, page.next), (1, vec![nameless], None));
        for name in ["b", "c"] {
            let account = id(name);
            for named in [Named::Id(&account), Named::Email(&format!("{name}@example.com"))] {
                let error = store.get_account(named).await.unwrap_err();
                assert!(
                    matches!(&error, StoreError::Damaged { account: told } if *told == account),
                    "{error}"
                );
            }
            let error = store.set_account(&account, &SetAccount::default()).await.unwrap_err();
            assert!(matches!(&error, StoreError::Damaged { account: told } if *told == account), "{error}");
            assert_eq!(
                store.find_account(&format!("{name}@example.com")).await.unwrap(),
                Some(account.clone())
            );
            assert!(store.remove_account(&account, &[M.to_owned()]).await.unwrap());
            assert_eq!(store.find_account(&format!("{name}@example.com")).await.unwrap(), None);
        }
        let page = store.list_accounts(0, 10, &[]).await.unwrap();
        assert_eq!((page.accounts.len(), page.damaged.len(), page.total), (2, 1, 3));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_record_without_a_place_takes_nothing_of_others_along() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[State { limited: 600_000, ..fresh("a") }, fresh("b")]).await;
        pool.put_field("acct", "ghost", b"?").await;
        assert!(pool.store.at(T).remove_account(&id("ghost"), &[M.to_owned()]).await.unwrap());
        for name in ["l1", "l2", "l3"] {
            assert_eq!(pool.grant(name, T).await.account, id("b"), "the other is limited still");
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_new_credential_repairs_what_is_damaged() {
    for (hot, acct) in [(true, false), (false, true), (true, true)] {
        on_every_host(async |pool: Pool| {
            pool.add_all(&["a", "b"]).await;
            let b = id("b");
            pool.grant("l1", T).await;
            pool.grant("l2", T).await;
            let before = pool.view("b", T).await;
            assert_eq!(before.in_flight, 1);
            if hot {
                pool.put_field("hot", "b", b"?").await;
            }
            if acct {
                pool.put_field("acct", "b", b"?").await;
            }
            let put = PutAccount { session: "new", project: None, ..new_account(&b, "b@example.com") };
            let outcome = pool.store.at(T + 1).put_account(&put).await.unwrap();
            let credential = CredentialVersion(if hot { (T + 1).unsigned_abs() } else { 2 });
            assert_eq!(outcome, PutOutcome::Renewed { credential });
            let after = pool.view("b", T + 1).await;
            assert_eq!(
                (after.number, after.credential, after.email.as_str()),
                (2, credential, "b@example.com")
            );
            assert_eq!(after.session, if acct { "new" } else { "sess" });
            assert_eq!(after.project.as_deref(), if acct { None } else { Some("proj") });
            assert_eq!(after.in_flight, u32::from(!hot));
            let page = pool.store.at(T).list_accounts(0, 10, &[]).await.unwrap();
            assert_eq!((page.accounts.len(), page.damaged.len(), page.total), (2, 0, 2));
            assert_eq!(pool.grant("l3", T + 2).await.accounts, 2);
            // As always from then on.
            let outcome = pool.store.at(T + 2).put_account(&put).await.unwrap();
            assert_eq!(outcome, PutOutcome::Renewed { credential: CredentialVersion(credential.0 + 1) });
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn what_is_lost_is_damaged_too() {
    for key in ["acct", "hot"] {
        on_every_host(async |pool: Pool| {
            pool.add_all(&["a", "b"]).await;
            let (a, b, store) = (id("a"), id("b"), pool.store.at(T));
            pool.lose(key).await;
            let page = store.list_accounts(0, 10, &[]).await.unwrap();
            assert_eq!((page.accounts.len(), page.damaged), (0, vec![damaged("a", 1), damaged("b", 2)]));
            let error = store.get_account(Named::Id(&a)).await.unwrap_err();
            assert!(matches!(&error, StoreError::Damaged { .. }), "{key}: {error}");
            let error = store.set_account(&a, &SetAccount::default()).await.unwrap_err();
            assert!(matches!(&error, StoreError::Damaged { .. }), "{key}: {error}");
            assert!(store.remove_account(&a, &[M.to_owned()]).await.unwrap());
            assert!(!store.remove_account(&a, &[M.to_owned()]).await.unwrap());
            let put = new_account(&b, "b@example.com");
            let outcome = store.put_account(&put).await.unwrap();
            assert!(matches!(outcome, PutOutcome::Renewed { .. }), "{outcome:?}");
            assert_eq!(pool.view("b", T).await.number, 2);
            assert_eq!(pool.grant("l1", T).await.account, b);
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn attempts_end_also_when_their_account_is_damaged() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        for name in ["l1", "l2"] {
            pool.grant(name, T).await;
        }
        pool.put_field("hot", "a", b"?").await;
        assert!(pool.settle("a", "l1", T, Outcome::Failure).await.gone);
        let released = pool.store.at(T).release(Release { lease: &lease("l2"), model: M }).await.unwrap();
        assert_eq!(released, Released::Granted(id("a")));
        assert_eq!(pool.field("hot", "a").await.as_deref(), Some(&b"?"[..]), "nothing is made of it");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_damaged_token_is_as_good_as_lost() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let (a, me, cv, store) = (id("a"), owner("me"), CredentialVersion(1), pool.store.at(T));
        store.begin_refresh(&a, &me, ms(1000)).await.unwrap();
        store.finish_refresh(&a, &me, cv, ms(60_000), "v1.aaaaaaaa.t").await.unwrap();
        pool.put_field("tok", "a", b"1|1|1|x|v1.aaaaaaaa.t").await;
        assert_eq!(pool.grant("l1", T).await.token, TokenState::Missing);
        assert_eq!(pool.view("a", T).await.token_ttl, ms(0));
        assert_eq!(store.list_sealed(0, 10).await.unwrap().secrets.len(), 1, "the credential");
        assert!(matches!(store.forget_key("aaaaaaaa").await.unwrap(), Forgotten::Done));
        assert!(!store.drop_token(&a, Generation(1)).await.unwrap());
        assert!(matches!(store.begin_refresh(&a, &me, ms(1000)).await.unwrap(), Refresh::Granted { .. }));
        let kept = store.finish_refresh(&a, &me, cv, ms(60_000), "t2").await.unwrap();
        assert_eq!(kept, FinishedRefresh::Kept(Generation(1)));
        let sent = pool.grant("l2", T).await.token;
        assert!(matches!(sent, TokenState::Sent { .. }), "{sent:?}");
    })
    .await;
}
