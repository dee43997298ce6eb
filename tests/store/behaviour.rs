//! What each script promises.

use std::collections::BTreeMap;

use antigravity_proxy::config::{SelectionConfig, Strategy};
use antigravity_proxy::store::ident::{CredentialVersion, Generation, InvalidReason, Version};
use antigravity_proxy::store::keys::{SigKey, SigKind};
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::accounts::{
    Change, ClearOutcome, InvalidateOutcome, PutAccount, PutOutcome, SetAccount, SetOutcome, Subscription,
};
use antigravity_proxy::store::ops::admit::{Decision, Renewal, Tier, TokenState, WaitReason};
use antigravity_proxy::store::ops::imports::DocumentDigest;
use antigravity_proxy::store::ops::listing::{AccountView, Named};
use antigravity_proxy::store::ops::locks::Lock;
use antigravity_proxy::store::ops::models::ModelQuota;
use antigravity_proxy::store::ops::settings::{PutSettings, Scope, StoredSettings};
use antigravity_proxy::store::ops::settle::{LimitKind, NewLimit, Outcome, StatusClass, UsageEntry};
use antigravity_proxy::store::ops::tokens::{FailedRefresh, FinishedRefresh, Refresh, RefreshFailure};

use crate::harness::{
    M, Pool, State, T, fresh, granted, id, lease, ms, new_account, on_every_host, owner, reference,
};

fn quota(reset: Option<u64>) -> Outcome {
    Outcome::RateLimited { kind: LimitKind::Quota, reset: reset.map(ms) }
}

#[tokio::test]
pub(crate) async fn admission_says_why_there_is_no_account() {
    on_every_host(async |pool: Pool| {
        assert_eq!(pool.admit("l1", T).await.decision, Decision::Empty);
        pool.arrange(&[State { enabled: false, ..fresh("a") }, State { enabled: false, ..fresh("b") }]).await;
        assert_eq!(pool.admit("l1", T).await.decision, Decision::NoEnabled);
        pool.add_all(&["c", "d", "e"]).await;
        let cv = CredentialVersion(1);
        for (name, reason) in
            [("c", InvalidReason::Verification), ("d", InvalidReason::Revoked), ("e", InvalidReason::Revoked)]
        {
            pool.store.at(T).invalidate_account(&id(name), cv, reason, None).await.unwrap();
        }
        let reasons = vec![InvalidReason::Revoked, InvalidReason::Verification];
        assert_eq!(pool.admit("l1", T).await.decision, Decision::AllInvalid(reasons));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn admission_is_repeated_for_the_same_lease() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b"]).await;
        let first = pool.admit("l1", T).await;
        let again = pool.admit("l1", T + 500).await;
        assert_eq!(first, again);
        let account = granted(first).account;
        let view = pool.view(account.as_str(), T).await;
        assert_eq!((view.in_flight, view.tokens.round()), (1, 49.0), "nothing was taken twice");
        assert_ne!(pool.grant("l2", T).await.account, account);
        // An account that is gone cannot be the answer any more.
        pool.store.at(T).remove_account(&account, &[]).await.unwrap();
        assert_ne!(pool.grant("l1", T).await.account, account);
        // An attempt that has ended is not admitted again.
        pool.settle("b", "l2", T, Outcome::Success).await;
        let lease = lease("l2");
        let admit = antigravity_proxy::store::ops::admit::Admit {
            lease: &lease,
            lease_ttl: ms(1),
            model: M,
            tried: &[],
            known: &[],
            probe_after: None,
            conversation: None,
        };
        assert!(pool.store.at(T).admit(&admit).await.is_err());
    })
    .await;
}

#[tokio::test]
pub(crate) async fn tried_accounts_come_last() {
    for strategy in [Strategy::Hybrid, Strategy::RoundRobin] {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[]));
            pool.add_all(&["a", "b", "c"]).await;
            let tried = [id("a"), id("b")];
            let grant = granted(pool.admit_with("l1", T, |admit| admit.tried = tried.to_vec()).await);
            assert_eq!((grant.account.as_str(), grant.tried), ("c", false));
            pool.settle("c", "l1", T, quota(Some(60_000))).await;
            let tried = [id("a"), id("b"), id("c")];
            let grant = granted(pool.admit_with("l2", T, |admit| admit.tried = tried.to_vec()).await);
            assert!(grant.tried && grant.account != id("c"));
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn leases_are_the_requests_in_flight() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        assert_eq!(pool.grant("l1", T).await.in_flight, 1);
        assert_eq!(pool.grant("l2", T + 10_000).await.in_flight, 2);
        let ids = [lease("l1"), lease("l2"), lease("l9")];
        let beat = pool.store.at(T + 20_000).heartbeat(&ids[..1], ms(30_000)).await.unwrap();
        assert_eq!((&beat.renewals[..], beat.lapsed), (&[Renewal::Renewed][..], 0));
        // l2 ends at T+40 s; l1 lives until T+50 s.
        assert_eq!(pool.grant("l3", T + 40_000).await.in_flight, 2);
        let beat = pool.store.at(T + 60_000).heartbeat(&ids, ms(30_000)).await.unwrap();
        assert_eq!(beat.renewals, [Renewal::Renewed, Renewal::Revived, Renewal::Unknown]);
        assert_eq!(pool.view("a", T + 60_000).await.in_flight, 3);
        pool.settle("a", "l1", T + 61_000, Outcome::Success).await;
        assert_eq!(pool.view("a", T + 61_000).await.in_flight, 2);
        let beat = pool.store.at(T + 62_000).heartbeat(&ids[..1], ms(30_000)).await.unwrap();
        assert_eq!(beat.renewals, [Renewal::Unknown], "settled");
        // Everything lapses when its holder is gone.
        assert_eq!(pool.grant("l4", T + 200_000).await.in_flight, 1);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn settlement_is_repeated_for_the_same_lease() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        pool.grant("l1", T).await;
        let first = pool.settle("a", "l1", T, Outcome::Failure).await;
        let again = pool.settle("a", "l1", T + 5000, Outcome::Success).await;
        assert_eq!(first, again);
        let view = pool.view("a", T).await;
        assert_eq!((view.health, view.failures, view.in_flight, view.tokens), (50.0, 1, 0, 50.0));
        // A settlement whose lease nobody remembers counts, without a refund.
        pool.grant("l2", T).await;
        pool.settle("a", "l3", T, Outcome::Failure).await;
        pool.settle("a", "l3", T, Outcome::Failure).await;
        let view = pool.view("a", T).await;
        assert_eq!((view.health, view.failures, view.in_flight, view.tokens), (30.0, 2, 1, 49.0));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn limits_are_only_extended() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let answer = pool.settle("a", "l1", T, quota(Some(600_000))).await;
        assert_eq!((answer.duplicate, answer.attempt, answer.backoff), (false, 1, ms(600_000)));
        assert_eq!(answer.limit, Some(NewLimit::Quota));
        let answer = pool.settle("a", "l2", T + 10_000, quota(Some(3000))).await;
        assert_eq!((answer.duplicate, answer.attempt, answer.backoff), (false, 2, ms(590_000)));
        assert_eq!(answer.limit, None, "a shorter one changes nothing");
        let capacity = Outcome::Capacity { jitter_ms: -5000 };
        assert_eq!(pool.settle("a", "l3", T + 10_000, capacity).await.backoff, ms(590_000));
        let limits = pool.view("a", T + 10_000).await.limits;
        assert_eq!(limits.len(), 1);
        assert_eq!(
            (limits[0].model.as_str(), limits[0].left, limits[0].why.as_str()),
            (M, ms(590_000), "quota")
        );
        assert_eq!(
            pool.admit("l4", T + 10_000).await.decision,
            Decision::Wait { wait: ms(590_000), reason: WaitReason::Limited, own: false }
        );
        // Another model of the account is not limited.
        granted(pool.admit_with("l5", T + 10_000, |admit| admit.model = "other").await);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_short_reset_is_at_least_two_seconds() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        assert_eq!(pool.settle("a", "l1", T, quota(Some(300))).await.backoff, ms(2000));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn limits_within_the_window_count_once() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        for n in 0..4 {
            let answer = pool.settle("a", &format!("l{n}"), T + n * 500, quota(None)).await;
            assert_eq!((answer.duplicate, answer.attempt), (n > 0, 1));
            let expected = 60_000;
            assert_eq!(answer.backoff, ms(expected), "duplicates do not escalate");
        }
        let view = pool.view("a", T).await;
        assert_eq!((view.failures, view.health), (1, 60.0));
        // Behind the window the quota's tiers escalate: 5 min, 30 min, 2 h, 2 h.
        for (n, expected) in [300_000, 1_800_000, 7_200_000, 7_200_000].into_iter().enumerate() {
            let at = T + 60_000 * (1 + i64::try_from(n).unwrap());
            let answer = pool.settle("a", &format!("k{n}"), at, quota(None)).await;
            assert_eq!(
                (answer.duplicate, answer.attempt, answer.backoff),
                (false, 2 + u32::try_from(n).unwrap(), ms(expected))
            );
        }
        // After two quiet minutes the count starts anew; a success resets the tier.
        let late = T + 9_000_000;
        assert_eq!(pool.settle("a", "k8", late, Outcome::Success).await.backoff, ms(0));
        let answer = pool.settle("a", "k9", late + 200_000, quota(None)).await;
        assert_eq!((answer.attempt, answer.backoff), (1, ms(60_000)));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn limits_without_a_reset_follow_their_kind() {
    on_every_host(async |pool: Pool| {
        for (name, kind, expected) in [
            ("a", LimitKind::Rate, 30_000),
            ("b", LimitKind::Unknown, 60_000),
            ("c", LimitKind::Quota, 60_000),
        ] {
            pool.add_all(&[name]).await;
            let answer =
                pool.settle(name, &format!("l{name}"), T, Outcome::RateLimited { kind, reset: None }).await;
            assert_eq!(answer.backoff, ms(expected), "{kind:?}");
        }
        // The kind that nobody knows has a setting.
        let pool = pool.with(&reference(Strategy::Hybrid, &[("defaultCooldownMs", "7000")]));
        for (name, kind, expected) in [("d", LimitKind::Unknown, 7000), ("e", LimitKind::Rate, 30_000)] {
            pool.add_all(&[name]).await;
            let outcome = Outcome::RateLimited { kind, reset: None };
            assert_eq!(pool.settle(name, &format!("l{name}"), T, outcome).await.backoff, ms(expected));
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn each_outcome_has_its_effect() {
    struct Effect {
        outcome: Outcome,
        received: bool,
        health: f64,
        tokens: f64,
        failures: u32,
        backoff: u64,
        limit: Option<NewLimit>,
    }
    let effect = |outcome, health, tokens, failures, backoff| Effect {
        outcome,
        received: false,
        health,
        tokens,
        failures,
        backoff,
        limit: None,
    };
    let limited = |limit, effect| Effect { limit: Some(limit), ..effect };
    let table = [
        effect(Outcome::Success, 71.0, 49.0, 0, 0),
        effect(Outcome::Blocked, 71.0, 49.0, 0, 0),
        limited(NewLimit::Capacity, effect(Outcome::Capacity { jitter_ms: 2000 }, 70.0, 50.0, 0, 17_000)),
        effect(Outcome::Failure, 50.0, 50.0, 1, 0),
        limited(NewLimit::Forbidden, effect(Outcome::Forbidden, 50.0, 50.0, 1, 300_000)),
        limited(NewLimit::Unsupported, effect(Outcome::NotFound, 70.0, 50.0, 0, 300_000)),
        limited(NewLimit::Cooling, effect(Outcome::Unauthorized, 70.0, 50.0, 0, 60_000)),
        effect(Outcome::ClientError, 70.0, 50.0, 0, 0),
        effect(Outcome::Cancelled, 70.0, 50.0, 0, 0),
        Effect { received: true, ..effect(Outcome::Cancelled, 70.0, 49.0, 0, 0) },
        effect(Outcome::Empty, 70.0, 50.0, 0, 0),
        limited(NewLimit::Quota, effect(quota(Some(5000)), 60.0, 49.0, 1, 5000)),
    ];
    for Effect { outcome, received, health, tokens, failures, backoff, limit } in table {
        on_every_host(async |pool: Pool| {
            pool.add_all(&["a"]).await;
            pool.grant("l1", T).await;
            let answer =
                pool.settle_with("a", "l1", T, outcome.clone(), |settle| settle.received = received).await;
            assert_eq!(
                (answer.backoff, answer.limit, answer.invalidated, answer.gone),
                (ms(backoff), limit, false, false),
                "{outcome:?}"
            );
            let view = pool.view("a", T).await;
            let got = (view.health, view.tokens, view.failures, view.in_flight);
            assert_eq!(got, (health, tokens, failures, 0), "{outcome:?}");
            assert_eq!(view.cooling, ms(if outcome == Outcome::Unauthorized { 60_000 } else { 0 }));
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn failures_in_a_row_rest_the_account_and_decay() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        assert_eq!(pool.settle("a", "l1", T, Outcome::Failure).await.backoff, ms(0));
        assert_eq!(pool.settle("a", "l2", T, Outcome::Failure).await.backoff, ms(0));
        let third = pool.settle("a", "l3", T, Outcome::Failure).await;
        assert_eq!((third.backoff, third.limit), (ms(60_000), Some(NewLimit::Failure)));
        let late = T + 600_001;
        assert_eq!(pool.settle("a", "l4", late, Outcome::Failure).await.backoff, ms(0));
        assert_eq!(pool.view("a", late).await.failures, 1);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_verdict_about_a_replaced_credential_changes_nothing() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let grant = pool.grant("l1", T).await;
        assert_eq!(grant.credential, CredentialVersion(1));
        let renewed = pool.add("a", T + 1).await;
        assert_eq!(renewed, PutOutcome::Renewed { credential: CredentialVersion(2) });
        for (n, outcome) in
            [Outcome::Revoked, Outcome::Banned, Outcome::Verification { url: None }].into_iter().enumerate()
        {
            let answer = pool.settle("a", &format!("k{n}"), T + 2, outcome).await;
            assert!(!answer.invalidated);
        }
        let store = pool.store.at(T + 2);
        let cv = CredentialVersion(1);
        let stale = store.invalidate_account(&id("a"), cv, InvalidReason::Banned, None).await.unwrap();
        assert_eq!(stale, InvalidateOutcome::Stale);
        assert_eq!(pool.view("a", T + 2).await.invalid, None);
        // About the current one it does.
        let url = "https://accounts.google.com/signin/continue?x=1".to_owned();
        let verdict = Outcome::Verification { url: Some(url.clone()) };
        let answer = pool
            .settle_with("a", "l1", T + 3, verdict, |settle| settle.credential = CredentialVersion(2))
            .await;
        assert!(answer.invalidated);
        let invalid = pool.view("a", T + 3).await.invalid.unwrap();
        assert_eq!(
            (invalid.reason, invalid.since_ms, invalid.url),
            (InvalidReason::Verification, T + 3, Some(url))
        );
        // A new credential makes it valid again.
        pool.add("a", T + 4).await;
        assert_eq!(pool.view("a", T + 4).await.invalid, None);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn an_account_is_cleared_of_what_was_seen_and_of_nothing_newer() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b"]).await;
        let (a, first, second) = (id("a"), CredentialVersion(1), CredentialVersion(2));
        let banned = async |cv, at| {
            let store = pool.store.at(at);
            let outcome = store.invalidate_account(&a, cv, InvalidReason::Banned, None).await.unwrap();
            assert_eq!(outcome, InvalidateOutcome::Done);
        };
        let cleared = async |cv, since, at| pool.store.at(at).clear_invalid(&a, cv, since).await.unwrap();
        assert_eq!(cleared(first, 0, T).await, ClearOutcome::Stale, "it is valid");
        pool.settle("a", "l1", T, Outcome::Unauthorized).await;
        pool.settle("a", "l2", T, Outcome::Failure).await;
        banned(first, T).await;
        assert_eq!(cleared(first, T, T + 1).await, ClearOutcome::Done);
        let view = pool.view("a", T + 1).await;
        assert_eq!((view.invalid, view.failures, view.cooling), (None, 0, ms(0)));
        assert!((view.health - 70.0).abs() < f64::EPSILON, "{}", view.health);
        // Found invalid again while it was tried.
        banned(first, T + 2).await;
        assert_eq!(cleared(first, T, T + 3).await, ClearOutcome::Stale);
        assert_eq!(pool.view("a", T + 3).await.invalid.unwrap().since_ms, T + 2);
        // Signed in anew meanwhile, and found invalid since.
        pool.add("a", T + 4).await;
        banned(second, T + 5).await;
        for (cv, since) in [(first, T + 2), (first, T + 5), (second, T + 2), (second, T + 4), (second, 0)] {
            assert_eq!(cleared(cv, since, T + 6).await, ClearOutcome::Stale);
        }
        assert!(pool.view("a", T + 6).await.invalid.is_some());
        // Since when is not known any more.
        pool.lose("inv").await;
        assert_eq!(cleared(second, T + 5, T + 7).await, ClearOutcome::Stale);
        assert_eq!(cleared(second, 0, T + 7).await, ClearOutcome::Done);
        assert_eq!(pool.view("a", T + 7).await.invalid, None);
        let gone = pool.store.at(T).clear_invalid(&id("z"), first, 0).await.unwrap();
        assert_eq!(gone, ClearOutcome::Gone);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn one_probe_at_a_time_tests_a_long_limit() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[State { limited: 900_000, ..fresh("a") }, State { limited: 600_000, ..fresh("b") }])
            .await;
        let probing = async |name, at| {
            pool.admit_with(name, at, |admit| admit.probe_after = Some(ms(120_000))).await.decision
        };
        let Decision::Granted(grant) = probing("l1", T).await else { panic!("no probe") };
        assert_eq!((grant.account.as_str(), grant.tier), ("b", Tier::Probe));
        assert_eq!(
            probing("l2", T).await,
            Decision::Wait { wait: ms(600_000), reason: WaitReason::Limited, own: false }
        );
        // The prober's success lifts the limit at once.
        pool.settle("b", "l1", T + 1000, Outcome::Success).await;
        assert_eq!(pool.grant("l3", T + 1000).await.account, id("b"));
        // A failing prober leaves it, and the next one may try when its time is over.
        pool.settle("b", "l3", T + 1000, quota(Some(900_000))).await;
        let Decision::Granted(grant) = probing("l4", T + 1000).await else { panic!("no probe") };
        assert_eq!(grant.account, id("a"));
        pool.settle("a", "l4", T + 2000, quota(Some(900_000))).await;
        let tried = [id("a"), id("b")];
        let admission = pool
            .admit_with("l5", T + 16_000, |admit| {
                admit.probe_after = Some(ms(120_000));
                admit.tried = tried.to_vec();
            })
            .await;
        assert!(matches!(admission.decision, Decision::Wait { .. }), "an account just tried is no probe");
        assert!(matches!(probing("l6", T + 2000).await, Decision::Wait { .. }));
        assert!(matches!(probing("l6", T + 16_000).await, Decision::Granted(_)));
        // Short waits are waited for.
        assert!(matches!(probing("l7", T + 899_000).await, Decision::Wait { .. }));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn accounts_are_put_found_and_removed() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let (a, other) = (id("a"), id("other"));
        let put = PutAccount {
            managed_project: Some("managed"),
            added_at_ms: Some(T - 1000),
            subscription: Some(Subscription { tier: "pro".into(), project: None, seen_at_ms: Some(T) }),
            threshold: Change::Set(0.25),
            model_thresholds: Change::Set(BTreeMap::from([("m".into(), 0.5), ("n".into(), 0.0)])),
            ..new_account(&a, "A@Example.com")
        };
        assert_eq!(store.put_account(&put).await.unwrap(), PutOutcome::Added { number: 1 });
        assert_eq!(store.find_account("a@EXAMPLE.com").await.unwrap(), Some(a.clone()));
        let view = pool.view("a", T).await;
        assert_eq!(
            (view.email.as_str(), view.added_at_ms, view.version),
            ("a@example.com", T - 1000, Version(1))
        );
        assert_eq!(
            (view.threshold, view.subscription.tier.as_str(), view.session.as_str()),
            (Some(0.25), "pro", "sess")
        );
        assert_eq!(view.model_thresholds, BTreeMap::from([("m".to_owned(), 0.5), ("n".to_owned(), 0.0)]));
        assert_eq!(
            pool.hash("th").await,
            BTreeMap::from([("m".into(), "1=0.5".into()), ("n".into(), "1=0".into())])
        );
        let grant = pool.grant("l1", T).await;
        assert_eq!((grant.project.as_deref(), grant.session.as_str()), (Some("managed"), "sess"));

        // The address under another id: seal for the right one and put again.
        let again =
            PutAccount { session: "new", project: Some("p2"), ..new_account(&other, "a@example.com") };
        assert_eq!(store.put_account(&again).await.unwrap(), PutOutcome::Reseal(a.clone()));
        let again = PutAccount { id: &a, ..again };
        let renewed = PutOutcome::Renewed { credential: CredentialVersion(2) };
        assert_eq!(store.put_account(&again).await.unwrap(), renewed);
        let view = pool.view("a", T).await;
        assert_eq!((view.session.as_str(), view.added_at_ms, view.number), ("sess", T - 1000, 1));
        assert_eq!((view.project.as_deref(), view.managed_project.as_deref()), (Some("p2"), Some("managed")));
        assert_eq!((view.in_flight, view.threshold), (1, Some(0.25)), "what is known of it stays");
        let taken = new_account(&a, "b@example.com");
        assert_eq!(store.put_account(&taken).await.unwrap(), PutOutcome::Taken);

        assert!(store.remove_account(&a, &[M.into()]).await.unwrap());
        assert!(!store.remove_account(&a, &[M.into()]).await.unwrap());
        assert_eq!(store.find_account("a@example.com").await.unwrap(), None);
        for key in ["acct", "cred", "hot", "inv", "tok", "quota", "th", "email"] {
            assert!(pool.hash(key).await.is_empty(), "{key}");
        }
        let late = pool.settle("a", "l1", T, Outcome::Failure).await;
        assert!(late.gone);
        assert!(pool.hash("hot").await.is_empty(), "a late settlement creates nothing");
        assert_eq!(
            store.put_account(&new_account(&other, "a@example.com")).await.unwrap(),
            PutOutcome::Added { number: 2 }
        );
    })
    .await;
}

#[tokio::test]
pub(crate) async fn one_account_is_read_by_its_id_or_its_address() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b", "c"]).await;
        let b = id("b");
        pool.grant("l1", T).await;
        pool.settle("b", "l2", T, quota(Some(900_000))).await;
        let put = PutAccount { sealed: "second", ..new_account(&b, "b@example.com") };
        pool.store.at(T).put_account(&put).await.unwrap();
        let owner = owner("me");
        pool.store.at(T).begin_refresh(&b, &owner, ms(1000)).await.unwrap();
        pool.store.at(T).finish_refresh(&b, &owner, CredentialVersion(2), ms(5000), "t").await.unwrap();
        pool.store
            .at(T)
            .invalidate_account(&b, CredentialVersion(2), InvalidReason::Verification, Some("u"))
            .await
            .unwrap();
        let at = T + 1000;
        let store = pool.store.at(at);
        for named in [Named::Id(&b), Named::Email("B@Example.com")] {
            let account = store.get_account(named).await.unwrap().unwrap();
            assert_eq!((account.sealed.as_str(), account.stamp.now_ms), ("second", at));
            assert_eq!(account.view.credential, CredentialVersion(2));
            assert_eq!(account.view.token_ttl, ms(4000));
            // As it is listed, but for its limits.
            let listed = pool.view("b", at).await;
            assert_eq!(listed.limits.len(), 1);
            assert_eq!(account.view, AccountView { limits: Vec::new(), ..listed });
            assert!(!format!("{account:?}").contains("second"));
        }
        assert_eq!(store.get_account(Named::Id(&id("z"))).await.unwrap(), None);
        assert_eq!(store.get_account(Named::Email("z@example.com")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn the_pool_holds_at_most_max_accounts() {
    on_every_host(async |pool: Pool| {
        let limited = SelectionConfig { max_accounts: 2, ..SelectionConfig::default() };
        let pool = pool.with(&limited);
        pool.add_all(&["a", "b"]).await;
        assert_eq!(pool.add("c", T).await, PutOutcome::Full { max: 2 });
        assert!(matches!(pool.add("a", T).await, PutOutcome::Renewed { .. }), "renewing is no adding");
        pool.store.at(T).remove_account(&id("a"), &[]).await.unwrap();
        pool.add_all(&["c"]).await;
    })
    .await;
}

#[tokio::test]
pub(crate) async fn accounts_are_changed_only_when_they_exist_and_are_as_read() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        pool.add_all(&["a", "b"]).await;
        let off = SetAccount { enabled: Some(false), expected: Some(Version(1)), ..SetAccount::default() };
        assert_eq!(store.set_account(&id("a"), &off).await.unwrap(), SetOutcome::Done(Version(2)));
        assert_eq!(store.set_account(&id("a"), &off).await.unwrap(), SetOutcome::Changed(Version(2)));
        assert_eq!(store.set_account(&id("z"), &off).await.unwrap(), SetOutcome::Gone);
        assert_eq!(pool.grant("l1", T).await.account, id("b"));
        let floors = |model: &str, floor| Change::Set(BTreeMap::from([(model.to_owned(), floor)]));
        for (name, change) in [("a", floors("m", 0.5)), ("b", floors("m", 0.25)), ("a", floors("n", 0.1))] {
            let set = SetAccount { model_thresholds: change, ..SetAccount::default() };
            store.set_account(&id(name), &set).await.unwrap();
        }
        assert_eq!(
            pool.hash("th").await,
            BTreeMap::from([("m".into(), "2=0.25".into()), ("n".into(), "1=0.1".into())])
        );
        // Two who change different models at once lose nothing.
        for change in [("m", Some(0.75)), ("o", Some(0.2)), ("n", None), ("never", None)] {
            let models_changed = BTreeMap::from([(change.0.to_owned(), change.1)]);
            let set = SetAccount { models_changed, ..SetAccount::default() };
            store.set_account(&id("a"), &set).await.unwrap();
        }
        assert_eq!(
            pool.hash("th").await,
            BTreeMap::from([("m".into(), "2=0.25 1=0.75".into()), ("o".into(), "1=0.2".into())])
        );
        let floors = BTreeMap::from([("m".to_owned(), 0.75), ("o".to_owned(), 0.2)]);
        assert_eq!(pool.view("a", T).await.model_thresholds, floors);
        let set = SetAccount {
            enabled: Some(true),
            threshold: Change::Set(0.5),
            model_thresholds: Change::Clear,
            project: Change::Clear,
            managed_project: Change::Set("mp".into()),
            tier: Some("ultra".into()),
            ..SetAccount::default()
        };
        store.set_account(&id("a"), &set).await.unwrap();
        let view = pool.view("a", T).await;
        assert!(view.enabled && view.model_thresholds.is_empty());
        assert_eq!(
            (view.project, view.managed_project.as_deref(), view.threshold),
            (None, Some("mp"), Some(0.5))
        );
        assert_eq!((view.subscription.tier.as_str(), view.subscription.seen_at_ms), ("ultra", Some(T)));
        let clear = SetAccount { threshold: Change::Clear, ..SetAccount::default() };
        store.set_account(&id("a"), &clear).await.unwrap();
        assert_eq!(pool.view("a", T).await.threshold, None);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn lists_come_in_pages() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        pool.add_all(&["c", "a", "b"]).await;
        let first = store.list_accounts(0, 2, &[]).await.unwrap();
        let names = |page: &antigravity_proxy::store::ops::listing::AccountPage| {
            page.accounts.iter().map(|account| account.id.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((names(&first), first.total, first.next), (vec!["c".into(), "a".into()], 3, Some(2)));
        let rest = store.list_accounts(2, 2, &[]).await.unwrap();
        assert_eq!((names(&rest), rest.next), (vec!["b".to_owned()], None));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn one_refresher_serves_all() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let (a, me, you) = (id("a"), owner("me"), owner("you"));
        assert_eq!(store.begin_refresh(&a, &me, ms(20_000)).await.unwrap(), Refresh::Gone);
        pool.add_all(&["a"]).await;
        assert_eq!(pool.grant("l1", T).await.token, TokenState::Missing);
        let Refresh::Granted { credential, sealed, .. } =
            store.begin_refresh(&a, &me, ms(20_000)).await.unwrap()
        else {
            panic!("not granted")
        };
        assert_eq!((credential, sealed.as_str()), (CredentialVersion(1), "sealed-credential"));
        assert_eq!(store.begin_refresh(&a, &you, ms(20_000)).await.unwrap(), Refresh::Wait(ms(20_000)));
        let lost = store.finish_refresh(&a, &you, credential, ms(1000), "t").await.unwrap();
        assert_eq!(lost, FinishedRefresh::Lost);
        let kept = store.finish_refresh(&a, &me, credential, ms(300_000), "t1").await.unwrap();
        assert_eq!(kept, FinishedRefresh::Kept(Generation(1)));
        let token = store.begin_refresh(&a, &you, ms(20_000)).await.unwrap();
        assert!(matches!(token, Refresh::Token { generation: Generation(1), sealed, .. } if sealed == "t1"));

        // Admission sends it once, then only says that it is current.
        let sent = pool.grant("l2", T + 1000).await.token;
        let left = ms(299_000);
        assert_eq!(sent, TokenState::Sent { generation: Generation(1), ttl: left, sealed: "t1".into() });
        let known = [(id("a"), Generation(1))];
        let held = granted(pool.admit_with("l3", T + 1000, |admit| admit.known = known.to_vec()).await).token;
        assert_eq!(held, TokenState::Held { generation: Generation(1), ttl: left });
        assert_eq!(pool.grant("l4", T + 300_000).await.token, TokenState::Missing, "ended");

        // Only the refused one is dropped, and its generation never comes back.
        assert!(!store.drop_token(&a, Generation(2)).await.unwrap());
        assert!(store.drop_token(&a, Generation(1)).await.unwrap());
        assert!(!store.drop_token(&a, Generation(1)).await.unwrap());
        store.begin_refresh(&a, &me, ms(20_000)).await.unwrap();
        let kept = store.finish_refresh(&a, &me, credential, ms(300_000), "t2").await.unwrap();
        assert_eq!(kept, FinishedRefresh::Kept(Generation(2)));

        // A new credential makes the token a miss, and a zombie's token is not kept.
        let late = pool.store.at(T + 1);
        late.drop_token(&a, Generation(2)).await.unwrap();
        late.begin_refresh(&a, &me, ms(20_000)).await.unwrap();
        pool.add("a", T + 1).await;
        assert_eq!(
            late.finish_refresh(&a, &me, credential, ms(1), "t3").await.unwrap(),
            FinishedRefresh::Stale
        );
        assert_eq!(pool.grant("l5", T + 1).await.token, TokenState::Missing);

        // The lock ends by itself.
        late.begin_refresh(&a, &me, ms(20_000)).await.unwrap();
        let later = pool.store.at(T + 20_001);
        assert!(matches!(later.begin_refresh(&a, &you, ms(20_000)).await.unwrap(), Refresh::Granted { .. }));
        assert_eq!(
            later.finish_refresh(&a, &me, CredentialVersion(2), ms(1), "z").await.unwrap(),
            FinishedRefresh::Lost
        );
    })
    .await;
}

#[tokio::test]
pub(crate) async fn failed_refreshes_back_off_and_only_revocation_invalidates() {
    on_every_host(async |pool: Pool| {
        let (a, me) = (id("a"), owner("me"));
        pool.add_all(&["a"]).await;
        let mut at = T;
        for pause in [5000, 10_000, 20_000, 40_000, 60_000, 60_000] {
            let store = pool.store.at(at);
            let granted = store.begin_refresh(&a, &me, ms(20_000)).await.unwrap();
            assert!(matches!(granted, Refresh::Granted { .. }), "{pause}");
            let cv = CredentialVersion(1);
            let failed = store.fail_refresh(&a, &me, cv, RefreshFailure::Transient).await.unwrap();
            assert_eq!(failed, FailedRefresh::Paused(ms(pause)));
            let failed = store.fail_refresh(&a, &me, cv, RefreshFailure::Transient).await.unwrap();
            assert_eq!(failed, FailedRefresh::Ignored, "the lock is gone");
            assert_eq!(store.begin_refresh(&a, &me, ms(1)).await.unwrap(), Refresh::Failed(ms(pause)));
            at += i64::try_from(pause).unwrap();
        }
        let store = pool.store.at(at);
        store.begin_refresh(&a, &me, ms(20_000)).await.unwrap();
        let stale = store.fail_refresh(&a, &me, CredentialVersion(7), RefreshFailure::Revoked).await.unwrap();
        assert_eq!(stale, FailedRefresh::Ignored);
        let gone = store.fail_refresh(&a, &me, CredentialVersion(1), RefreshFailure::Revoked).await.unwrap();
        assert_eq!(gone, FailedRefresh::Invalidated);
        let refused = store.begin_refresh(&a, &me, ms(1)).await.unwrap();
        assert_eq!(refused, Refresh::Invalid(InvalidReason::Revoked));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn signatures_come_with_the_admission() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let store = pool.store.at(T);
        let keys: Vec<_> = (0..1500).map(|n| SigKey::new("k", SigKind::Thinking, &n.to_string())).collect();
        let entries: Vec<_> = keys.iter().step_by(2).map(|key| (key.clone(), format!("{key:?}"))).collect();
        store.put_signatures(&entries, ms(7_200_000)).await.unwrap();
        let lease = lease("l1");
        let admit = antigravity_proxy::store::ops::admit::Admit {
            lease: &lease,
            lease_ttl: ms(30_000),
            model: M,
            tried: &[],
            known: &[],
            probe_after: None,
            conversation: None,
        };
        let (admission, found) = store.admit_with_signatures(&admit, &keys, ms(7_200_000)).await.unwrap();
        assert!(matches!(admission.decision, Decision::Granted(_)));
        let expected: Vec<_> =
            keys.iter().enumerate().map(|(n, key)| (n % 2 == 0).then(|| format!("{key:?}"))).collect();
        assert_eq!(found, expected);
        assert_eq!(store.get_signatures(&keys[..3], ms(7_200_000)).await.unwrap(), expected[..3]);
        let theirs = SigKey::new("other", SigKind::Thinking, "0");
        assert_eq!(store.get_signatures(&[theirs], ms(7_200_000)).await.unwrap(), [None]);
        assert!(store.get_signatures(&[], ms(1)).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
#[expect(clippy::float_cmp, reason = "the values are whole numbers")]
pub(crate) async fn shared_settings_lie_between_file_and_flags() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let set = async |expected: Option<u64>, name: &str, value: Option<&str>| {
            let change = BTreeMap::from([((Scope::Selection, name.to_owned()), value.map(str::to_owned))]);
            store.put_settings(expected.map(Version), &change).await.unwrap()
        };
        pool.add_all(&["a"]).await;
        let health = async |base: Option<&str>, pinned: Option<&str>| {
            let map = |value: Option<&str>| {
                value.map(|value| ("health.initial".to_owned(), value.to_owned())).into_iter().collect()
            };
            let config =
                SelectionConfig { base: map(base), pinned: map(pinned), ..SelectionConfig::default() };
            pool.with(&config).view("a", T).await.health
        };
        assert_eq!(health(None, None).await, 70.0);
        assert_eq!(health(Some("60"), None).await, 60.0);
        assert_eq!(set(Some(0), "health.initial", Some("0")).await, PutSettings::Done(Version(1)));
        assert_eq!(health(Some("60"), None).await, 0.0, "zero is a value");
        assert_eq!(health(Some("60"), Some("40")).await, 40.0);
        assert_eq!(set(Some(0), "health.initial", Some("1")).await, PutSettings::Changed(Version(1)));
        let stored = store.get_settings(None).await.unwrap().unwrap();
        assert_eq!((stored.generation, stored.values.len()), (Version(1), 1));
        for nonsense in ["nan", "inf", "1e300", "much", "0x"] {
            set(None, "health.initial", Some(nonsense)).await;
            assert_eq!(health(None, None).await, 70.0, "{nonsense}");
        }
        assert_eq!(set(None, "health.initial", None).await, PutSettings::Done(Version(7)));
        let stored = store.get_settings(None).await.unwrap();
        assert_eq!(stored, Some(StoredSettings { generation: Version(7), values: BTreeMap::new() }));
        // The strategy is one of them, in force with the next admission.
        pool.add_all(&["b"]).await;
        set(None, "strategy", Some("round-robin")).await;
        assert_eq!(pool.grant("l1", T).await.account, id("b"), "hybrid would take a");
        // Nor does one that keeps things for no time at all stop the pool.
        for (name, value) in [("strategy", "sticky"), ("sticky.ttlMs", "0"), ("probeMs", "0")] {
            set(None, name, Some(value)).await;
        }
        granted(pool.admit_with("l2", T, |ask| ask.conversation = "x").await);
        for (account, lease) in [("a", "k1"), ("b", "k2")] {
            let limit = Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(ms(60_000)) };
            pool.settle(account, lease, T, limit).await;
        }
        let probe = granted(pool.admit_with("l3", T, |ask| ask.probe_after = Some(ms(0))).await);
        assert_eq!(probe.tier, Tier::Probe);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn quotas_are_replaced_as_a_whole() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        pool.add_all(&["a", "b"]).await;
        let quota = |model: &str, fraction| ModelQuota {
            model: model.into(),
            fraction,
            reset: Some("2027-01-15T08:00:00Z".into()),
            told: true,
        };
        let empty = |told| ModelQuota { model: format!("empty {told}"), fraction: None, reset: None, told };
        let all = [quota("m", Some(0.01)), quota("n", None), empty(true), empty(false)];
        assert!(store.put_quota(&id("a"), &all).await.unwrap());
        assert!(!store.put_quota(&id("z"), &all).await.unwrap());
        let view = pool.view("a", T).await;
        assert_eq!((view.quota_at_ms, view.quotas.as_slice()), (Some(T), &all[..]));
        assert_eq!(pool.grant("l1", T).await.account, id("b"), "a is critical");
        // m is listed no more, so it is unknown, though it was critical.
        store.put_quota(&id("a"), &all[1..]).await.unwrap();
        assert_eq!(pool.grant("l2", T).await.account, id("a"));
        // Limits survive a renewal of quotas.
        let limited = Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(ms(60_000)) };
        pool.settle("a", "l2", T, limited.clone()).await;
        store.put_quota(&id("a"), &all).await.unwrap();
        assert_eq!(pool.view("a", T).await.limits.len(), 1);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn catalogue_and_elections() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        assert_eq!(store.get_models().await.unwrap(), None);
        store.put_models("[\"m\"]").await.unwrap();
        let models = pool.store.at(T + 5).get_models().await.unwrap().unwrap();
        assert_eq!((models.age, models.text.as_str()), (ms(5), "[\"m\"]"));
        let (me, you) = (owner("me"), owner("you"));
        assert_eq!(store.try_lock("w", &me, ms(1000)).await.unwrap(), Lock::Taken);
        assert_eq!(store.try_lock("w", &me, ms(2000)).await.unwrap(), Lock::Taken);
        assert_eq!(store.try_lock("w", &you, ms(1000)).await.unwrap(), Lock::Held(ms(2000)));
        assert!(!store.unlock("w", &you).await.unwrap());
        assert!(store.unlock("w", &me).await.unwrap());
        assert_eq!(store.try_lock("w", &you, ms(1000)).await.unwrap(), Lock::Taken);
        assert_eq!(pool.store.at(T + 1000).try_lock("w", &me, ms(1)).await.unwrap(), Lock::Taken);

        assert_eq!(store.pause("p", &me, ms(1000)).await.unwrap(), Lock::Taken);
        assert_eq!(store.try_lock("p", &you, ms(1000)).await.unwrap(), Lock::Paused(ms(1000)));
        assert_eq!(store.pause("p", &you, ms(1000)).await.unwrap(), Lock::Paused(ms(1000)));
        // Its owner goes back to the work, or gives it up.
        assert_eq!(store.try_lock("p", &me, ms(500)).await.unwrap(), Lock::Taken);
        assert_eq!(store.pause("p", &you, ms(1000)).await.unwrap(), Lock::Held(ms(500)));
        assert_eq!(store.pause("p", &me, ms(1000)).await.unwrap(), Lock::Taken);
        assert!(!store.unlock("p", &you).await.unwrap());
        assert!(store.unlock("p", &me).await.unwrap());
        assert_eq!(store.pause("p", &you, ms(1000)).await.unwrap(), Lock::Taken);
        assert_eq!(pool.store.at(T + 999).try_lock("p", &me, ms(1)).await.unwrap(), Lock::Paused(ms(1)));
        assert_eq!(pool.store.at(T + 1000).try_lock("p", &me, ms(1)).await.unwrap(), Lock::Taken);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_document_is_remembered_by_its_content() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let (one, other) = (DocumentDigest::of(b"[1]"), DocumentDigest::of(b"[2]"));
        assert!(!store.was_imported(&one).await.unwrap());
        assert!(!store.was_imported(&one).await.unwrap(), "asking remembers nothing");
        assert!(!store.note_import(&one).await.unwrap());
        assert!(store.was_imported(&one).await.unwrap());
        assert!(store.note_import(&one).await.unwrap(), "twice");
        assert!(!store.was_imported(&other).await.unwrap());
    })
    .await;
}

#[tokio::test]
pub(crate) async fn usage_is_counted_in_the_hour_of_admission() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let entry = UsageEntry {
            model: None,
            status: StatusClass::Success,
            client_key: "key-1",
            input: 10,
            output: 20,
            cache_read: 5,
            thinking: 2,
            latency: ms(1500),
        };
        for n in 0..2 {
            let settled = |settle: &mut antigravity_proxy::store::ops::settle::Settle<'_>| {
                settle.usage = Some(entry);
                settle.admitted_at_ms = T;
            };
            let name = format!("l{n}");
            pool.settle_with("a", &name, T + 4_000_000, Outcome::Success, settled).await;
            pool.settle_with("a", &name, T + 4_000_000, Outcome::Success, settled).await;
        }
        pool.settle("a", "l3", T, Outcome::Success).await;
        let rows = pool.hash(&format!("usage:{}", T / 3_600_000)).await;
        let row = ("m\u{1f}success\u{1f}key-1".to_owned(), "2|20|40|10|4|3000".to_owned());
        assert_eq!(rows, BTreeMap::from([row]));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_change_of_settings_is_made_whole_or_not_at_all() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let changes = |value: Option<&str>| {
            let names = [(Scope::Selection, "maxAccounts"), (Scope::Gateway, "maxRetries")];
            names.map(|(scope, name)| ((scope, name.to_owned()), value.map(str::to_owned))).into()
        };
        assert_eq!(store.get_settings(Some(Version(0))).await.unwrap(), None, "nothing was ever changed");
        let done = store.put_settings(Some(Version(0)), &changes(Some("7"))).await.unwrap();
        assert_eq!(done, PutSettings::Done(Version(1)));
        let late = store.put_settings(Some(Version(0)), &changes(Some("8"))).await.unwrap();
        assert_eq!(late, PutSettings::Changed(Version(1)));
        let stored = store.get_settings(Some(Version(0))).await.unwrap().unwrap();
        let values: Vec<_> = stored.values.iter().map(|((_, name), value)| (&**name, &**value)).collect();
        assert_eq!(values, [("maxAccounts", "7"), ("maxRetries", "7")]);
        assert_eq!(store.get_settings(Some(Version(1))).await.unwrap(), None);
        assert_eq!(store.put_settings(None, &changes(None)).await.unwrap(), PutSettings::Done(Version(2)));
        assert!(store.get_settings(None).await.unwrap().unwrap().values.is_empty());
    })
    .await;
}

#[tokio::test]
pub(crate) async fn changes_are_published() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        let channel = pool.keys.channel();
        pool.add_all(&["a"]).await;
        pool.settle("a", "l1", T, quota(Some(60_000))).await;
        pool.settle("a", "l2", T, quota(Some(60_000))).await;
        pool.settle("a", "l3", T, Outcome::Revoked).await;
        pool.store.at(T).put_settings(None, &BTreeMap::new()).await.unwrap();
        pool.store.at(T).put_models("x").await.unwrap();
        let expected = [
            PoolEvent::Account(id("a")),
            PoolEvent::Limit(id("a")),
            PoolEvent::Account(id("a")),
            PoolEvent::Settings,
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
pub(crate) async fn without_a_fixed_time_the_store_uses_its_own() {
    on_every_host(async |pool: Pool| {
        let store = &pool.store;
        store.put_account(&new_account(&id("a"), "a@example.com")).await.unwrap();
        let page = store.list_accounts(0, 1, &[]).await.unwrap();
        assert!(page.stamp.now_ms > 1_600_000_000_000 && page.stamp.seq >= 1);
        assert!(page.accounts[0].added_at_ms <= page.stamp.now_ms);
    })
    .await;
}
