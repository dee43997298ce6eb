//! Descriptions and the hints in them.

use std::borrow::Cow;
use std::fmt::Write as _;

use indexmap::IndexSet;

use super::tree::Tree;
use super::view::{CONSTRAINTS, Kind, View};
use crate::format::request::write_string;

/// Bytes of one constraint that are shown.
const SHOWN: usize = 200;
/// Bytes of one list of values that are shown where the target has no `enum`.
const LISTED: usize = 500;

/// Hints of references, unions and joined options in one description.
const HINTS: usize = 32;

/// A description in its escaped form.
#[derive(Clone, Debug, Default)]
pub(super) struct Description<'t>(Option<Cow<'t, str>>);

impl<'t> Description<'t> {
    /// Anything but a string that is not empty is none.
    pub(super) fn of(tree: &'t Tree<'_>) -> Self {
        Self(tree.filled().map(|text| Cow::Borrowed(text.raw())))
    }

    /// The text itself.
    pub(super) fn decode(&self) -> Option<String> {
        serde_json::from_str(&format!("\"{}\"", self.0.as_ref()?)).ok()
    }

    /// Takes `other` where there is none.
    pub(super) fn fill(&mut self, other: Self) {
        self.0 = self.0.take().or(other.0);
    }

    /// Appends another description: `base (other)`, or the other alone.
    pub(super) fn add(&mut self, other: Self) {
        if let Some(other) = other.0 {
            self.append(&other);
        }
    }

    /// Appends a hint: `base (hint)`, or the hint alone.
    fn hint(&mut self, hint: &str) {
        let mut escaped = Vec::with_capacity(hint.len() + 2);
        write_string(&mut escaped, hint);
        if let Ok(escaped) = str::from_utf8(&escaped) {
            self.append(&escaped[1..escaped.len() - 1]);
        }
    }

    /// What is there already is not repeated.
    fn append(&mut self, escaped: &str) {
        let Some(text) = &mut self.0 else {
            self.0 = Some(Cow::Owned(escaped.to_owned()));
            return;
        };
        let rest = text.strip_prefix(escaped);
        let there = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
            || text
                .match_indices(escaped)
                .any(|(at, found)| text[..at].ends_with('(') && text[at + found.len()..].starts_with(')'));
        if !there {
            let text = text.to_mut();
            text.reserve(escaped.len() + 3);
            text.extend([" (", escaped, ")"]);
        }
    }

    /// Whether the values are listed already.
    fn lists_values(&self) -> bool {
        self.0.as_ref().is_some_and(|text| text.starts_with("Allowed: ") || text.contains("(Allowed: "))
    }

    /// `,"description":"…"`, or nothing.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(text) = &self.0 {
            out.extend_from_slice(b",\"description\":\"");
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
    }
}

/// The description of a node of this kind, with all its hints.
pub(super) fn of<'t>(view: &View<'t, '_>, kind: Kind, root: bool) -> Description<'t> {
    let mut text = view.description.clone();
    for hint in view.hints.iter().take(HINTS) {
        text.hint(hint);
    }
    if let Some(hint) = accepts(&view.kinds) {
        text.hint(&hint);
    }
    if view.nullable && !root {
        text.hint("nullable");
    }
    if let Some(values) = &view.values
        && !text.lists_values()
        && let Some(hint) = allowed(values, kind)
    {
        text.hint(&hint);
    }
    if matches!(view.others, Some(Tree::Bool(false))) {
        text.hint("No extra properties allowed");
    }
    for (keyword, value) in CONSTRAINTS.iter().zip(view.constraints) {
        if let Some(value) = value {
            text.hint(&format!("{keyword}: {}", cut(&shown(value), SHOWN)));
        }
    }
    for hint in maps(view) {
        text.hint(&hint);
    }
    text
}

/// `Accepts: a | b` for more than one type, without repetitions.
pub(super) fn accepts(kinds: &[Kind]) -> Option<String> {
    let mut distinct: Vec<&str> = Vec::new();
    for kind in kinds {
        if !distinct.contains(&kind.as_str()) {
            distinct.push(kind.as_str());
        }
    }
    (distinct.len() > 1).then(|| format!("Accepts: {}", distinct.join(" | ")))
}

/// `One of: a, b | c`: the properties that go together, where they differ.
pub(super) fn one_of(options: &[Vec<&str>]) -> Option<String> {
    if options.windows(2).all(|pair| pair[0] == pair[1]) {
        return None;
    }
    let sets: Vec<_> = options.iter().map(|names| names.join(", ")).collect();
    Some(format!("One of: {}", cut(&sets.join(" | "), LISTED)))
}

/// `Allowed: a, b`. Strings have an `enum` as well, so long lists are left to it.
fn allowed(values: &[&Tree<'_>], kind: Kind) -> Option<String> {
    let distinct: IndexSet<_> = values.iter().map(|value| shown(value)).collect();
    let short = |length: usize| (2..=10).contains(&length);
    let listed = match kind {
        // Counted as well as they are written, so that converting again adds nothing.
        Kind::String => short(distinct.len()) || short(written(values).count()),
        _ => !values.is_empty(),
    };
    listed.then(|| {
        let list: Vec<_> = distinct.iter().map(Cow::as_ref).collect();
        format!("Allowed: {}", cut(&list.join(", "), LISTED))
    })
}

/// The distinct values of a string that the target takes: neither `null` nor empty.
pub(super) fn written<'s>(values: &[&'s Tree<'_>]) -> impl Iterator<Item = Cow<'s, str>> {
    let texts = values.iter().filter(|value| !matches!(value, Tree::Null)).map(|value| shown(value));
    texts.filter(|text| !text.is_empty()).collect::<IndexSet<_>>().into_iter()
}

/// What is said of properties by other means than their names.
fn maps(view: &View<'_, '_>) -> Vec<String> {
    let kind = |schema: &Tree<'_>| match schema {
        Tree::Map(map) => {
            let plain = View::of(map, &mut super::view::Links::default());
            plain.kind().map_or("any", Kind::as_str)
        }
        _ => "any",
    };
    let mut hints = Vec::new();
    if let Some(others @ Tree::Map(map)) = view.others
        && !map.is_empty()
    {
        hints.push(format!("Other properties: {}", kind(others)));
    }
    for (pattern, schema) in view.matching.into_iter().flatten().take(5) {
        hints.push(format!("Properties matching {}: {}", cut(pattern, SHOWN), kind(schema)));
    }
    if let Some(Tree::Map(names)) = view.names {
        for (keyword, value) in names {
            match (keyword.as_ref(), value) {
                ("enum", Tree::List(list)) => {
                    let list: Vec<_> = list.iter().map(shown).collect();
                    hints.push(format!("Property names: {}", cut(&list.join(", "), LISTED)));
                }
                ("pattern", Tree::Text(_)) => {
                    hints.push(format!("Property names match {}", cut(&shown(value), SHOWN)));
                }
                _ => {}
            }
        }
    }
    hints
}

/// A value in words: strings without quotes, all else as JSON.
pub(super) fn shown<'t>(value: &'t Tree<'_>) -> Cow<'t, str> {
    match value {
        Tree::Text(text) => text.decode(),
        Tree::Number(text) => Cow::Borrowed(text),
        _ => {
            let mut text = String::new();
            print(&mut text, value);
            Cow::Owned(text)
        }
    }
}

fn print(out: &mut String, value: &Tree<'_>) {
    match value {
        Tree::Null => out.push_str("null"),
        Tree::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Tree::Number(text) => out.push_str(text),
        Tree::Text(text) => out.extend(["\"", text.raw(), "\""]),
        Tree::List(list) => {
            for (index, item) in list.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                print(out, item);
            }
            out.push_str(if list.is_empty() { "[]" } else { "]" });
        }
        Tree::Map(map) => {
            for (index, (name, item)) in map.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                // Writing to a string cannot fail.
                let _ = write!(out, "{}:", serde_json::Value::from(name.as_ref()));
                print(out, item);
            }
            out.push_str(if map.is_empty() { "{}" } else { "}" });
        }
    }
}

/// At most `length` bytes of `text`, with `…` for the rest.
fn cut(text: &str, length: usize) -> Cow<'_, str> {
    if text.len() <= length {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(length)]))
}
