use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Judged, Patch, Rejected};
use crate::config::{Config, Flags, LoadInput, Loaded, SETTINGS, Setting, SharedValues};

fn read(body: &Value) -> Patch {
    Patch::read(body.as_object().unwrap())
}

fn own(file: &Value, env: &[(&str, &str)], flags: Flags) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), file.to_string()).unwrap();
    let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Config::load(&LoadInput { flags, env, cwd: dir.path().to_owned(), home: Some("/nowhere".into()) })
        .unwrap()
}

fn plain() -> Loaded {
    own(&json!({}), &[], Flags::default())
}

fn stored(values: &Value) -> SharedValues {
    values.as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.to_string())).collect()
}

fn fields(rejected: &[Rejected]) -> Vec<&str> {
    rejected.iter().map(|one| one.field.as_str()).collect()
}

/// Whether a single field with this value is taken.
fn taken(key: &str, value: &Value) -> bool {
    let patch = read(&json!({ key: value }));
    assert_eq!(patch.is_empty(), !patch.rejected.is_empty(), "{key}: {value}: {patch:?}");
    !patch.is_empty()
}

/// The ranges of spec `http-api.md` §3.2: what the reference takes is taken here; ours are wider in places.
#[test]
fn every_setting_of_the_reference_keeps_its_range() {
    let scores = "accountSelection.healthScore";
    let buckets = "accountSelection.tokenBucket";
    let whole: [(&str, i64, i64); 16] = [
        ("maxRetries", 1, 20),
        ("retryBaseMs", 100, 10_000),
        ("retryMaxMs", 1_000, 120_000),
        ("defaultCooldownMs", 1_000, 300_000),
        ("maxWaitBeforeErrorMs", 0, 600_000),
        ("requestDelayMs", 100, 5_000),
        ("rateLimitDedupWindowMs", 1_000, 30_000),
        ("maxConsecutiveFailures", 1, 10),
        ("extendedCooldownMs", 10_000, 300_000),
        ("maxCapacityRetries", 1, 10),
        ("accountSelection.quota.staleMs", 30_000, 3_600_000),
        // Wider than the reference's: 1 to 100, and 1,000 to 60,000.
        ("maxAccounts", 0, 10_000),
        ("switchAccountDelayMs", 0, 60_000),
        // Of the file only there.
        ("rateLimitStateResetMs", 1_000, 3_600_000),
        ("requestTimeoutMs", 1_000, 3_600_000),
        ("accountSelection.quota.refreshIntervalMs", 30_000, 3_600_000),
    ];
    for (key, min, max) in whole {
        for (value, fits) in
            [(json!(min), true), (json!(max), true), (json!(min - 1), false), (json!(max + 1), false)]
        {
            assert_eq!(taken(key, &value), fits, "{key}: {value}");
        }
        let middle = min.midpoint(max);
        assert!(
            taken(key, &json!(middle)) && taken(key, &json!(format!("{middle}.0").parse::<f64>().unwrap()))
        );
        for wrong in [json!(7.5), json!("5"), json!(null), json!(true), json!([5]), json!({})] {
            assert!(!taken(key, &wrong), "{key}: {wrong}");
        }
    }
    for (key, min, max) in [
        (format!("{scores}.initial"), 0.0, 100.0),
        (format!("{scores}.successReward"), 0.0, 20.0),
        (format!("{scores}.rateLimitPenalty"), -50.0, 0.0),
        (format!("{scores}.failurePenalty"), -50.0, 0.0),
        (format!("{scores}.recoveryPerHour"), 0.0, 20.0),
        (format!("{scores}.minUsable"), 0.0, 100.0),
        (format!("{scores}.maxScore"), 1.0, 200.0),
        (format!("{buckets}.maxTokens"), 5.0, 200.0),
        (format!("{buckets}.tokensPerMinute"), 1.0, 60.0),
        (format!("{buckets}.initialTokens"), 1.0, 200.0),
        ("accountSelection.weights.health".into(), 0.0, 20.0),
        ("accountSelection.weights.tokens".into(), 0.0, 20.0),
        ("accountSelection.weights.quota".into(), 0.0, 20.0),
        ("accountSelection.weights.lru".into(), 0.0, 5.0),
    ] {
        for (value, fits) in [(min, true), (max, true), (min - 0.5, false), (max + 0.5, false)] {
            assert_eq!(taken(&key, &json!(value)), fits, "{key}: {value}");
        }
        assert!(!taken(&key, &json!("1")), "{key}");
    }
    for key in [
        "globalQuotaThreshold",
        "accountSelection.quota.lowThreshold",
        "accountSelection.quota.criticalThreshold",
    ] {
        for (value, fits) in [(json!(0), true), (json!(0.99), true), (json!(1), false), (json!(-0.1), false)]
        {
            assert_eq!(taken(key, &value), fits, "{key}: {value}");
        }
    }
    for (key, right, wrong) in [
        ("devMode", json!(true), json!("true")),
        ("debug", json!(false), json!(1)),
        ("requestThrottlingEnabled", json!(true), json!(null)),
        ("logLevel", json!("debug"), json!("loud")),
        ("logLevel", json!("warn"), json!(3)),
        ("capacityBackoffTiersMs", json!([1000, 300_000]), json!([])),
        ("capacityBackoffTiersMs", json!(vec![5000; 10]), json!(vec![5000; 11])),
        ("capacityBackoffTiersMs", json!([1000]), json!([999])),
        ("capacityBackoffTiersMs", json!([1000]), json!([1000.5])),
        ("capacityBackoffTiersMs", json!([1000]), json!("1000")),
        ("accountSelection.strategy", json!("round-robin"), json!("fastest")),
        ("accountSelection.strategy", json!("sticky"), json!(["sticky"])),
        ("persistTokenCache", json!(true), json!(false)),
    ] {
        assert!(taken(key, &right), "{key}: {right}");
        assert!(!taken(key, &wrong), "{key}: {wrong}");
    }
}

#[test]
fn fields_are_taken_one_by_one_and_the_others_are_told() {
    let patch = read(&json!({
        "maxRetries": 7.0, "retryBaseMs": 7.5, "_comment": 1, "maxRetrys": 3, "apiKey": "hidden-1", "webuiPassword": "hidden-2",
        "port": 80, "modelMapping": {"a": {"mapping": "b"}}, "dataDir": "/x", "persistTokenCache": false,
        "firstRetryDelayMs": 5, "oauth": {"clientSecret": "hidden-3"}, "upstream": 5,
        "accountSelection": {"strategy": "Sticky", "weights": {"lru": 9, "health": 3}, "nothing": 1, "quota": null},
        "redis": {"url": "redis://hidden-4"}, "encryptionKeys": "hidden-5",
    }));
    assert_eq!(
        json!(patch.document()),
        json!({ "maxRetries": 7, "accountSelection": { "strategy": "sticky", "weights": { "health": 3 } } })
    );
    let reasons: BTreeMap<_, _> =
        patch.rejected.iter().map(|one| (one.field.as_str(), one.reason.as_str())).collect();
    for (field, part) in [
        ("retryBaseMs", "7.5 is not usable; allowed: whole milliseconds from 100 to 10000"),
        ("maxRetrys", "did you mean `maxRetries`?"),
        ("apiKey", "set it where the gateway runs, in the file or API_KEY"),
        ("webuiPassword", "POST /api/config/password"),
        ("port", "is never shared"),
        ("modelMapping", "POST /api/models/config"),
        ("dataDir", "is never shared"),
        ("persistTokenCache", "has no effect. Always on"),
        ("firstRetryDelayMs", "has no effect. Replaced by `retryBaseMs`"),
        ("oauth.clientSecret", "is never shared"),
        ("upstream", "must be a JSON object"),
        ("accountSelection.weights.lru", "9 is not usable"),
        ("accountSelection.nothing", "there is no such setting"),
        ("accountSelection.quota", "must be a JSON object"),
        ("redis.url", "is never shared"),
        ("encryptionKeys", "is never shared"),
    ] {
        assert!(reasons[field].contains(part), "{field}: {}", reasons[field]);
    }
    assert_eq!(reasons.len(), 16);
    assert!(!format!("{patch:?}").contains("hidden"));
    assert!(read(&json!({})).is_empty() && read(&json!({"_x": 1})).rejected.is_empty());
    let dotted = read(&json!({ "accountSelection.weights.lru": 1, "persistTokenCache": true }));
    assert_eq!(
        json!(dotted.document()),
        json!({ "accountSelection": { "weights": { "lru": 1 } }, "persistTokenCache": true })
    );
    assert!(
        plain().judge(&SharedValues::new(), &dotted).accepted.len() == 1,
        "nothing to store of what is so anyway"
    );
}

#[test]
fn developer_mode_has_two_names() {
    for (body, on) in [
        (json!({ "devMode": true }), true),
        (json!({ "debug": true }), true),
        (json!({ "devMode": false, "debug": true }), false),
        (json!({ "devMode": "no", "debug": true }), true),
    ] {
        let patch = read(&body);
        assert_eq!(json!(patch.document()), json!({ "devMode": on, "debug": on }), "{body}");
    }
    let none = SharedValues::new();
    for (loaded, body, field) in [
        (own(&json!({}), &[("DEBUG", "true")], Flags::default()), json!({ "devMode": false }), "devMode"),
        (own(&json!({}), &[("DEV_MODE", "1")], Flags::default()), json!({ "debug": false }), "debug"),
        (
            own(&json!({}), &[], Flags { dev_mode: true, ..Flags::default() }),
            json!({ "devMode": false }),
            "devMode",
        ),
    ] {
        let judged = loaded.judge(&none, &read(&body));
        let expected = [Rejected { field: field.into(), reason: "set by environment".into() }];
        assert_eq!((judged.accepted.len(), &judged.rejected[..]), (0, &expected[..]));
    }
    let judged = own(&json!({ "debug": true }), &[], Flags::default())
        .judge(&none, &read(&json!({ "devMode": false })));
    assert_eq!(judged.accepted.len(), 2, "also what the file has is switched off");
}

#[test]
fn what_the_environment_or_a_flag_decides_is_not_changed() {
    let flags = Flags { strategy: Some("sticky".into()), ..Flags::default() };
    let loaded = own(&json!({ "maxRetries": 3 }), &[("FALLBACK", "true"), ("LOG_LEVEL", "warn")], flags);
    let patch = read(&json!({
        "fallbackEnabled": false, "logLevel": "debug", "maxRetries": 4, "accountSelection": {"strategy": "hybrid"},
    }));
    let Judged { accepted, rejected, .. } = loaded.judge(&SharedValues::new(), &patch);
    assert_eq!(accepted, BTreeMap::from([("maxRetries", json!(4))]), "the file decides nothing");
    assert_eq!(fields(&rejected), ["accountSelection.strategy", "fallbackEnabled", "logLevel"]);
    assert!(rejected.iter().all(|one| one.reason == "set by environment"));
}

#[test]
fn what_does_not_fit_the_whole_is_rejected_and_the_rest_taken() {
    let loaded = own(&json!({ "retryMaxMs": 2000 }), &[], Flags::default());
    for (here, body, accepted, rejected) in [
        // Against the file, the store, a default, and one another.
        (json!({}), json!({ "retryBaseMs": 3000, "maxRetries": 2 }), vec!["maxRetries"], vec!["retryBaseMs"]),
        (json!({ "retryMaxMs": 9000 }), json!({ "retryBaseMs": 3000 }), vec!["retryBaseMs"], vec![]),
        (json!({ "retryBaseMs": 1500 }), json!({ "retryMaxMs": 1000 }), vec![], vec!["retryMaxMs"]),
        (
            json!({}),
            json!({ "retryBaseMs": 3000, "retryMaxMs": 4000 }),
            vec!["retryBaseMs", "retryMaxMs"],
            vec![],
        ),
        (
            json!({}),
            json!({ "retryBaseMs": 5000, "retryMaxMs": 4000 }),
            vec![],
            vec!["retryBaseMs", "retryMaxMs"],
        ),
        (
            json!({}),
            json!({ "accountSelection": { "healthScore": { "minUsable": 90, "maxScore": 80, "successReward": 2 } } }),
            vec!["accountSelection.healthScore.successReward"],
            vec!["accountSelection.healthScore.minUsable", "accountSelection.healthScore.maxScore"],
        ),
        (
            json!({}),
            json!({ "accountSelection": { "healthScore": { "maxScore": 60 } } }),
            vec![],
            vec!["accountSelection.healthScore.maxScore"],
        ),
        (
            json!({}),
            json!({ "accountSelection": { "tokenBucket": { "initialTokens": 60 } } }),
            vec![],
            vec!["accountSelection.tokenBucket.initialTokens"],
        ),
        (
            json!({}),
            json!({ "accountSelection": { "quota": { "criticalThreshold": 0.2 } } }),
            vec![],
            vec!["accountSelection.quota.criticalThreshold"],
        ),
        (
            json!({ "accountSelection.quota.lowThreshold": 0.3 }),
            json!({ "accountSelection": { "quota": { "criticalThreshold": 0.2 } } }),
            vec!["accountSelection.quota.criticalThreshold"],
            vec![],
        ),
        (
            json!({ "accountSelection.weights.tokens": 0, "accountSelection.weights.quota": 0 }),
            json!({ "accountSelection": { "weights": { "health": 0, "lru": 0 } }, "maxRetries": 3 }),
            vec!["maxRetries"],
            vec!["accountSelection.weights.health", "accountSelection.weights.lru"],
        ),
        // Falling tiers are only worth a warning.
        (
            json!({}),
            json!({ "capacityBackoffTiersMs": [5000, 1000] }),
            vec!["capacityBackoffTiersMs"],
            vec![],
        ),
    ] {
        let judged = loaded.judge(&stored(&here), &read(&body));
        assert_eq!(judged.accepted.keys().copied().collect::<Vec<_>>(), accepted, "{body}");
        let mut told = fields(&judged.rejected);
        told.sort_unstable();
        let mut rejected = rejected.clone();
        rejected.sort_unstable();
        assert_eq!(told, rejected, "{body}");
        // What is taken is usable.
        let mut whole = stored(&here);
        whole.extend(judged.accepted.iter().map(|(key, value)| ((*key).to_owned(), value.to_string())));
        assert!(loaded.with_shared(&whole).is_ok(), "{body}");
    }
}

#[test]
fn a_store_that_is_not_usable_is_mended_first() {
    let broken = stored(&json!({ "retryBaseMs": "soon" }));
    let judged = plain().judge(&broken, &read(&json!({ "maxRetries": 4 })));
    assert!(judged.accepted.is_empty());
    assert!(judged.rejected[0].reason.contains("retryBaseMs"), "{judged:?}");
    let judged = plain().judge(&broken, &read(&json!({ "maxRetries": 4, "retryBaseMs": 200 })));
    assert_eq!(judged.accepted.len(), 2, "{judged:?}");
}

#[test]
fn the_document_has_every_setting_and_no_secret() {
    let loaded = own(
        &json!({ "apiKey": "hidden-1", "maxRetries": 4, "modelMapping": { "a": { "mapping": "b", "pinned": true } } }),
        &[("WEBUI_PASSWORD", "hidden-2"), ("HTTPS_PROXY", "http://user:hidden-3@proxy:1")],
        Flags { dev_mode: true, ..Flags::default() },
    );
    let document = json!(loaded.document("********"));
    for (pointer, value) in [
        ("/apiKey", json!("********")),
        ("/webuiPassword", json!("********")),
        ("/upstream/proxy/https", json!("********")),
        ("/redisPassword", json!("")),
        ("/oauth/clientSecret", json!("")),
        ("/oauth/clientId", json!("")),
        ("/maxRetries", json!(4)),
        ("/devMode", json!(true)),
        ("/debug", json!(true)),
        ("/modelMapping/a/pinned", json!(true)),
        ("/accountSelection/strategy", json!("hybrid")),
        ("/accountSelection/quota/lowThreshold", json!(0.1)),
        ("/capacityBackoffTiersMs", json!([5000, 10000, 20000, 30000, 60000])),
        ("/persistTokenCache", json!(true)),
        ("/allowedHosts", json!([])),
    ] {
        assert_eq!(document.pointer(pointer), Some(&value), "{pointer}");
    }
    assert!(!document.to_string().contains("hidden"), "{document}");
    for setting in SETTINGS {
        let pointer = format!("/{}", setting.key.replace('.', "/"));
        assert!(document.pointer(&pointer).is_some(), "{pointer}");
    }
    let sources = loaded.sources();
    assert_eq!(sources.len(), SETTINGS.len());
    for (key, source) in [
        ("maxRetries", "file"),
        ("webuiPassword", "env"),
        ("devMode", "flag"),
        ("retryBaseMs", "default"),
        ("redis.url", "default"),
    ] {
        assert_eq!(sources[key], source, "{key}");
    }
    let taken = loaded.with_shared(&stored(&json!({ "retryBaseMs": 200 }))).unwrap();
    assert_eq!(taken.sources()["retryBaseMs"], "store");
}

#[test]
fn names_of_the_table_are_no_groups_of_others() {
    for setting in SETTINGS {
        let group = format!("{}.", setting.key);
        assert!(!SETTINGS.iter().any(|other| other.key.starts_with(&group)), "{}", setting.key);
        assert!(Setting::find(setting.key).is_some());
    }
}
