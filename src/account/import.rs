//! Account documents: what `accounts import` and the console accept.
//!
//! Two forms, told apart by their content: the reference's `accounts.json` and the short export
//! (`[{email, refresh_token}]`, bare or under `accounts`). One bad entry never spoils the others.
//! Source: `http-api.md` §1.4 and Appendix A, `dispatch.md` §9.11.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::store::ident::Source;

/// One account as a document describes it.
#[derive(Debug)]
pub struct Entry {
    /// Trimmed and lower-cased: the unique name.
    pub email: String,
    /// How tokens are obtained.
    pub source: Source,
    /// The refresh token (first segment only) or the manual access token.
    pub credential: SecretString,
    /// The second segment of a composite refresh token, else `projectId`.
    pub project: Option<String>,
    /// The third segment of a composite refresh token.
    pub managed_project: Option<String>,
    /// False only when the document says so.
    pub enabled: bool,
    /// Fraction 0–1 of quota below which the account is spared; `None` leaves it to the pool's setting.
    pub quota_threshold: Option<f64>,
    /// The same for single models.
    pub model_quota_thresholds: BTreeMap<String, f64>,
    /// `free`, `pro`, `ultra` or `unknown`.
    pub tier: Option<String>,
}

/// An entry that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The e-mail, or `unknown`.
    pub email: String,
    /// What is wrong with it and what would be right; never a credential.
    pub reason: String,
}

/// The whole document is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// Not JSON.
    #[error("the document is not valid JSON: line {line}, column {column}")]
    Syntax {
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// JSON, but neither of the two forms.
    #[error("accounts must be a non-empty array")]
    Shape,
}

/// Reads a document into entries and rejections, both in the document's order.
pub fn parse(document: &[u8]) -> Result<(Vec<Entry>, Vec<Rejected>), DocumentError> {
    let value: Value = serde_json::from_slice(document)
        .map_err(|error| DocumentError::Syntax { line: error.line(), column: error.column() })?;
    let items = match value {
        Value::Array(items) => items,
        Value::Object(mut object) => match object.remove("accounts") {
            Some(Value::Array(items)) => items,
            _ => return Err(DocumentError::Shape),
        },
        _ => return Err(DocumentError::Shape),
    };
    if items.is_empty() {
        return Err(DocumentError::Shape);
    }
    let (mut entries, mut rejected) = (Vec::new(), Vec::new());
    for item in items {
        match entry(item) {
            Ok(entry) => entries.push(entry),
            Err(rejection) => rejected.push(rejection),
        }
    }
    Ok((entries, rejected))
}

fn entry(item: Value) -> Result<Entry, Rejected> {
    let reject = |email: &str, reason: &str| Rejected { email: email.to_owned(), reason: reason.to_owned() };
    let Value::Object(mut fields) = item else {
        return Err(reject("unknown", "Invalid entry: expected an object"));
    };
    let email = text(&fields, &["email"]).map(|email| email.to_lowercase());
    let Some(email) = email else { return Err(reject("unknown", "Missing email")) };
    if !email.contains('@') || email.len() > 254 || email.chars().any(char::is_whitespace) {
        return Err(reject("unknown", "Invalid email: expected an address such as name@example.com"));
    }
    let refresh = secret(&mut fields, &["refresh_token", "refreshToken"]);
    let key = secret(&mut fields, &["api_key", "apiKey"]);
    let declared = text(&fields, &["source"]);
    let project_field = text(&fields, &["projectId", "project_id"]);
    let (source, credential, project, managed_project) = match (refresh, key, declared.as_deref()) {
        (Some(composite), _, _) => {
            let mut segments = composite.split('|').map(str::trim);
            let token = segments.next().unwrap_or_default();
            if token.is_empty() {
                return Err(reject(&email, "Invalid refresh_token: its first segment is empty"));
            }
            let mut segment = || segments.next().filter(|text| !text.is_empty()).map(str::to_owned);
            let (project, managed) = (segment(), segment());
            (Source::OAuth, SecretString::from(token), project.or(project_field), managed)
        }
        (None, Some(key), _) => (Source::Manual, SecretString::from(key), project_field, None),
        (None, None, Some("database")) => {
            return Err(reject(
                &email,
                "Accounts of source \"database\" live in the IDE of their own machine and carry no credential; \
                 give a refresh_token",
            ));
        }
        (None, None, _) => return Err(reject(&email, "Missing refresh_token or api_key")),
    };
    let quota_threshold = match fields.get("quotaThreshold") {
        None | Some(Value::Null) => None,
        Some(value) => Some(fraction(value).ok_or_else(|| {
            reject(&email, "quotaThreshold must be a number from 0 up to, not including, 1")
        })?),
    };
    let mut model_quota_thresholds = BTreeMap::new();
    if let Some(Value::Object(thresholds)) = fields.get("modelQuotaThresholds") {
        for (model, value) in thresholds {
            let value = fraction(value).ok_or_else(|| {
                reject(&email, &format!("Invalid threshold for model {model}: must be 0-0.99"))
            })?;
            model_quota_thresholds.insert(model.clone(), value);
        }
    }
    let tier = fields.get("subscription").and_then(|value| value.get("tier")).and_then(Value::as_str);
    Ok(Entry {
        tier: tier.filter(|tier| matches!(*tier, "free" | "pro" | "ultra")).map(str::to_owned),
        enabled: fields.get("enabled") != Some(&Value::Bool(false)),
        email,
        source,
        credential,
        project,
        managed_project,
        quota_threshold,
        model_quota_thresholds,
    })
}

fn text(fields: &Map<String, Value>, names: &[&str]) -> Option<String> {
    let value = names.iter().find_map(|name| fields.get(*name)?.as_str())?;
    Some(value.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn secret(fields: &mut Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match fields.remove(*name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        _ => None,
    })
}

fn fraction(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| (0.0..1.0).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_reference_document() {
        let document = br#"{"accounts":[
            {"email":" A@Example.com ","source":"oauth","enabled":true,"refreshToken":"1//r|proj|managed",
             "modelRateLimits":{"m":{"isRateLimited":true,"resetTime":1.5}},"quotaThreshold":0.2,
             "modelQuotaThresholds":{"m":0.1},"subscription":{"tier":"pro","projectId":"p","detectedAt":"2026-01-01"}},
            {"email":"b@example.com","source":"manual","enabled":false,"apiKey":"key","projectId":"own"}
        ],"settings":{},"activeIndex":0}"#;
        let (entries, rejected) = parse(document).unwrap();
        assert!(rejected.is_empty());
        let a = &entries[0];
        assert_eq!((a.email.as_str(), a.source, a.enabled), ("a@example.com", Source::OAuth, true));
        assert_eq!(a.credential.expose_secret(), "1//r");
        assert_eq!((a.project.as_deref(), a.managed_project.as_deref()), (Some("proj"), Some("managed")));
        assert_eq!((a.quota_threshold, a.model_quota_thresholds["m"]), (Some(0.2), 0.1));
        assert_eq!(a.tier.as_deref(), Some("pro"));
        let b = &entries[1];
        assert_eq!((b.source, b.enabled, b.project.as_deref()), (Source::Manual, false, Some("own")));
    }

    #[test]
    fn the_short_export_and_its_faults() {
        let document = br#"[{"email":"a@example.com","refresh_token":"r||m"},{"email":"x@example.com"},{"refresh_token":"r"},
            7,{"email":"nonsense","refresh_token":"r"},{"email":"c@example.com","refresh_token":"|p"},
            {"email":"d@example.com","refresh_token":"r","quotaThreshold":1},{"email":"e@example.com","source":"database"}]"#;
        let (entries, rejected) = parse(document).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].project.as_deref(), entries[0].managed_project.as_deref()), (None, Some("m")));
        let reasons: Vec<_> = rejected.iter().map(|r| (r.email.as_str(), r.reason.as_str())).collect();
        assert_eq!(reasons[0], ("x@example.com", "Missing refresh_token or api_key"));
        assert_eq!(reasons[1], ("unknown", "Missing email"));
        assert!(reasons[2].1.starts_with("Invalid entry"));
        assert!(reasons[3].1.starts_with("Invalid email"));
        assert!(reasons[4].1.contains("first segment"));
        assert!(reasons[5].1.contains("quotaThreshold"));
        assert!(reasons[6].1.contains("database"));
    }

    #[test]
    fn documents_of_no_use() {
        assert_eq!(parse(b"[]").unwrap_err(), DocumentError::Shape);
        assert_eq!(parse(b"{}").unwrap_err(), DocumentError::Shape);
        assert_eq!(parse(b"3").unwrap_err(), DocumentError::Shape);
        assert_eq!(parse(b"[{").unwrap_err(), DocumentError::Syntax { line: 1, column: 2 });
    }
}
