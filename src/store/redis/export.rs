//! A pool's keys as commands that rebuild them.

use redis::{FromRedisValue as _, Pipeline, RedisError, Value};

use super::link::Link;
use crate::store::embedded::resp;
use crate::store::host::StoreError;
use crate::store::keys::FEEDS;

/// Keys asked for at once; Redis may answer more or fewer.
const KEYS: usize = 256;
/// Fields or members per command.
const CHUNK: usize = 512;

/// Where an export goes on.
#[derive(Clone, Debug)]
pub struct Page(String);

impl Page {
    /// The beginning.
    #[must_use]
    pub fn first() -> Self {
        Self("0".into())
    }
}

/// One page of the keys that begin with `prefix`, and the next page unless it was the last. The feeds of logs and events
/// are left out, with all that belongs to them: what was taken away of a stream means nothing without it.
pub(super) async fn export(
    link: &Link,
    prefix: &str,
    page: Page,
) -> Result<(Vec<u8>, Option<Page>), StoreError> {
    let (mut keys, next) = names(link, prefix, page).await?;
    let feeds = [prefix, FEEDS].concat();
    keys.retain(|key| !key.starts_with(feeds.as_bytes()));
    let mut out = Vec::new();
    if !keys.is_empty() {
        write(link, &keys, &mut out).await.map_err(|error| link.unavailable(&error))?;
    }
    Ok((out, next))
}

/// One page of the names of keys that begin with `prefix`, and the next page unless it was the last.
pub(super) async fn names(
    link: &Link,
    prefix: &str,
    page: Page,
) -> Result<(Vec<Vec<u8>>, Option<Page>), StoreError> {
    let mut scan = redis::cmd("SCAN");
    // A pool's name has no character that a pattern gives a meaning.
    scan.arg(page.0).arg("MATCH").arg([prefix, "*"].concat()).arg("COUNT").arg(KEYS);
    let answer = link.command(&scan).await.map_err(|error| link.unavailable(&error))?;
    let (cursor, keys) = <(String, Vec<Vec<u8>>)>::from_redis_value(answer)
        .map_err(|error| link.unavailable(&error.into()))?;
    Ok((keys, Some(Page(cursor)).filter(|page| page.0 != "0")))
}

async fn write(link: &Link, keys: &[Vec<u8>], out: &mut Vec<u8>) -> Result<(), RedisError> {
    let mut types = Pipeline::with_capacity(keys.len());
    for key in keys {
        types.add_command(command("TYPE", key));
    }
    let types = link.pipeline(&types, keys.len()).await?;
    let mut reads = Pipeline::with_capacity(2 * keys.len() + 1);
    // Before the times left, so that none is counted from too late.
    reads.add_command(redis::cmd("TIME"));
    let mut wanted = Vec::new();
    for (key, kind) in keys.iter().zip(types) {
        let read = match String::from_redis_value(kind)?.as_str() {
            "string" => command("GET", key),
            "hash" => command("HGETALL", key),
            "zset" => {
                let mut range = command("ZRANGE", key);
                range.arg(0).arg(-1).arg("WITHSCORES");
                range
            }
            _ => continue,
        };
        reads.add_command(read);
        reads.add_command(command("PTTL", key));
        wanted.push(key);
    }
    let mut values = link.pipeline(&reads, 2 * wanted.len() + 1).await?.into_iter();
    let now = values.next().map(<(i64, i64)>::from_redis_value).transpose()?;
    let now = now.map_or(0, |(seconds, micros)| seconds * 1000 + micros / 1000);
    for key in wanted {
        let (Some(value), Some(left)) = (values.next(), values.next()) else { break };
        let left = i64::from_redis_value(left)?;
        // Expired meanwhile.
        if left == -2 {
            continue;
        }
        push(out, key, value)?;
        if left >= 0 {
            resp::push_command(out, &[b"PEXPIREAT", key, (now + left).to_string().as_bytes()]);
        }
    }
    Ok(())
}

fn command(name: &str, key: &[u8]) -> redis::Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

fn push(out: &mut Vec<u8>, key: &[u8], value: Value) -> Result<(), RedisError> {
    match value {
        Value::BulkString(text) => resp::push_command(out, &[b"SET", key, &text]),
        Value::Map(fields) => {
            for chunk in fields.chunks(CHUNK) {
                resp::push_head(out, 2 + 2 * chunk.len());
                resp::push_arg(out, b"HSET");
                resp::push_arg(out, key);
                for (name, value) in chunk {
                    resp::push_arg(out, &bytes(name)?);
                    resp::push_arg(out, &bytes(value)?);
                }
            }
        }
        Value::Array(members) => {
            let members = members.into_iter().map(<(Vec<u8>, String)>::from_redis_value);
            let members = members.collect::<Result<Vec<_>, _>>()?;
            for chunk in members.chunks(CHUNK) {
                resp::push_head(out, 2 + 2 * chunk.len());
                resp::push_arg(out, b"ZADD");
                resp::push_arg(out, key);
                for (member, score) in chunk {
                    resp::push_arg(out, score.as_bytes());
                    resp::push_arg(out, member);
                }
            }
        }
        // Gone since it was asked for.
        _ => {}
    }
    Ok(())
}

fn bytes(value: &Value) -> Result<Vec<u8>, RedisError> {
    Ok(Vec::from_redis_value(value.clone())?)
}
