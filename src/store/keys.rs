//! Names of everything the scripts keep, under one hash tag per pool.
//!
//! `agp:v1:{<pool>}:` is the prefix: the braces make one slot of a pool, `v1` is the layout. Records carry
//! their own layout number besides, so that a script can refuse what it does not know.
//!
//! Durable keys (D) hold what nobody can tell again; volatile ones (V) what is learnt anew when they are lost: a request
//! meets a limit once more, a token is refreshed, a conversation changes its account.
//!
//! | key | | type | holds | lives |
//! |---|---|---|---|---|
//! | `meta` | D | HASH | `seq` (history), `accounts` (number of the newest), `cursor` (round-robin), `window` (large pools), `audit` (number of the newest record), `gen:settings`, `gen:keys`, `gen:console` | ever |
//! | `cfg` | D | HASH | settings that scripts read, by flat name | ever |
//! | `conf` | D | HASH | settings that gateways read | ever |
//! | `roster` | D | ZSET | account id → number: the order of accounts | ever |
//! | `email` | D | HASH | lower-cased address → id | ever |
//! | `acct` | D | HASH | id → descriptive record (`lib/fields.lua`) | ever |
//! | `cred` | D | HASH | id → sealed credential | ever |
//! | `vault` | D | HASH | encryption key id → a text sealed by that key (`vault.rs`) | until nothing is sealed by it |
//! | `hot` | D | HASH | id → what selection reads, packed (`lib/hot.lua`) | ever |
//! | `inv` | D | HASH | id → since when invalid, address for the owner | ever |
//! | `imports` | D | HASH | digest of an imported document → when, for `import --once` | ever |
//! | `th` | D | HASH | model → quota thresholds by account number | ever |
//! | `tok` | V | HASH | id → generation, end, sealed access token (`lib/tokens.lua`) | ever |
//! | `quota` | V | HASH | id → quotas as fetched, for lists | ever |
//! | `m:<model>` | V | HASH | 32 account numbers → their limits, 429 counts, quotas of the model, packed (`lib/limits.lua`) | 2 days after the last change |
//! | `leases` | V | ZSET | `<id>/<lease>` → end: the requests in flight (`lib/leases.lua`) | swept |
//! | `convs` | V | ZSET | `<id>/<conversation>` → end: what stays with the account | swept |
//! | `stick:<hash>` | V | STRING | the account that has a conversation | `sticky.ttlMs` after its last use |
//! | `req:<lease>` | V | STRING | an attempt's decision, then its settlement; alone the latter when it was released unadmitted; for `<request>-0` that the request was counted without one | 15 min |
//! | `probe:<model>` | V | STRING | who probes a limited model | 15 s |
//! | `tlock:<id>`, `tfail:<id>` | V | STRING | who refreshes a token; when to try again | lock time; pause + 1 min |
//! | `tdown` | V | STRING | tokens cannot be fetched: the account whose refresh failed last | pause + 30 s, or until one succeeds |
//! | `lock:<work>` | V | STRING | who was elected, or that nobody is at it for a while (`lib/locks.lua`) | as asked |
//! | `signins` | V | HASH | state → sign-in under way or its result (`lib/signins.lua`) | sign-in: 10 min, its result as long |
//! | `sig:<hash>` | V | STRING | what is known of a signature | 1.5 × its sliding time |
//! | `models` | V | HASH | catalogue of models | 1 day |
//! | `keys` | D | HASH | id → client key: name, digests, expiry, models (`lib/clients.lua`) | ever |
//! | `keyuse` | D | HASH | id of a client key → minute of its last use, ms since the epoch | ever |
//! | `audit` | D | ZSET | the audit trail: what operators did (`lib/audit.lua`) → its number | the newest 10,000, 90 days |
//! | `audit:strangers` | D | ZSET | the same of what strangers tried at the console's door | the newest 1,000, 90 days |
//! | `console` | D | HASH | `hash` → Argon2id hash of the console's password; digest of a setup token → its end (`lib/console.lua`) | ever; token: 1 day |
//! | `sessions` | D | HASH | digest of a session's token → session (`lib/console.lua`) | session: 12 h without use, 7 days at most |
//! | `tickets` | V | HASH | digest of a ticket for the log stream → its end, whose it is | 1 min |
//! | `tries:<peer>` | V | HASH | mark of a credential → what came of it at the console's door (`lib/tries.lua`) | 1 h |
//! | `replicas` | V | HASH | replica id → record (`lib/replicas.lua`) | record: 15 s after its last beat |
//! | `ask:<question>` | V | HASH | replica id → its answer to a question of another one; `#` → who asked | until they are read, 10 s at most |
//! | `feed:<topic>` | V | STREAM | what happened, in order (`feed.rs`); Redis only, no script of the registry touches it | 10,000 entries, 7 days |
//! | `feed:<topic>:<writer>` | V | STRING | number of the last entry of a writer | 1 h after it |
//! | `feed:<topic>:trimmed` | V | STRING | what was trimmed of the stream last: an entry's id, or `-` (`feed/append.lua`) | ever |
//! | `presets:server`, `presets:claude` | D | HASH | name → JSON of a preset; empty for a built-in one that was removed | ever |
//! | `usage:<hour>` | D | HASH | requests by model, status and client key (`lib/usage.lua`), hour = ms since the epoch / 3,600,000; a row of client key `migrated` was counted elsewhere | 30 days after its first row |
//! | `hourly:<day>` | D | HASH | those of a day by hour and model, day = ms since the epoch / 86,400,000 | 31 days after its first row |
//! | `daily:<day>` | D | HASH | those of a day by model and client key | 90 days after its first row |
//! | `capacity:<day>` | V | HASH | ten minutes, counted from the epoch → what was left of the quotas of each model (`ops/capacity.rs`) | 8 days after its first note |
//! | `scratch` | V | any | nothing: `rehearse` tries commands on it | a moment |
//! | `scratch:feed` | V | STREAM | nothing: the commands of `feed:<topic>` are tried on it; Redis only | a moment |
//! | `ev` | | channel | `<kind> <id> <seq>`, kind = `account`, `limit`, `lifted`, `freed`, `models`, `settings`, `keys`, `console` or `replica`; `ask <question> <seq> <words>` | – |

use std::io::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::ident::{AccountId, LeaseId, OwnerId};

/// Milliseconds in the hour that one `usage` key covers.
pub const USAGE_HOUR_MS: i64 = 3_600_000;
/// Milliseconds in the day, by UTC, that one `hourly` or `daily` key covers.
pub const USAGE_DAY_MS: i64 = 24 * USAGE_HOUR_MS;

/// Milliseconds between two notes of what is left of the pool's quotas.
pub const CAPACITY_SLOT_MS: i64 = 10 * 60_000;

/// What follows a pool's prefix in the keys of feeds.
pub(super) const FEEDS: &str = "feed:";

/// Builds the keys of one pool.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Arc<str>,
}

/// The name of one key: text. Up to a length that names seldom exceed it needs no allocation of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(SmallVec<[u8; Self::USUAL]>);

impl Key {
    /// Long enough for an attempt's record in a pool of a short name.
    const USUAL: usize = 64;

    fn of(parts: [&str; 3]) -> Self {
        let mut name = SmallVec::new();
        for part in parts {
            name.extend_from_slice(part.as_bytes());
        }
        Self(name)
    }

    /// Its bytes, as they are sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self(SmallVec::from_slice(name.as_bytes()))
    }
}

impl From<String> for Key {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
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
        self.text("ev")
    }

    fn text(&self, name: &str) -> String {
        [&self.prefix, name].concat()
    }

    fn key(&self, kind: &str, name: &str) -> Key {
        Key::of([&self.prefix, kind, name])
    }

    /// A key with a number at its end.
    fn numbered(&self, kind: &str, number: i64) -> Key {
        let mut key = self.key(kind, "");
        // Writing to memory does not fail.
        let _ = write!(key.0, "{number}");
        key
    }

    pub(super) fn named(&self, name: &str) -> Key {
        self.key(name, "")
    }

    pub(super) fn model(&self, model: &str) -> Key {
        self.key("m:", model)
    }

    pub(super) fn probe(&self, model: &str) -> Key {
        self.key("probe:", model)
    }

    pub(super) fn req(&self, lease: &LeaseId) -> Key {
        self.key("req:", lease.as_str())
    }

    pub(super) fn token_lock(&self, id: &AccountId) -> Key {
        self.key("tlock:", id.as_str())
    }

    pub(super) fn token_failure(&self, id: &AccountId) -> Key {
        self.key("tfail:", id.as_str())
    }

    pub(super) fn conversation(&self, key: &ConversationKey) -> Key {
        self.key("stick:", &key.0)
    }

    pub(super) fn lock(&self, work: &str) -> Key {
        self.key("lock:", work)
    }

    pub(super) fn ask(&self, question: &OwnerId) -> Key {
        self.key("ask:", question.as_str())
    }

    /// What `peer` tried at the console's door.
    pub(super) fn tries(&self, peer: &str) -> Key {
        self.key("tries:", peer)
    }

    pub(super) fn feed(&self, topic: &str) -> String {
        [&self.prefix, FEEDS, topic].concat()
    }

    /// Where the commands of feeds are tried.
    pub(super) fn scratch_feed(&self) -> String {
        self.text("scratch:feed")
    }

    /// What the keys of all signatures start with.
    #[must_use]
    pub fn signatures(&self) -> String {
        self.text("sig:")
    }

    pub(super) fn signature(&self, key: &SigKey) -> Key {
        self.key("sig:", &key.0)
    }

    /// The counters of the hour that contains `at_ms`, a store time in ms.
    pub(super) fn usage(&self, at_ms: i64) -> Key {
        self.numbered("usage:", at_ms.div_euclid(USAGE_HOUR_MS))
    }

    /// The counters by hour and model of the day that contains `at_ms`.
    pub(super) fn usage_hourly(&self, at_ms: i64) -> Key {
        self.numbered("hourly:", at_ms.div_euclid(USAGE_DAY_MS))
    }

    /// The counters by model and client key of the day that contains `at_ms`.
    pub(super) fn usage_daily(&self, at_ms: i64) -> Key {
        self.numbered("daily:", at_ms.div_euclid(USAGE_DAY_MS))
    }

    /// The notes of what was left on the day that contains `at_ms`.
    pub(super) fn capacity(&self, at_ms: i64) -> Key {
        self.numbered("capacity:", at_ms.div_euclid(USAGE_DAY_MS))
    }
}

/// Where a signature is kept: a hash, so that no text of a conversation becomes part of a key, scoped by
/// client key, so that one client cannot reach another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SigKey(String);

/// What a conversation's account is remembered by: a hash, scoped by client key, so that a session id of one client
/// cannot reach another's assignment; per model, since each model has its own limits and its own prompt cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConversationKey(String);

impl ConversationKey {
    /// The place of `conversation`, any text that is the same in all its requests, for `client_key` and `model`.
    #[must_use]
    pub fn new(client_key: &str, conversation: &str, model: &str) -> Self {
        Self(digest(&[client_key, conversation, model]))
    }

    /// The end of the key's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Half of the SHA-256 over `parts`, each behind its length, in hex.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    half(hash)
}

fn half(hash: Sha256) -> String {
    hex::encode(&hash.finalize()[..16])
}

impl SigKey {
    /// The end of the key's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The place of `text` among the things of `kind` that `client_key` may see.
    #[must_use]
    pub fn new(client_key: &str, kind: SigKind, text: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update((client_key.len() as u64).to_be_bytes());
        hash.update(client_key);
        hash.update([kind as u8]);
        hash.update(text);
        Self(half(hash))
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
        assert_eq!(keys.model("gemini-3-flash").as_str(), "agp:v1:{main}:m:gemini-3-flash");
        assert_eq!(keys.usage(7_199_999).as_str(), "agp:v1:{main}:usage:1");
        assert_eq!(keys.usage_hourly(USAGE_DAY_MS).as_str(), "agp:v1:{main}:hourly:1");
        assert_eq!(keys.capacity(2 * USAGE_DAY_MS).as_str(), "agp:v1:{main}:capacity:2");
        assert_eq!(keys.usage_daily(2 * USAGE_DAY_MS - 1).as_str(), "agp:v1:{main}:daily:1");
        for pool in ["", "a}b", "a{b", "a b", &"x".repeat(65)] {
            assert_eq!(Keys::new(pool).unwrap_err(), InvalidPool, "{pool}");
        }
    }

    #[test]
    fn conversations_are_scoped() {
        let key = ConversationKey::new("a", "s", "m");
        assert_eq!(key.0.len(), 32);
        for (client, session, model) in [("b", "s", "m"), ("a", "t", "m"), ("a", "s", "n"), ("as", "", "m")] {
            assert_ne!(key, ConversationKey::new(client, session, model));
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
