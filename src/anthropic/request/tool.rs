//! Tool declarations and the choice among them.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::anthropic::json::{Json, JsonStr, Kind, Reader};

use super::Read;

/// The `tools` field.
#[derive(Clone, Debug)]
pub struct Tools<'a> {
    /// The whole array as it stands in the body.
    pub raw: &'a str,
    /// Its number where it was known before it was read.
    pub known: Option<u64>,
    /// Empty where it was known.
    read: Vec<Tool<'a>>,
}

/// Arrays of tools that were read before. Clients send the same ones with every request, and to compare one costs a
/// small part of reading it.
pub trait KnownTools {
    /// Number and length in bytes of the known array that `text` begins with. It was read without an error and is not
    /// empty.
    fn front(&self, text: &str) -> Option<(u64, usize)>;
}

/// Nothing is known.
impl KnownTools for () {
    fn front(&self, _: &str) -> Option<(u64, usize)> {
        None
    }
}

/// One tool. Name, description and schema are the first non-empty ones of the places listed in spec
/// `conversion.md` §3.9 (`name`, `function.name`, `custom.name`, …).
#[derive(Clone, Debug)]
pub struct Tool<'a> {
    /// The name.
    pub name: Option<Cow<'a, str>>,
    /// The description.
    pub description: Option<JsonStr<'a>>,
    /// The schema of the arguments.
    pub schema: Option<Json<'a>>,
    /// The `type` of a tool whose schema only the original API knows, such as `web_search_20250305` or
    /// `bash_20250124`; `None` for functions of the client.
    pub typed: Option<Cow<'a, str>>,
}

#[derive(Default)]
struct Half<'a> {
    name: Option<JsonStr<'a>>,
    description: Option<JsonStr<'a>>,
    input_schema: Option<Json<'a>>,
    parameters: Option<Json<'a>>,
}

impl<'a> Half<'a> {
    fn field(&mut self, r: &mut Reader<'a>, key: &str) -> Read<()> {
        match key {
            "name" => self.name = filled(r)?,
            "description" => self.description = filled(r)?,
            "input_schema" => self.input_schema = schema(r)?,
            "parameters" => self.parameters = schema(r)?,
            _ => r.skip()?,
        }
        Ok(())
    }

    fn read(r: &mut Reader<'a>) -> Read<Self> {
        let mut half = Self::default();
        r.object(|r, key| half.field(r, key))?;
        Ok(half)
    }
}

fn filled<'a>(r: &mut Reader<'a>) -> Read<Option<JsonStr<'a>>> {
    Ok(r.optional(Reader::string)?.filter(|text| !text.is_empty()))
}

fn schema<'a>(r: &mut Reader<'a>) -> Read<Option<Json<'a>>> {
    match r.kind()? {
        Kind::Object => r.json().map(Some),
        Kind::Null | Kind::Boolean => r.skip().map(|()| None),
        other => Err(r.unexpected("an object", other)),
    }
}

impl<'a> Tools<'a> {
    /// What is known already is neither read nor checked.
    pub(super) fn read(r: &mut Reader<'a>, known: &impl KnownTools) -> Read<Self> {
        let start = r.offset();
        if let Some((number, length)) = known.front(r.rest()) {
            return Ok(Self { raw: r.take(length), known: Some(number), read: Vec::new() });
        }
        let read = Self::elements(r)?;
        Ok(Self { raw: r.since(start), known: None, read })
    }

    /// Its elements in order; read now where it was known.
    #[must_use]
    pub fn list(&self) -> Cow<'_, [Tool<'a>]> {
        match self.known {
            // It was read without an error before.
            Some(_) => Self::elements(&mut Reader::of(self.raw)).unwrap_or_default().into(),
            None => Cow::Borrowed(&self.read),
        }
    }

    /// Whether it has no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_none() && self.read.is_empty()
    }

    fn elements(r: &mut Reader<'a>) -> Read<Vec<Tool<'a>>> {
        let mut list = Vec::new();
        let mut names = HashSet::new();
        r.array(|r| {
            let tool = Tool::read(r)?;
            if let Some(name) = &tool.name
                && !names.insert(name.clone())
            {
                return Err(r.wrong_at("name", "tool names must be unique"));
            }
            list.push(tool);
            Ok(())
        })?;
        Ok(list)
    }
}

impl<'a> Tool<'a> {
    fn read(r: &mut Reader<'a>) -> Read<Self> {
        let mut own = Half::default();
        let mut function = Half::default();
        let mut custom = Half::default();
        let mut kind: Option<JsonStr<'a>> = None;
        r.object(|r, key| {
            match key {
                "type" => kind = r.optional(Reader::string)?,
                "function" => function = r.optional(Half::read)?.unwrap_or_default(),
                "custom" => custom = r.optional(Half::read)?.unwrap_or_default(),
                _ => own.field(r, key)?,
            }
            Ok(())
        })?;
        let schema = own
            .input_schema
            .or(function.input_schema)
            .or(function.parameters)
            .or(custom.input_schema)
            .or(own.parameters);
        let typed = kind.filter(|kind| schema.is_none() && !matches!(kind.raw(), "" | "function" | "custom"));
        Ok(Self {
            name: own.name.or(function.name).or(custom.name).map(JsonStr::into_decoded),
            description: own.description.or(function.description).or(custom.description),
            typed: typed.map(JsonStr::into_decoded),
            schema,
        })
    }
}

/// `tool_choice`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// The model decides; also types this gateway does not know.
    Auto,
    /// Some tool must be called.
    Any,
    /// No tool may be called.
    None,
    /// This tool must be called.
    Tool(Cow<'a, str>),
}

impl<'a> ToolChoice<'a> {
    pub(super) fn read(r: &mut Reader<'a>) -> Read<Self> {
        let mut kind = None;
        let mut name = None;
        r.object(|r, key| {
            match key {
                "type" => kind = Some(r.string()?),
                "name" => name = r.optional(Reader::string)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        let kind = kind.ok_or_else(|| r.missing("type"))?;
        Ok(match kind.decode().as_ref() {
            "any" => Self::Any,
            "none" => Self::None,
            "tool" => Self::Tool(name.ok_or_else(|| r.missing("name"))?.into_decoded()),
            _ => Self::Auto,
        })
    }
}
