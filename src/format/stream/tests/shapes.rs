//! Chunks of a known shape are read by comparison; the result must be that of reading them.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{Outcome, convert_raw};
use crate::format::stream::StreamFault;

/// Chunks that are alike but for the pieces given, valid or not.
fn chunk(form: usize, text: &str, counts: &[String; 3]) -> String {
    let [prompt, candidates, other] = counts;
    let usage = format!(
        r#""usageMetadata":{{"promptTokenCount":{prompt},"candidatesTokenCount":{candidates},"totalTokenCount":{other},"details":[{{"promptTokenCount":{other},"modality":"TEXT"}}],"thoughtsTokenCount":2}}"#
    );
    let content = |part: &str| format!(r#""candidates":[{{"content":{{"role":"model","parts":[{part}]}}}}]"#);
    match form {
        0 => format!(
            r#"{{"response":{{{},{usage}}},"traceId":"t"}}"#,
            content(&format!(r#"{{"text":"{text}"}}"#))
        ),
        1 => format!(
            r#"{{"response":{{{},{usage}}}}}"#,
            content(&format!(r#"{{"thought":true,"text":"{text}"}}"#))
        ),
        2 => format!(r#"{{"response":{{{usage},{}}}}}"#, content(&format!(r#"{{"text":"{text}"}}"#))),
        3 => format!("{{{}}}", content(&format!(r#"{{"text":"{text}"}}"#))),
        4 => format!(r#"{{{},{usage}}}"#, content(&format!(r#"{{"text":"a"}},{{"text":"{text}"}}"#))),
        5 => format!(
            r#"{{"response":{{{}}}}}"#,
            content(&format!(r#"{{"text":"{text}","thoughtSignature":"{}"}}"#, "s".repeat(50)))
        ),
        _ => format!(r#"{{"x":"{text}",{},{usage}}}"#, content(r#"{"text":"same"}"#)),
    }
}

fn count() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0_u32..2_000).prop_map(|count| count.to_string()),
        1 => prop::sample::select(vec![
            "0", "00", "01", "-1", "1.5", "1e3", "\"7\"", "null", "", "4294967296", "18446744073709551616",
            "99999999999999999999999", "1 ", " 1", "1,\"thoughtsTokenCount\":9", "{}", "true",
        ]).prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -!#-\\[\\]-~é😀]{0,12}",
        1 => prop::sample::select(vec![
            "\\n", "\\u0041", "\\ud83d\\ude00", "\\ud83d", "\\ud83d\\ud83d\\ude00", "\\x", "\\u00", "\n", "\u{1}", "\\", "\",\"thought\":true,\"x\":\"",
            "a\"", "\"},{\"text\":\"b", "\\\"", "\\\\",
        ]).prop_map(str::to_owned),
    ]
}

/// The same, as far as white space between tokens makes no difference to it.
fn comparable(mut outcome: Outcome) -> Outcome {
    if let Some(StreamFault::Malformed { line, column, .. }) = &mut outcome.fault {
        (*line, *column) = (0, 0);
    }
    outcome
}

proptest! {
    #[test]
    fn comparing_gives_what_reading_gives(
        form in 0_usize..7,
        chunks in prop::collection::vec((text(), [count(), count(), count()], prop::option::weighted(0.1, 0_usize..7)), 1..8),
    ) {
        let chunks: Vec<String> =
            chunks.iter().map(|(text, counts, other)| chunk(other.unwrap_or(form), text, counts)).collect();
        // No two neighbours have the same shape: a blank more in each.
        let mut apart = Vec::new();
        for (blanks, chunk) in chunks.iter().enumerate() {
            let mut padded = String::from("{");
            let _ = write!(padded, "{}{}", " ".repeat(blanks % 2), &chunk[1..]);
            apart.push(padded);
        }
        let bytes = |chunks: &[String]| {
            let payloads: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
            comparable(convert_raw("gemini-3-flash", &payloads))
        };
        prop_assert_eq!(bytes(&chunks), bytes(&apart));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_either_way(damage in prop::collection::vec((0_usize..200, any::<u8>()), 1..4)) {
        let good = chunk(0, "some words", &["1", "2", "3"].map(str::to_owned));
        let mut bad = good.clone().into_bytes();
        for (at, byte) in damage {
            let at = at % bad.len();
            bad[at] = byte;
        }
        let padded = |bytes: &[u8]| [b" { ", bytes.get(1..).unwrap_or_default()].concat();
        // Padding is no help where the first byte itself is damaged.
        prop_assume!(bad[0] == b'{');
        let compared = comparable(convert_raw("gemini-3-flash", &[good.as_bytes(), &bad]));
        let read = comparable(convert_raw("gemini-3-flash", &[good.as_bytes(), &padded(&bad)]));
        prop_assert_eq!(compared, read);
    }
}
