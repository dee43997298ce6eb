//! Words of a Lua text, as far as the scripts use the language.

use std::ops::Range;

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or a keyword.
    Name,
    Number,
    /// With its quotes.
    Text,
    /// An operator or a bracket.
    Mark,
}

/// A word and where it stands, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) kind: Kind,
    pub(super) at: Range<usize>,
}

/// The words of `source`; comments and blanks are left out.
pub(super) fn words(source: &str) -> Vec<Word> {
    let bytes = source.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        let rest = &bytes[at..];
        let run = |fits: fn(u8) -> bool| rest.iter().take_while(|byte| fits(**byte)).count();
        let (kind, length) = match first {
            b' ' | b'\n' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'-' if rest.starts_with(b"--") => {
                at += run(|byte| byte != b'\n');
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                (Kind::Name, run(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
            }
            b'0'..=b'9' => (Kind::Number, run(|byte| byte.is_ascii_alphanumeric() || byte == b'.')),
            b'\'' | b'"' => (Kind::Text, text(rest, first)),
            _ if rest.starts_with(b"...") => (Kind::Mark, 3),
            _ => {
                let double: [&[u8]; 5] = [b"<=", b">=", b"==", b"~=", b".."];
                (Kind::Mark, if double.iter().any(|mark| rest.starts_with(mark)) { 2 } else { 1 })
            }
        };
        words.push(Word { kind, at: at..at + length });
        at += length;
    }
    words
}

/// The length of a quoted text with its quotes.
fn text(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[test]
fn words_are_told_apart() {
    let source = "if a.b ~= 'x\\'--' then -- no\n  n = n..1.5 end";
    let words = words(source);
    let texts: Vec<_> = words.iter().map(|word| &source[word.at.clone()]).collect();
    assert_eq!(texts, ["if", "a", ".", "b", "~=", "'x\\'--'", "then", "n", "=", "n", "..", "1.5", "end"]);
    assert_eq!(words[5].kind, Kind::Text);
    assert_eq!(words[11].kind, Kind::Number);
}
