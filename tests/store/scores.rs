//! Choices that hang on the last digit of a score, and ties.

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::host::Call;
use antigravity_proxy::store::ops::admit::{Decision, Tier, WaitReason};
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};
use antigravity_proxy::store::script::Script;

use crate::harness::{Pool, State, T, fresh, granted, id, ms, on_every_host, reference, used};

/// Each pair differs by two hundredths of a point or less, by spec `dispatch.md` §5.4.
#[tokio::test]
pub(crate) async fn small_differences_of_score_decide() {
    let quota = |state: State, fraction| State { quota: Some((fraction, 0)), ..state };
    let both = |a: State, b: State| vec![a, b];
    let rested = |health| State { health, ..used("a", 500_000) };
    let at = |id, health, tokens| State { health, tokens, ..used(id, 10_000) };
    for (states, chosen) in [
        // 500 + 140 against 490 + 150.02 and 149.98.
        (both(at("a", 70.0, 50.0), at("b", 75.01, 49.0)), "b"),
        (both(at("a", 70.0, 50.0), at("b", 74.99, 49.0)), "a"),
        // 150 + 140 against 147 + 143.02 and 142.98.
        (both(quota(at("a", 70.0, 50.0), 0.5), quota(at("b", 71.51, 50.0), 0.49)), "b"),
        (both(quota(at("a", 70.0, 50.0), 0.5), quota(at("b", 71.49, 50.0), 0.49)), "a"),
        // 50 + 120 against 0 + 170.02 and 169.98.
        (both(rested(60.0), State { health: 85.01, ..used("b", 0) }), "b"),
        (both(rested(60.0), State { health: 84.99, ..used("b", 0) }), "a"),
        // 360 + 120 against 359.9 + 120.09998: an hour counts as a whole.
        (
            both(State { health: 60.0, ..fresh("a") }, State { health: 60.049_99, ..used("b", 3_599_000) }),
            "a",
        ),
    ] {
        on_every_host(async |pool: Pool| {
            pool.arrange(&states).await;
            assert_eq!(pool.grant("l1", T).await.account.as_str(), chosen, "{}", states[1].health);
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn a_bucket_that_fills_slowly_fills_to_the_millisecond() {
    on_every_host(async |pool: Pool| {
        let pool = pool.with(&reference(Strategy::Hybrid, &[("bucket.perMinute", "0.001")]));
        pool.arrange(&[State { tokens: 0.0, ..fresh("a") }]).await;
        assert_eq!(pool.grant("l1", T + 59_999_999).await.tier, Tier::LastResort);
        assert_eq!(pool.grant("l2", T + 60_000_000).await.tier, Tier::Normal);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn requests_in_flight_count_by_their_weight() {
    for (weight, chosen) in [("-1", "b"), ("1", "a"), ("0", "a")] {
        on_every_host(async |pool: Pool| {
            let settings = [("weights.inFlight", weight), ("weights.lru", "0"), ("weights.tokens", "0")];
            let pool = pool.with(&reference(Strategy::Hybrid, &settings));
            pool.add_all(&["a", "b"]).await;
            let first = pool.admit_with("l1", T, |ask| ask.tried = vec![id("a")]).await;
            assert_eq!(granted(first).account, id("b"));
            assert_eq!(pool.grant("l2", T).await.account.as_str(), chosen, "{weight}");
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn a_limit_that_ends_with_a_cooldown_is_told_as_the_cooldown() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        pool.settle("a", "l1", T, Outcome::Unauthorized).await;
        let limited = |reset| Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(ms(reset)) };
        pool.settle("a", "l2", T, limited(60_000)).await;
        let cooling = Decision::Wait { wait: ms(60_000), reason: WaitReason::Cooling, own: false };
        assert_eq!(pool.admit("l3", T).await.decision, cooling);
        pool.settle("a", "l4", T, limited(60_001)).await;
        let quota = Decision::Wait { wait: ms(60_001), reason: WaitReason::Limited, own: false };
        assert_eq!(pool.admit("l5", T).await.decision, quota);
    })
    .await;
}

/// Spec `dispatch.md` §5.1.
#[tokio::test]
pub(crate) async fn an_unknown_strategy_is_hybrid_with_all_its_weights() {
    for strategy in ["hybrid", "other"] {
        on_every_host(async |pool: Pool| {
            let pool = pool
                .with(&reference(Strategy::Hybrid, &[("strategy", strategy), ("weights.affinity", "1000")]));
            pool.add_all(&["a", "b"]).await;
            for n in 0..3 {
                let name = format!("l{n}");
                let ask = pool.admit_with(&name, T, |ask| ask.conversation = "x").await;
                assert_eq!(granted(ask).account, id("a"), "{strategy}: the conversation stays");
            }
        })
        .await;
    }
}

/// Where a store keeps accounts in another order than theirs, as Redis does when there are many.
#[tokio::test]
pub(crate) async fn ties_go_to_the_oldest_account_wherever_it_stands() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[State { limited: 60_000, ..fresh("a") }, State { limited: 60_000, ..fresh("b") }])
            .await;
        renumber(&pool, &[("a", 2), ("b", 1)]).await;
        let probe = granted(pool.admit_with("l1", T, |ask| ask.probe_after = Some(ms(0))).await);
        assert_eq!((probe.account, probe.tier), (id("b"), Tier::Probe));
    })
    .await;
    on_every_host(async |pool: Pool| {
        // What limits the second account is kept by its number, so it will be a's.
        pool.arrange(&[fresh("a"), State { limited: 60_000, cooling: 60_000, ..fresh("b") }]).await;
        renumber(&pool, &[("a", 2), ("b", 1)]).await;
        let cooling = Decision::Wait { wait: ms(60_000), reason: WaitReason::Cooling, own: false };
        assert_eq!(pool.admit("l0", T).await.decision, cooling);
    })
    .await;
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b", "c"]).await;
        renumber(&pool, &[("a", 3), ("b", 1), ("c", 2)]).await;
        for (n, expected) in ["b", "c", "a"].into_iter().enumerate() {
            assert_eq!(pool.grant(&format!("l{n}"), T).await.account, id(expected));
        }
    })
    .await;
}

/// Puts an account at another place of the order.
static PLACE: Script = Script::periodic("place", "return redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])");

/// Gives accounts other numbers, as selection sees them.
async fn renumber(pool: &Pool, numbers: &[(&str, u8)]) {
    for (account, number) in numbers {
        let place = Call::new(&PLACE).key(pool.key("roster")).arg(i64::from(*number)).arg(*account);
        pool.host.eval(vec![place]).await.unwrap();
        let mut record = pool.field("hot", account).await.unwrap();
        record[1..9].copy_from_slice(&f64::from(*number).to_le_bytes());
        pool.put_field("hot", account, &record).await;
    }
}
