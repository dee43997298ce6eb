//! What is remembered of signatures, so that a conversation can move between replicas and families.

use std::time::Duration;

use super::admit::millis;
use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::keys::SigKey;
use crate::store::registry::{GET_SIGNATURES, PUT_SIGNATURES};
use crate::store::reply::Fields;

/// Most signatures of one call; more are sent in further calls of the same batch.
pub const SIGNATURES_MAX: usize = 1024;

impl Store {
    /// Remembers `entries` for at least `ttl` after their last use. Empty values are left out.
    pub async fn put_signatures(
        &self,
        entries: &[(SigKey, String)],
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let entries: Vec<_> = entries.iter().filter(|(_, value)| !value.is_empty()).collect();
        let calls: Vec<_> = entries
            .chunks(SIGNATURES_MAX)
            .map(|chunk| {
                let mut call = Call::new(&PUT_SIGNATURES).key(self.keys.named("meta")).arg(millis(ttl));
                for (key, value) in chunk {
                    call = call.key(self.keys.signature(key)).arg(value.as_str());
                }
                self.timed(call)
            })
            .collect();
        if calls.is_empty() {
            return Ok(());
        }
        for reply in self.host.eval(calls).await? {
            let mut fields = Fields::new(&PUT_SIGNATURES, reply)?;
            fields.head()?;
            fields.number::<u64>("signatures kept")?;
            fields.end()?;
        }
        Ok(())
    }

    /// Recalls the values of `keys`, in order, and lets them live on for `ttl`.
    pub async fn get_signatures(
        &self,
        keys: &[SigKey],
        ttl: Duration,
    ) -> Result<Vec<Option<String>>, StoreError> {
        let calls: Vec<_> =
            keys.chunks(SIGNATURES_MAX).map(|keys| self.get_signatures_call(keys, ttl)).collect();
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::with_capacity(keys.len());
        for reply in self.host.eval(calls).await? {
            found.extend(values(Fields::new(&GET_SIGNATURES, reply)?)?);
        }
        Ok(found)
    }

    pub(super) fn get_signatures_call(&self, keys: &[SigKey], ttl: Duration) -> Call {
        let call = Call::new(&GET_SIGNATURES).key(self.keys.named("meta")).arg(millis(ttl));
        self.timed(keys.iter().fold(call, |call, key| call.key(self.keys.signature(key))))
    }
}

/// The values of one `get_signatures` reply.
pub(super) fn values(mut fields: Fields) -> Result<Vec<Option<String>>, StoreError> {
    fields.head()?;
    (0..fields.left()).map(|_| fields.optional("a signature")).collect()
}
