//! Whether the store answers, and for how long it did not.
//!
//! Round trips overlap: an answer that was on its way when the store went away does not end the outage, and one that was
//! given up after the store came back does not begin another; nor does one that is lost while what was sent after it is
//! answered.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::telemetry::metrics::Metrics;

/// Watches the outcomes of round trips. Cheap while all is well.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// It answers; the newest thing that it is known to have answered, or to have come back for, was sent then.
    Up { newest: Instant },
    /// What was sent at this moment was not answered; the time up to `counted` is counted.
    Away { since: Instant, counted: Instant },
}

impl Watch {
    /// A round trip that was sent at `sent` has ended at `now`.
    pub(super) fn saw(&self, metrics: &Metrics, answered: bool, sent: Instant, now: Instant) {
        // Each change is a single step.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = state.after(answered, sent, now);
        if let State::Away { counted: from, .. } = *state {
            metrics.store_outage_seconds.inc_by(now.saturating_duration_since(from).as_secs_f64());
        } else if let State::Away { since, .. } = next {
            metrics.store_outages.inc();
            metrics.store_outage_seconds.inc_by(now.saturating_duration_since(since).as_secs_f64());
        }
        metrics.store_up.set(i64::from(!matches!(next, State::Away { .. })));
        *state = next;
    }
}

impl State {
    fn after(self, answered: bool, sent: Instant, now: Instant) -> Self {
        match self {
            Self::Unknown if answered => Self::Up { newest: sent },
            Self::Up { newest } if answered => Self::Up { newest: newest.max(sent) },
            Self::Up { newest } if sent < newest => Self::Up { newest },
            Self::Unknown | Self::Up { .. } => Self::Away { since: sent, counted: now },
            Self::Away { since, .. } if answered && sent > since => Self::Up { newest: now },
            Self::Away { since, counted } => Self::Away { since, counted: now.max(counted) },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    /// Tells `trips` (answered, sent, ended; in seconds) and returns what the metrics say: up, outages, seconds.
    fn told(trips: &[(bool, u64, u64)]) -> (i64, u64, f64) {
        let metrics = Metrics::new().unwrap();
        let watch = Watch::default();
        let start = Clock::system().instant();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (answered, sent, ended) in trips {
            watch.saw(&metrics, *answered, at(*sent), at(*ended));
        }
        (metrics.store_up.get(), metrics.store_outages.get(), metrics.store_outage_seconds.get())
    }

    #[test]
    fn an_outage_lasts_from_what_was_not_answered_to_the_next_answer() {
        let told_of = [
            (vec![], (0, 0, 0.0)),
            (vec![(true, 0, 1)], (1, 0, 0.0)),
            (vec![(false, 0, 1)], (0, 1, 1.0)),
            (vec![(true, 0, 1), (false, 2, 3)], (0, 1, 1.0)),
            (vec![(true, 0, 1), (false, 2, 3), (false, 4, 6)], (0, 1, 4.0)),
            (vec![(true, 0, 1), (false, 2, 3), (true, 9, 10)], (1, 1, 8.0)),
            (vec![(true, 0, 1), (false, 2, 3), (true, 9, 10), (false, 11, 12), (true, 13, 14)], (1, 2, 11.0)),
        ];
        for (trips, expected) in told_of {
            assert_eq!(told(&trips), expected, "{trips:?}");
        }
    }

    #[test]
    fn trips_that_overlap_make_one_outage() {
        // The answer was on its way when the store went away.
        assert_eq!(told(&[(true, 0, 1), (false, 2, 5), (true, 1, 6), (false, 3, 7)]), (0, 1, 5.0));
        // The store is back when the last one gives up.
        assert_eq!(told(&[(true, 0, 1), (false, 2, 5), (true, 6, 7), (false, 3, 8)]), (1, 1, 5.0));
        // One answer is lost; the others come.
        assert_eq!(told(&[(true, 0, 1), (true, 3, 4), (false, 2, 7), (true, 6, 8)]), (1, 0, 0.0));
    }
}
