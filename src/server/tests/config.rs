//! The console's settings on the wire, and fakes of what is behind them.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::{Fake, JSON, LOCAL, call, locked};
use crate::config::{ModelEntry, Rejected, ServerConfig};
use crate::server::auth::Peer;
use crate::server::error::ApiError;
use crate::server::gateway::configuration::{
    ConfigBrief, ConfigView, Configuration, Configured, ModelChange, ModelConfigured, StrategyHealth,
    TrackerView, Trackers,
};

/// A gateway that has nothing for these parts of the console.
macro_rules! without_presets {
    ($gateway:ty) => {
        const _: () = {
            use futures_util::FutureExt as _;
            use futures_util::future::BoxFuture;
            use $crate::server::error::ApiError;
            use $crate::server::gateway::claude::{
                ClaudeCli, ClaudeEdit, ClaudeError, ClaudePreset, ClaudeSite, ClaudeView,
            };
            use $crate::server::gateway::presets::{
                NewPreset, PresetChange, PresetError, SavedPreset, ServerPreset, ServerPresets,
            };

            type Variables = serde_json::Map<String, serde_json::Value>;

            fn none<T: Send + 'static>() -> BoxFuture<'static, Result<T, PresetError>> {
                async { Err(PresetError::Failed(ApiError::internal())) }.boxed()
            }

            fn nothing<T: Send + 'static>() -> BoxFuture<'static, Result<T, ClaudeError>> {
                async { Err(ClaudeError::Off) }.boxed()
            }

            impl ServerPresets for $gateway {
                fn server_presets(&self) -> BoxFuture<'_, Result<Vec<ServerPreset>, PresetError>> {
                    none()
                }

                fn save_server_preset(
                    &self,
                    _: NewPreset,
                ) -> BoxFuture<'_, Result<SavedPreset, PresetError>> {
                    none()
                }

                fn change_server_preset<'a>(
                    &'a self,
                    _: &'a str,
                    _: PresetChange,
                ) -> BoxFuture<'a, Result<SavedPreset, PresetError>> {
                    none()
                }

                fn remove_server_preset<'a>(
                    &'a self,
                    _: &'a str,
                ) -> BoxFuture<'a, Result<Vec<ServerPreset>, PresetError>> {
                    none()
                }
            }

            impl ClaudeCli for $gateway {
                fn claude_view<'a>(
                    &'a self,
                    _: &'a ClaudeSite,
                ) -> BoxFuture<'a, Result<ClaudeView, ClaudeError>> {
                    nothing()
                }

                fn change_claude<'a>(
                    &'a self,
                    _: &'a ClaudeSite,
                    _: ClaudeEdit,
                ) -> BoxFuture<'a, Result<ClaudeView, ClaudeError>> {
                    nothing()
                }

                fn claude_presets<'a>(
                    &'a self,
                    _: &'a ClaudeSite,
                ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>> {
                    nothing()
                }

                fn save_claude_preset<'a>(
                    &'a self,
                    _: &'a ClaudeSite,
                    _: &'a str,
                    _: Variables,
                ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>> {
                    nothing()
                }

                fn remove_claude_preset<'a>(
                    &'a self,
                    _: &'a ClaudeSite,
                    _: &'a str,
                ) -> BoxFuture<'a, Result<Vec<ClaudePreset>, ClaudeError>> {
                    nothing()
                }
            }
        };
    };
}
pub(crate) use without_presets;

without_presets!(Fake);

fn view() -> ConfigView {
    let config = json!({ "maxRetries": 5, "apiKey": "********" });
    ConfigView {
        config: config.as_object().cloned().unwrap(),
        sources: [("maxRetries", "store")].into(),
        restart_required: vec!["leaseTtlMs"],
        generation: 7,
        unusable: None,
        stale: false,
    }
}

impl Configuration for Fake {
    fn config_brief(&self) -> ConfigBrief {
        ConfigBrief { max_accounts: 10, dev_mode: !self.export_fails }
    }

    fn config_view(&self) -> BoxFuture<'_, ConfigView> {
        async { view() }.boxed()
    }

    fn configure(&self, change: Map<String, Value>) -> BoxFuture<'_, Result<Configured, ApiError>> {
        async move {
            let rejected = vec![Rejected { field: "b".into(), reason: "is not a".into() }];
            Ok(match change.get("a") {
                Some(Value::Bool(true)) => {
                    let updates = json!({ "a": true }).as_object().cloned().unwrap();
                    Configured::Done { generation: 6, updates, rejected, view: view() }
                }
                Some(_) => Configured::Conflict(view()),
                None => Configured::Nothing { rejected },
            })
        }
        .boxed()
    }

    fn configure_model<'a>(
        &'a self,
        model: &'a str,
        _: ModelChange,
    ) -> BoxFuture<'a, Result<ModelConfigured, ApiError>> {
        let entry = ModelEntry { mapping: Some("b".into()), hidden: None, pinned: Some(true) };
        let outcome = if model == "busy" { ModelConfigured::Conflict } else { ModelConfigured::Done(entry) };
        async move { Ok(outcome) }.boxed()
    }

    fn strategy_health(&self) -> BoxFuture<'_, Result<StrategyHealth, ApiError>> {
        let account = TrackerView {
            email: "a@b".into(),
            health_score: 70.0,
            is_usable: true,
            consecutive_failures: 0,
            tokens: 49.5,
            has_tokens: true,
            max_tokens: 50.0,
            in_flight: 1,
            last_used: None,
        };
        let trackers = Some(Trackers { accounts: vec![account] });
        let last_updated = "2026-11-23T15:00:00.000Z".to_owned();
        async move { Ok(StrategyHealth { strategy: "hybrid", trackers, last_updated }) }.boxed()
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[tokio::test]
async fn strangers_are_told_little_and_never_refused() {
    let brief = |auth: bool| {
        json!({ "status": "ok", "version": VERSION, "authRequired": auth,
            "config": { "maxAccounts": 10, "devMode": true } })
    };
    for line in ["GET /api/config", "GET /api/config/"] {
        for headers in [&[LOCAL][..], &[LOCAL, ("x-webui-password", "wrong")], &[("host", "rebound.example")]]
        {
            let answer = call(&locked(), line, headers, "").await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, brief(true)), "{headers:?}");
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
    let answer = call(&ServerConfig::default(), "GET /api/config", &[("host", "rebound.example")], "").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, brief(false)), "nobody but this machine");
    assert_eq!(call(&locked(), "HEAD /api/config", &[LOCAL], "").await.status, 200);
    for line in
        ["POST /api/config", "POST /api/models/config", "GET /api/server/presets", "GET /api/claude/config"]
    {
        assert_eq!(call(&locked(), line, &[LOCAL, JSON], "{}").await.status, 401, "{line}");
    }
}

#[tokio::test]
async fn whoever_may_know_is_told_everything() {
    let full = json!({
        "status": "ok", "version": VERSION, "authRequired": true, "generation": 7,
        "config": { "maxRetries": 5, "apiKey": "********" }, "sources": { "maxRetries": "store" },
        "restartRequired": ["leaseTtlMs"],
        "note": "Change settings with POST /api/config; GET /api/settings describes each",
    });
    let answer = call(&locked(), "GET /api/config", &[LOCAL, ("x-webui-password", "pass")], "").await;
    assert_eq!(answer.json(), full);
    let open = call(&ServerConfig::default(), "GET /api/config", &[LOCAL], "").await.json();
    assert_eq!((&open["authRequired"], &open["config"]), (&json!(false), &full["config"]));
}

#[tokio::test]
async fn changes_tell_what_was_taken_and_what_not() {
    let open = ServerConfig::default();
    let change = async |body: &str| {
        let answer = call(&open, "POST /api/config", &[LOCAL, JSON], body.to_owned()).await;
        (answer.status.as_u16(), answer.json())
    };
    let rejected = json!([{ "field": "b", "reason": "is not a" }]);
    let (status, done) = change(r#"{"a": true, "b": 1}"#).await;
    assert_eq!((status, &done["status"], &done["rejected"]), (200, &json!("ok"), &rejected));
    assert_eq!((&done["updates"], &done["generation"]), (&json!({ "a": true }), &json!(6)), "its own");
    assert_eq!(done["message"], "Configuration saved. Restart server to apply some changes.");
    assert_eq!(done["config"]["maxRetries"], 5);
    let (status, nothing) = change(r#"{"b": 1}"#).await;
    let expected = json!({ "status": "error", "error": "No valid configuration updates provided: b is not a", "rejected": rejected });
    assert_eq!((status, nothing), (400, expected));
    let (status, conflict) = change(r#"{"a": 1}"#).await;
    assert_eq!((status, &conflict["status"], &conflict["generation"]), (409, &json!("error"), &json!(7)));
    assert_eq!(conflict["config"]["maxRetries"], 5, "the current settings");
    for body in ["[]", "null", "\"a\"", "5"] {
        let (status, answer) = change(body).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("No valid configuration updates provided")),
            "{body}"
        );
    }
    assert!(change("{").await.1["error"].as_str().unwrap().starts_with("The body is not valid JSON"));
    assert_eq!(call(&open, "POST /api/config", &[LOCAL], "{}").await.status, 415);
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(1024 * 1024));
    assert_eq!(change(&large).await.0, 413);
}

#[tokio::test]
async fn models_and_trackers_in_the_references_shape() {
    let open = ServerConfig::default();
    let body = r#"{"modelId": "a", "config": {"pinned": true}}"#;
    let done = call(&open, "POST /api/models/config", &[LOCAL, JSON], body).await;
    assert_eq!(done.json(), json!({ "status": "ok", "modelConfig": { "mapping": "b", "pinned": true } }));
    let busy = r#"{"modelId": "busy", "config": {}}"#;
    assert_eq!(call(&open, "POST /api/models/config", &[LOCAL, JSON], busy).await.status, 409);
    for body in ["{}", "[]", r#"{"modelId": "a", "config": []}"#] {
        let answer = call(&open, "POST /api/models/config", &[LOCAL, JSON], body).await;
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && error.starts_with("Invalid parameters"), "{body}: {error}");
    }
    let health = call(&open, "GET /api/strategy/health", &[LOCAL], "").await;
    assert_eq!(
        health.json(),
        json!({ "status": "ok", "strategy": "hybrid", "lastUpdated": "2026-11-23T15:00:00.000Z", "trackers": { "accounts": [{
            "email": "a@b", "healthScore": 70.0, "isUsable": true, "consecutiveFailures": 0, "tokens": 49.5,
            "hasTokens": true, "maxTokens": 50.0, "inFlight": 1, "lastUsed": null }] } })
    );
    let state = super::state(&open, Fake { export_fails: true, ..Fake::default() });
    let request =
        super::request("GET /api/strategy/health", &[LOCAL], "", Peer::Tcp("127.0.0.1:1".parse().unwrap()));
    let refused = super::ask(&state, request).await;
    let expected = json!({ "status": "error", "error": "Developer mode is not enabled" });
    assert_eq!((refused.status.as_u16(), refused.json()), (403, expected));
}
