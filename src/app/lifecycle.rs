//! Signals.

use std::io;

use crate::server::drain::Drain;

/// The first SIGTERM or ctrl-c begins the drain; a second one ends its patience.
#[cfg(unix)]
pub(super) fn obey_signals(drain: Drain) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    watch(async move {
        for received in 0_u32.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            obey(&drain, received);
        }
    });
    Ok(())
}

/// The first ctrl-c begins the drain; a second one ends its patience.
#[cfg(not(unix))]
pub(super) fn obey_signals(drain: Drain) -> io::Result<()> {
    watch(async move {
        let mut received = 0;
        while tokio::signal::ctrl_c().await.is_ok() {
            obey(&drain, received);
            received += 1;
        }
    });
    Ok(())
}

fn obey(drain: &Drain, received_before: u32) {
    if received_before == 0 {
        tracing::info!("shutting down; a second signal ends open streams");
        drain.begin();
    } else {
        tracing::warn!("ending open streams");
        drain.cut();
    }
}

#[expect(clippy::disallowed_methods, reason = "the watcher must not hold up the shutdown that it causes")]
fn watch(signals: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(signals));
}
