//! `healthcheck` of another machine's gateway, as a release's test asks it.

use serde_json::json;

use crate::gateway::Home;
use crate::simulator::Simulator;

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_asked_for_its_models_and_for_an_answer() {
    let simulator = Simulator::with_accounts(1).await;
    let home = Home::with(&simulator).env("API_KEY", "first,second");
    let gateway = home.start().await;
    let asker = Home::new().env("API_KEY", "second");
    let ask = async |home: &Home, more: &[&str]| {
        home.run(&[&["healthcheck", "--url", &gateway.url], more].concat(), b"").await
    };

    assert_eq!(ask(&asker, &[]).await.code, Some(0));
    for more in [&["--models"][..], &["--model", "claude-haiku-4-5"]] {
        let ended = ask(&asker, more).await;
        assert_eq!(ended.code, Some(1), "there are no accounts: {}", ended.out);
        assert!(ended.err.contains(&gateway.url["http://".len()..]), "{}", ended.err);
    }
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
    for more in
        [&["--models"][..], &["--model", "claude-haiku-4-5"], &["--models", "--model", "claude-opus-4-6"]]
    {
        let ended = ask(&asker, more).await;
        assert_eq!(ended.code, Some(0), "{more:?}: {}", ended.err);
    }
    assert!(!simulator.requests("streamGenerateContent").await.is_empty(), "nobody was asked");

    // A key that is wrong, or none, is said; a probe needs none.
    for stranger in [Home::new(), Home::new().env("API_KEY", "third")] {
        assert_eq!(ask(&stranger, &[]).await.code, Some(0));
        let ended = ask(&stranger, &["--models"]).await;
        assert_eq!(ended.code, Some(1));
        assert!(ended.err.contains("401") && !ended.err.contains("third"), "{}", ended.err);
    }
    simulator.rule(&json!({"when": {}, "then": {"status": 400}})).await;
    let ended = ask(&asker, &["--model", "claude-haiku-4-5"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
}
