//! How many accounts are in which state.

use std::collections::BTreeMap;

use antigravity_proxy::config::Strategy;
use antigravity_proxy::store::ops::census::{Census, Counted};
use antigravity_proxy::store::ops::settings::Scope;
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};

use crate::harness::{M, Pool, State, T, fresh, granted, ms, on_every_host, packed, reference, time};

/// Accounts and requests: available, busy, limited, cooling, invalid, disabled, damaged.
type Row = [(u64, u64); 7];

fn row(census: &Census) -> Row {
    let Census { stamp: _, available, busy, limited, cooling, invalid, disabled, damaged } = *census;
    let pair = |counted: Counted| (counted.accounts, counted.in_flight);
    [available, busy, limited, cooling, invalid, disabled, damaged].map(pair)
}

async fn count(pool: &Pool, models: &[&str], at: i64) -> Row {
    let models: Vec<String> = models.iter().map(|model| (*model).to_owned()).collect();
    row(&pool.store.at(at).count_accounts(&models).await.unwrap())
}

fn quota(reset: u64) -> Outcome {
    Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(ms(reset)) }
}

#[tokio::test]
pub(crate) async fn every_account_counts_once_in_its_state() {
    on_every_host(async |pool: Pool| {
        assert_eq!(count(&pool, &[M], T).await, [(0, 0); 7]);
        pool.arrange(&[
            fresh("free"),
            State { limited: 60_000, ..fresh("limited") },
            State { cooling: 60_000, ..fresh("cooling") },
            State { invalid: true, ..fresh("invalid") },
            State { enabled: false, ..fresh("off") },
            // What is behind a state does not count again.
            State { cooling: 60_000, limited: 60_000, ..fresh("both") },
            State { invalid: true, cooling: 60_000, ..fresh("owner") },
            State { invalid: true, enabled: false, limited: 60_000, ..fresh("all") },
            State { model_threshold: Some(0.5), ..fresh("floor") },
        ])
        .await;
        let counted = [(2, 0), (0, 0), (1, 0), (2, 0), (2, 0), (2, 0), (0, 0)];
        assert_eq!(count(&pool, &[M], T).await, counted);
        pool.put_field("hot", "damaged", b"?").await;
        let damaged = [(2, 0), (0, 0), (1, 0), (2, 0), (2, 0), (2, 0), (1, 0)];
        assert_eq!(count(&pool, &[M], T).await, damaged);
        // A reason of a later version is one, too.
        pool.put_field("hot", "later", &packed(7, &[100.0; 15])).await;
        let later = [(2, 0), (0, 0), (1, 0), (2, 0), (3, 100), (2, 0), (1, 0)];
        assert_eq!(count(&pool, &[M], T).await, later);
        let stamp = pool.store.at(T + 5).count_accounts(&[]).await.unwrap().stamp;
        assert_eq!(stamp.now_ms, T + 5);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn limits_and_rests_end_to_the_millisecond() {
    on_every_host(async |pool: Pool| {
        pool.arrange(&[
            State { limited: 1000, ..fresh("limited") },
            State { cooling: 2000, ..fresh("cooling") },
        ])
        .await;
        let of = |available, limited, cooling| {
            [(available, 0), (0, 0), (limited, 0), (cooling, 0), (0, 0), (0, 0), (0, 0)]
        };
        assert_eq!(count(&pool, &[M], T + 999).await, of(0, 1, 1));
        assert_eq!(count(&pool, &[M], T + 1000).await, of(1, 0, 1));
        assert_eq!(count(&pool, &[M], T + 1999).await, of(1, 0, 1));
        assert_eq!(count(&pool, &[M], T + 2000).await, of(2, 0, 0));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn limited_is_who_is_free_for_no_model_of_the_pool() {
    on_every_host(async |pool: Pool| {
        // Over more than one page of records.
        let names: Vec<String> = (1..=70).map(|n| format!("a{n:02}")).collect();
        pool.add_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let limit = async |name: &str, model: &'static str, ms: u64| {
            let lease = format!("{name}-{model}");
            pool.settle_with(name, &lease, T, quota(ms), |settle| settle.model = model).await;
        };
        for name in ["a01", "a31", "a32", "a70"] {
            limit(name, "one", 60_000).await;
        }
        for name in ["a31", "a70"] {
            limit(name, "two", 90_000).await;
        }
        let of = |limited| [(70 - limited, 0), (0, 0), (limited, 0), (0, 0), (0, 0), (0, 0), (0, 0)];
        for (models, limited) in [
            (vec!["one"], 4),
            (vec!["two"], 2),
            (vec!["one", "two"], 2),
            (vec!["two", "one"], 2),
            (vec!["two", "one", "three"], 0),
            (vec![], 0),
        ] {
            assert_eq!(count(&pool, &models, T).await, of(limited), "{models:?}");
        }
        assert_eq!(count(&pool, &["one", "two"], T + 60_000).await, of(0));
        // Limits that nobody can read do not hold.
        pool.put_field("m:two", "64", b"?").await;
        assert_eq!(count(&pool, &["two"], T).await, of(1));
        pool.put_field("m:two", "0", &[0xff; 32 * 57]).await;
        assert_eq!(count(&pool, &["two"], T).await, of(0));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn every_kind_of_limit_counts_and_none_that_is_over() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b"]).await;
        let of = |limited| [(2 - limited, 0), (0, 0), (limited, 0), (0, 0), (0, 0), (0, 0), (0, 0)];
        let ends = time(T + 1000);
        let known = |why| packed(why, &[ends, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        for why in 1..=7 {
            pool.put_models(&[known(why), known(7)]).await;
            assert_eq!(count(&pool, &[M], T).await, of(2), "{why}");
        }
        // 0: it was tried since it ended, by a clock that has stepped back.
        pool.put_models(&[known(0), known(8)]).await;
        assert_eq!(count(&pool, &[M], T).await, of(0));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn the_bound_is_that_of_admission() {
    on_every_host(async |pool: Pool| {
        let two = reference(Strategy::RoundRobin, &[("maxConcurrentPerAccount", "2")]);
        pool.add_all(&["a"]).await;
        granted(pool.admit("l", T).await);
        let free = [(1, 1), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)];
        let busy = [(0, 0), (1, 1), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)];
        assert_eq!(count(&pool.with(&two), &[M], T).await, free);
        let shared = ((Scope::Selection, "maxConcurrentPerAccount".to_owned()), Some("1".to_owned()));
        pool.store.at(T).put_settings(None, &BTreeMap::from([shared])).await.unwrap();
        assert_eq!(count(&pool.with(&two), &[M], T).await, busy, "shared settings are above a file's");
        let mut pinned = two;
        pinned.pinned.insert("maxConcurrentPerAccount".into(), "3".into());
        assert_eq!(count(&pool.with(&pinned), &[M], T).await, free, "and below flags");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn requests_in_flight_count_where_their_account_does() {
    on_every_host(async |pool: Pool| {
        let bound = pool.with(&reference(Strategy::RoundRobin, &[("maxConcurrentPerAccount", "2")]));
        pool.add_all(&["a", "b"]).await;
        let mut accounts = Vec::new();
        for n in 0..3 {
            accounts.push(granted(bound.admit(&format!("l{n}"), T).await).account.as_str().to_owned());
        }
        let of = |rows: [(u64, u64); 3]| [rows[0], rows[1], rows[2], (0, 0), (0, 0), (0, 0), (0, 0)];
        assert_eq!(count(&bound, &[M], T).await, of([(1, 1), (1, 2), (0, 0)]));
        assert_eq!(count(&pool, &[M], T).await, of([(2, 3), (0, 0), (0, 0)]), "without a bound");
        granted(bound.admit("l3", T).await);
        assert_eq!(count(&bound, &[M], T).await, of([(0, 0), (2, 4), (0, 0)]));
        bound.settle(&accounts[0], "l0", T, quota(60_000)).await;
        assert_eq!(count(&bound, &[M], T).await, of([(0, 0), (1, 2), (1, 1)]));
    })
    .await;
}
