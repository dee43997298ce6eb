//! JSON text that travels as it is: string literals and whole values copied from one document into another.
//!
//! Copying a literal instead of decoding and encoding it is what makes a text delta cheap. It is safe inside
//! an SSE line, since a JSON string cannot contain a raw line break.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use memchr::memchr;
use serde_json::value::RawValue;

/// A JSON string literal, quotes included, whose escapes all stand for real characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal<'a>(Cow<'a, str>);

impl<'a> Literal<'a> {
    /// The literal `""`.
    pub const EMPTY: Literal<'static> = Literal(Cow::Borrowed("\"\""));

    /// The value if it is a string, borrowed where possible. Half a surrogate pair becomes U+FFFD.
    #[must_use]
    pub fn from_raw(raw: &'a RawValue) -> Option<Self> {
        raw.get().starts_with('"').then(|| Self(whole_surrogates(raw.get())))
    }

    /// The literal for a text.
    #[must_use]
    pub fn encode(text: &str) -> Literal<'static> {
        let mut out = BytesMut::with_capacity(text.len() + 2);
        push_string(&mut out, text);
        Literal(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
    }

    /// The literal as it stands in a document.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The literal without its quotes: several in a row are again the inside of one literal.
    #[must_use]
    pub fn inner(&self) -> &str {
        &self.0[1..self.0.len() - 1]
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 2
    }

    /// The text itself; borrowed when nothing is escaped.
    #[must_use]
    pub fn decode(&self) -> Cow<'_, str> {
        if memchr(b'\\', self.0.as_bytes()).is_none() {
            return Cow::Borrowed(self.inner());
        }
        // A literal of this type always decodes.
        Cow::Owned(serde_json::from_str(&self.0).unwrap_or_default())
    }

    /// The same literal, detached from the document it came from.
    #[must_use]
    pub fn into_owned(self) -> Literal<'static> {
        Literal(Cow::Owned(self.0.into_owned()))
    }
}

/// `json` without white space between its tokens and without halves of surrogate pairs; borrowed when there are
/// none.
///
/// `json` must be valid JSON. Numbers, escapes and the order of keys stay as they are.
#[must_use]
pub fn compact(json: &str) -> Cow<'_, str> {
    let whole = whole_surrogates(json);
    let mut kept: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    let bytes = whole.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b' ' | b'\t' | b'\n' | b'\r' => {
                kept.get_or_insert_with(|| String::with_capacity(whole.len())).push_str(&whole[copied..at]);
                at += 1;
                copied = at;
            }
            _ => at += 1,
        }
    }
    match kept {
        None => whole,
        Some(mut kept) => {
            kept.push_str(&whole[copied..]);
            Cow::Owned(kept)
        }
    }
}

/// Appends `text` as a JSON string literal.
pub fn push_string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => b'u',
            _ => continue,
        };
        out.put_slice(&bytes[copied..at]);
        out.put_slice(&[b'\\', short]);
        if short == b'u' {
            out.put_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        copied = at + 1;
    }
    out.put_slice(&bytes[copied..]);
    out.put_u8(b'"');
}

/// Appends a number in decimal digits.
pub(crate) fn push_number(out: &mut BytesMut, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
}

/// The offset behind the string that starts at `start`.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = json.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if json[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    json.len()
}

/// `json` with every escaped half of a surrogate pair replaced by U+FFFD. A half is valid JSON grammar but no
/// text: strict parsers refuse the whole document for it.
fn whole_surrogates(json: &str) -> Cow<'_, str> {
    let Some(mut half) = lone_surrogate(json.as_bytes(), 0) else { return Cow::Borrowed(json) };
    let mut whole = String::with_capacity(json.len());
    let mut copied = 0;
    loop {
        whole.push_str(&json[copied..half]);
        whole.push_str("\\ufffd");
        copied = half + ESCAPE_LENGTH;
        match lone_surrogate(json.as_bytes(), copied) {
            Some(next) => half = next,
            None => break,
        }
    }
    whole.push_str(&json[copied..]);
    Cow::Owned(whole)
}

/// Length of `\uXXXX`.
const ESCAPE_LENGTH: usize = 6;

/// The offset of the first escaped half of a surrogate pair at or after `from`.
fn lone_surrogate(json: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr(b'\\', json.get(at..)?)?;
        at += match code_unit(json, at) {
            None => 2,
            Some(0xD800..=0xDBFF) => match code_unit(json, at + ESCAPE_LENGTH) {
                Some(0xDC00..=0xDFFF) => 2 * ESCAPE_LENGTH,
                _ => return Some(at),
            },
            Some(0xDC00..=0xDFFF) => return Some(at),
            Some(_) => ESCAPE_LENGTH,
        };
    }
}

/// The value of a `\uXXXX` escape at this offset.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE_LENGTH)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{Literal, compact, push_number, push_string};
    use bytes::BytesMut;
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    fn literal(json: &str) -> String {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        Literal::from_raw(raw).unwrap().as_json().to_owned()
    }

    #[test]
    fn literals_are_copied() {
        for json in [r#""""#, r#""a\n\u0041\ud83d\ude00é""#, r#""\\ud800""#, r#""\\\\ud800 \"""#] {
            assert_eq!(literal(json), json);
        }
        let number: &RawValue = serde_json::from_str("5").unwrap();
        assert_eq!(Literal::from_raw(number), None);
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        for (json, wanted) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00x""#, r#""\ufffd\ud83d\ude00x""#),
            (r#""\\\uD83Dn""#, r#""\\\ufffdn""#),
        ] {
            assert_eq!(literal(json), wanted);
        }
        assert_eq!(compact(r#"{"a":"\ud800"}"#), r#"{"a":"\ufffd"}"#);
    }

    #[test]
    fn compacting_keeps_strings_numbers_and_order() {
        let spaced = "{ \"b\" : [ 1.50 ,\n 1e3, 12345678901234567890123 ] ,\t\"a \\\" b\" : \" x\\\\\" }\r\n";
        assert_eq!(compact(spaced), r#"{"b":[1.50,1e3,12345678901234567890123],"a \" b":" x\\"}"#);
        assert!(matches!(compact(r#"{"a b":"c d"}"#), std::borrow::Cow::Borrowed(_)));
    }

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 4_096, u64::MAX] {
            let mut out = BytesMut::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string());
        }
    }

    proptest! {
        #[test]
        fn strings_are_written_as_json(text in any::<String>()) {
            let mut out = BytesMut::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
            let literal = Literal::encode(&text);
            let decoded = literal.decode();
            prop_assert_eq!(&*decoded, text.as_str());
        }

        #[test]
        fn compacting_any_document(text in any::<String>(), depth in 0_usize..4) {
            let mut value = Value::String(text);
            for _ in 0..depth {
                value = serde_json::json!({ "k \"\\": [value, 1, true] });
            }
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty).into_owned(), serde_json::to_string(&value).unwrap());
        }
    }
}
