//! The Redis or Valkey that several gateways share.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::values::Values;

/// Redis's port.
const PORT: u16 = 6379;

/// How the shared store is reached.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Where it listens.
    pub endpoint: RedisEndpoint,
    /// ACL user; without one, Redis's `default`.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// Database number.
    pub db: u16,
    /// `redis.connectTimeoutMs`, default 1 s.
    pub connect_timeout: Duration,
    /// `redis.commandTimeoutMs`, default 500 ms: a call that takes longer has failed, and is repeated where that is safe.
    pub command_timeout: Duration,
}

/// Where Redis listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisEndpoint {
    /// A TCP port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Whether the connection is TLS (`rediss://`).
        tls: bool,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
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
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_millis(500),
        }
    }

    /// Reads `redis://[user:password@]host[:port][/db]`, `rediss://…` (TLS) or
    /// `redis+unix:///path[?db=…&user=…&pass=…]`; user and password are percent-decoded.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        match url.scheme() {
            "redis" | "rediss" => Self::from_network(&url),
            "redis+unix" => Self::from_socket(&url),
            _ => None,
        }
    }

    fn from_network(url: &Url) -> Option<Self> {
        let host = match url.host()? {
            // The brackets belong to the URL.
            Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        };
        // An unknown scheme's host may be any text for the URL standard.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(plain) {
            return None;
        }
        let tls = url.scheme() == "rediss";
        let endpoint = RedisEndpoint::Tcp { host, port: url.port().unwrap_or(PORT), tls };
        let db = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().ok()?,
        };
        let part =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(String::from);
        let username = part(url.username())?;
        let password = url.password().map_or(Some(None), |text| part(text).map(Some))?;
        Some(Self {
            username: Some(username).filter(|name| !name.is_empty()),
            password: password.filter(|text| !text.is_empty()).map(SecretString::from),
            db,
            ..Self::new(endpoint)
        })
        .filter(|_| url.query().is_none() && url.fragment().is_none())
    }

    fn from_socket(url: &Url) -> Option<Self> {
        let path = percent_encoding::percent_decode_str(url.path()).decode_utf8().ok()?;
        let mut config = Self::new(RedisEndpoint::Unix(PathBuf::from(path.as_ref())));
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "db" => config.db = value.parse().ok()?,
                "user" => config.username = Some(value.into_owned()),
                "pass" => config.password = Some(SecretString::from(value.into_owned())),
                _ => return None,
            }
        }
        (path.len() > 1 && url.host().is_none()).then_some(config)
    }

    /// `host:port`, as `REDIS_ADDR` has it.
    pub(super) fn parse_address(text: &str) -> Option<Self> {
        // The same grammar as inside a URL, and nothing around it.
        let plain = !text.contains(['/', '@', '?', '#']);
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
        values.millis("redis.connectTimeoutMs", &mut config.connect_timeout);
        values.millis("redis.commandTimeoutMs", &mut config.command_timeout);
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn addresses_in_all_their_forms() {
        let tcp = |host: &str, port, tls| RedisEndpoint::Tcp { host: host.into(), port, tls };
        for (text, endpoint, db) in [
            ("redis://cache", tcp("cache", 6379, false), 0),
            ("redis://10.0.0.1:7000/3", tcp("10.0.0.1", 7000, false), 3),
            ("rediss://cache.example.com:6380/", tcp("cache.example.com", 6380, true), 0),
            ("redis://[::1]:7", tcp("::1", 7, false), 0),
            ("redis+unix:///run/redis.sock?db=2", RedisEndpoint::Unix("/run/redis.sock".into()), 2),
        ] {
            let config = RedisConfig::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((config.endpoint, config.db), (endpoint, db), "{text}");
            assert!(config.password.is_none() && config.username.is_none());
        }
        for wrong in [
            "redis://",
            "redis://a/x",
            "redis://a/70000",
            "redis://a,b",
            "http://a",
            "redis+cluster://a",
            "redis+unix://a/b",
            "redis+unix:///a?x=1",
            "redis://a?protocol=2",
            "cache:6379",
        ] {
            assert!(RedisConfig::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_decoded() {
        let config = RedisConfig::parse("redis://gate%40way:p%2Fw%20d@cache").unwrap();
        assert_eq!(config.username.as_deref(), Some("gate@way"));
        assert_eq!(config.password.unwrap().expose_secret(), "p/w d");
        let config = RedisConfig::parse("redis://:secret@cache").unwrap();
        assert!(config.username.is_none());
        assert_eq!(config.password.unwrap().expose_secret(), "secret");
    }

    #[test]
    fn an_address_is_host_and_port() {
        assert!(RedisConfig::parse_address("cache:6379").is_some());
        assert!(RedisConfig::parse_address("cache").is_some());
        for wrong in ["", ":6379", "a:b", "a/1", "redis://a", "u@a"] {
            assert!(RedisConfig::parse_address(wrong).is_none(), "{wrong}");
        }
    }
}
