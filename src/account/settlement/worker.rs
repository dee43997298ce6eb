//! Writes the ends of attempts to the store, many in one round trip.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::counting::OTHER;
use super::{End, Unanswered};
use crate::clock::jitter;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ops::release::{Ended, Ending, Release, Released};
use crate::store::ops::settle::{NewLimit, Settle, Settlement};
use crate::store::ops::usage::{CountRequest, UsageEntry};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::label::LimitKind;

/// Most ends of one round trip: few milliseconds of the store's time.
const BATCH: usize = 64;
/// Pauses between tries while the store is away; up to half as much again is added at random.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The other end of [`Settlements`](super::Settlements).
pub struct SettlementWorker {
    queue: mpsc::Receiver<End>,
    store: Store,
    metrics: Arc<Metrics>,
}

impl SettlementWorker {
    pub(super) fn new(queue: mpsc::Receiver<End>, store: Store, metrics: Arc<Metrics>) -> Self {
        Self { queue, store, metrics }
    }

    /// Writes until every [`Settlements`](super::Settlements) is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            self.write(&batch).await;
            for _ in batch.drain(..) {
                self.metrics.settlements_queued.dec();
            }
        }
    }

    /// Applies `batch` in order. While the store is away the whole is repeated: what was applied the first time
    /// answers as it did then.
    async fn write(&self, batch: &[End]) {
        let endings: Vec<_> = batch.iter().map(End::ending).collect();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.store.end_all(&endings).await {
                Ok(answers) => {
                    for (end, answer) in batch.iter().zip(&answers) {
                        end.report(answer, &self.metrics);
                    }
                    return;
                }
                Err(StoreError::Unavailable { reason }) => {
                    tracing::debug!(%reason, ends = batch.len(), "settlements wait for the store");
                    tokio::time::sleep(pause + jitter(pause / 2)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    tracing::error!(%error, ends = batch.len(), "settlements were refused by the store");
                    return;
                }
            }
        }
    }
}

impl End {
    /// As the store takes it.
    pub(super) fn ending(&self) -> Ending<'_> {
        let ended = match self {
            Self::Settled(ended) => ended,
            Self::Released { lease, model } => return Ending::Release(Release { lease, model }),
            Self::Unanswered(request) => return Ending::Count(request.counted()),
        };
        let facts = &ended.facts;
        Ending::Settle(Settle {
            account: &facts.account,
            lease: &facts.lease,
            credential: facts.credential,
            model: &facts.model,
            admitted_at_ms: facts.admitted_at_ms,
            outcome: ended.outcome.clone(),
            received: ended.received,
            usage: ended.usage.map(|used| UsageEntry {
                model: (!used.named).then_some(OTHER),
                status: used.status,
                client_key: &facts.client_key,
                input: used.tokens.input,
                output: used.tokens.output,
                cache_read: used.tokens.cache_read,
                thinking: used.tokens.thinking,
                latency: used.latency,
            }),
        })
    }

    /// Says what is worth saying about the store's answer.
    pub(super) fn report(&self, answer: &Result<Ended, StoreError>, metrics: &Metrics) {
        if let Ok(Ended::Settled(Settlement { limit: Some(limit), .. })) = answer {
            metrics.limits_set.of(label_of(*limit)).inc();
        }
        match (answer, self) {
            (Ok(Ended::Settled(settlement)), Self::Settled(ended)) if settlement.invalidated => {
                tracing::warn!(
                    account.id = %ended.facts.account, outcome = ended.outcome.name(), "account needs its owner"
                );
            }
            (Ok(Ended::Released(Released::Granted(account))), _) => {
                tracing::info!(account.id = %account, "an admission that nobody received was taken back");
            }
            (Ok(_), _) => {}
            (Err(error), _) => tracing::error!(%error, "the end of an attempt was refused by the store"),
        }
    }
}

impl Unanswered {
    fn counted(&self) -> CountRequest<'_> {
        let usage = UsageEntry {
            status: self.status,
            client_key: &self.client_key,
            latency: self.latency,
            ..UsageEntry::default()
        };
        CountRequest { id: &self.id, model: &self.model, ended_at_ms: self.ended_at_ms, usage }
    }
}

fn label_of(limit: NewLimit) -> LimitKind {
    match limit {
        NewLimit::Quota => LimitKind::Quota,
        NewLimit::Rate => LimitKind::Rate,
        NewLimit::Unknown => LimitKind::Unknown,
        NewLimit::Capacity => LimitKind::Capacity,
        NewLimit::Failure => LimitKind::Failure,
        NewLimit::Forbidden => LimitKind::Forbidden,
        NewLimit::Unsupported => LimitKind::Unsupported,
        NewLimit::Cooling => LimitKind::Cooling,
    }
}
