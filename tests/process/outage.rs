//! `kill -9` of Redis under load, twice, with two gateways on it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, until};
use crate::http;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::site::{BRISK, SLOW, Site};
use crate::stream::Stream;

/// Acknowledged changes before each crash.
const CHANGES: usize = 20;

/// What clients were told; a change whose acknowledgement did not come is in doubt and counts for nothing.
#[derive(Clone, Default)]
struct Told {
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
    /// The number that a setting was given last; it only grows.
    setting: u64,
}

impl Told {
    fn count(&self) -> usize {
        self.there.len() + self.gone.len()
    }
}

/// Imports accounts and removes every third again until `stop`. They are not enabled, so that requests do not
/// stumble over credentials that nobody issued.
async fn change(url: String, name: &'static str, told: Arc<Mutex<Told>>, stop: CancellationToken) {
    for number in 0.. {
        if stop.is_cancelled() {
            return;
        }
        let email = format!("{name}-{number}@example.com");
        let entry = json!([{"email": email, "refresh_token": format!("1//of-{email}"), "enabled": false}]);
        let import = http::post(&format!("{url}/api/accounts/import"), &entry).await;
        if import.status == 200 && import.json()["results"]["added"][0] == email.as_str() {
            told.lock().unwrap().there.insert(email.clone());
            if number % 3 == 0 {
                // From the moment it is asked for, the account may be gone.
                told.lock().unwrap().there.remove(&email);
                let remove = http::send("DELETE", &format!("{url}/api/accounts/{email}"), &[], b"").await;
                if remove.status == 200 {
                    told.lock().unwrap().gone.insert(email);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Counts a setting up until `stop`.
async fn set(url: String, told: Arc<Mutex<Told>>, stop: CancellationToken) {
    let headers = [("content-type", "application/json")];
    for number in 1001..10_000 {
        if stop.is_cancelled() {
            return;
        }
        let body = json!({"settings": {"retryBaseMs": number}}).to_string();
        let answer = http::send("PATCH", &format!("{url}/api/settings"), &headers, body.as_bytes()).await;
        if answer.status == 200 {
            told.lock().unwrap().setting = number;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The number that `set` has reached by `gateway`'s store.
async fn setting(gateway: &Gateway) -> u64 {
    let all = http::get(&format!("{}/api/settings", gateway.url)).await.json();
    let row = all["rows"].as_array().unwrap().iter().find(|row| row["key"] == "retryBaseMs");
    row.expect("the setting is listed")["stored"].as_u64().expect("it is stored")
}

async fn held(gateway: &Gateway) -> BTreeSet<(String, String)> {
    let exported = http::get(&format!("{}/api/accounts/export", gateway.url)).await.json();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    exported.as_array().unwrap().iter().map(|one| (text(one, "email"), text(one, "refresh_token"))).collect()
}

async fn available(gateway: &Gateway) -> bool {
    let status = http::get(&format!("{}/api/status", gateway.url)).await.json();
    status["store"]["available"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_survive_crashes_of_redis_and_nothing_acknowledged_is_lost() {
    let mut site = Site::start(3).await;
    let (one, two) = (site.home(), site.home());
    let gateways = [one.start().await, two.start().await];
    let urls = [gateways[0].url.clone(), gateways[1].url.clone()];
    let turn = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let alternate = move || urls[turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2].clone();
    let load = Load::start(4, BRISK, alternate);
    let (told, stop) = (Arc::new(Mutex::new(Told::default())), CancellationToken::new());
    let mut changes = JoinSet::new();
    for (gateway, name) in gateways.iter().zip(["one", "two"]) {
        changes.spawn(change(gateway.url.clone(), name, Arc::clone(&told), stop.clone()));
    }
    changes.spawn(set(gateways[0].url.clone(), Arc::clone(&told), stop.clone()));
    for _crash in 0..2 {
        let before = (told.lock().unwrap().count(), load.answered());
        until("changes", async || told.lock().unwrap().count() >= before.0 + CHANGES).await;
        until("answers", async || load.answered() >= before.1 + 5).await;
        let streams = [Stream::open(&gateways[0], SLOW).await, Stream::open(&gateways[1], SLOW).await];
        site.redis.kill();
        until("the outage shows", async || !available(&gateways[0]).await).await;
        for gateway in &gateways {
            // A balancer must not lose every replica at once.
            assert_eq!(http::get(&format!("{}/readyz", gateway.url)).await.status, 200);
        }
        site.redis.restart();
        for gateway in &gateways {
            until("the store is back", async || available(gateway).await).await;
            let before = told.lock().unwrap().clone();
            let kept = setting(gateway).await;
            assert!(
                before.setting > 1000 && kept >= before.setting,
                "{} was set, {kept} kept",
                before.setting
            );
            let held = held(gateway).await;
            // What is being removed meanwhile may be gone or not.
            let still = &told.lock().unwrap().there;
            for email in before.there.intersection(still) {
                let whole = (email.clone(), format!("1//of-{email}"));
                assert!(held.contains(&whole), "{email} was acknowledged and is missing");
            }
            for email in &before.gone {
                assert!(!held.iter().any(|(one, _)| one == email), "{email} was removed and is back");
            }
        }
        for stream in streams {
            let text = stream.read_out().await;
            assert!(text.contains("event: message_stop") && !text.contains("event: error"), "{text}");
        }
    }
    stop.cancel();
    while let Some(ended) = changes.join_next().await {
        ended.unwrap();
    }
    // Every request found the store again within its grace.
    load.finish().await.assert_whole();
    assert!(!told.lock().unwrap().gone.is_empty());
    let mut ledger = Ledger::new(&site.redis);
    until("every lease is settled", async || ledger.snapshot().ends.is_empty()).await;
    ledger.snapshot().assert_counts();
}
