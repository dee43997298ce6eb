//! The keys, their expiry, and the record of what a script changed.
//!
//! A key past its time is removed when something touches it or by [`Keyspace::sweep`], and the
//! removal is recorded as `DEL`: replaying a journal then needs no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Index;

use bytes::Bytes;
use tokio::sync::broadcast;

use super::resp;
use super::value::{SortedSet, Value};
use crate::store::host::{Event, ScriptError};

/// The arguments of one command, name first, in one reusable buffer.
#[derive(Debug, Default)]
pub(super) struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    /// Forgets all arguments, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends one argument that `write` produces.
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Appends one argument.
    pub(super) fn push(&mut self, arg: &[u8]) {
        self.push_with(|bytes| bytes.extend_from_slice(arg));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All from the `from`-th on.
    pub(super) fn iter_from(&self, from: usize) -> impl ExactSizeIterator<Item = &[u8]> {
        (from.min(self.len())..self.len()).map(|i| &self[i])
    }
}

impl Index<usize> for Args {
    type Output = [u8];

    fn index(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }
}

/// A key's value and end.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// What it holds.
    pub(super) value: Value,
    /// Milliseconds since the epoch after which it is gone.
    pub(super) expires_at: Option<i64>,
}

/// What a write of a string does to the key's expiry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expiry {
    /// None from now on.
    Never,
    /// As before.
    Keep,
    /// Milliseconds since the epoch.
    At(i64),
}

/// All keys of the store.
#[derive(Debug)]
pub(super) struct Keyspace {
    entries: HashMap<Bytes, Entry>,
    expiries: BTreeSet<(i64, Bytes)>,
    /// The time commands see, ms since the epoch; `None` while a journal is replayed: nothing expires then.
    pub(super) now: Option<i64>,
    /// Whether changes are recorded.
    recording: bool,
    /// Commands that repeat what was changed since [`Keyspace::take_effects`].
    effects: Vec<u8>,
    events: broadcast::Sender<Event>,
}

/// The reply to a command on a key of another type.
pub(super) fn wrong_type() -> ScriptError {
    ScriptError {
        code: "WRONGTYPE".into(),
        message: "Operation against a key holding the wrong kind of value".into(),
    }
}

impl Keyspace {
    /// An empty keyspace whose `PUBLISH` goes to `events`.
    pub(super) fn new(events: broadcast::Sender<Event>) -> Self {
        Self {
            entries: HashMap::new(),
            expiries: BTreeSet::new(),
            now: None,
            recording: false,
            effects: Vec::new(),
            events,
        }
    }

    /// Records changes from now on.
    pub(super) fn start_recording(&mut self) {
        self.recording = true;
    }

    /// The entry of `key` unless it has expired.
    pub(super) fn entry(&mut self, key: &[u8]) -> Option<&Entry> {
        self.expire(key);
        self.entries.get(key)
    }

    /// Removes `key` if its time has passed. Redis keeps a key during the last millisecond itself.
    fn expire(&mut self, key: &[u8]) {
        let Some(now) = self.now else { return };
        if self.entries.get(key).and_then(|entry| entry.expires_at).is_some_and(|at| now > at) {
            self.remove(key);
            self.record([b"DEL".as_slice(), key]);
        }
    }

    /// Removes up to `limit` keys whose time has passed, soonest first.
    pub(super) fn sweep(&mut self, limit: usize) {
        let Some(now) = self.now else { return };
        for _ in 0..limit {
            match self.expiries.first() {
                Some((at, key)) if *at < now => {
                    let key = key.clone();
                    self.remove(&key);
                    self.record([b"DEL".as_slice(), &key]);
                }
                _ => return,
            }
        }
    }

    /// The string at `key`.
    pub(super) fn text(&mut self, key: &[u8]) -> Result<Option<&Bytes>, ScriptError> {
        match self.entry(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type()),
        }
    }

    /// The hash at `key`.
    pub(super) fn hash(&mut self, key: &[u8]) -> Result<Option<&BTreeMap<Bytes, Bytes>>, ScriptError> {
        match self.entry(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Hash(fields)) => Ok(Some(fields)),
            Some(_) => Err(wrong_type()),
        }
    }

    /// The sorted set at `key`.
    pub(super) fn sorted(&mut self, key: &[u8]) -> Result<Option<&SortedSet>, ScriptError> {
        match self.entry(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Sorted(set)) => Ok(Some(set)),
            Some(_) => Err(wrong_type()),
        }
    }

    /// The hash at `key` to change; made when absent. Call [`Keyspace::drop_empty`] afterwards.
    pub(super) fn hash_mut(&mut self, key: &[u8]) -> Result<&mut BTreeMap<Bytes, Bytes>, ScriptError> {
        match self.value_mut(key, || Value::Hash(BTreeMap::new())) {
            Value::Hash(fields) => Ok(fields),
            _ => Err(wrong_type()),
        }
    }

    /// The sorted set at `key` to change; made when absent. Call [`Keyspace::drop_empty`] afterwards.
    pub(super) fn sorted_mut(&mut self, key: &[u8]) -> Result<&mut SortedSet, ScriptError> {
        match self.value_mut(key, || Value::Sorted(SortedSet::default())) {
            Value::Sorted(set) => Ok(set),
            _ => Err(wrong_type()),
        }
    }

    fn value_mut(&mut self, key: &[u8], make: impl FnOnce() -> Value) -> &mut Value {
        self.expire(key);
        let name = self.entries.get_key_value(key).map(|(name, _)| name.clone());
        let name = name.unwrap_or_else(|| Bytes::copy_from_slice(key));
        &mut self.entries.entry(name).or_insert_with(|| Entry { value: make(), expires_at: None }).value
    }

    /// Removes `key` when its collection is empty.
    pub(super) fn drop_empty(&mut self, key: &[u8]) {
        if self.entries.get(key).is_some_and(|entry| entry.value.is_empty()) {
            self.remove(key);
        }
    }

    /// Sets `key` to a string.
    pub(super) fn put_text(&mut self, key: &[u8], text: Bytes, expiry: Expiry) {
        self.expire(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.value = Value::Text(text);
        } else {
            let entry = Entry { value: Value::Text(text), expires_at: None };
            self.entries.insert(Bytes::copy_from_slice(key), entry);
        }
        match expiry {
            Expiry::Keep => {}
            Expiry::Never => self.set_expiry(key, None),
            Expiry::At(at) => self.set_expiry(key, Some(at)),
        }
    }

    /// Sets or clears when an existing `key` ends.
    pub(super) fn set_expiry(&mut self, key: &[u8], at: Option<i64>) {
        let Some((name, _)) = self.entries.get_key_value(key) else { return };
        let name = name.clone();
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.expires_at == at {
            return;
        }
        if let Some(old) = std::mem::replace(&mut entry.expires_at, at) {
            self.expiries.remove(&(old, name.clone()));
        }
        if let Some(at) = at {
            self.expiries.insert((at, name));
        }
    }

    /// Removes `key`; whether it was there.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let Some((name, entry)) = self.entries.remove_entry(key) else { return false };
        if let Some(at) = entry.expires_at {
            self.expiries.remove(&(at, name));
        }
        true
    }

    /// Sends a message to whoever listens; returns how many do.
    pub(super) fn publish(&mut self, channel: &[u8], payload: &[u8]) -> usize {
        let channel = String::from_utf8_lossy(channel).into_owned();
        self.events.send(Event::Message { channel, payload: Bytes::copy_from_slice(payload) }).unwrap_or(0)
    }

    /// Records a change as the command that repeats it.
    pub(super) fn record<'a, I>(&mut self, args: I)
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: ExactSizeIterator,
    {
        if self.recording {
            let args = args.into_iter();
            resp::push_head(&mut self.effects, args.len());
            for arg in args {
                resp::push_arg(&mut self.effects, arg);
            }
        }
    }

    /// Records a command that repeats itself exactly when run again.
    pub(super) fn record_verbatim(&mut self, args: &Args) {
        self.record(args.iter_from(0));
    }

    /// The encoded commands recorded so far; empty when nothing changed.
    pub(super) fn effects(&self) -> &[u8] {
        &self.effects
    }

    /// Forgets the recorded commands, keeps a buffer of usual size.
    pub(super) fn clear_effects(&mut self) {
        self.effects.clear();
        self.effects.shrink_to(64 << 10);
    }

    /// Every key that has not expired at `now`, ordered by name.
    pub(super) fn live(&self, now: i64) -> Vec<(&Bytes, &Entry)> {
        let mut entries: Vec<_> =
            self.entries.iter().filter(|(_, entry)| entry.expires_at.is_none_or(|at| now <= at)).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries
    }
}
