//! The keyspace written out: as commands that rebuild it, and as text to compare two stores by.

use std::fmt::Write as _;

use super::keyspace::{Entry, Keyspace};
use super::number::push_double;
use super::resp;
use super::value::Value;

/// Fields or members per command.
const CHUNK: usize = 512;
/// Bytes of commands per batch of a snapshot, roughly.
const BATCH_BYTES: usize = 64 << 10;

/// Appends the commands that make `key` what it is.
fn push_key(out: &mut Vec<u8>, key: &[u8], entry: &Entry) {
    match &entry.value {
        Value::Text(text) => resp::push_command(out, &[b"SET", key, text]),
        Value::Hash(fields) => {
            let fields: Vec<_> = fields.iter().collect();
            for chunk in fields.chunks(CHUNK) {
                resp::push_head(out, 2 + 2 * chunk.len());
                resp::push_arg(out, b"HSET");
                resp::push_arg(out, key);
                for (name, value) in chunk {
                    resp::push_arg(out, name);
                    resp::push_arg(out, value);
                }
            }
        }
        Value::Sorted(set) => {
            let members: Vec<_> = set.iter().collect();
            let mut text = Vec::with_capacity(24);
            for chunk in members.chunks(CHUNK) {
                resp::push_head(out, 2 + 2 * chunk.len());
                resp::push_arg(out, b"ZADD");
                resp::push_arg(out, key);
                for (member, score) in chunk {
                    text.clear();
                    push_double(&mut text, *score);
                    resp::push_arg(out, &text);
                    resp::push_arg(out, member);
                }
            }
        }
    }
    if let Some(at) = entry.expires_at {
        resp::push_command(out, &[b"PEXPIREAT", key, at.to_string().as_bytes()]);
    }
}

/// The whole keyspace as journal batches.
pub(super) fn snapshot(keyspace: &Keyspace, now: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut commands = Vec::new();
    for (key, entry) in keyspace.live(now) {
        push_key(&mut commands, key, entry);
        if commands.len() >= BATCH_BYTES {
            resp::push_batch(&mut out, &commands);
            commands.clear();
        }
    }
    if !commands.is_empty() {
        resp::push_batch(&mut out, &commands);
    }
    out
}

/// The whole keyspace as plain commands, for `redis-cli --pipe`.
pub(super) fn export(keyspace: &Keyspace, now: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, entry) in keyspace.live(now) {
        push_key(&mut out, key, entry);
    }
    out
}

/// The names of keys that begin with `prefix`; keys that are no text are none of a pool's.
pub(super) fn names(keyspace: &Keyspace, prefix: &str, now: i64) -> Vec<String> {
    let names = keyspace.live(now).into_iter().filter(|(key, _)| key.starts_with(prefix.as_bytes()));
    names.filter_map(|(key, _)| std::str::from_utf8(key).ok().map(str::to_owned)).collect()
}

/// One line per key, by name: `"key" expires=<ms or -> <type> <content>`, bytes escaped as in a Rust string.
pub(super) fn dump(keyspace: &Keyspace, now: i64) -> String {
    let mut out = String::new();
    for (key, entry) in keyspace.live(now) {
        let expires = entry.expires_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let kind = entry.value.type_name();
        // Writing to a `String` cannot fail.
        let _ = write!(out, "\"{}\" expires={expires} {kind}", key.escape_ascii());
        match &entry.value {
            Value::Text(text) => {
                let _ = write!(out, " \"{}\"", text.escape_ascii());
            }
            Value::Hash(fields) => {
                for (name, value) in fields {
                    let _ = write!(out, " \"{}\"=\"{}\"", name.escape_ascii(), value.escape_ascii());
                }
            }
            Value::Sorted(set) => {
                for (member, score) in set.iter() {
                    let mut text = Vec::new();
                    push_double(&mut text, score);
                    let _ = write!(out, " \"{}\"={}", member.escape_ascii(), text.escape_ascii());
                }
            }
        }
        out.push('\n');
    }
    out
}
