//! `accounts import | list | explain`.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::backend::Backend;
use super::exit::Exit;
use super::output;
use crate::account::directory::Refusals;

/// The accounts of a file.
pub(super) fn document(file: &Path) -> anyhow::Result<Value> {
    parse(&read(file)?).with_context(|| format!("{}", file.display()))
}

/// Imports a document and says what happened to each account; `once` leaves a document alone that was imported before,
/// with `refusals` allowed it is no failure that some entries were refused.
pub(super) async fn import(
    backend: &Backend<'_>,
    document: Value,
    once: bool,
    refusals: Refusals,
    as_json: bool,
) -> anyhow::Result<Exit> {
    let answer = backend.import(document, once.then_some(refusals)).await?;
    let results = &answer["results"];
    let count = |outcome: &str| results[outcome].as_array().map_or(0, Vec::len);
    let taken = count("added") + count("updated");
    let exit = if count("failed") == 0 || (refusals == Refusals::Allow && taken > 0) {
        Exit::Ok
    } else {
        Exit::Partial
    };
    if as_json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(exit);
    }
    if answer["importedBefore"] == true {
        output::line("imported before: nothing to do")?;
        return Ok(Exit::Ok);
    }
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
    for item in results["notes"].as_array().into_iter().flatten() {
        let text = |key: &str| item[key].as_str().unwrap_or("unknown").to_owned();
        output::complain(&format!("{}: {}", text("email"), text("reason")));
    }
    output::line(&format!(
        "{} added, {} updated, {} failed",
        count("added"),
        count("updated"),
        failed.len()
    ))?;
    Ok(exit)
}

/// What is in a file; `-` is standard input.
pub(super) fn read(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
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
        output::line(
            "No accounts. Add some with `antigravity-proxy accounts add` or `accounts import FILE`.",
        )?;
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
    let tier = account["subscription"]["tier"].as_str().filter(|tier| *tier != "unknown");
    let tier = tier.map(|tier| format!(" ({tier})")).unwrap_or_default();
    if account["enabled"] == false {
        format!("{email}  disabled")
    } else if account["isInvalid"] == true {
        format!("{email}  invalid{reason}{verify}")
    } else if limited {
        format!("{email}  rate-limited{tier}")
    } else {
        format!("{email}  ok{tier}")
    }
}

/// Prints the decision as a sentence and the accounts it was made between, or the whole answer.
pub(super) async fn explain(
    backend: &Backend<'_>,
    model: Option<&str>,
    session: Option<&str>,
    key: Option<&str>,
    json: bool,
) -> anyhow::Result<Exit> {
    let answer = backend.explain(model, session, key).await?;
    if json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(Exit::Ok);
    }
    let selection = &answer["selection"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    output::line(&word(&answer["summary"]))?;
    output::line(&format!("model {}, strategy {}", word(&selection["model"]), word(&selection["strategy"])))?;
    for candidate in selection["candidates"].as_array().into_iter().flatten() {
        output::line(&standing(candidate))?;
    }
    Ok(Exit::Ok)
}

/// One account of the choice: `* a@example.com  normal 850.0 = health 140.0 + …` or why it is left out.
fn standing(candidate: &Value) -> String {
    let mark = if candidate["chosen"] == true { "*" } else { " " };
    let email = candidate["email"].as_str().unwrap_or("unknown");
    let Some(tier) = candidate["tier"].as_str() else {
        let verdict = candidate["verdict"].as_str().unwrap_or("unknown");
        let wait = candidate["waitMs"].as_u64().map(|ms| format!(", {} s more", ms.div_ceil(1000)));
        return format!("{mark} {email}  {verdict}{}", wait.unwrap_or_default());
    };
    let score = candidate["parts"].as_object().map(|parts| {
        let parts = parts.iter().filter_map(|(name, value)| Some((name, value.as_f64()?)));
        let sum: Vec<_> = parts
            .filter(|(_, value)| *value != 0.0)
            .map(|(name, value)| format!("{name} {value:.1}"))
            .collect();
        format!(" {:.1} = {}", candidate["score"].as_f64().unwrap_or_default(), sum.join(" + "))
    });
    let count = |name: &str| candidate[name].as_u64().unwrap_or_default();
    let (in_flight, conversations) = (count("inFlight"), count("conversations"));
    let score = score.unwrap_or_default();
    format!("{mark} {email}  {tier}{score}  {in_flight} in flight, {conversations} conversations")
}

/// Seals everything anew and says what came of it, or prints the whole answer.
pub(super) async fn rotate_keys(backend: &Backend<'_>, new_key: bool, json: bool) -> anyhow::Result<Exit> {
    let answer = backend.rotate_keys(new_key).await?;
    let rotation = &answer["rotation"];
    if json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
    } else {
        for secret in rotation["unreadable"].as_array().into_iter().flatten() {
            let text = |key: &str| secret[key].as_str().unwrap_or("unknown").to_owned();
            output::line(&format!(
                "{}  {} does not open: {}",
                text("email"),
                text("secret"),
                text("reason")
            ))?;
        }
        output::line(answer["message"].as_str().unwrap_or_default())?;
    }
    let left = |name: &str| rotation[name].as_array().is_some_and(|list| !list.is_empty());
    Ok(if left("unreadable") || left("needed") { Exit::Partial } else { Exit::Ok })
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
    fn standings_tell_why() {
        for (candidate, expected) in [
            (
                json!({"email": "a", "chosen": true, "verdict": "usable", "tier": "normal", "score": 850.0,
                    "parts": {"health": 140.0, "tokens": 500.0, "quota": 150.0, "rest": 60.0, "inFlight": 0.0},
                    "inFlight": 2, "conversations": 0}),
                "* a  normal 850.0 = health 140.0 + tokens 500.0 + quota 150.0 + rest 60.0  2 in flight, 0 conversations",
            ),
            (
                json!({"email": "b", "chosen": false, "verdict": "quota", "waitMs": 4001}),
                "  b  quota, 5 s more",
            ),
            (json!({"email": "c", "chosen": false, "verdict": "disabled", "waitMs": null}), "  c  disabled"),
        ] {
            assert_eq!(standing(&candidate), expected);
        }
    }

    #[test]
    fn rows_tell_the_state() {
        for (account, text) in [
            (json!({"email": "a@x", "enabled": true}), "a@x  ok"),
            (json!({"email": "a@x", "subscription": {"tier": "pro"}}), "a@x  ok (pro)"),
            (json!({"email": "a@x", "subscription": {"tier": "unknown"}}), "a@x  ok"),
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
