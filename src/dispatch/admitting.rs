//! The span of an admission: from the first question for an account to the account.

use std::time::Duration;

use tokio::time::Instant;

use super::tally::{decision_of, strategy_of};
use crate::account::pool::Decision;
use crate::config::Strategy;
use crate::telemetry::Observation;
use crate::telemetry::metrics::label::Label as _;
use crate::telemetry::traces::Phase;

/// What is told of one admission; all of it when this is dropped.
pub(super) struct Admitting {
    phase: Phase,
    strategy: Strategy,
    asked: i64,
    /// Time of the last round trip, in which all was decided.
    round_trip: Duration,
    waited: Duration,
    decision: Option<&'static str>,
    failed: Option<&'static str>,
}

impl Admitting {
    /// A request begins to ask for an account.
    pub(super) fn begin(observation: &Observation, strategy: Strategy) -> Self {
        Self {
            phase: observation.phase("admit"),
            strategy,
            asked: 0,
            round_trip: Duration::ZERO,
            waited: Duration::ZERO,
            decision: None,
            failed: None,
        }
    }

    /// The store has decided.
    pub(super) fn decided(&mut self, decision: &Decision, asked: Instant, now: Instant) {
        self.asked += 1;
        self.round_trip = now.saturating_duration_since(asked);
        self.decision = Some(decision_of(decision).label());
    }

    /// The request waited from `since` to `now`.
    pub(super) fn waited(&mut self, since: Instant, now: Instant) {
        self.waited += now.saturating_duration_since(since);
    }

    /// No account is to be had.
    pub(super) fn refused(&mut self, reason: &'static str) {
        self.failed = Some(reason);
    }
}

impl Drop for Admitting {
    fn drop(&mut self) {
        let mut phase = std::mem::take(&mut self.phase);
        if !phase.is_recorded() {
            return;
        }
        phase.tell("antigravity_proxy.admission.strategy", strategy_of(self.strategy).label());
        phase.tell("antigravity_proxy.admission.asked", self.asked);
        phase.tell("antigravity_proxy.store.round_trip_ms", self.round_trip.as_secs_f64() * 1000.0);
        phase.tell("antigravity_proxy.wait_ms", i64::try_from(self.waited.as_millis()).unwrap_or(i64::MAX));
        if let Some(decision) = self.decision {
            phase.tell("antigravity_proxy.admission.decision", decision);
        }
        match self.failed {
            Some(reason) => phase.fail(reason),
            // Without a decision that ends it, its request was given up.
            None if matches!(self.decision, None | Some("wait")) => drop(phase),
            None => phase.end(),
        }
    }
}
