//! Signatures of a conversation: recalled with admission, remembered before the client can send them back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::account::pool::{Pool, SigKey, SigKind, StoreError};
use crate::clock::{Clock, jitter};
use crate::format::stream::{Learned, LearnedKind, StreamConverter};
use crate::format::{KnownSignatures, Remembered, SignatureKey};
use crate::telemetry::metrics::Metrics;

/// Pause between tries while the store is away; up to as much again is added at random. Short, so that after an outage
/// the signatures are there before the turns that need them (those pause for [`super::STORE_PAUSE`]).
const PAUSE: Duration = Duration::from_millis(50);
/// How long the store may be away until what an answer taught is given up.
const PATIENCE: Duration = Duration::from_mins(5);
/// What may wait for the store in one process, in bytes; more is given up at once.
pub(super) const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// What an entry takes besides its value.
const ENTRY_BYTES: usize = 64;

/// Where `key` is kept for this client.
pub(super) fn place(client_key: &str, key: &SignatureKey<'_>) -> SigKey {
    match key {
        SignatureKey::Thinking(signature) => SigKey::new(client_key, SigKind::Thinking, signature),
        SignatureKey::Tool(id) => SigKey::new(client_key, SigKind::Tool, id),
    }
}

/// What the store answered, as the conversion wants it.
pub(super) fn known(keys: &[SignatureKey<'_>], values: &[Option<String>]) -> KnownSignatures {
    let mut known = KnownSignatures::new();
    for (key, value) in keys.iter().zip(values) {
        if let Some(value) = value {
            known.insert(key, Remembered::decode(value));
        }
    }
    known
}

/// Writes what an answer teaches, beside the stream.
pub(super) struct Memory {
    pool: Pool,
    client_key: Arc<str>,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
    clock: Clock,
    room: Arc<Semaphore>,
    /// The scope of the request's log lines.
    scope: Span,
    writing: Vec<JoinHandle<()>>,
}

impl Memory {
    /// Nothing learnt yet. `room` has a permit for each byte that may wait in this process.
    pub(super) fn new(
        pool: Pool,
        client_key: Arc<str>,
        tasks: TaskTracker,
        metrics: Arc<Metrics>,
        clock: Clock,
        room: Arc<Semaphore>,
        scope: Span,
    ) -> Self {
        Self { pool, client_key, tasks, metrics, clock, room, scope, writing: Vec::new() }
    }

    /// Begins to write what `converter` has learnt since the last call.
    pub(super) fn learn(&mut self, converter: &mut StreamConverter) {
        let learned = converter.take_learned();
        if !learned.is_empty() {
            let entries = learned.into_iter().map(|learned| self.entry(learned)).collect();
            self.write(entries);
        }
    }

    fn write(&mut self, entries: Vec<(SigKey, String)>) {
        let bytes = entries.iter().map(|(_, value)| value.len() + ENTRY_BYTES).sum::<usize>();
        let place =
            u32::try_from(bytes).ok().and_then(|n| Arc::clone(&self.room).try_acquire_many_owned(n).ok());
        let Some(place) = place else {
            self.metrics.signature_put_failures.inc();
            let _scope = self.scope.enter();
            tracing::warn!(signatures = entries.len(), "signatures are lost: too many wait for the store");
            return;
        };
        let (pool, metrics, clock) = (self.pool.clone(), Arc::clone(&self.metrics), self.clock.clone());
        let writing = async move {
            let _place = place;
            if !write(&pool, &entries, &clock).await {
                metrics.signature_put_failures.inc();
            }
        };
        self.writing.push(self.tasks.spawn(writing.instrument(self.scope.clone())));
    }

    /// Waits until everything learnt is written, at most `limit`; what is not then goes on by itself.
    pub(super) async fn settled_within(&mut self, limit: Duration) {
        if self.writing.is_empty() {
            return;
        }
        let writing = join_all(self.writing.drain(..));
        if tokio::time::timeout(limit, writing).await.is_err() {
            tracing::debug!("signatures are still being written when the answer ends");
        }
    }

    fn entry(&self, learned: Learned) -> (SigKey, String) {
        let family = learned.family;
        match learned.kind {
            LearnedKind::Thinking { signature } => (
                place(&self.client_key, &SignatureKey::Thinking(&signature)),
                Remembered { family, signature: None }.encode(),
            ),
            LearnedKind::Tool { id, signature } => (
                place(&self.client_key, &SignatureKey::Tool(&id)),
                Remembered { family, signature: Some(signature) }.encode(),
            ),
        }
    }
}

/// Whether the store took the entries.
async fn write(pool: &Pool, entries: &[(SigKey, String)], clock: &Clock) -> bool {
    let give_up = clock.instant() + PATIENCE;
    loop {
        match pool.remember(entries).await {
            Ok(()) => return true,
            Err(StoreError::Unavailable { .. }) if clock.instant() < give_up => {
                tokio::time::sleep(PAUSE + jitter(PAUSE)).await;
            }
            Err(error) => {
                tracing::error!(signatures = entries.len(), %error, "signatures are lost");
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests;
