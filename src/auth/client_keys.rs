//! Client keys: who may call `/v1`, as this process knows it.
//!
//! Each person or machine has a key of its own; its id, never its secret, scopes conversations, signatures and usage
//! and stays the same when the secret is rotated. Two sources: the configuration (`API_KEY`: `default`, further ones
//! `default-2`, `default-3`, …) and the store. A request is checked against a copy in memory; [`Directory`] changes
//! what the store holds, and [`KeyRing`] takes that over (source: spec `http-api.md` §2.1).

mod directory;
mod ring;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::store::ident::{ClientId, Version};
use crate::store::ops::clients::Clients;

pub use directory::{Directory, KeyError, LONGEST_MODEL, MOST_MODELS, Made, NewKey};
pub use ring::KeyRing;

/// What every secret begins with, so that scanners of leaked secrets know it.
pub const SECRET_PREFIX: &str = "agp_";
/// The id of all callers while `/v1` is open.
pub const OPEN: &str = "open";
/// The id of callers over the control socket.
pub const CONTROL: &str = "control";
/// The id of the first configured key; the others have their number behind it.
const DEFAULT: &str = "default";
/// Bytes of a secret.
const SECRET_LEN: usize = 32;
const MINUTE_MS: i64 = 60_000;

/// The SHA-256 of a secret. Compared in constant time; not shown in `Debug` output.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Of the secret as a client sends it.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Lower-case hex, as it is stored.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads what [`Self::to_hex`] wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// A new secret: 256 random bits behind `prefix`; `None` where the system gives no randomness.
pub(super) fn new_secret(prefix: &str) -> Option<SecretString> {
    let mut bytes = Zeroizing::new([0_u8; SECRET_LEN]);
    getrandom::fill(bytes.as_mut_slice()).ok()?;
    let mut text = Zeroizing::new(prefix.to_owned());
    // No reallocation leaves a copy behind.
    text.reserve_exact(SECRET_LEN * 4 / 3 + 4);
    URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
    Some(SecretString::from(std::mem::take(&mut *text)))
}

/// A caller that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The id of its key, `open` where there is none.
    pub id: Arc<str>,
    /// The name of its key, which the operator gave it.
    pub name: Arc<str>,
    /// Models that it may use; empty for all (`account::alias::permits`).
    pub models: Arc<[String]>,
}

/// Why a caller was not let in. Names are told to those only who have the secret that belongs to them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No secret, or an unknown one.
    #[error("Invalid or missing API key")]
    Unknown,
    /// The key was revoked.
    #[error("The API key of {0:?} was revoked; ask the operator for another one")]
    Revoked(String),
    /// The key's time is over.
    #[error("The API key of {0:?} has expired; ask the operator to extend it")]
    Expired(String),
    /// The secret was replaced by a rotation, and its grace is over.
    #[error("The API key of {0:?} was rotated; use its new secret")]
    Replaced(String),
}

/// One key.
#[derive(Debug)]
struct Known {
    id: Arc<str>,
    name: Arc<str>,
    models: Arc<[String]>,
    expires_ms: Option<i64>,
    revoked: bool,
    /// Of stored keys.
    used: Option<(ClientId, Arc<Used>)>,
}

/// When a key was used last, ms since the epoch by the store's clock; 0 for not yet in this process.
#[derive(Debug, Default)]
struct Used {
    at_ms: AtomicI64,
    written_ms: AtomicI64,
}

/// All keys at one moment.
#[derive(Debug, Default)]
struct Table {
    generation: Version,
    /// By digest; with the end of the secret where a rotation gave it one.
    secrets: HashMap<KeyDigest, (Arc<Known>, Option<i64>)>,
    /// Whether a caller needs a key.
    closed: bool,
}

impl Table {
    fn check(&self, secret: KeyDigest, now_ms: i64) -> Result<&Known, Refused> {
        let (known, ends_ms) = self.secrets.get(&secret).ok_or(Refused::Unknown)?;
        let name = || known.name.as_ref().to_owned();
        let over = |end: Option<i64>| end.is_some_and(|end| end <= now_ms);
        if known.revoked {
            return Err(Refused::Revoked(name()));
        }
        if over(*ends_ms) {
            return Err(Refused::Replaced(name()));
        }
        if over(known.expires_ms) {
            return Err(Refused::Expired(name()));
        }
        Ok(known)
    }
}

/// The client keys as this process knows them. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct ClientKeys {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    configured: Vec<(KeyDigest, Arc<Known>)>,
    table: ArcSwap<Table>,
    clock: Clock,
    /// How far the store's clock is ahead of this process's, ms.
    ahead_ms: AtomicI64,
}

impl ClientKeys {
    /// The configured keys alone; empty ones are none.
    #[must_use]
    pub fn new(configured: &[SecretString], clock: Clock) -> Self {
        let keys = configured.iter().map(ExposeSecret::expose_secret).filter(|key| !key.is_empty());
        let configured: Vec<_> = keys
            .zip(configured_names())
            .map(|(key, name)| {
                let known = Known {
                    id: name.as_str().into(),
                    name: name.into(),
                    models: Arc::default(),
                    expires_ms: None,
                    revoked: false,
                    used: None,
                };
                (KeyDigest::of(key.as_bytes()), Arc::new(known))
            })
            .collect();
        let ahead_ms = AtomicI64::new(0);
        let keys = Self { inner: Arc::new(Inner { configured, table: ArcSwap::default(), clock, ahead_ms }) };
        keys.take_over(Clients::default());
        keys
    }

    /// Names of the configured keys.
    #[must_use]
    pub fn configured(&self) -> Vec<String> {
        self.inner.configured.iter().map(|(_, known)| known.name.as_ref().to_owned()).collect()
    }

    /// Whether `/v1` asks for no key: none is configured, and none was ever made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.inner.table.load().closed
    }

    /// The generation of what was taken over last.
    #[must_use]
    pub fn generation(&self) -> Version {
        self.inner.table.load().generation
    }

    /// Replaces what is known of the stored keys. A process that has once asked for keys does so to its end, whatever
    /// becomes of the store.
    pub fn take_over(&self, clients: Clients) {
        let last = self.inner.table.load_full();
        let marks: HashMap<&ClientId, &Arc<Used>> = last
            .secrets
            .values()
            .filter_map(|(known, _)| Some((&known.used.as_ref()?.0, &known.used.as_ref()?.1)))
            .collect();
        let closed = last.closed
            || !self.inner.configured.is_empty()
            || clients.generation > Version(0)
            || !clients.clients.is_empty();
        let mut secrets = HashMap::with_capacity(clients.clients.len() + self.inner.configured.len());
        for client in clients.clients {
            let used = marks.get(&client.id).map(|used| Arc::clone(used)).unwrap_or_default();
            let known = Arc::new(Known {
                id: client.id.as_str().into(),
                name: client.name.into(),
                models: client.models.into(),
                expires_ms: client.expires_ms,
                revoked: client.revoked_ms.is_some(),
                used: Some((client.id, used)),
            });
            let before =
                client.before.and_then(|(digest, end)| Some((KeyDigest::from_hex(&digest)?, Some(end))));
            let current = KeyDigest::from_hex(&client.digest).map(|digest| (digest, None));
            for (digest, end) in before.into_iter().chain(current) {
                secrets.insert(digest, (Arc::clone(&known), end));
            }
        }
        for (digest, known) in &self.inner.configured {
            secrets.insert(*digest, (Arc::clone(known), None));
        }
        self.inner.table.store(Arc::new(Table { generation: clients.generation, secrets, closed }));
    }

    /// Takes over the store's time, by which keys expire everywhere alike.
    pub fn heard(&self, now_ms: i64) {
        let ahead = now_ms.saturating_sub(self.inner.clock.epoch_ms());
        self.inner.ahead_ms.store(ahead, Ordering::Relaxed);
    }

    /// The store's time as far as it is known here, ms since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.inner.clock.epoch_ms().saturating_add(self.inner.ahead_ms.load(Ordering::Relaxed))
    }

    /// Lets a caller in that has one right secret among those it sent.
    ///
    /// # Errors
    ///
    /// None of them is right; of several reasons the first that names a key.
    pub fn check<'s>(&self, secrets: impl IntoIterator<Item = &'s [u8]>) -> Result<Admitted, Refused> {
        let table = self.inner.table.load();
        if !table.closed {
            return Ok(Admitted { id: OPEN.into(), name: OPEN.into(), models: Arc::default() });
        }
        let now_ms = self.now_ms();
        let mut refused = Refused::Unknown;
        for secret in secrets {
            match table.check(KeyDigest::of(secret), now_ms) {
                Ok(known) => {
                    if let Some((_, used)) = &known.used {
                        used.at_ms.fetch_max(now_ms, Ordering::Relaxed);
                    }
                    let (id, name, models) =
                        (Arc::clone(&known.id), Arc::clone(&known.name), Arc::clone(&known.models));
                    return Ok(Admitted { id, name, models });
                }
                Err(why) if refused == Refused::Unknown => refused = why,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// The stored keys that were used in a minute which is not written yet, each with when, by the store's clock.
    #[must_use]
    pub fn unwritten(&self) -> Vec<(ClientId, i64)> {
        let table = self.inner.table.load();
        let mut uses: Vec<_> = table
            .secrets
            .values()
            .filter_map(|(known, _)| known.used.as_ref())
            .filter_map(|(id, used)| {
                let at = used.at_ms.load(Ordering::Relaxed);
                let written = used.written_ms.load(Ordering::Relaxed);
                (at / MINUTE_MS > written / MINUTE_MS).then(|| (id.clone(), at))
            })
            .collect();
        // A key that was rotated has two secrets.
        uses.sort();
        uses.dedup();
        uses
    }

    /// Remembers that `uses` are written.
    pub fn written(&self, uses: &[(ClientId, i64)]) {
        let table = self.inner.table.load();
        let known = table.secrets.values().filter_map(|(known, _)| known.used.as_ref());
        let known: HashMap<&ClientId, &Arc<Used>> = known.map(|(id, used)| (id, used)).collect();
        for (id, at) in uses {
            if let Some(used) = known.get(id) {
                used.written_ms.fetch_max(*at, Ordering::Relaxed);
            }
        }
    }

    /// How long ago `at_ms` was, by the store's clock.
    #[must_use]
    pub fn since(&self, at_ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(self.now_ms().saturating_sub(at_ms)).unwrap_or_default())
    }
}

/// The ids, and names, of configured keys in their order.
fn configured_names() -> impl Iterator<Item = String> {
    std::iter::once(DEFAULT.to_owned()).chain((2..).map(|number: u32| format!("{DEFAULT}-{number}")))
}

/// Whether a name is one that no stored key may have.
fn is_reserved(name: &str) -> bool {
    let numbered = |rest: &str| rest.strip_prefix('-').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    matches!(name, OPEN | CONTROL)
        || name.strip_prefix(DEFAULT).is_some_and(|rest| rest.is_empty() || numbered(rest))
}

#[cfg(test)]
mod tests;
