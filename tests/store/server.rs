//! A real `redis-server` as script host: on a unix socket in its own directory, ended with its handle.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use antigravity_proxy::store::host::{Arg, Call, Event, Reply, ScriptError, ScriptHost, StoreError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, broadcast};
use tokio::task::JoinSet;

/// A server and a connection to it.
pub(crate) struct Redis {
    connection: Mutex<BufReader<UnixStream>>,
    events: broadcast::Sender<Event>,
    _listener: JoinSet<()>,
    _server: Child,
    _dir: tempfile::TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("redis.sock");
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed");
        let mut listening = connect(&socket).await;
        listening.write_all(&command(&[b"PSUBSCRIBE", b"*"])).await.unwrap();
        read(&mut listening).await;
        let (events, _) = broadcast::channel(1024);
        let sender = events.clone();
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            while let Reply::Array(parts) = read(&mut listening).await {
                let [_, _, channel, Reply::Bulk(payload)] = &parts[..] else { continue };
                let channel = channel.as_str().unwrap().to_owned();
                drop(sender.send(Event::Message { channel, payload: payload.clone() }));
            }
        });
        Self {
            connection: Mutex::new(connect(&socket).await),
            events,
            _listener: listener,
            _server: server,
            _dir: dir,
        }
    }

    /// Runs one plain command.
    pub(crate) async fn run(&self, parts: &[&[u8]]) -> Reply {
        let mut connection = self.connection.lock().await;
        connection.write_all(&command(parts)).await.unwrap();
        read(&mut connection).await
    }
}

impl ScriptHost for Redis {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        Box::pin(async move {
            let mut connection = self.connection.lock().await;
            let mut text = Vec::new();
            for call in &batch {
                let count = call.keys.len().to_string();
                let mut parts: Vec<&[u8]> = vec![b"EVAL", call.script.source.as_bytes(), count.as_bytes()];
                parts.extend(call.keys.iter().map(String::as_bytes));
                parts.extend(call.args.iter().map(Arg::as_bytes));
                text.extend(command(&parts));
            }
            connection.write_all(&text).await.unwrap();
            let mut replies = Vec::with_capacity(batch.len());
            for _ in &batch {
                replies.push(read(&mut connection).await);
            }
            Ok(replies)
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

async fn connect(socket: &Path) -> BufReader<UnixStream> {
    let attempts = async {
        loop {
            if let Ok(stream) = UnixStream::connect(socket).await {
                return BufReader::new(stream);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), attempts).await.expect("redis-server starts")
}

fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        text.extend(format!("${}\r\n", part.len()).into_bytes());
        text.extend_from_slice(part);
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn read(connection: &mut BufReader<UnixStream>) -> BoxFuture<'_, Reply> {
    Box::pin(async move {
        let mut line = String::new();
        if connection.read_line(&mut line).await.unwrap_or(0) == 0 {
            return Reply::Nil;
        }
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "+" => Reply::Status(rest.into()),
            "-" => Reply::Error(ScriptError::parse(rest)),
            ":" => Reply::Int(rest.parse().unwrap()),
            "$" => {
                let Ok(length) = rest.parse::<usize>() else { return Reply::Nil };
                let mut bytes = vec![0; length + 2];
                connection.read_exact(&mut bytes).await.unwrap();
                bytes.truncate(length);
                Reply::Bulk(Bytes::from(bytes))
            }
            "*" => {
                let Ok(length) = rest.parse::<usize>() else { return Reply::Nil };
                let mut items = Vec::with_capacity(length);
                for _ in 0..length {
                    items.push(read(connection).await);
                }
                Reply::Array(items)
            }
            other => panic!("unexpected reply {other}{rest}"),
        }
    })
}
