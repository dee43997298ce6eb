//! Six ways to make a mistake in a script.

use std::ops::Range;

use super::lua::{Kind, Word, words};

/// One small change of one file.
#[derive(Clone, Debug)]
pub(super) struct Mutation {
    pub(super) operator: &'static str,
    /// The bytes that are replaced.
    at: Range<usize>,
    replacement: String,
}

impl Mutation {
    /// `source` with the change.
    pub(super) fn apply(&self, source: &str) -> String {
        [&source[..self.at.start], &self.replacement, &source[self.at.end..]].concat()
    }

    /// Number of the line that is changed, from 1.
    pub(super) fn line(&self, source: &str) -> usize {
        1 + source[..self.at.start].matches('\n').count()
    }

    /// The changed line.
    pub(super) fn changed(&self, source: &str) -> String {
        let start = source[..self.at.start].rfind('\n').map_or(0, |at| at + 1);
        let end = source[self.at.end..].find('\n').map_or(source.len(), |at| self.at.end + at);
        let line = [&source[start..self.at.start], &self.replacement, &source[self.at.end..end]].concat();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Commands that change something.
const WRITES: [&str; 10] = [
    "'HSET'",
    "'SET'",
    "'ZADD'",
    "'ZREM'",
    "'DEL'",
    "'HDEL'",
    "'HINCRBY'",
    "'PEXPIRE'",
    "'PUBLISH'",
    "'UNLINK'",
];
/// Libraries, whose members are no fields of records.
const LIBRARIES: [&str; 4] = ["redis", "string", "table", "math"];

/// Every mutation of `source`.
pub(super) fn mutations(source: &str) -> Vec<Mutation> {
    let words = words(source);
    let text = |at: usize| words.get(at).map_or("", |word: &Word| &source[word.at.clone()]);
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", text);
        let mut mutation = |operator, range: Range<usize>, replacement: String| {
            found.push(Mutation { operator, at: range, replacement });
        };
        let own = word.at.clone();
        match (word.kind, text(at)) {
            (Kind::Mark, mark) => {
                let swapped = match mark {
                    "<" => "<=",
                    "<=" => "<",
                    ">" => ">=",
                    ">=" => ">",
                    "==" => "~=",
                    "~=" => "==",
                    _ => continue,
                };
                mutation("swapped comparison", own, swapped.to_owned());
            }
            (Kind::Number, number) => {
                let number: f64 = number.parse().unwrap();
                for by in [1.0, -1.0] {
                    // In brackets, so that what stands before it cannot become part of it.
                    mutation("off by one", own.clone(), format!("({})", number + by));
                }
            }
            (Kind::Text, quoted) => {
                if before != "(" || at < 2 || text(at - 2) != "call" {
                    let inner = &quoted[1..quoted.len() - 1];
                    mutation("other name", own, format!("'{inner}_'"));
                }
            }
            (Kind::Name, "min" | "max") if before == "." && text(at - 2) == "math" => {
                let other = if text(at) == "min" { "max" } else { "min" };
                mutation("swapped min and max", own, other.to_owned());
            }
            (Kind::Name, "if" | "elseif") => {
                let then = (at..words.len()).find(|at| text(*at) == "then").unwrap();
                let condition = own.end..words[then].at.start;
                let negated = format!(" not ({}) ", source[condition.clone()].trim());
                mutation("negated condition", condition, negated);
            }
            (Kind::Name, name) => {
                let field = before == "." && !LIBRARIES.contains(&text(at - 2));
                let key = matches!(before, "{" | ",") && text(at + 1) == "=";
                if field || key {
                    mutation("other name", own.clone(), format!("{name}_"));
                }
                if let Some(end) = dropped(&text, at, words.len()) {
                    mutation("dropped write", own.start..words[end].at.end, "do end".to_owned());
                }
            }
        }
    }
    found
}

/// The last word of the statement that starts at word `at`, when it is a call that writes: of a command, or of a
/// function of the scripts' own.
fn dropped<'s>(text: &impl Fn(usize) -> &'s str, at: usize, words: usize) -> Option<usize> {
    let before = at.checked_sub(1).map_or("", text);
    let goes_on = [
        "=", "(", ",", "return", "and", "or", "not", "{", "[", "..", ".", ":", "in", "local", "function",
        "if", "elseif", "while", "until", "<", "<=", ">", ">=", "==", "~=", "+", "-", "*", "/", "%", "#",
    ];
    if goes_on.contains(&before) {
        return None;
    }
    let open = if text(at) == "redis" && text(at + 2) == "call" {
        WRITES.contains(&text(at + 4)).then_some(at + 3)?
    } else {
        let called = text(at + 1) == "(" && !["error", "and", "or", "not", "in"].contains(&text(at));
        called.then_some(at + 1)?
    };
    let mut depth = 0;
    (open..words).find(|at| {
        match text(*at) {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

#[test]
fn each_operator_finds_its_places() {
    let source = "local t = { n = 1 }\nif t.n < 2 then redis.call('HSET', KEYS[1], 'f', math.min(3, t.n)) end\n\
                  local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)\nwrite(t)\nreturn string.match(seq, 'x')";
    let count =
        |operator: &str| mutations(source).iter().filter(|mutation| mutation.operator == operator).count();
    assert_eq!(count("swapped comparison"), 1);
    assert_eq!(count("dropped write"), 2);
    assert_eq!(count("off by one"), 2 * 6);
    assert_eq!(count("swapped min and max"), 1);
    assert_eq!(count("negated condition"), 1);
    assert_eq!(count("other name"), 1 + 2 + 3);
    let negated =
        mutations(source).into_iter().find(|mutation| mutation.operator == "negated condition").unwrap();
    assert_eq!(negated.line(source), 2);
    assert!(negated.changed(source).starts_with("if not (t.n < 2) then redis"));
    assert!(negated.apply(source).contains("\nif not (t.n < 2) then redis"));
}
