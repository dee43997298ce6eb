//! Reads what an import carries: the export of this gateway, of the reference, or its accounts file.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::server::error::ApiError;
use crate::server::gateway::{ImportEntry, ImportFailure};

/// Most entries of one import; the pool's own limit lies at the same number.
const ENTRIES: usize = 10_000;

/// The usable entries, and the others with their reason.
pub(super) fn parse(body: &[u8]) -> Result<(Vec<ImportEntry>, Vec<ImportFailure>), ApiError> {
    let entries = match serde_json::from_slice(body) {
        Ok(Value::Array(entries)) => entries,
        Ok(Value::Object(mut file)) => match file.remove("accounts") {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        },
        Ok(_) => Vec::new(),
        // The parser's text names line, column and what it expected, never the content.
        Err(error) => return Err(ApiError::invalid(format!("The body is not valid JSON: {error}"))),
    };
    if entries.is_empty() {
        return Err(ApiError::invalid("accounts must be a non-empty array"));
    }
    if entries.len() > ENTRIES {
        return Err(ApiError::invalid(format!("accounts must have at most {ENTRIES} entries")));
    }
    let mut usable = Vec::with_capacity(entries.len());
    let mut refused = Vec::new();
    for entry in entries {
        match read(&entry) {
            Ok(entry) => usable.push(entry),
            Err(reason) => refused.push(ImportFailure { email: address(&entry), reason: reason.to_owned() }),
        }
    }
    Ok((usable, refused))
}

fn read(entry: &Value) -> Result<ImportEntry, &'static str> {
    let Value::Object(fields) = entry else { return Err(INVALID) };
    let email = text(fields, &["email"])?.ok_or("Missing email")?;
    let refresh_token = text(fields, &["refresh_token", "refreshToken"])?;
    let api_key = text(fields, &["api_key", "apiKey"])?;
    if refresh_token.is_none() && api_key.is_none() {
        return Err("Missing refresh_token or api_key");
    }
    let enabled = match fields.get("enabled") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(enabled)) => Some(*enabled),
        Some(_) => return Err(INVALID),
    };
    Ok(ImportEntry {
        email: email.to_owned(),
        refresh_token: refresh_token.map(SecretString::from),
        api_key: api_key.map(SecretString::from),
        project_id: text(fields, &["projectId", "project_id"])?.map(str::to_owned),
        enabled,
    })
}

const INVALID: &str = "Invalid entry";

/// The first of `names` that has a text; blank and `null` count as missing.
fn text<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Result<Option<&'a str>, &'static str> {
    for value in names.iter().filter_map(|name| fields.get(*name)) {
        match value {
            Value::String(text) if !text.trim().is_empty() => return Ok(Some(text.trim())),
            Value::String(_) | Value::Null => {}
            _ => return Err(INVALID),
        }
    }
    Ok(None)
}

fn address(entry: &Value) -> String {
    match entry.get("email") {
        Some(Value::String(email)) if !email.trim().is_empty() => email.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::parse;

    #[test]
    fn both_formats_and_both_spellings() {
        for body in [
            r#"[{"email":" a@example.com ","refresh_token":"1//x"}]"#,
            r#"{"accounts":[{"email":"a@example.com","refreshToken":"1//x","source":"oauth"}],"activeIndex":0}"#,
        ] {
            let (entries, refused) = parse(body.as_bytes()).unwrap();
            assert!(refused.is_empty());
            assert_eq!(entries[0].email, "a@example.com");
            assert_eq!(entries[0].refresh_token.as_ref().unwrap().expose_secret(), "1//x");
            assert_eq!(entries[0].enabled, None);
        }
    }

    #[test]
    fn refused_entries_say_why() {
        let body = r#"[1, {}, {"email":"a"}, {"email":7,"apiKey":"k"}, {"email":"b","refreshToken":null,"apiKey":"k"},
                       {"email":"c","refresh_token":[]}, {"email":"d","apiKey":"k","enabled":"yes"}]"#;
        let (entries, refused) = parse(body.as_bytes()).unwrap();
        assert_eq!(entries.len(), 1);
        let refused: Vec<_> = refused.iter().map(|one| (one.email.as_str(), one.reason.as_str())).collect();
        assert_eq!(
            refused,
            [
                ("unknown", "Invalid entry"),
                ("unknown", "Missing email"),
                ("a", "Missing refresh_token or api_key"),
                ("unknown", "Invalid entry"),
                ("c", "Invalid entry"),
                ("d", "Invalid entry"),
            ]
        );
    }

    #[test]
    fn nothing_to_import() {
        for body in ["[]", "{}", "7", r#"{"accounts":{}}"#] {
            assert_eq!(parse(body.as_bytes()).unwrap_err().message(), "accounts must be a non-empty array");
        }
        assert!(parse(b"[").unwrap_err().message().starts_with("The body is not valid JSON: EOF"));
    }
}
