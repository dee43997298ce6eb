//! Strings of a JSON text, kept in their escaped form.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use wide::u8x16;

use super::write::push_string;

/// A JSON string without its quotes, still escaped: it can be written between quotes of another JSON text unchanged.
///
/// Lone surrogates (`\ud83d` without its partner; clients that cut strings send them) are replaced by `\ufffd`, since
/// no UTF-8 text can carry them on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JsonStr<'a> {
    raw: Cow<'a, str>,
    escaped: bool,
}

impl<'a> JsonStr<'a> {
    /// The empty string.
    pub const EMPTY: JsonStr<'static> = JsonStr { raw: Cow::Borrowed(""), escaped: false };

    /// Reads a JSON value that is a string, quotes included; `None` for everything else.
    #[must_use]
    pub fn from_literal(literal: &'a str) -> Option<Self> {
        let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
        let scan = scan_text(literal.as_bytes(), 1).ok()?;
        (scan.end == literal.len() - 1).then(|| Self::from_scan(inner, &scan))
    }

    /// Reads the inside of a string that begins at `start` in UTF-8 JSON; with it the offset of its closing quote.
    /// `None` when it is no valid string.
    #[must_use]
    #[inline]
    pub fn scan(json: &'a [u8], start: usize) -> Option<(Self, usize)> {
        let scan = json.get(start..).and_then(|_| scan_text(json, start).ok())?;
        let raw = std::str::from_utf8(json.get(start..scan.end)?).ok()?;
        Some((Self::from_scan(raw, &scan), scan.end))
    }

    /// The escaped form of a text.
    #[must_use]
    pub fn encode(text: &str) -> JsonStr<'static> {
        let mut literal = BytesMut::new();
        push_string(&mut literal, text);
        let inner = literal.get(1..literal.len() - 1).unwrap_or_default();
        let raw = String::from_utf8_lossy(inner).into_owned();
        JsonStr { escaped: raw.contains('\\'), raw: Cow::Owned(raw) }
    }

    /// Appends the string with its quotes.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(self.raw.len() + 2);
        out.put_u8(b'"');
        out.put_slice(self.raw.as_bytes());
        out.put_u8(b'"');
    }

    /// The same string, detached from the document it came from.
    #[must_use]
    pub fn into_owned(self) -> JsonStr<'static> {
        JsonStr { raw: Cow::Owned(self.raw.into_owned()), escaped: self.escaped }
    }

    #[inline]
    pub(super) fn from_scan(raw: &'a str, scan: &TextScan) -> Self {
        let raw = if scan.lone { Cow::Owned(without_lone_surrogates(raw)) } else { Cow::Borrowed(raw) };
        Self { raw, escaped: scan.escaped }
    }

    /// The escaped form.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Whether it has no character at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether nothing is left after trimming Unicode white space and U+FEFF (but not U+0085), as ECMAScript trims.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let blank = |c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}';
        match self.raw.chars().find(|c| !blank(*c)) {
            None => true,
            Some('\\') => self.decode().chars().all(blank),
            Some(_) => false,
        }
    }

    /// The front of the text, at most `max` bytes of its escaped form.
    #[must_use]
    pub fn cut(&self, max: usize) -> Self {
        let mut end = 0;
        let mut rest = self.raw.as_ref();
        // Whole characters and whole escapes only; a surrogate pair is two of the latter.
        while let Some(first) = rest.chars().next() {
            let length = match rest.as_bytes() {
                [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..] => 12,
                [b'\\', b'u', ..] => 6,
                [b'\\', ..] => 2,
                _ => first.len_utf8(),
            };
            if end + length > max || length > rest.len() {
                break;
            }
            end += length;
            rest = &rest[length..];
        }
        let raw = self.raw.get(..end).unwrap_or_default().to_owned();
        Self { raw: Cow::Owned(raw), escaped: self.escaped }
    }

    /// The first line and what stands behind its line break, if there is one.
    #[must_use]
    pub fn split_line(&self) -> Option<(Self, Self)> {
        let mut from = 0;
        loop {
            let at = from + self.raw.get(from..)?.find('\\')?;
            if self.raw.as_bytes().get(at + 1) == Some(&b'n') {
                let part = |raw: &str| Self { raw: Cow::Owned(raw.to_owned()), escaped: self.escaped };
                return Some((part(&self.raw[..at]), part(&self.raw[at + 2..])));
            }
            // Whatever is escaped is not the start of another escape.
            from = at + 2;
        }
    }

    /// The text itself; borrowed when nothing was escaped.
    #[must_use]
    pub fn decode(&self) -> Cow<'_, str> {
        if self.escaped { Cow::Owned(unescape(&self.raw)) } else { Cow::Borrowed(&self.raw) }
    }

    /// As [`JsonStr::decode`], keeping the lifetime of the body.
    #[must_use]
    pub fn into_decoded(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(&self.raw)) } else { self.raw }
    }
}

/// What [`scan_text`] found.
pub(super) struct TextScan {
    /// Offset of the closing quote.
    pub(super) end: usize,
    /// There is at least one escape.
    pub(super) escaped: bool,
    /// There is at least one surrogate without its partner.
    pub(super) lone: bool,
}

/// Walks a string from behind its opening quote to the closing one. The error has the offset of what is wrong.
pub(super) fn scan_text(bytes: &[u8], start: usize) -> Result<TextScan, (usize, &'static str)> {
    let mut scan = TextScan { end: start, escaped: false, lone: false };
    // What stands before it was looked at: the rest of an escape, which may reach into the next block.
    let mut next = start;
    let mut at = start;
    while let Some(mut specials) = Specials::of(bytes, at) {
        while let Some(hit) = specials.pop() {
            let hit = at + hit;
            if hit < next {
                continue;
            }
            match bytes[hit] {
                b'"' => return Ok(TextScan { end: hit, ..scan }),
                b'\\' => next = skip_escape(bytes, hit, &mut scan)?,
                _ => return Err((hit, "control character in a string")),
            }
        }
        at += BLOCK;
    }
    Err((bytes.len(), "unexpected end of input"))
}

/// The offset behind the escape that begins at `at`; a pair of surrogates is one escape.
fn skip_escape(bytes: &[u8], at: usize, scan: &mut TextScan) -> Result<usize, (usize, &'static str)> {
    scan.escaped = true;
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let behind = at + 6;
            match hex4(bytes, at + 2)? {
                0xD800..0xDC00 => {
                    let paired = bytes.get(behind..behind + 2) == Some(b"\\u")
                        && (0xDC00..0xE000).contains(&hex4(bytes, behind + 2)?);
                    scan.lone |= !paired;
                    Ok(if paired { behind + 6 } else { behind })
                }
                0xDC00..0xE000 => {
                    scan.lone = true;
                    Ok(behind)
                }
                _ => Ok(behind),
            }
        }
        Some(_) => Err((at + 1, "invalid escape")),
        None => Err((bytes.len(), "unexpected end of input")),
    }
}

/// How many bytes from the front are neither quote, backslash nor control character.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(mut specials) = Specials::of(bytes, at) {
        if let Some(hit) = specials.pop() {
            return at + hit;
        }
        at += BLOCK;
    }
    bytes.len()
}

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// Where the quotes, backslashes and control characters of one block stand, a bit for each. Prompts have one every few
/// words; to take them from the bits is six times as fast as to search for the next one anew.
struct Specials(u32);

impl Specials {
    /// Of the block at `at`; `None` at the end of `bytes`.
    #[inline]
    fn of(bytes: &[u8], at: usize) -> Option<Self> {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let block = rest.first_chunk::<BLOCK>().copied().unwrap_or_else(|| {
            let mut last = [b' '; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            last
        });
        let block = u8x16::new(block);
        let control = block.min(u8x16::splat(0x1f)).simd_eq(block);
        let special = control | block.simd_eq(u8x16::splat(b'"')) | block.simd_eq(u8x16::splat(b'\\'));
        Some(Self(special.to_bitmask()))
    }

    /// The next of them, from the front.
    #[inline]
    fn pop(&mut self) -> Option<usize> {
        let hit = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (hit < u32::BITS).then_some(hit as usize)
    }
}

fn hex4(bytes: &[u8], at: usize) -> Result<u32, (usize, &'static str)> {
    let mut unit = 0;
    for offset in at..at + 4 {
        let byte = bytes.get(offset).ok_or((bytes.len(), "unexpected end of input"))?;
        let digit = char::from(*byte).to_digit(16).ok_or((offset, "invalid escape"))?;
        unit = unit * 16 + digit;
    }
    Ok(unit)
}

/// Decodes an escaped text that was scanned before.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let code = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        match code {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let unit = take_unit(&mut rest);
                let scalar = if (0xD800..0xDC00).contains(&unit) && rest.starts_with("\\u") {
                    rest = &rest[2..];
                    let low = take_unit(&mut rest);
                    0x1_0000 + ((unit - 0xD800) << 10) + (low.wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    unit
                };
                out.push(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
    out
}

fn take_unit(rest: &mut &str) -> u32 {
    let unit = rest.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    *rest = rest.get(4..).unwrap_or_default();
    unit.unwrap_or(0xFFFD)
}

/// Replaces each surrogate escape without its partner by `\ufffd`; everything else stays byte for byte.
pub(super) fn without_lone_surrogates(raw: &str) -> String {
    whole_surrogates(raw).into_owned()
}

/// As [`without_lone_surrogates`]; borrowed when there is none. A half is valid JSON grammar but no text: strict
/// parsers refuse the whole document for it.
pub(super) fn whole_surrogates(raw: &str) -> Cow<'_, str> {
    let bytes = raw.as_bytes();
    let mut whole: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        if bytes.get(at + 1) != Some(&b'u') {
            at += 2;
            continue;
        }
        let unit = hex4(bytes, at + 2).unwrap_or(0);
        let next_is_low = bytes.get(at + 6) == Some(&b'\\')
            && bytes.get(at + 7) == Some(&b'u')
            && hex4(bytes, at + 8).is_ok_and(|low| (0xDC00..0xE000).contains(&low));
        if (0xD800..0xDC00).contains(&unit) && next_is_low {
            at += 12;
            continue;
        }
        if (0xD800..0xE000).contains(&unit) {
            let whole = whole.get_or_insert_with(|| String::with_capacity(raw.len()));
            whole.push_str(&raw[copied..at]);
            whole.push_str("\\ufffd");
            copied = at + 6;
        }
        at += 6;
    }
    match whole {
        None => Cow::Borrowed(raw),
        Some(mut whole) => {
            whole.push_str(raw.get(copied..).unwrap_or_default());
            Cow::Owned(whole)
        }
    }
}
