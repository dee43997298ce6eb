//! The life of one request, readable top to bottom: admit, convert, attempt, stream, settle.
//!
//! [`Dispatcher::messages`] is the way in. [`run`](self) walks over accounts, `attempt` over one account's calls,
//! `live` carries the stream to the client; [`policy`] decides what follows a failure and [`error`] what the
//! client is told. Once an event has reached the client nothing is retried.

mod admitting;
mod attempt;
mod count;
pub mod error;
pub mod in_flight;
mod live;
mod patience;
pub mod policy;
mod reading;
mod reason;
mod run;
mod signatures;
mod tally;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::error::DispatchError;
use self::in_flight::InFlight;
use self::signatures::Memory;
use self::waiting::Waiting;
use crate::account::alias::{self, Resolution};
use crate::account::catalogue::{Catalogue, Model};
use crate::account::pool::{Grant, Pool, StoreError};
use crate::account::settlement::{Asker, Settlements};
use crate::account::survey::Survey;
use crate::auth::tokens::AccessToken;
use crate::clock::{Clock, jitter};
use crate::cloudcode::{Client, Failure};
use crate::config::{DispatchConfig, ModelsConfig, Strategy};
use crate::format::stream::MessageIds;
use crate::format::{self, ToolCache};
use crate::google::model::ModelId;
use crate::telemetry::Observation;
use crate::telemetry::metrics::Metrics;

/// How long a request waits for the first survey of a pool whose models are not known yet.
const FIRST_SURVEY: Duration = Duration::from_secs(10);
/// Longest model id, in bytes.
const LONGEST_MODEL: usize = 256;
/// How long a request waits for an account's project before it goes on with the default one.
const PROJECT_WAIT: Duration = Duration::from_secs(15);
/// Pauses between tries while the store is away; up to as much again is added at random, so that those who wait do
/// not all come back in one moment.
const STORE_PAUSE: Duration = Duration::from_millis(200);

/// One request as it arrived, authenticated but not parsed.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The body.
    pub body: Bytes,
    /// The id of the client's key, never the key: the scope of its conversations and signatures.
    pub client_key: Arc<str>,
    /// Models that the client may use; empty for all.
    pub models: Arc<[String]>,
    /// `X-Claude-Code-Session-Id`, when it is printable.
    pub session: Option<String>,
    /// The id that the answer's `request-id` header carries; unique.
    pub request_id: Arc<str>,
    /// What is to be told about it.
    pub observation: Observation,
}

/// The answer to a request.
pub enum Reply {
    /// One message object.
    Message(Bytes),
    /// Server-sent events, encoded; dropping the stream cancels the upstream call.
    Stream(BoxStream<'static, Bytes>),
}

/// What dispatch takes from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Retries, waits, deadline.
    pub dispatch: DispatchConfig,
    /// Aliases, mapping, fallback.
    pub models: ModelsConfig,
    /// Switches of the conversion.
    pub conversion: format::Options,
    /// Silence after which a stream gets a `ping`.
    pub keepalive: Duration,
    /// How long a request waits for a store that is away.
    pub outage_grace: Duration,
    /// Longest time for a whole answer to a client that does not stream; longest silence in one to a client that does.
    pub answer_timeout: Duration,
    /// The project of accounts for which none can be found.
    pub default_project: String,
    /// How accounts are chosen; the store's scripts do that, here it is a label.
    pub strategy: Strategy,
}

/// The settings of the moment; whoever holds it may swap them at any time.
pub type LiveSettings = Arc<ArcSwap<Settings>>;

/// The parts dispatch works with.
pub struct Parts {
    /// Settings; each request keeps those it began with.
    pub settings: LiveSettings,
    /// Accounts, tokens, signatures.
    pub pool: Pool,
    /// The upstream.
    pub client: Client,
    /// The pool's models.
    pub catalogue: Catalogue,
    /// Rounds over the accounts.
    pub survey: Survey,
    /// Where attempts end.
    pub settlements: Settlements,
    /// Converted tool declarations.
    pub tools: ToolCache,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Clock,
    /// Tracks work that outlives its request.
    pub tasks: TaskTracker,
}

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    parts: Arc<Parts>,
    /// Those of the request that this clone serves.
    settings: Arc<Settings>,
    waiting: Arc<Waiting>,
    /// Room for signatures that wait for the store, in bytes.
    room: Arc<Semaphore>,
    counts: Arc<count::Counts>,
    in_flight: InFlight,
}

impl Dispatcher {
    /// A dispatcher over `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let settings = parts.settings.load_full();
        let waiting = Arc::new(Waiting::new(settings.dispatch.max_waiters));
        let room = Arc::new(Semaphore::new(signatures::WAITING_BYTES));
        let in_flight = InFlight::default();
        Self { parts: Arc::new(parts), settings, waiting, room, counts: Arc::default(), in_flight }
    }

    /// A clone for one request: from here to its end it sees one set of settings.
    fn for_request(&self) -> Self {
        Self { settings: self.parts.settings.load_full(), ..self.clone() }
    }

    /// The requests for messages that are being answered.
    #[must_use]
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Answers one request; for a streaming one the reply begins with its first event, or with a ping after a
    /// silence. Dropping the future or the stream cancels the upstream call and settles the attempt.
    pub async fn messages(&self, incoming: Incoming) -> Result<Reply, DispatchError> {
        run::messages(self.for_request(), incoming).await
    }

    /// The input tokens of a Messages request, never 0: the upstream's number, else the estimate of
    /// [`format::tokens`]. Takes no part in the choice of accounts.
    pub async fn count_tokens(&self, incoming: &Incoming) -> Result<u64, DispatchError> {
        count::count(self.for_request(), incoming).await
    }

    /// The upstream model for a requested one. A pool whose models nobody has asked for yet is surveyed first.
    async fn resolve(&self, requested: Option<&str>) -> Result<Resolution, DispatchError> {
        // Ids become part of keys and records.
        if requested.is_some_and(|id| id.chars().count() > LONGEST_MODEL || id.chars().any(char::is_control))
        {
            return Err(DispatchError::ModelInvalid);
        }
        let models = &self.settings().models;
        let mut offered = self.offered().await?;
        if offered.is_empty() {
            self.parts.survey.known_within(FIRST_SURVEY).await;
            offered = self.offered().await?;
        }
        Ok(alias::resolve(requested, &offered, models))
    }

    /// The upstream model for a requested one, as a request would get it.
    pub async fn model(&self, requested: Option<&str>) -> Result<String, DispatchError> {
        match self.for_request().resolve(requested).await? {
            Resolution::Model(id) => Ok(id),
            Resolution::Missing => Err(DispatchError::ModelMissing),
            Resolution::Unknown(id) => Err(DispatchError::ModelUnknown(id)),
        }
    }

    /// As [`Self::model`], for a client that may use `allowed` only.
    async fn allowed_model(
        &self,
        requested: Option<&str>,
        allowed: &[String],
    ) -> Result<String, DispatchError> {
        let model = self.model(requested).await?;
        self.check_allowed(requested, &model, allowed).await?;
        Ok(model)
    }

    /// Whether a client that may use `allowed` may use `model`, which serves the `requested` one.
    async fn check_allowed(
        &self,
        requested: Option<&str>,
        model: &str,
        allowed: &[String],
    ) -> Result<(), DispatchError> {
        if self.permits(allowed, model).await? {
            return Ok(());
        }
        let requested = requested.unwrap_or(model).to_owned();
        Err(DispatchError::ModelNotAllowed {
            requested,
            model: model.to_owned(),
            allowed: allowed.join(", "),
        })
    }

    async fn permits(&self, allowed: &[String], model: &str) -> Result<bool, DispatchError> {
        if allowed.is_empty() {
            return Ok(true);
        }
        Ok(alias::permits(allowed, model, &self.offered().await?, &self.settings().models))
    }

    /// The models of the pool; one that nobody has asked for yet is surveyed first.
    pub async fn models(&self) -> Result<Arc<Vec<Model>>, DispatchError> {
        let request = self.for_request();
        if request.offered().await?.is_empty() {
            self.parts.survey.known_within(FIRST_SURVEY).await;
        }
        let deadline = self.clock().instant() + request.settings().outage_grace;
        request.patiently(deadline, || self.parts.catalogue.models()).await
    }

    async fn offered(&self) -> Result<Arc<Vec<String>>, DispatchError> {
        let deadline = self.clock().instant() + self.settings().outage_grace;
        self.patiently(deadline, || self.parts.catalogue.ids()).await
    }

    /// Whether it is known which models the pool offers: then a model that was resolved is one of them, or an operator's
    /// mapping leads to it.
    fn knows_models(&self) -> bool {
        self.parts.catalogue.is_known()
    }

    /// The model to use when all accounts of `model` are used up; `None` when fallback is off or leads nowhere.
    async fn fallback(&self, model: &str) -> Result<Option<ModelId>, DispatchError> {
        if !self.settings().dispatch.fallback {
            return Ok(None);
        }
        let offered = self.offered().await?;
        let target = alias::fallback(model, &self.settings().models);
        Ok(target
            .filter(|target| offered.is_empty() || offered.contains(target))
            .map(|target| ModelId::new(&target)))
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn pool(&self) -> &Pool {
        &self.parts.pool
    }

    fn upstream(&self) -> &Client {
        &self.parts.client
    }

    fn settlements(&self) -> &Settlements {
        &self.parts.settlements
    }

    fn tools(&self) -> &ToolCache {
        &self.parts.tools
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.parts.metrics
    }

    fn clock(&self) -> &Clock {
        &self.parts.clock
    }

    fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    fn counts(&self) -> &count::Counts {
        &self.counts
    }

    fn memory(&self, asker: &Asker) -> Memory {
        let parts = &self.parts;
        Memory::new(
            parts.pool.clone(),
            Arc::clone(&asker.client_key),
            parts.tasks.clone(),
            Arc::clone(&parts.metrics),
            parts.clock.clone(),
            Arc::clone(&self.room),
            asker.observation.scope(),
        )
    }

    /// Ids for one answer; they only have to differ, so each takes no system call.
    fn message_ids() -> MessageIds {
        let mut seed = [0_u8; 32];
        for half in seed.as_chunks_mut().0 {
            *half = Uuid::new_v4().into_bytes();
        }
        MessageIds::new(seed)
    }

    fn observe(&self, failure: &Failure) {
        self.metrics().upstream_attempts.of(tally::attempt_of(&failure.class)).inc();
    }

    /// The project to name in calls. One that is not known yet is looked for, but not for long.
    async fn project(&self, grant: &Grant, token: &AccessToken) -> String {
        if let Some(project) = &grant.project {
            return project.clone();
        }
        let survey = self.parts.survey.clone();
        let (account, credential, token) = (grant.account.clone(), grant.credential, token.clone());
        // Goes on when this request stops waiting, so that the next one finds the project.
        let search =
            self.parts.tasks.spawn(async move { survey.project(&account, credential, &token).await });
        let found = tokio::time::timeout(PROJECT_WAIT, search).await;
        found.ok().and_then(Result::ok).flatten().unwrap_or_else(|| self.settings().default_project.clone())
    }

    /// Repeats `operation` while the store is away, within the outage grace and `deadline`. Only for operations
    /// that may be repeated after a lost reply.
    async fn patiently<T, F>(&self, deadline: Instant, operation: impl Fn() -> F) -> Result<T, DispatchError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.patiently_or(deadline, operation, || ()).await
    }

    /// As [`Self::patiently`]; `away` is called whenever the store was away.
    async fn patiently_or<T, F>(
        &self,
        deadline: Instant,
        operation: impl Fn() -> F,
        mut away: impl FnMut(),
    ) -> Result<T, DispatchError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let give_up = deadline.min(self.clock().instant() + self.settings().outage_grace);
        loop {
            match operation().await {
                Ok(value) => return Ok(value),
                Err(StoreError::Unavailable { reason }) => {
                    away();
                    if self.clock().instant() + STORE_PAUSE >= give_up {
                        tracing::warn!(%reason, "the store is away");
                        return Err(DispatchError::StoreUnavailable);
                    }
                    tokio::time::sleep(STORE_PAUSE + jitter(STORE_PAUSE)).await;
                }
                Err(error) => {
                    tracing::error!(%error, "the store refused an operation");
                    return Err(DispatchError::Internal);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
