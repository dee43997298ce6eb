//! The file that holds the keys of an embedded store: `encryption.key` in the data directory, made at the first start and
//! readable by its owner only.
//!
//! One base64 key per line, newest first. Every change replaces the file as a whole, on disk before it counts: a crash
//! leaves the old file or the new one.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::vault::{KEY_LEN, Key, VaultError};
use crate::config::StoreConfig;

const NAME: &str = "encryption.key";

/// The key file of a data directory, whether it is there or not.
pub(super) struct KeyFile {
    dir: PathBuf,
    path: PathBuf,
}

impl KeyFile {
    /// The one that `config` means: none with Redis, where every gateway needs the same keys, nor where keys are given.
    pub(super) fn of(config: &StoreConfig) -> Option<Self> {
        let wanted = config.encryption_keys.is_empty() && config.redis.is_none();
        wanted.then(|| Self { dir: config.data_dir.clone(), path: config.data_dir.join(NAME) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, cause: io::Error) -> VaultError {
        VaultError::KeyFile { path: self.path.clone(), cause }
    }

    /// Its keys; `None` when there is no file.
    pub(super) fn read(&self) -> Result<Option<Vec<Key>>, VaultError> {
        let Some(text) = self.text()? else { return Ok(None) };
        let keys = Key::read_all(&self.path.display().to_string(), entries(&text))?;
        if keys.is_empty() { Err(self.unusable("it has no key in it")) } else { Ok(Some(keys)) }
    }

    /// Its keys; without a file, one new key in a new file.
    pub(super) fn read_or_create(&self) -> Result<Vec<Key>, VaultError> {
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        self.write(&new_key()?, false)?;
        // Read back: another process may have been first, and its key is the one that counts.
        self.read()?.ok_or_else(|| self.unusable("it cannot be made"))
    }

    fn unusable(&self, reason: &'static str) -> VaultError {
        VaultError::KeyFileUnusable { path: self.path.clone(), reason }
    }

    /// Refuses what is no file of keys before it is opened, which may wait forever; without anything, false.
    fn is_there(&self) -> Result<bool, VaultError> {
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match fs::symlink_metadata(&self.path) {
                    Ok(_) => Err(self.unusable("it is a link to a file that is not there")),
                    Err(_) => Ok(false),
                };
            }
            Err(error) => return Err(self.failed(error)),
        };
        if found.is_file() { Ok(true) } else { Err(self.unusable("it is no regular file")) }
    }

    /// What to say when others than its owner may use the file.
    #[cfg(unix)]
    pub(super) fn exposure(&self) -> Option<String> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&self.path).ok()?.permissions().mode() & 0o777;
        let path = self.path.display();
        (mode & 0o077 != 0)
            .then(|| format!("others than its owner may use {path} (mode {mode:o}): chmod 600 {path}"))
    }

    /// Modes exist on Unix only.
    #[cfg(not(unix))]
    pub(super) fn exposure(&self) -> Option<String> {
        None
    }

    /// Puts a new key in front.
    pub(super) fn add_key(&self) -> Result<(), VaultError> {
        let old = self.text()?.unwrap_or_default();
        let mut text = new_key()?;
        for entry in entries(&old) {
            text.push('\n');
            text.push_str(entry);
        }
        self.write(&text, true)
    }

    /// Takes out every key whose id is not wanted; answers whether there was one.
    pub(super) fn retain(&self, wanted: impl Fn(&str) -> bool) -> Result<bool, VaultError> {
        let (Some(keys), Some(text)) = (self.read()?, self.text()?) else { return Ok(false) };
        let kept: Vec<_> = keys
            .iter()
            .zip(entries(&text))
            .filter(|(key, _)| wanted(key.id()))
            .map(|(_, entry)| entry)
            .collect();
        if kept.is_empty() || kept.len() == keys.len() {
            return Ok(false);
        }
        self.write(&Zeroizing::new(kept.join("\n")), true)?;
        Ok(true)
    }

    fn text(&self) -> Result<Option<Zeroizing<String>>, VaultError> {
        if !self.is_there()? {
            return Ok(None);
        }
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn write(&self, text: &str, replace: bool) -> Result<(), VaultError> {
        write(&self.dir, &self.path, text, replace).map_err(|error| self.failed(error))
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty())
}

fn new_key() -> Result<Zeroizing<String>, VaultError> {
    let mut key = Zeroizing::new([0_u8; KEY_LEN]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| VaultError::Seal)?;
    Ok(Zeroizing::new(STANDARD.encode(key.as_slice())))
}

/// Writes the file whole or not at all; one that is there is left as it is unless it is to be replaced.
fn write(dir: &Path, path: &Path, text: &str, replace: bool) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let temporary = dir.join(format!("{NAME}.{}", std::process::id()));
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
        if replace {
            return fs::rename(&temporary, path);
        }
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
    fs::File::open(dir)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(file: &KeyFile) -> Vec<String> {
        file.read().unwrap().unwrap().iter().map(|key| key.id().to_owned()).collect()
    }

    #[test]
    fn keys_come_in_front_and_leave_without_touching_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { data_dir: dir.path().join("data"), ..StoreConfig::default() };
        let file = KeyFile::of(&config).unwrap();
        assert!(file.read().unwrap().is_none());
        let first = file.read_or_create().unwrap();
        assert_eq!(ids(&file), [first[0].id()]);
        file.add_key().unwrap();
        file.add_key().unwrap();
        let all = ids(&file);
        assert_eq!((all.len(), all[2].as_str()), (3, first[0].id()));
        assert!(file.retain(|id| id != all[1]).unwrap());
        assert_eq!(ids(&file), [all[0].clone(), all[2].clone()]);
        assert!(!file.retain(|_| true).unwrap());
        assert!(!file.retain(|_| false).unwrap(), "the last keys are never thrown away");
        assert_eq!(ids(&file).len(), 2);
        let names: Vec<_> =
            fs::read_dir(&config.data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [NAME]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_left_by_a_crash_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { data_dir: dir.path().to_owned(), ..StoreConfig::default() };
        let file = KeyFile::of(&config).unwrap();
        fs::write(dir.path().join(format!("{NAME}.{}", std::process::id())), "half of a k").unwrap();
        let key = file.read_or_create().unwrap();
        fs::write(dir.path().join(format!("{NAME}.{}", std::process::id())), "half of a k").unwrap();
        file.add_key().unwrap();
        assert_eq!(ids(&file)[1], key[0].id());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_no_file_of_keys_is_named_and_nothing_hangs() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { data_dir: dir.path().to_owned(), ..StoreConfig::default() };
        let file = KeyFile::of(&config).unwrap();
        let make: [(&str, &dyn Fn()); 5] = [
            ("no regular file", &|| fs::create_dir(file.path()).unwrap()),
            ("no regular file", &|| {
                let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                rustix::fs::mkfifoat(rustix::fs::CWD, file.path(), mode).unwrap();
            }),
            ("not there", &|| std::os::unix::fs::symlink(dir.path().join("gone"), file.path()).unwrap()),
            ("no key in it", &|| fs::write(file.path(), "").unwrap()),
            ("no key in it", &|| fs::write(file.path(), "\n").unwrap()),
        ];
        for (said, make) in make {
            make();
            let error = file.read_or_create().map(|_| ()).unwrap_err();
            assert!(matches!(error, VaultError::KeyFileUnusable { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(said) && text.matches(NAME).count() == 1, "{text}");
            assert!(!text.contains("ENCRYPTION_KEYS"), "{text}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is written");
            if file.path().is_dir() {
                fs::remove_dir(file.path()).unwrap();
            } else {
                fs::remove_file(file.path()).unwrap();
            }
        }
        assert_eq!(file.read_or_create().unwrap().len(), 1);
        assert_eq!(file.exposure(), None);
        let wide = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(file.path(), wide).unwrap();
        let said = file.exposure().unwrap();
        assert!(said.contains("mode 644") && said.contains("chmod 600 /"), "{said}");
    }
}
