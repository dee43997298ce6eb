//! Writing JSON: what travels from one document into another, and what is written anew.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::text::{plain_run, scan_text, whole_surrogates};

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
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_run(rest));
        out.put_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.put_slice(&[b'\\', byte]),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            control => {
                let digits = [HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]];
                out.put_slice(b"\\u00");
                out.put_slice(&digits);
            }
        }
        rest = after;
    }
    out.put_u8(b'"');
}

/// Appends a number in decimal digits.
pub fn push_number(out: &mut impl BufMut, mut number: u64) {
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
    scan_text(json, start + 1).map_or(json.len(), |scan| scan.end + 1)
}

#[cfg(test)]
mod tests {
    use super::{compact, push_number, push_string};
    use bytes::BytesMut;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        assert_eq!(compact(r#"{"a":"\ud800"}"#), r#"{"a":"\ufffd"}"#);
        assert_eq!(compact(r#"{ "\udead" : "\ud83d\ude00" }"#), r#"{"\ufffd":"\ud83d\ude00"}"#);
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
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
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
