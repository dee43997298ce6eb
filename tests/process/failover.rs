//! `kill -9` of the primary under load, in a cluster and behind Sentinels; and a pool that is emptied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::gateway::{Gateway, until};
use crate::http;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::redis_server::{Flavour, RedisServer};
use crate::site::{BRISK, SLOW, Site};
use crate::stream::Stream;
use crate::topology::{Cluster, Watched};

const ACCOUNTS: usize = 4;
/// This one is used up.
const LIMITED: &str = "user1@example.com";
/// The hash tag of the pool.
const POOL: &str = "{main}";

/// Model calls that the simulator refused for their number, by account.
async fn refused<R>(site: &Site<R>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in site.simulator.requests("enerateContent").await {
        if call["status"] == 429 {
            *counts.entry(call["account"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Two gateways under load, whose primary `kill` ends; `primary` is the one that serves after it.
async fn nobody_notices<R>(site: Site<R>, kill: impl FnOnce(&mut R), primary: impl AsyncFn(&R) -> Ledger) {
    let mut site = site;
    let used_up = json!({"when": {"account": LIMITED, "path": "enerateContent"},
        "then": {"fault": "quota_exhausted", "reset_ms": 7_200_000}});
    site.simulator.rule(&used_up).await;
    let (one, two) = (site.home(), site.home());
    let gateways = [one.start().await, two.start().await];
    // Every account is known for what it is before the load comes.
    for turn in 0..2 * ACCOUNTS {
        let answer = gateways[turn % 2].ask("reply with exactly: fine").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let before = refused(&site).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), [LIMITED]);

    let urls = gateways.each_ref().map(|gateway| gateway.url.clone());
    let turn = Arc::new(AtomicUsize::new(0));
    let load = Load::start(8, BRISK, move || urls[turn.fetch_add(1, Ordering::Relaxed) % 2].clone());
    until("load", async || load.answered() >= 20).await;
    let streams = [Stream::open(&gateways[0], SLOW).await, Stream::open(&gateways[1], SLOW).await];
    kill(&mut site.redis);
    let at_death = load.answered();
    let mut ledger = primary(&site.redis).await;
    for gateway in &gateways {
        until("the store is back", async || available(gateway).await).await;
    }
    let back = load.answered();
    until("answers after it", async || load.answered() >= back + 20).await;
    for stream in streams {
        let text = stream.read_out().await;
        assert!(text.contains("event: message_stop") && !text.contains("event: error"), "{text}");
    }
    // Not one client has seen an error.
    let seen = load.finish().await;
    seen.assert_whole();
    assert!(seen.answers.len() > at_death);
    until("nothing is in flight", async || ledger.snapshot().ends.is_empty()).await;
    ledger.snapshot().assert_counts();
    // What the last moment of the old primary knew of limits may be lost with it.
    let after = refused(&site).await;
    for (account, count) in &after {
        let extra = count - before.get(account).copied().unwrap_or(0);
        assert!(extra <= 1, "{account} was asked {extra} times more than it had to be");
    }
}

async fn available(gateway: &Gateway) -> bool {
    http::get(&format!("{}/api/status", gateway.url)).await.json()["store"]["available"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_the_sentinels_primary_is_replaced() {
    let watched = Watched::start();
    let url = watched.url();
    let site = Site::on(watched, url, ACCOUNTS).await;
    nobody_notices(site, Watched::kill_primary, async |watched| {
        watched.wait_for_failover();
        Ledger::new(watched.primary())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_the_clusters_primary_is_replaced() {
    let cluster = Cluster::with_replicas(Flavour::Redis7);
    let url = cluster.url();
    let site = Site::on(cluster, url, ACCOUNTS).await;
    nobody_notices(
        site,
        |cluster| cluster.kill_owner(POOL),
        async |cluster| {
            cluster.wait_for_failover(POOL);
            Ledger::new(cluster.node_of(POOL))
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_the_pool_moves_to_another_node() {
    let cluster = Cluster::start(Flavour::Redis7);
    let url = cluster.url();
    let site = Site::on(cluster, url, ACCOUNTS).await;
    let home = site.home();
    let gateway = home.start().await;
    let url = gateway.url.clone();
    let load = Load::start(6, BRISK, move || url.clone());
    for _ in 0..3 {
        let before = load.answered();
        until("load", async || load.answered() >= before + 10).await;
        site.redis.migrate(POOL);
    }
    load.finish().await.assert_whole();
    let mut ledger = Ledger::new(site.redis.node_of(POOL));
    until("nothing is in flight", async || ledger.snapshot().ends.is_empty()).await;
    ledger.snapshot().assert_counts();
    assert_eq!(refused(&site).await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_emptied_says_so_and_serves_again_after_an_import() {
    let site = Site::start(2).await;
    let home = site.home();
    let mut gateway = home.start().await;
    let ask = async |gateway: &Gateway| gateway.ask("reply with exactly: here").await;
    for round in 0..2 {
        assert_eq!(ask(&gateway).await.status, 200);
        flush(&site.redis);
        until("the pool is empty", async || ask(&gateway).await.status == 503).await;
        let answer = ask(&gateway).await;
        let error = &answer.json()["error"];
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("No accounts are configured") && message.contains("accounts import"),
            "{error}"
        );
        assert_eq!(answer.headers.get("x-should-retry").map(String::as_str), Some("false"));
        assert_eq!(http::get(&format!("{}/readyz", gateway.url)).await.status, 200);
        let document = &site.simulator.accounts;
        if round == 0 {
            home.succeed(&["accounts", "import", "-"], document.to_string().as_bytes()).await;
        } else {
            let import = http::post(&format!("{}/api/accounts/import", gateway.url), document).await;
            assert_eq!(import.status, 200, "{}", import.text());
        }
        until("the imported accounts serve", async || ask(&gateway).await.status == 200).await;
    }
    assert!(gateway.runs());
}

fn flush(redis: &RedisServer) {
    let () = redis::cmd("FLUSHALL").query(&mut redis.connect()).unwrap();
}
