//! Signatures of a conversation: recalled with admission, remembered before the client can send them back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::account::pool::{Pool, SigKey, SigKind, StoreError};
use crate::format::stream::{Learned, LearnedKind, StreamConverter};
use crate::format::{KnownSignatures, Remembered, SignatureKey};
use crate::telemetry::metrics::Metrics;

/// Tries to write a signature while the store is away, and the pause between them.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

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
    writing: Vec<JoinHandle<()>>,
}

impl Memory {
    pub(super) fn new(pool: Pool, client_key: Arc<str>, tasks: TaskTracker, metrics: Arc<Metrics>) -> Self {
        Self { pool, client_key, tasks, metrics, writing: Vec::new() }
    }

    /// Begins to write what `converter` has learnt since the last call.
    pub(super) fn learn(&mut self, converter: &mut StreamConverter) {
        let learned = converter.take_learned();
        if learned.is_empty() {
            return;
        }
        let entries: Vec<_> = learned.into_iter().map(|learned| self.entry(learned)).collect();
        let (pool, metrics) = (self.pool.clone(), Arc::clone(&self.metrics));
        self.writing.push(self.tasks.spawn(async move {
            if !write(&pool, &entries).await {
                metrics.signature_put_failures.inc();
            }
        }));
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
async fn write(pool: &Pool, entries: &[(SigKey, String)]) -> bool {
    for _ in 0..TRIES {
        match pool.remember(entries).await {
            Ok(()) => return true,
            Err(StoreError::Unavailable { .. }) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                tracing::error!(%error, "signatures were refused by the store");
                return false;
            }
        }
    }
    tracing::warn!(signatures = entries.len(), "signatures are lost: the store was away too long");
    false
}
