//! Seals secrets before they are stored: XChaCha20-Poly1305 with a ring of keys.
//!
//! A sealed secret is `v1.<key id>.<base64url of nonce and ciphertext>`. The newest key seals, every key of the ring
//! opens, so keys are rotated by putting a new one in front. What a secret belongs to is bound as associated data:
//! a sealed secret copied to another account does not open.
//!
//! Keys come from `ENCRYPTION_KEYS`. Without it the key lives in `encryption.key` in the data directory, made at
//! the first start and readable by its owner only; whoever has that file and the store has the secrets.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::StoreConfig;

const VERSION: &str = "v1";
const NONCE_LEN: usize = 24;
const KEY_LEN: usize = 32;
const KEY_FILE: &str = "encryption.key";

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
    #[error("{}: {source}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Sealed with a key that is not in the ring.
    #[error(
        "a stored secret was sealed with key {id}, which is not configured: add that key to ENCRYPTION_KEYS (after the newest), or import the account again"
    )]
    UnknownKey {
        /// The key's id.
        id: String,
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

/// The ring of keys. Keys are wiped from memory when it is dropped.
pub struct Vault {
    keys: Vec<Key>,
}

struct Key {
    id: String,
    bytes: Zeroizing<[u8; KEY_LEN]>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl Vault {
    /// Keys from `ENCRYPTION_KEYS`; without any, from the key file in the data directory, which is made when it is
    /// not there. Call it under the data directory's lock.
    pub fn from_config(config: &StoreConfig) -> Result<Self, VaultError> {
        if config.encryption_keys.is_empty() && config.redis.is_none() {
            Self::from_key_file(&config.data_dir)
        } else {
            Self::new(&config.encryption_keys)
        }
    }

    /// A ring of base64 keys (standard or URL alphabet, with or without padding), newest first.
    pub fn new(keys: &[SecretString]) -> Result<Self, VaultError> {
        Self::read("ENCRYPTION_KEYS", keys.iter().map(ExposeSecret::expose_secret))
    }

    fn read<'k>(place: &str, keys: impl Iterator<Item = &'k str>) -> Result<Self, VaultError> {
        let keys = keys
            .enumerate()
            .map(|(at, text)| {
                Key::parse(text).ok_or_else(|| VaultError::BadKey { place: place.to_owned(), index: at + 1 })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(VaultError::NoKey) } else { Ok(Self { keys }) }
    }

    fn from_key_file(data_dir: &Path) -> Result<Self, VaultError> {
        let path = data_dir.join(KEY_FILE);
        let at = |source| VaultError::KeyFile { path: path.clone(), source };
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = Zeroizing::new([0_u8; KEY_LEN]);
                getrandom::fill(key.as_mut_slice()).map_err(|_| VaultError::Seal)?;
                let text = Zeroizing::new(STANDARD.encode(key.as_slice()));
                create_key_file(data_dir, &path, &text).map_err(at)?;
                // Read back: another process may have been first, and its key is the one that counts.
                Zeroizing::new(fs::read_to_string(&path).map_err(at)?)
            }
            Err(error) => return Err(at(error)),
        };
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        match Self::read(&path.display().to_string(), entries) {
            Err(VaultError::NoKey) => {
                Err(at(io::Error::new(io::ErrorKind::InvalidData, "the key file is empty")))
            }
            other => other,
        }
    }

    /// Seals `secret` with the newest key for the owner named by `aad`.
    pub fn seal(&self, aad: &str, secret: &SecretString) -> Result<Sealed, VaultError> {
        let key = self.keys.first().ok_or(VaultError::NoKey)?;
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
        let mut fields = sealed.0.splitn(3, '.');
        let (Some(VERSION), Some(id), Some(data)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(VaultError::Malformed);
        };
        if id.len() != 8 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(VaultError::Malformed);
        }
        let key = self
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

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let standard: Zeroizing<String> =
            Zeroizing::new(text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_"));
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(standard.as_bytes()).ok()?);
        let bytes = Zeroizing::new(<[u8; KEY_LEN]>::try_from(decoded.as_slice()).ok()?);
        let mut id = String::with_capacity(8);
        for byte in &Sha256::digest(bytes.as_slice())[..4] {
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        Some(Self { id, bytes })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

/// Makes the key file whole or not at all; a file that is already there is left as it is.
fn create_key_file(data_dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let temporary = data_dir.join(format!("{KEY_FILE}.{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = (|| {
        // One left by a process that died has no use.
        let _ = fs::remove_file(&temporary);
        let mut file = options.open(&temporary)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        // A link, unlike a rename, does not replace a key that another process has just made.
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // Some file systems have no links; the data directory's lock then has to do.
            Err(_) => fs::rename(&temporary, path),
            Ok(()) => Ok(()),
        }
    })();
    let _ = fs::remove_file(&temporary);
    written?;
    #[cfg(unix)]
    fs::File::open(data_dir)?.sync_all()?;
    Ok(())
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
        assert!(matches!(Vault::from_config(&config), Err(VaultError::KeyFile { .. })));
    }
}
