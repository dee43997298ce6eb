//! `/account-limits`: as the reference's console reads it, at one upstream call per account and time, whoever looks.

use std::collections::BTreeMap;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::simulator::{Scenario, Simulator};
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::replicas::until;
use crate::support::{PLAIN, Replicas, TestGateway, ask};

/// When each account was asked for its quotas, ms since the epoch.
fn asked(simulator: &Simulator) -> BTreeMap<String, Vec<i64>> {
    let mut asked: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in simulator.recorded().into_iter().filter(|one| one.path.contains("fetchAvailableModels")) {
        asked.entry(one.account.unwrap_or_default()).or_default().push(one.at_ms);
    }
    asked
}

fn of<'a>(report: &'a Value, email: &str) -> &'a Value {
    let accounts = report["accounts"].as_array().unwrap_or_else(|| panic!("{report}"));
    accounts.iter().find(|account| account["email"] == email).unwrap_or_else(|| panic!("no {email}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn ten_consoles_at_three_replicas_cost_one_call_per_account_and_time() {
    let redis = RedisServer::start();
    let urls = [redis.url(), redis.url(), redis.url()];
    let ttl = Duration::from_secs(6);
    let scenario = Scenario::default().with_accounts(4);
    let replicas = Replicas::with(scenario, &urls, |config| config.selection.quota_snapshot = ttl).await;
    let clock = Clock::system();
    let end = clock.instant() + ttl * 2 + Duration::from_secs(1);
    let console = async |number: usize| {
        let mut turn = number;
        while clock.instant() < end {
            let (status, report) = replicas.client(turn).get("/account-limits?includeHistory=true").await;
            assert_eq!((status, &report["totalAccounts"]), (200, &json!(4)), "{report}");
            turn += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    futures_util::future::join_all((0..10).map(console)).await;
    for (account, times) in asked(&replicas.simulator) {
        assert!(times.len() >= 2, "{account}: somebody looked, and it was asked anew: {times:?}");
        // The store's clock and the simulator's are one here; the answer comes a moment after the question.
        let apart = times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
        assert!(apart >= 5_950, "{account} was asked {times:?}");
    }

    // On demand, and then by nobody for a while.
    let before: usize = asked(&replicas.simulator).values().map(Vec::len).sum();
    let refresh = |turn: usize| replicas.client(turn).get("/account-limits?refresh=true");
    let (one, two, three) = tokio::join!(refresh(0), refresh(1), refresh(2));
    assert_eq!([one.0, two.0, three.0], [200; 3]);
    let after: usize = asked(&replicas.simulator).values().map(Vec::len).sum();
    assert!((1..=4).contains(&(after - before)), "{} calls", after - before);
    replicas.shutdown().await;
}

#[tokio::test]
async fn the_report_has_what_the_references_console_reads() {
    let gateway = TestGateway::of(2).await;
    let (status, report) = gateway.client.get("/account-limits").await;
    assert_eq!(status, 200);
    let top = ["accounts", "globalQuotaThreshold", "modelConfig", "models", "timestamp", "totalAccounts"];
    let mut found = keys(&report);
    found.sort_unstable();
    assert_eq!(found, top);
    let models: Vec<_> = report["models"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    assert!(models.contains(&PLAIN) && models.is_sorted(), "{models:?}");
    let stamp = report["timestamp"].as_str().unwrap();
    assert!(stamp.len() == 24 && stamp.ends_with('Z'), "{stamp}");
    let one = of(&report, "dev1@example.com");
    let mut found = keys(one);
    found.sort_unstable();
    let wanted = [
        "cooldownUntil",
        "email",
        "enabled",
        "error",
        "id",
        "invalidReason",
        "isInvalid",
        "lastUsed",
        "limits",
        "modelQuotaThresholds",
        "modelRateLimits",
        "projectId",
        "snapshotAt",
        "source",
        "status",
        "subscription",
        "verifyUrl",
    ];
    assert_eq!(found, wanted, "{one}");
    assert_eq!(
        (&one["status"], &one["error"], &one["source"]),
        (&json!("ok"), &Value::Null, &json!("oauth"))
    );
    assert_eq!(keys(&one["limits"]), models, "one per model");
    let left = &one["limits"][PLAIN];
    assert_eq!((&left["remaining"], &left["remainingFraction"]), (&json!("100%"), &json!(1.0)), "{left}");
    assert!(left["resetTime"].is_null() || left["resetTime"].is_string());

    // A threshold is there or not; it is never null.
    let path = "/api/accounts/dev1%40example.com";
    let change = async |body: Value| {
        let request = gateway.client.request(reqwest::Method::PATCH, path).json(&body);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let told = change(json!({"quotaThreshold": 0.25, "modelQuotaThresholds": {PLAIN: 0.5}})).await;
    let account =
        json!({"email": "dev1@example.com", "quotaThreshold": 0.25, "modelQuotaThresholds": {PLAIN: 0.5}});
    assert_eq!(told["account"], account, "{told}");
    let report = gateway.client.get("/account-limits").await.1;
    assert_eq!(of(&report, "dev1@example.com")["quotaThreshold"], 0.25);
    let told = change(json!({"quotaThreshold": null, "modelQuotaThresholds": {}})).await;
    assert_eq!(told["account"], json!({"email": "dev1@example.com", "modelQuotaThresholds": {}}), "{told}");
    let report = gateway.client.get("/account-limits").await.1;
    assert!(of(&report, "dev1@example.com").get("quotaThreshold").is_none());
    assert_eq!(change(json!({})).await["status"], "ok", "no change is one");
}

#[tokio::test]
async fn accounts_that_cannot_be_used_say_why_and_are_not_asked() {
    let rule = json!({"when": {"path": "fetchAvailableModels", "account": "dev2@example.com"},
        "then": {"fault": "banned"}});
    let mut scenario = Scenario::default().with_accounts(3);
    scenario.rules.push(serde_json::from_value(rule).unwrap());
    let gateway = TestGateway::start(scenario, |config| {
        config.selection.quota_snapshot = Duration::ZERO;
    })
    .await;
    let (status, _) =
        gateway.client.post("/api/accounts/dev3%40example.com/toggle", &json!({"enabled": false})).await;
    assert_eq!(status, 200);
    assert!(until(async || gateway.account(2).await["isInvalid"] == true).await);
    // Whatever was under way has ended.
    gateway.client.get("/account-limits?refresh=true").await;
    let before = asked(&gateway.simulator);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    let report = gateway.client.get("/account-limits").await.1;
    let after = asked(&gateway.simulator);
    let count = |asked: &BTreeMap<String, Vec<i64>>, number: usize| {
        asked.get(&format!("dev{number}@example.com")).map_or(0, Vec::len)
    };
    assert_eq!(count(&after, 1), count(&before, 1) + 1, "its quotas were too old");
    for number in [2, 3] {
        assert_eq!(count(&after, number), count(&before, number), "{number}");
    }
    let banned = of(&report, "dev2@example.com");
    assert_eq!((&banned["status"], &banned["isInvalid"]), (&json!("banned"), &json!(true)), "{banned}");
    assert!(banned["error"].as_str().unwrap().contains("terms of service"));
    let off = of(&report, "dev3@example.com");
    assert_eq!((&off["status"], &off["enabled"]), (&json!("ok"), &json!(false)), "{off}");
    assert!(off["limits"][PLAIN].is_object(), "what is known of it is shown: {off}");
    assert_eq!(gateway.client.send(&ask(PLAIN, "hello", false)).await.status, 200);
}

#[tokio::test]
async fn the_table_is_text() {
    let gateway = TestGateway::of(2).await;
    let get = async |path: &str| gateway.client.request(reqwest::Method::GET, path).send().await.unwrap();
    let response = get("/account-limits?format=table").await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let text = response.text().await.unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("Account Limits (20") && lines[0].ends_with(')'), "{text}");
    assert_eq!(lines[1], "Accounts: 2 total, 2 available, 0 rate-limited, 0 invalid");
    let row = lines[5].split_whitespace().take(3).collect::<Vec<_>>();
    assert_eq!(row, ["dev1", "ok", "never"], "{text}");
    let cells = text.lines().find(|line| line.starts_with(PLAIN)).unwrap();
    assert_eq!(cells.split_whitespace().collect::<Vec<_>>(), [PLAIN, "100%", "100%"]);
    assert!(get("/account-limits?format=xml").await.json::<Value>().await.is_ok(), "anything else is JSON");
}
