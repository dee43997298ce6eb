//! An attempt from the question for an account to its end: its lease goes, what it showed and consumed is recorded,
//! on every exit path.
//!
//! A [`Claim`] stands for an admission that was asked for, so that one whose answer nobody receives is taken back; an
//! [`Attempt`] for one that was granted. Settlement is off the hot path: what has ended goes through a bounded queue
//! to one [`SettlementWorker`], which repeats it while the store is away (all of it is idempotent by the lease). An
//! attempt that is dropped without a word, because the client went away or a task was cancelled, settles as cancelled.
//! With the attempt that answers, the request is counted; [`Counting`] sees to those that none answered.

mod counting;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::lease::Leases;
use crate::clock::Clock;
use crate::cloudcode::{Failure, FailureClass, LimitKind};
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, CredentialVersion, LeaseId};
use crate::store::ops::settle::LimitKind as StoredLimit;
use crate::telemetry::Observation;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::label::TokenKind;
use crate::telemetry::requests;

pub use self::counting::{Countable, Counting};
pub use self::worker::SettlementWorker;
pub use crate::store::ops::settle::{Outcome, StatusClass};

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

/// Whole milliseconds, ±5 s, so that nobody comes back to an overloaded model together (spec `dispatch.md` §2.2).
#[must_use]
pub fn capacity_jitter() -> i32 {
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
    /// Milliseconds by which the store's clock is ahead of this one, as the last admission told.
    ahead: Arc<AtomicI64>,
    metrics: Arc<Metrics>,
}

/// What is left to be told to the store.
#[derive(Clone, Debug)]
enum End {
    /// An admitted attempt is over.
    Settled(Settled),
    /// An attempt that may or may not have been admitted is not wanted.
    Released { lease: LeaseId, model: Arc<str> },
    /// A request is over that no attempt answered.
    Unanswered(Box<Unanswered>),
}

/// A request that ended without an answer.
#[derive(Clone, Debug)]
struct Unanswered {
    id: LeaseId,
    model: Arc<str>,
    client_key: Arc<str>,
    status: StatusClass,
    ended_at_ms: i64,
    latency: Duration,
}

/// An admitted attempt that has ended.
#[derive(Clone, Debug)]
struct Settled {
    facts: Arc<Facts>,
    outcome: Outcome,
    received: bool,
    usage: Option<Used>,
}

/// What the request counts that ends with its attempt.
#[derive(Clone, Copy, Debug)]
struct Used {
    status: StatusClass,
    tokens: Tokens,
    latency: Duration,
    /// Whether it counts for the attempt's model, not for `other`.
    named: bool,
}

/// What admission decided about an attempt.
#[derive(Clone, Debug)]
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
    /// What is to be told about it.
    pub observation: Observation,
    /// Its place in the usage; `None` counts nothing.
    pub counting: Option<Counting>,
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
    observation: Observation,
    counting: Option<Counting>,
    tokens: Tokens,
    received: bool,
    /// Whether its end is the request's.
    last: bool,
    stage: Stage,
}

/// How far an attempt is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It holds its lease.
    Leased,
    /// Its lease is gone; only a verdict may follow.
    Aside,
    Ended,
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
        let ahead = Arc::default();
        (Self { queue: sender, leases, store, clock, ahead, metrics }, worker)
    }

    /// The store has just told its time, ms since the epoch.
    pub fn heard(&self, now_ms: i64) {
        self.ahead.store(now_ms.saturating_sub(self.clock.epoch_ms()), Ordering::Relaxed);
    }

    /// The store's time, as far as it is known.
    fn store_ms(&self) -> i64 {
        self.clock.epoch_ms().saturating_add(self.ahead.load(Ordering::Relaxed))
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
            tracing::warn!(%error, "the end of an attempt was dropped: its lease lapses by itself, its usage is not counted");
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
            observation: asker.observation.clone(),
            counting: asker.counting.clone(),
            tokens: Tokens::default(),
            received: false,
            last: true,
            stage: Stage::Leased,
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

    /// Gives the account's room back while it is open what the attempt showed: for the store it ends now, and a verdict
    /// that follows is told under an id of its own.
    pub fn set_aside(&mut self) {
        let Ok(verdict) = LeaseId::new(&format!("{}.verdict", self.facts.lease)) else { return };
        if self.stage != Stage::Leased {
            return;
        }
        self.stage = Stage::Aside;
        self.settlements.leases.release(&self.facts.lease);
        let facts = Arc::new(Facts { lease: verdict, ..Facts::clone(&self.facts) });
        let facts = std::mem::replace(&mut self.facts, facts);
        let ended = Settled { facts, outcome: Outcome::Released, received: self.received, usage: None };
        self.settlements.enqueue(End::Settled(ended));
    }

    /// Ends the attempt while the request goes on with another one: applied before this returns, so that the
    /// next admission anywhere knows it. When the store does not answer in time it is queued like any other.
    pub async fn rotate(mut self, outcome: Outcome) {
        self.last = false;
        let end = End::Settled(self.end(outcome, None));
        let mut unsettled = Unsettled { settlements: &self.settlements, end: Some(end.clone()) };
        let ending = [end.ending()];
        let applied = tokio::time::timeout(ROTATION, self.settlements.store.end_all(&ending)).await;
        match applied {
            Ok(Ok(answers)) => {
                unsettled.end = None;
                for answer in &answers {
                    end.report(answer, &self.settlements.metrics);
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "settlement is queued"),
            Err(_elapsed) => tracing::debug!("settlement is queued: the store is slow"),
        }
    }

    /// Ends the attempt, and the request with it unless it was shelved: its client has got an answer, which is what
    /// `outcome` says.
    pub fn finish(self, outcome: Outcome) {
        let status = status_class(&outcome);
        self.conclude(outcome, Some(status));
    }

    /// Ends the attempt, and the request with it, in the middle of an answer.
    pub fn break_off(self, outcome: Outcome) {
        let status = match status_class(&outcome) {
            StatusClass::Success => StatusClass::UpstreamError,
            status => status,
        };
        self.conclude(outcome, Some(status));
    }

    /// Ends the attempt, which has answered nothing. The request may go on; how it ends is said to its [`Counting`].
    pub fn fail(self, outcome: Outcome) {
        self.conclude(outcome, None);
    }

    fn conclude(mut self, outcome: Outcome, status: Option<StatusClass>) {
        if self.stage == Stage::Aside && outcome == Outcome::Released {
            self.stage = Stage::Ended;
            return;
        }
        let end = End::Settled(self.end(outcome, status));
        self.settlements.enqueue(end);
    }

    /// `status` is how the request ends with it, if it does.
    fn end(&mut self, outcome: Outcome, status: Option<StatusClass>) -> Settled {
        self.stage = Stage::Ended;
        self.settlements.leases.release(&self.facts.lease);
        if self.last {
            let tokens = self.tokens;
            let model = self.settlements.metrics.model(&self.facts.model);
            model.used(TokenKind::Input, tokens.input);
            model.used(TokenKind::Output, tokens.output);
            model.used(TokenKind::CacheRead, tokens.cache_read);
            model.used(TokenKind::Thinking, tokens.thinking);
            let Tokens { input, output, cache_read, thinking } = tokens;
            self.observation.used(requests::Used { input, output, cache_read, thinking });
        }
        let counting = self.counting.take().filter(|_| self.last);
        let usage = counting.zip(status).and_then(|(counting, status)| {
            // An upstream that answers knows the model, whoever else does.
            let named = self.received || counting.names(&self.facts.model);
            let latency = counting.take()?;
            Some(Used { status, tokens: self.tokens, latency, named })
        });
        Settled { facts: Arc::clone(&self.facts), outcome, received: self.received, usage }
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
        if self.stage == Stage::Leased {
            let end = End::Settled(self.end(Outcome::Cancelled, Some(StatusClass::Cancelled)));
            self.settlements.enqueue(end);
        }
    }
}

#[cfg(test)]
mod tests;
