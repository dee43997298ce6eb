//! `accounts verify | remove | enable | disable | threshold | clear | export`, and `accounts import --ide`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::backend::Backend;
use super::exit::{Exit, Misuse};
use super::{file, output, prompt};
use crate::account::export::UNREADABLE;
use crate::auth::desktop;
use crate::config::desktop_database;
use crate::server::migration::Trial;

/// Says of each account whether its credential works; all of them when none is named.
pub(super) async fn verify(
    backend: &Backend<'_>,
    emails: Vec<String>,
    as_json: bool,
) -> anyhow::Result<Exit> {
    let emails = if emails.is_empty() { addresses(&backend.list().await?) } else { emails };
    if emails.is_empty() && !as_json {
        output::line("No accounts.")?;
    }
    let trials = backend.verify(&emails).await?;
    let all_work = trials.iter().all(|trial| trial.works);
    if as_json {
        output::line(&serde_json::to_string_pretty(&json!({ "status": "ok", "accounts": trials }))?)?;
    } else {
        for trial in &trials {
            output::line(&tried(trial))?;
        }
    }
    Ok(if all_work { Exit::Ok } else { Exit::Partial })
}

fn tried(trial: &Trial) -> String {
    match &trial.reason {
        _ if trial.works && trial.cleared => format!("✓ {}, valid again", trial.email),
        _ if trial.works => format!("✓ {}", trial.email),
        Some(reason) => format!("✗ {}: {reason}", trial.email),
        None => format!("✗ {}", trial.email),
    }
}

/// What is done to each of some accounts.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Remove,
    Enable,
    Disable,
    /// A new threshold, or none; of one model, or of the account.
    Threshold(Option<f64>, Option<String>),
}

impl Action {
    fn done(&self) -> &'static str {
        match self {
            Self::Remove => "removed",
            Self::Enable => "enabled",
            Self::Disable => "disabled",
            Self::Threshold(..) => "changed",
        }
    }
}

/// Does `action` to each account and says what became of it.
pub(super) async fn each(
    backend: &Backend<'_>,
    emails: &[String],
    action: &Action,
    yes: bool,
    as_json: bool,
) -> anyhow::Result<Exit> {
    if matches!(action, Action::Remove) {
        let question = match emails {
            [one] => format!("Remove {one} with its credential?"),
            many => format!("Remove {} accounts with their credentials: {}?", many.len(), many.join(", ")),
        };
        if !prompt::confirm(&question, yes)? {
            output::complain("nothing was changed");
            return Ok(Exit::Failed);
        }
    }
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for email in emails {
        match act(backend, email, action).await {
            Ok(()) => {
                if !as_json {
                    output::line(&format!("{}  {email}", action.done()))?;
                }
                done.push(email.clone());
            }
            Err(error) if Exit::of(&error) == Exit::Failed => {
                if !as_json {
                    output::complain(&format!("{error:#}"));
                }
                failed.push(json!({ "email": email, "reason": format!("{error:#}") }));
            }
            // It would be the same for all others.
            Err(error) => return Err(error),
        }
    }
    if as_json {
        let answer = json!({ "status": "ok", action.done(): done, "failed": failed });
        output::line(&serde_json::to_string_pretty(&answer)?)?;
    }
    Ok(match (done.is_empty(), failed.is_empty()) {
        (_, true) => Exit::Ok,
        (true, false) => Exit::Failed,
        (false, false) => Exit::Partial,
    })
}

async fn act(backend: &Backend<'_>, email: &str, action: &Action) -> anyhow::Result<()> {
    match action {
        Action::Remove => backend.remove(email).await.map(|_| ()),
        Action::Enable => backend.toggle(email, true).await,
        Action::Disable => backend.toggle(email, false).await,
        Action::Threshold(threshold, None) => {
            backend.patch(email, json!({ "quotaThreshold": threshold })).await
        }
        Action::Threshold(threshold, Some(model)) => {
            let listed = backend.list().await?;
            let known = listed["accounts"].as_array().into_iter().flatten();
            let account = known.into_iter().find(|account| {
                account["email"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(email.trim()))
            });
            let account = account.with_context(|| format!("Account {email} not found"))?;
            let mut models = account["modelQuotaThresholds"].as_object().cloned().unwrap_or_default();
            match threshold {
                Some(threshold) => _ = models.insert(model.clone(), json!(threshold)),
                None => _ = models.shift_remove(model),
            }
            backend.patch(email, json!({ "modelQuotaThresholds": models })).await
        }
    }
}

/// Removes all accounts.
pub(super) async fn clear(backend: &Backend<'_>, yes: bool, as_json: bool) -> anyhow::Result<Exit> {
    let emails = addresses(&backend.list().await?);
    if !emails.is_empty() {
        let question = format!("Remove all {} accounts with their credentials?", emails.len());
        if !prompt::confirm(&question, yes)? {
            output::complain("nothing was changed");
            return Ok(Exit::Failed);
        }
    } else if !as_json {
        output::line("No accounts.")?;
    }
    let exit = each(backend, &emails, &Action::Remove, true, as_json).await?;
    backend.forget_lost_keys().await?;
    Ok(exit)
}

/// Writes the whole document, secrets in clear, to a new file of mode 0600 or to standard output. Accounts whose
/// credential does not open are not in it, and are told.
pub(super) async fn export(backend: &Backend<'_>, output: Option<&Path>) -> anyhow::Result<Exit> {
    let mut document = backend.document().await?;
    let unreadable = document.as_object_mut().and_then(|members| members.remove(UNREADABLE));
    let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
    match output {
        Some(path) => file::create_private(path, text.as_bytes())?,
        None => output::write(&text)?,
    }
    let left_out: Vec<_> = unreadable.iter().filter_map(Value::as_array).flatten().collect();
    for one in &left_out {
        let text = |name: &str| one[name].as_str().unwrap_or_default();
        output::complain(&format!("{} is left out: {}", text("email"), text("reason")));
    }
    Ok(if left_out.is_empty() { Exit::Ok } else { Exit::Partial })
}

/// The document of the account that is signed in to the desktop application, after its database was read once.
pub(super) async fn from_ide(
    path: Option<PathBuf>,
    email: Option<String>,
    manual: bool,
) -> anyhow::Result<Value> {
    let named = path.or_else(desktop_database).context("name the database: there is no home directory")?;
    let path = std::path::absolute(&named).with_context(|| format!("{}", named.display()))?;
    let found = desktop::fetch(path.clone()).await?;
    let Some(email) = email.or(found.email) else {
        return Err(
            Misuse("the database does not say whose sign-in it is: add --email ADDRESS".into()).into()
        );
    };
    let account = if manual {
        json!({ "email": email, "source": "manual", "api_key": found.token.expose_secret() })
    } else {
        let path = path.to_str().context("the path of the database is not valid UTF-8")?;
        json!({ "email": email, "source": "database", "dbPath": path })
    };
    Ok(json!([account]))
}

fn addresses(listed: &Value) -> Vec<String> {
    let accounts = listed["accounts"].as_array().into_iter().flatten();
    accounts.filter_map(|account| account["email"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_are_told_in_a_line() {
        let trial = |works, reason: Option<&str>, cleared| {
            tried(&Trial { email: "a@b".into(), works, reason: reason.map(str::to_owned), cleared })
        };
        assert_eq!(trial(true, None, false), "✓ a@b");
        assert_eq!(trial(true, None, true), "✓ a@b, valid again");
        assert_eq!(trial(false, Some("revoked"), false), "✗ a@b: revoked");
    }
}
