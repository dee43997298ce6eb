//! How any of a deployment's servers is reached.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    ProtocolVersion, RedisConnectionInfo, RedisError, TlsCertificates, Value,
};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{RedisConfig, RedisEndpoint, RedisNode, SentinelEndpoint, roots};

/// TLS, trust and times of all connections, and who the servers shall take the gateway for.
pub(super) struct Access {
    tls: bool,
    certificates: Option<TlsCertificates>,
    connect: Duration,
    answer: Duration,
    credentials: RedisConnectionInfo,
}

impl Access {
    /// As `config` says. The error says what is wrong with the extra trust roots.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, roots::RootsError> {
        let tls = match &config.endpoint {
            RedisEndpoint::Tcp { tls, .. } | RedisEndpoint::Cluster { tls, .. } => *tls,
            RedisEndpoint::Sentinel(endpoint) => endpoint.tls,
            RedisEndpoint::Unix(_) => false,
        };
        let extra = config.extra_roots.as_deref().filter(|_| tls);
        let roots = extra.map(roots::with_extra).transpose()?;
        let certificates =
            roots.map(|roots| TlsCertificates { client_tls: None, root_cert: Some(pem(&roots)) });
        let credentials = named(config.username.as_deref(), config.password.as_ref())
            .set_db(i64::from(config.db))
            .set_protocol(ProtocolVersion::RESP3);
        let (connect, answer) = (config.connect_timeout, config.command_timeout);
        Ok(Self { tls, certificates, connect, answer, credentials })
    }

    /// The server at `node`, in the client's terms.
    pub(super) fn server(&self, node: &RedisNode) -> Result<ConnectionInfo, RedisError> {
        self.info(node, self.credentials.clone())
    }

    /// The server on the socket at `path`.
    pub(super) fn socket(&self, path: &std::path::Path) -> Result<ConnectionInfo, RedisError> {
        Ok(ConnectionAddr::Unix(path.to_owned())
            .into_connection_info()?
            .set_redis_settings(self.credentials.clone()))
    }

    /// The Sentinel at `node`, and what to try where that is refused: as whom the Sentinels take the gateway.
    pub(super) fn sentinel(
        &self,
        node: &RedisNode,
        endpoint: &SentinelEndpoint,
    ) -> Result<(ConnectionInfo, Option<ConnectionInfo>), RedisError> {
        let own = endpoint.password.is_some();
        let first = self.info(node, named(endpoint.username.as_deref(), endpoint.password.as_ref()))?;
        let second = self.credentials.password().filter(|_| !own);
        let second = second.map(|_| self.info(node, self.credentials.clone().set_db(0))).transpose()?;
        Ok((first, second))
    }

    fn info(&self, node: &RedisNode, credentials: RedisConnectionInfo) -> Result<ConnectionInfo, RedisError> {
        let (host, port) = (node.host.clone(), node.port);
        let address = if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = address.into_connection_info()?.set_redis_settings(credentials).set_tcp_settings(tcp);
        match &self.certificates {
            None => Ok(info),
            Some(certificates) => {
                Ok(Client::build_with_tls(info, certificates.clone())?.get_connection_info().clone())
            }
        }
    }

    /// A connection to `server`.
    pub(super) async fn connect(&self, server: ConnectionInfo) -> Result<MultiplexedConnection, RedisError> {
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect))
            .set_response_timeout(Some(self.answer));
        let client = Client::open(server)?;
        within(self.connect + self.answer, client.get_multiplexed_async_connection_with_config(&limits)).await
    }

    /// The answer to `command` on `connection`; an error it is answered with is an `Err`.
    pub(super) async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        command: &Cmd,
    ) -> Result<Value, RedisError> {
        within(2 * self.answer, connection.send_packed_command(command)).await?.extract_error()
    }
}

/// `certificates` as the client library takes them.
fn pem(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let mut pem = Vec::new();
    for certificate in certificates {
        pem.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
        pem.extend_from_slice(STANDARD.encode(certificate).as_bytes());
        pem.extend_from_slice(b"\n-----END CERTIFICATE-----\n");
    }
    pem
}

fn named(username: Option<&str>, password: Option<&SecretString>) -> RedisConnectionInfo {
    // Servers before 7.2 know no CLIENT SETINFO, so that no rule for all of them can grant it; where it is refused, each
    // connection leaves an entry in ACL LOG.
    let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(name) = username {
        settings = settings.set_username(name);
    }
    if let Some(password) = password {
        settings = settings.set_password(password.expose_secret());
    }
    settings
}

/// `exchange`, for `limit` at most.
pub(super) async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    match tokio::time::timeout(limit, exchange).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}
