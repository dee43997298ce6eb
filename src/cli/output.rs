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

/// Writes one message to standard error.
#[expect(clippy::print_stderr, reason = "commands speak to the person who called them")]
pub fn complain(message: &str) {
    eprintln!("antigravity-proxy: {message}");
}
