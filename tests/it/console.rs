//! The console's door over several gateways: a log-in, a log-out, a password and a wrong one are the same everywhere; so
//! is what everybody did.

use std::collections::BTreeMap;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::Config;
use antigravity_proxy::simulator::Scenario;
use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::signin::{consent, signs_in};
use crate::support::Replicas;
use crate::support::replicas::until;

/// Longest time after which a change holds everywhere.
const PROMISED: Duration = Duration::from_secs(2);
const PASSWORD: &str = "open sesame!";

async fn gateways(redis: &RedisServer, count: usize, change: impl Fn(&mut Config)) -> Replicas {
    Replicas::cold(Scenario::default(), &vec![redis.url(); count], change).await
}

async fn answered(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn with(replicas: &Replicas, turn: usize, header: (&str, &str), path: &str) -> u16 {
    let request = replicas.client(turn).request(Method::GET, path).header(header.0, header.1);
    answered(request).await.0
}

/// Waits until every gateway answers so. What is asked later than promised is never answered otherwise, however long the
/// answer takes on a busy machine.
async fn everywhere(replicas: &Replicas, count: usize, header: (&str, &str), status: u16) {
    let clock = Clock::system();
    let began = clock.instant();
    for turn in 0..count {
        loop {
            let asked = clock.instant().duration_since(began);
            let got = with(replicas, turn, header, "/api/status").await;
            if got == status {
                break;
            }
            assert!(asked < PROMISED, "{got} instead of {status} at {turn} after {asked:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn set_password(replicas: &Replicas, turn: usize, old: &str, new: &str) {
    let body = json!({ "oldPassword": old, "newPassword": new });
    let request = replicas.client(turn).request(Method::POST, "/api/config/password").json(&body);
    let (status, answer) = answered(request.header("x-webui-password", old)).await;
    assert_eq!(status, 200, "{answer}");
}

async fn log_in(replicas: &Replicas, turn: usize, password: &str) -> String {
    let (status, answer) = replicas.client(turn).post("/api/session", &json!({ "password": password })).await;
    assert_eq!(status, 200, "{answer}");
    format!("Bearer {}", answer["token"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_logs_in_at_one_is_in_at_all_and_out_at_all() {
    let redis = RedisServer::start();
    let replicas = gateways(&redis, 3, |_| {}).await;
    assert_eq!(replicas.client(1).get("/api/status").await.0, 200, "no password, this machine");
    set_password(&replicas, 0, "", PASSWORD).await;
    everywhere(&replicas, 3, ("x-webui-password", PASSWORD), 200).await;
    everywhere(&replicas, 3, ("x-none", ""), 401).await;

    let mut sessions = Vec::new();
    for turn in 0..3 {
        let bearer = log_in(&replicas, turn, PASSWORD).await;
        // At once, at whichever the balancer takes next.
        for turn in 0..6 {
            assert_eq!(with(&replicas, turn, ("authorization", &bearer), "/api/session").await, 200);
        }
        sessions.push(bearer);
    }
    let out = async |turn: usize, path: &str, bearer: &str| {
        let request = replicas.client(turn).request(Method::DELETE, path).header("authorization", bearer);
        assert_eq!(answered(request).await.0, 200);
    };
    out(1, "/api/session", &sessions[0]).await;
    everywhere(&replicas, 3, ("authorization", &sessions[0]), 401).await;
    assert_eq!(with(&replicas, 2, ("authorization", &sessions[1]), "/api/session").await, 200);
    out(2, "/api/sessions", &sessions[1]).await;
    for bearer in &sessions {
        everywhere(&replicas, 3, ("authorization", bearer), 401).await;
    }
    let bearer = log_in(&replicas, 1, PASSWORD).await;
    set_password(&replicas, 2, PASSWORD, "another sesame!").await;
    everywhere(&replicas, 3, ("authorization", &bearer), 401).await;
    everywhere(&replicas, 3, ("x-webui-password", PASSWORD), 401).await;
    everywhere(&replicas, 3, ("x-webui-password", "another sesame!"), 200).await;
    let bearer = log_in(&replicas, 0, "another sesame!").await;

    // Nothing in the store opens the door.
    let mut connection = redis.connect();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    assert!(keys.iter().any(|key| key.ends_with(":sessions")), "{keys:?}");
    for key in keys {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query(&mut connection).unwrap();
        for secret in [bearer.trim_start_matches("Bearer agps_"), "another sesame!", PASSWORD] {
            let found = dump.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{key}");
        }
    }
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guesser_gains_nothing_by_the_number_of_gateways() {
    let redis = RedisServer::start();
    let replicas =
        gateways(&redis, 3, |config| config.server.webui_password = Some(PASSWORD.to_owned().into())).await;
    let guesses = (0..30).map(|number| {
        let request = replicas.client(number).request(Method::GET, "/api/accounts");
        let guess = format!("guess {number}");
        async move { answered(request.header("x-webui-password", guess)).await.0 }
    });
    let mut answers = BTreeMap::new();
    for status in join_all(guesses).await {
        *answers.entry(status).or_insert(0) += 1;
    }
    assert_eq!(answers, BTreeMap::from([(401, 5), (429, 25)]));
    for turn in 0..3 {
        assert_eq!(with(&replicas, turn, ("x-webui-password", PASSWORD), "/api/accounts").await, 429);
    }
    // One behind a proxy that nobody told of is the proxy.
    let request = replicas.client(0).request(Method::GET, "/api/accounts");
    let forged = request.header("x-webui-password", PASSWORD).header("x-forwarded-for", "203.0.113.9");
    assert_eq!(answered(forged).await.0, 429);
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_proxy_everybody_counts_for_himself() {
    let redis = RedisServer::start();
    let replicas = gateways(&redis, 2, |config| {
        config.server.webui_password = Some(PASSWORD.to_owned().into());
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let ask = async |turn: usize, from: &str, password: &str| {
        let request = replicas.client(turn).request(Method::GET, "/api/accounts");
        answered(request.header("x-webui-password", password).header("x-forwarded-for", from)).await.0
    };
    for number in 0..5 {
        // What stands to the left was written by the guesser.
        let from = format!("198.51.100.{number}, 203.0.113.9");
        assert_eq!(ask(number, &from, &format!("guess {number}")).await, 401);
    }
    assert_eq!(ask(0, "203.0.113.9", PASSWORD).await, 429);
    assert_eq!(ask(1, "203.0.113.10", PASSWORD).await, 200);
    for number in 0..5 {
        let from = format!("2001:db8:1:2::{number}");
        assert_eq!(ask(number, &from, &format!("guess {number}")).await, 401);
    }
    assert_eq!(ask(0, "2001:db8:1:2:3::1", PASSWORD).await, 429, "one network is one user");
    assert_eq!(ask(1, "2001:db8:1:3::1", PASSWORD).await, 200);
    let request = replicas.client(0).request(Method::GET, "/api/audit?actor=stranger&limit=200");
    let (_, trail) =
        answered(request.header("x-webui-password", PASSWORD).header("x-forwarded-for", "192.0.2.1")).await;
    let from: Vec<_> = trail["records"].as_array().unwrap().iter().map(|one| one["from"].clone()).collect();
    assert_eq!(from.len(), 12, "{trail}");
    assert!(from[6..].iter().all(|from| from == "203.0.113.9"), "{from:?}");
    replicas.shutdown().await;
}

/// Eight gateways, 200 edits that contradict each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_settings_is_in_the_trail_in_its_order() {
    const GATEWAYS: usize = 8;
    const EDITS: usize = 200;
    let redis = RedisServer::start();
    // What is looked at is the order, not how soon a busy machine answers.
    let patient = |config: &mut Config| {
        config.store.redis.as_mut().unwrap().command_timeout = Duration::from_secs(30);
    };
    let replicas = gateways(&redis, GATEWAYS, patient).await;
    let edit = |number: usize| {
        let client = replicas.client(number);
        async move {
            let mut body =
                json!({ "settings": { "maxRetries": 1 + number % 20, "retryBaseMs": 100 + number } });
            if number.is_multiple_of(2) {
                // As a console does: if nobody else changed them since it looked.
                body["generation"] = client.get("/api/settings").await.1["generation"].clone();
            }
            let (status, answer) = answered(client.request(Method::PATCH, "/api/settings").json(&body)).await;
            assert!(status == 200 || status == 409, "{status} {answer}");
            (status == 200).then(|| body["settings"].clone())
        }
    };
    let accepted: Vec<_> = join_all((0..EDITS).map(edit)).await.into_iter().flatten().collect();
    assert!(!accepted.is_empty());

    let (mut records, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/audit?action=settings.change&limit=200{before}");
        let page = replicas.client(records.len()).get(&path).await.1;
        records.extend(page["records"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_u64() else { break };
        before = format!("&before={next}");
    }
    let done: Vec<_> = records.iter().rev().filter(|one| one["outcome"] == "done").collect();
    let refused = records.iter().filter(|one| one["outcome"] == "refused").count();
    assert_eq!((done.len(), refused), (accepted.len(), EDITS - accepted.len()));
    let generations: Vec<_> = done.iter().map(|one| one["generation"].as_u64().unwrap()).collect();
    assert_eq!(generations, (1..=accepted.len() as u64).collect::<Vec<_>>());
    let after = |record: &Value, field: &str| {
        let changes = record["changes"].as_array().unwrap();
        changes
            .iter()
            .find(|one| one["field"] == field)
            .map(|one| (one["before"].clone(), one["after"].clone()))
    };
    // Each begins where the one before ended.
    for field in ["maxRetries", "retryBaseMs"] {
        let mut value = Value::Null;
        for record in &done {
            let (before, next) = after(record, field).unwrap();
            assert_eq!(before, value, "{field} in {record}");
            value = next;
        }
    }
    let last = done.last().unwrap();
    let wanted: Vec<_> = ["maxRetries", "retryBaseMs"].map(|field| after(last, field).unwrap().1).into();
    let mut told: Vec<_> = done.iter().map(|one| after(one, "retryBaseMs").unwrap().1.to_string()).collect();
    let mut answered: Vec<_> = accepted.iter().map(|one| one["retryBaseMs"].to_string()).collect();
    told.sort();
    answered.sort();
    assert_eq!(told, answered, "every accepted edit, and no other");

    let clock = Clock::system();
    let began = clock.instant();
    for turn in 0..GATEWAYS {
        loop {
            let asked = clock.instant().duration_since(began);
            let view = replicas.client(turn).get("/api/settings").await.1;
            let found = ["maxRetries", "retryBaseMs"].map(|key| view["settings"][key].clone());
            if found == wanted[..] {
                break;
            }
            assert!(asked < PROMISED, "{found:?} at {turn} after {asked:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    replicas.shutdown().await;
}

/// What a sign-in stores is recorded with it, whoever's browser completes it, at whichever gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_is_in_the_trail_with_its_account() {
    let redis = RedisServer::start();
    let replicas = Replicas::cold(Scenario::default().with_accounts(1), &vec![redis.url(); 2], |config| {
        config.server.webui_password = Some(PASSWORD.to_owned().into());
        signs_in(config);
    })
    .await;
    let ask = async |turn: usize, method: Method, path: &str| {
        answered(replicas.client(turn).request(method, path).header("x-webui-password", PASSWORD)).await
    };
    let (status, begun) = ask(0, Method::GET, "/api/auth/url?email=dev1@example.com").await;
    assert_eq!(status, 200, "{begun}");
    // The browser goes to Google and comes back to the other gateway.
    let back = consent(&begun, None).await;
    let query = back.query().unwrap();
    let returned = replicas.client(1).request(Method::GET, &format!("/oauth-callback?{query}"));
    assert_eq!(returned.send().await.unwrap().status(), 200);
    assert!(until(async || ask(0, Method::GET, "/api/accounts").await.1["summary"]["total"] == 1).await);
    let trail = ask(0, Method::GET, "/api/audit").await.1;
    let told: Vec<_> = trail["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {} {}", one["actor"]["kind"], one["action"], one["target"]).replace('"', ""))
        .collect();
    assert_eq!(told, ["browser signin.complete dev1@example.com", "password signin.begin null"]);
    // A browser of somebody who has no sign-in is not.
    let stranger = replicas.client(1).request(Method::GET, "/oauth-callback?state=00&code=x");
    assert_eq!(stranger.send().await.unwrap().status(), 400);
    let again = ask(1, Method::GET, "/api/audit").await.1;
    assert_eq!(again["records"].as_array().unwrap().len(), 2, "{again}");
    replicas.shutdown().await;
}
