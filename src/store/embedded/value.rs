//! What a key can hold.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;

/// A key's value. Strings are reference-counted so that a reply does not copy them.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A string.
    Text(Bytes),
    /// A hash, ordered by field so that every listing is deterministic.
    Hash(BTreeMap<Bytes, Bytes>),
    /// A sorted set.
    Sorted(SortedSet),
}

impl Value {
    /// The name `TYPE` answers.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Hash(_) => "hash",
            Self::Sorted(_) => "zset",
        }
    }

    /// Whether a collection has lost its last item: Redis then removes the key.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Hash(fields) => fields.is_empty(),
            Self::Sorted(set) => set.len() == 0,
        }
    }
}

/// A score: any double but NaN. Both zeros are equal, as in Redis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score(pub(super) f64);

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal)
    }
}

/// Members by name and by (score, name).
#[derive(Clone, Debug, Default)]
pub(super) struct SortedSet {
    scores: HashMap<Bytes, f64>,
    order: BTreeSet<(Score, Bytes)>,
}

impl SortedSet {
    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The score of `member`.
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }

    /// Adds `member` or moves it. Negative zero loses its sign, as in Redis's compact encoding.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) {
        let score = if score == 0.0 { 0.0 } else { score };
        if let Some((name, old)) = self.scores.get_key_value(member) {
            let name = name.clone();
            self.order.remove(&(Score(*old), name.clone()));
            self.order.insert((Score(score), name.clone()));
            self.scores.insert(name, score);
        } else {
            let name = Bytes::copy_from_slice(member);
            self.scores.insert(name.clone(), score);
            self.order.insert((Score(score), name));
        }
    }

    /// Removes `member`; whether it was there.
    pub(super) fn remove(&mut self, member: &[u8]) -> bool {
        let Some((name, score)) = self.scores.remove_entry(member) else { return false };
        self.order.remove(&(Score(score), name))
    }

    /// Members from the lowest score up, ties by name.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> {
        self.order.iter().map(|(score, name)| (name, score.0))
    }

    /// Members whose score lies in `bounds`, from the lowest up.
    pub(super) fn within(&self, bounds: Bounds) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> {
        // The empty name is the least of its score, so an end between two scores needs no other name.
        let start = (Score(bounds.first()), Bytes::new());
        let end = match bounds.end() {
            Some(score) => Bound::Excluded((Score(score), Bytes::new())),
            None => Bound::Unbounded,
        };
        let empty = bounds.is_empty() || matches!(&end, Bound::Excluded(end) if *end <= start);
        let range = (!empty).then(|| self.order.range((Bound::Included(start), end)));
        range.into_iter().flatten().map(|(score, name)| (name, score.0))
    }
}

/// A range of scores; both ends can be infinite, and inclusive or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The lower end.
    pub(super) min: f64,
    /// Whether `min` itself is outside.
    pub(super) above_min: bool,
    /// The upper end.
    pub(super) max: f64,
    /// Whether `max` itself is outside.
    pub(super) below_max: bool,
}

impl Bounds {
    fn is_empty(self) -> bool {
        self.min > self.max || (self.above_min && self.min == f64::INFINITY)
    }

    /// The least score inside.
    fn first(self) -> f64 {
        if self.above_min { self.min.next_up() } else { self.min }
    }

    /// The least score above the range, if any.
    fn end(self) -> Option<f64> {
        match self.max {
            max if self.below_max => Some(max),
            f64::INFINITY => None,
            max => Some(max.next_up()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: &SortedSet, min: f64, above_min: bool, max: f64, below_max: bool) -> String {
        let bounds = Bounds { min, above_min, max, below_max };
        let forward: Vec<_> = set.within(bounds).map(|(name, _)| name.clone()).collect();
        let mut backward: Vec<_> = set.within(bounds).rev().map(|(name, _)| name.clone()).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        String::from_utf8(forward.concat()).unwrap()
    }

    #[test]
    fn score_ranges_have_exact_ends() {
        const INF: f64 = f64::INFINITY;
        let mut set = SortedSet::default();
        for (member, score) in [("a", -INF), ("b", -0.0), ("c", 0.0), ("d", 1.0), ("e", 1.0), ("f", INF)] {
            set.insert(member.as_bytes(), score);
        }
        assert_eq!(names(&set, -INF, false, INF, false), "abcdef");
        assert_eq!(names(&set, -INF, true, INF, true), "bcde");
        assert_eq!(names(&set, 0.0, false, 1.0, true), "bc");
        assert_eq!(names(&set, 0.0, true, 1.0, false), "de");
        assert_eq!(names(&set, 1.0, true, 1.0, true), "");
        assert_eq!(names(&set, 2.0, false, 1.0, false), "");
        assert_eq!(names(&set, INF, true, INF, false), "");
        assert_eq!(names(&set, -INF, false, -INF, true), "");
        assert_eq!(names(&set, INF, false, INF, false), "f");
    }

    #[test]
    fn moving_a_member_keeps_both_indexes_equal() {
        let mut set = SortedSet::default();
        set.insert(b"a", 1.0);
        set.insert(b"a", 2.0);
        assert_eq!((set.len(), set.score(b"a")), (1, Some(2.0)));
        assert!(set.remove(b"a") && !set.remove(b"a"));
        assert_eq!(set.iter().count(), 0);
    }
}
