//! The way to Cloud Code.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::values::Values;

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
    /// `requestTimeoutMs`: longest time for a whole answer that is not streamed, longest silence in one that is, default
    /// 300 s.
    pub answer_timeout: Duration,
    /// `requestThrottlingEnabled`, default off: whether there is a pause before each call.
    pub throttled: bool,
    /// `requestDelayMs`, default 200 ms: that pause.
    pub request_delay: Duration,
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
            user_agent: user_agent("2.0.3"),
            client_name: "antigravity".into(),
            client_version: "1.110.0".into(),
            api_client: "gl-node/18.18.2 fire/0.8.6 grpc/1.10.x".into(),
            connect_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_mins(2),
            idle_timeout: Duration::from_mins(2),
            answer_timeout: Duration::from_mins(5),
            throttled: false,
            request_delay: Duration::from_millis(200),
            proxy: ProxyConfig::default(),
            extra_roots: None,
        }
    }
}

impl UpstreamConfig {
    /// The pause before each call; zero for none.
    #[must_use]
    pub fn pause(&self) -> Duration {
        if self.throttled { self.request_delay } else { Duration::ZERO }
    }

    pub(super) fn apply(&mut self, values: &Values) {
        values.list("upstream.endpoints", &mut self.endpoints);
        values.string("upstream.systemPreamble", &mut self.system_preamble);
        values.string("upstream.defaultProject", &mut self.default_project);
        if let Some(version) = values.text("upstream.userAgentVersion") {
            self.user_agent = user_agent(version);
        }
        values.string("upstream.userAgent", &mut self.user_agent);
        values.string("upstream.clientName", &mut self.client_name);
        values.string("upstream.clientVersion", &mut self.client_version);
        values.string("upstream.apiClient", &mut self.api_client);
        values.millis("upstream.connectTimeoutMs", &mut self.connect_timeout);
        values.millis("upstream.headerTimeoutMs", &mut self.header_timeout);
        values.millis("upstream.idleTimeoutMs", &mut self.idle_timeout);
        values.millis("requestTimeoutMs", &mut self.answer_timeout);
        values.flag("requestThrottlingEnabled", &mut self.throttled);
        values.millis("requestDelayMs", &mut self.request_delay);
        values.secret("upstream.proxy.http", &mut self.proxy.http);
        values.secret("upstream.proxy.https", &mut self.proxy.https);
        values.optional("upstream.proxy.exceptions", &mut self.proxy.no_proxy);
        values.path("upstream.extraRoots", &mut self.extra_roots);
    }
}

/// `antigravity/<version> <os>/<arch>` in Node's names (spec `conversion.md` §7.5).
fn user_agent(version: &str) -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        _ => "linux",
    };
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86" => "ia32",
        "arm" => "arm",
        _ => "x64",
    };
    format!("antigravity/{version} {os}/{arch}")
}
