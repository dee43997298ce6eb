//! What went wrong, in one word each, for log lines and traces.

use super::error::DispatchError;
use super::tally::attempt_of;
use crate::telemetry::metrics::label::Label as _;

impl DispatchError {
    /// A word of a closed set, finer than the outcome: of an upstream failure its class.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Request(_) => "invalid_request",
            Self::ModelMissing => "model_missing",
            Self::ModelInvalid => "model_invalid",
            Self::ModelUnknown(_) => "model_unknown",
            Self::ModelNotAllowed { .. } => "model_not_allowed",
            Self::QuotaExhausted { .. } => "quota_exhausted",
            Self::NoAccounts => "no_accounts",
            Self::AllDisabled => "all_disabled",
            Self::AllInvalid { .. } => "all_invalid",
            Self::AllDamaged => "all_damaged",
            Self::TooManyWaiting => "too_many_waiting",
            Self::StoreUnavailable => "store_unavailable",
            Self::SignedOut { .. } => "signed_out",
            Self::Credentials(_) => "credentials",
            Self::Upstream { failure, .. } => attempt_of(&failure.class).label(),
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline",
            Self::Internal => "internal",
        }
    }
}
