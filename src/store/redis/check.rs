//! Whether a Redis may hold the pool: asked once, at start, so that a wrong one is refused with a sentence instead
//! of losing accounts one day.

use std::collections::HashMap;

use redis::{ErrorKind, FromRedisValue as _, Pipeline, RedisError, Value};

use super::link::Link;
use super::{is_refusal_of_credentials, load as load_command, reply};
use crate::store::host::{Reply, ScriptError, StoreError};
use crate::store::script::Script;

/// The oldest version whose commands and script rules suffice.
const OLDEST: (u32, u32) = (6, 2);

/// Asks the server who it is and how it keeps its data.
pub(super) async fn check(link: &Link) -> Result<(), StoreError> {
    let hello = match link.first_command(&redis::cmd("HELLO")).await {
        Ok(value) => texts(value),
        Err(error) => return Err(refused(link, &error, Step::Connect)),
    };
    let fact = |name: &str| hello.get(name).map_or("", String::as_str);
    check_version(fact("version")).map_err(|problem| unsuitable(link, problem))?;
    check_mode(fact("mode")).map_err(|problem| unsuitable(link, problem))?;
    check_role(fact("role")).map_err(|problem| unsuitable(link, problem))?;
    check_keeping(link).await
}

/// Eviction and persistence. Who may not ask is warned, not refused: the rest still works.
async fn check_keeping(link: &Link) -> Result<(), StoreError> {
    let info = match link.command(&redis::cmd("INFO")).await {
        Ok(value) => lines(value),
        Err(error) if may_not(&error) => {
            tracing::warn!(
                address = link.address(),
                "whether Redis keeps its data cannot be checked: the user may not run INFO"
            );
            return Ok(());
        }
        Err(error) => return Err(refused(link, &error, Step::Ask)),
    };
    let policy = info.get("maxmemory_policy").map_or("", String::as_str);
    check_eviction(policy).map_err(|problem| unsuitable(link, problem))?;
    if info.get("aof_enabled").is_some_and(|enabled| enabled == "0") && !snapshots(link).await {
        tracing::warn!(
            address = link.address(),
            "Redis keeps nothing on disk: a restart of it loses accounts and settings; set `appendonly yes`"
        );
    }
    Ok(())
}

/// Whether Redis writes snapshots; taken for granted where it may not be asked.
async fn snapshots(link: &Link) -> bool {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("save");
    link.command(&command)
        .await
        .map_or(true, |value| texts(value).get("save").is_none_or(|save| !save.is_empty()))
}

/// Loads `scripts`, so that no request has to.
pub(super) async fn load(link: &Link, scripts: &[&'static Script]) -> Result<(), StoreError> {
    let mut pipeline = Pipeline::with_capacity(scripts.len());
    for script in scripts {
        pipeline.add_command(load_command(script));
    }
    let values = link.pipeline(&pipeline, scripts.len()).await;
    for (script, value) in scripts.iter().zip(values.map_err(|error| link.unavailable(&error))?) {
        match value {
            Value::ServerError(error) if error.code() == "NOPERM" => {
                return Err(unsuitable(link, lacks("+script|load +evalsha")));
            }
            Value::ServerError(error) => {
                let Reply::Error(error) = reply::read(Value::ServerError(error)) else { continue };
                return Err(reply::Outage::of(&error).map_or_else(
                    || StoreError::Compile { script: script.name, message: error.message },
                    |condition| link.refused(condition),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Subscribes to the pool's events.
pub(super) async fn subscribe(link: &Link, channel: &str) -> Result<(), StoreError> {
    link.subscribe(channel).await.map_err(|error| refused(link, &error, Step::Subscribe(channel)))
}

/// The user may load scripts but not run them, or not with the commands, keys (one of them is `key`) and channels
/// they use.
pub(super) fn denied(link: &Link, error: &ScriptError, key: &str) -> StoreError {
    let pool = key.split_inclusive('}').next().unwrap_or_default();
    let rules = format!("the commands of the scripts, ~{pool}:* and &{pool}:*");
    if error.code == "NOPERM" {
        return unsuitable(link, lacks(&format!("+evalsha, {rules}")));
    }
    let said = error.message.trim_end_matches('.');
    unsuitable(link, lacks(&format!("{rules}: {said}")))
}

/// What was tried when the server refused.
#[derive(Clone, Copy)]
enum Step<'c> {
    Connect,
    Ask,
    Subscribe(&'c str),
}

fn refused(link: &Link, error: &RedisError, step: Step<'_>) -> StoreError {
    match error.kind() {
        _ if is_refusal_of_credentials(error) => unsuitable(
            link,
            "it refuses the credentials; set REDIS_PASSWORD, or user and password in REDIS_URL".into(),
        ),
        ErrorKind::RESP3NotSupported => unsuitable(link, too_old("an older version")),
        _ if may_not(error) => match step {
            Step::Connect => unsuitable(link, lacks("+@connection")),
            Step::Ask => unsuitable(link, lacks("+info")),
            Step::Subscribe(channel) => unsuitable(link, lacks(&format!("+subscribe &{channel}"))),
        },
        _ => link.unavailable(error),
    }
}

fn may_not(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

fn lacks(rules: &str) -> String {
    format!("its ACL does not let this user work; docs/redis.md has the whole rule; grant it {rules}")
}

fn unsuitable(link: &Link, problem: String) -> StoreError {
    StoreError::Unsuitable { address: link.address().to_owned(), problem }
}

fn too_old(version: &str) -> String {
    format!("it is {version}; use Redis {}.{} or later, or Valkey", OLDEST.0, OLDEST.1)
}

fn check_version(version: &str) -> Result<(), String> {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let known = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if known < OLDEST { Err(too_old(version)) } else { Ok(()) }
}

fn check_mode(mode: &str) -> Result<(), String> {
    match mode {
        "cluster" => {
            Err("it is a node of a cluster, which this version does not support; use a single primary".into())
        }
        "sentinel" => Err("it is a Sentinel; give the address of the primary that it watches".into()),
        _ => Ok(()),
    }
}

fn check_role(role: &str) -> Result<(), String> {
    match role {
        "replica" | "slave" => Err("it is a read-only replica; give the address of the primary".into()),
        _ => Ok(()),
    }
}

fn check_eviction(policy: &str) -> Result<(), String> {
    match policy {
        "" | "noeviction" => Ok(()),
        other => Err(format!(
            "its maxmemory-policy is {other}, which may throw accounts away; set `maxmemory-policy noeviction`"
        )),
    }
}

/// A map of texts; other values are left out.
fn texts(value: Value) -> HashMap<String, String> {
    let pairs: Vec<(Value, Value)> = match value {
        Value::Map(pairs) => pairs,
        // Before RESP3, and for CONFIG GET on some servers: names and values in turn.
        Value::Array(items) => {
            items.chunks(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone()))).collect()
        }
        _ => Vec::new(),
    };
    let text = |value| String::from_redis_value(value).ok();
    pairs.into_iter().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// The lines `name:value` of `INFO`.
fn lines(value: Value) -> HashMap<String, String> {
    let text = String::from_redis_value(value).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for fit in ["6.2.0", "6.2.14", "7.0.15", "8.1", "10.0.0"] {
            assert_eq!(check_version(fit), Ok(()), "{fit}");
        }
        for old in ["6.0.16", "5.0.7", "2.8", ""] {
            assert!(check_version(old).is_err(), "{old}");
        }
    }

    #[test]
    fn what_may_not_hold_a_pool_is_refused_with_the_remedy() {
        assert!(check_mode("cluster").unwrap_err().contains("single primary"));
        assert!(check_mode("standalone").is_ok());
        assert!(check_role("replica").unwrap_err().contains("address of the primary"));
        assert!(check_role("master").is_ok());
        assert!(check_eviction("allkeys-lru").unwrap_err().contains("maxmemory-policy noeviction"));
        assert!(check_eviction("noeviction").is_ok());
    }
}
