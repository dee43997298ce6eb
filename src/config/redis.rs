//! The Redis or Valkey that several gateways share.

mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::values::Values;

/// How the shared store is reached.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Where it listens.
    pub endpoint: RedisEndpoint,
    /// ACL user; without one, Redis's `default`.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// Database number; a cluster has only 0.
    pub db: u16,
    /// PEM file of authorities that a server's certificate may come from, besides the system's (`SSL_CERT_FILE`).
    pub extra_roots: Option<PathBuf>,
    /// `redis.connectTimeoutMs`, default 1 s.
    pub connect_timeout: Duration,
    /// `redis.commandTimeoutMs`, default 500 ms: a call that takes longer has failed, and is repeated where that is safe.
    pub command_timeout: Duration,
}

/// Where Redis listens.
#[derive(Clone, Debug)]
pub enum RedisEndpoint {
    /// One server on a TCP port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Whether the connection is TLS (`rediss://`).
        tls: bool,
    },
    /// One server on a unix socket.
    Unix(PathBuf),
    /// A cluster; the pool lives on the primary that owns its slot.
    Cluster {
        /// Nodes to ask first, at least one. Others become known from them.
        nodes: Vec<RedisNode>,
        /// Whether connections are TLS (`rediss+cluster://`).
        tls: bool,
    },
    /// The primary that Sentinels watch.
    Sentinel(SentinelEndpoint),
}

/// Sentinels, and what they watch.
#[derive(Clone, Debug)]
pub struct SentinelEndpoint {
    /// Sentinels to ask, at least one.
    pub sentinels: Vec<RedisNode>,
    /// What they call the primary.
    pub primary: String,
    /// Whether connections, also those to the Sentinels, are TLS (`rediss+sentinel://`).
    pub tls: bool,
    /// ACL user of the Sentinels; without one, their `default`.
    pub username: Option<String>,
    /// Its password. Without one the Sentinels are asked without, and where they want one, with the servers' own.
    pub password: Option<SecretString>,
}

/// A TCP port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisNode {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for RedisNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, nodes) = match self {
            Self::Tcp { host, port, .. } => return write!(f, "{host}:{port}"),
            Self::Unix(path) => return write!(f, "{}", path.display()),
            Self::Cluster { nodes, .. } => ("cluster", nodes),
            Self::Sentinel(SentinelEndpoint { sentinels, primary, .. }) => {
                write!(f, "primary {primary} of ")?;
                ("Sentinels", sentinels)
            }
        };
        write!(f, "{what} ")?;
        for (at, node) in nodes.iter().enumerate() {
            write!(f, "{}{node}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl RedisConfig {
    /// Redis at `endpoint`, database 0, without credentials.
    #[must_use]
    pub fn new(endpoint: RedisEndpoint) -> Self {
        Self {
            endpoint,
            username: None,
            password: None,
            db: 0,
            extra_roots: None,
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_millis(500),
        }
    }

    /// Reads one of these, all with TLS as `rediss` but for the socket; user, password and names are
    /// percent-decoded:
    ///
    /// ```text
    /// redis://[user:password@]host[:port][/db]
    /// redis+unix:///path[?db=…&user=…&pass=…]
    /// redis+cluster://[user:password@]host[:port],…
    /// redis+sentinel://[user:password@]host[:port],…/primary[/db][?sentinel_user=…&sentinel_pass=…]
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        url::parse(text)
    }

    /// `host:port`, as `REDIS_ADDR` has it.
    pub(super) fn parse_address(text: &str) -> Option<Self> {
        // The same grammar as inside a URL, and nothing around it.
        let plain = !text.contains(['/', '@', '?', '#', ',']);
        Self::parse(&format!("redis://{text}")).filter(|_| plain)
    }

    /// `REDIS_URL`, else `REDIS_ADDR`; the single settings fill in what a URL leaves open.
    pub(super) fn read(values: &Values) -> Option<Self> {
        let url = values.text("redis.url").filter(|text| !text.is_empty());
        let address = values.text("redisAddr").filter(|text| !text.is_empty());
        let mut config = url.map_or_else(|| address.and_then(Self::parse_address), Self::parse)?;
        if config.password.is_none() {
            values.secret("redisPassword", &mut config.password);
        }
        if config.db == 0 {
            values.number("redisDB", &mut config.db);
        }
        config.extra_roots = values.text("upstream.extraRoots").map(PathBuf::from);
        values.millis("redis.connectTimeoutMs", &mut config.connect_timeout);
        values.millis("redis.commandTimeoutMs", &mut config.command_timeout);
        Some(config)
    }
}

#[cfg(test)]
mod tests;
