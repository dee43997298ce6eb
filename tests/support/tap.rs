//! A TCP proxy in front of Redis that takes down every script call with its reply, from all connections.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use antigravity_proxy::store::registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A call of a script.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    /// Its name in the registry.
    pub(crate) script: &'static str,
    pub(crate) keys: Vec<String>,
    pub(crate) args: Vec<String>,
    /// Errors come as a text that begins with `-`.
    pub(crate) reply: Vec<String>,
}

/// The running proxy; it ends with this value, and its connections with it.
pub(crate) struct Tap {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Called>>>,
    _accepting: JoinSet<()>,
}

/// A value of the protocol; what scripts have no use for is text.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(Vec<u8>),
    Items(Vec<Self>),
    /// Answers no command.
    Push,
}

impl Tap {
    /// In front of `upstream` (`host:port`), on a free port of the loopback interface.
    pub(crate) async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        let kept = Arc::clone(&calls);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { continue };
                        connections.spawn(serve(client, upstream.clone(), Arc::clone(&kept)));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { address, calls, _accepting: accepting }
    }

    /// `redis://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The calls so far, in the order of their replies.
    pub(crate) fn calls(&self) -> Vec<Called> {
        self.calls.lock().unwrap().clone()
    }
}

/// Commands that were sent and not answered yet; none for one that is no script's.
type Pending = Mutex<VecDeque<Option<Called>>>;

async fn serve(client: TcpStream, upstream: String, calls: Arc<Mutex<Vec<Called>>>) {
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let scripts: HashMap<String, &'static str> =
        registry::ALL.iter().map(|script| (script.sha1().to_owned(), script.name)).collect();
    let (pending, gone) = (Pending::default(), watch::Sender::new(false));
    let commands = async {
        let (mut buffer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(read @ 1..) = from_client.read(&mut piece).await {
            buffer.extend_from_slice(&piece[..read]);
            while let Some(command) = take(&mut buffer) {
                if let Some(call) = called(command, &scripts) {
                    pending.lock().unwrap().push_back(call);
                }
            }
            if to_server.write_all(&piece[..read]).await.is_err() {
                break;
            }
        }
        gone.send_replace(true);
        // The replies end the connection.
        std::future::pending::<()>().await;
    };
    let replies = async {
        let mut left = gone.subscribe();
        let (mut buffer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        // What was sent is answered also when nobody waits for the answer any more.
        while !*left.borrow() || !pending.lock().unwrap().is_empty() {
            let read = tokio::select! {
                read = from_server.read(&mut piece) => read,
                _ = left.changed() => continue,
            };
            let Ok(read @ 1..) = read else { return };
            buffer.extend_from_slice(&piece[..read]);
            while let Some(reply) = take(&mut buffer) {
                if reply == Value::Push {
                    continue;
                }
                if let Some(Some(call)) = pending.lock().unwrap().pop_front() {
                    calls.lock().unwrap().push(Called { reply: texts(reply), ..call });
                }
            }
            to_client.write_all(&piece[..read]).await.ok();
        }
    };
    tokio::select! {
        () = commands => {}
        () = replies => {}
    }
}

/// The call that a command is: nothing where no reply will come, a call of no script where it is something else.
#[expect(clippy::option_option, reason = "the outer one is whether an answer comes")]
fn called(command: Value, scripts: &HashMap<String, &'static str>) -> Option<Option<Called>> {
    let words = texts(command);
    let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    if name.ends_with("SUBSCRIBE") {
        return None;
    }
    let script = match (name.as_str(), words.get(1)) {
        ("EVALSHA", Some(hash)) => scripts.get(hash).copied(),
        ("EVAL", Some(text)) => {
            registry::ALL.iter().find(|script| script.source == text).map(|script| script.name)
        }
        _ => None,
    };
    let Some(script) = script else { return Some(None) };
    let keys: usize = words[2].parse().unwrap();
    let (keys, args) = words[3..].split_at(keys);
    Some(Some(Called { script, keys: keys.to_vec(), args: args.to_vec(), reply: Vec::new() }))
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::Text(text) => vec![String::from_utf8_lossy(&text).into_owned()],
        Value::Items(items) => items.into_iter().flat_map(texts).collect(),
        Value::Push => Vec::new(),
    }
}

/// Takes the first whole value off `bytes`.
fn take(bytes: &mut Vec<u8>) -> Option<Value> {
    let mut at = 0;
    let value = value(bytes, &mut at)?;
    bytes.drain(..at);
    Some(value)
}

/// The value at `at`, which goes behind it, when it is whole.
fn value(bytes: &[u8], at: &mut usize) -> Option<Value> {
    let rest = &bytes[*at..];
    let head = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, text) = (rest[0], &rest[1..head]);
    let count = std::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
    *at += head + 2;
    match (kind, count) {
        (b'$' | b'=' | b'!', Some(size)) => {
            let text = bytes.get(*at..*at + size)?.to_vec();
            *at += size + 2;
            (bytes.len() >= *at).then_some(Value::Text(text))
        }
        (b'*' | b'~' | b'%' | b'>', Some(count)) => {
            let count = if kind == b'%' { count * 2 } else { count };
            let items: Option<Vec<_>> = (0..count).map(|_| value(bytes, at)).collect();
            items.map(|items| if kind == b'>' { Value::Push } else { Value::Items(items) })
        }
        (b'-', _) => Some(Value::Text([b"-", text].concat())),
        _ => Some(Value::Text(text.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, take};

    #[test]
    fn values_are_taken_when_they_are_whole() {
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        let whole = b"*3\r\n$2\r\nOK\r\n:7\r\n*1\r\n$0\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(take(&mut whole[..cut].to_vec()), None, "{cut}");
        }
        let mut bytes = [whole.as_slice(), b">1\r\n+message\r\n-ERR no\r\n$-1\r\n"].concat();
        let inner = Value::Items(vec![text("")]);
        assert_eq!(take(&mut bytes), Some(Value::Items(vec![text("OK"), text("7"), inner])));
        assert_eq!(take(&mut bytes), Some(Value::Push));
        assert_eq!(take(&mut bytes), Some(text("-ERR no")));
        assert_eq!(take(&mut bytes), Some(text("-1")));
        assert!(bytes.is_empty());
    }
}
