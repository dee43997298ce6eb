//! A borrowing reader over a JSON text that knows where it is.
//!
//! `serde`'s data model cannot say in which field a value of the wrong type stands, refuses duplicate keys and decodes
//! every string. A gateway wants the opposite: the path in the error, the last of duplicate keys, and strings left as
//! they are, because most of them are written to the upstream body unchanged. The reader therefore hands out
//! [`JsonStr`] and [`Json`], slices of the body that are known to be valid JSON.
//!
//! Nesting is limited to [`MAX_DEPTH`] everywhere, also inside values that are only skipped; recursion anywhere in the
//! gateway over what the reader accepted is thereby bounded.

mod text;
pub mod write;

pub use text::JsonStr;

use std::borrow::Cow;
use std::fmt::Write as _;

use text::{TextScan, scan_text};

/// Deepest accepted nesting of objects and arrays. Protobuf's JSON parsers, the upstream's among them, take 100 levels
/// unless told otherwise, and what a tool was given or returned stands up to three levels deeper in the upstream's body.
pub const MAX_DEPTH: usize = 96;

/// Why a text could not be read, as a sentence that names a JSON path or a byte offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// What kind of value stands somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// The JSON name of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// A value left as it stands in the body. Valid JSON, at most [`MAX_DEPTH`] deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<'a> {
    raw: Cow<'a, str>,
    kind: Kind,
}

impl Json<'_> {
    /// The JSON text.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What kind of value it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is an object or array without members.
    #[must_use]
    pub fn is_empty_container(&self) -> bool {
        let inner = self.raw.get(1..self.raw.len().saturating_sub(1)).unwrap_or_default();
        matches!(self.kind, Kind::Object | Kind::Array) && inner.trim_ascii().is_empty()
    }
}

enum Segment<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

/// Reads one JSON text from front to back.
pub struct Reader<'a> {
    text: &'a str,
    pos: usize,
    depth: usize,
    path: Vec<Segment<'a>>,
}

type Read<T> = Result<T, ReadError>;

fn syntax<T>(at: usize, what: &str) -> Read<T> {
    Err(ReadError(format!("invalid JSON at byte {at}: {what}")))
}

impl<'a> Reader<'a> {
    /// Starts at the first byte; the whole body must be UTF-8.
    pub fn new(body: &'a [u8]) -> Read<Self> {
        match std::str::from_utf8(body) {
            Ok(text) => Ok(Self::of(text)),
            Err(error) => {
                Err(ReadError(format!("invalid JSON at byte {}: invalid UTF-8", error.valid_up_to())))
            }
        }
    }

    /// Starts at the first character.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        Self { text, pos: 0, depth: 0, path: Vec::new() }
    }

    /// The current offset in bytes; it can be handed to [`Reader::at`].
    pub fn offset(&mut self) -> usize {
        self.blanks();
        self.pos
    }

    /// The text from `offset`, at or before the reader's place, up to there.
    #[must_use]
    pub fn since(&self, offset: usize) -> &'a str {
        self.text.get(offset..self.pos).unwrap_or_default()
    }

    /// The text from the reader's place on.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    /// Takes the next `length` bytes unread: one value, known to be valid at this depth.
    pub fn take(&mut self, length: usize) -> &'a str {
        let start = self.pos;
        self.pos = start.saturating_add(length).min(self.text.len());
        self.since(start)
    }

    /// Reads again what stands at `offset`, then returns to where the reader was.
    pub fn at<T>(&mut self, offset: usize, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let back = std::mem::replace(&mut self.pos, offset);
        let value = read(self)?;
        self.pos = back;
        Ok(value)
    }

    /// Runs `read` with `key` appended to the path of error messages.
    pub fn under<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.path.push(Segment::Key(Cow::Borrowed(key)));
        let value = read(self)?;
        self.path.pop();
        Ok(value)
    }

    /// An error at the current path: `messages.0.role: <message>`.
    pub fn wrong(&self, message: impl std::fmt::Display) -> ReadError {
        let mut text = String::new();
        for segment in &self.path {
            if !text.is_empty() {
                text.push('.');
            }
            match segment {
                Segment::Key(key) => text.extend(key.chars().take(64)),
                Segment::Index(index) => {
                    let _ = write!(text, "{index}");
                }
            }
        }
        if text.is_empty() {
            text.push_str("request body");
        }
        let _ = write!(text, ": {message}");
        ReadError(text)
    }

    /// An error at `key` below the current path.
    pub fn wrong_at(&self, key: &str, message: impl std::fmt::Display) -> ReadError {
        if self.path.is_empty() {
            return ReadError(format!("{key}: {message}"));
        }
        let ReadError(text) = self.wrong("");
        ReadError(format!("{}.{key}: {message}", text.trim_end_matches(": ")))
    }

    /// `<path>.<key>: field required`
    #[must_use]
    pub fn missing(&self, key: &str) -> ReadError {
        self.wrong_at(key, "field required")
    }

    #[inline]
    fn blanks(&mut self) {
        // Most bodies have none.
        if self.byte().is_some_and(|byte| byte <= b' ') {
            let rest = &self.text.as_bytes()[self.pos..];
            self.pos +=
                rest.iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')).unwrap_or(rest.len());
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    /// The kind of the next value, which is not consumed.
    #[inline]
    pub fn kind(&mut self) -> Read<Kind> {
        self.blanks();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(_) => syntax(self.pos, "expected a value"),
            None => syntax(self.pos, "unexpected end of input"),
        }
    }

    /// Requires the next value to be of `kind`; `what` is the wording of the message, with its article.
    fn expect(&mut self, kind: Kind, what: &str) -> Read<()> {
        let got = self.kind()?;
        if got == kind {
            return Ok(());
        }
        Err(self.unexpected(what, got))
    }

    /// `<path>: expected <what>, got <kind>`
    #[must_use]
    pub fn unexpected(&self, what: &str, got: Kind) -> ReadError {
        self.wrong(format_args!("expected {what}, got {}", got.as_str()))
    }

    /// Whether the next value is `null`, which is then consumed.
    pub fn null(&mut self) -> Read<bool> {
        if self.kind()? != Kind::Null {
            return Ok(false);
        }
        self.word("null")?;
        Ok(true)
    }

    /// `None` for `null`, else what `read` gives.
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.null()? { Ok(None) } else { read(self).map(Some) }
    }

    /// A boolean.
    pub fn boolean(&mut self) -> Read<bool> {
        self.expect(Kind::Boolean, "a boolean")?;
        let value = self.byte() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// A string.
    pub fn string(&mut self) -> Read<JsonStr<'a>> {
        self.expect(Kind::String, "a string")?;
        let start = self.pos + 1;
        let scan = self.text_scan()?;
        Ok(JsonStr::from_scan(&self.text[start..scan.end], &scan))
    }

    /// A finite number as it stands in the body.
    pub fn number(&mut self) -> Read<&'a str> {
        self.expect(Kind::Number, "a number")?;
        let start = self.pos;
        self.skip_number()?;
        Ok(self.since(start))
    }

    /// An integer of at most 32 bits; `4096.0` counts as one.
    pub fn integer(&mut self) -> Read<i64> {
        self.expect(Kind::Number, "an integer")?;
        let text = self.number()?;
        if let Ok(value) = text.parse::<i64>() {
            return if i32::try_from(value).is_ok() { Ok(value) } else { Err(self.out_of_range()) };
        }
        let value: f64 = text.parse().map_err(|_| self.out_of_range())?;
        if value.abs() > f64::from(i32::MAX) {
            return Err(self.out_of_range());
        }
        if value.fract() != 0.0 {
            return Err(self.wrong("expected an integer, got a fraction"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within 32 bits")]
        Ok(value as i64)
    }

    fn out_of_range(&self) -> ReadError {
        self.wrong(format_args!("number out of range, at most {}", i32::MAX))
    }

    /// An object: `field` is called with each key in order and must consume the value.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Read<()>) -> Read<()> {
        self.members(|r, key| field(r, &key))
    }

    /// As [`Reader::object`], with keys that may be kept.
    pub fn members(&mut self, mut field: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<()> {
        self.expect(Kind::Object, "an object")?;
        self.open()?;
        self.blanks();
        if self.byte() == Some(b'}') {
            self.close();
            return Ok(());
        }
        loop {
            let key = self.key()?;
            self.path.push(Segment::Key(key.clone()));
            field(self, key)?;
            self.path.pop();
            if !self.comma(b'}', "expected `,` or `}`")? {
                return Ok(());
            }
        }
    }

    /// An array: `item` is called for each element and must consume it.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.expect(Kind::Array, "an array")?;
        self.open()?;
        self.blanks();
        if self.byte() == Some(b']') {
            self.close();
            return Ok(());
        }
        for index in 0.. {
            self.path.push(Segment::Index(index));
            item(self)?;
            self.path.pop();
            if !self.comma(b']', "expected `,` or `]`")? {
                break;
            }
        }
        Ok(())
    }

    /// Skips the next value of whatever kind.
    pub fn skip(&mut self) -> Read<()> {
        self.json().map(drop)
    }

    /// The next value as it stands.
    pub fn json(&mut self) -> Read<Json<'a>> {
        let kind = self.kind()?;
        let start = self.pos;
        let lone = self.skip_value()?;
        let raw = self.since(start);
        let raw = if lone { Cow::Owned(text::without_lone_surrogates(raw)) } else { Cow::Borrowed(raw) };
        Ok(Json { raw, kind })
    }

    /// Requires that nothing but blanks follows.
    pub fn end(&mut self) -> Read<()> {
        self.blanks();
        if self.pos < self.text.len() {
            return syntax(self.pos, "unexpected text after the value");
        }
        Ok(())
    }

    fn open(&mut self) -> Read<()> {
        if self.depth == MAX_DEPTH {
            return syntax(self.pos, &format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        self.pos += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.pos += 1;
    }

    fn key(&mut self) -> Read<Cow<'a, str>> {
        self.blanks();
        match self.byte() {
            Some(b'"') => {}
            Some(_) => return syntax(self.pos, "expected a key"),
            None => return syntax(self.pos, "unexpected end of input"),
        }
        let start = self.pos + 1;
        let scan = self.text_scan()?;
        let key = JsonStr::from_scan(&self.text[start..scan.end], &scan).into_decoded();
        self.blanks();
        match self.byte() {
            Some(b':') => self.pos += 1,
            Some(_) => return syntax(self.pos, "expected `:`"),
            None => return syntax(self.pos, "unexpected end of input"),
        }
        Ok(key)
    }

    /// After a member: `true` when another one follows, `false` when the container was closed.
    #[inline]
    fn comma(&mut self, closing: u8, what: &str) -> Read<bool> {
        self.blanks();
        match self.byte() {
            Some(b',') => {
                self.pos += 1;
                Ok(true)
            }
            Some(byte) if byte == closing => {
                self.close();
                Ok(false)
            }
            Some(_) => syntax(self.pos, what),
            None => syntax(self.pos, "unexpected end of input"),
        }
    }

    fn text_scan(&mut self) -> Read<TextScan> {
        match scan_text(self.text.as_bytes(), self.pos + 1) {
            Ok(scan) => {
                self.pos = scan.end + 1;
                Ok(scan)
            }
            Err((at, what)) => syntax(at, what),
        }
    }

    fn word(&mut self, word: &str) -> Read<()> {
        let rest = &self.text.as_bytes()[self.pos..];
        let same = rest.iter().zip(word.bytes()).take_while(|(a, b)| **a == *b).count();
        self.pos += same;
        if same == word.len() {
            return Ok(());
        }
        let what = if self.byte().is_none() { "unexpected end of input" } else { "expected a value" };
        syntax(self.pos, what)
    }

    fn digits(&mut self) -> Read<()> {
        let rest = &self.text.as_bytes()[self.pos..];
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.pos += count;
        if count > 0 {
            return Ok(());
        }
        let what = if self.byte().is_none() { "unexpected end of input" } else { "expected a digit" };
        syntax(self.pos, what)
    }

    fn skip_number(&mut self) -> Read<()> {
        let start = self.pos;
        if self.byte() == Some(b'-') {
            self.pos += 1;
        }
        if self.byte() == Some(b'0') {
            self.pos += 1;
            if self.byte().is_some_and(|b| b.is_ascii_digit()) {
                return syntax(self.pos, "number with a leading zero");
            }
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.pos += 1;
            self.digits()?;
        }
        let mut exponent = false;
        if matches!(self.byte(), Some(b'e' | b'E')) {
            exponent = true;
            self.pos += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.pos += 1;
            }
            self.digits()?;
        }
        // Only these can leave the range of a double, and the parse is not free.
        if exponent || self.pos - start > 300 {
            let finite = self.text[start..self.pos].parse::<f64>().is_ok_and(f64::is_finite);
            if !finite {
                return syntax(start, "number out of range");
            }
        }
        Ok(())
    }

    /// Consumes one value of any kind; whether it holds a lone surrogate.
    fn skip_value(&mut self) -> Read<bool> {
        Ok(match self.kind()? {
            Kind::Null => {
                self.word("null")?;
                false
            }
            Kind::Boolean => {
                self.boolean()?;
                false
            }
            Kind::Number => {
                self.skip_number()?;
                false
            }
            Kind::String => self.text_scan()?.lone,
            Kind::Array => {
                let mut lone = false;
                self.array(|r| {
                    lone |= r.skip_value()?;
                    Ok(())
                })?;
                lone
            }
            Kind::Object => {
                let mut lone = false;
                self.open()?;
                self.blanks();
                if self.byte() == Some(b'}') {
                    self.close();
                    return Ok(false);
                }
                loop {
                    lone |= self.skip_key()?;
                    lone |= self.skip_value()?;
                    if !self.comma(b'}', "expected `,` or `}`")? {
                        return Ok(lone);
                    }
                }
            }
        })
    }

    fn skip_key(&mut self) -> Read<bool> {
        self.blanks();
        let lone = match self.byte() {
            Some(b'"') => self.text_scan()?.lone,
            Some(_) => return syntax(self.pos, "expected a key"),
            None => return syntax(self.pos, "unexpected end of input"),
        };
        self.blanks();
        match self.byte() {
            Some(b':') => self.pos += 1,
            Some(_) => return syntax(self.pos, "expected `:`"),
            None => return syntax(self.pos, "unexpected end of input"),
        }
        Ok(lone)
    }
}

#[cfg(test)]
mod tests;
