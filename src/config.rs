//! Typed settings. (Skeleton: sections and defaults; loading, provenance and validation are in `config/`.)

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// All settings of one process after `defaults < file < environment < flags`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Listener, limits, keys and shutdown.
    pub server: ServerConfig,
    /// Where shared state lives.
    pub store: StoreConfig,
    /// How the upstream is reached and how this client names itself.
    pub upstream: UpstreamConfig,
    /// Google's OAuth endpoints and the operator's client.
    pub oauth: OAuthConfig,
    /// Retries, waits and deadlines of one request.
    pub dispatch: DispatchConfig,
    /// What the admission script chooses by.
    pub selection: SelectionConfig,
    /// Aliases, mapping, fallback.
    pub models: ModelsConfig,
    /// Switches of the conversion.
    pub conversion: ConversionConfig,
    /// Logs and metrics.
    pub telemetry: TelemetryConfig,
}

/// Listener, limits, keys and shutdown.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// `host` / `HOST`, default `0.0.0.0`.
    pub host: String,
    /// `port` / `PORT`, default 8080; 0 takes a free port.
    pub port: u16,
    /// `METRICS_ADDR`, default `127.0.0.1:9464`; `None` when switched off with an empty value.
    pub metrics_addr: Option<SocketAddr>,
    /// Whether `METRICS_ADDR` was set by the operator: then a taken address is an error, else a warning.
    pub metrics_addr_explicit: bool,
    /// `apiKey` / `API_KEY` (comma-separated); empty means `/v1` is open.
    pub api_keys: Vec<SecretString>,
    /// `webuiPassword` / `WEBUI_PASSWORD`.
    pub webui_password: Option<SecretString>,
    /// `allowInsecureConsole` / `ALLOW_INSECURE_CONSOLE`.
    pub allow_insecure_console: bool,
    /// `allowedHosts` / `ALLOWED_HOSTS`: names accepted in `Host` when there is no password.
    pub allowed_hosts: Vec<String>,
    /// `publicDir` / `PUBLIC_DIR`: serve the console's files from disk.
    pub public_dir: Option<PathBuf>,
    /// `publicBaseUrl` / `PUBLIC_BASE_URL`.
    pub public_base_url: Option<String>,
    /// `requestBodyLimit` in bytes, default 50 MiB; accepts `"50mb"` forms.
    pub request_body_limit: usize,
    /// `streamKeepaliveMs`, default 15 s.
    pub stream_keepalive: Duration,
    /// `drainDelayMs`, default 5 s in a pod (`KUBERNETES_SERVICE_HOST` set), else 0.
    pub drain_delay: Duration,
    /// `shutdownGraceMs`, default 600 s.
    pub shutdown_grace: Duration,
    /// `devMode` / `DEV_MODE` / `--dev-mode` / `--debug`.
    pub dev_mode: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".into(),
            port: 8080,
            metrics_addr: Some(SocketAddr::from(([127, 0, 0, 1], 9464))),
            metrics_addr_explicit: false,
            api_keys: Vec::new(),
            webui_password: None,
            allow_insecure_console: false,
            allowed_hosts: Vec::new(),
            public_dir: None,
            public_base_url: None,
            request_body_limit: 50 * 1024 * 1024,
            stream_keepalive: Duration::from_secs(15),
            drain_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(600),
            dev_mode: false,
        }
    }
}

/// Where shared state lives.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `pool` / `POOL`: the hash tag of all keys, default `main`.
    pub pool: String,
    /// `dataDir` / `DATA_DIR`: journal, lock, key file, control socket; default `<confdir>/data`.
    pub data_dir: PathBuf,
    /// `ENCRYPTION_KEYS`: base64 of 32 bytes each, newest first; empty on the embedded store creates a key file.
    pub encryption_keys: Vec<SecretString>,
    /// `storeOutageGraceMs`, default 20 s.
    pub outage_grace: Duration,
    /// `leaseTtlMs`, default 30 s; renewed every third of it.
    pub lease_ttl: Duration,
    /// `signatureTtlMs`, default 2 h, sliding.
    pub signature_ttl: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            pool: "main".into(),
            data_dir: PathBuf::from("data"),
            encryption_keys: Vec::new(),
            outage_grace: Duration::from_secs(20),
            lease_ttl: Duration::from_secs(30),
            signature_ttl: Duration::from_secs(7200),
        }
    }
}

/// How the upstream is reached and how this client names itself (spec `conversion.md` §7.4–7.6).
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// `upstream.endpoints` / `CLOUDCODE_ENDPOINTS`: base URLs in failover order.
    pub endpoints: Vec<String>,
    /// `upstream.systemPreamble`, default empty: nothing is injected.
    pub system_preamble: String,
    /// `upstream.defaultProject`: used when an account has no project and discovery finds none.
    pub default_project: String,
    /// `upstream.userAgent`, default `antigravity/2.0.3 <os>/<arch>` in Node's names.
    pub user_agent: String,
    /// `upstream.clientName`, default `antigravity`.
    pub client_name: String,
    /// `upstream.clientVersion` / `ANTIGRAVITY_CLIENT_VERSION`, default `1.110.0`.
    pub client_version: String,
    /// `upstream.apiClient`, default `gl-node/18.18.2 fire/0.8.6 grpc/1.10.x`.
    pub api_client: String,
    /// Time allowed for a connection, default 10 s.
    pub connect_timeout: Duration,
    /// `upstream.headerTimeoutMs`: time allowed until response headers, default 120 s.
    pub header_timeout: Duration,
    /// `upstream.idleTimeoutMs`: longest silence inside an answer, default 120 s.
    pub idle_timeout: Duration,
    /// `HTTPS_PROXY`/`HTTP_PROXY`/`ALL_PROXY` and `NO_PROXY`, read by the loader.
    pub proxy: ProxyConfig,
    /// `SSL_CERT_FILE`: extra trust roots (PEM).
    pub extra_roots: Option<PathBuf>,
}

/// Outbound proxies, by scheme of the target.
#[derive(Clone, Debug, Default)]
pub struct ProxyConfig {
    /// For `http://` targets.
    pub http: Option<SecretString>,
    /// For `https://` targets.
    pub https: Option<SecretString>,
    /// Hosts that are reached directly.
    pub no_proxy: Option<String>,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            endpoints: vec![
                "https://daily-cloudcode-pa.googleapis.com".into(),
                "https://cloudcode-pa.googleapis.com".into(),
            ],
            system_preamble: String::new(),
            default_project: "rising-fact-p41fc".into(),
            user_agent: "antigravity/2.0.3 linux/x64".into(),
            client_name: "antigravity".into(),
            client_version: "1.110.0".into(),
            api_client: "gl-node/18.18.2 fire/0.8.6 grpc/1.10.x".into(),
            connect_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(120),
            proxy: ProxyConfig::default(),
            extra_roots: None,
        }
    }
}

/// Google's OAuth endpoints and the operator's client.
#[derive(Clone, Debug)]
pub struct OAuthConfig {
    /// `oauth.clientId` / `OAUTH_CLIENT_ID`; there is no built-in one.
    pub client_id: Option<String>,
    /// `oauth.clientSecret` / `OAUTH_CLIENT_SECRET`.
    pub client_secret: Option<SecretString>,
    /// `OAUTH_AUTH_URL`, default `https://accounts.google.com/o/oauth2/v2/auth`.
    pub auth_url: String,
    /// `OAUTH_TOKEN_URL`, default `https://oauth2.googleapis.com/token`.
    pub token_url: String,
    /// `OAUTH_USERINFO_URL`, default `https://www.googleapis.com/oauth2/v1/userinfo`.
    pub userinfo_url: String,
    /// `tokenCacheTtlMs`: upper bound on a token's use, default 300 s (also bounded by `expires_in` − 60 s).
    pub token_ttl: Duration,
}

impl Default for OAuthConfig {
    fn default() -> Self {
        Self {
            client_id: None,
            client_secret: None,
            auth_url: "https://accounts.google.com/o/oauth2/v2/auth".into(),
            token_url: "https://oauth2.googleapis.com/token".into(),
            userinfo_url: "https://www.googleapis.com/oauth2/v1/userinfo".into(),
            token_ttl: Duration::from_secs(300),
        }
    }
}

/// Retries, waits and deadlines of one request (spec `dispatch.md` §2.2, §2.11).
#[derive(Clone, Debug)]
pub struct DispatchConfig {
    /// `maxRetries`, 1–20, default 5: least number of account attempts.
    pub max_retries: u32,
    /// `requestDeadlineMs`: until the first event, default 180 s.
    pub deadline: Duration,
    /// `maxWaitBeforeErrorMs`, default 120 s: longest wait for a limited pool.
    pub max_wait: Duration,
    /// `defaultCooldownMs`, default 10 s.
    pub default_cooldown: Duration,
    /// `retryBaseMs`, default 1 s: first pause between failures of one kind.
    pub retry_base: Duration,
    /// `retryMaxMs`, default 30 s: the cap of that pause.
    pub retry_max: Duration,
    /// `maxCapacityRetries`, 1–10, default 5.
    pub max_capacity_retries: u32,
    /// `capacityBackoffTiersMs`, default 5, 10, 20, 30, 60 s.
    pub capacity_tiers: Vec<Duration>,
    /// `capacityBudgetMs`: all capacity waits of one request together, default 60 s.
    pub capacity_budget: Duration,
    /// `quotaExhaustedStatus`: 429 (default) or 400 as the reference answers.
    pub quota_exhausted_status: u16,
    /// `maxWaiters`: requests of this process that may wait for the pool at once, default 1,000.
    pub max_waiters: usize,
    /// `fallbackEnabled` / `FALLBACK` / `--fallback`.
    pub fallback: bool,
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self {
            max_retries: 5,
            deadline: Duration::from_secs(180),
            max_wait: Duration::from_secs(120),
            default_cooldown: Duration::from_secs(10),
            retry_base: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            max_capacity_retries: 5,
            capacity_tiers: [5, 10, 20, 30, 60].map(Duration::from_secs).to_vec(),
            capacity_budget: Duration::from_secs(60),
            quota_exhausted_status: 429,
            max_waiters: 1000,
            fallback: false,
        }
    }
}

/// How accounts are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// One account after the other.
    RoundRobin,
    /// The best score of health, tokens, quota and rest.
    #[default]
    Hybrid,
}

impl Strategy {
    /// `round-robin` or `hybrid`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Hybrid => "hybrid",
        }
    }
}

/// What the admission script chooses by; read by scripts, so every number travels to the store
/// (spec `dispatch.md` §5, §8). Fractions are 0–1, times ms.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectionConfig {
    /// `accountSelection.strategy` / `STRATEGY` / `ACCOUNT_STRATEGY` / `--strategy`.
    pub strategy: Strategy,
    /// Settings that differ from the scripts' defaults, by their flat store name (for example
    /// `health.initial`): from the file (`base`, below the store) …
    pub base: BTreeMap<String, String>,
    /// … and from environment or flags (`pinned`, above the store).
    pub pinned: BTreeMap<String, String>,
    /// `maxAccounts`, 0 = unlimited (default), up to 10,000.
    pub max_accounts: u32,
}

impl Default for SelectionConfig {
    fn default() -> Self {
        Self { strategy: Strategy::Hybrid, base: BTreeMap::new(), pinned: BTreeMap::new(), max_accounts: 0 }
    }
}

/// Aliases, mapping, fallback.
#[derive(Clone, Debug, Default)]
pub struct ModelsConfig {
    /// `modelMapping[id].mapping`: wins over everything, one hop.
    pub mapping: BTreeMap<String, String>,
    /// `modelAliases`: class patterns (`claude-opus-*`) to candidate patterns, best first; empty = built-in
    /// order of `design.md` §5.
    pub aliases: Vec<AliasRule>,
    /// `fallbackMap`: exact id to exact id; empty = the reference's map.
    pub fallback: BTreeMap<String, String>,
    /// `defaultModel`: used when a request names none; `None` refuses such a request.
    pub default_model: Option<String>,
}

/// One alias: requests for `pattern` get the first of `candidates` that the pool offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRule {
    /// A requested id with `*` as wildcard.
    pub pattern: String,
    /// Offered ids with `*` as wildcard, best first.
    pub candidates: Vec<String>,
}

/// Switches of the conversion (`conversion.*`).
#[derive(Clone, Debug)]
pub struct ConversionConfig {
    /// `conversion.attributionBlock`: `drop` (default, false) or `keep` (true) the `x-anthropic-billing-header` block.
    pub keep_attribution_block: bool,
    /// `conversion.honourDisabledThinking` (W5): `thinking: disabled` switches thinking off; default false.
    pub honour_disabled_thinking: bool,
    /// `conversion.reorderAlways` (W22): reorder assistant blocks even when not needed; default true as the reference does.
    pub reorder_always: bool,
}

impl Default for ConversionConfig {
    fn default() -> Self {
        Self { keep_attribution_block: false, honour_disabled_thinking: false, reorder_always: true }
    }
}

/// Logs and metrics.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// `LOG_FORMAT` / `logFormat`.
    pub format: LogFormat,
    /// `LOG_LEVEL` / `logLevel`: `error`, `warn`, `info` (default), `debug`, `trace` or a tracing filter.
    pub level: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
