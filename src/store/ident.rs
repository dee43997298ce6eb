//! Names and numbers that scripts and wrappers exchange.

use std::fmt;
use std::sync::Arc;

/// Text that cannot be an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to 128 letters, digits, `-`, `_` or `.`")]
pub struct InvalidId;

fn check(text: &str) -> Result<(), InvalidId> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > 128 || !text.bytes().all(fits) { Err(InvalidId) } else { Ok(()) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the characters of `text`.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// An account's opaque, immutable id: not its e-mail address, so it may be logged.
    AccountId
}
id! {
    /// One attempt of one request on one account.
    LeaseId
}
id! {
    /// Who holds a lock: random, one per holder.
    OwnerId
}

impl OwnerId {
    /// A new one; `None` when the system gives no randomness.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).ok()?;
        // Digits are always an id.
        Self::new(&u128::from_ne_bytes(bytes).to_string()).ok()
    }
}

id! {
    /// One run of one gateway process: random, new with each start.
    ReplicaId
}

id! {
    /// The id that the answer to a request carries in its header `request-id`.
    RequestName
}

id! {
    /// A client key's opaque id: random, not derived from its secret, the same after a rotation. It may be logged.
    ClientId
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Counts the credentials an account has had; a verdict about an older one changes nothing.
    CredentialVersion
}
number! {
    /// Counts the access tokens an account has had.
    Generation
}
number! {
    /// Counts the changes of a record or of a group of settings; for compare-and-set.
    Version
}

/// When the store answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Place in the pool's history of writes.
    pub seq: u64,
    /// The store's time, ms since the epoch.
    pub now_ms: i64,
}

/// Why an account is out of use until its owner acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidReason {
    /// The sign-in was revoked or expired: sign in again.
    Revoked,
    /// The provider disabled the account.
    Banned,
    /// The provider wants the owner to verify the account.
    Verification,
}

impl InvalidReason {
    /// `revoked`, `banned` or `verification`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Banned => "banned",
            Self::Verification => "verification",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Revoked, Self::Banned, Self::Verification].into_iter().find(|reason| reason.as_str() == name)
    }
}

/// How an account's token is obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// By refreshing with the sealed refresh token.
    OAuth,
    /// The sealed credential is the token.
    Manual,
    /// From the desktop application's database.
    Database,
}

impl Source {
    /// `oauth`, `manual` or `database`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::Manual => "manual",
            Self::Database => "database",
        }
    }

    /// The source of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::OAuth, Self::Manual, Self::Database].into_iter().find(|source| source.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_to_their_alphabet() {
        assert_eq!(AccountId::new("0192-ab_c.d").unwrap().as_str(), "0192-ab_c.d");
        for text in ["", "a/b", "a b", "a|b", "ä", &"x".repeat(129)] {
            assert_eq!(AccountId::new(text), Err(InvalidId), "{text}");
        }
    }
}
