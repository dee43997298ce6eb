//! Account documents: what `accounts import`, `migrate` and the console accept.
//!
//! Two forms, told apart by their content: the reference's `accounts.json`, which [`super::export`] writes too, and the
//! short export (`[{email, refresh_token}]`, bare or under `accounts`). One bad entry never spoils the others. Times are
//! taken as numbers or as dates, fractions of milliseconds are rounded, `null` means unknown and never 0.
//! Source: `http-api.md` §1.4, §8.5 and Appendix A, `dispatch.md` §1 and §9.11.

pub(crate) mod value;

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde_json::{Map, Value};
use thiserror::Error;

use self::value::{Fault, Fields};
use crate::cloudcode::classify::is_google;
use crate::store::ident::{InvalidReason, Source};
use crate::store::ops::accounts::Subscription;
use crate::store::ops::models::ModelQuota;

/// One account as a document describes it.
#[derive(Debug)]
pub struct Entry {
    /// Trimmed and lower-cased: the unique name.
    pub email: String,
    /// How tokens are obtained.
    pub source: Source,
    /// The refresh token (first segment only) or the manual access token; none for [`Source::Database`].
    pub credential: Option<SecretString>,
    /// The access token that an account with a refresh token has besides; kept, not used.
    pub spare_key: Option<SecretString>,
    /// The second segment of a composite refresh token, else `projectId`.
    pub project: Option<String>,
    /// The third segment of a composite refresh token, else `managedProjectId`.
    pub managed_project: Option<String>,
    /// `dbPath`: the desktop application's database, for [`Source::Database`]; `None` is where it is by default.
    pub database: Option<String>,
    /// Whether it takes part in selection; `None` keeps what is known, and a new account does.
    pub enabled: Option<bool>,
    /// Fraction 0–1 of quota below which the account is spared; `None` leaves it to the pool's setting.
    pub quota_threshold: Option<f64>,
    /// The same for single models.
    pub model_quota_thresholds: BTreeMap<String, f64>,
    /// `addedAt`, ms since the epoch.
    pub added_at_ms: Option<i64>,
    /// What the owner pays for, where the document knows anything of it.
    pub subscription: Option<Subscription>,
    /// What was learnt while the account was in use.
    pub state: State,
    /// What the document says besides and nobody keeps: names and reasons, never values.
    pub notes: Vec<String>,
}

/// What an account has lived through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// When it was last chosen, ms since the epoch.
    pub last_used_ms: Option<i64>,
    /// Why its owner has to act.
    pub invalid: Option<Invalid>,
    /// Its limits, also those that have ended.
    pub limits: Vec<Limit>,
    /// Its quotas as last fetched.
    pub quota: Option<Quota>,
}

/// Why and since when an account is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The reason.
    pub reason: InvalidReason,
    /// Since when, ms since the epoch, if known.
    pub since_ms: Option<i64>,
    /// Where its owner verifies it.
    pub url: Option<String>,
}

/// A limit of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The model.
    pub model: String,
    /// When it ends, ms since the epoch.
    pub until_ms: i64,
    /// Why, as the store names it: `quota`, `rate`, `unknown`, …
    pub why: String,
}

/// Quotas by model.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// When they were fetched, ms since the epoch, if known.
    pub at_ms: Option<i64>,
    /// In the document's order.
    pub models: Vec<ModelQuota>,
}

/// Reasons of limits that a document may name (`lib/limits.lua`).
pub const LIMIT_REASONS: &[&str] =
    &["quota", "rate", "unknown", "capacity", "failure", "forbidden", "unsupported"];

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
    read(value)
}

/// As [`parse`], of a document that is JSON already.
pub fn read(document: Value) -> Result<(Vec<Entry>, Vec<Rejected>), DocumentError> {
    let items = match document {
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
    let (mut entries, mut rejected, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for item in items {
        match entry(item) {
            Ok(entry) if seen.insert(entry.email.clone()) => entries.push(entry),
            Ok(entry) => rejected.push(Rejected {
                email: entry.email,
                reason: "Duplicate entry: the address stands in the document before, which counts".into(),
            }),
            Err(rejection) => rejected.push(rejection),
        }
    }
    Ok((entries, rejected))
}

fn entry(item: Value) -> Result<Entry, Rejected> {
    let reject = |email: &str, reason: &str| Rejected { email: email.to_owned(), reason: reason.to_owned() };
    let Value::Object(fields) = item else {
        return Err(reject("unknown", "Invalid entry: expected an object"));
    };
    let mut fields = Fields::new(fields);
    let email = fields.text(&["email"]).map_err(|fault| reject("unknown", &fault.0))?;
    let Some(email) = email.map(|email| email.to_lowercase()) else {
        return Err(reject("unknown", "Missing email"));
    };
    if !email.contains('@') || email.len() > 254 || email.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        return Err(reject("unknown", "Invalid email: expected an address such as name@example.com"));
    }
    known(email.clone(), &mut fields).map_err(|fault| reject(&email, &fault.0))
}

/// The rest of an entry, whose address is known.
fn known(email: String, fields: &mut Fields) -> Result<Entry, Fault> {
    let refresh = fields.secret(&["refresh_token", "refreshToken"])?;
    let key = fields.secret(&["api_key", "apiKey"])?;
    let declared = fields.text(&["source"])?;
    if declared.as_deref().is_some_and(|source| Source::from_name(source).is_none()) {
        return Err(Fault("Unknown source: expected oauth, manual or database".into()));
    }
    let project_field = fields.text(&["projectId", "project_id"])?;
    let managed_field = fields.text(&["managedProjectId"])?;
    let database = fields.text(&["dbPath"])?;
    let mut notes = Vec::new();
    let (source, credential, spare_key, project, managed_project) = match (refresh, key, declared.as_deref())
    {
        (Some(composite), key, _) => {
            let mut segments = composite.split('|').map(str::trim);
            let token = segments.next().unwrap_or_default();
            if token.is_empty() {
                return Err(Fault("Invalid refresh_token: its first segment is empty".into()));
            }
            let project = value::segment("the second segment of refresh_token", segments.next())?;
            let managed = value::segment("the third segment of refresh_token", segments.next())?;
            if let (Some(used), Some(other)) = (&project, &project_field)
                && used != other
            {
                notes.push("projectId differs from the refresh token's, which counts".to_owned());
            }
            (
                Source::OAuth,
                Some(SecretString::from(token)),
                key.map(|key| SecretString::from(key.as_str())),
                project.or(project_field),
                managed.or(managed_field),
            )
        }
        (None, Some(key), _) => {
            let key = SecretString::from(key.as_str());
            (Source::Manual, Some(key), None, project_field, managed_field)
        }
        (None, None, Some("database")) => (Source::Database, None, None, project_field, managed_field),
        (None, None, _) => return Err(Fault("Missing refresh_token or api_key".into())),
    };
    let quota_threshold = fields.threshold("quotaThreshold")?;
    let model_quota_thresholds = fields.thresholds("modelQuotaThresholds")?;
    let enabled = fields.flag("enabled")?;
    let added_at_ms = fields.time("addedAt")?;
    let subscription = subscription(fields.object("subscription")?)?;
    let state = State {
        last_used_ms: fields.time("lastUsed")?,
        invalid: invalid(fields, &mut notes)?,
        limits: limits(fields.object("modelRateLimits")?, &mut notes)?,
        quota: quota(fields.object("quota")?)?,
    };
    notes.extend(fields.unknown().map(|name| format!("{name} is not known and not kept")));
    Ok(Entry {
        database: database.filter(|_| source == Source::Database),
        email,
        source,
        credential,
        spare_key,
        project,
        managed_project,
        enabled,
        quota_threshold,
        model_quota_thresholds,
        added_at_ms,
        subscription,
        state,
        notes,
    })
}

fn subscription(fields: Option<Map<String, Value>>) -> Result<Option<Subscription>, Fault> {
    let Some(fields) = fields else { return Ok(None) };
    let mut fields = Fields::new(fields);
    let tier = fields.text(&["tier"])?.map(|tier| tier.to_lowercase());
    let tier = tier.filter(|tier| matches!(&**tier, "free" | "pro" | "ultra"));
    let project = fields.text(&["projectId"])?;
    let seen_at_ms = fields.time("detectedAt")?;
    if tier.is_none() && project.is_none() && seen_at_ms.is_none() {
        return Ok(None);
    }
    Ok(Some(Subscription { tier: tier.unwrap_or_else(|| "unknown".into()), project, seen_at_ms }))
}

/// Free text cannot be judged: without a reason code or a verification address the account counts as valid, as the
/// reference has it after a restart; if something is wrong still, its first use tells.
fn invalid(fields: &mut Fields, notes: &mut Vec<String>) -> Result<Option<Invalid>, Fault> {
    let marked = fields.flag("isInvalid")?.unwrap_or(false);
    let url = fields.text(&["verifyUrl"])?;
    let code = fields.text(&["invalidCode"])?;
    let since_ms = fields.time("invalidAt")?;
    fields.ignored(&["invalidReason"]);
    if !marked {
        return Ok(None);
    }
    // The console shows it as a link.
    let named = url.is_some();
    let url = url.filter(|url| is_google(url));
    if named && url.is_none() {
        notes.push("verifyUrl is no https address of google.com and not kept".to_owned());
    }
    let reason = match code.as_deref().map(InvalidReason::from_name) {
        Some(Some(reason)) => reason,
        None if url.is_some() => InvalidReason::Verification,
        _ => {
            notes.push("isInvalid has no reason that can be told: the account is tried anew".to_owned());
            return Ok(None);
        }
    };
    Ok(Some(Invalid { reason, since_ms, url }))
}

fn limits(fields: Option<Map<String, Value>>, notes: &mut Vec<String>) -> Result<Vec<Limit>, Fault> {
    let mut limits = Vec::new();
    for (model, value) in fields.into_iter().flatten() {
        let Value::Object(fields) = value else {
            notes.push(format!("the limit of {} is not an object", value::shown(&model)));
            continue;
        };
        let mut fields = Fields::new(fields);
        let limited = fields.flag("isRateLimited")?.unwrap_or(false);
        let until = fields.time("resetTime")?;
        let why = fields.text(&["reason"])?.filter(|why| LIMIT_REASONS.contains(&&**why));
        match until {
            Some(until_ms) if limited && value::is_model(&model) => {
                limits.push(Limit { model, until_ms, why: why.unwrap_or_else(|| "unknown".into()) });
            }
            Some(_) if limited => notes.push(format!("{} is no model's name", value::shown(&model))),
            _ => {}
        }
    }
    Ok(limits)
}

fn quota(fields: Option<Map<String, Value>>) -> Result<Option<Quota>, Fault> {
    let Some(fields) = fields else { return Ok(None) };
    let mut fields = Fields::new(fields);
    let at_ms = fields.time("lastChecked")?;
    let mut models = Vec::new();
    for (model, value) in fields.object("models")?.into_iter().flatten() {
        if !value::is_model(&model) {
            return Err(Fault(format!("{} is no model's name", value::shown(&model))));
        }
        let Value::Object(fields) = value else { continue };
        let mut fields = Fields::new(fields);
        let fraction = fields.number("remainingFraction")?.map(|fraction| fraction.clamp(0.0, 1.0));
        let reset = fields.text(&["resetTime"])?;
        let told = fraction.is_some() || reset.is_some();
        models.push(ModelQuota { model, fraction, reset, told });
    }
    Ok((at_ms.is_some() || !models.is_empty()).then_some(Quota { at_ms, models }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use serde_json::json;

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
        assert_eq!((a.email.as_str(), a.source, a.enabled), ("a@example.com", Source::OAuth, Some(true)));
        assert_eq!(a.credential.as_ref().unwrap().expose_secret(), "1//r");
        assert_eq!((a.project.as_deref(), a.managed_project.as_deref()), (Some("proj"), Some("managed")));
        assert_eq!((a.quota_threshold, a.model_quota_thresholds["m"]), (Some(0.2), 0.1));
        let subscription = a.subscription.as_ref().unwrap();
        assert_eq!((subscription.tier.as_str(), subscription.project.as_deref()), ("pro", Some("p")));
        assert_eq!(subscription.seen_at_ms, Some(1_767_225_600_000), "2026-01-01, UTC");
        let b = &entries[1];
        assert_eq!((b.source, b.enabled, b.project.as_deref()), (Source::Manual, Some(false), Some("own")));
    }

    #[test]
    fn the_short_export_and_its_faults() {
        let document = br#"[{"email":"a@example.com","refresh_token":"r||m"},{"email":"x@example.com"},{"refresh_token":"r"},
            7,{"email":"nonsense","refresh_token":"r"},{"email":"c@example.com","refresh_token":"|p"},
            {"email":"d@example.com","refresh_token":"r","quotaThreshold":1},{"email":"e@example.com","source":"ftp"},
            {"email":"A@example.com","refresh_token":"later"}]"#;
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
        assert!(reasons[6].1.contains("Unknown source"));
        assert_eq!(reasons[7].0, "a@example.com");
        assert!(reasons[7].1.contains("Duplicate"));
    }

    fn one(entry: &str) -> Entry {
        let (mut entries, rejected) = parse(format!("[{entry}]").as_bytes()).unwrap();
        assert!(rejected.is_empty(), "{rejected:?}");
        entries.remove(0)
    }

    #[test]
    fn times_are_taken_as_they_are_written() {
        for (written, ms) in [
            ("1764201600000", 1_764_201_600_000),
            ("1764201600000.4", 1_764_201_600_000),
            ("1764201600000.6", 1_764_201_600_001),
            ("\"1764201600000\"", 1_764_201_600_000),
            ("\"2025-11-27T00:00:00.000Z\"", 1_764_201_600_000),
            ("\"2025-11-27T01:00:00+01:00\"", 1_764_201_600_000),
            ("\"2025-11-27T00:00:00\"", 1_764_201_600_000),
            ("\"2025-11-27\"", 1_764_201_600_000),
            ("\"Thu, 27 Nov 2025 00:00:00 GMT\"", 1_764_201_600_000),
        ] {
            let entry = one(&format!(r#"{{"email":"a@b","refresh_token":"r","lastUsed":{written}}}"#));
            assert_eq!(entry.state.last_used_ms, Some(ms), "{written}");
        }
        for none in ["null", "\"\"", "0"] {
            let entry = one(&format!(r#"{{"email":"a@b","refresh_token":"r","lastUsed":{none}}}"#));
            assert_eq!(entry.state.last_used_ms, None, "{none}");
        }
    }

    #[test]
    fn wrong_types_are_named() {
        for (field, value, reason) in [
            ("lastUsed", "true", "lastUsed must be a time"),
            ("lastUsed", "\"yesterday\"", "lastUsed must be a time"),
            ("addedAt", "[1]", "addedAt must be a time"),
            ("enabled", "7", "enabled must be true or false"),
            ("isInvalid", "\"maybe\"", "isInvalid must be true or false"),
            ("refreshToken", "7", "refreshToken must be a text"),
            ("apiKey", "{}", "apiKey must be a text"),
            ("projectId", "[]", "projectId must be a text"),
            ("quota", "3", "quota must be an object"),
            ("modelRateLimits", "[]", "modelRateLimits must be an object"),
            ("subscription", "\"pro\"", "subscription must be an object"),
            ("modelQuotaThresholds", "[]", "modelQuotaThresholds must be an object"),
            ("modelQuotaThresholds", r#"{"m":1}"#, "Invalid threshold for model m: must be 0-0.99"),
            ("modelQuotaThresholds", r#"{"a b":0.1}"#, "no model's name"),
            ("quotaThreshold", "\"half\"", "quotaThreshold must be a number"),
        ] {
            let text = format!(r#"[{{"email":"a@b","refresh_token":"r","{field}":{value}}}]"#);
            let (entries, rejected) = parse(text.as_bytes()).unwrap();
            assert!(entries.is_empty(), "{text}");
            assert!(rejected[0].reason.contains(reason), "{text}: {}", rejected[0].reason);
            assert_eq!(rejected[0].email, "a@b");
        }
    }

    #[test]
    fn what_the_store_cannot_keep_spoils_only_its_own_entry() {
        let (long, longer) = ("p".repeat(5000), "s".repeat(20_000));
        let many: BTreeMap<_, _> = (0..257).map(|at| (format!("m{at}"), 0.1)).collect();
        let told = |what: &str| format!("{what} holds control characters");
        let over = |what: &str| format!("{what} is longer than 4096 bytes");
        for (fields, reason) in [
            (json!({"refreshToken": "r2|p\u{1f}1|m"}), told("refreshToken")),
            (json!({"refreshToken": "r2|p|m\u{0}n"}), told("refreshToken")),
            (json!({"refreshToken": longer}), "refreshToken is longer than 16384 bytes".to_owned()),
            (json!({"refreshToken": format!("r|{long}")}), over("the second segment of refresh_token")),
            (json!({"refreshToken": format!("r||{long}")}), over("the third segment of refresh_token")),
            (json!({"apiKey": "k\u{1f}y"}), told("apiKey")),
            (json!({"refreshToken": "r", "projectId": long}), over("projectId")),
            (json!({"source": "database", "dbPath": long}), over("dbPath")),
            (json!({"refreshToken": "r", "subscription": {"projectId": long}}), over("projectId")),
            (json!({"refreshToken": "r", "isInvalid": true, "verifyUrl": long}), over("verifyUrl")),
            (
                json!({"refreshToken": "r", "quota": {"models": {"m": {"resetTime": long}}}}),
                over("resetTime"),
            ),
            (
                json!({"refreshToken": "r", "modelQuotaThresholds": many}),
                "modelQuotaThresholds may name at most 256 models".to_owned(),
            ),
        ] {
            let mut bad = fields;
            bad["email"] = json!("bad@example.com");
            let good =
                |name: &str| json!({"email": format!("{name}@example.com"), "refreshToken": " r|p|m\n"});
            let (entries, rejected) = read(json!([good("a"), bad, good("b")])).unwrap();
            let emails: Vec<_> = entries.iter().map(|entry| entry.email.as_str()).collect();
            assert_eq!(emails, ["a@example.com", "b@example.com"], "{reason}");
            assert_eq!(rejected, [Rejected { email: "bad@example.com".into(), reason }]);
        }
    }

    #[test]
    fn only_addresses_of_google_are_links() {
        for (address, kept) in [
            ("https://accounts.google.com/v", true),
            ("javascript:alert(1)", false),
            ("http://accounts.google.com/v", false),
            ("https://google.com.example.com/", false),
            ("https://u:p@accounts.google.com/", false),
        ] {
            let code = json!({"email": "a@b", "refreshToken": "r", "isInvalid": true, "verifyUrl": address,
                "invalidCode": "banned"});
            let entry = one(&code.to_string());
            let invalid = entry.state.invalid.unwrap();
            assert_eq!(
                (invalid.reason, invalid.url.as_deref()),
                (InvalidReason::Banned, kept.then_some(address))
            );
            assert_eq!(entry.notes.len(), usize::from(!kept), "{address}");
            let mut bare = code;
            bare.as_object_mut().unwrap().remove("invalidCode");
            let entry = one(&bare.to_string());
            assert_eq!(entry.state.invalid.is_some(), kept, "{address}");
            assert!(kept || entry.notes[0].contains("verifyUrl"), "{:?}", entry.notes);
        }
    }

    #[test]
    fn what_was_learnt_in_use_is_taken() {
        let entry = one(
            r#"{"email":"a@b","refreshToken":"r","apiKey":"k","isInvalid":true,"invalidReason":"x",
            "verifyUrl":"https://accounts.google.com/v","invalidAt":5.4,
            "modelRateLimits":{"m":{"isRateLimited":true,"resetTime":1999999999999.2,"actualResetMs":1.5},
                "n":{"isRateLimited":false,"resetTime":null},"o":{"isRateLimited":true,"resetTime":null},
                "p":{"isRateLimited":true,"resetTime":"2033-05-18T03:33:20Z","reason":"quota"}},
            "quota":{"models":{"m":{"remainingFraction":null,"resetTime":null},
                "n":{"remainingFraction":0.25,"resetTime":"2033-05-18T03:33:20Z"},"o":{"remainingFraction":"0.5"}},
                "lastChecked":1764201600000.5},"consecutiveFailures":3,"colour":"blue"}"#,
        );
        assert_eq!((entry.source, entry.spare_key.is_some()), (Source::OAuth, true));
        let invalid = entry.state.invalid.unwrap();
        assert_eq!((invalid.reason, invalid.since_ms), (InvalidReason::Verification, Some(5)));
        let limit =
            |model: &str, until_ms, why: &str| Limit { model: model.into(), until_ms, why: why.into() };
        assert_eq!(
            entry.state.limits,
            [limit("m", 1_999_999_999_999, "unknown"), limit("p", 2_000_000_000_000, "quota")]
        );
        let quota = entry.state.quota.unwrap();
        assert_eq!(quota.at_ms, Some(1_764_201_600_001));
        let fractions: Vec<_> = quota.models.iter().map(|one| (one.model.as_str(), one.fraction)).collect();
        assert_eq!(fractions, [("m", None), ("n", Some(0.25)), ("o", Some(0.5))]);
        assert_eq!(entry.notes, ["colour is not known and not kept"]);
    }

    #[test]
    fn sources_and_reasons() {
        let entry = one(r#"{"email":"a@b","source":"database","dbPath":"/x/state.vscdb"}"#);
        assert_eq!((entry.source, entry.database.as_deref()), (Source::Database, Some("/x/state.vscdb")));
        assert!(entry.credential.is_none());
        let entry = one(r#"{"email":"a@b","source":"oauth","dbPath":null,"apiKey":"k"}"#);
        assert_eq!(entry.source, Source::Manual);
        for (code, reason) in [("banned", Some(InvalidReason::Banned)), ("tired", None)] {
            let entry =
                one(&format!(r#"{{"email":"a@b","apiKey":"k","isInvalid":true,"invalidCode":"{code}"}}"#));
            assert_eq!(entry.state.invalid.map(|invalid| invalid.reason), reason);
            assert_eq!(entry.notes.len(), usize::from(reason.is_none()));
        }
        let entry = one(r#"{"email":"a@b","refreshToken":"r|p","projectId":"q"}"#);
        assert_eq!((entry.project.as_deref(), entry.notes.len()), (Some("p"), 1));
    }

    #[test]
    fn documents_of_no_use() {
        assert_eq!(parse(b"[]").unwrap_err(), DocumentError::Shape);
        assert_eq!(parse(b"{}").unwrap_err(), DocumentError::Shape);
        assert_eq!(parse(b"3").unwrap_err(), DocumentError::Shape);
        assert_eq!(parse(b"[{").unwrap_err(), DocumentError::Syntax { line: 1, column: 2 });
    }
}
