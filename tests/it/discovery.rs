//! What the gateway finds out about its accounts by itself: project, tier, bans and demands for verification.

use std::time::Duration;

use antigravity_proxy::simulator::{Account, Scenario};
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::{PLAIN, Replicas, TestGateway, ask};

const PATIENCE: Duration = Duration::from_secs(30);

/// Accounts of which the gateway knows nothing but how to sign in.
fn strangers(accounts: &[Account]) -> Scenario {
    let accounts = accounts.iter().map(|account| Account { project: None, ..account.clone() }).collect();
    Scenario { accounts, ..Scenario::default() }
}

fn numbered(number: usize, tier: &str) -> Account {
    Account { tier: tier.into(), ..Account::numbered(number) }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let polling = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, polling).await.is_ok(), "not within {PATIENCE:?}: {what}");
}

fn calls(simulator: &antigravity_proxy::simulator::Simulator, path: &str, account: usize) -> Vec<usize> {
    let email = format!("dev{account}@example.com");
    let all = simulator.recorded().into_iter();
    all.filter(|one| one.path.contains(path) && one.account.as_ref() == Some(&email))
        .map(|one| one.endpoint)
        .collect()
}

#[tokio::test]
async fn projects_and_tiers_are_found_and_shown() {
    let accounts = [numbered(1, "free-tier"), numbered(2, "standard-tier"), numbered(3, "g1-ultra-tier")];
    let gateway = TestGateway::start(strangers(&accounts), |_| {}).await;
    for (number, tier) in [(1, "free"), (2, "pro"), (3, "ultra")] {
        let shown = async || gateway.account(number).await;
        until("the project is known", async || shown().await["projectId"].is_string()).await;
        let account = shown().await;
        assert_eq!(account["projectId"], format!("sim-onboarded-{}", number - 1), "{account}");
        let subscription = &account["subscription"];
        // Before onboarding the upstream names no tier of a paid account but the one it may have.
        assert_eq!(
            (&subscription["tier"], &subscription["projectId"]),
            (&json!(tier), &account["projectId"])
        );
        assert!(subscription["detectedAt"].as_i64().unwrap() > 0);
        assert_eq!(gateway.health(number).await["subscription"], *subscription);
        // The last endpoint first where the upstream is asked, the first one where it is changed.
        assert_eq!(calls(&gateway.simulator, "loadCodeAssist", number), [1]);
        assert_eq!(calls(&gateway.simulator, "onboardUser", number), [0]);
    }
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 200);
    gateway.settled().await;
}

#[tokio::test]
async fn a_tier_is_found_also_where_the_project_is_known_and_a_failure_keeps_it() {
    let scenario = Scenario {
        accounts: vec![numbered(1, "g1-ultra-tier"), numbered(2, "free-tier")],
        ..Scenario::default()
    };
    let gateway = TestGateway::start(scenario, |_| {}).await;
    until("the tiers are known", async || {
        gateway.account(1).await["subscription"]["tier"] == "ultra"
            && gateway.account(2).await["subscription"]["tier"] == "free"
    })
    .await;
    assert_eq!(calls(&gateway.simulator, "onboardUser", 1), Vec::<usize>::new());
    let looks = calls(&gateway.simulator, "loadCodeAssist", 1).len();
    assert_eq!(looks, 1);
    // Asked anew for its quotas it is not asked for its tier again; signed in anew it is, in vain.
    gateway.client.get("/health?refresh=true").await;
    assert_eq!(calls(&gateway.simulator, "loadCodeAssist", 1).len(), looks);
    gateway.fault(&json!({"path": "loadCodeAssist"}), &json!({"fault": "server_error"}));
    gateway.import(&gateway.simulator.accounts_json()).await;
    until("it is asked again, at both endpoints", async || {
        gateway.client.get("/health?refresh=true").await;
        calls(&gateway.simulator, "loadCodeAssist", 1).len() == looks + 2
    })
    .await;
    let account = gateway.account(1).await;
    assert_eq!(account["subscription"]["tier"], "ultra", "{account}");
    assert_eq!(account["projectId"], "sim-project-1");
}

#[tokio::test]
async fn what_concerns_the_account_is_believed_wherever_it_is_said() {
    let url = "https://accounts.google.com/signin/continue?x=1";
    let ban = json!({"fault": "banned"});
    let verify = json!({"fault": "validation_required", "validation_url": url});
    let elsewhere =
        json!({"fault": "validation_required", "validation_url": "https://accounts.google.com.example/x"});
    for (path, then, status, link) in [
        ("loadCodeAssist", &ban, "banned", Value::Null),
        ("onboardUser", &ban, "banned", Value::Null),
        ("fetchAvailableModels", &ban, "banned", Value::Null),
        ("loadCodeAssist", &verify, "invalid", json!(url)),
        ("fetchAvailableModels", &elsewhere, "invalid", Value::Null),
    ] {
        let mut scenario = strangers(&[numbered(1, "free-tier"), numbered(2, "free-tier")]);
        let rule = json!({"when": {"path": path, "account": "dev2@example.com"}, "then": then});
        scenario.rules.push(serde_json::from_value(rule).unwrap());
        let gateway = TestGateway::start(scenario, |_| {}).await;
        until("the account is out of use", async || gateway.account(2).await["isInvalid"] == true).await;
        let (account, health) = (gateway.account(2).await, gateway.health(2).await);
        assert_eq!((&health["status"], &account["verifyUrl"]), (&json!(status), &link), "{path}: {account}");
        let told = account["invalidReason"].as_str().unwrap();
        let word = if status == "banned" { "terms of service" } else { "owner must verify" };
        assert!(told.contains(word), "{path}: {told}");
        assert_eq!(health.get("verifyUrl").cloned().unwrap_or_default(), link, "{path}: {health}");
        // It is left alone from then on.
        let before = gateway.simulator.recorded().len();
        gateway.client.get("/health?refresh=true").await;
        let later = &gateway.simulator.recorded()[before..];
        assert!(later.iter().all(|one| one.account.as_deref() != Some("dev2@example.com")), "{path}");
        assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 200);
    }
}

#[tokio::test]
async fn a_voided_token_costs_the_survey_one_more() {
    let gateway = TestGateway::of(1).await;
    gateway.simulator.expire_tokens();
    let before = calls(&gateway.simulator, "token", 1).len();
    gateway.client.get("/health?refresh=true").await;
    assert_eq!(calls(&gateway.simulator, "token", 1).len(), before + 1);
    let asked = gateway.simulator.recorded();
    let last = asked.iter().rfind(|one| one.path.contains("fetchAvailableModels")).unwrap();
    assert_eq!((last.status, last.endpoint), (200, 0));
    assert_eq!(gateway.health(1).await["status"], "ok");
}

#[tokio::test]
async fn one_replica_onboards_for_all() {
    let redis = RedisServer::start();
    let account = Account { onboard_polls: 1, ..numbered(1, "free-tier") };
    let replicas =
        Replicas::cold(strangers(&[account]), &[redis.url(), redis.url(), redis.url()], |_| {}).await;
    replicas.import(0, &replicas.simulator.accounts_json()).await;
    // Requests everywhere, while the account has no project yet.
    let body = ask(PLAIN, "hello", false);
    let asked = (0..9).map(|turn| replicas.client(turn).send(&body));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    until("it is onboarded", async || {
        let accounts = replicas.client(1).get("/api/accounts").await.1;
        accounts["accounts"][0]["projectId"] == "sim-onboarded-0"
    })
    .await;
    assert_eq!(calls(&replicas.simulator, "onboardUser", 1).len(), 2, "one poll, then done");
    assert_eq!(replicas.client(2).send(&body).await.status, 200);
    assert_eq!(calls(&replicas.simulator, "onboardUser", 1).len(), 2);
    assert_eq!(replicas.simulator.refusals().len(), 0, "{:?}", replicas.simulator.refusals());
}
