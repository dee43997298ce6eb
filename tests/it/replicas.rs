//! Several gateways on one Redis behave as one: what one learnt, all know.

use antigravity_proxy::config::{Config, Strategy};
use antigravity_proxy::simulator::{Account, Delivery, Mode, Scenario, Standing};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::redis_server::{Flavour, RedisServer};
use crate::support::replicas::{PATIENCE, carry_on, requests_counted, until};
use crate::support::{GEMINI, PLAIN, Replicas, ask};

/// Account after account, so that each is surely met.
fn in_turn(config: &mut Config) {
    config.selection.strategy = Strategy::RoundRobin;
    config.selection.pinned.insert("strategy".into(), "round-robin".into());
}

fn urls(redis: &RedisServer, gateways: usize) -> Vec<String> {
    vec![redis.url(); gateways]
}

async fn pair(redis: &RedisServer, accounts: usize) -> Replicas {
    Replicas::with(Scenario::default().with_accounts(accounts), &urls(redis, 2), in_turn).await
}

fn swift(accounts: usize) -> Scenario {
    let mut scenario = Scenario::default().with_accounts(accounts);
    scenario.delivery = Delivery { mode: Mode::Burst, ..Delivery::default() };
    scenario
}

/// Four turns, each at another gateway than the one before.
async fn talk(replicas: &Replicas, number: usize) {
    let text = format!("call 3 tools one after another, number {number}");
    let mut body = ask(GEMINI, &text, number.is_multiple_of(2));
    for turn in 0..4 {
        let answer = replicas.client(number + turn).send(&body).await;
        assert_eq!(answer.status, 200, "{number}/{turn}: {}", answer.body);
        assert_eq!(answer.count("error"), 0, "{number}/{turn}: {:?}", answer.events);
        let called = carry_on(&mut body, &answer, &format!("out {turn}"));
        assert_eq!(called, turn < 3, "{number}/{turn}: {}", answer.body);
    }
}

async fn conversations(replicas: &Replicas) {
    futures_util::stream::iter(0..200).for_each_concurrent(32, |number| talk(replicas, number)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tool_loops_that_change_the_gateway_at_every_turn() {
    for gateways in [2, 3] {
        let redis = RedisServer::start();
        let replicas = Replicas::start(swift(8), &urls(&redis, gateways)).await;
        conversations(&replicas).await;
        replicas.settled().await;
        let calls = replicas.model_calls();
        assert_eq!(calls.len(), 800);
        assert!(calls.iter().all(|call| call.status == 200));
        assert!(replicas.refreshes().values().all(|times| *times == 1), "{:?}", replicas.refreshes());
        replicas.shutdown().await;
        assert_eq!(requests_counted(&redis), 800, "each request counts once");
    }
}

/// Gateways that start together under load on a store that knows accounts, but neither tokens nor models.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_refreshes_each_account_once() {
    let redis = RedisServer::start();
    let before = Replicas::start(swift(8), &urls(&redis, 1)).await;
    let simulator = before.shutdown().await;
    let forgotten = ["agp:v1:{main}:tok", "agp:v1:{main}:models"];
    let gone: u32 = redis::cmd("DEL").arg(&forgotten).query(&mut redis.connect()).unwrap();
    assert_eq!(gone, 2);
    simulator.expire_tokens();
    simulator.forget();

    let replicas = Replicas::on(simulator, &urls(&redis, 2), |_| {}).await;
    conversations(&replicas).await;
    replicas.settled().await;
    assert_eq!(replicas.model_calls().len(), 800);
    let refreshes = replicas.refreshes();
    assert_eq!((refreshes.len(), refreshes.values().max()), (8, Some(&1)), "{refreshes:?}");
    replicas.shutdown().await;
}

/// The gateways share the work of asking what accounts offer: of each account one of them asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_account_is_asked_for_its_models_by_one_gateway() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(swift(24), &urls(&redis, 3)).await;
    let asked = || -> Vec<String> {
        let all = replicas.simulator.recorded().into_iter();
        let models = all.filter(|one| one.path.ends_with("fetchAvailableModels"));
        models.filter_map(|one| one.account).collect()
    };
    assert!(until(async || asked().len() >= 24).await);
    // Longer than the lock of an account stays after its answer.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let mut asked = asked();
    asked.sort();
    asked.dedup_by(|one, other| one == other && panic!("{one} was asked twice"));
    assert_eq!(asked.len(), 24);
    replicas.shutdown().await;
}

/// Asks the first gateway until an account has refused a call.
async fn meet(replicas: &Replicas, account: &str) {
    let refused = until(async || {
        let answer = replicas.client(0).send(&ask(PLAIN, "hello", true)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut calls = replicas.model_calls().into_iter();
        calls.any(|call| call.account.as_deref() == Some(account) && call.status != 200)
    });
    assert!(refused.await, "{account} is asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_met_on_one_is_respected_by_the_other() {
    let redis = RedisServer::start();
    let replicas = pair(&redis, 2).await;
    let limited = "dev2@example.com";
    replicas.fault(
        &json!({"account": limited, "times": 1}),
        &json!({"fault": "rate_limited", "reset_ms": 60_000}),
    );
    meet(&replicas, limited).await;
    let met = replicas.model_calls().len();
    for turn in 0..6 {
        assert_eq!(replicas.client(turn + 1).send(&ask(PLAIN, "hello", true)).await.status, 200);
    }
    let later: Vec<_> =
        replicas.model_calls()[met..].iter().filter_map(|call| call.account.clone()).collect();
    assert_eq!(later, vec!["dev1@example.com"; 6]);
    replicas.settled().await;
    replicas.shutdown().await;
}

/// Ten minutes for one model of one account: no gateway asks it for that model, all ask it for others, also after the
/// store was killed and came back from its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_for_its_model_everywhere_and_survives_the_store() {
    let kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = RedisServer::with(Flavour::Redis7, &kept);
    let replicas = pair(&redis, 2).await;
    let limited = "dev2@example.com";
    replicas.fault(
        &json!({"account": limited, "model": PLAIN, "times": 1}),
        &json!({"fault": "quota_exhausted", "reset_ms": 600_000}),
    );
    meet(&replicas, limited).await;
    asked_for_other_models_only(&replicas, limited).await;

    replicas.settled().await;
    redis.kill();
    redis.restart();
    let back = async || replicas.client(0).send(&ask(GEMINI, "hello", true)).await.status == 200;
    assert!(until(back).await, "the gateways find the store again");
    asked_for_other_models_only(&replicas, limited).await;
    replicas.settled().await;
    replicas.shutdown().await;
}

/// Both gateways ask `account` for [`GEMINI`] and not for [`PLAIN`].
async fn asked_for_other_models_only(replicas: &Replicas, account: &str) {
    let begun = replicas.model_calls().len();
    for turn in 0..8 {
        for model in [PLAIN, GEMINI] {
            let answer = replicas.client(turn).send(&ask(model, "hello", turn % 4 < 2)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
    let calls = replicas.model_calls();
    let asked = |model: &str| {
        let of_account = calls[begun..].iter().filter(|call| call.account.as_deref() == Some(account));
        of_account.filter(|call| call.body["model"] == model).count()
    };
    assert_eq!(asked(PLAIN), 0);
    assert!(asked(GEMINI) >= 2, "{}", asked(GEMINI));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_one_found_invalid_is_left_alone_by_the_other() {
    for fault in [json!({"fault": "banned"}), json!({"fault": "validation_required"})] {
        let redis = RedisServer::start();
        let replicas = pair(&redis, 2).await;
        // Both hold a token of both accounts.
        for turn in 0..4 {
            assert_eq!(replicas.client(turn / 2).send(&ask(PLAIN, "hello", true)).await.status, 200);
        }
        let lost = "dev2@example.com";
        replicas.fault(&json!({"account": lost}), &fault);
        meet(&replicas, lost).await;
        let met = replicas.model_calls().len();
        for _ in 0..4 {
            assert_eq!(replicas.client(1).send(&ask(PLAIN, "hello", true)).await.status, 200);
        }
        let calls = replicas.model_calls();
        assert!(calls[met..].iter().all(|call| call.account.as_deref() != Some(lost)), "{fault}");
        replicas.settled().await;
        replicas.shutdown().await;
    }
}

/// The next turn leaves in the instant `message_stop` arrives, before the stream has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_is_known_everywhere_when_the_answer_ends() {
    let redis = RedisServer::start();
    let replicas = Replicas::start(swift(2), &urls(&redis, 2)).await;
    for number in 0..20 {
        let mut body = ask(GEMINI, &format!("call 1 tools, number {number}"), true);
        let mut response = replicas.client(number).begin(&body).await;
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("event: message_stop") {
            text.extend(response.chunk().await.unwrap().expect("the stream goes on until message_stop"));
        }
        let answer = crate::support::client::Answer::of_stream(&String::from_utf8(text).unwrap());
        assert!(carry_on(&mut body, &answer, "done"), "{}", answer.body);
        let next = replicas.client(number + 1).send(&body).await;
        assert_eq!(next.status, 200, "{number}: {}", next.body);
    }
    replicas.settled().await;
    let recalled = |body: &Value| body.to_string().contains("thoughtSignature");
    let with_signatures = replicas.model_calls().iter().filter(|call| recalled(&call.body)).count();
    assert_eq!(with_signatures, 20);
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_sign_in_on_one_is_used_by_the_other() {
    let redis = RedisServer::start();
    let account = |token: &str, state| Account { refresh_token: token.into(), state, ..Account::numbered(1) };
    let scenario =
        |token: &str, state| Scenario { accounts: vec![account(token, state)], ..Scenario::default() };
    let replicas = Replicas::with(scenario("1//first", Standing::Active), &urls(&redis, 2), in_turn).await;
    for turn in 0..2 {
        assert_eq!(replicas.client(turn).send(&ask(PLAIN, "hello", false)).await.status, 200);
    }
    replicas.simulator.load(scenario("1//first", Standing::Revoked));
    let refused = until(async || replicas.client(1).send(&ask(PLAIN, "hello", false)).await.status == 503);
    assert!(refused.await, "the only account is invalid");

    replicas.simulator.load(scenario("1//second", Standing::Active));
    replicas.simulator.expire_tokens();
    replicas.import(0, &replicas.simulator.accounts_json()).await;
    for turn in [1, 1, 0] {
        let answer = replicas.client(turn).send(&ask(PLAIN, "hello", false)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    replicas.settled().await;
    replicas.shutdown().await;
}

/// A request that waits on one gateway goes on when another one gets an account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_account_on_one_wakes_who_waits_on_the_other() {
    let redis = RedisServer::start();
    let replicas = Replicas::cold(Scenario::default().with_accounts(2), &urls(&redis, 2), in_turn).await;
    wakes(&replicas).await;
    replicas.shutdown().await;
}

/// The gateways have no account yet. With the first limited for long, a request on the second gateway is answered
/// as soon as the first gateway gets another account.
pub(crate) async fn wakes(replicas: &Replicas) {
    let accounts = replicas.simulator.accounts_json();
    let only = |at: usize| json!({"accounts": [accounts["accounts"][at]], "settings": {}, "activeIndex": 0});
    replicas.import(0, &only(0)).await;
    replicas.fault(
        &json!({"account": "dev1@example.com"}),
        &json!({"fault": "rate_limited", "reset_ms": 90_000}),
    );
    let body = ask(PLAIN, "hello", false);
    let waiting = replicas.client(1).begin(&body);
    let import = async {
        assert!(until(async || replicas.metric(1, "pool_waiters").await > 0.0).await, "the request waits");
        replicas.import(0, &only(1)).await;
    };
    let (response, ()) =
        tokio::time::timeout(2 * PATIENCE, async { tokio::join!(waiting, import) }).await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    assert_eq!(replicas.last_account(), "dev2@example.com");
}
