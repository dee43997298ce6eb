//! An attempt from the question for an account to its end: its lease goes, what it showed and consumed is recorded,
//! on every exit path.
//!
//! A [`Claim`] stands for an admission that was asked for, so that one whose answer nobody receives is taken back; an
//! [`Attempt`] for one that was granted. Settlement is off the hot path: what has ended goes through a bounded queue
//! to one [`SettlementWorker`], which repeats it while the store is away (all of it is idempotent by the lease). An
//! attempt that is dropped without a word, because the client went away or a task was cancelled, settles as cancelled.

mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::lease::Leases;
use crate::clock::Clock;
use crate::cloudcode::{Failure, FailureClass, LimitKind};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, CredentialVersion, LeaseId};
use crate::store::ops::settle::{LimitKind as StoredLimit, StatusClass};
use crate::telemetry::metrics::Metrics;

pub use self::worker::SettlementWorker;
pub use crate::store::ops::settle::Outcome;

/// Ends of attempts that may wait for the store; beyond it they are dropped and their leases lapse.
const QUEUE: usize = 16_384;
/// How long a request that goes on with another attempt waits for the settlement of the last one.
const ROTATION: Duration = Duration::from_millis(500);

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
    queue: mpsc::Sender<End>,
    leases: Leases,
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What is left to be told to the store.
#[derive(Clone, Debug)]
enum End {
    /// An admitted attempt is over.
    Settled(Settled),
    /// An attempt that may or may not have been admitted is not wanted.
    Released { lease: LeaseId, model: Arc<str> },
}

/// An admitted attempt that has ended.
#[derive(Clone, Debug)]
struct Settled {
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
    /// The version of its credential.
    pub credential: CredentialVersion,
    /// The store's time of the admission, ms since the epoch.
    pub admitted_at_ms: i64,
}

/// An admission that was asked for. Until it has become an [`Attempt`] or is known to have brought no lease, dropping
/// it takes back whatever the store may have granted or may still grant: a command that timed out is perhaps carried
/// out later.
pub struct Claim {
    settlements: Settlements,
    lease: LeaseId,
    model: Arc<str>,
    /// Whether something was sent that nobody has seen the outcome of.
    doubtful: AtomicBool,
    open: bool,
}

/// One attempt in flight: holds its lease and settles when it ends, however it ends.
pub struct Attempt {
    settlements: Settlements,
    facts: Arc<Facts>,
    arrived: tokio::time::Instant,
    tokens: Tokens,
    received: bool,
    /// Whether its end is the request's.
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
        let worker = SettlementWorker::new(receiver, store.clone(), Arc::clone(&metrics));
        (Self { queue: sender, leases, store, clock, metrics }, worker)
    }

    /// Begins to ask for the attempt `lease` at `model`.
    #[must_use]
    pub fn claim(&self, lease: LeaseId, model: Arc<str>) -> Claim {
        Claim { settlements: self.clone(), lease, model, doubtful: AtomicBool::new(false), open: true }
    }

    fn enqueue(&self, end: End) {
        self.metrics.settlements_queued.inc();
        if let Err(error) = self.queue.try_send(end) {
            self.metrics.settlements_queued.dec();
            self.metrics.settlements_dropped.inc();
            tracing::warn!(%error, "the end of an attempt was dropped; its lease lapses by itself");
        }
    }
}

impl Claim {
    /// The id of the attempt.
    #[must_use]
    pub fn lease(&self) -> &LeaseId {
        &self.lease
    }

    /// Carries out one try of the admission and notes when its outcome stays unknown.
    pub async fn ask<T>(
        &self,
        admission: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = admission.await;
        if matches!(answer, Err(StoreError::Unavailable { .. })) {
            self.doubtful.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Starts the attempt: its lease is renewed from now on.
    #[must_use]
    pub fn begin(mut self, granted: Granted, asker: &Asker) -> Attempt {
        self.open = false;
        self.settlements.leases.hold(self.lease.clone());
        Attempt {
            settlements: self.settlements.clone(),
            facts: Arc::new(Facts {
                account: granted.account,
                lease: self.lease.clone(),
                credential: granted.credential,
                model: Arc::clone(&self.model),
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

    /// The store has said that there is no account. An earlier try without an answer may still arrive there.
    pub fn declined(mut self) {
        self.open = self.doubtful.load(Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.open {
            let (lease, model) = (self.lease.clone(), Arc::clone(&self.model));
            self.settlements.enqueue(End::Released { lease, model });
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

    /// The request goes on with another attempt; what this one means is said later by [`Attempt::finish`].
    pub fn shelve(&mut self) {
        self.last = false;
    }

    /// Ends the attempt while the request goes on with another one: applied before this returns, so that the
    /// next admission anywhere knows it. When the store does not answer in time it is queued like any other.
    pub async fn rotate(mut self, outcome: Outcome) {
        self.last = false;
        let end = End::Settled(self.end(outcome));
        let mut unsettled = Unsettled { settlements: &self.settlements, end: Some(end.clone()) };
        let ending = [end.ending()];
        let applied = tokio::time::timeout(ROTATION, self.settlements.store.end_all(&ending)).await;
        match applied {
            Ok(Ok(answers)) => {
                unsettled.end = None;
                for answer in &answers {
                    end.report(answer);
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "settlement is queued"),
            Err(_elapsed) => tracing::debug!("settlement is queued: the store is slow"),
        }
    }

    /// Ends the attempt, and the request with it unless it was shelved.
    pub fn finish(mut self, outcome: Outcome) {
        let end = End::Settled(self.end(outcome));
        self.settlements.enqueue(end);
    }

    fn end(&mut self, outcome: Outcome) -> Settled {
        self.ended = true;
        self.settlements.leases.release(&self.facts.lease);
        if self.last {
            let tokens = self.tokens;
            let metrics = &self.settlements.metrics;
            metrics.used_tokens(&self.facts.model, tokens.input, tokens.output, tokens.cache_read);
        }
        let latency = self.settlements.clock.instant().saturating_duration_since(self.arrived);
        Settled {
            facts: Arc::clone(&self.facts),
            outcome,
            received: self.received,
            usage: self.last.then_some((self.tokens, latency)),
        }
    }
}

/// Queues a settlement that was not carried out, also when its request is dropped in the middle of it.
struct Unsettled<'s> {
    settlements: &'s Settlements,
    end: Option<End>,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.settlements.enqueue(end);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            let end = End::Settled(self.end(Outcome::Cancelled));
            self.settlements.enqueue(end);
        }
    }
}

#[cfg(test)]
mod tests;
