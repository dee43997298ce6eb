//! Chunks of a known shape are read by comparison; the result must be that of reading them.

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
        4 => format!(r"{{{},{usage}}}", content(&format!(r#"{{"text":"a"}},{{"text":"{text}"}}"#))),
        5 => format!(
            r#"{{"response":{{{}}}}}"#,
            content(&format!(r#"{{"text":"{text}","thoughtSignature":"{}"}}"#, "s".repeat(50)))
        ),
        _ => format!(r#"{{"x":"{text}",{},{usage}}}"#, content(r#"{"text":"same"}"#)),
    }
}

/// What may stand where a count belongs.
const ODD_COUNTS: [&str; 17] = [
    "0",
    "00",
    "01",
    "-1",
    "1.5",
    "1e3",
    "\"7\"",
    "null",
    "",
    "4294967296",
    "18446744073709551616",
    "99999999999999999999999",
    "1 ",
    " 1",
    "1,\"thoughtsTokenCount\":9",
    "{}",
    "true",
];

fn count() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => (0_u32..2_000).prop_map(|count| count.to_string()),
        1 => prop::sample::select(&ODD_COUNTS[..]).prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[ -!#-\\[\\]-~é😀]{0,12}",
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

/// Both ways of reading the same chunks: the second time no two neighbours have the same shape, by a blank more in
/// each other one.
fn compared_and_read(chunks: &[String]) -> [Outcome; 2] {
    let apart: Vec<_> = chunks
        .iter()
        .enumerate()
        .map(|(at, chunk)| format!("{{{}{}", " ".repeat(at % 2), &chunk[1..]))
        .collect();
    [chunks, &apart].map(|chunks| {
        let payloads: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
        comparable(convert_raw("gemini-3-flash", &payloads))
    })
}

#[test]
fn counts_that_are_no_integers_are_not_taken_for_some() {
    for form in 0..7 {
        for odd in ODD_COUNTS {
            for before in ["5", odd] {
                let chunks =
                    [before, odd, "6"].map(|count| chunk(form, "a", &["7", count, "9"].map(str::to_owned)));
                let [compared, read] = compared_and_read(&chunks);
                assert_eq!(compared, read, "{odd} after {before} in form {form}");
            }
        }
    }
}

proptest! {
    #[test]
    fn comparing_gives_what_reading_gives(
        form in 0_usize..7,
        chunks in prop::collection::vec((text(), [count(), count(), count()], prop::option::weighted(0.1, 0_usize..7)), 1..8),
    ) {
        let chunks: Vec<String> =
            chunks.iter().map(|(text, counts, other)| chunk(other.unwrap_or(form), text, counts)).collect();
        let [compared, read] = compared_and_read(&chunks);
        prop_assert_eq!(compared, read);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_either_way(damage in prop::collection::vec((0_usize..200, any::<u8>()), 1..4)) {
        let good = chunk(0, "some words", &["1", "2", "3"].map(str::to_owned));
        let mut bad = good.clone().into_bytes();
        for (at, byte) in damage {
            // The first byte stays: the other copy is padded behind it.
            let at = 1 + at % (bad.len() - 1);
            bad[at] = byte;
        }
        let padded = |bytes: &[u8]| [b" { ", bytes.get(1..).unwrap_or_default()].concat();
        let compared = comparable(convert_raw("gemini-3-flash", &[good.as_bytes(), &bad]));
        let read = comparable(convert_raw("gemini-3-flash", &[good.as_bytes(), &padded(&bad)]));
        prop_assert_eq!(compared, read);
    }
}
