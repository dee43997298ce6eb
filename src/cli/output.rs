//! The only place that writes to standard output and standard error.

use std::io::{self, Write as _};

/// Writes `text` to standard output.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes `text` and a line end to standard output.
pub(super) fn line(text: &str) -> io::Result<()> {
    write(&format!("{text}\n"))
}

/// Writes `text` to standard error.
pub(super) fn note(text: &str) -> io::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes())?;
    err.flush()
}

/// Writes one message to standard error. Where that cannot be written, nobody listens.
pub fn complain(message: &str) {
    drop(note(&format!("antigravity-proxy: {message}\n")));
}
