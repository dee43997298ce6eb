//! Accounts and data coming from elsewhere and going there: export, import, verification, `migrate`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::gateway::{Gateway, Home};
use crate::http;
use crate::redis_server::RedisServer;
use crate::simulator::Simulator;
use crate::site::ENCRYPTION_KEY;

/// A store, with a gateway on it or without: what commands must work on.
struct Place {
    name: &'static str,
    home: Home,
    gateway: Option<Gateway>,
    _redis: Option<RedisServer>,
}

impl Place {
    async fn new(name: &'static str, simulator: &Simulator) -> Self {
        let redis = name.starts_with("Redis").then(RedisServer::start);
        let mut home = Home::with(simulator);
        if let Some(redis) = &redis {
            home = home.env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
        }
        let gateway = if name.ends_with("served") { Some(home.start().await) } else { None };
        Self { name, home, gateway, _redis: redis }
    }

    async fn all(simulator: &Simulator) -> Vec<Self> {
        let mut places = Vec::new();
        for name in ["embedded", "embedded, served", "Redis", "Redis, served"] {
            places.push(Self::new(name, simulator).await);
        }
        places
    }

    /// The exit code and what was said.
    async fn run(&self, args: &[&str]) -> (i32, String, String) {
        let ended = self.home.run(args, b"").await;
        (ended.code.unwrap(), ended.out, ended.err)
    }

    async fn json(&self, args: &[&str]) -> (i32, Value) {
        let (code, out, err) = self.run(args).await;
        let value =
            serde_json::from_str(&out).unwrap_or_else(|_| panic!("{}: {args:?}: {out}{err}", self.name));
        (code, value)
    }

    async fn account(&self, email: &str) -> Value {
        let (_, listed) = self.json(&["accounts", "list", "--json"]).await;
        let mut accounts = listed["accounts"].as_array().unwrap().iter();
        accounts
            .find(|account| account["email"] == email)
            .unwrap_or_else(|| panic!("{email} in {listed}"))
            .clone()
    }

    async fn import(&self, document: &Value) {
        self.home.succeed(&["accounts", "import", "-"], document.to_string().as_bytes()).await;
    }

    async fn export(&self) -> Value {
        let (code, document) = self.json(&["accounts", "export"]).await;
        assert_eq!(code, 0, "{}", self.name);
        document
    }

    /// Everything that is kept for long, as text.
    async fn kept(&self) -> String {
        let ended = self.home.run(&["store", "export"], b"").await;
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.out
    }
}

#[tokio::test]
async fn accounts_are_managed_on_every_store_with_a_gateway_and_without() {
    let simulator = Simulator::with_accounts(3).await;
    for place in Place::all(&simulator).await {
        let name = place.name;
        place.import(&simulator.accounts).await;
        let (one, two) = ("user1@example.com", "USER2@example.com");

        let (code, out, _) = place.run(&["accounts", "disable", one, two]).await;
        assert_eq!((code, out.lines().count()), (0, 2), "{name}: {out}");
        assert_eq!(place.account(one).await["enabled"], false, "{name}");
        assert_eq!(place.account("user2@example.com").await["enabled"], false, "{name}");
        let (code, answer) = place.json(&["accounts", "enable", "--json", one, "nobody@example.com"]).await;
        assert_eq!((code, &answer["enabled"]), (4, &json!([one])), "{name}: {answer}");
        assert_eq!(answer["failed"][0]["email"], "nobody@example.com", "{name}");
        assert_eq!(place.account(one).await["enabled"], true, "{name}");
        assert_eq!(place.run(&["accounts", "disable", "nobody@example.com"]).await.0, 1, "{name}");

        for args in
            [&["0.25"][..], &["0.5", "--model", "m"], &["0.75", "--model", "n"], &["off", "--model", "m"]]
        {
            let (code, _, err) = place.run(&[&["accounts", "threshold", one], args].concat()).await;
            assert_eq!(code, 0, "{name}: {err}");
        }
        let account = place.account(one).await;
        assert_eq!(account["quotaThreshold"], 0.25, "{name}");
        assert_eq!(account["modelQuotaThresholds"], json!({"n": 0.75}), "{name}");
        place.run(&["accounts", "threshold", one, "off"]).await;
        assert!(place.account(one).await.get("quotaThreshold").is_none(), "{name}");
        assert_eq!(place.run(&["accounts", "threshold", one, "1"]).await.0, 2, "{name}");

        // Nobody can be asked.
        for args in [&["accounts", "remove", one][..], &["accounts", "clear"]] {
            let (code, _, err) = place.run(args).await;
            assert_eq!(code, 2, "{name}: {err}");
            assert!(err.contains("--yes"), "{name}: {err}");
        }
        let (code, out, err) = place.run(&["accounts", "remove", "--yes", one, "nobody@example.com"]).await;
        assert_eq!((code, out.as_str()), (4, "removed  user1@example.com\n"), "{name}: {err}");
        let (code, answer) = place.json(&["accounts", "clear", "--yes", "--json"]).await;
        assert_eq!((code, answer["removed"].as_array().map(Vec::len)), (0, Some(2)), "{name}: {answer}");
        assert_eq!(place.run(&["accounts", "clear"]).await.0, 0, "{name}: nothing to ask about");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_person_is_asked_before_anything_is_removed() {
    let simulator = Simulator::with_accounts(2).await;
    let place = Place::new("embedded", &simulator).await;
    place.import(&simulator.accounts).await;
    for (typed, code, left) in [("n\n", 1, 2), ("\n", 1, 2), ("yes\n", 0, 1)] {
        let ended = place.home.at_terminal(&["accounts", "remove", "user1@example.com"], typed).await;
        assert_eq!(ended.code, Some(code), "{typed:?}: {}", ended.out);
        assert!(ended.out.contains("Remove user1@example.com with its credential? [y/N]"), "{}", ended.out);
        let (_, listed) = place.json(&["accounts", "list", "--json"]).await;
        assert_eq!(listed["accounts"].as_array().map(Vec::len), Some(left), "{typed:?}");
    }
    let ended = place.home.at_terminal(&["accounts", "clear"], "y\n").await;
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("Remove all 1 accounts"), "{}", ended.out);
}

#[tokio::test]
async fn accounts_are_verified_by_a_real_use() {
    let scenario = json!({"accounts": [
        {"email": "good@example.com", "refresh_token": "1//good", "project": "p1"},
        {"email": "gone@example.com", "refresh_token": "1//gone", "project": "p2", "state": "revoked"},
    ]});
    let simulator = Simulator::start(&scenario).await;
    for place in Place::all(&simulator).await {
        let name = place.name;
        let account = |name: &str| {
            json!({"email": format!("{name}@example.com"), "refreshToken": format!("1//{name}|p1"),
                "isInvalid": true, "invalidCode": "revoked", "invalidAt": 1_764_201_600_000_i64})
        };
        place.import(&json!({"accounts": [account("good"), account("gone")]})).await;
        assert_eq!(place.account("good@example.com").await["isInvalid"], true, "{name}");
        let (code, out, err) = place.run(&["accounts", "verify"]).await;
        assert_eq!(code, 4, "{name}: {err}");
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0], "✓ good@example.com, valid again", "{name}");
        assert!(
            lines[1].starts_with("✗ gone@example.com: the account's sign-in was revoked"),
            "{name}: {out}"
        );
        assert_eq!(place.account("good@example.com").await["isInvalid"], false, "{name}");
        assert_eq!(place.account("gone@example.com").await["isInvalid"], true, "{name}");
        let (code, answer) = place.json(&["accounts", "verify", "--json", "good@example.com"]).await;
        assert_eq!((code, &answer["accounts"][0]["works"]), (0, &json!(true)), "{name}: {answer}");
        let (code, out, _) = place.run(&["accounts", "verify", "nobody@example.com"]).await;
        assert_eq!((code, out.as_str()), (4, "✗ nobody@example.com: there is no such account\n"), "{name}");
    }
}

/// As the reference writes it after years of use.
fn reference_accounts() -> Value {
    json!({
        "accounts": [
            {
                "email": "First@Example.com", "source": "oauth", "enabled": true, "dbPath": null,
                "refreshToken": "1//first|own-project|managed-project", "projectId": "own-project",
                "addedAt": "2025-11-27T08:09:10.111Z", "isInvalid": false, "invalidReason": null, "verifyUrl": null,
                "modelRateLimits": {
                    "claude-sonnet-4-6": {"isRateLimited": true, "resetTime": 4_102_444_800_000.375, "actualResetMs": 1.25},
                    "gemini-3-flash": {"isRateLimited": false, "resetTime": null, "actualResetMs": 7000.5}
                },
                "lastUsed": 1_764_230_950_222.75,
                "subscription": {"tier": "pro", "projectId": "managed-project", "detectedAt": "2025-11-27T09:00:00.000Z"},
                "quota": {"models": {
                    "claude-sonnet-4-6": {"remainingFraction": null, "resetTime": null},
                    "gemini-3-flash": {"remainingFraction": 0.62, "resetTime": "2025-11-28T00:00:00Z"},
                    "gemini-3-pro-high": {"remainingFraction": 0, "resetTime": "2025-11-28T00:00:00Z"}
                }, "lastChecked": 1_764_230_000_000.5},
                "quotaThreshold": 0.15, "modelQuotaThresholds": {"claude-sonnet-4-6": 0.3, "gemini-3-flash": 0}
            },
            {
                "email": "second@example.com", "source": "oauth", "enabled": false, "refreshToken": "1//second||managed",
                "apiKey": "ya29.besides", "isInvalid": true, "invalidReason": "Account requires verification",
                "verifyUrl": "https://accounts.google.com/signin/continue?x=1", "modelRateLimits": {}, "lastUsed": null,
                "subscription": {"tier": "unknown", "projectId": null, "detectedAt": null},
                "quota": {"models": {}, "lastChecked": null}
            },
            {
                "email": "third@example.com", "source": "manual", "apiKey": "ya29.manual", "projectId": "third-project",
                "subscription": {"tier": "ultra", "projectId": "third-project", "detectedAt": 1_764_230_000_000_i64},
                "lastUsed": "2025-11-27T08:09:10Z"
            }
        ],
        "settings": {"maxRetries": 5}, "activeIndex": 1
    })
}

/// What must be there of it, whatever else is.
fn assert_nothing_is_lost(document: &Value, name: &str) {
    let [first, second, third] = &document["accounts"].as_array().unwrap()[..3] else { panic!("{document}") };
    for (account, expected) in [
        (
            first,
            json!({
                "email": "first@example.com", "source": "oauth", "enabled": true,
                "refreshToken": "1//first|own-project|managed-project", "projectId": "own-project",
                "addedAt": "2025-11-27T08:09:10.111Z", "isInvalid": false,
                "modelRateLimits": {"claude-sonnet-4-6":
                    {"isRateLimited": true, "resetTime": 4_102_444_800_000_i64, "reason": "unknown"}},
                "lastUsed": 1_764_230_950_223_i64,
                "subscription": {"tier": "pro", "projectId": "managed-project", "detectedAt": 1_764_234_000_000_i64},
                "quota": {"models": {
                    "claude-sonnet-4-6": {"remainingFraction": null, "resetTime": null},
                    "gemini-3-flash": {"remainingFraction": 0.62, "resetTime": "2025-11-28T00:00:00Z"},
                    "gemini-3-pro-high": {"remainingFraction": 0.0, "resetTime": "2025-11-28T00:00:00Z"}
                }, "lastChecked": 1_764_230_000_001_i64},
                "quotaThreshold": 0.15, "modelQuotaThresholds": {"claude-sonnet-4-6": 0.3, "gemini-3-flash": 0.0},
            }),
        ),
        (
            second,
            json!({
                "email": "second@example.com", "source": "oauth", "enabled": false,
                "refreshToken": "1//second||managed", "apiKey": "ya29.besides", "isInvalid": true,
                "invalidCode": "verification", "verifyUrl": "https://accounts.google.com/signin/continue?x=1",
            }),
        ),
        (
            third,
            json!({
                "email": "third@example.com", "source": "manual", "enabled": true, "apiKey": "ya29.manual",
                "projectId": "third-project", "lastUsed": 1_764_230_950_000_i64,
                "subscription": {"tier": "ultra", "projectId": "third-project", "detectedAt": 1_764_230_000_000_i64},
            }),
        ),
    ] {
        for (member, value) in expected.as_object().unwrap() {
            assert_eq!(&account[member], value, "{name}: {member} of {}", account["email"]);
        }
    }
}

#[tokio::test]
async fn what_is_exported_and_imported_is_the_same_again() {
    let simulator = Simulator::with_accounts(0).await;
    let source = Place::new("embedded", &simulator).await;
    source.import(&reference_accounts()).await;
    let document = source.export().await;
    assert_nothing_is_lost(&document, "embedded");
    // The surveys of a gateway would learn more of the accounts.
    for name in ["embedded", "Redis"] {
        let place = Place::new(name, &simulator).await;
        place.import(&document).await;
        assert_eq!(place.export().await, document, "{name}");
    }

    let file = source.home.path().join("accounts.json");
    let path = file.to_str().unwrap();
    assert_eq!(source.run(&["accounts", "export", "--output", path]).await.0, 0);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written, document);
    let (code, _, err) = source.run(&["accounts", "export", "--output", path]).await;
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("is there already"), "{err}");

    // Once more: this pool knows better, so nothing but the credentials is renewed.
    let listed = source.json(&["accounts", "list", "--json"]).await.1;
    source.run(&["accounts", "import", path]).await;
    let again = source.json(&["accounts", "list", "--json"]).await.1;
    assert_eq!(again["accounts"][0], listed["accounts"][0]);
    assert_eq!(again["accounts"][1]["isInvalid"], false, "signed in anew");

    // What the console downloads is read by the reference's console and by this one.
    let served = Place::new("embedded, served", &simulator).await;
    served.import(&document).await;
    let url = &served.gateway.as_ref().unwrap().url;
    let short = http::get(&format!("{url}/api/accounts/export")).await.json();
    assert_eq!(
        short[1],
        json!({"email": "second@example.com", "refresh_token": "1//second||managed", "api_key": "ya29.besides"})
    );
    let place = Place::new("embedded", &simulator).await;
    place.import(&short).await;
    let credentials = |document: &Value| -> Vec<Value> {
        let accounts = document["accounts"].as_array().unwrap().iter();
        accounts.map(|one| json!([one["email"], one["refreshToken"], one["apiKey"]])).collect()
    };
    assert_eq!(credentials(&place.export().await), credentials(&document));
}

/// Entries that the store cannot keep, each by its address.
fn entries_that_cannot_be_kept() -> Vec<Value> {
    let long = "p".repeat(5000);
    vec![
        json!({"email": "bad1@example.com", "refreshToken": "r2|p\u{1f}1|m"}),
        json!({"email": "bad2@example.com", "refreshToken": format!("r|{long}")}),
        json!({"email": "bad3@example.com", "refreshToken": "r", "subscription": {"projectId": long}}),
        json!({"email": "bad4@example.com", "refreshToken": "r", "isInvalid": true, "verifyUrl": long}),
        json!({"email": "bad5@example.com", "refreshToken": "r", "quota": {"models": {"m": {"resetTime": long}}}}),
    ]
}

#[tokio::test]
async fn entries_that_cannot_be_kept_spoil_only_themselves() {
    let simulator = Simulator::with_accounts(0).await;
    for name in ["embedded", "embedded, served", "Redis"] {
        let place = Place::new(name, &simulator).await;
        let mut accounts = entries_that_cannot_be_kept();
        let script = json!({"email": "script@example.com", "refreshToken": "r", "isInvalid": true,
            "invalidCode": "banned", "verifyUrl": "javascript:alert(1)"});
        accounts.insert(0, json!({"email": "first@example.com", "refreshToken": "1//first"}));
        accounts.extend([script, json!({"email": "last@example.com", "refreshToken": "1//last"})]);
        let document = json!({"accounts": accounts});
        let good = ["first@example.com", "script@example.com", "last@example.com"];
        let emails = |document: &Value| -> Vec<String> {
            let accounts = document["accounts"].as_array().unwrap().iter();
            accounts.map(|one| one["email"].as_str().unwrap().to_owned()).collect()
        };
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "accounts.json", &document);
        let source = directory.path().to_str().unwrap();
        let (code, report) = place.json(&["migrate", "--source", source, "--json"]).await;
        assert_eq!(
            (code, count(&report, "failed"), count(&report, "imported")),
            (4, 5, 3),
            "{name}: {report}"
        );
        assert!(report.to_string().contains("verifyUrl is no https address"), "{name}: {report}");
        let exported = place.export().await;
        assert_eq!(emails(&exported), good, "{name}");
        assert!(!exported.to_string().contains("javascript"), "{name}: {exported}");
        let file = directory.path().join("accounts.json");
        let (code, report) = place.json(&["accounts", "import", "--json", file.to_str().unwrap()]).await;
        assert_eq!((code, &report["results"]["updated"]), (4, &json!(good)), "{name}: {report}");
        assert_eq!(report["results"]["failed"].as_array().map(Vec::len), Some(5), "{name}: {report}");
        assert_eq!(emails(&place.export().await), good, "{name}");
    }
}

#[tokio::test]
async fn a_document_that_does_not_say_whether_an_account_is_enabled_changes_nothing_of_it() {
    let simulator = Simulator::with_accounts(0).await;
    for name in ["embedded", "Redis"] {
        let place = Place::new(name, &simulator).await;
        let short = json!([{"email": "one@example.com", "refresh_token": "1//one"}]);
        place.import(&short).await;
        assert_eq!(place.account("one@example.com").await["enabled"], true, "{name}: new");
        place.home.succeed(&["accounts", "disable", "one@example.com"], b"").await;
        place.import(&short).await;
        assert_eq!(place.account("one@example.com").await["enabled"], false, "{name}");
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().to_str().unwrap();
        put(directory.path(), "accounts.json", &short);
        let (code, report) = place.json(&["migrate", "--source", source, "--json"]).await;
        assert_eq!((code, count(&report, "same")), (0, 1), "{name}: {report}");
        put(
            directory.path(),
            "accounts.json",
            &json!([{"email": "one@example.com", "refresh_token": "1//new"}]),
        );
        let (_, report) = place.json(&["migrate", "--source", source, "--overwrite", "--json"]).await;
        assert_eq!(count(&report, "replaced"), 1, "{name}: {report}");
        assert_eq!(place.account("one@example.com").await["enabled"], false, "{name}");
        place
            .import(&json!([{"email": "one@example.com", "refresh_token": "1//new", "enabled": true}]))
            .await;
        assert_eq!(place.account("one@example.com").await["enabled"], true, "{name}");
    }
}

fn put(directory: &Path, name: &str, value: &Value) {
    std::fs::write(directory.join(name), value.to_string()).unwrap();
}

/// A configuration directory of the reference. The hour lies within the days that usage is kept.
fn reference_directory(hour: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "accounts.json", &reference_accounts());
    let config = json!({
        "apiKey": "marker-of-a-key", "maxRetries": 8, "maxWaitBeforeErrorMs": 120_000, "port": 9999,
        "accountSelection": {"strategy": "round-robin", "healthScore": {"initial": 60}},
        "modelMapping": {"claude-3-opus": {"mapping": "claude-opus-4-6-thinking"}},
    });
    put(directory.path(), "config.json", &config);
    let usage = json!({hour: {"_total": 5, "claude": {"_subtotal": 5, "sonnet-4-6": 5}}});
    put(directory.path(), "usage-history.json", &usage);
    let server = json!([{"name": "Conservative", "builtIn": true, "config": {}}, {"name": "Mine", "config": {"maxRetries": 3}}]);
    put(directory.path(), "server-presets.json", &server);
    let claude = json!([{"name": "Work", "config": {"ANTHROPIC_AUTH_TOKEN": "marker-of-a-token", "ANTHROPIC_MODEL": "m"}}]);
    put(directory.path(), "claude-presets.json", &claude);
    directory
}

/// The start of the hour before this one, as the reference writes it.
fn last_hour() -> String {
    let now_ms = antigravity_proxy::clock::Clock::system().epoch_ms();
    let hour = now_ms.div_euclid(3_600_000) * 3_600_000 - 3_600_000;
    format!("{:.3}", jiff::Timestamp::from_millisecond(hour).unwrap())
}

/// Outcomes by kind and name.
fn fates(report: &Value) -> BTreeMap<(String, String), String> {
    let text = |item: &Value, member: &str| item[member].as_str().unwrap().to_owned();
    let items = report["items"].as_array().unwrap().iter();
    items.map(|item| ((text(item, "kind"), text(item, "name")), text(item, "outcome"))).collect()
}

fn count(report: &Value, fate: &str) -> usize {
    fates(report).values().filter(|other| *other == fate).count()
}

#[tokio::test]
async fn the_references_directory_is_taken_over_once_and_whole() {
    let simulator = Simulator::with_accounts(0).await;
    for place in Place::all(&simulator).await {
        let name = place.name;
        let hour = last_hour();
        let directory = reference_directory(&hour);
        let source = directory.path().to_str().unwrap();
        let migrate = async |more: &[&str]| {
            place.json(&[&["migrate", "--source", source, "--json"], more].concat()).await
        };
        let before = place.export().await;
        let (code, dry) = migrate(&["--dry-run"]).await;
        assert_eq!((code, &dry["dryRun"]), (0, &json!(true)), "{name}: {dry}");
        assert_eq!(place.export().await, before, "{name}: a dry run changes nothing");
        let (code, report) = migrate(&[]).await;
        assert_eq!(code, 0, "{name}: {report}");
        assert_eq!(dry["items"], report["items"], "{name}: the dry run foretells it");
        assert!(!report.to_string().contains("marker"), "{name}: {report}");
        let told = fates(&report);
        let fate = |kind: &str, name: &str| told[&(kind.to_owned(), name.to_owned())].clone();
        for (kind, name, expected) in [
            ("account", "first@example.com", "imported"),
            ("account", "second@example.com", "imported"),
            ("account", "third@example.com", "imported"),
            ("setting", "maxRetries", "imported"),
            ("setting", "accountSelection.strategy", "imported"),
            ("setting", "accountSelection.healthScore.initial", "imported"),
            ("setting", "modelMapping", "imported"),
            ("setting", "maxWaitBeforeErrorMs", "same"),
            ("setting", "apiKey", "notApplicable"),
            ("setting", "port", "notApplicable"),
            ("server preset", "Mine", "imported"),
            ("server preset", "Conservative", "notApplicable"),
            ("claude preset", "Work", "imported"),
        ] {
            assert_eq!(fate(kind, name), expected, "{}: {kind} {name}", place.name);
        }
        assert_eq!(fate("usage", &hour.replace(".000Z", "Z")), "imported", "{name}");
        let exported = place.export().await;
        assert_eq!(exported["accounts"][1]["apiKey"], "ya29.besides", "{name}");
        // A gateway has asked the upstream meanwhile, which does not know these accounts.
        if place.gateway.is_none() {
            assert_nothing_is_lost(&exported, name);
        }
        let settings =
            place.home.succeed(&["settings", "get", "maxRetries", "modelMapping", "--json"], b"").await;
        let settings: Value = serde_json::from_str(&settings).unwrap();
        assert_eq!(settings["settings"]["maxRetries"], 8, "{name}: {settings}");
        assert_eq!(settings["rows"][1]["stored"]["claude-3-opus"]["mapping"], "claude-opus-4-6-thinking");
        let kept = place.kept().await;
        assert!(kept.contains("claude-sonnet-4-6\u{1f}unknown\u{1f}migrated"), "{name}");
        assert!(kept.contains("presets:claude") && !kept.contains("marker-of-a"), "{name}");

        let (code, report) = migrate(&[]).await;
        assert_eq!((code, count(&report, "imported")), (0, 0), "{name}: {report}");
        assert_eq!(count(&report, "same"), 3 + 5 + 1 + 2, "{name}: {report}");

        // What differs now stays, unless it is to be replaced.
        place.home.succeed(&["accounts", "disable", "first@example.com"], b"").await;
        place.home.succeed(&["settings", "set", "maxRetries=9"], b"").await;
        let usage = json!({&hour: {"_total": 6, "claude": {"_subtotal": 6, "sonnet-4-6": 6}}});
        put(directory.path(), "usage-history.json", &usage);
        put(directory.path(), "server-presets.json", &json!([{"name": "Mine", "config": {"maxRetries": 4}}]));
        let (code, report) = migrate(&[]).await;
        assert_eq!((code, count(&report, "conflict")), (4, 4), "{name}: {report}");
        assert!(report.to_string().contains("differs in enabled"), "{name}: {report}");
        let (code, report) = migrate(&["--skip-existing"]).await;
        assert_eq!((code, count(&report, "skipped")), (0, 4), "{name}: {report}");
        assert_eq!(place.account("first@example.com").await["enabled"], false, "{name}");
        let (code, report) = migrate(&["--overwrite"]).await;
        assert_eq!((code, count(&report, "replaced")), (0, 4), "{name}: {report}");
        assert_eq!(place.account("first@example.com").await["enabled"], true, "{name}");
        let (code, report) = migrate(&["--overwrite"]).await;
        assert_eq!((code, count(&report, "replaced")), (0, 0), "{name}: {report}");
    }
}

#[tokio::test]
async fn a_corrupt_file_leaves_everything_untouched() {
    let simulator = Simulator::with_accounts(0).await;
    let place = Place::new("embedded", &simulator).await;
    let directory = reference_directory(&last_hour());
    let source = directory.path().to_str().unwrap();
    std::fs::write(directory.path().join("server-presets.json"), "[{\"name\": \"x\",\n  marker}]").unwrap();
    let (code, out, err) = place.run(&["migrate", "--source", source]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("server-presets.json is not valid JSON: line 2, column 3"), "{err}");
    assert!(!err.contains("marker"), "{err}");
    put(directory.path(), "server-presets.json", &json!({"not": "a list"}));
    let (code, _, err) = place.run(&["migrate", "--source", source]).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("presets: expected a list"), "{err}");
    assert_eq!(place.export().await["accounts"], json!([]));
    // An entry that is wrong spoils nothing but itself.
    put(directory.path(), "server-presets.json", &json!([]));
    let mut accounts = reference_accounts();
    accounts["accounts"][1]["lastUsed"] = json!("long ago");
    put(directory.path(), "accounts.json", &accounts);
    let (code, out, _) = place.run(&["migrate", "--source", source]).await;
    assert_eq!(code, 4, "{out}");
    assert!(out.contains("failed          account second@example.com: lastUsed must be a time"), "{out}");
    assert!(out.contains("imported        account third@example.com"), "{out}");
}

#[tokio::test]
async fn names_that_cannot_be_kept_are_the_callers_fault() {
    let simulator = Simulator::with_accounts(1).await;
    let place = Place::new("embedded, served", &simulator).await;
    place.import(&simulator.accounts).await;
    let url = &place.gateway.as_ref().unwrap().url;
    let json = [("content-type", "application/json")];
    let many: serde_json::Map<_, _> = (0..257).map(|at| (format!("m{at}"), json!(0.1))).collect();
    for (method, path, body) in [
        ("POST", "%00/verify", json!({})),
        ("POST", "%1F/toggle", json!({"enabled": true})),
        ("DELETE", "%00", json!({})),
        ("PATCH", "%00", json!({"quotaThreshold": 0.1})),
        ("PATCH", "user1@example.com", json!({"modelQuotaThresholds": {"a\u{1f}b": 0.1}})),
        ("PATCH", "user1@example.com", json!({"modelQuotaThresholds": {"m".repeat(129): 0.1}})),
        ("PATCH", "user1@example.com", json!({"modelQuotaThresholds": many})),
    ] {
        let path = format!("{url}/api/accounts/{path}");
        let answer = http::send(method, &path, &json, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
        assert_eq!(answer.json()["status"], "error", "{}", answer.text());
    }
    let (code, _, err) =
        place.run(&["accounts", "threshold", "user1@example.com", "0.1", "--model", "a\u{1}"]).await;
    assert_eq!(code, 2, "{err}");
    let patch = json!({"modelQuotaThresholds": {"m".repeat(128): 0.1}}).to_string();
    let answer =
        http::send("PATCH", &format!("{url}/api/accounts/user1@example.com"), &json, patch.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn keys_of_the_go_port_that_cannot_be_read_are_told() {
    let simulator = Simulator::with_accounts(0).await;
    let other = RedisServer::start();
    go_dump(&other);
    let mut connection = other.connect();
    let key = "antigravity:accounts:key@example.com";
    redis::cmd("HSET").arg(key).arg("note").arg(&b"\xff\xfe"[..]).exec(&mut connection).unwrap();
    redis::cmd("SET").arg("antigravity:stats:odd").arg("x").exec(&mut connection).unwrap();
    let place = Place::new("embedded", &simulator).await;
    let url = other.url();
    let args = ["migrate", "--from", "go", "--json", "--source", &url];
    let (code, report) = place.json(&args).await;
    assert_eq!(code, 4, "{report}");
    let told = fates(&report);
    for (kind, name, fate) in [
        ("account", "go@example.com", "imported"),
        ("account", key, "failed"),
        ("usage", "antigravity:stats:odd", "failed"),
    ] {
        assert_eq!(told[&(kind.to_owned(), name.to_owned())], fate, "{report}");
    }
    redis::cmd("DEL").arg("antigravity:accounts:index").exec(&mut connection).unwrap();
    redis::cmd("SET").arg("antigravity:accounts:index").arg("x").exec(&mut connection).unwrap();
    let (code, report) = place.json(&args).await;
    assert_eq!(code, 4, "{report}");
    let index = ("account".to_owned(), "antigravity:accounts:index".to_owned());
    assert_eq!(fates(&report)[&index], "failed", "{report}");
}

/// The Go port's store, made by commands.
fn go_dump(server: &RedisServer) {
    let mut connection = server.connect();
    let mut run = |words: &[&str]| {
        redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(&mut connection).unwrap()
    };
    run(&["SADD", "antigravity:accounts:index", "go@example.com", "index", "key@example.com"]);
    run(&[
        "HSET",
        "antigravity:accounts:go@example.com",
        "email",
        "go@example.com",
        "source",
        "oauth",
        "enabled",
        "false",
        "refreshToken",
        "1//go|own|managed",
        "projectId",
        "own",
        "isInvalid",
        "true",
        "invalidReason",
        "token expired",
        "lastUsed",
        "2025-11-27T08:09:10Z",
        "invalidAt",
        "2025-11-27T08:09:10Z",
        "quotaThreshold",
        "0.2",
        "subscription",
        r#"{"tier":"ultra","projectId":"managed","detectedAt":"2025-11-27T09:00:00Z"}"#,
        "quota",
        r#"{"models":{"a":{"remainingFraction":0,"resetTime":""},"b":{"remainingFraction":0.5,"resetTime":"2025-11-28T00:00:00Z"}},"lastChecked":1764230000000}"#,
        "modelQuotaThresholds",
        r#"{"a":0.4}"#,
    ]);
    run(&[
        "HSET",
        "antigravity:accounts:key@example.com",
        "email",
        "key@example.com",
        "source",
        "manual",
        "enabled",
        "true",
        "apiKey",
        "ya29.key",
        "isInvalid",
        "false",
        "lastUsed",
        "0001-01-01T00:00:00Z",
    ]);
    run(&["HSET", "antigravity:accounts:stray@example.com", "email", "stray@example.com"]);
    run(&[
        "HSET",
        "antigravity:ratelimits:go@example.com:claude:odd",
        "isRateLimited",
        "true",
        "resetTime",
        "2100-01-01T00:00:00Z",
        "actualResetMs",
        "60000",
    ]);
    let hour = last_hour();
    let hour = format!("antigravity:stats:{}", &hour[..13]);
    run(&[
        "HSET",
        &hour,
        "_total",
        "7",
        "claude:_subtotal",
        "4",
        "claude:sonnet-4-6",
        "4",
        "other:_subtotal",
        "3",
        "other:gpt",
        "3",
    ]);
    run(&["HSET", "antigravity:token_cache:go@example.com", "accessToken", "ya29.cached"]);
}

#[tokio::test]
async fn the_go_ports_redis_is_taken_over() {
    let simulator = Simulator::with_accounts(0).await;
    let other = RedisServer::start();
    go_dump(&other);
    for name in ["embedded", "embedded, served", "Redis", "the same Redis"] {
        let place = if name == "the same Redis" {
            let redis = RedisServer::start();
            go_dump(&redis);
            let home =
                Home::with(&simulator).env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
            Place { name, home, gateway: None, _redis: Some(redis) }
        } else {
            Place::new(name, &simulator).await
        };
        let url = other.url();
        let source = if name == "the same Redis" { vec![] } else { vec!["--source", &*url] };
        let migrate =
            async || place.json(&[&["migrate", "--from", "go", "--json"], &source[..]].concat()).await;
        let (code, report) = migrate().await;
        // The index names an account that has no record.
        assert_eq!(code, 4, "{name}: {report}");
        let told = fates(&report);
        for (account, fate) in [
            ("go@example.com", "imported"),
            ("key@example.com", "imported"),
            ("index", "failed"),
            ("stray@example.com", "skipped"),
        ] {
            assert_eq!(told[&("account".to_owned(), account.to_owned())], fate, "{name}: {report}");
        }
        assert_eq!(count(&report, "imported"), 3, "{name}: with the hour");
        let exported = place.export().await;
        let [go, key] = &exported["accounts"].as_array().unwrap()[..] else { panic!("{exported}") };
        for (member, value) in json!({
            "email": "go@example.com", "source": "oauth", "enabled": false, "refreshToken": "1//go|own|managed",
            "lastUsed": 1_764_230_950_000_i64, "quotaThreshold": 0.2, "modelQuotaThresholds": {"a": 0.4},
            "subscription": {"tier": "ultra", "projectId": "managed", "detectedAt": 1_764_234_000_000_i64},
            "modelRateLimits": {"claude:odd":
                {"isRateLimited": true, "resetTime": 4_102_444_800_000_i64, "reason": "unknown"}},
        })
        .as_object()
        .unwrap()
        {
            assert_eq!(&go[member], value, "{name}: {member}");
        }
        let quotas = &go["quota"]["models"];
        assert_eq!(
            quotas["a"],
            json!({"remainingFraction": null, "resetTime": null}),
            "{name}: 0 meant unknown"
        );
        assert_eq!(quotas["b"]["remainingFraction"], 0.5, "{name}");
        assert_eq!(
            (&key["source"], &key["apiKey"], &key["lastUsed"]),
            (&json!("manual"), &json!("ya29.key"), &json!(null))
        );
        let kept = place.kept().await;
        assert!(kept.contains("gpt\u{1f}unknown\u{1f}migrated"), "{name}");
        let (_, report) = migrate().await;
        assert_eq!((count(&report, "imported"), count(&report, "same")), (0, 3), "{name}: {report}");
    }
}

#[tokio::test]
async fn the_go_tools_flags_are_taken() {
    let simulator = Simulator::with_accounts(0).await;
    let target = RedisServer::start();
    let home = Home::with(&simulator).env("ENCRYPTION_KEYS", ENCRYPTION_KEY);
    let directory = reference_directory(&last_hour());
    let accounts = directory.path().join("accounts.json").display().to_string();
    let usage = directory.path().join("usage-history.json").display().to_string();
    let flags = ["migrate", "-accounts", &accounts, "-usage", &usage, "-redis", &target.address()];
    let out = home.succeed(&[&flags[..], &["-dry-run"]].concat(), b"").await;
    assert!(out.ends_with("4 imported, 1 not applicable; nothing was changed (dry run)\n"), "{out}");
    let out = home.succeed(&flags, b"").await;
    assert!(out.ends_with("4 imported, 1 not applicable\n"), "{out}");
    // They went into that Redis and nowhere else.
    let listed = home.env("REDIS_URL", &target.url());
    let listed = listed.succeed(&["accounts", "list"], b"").await;
    assert_eq!(listed.lines().count(), 3, "{listed}");
}
