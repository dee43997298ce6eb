//! The addresses of Redis as URLs.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url, form_urlencoded};

use super::{RedisConfig, RedisEndpoint, RedisNode, SentinelEndpoint};

/// Redis's port.
const PORT: u16 = 6379;
/// A Sentinel's port.
const SENTINEL_PORT: u16 = 26379;

/// See [`RedisConfig::parse`].
pub(super) fn parse(text: &str) -> Option<RedisConfig> {
    let (scheme, rest) = text.split_once("://")?;
    if rest.contains('#') {
        return None;
    }
    match scheme {
        "redis" | "rediss" => server(Parts::split(rest)?, scheme == "rediss"),
        "redis+cluster" | "rediss+cluster" => cluster(Parts::split(rest)?, scheme.starts_with("rediss")),
        "redis+sentinel" | "rediss+sentinel" => sentinel(Parts::split(rest)?, scheme.starts_with("rediss")),
        "redis+unix" => socket(&Url::parse(text).ok()?),
        _ => None,
    }
}

/// `[user:password@]hosts[/path][?query]`.
struct Parts<'t> {
    username: Option<String>,
    password: Option<SecretString>,
    hosts: &'t str,
    /// Without the slash.
    path: &'t str,
    query: &'t str,
}

impl<'t> Parts<'t> {
    fn split(text: &'t str) -> Option<Self> {
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let (authority, path) = text.split_once('/').unwrap_or((text, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (username, password) = user.split_once(':').unwrap_or((user, ""));
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Some(Self {
            username: given(decode(username)?),
            password: given(decode(password)?).map(SecretString::from),
            hosts,
            path,
            query,
        })
    }

    fn nodes(&self, port: u16) -> Option<Vec<RedisNode>> {
        self.hosts.split(',').map(|host| node(host, port)).collect()
    }

    fn config(self, endpoint: RedisEndpoint, db: u16) -> RedisConfig {
        RedisConfig { username: self.username, password: self.password, db, ..RedisConfig::new(endpoint) }
    }
}

fn server(parts: Parts<'_>, tls: bool) -> Option<RedisConfig> {
    let RedisNode { host, port } = node(parts.hosts, PORT)?;
    let db = number(parts.path.trim_matches('/'))?;
    parts.query.is_empty().then(|| parts.config(RedisEndpoint::Tcp { host, port, tls }, db))
}

fn cluster(parts: Parts<'_>, tls: bool) -> Option<RedisConfig> {
    let nodes = parts.nodes(PORT)?;
    // A cluster has no other database.
    let plain = parts.query.is_empty() && number(parts.path.trim_matches('/'))? == 0;
    plain.then(|| parts.config(RedisEndpoint::Cluster { nodes, tls }, 0))
}

fn sentinel(parts: Parts<'_>, tls: bool) -> Option<RedisConfig> {
    let sentinels = parts.nodes(SENTINEL_PORT)?;
    let (primary, db) = parts.path.split_once('/').unwrap_or((parts.path, ""));
    let primary = decode(primary).filter(|name| !name.is_empty())?;
    let db = number(db.trim_end_matches('/'))?;
    let (mut username, mut password) = (None, None);
    for (name, value) in form_urlencoded::parse(parts.query.as_bytes()) {
        match name.as_ref() {
            "sentinel_user" => username = Some(value.into_owned()),
            "sentinel_pass" => password = Some(SecretString::from(value.into_owned())),
            _ => return None,
        }
    }
    let endpoint = SentinelEndpoint { sentinels, primary, tls, username, password };
    Some(parts.config(RedisEndpoint::Sentinel(endpoint), db))
}

fn socket(url: &Url) -> Option<RedisConfig> {
    let path = decode(url.path())?;
    let mut config = RedisConfig::new(RedisEndpoint::Unix(PathBuf::from(&path)));
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

/// `host[:port]`, where an IPv6 address stands in brackets.
fn node(text: &str, port: u16) -> Option<RedisNode> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if !text.bytes().all(plain) {
        return None;
    }
    let url = Url::parse(&format!("redis://{text}")).ok()?;
    let host = match url.host()? {
        // The brackets belong to the URL.
        Host::Ipv6(address) => address.to_string(),
        host => host.to_string(),
    };
    (!host.is_empty()).then(|| RedisNode { host, port: url.port().unwrap_or(port) })
}

/// A database number; 0 where there is none.
fn number(text: &str) -> Option<u16> {
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(String::from)
}
