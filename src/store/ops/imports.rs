//! Documents of accounts that were imported once and must not be imported again.

use sha2::{Digest as _, Sha256};

use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::registry::NOTE_IMPORT;

/// Names a document without telling what it holds: the SHA-256 of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentDigest(String);

impl DocumentDigest {
    /// The digest of `document`.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(document)))
    }
}

impl Store {
    /// Whether [`Self::note_import`] was called for this document, by whatever replica.
    pub async fn was_imported(&self, document: &DocumentDigest) -> Result<bool, StoreError> {
        self.imported(document, "0").await
    }

    /// Remembers that the document was imported; `true` when that was known already.
    pub async fn note_import(&self, document: &DocumentDigest) -> Result<bool, StoreError> {
        self.imported(document, "1").await
    }

    async fn imported(&self, document: &DocumentDigest, done: &str) -> Result<bool, StoreError> {
        let call = Call::new(&NOTE_IMPORT)
            .key(self.keys.named("meta"))
            .key(self.keys.named("imports"))
            .arg(document.0.as_str())
            .arg(done);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let known = match code.as_str() {
            "KNOWN" => true,
            "OK" | "NEW" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(known)
    }
}
