//! `settings get | set` and `presets …`, with a gateway and without one.

use serde_json::{Value, json};

use crate::gateway::{Home, SOON, until};
use crate::http;
use crate::simulator::Simulator;

/// `lease` is what becomes of a lease time of 9 s and of taking that out again.
async fn commands_work(home: &Home, lease: [&str; 2]) {
    let out = home.succeed(&["settings", "get"], b"").await;
    assert!(out.ends_with("generation 0\n"), "{out}");
    assert!(!out.contains("client-secret"), "{out}");

    let set = ["settings", "set", "maxRetries=7", "capacityBackoffTiersMs=1000,2000", "leaseTtlMs=9000"];
    let out = home.succeed(&set, b"").await;
    assert_eq!(
        out,
        format!(
            "capacityBackoffTiersMs  [1000,2000]  shared store\nleaseTtlMs  {}\nmaxRetries  7  shared store\n\
             generation 1\n",
            lease[0]
        )
    );
    let out = home.succeed(&["settings", "get", "maxRetries", "--json"], b"").await;
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&shown["generation"], shown["rows"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(shown["settings"], json!({ "maxRetries": 7 }));
    let row = json!({ "key": "maxRetries", "value": 7, "origin": "shared store", "source": "store", "applies": "live",
        "shared": "live", "stored": 7, "pending": false, "type": "integer", "default": 5, "minimum": 1.0,
        "maximum": 20.0, "allowed": "a whole number from 1 to 20",
        "description": "Least number of accounts tried for a request.", "section": "Retries and waits", "secret": false });
    assert_eq!(shown["rows"][0], row);

    let ended = home.run(&["settings", "set", "maxRetries=8", "--generation", "0"], b"").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("at generation 1"), "{}", ended.err);
    for (args, part) in [
        (&["maxRetries=many"][..], "\"many\" is not usable; allowed: a whole number from 1 to 20"),
        (&["maxRetrys=3"], "did you mean `maxRetries`?"),
        (&["dataDir=/x"], "is never shared"),
        (&["retryBaseMs=9000", "retryMaxMs=8000"], "must not exceed"),
        (&["maxRetries=3", "--unset", "maxRetries"], "given twice"),
    ] {
        let ended = home.run(&[&["settings", "set"], args].concat(), b"").await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{args:?}: {}", ended.err);
    }
    assert_eq!(home.run(&["settings", "set", "maxRetries"], b"").await.code, Some(2));
    let ended = home.run(&["settings", "get", "maxRetrys"], b"").await;
    assert!(ended.code == Some(1) && ended.err.contains("did you mean"), "{}", ended.err);

    let unset = ["settings", "set", "--unset", "maxRetries", "--unset", "leaseTtlMs", "--generation", "1"];
    let out = home.succeed(&unset, b"").await;
    assert_eq!(out, format!("leaseTtlMs  {}\nmaxRetries  5  default\ngeneration 2\n", lease[1]));
}

#[tokio::test]
async fn commands_work_without_a_gateway() {
    let home = Home::with(&Simulator::with_accounts(1).await);
    let later = "each gateway takes it over when it starts next";
    let lease = [format!("9000  shared store; {later}"), format!("30000  default; {later}")];
    commands_work(&home, lease.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn commands_work_beside_a_gateway_which_goes_by_what_they_change() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator);
    let mut gateway = home.start().await;
    let nothing = "30000  default; each gateway takes it over when it starts next";
    commands_work(&home, ["30000  default; 9000 from the next start", nothing]).await;
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    home.succeed(&["settings", "set", r#"modelMapping={"mine":{"mapping":"gemini-3-flash"}}"#], b"").await;
    let mut body = http::message("hello", false);
    body["model"] = json!("mine");
    let answer = http::post(&format!("{}/v1/messages", gateway.url), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Lines of requests have the level `info`; those of one that is asked while it is off are never written.
    let lines = || gateway.log.text().lines().filter(|line| line.contains("POST /v1/messages 200")).count();
    let ask = async || gateway.ask("hello").await.status;
    until("the first request has its line", async || lines() == 1).await;
    home.succeed(&["settings", "set", "logLevel=error"], b"").await;
    assert_eq!((ask().await, ask().await), (200, 200));
    home.succeed(&["settings", "set", "--unset", "logLevel"], b"").await;
    assert_eq!(ask().await, 200);
    until("it logs again", async || lines() > 1).await;
    assert_eq!(lines(), 2, "{}", gateway.log.text());
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success());
}

#[tokio::test]
async fn a_pinned_setting_is_said_to_be_so_and_unusable_ones_stop_no_gateway() {
    let home = Home::new().env("FALLBACK", "true");
    let out = home.succeed(&["settings", "set", "fallbackEnabled=false", "retryMaxMs=3000"], b"").await;
    let pinned = "fallbackEnabled  true  environment variable FALLBACK; the shared store holds false\n";
    assert!(out.starts_with(pinned), "{out}");
    // With another file the same store is not usable.
    let home = home.file(&json!({ "retryBaseMs": 5000 }));
    let mut gateway = home.start().await;
    assert!(gateway.log.text().contains("the shared settings are not usable"), "{}", gateway.log.text());
    let metrics = http::get(&format!("{}/metrics", gateway.metrics_url)).await;
    assert!(metrics.text().contains("antigravity_proxy_shared_settings_rejected 1\n"), "{}", metrics.text());
    let ended = home.run(&["settings", "get", "retryMaxMs"], b"").await;
    assert!(ended.err.contains("warning: the shared settings are not in force"), "{}", ended.err);
    assert!(
        ended.out.starts_with("retryMaxMs  30000  default; the shared store holds 3000\n"),
        "{}",
        ended.out
    );
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success());
}

async fn presets_work(home: &Home) {
    let out = home.succeed(&["presets", "list"], b"").await;
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(lines[3].starts_with("Team                    (built in) Many people on one pool"), "{out}");
    let shown = home.succeed(&["presets", "show", "Team"], b"").await;
    let team: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(team["maxConcurrentPerAccount"], 4);

    let out = home.succeed(&["presets", "apply", "Team"], b"").await;
    assert_eq!(out, "applied  Team  generation 1\n");
    let file = json!({ "maxRetries": 9, "retryBaseMs": 1, "accountSelection": { "strategy": "hybrid" } })
        .to_string();
    let ended =
        home.run(&["presets", "save", "Mine", "-", "--description", "of a file"], file.as_bytes()).await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(4), "Server preset \"Mine\" saved\n"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("left out: retryBaseMs: 1 is not usable"), "{}", ended.err);
    let out = home.succeed(&["presets", "apply", "Mine", "--json"], b"").await;
    let applied: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(applied["updates"], json!({ "maxRetries": 9, "accountSelection": { "strategy": "hybrid" } }));
    // What is in force, as far as presets go.
    home.succeed(&["presets", "save", "Now"], b"").await;
    let now: Value = serde_json::from_str(&home.succeed(&["presets", "show", "Now"], b"").await).unwrap();
    let mut expected = team;
    (expected["maxRetries"], expected["accountSelection"]["strategy"]) = (json!(9), json!("hybrid"));
    // No limit is told as the largest one.
    expected["maxAccounts"] = json!(10_000);
    assert_eq!(now, expected);

    for (args, part) in [
        (&["save", "Team"][..], "Cannot overwrite built-in preset \"Team\""),
        (&["delete", "Team"], "Cannot delete built-in preset \"Team\""),
        (&["delete", "None"], "there is no preset \"None\""),
        (&["apply", "None"], "there is no preset \"None\""),
    ] {
        let ended = home.run(&[&["presets"], args].concat(), b"").await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{args:?}: {}", ended.err);
    }
    assert_eq!(home.succeed(&["presets", "delete", "Now"], b"").await, "Server preset \"Now\" deleted\n");
    let out = home.succeed(&["presets", "list"], b"").await;
    assert!(out.ends_with("Mine                    of a file\n"), "{out}");
}

#[tokio::test]
async fn presets_without_a_gateway() {
    presets_work(&Home::new()).await;
}

#[tokio::test]
async fn presets_beside_a_gateway() {
    let home = Home::new();
    let mut gateway = home.start().await;
    presets_work(&home).await;
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success());
}

#[tokio::test]
async fn what_the_environment_decides_is_fixed_in_the_console() {
    let home =
        Home::new().env("FALLBACK", "true").env("DEV_MODE", "true").env("WEBUI_PASSWORD", "hidden-password");
    let mut gateway = home.start().await;
    let url = format!("{}/api/config", gateway.url);
    let headers = [("content-type", "application/json"), ("x-webui-password", "hidden-password")];
    let body = json!({ "fallbackEnabled": false, "devMode": false, "maxRetries": 6 });
    let answer = http::send("POST", &url, &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let saved = answer.json();
    assert_eq!(saved["updates"], json!({ "maxRetries": 6 }));
    let fixed = |field: &str| json!({ "field": field, "reason": "set by environment" });
    assert_eq!(saved["rejected"], json!([fixed("devMode"), fixed("fallbackEnabled")]));
    let full = http::send("GET", &url, &headers, b"").await.json();
    for (pointer, value) in [
        ("/sources/fallbackEnabled", "env"),
        ("/sources/maxRetries", "store"),
        ("/config/webuiPassword", "********"),
    ] {
        assert_eq!(full.pointer(pointer), Some(&json!(value)), "{pointer}");
    }
    assert!(!full.to_string().contains("hidden-password"), "{full}");
    let rows = http::send("GET", &format!("{}/api/settings", gateway.url), &headers, b"").await.json();
    let row =
        |key: &str| rows["rows"].as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
    assert_eq!(
        (&row("fallbackEnabled")["applies"], &row("maxRetries")["applies"]),
        (&json!("fixed"), &json!("live"))
    );
    // A stranger learns as much as the console needs before it asks for the password.
    let brief = http::get(&url).await.json();
    let expected = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION"), "authRequired": true,
        "config": { "maxAccounts": 10_000, "devMode": true } });
    assert_eq!(brief, expected);
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success());
}
