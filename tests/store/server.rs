//! Servers beside the embedded store: plain commands, scripts, and their contents as text.

use std::fmt::Write as _;
use std::path::PathBuf;

use antigravity_proxy::store::host::{Reply, ScriptError};
use redis::{Connection, RedisError, Value};

use crate::redis_server::{Flavour, RedisServer};
use crate::topology::Cluster;

/// The hash tag of the suite's pool.
const POOL: &str = "{test}";

/// A server and a connection to it; it ends with this value.
pub(crate) struct Server {
    /// What it is called.
    pub(crate) name: &'static str,
    deployment: Deployment,
    connection: Connection,
}

enum Deployment {
    Single(RedisServer),
    /// The server is the owner of the suite's pool.
    Cluster(Cluster),
}

impl Server {
    /// One of each flavour that is installed; the others are named.
    pub(crate) fn each() -> Vec<Self> {
        Flavour::ALL.into_iter().filter_map(Self::start).collect()
    }

    /// A server that keeps nothing; `None`, with a line that says so, where it is not installed.
    pub(crate) fn start(flavour: Flavour) -> Option<Self> {
        flavour.installed().then(|| {
            let process = RedisServer::with(flavour, &["--save", "", "--appendonly", "no"]);
            let connection = process.connect();
            Self { name: flavour.name(), deployment: Deployment::Single(process), connection }
        })
    }

    /// A cluster of three primaries, one of which holds the suite's pool.
    pub(crate) fn cluster() -> Option<Self> {
        Flavour::Redis7.installed().then(|| {
            let cluster = Cluster::start(Flavour::Redis7);
            let connection = cluster.node_of(POOL).connect();
            Self { name: "Redis Cluster", deployment: Deployment::Cluster(cluster), connection }
        })
    }

    fn process(&self) -> &RedisServer {
        match &self.deployment {
            Deployment::Single(process) => process,
            Deployment::Cluster(cluster) => cluster.node_of(POOL),
        }
    }

    /// Where `redis-cli -s` finds it.
    pub(crate) fn socket(&self) -> PathBuf {
        self.process().socket()
    }

    /// Where the product finds it.
    pub(crate) fn url(&self) -> String {
        match &self.deployment {
            Deployment::Single(process) => process.socket_url(),
            Deployment::Cluster(cluster) => cluster.url(),
        }
    }

    /// Another connection.
    pub(crate) fn connect(&self) -> Connection {
        self.process().connect()
    }

    /// Sends one command and reads its reply.
    pub(crate) fn command(&mut self, words: &[&[u8]]) -> Reply {
        let mut command = redis::Cmd::new();
        command.arg(words);
        reply(command.query(&mut self.connection))
    }

    /// The same text as `EmbeddedHost::dump`, once that went through [`by_value`].
    pub(crate) fn dump(&mut self) -> String {
        let mut keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut self.connection).unwrap();
        keys.sort();
        let mut out = String::new();
        for key in keys {
            let expires = self.expires_at(&key).map_or_else(|| "-".to_owned(), |at| at.to_string());
            let kind: String = redis::cmd("TYPE").arg(&key).query(&mut self.connection).unwrap();
            write!(out, "\"{}\" expires={expires} {kind}", key.escape_ascii()).unwrap();
            match kind.as_str() {
                "string" => {
                    let value = self.command(&[b"GET", &key]);
                    write!(out, " \"{}\"", value.as_bytes().unwrap().escape_ascii()).unwrap();
                }
                "hash" => {
                    let items = flat(&self.command(&[b"HGETALL", &key]));
                    let mut pairs: Vec<_> = items.chunks(2).collect();
                    pairs.sort();
                    for pair in pairs {
                        write!(out, " \"{}\"=\"{}\"", pair[0].escape_ascii(), pair[1].escape_ascii())
                            .unwrap();
                    }
                }
                "zset" => {
                    let items: Vec<(Vec<u8>, f64)> = redis::cmd("ZRANGE")
                        .arg(&key)
                        .arg(&[b"0", b"-1" as &[u8], b"WITHSCORES"])
                        .query(&mut self.connection)
                        .unwrap();
                    for (member, score) in items {
                        write!(out, " \"{}\"={}", member.escape_ascii(), shown(score)).unwrap();
                    }
                }
                other => panic!("no script makes a {other}"),
            }
            out.push('\n');
        }
        out
    }

    /// When `key` ends, in ms since the epoch. Redis 6.2 has no `PEXPIRETIME`: what is left, asked for within one
    /// millisecond of the server's clock, says it as exactly.
    fn expires_at(&mut self, key: &[u8]) -> Option<i64> {
        loop {
            let mut asked = redis::pipe();
            asked.cmd("TIME").cmd("PTTL").arg(key).cmd("TIME");
            let (before, left, after): ((i64, i64), i64, (i64, i64)) =
                asked.query(&mut self.connection).unwrap();
            let ms = |(seconds, micros): (i64, i64)| seconds * 1000 + micros / 1000;
            match left {
                ..0 => return None,
                _ if ms(before) == ms(after) => return Some(ms(after) + left),
                _ => {}
            }
        }
    }
}

/// A dump with scores in the fewest digits, as newer servers write them; older ones and the embedded store write 17.
pub(crate) fn by_value(dump: &str) -> String {
    let line = |line: &str| {
        if !line.contains(" zset ") {
            return line.to_owned();
        }
        let words: Vec<_> = line
            .split(' ')
            .map(|word| match word.rsplit_once('=').map(|(member, score)| (member, score.parse::<f64>())) {
                Some((member, Ok(score))) if member.ends_with('"') => format!("{member}={}", shown(score)),
                _ => word.to_owned(),
            })
            .collect();
        words.join(" ")
    };
    dump.lines().map(|text| line(text) + "\n").collect()
}

/// A score in the fewest digits. Only older servers tell -0 from 0.
pub(crate) fn shown(score: f64) -> String {
    (score + 0.0).to_string()
}

fn flat(reply: &Reply) -> Vec<Vec<u8>> {
    reply.as_array().unwrap().iter().map(|item| item.as_bytes().unwrap().to_vec()).collect()
}

pub(crate) fn reply(answer: Result<Value, RedisError>) -> Reply {
    let error = |code: Option<&str>, detail: Option<&str>| {
        Reply::Error(ScriptError::parse(&format!("{} {}", code.unwrap_or("ERR"), detail.unwrap_or_default())))
    };
    match answer {
        Ok(Value::Nil) => Reply::Nil,
        Ok(Value::Int(value)) => Reply::Int(value),
        Ok(Value::BulkString(bytes)) => Reply::Bulk(bytes.into()),
        Ok(Value::SimpleString(text)) => Reply::Status(text),
        Ok(Value::Okay) => Reply::Status("OK".into()),
        Ok(Value::Array(items)) => Reply::Array(items.into_iter().map(|item| reply(Ok(item))).collect()),
        Ok(Value::ServerError(failure)) => error(Some(failure.code()), failure.details()),
        Ok(other) => panic!("unexpected reply {other:?}"),
        Err(failure) => error(failure.code(), failure.detail()),
    }
}
