//! `accounts import | list | remove`.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::backend::Backend;
use super::exit::Exit;
use super::output;

/// Imports a file and says what happened to each account.
pub(super) async fn import(backend: &Backend<'_>, file: &Path) -> anyhow::Result<Exit> {
    let document = parse(&read(file)?).with_context(|| format!("{}", file.display()))?;
    let answer = backend.import(document).await?;
    let results = &answer["results"];
    for (outcome, mark) in [("added", "added"), ("updated", "updated")] {
        for email in results[outcome].as_array().into_iter().flatten().filter_map(Value::as_str) {
            output::line(&format!("{mark:8} {email}"))?;
        }
    }
    let failed = results["failed"].as_array().map(Vec::as_slice).unwrap_or_default();
    for item in failed {
        let text = |key: &str| item[key].as_str().unwrap_or("unknown").to_owned();
        output::line(&format!("failed   {}: {}", text("email"), text("reason")))?;
    }
    let count = |outcome: &str| results[outcome].as_array().map_or(0, Vec::len);
    output::line(&format!(
        "{} added, {} updated, {} failed",
        count("added"),
        count("updated"),
        failed.len()
    ))?;
    Ok(if failed.is_empty() { Exit::Ok } else { Exit::Partial })
}

fn read(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if file == Path::new("-") {
        let mut text = Zeroizing::new(Vec::new());
        std::io::stdin().lock().read_to_end(&mut text).context("standard input")?;
        return Ok(text);
    }
    std::fs::read(file).map(Zeroizing::new).with_context(|| format!("{}", file.display()))
}

/// The document as it is; what its entries mean is decided where they are stored.
fn parse(text: &[u8]) -> anyhow::Result<Value> {
    let document: Value = serde_json::from_slice(text).context("is not JSON")?;
    let accounts = if document.is_array() { &document } else { &document["accounts"] };
    match accounts.as_array() {
        Some(list) if !list.is_empty() => Ok(document),
        Some(_) => anyhow::bail!("holds no accounts"),
        None => anyhow::bail!("is neither a list of accounts nor an object with the list `accounts`"),
    }
}

/// Prints one line per account, or the whole answer.
pub(super) async fn list(backend: &Backend<'_>, json: bool) -> anyhow::Result<Exit> {
    let answer = backend.list().await?;
    if json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(Exit::Ok);
    }
    let accounts = answer["accounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if accounts.is_empty() {
        output::line("No accounts. Add some with `antigravity-proxy accounts import FILE`.")?;
    }
    for account in accounts {
        output::line(&row(account))?;
    }
    Ok(Exit::Ok)
}

fn row(account: &Value) -> String {
    let email = account["email"].as_str().unwrap_or("unknown");
    let limited = account["modelRateLimits"]
        .as_object()
        .is_some_and(|models| models.values().any(|limit| limit["isRateLimited"] == true));
    let reason = account["invalidReason"].as_str().map(|text| format!(": {text}")).unwrap_or_default();
    let verify = account["verifyUrl"].as_str().map(|url| format!("; verify at {url}")).unwrap_or_default();
    if account["enabled"] == false {
        format!("{email}  disabled")
    } else if account["isInvalid"] == true {
        format!("{email}  invalid{reason}{verify}")
    } else if limited {
        format!("{email}  rate-limited")
    } else {
        format!("{email}  ok")
    }
}

/// Removes one account.
pub(super) async fn remove(backend: &Backend<'_>, email: &str) -> anyhow::Result<Exit> {
    backend.remove(email).await?;
    output::line(&format!("removed  {email}"))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_file_formats_are_taken_and_others_are_named() {
        for text in [r#"[{"email": "a"}]"#, r#"{"accounts": [{"email": "a"}], "settings": {}}"#] {
            assert!(parse(text.as_bytes()).is_ok(), "{text}");
        }
        for (text, reason) in
            [("{", "is not JSON"), ("{}", "neither"), ("[]", "no accounts"), ("7", "neither")]
        {
            assert!(parse(text.as_bytes()).unwrap_err().to_string().contains(reason), "{text}");
        }
    }

    #[test]
    fn rows_tell_the_state() {
        for (account, text) in [
            (json!({"email": "a@x", "enabled": true}), "a@x  ok"),
            (json!({"email": "a@x", "enabled": false, "isInvalid": true}), "a@x  disabled"),
            (
                json!({"email": "a@x", "isInvalid": true, "invalidReason": "revoked", "verifyUrl": null}),
                "a@x  invalid: revoked",
            ),
            (json!({"email": "a@x", "modelRateLimits": {"m": {"isRateLimited": true}}}), "a@x  rate-limited"),
        ] {
            assert_eq!(row(&account), text);
        }
    }
}
