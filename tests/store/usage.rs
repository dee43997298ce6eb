//! What is counted of requests, where, for how long, and how it is read.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use antigravity_proxy::config::SelectionConfig;
use antigravity_proxy::store::Store;
use antigravity_proxy::store::ident::CredentialVersion;
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::ops::release::{Ended, Ending};
use antigravity_proxy::store::ops::restore::{Merge, Row};
use antigravity_proxy::store::ops::settle::{Outcome, Settle};
use antigravity_proxy::store::ops::usage::{
    CountRequest, Counters, DAYS_KEPT_MS, HOURS_KEPT_MS, StatusClass, UsageEntry, UsageRow, UsageSums,
};

use crate::harness::{M, Pool, T, hosts, id, lease, ms, on_every_host};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn entry(client_key: &'static str) -> UsageEntry<'static> {
    UsageEntry {
        client_key,
        input: 10,
        output: 20,
        cache_read: 5,
        thinking: 2,
        latency: ms(1500),
        ..UsageEntry::default()
    }
}

fn keys_of(at: i64) -> [String; 3] {
    [
        format!("usage:{}", at.div_euclid(HOUR)),
        format!("hourly:{}", at.div_euclid(DAY)),
        format!("daily:{}", at.div_euclid(DAY)),
    ]
}

/// The three hashes of `at`, rows with blanks for byte 31.
async fn counted(pool: &Pool, at: i64) -> [BTreeMap<String, String>; 3] {
    let [hour, hourly, daily] = keys_of(at);
    let read = async |key: &str| {
        let rows = pool.hash(key).await.into_iter();
        rows.map(|(row, counts)| (row.replace('\u{1f}', " "), counts)).collect()
    };
    [read(&hour).await, read(&hourly).await, read(&daily).await]
}

fn rows(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(row, counts)| ((*row).to_owned(), (*counts).to_owned())).collect()
}

/// Ends an attempt of `model`, admitted at `admitted`, with what its request counts.
async fn settle(pool: &Pool, name: &str, model: &'static str, admitted: i64, usage: UsageEntry<'static>) {
    pool.settle_with("a", name, T, Outcome::Success, |settle| {
        settle.admitted_at_ms = admitted;
        settle.model = model;
        settle.usage = Some(usage);
    })
    .await;
}

async fn count(pool: &Pool, name: &str, at: i64, usage: UsageEntry<'_>) -> bool {
    let request = CountRequest { id: &lease(name), model: M, ended_at_ms: at, usage };
    pool.store.at(at).count_request(&request).await.unwrap()
}

async fn read(pool: &Pool, counters: &[Counters]) -> Vec<UsageRow> {
    let mut rows = Vec::new();
    pool.store
        .at(T)
        .read_usage(counters, |row| {
            rows.push(row);
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
    rows.sort_by(|a, b| format!("{a:?}").cmp(&format!("{b:?}")));
    rows
}

#[tokio::test]
pub(crate) async fn a_request_counts_once_by_all_that_is_known_of_it() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let hour = T.div_euclid(HOUR);
        for _again in 0..2 {
            settle(&pool, "l1", M, T, entry("k")).await;
        }
        let cancelled = UsageEntry { status: StatusClass::Cancelled, ..entry("k") };
        settle(&pool, "l2", M, T, cancelled).await;
        settle(&pool, "l3", "n", T, entry("")).await;
        settle(&pool, "l4", "made-up", T, UsageEntry { model: Some("other"), ..entry("k") }).await;
        pool.settle("a", "l5", T, Outcome::Success).await;
        let one = "1|10|20|5|2|1500";
        let two = "2|20|40|10|4|3000";
        let [hours, hourly, daily] = counted(&pool, T).await;
        assert_eq!(
            hours,
            rows(&[
                ("m success k", one),
                ("m cancelled k", one),
                ("n success ", one),
                ("other success k", one)
            ])
        );
        let of = |model: &str| format!("{hour} {model}");
        assert_eq!(hourly, rows(&[(&of(M), two), (&of("n"), one), (&of("other"), one)]));
        assert_eq!(daily, rows(&[("m k", two), ("n ", one), ("other k", one)]));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_request_that_none_answered_counts_once_too() {
    on_every_host(async |pool: Pool| {
        let refused = UsageEntry {
            status: StatusClass::RateLimited,
            client_key: "k",
            latency: ms(7),
            ..UsageEntry::default()
        };
        assert!(count(&pool, "r1-0", T, refused).await);
        assert!(!count(&pool, "r1-0", T, refused).await);
        assert!(!count(&pool, "r1-0", T + HOUR, refused).await);
        assert!(count(&pool, "r2-0", T, refused).await);
        let away = UsageEntry { status: StatusClass::Unavailable, ..refused };
        assert!(count(&pool, "r3-0", T, away).await);
        let [hours, hourly, daily] = counted(&pool, T).await;
        assert_eq!(hours, rows(&[("m rate_limited k", "2|0|0|0|0|14"), ("m unavailable k", "1|0|0|0|0|7")]));
        assert_eq!(hourly.into_values().collect::<Vec<_>>(), ["3|0|0|0|0|21"]);
        assert_eq!(daily, rows(&[("m k", "3|0|0|0|0|21")]));
        assert_eq!(counted(&pool, T + HOUR).await[0], BTreeMap::new());
        // Together with others' ends.
        let id = lease("r4-0");
        let request = CountRequest { id: &id, model: M, ended_at_ms: T, usage: away };
        let ended =
            pool.store.at(T).end_all(&[Ending::Count(request), Ending::Count(request)]).await.unwrap();
        assert!(ended.iter().all(|one| matches!(one, Ok(Ended::Counted))), "{ended:?}");
        assert_eq!(counted(&pool, T).await[2], rows(&[("m k", "4|0|0|0|0|28")]));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn hours_and_days_are_those_of_utc_and_of_the_admission() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let midnight = T.div_euclid(DAY) * DAY;
        for (n, at) in [midnight - 1, midnight, midnight + HOUR - 1, midnight + HOUR].into_iter().enumerate()
        {
            settle(&pool, &format!("l{n}"), M, at, entry("k")).await;
        }
        let requests = async |at: i64, which: usize| -> Vec<String> {
            let rows = counted(&pool, at).await[which].clone().into_values();
            rows.map(|counts| counts.split('|').next().unwrap().to_owned()).collect()
        };
        for (at, of_hour) in [(midnight - 1, "1"), (midnight, "2"), (midnight + HOUR, "1")] {
            assert_eq!(requests(at, 0).await, [of_hour], "{}", at - midnight);
        }
        assert_eq!(requests(midnight - 1, 2).await, ["1"]);
        assert_eq!(requests(midnight, 2).await, ["3"]);
        assert_eq!(requests(midnight, 1).await, ["2", "1"]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn counters_live_as_long_as_they_are_asked_for() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        settle(&pool, "l1", M, T, entry("k")).await;
        let slack = 60_000;
        let lives = async |pool: &Pool| {
            let mut lives = Vec::new();
            for key in keys_of(T) {
                lives.push(pool.left(&key).await);
            }
            lives
        };
        let wanted = [HOURS_KEPT_MS, HOURS_KEPT_MS + DAY, DAYS_KEPT_MS];
        let first = lives(&pool).await;
        for (left, wanted) in first.iter().zip(wanted) {
            assert!((wanted - slack..=wanted).contains(left), "{left} of {wanted}");
        }
        // Not longer with every row: an hour has its end.
        settle(&pool, "l2", "n", T, entry("k")).await;
        assert!(lives(&pool).await.iter().zip(first).all(|(later, first)| *later <= first));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_cannot_be_read_is_counted_anew_and_left_out() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let [hour, hourly, daily] = keys_of(T);
        let bad = ["", "x", "1|2|3|4|5", "1|2|3|4|5|6|7", "1|2|3|4|5|-6", "1e3|0|0|0|0|0"];
        for (n, counts) in bad.into_iter().enumerate() {
            pool.put_field(&hour, "m\u{1f}success\u{1f}k", counts.as_bytes()).await;
            pool.put_field(&hourly, &format!("{}\u{1f}m", T / HOUR), counts.as_bytes()).await;
            pool.put_field(&daily, "m\u{1f}k", counts.as_bytes()).await;
            let all = [Counters::Hour(T), Counters::Hourly(T), Counters::Daily(T)];
            assert_eq!(read(&pool, &all).await, [], "{counts}");
            settle(&pool, &format!("l{n}"), M, T, entry("k")).await;
            for counters in counted(&pool, T).await {
                assert_eq!(counters.into_values().collect::<Vec<_>>(), ["1|10|20|5|2|1500"], "{counts}");
            }
        }
    })
    .await;
}

#[tokio::test]
pub(crate) async fn sums_stay_whole_numbers_whatever_the_upstream_says() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let most = UsageEntry { input: u64::MAX, output: 999_999_999, latency: ms(u64::MAX), ..entry("k") };
        for name in ["l1", "l2"] {
            settle(&pool, name, M, T, most).await;
        }
        let expected = rows(&[("m k", "2|2000000000|1999999998|10|4|2000000000")]);
        assert_eq!(counted(&pool, T).await[2], expected);
        let large = "9007199254740000|9007199254740000|0|0|0|0";
        pool.put_field(&keys_of(T)[2], "m\u{1f}k", large.as_bytes()).await;
        settle(&pool, "l3", M, T, entry("k")).await;
        let expected = rows(&[("m k", "9007199254740001|9007199254740010|20|5|2|1500")]);
        assert_eq!(counted(&pool, T).await[2], expected);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn counters_are_read_as_they_were_counted() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        assert_eq!(pool.store.at(T).usage_clock().await.unwrap().now_ms, T);
        settle(&pool, "l1", M, T, entry("k")).await;
        settle(&pool, "l2", M, T - DAY, UsageEntry { status: StatusClass::ClientError, ..entry("") }).await;
        let sums =
            UsageSums { requests: 1, input: 10, output: 20, cache_read: 5, thinking: 2, latency_ms: 1500 };
        let row = |at_ms: i64, status: Option<&str>, key: Option<&str>| UsageRow {
            at_ms,
            model: M.into(),
            status: status.map(str::to_owned),
            client_key: key.map(str::to_owned),
            sums,
        };
        let (hour, day) = (T / HOUR * HOUR, T / DAY * DAY);
        // More than one call reads.
        let hours: Vec<_> = (0..=25).map(|n| Counters::Hour(T - n * HOUR)).collect();
        assert_eq!(
            read(&pool, &hours).await,
            [row(hour - DAY, Some("client_error"), Some("")), row(hour, Some("success"), Some("k"))]
        );
        assert_eq!(read(&pool, &[Counters::Hourly(T)]).await, [row(hour, None, None)]);
        assert_eq!(
            read(&pool, &[Counters::Daily(T - DAY), Counters::Daily(T), Counters::Daily(T + DAY)]).await,
            [row(day - DAY, None, Some("")), row(day, None, Some("k"))]
        );
        assert_eq!(read(&pool, &[]).await, []);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_another_program_counted_is_in_every_sum_once() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let (store, hour) = (pool.store.at(T), T / HOUR * HOUR);
        let merge = async |mode, hour: i64, n: u64| {
            store.merge_usage(hour, mode, &[("m".to_owned(), n)]).await.unwrap().unwrap()
        };
        settle(&pool, "l1", M, T, entry("k")).await;
        assert_eq!(merge(Merge::Look, hour, 5).await, [Row::Added]);
        assert_eq!(counted(&pool, T).await[2], rows(&[("m k", "1|10|20|5|2|1500")]), "only looked");
        assert_eq!(merge(Merge::Add, hour, 5).await, [Row::Added]);
        assert_eq!(merge(Merge::Add, hour - HOUR, 2).await, [Row::Added]);
        assert_eq!(merge(Merge::Add, hour, 5).await, [Row::Same]);
        assert_eq!(merge(Merge::Add, hour, 9).await, [Row::Differs]);
        let of = |hour: i64| format!("{} m", hour / HOUR);
        let [_, hourly, daily] = counted(&pool, T).await;
        assert_eq!(hourly, rows(&[(&of(hour), "6|10|20|5|2|1500"), (&of(hour - HOUR), "2|0|0|0|0|0")]));
        assert_eq!(daily, rows(&[("m k", "1|10|20|5|2|1500"), ("m migrated", "7|0|0|0|0|0")]));
        assert_eq!(merge(Merge::Replace, hour, 4).await, [Row::Replaced]);
        let [_, hourly, daily] = counted(&pool, T).await;
        assert_eq!(hourly[&of(hour)], "5|10|20|5|2|1500");
        assert_eq!(daily["m migrated"], "6|0|0|0|0|0");
        // Of what was lost meanwhile nothing is taken away.
        pool.lose(&keys_of(T)[2]).await;
        assert_eq!(merge(Merge::Replace, hour, 1).await, [Row::Replaced]);
        assert_eq!(counted(&pool, T).await[2], rows(&[("m migrated", "0|0|0|0|0|0")]));
    })
    .await;
}

#[tokio::test]
pub(crate) async fn behind_ten_thousand_rows_keys_are_not_told_apart_but_models_are() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let store = pool.store.at(T);
        let full: Vec<_> = (0..10_000).map(|n| (format!("old-{n}"), 1)).collect();
        for rows in full.chunks(1000) {
            store.merge_usage(T / HOUR * HOUR, Merge::Add, rows).await.unwrap().unwrap();
        }
        settle(&pool, "l1", M, T, entry("k")).await;
        assert!(count(&pool, "l2", T, UsageEntry { status: StatusClass::Cancelled, ..entry("l") }).await);
        let [hours, _, daily] = counted(&pool, T).await;
        assert_eq!(daily["m other"], "2|20|40|10|4|3000");
        let of = |status: &str| hours[&format!("m {status} other")].as_str();
        assert_eq!((of("success"), of("cancelled")), ("1|10|20|5|2|1500", "1|10|20|5|2|1500"));
        assert_eq!((hours.len(), daily.len()), (10_002, 10_001));
    })
    .await;
}

#[tokio::test]
async fn eight_replicas_that_settle_at_once_count_every_request_once() {
    const REPLICAS: u64 = 8;
    const EACH: u64 = 60;
    for host in hosts().await {
        let pool = Pool::new(Arc::clone(&host.scripts));
        pool.add_all(&["a"]).await;
        let replica = async |replica: u64| {
            let store = Store::new(
                Arc::clone(&host.scripts),
                Keys::new("test").unwrap(),
                &SelectionConfig::default(),
            );
            for n in 0..EACH {
                // Each twice, as after a lost reply; every request of all replicas meets the same rows.
                for _again in 0..2 {
                    let (name, account) = (lease(&format!("l{replica}-{n}")), id("a"));
                    let model = ["m", "n"][usize::from(n.is_multiple_of(3))];
                    let usage = UsageEntry { input: replica, output: n, ..entry("k") };
                    if n.is_multiple_of(2) {
                        let settle = Settle {
                            account: &account,
                            lease: &name,
                            credential: CredentialVersion(1),
                            model,
                            admitted_at_ms: T,
                            outcome: Outcome::Success,
                            received: true,
                            usage: Some(usage),
                        };
                        store.settle(&settle).await.unwrap();
                    } else {
                        let request = CountRequest { id: &name, model, ended_at_ms: T, usage };
                        store.count_request(&request).await.unwrap();
                    }
                }
            }
        };
        futures_util::future::join_all((0..REPLICAS).map(replica)).await;
        for counters in [Counters::Hour(T), Counters::Hourly(T), Counters::Daily(T)] {
            let mut total = UsageSums::default();
            for row in read(&pool, &[counters]).await {
                total.add(&row.sums);
            }
            let requests = REPLICAS * EACH;
            let expected = UsageSums {
                requests,
                input: EACH * (REPLICAS * (REPLICAS - 1) / 2),
                output: REPLICAS * (EACH * (EACH - 1) / 2),
                cache_read: 5 * requests,
                thinking: 2 * requests,
                latency_ms: 1500 * requests,
            };
            assert_eq!(total, expected, "{} {counters:?}", host.name);
        }
    }
}
