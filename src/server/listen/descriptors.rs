//! How many connections the process has file descriptors for.

use super::Limits;

/// Descriptors for all else: the store, the collector, probes, commands, files. Half of them where there are fewer than
/// twice as many.
const RESERVE: u64 = 256;
/// Connections to the metrics port, of the reserve: Prometheus and probes keep a handful.
const OBSERVERS: u64 = 64;

/// Raises the process's limit of open files as far as it may by itself, and takes limits of connections that leave room
/// for what answers them. Without this, strangers' idle connections take the descriptors that probes need.
pub(crate) fn limits() -> Limits {
    let Some(descriptors) = raised() else { return Limits::default() };
    let limits = of(descriptors);
    if limits.connections < Limits::default().connections {
        tracing::warn!(
            descriptors,
            connections = limits.connections,
            "few files may be open at once, so few connections: raise the hard limit (ulimit -Hn)"
        );
    }
    limits
}

/// Limits with so many descriptors. A client's connection can need one to the upstream, too.
fn of(descriptors: u64) -> Limits {
    let reserve = RESERVE.min(descriptors / 2);
    let most = Limits::default();
    let bounded = |wanted: u64, most: usize| usize::try_from(wanted.max(1)).unwrap_or(usize::MAX).min(most);
    Limits {
        connections: bounded((descriptors - reserve) / 2, most.connections),
        observers: bounded(OBSERVERS.min(reserve / 4), most.observers),
        ..most
    }
}

/// How many files may be open after the soft limit is as high as the hard one; `None` without a limit.
#[cfg(unix)]
fn raised() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != wanted.current
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
fn raised() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        for (descriptors, connections, observers) in [
            (64, 16, 8),
            (128, 32, 16),
            (1024, 384, 64),
            (4096, 1920, 64),
            (65_536, 8192, 64),
            (u64::MAX, 8192, 64),
        ] {
            let limits = of(descriptors);
            assert_eq!((limits.connections, limits.observers), (connections, observers), "of {descriptors}");
        }
        for descriptors in 16..5000 {
            let limits = of(descriptors);
            // Each client's connection with one to the upstream, the metrics port, and room.
            let taken = 2 * limits.connections + limits.observers;
            assert!((taken as u64) + descriptors.min(RESERVE) / 4 <= descriptors, "of {descriptors}");
        }
        // Nothing works with these; nothing panics either.
        assert_eq!((of(0).connections, of(1).observers), (1, 1));
    }

    #[cfg(unix)]
    #[test]
    fn the_soft_limit_is_as_high_as_the_hard_one() {
        let raised = raised();
        assert_eq!(raised, rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum);
    }
}
