//! `store export`.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::backend::Backend;
use super::exit::Exit;

/// Writes the store to `output`, which must not exist yet, or to standard output.
pub(super) async fn export(backend: &Backend<'_>, output: Option<&Path>) -> anyhow::Result<Exit> {
    let Some(path) = output else {
        // Not the locked handle: it must be `Send` while the export waits.
        let mut out = BufWriter::new(io::stdout());
        backend.export(&mut out).await?;
        out.flush()?;
        return Ok(Exit::Ok);
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).with_context(|| format!("{}", path.display()))?;
    let mut out = BufWriter::new(file);
    let written = backend.export(&mut out).await;
    let kept = written.and_then(|()| {
        out.flush()?;
        out.get_ref().sync_all()?;
        Ok(())
    });
    if kept.is_err() {
        // A cut export would look like a whole one.
        std::fs::remove_file(path).ok();
    }
    kept.map(|()| Exit::Ok).with_context(|| format!("{}", path.display()))
}
