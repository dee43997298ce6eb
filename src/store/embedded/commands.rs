//! The commands scripts may call: an explicit list with the replies and errors of Redis 6.2.
//!
//! Each handler checks everything first and changes the keyspace last, and records what it changed
//! in a form that gives the same result when run again at any later time.
#![expect(clippy::unnecessary_wraps, reason = "every handler has the type the table asks for")]

mod generic;
mod hash;
mod sorted;
mod text;

use bytes::Bytes;

use super::keyspace::{Args, Keyspace};
use super::number::{parse_int, push_double};
use crate::store::host::{Reply, ScriptError};

/// What a handler answers.
type Answer = Result<Reply, ScriptError>;
type Handler = fn(&mut Keyspace, &Args) -> Answer;

/// Longest command name, for the buffer that holds it in upper case.
const LONGEST_NAME: usize = 16;

/// Runs one command.
pub(super) fn execute(keyspace: &mut Keyspace, args: &Args) -> Reply {
    if args.len() == 0 {
        return Reply::Error(error("Please specify at least one argument for this redis.call"));
    }
    let name = &args[0];
    let Some((arity, handler)) = find(name) else {
        let name = String::from_utf8_lossy(name);
        return Reply::Error(error(&format!("Unknown Redis command called from script: '{name}'")));
    };
    let fits = match arity {
        Arity::Exactly(n) => args.len() == n,
        Arity::AtLeast(n) => args.len() >= n,
    };
    if !fits {
        return Reply::Error(error("Wrong number of args calling Redis command from script"));
    }
    handler(keyspace, args).unwrap_or_else(Reply::Error)
}

/// How many arguments a command takes, its name included.
#[derive(Clone, Copy)]
enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

fn find(name: &[u8]) -> Option<(Arity, Handler)> {
    use Arity::{AtLeast, Exactly};
    let mut upper = [0; LONGEST_NAME];
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let found: (Arity, Handler) = match &*upper {
        b"GET" => (Exactly(2), text::get),
        b"MGET" => (AtLeast(2), text::mget),
        b"SET" => (AtLeast(3), text::set),
        b"GETDEL" => (Exactly(2), text::getdel),
        b"INCR" => (Exactly(2), text::incr),
        b"DECR" => (Exactly(2), text::decr),
        b"INCRBY" => (Exactly(3), text::incrby),
        b"DECRBY" => (Exactly(3), text::decrby),
        b"DEL" => (AtLeast(2), generic::del),
        b"EXISTS" => (AtLeast(2), generic::exists),
        b"EXPIRE" => (Exactly(3), generic::expire),
        b"PEXPIRE" => (Exactly(3), generic::pexpire),
        b"EXPIREAT" => (Exactly(3), generic::expireat),
        b"PEXPIREAT" => (Exactly(3), generic::pexpireat),
        b"PERSIST" => (Exactly(2), generic::persist),
        b"TTL" => (Exactly(2), generic::ttl),
        b"PTTL" => (Exactly(2), generic::pttl),
        b"TYPE" => (Exactly(2), generic::type_of),
        b"TIME" => (Exactly(1), generic::time),
        b"PUBLISH" => (Exactly(3), generic::publish),
        b"HGET" => (Exactly(3), hash::get),
        b"HSET" => (AtLeast(4), hash::set),
        b"HSETNX" => (Exactly(4), hash::setnx),
        b"HMGET" => (AtLeast(3), hash::mget),
        b"HGETALL" => (Exactly(2), hash::getall),
        b"HKEYS" => (Exactly(2), hash::keys),
        b"HVALS" => (Exactly(2), hash::vals),
        b"HDEL" => (AtLeast(3), hash::del),
        b"HLEN" => (Exactly(2), hash::len),
        b"HEXISTS" => (Exactly(3), hash::exists),
        b"HINCRBY" => (Exactly(4), hash::incrby),
        b"ZADD" => (AtLeast(4), sorted::add),
        b"ZINCRBY" => (Exactly(4), sorted::incrby),
        b"ZREM" => (AtLeast(3), sorted::rem),
        b"ZSCORE" => (Exactly(3), sorted::score),
        b"ZMSCORE" => (AtLeast(3), sorted::mscore),
        b"ZCARD" => (Exactly(2), sorted::card),
        b"ZCOUNT" => (Exactly(4), sorted::count_between),
        b"ZRANGE" => (AtLeast(4), sorted::range),
        b"ZREVRANGE" => (AtLeast(4), sorted::revrange),
        b"ZRANGEBYSCORE" => (AtLeast(4), sorted::rangebyscore),
        b"ZREVRANGEBYSCORE" => (AtLeast(4), sorted::revrangebyscore),
        b"ZREMRANGEBYSCORE" => (Exactly(4), sorted::remrangebyscore),
        b"ZREMRANGEBYRANK" => (Exactly(4), sorted::remrangebyrank),
        _ => return None,
    };
    Some(found)
}

/// Whether scripts may call `name`, in any case.
pub(super) fn is_known(name: &str) -> bool {
    find(name.as_bytes()).is_some()
}

fn error(message: &str) -> ScriptError {
    ScriptError { code: "ERR".into(), message: message.into() }
}

fn syntax_error() -> ScriptError {
    error("syntax error")
}

fn wrong_arity(command: &str) -> ScriptError {
    error(&format!("wrong number of arguments for '{command}' command"))
}

/// The integer argument `arg`.
fn integer(arg: &[u8]) -> Result<i64, ScriptError> {
    parse_int(arg).ok_or_else(|| error("value is not an integer or out of range"))
}

fn count(n: usize) -> Reply {
    Reply::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn flag(value: bool) -> Reply {
    Reply::Int(i64::from(value))
}

fn bulk(value: Option<&Bytes>) -> Reply {
    value.map_or(Reply::Nil, |bytes| Reply::Bulk(bytes.clone()))
}

fn double(value: f64) -> Reply {
    let mut out = Vec::with_capacity(24);
    push_double(&mut out, value);
    Reply::Bulk(out.into())
}
