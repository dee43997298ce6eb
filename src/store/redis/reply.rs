//! Replies and errors of the server in the store's own terms.

use std::fmt;

use bytes::Bytes;
use redis::Value;

use crate::store::host::{Reply, ScriptError};

/// A reply of a script.
pub(super) fn read(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(Bytes::from(bytes)),
        Value::SimpleString(text) => Reply::Status(text),
        Value::Okay => Reply::Status("OK".into()),
        Value::Array(items) => Reply::Array(items.into_iter().map(read).collect()),
        Value::ServerError(error) => {
            Reply::Error(script_error(error.code(), error.details().unwrap_or_default()))
        }
        // Scripts have no way to answer with anything else.
        other => {
            Reply::Error(ScriptError { code: "ERR".into(), message: format!("unexpected reply {other:?}") })
        }
    }
}

/// The error without what servers wrap around one that was raised in a script. Redis 7 and Valkey append where it
/// was raised; Redis 6.2 puts that in front and hides the code behind it:
///
/// ```text
/// WRONGTYPE Operation … script: <sha1>, on @user_script:7.
/// ERR Error running script (call to f_<sha1>): @user_script:7: WRONGTYPE Operation …
/// ERR Error running script (call to f_<sha1>): @user_script:7: @user_script: 7: -READONLY You can't write …
/// ```
fn script_error(code: &str, details: &str) -> ScriptError {
    if code == "ERR"
        && let Some(raised) = details.strip_prefix("Error running script (call to f_")
        && let Some((_, raised)) = raised.split_once("): ")
    {
        let raised = behind_place(raised, "@user_script:");
        let raised = behind_place(raised, "@user_script: ");
        return ScriptError::parse(raised.strip_prefix('-').unwrap_or(raised));
    }
    let message = match details.rsplit_once(" script: ") {
        Some((message, place)) if place.contains(", on @user_script:") => message,
        _ => details,
    };
    ScriptError { code: code.into(), message: message.into() }
}

/// `text` behind `<mark><number>: `.
fn behind_place<'t>(text: &'t str, mark: &str) -> &'t str {
    text.strip_prefix(mark)
        .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()))
        .and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or(text)
}

/// Whether the user's access rules refused a script, or a command, key or channel in one; the latter has no code of
/// its own, and other words in Valkey.
pub(super) fn is_denial(error: &ScriptError) -> bool {
    let words = ["The user executing the script can't ", "ACL failure in script: "];
    error.code == "NOPERM" || words.iter().any(|start| error.message.starts_with(start))
}

/// Conditions of the server that end by themselves or by its operator's hand; meanwhile nothing works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    Loading,
    ReadOnly,
    PrimaryGone,
    ClusterDown,
    Moving,
    Busy,
    NoDisk,
    NoMemory,
    NoReplicas,
    Credentials,
}

impl Outage {
    /// The condition that `error` reports, by its code (redis.io, "Errors").
    pub(super) fn of(error: &ScriptError) -> Option<Self> {
        Some(match error.code.as_str() {
            "LOADING" => Self::Loading,
            "READONLY" => Self::ReadOnly,
            "MASTERDOWN" => Self::PrimaryGone,
            "CLUSTERDOWN" => Self::ClusterDown,
            "MOVED" | "ASK" | "TRYAGAIN" => Self::Moving,
            "BUSY" => Self::Busy,
            "MISCONF" => Self::NoDisk,
            "OOM" => Self::NoMemory,
            "NOREPLICAS" => Self::NoReplicas,
            "NOAUTH" | "WRONGPASS" => Self::Credentials,
            _ => return None,
        })
    }

    /// Whether another connection may find a better peer behind the same address.
    pub(super) fn is_about_the_peer(self) -> bool {
        matches!(self, Self::ReadOnly | Self::PrimaryGone | Self::Credentials)
    }

    /// Whether the pool may be elsewhere by now.
    pub(super) fn is_about_the_place(self) -> bool {
        matches!(self, Self::ClusterDown | Self::Moving)
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loading => "is loading its data",
            Self::ReadOnly => "is a read-only replica: give the address of the primary",
            Self::Moving => "does not hold the pool, which moves from one node to another",
            Self::PrimaryGone => "is a replica that has lost its primary",
            Self::ClusterDown => "belongs to a cluster that is down",
            Self::Busy => "is busy with another client's script",
            Self::NoDisk => "refuses writes because it cannot save to its disk",
            Self::NoMemory => "refuses writes because its maxmemory is used up",
            Self::NoReplicas => "refuses writes because it has too few replicas (min-replicas-to-write)",
            Self::Credentials => "no longer accepts this gateway's credentials",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_the_same_whichever_server_raised_them() {
        let sha = "18cba4488128aba82fa56e01503e9bea8a471422";
        for (code, details) in [
            ("WRONGTYPE", format!("Operation against a key script: {sha}, on @user_script:1.")),
            (
                "ERR",
                format!(
                    "Error running script (call to f_{sha}): @user_script:12: WRONGTYPE Operation against a key"
                ),
            ),
            (
                "ERR",
                format!(
                    "Error running script (call to f_{sha}): @user_script:1: @user_script: 1: -WRONGTYPE Operation against a key"
                ),
            ),
            ("WRONGTYPE", "Operation against a key".to_owned()),
        ] {
            let error = script_error(code, &details);
            assert_eq!(
                (error.code.as_str(), error.message.as_str()),
                ("WRONGTYPE", "Operation against a key")
            );
        }
        let own = script_error("SETTLED", "this attempt has ended");
        assert_eq!((own.code.as_str(), own.message.as_str()), ("SETTLED", "this attempt has ended"));
    }

    #[test]
    fn a_refusal_by_access_rules_is_known_whoever_says_it() {
        let raised = " script: 08be99c76f7a10d96dc9ea23ee73a858e02d5ce8, on @user_script:1.";
        let command = "The user executing the script can't run this command or subcommand";
        for (code, details) in [
            ("NOPERM", "this user has no permissions to run the 'evalsha' command".to_owned()),
            ("ERR", format!("{command}{raised}")),
            (
                "ERR",
                format!("Error running script (call to f_08): @user_script:1: @user_script: 1: {command}"),
            ),
            (
                "ERR",
                format!("ACL failure in script: User g has no permissions to run the 'hset' command{raised}"),
            ),
        ] {
            assert!(is_denial(&script_error(code, &details)), "{details}");
        }
        assert!(!is_denial(&script_error("ERR", "unknown command")));
    }

    #[test]
    fn a_server_that_cannot_work_is_told_from_a_script_that_fails() {
        let outage = |text| Outage::of(&ScriptError::parse(text));
        assert_eq!(outage("READONLY You can't write"), Some(Outage::ReadOnly));
        assert_eq!(outage("LOADING Redis is loading"), Some(Outage::Loading));
        assert_eq!(outage("MOVED 3999 127.0.0.1:6381"), Some(Outage::Moving));
        assert_eq!(outage("WRONGTYPE Operation"), None);
        assert_eq!(outage("SETTLED this attempt has ended"), None);
    }
}
