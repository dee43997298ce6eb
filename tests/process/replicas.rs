//! Two gateways on one Redis, one of which ends: by `kill -9`, and by SIGTERM behind a balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use futures_util::future::join_all;
use serde_json::json;

use crate::balancer::Balancer;
use crate::gateway::{Gateway, SOON, until};
use crate::http;
use crate::ledger::{Ledger, request};
use crate::load::Load;
use crate::site::{BRISK, SLOW, SLOWER, Site};
use crate::stream::Stream;

const ACCOUNTS: usize = 3;
/// `leaseTtlMs` of the gateways, ms.
const LEASE_MS: i64 = 3000;
/// Longest time from the end of a lease to its removal, by whatever request or renewal comes next.
const SWEEP_MS: i64 = 2500;

async fn streams(gateway: &Gateway, text: &str) -> Vec<Stream> {
    join_all((0..4).map(|_| Stream::open(gateway, text))).await
}

fn ids(streams: &[Stream]) -> BTreeSet<String> {
    streams.iter().map(Stream::id).collect()
}

fn to(gateway: &Gateway) -> impl Fn() -> String + Clone + Send + 'static {
    let url = gateway.url.clone();
    move || url.clone()
}

async fn assert_whole(streams: Vec<Stream>) {
    for text in join_all(streams.into_iter().map(Stream::read_out)).await {
        assert!(text.contains("event: message_stop") && !text.contains("event: error"), "{text}");
        assert!(text.ends_with("\r\n0\r\n\r\n"), "the framing has its end: {text}");
    }
}

/// Nothing is in flight, and the next requests reach every account.
async fn assert_all_admit(site: &Site, ledger: &mut Ledger, gateway: &Gateway) {
    until("nothing is in flight", async || ledger.snapshot().ends.is_empty()).await;
    ledger.snapshot().assert_free();
    let health = http::get(&format!("{}/health", gateway.url)).await.json();
    for account in health["accounts"].as_array().unwrap() {
        assert_eq!(account["status"], "ok", "{account}");
    }
    let (_, before) = site.callers(0).await;
    for _ in 0..ACCOUNTS {
        assert_eq!(gateway.ask("reply with exactly: fine").await.status, 200);
    }
    let (callers, _) = site.callers(before).await;
    let callers: BTreeSet<_> = callers.into_iter().collect();
    assert_eq!(callers.len(), ACCOUNTS, "in turn: {callers:?}");
    let refused = http::get(&format!("{}/sim/refusals", site.simulator.url)).await.json();
    assert_eq!(refused, json!([]), "the upstream refuses nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_leaves_nothing_but_leases_that_lapse() {
    let site = Site::start(ACCOUNTS).await;
    let (one, two) = (site.home(), site.home());
    let (victim, other) = (one.start().await, two.start().await);
    let mut ledger = Ledger::new(&site.redis);
    let (doomed, going_on) = (streams(&victim, SLOW).await, streams(&other, SLOWER).await);
    let (doomed_ids, kept) = (ids(&doomed), ids(&going_on));
    let (on_victim, on_other) = (Load::start(3, BRISK, to(&victim)), Load::start(3, BRISK, to(&other)));
    until("both are under load", async || on_victim.answered() > 5 && on_other.answered() > 5).await;

    victim.kill().await;
    let at_death = ledger.snapshot();
    // Requests to the dead fail, which is the client's affair: it has another connection to make.
    drop((on_victim, doomed));
    assert_eq!(at_death.held_by(&doomed_ids).count(), doomed_ids.len(), "{at_death:?}");
    assert_eq!(at_death.held_by(&kept).count(), kept.len(), "{at_death:?}");
    let of_then = |lease: &str| at_death.ends.contains_key(lease) && !kept.contains(request(lease));
    let lapsed = async {
        loop {
            let now = ledger.snapshot();
            now.assert_counts();
            let live = now.held_by(&kept).filter(|(_, end)| *end > now.now_ms).count();
            assert_eq!(live, kept.len(), "those of the other live on: {now:?}");
            for (lease, end) in &now.ends {
                assert!(now.now_ms - end < SWEEP_MS, "{lease} has lapsed and is still there: {now:?}");
            }
            if !now.ends.keys().any(|lease| of_then(lease)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, lapsed).await.expect("the leases of the dead replica go");

    let seen = on_other.finish().await;
    seen.assert_whole();
    let answered = seen.requests();
    for (lease, end) in &at_death.ends {
        if !kept.contains(request(lease)) && !answered.contains(request(lease)) {
            let life = end - at_death.now_ms;
            assert!(life <= LEASE_MS, "{lease} was to live {life} ms longer than its replica");
        }
    }
    assert_whole(going_on).await;
    assert_all_admit(&site, &mut ledger, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_replica_breaks_nothing_behind_a_balancer() {
    /// What the balancer needs to notice, with a margin for a busy machine.
    const DRAIN_DELAY: Duration = Duration::from_secs(4);
    let mut site = Site::start(ACCOUNTS).await;
    site.set("drainDelayMs", json!(DRAIN_DELAY.as_millis()));
    let (one, two) = (site.home(), site.home());
    let (mut leaving, other) = (one.start().await, two.start().await);
    let mut ledger = Ledger::new(&site.redis);
    let balancer = Balancer::new(&[&leaving, &other], DRAIN_DELAY / 4);
    let load = Load::start(6, BRISK, balancer.route());
    let (finishing, going_on) = (streams(&leaving, SLOW).await, streams(&other, SLOWER).await);
    let (finishing_ids, kept) = (ids(&finishing), ids(&going_on));
    let before = load.answered();
    until("load", async || load.answered() > before + 10).await;

    balancer.just_asked(&leaving).await;
    let signalled = Clock::system().instant();
    leaving.terminate().await;
    // Nobody has told the clients: they go on sending until the balancer notices.
    until("the balancer notices", async || !balancer.sends_to(&leaving)).await;
    assert!(signalled.elapsed() < DRAIN_DELAY, "the machine is too slow for this test");
    let finishing = assert_whole(finishing);
    let ended = leaving.ended(SOON);
    let watching = async {
        loop {
            let now = ledger.snapshot();
            now.assert_counts();
            let live = now.held_by(&kept).filter(|(_, end)| *end > now.now_ms).count();
            let left = now.held_by(&finishing_ids).count();
            if left == 0 {
                break;
            }
            assert_eq!(live, kept.len(), "those of the other live on: {now:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ((), status, ()) = tokio::join!(finishing, ended, watching);
    assert_eq!(status.code(), Some(0), "{}", leaving.log.text());
    let after = ledger.snapshot();

    let seen = load.finish().await;
    seen.assert_whole();
    let late =
        seen.answers.iter().filter(|answer| answer.url == leaving.url && answer.begun > signalled).count();
    assert!(late > 0, "requests came after the signal and were served");
    // What was still held when the process had ended is the other's, to the last lease.
    let others = seen.answers.iter().filter(|answer| answer.url == other.url);
    let others: BTreeSet<_> = others.map(|answer| answer.request.clone()).chain(kept).collect();
    for lease in after.ends.keys() {
        assert!(others.contains(request(lease)), "{lease} was left behind by the replica that ended");
    }
    assert_whole(going_on).await;
    assert_all_admit(&site, &mut ledger, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_records_of_all_replicas_are_in_one_feed() {
    let site = Site::start(1).await;
    let (one, two) = (site.home().env("LOG_LEVEL", "debug"), site.home().env("LOG_LEVEL", "debug"));
    let (mut first, mut second) = (one.start().await, two.start().await);
    assert_eq!(first.ask(BRISK).await.status, 200);
    assert_eq!(second.ask(BRISK).await.status, 200);
    for gateway in [&mut first, &mut second] {
        gateway.terminate().await;
        gateway.ended(SOON).await;
    }
    let mut ledger = Ledger::new(&site.redis);
    let key = ledger.key("feed:logs");
    let kept: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(key).arg("-").arg("+").query(ledger.connection()).unwrap();
    let mut messages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in &kept.ids {
        let mut texts =
            entry.map.values().filter_map(|value| redis::from_redis_value_ref::<String>(value).ok());
        let record: serde_json::Value = texts.find_map(|text| serde_json::from_str(&text).ok()).unwrap();
        assert!(record["time"].as_i64().unwrap() > 0 && record["target"].is_string(), "{record}");
        let replica = record["replica"].as_str().unwrap().to_owned();
        messages.entry(replica).or_default().insert(record["message"].as_str().unwrap().to_owned());
    }
    assert_eq!(messages.len(), 2, "two replicas: {messages:?}");
    let (first, second) = (first.log.text(), second.log.text());
    for said in messages.values() {
        let everything = |text: &str| said.iter().all(|message| text.contains(message.as_str()));
        assert!(
            !said.is_empty() && (everything(&first) || everything(&second)),
            "{said:?}\n{first}\n{second}"
        );
    }
}
