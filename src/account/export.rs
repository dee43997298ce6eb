//! Account documents as they are written: the reference's `accounts.json` (spec `http-api.md`, Appendix A) with what it
//! has no member for besides. What [`super::import`] reads of it is what was written.
//!
//! Beyond the reference's members: `invalidCode` and `invalidAt` (why and since when an account is invalid),
//! `managedProjectId` (of accounts without a refresh token, which carries it elsewhere), `apiKey` beside a refresh
//! token, `reason` of a limit.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::import::{Entry, Invalid, Rejected};
use crate::store::ident::{InvalidReason, Source};

/// The member that accounts are told in whose credential does not open; it is there only when there are any.
pub const UNREADABLE: &str = "unreadable";

/// The whole document; secrets in clear.
#[must_use]
pub fn document(entries: &[Entry], unreadable: &[Rejected]) -> Value {
    let accounts: Vec<_> = entries.iter().map(full).collect();
    let mut document = json!({ "accounts": accounts, "settings": {}, "activeIndex": 0 });
    if !unreadable.is_empty() {
        let told = unreadable.iter().map(|one| json!({ "email": one.email, "reason": one.reason }));
        document[UNREADABLE] = told.collect();
    }
    document
}

/// One account with everything that is known of it.
#[must_use]
pub fn full(entry: &Entry) -> Value {
    let state = &entry.state;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| _ = fields.insert(name.to_owned(), value);
    put("email", json!(entry.email));
    put("source", json!(entry.source.as_str()));
    put("enabled", json!(entry.enabled.unwrap_or(true)));
    put("dbPath", json!(entry.database));
    let clear = |secret: &SecretString| json!(secret.expose_secret());
    match (entry.source, &entry.credential) {
        (Source::OAuth, Some(_)) => put("refreshToken", json!(composite(entry))),
        (Source::Manual, Some(key)) => put("apiKey", clear(key)),
        _ => {}
    }
    if let Some(key) = &entry.spare_key {
        put("apiKey", clear(key));
    }
    if let Some(project) = &entry.project {
        put("projectId", json!(project));
    }
    if let Some(project) = entry.managed_project.as_ref().filter(|_| entry.source != Source::OAuth) {
        put("managedProjectId", json!(project));
    }
    if let Some(added) = entry.added_at_ms.and_then(iso) {
        put("addedAt", json!(added));
    }
    let invalid = state.invalid.as_ref();
    put("isInvalid", json!(invalid.is_some()));
    put("invalidReason", json!(invalid.map(|invalid| told(invalid.reason))));
    put("verifyUrl", json!(invalid.and_then(|invalid| invalid.url.as_deref())));
    if let Some(Invalid { reason, since_ms, .. }) = invalid {
        put("invalidCode", json!(reason.as_str()));
        put("invalidAt", json!(since_ms));
    }
    let limits = state.limits.iter().map(|limit| {
        let row = json!({ "isRateLimited": true, "resetTime": limit.until_ms, "reason": limit.why });
        (limit.model.clone(), row)
    });
    put("modelRateLimits", Value::Object(limits.collect()));
    put("lastUsed", json!(state.last_used_ms));
    let subscription = entry.subscription.as_ref();
    put(
        "subscription",
        json!({
            "tier": subscription.map_or("unknown", |one| &*one.tier),
            "projectId": subscription.and_then(|one| one.project.as_deref()),
            "detectedAt": subscription.and_then(|one| one.seen_at_ms),
        }),
    );
    let quotas = state.quota.iter().flat_map(|quota| &quota.models).map(|quota| {
        let row = json!({ "remainingFraction": quota.fraction, "resetTime": quota.reset });
        (quota.model.clone(), row)
    });
    let quotas = Value::Object(quotas.collect());
    let checked = state.quota.as_ref().and_then(|quota| quota.at_ms);
    put("quota", json!({ "models": quotas, "lastChecked": checked }));
    if let Some(threshold) = entry.quota_threshold {
        put("quotaThreshold", json!(threshold));
    }
    if !entry.model_quota_thresholds.is_empty() {
        put("modelQuotaThresholds", json!(entry.model_quota_thresholds));
    }
    Value::Object(fields)
}

/// `token|project|managed project`; without projects the token alone, which reads back the same
/// (spec `http-api.md` §6.6).
pub(super) fn composite(entry: &Entry) -> String {
    let token = entry.credential.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    let project = entry.project.as_deref().unwrap_or_default();
    match &entry.managed_project {
        Some(managed) => format!("{token}|{project}|{managed}"),
        None if project.is_empty() => token.to_owned(),
        None => format!("{token}|{project}"),
    }
}

fn iso(ms: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(ms).ok()?;
    Some(format!("{time:.3}"))
}

/// Words for people who read the file; what counts is the code.
fn told(reason: InvalidReason) -> &'static str {
    match reason {
        InvalidReason::Revoked => "Sign-in revoked or expired",
        InvalidReason::Banned => "Account banned",
        InvalidReason::Verification => "Verification required",
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::account::import::{self, LIMIT_REASONS, Limit, Quota, State};
    use crate::store::ops::accounts::Subscription;
    use crate::store::ops::models::ModelQuota;

    fn time() -> impl Strategy<Value = i64> {
        1..4_000_000_000_000_i64
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9./_:-]{1,24}"
    }

    fn secret() -> impl Strategy<Value = SecretString> {
        "[!-{}~]{1,40}".prop_map(SecretString::from)
    }

    fn state() -> impl Strategy<Value = State> {
        let reasons = prop::sample::select(vec![
            InvalidReason::Revoked,
            InvalidReason::Banned,
            InvalidReason::Verification,
        ]);
        let invalid =
            (reasons, option::of(time()), option::of("https://[a-z]{1,9}\\.google\\.com/[a-z?=]{0,9}"));
        let limits = btree_map(name(), (time(), prop::sample::select(LIMIT_REASONS)), 0..4);
        let quotas = btree_map(name(), (option::of(0.0..=1.0_f64), option::of("[0-9T:Z-]{1,20}")), 0..4);
        (option::of(time()), option::of(invalid), limits, option::of(time()), quotas).prop_map(
            |(last_used_ms, invalid, limits, at_ms, quotas)| State {
                last_used_ms,
                invalid: invalid.map(|(reason, since_ms, url)| Invalid { reason, since_ms, url }),
                limits: limits
                    .into_iter()
                    .map(|(model, (until_ms, why))| Limit { model, until_ms, why: why.to_owned() })
                    .collect(),
                quota: (at_ms.is_some() || !quotas.is_empty()).then(|| Quota {
                    at_ms,
                    models: quotas
                        .into_iter()
                        .map(|(model, (fraction, reset))| ModelQuota {
                            told: fraction.is_some() || reset.is_some(),
                            model,
                            fraction,
                            reset,
                        })
                        .collect(),
                }),
            },
        )
    }

    fn subscription() -> impl Strategy<Value = Option<Subscription>> {
        let tiers = prop::sample::select(vec!["unknown", "free", "pro", "ultra"]);
        (tiers, option::of(name()), option::of(time())).prop_map(|(tier, project, seen_at_ms)| {
            let told = tier != "unknown" || project.is_some() || seen_at_ms.is_some();
            told.then(|| Subscription { tier: tier.to_owned(), project, seen_at_ms })
        })
    }

    prop_compose! {
        fn entry()(
            source in prop::sample::select(vec![Source::OAuth, Source::Manual, Source::Database]),
            credential in secret(),
            spare_key in option::of(secret()),
            projects in (option::of(name()), option::of(name())),
            database in option::of("/[a-z /]{0,20}[a-z]"),
            enabled in any::<bool>().prop_map(Some),
            thresholds in (option::of(0.0..1.0_f64), btree_map(name(), 0.0..1.0_f64, 0..3)),
            added_at_ms in option::of(time()),
            subscription in subscription(),
            state in state(),
        ) -> Entry {
            Entry {
                email: "someone@example.com".into(),
                source,
                credential: (source != Source::Database).then_some(credential),
                spare_key: spare_key.filter(|_| source == Source::OAuth),
                project: projects.0,
                managed_project: projects.1,
                database: database.filter(|_| source == Source::Database),
                enabled,
                quota_threshold: thresholds.0,
                model_quota_thresholds: thresholds.1,
                added_at_ms,
                subscription,
                state,
                notes: Vec::new(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(entries in vec(entry(), 1..4)) {
            let named = (0..).zip(entries).map(|(at, entry)| Entry { email: format!("u{at}@example.com"), ..entry });
            let entries: Vec<Entry> = named.collect();
            let written = document(&entries, &[]);
            let (read, rejected) = import::parse(written.to_string().as_bytes()).unwrap();
            prop_assert!(rejected.is_empty(), "{rejected:?}");
            prop_assert!(read.iter().all(|entry| entry.notes.is_empty()), "{:?}", read[0].notes);
            prop_assert_eq!(&document(&read, &[]), &written);
            for (read, entry) in read.iter().zip(&entries) {
                prop_assert_eq!(&read.state, &entry.state);
                prop_assert_eq!(&read.subscription, &entry.subscription);
                prop_assert_eq!((&read.project, &read.managed_project), (&entry.project, &entry.managed_project));
                prop_assert_eq!((read.enabled, read.added_at_ms), (entry.enabled, entry.added_at_ms));
                prop_assert_eq!((read.source, &read.database), (entry.source, &entry.database));
                let clear = |secret: &Option<SecretString>| secret.as_ref().map(|one| one.expose_secret().to_owned());
                prop_assert_eq!(clear(&read.credential), clear(&entry.credential));
                prop_assert_eq!(clear(&read.spare_key), clear(&entry.spare_key));
                let thresholds = |entry: &Entry| (entry.quota_threshold, entry.model_quota_thresholds.clone());
                prop_assert_eq!(thresholds(read), thresholds(entry));
            }
        }

        #[test]
        fn no_document_is_a_reason_to_fall_over(text in "[\\[\\]{}\",:a-z0-9@. ]{0,200}") {
            let _ = import::parse(text.as_bytes());
        }

        #[test]
        fn no_value_of_any_member_is_either(field in prop::sample::select(vec![
            "email", "source", "enabled", "dbPath", "refreshToken", "apiKey", "projectId", "managedProjectId",
            "addedAt", "isInvalid", "invalidReason", "invalidCode", "invalidAt", "verifyUrl", "modelRateLimits",
            "lastUsed", "subscription", "quota", "quotaThreshold", "modelQuotaThresholds",
        ]), value in prop::sample::select(vec![
            json!(null), json!(true), json!(1.5), json!(-1), json!(1e300), json!(""), json!("x"), json!([]),
            json!({}), json!({"m": 1}), json!({"m": null}), json!({"m": {"isRateLimited": true, "resetTime": "x"}}),
            json!({"models": {"m": {"remainingFraction": "many"}}}), json!({"tier": 7}),
        ])) {
            let mut entry = json!({"email": "a@b", "refreshToken": "r"});
            entry[field] = value;
            let (entries, rejected) = import::parse(json!([entry]).to_string().as_bytes()).unwrap();
            prop_assert_eq!(entries.len() + rejected.len(), 1);
        }
    }

    #[test]
    fn the_map_keeps_its_order() {
        // As objects of the reference have it.
        let entry = full(&import::parse(br#"[{"email":"a@b","refreshToken":"r"}]"#).unwrap().0[0]);
        let names: Vec<_> = entry.as_object().unwrap().keys().take(4).cloned().collect();
        assert_eq!(names, ["email", "source", "enabled", "dbPath"]);
    }
}
