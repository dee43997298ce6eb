//! How HTTP clients are built: the one place that knows time-outs, trust roots and proxies.
//!
//! There is no total time-out, because answers are streams; callers bound the wait for headers and the silence
//! between chunks. Redirects are not followed: a redirected request would carry the account's token elsewhere.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{NoProxy, Proxy, redirect};
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_platform_verifier::Verifier;
use secrecy::{ExposeSecret, SecretString};

use crate::config::UpstreamConfig;
use crate::config::roots::{self, RootsError};

/// How long an unused connection is kept; below the 60–240 s after which middleboxes forget it silently.
pub(super) const POOL_IDLE: Duration = Duration::from_secs(55);
/// Unused connections kept per host.
pub(super) const POOL_IDLE_PER_HOST: usize = 256;
/// Keep-alive probes of a silent connection, so that a dead peer is noticed.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);

/// A client that cannot be built; each text says which setting is at fault.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file with extra trust roots cannot be used.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// A proxy setting is not a URL. Its value may hold a password and is not shown.
    #[error("{variable}: not a proxy URL such as http://host:3128")]
    BadProxy {
        /// `HTTP_PROXY` or `HTTPS_PROXY`.
        variable: &'static str,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The connector could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Build(#[source] reqwest::Error),
}

/// Whom clients trust: the system's authorities, and those of `SSL_CERT_FILE`. Clones share them; each copy of the system's
/// takes about a hundred kilobytes, and milliseconds to read.
#[derive(Clone, Debug)]
pub struct Trust(ClientConfig);

impl Trust {
    /// Reads them.
    pub fn new(config: &UpstreamConfig) -> Result<Self, HttpError> {
        if CryptoProvider::get_default().is_none() {
            // An error means that another thread was faster with the same provider.
            let _ = aws_lc_rs::default_provider().install_default();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let extra = config.extra_roots.as_deref().map(roots::with_extra).transpose()?.unwrap_or_default();
        let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider))?;
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(tls))
    }

    /// For clients that name the protocols of HTTP themselves.
    pub(super) fn without_alpn(&self) -> ClientConfig {
        let mut tls = self.0.clone();
        tls.alpn_protocols.clear();
        tls
    }
}

/// Builds one client with its own connection pool (spec `architecture-anchors.md` §4).
///
/// Trust: the system's authorities, and those in `extra_roots`. Proxies: only those of `config`; the environment is not read.
pub fn client(config: &UpstreamConfig) -> Result<reqwest::Client, HttpError> {
    trusting(config, &Trust::new(config)?)
}

/// As [`client`], where there are several of the same trust.
pub fn trusting(config: &UpstreamConfig, trust: &Trust) -> Result<reqwest::Client, HttpError> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(trust.0.clone())
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .http2_keep_alive_interval(KEEPALIVE)
        .redirect(redirect::Policy::none())
        .referer(false)
        .gzip(true);
    let no_proxy = config.proxy.no_proxy.as_deref().and_then(NoProxy::from_string);
    if let Some(url) = &config.proxy.http {
        builder = builder.proxy(proxy("HTTP_PROXY", Proxy::http, url)?.no_proxy(no_proxy.clone()));
    }
    if let Some(url) = &config.proxy.https {
        builder = builder.proxy(proxy("HTTPS_PROXY", Proxy::https, url)?.no_proxy(no_proxy));
    }
    builder.build().map_err(HttpError::Build)
}

fn proxy(
    variable: &'static str,
    for_scheme: impl Fn(String) -> reqwest::Result<Proxy>,
    url: &SecretString,
) -> Result<Proxy, HttpError> {
    for_scheme(url.expose_secret().to_owned()).map_err(|_| HttpError::BadProxy { variable })
}

#[cfg(test)]
mod tests {
    use super::{HttpError, client};
    use crate::config::UpstreamConfig;
    use crate::config::roots::RootsError;

    #[tokio::test]
    async fn settings_at_fault_are_named_and_secrets_are_not_shown() {
        assert!(client(&UpstreamConfig::default()).is_ok());

        let mut config = UpstreamConfig::default();
        config.proxy.https = Some("http://user:hunter2@[bad".into());
        let error = client(&config).unwrap_err().to_string();
        assert!(error.starts_with("HTTPS_PROXY") && !error.contains("hunter2"), "{error}");

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.pem");
        let config = UpstreamConfig { extra_roots: Some(path.clone()), ..UpstreamConfig::default() };
        assert!(matches!(client(&config), Err(HttpError::Roots(RootsError::Read { .. }))));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(matches!(client(&config), Err(HttpError::Roots(RootsError::Empty { .. }))));
    }
}
