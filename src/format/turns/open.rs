//! Calls that wait for their results, and the ids under which the upstream knows calls.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use crate::anthropic::json::JsonStr;
use crate::anthropic::request::ToolUse;

/// Longest id that is sent as it is, in bytes.
const MAX_ID: usize = 128;

/// A call with its id of `A-Z a-z 0-9 _ -`, unlike that of any other call of the conversation.
#[derive(Clone)]
pub(in crate::format) struct Call<'r> {
    pub(in crate::format) tool_use: &'r ToolUse<'r>,
    pub(in crate::format) id: Cow<'r, str>,
}

/// The ids handed out so far. Clients that talked to other services before hold ids that Claude models refuse: with
/// other characters, or the same ones in every turn. Each id follows from the history in front of it alone, so that the
/// prefix of a growing conversation stays as it is.
#[derive(Default)]
pub(super) struct Ids<'r> {
    uses: HashMap<Cow<'r, str>, u32>,
}

impl<'r> Ids<'r> {
    pub(super) fn of(&mut self, tool_use: &'r ToolUse<'r>) -> Cow<'r, str> {
        let mut id = clean(&tool_use.id);
        loop {
            let uses = self.uses.entry(id.clone()).or_default();
            *uses += 1;
            match *uses {
                1 => return id,
                again => id = Cow::Owned(format!("{id}_{again}")),
            }
        }
    }
}

fn clean<'r>(id: &'r JsonStr<'r>) -> Cow<'r, str> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let raw = id.raw();
    if !raw.is_empty() && raw.len() <= MAX_ID && raw.chars().all(good) {
        return Cow::Borrowed(raw);
    }
    let cleaned: String = raw.chars().map(|c| if good(c) { c } else { '_' }).take(MAX_ID / 2).collect();
    Cow::Owned(format!("{cleaned}_{:016x}", xxh3_64(raw.as_bytes())))
}

/// The calls of the last model turn that have no result yet.
#[derive(Default)]
pub(super) struct OpenCalls<'r> {
    calls: Vec<Option<Call<'r>>>,
    /// Where the calls of an id stand in `calls`; nearly always there is one.
    places: HashMap<Cow<'r, str>, (usize, VecDeque<usize>)>,
}

impl<'r> OpenCalls<'r> {
    pub(super) fn push(&mut self, call: Call<'r>) {
        let place = self.calls.len();
        self.places
            .entry(call.tool_use.id.decode())
            .and_modify(|(_, more)| more.push_back(place))
            .or_insert_with(|| (place, VecDeque::new()));
        self.calls.push(Some(call));
    }

    /// The first call of this id that is still open; a result without an id answers a call without one.
    pub(super) fn take(&mut self, id: Option<&JsonStr<'_>>) -> Option<Call<'r>> {
        let id = id.map(JsonStr::decode).unwrap_or_default();
        let (first, more) = self.places.get_mut(id.as_ref())?;
        let place = *first;
        match more.pop_front() {
            Some(next) => *first = next,
            None => {
                self.places.remove(id.as_ref());
            }
        }
        self.calls.get_mut(place)?.take()
    }

    /// All that are still open, in their order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Call<'r>> {
        self.places.clear();
        std::mem::take(&mut self.calls).into_iter().flatten()
    }
}
