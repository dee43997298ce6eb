//! Keys of another program, read once to be taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue as _, RedisError};

use super::access::Access;
use super::refusal::{unavailable, unsuitable};
use crate::config::{RedisConfig, RedisEndpoint};
use crate::store::host::StoreError;

/// Keys asked for per call.
const SCAN: usize = 500;
/// Nobody waits for this connection, so that it may take its time.
const ANSWER: Duration = Duration::from_secs(10);

/// A value of another program. Its `Debug` form tells sizes: the values hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub enum Foreign {
    /// A HASH: value by field.
    Hash(BTreeMap<String, String>),
    /// A SET.
    Set(BTreeSet<String>),
    /// Of another type, not read.
    Other(String),
    /// A part of it, or the key itself, is not UTF-8.
    Garbled,
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(fields) => write!(f, "Hash({} fields)", fields.len()),
            Self::Set(members) => write!(f, "Set({} members)", members.len()),
            Self::Other(kind) => f.debug_tuple("Other").field(kind).finish(),
            Self::Garbled => f.write_str("Garbled"),
        }
    }
}

impl Foreign {
    fn hash(fields: BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        let text = |(name, value)| Some((String::from_utf8(name).ok()?, String::from_utf8(value).ok()?));
        fields.into_iter().map(text).collect::<Option<_>>().map_or(Self::Garbled, Self::Hash)
    }

    fn set(members: BTreeSet<Vec<u8>>) -> Self {
        let text = |member| String::from_utf8(member).ok();
        members.into_iter().map(text).collect::<Option<_>>().map_or(Self::Garbled, Self::Set)
    }
}

/// All keys that begin with one of `prefixes`, with their values; only reads.
///
/// # Errors
///
/// Redis does not answer, or it is not a single server.
pub async fn read(config: &RedisConfig, prefixes: &[&str]) -> Result<BTreeMap<String, Foreign>, StoreError> {
    let address = config.endpoint.to_string();
    let mut config = config.clone();
    config.command_timeout = config.command_timeout.max(ANSWER);
    let access = Access::new(&config).map_err(|error| unsuitable(&address, error.to_string()))?;
    let server = match &config.endpoint {
        RedisEndpoint::Tcp { host, port, .. } => {
            access.server(&crate::config::RedisNode { host: host.clone(), port: *port })
        }
        RedisEndpoint::Unix(path) => access.socket(path),
        RedisEndpoint::Cluster { .. } | RedisEndpoint::Sentinel(_) => {
            return Err(unsuitable(&address, "name the one server that the other program uses"));
        }
    };
    let server = server.map_err(|error| unavailable(&address, &error))?;
    let mut connection = access.connect(server).await.map_err(|error| unavailable(&address, &error))?;
    collect(&access, &mut connection, prefixes).await.map_err(|error| unavailable(&address, &error))
}

async fn collect(
    access: &Access,
    connection: &mut MultiplexedConnection,
    prefixes: &[&str],
) -> Result<BTreeMap<String, Foreign>, RedisError> {
    let mut names = BTreeSet::new();
    for prefix in prefixes {
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(SCAN);
            let answer = access.ask(connection, &scan).await?;
            let (next, page) = <(String, Vec<Vec<u8>>)>::from_redis_value(answer)?;
            names.extend(page);
            if next == "0" {
                break;
            }
            cursor = next;
        }
    }
    let mut found = BTreeMap::new();
    for raw in names {
        let Ok(name) = String::from_utf8(raw.clone()) else {
            found.insert(String::from_utf8_lossy(&raw).into_owned(), Foreign::Garbled);
            continue;
        };
        let kind = access.ask(connection, redis::cmd("TYPE").arg(&name)).await?;
        let value = match String::from_redis_value(kind)?.as_str() {
            "hash" => {
                let fields = access.ask(connection, redis::cmd("HGETALL").arg(&name)).await?;
                Foreign::hash(BTreeMap::from_redis_value(fields)?)
            }
            "set" => {
                let members = access.ask(connection, redis::cmd("SMEMBERS").arg(&name)).await?;
                Foreign::set(BTreeSet::from_redis_value(members)?)
            }
            // It lapsed meanwhile.
            "none" => continue,
            other => Foreign::Other(other.to_owned()),
        };
        found.insert(name, value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_is_shown() {
        let secret = "marker".to_owned();
        let hash = Foreign::Hash(BTreeMap::from([("refreshToken".to_owned(), secret.clone())]));
        let told = format!("{hash:?} {:?}", Foreign::Set(BTreeSet::from([secret])));
        assert_eq!(told, "Hash(1 fields) Set(1 members)");
    }

    #[test]
    fn what_is_not_utf_8_is_told() {
        let hash =
            |name: &[u8], value: &[u8]| Foreign::hash(BTreeMap::from([(name.to_vec(), value.to_vec())]));
        assert_eq!(hash(b"a", b"b"), Foreign::Hash(BTreeMap::from([("a".into(), "b".into())])));
        assert_eq!(hash(b"a", b"\xff"), Foreign::Garbled);
        assert_eq!(hash(b"\xff", b"b"), Foreign::Garbled);
        assert_eq!(Foreign::set(BTreeSet::from([b"a".to_vec(), b"\xc3".to_vec()])), Foreign::Garbled);
    }
}
