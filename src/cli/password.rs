//! `password set | clear`, and what a gateway prints for the first one.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::backend::Backend;
use super::exit::{Exit, Misuse};
use super::{output, prompt};

/// Sets it.
pub(super) async fn set(backend: &Backend<'_>) -> anyhow::Result<Exit> {
    let new = asked()?;
    backend.set_password(Some(&new)).await?;
    output::complain("the console's password is set, and everybody is logged out");
    if new.expose_secret().chars().count() < 12 {
        output::complain("warning: passwords of fewer than 12 characters are easily guessed");
    }
    Ok(Exit::Ok)
}

/// Removes it, after a question unless `yes` was said.
pub(super) async fn clear(backend: &Backend<'_>, yes: bool) -> anyhow::Result<Exit> {
    if !prompt::confirm("Remove the console's password?", yes)? {
        output::complain("nothing was changed");
        return Ok(Exit::Failed);
    }
    backend.set_password(None).await?;
    output::complain("the console has no password: it answers to the gateway's own machine only");
    Ok(Exit::Ok)
}

/// Prints a setup token to standard error, and to nothing that is kept with the logs.
pub(super) fn announce(token: &SecretString) -> io::Result<()> {
    output::note(&format!(
        "antigravity-proxy: the console has no password. Set one with `antigravity-proxy password set`, or from elsewhere \
         with this setup token, good for a day (POST /api/config/password, header x-setup-token): {}\n",
        token.expose_secret()
    ))
}

/// The new password: typed twice, or one line of what is piped in.
fn asked() -> anyhow::Result<SecretString> {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        let new = typed("New password: ")?;
        anyhow::ensure!(
            typed("Once more: ")?.expose_secret() == new.expose_secret(),
            "the two are not the same; nothing was changed"
        );
        return Ok(new);
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    if line.is_empty() {
        return Err(Misuse("give the password as one line on standard input".into()).into());
    }
    Ok(SecretString::from(line))
}

fn typed(question: &str) -> anyhow::Result<SecretString> {
    output::note(question)?;
    let line = rpassword::read_password().context("the terminal could not be read")?;
    Ok(SecretString::from(line))
}
