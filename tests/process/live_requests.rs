//! Requests in flight on two gateways, one of which is killed.

use serde_json::{Value, json};

use crate::gateway::{Gateway, until};
use crate::http;
use crate::ledger::Ledger;
use crate::site::{SLOWER, Site};
use crate::stream::Stream;

async fn live(gateway: &Gateway) -> Value {
    let answer = http::get(&format!("{}/api/requests/live", gateway.url)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Their ids, the oldest first.
fn ids(live: &Value) -> Vec<&str> {
    live["requests"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

async fn cancel(gateway: &Gateway, id: &str) -> u16 {
    http::post(&format!("{}/api/requests/{id}/cancel", gateway.url), &json!({})).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_a_killed_replica_are_not_taken_for_live_ones() {
    let site = Site::start(2).await;
    let (one, two) = (site.home(), site.home());
    let (victim, other) = (one.start().await, two.start().await);
    let mut ledger = Ledger::new(&site.redis);
    until("both are announced", async || live(&other).await["replicas"].as_array().unwrap().len() == 2).await;
    let doomed = Stream::open(&victim, SLOWER).await;
    let kept = Stream::open(&other, SLOWER).await;
    let (doomed_id, kept_id) = (doomed.id(), kept.id());
    // A list that was made a moment ago may still be told.
    until("both are seen", async || ids(&live(&other).await) == [&*doomed_id, &*kept_id]).await;
    assert_eq!(live(&other).await["complete"], true);

    victim.kill().await;
    drop(doomed);
    until("the dead one is silent", async || live(&other).await["complete"] == false).await;
    assert_eq!(ids(&live(&other).await), [&*kept_id]);
    assert_eq!(cancel(&other, &doomed_id).await, 503, "it may be alive");
    until("it has lapsed", async || live(&other).await["complete"] == true).await;
    assert_eq!(cancel(&other, &doomed_id).await, 404);

    // The stream may have ended by itself meanwhile: then it cannot be cancelled any more.
    let running = Stream::open(&other, SLOWER).await;
    assert_eq!(cancel(&other, &running.id()).await, 200);
    let text = running.read_out().await;
    assert!(text.contains("event: error") && text.contains("permission_error"), "{text}");
    assert!(!text.contains("message_stop"), "{text}");
    kept.read_out().await;
    until("nothing is in flight", async || ledger.snapshot().ends.is_empty()).await;
    ledger.snapshot().assert_free();
}
