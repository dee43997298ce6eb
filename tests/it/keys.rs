//! Client keys over several gateways: what is scoped by a key, and how soon a change of one holds everywhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{Config, Strategy};
use antigravity_proxy::simulator::{Delivery, Mode, Scenario};
use antigravity_proxy::store::registry::CHANGE_CLIENT;
use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fault_proxy::FaultProxy;
use crate::redis_server::RedisServer;
use crate::support::client::Answer;
use crate::support::replicas::{carry_on, until};
use crate::support::{GEMINI, PLAIN, Replicas, THINKING, TestGateway, ask};

/// Longest time after which a change of a key holds everywhere.
const PROMISED: Duration = Duration::from_secs(2);
const SESSION: &str = "9f2c0a9e-7d52-4d7c-a1b7-0f3a5e2b1c4d";

fn strategy(config: &mut Config, strategy: Strategy, name: &str) {
    config.selection.strategy = strategy;
    config.selection.pinned.insert("strategy".into(), name.into());
}

fn swift(accounts: usize) -> Scenario {
    let mut scenario = Scenario::default().with_accounts(accounts);
    scenario.delivery = Delivery { mode: Mode::Burst, ..Delivery::default() };
    scenario
}

async fn pair(redis: &RedisServer, accounts: usize, chosen: Strategy, name: &str) -> Replicas {
    Replicas::with(swift(accounts), &vec![redis.url(); 2], |config| strategy(config, chosen, name)).await
}

/// A client key with its secret.
struct Key {
    id: String,
    secret: String,
}

async fn create(replicas: &Replicas, turn: usize, body: &Value) -> Key {
    let (status, made) = replicas.client(turn).post("/api/keys", body).await;
    assert_eq!(status, 201, "{made}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Key { id: text(&made["key"]["id"]), secret: text(&made["secret"]) }
}

async fn revoke(replicas: &Replicas, turn: usize, id: &str) {
    let (status, answer) = replicas.client(turn).post(&format!("/api/keys/{id}/revoke"), &json!({})).await;
    assert_eq!(status, 200, "{answer}");
}

async fn begin(replicas: &Replicas, turn: usize, secret: &str, body: &Value) -> Response {
    let request = replicas.client(turn).request(Method::POST, "/v1/messages").json(body);
    let request = request.header("x-claude-code-session-id", SESSION).bearer_auth(secret);
    request.send().await.unwrap()
}

/// The answer to a streaming request with a key, in the session that all clients share.
async fn send(replicas: &Replicas, turn: usize, secret: &str, body: &Value) -> Answer {
    let response = begin(replicas, turn, secret, body).await;
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    let answer = Answer::of_stream(&text);
    assert_eq!((answer.count("message_stop"), answer.count("error")), (1, 0), "{text}");
    answer
}

/// What a request for the list of models is answered: 401, or 200; needs no account.
async fn entry(replicas: &Replicas, turn: usize, secret: &str) -> u16 {
    let request = replicas.client(turn).request(Method::GET, "/v1/models").header("x-api-key", secret);
    request.send().await.unwrap().status().as_u16()
}

async fn refusal(replicas: &Replicas, turn: usize, secret: &str) -> String {
    let response = begin(replicas, turn, secret, &ask(PLAIN, "hello", true)).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["www-authenticate"]),
        (401, &"Bearer".parse().unwrap())
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("authentication_error")));
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// Waits until every gateway answers `secret` with `status`, no longer than promised.
async fn everywhere(replicas: &Replicas, secret: &str, status: u16) {
    let waiting = async {
        for turn in 0..2 {
            while entry(replicas, turn, secret).await != status {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    assert!(tokio::time::timeout(PROMISED, waiting).await.is_ok(), "{status} is not everywhere in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_keys_with_one_session_share_neither_account_nor_usage() {
    let redis = RedisServer::start();
    let replicas = pair(&redis, 4, Strategy::Sticky, "sticky").await;
    let (ada, bea) = (
        create(&replicas, 0, &json!({ "name": "ada" })).await,
        create(&replicas, 1, &json!({ "name": "bea" })).await,
    );
    for key in [&ada, &bea] {
        everywhere(&replicas, &key.secret, 200).await;
    }
    // The same words in the same session: only the key differs.
    let body = ask(PLAIN, "hello", true);
    let mut accounts = [Vec::new(), Vec::new()];
    for turn in 0..6 {
        for (key, accounts) in [&ada, &bea].into_iter().zip(&mut accounts) {
            send(&replicas, turn, &key.secret, &body).await;
            accounts.push(replicas.last_account());
        }
    }
    for accounts in &mut accounts {
        accounts.dedup();
    }
    let [of_ada, of_bea] = &accounts;
    assert!(of_ada.len() == 1 && of_bea.len() == 1, "each stays with its own: {accounts:?}");
    assert_ne!(of_ada, of_bea, "a new conversation goes to the least loaded account");
    for (name, account) in [("ada", of_ada), ("bea", of_bea)] {
        let path = format!("/api/strategy/explain?model={PLAIN}&session={SESSION}&clientKey={name}");
        let told = replicas.client(1).get(&path).await.1;
        assert_eq!(told["selection"]["conversationAccount"], json!(account[0]), "{told}");
    }
    let told =
        replicas.client(1).get(&format!("/api/strategy/explain?model={PLAIN}&session={SESSION}")).await.1;
    assert_eq!(
        told["selection"]["conversationAccount"],
        Value::Null,
        "whoever has no key has no conversation"
    );

    replicas.settled().await;
    replicas.shutdown().await;
    let mut connection = redis.connect();
    let hours: Vec<String> = redis::cmd("KEYS").arg("agp:v1:{main}:usage:*").query(&mut connection).unwrap();
    for key in [&ada, &bea] {
        let field = format!("{PLAIN}\u{1f}success\u{1f}{}", key.id);
        let rows: Vec<Option<String>> = hours
            .iter()
            .map(|hour| redis::cmd("HGET").arg(hour).arg(&field).query(&mut connection).unwrap())
            .collect();
        let requests =
            rows.into_iter().flatten().map(|row| row.split('|').next().unwrap().parse::<u64>().unwrap());
        assert_eq!(requests.sum::<u64>(), 6, "{field:?}");
    }
    // Nothing in the store tells a secret or is found by one.
    let all: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    for key in all {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query(&mut connection).unwrap();
        for secret in [&ada.secret, &bea.secret] {
            assert!(
                !dump.windows(20).any(|part| secret.as_bytes().windows(20).any(|own| own == part)),
                "{key}"
            );
        }
    }
}

/// One tries to go on with what the other was told: the id of a call, or the signature of a thought.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_of_another_key_is_unknown() {
    let redis = RedisServer::start();
    let replicas = pair(&redis, 1, Strategy::Sticky, "sticky").await;
    let (ada, bea) = (
        create(&replicas, 0, &json!({ "name": "ada" })).await,
        create(&replicas, 0, &json!({ "name": "bea" })).await,
    );
    for key in [&ada, &bea] {
        everywhere(&replicas, &key.secret, 200).await;
    }
    for model in [GEMINI, THINKING] {
        let mut body = ask(model, "call 1 tools", true);
        let answer = send(&replicas, 0, &ada.secret, &body).await;
        assert!(carry_on(&mut body, &answer, "done"), "{}", answer.body);
        // Claude Code keeps the id of a call and nothing that it does not know; the rest is in the store.
        for block in body["messages"][1]["content"].as_array_mut().unwrap() {
            block.as_object_mut().unwrap().remove("thoughtSignature");
        }
        let sent = async |key: &Key, turn: usize| {
            send(&replicas, turn, &key.secret, &body).await;
            replicas.model_calls().pop().unwrap().body.to_string()
        };
        let signatures = |sent: &str| -> Vec<String> {
            let parts = sent.split("\"thoughtSignature\":\"").skip(1);
            parts.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
        };
        let sentinel = "skip_thought_signature_validator";
        let own = signatures(&sent(&ada, 1).await);
        assert!(!own.is_empty() && !own.iter().any(|one| one == sentinel), "{model}: {own:?}");
        let tried = signatures(&sent(&bea, 1).await);
        assert!(own.iter().all(|signature| !tried.contains(signature)), "{model}: {tried:?}");
        // Trying has changed nothing for the one whose it is.
        assert_eq!(signatures(&sent(&ada, 0).await), own, "{model}");
    }
    replicas.shutdown().await;
}

/// One request of one key.
struct Seen {
    key: usize,
    gateway: usize,
    begun: Instant,
    status: u16,
}

/// Forty keys ask both gateways all the time; one of them is revoked by `revoke`.
async fn one_of_forty(replicas: &Replicas, revoke: impl AsyncFnOnce(&Key)) {
    const KEYS: usize = 40;
    const REVOKED: usize = 17;
    let mut keys = Vec::new();
    for number in 0..KEYS {
        keys.push(create(replicas, number, &json!({ "name": format!("key {number}") })).await);
    }
    everywhere(replicas, &keys[KEYS - 1].secret, 200).await;
    everywhere(replicas, &keys[KEYS - 2].secret, 200).await;
    // Streams of every key that are in flight when one is revoked.
    replicas.fault(
        &json!({"text": "write 50 words"}),
        &json!({"delivery": {"mode": "paced", "interval_ms": 60}}),
    );
    let seen: Mutex<Vec<Seen>> = Mutex::default();
    let over = AtomicBool::new(false);
    let load = join_all((0..KEYS).map(async |key| {
        let mut turn = key;
        while !over.load(Ordering::SeqCst) {
            let begun = Clock::system().instant();
            let response = begin(replicas, turn, &keys[key].secret, &ask(PLAIN, "hello", true)).await;
            let status = response.status().as_u16();
            let text = response.text().await.unwrap();
            if status == 200 {
                let answer = Answer::of_stream(&text);
                assert_eq!((answer.count("message_stop"), answer.count("error")), (1, 0), "{text}");
            } else {
                assert!(text.contains("was revoked"), "{key}: {text}");
            }
            seen.lock().unwrap().push(Seen { key, gateway: turn % 2, begun, status });
            turn += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }));
    let long = join_all((0..KEYS).map(async |key| {
        send(replicas, key, &keys[key].secret, &ask(PLAIN, "write 50 words", true)).await;
    }));
    let revoked = async {
        let running = until(async || {
            let seen = seen.lock().unwrap();
            let served = |key| seen.iter().filter(|one| one.key == key && one.status == 200).count();
            let all = (0..KEYS).all(|key| served(key) >= 2);
            drop(seen);
            all && replicas.simulator.counts().open >= KEYS as u64
        });
        assert!(running.await, "all keys are served, and their streams are open");
        revoke(&keys[REVOKED]).await;
        let at = Clock::system().instant();
        // Until both gateways have been asked by it after the promised time.
        let asked = until(async || {
            let seen = seen.lock().unwrap();
            let late = |gateway| {
                seen.iter()
                    .any(|one| one.key == REVOKED && one.gateway == gateway && one.begun > at + PROMISED)
            };
            late(0) && late(1)
        });
        assert!(asked.await, "it is refused, and asks on");
        over.store(true, Ordering::SeqCst);
        at
    };
    let (_, _, at) = tokio::join!(load, long, revoked);
    for one in seen.into_inner().unwrap() {
        if one.key != REVOKED {
            assert_eq!(one.status, 200, "key {} at gateway {}", one.key, one.gateway);
        } else if one.begun > at + PROMISED {
            assert_eq!(one.status, 401, "gateway {} lets it in", one.gateway);
        }
    }
    replicas.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_forty_keys_is_revoked_under_load() {
    let redis = RedisServer::start();
    let replicas = pair(&redis, 8, Strategy::RoundRobin, "round-robin").await;
    one_of_forty(&replicas, async |key| revoke(&replicas, 0, &key.id).await).await;
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_forty_keys_is_revoked_and_the_event_is_lost() {
    let redis = RedisServer::start();
    let replicas = pair(&redis, 8, Strategy::RoundRobin, "round-robin").await;
    let changed = async |key: &Key| {
        // As a gateway changes it, but told on a channel to which nobody listens.
        let mut eval = redis::cmd("EVAL");
        eval.arg(CHANGE_CLIENT.source)
            .arg(3)
            .arg("agp:v1:{main}:meta")
            .arg("agp:v1:{main}:keys")
            .arg("agp:v1:{main}:audit")
            .arg(&key.id);
        for argument in ["", "", "", "", "0", "1", "nowhere", "", ""] {
            eval.arg(argument);
        }
        let reply: Vec<redis::Value> = eval.query(&mut redis.connect()).unwrap();
        assert_eq!(reply[0], redis::Value::BulkString(b"OK".to_vec()));
    };
    one_of_forty(&replicas, changed).await;
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_expire_and_are_rotated_everywhere() {
    let redis = RedisServer::start();
    let replicas = pair(&redis, 1, Strategy::RoundRobin, "round-robin").await;
    let brief = create(&replicas, 0, &json!({ "name": "brief", "expiresInMs": 6000 })).await;
    everywhere(&replicas, &brief.secret, 200).await;

    let ada = create(&replicas, 0, &json!({ "name": "ada" })).await;
    everywhere(&replicas, &ada.secret, 200).await;
    let rotate = async |turn: usize, grace: u64| {
        let (status, answer) =
            replicas.client(turn).post("/api/keys/ada/rotate", &json!({ "graceMs": grace })).await;
        assert_eq!((status, &answer["key"]["id"]), (200, &json!(ada.id)), "{answer}");
        answer["secret"].as_str().unwrap().to_owned()
    };
    let second = rotate(1, 60_000).await;
    everywhere(&replicas, &second, 200).await;
    everywhere(&replicas, &ada.secret, 200).await;
    let third = rotate(0, 0).await;
    everywhere(&replicas, &third, 200).await;
    for old in [&ada.secret, &second] {
        everywhere(&replicas, old, 401).await;
    }
    assert_eq!(
        refusal(&replicas, 1, &second).await,
        "The API key of \"ada\" was rotated; use its new secret"
    );
    // With a short grace the one before ends by itself.
    let fourth = rotate(0, 3000).await;
    everywhere(&replicas, &fourth, 200).await;
    assert!(
        until(async || entry(&replicas, 0, &third).await == 401 && entry(&replicas, 1, &third).await == 401)
            .await
    );
    everywhere(&replicas, &fourth, 200).await;

    let over = until(async || {
        entry(&replicas, 0, &brief.secret).await == 401 && entry(&replicas, 1, &brief.secret).await == 401
    });
    assert!(over.await, "it expires");
    assert!(refusal(&replicas, 1, &brief.secret).await.contains("\"brief\" has expired"));
    let longer =
        replicas.client(0).request(Method::PATCH, "/api/keys/brief").json(&json!({ "expiresAt": null }));
    assert_eq!(longer.send().await.unwrap().status(), 200);
    everywhere(&replicas, &brief.secret, 200).await;

    // Uses are written some time later, at the latest when the gateway ends.
    replicas.shutdown().await;
    let used: Vec<String> =
        redis::cmd("HKEYS").arg("agp:v1:{main}:keyuse").query(&mut redis.connect()).unwrap();
    assert!(used.contains(&ada.id) && used.contains(&brief.id), "{used:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_key_closes_every_gateway_for_good() {
    let redis = RedisServer::start();
    let replicas = pair(&redis, 1, Strategy::RoundRobin, "round-robin").await;
    everywhere(&replicas, "", 200).await;
    let key = create(&replicas, 0, &json!({ "name": "ada" })).await;
    everywhere(&replicas, "", 401).await;
    everywhere(&replicas, &key.secret, 200).await;
    revoke(&replicas, 1, &key.id).await;
    everywhere(&replicas, &key.secret, 401).await;
    everywhere(&replicas, "", 401).await;
    let simulator = replicas.shutdown().await;
    // Also for one that starts now.
    let replicas = Replicas::on(simulator, &vec![redis.url(); 2], |_| {}).await;
    everywhere(&replicas, "", 401).await;
    // And for one whose store is emptied under it.
    let mut connection = redis.connect();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    tokio::time::sleep(PROMISED).await;
    everywhere(&replicas, "", 401).await;
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_away_the_known_keys_stay_in_force() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let replicas = Replicas::start(swift(1), &vec![proxy.url(); 2]).await;
    let (ada, bea) = (
        create(&replicas, 0, &json!({ "name": "ada" })).await,
        create(&replicas, 0, &json!({ "name": "bea" })).await,
    );
    for key in [&ada, &bea] {
        everywhere(&replicas, &key.secret, 200).await;
    }
    // Where no such thing is, the key alone decides between 404 and 401.
    let known = async |turn: usize, secret: &str| {
        let request = replicas.client(turn).request(Method::GET, "/v1/nothing").header("x-api-key", secret);
        request.send().await.unwrap().status() == 404
    };
    proxy.refuse(true);
    proxy.cut();
    let away = replicas.client(0).post("/api/keys/bea/revoke", &json!({})).await;
    assert_eq!(away.0, 503, "{}", away.1);
    for turn in 0..2 {
        assert!(known(turn, &ada.secret).await && known(turn, &bea.secret).await);
        assert!(!known(turn, "agp_unknown").await);
    }
    proxy.refuse(false);
    let done = until(async || replicas.client(0).post("/api/keys/bea/revoke", &json!({})).await.0 == 200);
    assert!(done.await, "the store is found again");
    everywhere(&replicas, &bea.secret, 401).await;
    assert!(known(1, &ada.secret).await);
    replicas.shutdown().await;
}

/// A change made while a gateway did not hear of anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_during_an_outage_is_known_soon_after_it() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let replicas = Replicas::start(swift(1), &[redis.url(), proxy.url()]).await;
    let ada = create(&replicas, 0, &json!({ "name": "ada" })).await;
    everywhere(&replicas, &ada.secret, 200).await;
    proxy.refuse(true);
    proxy.cut();
    revoke(&replicas, 0, &ada.id).await;
    proxy.refuse(false);
    let refused = until(async || entry(&replicas, 1, &ada.secret).await == 401);
    assert!(refused.await);
    replicas.shutdown().await;
}

#[tokio::test]
async fn a_key_is_held_to_its_models() {
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), |config| {
        config.models.mapping.insert("quick".into(), GEMINI.into());
        config.dispatch.fallback = true;
        config.models.fallback.insert(GEMINI.into(), PLAIN.into());
        config.dispatch.max_wait = Duration::ZERO;
    })
    .await;
    let (status, made) =
        gateway.client.post("/api/keys", &json!({ "name": "ada", "models": ["claude-haiku*"] })).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap();
    let call = async |method: Method, path: &str, body: &Value| {
        let request = gateway.client.request(method, path).bearer_auth(secret).json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    // The pool has no Haiku: what serves in its place is what the key may use, under whatever name.
    for (model, served) in
        [("claude-haiku-4-5", 200), (GEMINI, 200), ("quick", 200), (PLAIN, 403), ("opus", 403)]
    {
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            let (status, answer) = call(Method::POST, path, &ask(model, "hello", false)).await;
            assert_eq!(status, served, "{path} {model}: {answer}");
            if served == 403 {
                assert_eq!(answer["error"]["type"], "permission_error");
                let text = answer["error"]["message"].as_str().unwrap();
                assert!(text.contains(model) && text.ends_with("allowed: claude-haiku*"), "{text}");
            }
        }
    }
    // A made-up name that matches the pattern and leads elsewhere.
    let (status, answer) =
        call(Method::POST, "/v1/messages", &ask("claude-haiku-opus", "hello", false)).await;
    assert_eq!(status, 403, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("which claude-opus"), "{answer}");

    let (_, listed) = call(Method::GET, "/v1/models", &Value::Null).await;
    let ids: Vec<_> = listed["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert!(ids.contains(&json!(GEMINI)) && ids.contains(&json!("quick")), "{ids:?}");
    assert!(!ids.contains(&json!(PLAIN)), "{ids:?}");
    let aliases = listed["aliases"].as_array().unwrap();
    assert!(!aliases.is_empty() && aliases.iter().all(|alias| ids.contains(&alias["model"])), "{aliases:?}");
    assert_eq!(call(Method::GET, &format!("/v1/models/{PLAIN}"), &Value::Null).await.0, 404);
    assert_eq!(call(Method::GET, &format!("/v1/models/{GEMINI}"), &Value::Null).await.0, 200);

    // The stand-in of an exhausted model is a model like any other.
    gateway.fault(&json!({"model": GEMINI}), &json!({"fault": "quota_exhausted", "reset_ms": 3_600_000}));
    let (status, answer) = call(Method::POST, "/v1/messages", &ask(GEMINI, "hello", false)).await;
    assert_eq!(status, 429, "{answer}");
    let (status, changed) = {
        let change = gateway.client.request(Method::PATCH, "/api/keys/ada").json(&json!({ "models": null }));
        let response = change.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(status, 200, "{changed}");
    let (status, answer) = call(Method::POST, "/v1/messages", &ask(GEMINI, "hello", false)).await;
    assert_eq!(status, 200, "{answer}");
    gateway.settled().await;
}
