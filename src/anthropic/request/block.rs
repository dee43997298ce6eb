//! Content blocks.
//!
//! A block's `type` may stand behind the fields it decides about. Strings are taken as they come; nested values are read
//! at once when the type is known (the usual order) and else from their remembered offset at the end of the block.

use crate::anthropic::json::{Json, JsonStr, Kind, Reader};

use super::foreign::Foreign;
use super::media::{Document, DocumentBody, FileRef, Image, MediaOrParts, Source, read_source};
use super::{Read, arguments};

/// A block of a type that the conversion understands.
#[derive(Clone, Debug)]
pub enum Block<'a> {
    /// `text`
    Text(JsonStr<'a>),
    /// `thinking`
    Thinking {
        /// The thought; `None` when the key is missing.
        thinking: Option<JsonStr<'a>>,
        /// Its signature, possibly empty.
        signature: Option<JsonStr<'a>>,
    },
    /// `redacted_thinking`: only its presence counts.
    RedactedThinking,
    /// `image`
    Image(Image<'a>),
    /// `document`
    Document(Document<'a>),
    /// `search_result`
    SearchResult {
        /// Title, source and texts, in that order, as far as present.
        texts: Vec<JsonStr<'a>>,
    },
    /// `tool_reference`: the tool of this name, until now deferred, may be called.
    ToolReference(JsonStr<'a>),
    /// `tool_use`
    ToolUse(ToolUse<'a>),
    /// `tool_result`
    ToolResult(ToolResult<'a>),
    /// A block of another type that holds something to read.
    Foreign(Foreign<'a>),
}

/// A `tool_use` block.
#[derive(Clone, Debug)]
pub struct ToolUse<'a> {
    /// The call's id.
    pub id: JsonStr<'a>,
    /// The tool's name as the client declared it.
    pub name: JsonStr<'a>,
    /// The arguments, an object; `None` stands for `{}`.
    pub input: Option<Json<'a>>,
    /// The signature this gateway handed out with the call, when the client sent it back.
    pub thought_signature: Option<JsonStr<'a>>,
    /// Whether the key `thoughtSignature` was there at all, with whatever value (spec `conversion.md` §5.6).
    pub has_signature_key: bool,
}

/// A `tool_result` block.
#[derive(Clone, Debug)]
pub struct ToolResult<'a> {
    /// The id of the call; `None` when the client left it out.
    pub tool_use_id: Option<JsonStr<'a>>,
    /// What the tool returned.
    pub content: ResultContent<'a>,
    /// `is_error`
    pub is_error: bool,
}

/// The content of a `tool_result`.
#[derive(Clone, Debug)]
pub enum ResultContent<'a> {
    /// Missing or `null`.
    Nothing,
    /// A string.
    Text(JsonStr<'a>),
    /// Blocks, the unknown ones left out.
    Items(Vec<ResultItem<'a>>),
    /// An object, a number or a boolean, as it stands.
    Value(Json<'a>),
}

/// An element of a `tool_result` or of a document made of blocks.
#[derive(Clone, Debug)]
pub enum ResultItem<'a> {
    /// `text`
    Text(JsonStr<'a>),
    /// `image`
    Image(Image<'a>),
    /// `document`
    Document(Document<'a>),
    /// `search_result`: title, source and texts.
    SearchResult(Vec<JsonStr<'a>>),
    /// `tool_reference`: what a search for deferred tools found.
    ToolReference(JsonStr<'a>),
    /// An element of another type that holds something to read.
    Foreign(Foreign<'a>),
}

/// A field whose meaning depends on the block's type.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) at: usize,
    kind: Kind,
}

#[derive(Default)]
struct Fields<'a> {
    kind: Option<JsonStr<'a>>,
    id: Option<Spot>,
    name: Option<Spot>,
    input: Option<Spot>,
    tool_use_id: Option<Spot>,
    is_error: Option<Spot>,
    thought_signature: Option<Spot>,
    title: Option<Spot>,
    context: Option<Spot>,
    tool_name: Option<Spot>,
    /// A `file_id` stands directly in the block.
    file_id: bool,
    /// What can be long, with its value when it is a string.
    text: Option<(Spot, Option<JsonStr<'a>>)>,
    thinking: Option<(Spot, Option<JsonStr<'a>>)>,
    signature: Option<(Spot, Option<JsonStr<'a>>)>,
    source: Option<Spot>,
    content: Option<Spot>,
    read_input: Option<Json<'a>>,
    read_source: Option<MediaOrParts<'a>>,
    read_content: Option<(ResultContent<'a>, u32)>,
}

pub(super) fn spot(r: &mut Reader<'_>) -> Read<Spot> {
    let at = r.offset();
    let kind = r.kind()?;
    r.skip()?;
    Ok(Spot { at, kind })
}

pub(super) fn text_spot<'a>(r: &mut Reader<'a>) -> Read<(Spot, Option<JsonStr<'a>>)> {
    let at = r.offset();
    let kind = r.kind()?;
    let text = if kind == Kind::String { Some(r.string()?) } else { r.skip().map(|()| None)? };
    Ok((Spot { at, kind }, text))
}

impl<'a> Block<'a> {
    /// Reads one block; `None`, counted in `dropped`, when its type is unknown.
    pub(super) fn read(r: &mut Reader<'a>, dropped: &mut u32) -> Read<Option<Self>> {
        let mut f = Fields::default();
        let start = r.offset();
        r.object(|r, key| {
            match key {
                // What was read under an earlier `type` is kept: reading it again at each of many nested levels would
                // double the work with every level.
                "type" => f.kind = Some(r.string()?),
                "text" => f.text = Some(text_spot(r)?),
                "thinking" => f.thinking = Some(text_spot(r)?),
                "signature" => f.signature = Some(text_spot(r)?),
                "thoughtSignature" => f.thought_signature = Some(spot(r)?),
                "id" => f.id = Some(spot(r)?),
                "name" => f.name = Some(spot(r)?),
                "input" if f.is("tool_use") => {
                    f.input = None;
                    f.read_input = arguments(r)?;
                }
                "input" => {
                    f.read_input = None;
                    f.input = Some(spot(r)?);
                }
                "tool_use_id" => f.tool_use_id = Some(spot(r)?),
                "is_error" => f.is_error = Some(spot(r)?),
                "title" => f.title = Some(spot(r)?),
                "context" => f.context = Some(spot(r)?),
                "tool_name" => f.tool_name = Some(spot(r)?),
                "file_id" => f.file_id = spot(r)?.kind == Kind::String,
                "content" => {
                    let kind = r.kind()?;
                    f.content = Some(Spot { at: r.offset(), kind });
                    f.read_content = None;
                    if f.is("tool_result") {
                        f.read_content = Some(read_result_content(r)?);
                    } else {
                        r.skip()?;
                    }
                }
                "source" => {
                    let kind = r.kind()?;
                    f.source = Some(Spot { at: r.offset(), kind });
                    f.read_source = None;
                    if (f.is("image") || f.is("document")) && kind == Kind::Object {
                        f.read_source = Some(read_source(r)?);
                    } else {
                        r.skip()?;
                    }
                }
                _ => r.skip()?,
            }
            Ok(())
        })?;
        f.build(r, start, dropped)
    }
}

impl<'a> Fields<'a> {
    fn is(&self, kind: &str) -> bool {
        self.kind.as_ref().is_some_and(|k| k.raw() == kind)
    }

    fn build(mut self, r: &mut Reader<'a>, start: usize, dropped: &mut u32) -> Read<Option<Block<'a>>> {
        let kind = self.kind.take().ok_or_else(|| r.missing("type"))?;
        Ok(Some(match kind.decode().as_ref() {
            "text" => Block::Text(required_text(r, "text", self.text.take())?),
            "thinking" => {
                let thinking = optional_text(r, "thinking", self.thinking.take())?;
                Block::Thinking { thinking, signature: optional_text(r, "signature", self.signature.take())? }
            }
            "redacted_thinking" => Block::RedactedThinking,
            "image" => match self.source(r)? {
                MediaOrParts::Media(source) => Block::Image(Image { source }),
                MediaOrParts::Parts(..) => Block::Image(Image { source: Source::File(FileRef) }),
            },
            "document" => Block::Document(self.document(r, dropped)?),
            "container_upload" if self.file_id => Block::Document(Document::file()),
            "search_result" => Block::SearchResult { texts: self.search_result(r, dropped)? },
            "tool_reference" => Block::ToolReference(required_string(r, "tool_name", self.tool_name)?),
            "tool_use" => Block::ToolUse(self.tool_use(r)?),
            "tool_result" => Block::ToolResult(self.tool_result(r, dropped)?),
            _ => {
                let foreign = r.at(start, |r| Foreign::read(r, kind.clone()))?;
                *dropped += u32::from(foreign.is_none());
                return Ok(foreign.map(Block::Foreign));
            }
        }))
    }

    fn document(&mut self, r: &mut Reader<'a>, dropped: &mut u32) -> Read<Document<'a>> {
        let body = match self.source(r)? {
            MediaOrParts::Media(source) => DocumentBody::Media(source),
            MediaOrParts::Parts(parts, dropped_here) => {
                *dropped += dropped_here;
                DocumentBody::Parts(parts)
            }
        };
        let filled = |text: &JsonStr<'_>| !text.is_blank();
        Ok(Document {
            title: optional_string(r, "title", self.title)?.filter(filled),
            context: optional_string(r, "context", self.context)?.filter(filled),
            body,
        })
    }

    fn source(&mut self, r: &mut Reader<'a>) -> Read<MediaOrParts<'a>> {
        if let Some(read) = self.read_source.take() {
            return Ok(read);
        }
        let spot = self.source.ok_or_else(|| r.missing("source"))?;
        r.under("source", |r| r.at(spot.at, read_source))
    }

    fn search_result(&mut self, r: &mut Reader<'a>, dropped: &mut u32) -> Read<Vec<JsonStr<'a>>> {
        let mut texts = Vec::new();
        texts.extend(optional_string(r, "title", self.title)?);
        texts.extend(optional_string(r, "source", self.source)?);
        if let Some(spot) = self.content {
            let (content, dropped_here) = r.under("content", |r| r.at(spot.at, read_result_content))?;
            *dropped += dropped_here;
            match content {
                ResultContent::Text(text) => texts.push(text),
                ResultContent::Items(items) => {
                    texts.extend(items.into_iter().filter_map(|item| match item {
                        ResultItem::Text(text) => Some(text),
                        _ => None,
                    }));
                }
                ResultContent::Nothing | ResultContent::Value(_) => {}
            }
        }
        Ok(texts)
    }

    fn tool_use(&mut self, r: &mut Reader<'a>) -> Read<ToolUse<'a>> {
        let input = match self.input {
            Some(spot) => r.under("input", |r| r.at(spot.at, arguments))?,
            None => self.read_input.take(),
        };
        Ok(ToolUse {
            id: required_string(r, "id", self.id)?,
            name: required_string(r, "name", self.name)?,
            input,
            thought_signature: optional_string(r, "thoughtSignature", self.thought_signature)?
                .filter(|signature| !signature.is_empty()),
            has_signature_key: self.thought_signature.is_some(),
        })
    }

    fn tool_result(&mut self, r: &mut Reader<'a>, dropped: &mut u32) -> Read<ToolResult<'a>> {
        let tool_use_id = match self.tool_use_id {
            None => None,
            some => Some(required_string(r, "tool_use_id", some)?),
        };
        let is_error = match self.is_error {
            None => None,
            Some(spot) => r.under("is_error", |r| r.at(spot.at, |r| r.optional(Reader::boolean)))?,
        };
        let content = match (self.read_content.take(), self.content) {
            (Some(read), _) => Some(read),
            (None, Some(spot)) => Some(r.under("content", |r| r.at(spot.at, read_result_content))?),
            (None, None) => None,
        };
        let (content, dropped_here) = content.unwrap_or((ResultContent::Nothing, 0));
        *dropped += dropped_here;
        Ok(ToolResult {
            tool_use_id: tool_use_id.filter(|id| !id.is_empty()),
            content,
            is_error: is_error.unwrap_or(false),
        })
    }
}

pub(super) fn required_text<'a>(
    r: &mut Reader<'a>,
    key: &'static str,
    field: Option<(Spot, Option<JsonStr<'a>>)>,
) -> Read<JsonStr<'a>> {
    match field {
        None => Err(r.missing(key)),
        Some((_, Some(text))) => Ok(text),
        Some((spot, None)) => r.under(key, |r| Err(r.unexpected("a string", spot.kind))),
    }
}

fn optional_text<'a>(
    r: &mut Reader<'a>,
    key: &'static str,
    field: Option<(Spot, Option<JsonStr<'a>>)>,
) -> Read<Option<JsonStr<'a>>> {
    match field {
        Some((spot, None)) if spot.kind == Kind::Null => Ok(None),
        Some(_) => required_text(r, key, field).map(Some),
        None => Ok(None),
    }
}

fn required_string<'a>(r: &mut Reader<'a>, key: &'static str, field: Option<Spot>) -> Read<JsonStr<'a>> {
    let spot = field.ok_or_else(|| r.missing(key))?;
    r.under(key, |r| r.at(spot.at, Reader::string))
}

fn optional_string<'a>(
    r: &mut Reader<'a>,
    key: &'static str,
    field: Option<Spot>,
) -> Read<Option<JsonStr<'a>>> {
    let Some(spot) = field else { return Ok(None) };
    r.under(key, |r| r.at(spot.at, |r| r.optional(Reader::string)))
}

/// Reads what a tool returned, with the number of elements of unknown type.
pub(super) fn read_result_content<'a>(r: &mut Reader<'a>) -> Read<(ResultContent<'a>, u32)> {
    Ok(match r.kind()? {
        Kind::Null => r.skip().map(|()| (ResultContent::Nothing, 0))?,
        Kind::String => (ResultContent::Text(r.string()?), 0),
        Kind::Array => {
            let mut items = Vec::new();
            let mut dropped = 0;
            r.array(|r| {
                match Block::read(r, &mut dropped)? {
                    Some(Block::Text(text)) => items.push(ResultItem::Text(text)),
                    Some(Block::Image(image)) => items.push(ResultItem::Image(image)),
                    Some(Block::Document(document)) => items.push(ResultItem::Document(document)),
                    Some(Block::SearchResult { texts }) => items.push(ResultItem::SearchResult(texts)),
                    Some(Block::ToolReference(name)) => items.push(ResultItem::ToolReference(name)),
                    Some(Block::Foreign(foreign)) => items.push(ResultItem::Foreign(foreign)),
                    Some(_) => dropped += 1,
                    None => {}
                }
                Ok(())
            })?;
            (ResultContent::Items(items), dropped)
        }
        _ => (ResultContent::Value(r.json()?), 0),
    })
}
