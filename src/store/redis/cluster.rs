//! Which node of a cluster owns a pool.

use redis::{Cmd, FromRedisValue as _, Value};

use crate::config::RedisNode;

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// The nodes of a cluster, as one of them sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// The primary that owns the slot that was asked for.
    pub(super) owner: Option<RedisNode>,
    /// All nodes that own slots or copy an owner.
    pub(super) nodes: Vec<RedisNode>,
}

/// The slot of `key`: that of its hash tag where it has one.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the cluster specification names it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _bit| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// Asks a node for all slots.
pub(super) fn question() -> Cmd {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    command
}

/// The answer of `asked` to [`question`]: rows of first slot, last slot, primary, replicas, where each node is its
/// host, port and more.
pub(super) fn read(answer: Value, slot: u16, asked: &RedisNode) -> Slots {
    let mut slots = Slots { owner: None, nodes: Vec::new() };
    let Value::Array(rows) = answer else { return slots };
    for row in rows {
        let Value::Array(row) = row else { continue };
        let mut row = row.into_iter();
        let (Some(Value::Int(first)), Some(Value::Int(last))) = (row.next(), row.next()) else { continue };
        for (at, value) in row.enumerate() {
            let Some(node) = node(value, asked) else { continue };
            if at == 0 && (first..=last).contains(&i64::from(slot)) {
                slots.owner = Some(node.clone());
            }
            if !slots.nodes.contains(&node) {
                slots.nodes.push(node);
            }
        }
    }
    slots
}

fn node(value: Value, asked: &RedisNode) -> Option<RedisNode> {
    let Value::Array(fields) = value else { return None };
    let mut fields = fields.into_iter();
    let host = match fields.next()? {
        // The node does not know its own name: the one that it was reached by serves.
        Value::Nil => String::new(),
        text => String::from_redis_value(text).ok()?,
    };
    let port = u16::from_redis_value(fields.next()?).ok()?;
    named(&host, port, asked)
}

/// The node at `host`; none where the cluster does not know its name yet.
fn named(host: &str, port: u16, asked: &RedisNode) -> Option<RedisNode> {
    let host = match host {
        "?" => return None,
        "" => asked.host.clone(),
        name => name.to_owned(),
    };
    Some(RedisNode { host, port })
}

/// Where `MOVED` points to: `<slot> <host>:<port>`, told by the node `asked`.
pub(super) fn target(details: &str, asked: &RedisNode) -> Option<RedisNode> {
    let (host, port) = details.split_whitespace().nth(1)?.rsplit_once(':')?;
    named(host, port.parse().ok()?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> RedisNode {
        RedisNode { host: host.into(), port }
    }

    #[test]
    fn slots_of_keys() {
        // Check value of the CRC; the others as `CLUSTER KEYSLOT` answers.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("agp:v1:{foo}:ev"), 12_182);
        assert_eq!(slot("{}foo"), 9_500);
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
    }

    #[test]
    fn the_owner_is_the_first_node_of_its_row() {
        let text = |text: &str| Value::BulkString(text.into());
        let named = |host: &str, port| {
            Value::Array(vec![text(host), Value::Int(port), text("id"), Value::Array(Vec::new())])
        };
        let row = |first, last, nodes: Vec<Value>| {
            Value::Array([vec![first, last].into_iter().map(Value::Int).collect(), nodes].concat())
        };
        let asked = node("seed", 7);
        let answer = Value::Array(vec![
            row(0, 99, vec![named("a", 1), named("b", 2)]),
            row(100, 16_383, vec![named("", 3), named("?", 4), named("a", 1)]),
        ]);
        let nodes = vec![node("a", 1), node("b", 2), node("seed", 3)];
        let expected = |owner| Slots { owner: Some(owner), nodes: nodes.clone() };
        assert_eq!(read(answer.clone(), 99, &asked), expected(node("a", 1)));
        assert_eq!(read(answer, 100, &asked), expected(node("seed", 3)));
        assert_eq!(read(Value::Nil, 1, &asked), Slots { owner: None, nodes: Vec::new() });
    }

    #[test]
    fn where_moved_points_to() {
        let asked = node("seed", 7);
        assert_eq!(target("3999 127.0.0.1:6381", &asked), Some(node("127.0.0.1", 6381)));
        assert_eq!(target("3999 ::1:6381", &asked), Some(node("::1", 6381)));
        assert_eq!(target("3999 :6381", &asked), Some(node("seed", 6381)));
        for wrong in ["", "3999", "3999 a", "3999 ?:1", "3999 a:b"] {
            assert_eq!(target(wrong, &asked), None, "{wrong}");
        }
    }
}
