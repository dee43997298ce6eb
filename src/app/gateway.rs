//! The seam to the HTTP surface, over dispatch, pool and store.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;

use super::accounts::{self, import_report};
use super::addresses::Addresses;
use super::claude::ClaudeDesk;
use super::feed;
use super::health;
use super::host::Host;
use super::limits::FRESHEST;
use super::migration::{self, Plan, Target};
use super::presence::Presence;
use super::requests::Requests;
use super::rotation::Rotation;
use super::selection;
use super::settings::SharedSettings;
use super::signin::{self, Desk};
use crate::account::alias::{self, Resolution};
use crate::account::capacity::{self, CapacityHistory};
use crate::account::catalogue::Catalogue;
use crate::account::directory::{Accounts, Directory, DirectoryError, Refusals};
use crate::account::export;
use crate::account::survey::Survey;
use crate::account::verify::Verifier;
use crate::anthropic::error::ErrorKind;
use crate::auth::rotation::RotationError;
use crate::auth::tokens::Tokens;
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::dispatch::error::DispatchError;
use crate::dispatch::{self, Dispatcher, Reply};
use crate::server::error::ApiError;
use crate::server::gateway::{
    AccountCounts, AccountView, ExportedAccount, Gateway, HealthReport, ImportReport, Incoming,
    MessagesReply, ModelEntry, ModelLimit, ReplicaView, RotationView, SelectionQuestion, SelectionView,
    SettingsChange, SettingsChanged, SettingsView, SignInBegun, SignInCompleted, SignInView, Status,
    SubscriptionView,
};
use crate::server::migration::{AccountChange, Migration, MigrationReport, Trial};
use crate::server::pipe::PipeWriter;
use crate::store::Store;
use crate::store::feed::hub::Hub;
use crate::store::follow::PoolEvents;
use crate::store::host::{DAMAGED, StoreError};
use crate::store::ident::InvalidReason;
use crate::store::ops::listing;
use crate::store::redis::Page;
use crate::telemetry::Traces;
use crate::telemetry::metrics::Metrics;
use crate::usage::{History, Question, Usage, UsageError, UsageReport};

/// The application behind the HTTP surface.
pub struct AppGateway {
    pub(super) dispatcher: Dispatcher,
    pub(super) requests: Requests,
    pub(super) store: Store,
    pub(super) directory: Directory,
    pub(super) vault: Arc<Vault>,
    pub(super) tokens: Tokens,
    pub(super) host: Host,
    pub(super) catalogue: Catalogue,
    pub(super) survey: Survey,
    pub(super) usage: Usage,
    pub(super) verifier: Verifier,
    pub(super) presence: Presence,
    pub(super) metrics: Arc<Metrics>,
    pub(super) settings: SharedSettings,
    pub(super) started: Instant,
    pub(super) clock: Clock,
    pub(super) oauth_client: bool,
    pub(super) desk: Desk,
    pub(super) claude: ClaudeDesk,
    pub(super) traces: Traces,
    pub(super) hub: Hub,
    pub(super) addresses: Addresses,
}

/// A request of the HTTP surface as dispatch takes it.
fn received(incoming: Incoming) -> dispatch::Incoming {
    dispatch::Incoming {
        body: incoming.body,
        client_key: incoming.client_key.0,
        models: incoming.models,
        session: incoming.session_header,
        request_id: incoming.request_id.0,
        observation: incoming.observation,
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

    fn models<'a>(&'a self, allowed: &'a [String]) -> BoxFuture<'a, Result<Vec<ModelEntry>, ApiError>> {
        async move {
            let offered = self.dispatcher.models().await.map_err(|error| refusal(&error))?;
            let settings = self.settings.dispatch().load_full();
            let ids: Vec<_> = offered.iter().map(|model| model.id.clone()).collect();
            // What serves counts: a mapping may lead elsewhere.
            let permitted = |id: &str| match alias::resolve(Some(id), &ids, &settings.models) {
                Resolution::Model(served) => alias::permits(allowed, &served, &ids, &settings.models),
                Resolution::Missing | Resolution::Unknown(_) => false,
            };
            let mut entries: Vec<_> = offered
                .iter()
                .filter(|model| permitted(&model.id))
                .map(|model| ModelEntry {
                    id: model.id.clone(),
                    display_name: model.name.clone(),
                    description: match settings.models.mapping.get(&model.id) {
                        Some(target) => format!("Mapped to {target}"),
                        None => model.name.clone(),
                    },
                    created_ms: model.seen_ms,
                })
                .collect();
            for (source, target) in settings.models.mapping.iter().filter(|(source, _)| permitted(source)) {
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

    fn aliases<'a>(
        &'a self,
        allowed: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<(String, String)>, ApiError>> {
        async move {
            let offered = self.catalogue.ids().await.map_err(|error| store_refusal(&error))?;
            let models = &self.settings.dispatch().load_full().models;
            let mut aliases = alias::effective(&offered, models);
            aliases.retain(|(_, id)| alias::permits(allowed, id, &offered, models));
            Ok(aliases)
        }
        .boxed()
    }

    fn health(&self, refresh: bool) -> BoxFuture<'_, Result<HealthReport, ApiError>> {
        async move {
            let begun = self.clock.instant();
            if refresh && self.may_refresh().await {
                self.survey.completed_within(health::REFRESH_WAIT).await;
            } else if refresh {
                self.survey.younger_than(FRESHEST, health::REFRESH_WAIT).await;
            }
            let accounts = self.list().await;
            let accounts =
                accounts.map_err(|error| error.with_timestamp(health::iso(self.clock.epoch_ms())))?;
            let latency = self.clock.instant().saturating_duration_since(begun);
            Ok(health::report(&accounts, latency, self.settings.config().selection.quota_refresh))
        }
        .boxed()
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountView>, ApiError>> {
        async move { Ok(views(&self.list().await?)) }.boxed()
    }

    fn import_accounts(&self, document: Bytes) -> BoxFuture<'_, Result<ImportReport, ApiError>> {
        async move {
            let report = self.directory.import(&document).await.map_err(directory_refusal)?;
            Ok(import_report(report))
        }
        .boxed()
    }

    fn import_accounts_once(
        &self,
        document: Bytes,
        refusals: Refusals,
    ) -> BoxFuture<'_, Result<Option<ImportReport>, ApiError>> {
        async move {
            let report = self.directory.import_once(&document, refusals).await.map_err(directory_refusal)?;
            Ok(report.map(import_report))
        }
        .boxed()
    }

    fn account_document(&self) -> BoxFuture<'_, Result<Value, ApiError>> {
        async move {
            let models = self.catalogue.ids().await.map_err(|error| store_refusal(&error))?;
            let found = self.directory.entries(&models).await.map_err(directory_refusal)?;
            Ok(export::document(&found.entries, &found.unreadable))
        }
        .boxed()
    }

    fn change_account<'a>(
        &'a self,
        email: &'a str,
        change: AccountChange,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        async move {
            self.directory.change(email, &accounts::set(change)).await.map_err(|error| store_refusal(&error))
        }
        .boxed()
    }

    fn verify_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Option<Trial>, ApiError>> {
        async move {
            let tried = accounts::tried(&self.directory, &self.verifier, email).await;
            tried.map_err(|error| store_refusal(&error))
        }
        .boxed()
    }

    fn migrate(&self, migration: Migration) -> BoxFuture<'_, Result<MigrationReport, ApiError>> {
        async move {
            let plan = Plan::of(migration).map_err(|error| ApiError::invalid(error.to_string()))?;
            let target = Target { directory: &self.directory, store: &self.store, settings: &self.settings };
            migration::migrate(&target, plan).await.map_err(directory_refusal)
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

    fn begin_signin(&self, expected: Option<String>) -> BoxFuture<'_, Result<SignInBegun, ApiError>> {
        async move { self.desk.begin(expected.as_deref()).await.map_err(signin::refusal) }.boxed()
    }

    fn complete_signin<'a>(
        &'a self,
        state: &'a str,
        input: &'a SecretString,
    ) -> BoxFuture<'a, Result<SignInCompleted, ApiError>> {
        async move { self.desk.complete(state, input).await.map_err(signin::refusal) }.boxed()
    }

    fn signin_returned<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Result<SignInCompleted, ApiError>> {
        async move { self.desk.returned(query).await.map_err(signin::refusal) }.boxed()
    }

    fn signin_status<'a>(&'a self, state: &'a str) -> BoxFuture<'a, Result<SignInView, ApiError>> {
        async move { self.desk.status(state).await.map_err(signin::refusal) }.boxed()
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

    fn rotate_keys(&self, new_key: bool) -> BoxFuture<'_, Result<RotationView, ApiError>> {
        async move {
            let rotation = Rotation {
                host: &self.host,
                store: &self.store,
                directory: &self.directory,
                vault: &self.vault,
                own: Some(&self.presence.id),
            };
            rotation.run(new_key).await.map_err(rotation_refusal)
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

    fn explain(&self, question: SelectionQuestion) -> BoxFuture<'_, Result<SelectionView, ApiError>> {
        async move {
            let model = self.dispatcher.model(question.model.as_deref()).await;
            let model = model.map_err(|error| match error {
                // Nothing is wrong with the question.
                DispatchError::ModelUnknown(_) | DispatchError::ModelMissing => {
                    ApiError::new(ErrorKind::NotFound, error.to_string())
                }
                error => refusal(&error),
            })?;
            let dispatch = &self.settings.dispatch().load_full().dispatch;
            selection::explain(&self.store, &self.directory, dispatch, model, &question)
                .await
                .map_err(|error| store_refusal(&error))
        }
        .boxed()
    }

    fn replicas(&self) -> BoxFuture<'_, Result<Vec<ReplicaView>, ApiError>> {
        async move { self.presence.list().await.map_err(|error| store_refusal(&error)) }.boxed()
    }

    fn usage(&self, question: Question) -> BoxFuture<'_, Result<UsageReport, ApiError>> {
        async move { self.usage.report(&question).await.map_err(|error| usage_refusal(&error)) }.boxed()
    }

    fn usage_history(&self) -> BoxFuture<'_, Result<History, ApiError>> {
        async move { self.usage.history().await.map_err(|error| usage_refusal(&error)) }.boxed()
    }

    fn capacity_history(&self, hours: u32) -> BoxFuture<'_, Result<CapacityHistory, ApiError>> {
        async move { capacity::history(&self.store, hours).await.map_err(|error| store_refusal(&error)) }
            .boxed()
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

    fn feed(&self) -> Hub {
        self.hub.clone()
    }

    fn pool_events(&self) -> PoolEvents {
        PoolEvents::new(&self.store)
    }

    fn address<'a>(&'a self, account: &'a str) -> BoxFuture<'a, Option<Arc<str>>> {
        self.addresses.of(account).boxed()
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
                oauth_client_refused: self.tokens.client_is_refused(),
            })
        }
        .boxed()
    }

    fn traces(&self) -> Traces {
        self.traces.clone()
    }

    fn observed(&self, route: &str, status: u16, took: Duration) {
        self.metrics.http_request(route, status, took);
    }

    fn metrics(&self) -> String {
        feed::show_waiting(&self.store, &self.metrics);
        self.metrics.render()
    }
}

impl AppGateway {
    async fn write_export(&self, mut out: PipeWriter) -> anyhow::Result<()> {
        let mut page = Some(Page::first());
        while let Some(current) = page {
            let (commands, next) = self.host.export(self.store.keys(), current).await?;
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

    pub(super) async fn list(&self) -> Result<Accounts, ApiError> {
        let models = self.catalogue.ids().await.map_err(|error| store_refusal(&error))?;
        self.directory.list_known(&models).await.map_err(|error| store_refusal(&error))
    }
}

/// All accounts in the console's terms.
pub(super) fn views(accounts: &Accounts) -> Vec<AccountView> {
    let readable = accounts.readable.iter().map(|account| view(account, accounts.now_ms));
    readable.chain(accounts.damaged.iter().map(lost)).collect()
}

/// An account whose record is damaged: of no use until somebody acts.
pub(super) fn lost(account: &listing::DamagedAccount) -> AccountView {
    AccountView {
        id: account.id.to_string(),
        email: account.name().to_owned(),
        source: "unknown".to_owned(),
        enabled: true,
        project_id: None,
        model_rate_limits: BTreeMap::new(),
        is_invalid: true,
        invalid_reason: Some(told_of_damage()),
        verify_url: None,
        last_used: None,
        quota_threshold: None,
        model_quota_thresholds: BTreeMap::new(),
        subscription: SubscriptionView { tier: "unknown".to_owned(), ..SubscriptionView::default() },
    }
}

/// What is said of an account whose record is damaged, as a sentence of its own.
pub(super) fn told_of_damage() -> String {
    format!("Damaged: {DAMAGED}")
}

/// One account in the console's terms.
pub(super) fn view(account: &listing::AccountView, now_ms: i64) -> AccountView {
    AccountView {
        id: account.id.to_string(),
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
        subscription: SubscriptionView {
            tier: account.subscription.tier.clone(),
            project_id: account.subscription.project.clone(),
            detected_at: account.subscription.seen_at_ms,
        },
    }
}

/// Why an account is out of use and what its owner has to do.
pub(super) fn explain(reason: InvalidReason) -> &'static str {
    match reason {
        InvalidReason::Revoked => "Sign-in revoked or expired: sign in again (`accounts reauth`)",
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

pub(super) fn store_refusal(error: &StoreError) -> ApiError {
    tracing::warn!(%error, "the store refused an operation");
    match error {
        StoreError::Unavailable { .. } | StoreError::ReadOnly { .. } => ApiError::store_unavailable(),
        StoreError::BadArgument { field, problem, .. } => {
            ApiError::invalid(format!("The {field} cannot be kept: {problem}"))
        }
        StoreError::Damaged { .. } => ApiError::new(ErrorKind::Api, error.to_string()),
        _ => ApiError::internal(),
    }
}

fn usage_refusal(error: &UsageError) -> ApiError {
    match error {
        UsageError::Question(wrong) => ApiError::invalid(wrong.to_string()),
        UsageError::Busy => ApiError::unavailable(error.to_string()).with_retry_after(1),
        UsageError::Store(error) => store_refusal(error),
    }
}

fn rotation_refusal(error: RotationError) -> ApiError {
    match error {
        RotationError::Store(error) => store_refusal(&error),
        RotationError::NotAFile => ApiError::invalid(error.to_string()),
        RotationError::Behind { .. } | RotationError::Early { .. } => {
            ApiError::new(ErrorKind::InvalidRequest, error.to_string())
                .with_status(http::StatusCode::CONFLICT)
        }
        // It names keys by their ids and files by their paths, which is for the operator.
        RotationError::Vault(error) => {
            tracing::error!(%error, "the encryption keys could not be rotated");
            ApiError::new(ErrorKind::Api, error.to_string())
        }
    }
}

pub(super) fn directory_refusal(error: DirectoryError) -> ApiError {
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
