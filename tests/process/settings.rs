//! `settings get | set`, with a gateway and without one.

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
    assert_eq!((&shown["generation"], shown["settings"].as_array().unwrap().len()), (&json!(1), 1));
    let row = json!({ "key": "maxRetries", "value": 7, "origin": "shared store", "shared": "live", "stored": 7,
        "pending": false });
    assert_eq!(shown["settings"][0], row);

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
    let lines = || gateway.log.text().lines().filter(|line| line.contains("/api/accounts/export")).count();
    let ask = async || http::get(&format!("{}/api/accounts/export", gateway.url)).await.status;
    home.succeed(&["settings", "set", "logLevel=error"], b"").await;
    assert_eq!((ask().await, ask().await), (200, 200));
    home.succeed(&["settings", "set", "--unset", "logLevel"], b"").await;
    assert_eq!(ask().await, 200);
    until("it logs again", async || lines() > 0).await;
    assert_eq!(lines(), 1, "{}", gateway.log.text());
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
