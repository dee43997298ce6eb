use proptest::prelude::*;

use super::{JsonStr, Kind, Reader};

fn whole(text: &str) -> Result<super::Json<'_>, String> {
    let mut reader = Reader::new(text.as_bytes()).map_err(|e| e.to_string())?;
    let value = reader.json().map_err(|e| e.to_string())?;
    reader.end().map_err(|e| e.to_string())?;
    Ok(value)
}

fn string(text: &str) -> JsonStr<'_> {
    Reader::new(text.as_bytes()).unwrap().string().unwrap()
}

#[test]
fn escapes_decode() {
    let text = r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 z""#;
    assert_eq!(string(text).decode(), "a\"\\/\u{8}\u{c}\n\r\té😀 z");
    assert_eq!(string(text).raw(), &text[1..text.len() - 1]);
}

#[test]
fn cut_keeps_escapes_whole() {
    let text = string(r#""aé\"\u00e9\ud83d\ude00z""#);
    for (max, want) in [
        (0, ""),
        (1, "a"),
        (2, "a"),
        (3, "aé"),
        (4, "aé"),
        (5, r#"aé\""#),
        (10, r#"aé\""#),
        (11, r#"aé\"\u00e9"#),
        (22, r#"aé\"\u00e9"#),
        (23, r#"aé\"\u00e9\ud83d\ude00"#),
        (99, r#"aé\"\u00e9\ud83d\ude00z"#),
    ] {
        assert_eq!(text.cut(max).raw(), want, "{max}");
    }
    assert_eq!(
        string(r#""\\n\nb""#).split_line().map(|(a, b)| (a.raw().to_owned(), b.raw().to_owned())),
        Some((r"\\n".to_owned(), "b".to_owned()))
    );
    assert_eq!(string(r#""a\\nb""#).split_line(), None);
}

#[test]
fn whole_literals_and_insides() {
    for text in [r#""""#, r#""a\n\u0041\ud83d\ude00é""#, r#""\\ud800""#, r#""\\\\ud800 \"""#] {
        let read = JsonStr::from_literal(text).unwrap();
        assert_eq!(read, string(text));
        let mut written = bytes::BytesMut::new();
        read.into_owned().write(&mut written);
        assert_eq!(written, text);
        let document = format!("[{text}]");
        assert_eq!(JsonStr::scan(document.as_bytes(), 2), Some((string(text), text.len())));
    }
    for no_string in ["5", "", "\"", "\"a", "\"a\"b\"", "{}", "\"\\\"", "\"\n\""] {
        assert_eq!(JsonStr::from_literal(no_string), None, "{no_string}");
    }
    assert_eq!(JsonStr::scan(b"\"a\xff\"", 1), None);
    assert_eq!(JsonStr::scan(b"\"", 9), None);
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    for (text, want) in [
        (r#""a\ud83d b""#, "a\u{fffd} b"),
        (r#""\ude00""#, "\u{fffd}"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
        (r#""\\ud83d""#, "\\ud83d"),
    ] {
        assert_eq!(string(text).decode(), want, "{text}");
    }
    assert_eq!(whole(r#"{"k":["x\udc00"]}"#).unwrap().raw(), r#"{"k":["x\ufffd"]}"#);
}

#[test]
fn blank_follows_ecmascript() {
    for (text, blank) in [
        (r#""""#, true),
        (r#"" \n\t ""#, true),
        ("\"\u{feff}\u{a0}\"", true),
        (r#""\u00a0""#, true),
        (r#""\u0085""#, false),
        (r#""\\""#, false),
        (r#"" x""#, false),
    ] {
        assert_eq!(string(text).is_blank(), blank, "{text}");
    }
}

#[test]
fn syntax_errors_carry_the_byte_offset() {
    for (text, at) in [
        ("", 0),
        ("  ", 2),
        ("{", 1),
        ("{\"a\"", 4),
        ("{\"a\" 1}", 5),
        ("{\"a\":1,}", 7),
        ("{a:1}", 1),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("\"ab", 3),
        ("\"a\\x\"", 3),
        ("\"a\\u12g4\"", 6),
        ("\"a\u{1}\"", 2),
        ("01", 1),
        ("-", 1),
        ("1.", 2),
        ("1.x", 2),
        ("1e", 2),
        ("nul", 3),
        ("nulL", 3),
        ("1 2", 2),
        ("[1e999]", 1),
    ] {
        let error = whole(text).unwrap_err();
        assert!(error.starts_with(&format!("invalid JSON at byte {at}: ")), "{text:?}: {error}");
    }
}

#[test]
fn depth_is_limited_without_recursion_trouble() {
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert!(whole(&deep(96)).is_ok());
    assert_eq!(whole(&deep(97)).unwrap_err(), "invalid JSON at byte 96: nested deeper than 96 levels");
    assert!(whole(&"{\"a\":".repeat(1_000_000)).is_err());
}

#[test]
fn integers_have_a_range() {
    let read =
        |text: &'static str| Reader::new(text.as_bytes()).unwrap().integer().map_err(|e| e.to_string());
    assert_eq!(read("4096.0"), Ok(4096));
    assert_eq!(read("1e3"), Ok(1000));
    assert_eq!(read("-1"), Ok(-1));
    assert!(read("1.5").is_err());
    assert!(read("99999999999999999999999").is_err());
    assert!(read("1e300").is_err());
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn texts_are_written_as_they_are_read(text in any::<String>()) {
        let encoded = JsonStr::encode(&text);
        prop_assert_eq!(encoded.decode(), text.as_str());
        let mut written = bytes::BytesMut::new();
        encoded.write(&mut written);
        prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
    }

    #[test]
    fn the_first_special_byte_is_found(
        length in 0_usize..10_000,
        places in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\"\\\n\0\x1f".to_vec())), 0..3),
    ) {
        let mut bytes = "aé\u{7f}".repeat(length / 4).into_bytes();
        for (place, special) in places {
            if !bytes.is_empty() {
                let at = place.index(bytes.len());
                bytes[at] = special;
            }
        }
        let first = bytes.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'));
        prop_assert_eq!(super::text::plain_run(&bytes), first.unwrap_or(bytes.len()));
    }

    #[test]
    fn accepts_what_serde_json_writes(value in value()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let read = whole(&text).unwrap();
        prop_assert_eq!(read.raw(), text.as_str());
        prop_assert_eq!(read.kind() == Kind::Null, value.is_null());
        if let Some(want) = value.as_str() {
            let read = string(&text);
            prop_assert_eq!(read.decode(), want);
        }
    }

    #[test]
    fn agrees_with_serde_json_on_damaged_text(value in value(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = with & 0x7f;
        let ours = Reader::new(&bytes).is_ok_and(|mut r| r.json().is_ok() && r.end().is_ok());
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
        // Lone surrogates are the one thing that we take and it does not.
        if ours != theirs {
            prop_assert!(ours && String::from_utf8_lossy(&bytes).contains("\\u"));
        }
    }
}
