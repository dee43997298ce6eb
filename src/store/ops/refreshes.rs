//! Forgetting what can be had anew: what was derived from accounts' credentials, and signatures.

use crate::store::Store;
use crate::store::feed::notice::Notice;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{AccountId, CredentialVersion};
use crate::store::registry::{FORGET_SIGNATURES, REFRESH_ACCOUNTS};

/// Accounts of one call.
const ACCOUNTS: usize = 200;
/// Signatures of one call.
const SIGNATURES: usize = 1024;

/// What was forgotten of accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Accounts that exist.
    pub accounts: u64,
    /// Access tokens that are gone.
    pub tokens: u64,
    /// Accounts whose project and tier are looked for anew.
    pub projects: u64,
    /// Accounts that were to be verified by their owners and count as valid again.
    pub valid: u64,
}

impl Store {
    /// Forgets the access tokens of `accounts`, the pauses after refreshes that failed, and when their projects and tiers
    /// were looked for; all replicas are told. `verified`: their owners say that they have done what the upstream wanted.
    /// Each is named with the version of its credential. The pause of one that did not answer the question for its quotas
    /// ends; whoever is asking is left in peace. Many accounts are many calls.
    pub async fn refresh_accounts(
        &self,
        accounts: &[(AccountId, CredentialVersion)],
        verified: bool,
    ) -> Result<Refreshed, StoreError> {
        let mut all = Refreshed::default();
        for chunk in accounts.chunks(ACCOUNTS) {
            let mut call = Call::new(&REFRESH_ACCOUNTS);
            for key in ["meta", "hot", "inv", "tok"] {
                call = call.key(self.keys.named(key));
            }
            call = call.arg(verified).arg(self.keys.channel());
            for (id, credential) in chunk {
                call = call
                    .key(self.keys.token_failure(id))
                    .key(self.keys.lock(&project_search(id)))
                    .key(self.keys.lock(&tier_search(id, *credential)))
                    .key(self.keys.lock(&quota_question(id)))
                    .arg(id.as_str());
            }
            let mut fields = self.run(self.timed(call)).await?;
            let (_, stamp) = fields.head()?;
            all.accounts += fields.number::<u64>("accounts")?;
            all.tokens += fields.number::<u64>("tokens")?;
            all.projects += fields.number::<u64>("projects")?;
            while fields.left() > 0 {
                let id = fields.account()?;
                all.valid += 1;
                self.note(stamp, Notice::Account { id: &id, kind: "account.valid" });
            }
        }
        Ok(all)
    }

    /// Forgets signatures by the names of their keys, each of which begins with [`super::super::keys::Keys::signatures`];
    /// others are left alone. Answers how many there were.
    pub async fn forget_signatures(&self, names: &[String]) -> Result<u64, StoreError> {
        let prefix = self.keys.signatures();
        let names: Vec<_> = names.iter().filter(|name| name.starts_with(&prefix)).collect();
        let mut forgotten = 0;
        for chunk in names.chunks(SIGNATURES) {
            let call = Call::new(&FORGET_SIGNATURES).key(self.keys.named("meta"));
            let call = chunk.iter().fold(call, |call, name| call.key(name.as_str()));
            let mut fields = self.run(self.timed(call)).await?;
            fields.head()?;
            forgotten += fields.number::<u64>("signatures forgotten")?;
            fields.end()?;
        }
        Ok(forgotten)
    }
}

/// What the lock of the search for an account's project is called.
#[must_use]
pub fn project_search(account: &AccountId) -> String {
    format!("project:{account}")
}

/// What the lock of the question for an account's quotas is called.
#[must_use]
pub fn quota_question(account: &AccountId) -> String {
    format!("quota:{account}")
}

/// What the lock is called that tells when an account's tier was looked for.
#[must_use]
pub fn tier_search(account: &AccountId, credential: CredentialVersion) -> String {
    format!("tier:{account}:{credential}")
}
