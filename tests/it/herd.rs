//! Many who wait for the same: nobody rushes in, nobody is forgotten.

use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::Config;
use antigravity_proxy::simulator::{Recorded, Scenario};
use futures_util::future::join_all;
use serde_json::json;

use crate::redis_server::RedisServer;
use crate::support::replicas::until;
use crate::support::{GEMINI, Replicas, ask};

const ACCOUNTS: usize = 10;
const CLIENTS: usize = 500;
/// Of each account.
const AT_ONCE: usize = 4;

/// Two gateways; each account is limited for some seconds, its answers take a while.
async fn limited_pool(redis: &RedisServer, waiters: usize) -> Replicas {
    let change = move |config: &mut Config| {
        config.selection.pinned.insert("maxConcurrentPerAccount".into(), AT_ONCE.to_string());
        config.dispatch.max_waiters = waiters;
        config.dispatch.deadline = Duration::from_secs(28);
    };
    let scenario = Scenario::default().with_accounts(ACCOUNTS);
    let replicas = Replicas::with(scenario, &vec![redis.url(); 2], change).await;
    replicas.fault(
        &json!({"model": GEMINI, "times": ACCOUNTS}),
        &json!({"fault": "quota_exhausted", "reset_ms": 4000}),
    );
    replicas.fault(&json!({"model": GEMINI}), &json!({"delay_ms": 1100}));
    replicas
}

/// Sends one request that meets every limit and then waits, and the others when it does.
async fn ask_all(replicas: &Replicas, count: usize) -> Vec<(u16, Duration)> {
    let begun = Clock::system().instant();
    let send = async |n: usize| {
        let answer = replicas.client(n).send(&ask(GEMINI, &format!("number {n}"), n.is_multiple_of(2))).await;
        (answer.status, begun.elapsed())
    };
    let others = async {
        assert!(until(async || replicas.model_calls().len() >= ACCOUNTS).await);
        join_all((1..count).map(send)).await
    };
    let (first, mut answers) = tokio::join!(send(0), others);
    answers.push(first);
    answers
}

fn most_at_once(calls: &[Recorded]) -> usize {
    let mut edges: Vec<(i64, i64)> = Vec::new();
    for call in calls {
        edges.push((call.at_ms, 1));
        edges.push((call.ended_ms.unwrap(), -1));
    }
    edges.sort_unstable();
    let mut open = 0;
    edges
        .iter()
        .map(|(_, step)| {
            open += step;
            open
        })
        .max()
        .map_or(0, |most| usize::try_from(most).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_wait_for_one_reset() {
    let redis = RedisServer::start();
    let replicas = limited_pool(&redis, CLIENTS).await;
    let answers = ask_all(&replicas, CLIENTS).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    replicas.settled().await;
    let mut calls = replicas.model_calls();
    calls.sort_by_key(|call| call.at_ms);
    let (limited, served) = calls.split_at(ACCOUNTS);
    assert!(limited.iter().all(|call| call.status == 429) && served.iter().all(|call| call.status == 200));
    assert!(most_at_once(&calls) <= ACCOUNTS * AT_ONCE, "{} at once", most_at_once(&calls));
    let first = &served[..ACCOUNTS * AT_ONCE];
    let spread = first.last().unwrap().at_ms - first[0].at_ms;
    assert!(spread >= 1000, "the first {} calls came within {spread} ms", first.len());
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_bound_a_waiter_is_told_at_once() {
    let redis = RedisServer::start();
    let replicas = limited_pool(&redis, 20).await;
    let answers = ask_all(&replicas, 200).await;
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 529).collect();
    let served = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(refused.len() + served, answers.len(), "{answers:?}");
    assert_eq!(served, 40, "as many as both gateways let wait");
    let first_served = answers.iter().filter(|(status, _)| *status == 200).map(|(_, at)| at).min().unwrap();
    assert!(refused.iter().all(|(_, at)| at < first_served), "at once");
    replicas.settled().await;
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_at_once_does_not_overtake_those_who_wait() {
    const ROUNDS: usize = 6;
    let redis = RedisServer::start();
    let change = |config: &mut Config| {
        config.selection.pinned.insert("maxConcurrentPerAccount".into(), "1".into());
    };
    let replicas = Replicas::with(Scenario::default(), &[redis.url()], change).await;
    replicas.fault(&json!({"model": GEMINI}), &json!({"delay_ms": 40}));
    let finished = std::sync::Mutex::new(Vec::new());
    let rounds = async |client: usize| {
        for round in 0..ROUNDS {
            let body = ask(GEMINI, &format!("number {client} for the {round} time"), false);
            assert_eq!(replicas.client(0).send(&body).await.status, 200);
            finished.lock().unwrap().push(client);
        }
    };
    join_all((0..4).map(rounds)).await;
    let finished = finished.into_inner().unwrap();
    let half = &finished[..finished.len() / 2];
    for client in 0..4 {
        let count = half.iter().filter(|one| **one == client).count();
        assert!((2..=4).contains(&count), "{client} had {count} of {half:?}");
    }
    replicas.settled().await;
    replicas.shutdown().await;
}
