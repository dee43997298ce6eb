//! A schema as it stands in the request, borrowed.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::anthropic::json::{JsonStr, Kind, ReadError, Reader};

/// A JSON value whose texts belong to the document.
#[derive(Debug)]
pub(super) enum Tree<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(JsonStr<'a>),
    List(Vec<Tree<'a>>),
    Map(Map<'a>),
}

/// The members of an object in order; of equal names the last one counts.
pub(super) type Map<'a> = Vec<(Cow<'a, str>, Tree<'a>)>;

/// What `$defs` and `definitions` hold, by name.
pub(super) type Definitions<'t, 'a> = [HashMap<&'t str, &'t Tree<'a>>; 2];

const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

impl<'a> Tree<'a> {
    /// Reads a document; `None` when it is no JSON or nested too deep for the reader.
    pub(super) fn read(json: &'a str) -> Option<Self> {
        let mut reader = Reader::of(json);
        let tree = Self::value(&mut reader).ok()?;
        reader.end().ok()?;
        Some(tree)
    }

    fn value(r: &mut Reader<'a>) -> Result<Self, ReadError> {
        Ok(match r.kind()? {
            Kind::Null => {
                r.skip()?;
                Self::Null
            }
            Kind::Boolean => Self::Bool(r.boolean()?),
            Kind::Number => Self::Number(r.number()?),
            Kind::String => Self::Text(r.string()?),
            Kind::Array => {
                let mut list = Vec::new();
                r.array(|r| {
                    list.push(Self::value(r)?);
                    Ok(())
                })?;
                Self::List(list)
            }
            Kind::Object => {
                let mut map = Vec::new();
                r.members(|r, name| {
                    map.push((name, Self::value(r)?));
                    Ok(())
                })?;
                Self::Map(map)
            }
        })
    }

    fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value),
            Self::List(list) => list.get(name.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(text.decode()),
            _ => None,
        }
    }

    /// A string that is not empty.
    pub(super) fn filled(&self) -> Option<&JsonStr<'a>> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// What a reference of this document (`#`, `#/$defs/Name`, any JSON pointer of RFC 6901) stands for. `known` keeps
    /// the definitions, so that many references to many of them stay linear.
    pub(super) fn resolve<'t>(
        &'t self,
        reference: &str,
        known: &mut Option<Definitions<'t, 'a>>,
    ) -> Option<&'t Self> {
        let pointer = reference.strip_prefix('#')?;
        if pointer.is_empty() {
            return Some(self);
        }
        let mut segments = pointer.strip_prefix('/')?.split('/').map(unescaped);
        let first = segments.next()?;
        let mut found = match DEFINITIONS.iter().position(|name| *name == first) {
            Some(at) => {
                let known = known.get_or_insert_with(|| DEFINITIONS.map(|name| self.by_name(name)));
                known[at].get(segments.next()?.as_ref()).copied()?
            }
            None => self.member(&first)?,
        };
        for segment in segments {
            found = found.member(&segment)?;
        }
        Some(found)
    }

    fn by_name(&self, name: &str) -> HashMap<&str, &Self> {
        match self.member(name) {
            Some(Self::Map(map)) => map.iter().map(|(name, value)| (name.as_ref(), value)).collect(),
            _ => HashMap::new(),
        }
    }
}

/// A segment of a pointer in a URI fragment: `%20`, then `~1` and `~0`.
fn unescaped(segment: &str) -> Cow<'_, str> {
    let segment = percent_encoding::percent_decode_str(segment).decode_utf8_lossy();
    if segment.contains('~') { segment.replace("~1", "/").replace("~0", "~").into() } else { segment }
}
