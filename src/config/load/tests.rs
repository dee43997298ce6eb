use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::super::{
    CallbackMode, ClaudeMode, Config, ConfigErrors, Flags, LoadInput, Loaded, Origin, SETTINGS, Strategy,
    TraceSampler,
};

/// 32 bytes.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A home directory with a configuration file, and an environment.
struct Bench {
    dir: tempfile::TempDir,
    input: LoadInput,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let cwd = dir.path().join("cwd");
        fs::create_dir_all(home.join(".config/antigravity-proxy")).unwrap();
        fs::create_dir_all(&cwd).unwrap();
        Self { dir, input: LoadInput { cwd, home: Some(home), ..LoadInput::default() } }
    }

    fn file(self, text: &str) -> Self {
        fs::write(self.dir.path().join("home/.config/antigravity-proxy/config.json"), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.input.env.insert(name.into(), value.into());
        self
    }

    fn flags(mut self, flags: Flags) -> Self {
        self.input.flags = flags;
        self
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        Config::load(&self.input)
    }

    fn errors(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

#[test]
fn without_any_source_the_settings_are_the_typed_defaults() {
    let bench = Bench::new();
    let loaded = bench.load().unwrap();
    let mut expected = Config::default();
    expected.store.data_dir = bench.dir.path().join("home/.config/antigravity-proxy/data");
    expected.claude.directory = Some(bench.dir.path().join("home/.claude"));
    assert_eq!(format!("{:#?}", loaded.config), format!("{expected:#?}"));
    assert!(loaded.origins.values().all(|origin| *origin == Origin::Default));
}

#[test]
fn every_setting_that_acts_is_read_and_no_other_name_is() {
    // Redis's details are read only where there is one.
    let bench = Bench::new().env("REDIS_ADDR", "cache:6379").env("ENCRYPTION_KEYS", KEY);
    let loaded = bench.load().unwrap();
    let read = loaded.values.read.lock().unwrap();
    let unread: Vec<_> =
        SETTINGS.iter().filter(|s| !s.reserved && !read.contains(s.key)).map(|s| s.key).collect();
    assert_eq!(unread, Vec::<&str>::new(), "listed but never read");
    let unlisted: Vec<_> = read
        .iter()
        .filter(|key| super::super::Setting::find(key).is_none_or(|setting| setting.reserved))
        .collect();
    assert_eq!(unlisted, Vec::<&String>::new(), "read but not listed");
}

#[test]
fn every_default_in_the_table_is_allowed_and_every_name_is_unique() {
    let mut names = std::collections::BTreeSet::new();
    for setting in SETTINGS {
        assert!(names.insert(setting.key), "{} twice", setting.key);
        if !setting.default.is_empty() && !setting.default.contains(['<', '(']) {
            let raw = super::super::value::Raw::Text(setting.default);
            let value = super::super::value::normalise(setting.kind, raw, std::path::Path::new("/"));
            assert!(value.is_some(), "{}: default {:?}", setting.key, setting.default);
        }
    }
}

#[test]
fn later_sources_win() {
    let bench = Bench::new()
        .file(r#"{"port": 1001, "host": "127.0.0.2", "maxRetries": 7, "accountSelection": {"strategy": "hybrid"}}"#)
        .env("PORT", "1002")
        .env("HOST", "127.0.0.3")
        .flags(Flags { port: Some(1003), strategy: Some("RoundRobin".into()), ..Flags::default() });
    let loaded = bench.load().unwrap();
    assert_eq!(loaded.config.server.port, 1003);
    assert_eq!(loaded.config.server.host, "127.0.0.3");
    assert_eq!(loaded.config.dispatch.max_retries, 7);
    assert_eq!(loaded.config.selection.strategy, Strategy::RoundRobin);
    assert_eq!(loaded.origins["port"], Origin::Flag("--port"));
    assert_eq!(loaded.origins["host"].to_string(), "environment variable HOST");
    assert!(loaded.origins["maxRetries"].to_string().ends_with("config.json"));
    assert_eq!(loaded.origins["pool"], Origin::Default);
}

#[test]
fn the_merging_crate_knows_the_same_origins() {
    let bench = Bench::new().file(r#"{"port": 1001}"#).env("PORT", "1002");
    let loaded = bench.load().unwrap();
    let port = loaded.values.root.cache.clone().into_table().unwrap()["port"].clone();
    assert_eq!(port.origin(), Some("environment variable PORT"));
}

#[test]
fn all_mistakes_are_reported_at_once_and_no_secret_is_shown() {
    let bench = Bench::new()
        .file(r#"{"port": "high", "maxRetrys": 3, "_note": 1, "retryBaseMs": 5000, "retryMaxMs": 2000, "upstream": {"endpoints": ["ftp://x"]}, "accountSelection": {"quota": 3}}"#)
        .env("ENCRYPTION_KEYS", "c2VjcmV0LXZhbHVl")
        .env("DEBUG", "express:*");
    let text = bench.errors();
    for part in [
        "port (file ",
        "\"high\" is not usable; allowed: a whole number from 0 to 65535",
        "did you mean `maxRetries`?",
        "upstream.endpoints (file ",
        "accountSelection.quota (file ",
        "must be a JSON object",
        "encryptionKeys (environment variable ENCRYPTION_KEYS): the value (not shown, it is secret)",
        "debug (environment variable DEBUG): \"express:*\" is not usable; allowed: true or false",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(text.starts_with("7 settings are not usable"), "{text}");
    assert!(text.contains("retryBaseMs must not exceed retryMaxMs"), "{text}");
    assert!(!text.contains("c2VjcmV0"), "{text}");
    assert!(!bench.load().unwrap_err().is_usage());
}

#[test]
fn a_strategy_comes_from_every_source() {
    for bench in [
        Bench::new().env("STRATEGY", "Sticky"),
        Bench::new().env("ACCOUNT_STRATEGY", "sticky"),
        Bench::new().file(r#"{"accountSelection": {"strategy": "sticky"}}"#),
        Bench::new().flags(Flags { strategy: Some("sticky".into()), ..Flags::default() }),
    ] {
        assert_eq!(bench.load().unwrap().config.selection.strategy, Strategy::Sticky);
    }
    assert!(Bench::new().env("STRATEGY", "fair").load().unwrap_err().is_usage());
}

#[test]
fn a_broken_file_stops_the_start_instead_of_opening_it() {
    let text = Bench::new().file("{\"apiKey\": \"k\",}").errors();
    assert!(text.contains("is not valid JSON") && text.contains("line 1"), "{text}");
    assert!(Bench::new().file("[]").errors().contains("must be a JSON object"));
    assert!(Bench::new().env("CONFIG_FILE", "none.json").errors().contains("is not a file"));
}

#[test]
fn the_first_file_found_is_the_only_one() {
    let bench = Bench::new();
    fs::write(bench.input.cwd.join("config.json"), r#"{"port": 5}"#).unwrap();
    assert_eq!(bench.load().unwrap().config.server.port, 5);
    let bench = bench.file(r#"{"host": "::1"}"#);
    let loaded = bench.load().unwrap();
    assert_eq!((loaded.config.server.port, loaded.config.server.host.as_str()), (8080, "::1"));
    fs::write(bench.input.cwd.join("other.json"), r#"{"port": 6}"#).unwrap();
    assert_eq!(bench.env("CONFIG_FILE", "other.json").load().unwrap().config.server.port, 6);
}

#[test]
fn secrets_come_from_files_too() {
    let bench = Bench::new();
    let path = bench.dir.path().join("key");
    fs::write(&path, "one, two\n").unwrap();
    let bench = bench.env("API_KEY_FILE", path.to_str().unwrap());
    let loaded = bench.load().unwrap();
    let keys: Vec<_> = loaded.config.server.api_keys.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(keys, ["one", "two"]);
    assert!(loaded.listing().lines().any(|line| line.starts_with("apiKey") && line.contains(" set ")));
    assert!(!loaded.listing().contains("two"), "{}", loaded.listing());
    assert!(!format!("{:?}", loaded.config).contains("two"));

    let both = bench.env("API_KEY", "three").errors();
    assert!(both.contains("API_KEY is set too"), "{both}");
    let missing = Bench::new().env("WEBUI_PASSWORD_FILE", "nowhere").errors();
    assert!(missing.contains("WEBUI_PASSWORD_FILE") && missing.contains("cannot be read"), "{missing}");
}

#[test]
fn an_empty_secret_file_does_not_open_the_gateway() {
    let bench = Bench::new();
    let path = bench.dir.path().join("key");
    fs::write(&path, "\n").unwrap();
    let path = path.to_str().unwrap().to_owned();
    assert!(bench.env("API_KEY_FILE", &path).errors().contains("apiKey"));
    assert!(Bench::new().env("API_KEY", " , ").errors().contains("apiKey"));
}

#[test]
fn scripts_get_only_what_somebody_set() {
    let bench = Bench::new()
        .file(
            r#"{"maxAccounts": 10, "accountSelection": {"strategy": "round-robin",
                "healthScore": {"initial": 80, "minUsable": 40.5}, "weights": {"lru": 0}}}"#,
        )
        .env("STRATEGY", "hybrid");
    let selection = bench.load().unwrap().config.selection;
    let base: BTreeMap<_, _> =
        [("maxAccounts", "10"), ("health.initial", "80"), ("health.minUsable", "40.5"), ("weights.lru", "0")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    assert_eq!(selection.base, base);
    assert_eq!(selection.pinned, BTreeMap::from([("strategy".to_owned(), "hybrid".to_owned())]));
    assert_eq!((selection.strategy, selection.max_accounts), (Strategy::Hybrid, 10));
}

#[test]
fn settings_that_contradict_each_other() {
    for (file, part) in [
        (
            r#"{"accountSelection":{"healthScore":{"minUsable":90,"maxScore":80}}}"#,
            "minUsable must not exceed",
        ),
        (r#"{"accountSelection":{"healthScore":{"maxScore":60}}}"#, "initial must not exceed"),
        (r#"{"accountSelection":{"tokenBucket":{"maxTokens":40}}}"#, "initialTokens must not exceed"),
        (r#"{"accountSelection":{"quota":{"criticalThreshold":0.2}}}"#, "criticalThreshold must not exceed"),
        (
            r#"{"accountSelection":{"weights":{"health":0,"tokens":0,"quota":0,"lru":0}}}"#,
            "at least one weight",
        ),
    ] {
        let text = Bench::new().file(file).errors();
        assert!(text.contains(part), "{file}: {text}");
    }
    assert!(Bench::new().file(r#"{"accountSelection":{"quota":{"criticalThreshold":0.1}}}"#).load().is_ok());
    let slow = r#"{"accountSelection":{"quota":{"refreshIntervalMs":600000}}}"#;
    let loaded = Bench::new().file(slow).load().unwrap();
    assert!(loaded.warnings.iter().any(|w| w.contains("refreshIntervalMs")), "{:?}", loaded.warnings);
    let loaded = Bench::new().file(r#"{"capacityBackoffTiersMs": [5000, 1000]}"#).load().unwrap();
    assert!(loaded.warnings.iter().any(|w| w.contains("capacityBackoffTiersMs")), "{:?}", loaded.warnings);
}

#[test]
fn the_references_sample_keys_load() {
    let bench = Bench::new().file(
        r#"{"_comment": "x", "apiKey": "", "webuiPassword": "", "debug": false, "devMode": false, "logLevel": "info",
            "maxRetries": 5, "retryBaseMs": 1000, "retryMaxMs": 30000, "persistTokenCache": false,
            "defaultCooldownMs": 60000, "maxWaitBeforeErrorMs": 120000, "maxAccounts": 10,
            "requestThrottlingEnabled": false, "requestDelayMs": 200, "requestTimeoutMs": 300000,
            "switchAccountDelayMs": 5000, "firstRetryDelayMs": 1000, "rateLimitStateResetMs": 120000,
            "tokenCacheTtlMs": 300000, "requestBodyLimit": "10mb", "port": 8081, "redisAddr": "localhost:6379",
            "redisDB": 0, "_profiles": {"a": 1},
            "modelMapping": {"claude-x": {"mapping": "gemini-y", "hidden": false}, "z": {"pinned": true}}}"#,
    );
    assert!(bench.errors().contains("set ENCRYPTION_KEYS"), "the sample names a Redis");
    let loaded = bench.env("ENCRYPTION_KEYS", KEY).load().unwrap();
    assert!(loaded.config.store.redis.is_some());
    assert_eq!(loaded.config.server.request_body_limit, 10 << 20);
    assert_eq!(loaded.config.models.mapping, BTreeMap::from([("claude-x".into(), "gemini-y".into())]));
    assert!(loaded.config.server.api_keys.is_empty());
    for (key, reason) in
        [("persistTokenCache", "Always on"), ("firstRetryDelayMs", "Replaced by `retryBaseMs`")]
    {
        let told = |warning: &String| warning.starts_with(key) && warning.contains(reason);
        assert!(loaded.warnings.iter().any(told), "{key}: {:?}", loaded.warnings);
    }
    assert_eq!(loaded.config.upstream.answer_timeout, Duration::from_mins(5));
    let wrong = Bench::new().file(r#"{"requestDelayMs": 7}"#).errors();
    assert!(wrong.contains("100 to 5000"), "{wrong}");
}

#[test]
fn derived_defaults() {
    let bench = Bench::new().env("KUBERNETES_SERVICE_HOST", "10.0.0.1").env("DEBUG", "1");
    let config = bench.load().unwrap().config;
    assert_eq!(config.server.drain_delay, Duration::from_secs(5));
    assert!(config.server.dev_mode);
    assert_eq!(config.oauth.callback_listener, CallbackMode::Off);
    let bench = Bench::new().env("KUBERNETES_SERVICE_HOST", "10.0.0.1").env("OAUTH_CALLBACK_LISTENER", "on");
    assert_eq!(bench.load().unwrap().config.oauth.callback_listener, CallbackMode::On);
    assert!(Bench::new().env("OAUTH_CALLBACK_LISTENER", "perhaps").errors().contains("auto or on or off"));

    let config = Bench::new().env("METRICS_ADDR", "").load().unwrap().config;
    assert_eq!((config.server.metrics_addr, config.server.metrics_addr_explicit), (None, true));

    let bench = Bench::new()
        .env("FALLBACK_ANTIGRAVITY_VERSION", "3.0.0")
        .env("all_proxy", "http://u:p@proxy:3128")
        .env("DATA_DIR", "state");
    let loaded = bench.load().unwrap();
    assert!(loaded.config.upstream.user_agent.starts_with("antigravity/3.0.0 "));
    assert!(loaded.config.upstream.proxy.https.is_some() && loaded.config.upstream.proxy.http.is_some());
    assert_eq!(loaded.config.store.data_dir, bench.input.cwd.join("state"));
    assert!(!loaded.listing().contains("u:p"), "{}", loaded.listing());
}

#[test]
fn a_later_source_has_an_object_as_a_whole() {
    let bench = Bench::new().file(
        r#"{"modelMapping": {"a": {"mapping": "b", "hidden": true}, "c": "d"}, "fallbackMap": {"x": "y"}}"#,
    );
    let loaded = bench.load().unwrap();
    let mapping = |loaded: &Loaded| loaded.config.models.mapping.clone().into_iter().collect::<Vec<_>>();
    assert_eq!(mapping(&loaded), [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())]);
    let shared = |text: &str| super::super::SharedValues::from([("modelMapping".into(), text.into())]);
    let taken = loaded.with_shared(&shared(r#"{"e": {"pinned": true}}"#)).unwrap();
    assert_eq!(mapping(&taken), []);
    assert_eq!(taken.config.models.entries.keys().collect::<Vec<_>>(), ["e"]);
    assert_eq!(taken.config.models.entries["e"].pinned, Some(true));
    assert_eq!(taken.config.models.fallback["x"], "y", "another setting stays");
    assert_eq!(mapping(&taken.with_shared(&shared("{}")).unwrap()), []);
}

#[test]
fn the_settings_of_claude_code() {
    let bench =
        Bench::new().env("CLAUDE_CONFIG_PATH", "/elsewhere/.claude").env("CLAUDE_CLI_MODE", "profile");
    let claude = bench.load().unwrap().config.claude;
    assert_eq!(claude.directory, Some("/elsewhere/.claude".into()));
    assert_eq!(claude.mode(true), ClaudeMode::Profile, "named");
    let claude = Bench::new().load().unwrap().config.claude;
    assert_eq!((claude.mode(true), claude.mode(false)), (ClaudeMode::Local, ClaudeMode::Profile));
    assert!(
        Bench::new().file(r#"{"claudeCli": {"mode": "here"}}"#).errors().contains("local or profile or off")
    );
}

#[test]
fn no_home_and_no_data_directory_is_an_error() {
    let mut bench = Bench::new();
    bench.input.home = None;
    assert!(bench.errors().contains("set DATA_DIR"));
    assert!(bench.env("DATA_DIR", "/tmp/x").load().is_ok());
}

#[test]
fn an_open_gateway_is_warned_about() {
    let open = |bench: Bench| bench.load().unwrap().warnings.iter().any(|w| w.contains("API_KEY"));
    assert!(open(Bench::new()));
    assert!(!open(Bench::new().env("HOST", "127.0.0.1")));
    assert!(!open(Bench::new().env("API_KEY", "k")));
}

#[test]
fn tracing_follows_the_standard_variables() {
    let tracing = |vars: &[(&str, &str)]| {
        let bench = vars.iter().fold(Bench::new(), |bench, (name, value)| bench.env(name, value));
        bench.load().unwrap().config.tracing
    };
    assert_eq!(tracing(&[("OTEL_SERVICE_NAME", "gateway")]).endpoint, None);
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
    let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/in");
    assert_eq!(tracing(&[base]).endpoint.as_deref(), Some("http://collector:4318/v1/traces"));
    assert_eq!(tracing(&[base, whole]).endpoint.as_deref(), Some("https://traces.example/in"));
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert_eq!(tracing(&[base, off]).endpoint, None, "{off:?}");
    }
    assert!(tracing(&[base, ("OTEL_SDK_DISABLED", "false")]).endpoint.is_some());

    let shorter = |otlp, bsp| {
        tracing(&[("OTEL_EXPORTER_OTLP_TIMEOUT", otlp), ("OTEL_BSP_EXPORT_TIMEOUT", bsp)]).timeout
    };
    assert_eq!((shorter("700", "900"), shorter("900", "800")), (ms(700), ms(800)));

    for (name, arg, parent_based, ratio) in [
        ("always_on", "0.1", false, 1.0),
        ("always_off", "0.1", false, 0.0),
        ("traceidratio", "0.1", false, 0.1),
        ("traceidratio", "", false, 1.0),
        ("parentbased_always_on", "", true, 1.0),
        ("parentbased_always_off", "", true, 0.0),
        ("parentbased_traceidratio", "0.25", true, 0.25),
        ("", "0.25", true, 1.0),
    ] {
        let sampler = tracing(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]).sampler;
        assert_eq!(sampler, TraceSampler { parent_based, ratio }, "{name} {arg}");
    }

    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=from%20there,k8s.pod.name=agp-0");
    let resource = tracing(&[attributes]);
    assert_eq!(resource.service_name, "from there");
    assert_eq!(resource.resource, [("k8s.pod.name".to_owned(), "agp-0".to_owned())]);
    assert_eq!(tracing(&[attributes, ("OTEL_SERVICE_NAME", "named")]).service_name, "named");

    let headers = tracing(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-all=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer%20hunter2"),
    ]);
    assert_eq!(headers.headers[0].1.expose_secret(), "Bearer hunter2");
    assert!(!format!("{headers:?}").contains("hunter2"));
}

#[test]
fn tracing_mistakes_name_their_variable_and_show_no_secret() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization Bearer hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "author ization=hunter2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "10%"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_RESOURCE_ATTRIBUTES", "pod"),
        ("OTEL_SDK_DISABLED", "perhaps"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
    ] {
        let text = Bench::new().env(name, value).errors();
        assert!(text.contains(&format!("environment variable {name}")), "{name}={value}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = Bench::new()
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "100")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "101")
        .errors();
    assert!(text.contains("tracing.batch.size must not exceed tracing.batch.queue"), "{text}");
    // They are the environment's alone.
    let text = Bench::new().file(r#"{"tracing": {"endpoint": "http://collector:4318"}}"#).errors();
    assert!(text.contains("tracing (file "), "{text}");
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
