//! Keys, their expiry, time and messages.

use bytes::Bytes;

use super::{Answer, count, error, flag, integer};
use crate::store::embedded::keyspace::{Args, Keyspace};
use crate::store::host::Reply;

/// `DEL key…`
pub(super) fn del(ks: &mut Keyspace, args: &Args) -> Answer {
    // A key past its time must not count.
    let removed = args.iter_from(1).filter(|key| ks.entry(key).is_some() && ks.remove(key)).count();
    if removed > 0 {
        ks.record_verbatim(args);
    }
    Ok(count(removed))
}

/// `EXISTS key…`: a key named twice counts twice.
pub(super) fn exists(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(count(args.iter_from(1).filter(|key| ks.entry(key).is_some()).count()))
}

/// `EXPIRE key seconds`
pub(super) fn expire(ks: &mut Keyspace, args: &Args) -> Answer {
    expire_in(ks, args, "expire", 1000, true)
}

/// `PEXPIRE key ms`
pub(super) fn pexpire(ks: &mut Keyspace, args: &Args) -> Answer {
    expire_in(ks, args, "pexpire", 1, true)
}

/// `EXPIREAT key unix-seconds`
pub(super) fn expireat(ks: &mut Keyspace, args: &Args) -> Answer {
    expire_in(ks, args, "expireat", 1000, false)
}

/// `PEXPIREAT key unix-ms`
pub(super) fn pexpireat(ks: &mut Keyspace, args: &Args) -> Answer {
    expire_in(ks, args, "pexpireat", 1, false)
}

fn expire_in(ks: &mut Keyspace, args: &Args, command: &str, unit: i64, relative: bool) -> Answer {
    let key = &args[1];
    let base = if relative { ks.now.unwrap_or(0) } else { 0 };
    let at = integer(&args[2])?
        .checked_mul(unit)
        .and_then(|ms| ms.checked_add(base))
        .ok_or_else(|| error(&format!("invalid expire time in '{command}' command")))?;
    if ks.entry(key).is_none() {
        return Ok(Reply::Int(0));
    }
    if ks.now.is_some_and(|now| at <= now) {
        ks.remove(key);
        ks.record([b"DEL".as_slice(), key]);
    } else {
        ks.set_expiry(key, Some(at));
        ks.record([b"PEXPIREAT".as_slice(), key, at.to_string().as_bytes()]);
    }
    Ok(Reply::Int(1))
}

/// `PERSIST key`
pub(super) fn persist(ks: &mut Keyspace, args: &Args) -> Answer {
    let had = ks.entry(&args[1]).is_some_and(|entry| entry.expires_at.is_some());
    if had {
        ks.set_expiry(&args[1], None);
        ks.record_verbatim(args);
    }
    Ok(flag(had))
}

/// `TTL key`: seconds, rounded; -1 without expiry, -2 without key.
pub(super) fn ttl(ks: &mut Keyspace, args: &Args) -> Answer {
    let ms = remaining(ks, &args[1]);
    Ok(Reply::Int(if ms < 0 { ms } else { ms.saturating_add(500) / 1000 }))
}

/// `PTTL key`: milliseconds; -1 without expiry, -2 without key.
pub(super) fn pttl(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(Reply::Int(remaining(ks, &args[1])))
}

fn remaining(ks: &mut Keyspace, key: &[u8]) -> i64 {
    let now = ks.now.unwrap_or(0);
    match ks.entry(key) {
        None => -2,
        Some(entry) => entry.expires_at.map_or(-1, |at| at.saturating_sub(now).max(0)),
    }
}

/// `TYPE key`
pub(super) fn type_of(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(Reply::Status(ks.entry(&args[1]).map_or("none", |entry| entry.value.type_name()).into()))
}

/// `TIME`: seconds and microseconds, as strings.
pub(super) fn time(ks: &mut Keyspace, _: &Args) -> Answer {
    let now = ks.now.unwrap_or(0);
    let text = |n: i64| Reply::Bulk(Bytes::from(n.to_string()));
    Ok(Reply::Array(vec![text(now.div_euclid(1000)), text(now.rem_euclid(1000) * 1000)]))
}

/// `PUBLISH channel message`: how many receivers of this process got it.
pub(super) fn publish(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(count(ks.publish(&args[1], &args[2])))
}
