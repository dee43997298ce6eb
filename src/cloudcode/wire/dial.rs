//! How a connection to an endpoint is made: directly, or through the proxy that is configured for its scheme.

use std::error::Error;
use std::future::poll_fn;

use http::uri::{Parts, PathAndQuery};
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use secrecy::{ExposeSecret as _, SecretString};
use tower::Service;

use super::super::http::{HttpError, KEEPALIVE, Trust};
use crate::config::UpstreamConfig;

/// Whatever bytes go over: TCP, TLS, or TLS within TLS.
pub(super) type Socket = Box<dyn Duplex>;
type Failed = Box<dyn Error + Send + Sync>;
type Plain = HttpsConnector<HttpConnector>;

/// Both directions of a connection.
pub(super) trait Duplex: Read + Write + Unpin + Send {}

impl<T: Read + Write + Unpin + Send> Duplex for T {}

/// The way to one endpoint.
pub(super) enum Dial {
    /// To the endpoint itself.
    Direct(Plain, Uri),
    /// Through a tunnel of the proxy (RFC 9110 §9.3.6).
    Tunnel(Box<HttpsConnector<Tunnel<Plain>>>, Uri),
    /// To the proxy, which is told the whole target (RFC 9112 §3.2.2).
    Forward { connector: Plain, proxy: Uri, credentials: Option<HeaderValue>, endpoint: Uri },
}

/// Makes the ways.
pub(super) struct Factory {
    plain: Plain,
    trust: Trust,
    proxies: Matcher,
}

impl Factory {
    pub(super) fn new(config: &UpstreamConfig, trust: &Trust) -> Result<Self, HttpError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_connect_timeout(Some(config.connect_timeout));
        let url = |variable, proxy: &Option<SecretString>| match proxy {
            None => Ok(String::new()),
            Some(url) => {
                // What the matcher cannot read it would pass over in silence.
                let known = url.expose_secret().parse::<Uri>().is_ok_and(|uri| uri.host().is_some());
                known.then(|| url.expose_secret().to_owned()).ok_or(HttpError::BadProxy { variable })
            }
        };
        let proxies = Matcher::builder()
            .http(url("HTTP_PROXY", &config.proxy.http)?)
            .https(url("HTTPS_PROXY", &config.proxy.https)?)
            .no(config.proxy.no_proxy.clone().unwrap_or_default())
            .build();
        Ok(Self { plain: over(tcp, trust), trust: trust.clone(), proxies })
    }

    /// The way to `endpoint`.
    pub(super) fn to(&self, endpoint: &Uri) -> Dial {
        let Some(proxy) = self.proxies.intercept(endpoint) else {
            return Dial::Direct(self.plain.clone(), endpoint.clone());
        };
        let credentials = credentials(&proxy);
        if endpoint.scheme_str() == Some("http") {
            let (connector, proxy, endpoint) = (self.plain.clone(), proxy.uri().clone(), endpoint.clone());
            return Dial::Forward { connector, proxy, credentials, endpoint };
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.plain.clone());
        if let Some(credentials) = credentials {
            tunnel = tunnel.with_auth(credentials);
        }
        Dial::Tunnel(Box::new(over(tunnel, &self.trust)), endpoint.clone())
    }
}

fn credentials(proxy: &Intercept) -> Option<HeaderValue> {
    let mut value = proxy.basic_auth()?.clone();
    value.set_sensitive(true);
    Some(value)
}

/// TLS over what `inner` connects, where the scheme asks for it.
fn over<C>(inner: C, trust: &Trust) -> HttpsConnector<C> {
    HttpsConnectorBuilder::new()
        .with_tls_config(trust.without_alpn())
        .https_or_http()
        .enable_http1()
        .wrap_connector(inner)
}

impl Dial {
    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Socket, Failed> {
        match self {
            Self::Direct(connector, uri) | Self::Forward { connector, proxy: uri, .. } => {
                call(connector.clone(), uri.clone()).await
            }
            Self::Tunnel(connector, uri) => call(HttpsConnector::clone(connector), uri.clone()).await,
        }
    }

    /// What the request's first line names.
    pub(super) fn target(&self, path: &PathAndQuery) -> Uri {
        let mut parts = match self {
            Self::Forward { endpoint, .. } => endpoint.clone().into_parts(),
            Self::Direct(..) | Self::Tunnel(..) => Parts::default(),
        };
        parts.path_and_query = Some(path.clone());
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// What a proxy wants to see with each request.
    pub(super) fn credentials(&self) -> Option<&HeaderValue> {
        match self {
            Self::Forward { credentials, .. } => credentials.as_ref(),
            Self::Direct(..) | Self::Tunnel(..) => None,
        }
    }
}

async fn call<C>(mut connector: C, uri: Uri) -> Result<Socket, Failed>
where
    C: Service<Uri, Error = Failed>,
    C::Response: Duplex + 'static,
{
    poll_fn(|context| connector.poll_ready(context)).await?;
    Ok(Box::new(connector.call(uri).await?))
}
