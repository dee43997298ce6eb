//! Signing accounts in: begun on one gateway, completed on another, by one of those who try.

use std::collections::HashMap;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{CallbackMode, Config};
use antigravity_proxy::simulator::{Action, Scenario, Simulator, When};
use antigravity_proxy::store::ident::OwnerId;
use antigravity_proxy::store::ops::signins::{SignInState, TakenSignIn};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::redis_server::RedisServer;
use crate::support::replicas::until;
use crate::support::{Client, PLAIN, Replicas, TestGateway, ask};

/// Sign-ins go to the simulator; the main port is where browsers come back to.
pub(crate) fn signs_in(config: &mut Config) {
    // The token endpoint is the simulator's.
    config.oauth.auth_url = config.oauth.token_url.replace("/token", "/auth");
    config.oauth.callback_listener = CallbackMode::Off;
}

/// Two gateways on `redis`, whose pool has none of the simulator's three accounts.
async fn pair(redis: &RedisServer) -> Replicas {
    let scenario = Scenario::default().with_accounts(3);
    Replicas::cold(scenario, &vec![redis.url(); 2], signs_in).await
}

async fn begin(client: &Client, query: &str) -> Value {
    let (status, begun) = client.get(&format!("/api/auth/url{query}")).await;
    assert_eq!((status, &begun["status"]), (200, &json!("ok")), "{begun}");
    begun
}

/// What a browser does that signs in as `email`: the address that it is sent back to.
pub(crate) async fn consent(begun: &Value, email: Option<&str>) -> Url {
    let mut url: Url = begun["url"].as_str().unwrap().parse().unwrap();
    if let Some(email) = email {
        url.query_pairs_mut().append_pair("login_hint", email);
    }
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let answer = browser.build().unwrap().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    answer.headers()["location"].to_str().unwrap().parse().unwrap()
}

/// The browser comes back to `client`, whatever host the address names: status and page.
async fn come_back(client: &Client, to: &Url) -> (u16, String) {
    let target = format!("{}?{}", to.path(), to.query().unwrap_or_default());
    let page = client.request(Method::GET, &target).send().await.unwrap();
    (page.status().as_u16(), page.text().await.unwrap())
}

async fn paste(client: &Client, begun: &Value, input: &str) -> (u16, Value) {
    client.post("/api/auth/complete", &json!({"state": begun["state"], "callbackInput": input})).await
}

async fn status(client: &Client, begun: &Value) -> Value {
    let state = begun["state"].as_str().unwrap();
    let mut status = client.get(&format!("/api/auth/status?state={state}")).await.1;
    status.as_object_mut().unwrap().remove("status");
    status
}

async fn emails(client: &Client) -> Vec<String> {
    let accounts = client.get("/api/accounts").await.1;
    let accounts = accounts["accounts"].as_array().unwrap().iter();
    accounts.map(|account| account["email"].as_str().unwrap().to_owned()).collect()
}

fn exchanges(simulator: &Simulator) -> usize {
    let calls = simulator.recorded();
    calls.iter().filter(|call| call.body["grant_type"] == "authorization_code").count()
}

fn rule(simulator: &Simulator, path: &str, then: &Value) {
    // Refreshes go on meanwhile.
    let grant = (path == "/token").then_some("authorization_code");
    let when: When = serde_json::from_value(json!({"path": path, "times": 1, "text": grant})).unwrap();
    let then: Action = serde_json::from_value(then.clone()).unwrap();
    simulator.add_fault(when, then);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn begun_on_one_replica_completed_on_the_other_by_callback_and_by_paste() {
    let redis = RedisServer::start();
    let replicas = pair(&redis).await;
    let [one, two] = [0, 1].map(|turn| replicas.client(turn));

    let begun = begin(one, "").await;
    assert_eq!(begun["redirectUri"], "http://localhost:51121/oauth-callback");
    assert_eq!(begun["callbackListening"], false);
    let url: Url = begun["url"].as_str().unwrap().parse().unwrap();
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(query["redirect_uri"], "http://localhost:51121/oauth-callback");
    assert_eq!(query["state"], begun["state"].as_str().unwrap());
    for client in [one, two] {
        assert_eq!(status(client, &begun).await, json!({"state": "pending"}));
    }
    let back = consent(&begun, None).await;
    let (code, page) = come_back(two, &back).await;
    assert_eq!(code, 200, "{page}");
    assert!(page.contains("Account dev1@example.com added successfully"), "{page}");
    let done = json!({"state": "completed", "email": "dev1@example.com", "reauth": false});
    for client in [one, two] {
        assert_eq!(status(client, &begun).await, done);
        assert_eq!(emails(client).await, ["dev1@example.com"]);
        // A second visit, and a paste after it, change nothing and are told so.
        let (code, page) = come_back(client, &back).await;
        assert!(code == 400 && page.contains("OAuth flow not found: it was used already"), "{page}");
        let (code, answer) = paste(client, &begun, back.as_str()).await;
        assert_eq!(code, 400, "{answer}");
        assert!(answer["error"].as_str().unwrap().starts_with("OAuth flow not found"), "{answer}");
    }
    assert_eq!(exchanges(&replicas.simulator), 1);

    let begun = begin(one, "?email=dev2@example.com").await;
    let back = consent(&begun, None).await;
    let (code, answer) = paste(two, &begun, back.as_str()).await;
    assert_eq!(
        (code, answer),
        (
            200,
            json!({
                "status": "ok", "email": "dev2@example.com", "reauth": false,
                "message": "Account dev2@example.com added successfully",
            })
        )
    );
    // A bare code, and an account that is known.
    let begun = begin(two, "?email=DEV2@example.com").await;
    let back = consent(&begun, Some("dev2@example.com")).await;
    let bare = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let (code, answer) = paste(one, &begun, &bare).await;
    assert_eq!((code, &answer["reauth"]), (200, &json!(true)), "{answer}");

    // Projects and models follow without anybody asking, and both gateways serve.
    for client in [one, two] {
        let known =
            async || client.get("/v1/models").await.1["data"].as_array().is_some_and(|all| !all.is_empty());
        assert!(until(known).await, "the models become known");
        let answer = client.send(&ask(PLAIN, "hello", false)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    replicas.settled().await;
    replicas.shutdown().await;
    let dump = sealed(&redis);
    assert!(!dump.contains("1//"), "a refresh token is readable: {dump}");
}

/// All that Redis holds of sign-ins and credentials.
fn sealed(redis: &RedisServer) -> String {
    let mut connection = redis.connect();
    let hashes = ["signins", "cred", "acct"].map(|name| -> Vec<String> {
        let key = format!("agp:v1:{{main}}:{name}");
        redis::cmd("HGETALL").arg(key).query(&mut connection).unwrap()
    });
    hashes.concat().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_the_same_time_one_wins_and_the_other_is_told() {
    let redis = RedisServer::start();
    let replicas = pair(&redis).await;
    let [one, two] = [0, 1].map(|turn| replicas.client(turn));
    for round in 0..5 {
        let begun = begin(one, "").await;
        // Both have a code of their own: only the store can tell who is first.
        let (mine, yours) = (consent(&begun, None).await, consent(&begun, None).await);
        rule(&replicas.simulator, "/token", &json!({"delay_ms": 150}));
        let before = exchanges(&replicas.simulator);
        let (page, pasted) = tokio::join!(come_back(one, &mine), paste(two, &begun, yours.as_str()));
        let outcomes = [page.0, pasted.0];
        assert!(outcomes.contains(&200), "{round}: {page:?} {pasted:?}");
        let (told, text) = if page.0 == 200 { (pasted.0, pasted.1.to_string()) } else { page.clone() };
        match told {
            409 => assert!(text.contains("is being completed by another request"), "{text}"),
            400 => assert!(text.contains("it was used already"), "{text}"),
            other => panic!("{round}: {other} {text}"),
        }
        assert_eq!(exchanges(&replicas.simulator) - before, 1, "{round}");
        assert_eq!(status(two, &begun).await["state"], "completed");
    }
    assert_eq!(emails(one).await, ["dev1@example.com"]);
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_outlives_the_replica_that_began_it() {
    let redis = RedisServer::start();
    let first = pair(&redis).await;
    let begun = begin(first.client(0), "").await;
    let simulator = first.shutdown().await;
    let second = Replicas::on(simulator, &[redis.url()], signs_in).await;
    let client = second.client(0);
    assert_eq!(status(client, &begun).await["state"], "pending");
    let back = consent(&begun, None).await;
    assert_eq!(come_back(client, &back).await.0, 200);
    assert_eq!(emails(client).await, ["dev1@example.com"]);
    second.shutdown().await;

    // Embedded, too: the journal has it.
    let gateway = alone().await;
    let begun = begin(&gateway.client, "").await;
    let gateway = gateway.restart().await;
    let back = consent(&begun, None).await;
    let (code, answer) = paste(&gateway.client, &begun, back.as_str()).await;
    assert_eq!(code, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_or_foreign_changes_nothing() {
    let redis = RedisServer::start();
    let replicas = pair(&redis).await;
    let [one, two] = [0, 1].map(|turn| replicas.client(turn));
    let begun = begin(one, "").await;
    let other = begin(two, "").await;
    let back = consent(&begun, None).await;

    for (input, error) in [
        ("   ", "No input provided"),
        ("short", "Input is too short to be a valid authorization code"),
        ("http://[", "Invalid URL format"),
        ("http://localhost/?state=x", "No authorization code found in URL"),
        ("http://localhost/?error=access_denied", "OAuth error: access_denied"),
    ] {
        let (code, answer) = paste(one, &begun, input).await;
        assert_eq!((code, answer["error"].as_str()), (400, Some(error)), "{input}");
    }
    let (code, answer) = paste(one, &other, back.as_str()).await;
    assert!(code == 400 && answer["error"].as_str().unwrap().starts_with("State mismatch"), "{answer}");
    let unknown = json!({"state": "0".repeat(32)});
    for begun in [&unknown, &json!({"state": "nonsense"})] {
        let (code, answer) = paste(one, begun, "a-code-of-somebody").await;
        assert!(
            code == 400 && answer["error"].as_str().unwrap().starts_with("OAuth flow not found"),
            "{answer}"
        );
    }
    let state = begun["state"].as_str().unwrap();
    for query in [
        String::new(),
        "code=abcdefghijkl".to_owned(),
        "error=access_denied".to_owned(),
        format!("error=access_denied&state={}", "0".repeat(32)),
        "error=%3Cscript%3Ealert(1)%3C/script%3E&state=<b>".to_owned(),
        format!("state={state}"),
        format!("state={}&code=abcdefghijkl", "f".repeat(32)),
    ] {
        let url: Url = format!("http://localhost/oauth-callback?{query}").parse().unwrap();
        let (code, page) = come_back(two, &url).await;
        assert_eq!(code, 400, "{query}");
        assert!(!page.contains("script") && !page.contains("<b>"), "{page}");
    }
    // A wrong code is refused by Google; its owner may paste the right one.
    let (code, answer) = paste(two, &begun, "4/a-code-nobody-issued").await;
    assert!(
        code == 400 && answer["error"].as_str().unwrap().contains("refused the authorization code"),
        "{answer}"
    );
    assert_eq!(status(one, &begun).await, json!({"state": "pending"}));
    assert_eq!(paste(two, &begun, back.as_str()).await.0, 200);

    // The owner says no: whoever waits learns it.
    let refused: Url = format!(
        "http://localhost/oauth-callback?error=access_denied&state={}",
        other["state"].as_str().unwrap()
    )
    .parse()
    .unwrap();
    let (code, page) = come_back(one, &refused).await;
    assert!(code == 400 && page.contains("OAuth error: access_denied"), "{page}");
    let failed = json!({"state": "failed", "error": "OAuth error: access_denied"});
    assert_eq!(status(two, &other).await, failed);
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_than_the_expected_one_is_refused_and_nothing_is_stored() {
    let redis = RedisServer::start();
    let replicas = pair(&redis).await;
    let client = replicas.client(0);
    let first = begin(client, "").await;
    let back = consent(&first, None).await;
    assert_eq!(paste(client, &first, back.as_str()).await.0, 200);
    let before = sealed(&redis);
    let credentials = |dump: &str| -> Vec<String> {
        dump.lines().filter(|line| line.starts_with("v1.")).map(str::to_owned).collect()
    };

    let begun = begin(client, "?email=dev1@example.com").await;
    let back = consent(&begun, Some("dev2@example.com")).await;
    let (code, answer) = paste(client, &begun, back.as_str()).await;
    assert_eq!(code, 400);
    assert!(
        answer["error"].as_str().unwrap().starts_with("Signed in as dev2@example.com, but another"),
        "{answer}"
    );
    assert_eq!(emails(client).await, ["dev1@example.com"]);
    assert_eq!(credentials(&sealed(&redis)), credentials(&before));
    let failed = status(replicas.client(1), &begun).await;
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["error"], answer["error"]);
    replicas.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_google_leaves_out_or_fails_at_is_said() {
    let gateway = alone().await;
    let simulator = &gateway.simulator;
    let client = &gateway.client;
    let attempt = async |path: &str, then: &Value| {
        let begun = begin(client, "").await;
        let back = consent(&begun, None).await;
        rule(simulator, path, then);
        let (code, answer) = paste(client, &begun, back.as_str()).await;
        (code, answer["error"].as_str().unwrap_or_default().to_owned(), begun, back)
    };
    let token = json!({"access_token": "ya29.nobody", "expires_in": 3600});

    // 5xx, a cut connection, nonsense: the sign-in waits on, and a new code completes it.
    for (path, then) in [
        ("/token", json!({"status": 503, "body_text": "secret words"})),
        ("/token", json!({"hang_up": true})),
        ("/token", json!({"status": 200, "body_text": "secret words"})),
        ("/userinfo", json!({"status": 500, "body_text": "secret words"})),
    ] {
        let (code, error, begun, _) = attempt(path, &then).await;
        assert!(code == 502 && error.starts_with("Google did not answer as it should"), "{code} {error}");
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(status(client, &begun).await["state"], "pending");
        let again = consent(&begun, None).await;
        assert_eq!(paste(client, &begun, again.as_str()).await.0, 200);
        client.request(Method::DELETE, "/api/accounts/dev1%40example.com").send().await.unwrap();
    }
    for (path, then, text) in [
        ("/userinfo", json!({"status": 200, "body": {"id": "7"}}), "did not tell the account's e-mail"),
        (
            "/token",
            json!({"status": 401, "body": {"error": "invalid_client"}}),
            "Google refused the OAuth client",
        ),
    ] {
        let (code, error, begun, back) = attempt(path, &then).await;
        assert!(code == 400 && error.contains(text), "{code} {error}");
        assert_eq!(status(client, &begun).await["state"], "failed");
        assert_eq!(paste(client, &begun, back.as_str()).await.0, 400, "it has ended");
        assert!(emails(client).await.is_empty());
    }

    // Without a refresh token a new account is not stored, and a known one keeps its own.
    let mine = json!({"status": 200, "body": {"email": "Dev1@Example.com"}});
    rule(simulator, "/userinfo", &mine);
    let (code, error, ..) = attempt("/token", &json!({"status": 200, "body": token})).await;
    assert_eq!(
        (code, error.as_str()),
        (400, "Google returned no refresh token; remove the app's access and retry")
    );
    let begun = begin(client, "").await;
    let back = consent(&begun, None).await;
    assert_eq!(paste(client, &begun, back.as_str()).await.0, 200);
    rule(simulator, "/userinfo", &mine);
    let (code, error, begun, _) = attempt("/token", &json!({"status": 200, "body": token})).await;
    assert_eq!((code, error.as_str()), (200, ""));
    assert_eq!(status(client, &begun).await["reauth"], true);
    let exported = client.get("/api/accounts/export").await.1;
    assert_eq!(
        exported[0]["refresh_token"].as_str().map(|token| token.starts_with("1//sim-refresh-1")),
        Some(true)
    );
}

/// A gateway of an empty pool, before a simulator that knows one account.
async fn alone() -> TestGateway {
    let gateway =
        TestGateway::start(Scenario { accounts: Vec::new(), ..Scenario::default() }, signs_in).await;
    gateway.simulator.load(Scenario::default());
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_silent_for_too_long_stores_nothing() {
    let gateway = alone().await;
    let begun = begin(&gateway.client, "").await;
    let back = consent(&begun, None).await;
    rule(&gateway.simulator, "/token", &json!({"delay_ms": 1500}));
    let overtaken = async {
        assert!(until(async || exchanges(&gateway.simulator) == 1).await);
        // Two minutes later another takes it over.
        let state = SignInState::parse(begun["state"].as_str().unwrap()).unwrap();
        let later = gateway.store().at(Clock::system().epoch_ms() + 120_000);
        let other = OwnerId::new("other").unwrap();
        let taken = later.take_signin(&state, &other, Duration::from_mins(2)).await.unwrap();
        assert!(matches!(taken, TakenSignIn::Granted { .. }), "{taken:?}");
    };
    let ((code, answer), ()) = tokio::join!(paste(&gateway.client, &begun, back.as_str()), overtaken);
    assert_eq!(code, 409, "{answer}");
    assert!(emails(&gateway.client).await.is_empty());
    assert_eq!(status(&gateway.client, &begun).await, json!({"state": "pending"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_goes_away_does_not_stop_it() {
    let gateway = alone().await;
    let begun = begin(&gateway.client, "").await;
    let back = consent(&begun, None).await;
    rule(&gateway.simulator, "/token", &json!({"delay_ms": 500}));
    let target = format!("{}?{}", back.path(), back.query().unwrap());
    let mut visit = Box::pin(gateway.client.request(Method::GET, &target).send());
    let gone = tokio::select! {
        answer = &mut visit => panic!("answered at once: {answer:?}"),
        begun = until(async || exchanges(&gateway.simulator) == 1) => begun,
    };
    drop(visit);
    assert!(gone);
    assert!(until(async || status(&gateway.client, &begun).await["state"] == "completed").await);
    assert_eq!(emails(&gateway.client).await, ["dev1@example.com"]);
}

#[tokio::test]
async fn without_an_oauth_client_it_says_what_to_set() {
    let gateway = TestGateway::start(Scenario::default(), |config| config.oauth.client_secret = None).await;
    let (code, answer) = gateway.client.get("/api/auth/url").await;
    assert_eq!((code, &answer["status"]), (503, &json!("error")));
    let error = answer["error"].as_str().unwrap();
    assert!(error.starts_with("OAuth client is not configured: set OAUTH_CLIENT_ID"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loopback_listener_is_one_for_all_and_gone_afterwards() {
    let gateway = TestGateway::start(Scenario::default().with_accounts(2), |config| {
        signs_in(config);
        config.oauth.callback_listener = CallbackMode::Auto;
        config.oauth.callback_port = 0;
    })
    .await;
    let client = &gateway.client;
    let (one, two) =
        (begin(client, "?email=dev1@example.com").await, begin(client, "?email=dev2@example.com").await);
    assert_eq!((&one["callbackListening"], &one["redirectUri"]), (&json!(true), &two["redirectUri"]));
    let browser = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    let back = consent(&one, None).await;
    assert!(back.as_str().starts_with(one["redirectUri"].as_str().unwrap()), "{back}");
    let (host, port) = (back.host_str().unwrap(), back.port().unwrap());
    assert_eq!(host, "localhost");
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let elsewhere = browser.get(at("/api/accounts")).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404, "nothing but the callback is served there");
    assert_eq!(browser.get(at("/oauth-callback?error=x")).send().await.unwrap().status(), 400);
    let page = browser.get(at(&format!("{}?{}", back.path(), back.query().unwrap()))).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("dev1@example.com signed in again"));
    // The other still waits; by paste it ends, and with it the listener.
    let answers = async || browser.get(at("/oauth-callback")).send().await.is_ok();
    assert!(answers().await);
    let back = consent(&two, None).await;
    assert_eq!(paste(client, &two, back.as_str()).await.0, 200);
    assert!(until(async || !answers().await).await, "the port is given back");
    assert_eq!(begin(client, "").await["callbackListening"], true, "bound anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_passed_over() {
    let (taken, first) = loop {
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        if port < 65_000 {
            break (taken, port);
        }
    };
    let gateway = TestGateway::start(Scenario::default(), |config| {
        signs_in(config);
        config.oauth.callback_listener = CallbackMode::On;
        config.oauth.callback_port = first;
    })
    .await;
    let begun = begin(&gateway.client, "").await;
    let uri: Url = begun["redirectUri"].as_str().unwrap().parse().unwrap();
    let port = uri.port().unwrap();
    assert!((first + 1..=first + 5).contains(&port), "{port} after {first}");
    let back = consent(&begun, None).await;
    assert_eq!(back.port(), Some(port));
    let (code, answer) = paste(&gateway.client, &begun, back.as_str()).await;
    assert_eq!(code, 200, "{answer}");
    drop(taken);
}
