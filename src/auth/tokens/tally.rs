//! What is counted of tokens that had to be had.

use std::time::Duration;

use super::{Inner, TokenError};
use crate::store::ident::Source;
use crate::telemetry::metrics::label::RefreshOutcome;

impl Inner {
    /// Counts what came of a token of `source`; a fixed one only comes out of the store again.
    pub(super) fn count(&self, source: Source, outcome: RefreshOutcome) {
        if let Some(metrics) = self.metrics.as_ref().filter(|_| source != Source::Manual) {
            metrics.token_refreshes.of(outcome).inc();
        }
    }

    /// The token endpoint has answered, or failed to, after `took`.
    pub(super) fn exchanged(&self, took: Duration) {
        if let Some(metrics) = &self.metrics {
            metrics.token_refresh_seconds.observe(took.as_secs_f64());
        }
    }
}

/// What a token that could not be fetched counts as.
pub(super) fn outcome_of(error: &TokenError) -> RefreshOutcome {
    match error {
        TokenError::Revoked => RefreshOutcome::Rejected,
        TokenError::NotConfigured { .. } | TokenError::Misconfigured => RefreshOutcome::Misconfigured,
        TokenError::Transient { .. }
        | TokenError::Changed
        | TokenError::Desktop(_)
        | TokenError::SourceUnsupported { .. }
        | TokenError::Vault(_)
        | TokenError::Store(_) => RefreshOutcome::Failed,
    }
}
