//! The seam between HTTP and the application.
//!
//! Handlers know what a request and an answer look like on the wire; what happens in between is behind
//! [`Gateway`]. The composition root implements it over dispatch, pool and store; tests implement it in
//! a few lines, so that every rule of the HTTP surface is tested without an upstream.

pub mod claude;
pub mod configuration;
mod health;
pub mod limits;
pub mod operations;
pub mod presets;
pub mod requests;
mod signin;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::account::capacity::CapacityHistory;
use crate::account::directory::Refusals;
use crate::config::Shape;
use crate::server::error::ApiError;
use crate::server::migration::{AccountChange, Migration, MigrationReport, Trial};
use crate::server::pipe::PipeWriter;
use crate::server::whole;
use crate::store::feed::hub::Hub;
use crate::store::follow::PoolEvents;
use crate::telemetry::{Observation, Traces};
use crate::usage::{History, Question, UsageReport};

pub use claude::ClaudeCli;
pub use configuration::Configuration;
pub use health::{AccountHealth, HealthReport, QuotaView};
use operations::Operations;
pub use presets::ServerPresets;
pub use signin::{SignInBegun, SignInCompleted, SignInPhase, SignInView};

/// Everything the HTTP surface asks of the application. Object safe; every future may be dropped at any
/// await, which is what happens when the client goes away.
pub trait Gateway: Configuration + ServerPresets + ClaudeCli + Operations + Send + Sync + 'static {
    /// Answers one Messages API request. Dropping the future or the stream cancels the upstream call.
    fn messages(&self, incoming: Incoming) -> BoxFuture<'_, Result<MessagesReply, ApiError>>;

    /// Counts the input tokens of a Messages API request.
    fn count_tokens(&self, incoming: Incoming) -> BoxFuture<'_, Result<u64, ApiError>>;

    /// The models of the pool and the mapped names, in any order; only those that `allowed` permits
    /// (`account::alias::permits`).
    fn models<'a>(&'a self, allowed: &'a [String]) -> BoxFuture<'a, Result<Vec<ModelEntry>, ApiError>>;

    /// The aliases that lead somewhere now: pattern of a requested id, id that serves it; only to what `allowed`
    /// permits.
    fn aliases<'a>(&'a self, allowed: &'a [String])
    -> BoxFuture<'a, Result<Vec<(String, String)>, ApiError>>;

    /// The `/health` report for an entitled caller; `refresh` forces fresh quotas.
    fn health(&self, refresh: bool) -> BoxFuture<'_, Result<HealthReport, ApiError>>;

    /// All accounts of the pool, without any secret.
    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountView>, ApiError>>;

    /// Adds or updates the accounts of a document (`account::import`), each on its own: one that fails does not
    /// stop the others.
    fn import_accounts(&self, document: Bytes) -> BoxFuture<'_, Result<ImportReport, ApiError>>;

    /// The same, unless this very document was imported into the pool before; then `None`. `refusals` says whether it
    /// counts as imported though entries were refused.
    fn import_accounts_once(
        &self,
        document: Bytes,
        refusals: Refusals,
    ) -> BoxFuture<'_, Result<Option<ImportReport>, ApiError>>;

    /// All accounts with everything that is known of them, secrets in clear, as `account::export` writes them;
    /// those whose credential does not open are told in its member `unreadable`.
    fn account_document(&self) -> BoxFuture<'_, Result<Value, ApiError>>;

    /// Changes the account with this e-mail address; `false` when there is none.
    fn change_account<'a>(
        &'a self,
        email: &'a str,
        change: AccountChange,
    ) -> BoxFuture<'a, Result<bool, ApiError>>;

    /// Uses the credential of the account with this e-mail address once; `None` when there is none.
    fn verify_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Option<Trial>, ApiError>>;

    /// Takes over what another program has kept; what cannot be read at all is refused before anything is changed.
    fn migrate(&self, migration: Migration) -> BoxFuture<'_, Result<MigrationReport, ApiError>>;

    /// Removes the account with this e-mail address (compared without case); `false` when there is none.
    fn remove_account<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>>;

    /// Begins a sign-in; with `expected`, it must be of that e-mail address.
    fn begin_signin(&self, expected: Option<String>) -> BoxFuture<'_, Result<SignInBegun, ApiError>>;

    /// Completes a sign-in with what a person pasted: the address the browser ended on, or the code in it.
    fn complete_signin<'a>(
        &'a self,
        state: &'a str,
        input: &'a SecretString,
    ) -> BoxFuture<'a, Result<SignInCompleted, ApiError>>;

    /// Completes a sign-in with the query that Google sent a browser back with.
    fn signin_returned<'a>(&'a self, query: &'a str) -> BoxFuture<'a, Result<SignInCompleted, ApiError>>;

    /// How a sign-in stands.
    fn signin_status<'a>(&'a self, state: &'a str) -> BoxFuture<'a, Result<SignInView, ApiError>>;

    /// All accounts that can be moved elsewhere, with their secrets.
    fn export_accounts(&self) -> BoxFuture<'_, Result<Vec<ExportedAccount>, ApiError>>;

    /// Seals every secret anew with the newest encryption key; with `new_key` that one is made first, where keys live
    /// in a file.
    fn rotate_keys(&self, new_key: bool) -> BoxFuture<'_, Result<RotationView, ApiError>>;

    /// Writes the whole store as RESP commands. The writer blocks when the client is slow, so it belongs
    /// on a blocking thread; it reports an error once the client is gone.
    fn export_store(&self, out: PipeWriter) -> BoxFuture<'_, Result<(), ApiError>>;

    /// Why the next request would get the account it would get; changes nothing.
    fn explain(&self, question: SelectionQuestion) -> BoxFuture<'_, Result<SelectionView, ApiError>>;

    /// The replicas of the pool that are alive.
    fn replicas(&self) -> BoxFuture<'_, Result<Vec<ReplicaView>, ApiError>>;

    /// What was asked of the pool and what it took.
    fn usage(&self, question: Question) -> BoxFuture<'_, Result<UsageReport, ApiError>>;

    /// Requests of the last 30 days by hour, in the reference's shape.
    fn usage_history(&self) -> BoxFuture<'_, Result<History, ApiError>>;

    /// What was left of the quotas in the last `hours`.
    fn capacity_history(&self, hours: u32) -> BoxFuture<'_, Result<CapacityHistory, ApiError>>;

    /// The settings in force, and what the shared store says of them.
    fn settings(&self) -> BoxFuture<'_, Result<SettingsView, ApiError>>;

    /// Changes shared settings: all of them, or none.
    fn change_settings(&self, change: SettingsChange) -> BoxFuture<'_, Result<SettingsChanged, ApiError>>;

    /// What happens in the pool and what its replicas log, for those who watch.
    fn feed(&self) -> Hub;

    /// What changes in the pool, as it comes: also what no feed keeps.
    fn pool_events(&self) -> PoolEvents;

    /// The address of an account, as far as it is known.
    fn address<'a>(&'a self, account: &'a str) -> BoxFuture<'a, Option<Arc<str>>>;

    /// What the console shows first.
    fn status(&self) -> BoxFuture<'_, Result<Status, ApiError>>;

    /// Where the traces of model requests begin.
    fn traces(&self) -> Traces {
        Traces::off()
    }

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
    /// Models that it may use; empty for all.
    pub models: Arc<[String]>,
    /// `x-claude-code-session-id`, when it is printable and at most 256 bytes.
    pub session_header: Option<String>,
    /// The id that the answer carries in `request-id`.
    pub request_id: RequestId,
    /// The client's `user-agent`, when it is printable and at most 256 bytes.
    pub user_agent: Option<String>,
    /// What is to be told about it.
    pub observation: Observation,
}

/// Names a client key without revealing it: the random id of a stored key, `default`, `default-2`, … of configured
/// ones, `open` when the server asks for no key, `control` over the control socket. Scopes sticky assignments,
/// signatures and usage counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKeyId(pub Arc<str>);

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

// Spec `http-api.md` §1.4, object `A`.
/// One account as the console sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// Its id, by which log lines and metrics name it.
    pub id: String,
    /// The account's address.
    pub email: String,
    /// `oauth`, `manual` or `database`; `unknown` when its record is damaged.
    pub source: String,
    /// Whether it takes part in selection.
    pub enabled: bool,
    /// The Cloud Code project, once known.
    pub project_id: Option<String>,
    /// Limits by model id.
    pub model_rate_limits: BTreeMap<String, ModelLimit>,
    /// Whether its owner has to act before it can be used, or its record is damaged.
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
    /// What its owner pays for, as the upstream said last.
    pub subscription: SubscriptionView,
}

/// A subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionView {
    /// `free`, `pro`, `ultra`, or `unknown` as long as the upstream has not said.
    pub tier: String,
    /// The project that it belongs to.
    pub project_id: Option<String>,
    /// Since when it is known, Unix epoch in milliseconds; left out when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_at: Option<i64>,
}

/// A limit of one account for one model.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelLimit {
    /// Whether it holds now.
    pub is_rate_limited: bool,
    /// When it ends, Unix epoch in milliseconds.
    pub reset_time: Option<i64>,
}

/// One replica as the console sees it; times are those of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
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

/// Which request's choice of an account is to be explained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectionQuestion {
    /// The model as a client names it; `None` is the default one.
    pub model: Option<String>,
    /// The session id of the conversation.
    pub session: Option<String>,
    /// See [`ClientKeyId`]: scopes the session.
    pub client_key: String,
}

/// How the next request would get its account.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelectionView {
    /// The upstream model.
    pub model: String,
    /// `hybrid`, `round-robin` or `sticky`.
    pub strategy: String,
    /// `chosen`, `wait`, `noAccounts`, `allDisabled`, `allInvalid` or `allDamaged`.
    pub decision: &'static str,
    /// The chosen account's address.
    pub account: Option<String>,
    /// How it was found: `normal`, `quota`, `emergency`, `lastResort` or `probe`.
    pub tier: Option<&'static str>,
    /// Until the first account is free, in milliseconds, when the decision is `wait`.
    pub wait_ms: Option<u64>,
    /// What keeps that one: `quota`, `rate`, `unknown`, `capacity`, `failure`, `forbidden`, `unsupported`, `cooling`,
    /// `busy` or `recovering`.
    pub reason: Option<String>,
    /// The account that has the conversation, where the strategy remembers it.
    pub conversation_account: Option<String>,
    /// Accounts in the pool; of more than 200, hybrid and sticky look at some.
    pub total: u32,
    /// Those that were looked at, in their order.
    pub candidates: Vec<Candidate>,
}

/// One account in the choice.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SelectionCandidate)]
pub struct Candidate {
    /// Its address.
    pub email: String,
    /// Whether it is the one.
    pub chosen: bool,
    /// `usable`, or why it is left out: `disabled`, `damaged`, `revoked`, `banned`, `verification`, or a reason to wait
    /// as in the selection's `reason`.
    pub verdict: String,
    /// How long, in milliseconds, when it must be waited for.
    pub wait_ms: Option<u64>,
    /// Its tier, when usable: the lowest wins.
    pub tier: Option<&'static str>,
    /// Its score: the highest of a tier wins. Round-robin has none but 0.
    pub score: Option<f64>,
    /// Hybrid's parts of the score, each times its weight.
    pub parts: Option<ScoreParts>,
    /// Health now.
    pub health: Option<f64>,
    /// Requests in its bucket now.
    pub tokens: Option<f64>,
    /// Requests in flight.
    pub in_flight: Option<u32>,
    /// Conversations that stay with it.
    pub conversations: Option<u32>,
}

/// The parts of hybrid's score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SelectionScoreParts)]
pub struct ScoreParts {
    /// Health.
    pub health: f64,
    /// How full the bucket is.
    pub tokens: f64,
    /// What is left of the quota.
    pub quota: f64,
    /// Time since the last use.
    pub rest: f64,
    /// Requests in flight; not positive.
    pub in_flight: f64,
    /// That it has the conversation.
    pub affinity: f64,
}

impl SelectionView {
    /// The decision as one sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        // Those that compete: of the chosen one's tier.
        let rivals = |one: &&Candidate| one.tier.is_some() && (self.tier.is_none() || one.tier == self.tier);
        let usable = self.candidates.iter().filter(rivals).count();
        let own = self.conversation_account.is_some() && self.conversation_account == self.account;
        match (self.decision, &self.account) {
            ("chosen", Some(account)) if self.tier == Some("probe") => format!(
                "{account}: all accounts are limited for {} for long; this one is free first and may be probed.",
                self.model
            ),
            ("chosen", Some(account)) if own && self.strategy == "sticky" => {
                format!("{account}: it has the conversation and is usable.")
            }
            ("chosen", Some(account)) if self.strategy == "sticky" => {
                format!("{account}: the least loaded of {usable} usable accounts in the best tier.")
            }
            ("chosen", Some(account)) if self.strategy == "round-robin" => {
                format!("{account}: the next usable account in turn.")
            }
            ("chosen", Some(account)) => format!(
                "{account}: the highest score of {usable} usable accounts in the best tier, {}.",
                self.tier.unwrap_or_default()
            ),
            ("wait", _) if usable > 0 => format!(
                "{} has the conversation and is free in {} s ({}): the request waits for it where that helps and fits \
                 its deadline; else one of {usable} usable accounts serves it.",
                self.conversation_account.as_deref().unwrap_or_default(),
                self.wait_ms.unwrap_or_default().div_ceil(1000),
                self.reason.as_deref().unwrap_or_default()
            ),
            ("wait", _) => format!(
                "No account now: the first is free for {} in {} s ({}).",
                self.model,
                self.wait_ms.unwrap_or_default().div_ceil(1000),
                self.reason.as_deref().unwrap_or_default()
            ),
            ("noAccounts", _) => "No account: the pool is empty.".to_owned(),
            ("allDisabled", _) => "No account: all are disabled.".to_owned(),
            ("allDamaged", _) => "No account: the records of all that may be enabled are damaged.".to_owned(),
            _ => "No account: all that are enabled need their owners.".to_owned(),
        }
    }
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportReport {
    /// Addresses that are new.
    pub added: Vec<String>,
    /// Addresses that were known.
    pub updated: Vec<String>,
    /// Entries that were refused.
    pub failed: Vec<ImportFailure>,
    /// What was not kept of entries that were taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<ImportFailure>,
}

/// One refused entry of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportFailure {
    /// The entry's address, `unknown` when it has none.
    pub email: String,
    /// One sentence.
    pub reason: String,
}

/// What a rotation of encryption keys did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationView {
    /// The id of the key that everything is to be sealed with.
    pub newest: String,
    /// Where the keys come from: `ENCRYPTION_KEYS`, or the path of a file.
    pub place: String,
    /// Whether that is a file.
    pub keys_in_file: bool,
    /// Secrets sealed anew.
    pub resealed: u64,
    /// Secrets that do not open.
    pub unreadable: Vec<UnreadableSecret>,
    /// Ids of keys that nothing needs any more.
    pub retired: Vec<String>,
    /// Older keys that something still needs.
    pub needed: Vec<NeededKey>,
}

/// A secret that does not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnreadableSecret {
    /// Whose: the account's address.
    pub email: String,
    /// `credential` or `token`.
    pub secret: &'static str,
    /// One sentence.
    pub reason: String,
}

/// An encryption key that is still needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct NeededKey {
    /// Its id.
    pub id: String,
    /// Secrets sealed with it.
    pub secrets: u64,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
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

impl fmt::Display for AccountCounts {
    /// `3 total, 2 available, 1 rate-limited, 1 invalid`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, available, rate_limited, invalid } = self;
        write!(f, "{total} total, {available} available, {rate_limited} rate-limited, {invalid} invalid")
    }
}

/// What the application knows about itself; `/api/status` adds what the HTTP surface knows.
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
    /// Whether Google refused it when it was used last: tokens cannot be renewed by this gateway.
    pub oauth_client_refused: bool,
}

/// Where shared state lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// In this process, kept in the data directory.
    Embedded,
    /// In Redis or Valkey, shared by all replicas.
    Redis,
}

/// The settings of one gateway.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SettingsView {
    /// Counts the changes of the shared settings; a change may name it to be refused when it is no longer current.
    pub generation: u64,
    /// Why the shared settings are not in force, if they are not: then the last usable ones are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// The values in force by key, as a change has them: `null` for secrets and where there is none.
    pub settings: BTreeMap<String, Value>,
    /// What else there is to say of each. All that act in this version or were set, and what else the store holds, in the
    /// manual's order.
    pub rows: Vec<SettingView>,
}

/// One setting of one gateway.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettingView {
    /// Its dotted name.
    pub key: String,
    /// The value in force; `null` for secrets and where there is none.
    pub value: Value,
    /// Where that came from: `default`, `file …`, `shared store`, `environment variable …`, `flag …`.
    pub origin: String,
    /// The same as a word: `default`, `file`, `store`, `env`, `flag`.
    pub source: &'static str,
    /// What a change does here: `live` takes effect at once, `restart` with the next start, `fixed` not at all: the
    /// environment or a flag decides, or the shared store never has it.
    pub applies: &'static str,
    /// What a change in the shared store does: `live`, `restart`, `local` (it cannot be there), `unknown` (to this
    /// version).
    pub shared: &'static str,
    /// The value in the shared store; left out when it holds none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Value>,
    /// Whether another value takes effect when this gateway starts next.
    pub pending: bool,
    /// What a form needs to know; left out for what this version does not know.
    #[serde(flatten)]
    #[schema(value_type = Shape)]
    pub shape: Option<Shape>,
}

/// A change of shared settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// Only if this is still the generation; without it the change is made whatever others changed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole::or_null")]
    pub generation: Option<u64>,
    /// New value by key; `null` takes the key out of the store.
    #[schema(schema_with = crate::server::openapi::settings::changes)]
    pub settings: BTreeMap<String, Value>,
}

/// What became of a change of shared settings.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingsChanged {
    /// Made, and in force in this gateway where it is live.
    Done {
        /// The change's own; no other change has it.
        generation: u64,
        /// What is in force now, perhaps with what others changed since.
        view: SettingsView,
    },
    /// Somebody else changed them first; these are the current ones.
    Conflict(SettingsView),
    /// Nothing was changed: with it the settings would not be usable.
    Invalid(Vec<SettingProblem>),
}

/// One thing that is wrong with a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SettingProblem {
    /// The setting's key; empty when it is about several.
    pub key: String,
    /// One sentence, with the value and what is allowed.
    pub reason: String,
}
