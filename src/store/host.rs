//! The seam between typed wrappers and whatever runs the scripts.
//!
//! Every change of shared state is a script, so a host needs two methods only. Wrappers do not know
//! whether the answer came from Redis or from the process itself (design §1, invariant 2).

use std::io::{self, Write as _};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use smallvec::SmallVec;
use tokio::sync::broadcast;

use super::ident::AccountId;
use super::keys::Key;
use super::script::Script;

/// Runs scripts over one keyspace.
pub trait ScriptHost: Send + Sync {
    /// Runs `batch` in one round trip, in order, and returns one reply per call.
    ///
    /// A script that fails answers [`Reply::Error`] in its place and does not stop those after it,
    /// nor undo what it wrote before; `Err` means that the batch as a whole has no known outcome
    /// or was refused. When any call of the batch is [`Durability::Fsync`](super::script::Durability)
    /// and wrote something, the answer comes after the write is on disk.
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>>;

    /// Messages that scripts `PUBLISH` from now on, in this process or another. A receiver that falls behind loses
    /// the oldest and is told so by `RecvError::Lagged`, one whose host lost its connection by [`Event::Gap`]: it
    /// must then reload what it derived from events.
    fn subscribe(&self) -> broadcast::Receiver<Event>;
}

/// Room for the keys and arguments of the calls that a request makes.
const USUAL_KEYS: usize = 14;
const USUAL_ARGS: usize = 28;

/// One script call: `EVALSHA script keys args`.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to run.
    pub script: &'static Script,
    /// Every key the script touches, all with the pool's hash tag.
    pub keys: Vec<Key>,
    /// Arguments; by convention the last is `now` in ms, empty in production.
    pub args: Vec<Arg>,
}

impl Call {
    /// A call without keys and arguments; add them with [`Call::key`] and [`Call::arg`].
    #[must_use]
    pub fn new(script: &'static Script) -> Self {
        Self { script, keys: Vec::with_capacity(USUAL_KEYS), args: Vec::with_capacity(USUAL_ARGS) }
    }

    /// Appends one key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Appends one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<Arg>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// One argument of a call: bytes, as a script sees them.
///
/// Integers become decimal text; floats are written with the fewest digits that read back to the
/// same number; booleans are `1` and `0`; `None` is the empty string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg(SmallVec<[u8; SHORT]>);

/// Arguments up to this length, which most are, are allocated with their call.
const SHORT: usize = 24;

impl Arg {
    /// The bytes sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Arg {
    fn from(value: Vec<u8>) -> Self {
        Self(value.into())
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::from(value.as_str())
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::from(value.as_bytes())
    }
}

impl From<&[u8]> for Arg {
    fn from(value: &[u8]) -> Self {
        Self(SmallVec::from_slice(value))
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::from(if value { "1" } else { "0" })
    }
}

macro_rules! arg_from_number {
    ($($number:ty),*) => {$(
        impl From<$number> for Arg {
            fn from(value: $number) -> Self {
                let mut digits = SmallVec::new();
                // Writing to memory does not fail.
                let _ = write!(digits, "{value}");
                Self(digits)
            }
        }
    )*};
}
arg_from_number!(i32, i64, u16, u32, u64, usize, f64);

impl<T: Into<Arg>> From<Option<T>> for Arg {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Self(SmallVec::new()), Into::into)
    }
}

/// What a script returned, in Redis's reply types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Lua `nil` or `false`.
    Nil,
    /// A number without its fraction, or `true` as 1.
    Int(i64),
    /// A string.
    Bulk(Bytes),
    /// `{ok = …}`.
    Status(String),
    /// A table, up to its first `nil`.
    Array(Vec<Reply>),
    /// `{err = …}` or a raised error.
    Error(ScriptError),
}

impl Reply {
    /// The reply unless it is an error of `script`.
    pub fn ok(self, script: &Script) -> Result<Self, StoreError> {
        match self {
            Self::Error(error) => Err(StoreError::Script { script: script.name, error }),
            other => Ok(other),
        }
    }

    /// An integer, also when it was sent as decimal text (Redis transports floats and large numbers so).
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// A number sent as text or integer.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "scripts keep integers under 2^53")]
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The bytes of a bulk or status reply.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Status(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The text of a bulk or status reply, when it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The items of an array reply.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Whether the reply is [`Reply::Nil`].
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }
}

/// An error reply: Redis's first word and the rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {message}")]
pub struct ScriptError {
    /// `ERR`, `WRONGTYPE`, or a script's own upper-case word.
    pub code: String,
    /// What happened; for people.
    pub message: String,
}

impl ScriptError {
    /// Splits `text` at its first space: an upper-case first word is the code, else the code is `ERR`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let is_code = !first.is_empty()
            && first.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let (code, message) = if is_code { (first, rest) } else { ("ERR", text) };
        Self { code: code.into(), message: message.into() }
    }
}

/// What an operator is told of an account whose record cannot be read.
pub const DAMAGED: &str =
    "its record in the store is damaged: import the account again, sign in again, or remove it";

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or the connection ended before the reply: the outcome is unknown.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What failed.
        reason: String,
    },
    /// Writes cannot be made durable any more, so they are refused rather than half kept.
    #[error("the store in {} refuses durable writes: {reason}; free the disk and restart", dir.display())]
    ReadOnly {
        /// The data directory.
        dir: PathBuf,
        /// The first write error.
        reason: String,
    },
    /// The server is there, but not one that may hold the pool.
    #[error("Redis at {address} cannot be used: {problem}")]
    Unsuitable {
        /// `host:port` or a socket's path.
        address: String,
        /// What is wrong and what to change.
        problem: String,
    },
    /// A script answered with an error.
    #[error("script {script}: {error}")]
    Script {
        /// The script's name.
        script: &'static str,
        /// Its error.
        error: ScriptError,
    },
    /// A script does not compile; a fault of the build, found at start.
    #[error("script {script} does not compile: {message}")]
    Compile {
        /// The script's name.
        script: &'static str,
        /// Lua's message.
        message: String,
    },
    /// An account of which the store holds what cannot be read; it takes no part in selection.
    #[error("account {account}: {}", DAMAGED)]
    Damaged {
        /// The account.
        account: AccountId,
    },
    /// A reply has not the shape its wrapper expects.
    #[error("script {script}: expected {expected}, got {got}")]
    BadReply {
        /// The script's name.
        script: &'static str,
        /// The documented shape.
        expected: &'static str,
        /// What came, shortened.
        got: String,
    },
    /// An argument that would break a record; nothing was sent.
    #[error("script {script}: {field} has {problem}")]
    BadArgument {
        /// The script's name.
        script: &'static str,
        /// Which argument.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The journal is damaged before its tail; a torn tail alone is mended silently.
    #[error(
        "{} is damaged at byte {offset}: {detail}. Restore the file from a backup, or keep a copy and cut it \
         to {offset} bytes to go on with everything written before that point",
        path.display()
    )]
    Corrupt {
        /// The journal file.
        path: PathBuf,
        /// Where the last valid batch ends.
        offset: u64,
        /// What is wrong there.
        detail: String,
    },
    /// Another process holds the data directory.
    #[error(
        "the data directory {} is in use by another process: stop that gateway, or give this one its own \
         DATA_DIR (several gateways share state through REDIS_URL, not through a directory)",
        dir.display()
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// A file or directory of the store cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `create`, `write`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl StoreError {
    /// A [`StoreError::BadReply`] that quotes the first 200 characters of `got`.
    #[must_use]
    pub fn bad_reply(script: &Script, expected: &'static str, got: &Reply) -> Self {
        let got = format!("{got:?}").chars().take(200).collect();
        Self::BadReply { script: script.name, expected, got }
    }
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message a script published.
    Message {
        /// The channel's name.
        channel: String,
        /// The message.
        payload: Bytes,
    },
    /// The connection was lost for a while, and messages with it: what was derived from events must be read anew.
    Gap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_text() {
        assert_eq!(Arg::from(0.1 + 0.2).as_bytes(), b"0.30000000000000004");
        assert_eq!(Arg::from(-7_i64).as_bytes(), b"-7");
        assert_eq!(Arg::from(true).as_bytes(), b"1");
        assert_eq!(Arg::from(None::<&str>).as_bytes(), b"");
    }

    #[test]
    fn error_code_is_the_upper_case_first_word() {
        let parsed = ScriptError::parse("WRONGTYPE Operation against a key");
        assert_eq!((parsed.code.as_str(), parsed.message.as_str()), ("WRONGTYPE", "Operation against a key"));
        let plain = ScriptError::parse("no such thing");
        assert_eq!((plain.code.as_str(), plain.message.as_str()), ("ERR", "no such thing"));
    }
}
