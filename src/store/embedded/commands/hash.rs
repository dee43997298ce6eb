//! Hashes.

use bytes::Bytes;

use super::{Answer, bulk, count, error, flag, integer, wrong_arity};
use crate::store::embedded::keyspace::{Args, Keyspace};
use crate::store::embedded::number::{parse_int, push_int};
use crate::store::host::Reply;

/// `HGET key field`
pub(super) fn get(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(bulk(ks.hash(&args[1])?.and_then(|fields| fields.get(&args[2]))))
}

/// `HMGET key field…`
pub(super) fn mget(ks: &mut Keyspace, args: &Args) -> Answer {
    let fields = ks.hash(&args[1])?;
    let value = |name: &[u8]| bulk(fields.and_then(|fields| fields.get(name)));
    Ok(Reply::Array(args.iter_from(2).map(value).collect()))
}

/// `HGETALL key`: fields and values, by field.
pub(super) fn getall(ks: &mut Keyspace, args: &Args) -> Answer {
    let fields = ks.hash(&args[1])?.into_iter().flatten();
    Ok(Reply::Array(
        fields.flat_map(|(name, value)| [Reply::Bulk(name.clone()), Reply::Bulk(value.clone())]).collect(),
    ))
}

/// `HKEYS key`
pub(super) fn keys(ks: &mut Keyspace, args: &Args) -> Answer {
    let fields = ks.hash(&args[1])?.into_iter().flatten();
    Ok(Reply::Array(fields.map(|(name, _)| Reply::Bulk(name.clone())).collect()))
}

/// `HVALS key`
pub(super) fn vals(ks: &mut Keyspace, args: &Args) -> Answer {
    let fields = ks.hash(&args[1])?.into_iter().flatten();
    Ok(Reply::Array(fields.map(|(_, value)| Reply::Bulk(value.clone())).collect()))
}

/// `HLEN key`
pub(super) fn len(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(count(ks.hash(&args[1])?.map_or(0, std::collections::BTreeMap::len)))
}

/// `HEXISTS key field`
pub(super) fn exists(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(flag(ks.hash(&args[1])?.is_some_and(|fields| fields.contains_key(&args[2]))))
}

/// `HSET key field value…`: how many fields are new.
pub(super) fn set(ks: &mut Keyspace, args: &Args) -> Answer {
    if !args.len().is_multiple_of(2) {
        return Err(wrong_arity("hset"));
    }
    let fields = ks.hash_mut(&args[1])?;
    let mut added = 0;
    for at in (2..args.len()).step_by(2) {
        let value = Bytes::copy_from_slice(&args[at + 1]);
        if let Some(old) = fields.get_mut(&args[at]) {
            *old = value;
        } else {
            fields.insert(Bytes::copy_from_slice(&args[at]), value);
            added += 1;
        }
    }
    ks.record_verbatim(args);
    Ok(count(added))
}

/// `HSETNX key field value`
pub(super) fn setnx(ks: &mut Keyspace, args: &Args) -> Answer {
    let fields = ks.hash_mut(&args[1])?;
    let absent = !fields.contains_key(&args[2]);
    if absent {
        fields.insert(Bytes::copy_from_slice(&args[2]), Bytes::copy_from_slice(&args[3]));
        ks.record_verbatim(args);
    }
    Ok(flag(absent))
}

/// `HDEL key field…`
pub(super) fn del(ks: &mut Keyspace, args: &Args) -> Answer {
    if ks.hash(&args[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let fields = ks.hash_mut(&args[1])?;
    let removed = args.iter_from(2).filter(|name| fields.remove(*name).is_some()).count();
    if removed > 0 {
        ks.drop_empty(&args[1]);
        ks.record_verbatim(args);
    }
    Ok(count(removed))
}

/// `HINCRBY key field n`
pub(super) fn incrby(ks: &mut Keyspace, args: &Args) -> Answer {
    let by = integer(&args[3])?;
    let old = match ks.hash(&args[1])?.and_then(|fields| fields.get(&args[2])) {
        None => 0,
        Some(text) => parse_int(text).ok_or_else(|| error("hash value is not an integer"))?,
    };
    let new = old.checked_add(by).ok_or_else(|| error("increment or decrement would overflow"))?;
    let mut text = Vec::with_capacity(20);
    push_int(&mut text, new);
    ks.hash_mut(&args[1])?.insert(Bytes::copy_from_slice(&args[2]), text.into());
    ks.record_verbatim(args);
    Ok(Reply::Int(new))
}
