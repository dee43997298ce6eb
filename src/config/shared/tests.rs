use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{
    Config, Flags, Kind, LoadInput, Loaded, Origin, SETTINGS, Setting, SharedValues, Sharing,
};

/// Settings from a file, an environment and flags.
fn load(file: &Value, env: &[(&str, &str)], flags: Flags) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), file.to_string()).unwrap();
    let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let input = LoadInput { flags, env, cwd: dir.path().to_owned(), home: Some("/nowhere".into()) };
    Config::load(&input).unwrap()
}

fn shared(values: &Value) -> SharedValues {
    values.as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.to_string())).collect()
}

/// An allowed value that is not the default.
fn sample(setting: &Setting) -> Value {
    match setting.kind {
        Kind::Bool => json!(setting.default != "true"),
        Kind::Int(min, _) | Kind::Millis(min, _) => json!(min + 1),
        Kind::IntChoice(values) => json!(values[1]),
        Kind::Number(min, max) => json!(min + (max - min) / 8.0),
        Kind::Fraction => json!(0.075),
        Kind::Bytes(min, _) => json!(min + 1),
        Kind::Tiers(min, _) => json!([min, min + 1]),
        Kind::Text | Kind::Header => json!("a text"),
        Kind::Choice(words) => json!(words[1]),
        Kind::Strategy => json!("round-robin"),
        Kind::LogFilter => json!("trace"),
        Kind::ModelMapping => json!({ "a": { "mapping": "b" } }),
        Kind::ClaudeProfile => json!({ "ANTHROPIC_MODEL": "m" }),
        Kind::Aliases => json!({ "a*": ["b*", "c"] }),
        Kind::TextMap => json!({ "a": "b" }),
        other => panic!("{}: no shared setting had the kind {other:?} so far", setting.key),
    }
}

/// `{"a.b": 1}` as the file has it.
fn nested(key: &str, value: Value) -> Value {
    key.rsplit('.').fold(value, |inner, name| json!({ name: inner }))
}

#[test]
fn a_shared_value_means_what_it_means_in_the_file() {
    for setting in SETTINGS.iter().filter(|setting| setting.sharing != Sharing::Local) {
        let value = sample(setting);
        // What the others must fit to, so that the sample is allowed.
        let fitting = json!({ "retryBaseMs": 100, "accountSelection": { "healthScore": { "minUsable": 10, "initial": 10 },
            "tokenBucket": { "initialTokens": 2 }, "quota": { "criticalThreshold": 0.01 } } });
        let own = load(&fitting, &[], Flags::default());
        let taken = own.with_shared(&SharedValues::from([(setting.key.into(), value.to_string())]));
        let taken = taken.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(taken.origins[setting.key], Origin::Store, "{}", setting.key);
        let mut file = fitting.clone();
        merge(&mut file, nested(setting.key, value));
        let mut expected = load(&file, &[], Flags::default()).config;
        let mut config = taken.config;
        // Scripts read the store themselves.
        expected.selection.base = BTreeMap::new();
        config.selection.base = BTreeMap::new();
        assert_eq!(format!("{config:#?}"), format!("{expected:#?}"), "{}", setting.key);
        if !setting.reserved {
            let unchanged = format!("{:#?}", own.config) == format!("{config:#?}");
            assert!(!unchanged || setting.script.is_some(), "{} changed nothing", setting.key);
        }
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[test]
fn file_store_environment_and_flag_win_in_this_order() {
    let file = json!({ "maxRetries": 2, "retryMaxMs": 9000, "devMode": true, "debug": true });
    let env = [("FALLBACK", "true"), ("LOG_LEVEL", "warn"), ("STRATEGY", "hybrid")];
    let flags = Flags { dev_mode: true, ..Flags::default() };
    let own = load(&file, &env, flags);
    let stored = shared(&json!({
        "maxRetries": 3, "fallbackEnabled": false, "logLevel": "trace", "devMode": false,
        "accountSelection.strategy": "round-robin", "maxAccounts": 7,
    }));
    let taken = own.with_shared(&stored).unwrap();
    assert_eq!(taken.config.dispatch.max_retries, 3, "above the file");
    assert!(taken.config.dispatch.fallback, "below the environment");
    assert_eq!(taken.config.telemetry.level, "warn");
    assert!(taken.config.server.dev_mode, "below the flag");
    assert_eq!(taken.origins["maxRetries"].to_string(), "shared store");
    assert_eq!(taken.origins["logLevel"], Origin::Env("LOG_LEVEL".into()));
    assert_eq!(taken.config.selection.pinned, BTreeMap::from([("strategy".into(), "hybrid".into())]));
    assert_eq!(taken.config.dispatch.retry_max, Duration::from_secs(9), "not in the store");
    // What is taken out of the store leaves nothing behind.
    let again = taken.with_shared(&SharedValues::new()).unwrap();
    assert_eq!(format!("{:?}", again.config), format!("{:?}", own.config));
    assert_eq!(taken.differing(&own).into_iter().collect::<Vec<_>>(), ["maxAccounts", "maxRetries"]);
}

#[test]
fn settings_of_a_program_are_what_the_store_lies_above() {
    let mut config = Config::default();
    config.dispatch.max_retries = 9;
    config.server.port = 1234;
    let own = Loaded::from(config);
    let taken = own.with_shared(&shared(&json!({ "retryBaseMs": 200 }))).unwrap();
    assert_eq!((taken.config.dispatch.max_retries, taken.config.server.port), (9, 1234));
    assert_eq!(taken.config.dispatch.retry_base, Duration::from_millis(200));
}

#[test]
fn what_does_not_fit_is_refused_as_a_whole() {
    let own = load(&json!({ "retryMaxMs": 2000 }), &[], Flags::default());
    for (values, part) in [
        (json!({ "maxRetries": 0 }), "maxRetries (shared store): 0 is not usable; allowed: a whole number"),
        (json!({ "maxRetries": "7" }), "\"7\" is not usable"),
        (json!({ "retryBaseMs": 3000 }), "retryBaseMs must not exceed retryMaxMs"),
        (json!({ "accountSelection.strategy": "fastest" }), "hybrid, round-robin or sticky"),
        (json!({ "upstream.clientVersion": "1\n2" }), "visible ASCII"),
    ] {
        let errors = own.with_shared(&shared(&values)).unwrap_err().to_string();
        assert!(errors.contains(part), "{values}: {errors}");
    }
    let broken = SharedValues::from([("maxRetries".into(), "{".into())]);
    assert!(own.with_shared(&broken).unwrap_err().to_string().contains("is not valid JSON"));
}

#[test]
fn what_is_unknown_or_local_is_left_alone_with_a_warning() {
    let own = load(&json!({}), &[], Flags::default());
    let stored =
        shared(&json!({ "port": 1, "apiKey": "hidden-value", "fromTheFuture": { "x": 1 }, "maxRetries": 4 }));
    let taken = own.with_shared(&stored).unwrap();
    assert_eq!((taken.config.server.port, taken.config.dispatch.max_retries), (8080, 4));
    assert!(taken.config.server.api_keys.is_empty());
    assert_eq!(taken.warnings.len(), 3, "{:?}", taken.warnings);
    for key in ["port", "apiKey", "fromTheFuture"] {
        assert!(taken.warnings.iter().any(|warning| warning.starts_with(key)), "{key}");
    }
    assert!(!taken.warnings.join("").contains("hidden-value"));
}

#[test]
fn secrets_places_and_addresses_are_never_shared() {
    for setting in SETTINGS {
        let names = ["host", "port", "metricsAddr", "dataDir", "pool", "publicDir", "logFormat"];
        let place = matches!(
            setting.kind,
            Kind::Path | Kind::File | Kind::Address | Kind::Url(_) | Kind::BareUrl(_) | Kind::UrlList(_)
        );
        let redis = setting.key.starts_with("redis");
        if setting.is_secret() || place || redis || names.contains(&setting.key) || !setting.in_file {
            assert_eq!(setting.sharing, Sharing::Local, "{}", setting.key);
            assert!(setting.stored(&json!("x")).is_err(), "{}", setting.key);
        }
        if setting.script.is_some() {
            assert_eq!(setting.sharing, Sharing::Live, "{}: scripts see a change at once", setting.key);
        }
    }
}

#[test]
fn what_the_store_keeps_reads_back_as_it_was() {
    for setting in SETTINGS.iter().filter(|setting| setting.is_shared()) {
        let value = sample(setting);
        let stored = setting.stored(&value).unwrap();
        assert!(setting.script.is_none() || !stored.contains(['"', '\n']), "{}: {stored}", setting.key);
        let restored: Value = serde_json::from_str(&setting.restored(stored)).unwrap();
        let number = value.as_f64().is_some() && value.as_f64() == restored.as_f64();
        assert!(number || restored == value, "{}: {restored} instead of {value}", setting.key);
    }
    let long = json!("x".repeat(70_000));
    let preamble = Setting::find("upstream.systemPreamble").unwrap();
    assert!(preamble.stored(&long).unwrap_err().to_string().contains("longer than"));
}

#[test]
fn people_write_values_as_they_write_them_in_the_environment() {
    for (key, text, value) in [
        ("maxRetries", "7", json!(7)),
        ("fallbackEnabled", "yes", json!(true)),
        ("capacityBackoffTiersMs", "1000,2000", json!([1000, 2000])),
        ("globalQuotaThreshold", "0.2", json!(0.2)),
        ("accountSelection.strategy", "RoundRobin", json!("round-robin")),
        (
            "modelMapping",
            r#"{"a": {"mapping": "b", "hidden": true}}"#,
            json!({ "a": { "mapping": "b", "hidden": true } }),
        ),
        ("upstream.systemPreamble", "12", json!("12")),
        ("maxRetries", "many", json!("many")),
        ("modelMapping", "{", json!("{")),
    ] {
        assert_eq!(Setting::find(key).unwrap().written(text), value, "{key}={text}");
    }
}
