//! The size of a prompt: asked of the upstream, else estimated here.
//!
//! A count admits nothing: it only reads the pool, so that no bucket, cursor, assignment or limit changes by it. Whatever
//! keeps the upstream from answering in time leads to the local estimate, never to an error.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::error::DispatchError;
use super::tally::attempt_of;
use super::{Dispatcher, Incoming};
use crate::account::alias::Resolution;
use crate::anthropic::request::MessagesRequest;
use crate::cloudcode::{FailureClass, Method, UpstreamCall};
use crate::format::request::count_body;
use crate::format::tokens::estimate;
use crate::google::model::ModelId;
use crate::telemetry::metrics::label::{CountSource, Label as _};

/// Time for everything beside parsing: a client counts while somebody looks on.
const PATIENCE: Duration = Duration::from_secs(3);
/// Calls of one gateway at once: `/context` of Claude Code sends sixteen counts together.
const PARALLEL: usize = 4;
/// Counts remembered; the same body always has the same size.
const REMEMBERED: usize = 1024;
/// How long a model whose tokens the upstream does not count is not asked about.
const UNSUPPORTED: Duration = Duration::from_mins(5);
/// Most such models.
const MODELS: usize = 64;
/// Most that is read of an answer.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What a gateway knows of counts.
pub(super) struct Counts {
    room: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    sizes: HashMap<u128, u64>,
    order: VecDeque<u128>,
    unsupported: HashMap<String, Instant>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { room: Semaphore::new(PARALLEL), known: Mutex::default() }
    }
}

impl Counts {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self, key: u128) -> Option<u64> {
        self.known().sizes.get(&key).copied()
    }

    fn remember(&self, key: u128, tokens: u64) {
        let mut known = self.known();
        if known.sizes.insert(key, tokens).is_none() {
            known.order.push_back(key);
        }
        if known.order.len() > REMEMBERED
            && let Some(oldest) = known.order.pop_front()
        {
            known.sizes.remove(&oldest);
        }
    }

    fn is_supported(&self, model: &str, now: Instant) -> bool {
        self.known().unsupported.get(model).is_none_or(|until| *until <= now)
    }

    fn not_supported(&self, model: &str, now: Instant) {
        let mut known = self.known();
        known.unsupported.retain(|_, until| *until > now);
        if known.unsupported.len() < MODELS {
            known.unsupported.insert(model.to_owned(), now + UNSUPPORTED);
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "totalTokens")]
    total: u64,
}

/// Counts the input tokens of `incoming`, at least 1.
pub(super) async fn count(dispatcher: Dispatcher, incoming: &Incoming) -> Result<u64, DispatchError> {
    let request =
        MessagesRequest::parse_with(&incoming.body, dispatcher.tools()).map_err(DispatchError::Request)?;
    let model = match dispatcher.resolve(request.model.as_deref()).await {
        Ok(Resolution::Model(id)) => Some(ModelId::new(&id)),
        Ok(Resolution::Missing) => return Err(DispatchError::ModelMissing),
        Ok(Resolution::Unknown(id)) => return Err(DispatchError::ModelUnknown(id)),
        Err(DispatchError::StoreUnavailable | DispatchError::Internal) => None,
        Err(error) => return Err(error),
    };
    if let Some(model) = &model {
        dispatcher.check_allowed(request.model.as_deref(), model.as_str(), &incoming.models).await?;
    }
    let mut source = CountSource::Local;
    let mut tokens = None;
    if let Some(model) = model {
        let settings = dispatcher.settings();
        if settings.dispatch.count_upstream {
            let body = count_body(&request, &model, &settings.conversion, dispatcher.tools());
            let key = xxh3_128(&body);
            tokens = dispatcher.counts().size(key);
            source = CountSource::Cache;
            if tokens.is_none() {
                source = CountSource::Upstream;
                let asked = tokio::time::timeout(PATIENCE, ask(&dispatcher, &model, body)).await;
                tokens = asked.ok().flatten().filter(|tokens| *tokens > 0);
                if let Some(tokens) = tokens {
                    dispatcher.counts().remember(key, tokens);
                }
            }
        }
    }
    let (tokens, source) =
        tokens.map_or_else(|| (estimate(&request), CountSource::Local), |tokens| (tokens, source));
    dispatcher.metrics().token_counts.of(source).inc();
    Ok(tokens)
}

/// The upstream's count; `None` when it gives none.
async fn ask(dispatcher: &Dispatcher, model: &ModelId, body: Bytes) -> Option<u64> {
    let counts = dispatcher.counts();
    let _room = counts.room.acquire().await.ok()?;
    if !counts.is_supported(model.as_str(), dispatcher.clock().instant()) {
        return None;
    }
    let token = match dispatcher.pool().peek(model.as_str()).await {
        Ok(token) => token?,
        Err(error) => {
            tracing::debug!(%error, "no account to count tokens with");
            return None;
        }
    };
    let call = UpstreamCall {
        endpoint: 0,
        method: Method::CountTokens,
        model,
        body: &[body],
        token: &token.secret,
        session_id: "",
    };
    let answered = match dispatcher.upstream().send(&call).await {
        Ok(response) => response.collect(ANSWER_LIMIT).await,
        Err(failure) => Err(failure),
    };
    match answered {
        Ok(answer) => serde_json::from_slice::<Answer>(&answer).ok().map(|answer| answer.total),
        Err(failure) => {
            tracing::debug!(model.name = %model, class = attempt_of(&failure.class).label(), "tokens were not counted");
            if matches!(failure.class, FailureClass::Client | FailureClass::NotFound) {
                counts.not_supported(model.as_str(), dispatcher.clock().instant());
            }
            None
        }
    }
}
