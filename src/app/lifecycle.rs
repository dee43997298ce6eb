//! Signals, and the work that outlives a request.

use std::io;

use tokio_util::task::TaskTracker;

use crate::server::drain::Drain;

/// The first SIGTERM or ctrl-c begins the drain; a second one ends its patience.
#[cfg(unix)]
pub(super) fn obey_signals(drain: Drain, tasks: &TaskTracker) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    watch(tasks, drain, async move || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    });
    Ok(())
}

/// The first ctrl-c begins the drain; a second one ends its patience.
#[cfg(not(unix))]
pub(super) fn obey_signals(drain: Drain, tasks: &TaskTracker) -> io::Result<()> {
    watch(tasks, drain, async || {
        // Without the signal there is nothing to obey.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "ctrl-c"
    });
    Ok(())
}

/// Not tracked to its end: it waits for signals as long as the process lives.
#[expect(clippy::disallowed_methods, reason = "the watcher of signals must not hold up the shutdown it causes")]
fn watch<F>(_tasks: &TaskTracker, drain: Drain, mut signalled: F)
where
    F: AsyncFnMut() -> &'static str + Send + 'static,
    for<'a> F::CallRefFuture<'a>: Send,
{
    drop(tokio::spawn(async move {
        let signal = signalled().await;
        tracing::info!(signal, "shutting down: a second signal ends open streams");
        drain.begin();
        let signal = signalled().await;
        tracing::warn!(signal, "ending open streams");
        drain.cut();
    }));
}
