//! The three switches of a process's life that the HTTP surface obeys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Started, draining, cut: set by the process's lifecycle, read by probes and listeners. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Switches>);

#[derive(Debug, Default)]
struct Switches {
    started: AtomicBool,
    draining: CancellationToken,
    cut: CancellationToken,
}

impl Drain {
    /// Not started, not draining.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `/startupz` and `/readyz` say yes: the store answered once and the listeners stand.
    pub fn mark_started(&self) {
        self.0.started.store(true, Ordering::Release);
    }

    /// Whether [`Self::mark_started`] was called.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.0.started.load(Ordering::Acquire)
    }

    /// Begins the shutdown: `/readyz` says no at once, listeners close after their delay.
    pub fn begin(&self) {
        self.0.draining.cancel();
    }

    /// Ends the shutdown's patience: connections are closed as they are (a second signal).
    pub fn cut(&self) {
        self.0.draining.cancel();
        self.0.cut.cancel();
    }

    /// Whether the shutdown has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Resolves when the shutdown begins.
    pub async fn begun(&self) {
        self.0.draining.cancelled().await;
    }

    /// Resolves when patience is over.
    pub async fn was_cut(&self) {
        self.0.cut.cancelled().await;
    }
}
