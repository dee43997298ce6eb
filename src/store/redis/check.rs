//! Whether a Redis may hold the pool: asked once, at start, so that a wrong one is refused with a sentence instead
//! of losing accounts one day.

use std::collections::HashMap;

use redis::{Cmd, FromRedisValue as _, Pipeline, Value};

use super::link::Link;
use super::locate::Topology;
use super::refusal::{OLDEST, Step, lacks, may_not, refused, too_old, unsuitable};
use super::{load as load_command, reply, texts};
use crate::store::host::{Reply, ScriptError, StoreError};
use crate::store::script::Script;

/// Asks the server who it is and how it keeps its data.
pub(super) async fn check(link: &Link) -> Result<(), StoreError> {
    let address = link.address();
    let hello = match link.first_command(&redis::cmd("HELLO")).await {
        Ok(value) => texts(value),
        Err(error) => return Err(refused(&address, &error, Step::Connect)),
    };
    let fact = |name: &str| hello.get(name).map_or("", String::as_str);
    check_version(fact("version"))
        .and_then(|()| check_mode(fact("mode"), link.topology()))
        .and_then(|()| check_role(fact("role")))
        .map_err(|problem| unsuitable(&address, problem))?;
    check_keeping(link).await
}

/// Eviction and persistence. Who may not ask is warned, not refused: the rest still works.
async fn check_keeping(link: &Link) -> Result<(), StoreError> {
    let address = &*link.address();
    let info = match link.command(&redis::cmd("INFO")).await {
        Ok(value) => lines(value),
        Err(error) if may_not(&error) => {
            tracing::warn!(
                address,
                "whether Redis keeps its data cannot be checked: the user may not run INFO"
            );
            return Ok(());
        }
        Err(error) => return Err(refused(address, &error, Step::Info)),
    };
    let policy = info.get("maxmemory_policy").map_or("", String::as_str);
    check_eviction(policy).map_err(|problem| unsuitable(address, problem))?;
    if info.get("aof_enabled").is_some_and(|enabled| enabled == "0") && !snapshots(link).await {
        tracing::warn!(
            address,
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
                return Err(unsuitable(&link.address(), lacks("+script|load +evalsha")));
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

/// Tries what the feed of events and logs needs on the stream `key`, which is gone afterwards. Others may try theirs on it
/// at the same time.
pub(super) async fn try_feed(link: &Link, key: &str) -> Result<(), StoreError> {
    let command = |words: &str| {
        let mut command = Cmd::new();
        for word in words.split(' ') {
            command.arg(if word == "KEY" { key } else { word });
        }
        command
    };
    // As the feed uses them: `+xread` alone may not be the right to wait.
    let tried = [
        ("+xadd", command("XADD KEY * e {}")),
        ("+pexpire", command("PEXPIRE KEY 1000")),
        ("+xtrim", command("XTRIM KEY MAXLEN ~ 10")),
        ("+xtrim", command("XTRIM KEY MINID 0")),
        ("+xrange", command("XRANGE KEY - + COUNT 1")),
        ("+xrevrange", command("XREVRANGE KEY + - COUNT 1")),
        ("+xread", command("XREAD COUNT 1 BLOCK 1 STREAMS KEY 0")),
        ("+del", command("DEL KEY")),
    ];
    let mut pipeline = Pipeline::with_capacity(tried.len());
    for (_, command) in &tried {
        pipeline.add_command(command.clone());
    }
    let answers = link.pipeline(&pipeline, tried.len()).await.map_err(|error| link.unavailable(&error))?;
    let mut missing: Vec<&str> = Vec::new();
    for ((rule, _), answer) in tried.iter().zip(answers) {
        let Err(error) = answer.extract_error() else { continue };
        if may_not(&error) {
            missing.push(rule);
        } else if let Some(condition) = reply::Outage::of(&ScriptError {
            code: error.code().unwrap_or_default().into(),
            message: String::new(),
        }) {
            return Err(link.refused(condition));
        } else {
            return Err(link.unavailable(&error));
        }
    }
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let pool = key.split_inclusive('}').next().unwrap_or_default();
    Err(unsuitable(&link.address(), lacks(&format!("{} on ~{pool}:*", missing.join(" ")))))
}

/// Subscribes to the pool's events.
pub(super) async fn subscribe(link: &Link, channel: &str) -> Result<(), StoreError> {
    link.subscribe(channel).await.map_err(|error| refused(&link.address(), &error, Step::Subscribe(channel)))
}

/// The user may load scripts but not run them, or not with the commands, keys (one of them is `key`) and channels
/// they use.
pub(super) fn denied(link: &Link, error: &ScriptError, key: &str) -> StoreError {
    let pool = key.split_inclusive('}').next().unwrap_or_default();
    let rules = format!("the commands of the scripts, ~{pool}:* and &{pool}:*");
    let address = link.address();
    if error.code == "NOPERM" {
        return unsuitable(&address, lacks(&format!("+evalsha, {rules}")));
    }
    let said = error.message.trim_end_matches('.');
    unsuitable(&address, lacks(&format!("{rules}: {said}")))
}

fn check_version(version: &str) -> Result<(), String> {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let known = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if known < OLDEST { Err(too_old(version)) } else { Ok(()) }
}

fn check_mode(mode: &str, expected: Topology) -> Result<(), String> {
    let (found, remedy) = match (mode, expected) {
        ("cluster", Topology::Cluster) => return Ok(()),
        ("cluster", _) => ("it is a node of a cluster", "as redis+cluster://host:port"),
        ("sentinel", _) => {
            ("it is a Sentinel", "as redis+sentinel://host:port/ and the name of the primary that it watches")
        }
        (_, Topology::Cluster) => ("it is no node of a cluster", "as redis://host:port"),
        _ => return Ok(()),
    };
    Err(format!("{found}; give its address {remedy}"))
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
        let mode = |mode, expected| check_mode(mode, expected).unwrap_err();
        assert!(mode("cluster", Topology::Single).contains("redis+cluster://"));
        assert!(mode("cluster", Topology::Sentinel).contains("redis+cluster://"));
        assert!(mode("sentinel", Topology::Single).contains("redis+sentinel://"));
        assert!(mode("standalone", Topology::Cluster).contains("redis://"));
        assert!(check_mode("standalone", Topology::Single).is_ok());
        assert!(check_mode("standalone", Topology::Sentinel).is_ok());
        assert!(check_mode("cluster", Topology::Cluster).is_ok());
        assert!(check_role("replica").unwrap_err().contains("address of the primary"));
        assert!(check_role("master").is_ok());
        assert!(check_eviction("allkeys-lru").unwrap_err().contains("maxmemory-policy noeviction"));
        assert!(check_eviction("noeviction").is_ok());
    }
}
