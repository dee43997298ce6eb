//! A gateway of a few lines.

mod operations;

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::account::capacity::{CapacityHistory, CapacityPoint, ModelHistory};
use crate::account::directory::Refusals;
use crate::account::import;
use crate::anthropic::error::ErrorKind;
use crate::auth::client_keys::KeyRing;
use crate::auth::console::Console;
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::config::{SelectionConfig, ServerConfig};
use crate::server::drain::Drain;
use crate::server::error::ApiError;
use crate::server::gateway::{
    AccountCounts, AccountHealth, AccountView, ExportedAccount, Gateway, HealthReport, ImportFailure,
    ImportReport, Incoming, MessagesReply, ModelEntry, ModelLimit, ReplicaView, RotationView,
    SelectionQuestion, SelectionView, SettingProblem, SettingView, SettingsChange, SettingsChanged,
    SettingsView, SignInBegun, SignInCompleted, SignInPhase, SignInView, Status, StoreMode, SubscriptionView,
};
use crate::server::migration::{AccountChange, Migration, MigrationReport, Trial};
use crate::server::pipe::PipeWriter;
use crate::server::state::AppState;
use crate::store::Store;
use crate::store::embedded::EmbeddedHost;
use crate::store::feed::hub::Hub;
use crate::store::feed::ring::{Ring, RingSize};
use crate::store::follow::PoolEvents;
use crate::store::keys::Keys;
use crate::store::registry;
use crate::usage::{History, Question, UsageGroup, UsageNumbers, UsageReport};

pub(crate) struct Fake {
    pub(crate) export_fails: bool,
    pub(crate) developer: bool,
    /// Whether all tokens were forgotten a moment ago.
    pub(crate) just_cleared: bool,
    pub(crate) hub: Hub,
    pub(crate) store: Store,
}

impl Default for Fake {
    fn default() -> Self {
        let ring = Ring::new(RingSize::default(), &Clock::system(), Arc::new(|_, _| {}));
        let (export_fails, developer, just_cleared) = (false, false, false);
        Self { export_fails, developer, just_cleared, hub: Hub::new(Arc::new(ring)), store: store() }
    }
}

fn store() -> Store {
    let host = EmbeddedHost::in_memory(Clock::system(), registry::ALL).unwrap();
    Store::new(Arc::new(host), Keys::new("main").unwrap(), &SelectionConfig::default())
}

pub(crate) fn state(config: &ServerConfig, gateway: impl Gateway) -> Arc<AppState> {
    let store = store();
    let vault = Vault::new(&["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()]).unwrap();
    let password = config.webui_password.as_ref();
    let console = Console::new(store.clone(), Arc::new(vault), password, Clock::system());
    let keys = KeyRing::new(store, &config.api_keys, Clock::system());
    AppState::new(Arc::new(gateway), keys, console, config, Clock::system(), Drain::new())
}

fn settings() -> SettingsView {
    let row = |key: &str| SettingView {
        key: key.into(),
        value: json!(1),
        origin: "shared store".into(),
        source: "store",
        applies: "live",
        shared: "live",
        stored: Some(json!(1)),
        pending: false,
        shape: None,
    };
    let rows = vec![row("a"), row("b")];
    let settings = rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect();
    SettingsView { generation: 3, rejected: None, settings, rows }
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
                        "echo": String::from_utf8_lossy(&incoming.body), "key": &*incoming.client_key.0, "models": &*incoming.models,
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

    fn models<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<Vec<ModelEntry>, ApiError>> {
        let model = |id: &str, name: &str, description: &str| ModelEntry {
            id: id.into(),
            display_name: name.into(),
            description: description.into(),
            created_ms: 1_767_323_045_678,
        };
        let models = vec![model("gemini-b", "Gemini B", "about b"), model("claude-a", "Claude A", "about a")];
        async move { Ok(models) }.boxed()
    }

    fn aliases<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<Vec<(String, String)>, ApiError>> {
        async { Ok(vec![("opus".to_owned(), "claude-a".to_owned())]) }.boxed()
    }

    fn health(&self, refresh: bool) -> BoxFuture<'_, Result<HealthReport, ApiError>> {
        let account = AccountHealth {
            email: "a@b".into(),
            status: "ok",
            error: None,
            verify_url: None,
            subscription: SubscriptionView::default(),
            last_used: None,
            model_rate_limits: [].into(),
            rate_limit_cooldown_remaining: 0,
            models: [].into(),
        };
        let report = HealthReport {
            status: "ok",
            timestamp: "2030-01-31T12:00:00.000Z".into(),
            latency_ms: 1,
            summary: if refresh { "fresh" } else { "as it was" }.into(),
            counts: AccountCounts { total: 1, available: 1, rate_limited: 0, invalid: 0 },
            accounts: vec![account],
            redacted: false,
        };
        async move { Ok(report) }.boxed()
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountView>, ApiError>> {
        let account = AccountView {
            id: "a".into(),
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
            subscription: SubscriptionView::default(),
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

    fn import_accounts_once(
        &self,
        document: Bytes,
        refusals: Refusals,
    ) -> BoxFuture<'_, Result<Option<ImportReport>, ApiError>> {
        // What mentions `again` was imported before.
        if document.windows(5).any(|part| part == b"again") {
            return async { Ok(None) }.boxed();
        }
        // Told by a note, since nothing else of it shows here.
        let note = ImportFailure { email: "unknown".into(), reason: format!("{refusals:?}") };
        let noted = |report| Some(ImportReport { notes: vec![note], ..report });
        self.import_accounts(document).map(|report| report.map(noted)).boxed()
    }

    fn account_document(&self) -> BoxFuture<'_, Result<Value, ApiError>> {
        async { Ok(json!({ "accounts": [{ "email": "a@b", "refreshToken": "1//secret" }] })) }.boxed()
    }

    fn change_account<'a>(
        &'a self,
        email: &'a str,
        _change: AccountChange,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        async move { Ok(email == "a@b") }.boxed()
    }

    fn verify_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Option<Trial>, ApiError>> {
        let trial =
            Trial { email: email.into(), works: false, reason: Some("banned".into()), cleared: false };
        async move { Ok((email == "a@b").then_some(trial)) }.boxed()
    }

    fn migrate(&self, migration: Migration) -> BoxFuture<'_, Result<MigrationReport, ApiError>> {
        async move { Ok(MigrationReport { dry_run: migration.dry_run, items: Vec::new() }) }.boxed()
    }

    fn remove_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        async move { Ok(email == "a@b") }.boxed()
    }

    fn begin_signin(&self, expected: Option<String>) -> BoxFuture<'_, Result<SignInBegun, ApiError>> {
        let begun = SignInBegun {
            url: format!("https://accounts.example.com/auth?login_hint={}", expected.unwrap_or_default()),
            state: "ab".repeat(16),
            expires_at: 600_000,
            redirect_uri: "http://localhost:51121/oauth-callback".into(),
            callback_listening: true,
        };
        async move { Ok(begun) }.boxed()
    }

    fn complete_signin<'a>(
        &'a self,
        state: &'a str,
        input: &'a SecretString,
    ) -> BoxFuture<'a, Result<SignInCompleted, ApiError>> {
        let email = format!("{state}/{}", input.expose_secret());
        async move { Ok(SignInCompleted { email, renewed: false }) }.boxed()
    }

    fn signin_returned<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Result<SignInCompleted, ApiError>> {
        async move {
            match query {
                "good" => Ok(SignInCompleted { email: "<b>a@b</b>".into(), renewed: true }),
                query => Err(ApiError::invalid(format!("not {query}"))),
            }
        }
        .boxed()
    }

    fn signin_status<'a>(&'a self, state: &'a str) -> BoxFuture<'a, Result<SignInView, ApiError>> {
        let phase = if state == "known" { SignInPhase::Completed } else { SignInPhase::Expired };
        let email = (phase == SignInPhase::Completed).then(|| "a@b".to_owned());
        async move { Ok(SignInView { state: phase, email, error: None, reauth: None }) }.boxed()
    }

    fn export_accounts(&self) -> BoxFuture<'_, Result<Vec<ExportedAccount>, ApiError>> {
        let account =
            ExportedAccount { email: "a@b".into(), refresh_token: Some("1//secret".into()), api_key: None };
        async move { Ok(vec![account]) }.boxed()
    }

    fn rotate_keys(&self, new_key: bool) -> BoxFuture<'_, Result<RotationView, ApiError>> {
        let newest = if new_key { "made" } else { "known" }.to_owned();
        async move { Ok(RotationView { newest, ..RotationView::default() }) }.boxed()
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

    fn explain(&self, question: SelectionQuestion) -> BoxFuture<'_, Result<SelectionView, ApiError>> {
        let view = SelectionView {
            model: question.model.unwrap_or_default(),
            strategy: format!("{}/{}", question.client_key, question.session.unwrap_or_default()),
            decision: "noAccounts",
            account: None,
            tier: None,
            wait_ms: None,
            reason: None,
            conversation_account: None,
            total: 0,
            candidates: Vec::new(),
        };
        async move { Ok(view) }.boxed()
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

    fn usage(&self, question: Question) -> BoxFuture<'_, Result<UsageReport, ApiError>> {
        let numbers = UsageNumbers { requests: 3, latency_ms: 50, ..UsageNumbers::default() };
        let group = UsageGroup { at: 0, model: Some("m".into()), key: None, status: None, numbers };
        let report = UsageReport {
            from: question.from_ms.unwrap_or_default(),
            to: question.to_ms.unwrap_or(3_600_000),
            now: 1000,
            kept_since: 0,
            step: question.step,
            group_by: question.group_by.into_iter().collect(),
            usage: vec![group],
            totals: numbers,
        };
        async move { Ok(report) }.boxed()
    }

    fn usage_history(&self) -> BoxFuture<'_, Result<History, ApiError>> {
        async move { Ok(History::default()) }.boxed()
    }

    fn capacity_history(&self, hours: u32) -> BoxFuture<'_, Result<CapacityHistory, ApiError>> {
        let now = 1_000_000_000;
        let points = vec![CapacityPoint { time: 999_600_000, left: 0.5, accounts: 2 }];
        let model = ModelHistory { model: "m".into(), points, per_hour: None, runs_out_at: None };
        let from = now - i64::from(hours) * 3_600_000;
        let history = CapacityHistory { now, from, step_ms: 600_000, models: vec![model] };
        async move { Ok(history) }.boxed()
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
                None | Some(3) => SettingsChanged::Done { generation: 3, view: settings() },
                Some(_) => SettingsChanged::Conflict(settings()),
            })
        }
        .boxed()
    }

    fn feed(&self) -> Hub {
        self.hub.clone()
    }

    fn pool_events(&self) -> PoolEvents {
        PoolEvents::new(&self.store)
    }

    fn address<'a>(&'a self, account: &'a str) -> BoxFuture<'a, Option<Arc<str>>> {
        async move { (account == "a1").then(|| "a@b".into()) }.boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, ApiError>> {
        let status = Status {
            uptime_ms: 1,
            store: StoreMode::Embedded,
            store_available: true,
            accounts: AccountCounts { total: 1, available: 1, rate_limited: 0, invalid: 0 },
            oauth_client: false,
            oauth_client_refused: false,
        };
        async move { Ok(status) }.boxed()
    }

    fn metrics(&self) -> String {
        "# metrics\n".into()
    }
}
