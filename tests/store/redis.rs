//! A private `redis-server` on a unix socket, and just enough of a client.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use antigravity_proxy::store::host::{Reply, ScriptError};
use tempfile::TempDir;

/// A running server; it ends with this value.
pub(crate) struct Redis {
    child: Child,
    dir: TempDir,
    stream: BufReader<UnixStream>,
}

impl Redis {
    /// Starts a server; `None`, with a line that says so, where there is none.
    pub(crate) fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            println!("skipped: redis-server not found");
            return None;
        };
        for _ in 0..1000 {
            if let Ok(stream) = UnixStream::connect(&socket) {
                return Some(Self { child, dir, stream: BufReader::new(stream) });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("redis-server did not start");
    }

    /// Where `redis-cli -s` finds it.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Sends one command and reads its reply.
    pub(crate) fn command(&mut self, words: &[&[u8]]) -> Reply {
        let mut out = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            out.extend(format!("${}\r\n", word.len()).into_bytes());
            out.extend(*word);
            out.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&out).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "+" => Reply::Status(rest.into()),
            "-" => Reply::Error(ScriptError::parse(rest)),
            ":" => Reply::Int(rest.parse().unwrap()),
            _ if rest == "-1" => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(bytes.into())
            }
            "*" => Reply::Array((0..rest.parse().unwrap()).map(|_| self.reply()).collect()),
            other => panic!("unexpected reply kind {other}"),
        }
    }

    /// The same text as `EmbeddedHost::dump`.
    pub(crate) fn dump(&mut self) -> String {
        let mut keys = flat(&self.command(&[b"KEYS", b"*"]));
        keys.sort();
        let mut out = String::new();
        for key in keys {
            let expires = match self.command(&[b"PEXPIRETIME", &key]) {
                Reply::Int(at) if at >= 0 => at.to_string(),
                _ => "-".into(),
            };
            let kind = self.command(&[b"TYPE", &key]);
            let kind = kind.as_str().unwrap().to_owned();
            let mut content = String::new();
            match kind.as_str() {
                "string" => {
                    let value = self.command(&[b"GET", &key]);
                    content = format!(" \"{}\"", value.as_bytes().unwrap().escape_ascii());
                }
                "hash" => {
                    let items = flat(&self.command(&[b"HGETALL", &key]));
                    let mut pairs: Vec<_> = items.chunks(2).collect();
                    pairs.sort();
                    for pair in pairs {
                        write!(content, " \"{}\"=\"{}\"", pair[0].escape_ascii(), pair[1].escape_ascii())
                            .unwrap();
                    }
                }
                _ => {
                    let items = flat(&self.command(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]));
                    for pair in items.chunks(2) {
                        write!(content, " \"{}\"={}", pair[0].escape_ascii(), pair[1].escape_ascii())
                            .unwrap();
                    }
                }
            }
            writeln!(out, "\"{}\" expires={expires} {kind}{content}", key.escape_ascii()).unwrap();
        }
        out
    }
}

fn flat(reply: &Reply) -> Vec<Vec<u8>> {
    reply.as_array().unwrap().iter().map(|item| item.as_bytes().unwrap().to_vec()).collect()
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
