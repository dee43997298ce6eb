//! Sorted sets.

use bytes::Bytes;

use super::{Answer, count, double, error, integer, syntax_error};
use crate::store::embedded::keyspace::{Args, Keyspace};
use crate::store::embedded::number::parse_double;
use crate::store::embedded::value::{Bounds, SortedSet};
use crate::store::host::{Reply, ScriptError};

/// `ZADD key [NX|XX] [GT|LT] [CH] score member…`
pub(super) fn add(ks: &mut Keyspace, args: &Args) -> Answer {
    let (mut only_new, mut only_old, mut only_up, mut only_down, mut changes) =
        (false, false, false, false, false);
    let mut first = 2;
    while first < args.len() {
        match args[first].to_ascii_uppercase().as_slice() {
            b"NX" => only_new = true,
            b"XX" => only_old = true,
            b"GT" => only_up = true,
            b"LT" => only_down = true,
            b"CH" => changes = true,
            _ => break,
        }
        first += 1;
    }
    if first == args.len() || !(args.len() - first).is_multiple_of(2) {
        return Err(syntax_error());
    }
    if only_new && only_old {
        return Err(error("XX and NX options at the same time are not compatible"));
    }
    if (only_up && only_down) || (only_new && (only_up || only_down)) {
        return Err(error("GT, LT, and/or NX options at the same time are not compatible"));
    }
    let scores = args
        .iter_from(first)
        .step_by(2)
        .map(|text| parse_double(text).ok_or_else(not_a_float))
        .collect::<Result<Vec<_>, _>>()?;
    if ks.sorted(&args[1])?.is_none() && only_old {
        return Ok(Reply::Int(0));
    }
    let set = ks.sorted_mut(&args[1])?;
    let (mut added, mut moved) = (0, 0);
    for (score, member) in scores.into_iter().zip(args.iter_from(first + 1).step_by(2)) {
        match set.score(member) {
            None if !only_old => {
                set.insert(member, score);
                added += 1;
            }
            Some(old) => {
                let barred = only_new || (only_up && score <= old) || (only_down && score >= old);
                if !barred && differs(old, score) {
                    set.insert(member, score);
                    moved += 1;
                }
            }
            None => {}
        }
    }
    ks.drop_empty(&args[1]);
    if added + moved > 0 {
        ks.record_verbatim(args);
    }
    Ok(count(if changes { added + moved } else { added }))
}

/// Both zeros are the same score.
#[expect(clippy::float_cmp, reason = "a stored score is compared with itself, not with a computed one")]
fn differs(old: f64, new: f64) -> bool {
    old != new
}

fn not_a_float() -> ScriptError {
    error("value is not a valid float")
}

/// `ZINCRBY key n member`
pub(super) fn incrby(ks: &mut Keyspace, args: &Args) -> Answer {
    let by = parse_double(&args[2]).ok_or_else(not_a_float)?;
    let old = ks.sorted(&args[1])?.and_then(|set| set.score(&args[3]));
    let new = old.map_or(by, |old| old + by);
    if new.is_nan() {
        return Err(error("resulting score is not a number (NaN)"));
    }
    if old.is_none_or(|old| differs(old, new)) {
        ks.sorted_mut(&args[1])?.insert(&args[3], new);
        ks.record_verbatim(args);
    }
    Ok(double(new))
}

/// `ZREM key member…`
pub(super) fn rem(ks: &mut Keyspace, args: &Args) -> Answer {
    if ks.sorted(&args[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let set = ks.sorted_mut(&args[1])?;
    let removed = args.iter_from(2).filter(|member| set.remove(member)).count();
    if removed > 0 {
        ks.drop_empty(&args[1]);
        ks.record_verbatim(args);
    }
    Ok(count(removed))
}

/// `ZSCORE key member`
pub(super) fn score(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(ks.sorted(&args[1])?.and_then(|set| set.score(&args[2])).map_or(Reply::Nil, double))
}

/// `ZMSCORE key member…`
pub(super) fn mscore(ks: &mut Keyspace, args: &Args) -> Answer {
    let set = ks.sorted(&args[1])?;
    let score = |member: &[u8]| set.and_then(|set| set.score(member)).map_or(Reply::Nil, double);
    Ok(Reply::Array(args.iter_from(2).map(score).collect()))
}

/// `ZCARD key`
pub(super) fn card(ks: &mut Keyspace, args: &Args) -> Answer {
    Ok(count(ks.sorted(&args[1])?.map_or(0, SortedSet::len)))
}

/// `ZCOUNT key min max`
pub(super) fn count_between(ks: &mut Keyspace, args: &Args) -> Answer {
    let bounds = bounds(&args[2], &args[3])?;
    Ok(count(ks.sorted(&args[1])?.map_or(0, |set| set.within(bounds).count())))
}

/// What a range command asks for.
struct Query {
    by_score: bool,
    backward: bool,
    with_scores: bool,
    /// Offset and count; a negative count means all.
    limit: Option<(i64, i64)>,
}

/// `ZRANGE key start stop [BYSCORE] [REV] [LIMIT offset count] [WITHSCORES]`
pub(super) fn range(ks: &mut Keyspace, args: &Args) -> Answer {
    let mut query = Query { by_score: false, backward: false, with_scores: false, limit: None };
    query.read_options(args, true)?;
    query.check_limit()?;
    query.run(ks, args)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub(super) fn revrange(ks: &mut Keyspace, args: &Args) -> Answer {
    let mut query = Query { by_score: false, backward: true, with_scores: false, limit: None };
    query.read_options(args, false)?;
    query.check_limit()?;
    query.run(ks, args)
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub(super) fn rangebyscore(ks: &mut Keyspace, args: &Args) -> Answer {
    let mut query = Query { by_score: true, backward: false, with_scores: false, limit: None };
    query.read_options(args, false)?;
    query.run(ks, args)
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub(super) fn revrangebyscore(ks: &mut Keyspace, args: &Args) -> Answer {
    let mut query = Query { by_score: true, backward: true, with_scores: false, limit: None };
    query.read_options(args, false)?;
    query.run(ks, args)
}

impl Query {
    fn read_options(&mut self, args: &Args, general: bool) -> Result<(), ScriptError> {
        let mut at = 4;
        while at < args.len() {
            match args[at].to_ascii_uppercase().as_slice() {
                b"WITHSCORES" => self.with_scores = true,
                b"BYSCORE" if general => self.by_score = true,
                b"REV" if general => self.backward = true,
                b"LIMIT" if at + 2 < args.len() => {
                    self.limit = Some((integer(&args[at + 1])?, integer(&args[at + 2])?));
                    at += 2;
                }
                _ => return Err(syntax_error()),
            }
            at += 1;
        }
        Ok(())
    }

    /// By rank there is no limit; a count of -1 says so itself and is let through.
    fn check_limit(&self) -> Result<(), ScriptError> {
        match self.limit {
            Some((_, n)) if n != -1 && !self.by_score => Err(error(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            )),
            _ => Ok(()),
        }
    }

    fn run(&self, ks: &mut Keyspace, args: &Args) -> Answer {
        let (start, stop) = (&args[2], &args[3]);
        if self.by_score {
            let bounds = if self.backward { bounds(stop, start)? } else { bounds(start, stop)? };
            let Some(set) = ks.sorted(&args[1])? else { return Ok(Reply::Array(Vec::new())) };
            let (skip, take) = match self.limit {
                None => (0, usize::MAX),
                // A negative offset yields nothing, a negative count all.
                Some((offset, _)) if offset < 0 => (0, 0),
                Some((offset, n)) => (size(offset), if n < 0 { usize::MAX } else { size(n) }),
            };
            let members = set.within(bounds);
            Ok(if self.backward {
                self.reply(members.rev().skip(skip).take(take))
            } else {
                self.reply(members.skip(skip).take(take))
            })
        } else {
            let (start, stop) = (integer(start)?, integer(stop)?);
            let Some(set) = ks.sorted(&args[1])? else { return Ok(Reply::Array(Vec::new())) };
            let (skip, take) = ranks(start, stop, set.len());
            Ok(if self.backward {
                self.reply(set.iter().rev().skip(skip).take(take))
            } else {
                self.reply(set.iter().skip(skip).take(take))
            })
        }
    }

    fn reply<'a>(&self, members: impl Iterator<Item = (&'a Bytes, f64)>) -> Reply {
        let mut items = Vec::new();
        for (member, score) in members {
            items.push(Reply::Bulk(member.clone()));
            if self.with_scores {
                items.push(double(score));
            }
        }
        Reply::Array(items)
    }
}

/// `ZREMRANGEBYSCORE key min max`
pub(super) fn remrangebyscore(ks: &mut Keyspace, args: &Args) -> Answer {
    let bounds = bounds(&args[2], &args[3])?;
    let Some(set) = ks.sorted(&args[1])? else { return Ok(Reply::Int(0)) };
    let doomed: Vec<_> = set.within(bounds).map(|(member, _)| member.clone()).collect();
    remove_all(ks, args, &doomed)
}

/// `ZREMRANGEBYRANK key start stop`
pub(super) fn remrangebyrank(ks: &mut Keyspace, args: &Args) -> Answer {
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    let Some(set) = ks.sorted(&args[1])? else { return Ok(Reply::Int(0)) };
    let (skip, take) = ranks(start, stop, set.len());
    let doomed: Vec<_> = set.iter().skip(skip).take(take).map(|(member, _)| member.clone()).collect();
    remove_all(ks, args, &doomed)
}

fn remove_all(ks: &mut Keyspace, args: &Args, doomed: &[Bytes]) -> Answer {
    if doomed.is_empty() {
        return Ok(Reply::Int(0));
    }
    let set = ks.sorted_mut(&args[1])?;
    for member in doomed {
        set.remove(member);
    }
    ks.drop_empty(&args[1]);
    ks.record_verbatim(args);
    Ok(count(doomed.len()))
}

/// Reads `min` and `max`: a number, an infinity, or either behind `(` for exclusive.
fn bounds(min: &[u8], max: &[u8]) -> Result<Bounds, ScriptError> {
    let end = |text: &[u8]| {
        let (text, exclusive) = text.strip_prefix(b"(").map_or((text, false), |rest| (rest, true));
        parse_double(text).map(|score| (score, exclusive)).ok_or_else(|| error("min or max is not a float"))
    };
    let (min, above_min) = end(min)?;
    let (max, below_max) = end(max)?;
    Ok(Bounds { min, above_min, max, below_max })
}

/// How many members to skip and to take for ranks `start..=stop` of `len`; negative ranks count from the end.
fn ranks(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let total = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |rank: i64| if rank < 0 { rank.saturating_add(total) } else { rank };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(total - 1);
    if start > stop { (0, 0) } else { (size(start), size(stop - start + 1)) }
}

fn size(n: i64) -> usize {
    usize::try_from(n).unwrap_or(0)
}
