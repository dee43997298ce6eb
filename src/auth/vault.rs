//! Seals secrets before they are stored: XChaCha20-Poly1305 with a ring of keys.
//!
//! A sealed secret is `v1.<key id>.<base64url of nonce and ciphertext>`. Every key of the ring opens, and the newest
//! that all live gateways have seals (`rotation.rs`), so keys are rotated by putting a new one in front. What a secret
//! belongs to is bound as associated data: a sealed secret copied to another account does not open.
//!
//! Keys come from `ENCRYPTION_KEYS`. Without it they live in a file (`key_file.rs`); whoever has that file and the
//! store has the secrets.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use zeroize::Zeroizing;

use super::key_file::KeyFile;
use crate::config::StoreConfig;

const VERSION: &str = "v1";
const NONCE_LEN: usize = 24;
pub(super) const KEY_LEN: usize = 32;
/// What is sealed to know a key by.
const CANARY: &str = "antigravity-proxy";
const CANARY_AAD: &str = "vault:key";
/// Most accounts that an error names.
const NAMED: usize = 20;
const SETTING: &str = "ENCRYPTION_KEYS";

/// A sealed secret in its text form. Safe to store; not shown in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(String);

impl Sealed {
    /// Takes the text form as it was stored; it is checked when it is opened.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text form, owned.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    /// The id of the key that sealed it; `None` when it is none of the known form.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.parts().map(|(id, _)| id)
    }

    /// Key id and data.
    fn parts(&self) -> Option<(&str, &str)> {
        let (id, data) = self.0.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        (id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((id, data))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// Why secrets cannot be sealed or opened. No text holds a key or a secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// An entry of `ENCRYPTION_KEYS` or the key file is no key.
    #[error(
        "{place}: entry {index} is not the base64 form of {KEY_LEN} bytes (make one with: openssl rand -base64 32)"
    )]
    BadKey {
        /// `ENCRYPTION_KEYS` or the file.
        place: String,
        /// Which entry, from 1.
        index: usize,
    },
    /// There is no key at all.
    #[error("ENCRYPTION_KEYS: at least one key is needed")]
    NoKey,
    /// The key file cannot be read or made.
    #[error("{}: {cause}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// What is in the place of the key file is of no use.
    #[error("{}: {reason}: restore the key file; nothing was changed", path.display())]
    KeyFileUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Sealed with a key that is not in the ring.
    #[error(
        "a stored secret was sealed with key {id}, which is not configured: add that key to ENCRYPTION_KEYS (after the newest), or import the account again"
    )]
    UnknownKey {
        /// The key's id.
        id: String,
    },
    /// What is stored was sealed with keys that this process does not have.
    #[error(
        "the pool's secrets ({credentials} credentials) are sealed with key {}, which is not in {place} (that has {}): put the \
         missing key behind the others, or use the store and the POOL that belong to this key; nothing was changed{}",
        ids.join(" and key "), own.join(", "), remedy(accounts)
    )]
    Locked {
        /// The keys' ids.
        ids: Vec<String>,
        /// How many credentials are sealed with them; may be none yet.
        credentials: u64,
        /// `ENCRYPTION_KEYS` or the file.
        place: String,
        /// The ids of the keys that are there.
        own: Vec<String>,
        /// E-mail addresses of the accounts whose credentials these are, as far as they are known.
        accounts: Vec<String>,
    },
    /// A key has the id of the pool's key, and is another one.
    #[error(
        "key {id} in {place} is not the key {id} that the pool's secrets were sealed with: restore that one; nothing was changed"
    )]
    OtherKey {
        /// The id of both.
        id: String,
        /// `ENCRYPTION_KEYS` or the file.
        place: String,
    },
    /// The key file is gone, and the store was sealed with its keys.
    #[error(
        "{} is missing, but the store holds secrets sealed with key {}: restore the file, or when it is \
         lost for good give the accounts up with `accounts clear`; nothing was changed",
        path.display(), ids.join(" and key ")
    )]
    KeyFileMissing {
        /// Where the file was.
        path: PathBuf,
        /// The ids of the keys it had.
        ids: Vec<String>,
    },
    /// Not the text form of a sealed secret.
    #[error("a stored secret is damaged: it is not in the form v1.<key id>.<data>")]
    Malformed,
    /// The ciphertext does not belong to this key and owner, or was changed.
    #[error("a stored secret does not open: it was changed, or it belongs to another account")]
    Refused,
    /// The operating system gave no random bytes, or the cipher refused.
    #[error("sealing failed")]
    Seal,
}

/// What to do when a key is lost for good.
fn remedy(accounts: &[String]) -> String {
    let (named, more) = accounts.split_at(accounts.len().min(NAMED));
    let rest = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    if named.is_empty() {
        return "; when it is lost for good, `accounts clear` gives up what is sealed with it".into();
    }
    format!(
        "; when it is lost for good, give these accounts up with `accounts remove` and add them again: {}{rest}",
        named.join(", ")
    )
}

/// The ring of keys. Keys are wiped from memory when it is dropped.
pub struct Vault {
    ring: ArcSwap<Ring>,
    /// Where the keys come from, when that is a file.
    file: Option<KeyFile>,
    /// Held while something that was just sealed is on its way to the store.
    storing: RwLock<()>,
    /// Held while keys are rotated.
    rotating: Mutex<()>,
}

struct Ring {
    /// Newest first.
    keys: Vec<Key>,
    /// Which of them seals.
    sealing: AtomicUsize,
}

/// One key.
pub(super) struct Key {
    id: String,
    bytes: Zeroizing<[u8; KEY_LEN]>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ring.load().keys.iter().map(|key| &key.id)).finish()
    }
}

impl Ring {
    fn new(keys: Vec<Key>) -> Result<Self, VaultError> {
        if keys.is_empty() { Err(VaultError::NoKey) } else { Ok(Self { keys, sealing: AtomicUsize::new(0) }) }
    }

    fn sealing(&self) -> Result<&Key, VaultError> {
        let at = self.sealing.load(Ordering::Relaxed);
        self.keys.get(at).or(self.keys.first()).ok_or(VaultError::NoKey)
    }
}

impl Vault {
    /// Keys from `ENCRYPTION_KEYS`; without any, from the key file in the data directory, which is made when it is
    /// not there. Call it under the data directory's lock.
    pub fn from_config(config: &StoreConfig) -> Result<Self, VaultError> {
        match KeyFile::of(config) {
            Some(file) => Self::with(file.read_or_create()?, Some(file)),
            None => Self::new(&config.encryption_keys),
        }
    }

    /// A ring of base64 keys (standard or URL alphabet, with or without padding), newest first.
    pub fn new(keys: &[SecretString]) -> Result<Self, VaultError> {
        Self::with(Key::read_all(SETTING, keys.iter().map(ExposeSecret::expose_secret))?, None)
    }

    fn with(keys: Vec<Key>, file: Option<KeyFile>) -> Result<Self, VaultError> {
        Ok(Self {
            ring: ArcSwap::from_pointee(Ring::new(keys)?),
            file,
            storing: RwLock::default(),
            rotating: Mutex::default(),
        })
    }

    /// Where its keys come from: `ENCRYPTION_KEYS` or the path of the file.
    #[must_use]
    pub fn place(&self) -> String {
        self.file.as_ref().map_or_else(|| SETTING.to_owned(), |file| file.path().display().to_string())
    }

    /// Whether that is a file.
    #[must_use]
    pub fn keys_in_file(&self) -> bool {
        self.file.is_some()
    }

    /// The ids of its keys, newest first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.ring.load().keys.iter().map(|key| key.id.clone()).collect()
    }

    /// The same, the one that seals in front: what others are told.
    #[must_use]
    pub fn announced_ids(&self) -> Vec<String> {
        let (mut ids, first) = (self.key_ids(), self.sealing_id().unwrap_or_default());
        ids.sort_by_key(|id| *id != first);
        ids
    }

    /// The id of the key that seals.
    pub fn sealing_id(&self) -> Result<String, VaultError> {
        Ok(self.ring.load().sealing()?.id.clone())
    }

    /// Seals with the newest key that `fits`; when none does, as before.
    pub fn seal_with(&self, fits: impl Fn(&str) -> bool) {
        let ring = self.ring.load();
        if let Some(at) = ring.keys.iter().position(|key| fits(&key.id)) {
            ring.sealing.store(at, Ordering::Relaxed);
        }
    }

    /// The file that its keys come from, if they do.
    pub(super) fn file(&self) -> Option<&KeyFile> {
        self.file.as_ref()
    }

    /// Takes over the keys that its file has now; the newest seals. Waits for those that are about to store what they
    /// sealed with another, and what `held` protects is theirs.
    pub(super) fn reload(&self, file: &KeyFile, _held: &RwLockWriteGuard<'_, ()>) -> Result<(), VaultError> {
        self.ring.store(Arc::new(Ring::new(file.read()?.ok_or(VaultError::NoKey)?)?));
        Ok(())
    }

    /// To be held from sealing something to its being stored: keys are not replaced meanwhile.
    pub async fn storing(&self) -> RwLockReadGuard<'_, ()> {
        self.storing.read().await
    }

    /// Nobody is between sealing something and storing it while this is held.
    pub(super) async fn nothing_storing(&self) -> RwLockWriteGuard<'_, ()> {
        self.storing.write().await
    }

    /// One rotation at a time: another waits here until the one before has ended.
    pub(super) async fn rotating(&self) -> MutexGuard<'_, ()> {
        self.rotating.lock().await
    }

    /// A text sealed by the key that seals, to know that key by.
    pub(super) fn canary(&self) -> Result<Sealed, VaultError> {
        self.seal(CANARY_AAD, &CANARY.into())
    }

    /// Whether `sealed` is a [`Vault::canary`] of a key of this ring.
    pub(super) fn knows(&self, sealed: &Sealed) -> bool {
        self.open(CANARY_AAD, sealed).is_ok_and(|text| text.expose_secret() == CANARY)
    }

    /// Seals `secret` for the owner named by `aad`.
    pub fn seal(&self, aad: &str, secret: &SecretString) -> Result<Sealed, VaultError> {
        let ring = self.ring.load();
        let key = ring.sealing()?;
        let mut nonce = [0_u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::Seal)?;
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: aad.as_bytes() };
        let ciphertext = key.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Seal)?;
        let mut data = nonce.to_vec();
        data.extend_from_slice(&ciphertext);
        Ok(Sealed(format!("{VERSION}.{}.{}", key.id, URL_SAFE_NO_PAD.encode(data))))
    }

    /// Opens what was sealed for the owner named by `aad`.
    pub fn open(&self, aad: &str, sealed: &Sealed) -> Result<SecretString, VaultError> {
        let (id, data) = sealed.parts().ok_or(VaultError::Malformed)?;
        let ring = self.ring.load();
        let key = ring
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or_else(|| VaultError::UnknownKey { id: id.to_owned() })?;
        let data = URL_SAFE_NO_PAD.decode(data).map_err(|_| VaultError::Malformed)?;
        let (nonce, ciphertext) = data.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Malformed)?;
        let payload = Payload { msg: ciphertext, aad: aad.as_bytes() };
        let plain = key
            .cipher()
            .decrypt(&XNonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Refused)?;
        std::str::from_utf8(&plain).map(SecretString::from).map_err(|_| VaultError::Refused)
    }
}

impl Vault {
    /// A short name for `text` that nobody can check a guess against who does not have the key that seals: 32 hex digits,
    /// the same in all gateways that seal with one key. `purpose` keeps names for one thing apart from those for another.
    pub fn mark(&self, purpose: &str, text: &[u8]) -> Result<String, VaultError> {
        let ring = self.ring.load();
        let key = ring.sealing()?;
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes.as_slice()).map_err(|_| VaultError::Seal)?;
        mac.update(&(purpose.len() as u64).to_be_bytes());
        mac.update(purpose.as_bytes());
        mac.update(text);
        let digest = mac.finalize().into_bytes();
        let first = digest[..16].iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        Ok(format!("{first:032x}"))
    }
}

impl Key {
    /// Reads the entries of `place`.
    pub(super) fn read_all<'k>(
        place: &str,
        entries: impl Iterator<Item = &'k str>,
    ) -> Result<Vec<Self>, VaultError> {
        let bad = |at| VaultError::BadKey { place: place.to_owned(), index: at + 1 };
        entries.enumerate().map(|(at, text)| Self::parse(text).ok_or_else(|| bad(at))).collect()
    }

    /// Its id: the first 8 hex digits of the SHA-256 of its bytes.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn parse(text: &str) -> Option<Self> {
        let standard: Zeroizing<String> =
            Zeroizing::new(text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_"));
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(standard.as_bytes()).ok()?);
        let bytes = Zeroizing::new(<[u8; KEY_LEN]>::try_from(decoded.as_slice()).ok()?);
        let id = hex::encode(&Sha256::digest(bytes.as_slice())[..4]);
        Some(Self { id, bytes })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use secrecy::{ExposeSecret, SecretString};

    use super::{Sealed, Vault, VaultError};
    use crate::config::StoreConfig;

    fn key(byte: u8) -> SecretString {
        STANDARD.encode([byte; 32]).into()
    }

    fn vault(keys: &[u8]) -> Vault {
        Vault::new(&keys.iter().copied().map(key).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let vault = vault(&[1]);
        let sealed = vault.seal("a1:token", &"secret".into()).unwrap();
        assert!(sealed.as_str().starts_with("v1.72cd6e84."), "{}", sealed.as_str());
        assert_eq!(vault.open("a1:token", &sealed).unwrap().expose_secret(), "secret");
        assert!(matches!(vault.open("a2:token", &sealed), Err(VaultError::Refused)));
        assert_ne!(sealed, vault.seal("a1:token", &"secret".into()).unwrap());

        let text = sealed.as_str();
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = Sealed::from_text(String::from_utf8(changed).unwrap());
            assert!(vault.open("a1:token", &changed).is_err(), "byte {at}");
            assert!(vault.open("a1:token", &Sealed::from_text(text[..at].into())).is_err(), "cut at {at}");
        }
        assert!(!format!("{sealed:?} {vault:?}").contains(&text[12..]));
    }

    #[test]
    fn the_newest_key_seals_and_older_ones_open() {
        let old = vault(&[1]);
        let sealed = old.seal("a", &"s".into()).unwrap();
        let rotated = vault(&[2, 1]);
        assert_eq!(rotated.open("a", &sealed).unwrap().expose_secret(), "s");
        let resealed = rotated.seal("a", &"s".into()).unwrap();
        let error = old.open("a", &resealed).unwrap_err().to_string();
        let id = resealed.as_str().split('.').nth(1).unwrap();
        assert!(error.contains(id) && error.contains("ENCRYPTION_KEYS"), "{error}");
    }

    #[test]
    fn bad_keys_are_named_by_place_and_not_shown() {
        let error = Vault::new(&[key(1), "c2hvcnQ=".into()]).unwrap_err().to_string();
        assert!(error.contains("ENCRYPTION_KEYS") && error.contains("entry 2") && !error.contains("c2hv"));
        assert!(matches!(Vault::new(&[]), Err(VaultError::NoKey)));
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { data_dir: dir.path().join("data"), ..StoreConfig::default() };
        let sealed = Vault::from_config(&config).unwrap().seal("a", &"s".into()).unwrap();
        assert_eq!(Vault::from_config(&config).unwrap().open("a", &sealed).unwrap().expose_secret(), "s");
        let names: Vec<_> =
            std::fs::read_dir(&config.data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["encryption.key"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode =
                std::fs::metadata(config.data_dir.join("encryption.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(config.data_dir.join("encryption.key"), "\n").unwrap();
        assert!(matches!(Vault::from_config(&config), Err(VaultError::KeyFileUnusable { .. })));
    }
}
