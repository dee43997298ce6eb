//! The end of an attempt: its lease goes, what it showed and consumed is recorded, on every exit path.
//!
//! Settlement is off the hot path: finished attempts go through a bounded queue to one worker, which repeats
//! them while the store is away (a settlement is idempotent by its lease). An attempt that is dropped
//! without a word, because the client went away or a task was cancelled, settles as cancelled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::lease::Leases;
use crate::clock::Clock;
use crate::cloudcode::{Failure, FailureClass, LimitKind};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, CredentialVersion, LeaseId};
use crate::store::ops::settle::{LimitKind as StoredLimit, Settle, StatusClass, UsageEntry};
use crate::telemetry::metrics::Metrics;

pub use crate::store::ops::settle::Outcome;

/// Settlements that may wait for the store; beyond it they are dropped and their leases lapse.
const QUEUE: usize = 16_384;
/// Pauses between tries while the store is away.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Tokens of an answer (Anthropic's counting: `input` does not contain `cache_read`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Prompt tokens.
    pub input: u64,
    /// Answer tokens, thinking included.
    pub output: u64,
    /// Prompt tokens read from the upstream's cache.
    pub cache_read: u64,
    /// Thinking tokens.
    pub thinking: u64,
}

/// What an upstream failure says about the account.
#[must_use]
pub fn outcome_of(failure: &Failure) -> Outcome {
    match &failure.class {
        FailureClass::Client => Outcome::ClientError,
        FailureClass::Unauthorized => Outcome::Unauthorized,
        FailureClass::CredentialRevoked => Outcome::Revoked,
        FailureClass::Banned => Outcome::Banned,
        FailureClass::VerificationRequired { url } => Outcome::Verification { url: url.clone() },
        FailureClass::Forbidden => Outcome::Forbidden,
        FailureClass::NotFound => Outcome::NotFound,
        FailureClass::RateLimited { kind } => Outcome::RateLimited {
            kind: match kind {
                LimitKind::Quota => StoredLimit::Quota,
                LimitKind::Rate => StoredLimit::Rate,
                LimitKind::Unknown => StoredLimit::Unknown,
            },
            reset: failure.reset,
        },
        FailureClass::Capacity => Outcome::Capacity { jitter_ms: capacity_jitter() },
        FailureClass::Server | FailureClass::Transport { .. } => Outcome::Failure,
        FailureClass::Empty => Outcome::Empty,
        FailureClass::Blocked { .. } => Outcome::Blocked,
    }
}

/// ±5 s, so that replicas do not come back to an overloaded model together (spec `dispatch.md` §2.2).
fn capacity_jitter() -> i32 {
    let mut bytes = [0_u8; 2];
    // Without randomness the jitter is 0, which is valid.
    let _ = getrandom::fill(&mut bytes);
    i32::from(u16::from_le_bytes(bytes) % 10_000) - 5_000
}

fn status_class(outcome: &Outcome) -> StatusClass {
    match outcome {
        Outcome::Success | Outcome::Blocked | Outcome::Empty => StatusClass::Success,
        Outcome::ClientError => StatusClass::ClientError,
        Outcome::RateLimited { .. } | Outcome::Capacity { .. } => StatusClass::RateLimited,
        Outcome::Cancelled => StatusClass::Cancelled,
        _ => StatusClass::UpstreamError,
    }
}

/// Takes the ends of attempts. Cheap to clone; the worker ends when all clones are gone.
#[derive(Clone)]
pub struct Settlements {
    queue: mpsc::Sender<Ended>,
    leases: Leases,
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// The other end of [`Settlements`].
pub struct SettlementWorker {
    queue: mpsc::Receiver<Ended>,
    store: Store,
    metrics: Arc<Metrics>,
}

/// An admitted attempt that has ended.
#[derive(Clone, Debug)]
struct Ended {
    facts: Arc<Facts>,
    outcome: Outcome,
    received: bool,
    usage: Option<(Tokens, Duration)>,
}

/// What admission decided about an attempt.
#[derive(Debug)]
struct Facts {
    account: AccountId,
    lease: LeaseId,
    credential: CredentialVersion,
    model: Arc<str>,
    admitted_at_ms: i64,
    client_key: Arc<str>,
}

/// Who asked, since when: the same for all attempts of a request.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The id of the client's key, never the key.
    pub client_key: Arc<str>,
    /// When the request arrived.
    pub arrived: tokio::time::Instant,
}

/// What admission granted, as far as settlement needs it.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The account.
    pub account: AccountId,
    /// The attempt.
    pub lease: LeaseId,
    /// The version of its credential.
    pub credential: CredentialVersion,
    /// The upstream model.
    pub model: Arc<str>,
    /// The store's time of the admission, ms since the epoch.
    pub admitted_at_ms: i64,
}

/// One attempt in flight: holds its lease and settles when it ends, however it ends.
pub struct Attempt {
    settlements: Settlements,
    facts: Arc<Facts>,
    arrived: tokio::time::Instant,
    tokens: Tokens,
    received: bool,
    /// Whether its end is the request's, should it be dropped.
    last: bool,
    ended: bool,
}

impl Settlements {
    /// A queue and the worker that empties it into `store`.
    #[must_use]
    pub fn new(
        store: Store,
        leases: Leases,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> (Self, SettlementWorker) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let worker =
            SettlementWorker { queue: receiver, store: store.clone(), metrics: Arc::clone(&metrics) };
        (Self { queue: sender, leases, store, clock, metrics }, worker)
    }

    /// Starts an attempt: its lease is renewed from now on.
    #[must_use]
    pub fn begin(&self, granted: Granted, asker: &Asker) -> Attempt {
        self.leases.hold(granted.lease.clone());
        Attempt {
            settlements: self.clone(),
            facts: Arc::new(Facts {
                account: granted.account,
                lease: granted.lease,
                credential: granted.credential,
                model: granted.model,
                admitted_at_ms: granted.admitted_at_ms,
                client_key: Arc::clone(&asker.client_key),
            }),
            arrived: asker.arrived,
            tokens: Tokens::default(),
            received: false,
            last: true,
            ended: false,
        }
    }

    fn enqueue(&self, ended: Ended) {
        self.metrics.settlements_queued.inc();
        if let Err(error) = self.queue.try_send(ended) {
            self.metrics.settlements_queued.dec();
            self.metrics.settlements_dropped.inc();
            tracing::warn!(%error, "a settlement was dropped; its lease lapses by itself");
        }
    }
}

impl Attempt {
    /// Notes that the client has received something.
    pub fn received(&mut self) {
        self.received = true;
    }

    /// Notes what the answer has consumed so far.
    pub fn consumed(&mut self, tokens: Tokens) {
        self.tokens = tokens;
    }

    /// The account that serves this attempt.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.facts.account
    }

    /// The request goes on with another attempt; what this one means is said later by [`Attempt::rotate`].
    pub fn shelve(&mut self) {
        self.last = false;
    }

    /// Ends the attempt while the request goes on with another one: applied before this returns, so that the
    /// next admission anywhere knows it. When the store is away it is queued like any other.
    pub async fn rotate(mut self, outcome: Outcome) {
        let ended = self.end(outcome, false);
        let mut unsettled = Unsettled { settlements: &self.settlements, ended: Some(ended.clone()) };
        match settle(&self.settlements.store, &ended).await {
            Ok(()) => unsettled.ended = None,
            Err(error) => tracing::debug!(%error, "settlement is queued"),
        }
    }

    /// Ends the attempt and with it the request.
    pub fn finish(mut self, outcome: Outcome) {
        let ended = self.end(outcome, true);
        self.settlements.enqueue(ended);
    }

    fn end(&mut self, outcome: Outcome, last: bool) -> Ended {
        self.ended = true;
        self.settlements.leases.release(&self.facts.lease);
        if last {
            let tokens = self.tokens;
            let metrics = &self.settlements.metrics;
            metrics.used_tokens(&self.facts.model, tokens.input, tokens.output, tokens.cache_read);
        }
        let latency = self.settlements.clock.instant().saturating_duration_since(self.arrived);
        Ended {
            facts: Arc::clone(&self.facts),
            outcome,
            received: self.received,
            usage: last.then_some((self.tokens, latency)),
        }
    }
}

/// Queues a settlement that was not carried out, also when its request is dropped in the middle of it.
struct Unsettled<'s> {
    settlements: &'s Settlements,
    ended: Option<Ended>,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.settlements.enqueue(ended);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            let ended = self.end(Outcome::Cancelled, self.last);
            self.settlements.enqueue(ended);
        }
    }
}

impl SettlementWorker {
    /// Applies settlements until every [`Settlements`] is gone and the queue is empty.
    pub async fn run(mut self) {
        while let Some(ended) = self.queue.recv().await {
            let mut pause = FIRST_PAUSE;
            while let Err(error) = settle(&self.store, &ended).await {
                if !matches!(error, StoreError::Unavailable { .. }) {
                    tracing::error!(%error, "a settlement was refused by the store");
                    break;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            self.metrics.settlements_queued.dec();
        }
    }
}

async fn settle(store: &Store, ended: &Ended) -> Result<(), StoreError> {
    let facts = &ended.facts;
    let usage = ended.usage.map(|(tokens, latency)| UsageEntry {
        status: status_class(&ended.outcome),
        client_key: &facts.client_key,
        input: tokens.input,
        output: tokens.output,
        cache_read: tokens.cache_read,
        thinking: tokens.thinking,
        latency,
    });
    let settlement = store
        .settle(&Settle {
            account: &facts.account,
            lease: &facts.lease,
            credential: facts.credential,
            model: &facts.model,
            admitted_at_ms: facts.admitted_at_ms,
            outcome: ended.outcome.clone(),
            received: ended.received,
            usage,
        })
        .await?;
    if settlement.invalidated {
        tracing::warn!(account.id = %facts.account, outcome = ended.outcome.name(), "account needs its owner");
    }
    Ok(())
}
