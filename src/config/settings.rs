//! The table of all settings: the one place that names them. `docs/configuration.md` is made from it.
//!
//! Names, ranges and defaults: spec `http-api.md` §3.2–3.5, `dispatch.md` §8, `design.md` §6.
//! What the shared store may hold is marked `live` or `restart` (scripts' settings are live); the rest is local.
//! The typed sections (`server.rs`, `store.rs`, …) hold the same defaults as Rust values; a test
//! holds the two together.

use super::setting::{Kind, Section, Setting};

const HTTP: &[&str] = &["http", "https"];
const PROXY: &[&str] = &["http", "https", "socks5", "socks5h"];

const fn set(
    section: Section,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting::new(section, key, kind, default, meaning)
}

use Section::{Conversion, Dispatch, Models, OAuth, Selection, Server, Store, Telemetry, Upstream};

/// Every setting, by chapter.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    set(Server, "host", Kind::Text, "0.0.0.0", "Address to listen on.").env(&["HOST"]).flag("--host"),
    set(Server, "port", Kind::Int(0, 65_535), "8080", "Port to listen on; 0 takes a free one.").env(&["PORT"]).flag("--port"),
    set(Server, "apiKey", Kind::SecretList, "", "Keys that clients of `/v1` must present; none leaves it open.").env(&["API_KEY"]),
    set(Server, "webuiPassword", Kind::Secret, "", "Password of the console and of `/api/*`; without one they answer to this machine only.").env(&["WEBUI_PASSWORD"]),
    set(Server, "allowInsecureConsole", Kind::Bool, "false", "Opens the console to other machines although it has no password.").env(&["ALLOW_INSECURE_CONSOLE"]),
    set(Server, "allowedHosts", Kind::List, "", "Host names, besides the loopback ones, under which a console without password may be called.").env(&["ALLOWED_HOSTS"]),
    set(Server, "publicDir", Kind::Path, "", "Serves the start page's files from this directory instead of the built-in ones.").env(&["PUBLIC_DIR"]),
    set(Server, "publicBaseUrl", Kind::Url(HTTP), "", "The address clients use, when it differs from the listener's.").env(&["PUBLIC_BASE_URL"]),
    set(Server, "requestBodyLimit", Kind::Bytes(1024, 1 << 30), "50mb", "Largest request body; above it the answer is 413.").restart(),
    set(Server, "streamKeepaliveMs", Kind::Millis(1_000, 300_000), "15000", "Silence in a stream after which a `ping` event is sent.").live(),
    set(Server, "drainDelayMs", Kind::Millis(0, 300_000), "0 (5000 in a Kubernetes pod)", "After SIGTERM, time during which connections are still accepted while `/readyz` fails.").restart(),
    set(Server, "shutdownGraceMs", Kind::Millis(0, 86_400_000), "600000", "After SIGTERM, time running streams have to finish.").restart(),
    set(Server, "debug", Kind::Bool, "false", "Older name of `devMode`.").env(&["DEBUG"]).flag("--debug").live(),
    set(Server, "devMode", Kind::Bool, "false", "Developer mode: log level at least `debug`.").env(&["DEV_MODE"]).flag("--dev-mode").live(),
    set(Server, "trustedProxies", Kind::List, "", "Proxies whose `X-Forwarded-For` is believed.").env(&["TRUSTED_PROXIES"]).reserved(),
    set(Server, "cors.allowedOrigins", Kind::List, "", "Origins of web pages that may call the API.").reserved(),
    set(Server, "claudeCli.mode", Kind::Text, "", "How the console edits the settings of a local Claude Code.").reserved(),
    set(Server, "claudeCli.configPath", Kind::Path, "", "Where a local Claude Code keeps its settings.").env(&["CLAUDE_CONFIG_PATH"]).reserved(),

    set(Store, "pool", Kind::Name, "main", "Name of the pool; pools of different names do not see each other.").env(&["POOL"]),
    set(Store, "dataDir", Kind::Path, "<confdir>/data", "Directory of the embedded store: journal, lock, key file, control socket.").env(&["DATA_DIR"]),
    set(Store, "encryptionKeys", Kind::KeyRing, "", "Keys that seal refresh tokens, newest first; without any the embedded store makes a key file of its own.").env_only(&["ENCRYPTION_KEYS"]),
    set(Store, "storeOutageGraceMs", Kind::Millis(0, 300_000), "20000", "Longest time a request waits for an unreachable store.").live(),
    set(Store, "leaseTtlMs", Kind::Millis(3_000, 300_000), "30000", "Life of a request's lease on its account; renewed every third of it.").restart(),
    set(Store, "signatureTtlMs", Kind::Millis(60_000, 2_592_000_000), "7200000", "How long thinking signatures are remembered after their last use.").restart(),
    set(Store, "redis.url", Kind::RedisUrl, "", "Redis or Valkey that several gateways share; without one the store is embedded in this process.").env(&["REDIS_URL"]),
    set(Store, "redisAddr", Kind::RedisAddress, "", "Its address, `host:port`, instead of a URL.").env(&["REDIS_ADDR"]),
    set(Store, "redisPassword", Kind::Secret, "", "Its password, where the URL has none.").env(&["REDIS_PASSWORD"]),
    set(Store, "redisDB", Kind::Int(0, 65_535), "0", "Its database number, where the URL has none.").env(&["REDIS_DB"]),
    set(Store, "redis.connectTimeoutMs", Kind::Millis(50, 60_000), "1000", "Time allowed for a connection to Redis."),
    set(Store, "redis.commandTimeoutMs", Kind::Millis(50, 60_000), "500", "Time allowed for an answer of Redis; then the call has failed and is repeated where that is safe."),
    set(Store, "accountConfigPath", Kind::Path, "", "The reference's accounts file; use `accounts import` instead.").reserved(),
    set(Store, "persistTokenCache", Kind::Bool, "false", "Access tokens are always kept in the store, sealed.").reserved().live(),
    set(Store, "quotaSnapshotTtlMs", Kind::Millis(0, 86_400_000), "300000", "Age at which a quota snapshot is taken anew.").reserved().live(),

    set(Upstream, "upstream.endpoints", Kind::UrlList(HTTP), "https://daily-cloudcode-pa.googleapis.com,https://cloudcode-pa.googleapis.com", "Base URLs of Cloud Code, in the order in which they are tried.").env(&["CLOUDCODE_ENDPOINTS"]),
    set(Upstream, "upstream.systemPreamble", Kind::Text, "", "Text put in front of every system prompt; empty adds nothing.").live(),
    set(Upstream, "upstream.defaultProject", Kind::Text, "rising-fact-p41fc", "Project used for an account that has none.").live(),
    set(Upstream, "upstream.userAgent", Kind::Header, "antigravity/<userAgentVersion> <os>/<arch>", "The whole `User-Agent` header.").restart(),
    set(Upstream, "upstream.userAgentVersion", Kind::Header, "2.0.3", "Version in the default `User-Agent`.").env(&["FALLBACK_ANTIGRAVITY_VERSION"]).restart(),
    set(Upstream, "upstream.clientName", Kind::Header, "antigravity", "The `X-Client-Name` header.").restart(),
    set(Upstream, "upstream.clientVersion", Kind::Header, "1.110.0", "The `X-Client-Version` header.").env(&["ANTIGRAVITY_CLIENT_VERSION", "ANTIGRAVITY_CLIENT_VERSION_FALLBACK"]).restart(),
    set(Upstream, "upstream.apiClient", Kind::Header, "gl-node/18.18.2 fire/0.8.6 grpc/1.10.x", "The `x-goog-api-client` header.").restart(),
    set(Upstream, "upstream.connectTimeoutMs", Kind::Millis(100, 120_000), "10000", "Time allowed for a connection.").restart(),
    set(Upstream, "upstream.headerTimeoutMs", Kind::Millis(1_000, 600_000), "120000", "Time allowed until response headers.").restart(),
    set(Upstream, "upstream.idleTimeoutMs", Kind::Millis(1_000, 600_000), "120000", "Longest silence inside an answer.").restart(),
    set(Upstream, "upstream.proxy.http", Kind::SecretUrl(PROXY), "", "Proxy for `http://` targets.").env_only(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
    set(Upstream, "upstream.proxy.https", Kind::SecretUrl(PROXY), "", "Proxy for `https://` targets.").env_only(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
    set(Upstream, "upstream.proxy.exceptions", Kind::Text, "", "Hosts reached without a proxy, comma-separated.").env_only(&["no_proxy", "NO_PROXY"]),
    set(Upstream, "upstream.extraRoots", Kind::File, "", "PEM file of certificate authorities trusted besides the system's.").env_only(&["SSL_CERT_FILE"]),
    set(Upstream, "requestTimeoutMs", Kind::Millis(1_000, 3_600_000), "300000", "Replaced by `upstream.headerTimeoutMs`, `upstream.idleTimeoutMs` and `requestDeadlineMs`.").reserved().live(),
    set(Upstream, "requestThrottlingEnabled", Kind::Bool, "false", "Whether upstream calls are spaced out.").reserved().live(),
    set(Upstream, "requestDelayMs", Kind::Millis(100, 5_000), "200", "Pause before an upstream call when they are spaced out.").reserved().live(),

    set(OAuth, "oauth.clientId", Kind::Text, "", "Client id of the OAuth application that issued the refresh tokens.").env(&["OAUTH_CLIENT_ID"]),
    set(OAuth, "oauth.clientSecret", Kind::Secret, "", "Its client secret.").env(&["OAUTH_CLIENT_SECRET"]),
    set(OAuth, "oauth.authUrl", Kind::Url(HTTP), "https://accounts.google.com/o/oauth2/v2/auth", "Authorization endpoint.").env(&["OAUTH_AUTH_URL"]),
    set(OAuth, "oauth.tokenUrl", Kind::Url(HTTP), "https://oauth2.googleapis.com/token", "Token endpoint.").env(&["OAUTH_TOKEN_URL"]),
    set(OAuth, "oauth.userinfoUrl", Kind::Url(HTTP), "https://www.googleapis.com/oauth2/v1/userinfo", "Profile endpoint.").env(&["OAUTH_USERINFO_URL"]),
    set(OAuth, "tokenCacheTtlMs", Kind::Millis(10_000, 3_600_000), "300000", "Longest use of an access token before it is refreshed; it also ends 60 s before the token does.").restart(),
    set(OAuth, "oauth.callbackPort", Kind::Int(1, 65_535), "51121", "Port of the sign-in callback.").env(&["OAUTH_CALLBACK_PORT"]).reserved(),
    set(OAuth, "oauth.redirectUri", Kind::Url(HTTP), "", "Redirect address registered for the sign-in.").reserved(),

    set(Dispatch, "maxRetries", Kind::Int(1, 20), "5", "Least number of accounts tried for a request.").live(),
    set(Dispatch, "requestDeadlineMs", Kind::Millis(1_000, 600_000), "180000", "Time a request has until its first event.").live(),
    set(Dispatch, "maxWaitBeforeErrorMs", Kind::Millis(0, 600_000), "120000", "Longest wait for a pool whose accounts are all limited; 0 never waits.").live(),
    set(Dispatch, "defaultCooldownMs", Kind::Millis(1_000, 300_000), "10000", "Pause of an account whose limit came without a reset time.").script("defaultCooldownMs"),
    set(Dispatch, "retryBaseMs", Kind::Millis(100, 10_000), "1000", "First pause between failures of the network or of the upstream.").live(),
    set(Dispatch, "retryMaxMs", Kind::Millis(1_000, 120_000), "30000", "Longest such pause.").live(),
    set(Dispatch, "maxCapacityRetries", Kind::Int(1, 10), "5", "Retries while the model has no capacity.").live(),
    set(Dispatch, "capacityBackoffTiersMs", Kind::Tiers(1_000, 300_000), "5000,10000,20000,30000,60000", "Pauses between those retries.").live(),
    set(Dispatch, "capacityBudgetMs", Kind::Millis(0, 600_000), "60000", "All those pauses of one request together.").live(),
    set(Dispatch, "quotaExhaustedStatus", Kind::IntChoice(&[429, 400]), "429", "Status when the quota of the pool is used up.").live(),
    set(Dispatch, "countTokens.source", Kind::Choice(&["upstream", "local"]), "upstream", "Who answers `count_tokens`: the upstream, with the local estimate where it does not, or the estimate alone.").live(),
    set(Dispatch, "maxWaiters", Kind::Int(0, 1_000_000), "1000", "Requests of one gateway that may wait for the pool at once.").restart(),
    set(Dispatch, "fallbackEnabled", Kind::Bool, "false", "Whether another model answers when the asked one is exhausted.").env(&["FALLBACK"]).flag("--fallback").live(),
    set(Dispatch, "firstRetryDelayMs", Kind::Millis(0, 60_000), "1000", "Replaced by `retryBaseMs`.").reserved().live(),
    set(Dispatch, "switchAccountDelayMs", Kind::Millis(1_000, 60_000), "5000", "Another account is taken without a pause.").reserved().live(),

    set(Selection, "accountSelection.strategy", Kind::Strategy, "hybrid", "How an account is chosen.").env(&["STRATEGY", "ACCOUNT_STRATEGY"]).flag("--strategy").script("strategy"),
    set(Selection, "maxAccounts", Kind::Int(0, 10_000), "0", "Most accounts of the pool; 0 sets no limit.").script("maxAccounts"),
    set(Selection, "globalQuotaThreshold", Kind::Fraction, "0", "Share of its quota below which an account is spared; 0 is off.").script("globalQuotaThreshold"),
    set(Selection, "rateLimitDedupWindowMs", Kind::Millis(1_000, 30_000), "2000", "Limits reported within it count once.").script("rateLimitDedupWindowMs"),
    set(Selection, "rateLimitStateResetMs", Kind::Millis(1_000, 3_600_000), "120000", "Time without a limit after which the count of limits starts anew.").script("rateLimitStateResetMs"),
    set(Selection, "maxConsecutiveFailures", Kind::Int(1, 10), "3", "Failures in a row that put an account to rest.").script("maxConsecutiveFailures"),
    set(Selection, "extendedCooldownMs", Kind::Millis(10_000, 300_000), "60000", "That rest.").script("extendedCooldownMs"),
    set(Selection, "accountSelection.healthScore.initial", Kind::Number(0.0, 100.0), "70", "Health of a new account.").script("health.initial"),
    set(Selection, "accountSelection.healthScore.successReward", Kind::Number(0.0, 20.0), "1", "Health gained by a success.").script("health.successReward"),
    set(Selection, "accountSelection.healthScore.rateLimitPenalty", Kind::Number(-50.0, 0.0), "-10", "Health lost by a limit.").script("health.rateLimitPenalty"),
    set(Selection, "accountSelection.healthScore.failurePenalty", Kind::Number(-50.0, 0.0), "-20", "Health lost by a failure.").script("health.failurePenalty"),
    set(Selection, "accountSelection.healthScore.recoveryPerHour", Kind::Number(0.0, 20.0), "10", "Health regained per hour.").script("health.recoveryPerHour"),
    set(Selection, "accountSelection.healthScore.minUsable", Kind::Number(0.0, 100.0), "50", "Health below which an account is used only when no better one is left.").script("health.minUsable"),
    set(Selection, "accountSelection.healthScore.maxScore", Kind::Number(1.0, 200.0), "100", "Highest health.").script("health.maxScore"),
    set(Selection, "accountSelection.tokenBucket.maxTokens", Kind::Number(5.0, 200.0), "50", "Size of an account's request bucket.").script("bucket.max"),
    set(Selection, "accountSelection.tokenBucket.tokensPerMinute", Kind::Number(1.0, 60.0), "6", "Requests the bucket regains per minute.").script("bucket.perMinute"),
    set(Selection, "accountSelection.tokenBucket.initialTokens", Kind::Number(1.0, 200.0), "50", "Requests in a new account's bucket.").script("bucket.initial"),
    set(Selection, "accountSelection.quota.lowThreshold", Kind::Fraction, "0.1", "Share of the quota that counts as low.").script("quota.low"),
    set(Selection, "accountSelection.quota.criticalThreshold", Kind::Fraction, "0.05", "Share of the quota at which an account is used only when no other is left.").script("quota.critical"),
    set(Selection, "accountSelection.quota.staleMs", Kind::Millis(30_000, 3_600_000), "300000", "Age at which known quotas no longer bind.").script("quota.staleMs"),
    set(Selection, "accountSelection.quota.unknownScore", Kind::Number(0.0, 100.0), "50", "Score of an account whose quota is unknown.").script("quota.unknownScore"),
    set(Selection, "accountSelection.weights.health", Kind::Number(0.0, 20.0), "2", "Weight of health in the score.").script("weights.health"),
    set(Selection, "accountSelection.weights.tokens", Kind::Number(0.0, 20.0), "5", "Weight of the bucket.").script("weights.tokens"),
    set(Selection, "accountSelection.weights.quota", Kind::Number(0.0, 20.0), "3", "Weight of the quota.").script("weights.quota"),
    set(Selection, "accountSelection.weights.lru", Kind::Number(0.0, 5.0), "0.1", "Weight of the time since the last use.").script("weights.lru"),
    set(Selection, "accountSelection.throttle.emergencyMs", Kind::Millis(0, 10_000), "0", "Pause before a request on an account below the usable health.").script("throttle.emergencyMs"),
    set(Selection, "accountSelection.throttle.lastResortMs", Kind::Millis(0, 10_000), "0", "Pause before a request on an account taken as the last resort.").script("throttle.lastResortMs"),

    set(Models, "modelMapping", Kind::ModelMapping, "{}", "Other upstream models for requested ones; `hidden` and `pinned` are for display.").live(),
    set(Models, "modelAliases", Kind::Aliases, "{}", "Requested patterns and the offered patterns that answer them, best first; empty keeps the built-in order.").live(),
    set(Models, "fallbackMap", Kind::TextMap, "{}", "Which model stands in for which; empty keeps the built-in pairs.").live(),
    set(Models, "defaultModel", Kind::Text, "", "Model of a request that names none; without it such a request is refused.").live(),

    set(Conversion, "conversion.attributionBlock", Kind::Choice(&["drop", "keep"]), "drop", "What happens to Claude Code's `x-anthropic-billing-header` block.").live(),
    set(Conversion, "conversion.honourDisabledThinking", Kind::Bool, "false", "Whether `thinking: {\"type\":\"disabled\"}` switches thinking off on thinking models.").live(),
    set(Conversion, "conversion.reorderAlways", Kind::Bool, "true", "Whether blocks of assistant turns are put in order even where they are.").live(),
    set(Conversion, "conversion.serverTools", Kind::Choice(&["drop", "refuse"]), "drop", "What happens to tools that the original API runs itself (`web_search_…`): left out with a warning, or the request is refused.").live(),

    set(Telemetry, "logLevel", Kind::LogFilter, "info", "What is logged.").env(&["LOG_LEVEL"]).live(),
    set(Telemetry, "logFormat", Kind::Choice(&["text", "json"]), "text", "How log lines look; they go to standard error.").env(&["LOG_FORMAT"]),
    set(Telemetry, "metricsAddr", Kind::Address, "127.0.0.1:9464", "Listener of `/metrics` and the probes; empty switches it off. The default gives way when taken, a set one must be free.").env(&["METRICS_ADDR"]),
];
