//! Eight gateways, two hundred changes at the same moment that contradict one another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antigravity_proxy::simulator::Scenario;
use reqwest::Method;
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::replicas::Replicas;

const GATEWAYS: usize = 8;
const CHANGES: usize = 200;
/// Longest time until the last change holds everywhere.
const PROMISED: Duration = Duration::from_secs(2);

/// One change that was made.
struct Made {
    generation: u64,
    settings: Value,
}

/// Changes three settings at once: if a mixture of two changes were ever in force, it would show.
async fn change(replicas: &Replicas, number: usize) -> Option<Made> {
    let base = 100 + number;
    let settings = json!({ "retryBaseMs": base, "retryMaxMs": 1000 + base, "maxRetries": 1 + number % 20 });
    let client = replicas.client(number);
    let (method, path, body) = if number.is_multiple_of(2) {
        (Method::POST, "/api/config", settings.clone())
    } else {
        (Method::PATCH, "/api/settings", json!({ "settings": settings }))
    };
    let answer = client.request(method, path).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    let answer: Value = answer.json().await.unwrap();
    match status {
        200 => Some(Made { generation: answer["generation"].as_u64().unwrap(), settings }),
        409 => {
            assert!(answer["generation"].as_u64().is_some_and(|current| current > 0), "{answer}");
            None
        }
        other => panic!("{other}: {answer}"),
    }
}

/// The changes that were made as the audit trail has them, in its order.
async fn trail(replicas: &Replicas) -> Vec<Value> {
    let (mut records, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/audit?action=settings.change&limit=200{before}");
        let (status, page) = replicas.client(records.len()).get(&path).await;
        assert_eq!(status, 200, "{page}");
        records.extend(page["records"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_u64() else { break };
        before = format!("&before={next}");
    }
    records.reverse();
    records.retain(|record| record["outcome"] == "done");
    records
}

/// What a record says that settings are now, by key.
fn after(record: &Value) -> BTreeMap<String, Value> {
    let changes = record["changes"].as_array().unwrap().iter();
    changes.map(|change| (change["field"].as_str().unwrap().to_owned(), change["after"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_has_its_place_and_the_last_one_holds_everywhere() {
    let redis = RedisServer::start();
    let replicas = Replicas::cold(Scenario::default(), &vec![redis.url(); GATEWAYS], |_| {}).await;
    let told = futures_util::future::join_all((0..CHANGES).map(|number| change(&replicas, number))).await;
    let made: Vec<_> = told.into_iter().flatten().collect();
    assert!(made.len() >= GATEWAYS, "only {} of {CHANGES} were made", made.len());

    // Each has a generation of its own, and there is none between them.
    let generations: BTreeSet<_> = made.iter().map(|one| one.generation).collect();
    assert_eq!(generations.len(), made.len(), "two changes have the same generation");
    assert_eq!(generations, (1..=made.len() as u64).collect());
    // The trail has each of them, in this order and no other, with what it made.
    let records = trail(&replicas).await;
    let order: Vec<_> = records.iter().map(|record| record["generation"].as_u64().unwrap()).collect();
    assert_eq!(order, (1..=made.len() as u64).collect::<Vec<_>>());
    for one in &made {
        let record = &records[usize::try_from(one.generation).unwrap() - 1];
        let wanted: BTreeMap<_, _> = one.settings.as_object().unwrap().clone().into_iter().collect();
        assert_eq!(after(record), wanted, "{record}");
    }
    let last = made.iter().max_by_key(|one| one.generation).unwrap();

    // Seen without asking anybody: what each gateway knows by itself.
    let agree = async {
        for gateway in 0..GATEWAYS {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let last = last.generation as f64;
            while replicas.metric(gateway, "shared_settings_generation").await < last {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    assert!(tokio::time::timeout(PROMISED, agree).await.is_ok(), "they do not agree after 2 s");
    let expected: BTreeMap<_, _> = last.settings.as_object().unwrap().clone().into_iter().collect();
    for gateway in 0..GATEWAYS {
        let (status, view) = replicas.client(gateway).get("/api/config").await;
        assert_eq!((status, view["generation"].as_u64()), (200, Some(last.generation)), "gateway {gateway}");
        for (key, value) in &expected {
            assert_eq!(&view["config"][key], value, "{key} at gateway {gateway}");
        }
    }
    replicas.shutdown().await;
}
