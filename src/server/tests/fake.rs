//! A gateway of a few lines.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http::HeaderMap;
use serde_json::{Value, json};

use crate::account::import;
use crate::anthropic::error::ErrorKind;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::server::drain::Drain;
use crate::server::error::ApiError;
use crate::server::gateway::{
    AccountCounts, AccountView, ExportedAccount, Gateway, ImportFailure, ImportReport, Incoming,
    MessagesReply, ModelEntry, ModelLimit, ReplicaView, SettingProblem, SettingView, SettingsChange,
    SettingsChanged, SettingsView, Status, StoreMode,
};
use crate::server::pipe::PipeWriter;
use crate::server::state::AppState;

#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) export_fails: bool,
}

pub(crate) fn state(config: &ServerConfig, gateway: impl Gateway) -> Arc<AppState> {
    AppState::new(Arc::new(gateway), config, Clock::system(), Drain::new())
}

fn settings() -> SettingsView {
    let row = |key: &str| SettingView {
        key: key.into(),
        value: json!(1),
        origin: "shared store".into(),
        shared: "live",
        stored: Some(json!(1)),
        pending: false,
    };
    SettingsView { generation: 3, rejected: None, settings: vec![row("a"), row("b")] }
}

impl Gateway for Fake {
    fn messages(&self, incoming: Incoming) -> BoxFuture<'_, Result<MessagesReply, ApiError>> {
        async move {
            match &incoming.body[..] {
                b"panic" => panic!("secret detail"),
                b"quota" => Err(ApiError::new(ErrorKind::RateLimit, "Quota used up")
                    .with_retry_after(3600)
                    .with_should_retry(false)),
                b"stream" => {
                    let events = ["event: ping\n\n", "event: message_stop\n\n"].map(Bytes::from);
                    Ok(MessagesReply::Stream(stream::iter(events).boxed()))
                }
                _ => {
                    let body = json!({
                        "echo": String::from_utf8_lossy(&incoming.body), "key": incoming.client_key.0,
                        "session": incoming.session_header, "agent": incoming.user_agent,
                        "id": &*incoming.request_id.0,
                    });
                    let mut headers = HeaderMap::new();
                    headers.insert("x-from-gateway", "yes".parse().unwrap());
                    Ok(MessagesReply::Message { body: body.to_string().into(), headers })
                }
            }
        }
        .boxed()
    }

    fn count_tokens(&self, incoming: Incoming) -> BoxFuture<'_, Result<u64, ApiError>> {
        async move { Ok(incoming.body.len() as u64) }.boxed()
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, ApiError>> {
        let model = |id: &str, name: &str, description: &str| ModelEntry {
            id: id.into(),
            display_name: name.into(),
            description: description.into(),
            created_ms: 1_767_323_045_678,
        };
        let models = vec![model("gemini-b", "Gemini B", "about b"), model("claude-a", "Claude A", "about a")];
        async move { Ok(models) }.boxed()
    }

    fn aliases(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, ApiError>> {
        async { Ok(vec![("opus".to_owned(), "claude-a".to_owned())]) }.boxed()
    }

    fn health(&self, refresh: bool) -> BoxFuture<'_, Result<Value, ApiError>> {
        let health = json!({
            "status": "ok", "counts": { "total": 1 }, "accounts": [{ "email": "a@b" }], "refresh": refresh,
        });
        async move { Ok(health) }.boxed()
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountView>, ApiError>> {
        let account = AccountView {
            email: "a@b".into(),
            source: "oauth".into(),
            enabled: true,
            project_id: None,
            model_rate_limits: [("m".into(), ModelLimit { is_rate_limited: true, reset_time: Some(7) })]
                .into(),
            is_invalid: false,
            invalid_reason: None,
            verify_url: None,
            last_used: None,
            quota_threshold: None,
            model_quota_thresholds: [].into(),
        };
        async move { Ok(vec![account]) }.boxed()
    }

    fn import_accounts(&self, document: Bytes) -> BoxFuture<'_, Result<ImportReport, ApiError>> {
        async move {
            let read = import::parse(&document).map_err(|error| ApiError::invalid(error.to_string()))?;
            let failed = read.1.into_iter();
            Ok(ImportReport {
                added: read.0.into_iter().map(|entry| entry.email).collect(),
                failed: failed
                    .map(|entry| ImportFailure { email: entry.email, reason: entry.reason })
                    .collect(),
                ..ImportReport::default()
            })
        }
        .boxed()
    }

    fn remove_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        async move { Ok(email == "a@b") }.boxed()
    }

    fn export_accounts(&self) -> BoxFuture<'_, Result<Vec<ExportedAccount>, ApiError>> {
        let account =
            ExportedAccount { email: "a@b".into(), refresh_token: Some("1//secret".into()), api_key: None };
        async move { Ok(vec![account]) }.boxed()
    }

    fn export_store(&self, mut out: PipeWriter) -> BoxFuture<'_, Result<(), ApiError>> {
        async move {
            if self.export_fails {
                return Err(ApiError::new(ErrorKind::Overloaded, "The store does not answer"));
            }
            let written = tokio::task::spawn_blocking(move || {
                for _ in 0..300 {
                    out.write_all(&[b'x'; 1000])?;
                }
                out.flush()
            });
            written.await.unwrap().map_err(|_gone| ApiError::internal())
        }
        .boxed()
    }

    fn replicas(&self) -> BoxFuture<'_, Result<Vec<ReplicaView>, ApiError>> {
        let replica = |id: &str, scripts: &str| ReplicaView {
            id: id.into(),
            host: "h".into(),
            version: "1.2.3".into(),
            scripts: scripts.into(),
            started_at: 1000,
            uptime_ms: 500,
            in_flight: 2,
            settings_generation: 4,
            state: "serving".into(),
            last_seen_ms: 20,
            is_self: id == "r1",
        };
        async move { Ok(vec![replica("r1", "aa"), replica("r2", "bb")]) }.boxed()
    }

    fn settings(&self) -> BoxFuture<'_, Result<SettingsView, ApiError>> {
        async move { Ok(settings()) }.boxed()
    }

    fn change_settings(&self, change: SettingsChange) -> BoxFuture<'_, Result<SettingsChanged, ApiError>> {
        async move {
            let problems = change.settings.into_keys().filter(|key| key != "a");
            let problems: Vec<_> =
                problems.map(|key| SettingProblem { key, reason: "is not a".into() }).collect();
            Ok(match change.generation {
                _ if !problems.is_empty() => SettingsChanged::Invalid(problems),
                None | Some(3) => SettingsChanged::Done(settings()),
                Some(_) => SettingsChanged::Conflict(settings()),
            })
        }
        .boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, ApiError>> {
        let status = Status {
            uptime_ms: 1,
            store: StoreMode::Embedded,
            store_available: true,
            accounts: AccountCounts { total: 1, available: 1, rate_limited: 0, invalid: 0 },
            oauth_client: false,
        };
        async move { Ok(status) }.boxed()
    }

    fn metrics(&self) -> String {
        "# metrics\n".into()
    }
}
