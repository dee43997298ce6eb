//! Files with secrets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::exit::Conflict;

/// Writes `text` to a new file that only its owner may read.
///
/// # Errors
///
/// There is such a file: it is not overwritten.
pub(super) fn create_private(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Conflict(format!("{} is there already", path.display())).into());
        }
        opened => opened.with_context(|| format!("{}", path.display()))?,
    };
    let written = fill(file, text);
    if written.is_err() {
        // A cut document would look like a whole one.
        std::fs::remove_file(path).ok();
    }
    written.with_context(|| format!("{}", path.display()))
}

fn fill(mut file: File, text: &[u8]) -> io::Result<()> {
    file.write_all(text)?;
    file.sync_all()
}
