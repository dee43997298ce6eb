//! Tokens, sign-in, projects, models, headers, the recorder and its control.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::{CLAUDE, EMAIL, GEMINI, Scenario, Talk, http, scenario};
use crate::clock::Clock;
use crate::simulator::ledger::challenge;
use crate::simulator::{Outcome, Simulator};

async fn form(simulator: &Simulator, fields: &[(&str, &str)]) -> (u16, Value) {
    let response = http().post(format!("{}/token", simulator.base_url())).form(fields).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn refresh_tokens_give_access_tokens_that_expire() {
    let clock = Clock::manual(1_800_000_000_000);
    let scenario = scenario(&json!({"token_lifetime_s": 60, "client_ids": ["id"], "accounts": [
        {"email": "a@x", "refresh_token": "r1"}, {"email": "b@x", "refresh_token": "r2", "state": "revoked"}]}));
    let simulator = Simulator::start_at(scenario, clock.clone(), (IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into())
        .await
        .unwrap();
    let refresh = |token: &'static str, id: &'static str| {
        let fields = [
            ("client_id", id),
            ("client_secret", "s"),
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
        ];
        let simulator = &simulator;
        async move { form(simulator, &fields).await }
    };
    assert_eq!(refresh("r1", "other").await.1["error"], "invalid_client");
    for token in ["r2", "unknown"] {
        let (status, body) = refresh(token, "id").await;
        assert_eq!((status, body["error"].as_str()), (400, Some("invalid_grant")));
    }
    let (status, body) = refresh("r1", "id").await;
    assert_eq!((status, &body["expires_in"]), (200, &json!(60)));
    let user = async || {
        let request = http().get(format!("{}/userinfo", simulator.base_url()));
        request.bearer_auth(body["access_token"].as_str().unwrap()).send().await.unwrap()
    };
    assert_eq!(user().await.json::<Value>().await.unwrap()["email"], "a@x");
    clock.advance_ms(60_000);
    assert_eq!(user().await.status(), 401);
    let recorded = simulator.recorded();
    assert_eq!(recorded.last().unwrap().account.as_deref(), Some("a@x"));
    assert_eq!(recorded.last().unwrap().body["refresh_token"], "<secret>");
}

#[tokio::test]
async fn sign_in_checks_pkce_and_codes_are_single_use() {
    let simulator = Simulator::start(Scenario::default()).await.unwrap();
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let _ = http();
    let browser = browser.build().unwrap();
    let challenge = challenge("verifier");
    let code = async |access: &str| {
        let query = [
            ("client_id", "c"),
            ("redirect_uri", "http://localhost:1/oauth-callback"),
            ("response_type", "code"),
            ("scope", "email"),
            ("state", "st&1"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("login_hint", EMAIL),
            ("access_type", access),
        ];
        let response =
            browser.get(format!("{}/auth", simulator.base_url())).query(&query).send().await.unwrap();
        assert_eq!(response.status(), 302);
        let location: reqwest::Url = response.headers()["location"].to_str().unwrap().parse().unwrap();
        let pairs: std::collections::HashMap<_, _> = location.query_pairs().into_owned().collect();
        assert_eq!(pairs["state"], "st&1");
        pairs["code"].clone()
    };
    let exchange = async |code: &str, verifier: &str, to: &str| {
        let fields = [
            ("client_id", "c"),
            ("client_secret", "s"),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", to),
        ];
        form(&simulator, &fields).await
    };
    let to = "http://localhost:1/oauth-callback";
    assert_eq!(exchange(&code("offline").await, "wrong", to).await.1["error"], "invalid_grant");
    let elsewhere = exchange(&code("offline").await, "verifier", "http://x").await.1;
    assert_eq!(elsewhere["error"], "redirect_uri_mismatch");
    let (status, online) = exchange(&code("").await, "verifier", to).await;
    assert_eq!((status, online.get("refresh_token")), (200, None), "nobody asked for one");
    let code = code("offline").await;
    let (status, body) = exchange(&code, "verifier", to).await;
    assert_eq!((status, body["refresh_token"].as_str()), (200, Some("1//sim-refresh-1")));
    assert_eq!(exchange(&code, "verifier", to).await.1["error"], "invalid_grant");
    let bare = browser.get(format!("{}/auth", simulator.base_url())).send().await.unwrap();
    assert_eq!(bare.status(), 400);
}

#[tokio::test]
async fn projects_are_discovered_and_onboarded() {
    let scenario = scenario(&json!({"accounts": [
        {"email": EMAIL, "refresh_token": "r", "tier": "g1-ultra-tier", "onboard_polls": 2}]}));
    let talk = Talk::new(CLAUDE, scenario).await;
    let metadata = json!({"ideType": 9, "platform": 3, "pluginType": 2});
    let call = async |method: &str, body: Value| {
        let response = talk.post(method, &body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (_, load) = call("loadCodeAssist", json!({"metadata": metadata, "mode": 1})).await;
    assert!(load.get("cloudaicompanionProject").is_none());
    let tiers = load["allowedTiers"].as_array().unwrap();
    let tier = tiers.iter().find(|tier| tier["isDefault"] == true).unwrap()["id"].clone();
    assert_eq!(tier, "g1-ultra-tier");
    let onboard = json!({"tierId": tier, "metadata": metadata});
    for done in [false, false, true] {
        assert_eq!(call("onboardUser", onboard.clone()).await.1["done"], done);
    }
    let (_, load) = call("loadCodeAssist", json!({"metadata": metadata})).await;
    assert_eq!(load["cloudaicompanionProject"], "sim-onboarded-0");
    assert_eq!(load["paidTier"]["id"], "g1-ultra-tier");
    let (_, models) = call("fetchAvailableModels", json!({"project": "sim-onboarded-0"})).await;
    assert_eq!(models["models"].as_object().unwrap().len(), 6);
    assert_eq!(models["models"][GEMINI]["quotaInfo"]["remainingFraction"], 1.0);

    for (method, body) in [
        ("loadCodeAssist", json!({})),
        ("loadCodeAssist", json!({"metadata": {"ideType": "IDE", "platform": 3, "pluginType": 2}})),
        ("onboardUser", json!({"tierId": "FREE", "metadata": metadata})),
        ("onboardUser", json!({"tierId": "free-tier", "metadata": metadata, "cloudaicompanionProject": "x"})),
        ("fetchAvailableModels", json!({"project": "not-mine"})),
        ("fetchAvailableModels", json!({"projects": []})),
        ("generateContent", json!({})),
    ] {
        assert_eq!(call(method, body.clone()).await.0, 400, "{method} {body}");
    }
    assert_eq!(talk.simulator.refusals().len(), 7);
}

#[tokio::test]
async fn headers_are_checked() {
    let mut talk = Talk::new(GEMINI, Scenario::default()).await;
    talk.say("hi");
    for (name, value) in [
        ("user-agent", "reqwest/1"),
        ("x-client-name", "other"),
        ("x-client-version", ""),
        ("x-goog-api-client", ""),
        ("x-machine-session-id", "another"),
        ("accept", "*/*"),
        ("anthropic-beta", "interleaved-thinking-2025-05-14"),
        ("content-type", "text/plain"),
        ("x-api-key", "k"),
    ] {
        let mut request = talk.post("streamGenerateContent?alt=sse", &talk.body()).build().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        let response = talk.http.execute(request).await.unwrap();
        assert_eq!(response.status(), 400, "{name}");
        assert_eq!(talk.simulator.refusals().last().unwrap().path, format!("header:{name}"));
    }
    let response = talk.post("streamGenerateContent", &talk.body()).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let response = talk.post("inventContent", &talk.body()).send().await.unwrap();
    assert_eq!(response.status(), 404);
    let broken = talk.post("generateContent", &json!(0)).body("{\"project\":").send().await.unwrap();
    assert_eq!(broken.status(), 400);
    assert!(broken.text().await.unwrap().contains("INVALID_ARGUMENT"));
}

#[tokio::test]
async fn tokens_count() {
    let mut talk = Talk::new(CLAUDE, Scenario::default()).await;
    talk.say(&"x".repeat(400));
    let contents = json!({"request": {"model": "models/claude-sonnet-4-6", "contents": talk.contents}});
    for body in [talk.body(), contents] {
        let answer: Value = talk.post("countTokens", &body).send().await.unwrap().json().await.unwrap();
        assert!(answer["totalTokens"].as_u64().unwrap() > 100, "{answer}");
    }
}

#[tokio::test]
async fn account_states_and_quotas_refuse() {
    for (account, models, status) in [
        (json!({"state": "banned"}), json!(null), 403),
        (json!({"state": "validation_required"}), json!(null), 403),
        (
            json!({"state": "active"}),
            json!([{"id": CLAUDE, "remaining_fraction": 0, "reset_in_ms": 9000}]),
            429,
        ),
        (json!({"state": "active"}), json!([{"id": "another"}]), 404),
        (json!({"requests_per_minute": 0}), json!(null), 429),
        (json!({}), json!(null), 200),
    ] {
        let mut one =
            json!({"email": EMAIL, "refresh_token": "r", "project": "sim-project-1", "models": models});
        one.as_object_mut().unwrap().extend(account.as_object().unwrap().clone());
        let mut talk = Talk::new(CLAUDE, scenario(&json!({"accounts": [one]}))).await;
        talk.say("hi");
        assert_eq!(talk.stream().await.status(), status, "{account} {models}");
    }
}

#[tokio::test]
async fn what_was_received_can_be_asked_for() {
    let mut talk = Talk::new(CLAUDE, Scenario::default()).await;
    talk.say("hi");
    talk.hear().await;
    let recorded = &talk.simulator.recorded()[0];
    assert_eq!(recorded.headers["authorization"], format!("Bearer <{EMAIL}>"));
    assert_eq!(recorded.headers["x-machine-session-id"], "session");
    assert_eq!(*recorded.body, talk.body());
    assert_eq!((recorded.status, recorded.outcome), (200, Outcome::Complete));
    let sim = |path: &str| format!("{}/sim/{path}", talk.simulator.base_url());
    let get =
        async |path: &str| talk.http.get(sim(path)).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(get("requests?path=streamGenerate").await[0]["outcome"], "complete");
    assert_eq!(get("requests?account=nobody").await, json!([]));
    assert_eq!(get("connections").await["complete"], 1);
    assert_eq!(get("accounts.json").await["accounts"][0]["refreshToken"], "1//sim-refresh-1|sim-project-1");

    talk.http.post(sim("tokens/expire")).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(talk.stream().await.status(), 401);
    talk.token = talk.simulator.access_token(EMAIL).unwrap();
    assert_eq!(talk.stream().await.status(), 200);

    let put = async |body: Value| {
        talk.http.put(sim("scenario")).json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(put(json!({"name": "team"})).await, 204);
    assert_eq!(get("scenario").await["accounts"][0]["email"], "ann@example.com");
    assert_eq!(put(json!({"name": "nothing"})).await, 400);
    assert_eq!(put(json!({"accounts": 1})).await, 400);
    assert_eq!(put(json!({"rules": []})).await, 204);
    talk.http.post(sim("reset")).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(get("requests").await, json!([]));
    let base = talk.simulator.base_url();
    talk.simulator.shutdown().await;
    assert!(talk.http.get(base).send().await.is_err());
}
