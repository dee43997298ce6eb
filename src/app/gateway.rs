//! The seam to the HTTP surface, over dispatch, pool and store.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde_json::Value;
use tokio::time::Instant;

use super::health;
use super::host::Host;
use super::presence::Presence;
use super::settings::SharedSettings;
use crate::account::alias;
use crate::account::catalogue::Catalogue;
use crate::account::directory::{Directory, DirectoryError};
use crate::account::survey::Survey;
use crate::anthropic::error::ErrorKind;
use crate::clock::Clock;
use crate::dispatch::error::DispatchError;
use crate::dispatch::{self, Dispatcher, Reply};
use crate::server::error::ApiError;
use crate::server::gateway::{
    AccountCounts, AccountView, ExportedAccount, Gateway, ImportFailure, ImportReport, Incoming,
    MessagesReply, ModelEntry, ModelLimit, ReplicaView, SettingsChange, SettingsChanged, SettingsView,
    Status,
};
use crate::server::pipe::PipeWriter;
use crate::store::host::StoreError;
use crate::store::ident::InvalidReason;
use crate::store::keys::Keys;
use crate::store::ops::listing;
use crate::store::redis::Page;
use crate::telemetry::metrics::Metrics;

/// The application behind the HTTP surface.
pub struct AppGateway {
    pub(super) dispatcher: Dispatcher,
    pub(super) directory: Directory,
    pub(super) host: Host,
    pub(super) keys: Keys,
    pub(super) catalogue: Catalogue,
    pub(super) survey: Survey,
    pub(super) presence: Presence,
    pub(super) metrics: Arc<Metrics>,
    pub(super) settings: SharedSettings,
    pub(super) started: Instant,
    pub(super) clock: Clock,
    pub(super) oauth_client: bool,
}

/// A request of the HTTP surface as dispatch takes it.
fn received(incoming: Incoming) -> dispatch::Incoming {
    dispatch::Incoming {
        body: incoming.body,
        client_key: Arc::from(incoming.client_key.0),
        request_id: incoming.request_id.0,
    }
}

impl Gateway for AppGateway {
    fn messages(&self, incoming: Incoming) -> BoxFuture<'_, Result<MessagesReply, ApiError>> {
        async move {
            match self.dispatcher.messages(received(incoming)).await {
                Ok(Reply::Message(body)) => Ok(MessagesReply::Message { body, headers: HeaderMap::new() }),
                Ok(Reply::Stream(frames)) => Ok(MessagesReply::Stream(frames)),
                Err(error) => Err(refusal(&error)),
            }
        }
        .boxed()
    }

    fn count_tokens(&self, incoming: Incoming) -> BoxFuture<'_, Result<u64, ApiError>> {
        async move {
            self.dispatcher.count_tokens(&received(incoming)).await.map_err(|error| refusal(&error))
        }
        .boxed()
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, ApiError>> {
        async move {
            let offered = self.dispatcher.models().await.map_err(|error| refusal(&error))?;
            let mut entries: Vec<_> = offered
                .iter()
                .map(|model| ModelEntry {
                    id: model.id.clone(),
                    display_name: model.name.clone(),
                    description: model.name.clone(),
                    created_ms: model.seen_ms,
                })
                .collect();
            let settings = self.settings.dispatch().load_full();
            for (source, target) in &settings.models.mapping {
                if !entries.iter().any(|entry| entry.id == *source) {
                    let created_ms =
                        offered.iter().find(|model| model.id == *target).map_or(0, |m| m.seen_ms);
                    entries.push(ModelEntry {
                        id: source.clone(),
                        display_name: source.clone(),
                        description: format!("Mapped to {target}"),
                        created_ms,
                    });
                }
            }
            Ok(entries)
        }
        .boxed()
    }

    fn aliases(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, ApiError>> {
        async move {
            let offered = self.catalogue.ids().await.map_err(|error| store_refusal(&error))?;
            Ok(alias::effective(&offered, &self.settings.dispatch().load().models))
        }
        .boxed()
    }

    fn health(&self, refresh: bool) -> BoxFuture<'_, Result<Value, ApiError>> {
        async move {
            let begun = self.clock.instant();
            if refresh {
                self.survey.completed_within(health::REFRESH_WAIT).await;
            }
            let accounts = self.list().await?;
            let latency = self.clock.instant().saturating_duration_since(begun);
            Ok(health::report(&accounts, self.clock.epoch_ms(), latency))
        }
        .boxed()
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountView>, ApiError>> {
        async move {
            let now_ms = self.clock.epoch_ms();
            Ok(self.list().await?.iter().map(|account| view(account, now_ms)).collect())
        }
        .boxed()
    }

    fn import_accounts(&self, document: Bytes) -> BoxFuture<'_, Result<ImportReport, ApiError>> {
        async move {
            let report = self.directory.import(&document).await.map_err(directory_refusal)?;
            Ok(ImportReport {
                added: report.added,
                updated: report.updated,
                failed: report
                    .failed
                    .into_iter()
                    .map(|rejected| ImportFailure { email: rejected.email, reason: rejected.reason })
                    .collect(),
            })
        }
        .boxed()
    }

    fn remove_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        async move {
            let models = self.catalogue.ids().await.map_err(|error| store_refusal(&error))?;
            self.directory.remove(email, &models).await.map_err(|error| store_refusal(&error))
        }
        .boxed()
    }

    fn export_accounts(&self) -> BoxFuture<'_, Result<Vec<ExportedAccount>, ApiError>> {
        async move {
            let exported = self.directory.export().await.map_err(directory_refusal)?;
            Ok(exported
                .into_iter()
                .map(|account| ExportedAccount {
                    email: account.email,
                    refresh_token: account.refresh_token,
                    api_key: account.api_key,
                })
                .collect())
        }
        .boxed()
    }

    fn export_store(&self, out: PipeWriter) -> BoxFuture<'_, Result<(), ApiError>> {
        async move {
            self.write_export(out).await.map_err(|error| {
                tracing::warn!(%error, "the store's export ended early");
                ApiError::internal()
            })
        }
        .boxed()
    }

    fn replicas(&self) -> BoxFuture<'_, Result<Vec<ReplicaView>, ApiError>> {
        async move { self.presence.list().await.map_err(|error| store_refusal(&error)) }.boxed()
    }

    fn settings(&self) -> BoxFuture<'_, Result<SettingsView, ApiError>> {
        async move {
            self.settings.refresh().await.map_err(|error| store_refusal(&error))?;
            Ok(self.settings.view())
        }
        .boxed()
    }

    fn change_settings(&self, change: SettingsChange) -> BoxFuture<'_, Result<SettingsChanged, ApiError>> {
        async move { self.settings.change(&change).await.map_err(|error| store_refusal(&error)) }.boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, ApiError>> {
        async move {
            let accounts = self.accounts().await;
            let uptime = self.clock.instant().saturating_duration_since(self.started);
            Ok(Status {
                uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
                store: self.host.mode(),
                store_available: accounts.is_ok(),
                accounts: AccountCounts::of(&accounts.unwrap_or_default()),
                oauth_client: self.oauth_client,
            })
        }
        .boxed()
    }

    fn observed(&self, route: &str, status: u16, took: Duration) {
        self.metrics.http_request(route, status, took);
    }

    fn metrics(&self) -> String {
        self.metrics.render()
    }
}

impl AppGateway {
    async fn write_export(&self, mut out: PipeWriter) -> anyhow::Result<()> {
        let mut page = Some(Page::first());
        while let Some(current) = page {
            let (commands, next) = self.host.export(&self.keys, current).await?;
            out = tokio::task::spawn_blocking(move || {
                out.write_all(&commands)?;
                out.flush()?;
                Ok::<_, io::Error>(out)
            })
            .await??;
            page = next;
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<listing::AccountView>, ApiError> {
        let models = self.catalogue.ids().await.map_err(|error| store_refusal(&error))?;
        self.directory.list(&models).await.map_err(|error| store_refusal(&error))
    }
}

/// One account in the console's terms.
pub(super) fn view(account: &listing::AccountView, now_ms: i64) -> AccountView {
    AccountView {
        email: account.email.clone(),
        source: account.source.as_str().to_owned(),
        enabled: account.enabled,
        project_id: account.managed_project.clone().or_else(|| account.project.clone()),
        model_rate_limits: account
            .limits
            .iter()
            .map(|limit| {
                let left = i64::try_from(limit.left.as_millis()).unwrap_or(i64::MAX);
                let limited = ModelLimit {
                    is_rate_limited: left > 0,
                    reset_time: (left > 0).then(|| now_ms.saturating_add(left)),
                };
                (limit.model.clone(), limited)
            })
            .collect(),
        is_invalid: account.invalid.is_some(),
        invalid_reason: account.invalid.as_ref().map(|invalid| explain(invalid.reason).to_owned()),
        verify_url: account.invalid.as_ref().and_then(|invalid| invalid.url.clone()),
        last_used: account.last_used_ms,
        quota_threshold: account.threshold,
        model_quota_thresholds: account.model_thresholds.clone(),
    }
}

/// Why an account is out of use and what its owner has to do.
pub(super) fn explain(reason: InvalidReason) -> &'static str {
    match reason {
        InvalidReason::Revoked => "Sign-in revoked or expired: sign in again",
        InvalidReason::Banned => {
            "Account banned: disabled by the provider for violation of its terms of service"
        }
        InvalidReason::Verification => {
            "Verification required: the owner must verify the account with the provider"
        }
    }
}

/// A dispatch error on the wire.
fn refusal(error: &DispatchError) -> ApiError {
    let answer = error.answer();
    let status = http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut refusal = ApiError::new(answer.kind, error.to_string()).with_status(status);
    if let Some(seconds) = answer.retry_after {
        refusal = refusal.with_retry_after(seconds);
    }
    if let Some(should_retry) = answer.should_retry {
        refusal = refusal.with_should_retry(should_retry);
    }
    refusal
}

fn store_refusal(error: &StoreError) -> ApiError {
    tracing::warn!(%error, "the store refused an operation");
    let unavailable = http::StatusCode::SERVICE_UNAVAILABLE;
    match error {
        StoreError::Unavailable { .. } | StoreError::ReadOnly { .. } => {
            ApiError::new(ErrorKind::Overloaded, "Storage unavailable").with_status(unavailable)
        }
        _ => ApiError::internal(),
    }
}

fn directory_refusal(error: DirectoryError) -> ApiError {
    match error {
        DirectoryError::Document(error) => ApiError::invalid(error.to_string()),
        DirectoryError::Store(error) => store_refusal(&error),
        DirectoryError::Vault(error) => {
            tracing::error!(%error, "a credential could not be sealed or opened");
            ApiError::internal()
        }
        DirectoryError::Random => ApiError::internal(),
    }
}
