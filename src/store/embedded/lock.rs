//! One process per data directory.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::disk::private;
use crate::store::host::StoreError;

/// Held for as long as the directory is in use; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
}

impl DirLock {
    /// Takes `dir/lock`, or says that another process has it.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        let io = |action| {
            let path = path.clone();
            move |source| StoreError::Io { action, path, source }
        };
        let file = private().create(true).truncate(false).open(&path).map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { dir: dir.into() }),
            Err(TryLockError::Error(source)) => Err(io("lock")(source)),
        }
    }
}

impl Drop for DirLock {
    /// Released by word, not by closing: a child that is just being started still holds a copy.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}
