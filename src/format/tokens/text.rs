//! How many tokens a text has, about: one pass, no tables.

/// Weights in thousandths of a token.
const WORD: u64 = 1_065;
/// Each letter of a word behind the sixth, and each further capital.
const LONG_WORD: u64 = 164;
const DIGIT: u64 = 435;
const PUNCTUATION: u64 = 1_022;
/// A run of white space that is more than one character.
const SPACES: u64 = 473;
const LINE: u64 = 335;
const TAB: u64 = 801;
/// Accented Latin, Greek, Cyrillic.
const ACCENTED: u64 = 517;
const CJK: u64 = 930;
const HANGUL: u64 = 1_269;
/// Emoji and all other scripts.
const OTHER: u64 = 2_536;
/// Letters and digits that go on without a break, as in base64.
const SOLID: u64 = 712;
const SOLID_FROM: u32 = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Digit,
    Space,
    Punctuation,
    Other,
}

#[derive(Default)]
struct Scan {
    sum: u64,
    previous: Option<Kind>,
    run: u32,
    capital: bool,
    solid: u32,
}

/// The size of JSON-escaped text; escapes count as what they stand for.
pub(super) fn thousandths(raw: &str) -> u64 {
    let mut scan = Scan::default();
    let mut rest = raw.chars();
    while let Some(next) = rest.next() {
        let character = match next {
            '\\' => escaped(&mut rest),
            plain => plain,
        };
        scan.take(character);
    }
    scan.sum
}

fn escaped(rest: &mut std::str::Chars<'_>) -> char {
    match rest.next() {
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r' | 'b' | 'f') | None => ' ',
        Some('u') => {
            let code =
                rest.by_ref().take(4).fold(0, |code, digit| code * 16 + digit.to_digit(16).unwrap_or(0));
            // Halves of a pair count as what the pair is: one of the other characters.
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        Some(other) => other,
    }
}

impl Scan {
    fn take(&mut self, c: char) {
        let solid = c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
        self.solid = if solid { self.solid.saturating_add(1) } else { 0 };
        let kind = match c {
            'A'..='Z' | 'a'..='z' => Kind::Letter,
            '0'..='9' => Kind::Digit,
            '\0'..=' ' => Kind::Space,
            '!'..='\x7f' => Kind::Punctuation,
            _ => Kind::Other,
        };
        if self.solid > SOLID_FROM {
            self.sum += SOLID;
            (self.previous, self.run, self.capital) = (Some(kind), 2, false);
            return;
        }
        self.run = if self.previous == Some(kind) { self.run.saturating_add(1) } else { 1 };
        self.previous = Some(kind);
        let capital = c.is_ascii_uppercase();
        self.sum += match kind {
            Kind::Letter => self.letter(capital),
            Kind::Digit => DIGIT,
            Kind::Space => self.space(c),
            Kind::Punctuation if self.run == 1 => PUNCTUATION,
            Kind::Punctuation => 0,
            Kind::Other => match c {
                '\u{80}'..'\u{530}' => ACCENTED,
                '\u{ac00}'..'\u{d7a4}' => HANGUL,
                '\u{2e80}'..'\u{e000}' => CJK,
                _ => OTHER,
            },
        };
        self.capital = capital;
    }

    /// A capital behind a small letter begins a word, as in `camelCase`.
    fn letter(&mut self, capital: bool) -> u64 {
        let further = if capital && self.capital { LONG_WORD } else { 0 };
        if self.run == 1 || (capital && !self.capital) {
            self.run = 1;
            return WORD + further;
        }
        further + if self.run > 6 { LONG_WORD } else { 0 }
    }

    fn space(&self, c: char) -> u64 {
        let run = if self.run == 2 { SPACES } else { 0 };
        run + match c {
            '\n' => LINE,
            '\t' => TAB,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::thousandths;

    /// The error against the tokenizer, per mille: median and 95th percentile of each kind.
    #[test]
    fn the_error_against_a_tokenizer_is_small() {
        let texts: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/golden/tokens.json")).unwrap();
        assert!(texts.len() >= 200);
        let mut errors: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for one in &texts {
            let escaped = one["text"].to_string();
            let estimate = thousandths(&escaped[1..escaped.len() - 1]);
            let actual = one["tokens"].as_u64().unwrap() * 1_000;
            let error = estimate.abs_diff(actual) * 1_000 / actual;
            for kind in [one["kind"].as_str().unwrap(), "all"] {
                errors.entry(kind).or_default().push(error);
            }
        }
        for (kind, list) in &mut errors {
            list.sort_unstable();
            let (median, p95) = (list[list.len() / 2], list[list.len() * 95 / 100]);
            println!("{kind}: {} texts, median {median}, p95 {p95}", list.len());
            if *kind == "all" {
                assert!(median <= 50 && p95 <= 200, "median {median}, p95 {p95}");
            }
            assert!(median <= 180 && p95 <= 400, "{kind}: median {median}, p95 {p95}");
        }
    }
}
