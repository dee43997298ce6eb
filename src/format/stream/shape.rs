//! Chunks that differ from the one before in their words and counts only.
//!
//! Nearly all chunks of a stream are such, and comparing bytes is many times cheaper than reading JSON. A document
//! that equals one already read, byte for byte, but for the inside of one string and the digits of some integers, has
//! the same structure: what it brings is that string and those integers.

use std::ops::Range;

use serde_json::value::RawValue;

use crate::anthropic::json::JsonStr;
use crate::google::response::{Answer, Count, UsageMetadata};

/// Longer documents are not kept: with them the time goes into the words themselves.
const LARGEST: usize = 8 * 1024;

/// The last document that brought words and counts and nothing else.
#[derive(Debug, Default)]
pub(super) struct Shape {
    document: Vec<u8>,
    /// Where its words stand, without the quotes. Empty with an empty document: nothing is known.
    words: Range<usize>,
    thought: bool,
    /// The integers of its usage, in order, all behind the words.
    numbers: Vec<Number>,
}

#[derive(Debug)]
struct Number {
    digits: Range<usize>,
    counts: Counted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Prompt,
    Cached,
    Candidates,
    Thoughts,
    Nothing,
}

/// What a document of the known shape brings.
pub(super) struct Words<'d> {
    pub(super) text: JsonStr<'d>,
    pub(super) thought: bool,
    pub(super) usage: UsageMetadata,
}

impl Shape {
    /// Reads `document` if it has the shape of the last one that was learnt.
    #[inline]
    pub(super) fn read<'d>(&self, document: &'d [u8]) -> Option<Words<'d>> {
        let head = self.document.get(..self.words.start).filter(|head| !head.is_empty())?;
        if !document.starts_with(head) {
            return None;
        }
        let (text, end) = JsonStr::scan(document, head.len())?;
        let mut usage = UsageMetadata::default();
        let mut rest = document.get(end..)?;
        let mut known = self.words.end;
        for number in &self.numbers {
            rest = rest.strip_prefix(self.document.get(known..number.digits.start)?)?;
            let (count, length) = integer(rest)?;
            rest = &rest[length..];
            known = number.digits.end;
            let count = Count::of(count);
            match number.counts {
                Counted::Prompt => usage.prompt_token_count = count,
                Counted::Cached => usage.cached_content_token_count = count,
                Counted::Candidates => usage.candidates_token_count = count,
                Counted::Thoughts => usage.thoughts_token_count = count,
                Counted::Nothing => {}
            }
        }
        (rest == self.document.get(known..)?).then_some(Words { text, thought: self.thought, usage })
    }

    /// Learns the shape of `document`, whose content is `answer`, unless there is more to it than words and counts.
    /// `counted`: its counts could be read.
    ///
    /// A count that is no plain integer stays part of the shape: what it says is already known.
    pub(super) fn learn(&mut self, document: &str, answer: &Answer<'_>, counted: bool) {
        self.document.clear();
        self.words = 0..0;
        if document.len() > LARGEST {
            return;
        }
        let Some((part, text)) =
            answer.only_part().filter(|part| part.is_words()).and_then(|part| Some((part, part.text?)))
        else {
            return;
        };
        let Some(words) = place(document, text).filter(|_| text.get().starts_with('"')) else { return };
        self.numbers.clear();
        if let Some(usage) = answer.usage {
            match place(document, usage) {
                Some(place)
                    if counted
                        && place.start >= words.end
                        && list(usage.get(), place.start, &mut self.numbers) => {}
                _ => return,
            }
        }
        self.document.extend_from_slice(document.as_bytes());
        self.words = words.start + 1..words.end - 1;
        self.thought = part.is_thought();
    }
}

/// Where a value stands in the document it was read from.
fn place(document: &str, value: &RawValue) -> Option<Range<usize>> {
    let start = value.get().as_ptr().addr().checked_sub(document.as_ptr().addr())?;
    let end = start + value.get().len();
    (document.get(start..end) == Some(value.get())).then_some(start..end)
}

/// Lists the plain integers of a usage object that stands at `offset`. False when it holds what cannot be followed
/// this way.
fn list(usage: &str, offset: usize, numbers: &mut Vec<Number>) -> bool {
    let bytes = usage.as_bytes();
    if !usage.starts_with('{') || usage.contains('\\') {
        return false;
    }
    let (mut depth, mut at, mut key) = (0_usize, 0, "");
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let Some(length) = memchr::memchr(b'"', &bytes[at + 1..]) else { return false };
                key = &usage[at + 1..at + 1 + length];
                at += length + 1;
            }
            b'0'..=b'9' => {
                let length = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                // A fraction or an exponent.
                if matches!(bytes.get(at + length), Some(b'.' | b'e' | b'E')) {
                    return false;
                }
                let counts = match key {
                    _ if depth != 1 => Counted::Nothing,
                    "promptTokenCount" => Counted::Prompt,
                    "cachedContentTokenCount" => Counted::Cached,
                    "candidatesTokenCount" => Counted::Candidates,
                    "thoughtsTokenCount" => Counted::Thoughts,
                    _ => Counted::Nothing,
                };
                numbers.push(Number { digits: offset + at..offset + at + length, counts });
                at += length - 1;
            }
            b'-' => return false,
            _ => {}
        }
        at += 1;
    }
    true
}

/// The integer at the front, and its length.
#[inline]
fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    /// So many digits fit without a check at each.
    const MOST: usize = 18;
    let (mut value, mut length) = (0_u64, 0);
    while let Some(digit) = bytes.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9)
    {
        if length == MOST {
            return None;
        }
        value = value * 10 + u64::from(digit);
        length += 1;
    }
    let valid = length == 1 || (length > 1 && bytes[0] != b'0');
    valid.then_some((value, length))
}
