//! Which account a conversation gets, and what is told about it.

use std::time::Duration;

use antigravity_proxy::config::{Config, Strategy};
use antigravity_proxy::simulator::Scenario;
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::replicas::carry_on;
use crate::support::{GEMINI, PLAIN, Replicas, TestGateway, ask};

fn strategy(config: &mut Config, strategy: Strategy, more: &[(&str, &str)]) {
    config.selection.strategy = strategy;
    config.selection.pinned.insert("strategy".into(), strategy.as_str().into());
    for (name, value) in more {
        config.selection.pinned.insert((*name).into(), (*value).into());
    }
}

/// Turns of one conversation, each at another gateway; the accounts that served them.
async fn turns(replicas: &Replicas, model: &str, text: &str, count: usize) -> Vec<String> {
    let mut body = ask(model, &format!("call {count} tools one after another, {text}"), true);
    let mut accounts = Vec::new();
    for turn in 0..count {
        let answer = replicas.client(turn).send(&body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        accounts.push(replicas.last_account());
        carry_on(&mut body, &answer, "done");
    }
    accounts
}

#[tokio::test]
async fn a_sticky_conversation_stays_with_its_account_at_every_gateway() {
    let redis = RedisServer::start();
    let sticky = |config: &mut Config| strategy(config, Strategy::Sticky, &[]);
    let scenario = Scenario::default().with_accounts(5);
    let replicas = Replicas::with(scenario, &vec![redis.url(); 2], sticky).await;
    let mut homes = Vec::new();
    for n in 0..5 {
        let mut accounts = turns(&replicas, GEMINI, &format!("number {n}"), 4).await;
        accounts.dedup();
        assert_eq!(accounts.len(), 1, "{accounts:?}");
        homes.append(&mut accounts);
    }
    homes.sort();
    homes.dedup();
    assert_eq!(homes.len(), 5, "each conversation has an account to itself: {homes:?}");
    replicas.shutdown().await;
}

#[tokio::test]
async fn a_sticky_conversation_finds_its_account_after_a_restart() {
    let scenario = Scenario::default().with_accounts(4);
    let gateway = TestGateway::start(scenario, |config| strategy(config, Strategy::Sticky, &[])).await;
    let served = |gateway: &TestGateway| gateway.model_calls().last().unwrap().account.clone();
    let body = ask(PLAIN, "hello there", false);
    for other in ["one", "two"] {
        gateway.client.send(&ask(PLAIN, other, false)).await;
    }
    gateway.client.send(&body).await;
    let home = served(&gateway);
    let gateway = gateway.restart().await;
    for other in ["three", "four", "five"] {
        gateway.client.send(&ask(PLAIN, other, false)).await;
    }
    gateway.client.send(&body).await;
    assert_eq!(served(&gateway), home);
    gateway.settled().await;
}

#[tokio::test]
async fn the_explanation_names_whom_the_next_request_gets() {
    for (kind, settings) in [
        (Strategy::Sticky, &[][..]),
        (Strategy::Hybrid, &[("weights.affinity", "150")][..]),
        (Strategy::RoundRobin, &[][..]),
    ] {
        let redis = RedisServer::start();
        let change = |config: &mut Config| strategy(config, kind, settings);
        let scenario = Scenario::default().with_accounts(3);
        let replicas = Replicas::with(scenario, &vec![redis.url(); 2], change).await;
        let mut body = ask(GEMINI, "hello", false);
        body["metadata"] = json!({"user_id": "{\"session_id\":\"s-1\"}"});
        for turn in 0..4 {
            let path = format!("/api/strategy/explain?model={GEMINI}&session=s-1");
            let (status, told) = replicas.client(turn + 1).get(&path).await;
            assert_eq!(status, 200, "{told}");
            let selection = &told["selection"];
            assert_eq!(
                (&selection["decision"], &selection["strategy"]),
                (&json!("chosen"), &json!(kind.as_str()))
            );
            assert_eq!(selection["candidates"].as_array().unwrap().len(), 3);
            assert_eq!(replicas.client(turn).send(&body).await.status, 200);
            assert_eq!(selection["account"], replicas.last_account().as_str(), "{kind:?} {turn}: {told}");
            assert!(told["summary"].as_str().unwrap().starts_with(&replicas.last_account()), "{told}");
            replicas.settled().await;
        }
        replicas.shutdown().await;
    }
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_says_why() {
    let gateway = TestGateway::of(1).await;
    for (path, status, part) in [
        ("/api/strategy/explain", 404, "model"),
        ("/api/strategy/explain?model=no-such", 404, "no-such"),
        ("/api/strategy/explain?modle=x", 400, "expected one of `model`, `session`, `clientKey`"),
    ] {
        let (got, body): (u16, Value) = gateway.client.get(path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.to_string().contains(part), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_conversation_whose_account_is_free_too_late_is_served_by_another() {
    let gateway = TestGateway::start(Scenario::default().with_accounts(2), |config| {
        strategy(config, Strategy::Sticky, &[("sticky.waitMs", "60000")]);
        config.dispatch.own_wait = Duration::from_mins(1);
        config.dispatch.max_wait = Duration::from_secs(1);
    })
    .await;
    let body = |session: &str| {
        let mut body = ask(PLAIN, "hello", false);
        body["metadata"] = json!({"user_id": json!({"session_id": session}).to_string()});
        body
    };
    for session in ["s-1", "s-2", "s-3"] {
        assert_eq!(gateway.client.send(&body(session)).await.status, 200);
    }
    assert_eq!(gateway.route(), ["1@0", "2@0", "1@0"]);
    gateway.fault(
        &json!({"account": "dev1@example.com", "times": 1}),
        &json!({"fault": "quota_exhausted", "reset_ms": 30_000}),
    );
    assert_eq!(gateway.client.send(&body("s-1")).await.status, 200);
    let told = gateway.client.get(&format!("/api/strategy/explain?model={PLAIN}&session=s-3")).await.1;
    let summary = told["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("dev1@example.com has the conversation and is free in 30 s (quota)"),
        "{summary}"
    );
    assert!(summary.ends_with("else one of 1 usable accounts serves it."), "{summary}");
    assert_eq!(gateway.client.send(&body("s-3")).await.status, 200);
    assert_eq!(gateway.route()[3..], ["1@0", "2@0", "2@0"]);
    gateway.settled().await;
}
