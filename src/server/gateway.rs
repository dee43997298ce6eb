//! The seam between HTTP and the application.
//!
//! Handlers know what a request and an answer look like on the wire; what happens in between is behind
//! [`Gateway`]. The composition root implements it over dispatch, pool and store; tests implement it in
//! a few lines, so that every rule of the HTTP surface is tested without an upstream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::server::error::ApiError;
use crate::server::pipe::PipeWriter;

/// Everything the HTTP surface asks of the application. Object safe; every future may be dropped at any
/// await, which is what happens when the client goes away.
pub trait Gateway: Send + Sync + 'static {
    /// Answers one Messages API request. Dropping the future or the stream cancels the upstream call.
    fn messages(&self, incoming: Incoming) -> BoxFuture<'_, Result<MessagesReply, ApiError>>;

    /// Counts the input tokens of a Messages API request.
    fn count_tokens(&self, incoming: Incoming) -> BoxFuture<'_, Result<u64, ApiError>>;

    /// The models of the pool and the mapped names, in any order.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, ApiError>>;

    /// The aliases that lead somewhere now: pattern of a requested id, id that serves it.
    fn aliases(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, ApiError>>;

    /// The `/health` object for an entitled caller (spec `http-api.md` §1.3.1); `refresh` forces fresh quotas.
    fn health(&self, refresh: bool) -> BoxFuture<'_, Result<Value, ApiError>>;

    /// All accounts of the pool, without any secret.
    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountView>, ApiError>>;

    /// Adds or updates the accounts of a document (`account::import`), each on its own: one that fails does not
    /// stop the others.
    fn import_accounts(&self, document: Bytes) -> BoxFuture<'_, Result<ImportReport, ApiError>>;

    /// Removes the account with this e-mail address (compared without case); `false` when there is none.
    fn remove_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>>;

    /// All accounts that can be moved elsewhere, with their secrets.
    fn export_accounts(&self) -> BoxFuture<'_, Result<Vec<ExportedAccount>, ApiError>>;

    /// Writes the whole store as RESP commands. The writer blocks when the client is slow, so it belongs
    /// on a blocking thread; it reports an error once the client is gone.
    fn export_store(&self, out: PipeWriter) -> BoxFuture<'_, Result<(), ApiError>>;

    /// The replicas of the pool that are alive.
    fn replicas(&self) -> BoxFuture<'_, Result<Vec<ReplicaView>, ApiError>>;

    /// The settings in force, and what the shared store says of them.
    fn settings(&self) -> BoxFuture<'_, Result<SettingsView, ApiError>>;

    /// Changes shared settings: all of them, or none.
    fn change_settings(&self, change: SettingsChange) -> BoxFuture<'_, Result<SettingsChanged, ApiError>>;

    /// What the start page shows.
    fn status(&self) -> BoxFuture<'_, Result<Status, ApiError>>;

    /// Notes one finished exchange: the matched route, never the raw path.
    fn observed(&self, _route: &str, _status: u16, _took: Duration) {}

    /// The metrics in Prometheus text format, version 0.0.4.
    fn metrics(&self) -> String;
}

/// One request to the model API, authenticated and read, not yet parsed.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The body as it arrived; at most `requestBodyLimit` bytes.
    pub body: Bytes,
    /// Who sent it.
    pub client_key: ClientKeyId,
    /// `x-claude-code-session-id`, when it is printable and at most 256 bytes.
    pub session_header: Option<String>,
    /// The id that the answer carries in `request-id`.
    pub request_id: RequestId,
    /// The client's `user-agent`, when it is printable and at most 256 bytes.
    pub user_agent: Option<String>,
}

/// Names a client key without revealing it: the first 12 hex digits of its SHA-256, `open` when the
/// server has no key, `control` over the control socket. Scopes sticky assignments and usage counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKeyId(pub String);

/// `req_` and a UUID of version 7 in simple form, unique per request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub Arc<str>);

/// The answer to a Messages API request.
pub enum MessagesReply {
    /// One JSON object.
    Message {
        /// The rendered message.
        body: Bytes,
        /// Further headers of the answer, for example rate limit ones.
        headers: HeaderMap,
    },
    /// Server-sent events.
    Stream(BoxStream<'static, Bytes>),
}

/// One model in `/v1/models`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// What a client writes into `model`.
    pub id: String,
    /// A name for people; the id when the upstream has none.
    pub display_name: String,
    /// One sentence; the reference shows the upstream's display name here.
    pub description: String,
    /// When this model was first seen, Unix epoch in milliseconds.
    pub created_ms: i64,
}

/// One account as the console sees it (spec `http-api.md` §1.4, object `A`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// The account's address.
    pub email: String,
    /// `oauth`, `manual` or `database`.
    pub source: String,
    /// Whether it takes part in selection.
    pub enabled: bool,
    /// The Cloud Code project, once known.
    pub project_id: Option<String>,
    /// Limits by model id.
    pub model_rate_limits: BTreeMap<String, ModelLimit>,
    /// Whether its owner has to act before it can be used.
    pub is_invalid: bool,
    /// Why, in words for its owner.
    pub invalid_reason: Option<String>,
    /// Where its owner verifies it; always on a google.com host.
    pub verify_url: Option<String>,
    /// Last request, Unix epoch in milliseconds.
    pub last_used: Option<i64>,
    /// Lowest remaining fraction at which it is still chosen; left out when unset, never `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_threshold: Option<f64>,
    /// The same per model.
    pub model_quota_thresholds: BTreeMap<String, f64>,
}

/// A limit of one account for one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelLimit {
    /// Whether it holds now.
    pub is_rate_limited: bool,
    /// When it ends, Unix epoch in milliseconds.
    pub reset_time: Option<i64>,
}

/// One replica as the console sees it; times are those of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaView {
    /// New with each start.
    pub id: String,
    /// The name of its machine or pod.
    pub host: String,
    /// The version of its program.
    pub version: String,
    /// The digest of its scripts: replicas that differ in it follow different rules.
    pub scripts: String,
    /// When it started, Unix epoch in milliseconds.
    pub started_at: i64,
    /// How long it has been running, in milliseconds.
    pub uptime_ms: i64,
    /// Requests in flight.
    pub in_flight: u64,
    /// The generation of shared settings it works with.
    pub settings_generation: u64,
    /// `serving` or `draining`.
    pub state: String,
    /// How long ago it was heard of, in milliseconds.
    pub last_seen_ms: i64,
    /// Whether it is the one that answers.
    #[serde(rename = "self")]
    pub is_self: bool,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Addresses that are new.
    pub added: Vec<String>,
    /// Addresses that were known.
    pub updated: Vec<String>,
    /// Entries that were refused.
    pub failed: Vec<ImportFailure>,
}

/// One refused entry of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportFailure {
    /// The entry's address, `unknown` when it has none.
    pub email: String,
    /// One sentence.
    pub reason: String,
}

/// One account with its secrets, for moving it elsewhere.
#[derive(Clone, Debug)]
pub struct ExportedAccount {
    /// The account's address.
    pub email: String,
    /// The composite refresh token.
    pub refresh_token: Option<SecretString>,
    /// The fixed access credential.
    pub api_key: Option<SecretString>,
}

/// How many accounts are in which state; the counts overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountCounts {
    /// All.
    pub total: usize,
    /// Enabled and valid, limited or not.
    pub available: usize,
    /// With at least one limit that holds now.
    pub rate_limited: usize,
    /// Waiting for their owner.
    pub invalid: usize,
}

impl AccountCounts {
    /// Counts `accounts`.
    #[must_use]
    pub fn of(accounts: &[AccountView]) -> Self {
        let count = |wanted: fn(&AccountView) -> bool| accounts.iter().filter(|a| wanted(a)).count();
        Self {
            total: accounts.len(),
            available: count(|a| a.enabled && !a.is_invalid),
            rate_limited: count(|a| a.model_rate_limits.values().any(|limit| limit.is_rate_limited)),
            invalid: count(|a| a.is_invalid),
        }
    }
}

/// What the application knows about itself; the start page adds what the HTTP surface knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How long this process has been serving, in milliseconds.
    pub uptime_ms: u64,
    /// Where shared state lives.
    pub store: StoreMode,
    /// Whether the store answers now.
    pub store_available: bool,
    /// The pool.
    pub accounts: AccountCounts,
    /// Whether an OAuth client is configured.
    pub oauth_client: bool,
}

/// Where shared state lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// In this process, kept in the data directory.
    Embedded,
    /// In Redis or Valkey, shared by all replicas.
    Redis,
}

/// The settings of one gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingsView {
    /// Counts the changes of the shared settings; a change may name it to be refused when it is no longer current.
    pub generation: u64,
    /// Why the shared settings are not in force, if they are not: then the last usable ones are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// All that act in this version or were set, and what else the store holds, in the manual's order.
    pub settings: Vec<SettingView>,
}

/// One setting of one gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingView {
    /// Its dotted name.
    pub key: String,
    /// The value in force; `null` for secrets and where there is none.
    pub value: Value,
    /// Where that came from: `default`, `file …`, `shared store`, `environment variable …`, `flag …`.
    pub origin: String,
    /// What a change in the shared store does: `live`, `restart`, `local` (it cannot be there), `unknown` (to this
    /// version).
    pub shared: &'static str,
    /// The value in the shared store; left out when it holds none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Value>,
    /// Whether another value takes effect when this gateway starts next.
    pub pending: bool,
}

/// A change of shared settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// Only if this is still the generation; without it the change is made whatever others changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// New value by key; `null` takes the key out of the store.
    pub settings: BTreeMap<String, Value>,
}

/// What became of a change of shared settings.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingsChanged {
    /// Made, and in force in this gateway where it is live.
    Done(SettingsView),
    /// Somebody else changed them first; these are the current ones.
    Conflict(SettingsView),
    /// Nothing was changed: with it the settings would not be usable.
    Invalid(Vec<SettingProblem>),
}

/// One thing that is wrong with a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingProblem {
    /// The setting's key; empty when it is about several.
    pub key: String,
    /// One sentence, with the value and what is allowed.
    pub reason: String,
}
