//! The explanation is the admission's own: it names whom the next admission takes, and changes nothing.

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::ident::InvalidReason;
use antigravity_proxy::store::ops::admit::{Decision, Tier};
use antigravity_proxy::store::ops::explain::{Explain, Explanation, Outcome, Verdict};

use crate::harness::{
    M, Pool, State, T, conversation, fresh, granted, id, ms, on_every_host, reference, used,
};

async fn explain(pool: &Pool, talk: &str) -> Explanation {
    let talk = conversation(talk, M);
    let ask = Explain { model: M, conversation: Some(&talk), probe_after: Some(ms(120_000)) };
    pool.store.at(T).explain(&ask).await.unwrap()
}

fn verdict<'e>(explanation: &'e Explanation, account: &str) -> &'e Verdict {
    &explanation.candidates.iter().find(|one| one.account == id(account)).unwrap().verdict
}

fn pool_of_all_kinds() -> Vec<State> {
    vec![
        State { enabled: false, ..fresh("off") },
        State { invalid: true, ..fresh("revoked") },
        State { limited: 5000, ..fresh("limited") },
        State { cooling: 7000, ..fresh("cooling") },
        State { quota: Some((0.02, 0)), ..used("low", 60_000) },
        used("best", 600_000),
        used("second", 60_000),
    ]
}

#[tokio::test]
pub(crate) async fn every_candidate_has_its_reason_and_its_score() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&pool_of_all_kinds()).await;
        let told = explain(&pool, "talk").await;
        assert_eq!((told.strategy.as_str(), told.total, told.candidates.len()), ("hybrid", 7, 7));
        assert_eq!(told.outcome, Outcome::Chosen { account: id("best"), tier: Tier::Normal });
        assert_eq!(*verdict(&told, "off"), Verdict::Disabled);
        assert_eq!(*verdict(&told, "revoked"), Verdict::Invalid(InvalidReason::Revoked));
        assert_eq!(*verdict(&told, "limited"), Verdict::Waits { wait: ms(5000), why: "quota".into() });
        assert_eq!(*verdict(&told, "cooling"), Verdict::Waits { wait: ms(7000), why: "cooling".into() });
        let standing = |name: &str| {
            let found = told.candidates.iter().find(|one| one.account == id(name)).unwrap();
            found.standing.clone().unwrap()
        };
        let best = standing("best");
        assert!((best.score - 850.0).abs() < 1e-9, "V1");
        let parts = best.parts.unwrap();
        assert_eq!((parts.health, parts.tokens, parts.quota, parts.rest), (140.0, 500.0, 150.0, 60.0));
        assert_eq!(standing("low").tier, Tier::Quota);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_is_explained_is_what_is_done() {
    for strategy in [Strategy::Hybrid, Strategy::RoundRobin, Strategy::Sticky] {
        on_every_host(async |pool: Pool| {
            let pool = pool.with(&reference(strategy, &[("weights.affinity", "150")]));
            pool.arrange(&pool_of_all_kinds()).await;
            for n in 0..8 {
                let before = pool.state().await;
                let told = explain(&pool, "talk").await;
                assert_eq!(pool.state().await, before, "an explanation changes nothing");
                let admission = pool.admit_with(&format!("l{n}"), T, |ask| ask.conversation = "talk").await;
                let grant = granted(admission);
                let expected = Outcome::Chosen { account: grant.account.clone(), tier: grant.tier };
                assert_eq!(told.outcome, expected, "{strategy:?}");
                let again = explain(&pool, "talk").await;
                let remembered = (strategy != Strategy::RoundRobin).then_some(grant.account);
                assert_eq!(again.remembered, remembered, "{strategy:?}");
            }
        })
        .await;
    }
}

#[tokio::test]
pub(crate) async fn why_nobody_is_taken_is_explained_too() {
    on_every_host(async |pool: Pool| {
        assert_eq!(explain(&pool, "talk").await.outcome, Outcome::Empty);
        pool.arrange(&[State { enabled: false, ..fresh("a") }]).await;
        assert_eq!(explain(&pool, "talk").await.outcome, Outcome::NoEnabled);
        pool.arrange(&[State { invalid: true, ..fresh("a") }]).await;
        assert_eq!(explain(&pool, "talk").await.outcome, Outcome::AllInvalid);
        pool.arrange(&[State { limited: 4000, ..fresh("a") }]).await;
        let expected = Outcome::Wait { wait: ms(4000), why: "quota".into() };
        assert_eq!(explain(&pool, "talk").await.outcome, expected);
        // Where a probe is due the explanation says so, and leaves it to the next admission.
        pool.arrange(&[State { limited: 400_000, ..fresh("a") }]).await;
        let expected = Outcome::Chosen { account: id("a"), tier: Tier::Probe };
        assert_eq!(explain(&pool, "talk").await.outcome, expected);
        let probe = pool.admit_with("l1", T, |ask| ask.probe_after = Some(ms(120_000))).await;
        assert_eq!(granted(probe).tier, Tier::Probe);
        assert!(matches!(explain(&pool, "talk").await.outcome, Outcome::Wait { .. }));
        let again = pool.admit_with("l2", T, |ask| ask.probe_after = Some(ms(120_000))).await;
        assert!(matches!(again.decision, Decision::Wait { .. }));
    })
    .await;
}
