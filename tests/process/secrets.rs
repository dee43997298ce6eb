//! Nothing secret is written anywhere: logs, metrics, answers, files.

use std::path::Path;

use serde_json::{Value, json};

use crate::collector::Collector;
use crate::gateway::{Gateway, Home, SOON, until};
use crate::http;
use crate::redis_server::{Flavour, RedisServer};
use crate::simulator::Simulator;
use crate::site::{ENCRYPTION_KEY, NEWER_KEY};

const PROMPT: &str = "marker-of-a-prompt";
const ANSWER: &str = "marker-of-an-answer";
const KEY: &str = "marker-of-an-api-key";
const PASSWORD: &str = "marker-of-a-password";
const CLIENT_SECRET: &str = "marker-of-a-client-secret";
/// Every refresh token begins with it.
const REFRESH: &str = "marker-of-a-refresh-token";
/// Every access token of the simulator begins with it.
const ACCESS: &str = "ya29.sim";
/// A manual account's token, which nobody issued.
const MANUAL: &str = "marker-of-a-manual-token";
/// What the collector of traces asks for.
const COLLECTOR: &str = "marker-of-a-collector-key";
/// A credential that a client sends to the wrong place.
const STRAY: &str = "marker-of-a-stray-credential";

const SECRETS: [&str; 10] =
    [PROMPT, ANSWER, KEY, PASSWORD, CLIENT_SECRET, REFRESH, ACCESS, MANUAL, COLLECTOR, STRAY];

/// What was said and where.
#[derive(Default)]
struct Evidence(Vec<(String, Vec<u8>)>);

impl Evidence {
    fn keep(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn files(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                self.files(&path);
            } else if kind.is_file() {
                self.keep(path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }

    fn holds_no(&self, secret: &str) {
        for (place, bytes) in &self.0 {
            let at = bytes.windows(secret.len()).position(|part| part == secret.as_bytes());
            let around = |at: usize| {
                let (from, to) = (at.saturating_sub(300), (at + 100).min(bytes.len()));
                String::from_utf8_lossy(&bytes[from..to]).into_owned()
            };
            assert!(at.is_none(), "{secret} in {place}: …{}…", around(at.unwrap_or_default()));
        }
    }
}

fn scenario() -> Value {
    let account = |name: &str, state: &str| {
        json!({
            "email": format!("{name}@example.com"),
            "refresh_token": format!("1//{REFRESH}-{name}"),
            "project": format!("project-{name}"),
            "state": state,
        })
    };
    let accounts = [
        account("good", "active"),
        account("other", "active"),
        account("banned", "banned"),
        account("verify", "validation_required"),
        account("revoked", "revoked"),
    ];
    json!({ "accounts": accounts })
}

/// Requests of all kinds of outcome; their answers go to `evidence` where they are refusals.
async fn use_it(gateway: &Gateway, simulator: &Simulator, evidence: &mut Evidence) {
    let url = format!("{}/v1/messages", gateway.url);
    let key = [("content-type", "application/json"), ("x-api-key", KEY)];
    let console = [("x-webui-password", PASSWORD)];
    let ask = async |body: Value| http::send("POST", &url, &key, body.to_string().as_bytes()).await;
    let text = format!("{PROMPT}: reply with exactly: {ANSWER}");
    let mut statuses = Vec::new();
    for stream in [false, true] {
        for model in ["claude-sonnet-4-6", "gemini-3-flash"] {
            let mut body = http::message(&text, stream);
            body["model"] = json!(model);
            body["system"] = json!(PROMPT);
            body["metadata"] = json!({"user_id": format!("{PROMPT}-user")});
            body["tools"] =
                json!([{"name": "look", "description": PROMPT, "input_schema": {"type": "object"}}]);
            let answer = ask(body).await;
            assert!(answer.status == 200 && answer.text().contains(ANSWER), "{}", answer.text());
        }
    }
    // Tokens that have become void: 401 from upstream, refreshed and tried again.
    simulator.expire_tokens().await;
    assert_eq!(ask(http::message(&text, false)).await.status, 200);
    // Failures of every kind, each of which may quote what it was about.
    for (fault, times) in [
        (json!({"fault": "unauthorized"}), 2),
        (json!({"fault": "server_error"}), 1),
        (json!({"fault": "invalid_argument"}), 1),
        (json!({"fault": "prompt_too_long"}), 1),
        (json!({"status": 418, "body_text": format!("<html>{PROMPT} {ACCESS}</html>")}), 1),
        (
            json!({"status": 400, "body": {"error": {"code": 400, "message": format!("no {ACCESS}.a-token"),
            "status": "INVALID_ARGUMENT"}}}),
            1,
        ),
        (json!({"hang_up": true}), 1),
        (json!({"garbage_after": 0, "text": ANSWER}), 1),
        (json!({"cut_after": 1, "text": ANSWER}), 1),
        (json!({"blocked": "SAFETY"}), 1),
    ] {
        simulator.rule(&json!({"when": {"path": "enerateContent", "times": times}, "then": fault})).await;
        for stream in [false, true] {
            let answer = ask(http::message(&text, stream)).await;
            statuses.push(answer.status);
            if answer.status != 200 {
                evidence.keep(format!("the answer to {fault}"), answer.body);
            }
        }
    }
    assert!(statuses.iter().any(|status| *status != 200), "some failures reach the client: {statuses:?}");
    // Refusals of our own.
    for body in [
        format!(r#"{{"model":"{PROMPT}","messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#),
        format!(r#"{{"messages":[{{"role":"{PROMPT}","content":"{PROMPT}"}}]}}"#),
        format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":{{"{PROMPT}":1}}}}]}}]}}"#
        ),
        format!(r#"{{"messages":"{PROMPT}"#),
    ] {
        let answer = http::send("POST", &url, &key, body.as_bytes()).await;
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.text());
        // A model's name is not a secret, and the client needs it in the message.
        if !body.contains("\"model\"") {
            evidence.keep(format!("the answer to {body}"), answer.body);
        }
    }
    for headers in [[("x-api-key", STRAY)], [("authorization", "Bearer marker-of-a-stray-credential")]] {
        for path in ["/v1/messages?key=marker-of-a-stray-credential", "/api/accounts", "/nowhere", "/health"]
        {
            let answer = http::send("POST", &format!("{}{path}", gateway.url), &headers, b"{}").await;
            evidence.keep(format!("a refusal of {path}"), answer.body);
        }
    }
    // What the operator sees.
    let stray = json!([{"email": "manual@example.com", "api_key": MANUAL}, {"email": STRAY}, {"refresh_token": STRAY}]);
    let headers = [console[0], ("content-type", "application/json")];
    let import = format!("{}/api/accounts/import", gateway.url);
    let answer = http::send("POST", &import, &headers, stray.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    evidence.keep("an import's report", answer.body);
    let answer = http::send("POST", &import, &headers, format!("[{STRAY}").as_bytes()).await;
    evidence.keep("an import's refusal", answer.body);
    until("the survey has seen the broken accounts", async || {
        let list = http::send("GET", &format!("{}/api/accounts", gateway.url), &console, b"").await.json();
        let invalid = |name: &str| {
            let mut accounts = list["accounts"].as_array().unwrap().iter();
            accounts.any(|one| one["email"] == format!("{name}@example.com") && one["isInvalid"] == true)
        };
        ask(http::message(&text, false)).await;
        invalid("revoked") && invalid("banned")
    })
    .await;
    for path in ["/api/accounts", "/api/status", "/health?refresh=true", "/v1/models", "/"] {
        let headers = [console[0], ("x-api-key", KEY)];
        let answer = http::send("GET", &format!("{}{path}", gateway.url), &headers, b"").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        evidence.keep(path, answer.body);
    }
    // Addresses with a password and a key in them, and what a log of it says.
    for path in
        [&format!("/api/logs/stream?password={PASSWORD}x"), "/api/logs?password=marker-of-a-stray-credential"]
    {
        let answer =
            http::send("HEAD", &format!("{}{path}", gateway.url), &[("authorization", KEY)], b"").await;
        assert_eq!(answer.status, 401, "{path}");
    }
    for level in ["DEBUG", "INFO,SUCCESS", "WARN,ERROR"] {
        let url = format!("{}/api/logs?level={level}", gateway.url);
        let answer = http::send("GET", &url, &console, b"").await;
        assert!(answer.json()["logs"].as_array().unwrap().len() > 3, "{level}: {}", answer.text());
        evidence.keep(format!("logs of {level}"), answer.body);
    }
    evidence.keep("/metrics", http::get(&format!("{}/metrics", gateway.metrics_url)).await.body);
}

/// Does everything once, with the settings of `change`, and answers what was said and where.
async fn everything(change: impl FnOnce(Home) -> Home) -> (Evidence, Home) {
    let simulator = Simulator::start(&scenario()).await;
    let collector = Collector::start().await;
    let home = Home::with(&simulator)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .env("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-key={COLLECTOR}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("LOG_LEVEL", "trace")
        .env("LOG_FORMAT", "json")
        .env("API_KEY", KEY)
        .env("WEBUI_PASSWORD", PASSWORD)
        .env("OAUTH_CLIENT_SECRET", CLIENT_SECRET)
        .file(&json!({"maxWaitBeforeErrorMs": 0, "requestDeadlineMs": 20_000, "retryBaseMs": 100}));
    let home = change(home);
    let mut evidence = Evidence::default();
    let document = simulator.accounts.to_string();
    assert!(document.contains(REFRESH));
    let ended = home.run(&["accounts", "import", "-"], document.as_bytes()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    evidence.keep("accounts import", ended.out + &ended.err);
    let mut gateway = home.start().await;
    use_it(&gateway, &simulator, &mut evidence).await;
    for command in [
        &["config", "check"][..],
        &["accounts", "list"],
        &["accounts", "list", "--json"],
        &["accounts", "explain", "--json", "--model", "gemini-3-flash"],
        &["accounts", "rotate-keys", "--json"],
        &["settings", "get", "--json"],
        &["store", "export"],
    ] {
        let ended = home.run(command, b"").await;
        assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.err);
        evidence.keep(command.join(" "), ended.bytes);
        evidence.keep(command.join(" "), ended.err);
    }
    gateway.terminate().await;
    assert!(gateway.ended(SOON).await.success());
    let log = gateway.log.text();
    assert!(log.contains("\"level\":\"DEBUG\"") || log.contains("\"level\":\"TRACE\""), "it does log: {log}");
    assert!(
        log.contains("\"outcome\":\"served\"") && log.contains("\"trace_id\":"),
        "requests are told: {log}"
    );
    evidence.keep("the log", log);
    let roots = collector.spans().iter().filter(|span| span.server).count();
    assert!(roots > 20, "{roots} traces");
    for (headers, body) in collector.requests() {
        assert_eq!(headers["x-key"], COLLECTOR);
        assert!(body.windows(12).any(|part| part == b"service.name"), "it can be read");
        evidence.keep("a trace", body);
    }
    evidence.files(&home.data());
    (evidence, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_prompt_is_written_anywhere() {
    let (evidence, home) = everything(|home| home).await;
    let sizes: Vec<_> = evidence.0.iter().map(|(place, bytes)| (place.as_str(), bytes.len())).collect();
    assert!(sizes.iter().any(|(place, size)| place.contains("data") && *size > 1000), "{sizes:?}");
    for secret in SECRETS {
        evidence.holds_no(secret);
    }
    // The key lies in its file, and nowhere else.
    let key = std::fs::read_to_string(home.data().join("encryption.key")).unwrap();
    let places = evidence
        .0
        .iter()
        .filter(|(_, bytes)| bytes.windows(key.trim().len()).any(|part| part == key.trim().as_bytes()));
    assert_eq!(places.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_prompt_is_written_to_redis() {
    let redis = RedisServer::with(Flavour::Redis7, &["--appendonly", "yes"]);
    let keys = format!("{NEWER_KEY},{ENCRYPTION_KEY}");
    let (mut evidence, _home) =
        everything(|home| home.env("REDIS_URL", &redis.url()).env("ENCRYPTION_KEYS", &keys)).await;
    let mut connection = redis.connect();
    let names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    assert!(
        names.iter().any(|name| name.ends_with(":tok")) && names.iter().any(|name| name.contains("feed:"))
    );
    for name in names {
        evidence.keep("a key's name in Redis", name.clone());
        let kind: String = redis::cmd("TYPE").arg(&name).query(&mut connection).unwrap();
        let mut read = match kind.as_str() {
            "string" => redis::cmd("GET"),
            "hash" => redis::cmd("HGETALL"),
            "zset" => redis::cmd("ZRANGE"),
            "stream" => redis::cmd("XRANGE"),
            other => panic!("{name} is a {other}"),
        };
        read.arg(&name);
        match kind.as_str() {
            "zset" => _ = read.arg(0).arg(-1),
            "stream" => _ = read.arg("-").arg("+"),
            _ => {}
        }
        let content: redis::Value = read.query(&mut connection).unwrap();
        evidence.keep(format!("{name} in Redis"), texts(&content));
    }
    for secret in SECRETS.into_iter().chain([ENCRYPTION_KEY, NEWER_KEY]) {
        evidence.holds_no(secret);
    }
}

/// All texts of a reply, one after the other.
fn texts(value: &redis::Value) -> Vec<u8> {
    match value {
        redis::Value::BulkString(bytes) => bytes.clone(),
        redis::Value::Array(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(texts(item));
                all.push(b'\n');
            }
            all
        }
        redis::Value::SimpleString(text) => text.clone().into_bytes(),
        _ => Vec::new(),
    }
}
