//! A TCP proxy between a gateway and its Redis: it fails on demand and takes down what passes.
//!
//! Commands and replies are followed on each connection, so that a test can tell how often a request went to the
//! store and came back, and with which scripts.

#![allow(dead_code, reason = "each suite uses its part")]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use antigravity_proxy::store::registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to bytes on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// They wait here until the mode changes; none is lost.
    Stall,
    /// They are lost, as with a peer that vanished without closing; such a connection is closed when the mode ends.
    Swallow,
    /// Replies arrive as something else.
    Garbage,
}

/// Commands of one connection that were sent before any of them was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Which connection, counted from the proxy's start.
    pub(crate) connection: usize,
    /// A script by its name in the registry, anything else by its command, in upper case.
    pub(crate) commands: Vec<String>,
}

/// The running proxy; it ends with this value, and its connections with it.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

struct Shared {
    upstream: String,
    mode: watch::Sender<Mode>,
    refusing: AtomicBool,
    cuts: watch::Sender<u64>,
    connections: AtomicUsize,
    turns: Mutex<Vec<Turn>>,
    scripts: HashMap<String, &'static str>,
}

impl FaultProxy {
    /// In front of `upstream` (`host:port`), on a free port of the loopback interface.
    pub(crate) async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scripts = registry::ALL.iter().map(|script| (sha1(script.source), script.name)).collect();
        let shared = Arc::new(Shared {
            upstream,
            mode: watch::Sender::new(Mode::Pass),
            refusing: AtomicBool::new(false),
            cuts: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            turns: Mutex::default(),
            scripts,
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _accepting: accepting }
    }

    /// `redis://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// What happens to bytes from now on, on all connections.
    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Closes every connection.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Closes new connections at once (`true`), or serves them again.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
    }

    /// How many connections were served.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The turns so far, in the order in which they began.
    pub(crate) fn turns(&self) -> Vec<Turn> {
        self.shared.turns.lock().unwrap().clone()
    }

    /// The commands of each turn that has any other than those of `background`, which are left out.
    pub(crate) fn turns_without(&self, background: &[&str]) -> Vec<Vec<String>> {
        let own = |turn: Turn| -> Vec<String> {
            turn.commands.into_iter().filter(|command| !background.contains(&command.as_str())).collect()
        };
        self.turns().into_iter().map(own).filter(|commands| !commands.is_empty()).collect()
    }

    /// Forgets the turns so far.
    pub(crate) fn forget(&self) {
        self.shared.turns.lock().unwrap().clear();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if !shared.refusing.load(Ordering::SeqCst) {
                    connections.spawn(serve(client, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Ends when either side closes, or at a cut; both sockets close with it.
async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let relayed = async {
        let server = TcpStream::connect(&shared.upstream).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
        let line = Line {
            shared: &shared,
            connection,
            tainted: AtomicBool::new(false),
            following: Mutex::default(),
        };
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        tokio::select! {
            ended = line.pass(&mut from_client, &mut to_server, Direction::Commands) => ended,
            ended = line.pass(&mut from_server, &mut to_client, Direction::Replies) => ended,
        }
    };
    tokio::select! {
        _ = relayed => {}
        _ = cuts.changed() => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Commands,
    Replies,
}

/// One connection.
struct Line<'s> {
    shared: &'s Shared,
    connection: usize,
    /// Bytes were lost, so what follows makes no sense to the other side.
    tainted: AtomicBool,
    following: Mutex<Following>,
}

#[derive(Default)]
struct Following {
    commands: Vec<u8>,
    replies: Vec<u8>,
    /// Where the turn under way stands in the list; none once a reply came.
    turn: Option<usize>,
}

impl Line<'_> {
    async fn pass(
        &self,
        from: &mut (impl tokio::io::AsyncRead + Unpin),
        to: &mut (impl tokio::io::AsyncWrite + Unpin),
        direction: Direction,
    ) -> io::Result<()> {
        let mut mode = self.shared.mode.subscribe();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            // The sender of the modes lives as long as this connection.
            let now = *mode.wait_for(|mode| *mode != Mode::Stall).await.map_err(io::Error::other)?;
            match now {
                Mode::Swallow => self.tainted.store(true, Ordering::SeqCst),
                _ if self.tainted.load(Ordering::SeqCst) => return Ok(()),
                Mode::Garbage if direction == Direction::Replies => {
                    to.write_all(b"?\xff\x00nonsense\r\n\r\n").await?;
                }
                Mode::Pass | Mode::Garbage | Mode::Stall => {
                    self.follow(direction, &buffer[..read]);
                    to.write_all(&buffer[..read]).await?;
                }
            }
        }
    }

    fn follow(&self, direction: Direction, bytes: &[u8]) {
        let following = &mut *self.following.lock().unwrap();
        match direction {
            Direction::Commands => {
                following.commands.extend_from_slice(bytes);
                while let Some(words) = take_value(&mut following.commands) {
                    let mut turns = self.shared.turns.lock().unwrap();
                    // Positions are void after `forget`.
                    let open = following
                        .turn
                        .filter(|at| turns.get(*at).is_some_and(|turn| turn.connection == self.connection));
                    let at = open.unwrap_or_else(|| {
                        turns.push(Turn { connection: self.connection, commands: Vec::new() });
                        turns.len() - 1
                    });
                    turns[at].commands.push(self.shared.name(&words));
                    following.turn = Some(at);
                }
            }
            Direction::Replies => {
                following.replies.extend_from_slice(bytes);
                while let Some(pushed) = take_reply(&mut following.replies) {
                    if !pushed {
                        following.turn = None;
                    }
                }
            }
        }
    }
}

impl Shared {
    fn name(&self, words: &[String]) -> String {
        let command = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        let hash = match (command.as_str(), words.get(1)) {
            ("EVALSHA", Some(hash)) => hash.clone(),
            ("EVAL", Some(text)) => sha1(text),
            _ => return command,
        };
        self.scripts.get(&hash).map_or(command, |name| (*name).to_owned())
    }
}

/// As Redis names a script.
fn sha1(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}

/// Takes the first whole value off `bytes`: its first two strings.
fn take_value(bytes: &mut Vec<u8>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let length = length(bytes, &mut words)?;
    bytes.drain(..length);
    Some(words)
}

/// Takes the first whole reply off `bytes`: whether it is a push, which answers no command.
fn take_reply(bytes: &mut Vec<u8>) -> Option<bool> {
    let pushed = bytes.first() == Some(&b'>');
    take_value(bytes).map(|_| pushed)
}

/// The length of the RESP value at the start of `bytes`, when it is whole; its first two strings go to `words`.
fn length(bytes: &[u8], words: &mut Vec<String>) -> Option<usize> {
    let head = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, count) = (bytes[0], std::str::from_utf8(&bytes[1..head]).unwrap_or_default());
    let after = head + 2;
    match kind {
        b'$' | b'!' | b'=' => {
            // Null is -1 without a body.
            let Ok(size) = count.parse::<usize>() else { return Some(after) };
            let text = bytes.get(after..after + size)?;
            if words.len() < 2 {
                words.push(String::from_utf8_lossy(text).into_owned());
            }
            (bytes.len() >= after + size + 2).then_some(after + size + 2)
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let pairs = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
            let mut at = after;
            for _ in 0..count.parse::<usize>().unwrap_or(0) * pairs {
                at += length(&bytes[at..], words)?;
            }
            Some(at)
        }
        _ => Some(after),
    }
}

#[cfg(test)]
mod tests {
    use super::{length, take_reply, take_value};

    #[test]
    fn values_are_taken_when_they_are_whole() {
        let command = b"*3\r\n$7\r\nEVALSHA\r\n$2\r\nab\r\n$1\r\n0\r\n";
        for cut in 0..command.len() {
            assert_eq!(length(&command[..cut], &mut Vec::new()), None, "{cut}");
        }
        let mut bytes = [command.as_slice(), b"*1\r\n$4\r\nPI"].concat();
        assert_eq!(take_value(&mut bytes).unwrap(), ["EVALSHA", "ab"]);
        assert_eq!(take_value(&mut bytes), None);
        let mut replies = b">2\r\n+message\r\n$-1\r\n%1\r\n+a\r\n:1\r\n_\r\n-ERR no\r\n".to_vec();
        let pushed: Vec<_> = std::iter::from_fn(|| take_reply(&mut replies)).collect();
        assert_eq!(pushed, [true, false, false, false]);
    }
}
