//! Names of everything the scripts keep, under one hash tag per pool.
//!
//! `agp:v1:{<pool>}:` is the prefix: the braces make one slot of a pool, `v1` is the layout. Records carry
//! their own layout number besides, so that a script can refuse what it does not know.
//!
//! | key | type | holds | lives |
//! |---|---|---|---|
//! | `meta` | HASH | `seq` (history), `accounts` (number of the newest), `cursor` (round-robin), `gen:settings` | ever |
//! | `cfg` | HASH | settings that scripts read, by flat name | ever |
//! | `conf` | HASH | settings that gateways read | ever |
//! | `roster` | ZSET | account id → number: the order of accounts | ever |
//! | `email` | HASH | lower-cased address → id | ever |
//! | `acct` | HASH | id → descriptive record (`lib/fields.lua`) | ever |
//! | `cred` | HASH | id → sealed credential | ever |
//! | `hot` | HASH | id → what selection reads (`lib/hot.lua`) | ever |
//! | `inv` | HASH | id → since when invalid, address for the owner | ever |
//! | `th` | HASH | model → quota thresholds by id | ever |
//! | `tok` | HASH | id → generation, end, sealed access token (`lib/tokens.lua`) | ever |
//! | `quota` | HASH | id → quotas as fetched, for lists | ever |
//! | `m:<model>` | HASH | id → limits, 429 count, quota of the model (`lib/limits.lua`) | 2 days after the last change |
//! | `leases` | ZSET | `<id>/<lease>` → end: the requests in flight | swept |
//! | `req:<lease>` | STRING | an attempt's decision, then its settlement; alone the latter when it was released unadmitted | 15 min |
//! | `probe:<model>` | STRING | who probes a limited model | 15 s |
//! | `tlock:<id>`, `tfail:<id>` | STRING | who refreshes a token; when to try again | lock time; pause + 1 min |
//! | `lock:<work>` | STRING | who was elected | as asked |
//! | `sig:<hash>` | STRING | what is known of a signature | 1.5 × its sliding time |
//! | `models` | HASH | catalogue of models | 1 day |
//! | `replicas` | HASH | replica id → record (`lib/replicas.lua`) | record: 15 s after its last beat |
//! | `feed:<topic>` | STREAM | what happened, in order (`feed.rs`); Redis only, no script touches it | capped |
//! | `feed:<topic>:<writer>` | STRING | number of the last entry of a writer | 1 h after it |
//! | `usage:<hour>` | HASH | counters, hour = ms since the epoch / 3,600,000 | 30 days |
//! | `scratch` | any | nothing: `rehearse` tries commands on it | a moment |
//! | `ev` | channel | `<kind> <id> <seq>`, kind = `account`, `limit`, `lifted`, `models`, `settings` or `replica` | – |

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ident::{AccountId, LeaseId};

/// Milliseconds in the hour that one `usage` key covers.
pub const USAGE_HOUR_MS: i64 = 3_600_000;

/// Builds the keys of one pool.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Arc<str>,
}

/// A pool's name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pool's name has 1 to 64 letters, digits, `-`, `_` or `.`")]
pub struct InvalidPool;

impl Keys {
    /// The keys of `pool`.
    pub fn new(pool: &str) -> Result<Self, InvalidPool> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if pool.is_empty() || pool.len() > 64 || !pool.bytes().all(fits) {
            return Err(InvalidPool);
        }
        Ok(Self { prefix: format!("agp:v1:{{{pool}}}:").into() })
    }

    /// What every key of the pool starts with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The channel of the pool's events.
    #[must_use]
    pub fn channel(&self) -> String {
        self.named("ev")
    }

    pub(super) fn named(&self, name: &str) -> String {
        [&self.prefix, name].concat()
    }

    pub(super) fn model(&self, model: &str) -> String {
        [&self.prefix, "m:", model].concat()
    }

    pub(super) fn probe(&self, model: &str) -> String {
        [&self.prefix, "probe:", model].concat()
    }

    pub(super) fn req(&self, lease: &LeaseId) -> String {
        [&self.prefix, "req:", lease.as_str()].concat()
    }

    pub(super) fn token_lock(&self, id: &AccountId) -> String {
        [&self.prefix, "tlock:", id.as_str()].concat()
    }

    pub(super) fn token_failure(&self, id: &AccountId) -> String {
        [&self.prefix, "tfail:", id.as_str()].concat()
    }

    pub(super) fn lock(&self, work: &str) -> String {
        [&self.prefix, "lock:", work].concat()
    }

    pub(super) fn feed(&self, topic: &str) -> String {
        [&self.prefix, "feed:", topic].concat()
    }

    pub(super) fn signature(&self, key: &SigKey) -> String {
        [&self.prefix, "sig:", &key.0].concat()
    }

    /// The counters of the hour that contains `at_ms`, a store time in ms.
    pub(super) fn usage(&self, at_ms: i64) -> String {
        format!("{}usage:{}", self.prefix, at_ms.div_euclid(USAGE_HOUR_MS))
    }
}

/// Where a signature is kept: a hash, so that no text of a conversation becomes part of a key, scoped by
/// client key, so that one client cannot reach another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SigKey(String);

impl SigKey {
    /// The place of `text` among the things of `kind` that `client_key` may see.
    #[must_use]
    pub fn new(client_key: &str, kind: SigKind, text: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update((client_key.len() as u64).to_be_bytes());
        hash.update(client_key);
        hash.update([kind as u8]);
        hash.update(text);
        let digest = hash.finalize();
        Self(format!("{:032x}", digest[..16].iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte))))
    }
}

/// What a signature is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigKind {
    /// By the signature of a thinking block.
    Thinking = 0,
    /// By the id of a tool call.
    Tool = 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hash_tag() {
        let keys = Keys::new("main").unwrap();
        assert_eq!(keys.model("gemini-3-flash"), "agp:v1:{main}:m:gemini-3-flash");
        assert_eq!(keys.usage(7_199_999), "agp:v1:{main}:usage:1");
        for pool in ["", "a}b", "a{b", "a b", &"x".repeat(65)] {
            assert_eq!(Keys::new(pool).unwrap_err(), InvalidPool, "{pool}");
        }
    }

    #[test]
    fn signatures_are_scoped() {
        let key = SigKey::new("a", SigKind::Tool, "toolu_1");
        assert_eq!(key.0.len(), 32);
        assert_ne!(key, SigKey::new("b", SigKind::Tool, "toolu_1"));
        assert_ne!(key, SigKey::new("a", SigKind::Thinking, "toolu_1"));
        assert_ne!(SigKey::new("ab", SigKind::Tool, "c"), SigKey::new("a", SigKind::Tool, "bc"));
    }
}
