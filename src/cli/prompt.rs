//! Questions to a person; without a terminal there is nobody to ask.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::exit::Misuse;

/// Whether the person agrees to `question`; `yes` was said on the command line.
///
/// # Errors
///
/// Nobody can be asked: that is wrong usage.
pub(super) fn confirm(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Misuse(format!("{question} Nobody can be asked without a terminal: add --yes")).into());
    }
    let mut out = io::stderr().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
