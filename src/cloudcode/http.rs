//! How HTTP clients are built: the one place that knows time-outs, trust roots and proxies.
//!
//! There is no total time-out, because answers are streams; callers bound the wait for headers and the silence
//! between chunks. Redirects are not followed: a redirected request would carry the account's token elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, NoProxy, Proxy, redirect};
use secrecy::{ExposeSecret, SecretString};

use crate::config::UpstreamConfig;

/// How long an unused connection is kept; below the 60–240 s after which middleboxes forget it silently.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// Unused connections kept per host.
const POOL_IDLE_PER_HOST: usize = 256;
/// Keep-alive probes of a silent connection, so that a dead peer is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A client that cannot be built; each text says which setting is at fault.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file with extra trust roots cannot be read.
    #[error("SSL_CERT_FILE: cannot read {}: {source}", path.display())]
    ReadRoots {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file holds no usable certificate.
    #[error("SSL_CERT_FILE: {} holds no PEM certificate that can be used", path.display())]
    BadRoots {
        /// The file.
        path: PathBuf,
    },
    /// A proxy setting is not a URL. Its value may hold a password and is not shown.
    #[error("{variable}: not a proxy URL such as http://host:3128")]
    BadProxy {
        /// `HTTP_PROXY` or `HTTPS_PROXY`.
        variable: &'static str,
    },
    /// TLS or the connector could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Build(#[source] reqwest::Error),
}

/// Builds one client with its own connection pool (spec `architecture-anchors.md` §4).
///
/// Trust: the platform's verifier plus `extra_roots`. Proxies: only those of `config`; the environment is not read.
pub fn client(config: &UpstreamConfig) -> Result<reqwest::Client, HttpError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster with the same provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .http2_keep_alive_interval(KEEPALIVE)
        .redirect(redirect::Policy::none())
        .referer(false)
        .gzip(true);
    if let Some(path) = &config.extra_roots {
        builder = builder.tls_certs_merge(extra_roots(path)?);
    }
    let no_proxy = config.proxy.no_proxy.as_deref().and_then(NoProxy::from_string);
    if let Some(url) = &config.proxy.http {
        builder = builder.proxy(proxy("HTTP_PROXY", Proxy::http, url)?.no_proxy(no_proxy.clone()));
    }
    if let Some(url) = &config.proxy.https {
        builder = builder.proxy(proxy("HTTPS_PROXY", Proxy::https, url)?.no_proxy(no_proxy));
    }
    builder.build().map_err(HttpError::Build)
}

fn extra_roots(path: &std::path::Path) -> Result<Vec<Certificate>, HttpError> {
    let pem =
        std::fs::read(path).map_err(|source| HttpError::ReadRoots { path: path.to_path_buf(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        _ => Err(HttpError::BadRoots { path: path.to_path_buf() }),
    }
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
        assert!(matches!(client(&config), Err(HttpError::ReadRoots { .. })));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(matches!(client(&config), Err(HttpError::BadRoots { .. })));
    }
}
