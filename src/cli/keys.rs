//! `keys create | list | revoke | rotate`.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde_json::Value;

use super::backend::Backend;
use super::exit::Exit;
use super::{output, prompt};
use crate::auth::client_keys::NewKey;
use crate::store::ops::clients::Expiry;

/// A time from now (`90d`, `12h`, `4w`), or one such as `2030-01-31T12:00:00Z`.
pub(super) fn expiry(text: &str) -> Result<Expiry, &'static str> {
    match text.parse::<Timestamp>() {
        Ok(at) => Ok(Expiry::At(at.as_millisecond())),
        Err(_) => span(text).map(Expiry::After),
    }
}

/// A length of time such as `24h`; a day has 24 hours.
pub(super) fn span(text: &str) -> Result<Duration, &'static str> {
    let span = text.parse::<Span>().ok();
    let exact = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    exact.and_then(|exact| Duration::try_from(exact).ok()).ok_or("write a time such as 90d, 24h or 30m")
}

/// Makes a key. Its secret alone goes to standard output, everything else to standard error.
pub(super) async fn create(backend: &Backend<'_>, new: NewKey, as_json: bool) -> anyhow::Result<Exit> {
    let answer = backend.create_key(&new).await?;
    shown(&answer, "made", as_json)?;
    if answer["first"] == true {
        output::complain(
            "this is the pool's first client key: from now on every gateway asks for a key on /v1, also where no \
             API_KEY is set",
        );
    }
    Ok(Exit::Ok)
}

/// Prints one line per key: name, id, state, what it may use, last use, and when it ends.
pub(super) async fn list(backend: &Backend<'_>, as_json: bool) -> anyhow::Result<Exit> {
    let answer = backend.keys().await?;
    if as_json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(Exit::Ok);
    }
    let keys = answer["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    output::write(&table(keys))?;
    if answer["open"] == true {
        output::complain("there is no key, so /v1 is open to whoever reaches it");
    }
    Ok(Exit::Ok)
}

/// Revokes a key, after a question unless `yes` was said.
pub(super) async fn revoke(
    backend: &Backend<'_>,
    key: &str,
    yes: bool,
    as_json: bool,
) -> anyhow::Result<Exit> {
    if !prompt::confirm(&format!("Revoke the key {key:?} for good?"), yes)? {
        output::complain("nothing was changed");
        return Ok(Exit::Failed);
    }
    let answer = backend.revoke_key(key).await?;
    if as_json {
        output::line(&serde_json::to_string_pretty(&answer)?)?;
    } else {
        output::line(&format!("revoked  {}  {}", word(&answer["key"], "name"), word(&answer["key"], "id")))?;
    }
    Ok(Exit::Ok)
}

/// Gives a key a new secret, and shows it as [`create`] does.
pub(super) async fn rotate(
    backend: &Backend<'_>,
    key: &str,
    grace: Duration,
    as_json: bool,
) -> anyhow::Result<Exit> {
    let answer = backend.rotate_key(key, grace).await?;
    shown(&answer, "rotated", as_json)?;
    match time(&answer["key"]["previousSecretUntil"]) {
        Some(until) => output::complain(&format!("the secret before stays good until {until}")),
        None => output::complain("the secret before is refused from now on"),
    }
    Ok(Exit::Ok)
}

fn shown(answer: &Value, done: &str, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let text = serde_json::to_string_pretty(answer)?;
        return output::line(&text).with_context(|| unshown(word(&answer["key"], "id")));
    }
    let (name, id) = (word(&answer["key"], "name"), word(&answer["key"], "id"));
    output::complain(&format!("{done}: {name} ({id}); its secret is shown this once only:"));
    output::line(word(answer, "secret")).with_context(|| unshown(id))?;
    Ok(())
}

/// The key is in force all the same.
fn unshown(id: &str) -> String {
    format!("the secret could not be written and is lost; `keys rotate {id}` gives another")
}

fn word<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

/// A time to the second, in UTC.
fn time(ms: &Value) -> Option<String> {
    let at = Timestamp::from_millisecond(ms.as_i64()?).ok()?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn table(keys: &[Value]) -> String {
    let width = |field: &str| keys.iter().map(|key| word(key, field).chars().count()).max().unwrap_or(0);
    let (names, ids, states) = (width("name"), width("id"), width("state"));
    keys.iter().fold(String::new(), |table, key| {
        let (name, id, state) = (word(key, "name"), word(key, "id"), word(key, "state"));
        table + &format!("{name:names$}  {id:ids$}  {state:states$}  {}\n", details(key))
    })
}

fn details(key: &Value) -> String {
    if word(key, "source") == "configuration" {
        return "all models; from API_KEY".to_owned();
    }
    let models: Vec<_> = key["models"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let models = if models.is_empty() { "all models".to_owned() } else { models.join(" ") };
    let used = time(&key["lastUsedAt"]).map_or_else(|| "never used".to_owned(), |at| format!("used {at}"));
    let ends = match (time(&key["revokedAt"]), time(&key["expiresAt"])) {
        (Some(at), _) => format!("; revoked {at}"),
        (None, Some(at)) => format!("; expires {at}"),
        (None, None) => String::new(),
    };
    let before = time(&key["previousSecretUntil"]).map(|at| format!("; secret before good until {at}"));
    format!("{models}; {used}{ends}{}", before.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let hours = |hours| Ok(Expiry::After(Duration::from_hours(hours)));
        for (text, expected) in [
            ("90d", hours(90 * 24)),
            ("12h", hours(12)),
            ("4w", hours(4 * 7 * 24)),
            ("1d 6h", hours(30)),
            ("2030-01-31T12:00:00Z", Ok(Expiry::At(1_896_091_200_000))),
        ] {
            assert_eq!(expiry(text), expected, "{text}");
        }
        for text in ["", "90", "soon", "-5d", "1mo", "2y", "2030-01-31"] {
            assert!(expiry(text).is_err(), "{text}");
            assert!(span(text).is_err(), "{text}");
        }
        assert_eq!(span("30m"), Ok(Duration::from_mins(30)));
    }

    #[test]
    fn rows_tell_what_a_key_may_and_until_when() {
        let own = json!({ "name": "default", "id": "default", "state": "active", "source": "configuration", "models": [] });
        let ada = json!({ "name": "ada", "id": "key_1", "state": "active", "source": "store", "models": [],
            "expiresAt": null, "revokedAt": null, "lastUsedAt": null, "previousSecretUntil": null });
        let mut bea = ada.clone();
        bea["models"] = json!(["claude-haiku*", "gemini-3-flash"]);
        bea["lastUsedAt"] = json!(1_896_091_200_000_i64);
        bea["expiresAt"] = json!(1_896_091_260_000_i64);
        bea["previousSecretUntil"] = json!(1_896_091_261_000_i64);
        let mut eve = bea.clone();
        eve["state"] = json!("revoked");
        eve["revokedAt"] = json!(1_896_091_200_000_i64);
        eve["previousSecretUntil"] = Value::Null;
        assert_eq!(
            table(&[own, ada, bea, eve]),
            "default  default  active   all models; from API_KEY\n\
             ada      key_1    active   all models; never used\n\
             ada      key_1    active   claude-haiku* gemini-3-flash; used 2030-01-31T12:00:00Z; expires \
             2030-01-31T12:01:00Z; secret before good until 2030-01-31T12:01:01Z\n\
             ada      key_1    revoked  claude-haiku* gemini-3-flash; used 2030-01-31T12:00:00Z; revoked \
             2030-01-31T12:00:00Z\n"
        );
    }
}
