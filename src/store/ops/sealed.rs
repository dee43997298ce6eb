//! What is sealed, and by which encryption keys: for a rotation of keys, and for the check at start.

use std::fmt;

use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::AccountId;
use crate::store::registry::{ADD_KEY, FORGET_KEY, LIST_KEYS, LIST_SEALED, RESEAL};
use crate::store::reply::plain;

/// Where something sealed lies: one of each per account. A new kind of sealed record is added here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The credential.
    Credential,
    /// The access token.
    Token,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 2] = [Self::Credential, Self::Token];

    /// The key that holds it: `cred` or `tok`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "cred",
            Self::Token => "tok",
        }
    }
}

/// Something sealed, and where.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Whose it is.
    pub account: AccountId,
    /// What it is.
    pub place: Place,
    /// The sealed text.
    pub sealed: String,
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedSecret({}, {:?})", self.account, self.place)
    }
}

/// A page of what is sealed.
#[derive(Debug)]
pub struct SealedPage {
    /// In the order of accounts.
    pub secrets: Vec<SealedSecret>,
    /// The cursor of the next page.
    pub next: Option<u64>,
}

/// An encryption key as the pool knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Its id.
    pub id: String,
    /// The text that was sealed by it when it was put on the list; `None` when it is not.
    pub sealed: Option<String>,
    /// Credentials sealed by it.
    pub credentials: u64,
}

impl fmt::Debug for KnownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownKey({}, {} credentials)", self.id, self.credentials)
    }
}

/// What became of a key that was to come on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddedKey {
    /// It is there now.
    Done,
    /// It was.
    Known,
    /// The list has this key, which the caller lacks. Nothing was written.
    Foreign(String),
}

/// What became of a key that was to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing is sealed by it, and it is not on the list.
    Done,
    /// So many secrets are still sealed by it.
    Used(u64),
}

impl Store {
    /// A page of what is sealed, behind `cursor` (0: from the start), of at most `cap` accounts.
    pub async fn list_sealed(&self, cursor: u64, cap: u32) -> Result<SealedPage, StoreError> {
        let call = Call::new(&LIST_SEALED)
            .key(self.keys.named("meta"))
            .key(self.keys.named("roster"))
            .key(self.keys.named("cred"))
            .key(self.keys.named("tok"))
            .arg(cursor)
            .arg(cap.max(1));
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        let next: u64 = fields.number("a cursor")?;
        let mut secrets = Vec::new();
        while fields.left() > 0 {
            let account = fields.account()?;
            for place in Place::ALL {
                let sealed = fields.text("a sealed secret")?;
                if !sealed.is_empty() {
                    secrets.push(SealedSecret { account: account.clone(), place, sealed });
                }
            }
        }
        Ok(SealedPage { secrets, next: (next > 0).then_some(next) })
    }

    /// Puts `sealed` in the place of `secret`; `false` when another text has been put there meanwhile.
    pub async fn reseal(&self, secret: &SealedSecret, sealed: &str) -> Result<bool, StoreError> {
        let call = Call::new(&RESEAL)
            .key(self.keys.named("meta"))
            .key(self.keys.named("cred"))
            .key(self.keys.named("tok"))
            .arg(secret.account.as_str())
            .arg(secret.place.as_str())
            .arg(secret.sealed.as_str())
            .arg(sealed);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let done = match code.as_str() {
            "OK" => true,
            "CHANGED" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(done)
    }

    /// The encryption keys on the pool's list, and those by which credentials are sealed; by id.
    pub async fn list_keys(&self) -> Result<Vec<KnownKey>, StoreError> {
        let call = Call::new(&LIST_KEYS)
            .key(self.keys.named("meta"))
            .key(self.keys.named("vault"))
            .key(self.keys.named("cred"));
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        let mut known = Vec::new();
        while fields.left() > 0 {
            known.push(KnownKey {
                id: fields.text("a key's id")?,
                sealed: Some(fields.text("a sealed text")?).filter(|text| !text.is_empty()),
                credentials: fields.number("credentials")?,
            });
        }
        Ok(known)
    }

    /// Puts the key `id` on the pool's list, with a text sealed by it; `ring` are the ids of all keys that the caller has.
    pub async fn add_key(&self, id: &str, sealed: &str, ring: &[String]) -> Result<AddedKey, StoreError> {
        let call = Call::new(&ADD_KEY)
            .key(self.keys.named("meta"))
            .key(self.keys.named("vault"))
            .arg(plain(&ADD_KEY, "id", id)?)
            .arg(plain(&ADD_KEY, "sealed", sealed)?)
            .arg(plain(&ADD_KEY, "ring", &ring.join(" "))?);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let added = match code.as_str() {
            "OK" => AddedKey::Done,
            "KNOWN" => AddedKey::Known,
            "FOREIGN" => AddedKey::Foreign(fields.text("a key's id")?),
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(added)
    }

    /// Takes the key `id` off the pool's list, if no credential, no token and no sign-in that waits needs it.
    pub async fn forget_key(&self, id: &str) -> Result<Forgotten, StoreError> {
        let call = Call::new(&FORGET_KEY)
            .key(self.keys.named("meta"))
            .key(self.keys.named("vault"))
            .key(self.keys.named("cred"))
            .key(self.keys.named("tok"))
            .key(self.keys.named("signins"))
            .arg(plain(&FORGET_KEY, "id", id)?);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let forgotten = match code.as_str() {
            "OK" | "NONE" => Forgotten::Done,
            "USED" => Forgotten::Used(fields.number("secrets")?),
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(forgotten)
    }
}
