//! Listener, access, limits and shutdown.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::values::Values;

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
    /// `apiKey` / `API_KEY` (comma-separated); without any `/v1` is open until the store has client
    /// keys.
    pub api_keys: Vec<SecretString>,
    /// `webuiPassword` / `WEBUI_PASSWORD`; without one the store may have its hash.
    pub webui_password: Option<SecretString>,
    /// `allowInsecureConsole` / `ALLOW_INSECURE_CONSOLE`.
    pub allow_insecure_console: bool,
    /// `allowedHosts` / `ALLOWED_HOSTS`: names accepted in `Host` when there is no password.
    pub allowed_hosts: Vec<String>,
    /// `trustedProxies` / `TRUSTED_PROXIES`: whose word on a client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// `cors.allowedOrigins`: origins whose pages may call the console's API.
    pub cors_origins: Vec<String>,
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
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            public_dir: None,
            public_base_url: None,
            request_body_limit: 50 * 1024 * 1024,
            stream_keepalive: Duration::from_secs(15),
            drain_delay: Duration::ZERO,
            shutdown_grace: Duration::from_mins(10),
            dev_mode: false,
        }
    }
}

impl ServerConfig {
    /// Whether nobody but this machine reaches the listener.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    pub(super) fn apply(&mut self, values: &Values) {
        values.string("host", &mut self.host);
        values.number("port", &mut self.port);
        values.address("metricsAddr", &mut self.metrics_addr);
        self.metrics_addr_explicit |= values.is_set("metricsAddr");
        values.secrets("apiKey", &mut self.api_keys);
        values.secret("webuiPassword", &mut self.webui_password);
        values.flag("allowInsecureConsole", &mut self.allow_insecure_console);
        values.list("allowedHosts", &mut self.allowed_hosts);
        values.networks("trustedProxies", &mut self.trusted_proxies);
        values.list("cors.allowedOrigins", &mut self.cors_origins);
        values.path("publicDir", &mut self.public_dir);
        values.optional("publicBaseUrl", &mut self.public_base_url);
        values.number("requestBodyLimit", &mut self.request_body_limit);
        values.millis("streamKeepaliveMs", &mut self.stream_keepalive);
        values.millis("drainDelayMs", &mut self.drain_delay);
        values.millis("shutdownGraceMs", &mut self.shutdown_grace);
        let mut debug = false;
        values.flag("debug", &mut debug);
        values.flag("devMode", &mut self.dev_mode);
        self.dev_mode |= debug;
    }
}
