//! Strings and counters.

use bytes::Bytes;

use super::{Answer, bulk, error, integer, syntax_error};
use crate::store::embedded::keyspace::{Args, Expiry, Keyspace};
use crate::store::embedded::number::push_int;
use crate::store::host::Reply;

/// `GET key`
pub(super) fn get(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(bulk(ks.text(&args[1])?))
}

/// `MGET key…`: a key of another type reads as nil.
pub(super) fn mget(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(Reply::Array(args.iter_from(1).map(|key| bulk(ks.text(key).unwrap_or(None))).collect()))
}

/// `GETDEL key`
pub(super) fn getdel(ks: &mut Keyspace, args: &Args) -> Answer {
    let old = bulk(ks.text(&args[1])?);
    if ks.remove(&args[1]) {
        ks.record([b"DEL".as_slice(), &args[1]]);
    }
    Ok(old)
}

/// `SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`
pub(super) fn set(ks: &mut Keyspace, args: &Args) -> Answer {
    let (key, value) = (&args[1], &args[2]);
    let (mut only_new, mut only_old, mut want_old) = (false, false, false);
    let mut expiry = Expiry::Never;
    let mut at = 3;
    while at < args.len() {
        let option = args[at].to_ascii_uppercase();
        let time_given = !matches!(expiry, Expiry::Never);
        match option.as_slice() {
            b"NX" if !only_old => only_new = true,
            b"XX" if !only_new => only_old = true,
            b"GET" => want_old = true,
            b"KEEPTTL" if !time_given => expiry = Expiry::Keep,
            b"EX" | b"PX" | b"EXAT" | b"PXAT" if !time_given && at + 1 < args.len() => {
                at += 1;
                expiry = Expiry::At(set_time(&option, &args[at], ks.now.unwrap_or(0))?);
            }
            _ => return Err(syntax_error()),
        }
        at += 1;
    }
    let old = if want_old { bulk(ks.text(key)?) } else { Reply::Nil };
    let exists = ks.entry(key).is_some();
    if (only_new && exists) || (only_old && !exists) {
        return Ok(old);
    }
    ks.put_text(key, Bytes::copy_from_slice(value), expiry);
    match expiry {
        Expiry::Never => ks.record([b"SET".as_slice(), key, value]),
        Expiry::Keep => ks.record([b"SET".as_slice(), key, value, b"KEEPTTL"]),
        Expiry::At(at) => ks.record([b"SET".as_slice(), key, value, b"PXAT", at.to_string().as_bytes()]),
    }
    Ok(if want_old { old } else { Reply::Status("OK".into()) })
}

/// The absolute time in ms that an option of `SET` means.
fn set_time(option: &[u8], number: &[u8], now: i64) -> Result<i64, crate::store::host::ScriptError> {
    let number = integer(number)?;
    let ms = if option.starts_with(b"EX") { number.checked_mul(1000) } else { Some(number) };
    let at = if option.ends_with(b"AT") { ms } else { ms.and_then(|ms| ms.checked_add(now)) };
    at.filter(|_| number > 0).ok_or_else(|| error("invalid expire time in 'set' command"))
}

/// `INCR key`
pub(super) fn incr(ks: &mut Keyspace, args: &Args) -> Answer {
    add(ks, args, 1)
}

/// `DECR key`
pub(super) fn decr(ks: &mut Keyspace, args: &Args) -> Answer {
    add(ks, args, -1)
}

/// `INCRBY key n`
pub(super) fn incrby(ks: &mut Keyspace, args: &Args) -> Answer {
    add(ks, args, integer(&args[2])?)
}

/// `DECRBY key n`
pub(super) fn decrby(ks: &mut Keyspace, args: &Args) -> Answer {
    let by = integer(&args[2])?.checked_neg().ok_or_else(|| error("decrement would overflow"))?;
    add(ks, args, by)
}

fn add(ks: &mut Keyspace, args: &Args, by: i64) -> Answer {
    let key = &args[1];
    let old = match ks.text(key)? {
        None => 0,
        Some(text) => integer(text)?,
    };
    let new = old.checked_add(by).ok_or_else(|| error("increment or decrement would overflow"))?;
    let mut text = Vec::with_capacity(20);
    push_int(&mut text, new);
    ks.put_text(key, text.into(), Expiry::Keep);
    ks.record_verbatim(args);
    Ok(Reply::Int(new))
}
