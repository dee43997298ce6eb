//! Access tokens under load: one refresh per account and expiry over all gateways, whoever is killed and whatever the
//! token endpoint does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::gateway::{Gateway, until};
use crate::http;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::redis_server::RedisServer;
use crate::simulator::sample;
use crate::site::{BRISK, Site};

const FINE: &str = "reply with exactly: fine";

/// Life of a token as gateways use it: a minute less than what the endpoint says.
const LIFE_MS: i64 = 4000;

/// A pool whose tokens live for [`LIFE_MS`].
async fn short_lived(accounts: usize) -> Site {
    let site = Site::start(accounts).await;
    let scenario = json!({"accounts": sample(accounts), "token_lifetime_s": 60 + LIFE_MS / 1000});
    let url = format!("{}/sim/scenario", site.simulator.url);
    let headers = [("content-type", "application/json")];
    assert_eq!(http::send("PUT", &url, &headers, scenario.to_string().as_bytes()).await.status, 204);
    let delivery = json!({"mode": "paced", "interval_ms": 40, "chunk_chars": 8});
    site.simulator.rule(&json!({"when": {"text": "briskly"}, "then": {"delivery": delivery}})).await;
    site
}

async fn start(site: &Site, count: usize) -> Vec<Gateway> {
    let homes: Vec<_> = (0..count).map(|_| site.home()).collect();
    join_all(homes.iter().map(crate::gateway::Home::start)).await
}

fn in_turn(gateways: &[Gateway]) -> impl Fn() -> String + Clone + Send + 'static {
    let urls: Vec<_> = gateways.iter().map(|gateway| gateway.url.clone()).collect();
    let turn = Arc::new(AtomicUsize::new(0));
    move || urls[turn.fetch_add(1, Ordering::Relaxed) % urls.len()].clone()
}

/// The calls of the token endpoint by account, each as its time (ms) and its status.
async fn refreshes<R>(site: &Site<R>) -> BTreeMap<String, Vec<(i64, u64)>> {
    let mut calls: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for call in site.simulator.requests("/token").await {
        let account = call["account"].as_str().unwrap().to_owned();
        calls
            .entry(account)
            .or_default()
            .push((call["at_ms"].as_i64().unwrap(), call["status"].as_u64().unwrap()));
    }
    calls
}

/// Generations of all accounts' tokens, added up: how many were fetched and kept.
fn generations(site: &Site) -> usize {
    let mut ledger = Ledger::new(&site.redis);
    let key = ledger.key("tok");
    let records: Vec<String> = redis::cmd("HVALS").arg(key).query(ledger.connection()).unwrap();
    records.iter().map(|record| record.split('|').nth(1).unwrap().parse::<usize>().unwrap()).sum()
}

async fn nobody_is_invalid(gateway: &Gateway) {
    let list = http::get(&format!("{}/api/accounts", gateway.url)).await.json();
    for account in list["accounts"].as_array().unwrap() {
        assert_eq!(account["isInvalid"], false, "{account}");
    }
}

/// Tokens that end again and again under load: each is fetched by one gateway, before it ends, and never in vain.
async fn one_refresh_per_expiry(processes: usize, accounts: usize, time: Duration) {
    let site = short_lived(accounts).await;
    let gateways = start(&site, processes).await;
    let load = Load::start(8, BRISK, in_turn(&gateways));
    tokio::time::sleep(time).await;
    let seen = load.finish().await;
    seen.assert_whole();
    // A renewal may be under way.
    until("every token that was fetched is kept", async || {
        let fetched: usize = refreshes(&site).await.values().map(Vec::len).sum();
        fetched == generations(&site)
    })
    .await;
    let calls = refreshes(&site).await;
    assert_eq!(calls.len(), accounts, "every account is used");
    let (mut fetched, mut closest) = (0, i64::MAX);
    for (account, calls) in &calls {
        assert!(calls.iter().all(|(_, status)| *status == 200), "{account}: {calls:?}");
        fetched += calls.len();
        for pair in calls.windows(2) {
            let apart = pair[1].0 - pair[0].0;
            closest = closest.min(apart);
            // Due at half of its life at the earliest; the rest is what the two calls took to come here.
            assert!(apart >= LIFE_MS / 2 - 200, "{account} had a new token after {apart} ms: {calls:?}");
        }
    }
    println!(
        "{} answers, {fetched} tokens for {accounts} accounts by {processes} gateways, closest {closest} ms apart",
        seen.answers.len()
    );
    nobody_is_invalid(&gateways[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_gateways_refresh_once_per_account_and_expiry() {
    one_refresh_per_expiry(3, 3, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn eight_gateways_refresh_once_per_account_and_expiry() {
    one_refresh_per_expiry(8, 10, Duration::from_mins(2)).await;
}

/// Tokens are voided, and all gateways meet that at once: one of them fetches the next one for all.
async fn rounds(processes: usize, rounds: usize) {
    let site = Site::start(1).await;
    let gateways = start(&site, processes).await;
    let ask = async || {
        for answer in join_all(gateways.iter().map(|gateway| gateway.ask(FINE))).await {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    ask().await;
    let id = |call: &Value| call["id"].as_u64().unwrap();
    let mut last = site.simulator.requests("/token").await.iter().map(id).max().unwrap();
    for round in 1..=rounds {
        site.simulator.expire_tokens().await;
        ask().await;
        assert_eq!(generations(&site), round + 1, "one token is kept per round");
        let calls = site.simulator.requests(&format!("/token&after={last}")).await;
        assert_eq!(calls.len(), 1, "and none is fetched in vain: {calls:?}");
        assert_eq!(calls[0]["status"], 200, "no refusal, false or not: {calls:?}");
        last = id(&calls[0]);
    }
    println!("{processes} gateways, {rounds} rounds, each with one refresh");
    nobody_is_invalid(&gateways[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voided_token_is_replaced_once_for_all() {
    rounds(3, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn a_thousand_voided_tokens_are_replaced_once_each() {
    rounds(8, 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_while_it_refreshes_costs_one_refresh_more_and_no_request() {
    let site = Site::start(2).await;
    let slow = "user1@example.com";
    let delayed = json!({"when": {"path": "token", "account": slow, "times": 1}, "then": {"delay_ms": 8000}});
    site.simulator.rule(&delayed).await;
    let (one, two) = (site.home(), site.home());
    let (victim, other) = (one.start().await, two.start().await);
    let url = victim.url.clone();
    // Until one of them meets the account whose token comes slowly; the survey may have been first.
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = url.clone();
        asking.spawn(async move {
            let body = http::message(FINE, false).to_string();
            let headers = [("content-type", "application/json")];
            let request = http::request("POST", &format!("{url}/v1/messages"), &headers, body.as_bytes());
            http::exchange(http::split(&url).0, &request).await
        });
    }
    until("the slow refresh is under way", async || refreshes(&site).await.contains_key(slow)).await;
    victim.kill().await;
    for _ in 0..6 {
        let answer = other.ask(FINE).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // Its lock lapses.
    until("the account serves again", async || {
        let answer = other.ask(FINE).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        site.callers(0).await.0.iter().any(|caller| caller == slow)
    })
    .await;
    let calls = refreshes(&site).await;
    assert!(calls[slow].len() <= 2, "{calls:?}");
    assert_eq!(calls["user2@example.com"].len(), 1, "{calls:?}");
    nobody_is_invalid(&other).await;
}

/// What the token endpoint does while it is down.
fn outages() -> Vec<Value> {
    vec![
        json!({"status": 503, "body_text": "<html>503</html>"}),
        json!({"hang_up": true}),
        json!({"status": 429, "body": {"error": "rate_limited"}}),
        json!({"status": 200, "body_text": "no token"}),
        json!({"status": 400, "body": {"error": "temporarily_unavailable"}}),
    ]
}

async fn end_outage<R>(site: &Site<R>) {
    let url = format!("{}/sim/faults", site.simulator.url);
    assert_eq!(http::send("DELETE", &url, &[], b"").await.status, 204);
}

/// While no token can be fetched, accounts that have one serve; the others come back with the endpoint.
async fn valid_tokens_serve(processes: usize, time: Duration) {
    let site = Site::start(4).await;
    // The third and fourth have never had a token; the survey asks for one in vain, again and again.
    for (number, then) in outages().into_iter().enumerate() {
        for account in ["user3@example.com", "user4@example.com"] {
            let when = json!({"path": "token", "account": account, "from": number + 1, "times": 1});
            site.simulator.rule(&json!({"when": when, "then": then})).await;
        }
    }
    let gateways = start(&site, processes).await;
    for _ in 0..4 {
        assert_eq!(gateways[0].ask(FINE).await.status, 200);
    }
    // From now on nobody gets one.
    let down = json!({"when": {"path": "token"}, "then": {"status": 503, "body_text": "<html>503</html>"}});
    site.simulator.rule(&down).await;
    let load = Load::start(6, FINE, in_turn(&gateways));
    tokio::time::sleep(time).await;
    let answered = load.answered();
    nobody_is_invalid(&gateways[0]).await;
    let (callers, _) = site.callers(0).await;
    assert!(callers.iter().all(|caller| caller < &"user3@example.com".to_owned()), "{callers:?}");
    end_outage(&site).await;
    until("all accounts serve", async || {
        let (callers, _) = site.callers(0).await;
        ["user3@example.com", "user4@example.com"]
            .iter()
            .all(|one| callers.iter().any(|caller| caller == one))
    })
    .await;
    let seen = load.finish().await;
    seen.assert_whole();
    println!("{answered} answers in {time:?} without a token endpoint, {} in all", seen.answers.len());
    nobody_is_invalid(&gateways[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_with_tokens_serve_while_none_can_be_fetched() {
    valid_tokens_serve(2, Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn accounts_with_tokens_serve_through_half_a_minute_without_the_endpoint() {
    valid_tokens_serve(8, Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_the_endpoint_when_no_account_has_a_token() {
    let site = Site::start(2).await;
    let down = json!({"when": {"path": "token"}, "then": {"status": 503, "body_text": "<html>503</html>"}});
    site.simulator.rule(&down).await;
    let gateways = start(&site, 2).await;
    let asked = join_all(gateways.iter().map(|gateway| gateway.ask(FINE)));
    let back = async {
        until("both accounts have been tried", async || refreshes(&site).await.len() == 2).await;
        end_outage(&site).await;
    };
    let (answers, ()) = tokio::join!(asked, back);
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    nobody_is_invalid(&gateways[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_wait_is_told_how_long_it_takes() {
    let mut site = Site::start(1).await;
    site.set("maxWaitBeforeErrorMs", json!(0));
    let down = json!({"when": {"path": "token"}, "then": {"status": 503, "body_text": "<html>503</html>"}});
    site.simulator.rule(&down).await;
    let gateway = site.home().start().await;
    until("the account rests", async || {
        let answer = gateway.ask(FINE).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let after = answer.headers.get("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
        assert!(after.is_none_or(|seconds| (1..=60).contains(&seconds)), "{after:?}");
        after.is_some()
    })
    .await;
    nobody_is_invalid(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_oauth_client_is_shown_and_blames_no_account() {
    let site = Site::<RedisServer>::start(2).await;
    let refused =
        json!({"when": {"path": "token"}, "then": {"status": 401, "body": {"error": "invalid_client"}}});
    site.simulator.rule(&refused).await;
    let gateway = site.home().start().await;
    let answer = gateway.ask(FINE).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("OAUTH_CLIENT_ID"), "{}", answer.text());
    let status = http::get(&format!("{}/api/status", gateway.url)).await.json();
    assert_eq!(status["oauthClientRefused"], true, "{status}");
    nobody_is_invalid(&gateway).await;
    // Another gateway, whose client is right, is not held up.
    end_outage(&site).await;
    let other = site.home().start().await;
    assert_eq!(other.ask(FINE).await.status, 200);
    let status = http::get(&format!("{}/api/status", other.url)).await.json();
    assert_eq!(status["oauthClientRefused"], false, "{status}");
}
