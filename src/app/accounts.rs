//! Accounts in the terms of the HTTP surface, for a serving gateway and for offline commands alike.

use crate::account::directory::{self, Directory};
use crate::account::import::Rejected;
use crate::account::verify::{Verdict, Verifier};
use crate::server::gateway::{ImportFailure, ImportReport};
use crate::server::migration::{AccountChange, Trial};
use crate::store::audit::{FieldChange, tell};
use crate::store::host::StoreError;
use crate::store::ops::accounts::SetAccount;

/// What an import did, as it is told.
pub(super) fn import_report(report: directory::ImportReport) -> ImportReport {
    let told = |rejected: Vec<Rejected>| -> Vec<_> {
        rejected.into_iter().map(|one| ImportFailure { email: one.email, reason: one.reason }).collect()
    };
    for (field, count) in
        [("added", report.added.len()), ("updated", report.updated.len()), ("failed", report.failed.len())]
    {
        tell(FieldChange::to(field, count));
    }
    ImportReport {
        added: report.added,
        updated: report.updated,
        failed: told(report.failed),
        notes: told(report.notes),
    }
}

/// An operator's change as the store takes it.
pub(super) fn set(change: AccountChange) -> SetAccount {
    SetAccount {
        enabled: change.enabled,
        threshold: change.quota_threshold,
        model_thresholds: change.model_quota_thresholds,
        models_changed: change.model_quota_threshold_changes,
        ..SetAccount::default()
    }
}

/// How the credential of the account with this address fared; `None` when there is no such account.
pub(super) async fn tried(
    directory: &Directory,
    verifier: &Verifier,
    email: &str,
) -> Result<Option<Trial>, StoreError> {
    let Some(account) = directory.account(email).await? else { return Ok(None) };
    let (works, reason, cleared) = match verifier.verify(&account).await? {
        Verdict::Works { cleared } => (true, None, cleared),
        Verdict::Fails(reason) => (false, Some(reason), false),
    };
    Ok(Some(Trial { email: account.view.email, works, reason, cleared }))
}
