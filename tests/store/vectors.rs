//! The selection and tracker vectors of spec `dispatch.md` §5.5.

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::ops::admit::{Decision, Tier, WaitReason};
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};

use crate::harness::{M, Pool, State, T, fresh, granted, id, ms, on_every_host, reference, used};

struct Vector {
    name: &'static str,
    states: Vec<State>,
    settings: &'static [(&'static str, &'static str)],
    chosen: &'static str,
    tier: Tier,
    throttle: u64,
    tokens_left: f64,
}

fn vector(name: &'static str, states: Vec<State>, chosen: &'static str) -> Vector {
    Vector { name, states, settings: &[], chosen, tier: Tier::Normal, throttle: 0, tokens_left: 49.0 }
}

fn hybrid_vectors() -> Vec<Vector> {
    let quota = |state: State, fraction, age| State { quota: Some((fraction, age)), ..state };
    let health = |state: State, health| State { health, ..state };
    let tokens = |state: State, tokens| State { tokens, ..state };
    vec![
        vector("V1", vec![used("a", 10_000), used("b", 600_000), used("c", 60_000)], "b"),
        vector("V2", vec![tokens(fresh("a"), 10.0), used("b", 1000)], "b"),
        vector("V3", vec![used("a", 5000), used("b", 5000), used("c", 5000)], "a"),
        vector(
            "V4",
            vec![quota(used("a", 60_000), 0.2, 0), quota(used("b", 60_000), 0.8, 0), used("c", 60_000)],
            "b",
        ),
        vector("V5", vec![quota(fresh("a"), 0.05, 0), quota(used("b", 0), 0.06, 0)], "b"),
        vector("V6", vec![quota(fresh("a"), 0.01, 300_000), quota(used("b", 0), 0.5, 300_000)], "a"),
        vector("V7", vec![quota(fresh("a"), 0.01, 299_999), quota(used("b", 0), 0.5, 299_999)], "b"),
        Vector {
            settings: &[("globalQuotaThreshold", "0.2")],
            ..vector(
                "V8",
                vec![
                    State { threshold: Some(0.3), ..quota(fresh("a"), 0.25, 0) },
                    State {
                        threshold: Some(0.3),
                        model_threshold: Some(0.1),
                        ..quota(used("b", 100_000), 0.25, 0)
                    },
                    quota(used("c", 200_000), 0.15, 0),
                    State { model_threshold: Some(0.0), ..quota(used("d", 100_000), 0.1, 0) },
                ],
                "b",
            )
        },
        Vector {
            tier: Tier::Quota,
            ..vector("V9", vec![quota(used("a", 60_000), 0.02, 0), quota(used("b", 0), 0.01, 0)], "a")
        },
        Vector {
            tier: Tier::Emergency,
            throttle: 250,
            ..vector("V10", vec![health(used("a", 10_000), 40.0), health(used("b", 10_000), 30.0)], "a")
        },
        Vector {
            tier: Tier::LastResort,
            throttle: 500,
            tokens_left: 0.0,
            ..vector("V11", vec![tokens(used("a", 10_000), 0.0), tokens(used("b", 20_000), 0.0)], "b")
        },
        Vector {
            tier: Tier::Emergency,
            throttle: 250,
            ..vector("V12", vec![tokens(fresh("a"), 0.0), health(used("b", 0), 30.0)], "b")
        },
        Vector {
            tier: Tier::Quota,
            ..vector("V13", vec![quota(used("a", 0), 0.01, 0), health(fresh("b"), 30.0)], "a")
        },
        vector("V17 a", vec![used("a", 0), health(used("b", 199_000), 60.0)], "a"),
        vector("V17 b", vec![used("a", 0), health(used("b", 201_000), 60.0)], "b"),
    ]
}

#[tokio::test]
pub(crate) async fn hybrid_chooses_as_the_vectors_say() {
    for vector in hybrid_vectors() {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(Strategy::Hybrid, vector.settings));
            pool.arrange(&vector.states).await;
            let grant = pool.grant("l1", T).await;
            let got = (grant.account.as_str(), grant.tier, grant.throttle);
            assert_eq!(got, (vector.chosen, vector.tier, ms(vector.throttle)), "{}", vector.name);
            let view = pool.view(vector.chosen, T).await;
            assert!((view.tokens - vector.tokens_left).abs() < 1e-9, "{}: {}", vector.name, view.tokens);
            assert_eq!(view.last_used_ms, Some(T));
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn v14_health_recovers_by_time() {
    for (at, tier, throttle) in [(T + 3_599_999, Tier::Emergency, 250), (T + 3_600_000, Tier::Normal, 0)] {
        on_every_host(async |pool: Pool| {
            pool.arrange(&[fresh("a")]).await;
            for model in ["x", "y", "z"] {
                let limited = Outcome::RateLimited { kind: LimitKind::Rate, reset: None };
                pool.settle_with("a", &format!("l{model}"), T, limited, |settle| settle.model = model).await;
            }
            assert!((pool.view("a", T).await.health - 40.0).abs() < 1e-9);
            let grant = pool.grant("l1", at).await;
            assert_eq!((grant.tier, grant.throttle), (tier, ms(throttle)), "{at}");
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn v15_bucket_refills_by_time() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[State { tokens: 0.0, ..fresh("a") }]).await;
        let grant = pool.grant("l1", T + 9000).await;
        assert_eq!((grant.tier, grant.throttle), (Tier::LastResort, ms(500)));
        let grant = pool.grant("l2", T + 10_000).await;
        assert_eq!((grant.tier, grant.throttle), (Tier::Normal, ms(0)));
        assert!(pool.view("a", T + 10_000).await.tokens.abs() < 1e-9);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn v16_waits_for_the_limit() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[
            State { limited: 1000, ..fresh("a") },
            State { enabled: false, ..fresh("b") },
            State { invalid: true, ..fresh("c") },
        ])
        .await;
        assert_eq!(
            pool.admit("l1", T).await.decision,
            Decision::Wait { wait: ms(1000), reason: WaitReason::Limited, own: false }
        );
        assert_eq!(pool.grant("l1", T + 1000).await.account, id("a"), "equality means expired");
    })
    .await;
}

async fn picks(pool: &Pool, from: usize, count: usize, step: i64) -> String {
    let mut picked = String::new();
    for n in from..from + count {
        let at = T + i64::try_from(n).unwrap() * step;
        picked += pool.grant(&format!("l{n}"), at).await.account.as_str();
    }
    picked
}

#[tokio::test]
pub(crate) async fn v18_hybrid_rotates() {
    for step in [0, 1000] {
        on_every_host(async |pool: Pool| {
            pool.add_all(&["a", "b", "c"]).await;
            assert_eq!(picks(&pool, 0, 8, step).await, "abcabcab");
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn v19_one_selection_per_request_uses_every_account() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b"]).await;
        assert_eq!(picks(&pool, 0, 10, 1000).await, "ababababab", "5 each, where the reference gives b all");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn round_robin_vectors() {
    // V21 and V22 as mended: one selection per request, so nobody is skipped.
    for (accounts, expected) in
        [(&["a", "b"][..], "bababababa"), (&["a", "b", "c", "d"][..], "bcdabcda"), (&["a"][..], "aaa")]
    {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(Strategy::RoundRobin, &[]));
            pool.add_all(accounts).await;
            assert_eq!(picks(&pool, 0, expected.len(), 0).await, expected);
            assert!((pool.view("a", T).await.tokens - 50.0).abs() < 1e-9, "the bucket is hybrid's");
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn v20_round_robin_skips_what_is_off() {
    on_every_host(async |pool: Pool| {
        let pool = pool.with(&reference(Strategy::RoundRobin, &[]));
        pool.add_all(&["a", "b", "c"]).await;
        assert_eq!(picks(&pool, 0, 4, 0).await, "bcab");
        let off = antigravity_proxy::store::ops::accounts::SetAccount {
            enabled: Some(false),
            ..Default::default()
        };
        pool.store.at(T).set_account(&id("b"), &off).await.unwrap();
        assert_eq!(picks(&pool, 4, 3, 0).await, "cac");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn v23_cursor_behind_a_shorter_list_starts_over() {
    on_every_host(async |pool: Pool| {
        let pool = pool.with(&reference(Strategy::RoundRobin, &[]));
        pool.add_all(&["a", "b", "c"]).await;
        assert_eq!(picks(&pool, 0, 2, 0).await, "bc");
        assert!(pool.store.at(T).remove_account(&id("c"), &[M.into()]).await.unwrap());
        assert_eq!(picks(&pool, 2, 1, 0).await, "b");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn trackers() {
    on_every_host(async |pool: Pool| {
        let health = async |at| pool.view("a", at).await.health;
        let near = |left: f64, right: f64| assert!((left - right).abs() < 1e-9, "{left} {right}");
        pool.arrange(&[fresh("a")]).await;
        let limited = Outcome::RateLimited { kind: LimitKind::Rate, reset: Some(ms(1)) };
        pool.settle("a", "l1", T, limited).await;
        near(health(T).await, 60.0);
        pool.settle("a", "l2", T, Outcome::Failure).await;
        near(health(T).await, 40.0);
        let later = T + 1_800_000;
        near(health(later).await, 45.0);
        pool.settle("a", "l3", later, Outcome::Success).await;
        near(health(later).await, 46.0);
        near(health(T).await, 46.0); // a clock that stepped back stands still
    })
    .await;
    on_every_host(async |pool: Pool| {
        let near = |left: f64, right: f64| assert!((left - right).abs() < 1e-9, "{left} {right}");
        let settings = [("health.successReward", "5"), ("health.failurePenalty", "-50")];
        let pool = pool.with(&reference(Strategy::Hybrid, &settings));
        pool.arrange(&[
            State { health: 99.0, ..fresh("a") },
            State { health: 10.0, ..fresh("b") },
            State { tokens: 0.0, ..fresh("c") },
        ])
        .await;
        pool.settle("a", "l1", T, Outcome::Success).await;
        near(pool.view("a", T).await.health, 100.0);
        pool.settle("b", "l2", T, Outcome::Failure).await;
        near(pool.view("b", T).await.health, 0.0);
        near(pool.view("c", T + 25_000).await.tokens, 2.5);
        near(pool.view("a", T).await.tokens, 50.0);
        let grant = granted(pool.admit("l4", T).await);
        assert_eq!(grant.account, id("a"));
        near(pool.view("a", T).await.tokens, 49.0);
        pool.settle("a", "l4", T, Outcome::ClientError).await;
        near(pool.view("a", T).await.tokens, 50.0);
        pool.settle("a", "l5", T, Outcome::ClientError).await;
        near(pool.view("a", T).await.tokens, 50.0);
    })
    .await;
}
