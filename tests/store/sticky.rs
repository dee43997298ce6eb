//! Sticky: the vectors V24–V31 of spec `dispatch.md` §5.5, told by one conversation, and what many need besides.

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::ops::accounts::SetAccount;
use antigravity_proxy::store::ops::admit::{Decision, Tier, WaitReason};
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};

use crate::harness::{
    Ask, M, Pool, State, T, conversation, fresh, granted, id, ms, on_every_host, reference,
};

fn sticky(pool: &Pool, more: &[(&str, &str)]) -> Pool {
    pool.with(&reference(Strategy::Sticky, more))
}

/// The decision for conversation `talk` at `T`, whose account is `current`.
async fn decision(pool: &Pool, states: &[State], current: &str, model: &'static str) -> Decision {
    let pool = sticky(pool, &[]);
    pool.arrange(states).await;
    pool.remember("talk", M, current).await;
    pool.remember("talk", "other", current).await;
    let ask = |ask: &mut Ask| {
        ask.conversation = "talk";
        ask.model = model;
        ask.probe_after = Some(ms(120_000));
    };
    pool.admit_with("l1", T, ask).await.decision
}

fn account(decision: Decision) -> String {
    match decision {
        Decision::Granted(grant) => {
            assert_eq!((grant.throttle, grant.tier), (ms(0), Tier::Normal));
            grant.account.as_str().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
pub(crate) async fn vectors_in_which_another_account_is_free() {
    let limited = |id, limited| State { limited, ..fresh(id) };
    for (name, states, current, chosen) in [
        ("V24", vec![limited("a", 3000), fresh("b"), fresh("c")], "a", "b"),
        ("V27", vec![fresh("a"), fresh("b"), State { invalid: true, ..fresh("c") }], "c", "a"),
        ("V28", vec![fresh("a"), fresh("b")], "z", "a"),
        ("V31", vec![limited("a", 3000), fresh("b")], "a", "b"),
    ] {
        on_every_host(async |pool: Pool| {
            assert_eq!(account(decision(&pool, &states, current, M).await), chosen, "{name}");
            assert!((pool.view(chosen, T).await.tokens - 50.0).abs() < 1e-9, "the bucket is hybrid's");
        })
        .await;
    }
    on_every_host(async |pool: Pool| {
        let states = [limited("a", 3000), fresh("b")];
        assert_eq!(account(decision(&pool, &states, "a", "other").await), "a", "V31: limited for m only");
    })
    .await;
}

/// The reference's "none, wait 0" leaves the wait to its dispatcher, which takes the smallest of the pool; V30's
/// account cools down, which its dispatcher did not see (T21).
#[tokio::test]
pub(crate) async fn vectors_in_which_nobody_is_free() {
    let limited = |id, limited| State { limited, ..fresh(id) };
    let off = |id| State { enabled: false, ..fresh(id) };
    let waits = |wait, own| Decision::Wait { wait: ms(wait), reason: WaitReason::Limited, own };
    for (name, states, current, expected) in [
        ("V25", vec![limited("a", 120_000), limited("b", 5000)], "a", waits(120_000, true)),
        ("V26", vec![limited("a", 120_001), limited("b", 5000)], "a", waits(5000, false)),
        ("V29", vec![off("a"), limited("b", 5000)], "a", waits(5000, false)),
        (
            "V30",
            vec![State { cooling: 5000, ..fresh("a") }, off("b")],
            "a",
            Decision::Wait { wait: ms(5000), reason: WaitReason::Cooling, own: false },
        ),
    ] {
        on_every_host(async |pool: Pool| {
            assert_eq!(decision(&pool, &states, current, M).await, expected, "{name}");
        })
        .await;
    }
}

/// Admits for `talk`; the account.
async fn turn(pool: &Pool, lease: &str, talk: &'static str, at: i64) -> String {
    granted(pool.admit_with(lease, at, |ask| ask.conversation = talk).await).account.as_str().to_owned()
}

#[tokio::test]
pub(crate) async fn conversations_are_spread_and_stay() {
    on_every_host(async |pool: Pool| {
        let pool = sticky(&pool, &[]);
        pool.add_all(&["a", "b", "c"]).await;
        let talks = ["t1", "t2", "t3", "t4", "t5"];
        let mut first = Vec::new();
        for talk in talks {
            first.push(turn(&pool, &format!("{talk}-1"), talk, T).await);
        }
        assert_eq!(first, ["a", "b", "c", "a", "b"]);
        for (talk, account) in talks.iter().zip(&first) {
            assert_eq!(&turn(&pool, &format!("{talk}-2"), talk, T + 60_000).await, account);
        }
        let counts = async |at| {
            let mut counts = Vec::new();
            for name in ["a", "b", "c"] {
                counts.push(pool.view(name, at).await.conversations);
            }
            counts
        };
        assert_eq!(counts(T).await, [2, 2, 1]);
        // Without a conversation a request goes where there is least, and is not counted.
        assert_eq!(pool.grant("l1", T + 60_000).await.account, id("c"));
        assert_eq!(counts(T).await, [2, 2, 1]);
        // After an hour without a request the conversations are forgotten.
        assert_eq!(turn(&pool, "l2", "t9", T + 3_660_000).await, "a");
        assert_eq!(counts(T).await, [1, 0, 0]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_conversation_moves_once_and_stays_there() {
    on_every_host(async |pool: Pool| {
        let pool = sticky(&pool, &[]);
        pool.add_all(&["a", "b", "c"]).await;
        assert_eq!(turn(&pool, "l1", "t1", T).await, "a");
        let reset = Some(ms(600_000));
        pool.settle("a", "l1", T, Outcome::RateLimited { kind: LimitKind::Quota, reset }).await;
        assert_eq!(turn(&pool, "l2", "t1", T + 1).await, "b", "the next in order");
        assert_eq!(turn(&pool, "l3", "t1", T + 700_000).await, "b", "also when the limit is over");
        let views = [pool.view("a", T).await.conversations, pool.view("b", T).await.conversations];
        assert_eq!(views, [0, 1]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn accounts_that_are_spared_get_no_new_conversation_but_keep_theirs() {
    on_every_host(async |pool: Pool| {
        let pool = sticky(&pool, &[]);
        pool.arrange(&[
            State { quota: Some((0.02, 0)), ..fresh("a") },
            State { health: 10.0, ..fresh("b") },
            fresh("c"),
        ])
        .await;
        pool.remember("old", M, "a").await;
        assert_eq!(turn(&pool, "l1", "old", T).await, "a");
        for n in 0..3 {
            assert_eq!(turn(&pool, &format!("n{n}"), ["x", "y", "z"][n], T).await, "c");
        }
        let off = SetAccount { enabled: Some(false), ..SetAccount::default() };
        pool.store.at(T).set_account(&id("c"), &off).await.unwrap();
        let admission = pool.admit_with("l2", T, |ask| ask.conversation = "x").await;
        let grant = granted(admission);
        assert_eq!((grant.account, grant.tier), (id("a"), Tier::Quota), "a low quota before bad health");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_conversation_may_wait_for_its_account() {
    on_every_host(async |pool: Pool| {
        let pool = sticky(&pool, &[("sticky.waitMs", "3000")]);
        pool.arrange(&[State { limited: 3000, ..fresh("a") }, fresh("b")]).await;
        pool.remember("talk", M, "a").await;
        let ask = |ask: &mut Ask| ask.conversation = "talk";
        let expected = Decision::Wait { wait: ms(3000), reason: WaitReason::Limited, own: true };
        assert_eq!(pool.admit_with("l1", T, ask).await.decision, expected);
        let moved = granted(pool.admit_with("l2", T - 1, ask).await);
        assert_eq!(moved.account, id("b"), "not for longer than that");
        // It is waited for, however long that is: not probed.
        let impatient = |ask: &mut Ask| {
            ask.conversation = "talk";
            ask.probe_after = Some(ms(0));
        };
        pool.remember("talk", M, "a").await;
        assert_eq!(pool.admit_with("l3", T, impatient).await.decision, expected);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn an_account_just_tried_is_not_asked_again_while_another_is_free() {
    on_every_host(async |pool: Pool| {
        let pool = sticky(&pool, &[]);
        pool.add_all(&["a", "b"]).await;
        assert_eq!(turn(&pool, "l1", "talk", T).await, "a");
        let tried = |ask: &mut Ask| {
            ask.conversation = "talk";
            ask.tried = vec![id("a")];
        };
        assert_eq!(granted(pool.admit_with("l2", T, tried).await).account, id("b"));
        let both = |ask: &mut Ask| {
            ask.conversation = "talk";
            ask.tried = vec![id("a"), id("b")];
        };
        let grant = granted(pool.admit_with("l3", T, both).await);
        assert_eq!((grant.account, grant.tried), (id("a"), true), "behind b comes a");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn models_and_clients_have_their_own_accounts() {
    on_every_host(async |pool: Pool| {
        let pool = sticky(&pool, &[]);
        pool.add_all(&["a", "b"]).await;
        assert_eq!(turn(&pool, "l1", "talk", T).await, "a");
        let other = |ask: &mut Ask| {
            ask.conversation = "talk";
            ask.model = "n";
        };
        assert_eq!(granted(pool.admit_with("l2", T, other).await).account, id("b"));
        assert_eq!(turn(&pool, "l3", "talk", T).await, "a");
        assert_ne!(conversation("talk", "m"), conversation("talk", "n"));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn hybrid_prefers_the_conversations_last_account_by_its_weight() {
    for (weight, second) in [("0", "b"), ("150", "a")] {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(Strategy::Hybrid, &[("weights.affinity", weight)]));
            pool.arrange(&[fresh("a"), State { used_ago: Some(600_000), ..fresh("b") }]).await;
            assert_eq!(turn(&pool, "l1", "talk", T).await, "a");
            pool.settle("a", "l1", T, Outcome::Success).await;
            assert_eq!(turn(&pool, "l2", "talk", T + 30_000).await, second, "{weight}");
        })
        .await;
    }
}
