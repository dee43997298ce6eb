//! The request of `POST /v1/messages`, parsed once and borrowing from the body.
//!
//! Rules (spec `conversion.md` §2, §3, W4, W9): a wrong type is refused with its JSON path, `null` for an optional field
//! is as good as its absence, unknown fields are skipped, and of duplicate keys the last one wins. Blocks of types that
//! only the original API understands are kept as far as there is something to read in them ([`Foreign`]), else dropped
//! and counted. Text, base64 data, tool arguments and schemas are never copied.
//!
//! Fields without effect, since the upstream has nothing like them: `context_management` (nothing is cleared; a client
//! that asks for `clear_tool_uses_…` or `clear_thinking_…` gets the whole history read, and compacts when it is told that
//! the prompt is too long), `service_tier`, `betas`, `container`, `mcp_servers`, `thinking.display` (thoughts are always
//! shown: without its text a thought cannot be sent back), `citations`, `cache_control` (the upstream caches by itself),
//! and of `metadata` all but `user_id`.

mod block;
mod conversation;
mod foreign;
mod generation;
mod media;
mod tool;

pub use block::{Block, ResultContent, ResultItem, ToolResult, ToolUse};
pub use conversation::session_key;
pub use foreign::{Foreign, MAX_FOREIGN_TEXT};
pub use generation::{Effort, OutputConfig, Thinking, ThinkingMode};
pub use media::{Document, DocumentBody, FileRef, Image, Source};
pub use tool::{KnownTools, Tool, ToolChoice, Tools};

use std::borrow::Cow;

use crate::anthropic::json::{Json, JsonStr, Kind, ReadError, Reader};

/// `max_tokens` when the client sends none or 0 (spec `conversion.md` §2, T20). Applied by the conversion, not by the
/// parser, which keeps what the client said.
pub const DEFAULT_MAX_TOKENS: u64 = 4096;

/// Why a request is refused: always status 400, `invalid_request_error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    /// A sentence that names the JSON path, or the byte offset of a syntax error. It quotes no content of the request
    /// apart from names of tools.
    pub message: String,
}

impl RequestError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl From<ReadError> for RequestError {
    fn from(ReadError(message): ReadError) -> Self {
        Self { message }
    }
}

/// Who speaks. A `system` message in mid-conversation counts as the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `user`, and `system` inside `messages`.
    User,
    /// `assistant`
    Assistant,
}

/// The content of a message.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// A plain string.
    Text(JsonStr<'a>),
    /// Blocks of known types, in order.
    Blocks(Vec<Block<'a>>),
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Who speaks.
    pub role: Role,
    /// A `system` message in mid-conversation: an instruction of the client's program, not words of its user.
    pub instruction: bool,
    /// What is said.
    pub content: Content<'a>,
}

impl<'a> Message<'a> {
    /// The blocks; none for string content.
    #[must_use]
    pub fn blocks(&self) -> &[Block<'a>] {
        match &self.content {
            Content::Text(_) => &[],
            Content::Blocks(blocks) => blocks,
        }
    }
}

/// A parsed request.
#[derive(Clone, Debug, Default)]
pub struct MessagesRequest<'a> {
    /// The model as the client named it; `None` when missing, `null` or empty.
    pub model: Option<Cow<'a, str>>,
    /// At least one message.
    pub messages: Vec<Message<'a>>,
    /// Texts of the system prompt in order, the attribution line included, which is always a text of its own.
    pub system: Vec<JsonStr<'a>>,
    /// The tools, `None` when there are none.
    pub tools: Option<Tools<'a>>,
    /// `max_tokens`, in tokens; `Some(0)` is treated as missing later.
    pub max_tokens: Option<u64>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// `thinking`
    pub thinking: Option<Thinking>,
    /// `output_config`, or the older `output_format`.
    pub output: OutputConfig<'a>,
    /// `tool_choice`
    pub tool_choice: Option<ToolChoice<'a>>,
    /// `tool_choice.disable_parallel_tool_use`
    pub one_call_at_a_time: bool,
    /// `temperature`, a number from 0 to 1 as the client wrote it.
    pub temperature: Option<&'a str>,
    /// `top_p`, a number from 0 to 1 as the client wrote it.
    pub top_p: Option<&'a str>,
    /// `top_k`, not negative; 0 stands for no limit.
    pub top_k: Option<i64>,
    /// `stop_sequences`, none of them blank.
    pub stop_sequences: Vec<JsonStr<'a>>,
    /// `metadata.user_id`
    pub metadata_user_id: Option<Cow<'a, str>>,
    /// How many blocks of unknown type were dropped, at any level.
    pub dropped_blocks: u32,
    /// Size of the body in bytes.
    pub body_bytes: usize,
}

impl<'a> MessagesRequest<'a> {
    /// Parses and validates a body.
    pub fn parse(body: &'a [u8]) -> Result<Self, RequestError> {
        Self::parse_with(body, &())
    }

    /// As [`MessagesRequest::parse`], for a client whose tools may be known.
    pub fn parse_with(body: &'a [u8], known: &impl KnownTools) -> Result<Self, RequestError> {
        let mut reader = Reader::new(body)?;
        let mut request = Self { body_bytes: body.len(), ..Self::default() };
        let mut messages = None;
        let mut dropped_in_system = 0;
        reader.object(|r, key| {
            match key {
                "model" => request.model = r.optional(Reader::string)?.map(JsonStr::into_decoded),
                "messages" => messages = Some(parse_messages(r)?),
                "system" => {
                    dropped_in_system = 0;
                    request.system = parse_system(r, &mut dropped_in_system)?;
                }
                "tools" => request.tools = r.optional(|r| Tools::read(r, known))?,
                "tool_choice" => {
                    let start = r.offset();
                    request.tool_choice = r.optional(ToolChoice::read)?;
                    request.one_call_at_a_time = r.at(start, generation::one_call_at_a_time)?;
                }
                "max_tokens" => {
                    request.max_tokens = r.optional(generation::not_negative)?.map(i64::unsigned_abs);
                }
                "stream" => request.stream = r.optional(Reader::boolean)?.unwrap_or(false),
                "thinking" => request.thinking = r.optional(Thinking::read)?,
                "output_config" => request.output.read_config(r)?,
                "output_format" => request.output.read_format(r)?,
                "temperature" => request.temperature = r.optional(generation::share)?,
                "top_p" => request.top_p = r.optional(generation::share)?,
                "top_k" => request.top_k = r.optional(generation::not_negative)?,
                "stop_sequences" => {
                    request.stop_sequences = r.optional(generation::stop_sequences)?.unwrap_or_default();
                }
                "metadata" => request.metadata_user_id = r.optional(parse_user_id)?.flatten(),
                _ => r.skip()?,
            }
            Ok(())
        })?;
        reader.end()?;

        let Some((messages, dropped)) = messages else {
            return Err(RequestError::new(
                "messages: field required; messages is required and must be an array",
            ));
        };
        request.messages = messages;
        request.dropped_blocks = dropped + dropped_in_system;
        request.model = request.model.filter(|model| !model.is_empty());
        request.tools = request.tools.filter(|tools| !tools.is_empty());
        request.check_tool_choice()?;
        Ok(request)
    }

    /// The output limit to work with, in tokens.
    #[must_use]
    pub fn effective_max_tokens(&self) -> u64 {
        self.max_tokens.filter(|n| *n > 0).unwrap_or(DEFAULT_MAX_TOKENS)
    }

    fn check_tool_choice(&self) -> Result<(), RequestError> {
        let (Some(ToolChoice::Tool(name)), Some(tools)) = (&self.tool_choice, &self.tools) else {
            return Ok(());
        };
        if tools.list().iter().any(|tool| tool.name.as_deref() == Some(name.as_ref())) {
            return Ok(());
        }
        Err(RequestError::new("tool_choice.name: no tool of this name in tools"))
    }
}

type Read<T> = Result<T, ReadError>;

fn parse_messages<'a>(r: &mut Reader<'a>) -> Read<(Vec<Message<'a>>, u32)> {
    let mut messages = Vec::new();
    let mut dropped = 0;
    r.array(|r| {
        messages.push(parse_message(r, &mut dropped)?);
        Ok(())
    })?;
    if messages.is_empty() {
        return Err(r.wrong("at least one message is required"));
    }
    Ok((messages, dropped))
}

fn parse_message<'a>(r: &mut Reader<'a>, dropped: &mut u32) -> Read<Message<'a>> {
    let mut role = None;
    let mut content = None;
    r.object(|r, key| {
        match key {
            "role" => role = Some(parse_role(r)?),
            "content" => content = Some(parse_content(r)?),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let (role, instruction) = role.ok_or_else(|| r.missing("role"))?;
    let read = content.ok_or_else(|| r.missing("content"))?;
    *dropped += read.dropped;
    let misplaced = match role {
        Role::User => read.first_use.map(|index| (index, "tool_use blocks belong into assistant messages")),
        Role::Assistant => {
            read.first_result.map(|index| (index, "tool_result blocks belong into user messages"))
        }
    };
    if let Some((index, message)) = misplaced {
        return Err(r.wrong_at(&format!("content.{index}"), message));
    }
    Ok(Message { role, instruction, content: read.content })
}

/// The role, and whether it was `system`.
fn parse_role(r: &mut Reader<'_>) -> Read<(Role, bool)> {
    match r.string()?.decode().as_ref() {
        "user" => Ok((Role::User, false)),
        "system" => Ok((Role::User, true)),
        "assistant" => Ok((Role::Assistant, false)),
        _ => Err(r.wrong("expected \"user\" or \"assistant\"")),
    }
}

struct ReadContent<'a> {
    content: Content<'a>,
    dropped: u32,
    /// Index of the first `tool_use`.
    first_use: Option<usize>,
    /// Index of the first `tool_result`.
    first_result: Option<usize>,
}

fn parse_content<'a>(r: &mut Reader<'a>) -> Read<ReadContent<'a>> {
    let mut read =
        ReadContent { content: Content::Blocks(Vec::new()), dropped: 0, first_use: None, first_result: None };
    match r.kind()? {
        Kind::String => read.content = Content::Text(r.string()?),
        Kind::Array => {
            let mut blocks = Vec::new();
            let mut index = 0;
            r.array(|r| {
                let block = Block::read(r, &mut read.dropped)?;
                match &block {
                    Some(Block::ToolUse(_)) => read.first_use = read.first_use.or(Some(index)),
                    Some(Block::ToolResult(_)) => read.first_result = read.first_result.or(Some(index)),
                    _ => {}
                }
                blocks.extend(block);
                index += 1;
                Ok(())
            })?;
            read.content = Content::Blocks(blocks);
        }
        other => return Err(r.unexpected("a string or an array", other)),
    }
    Ok(read)
}

fn parse_system<'a>(r: &mut Reader<'a>, dropped: &mut u32) -> Read<Vec<JsonStr<'a>>> {
    let mut texts = Vec::new();
    match r.kind()? {
        Kind::Null => r.skip()?,
        Kind::String => push_system(&mut texts, r.string()?),
        Kind::Array => r.array(|r| {
            match Block::read(r, dropped)? {
                Some(Block::Text(text)) => push_system(&mut texts, text),
                Some(_) => *dropped += 1,
                None => {}
            }
            Ok(())
        })?,
        other => return Err(r.unexpected("a string or an array", other)),
    }
    Ok(texts)
}

fn parse_user_id<'a>(r: &mut Reader<'a>) -> Read<Option<Cow<'a, str>>> {
    let mut user_id = None;
    r.object(|r, key| {
        match key {
            "user_id" => user_id = r.optional(Reader::string)?.map(JsonStr::into_decoded),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(user_id)
}

/// Makes the attribution line a text of its own, so that nothing else is dropped with it.
fn push_system<'a>(texts: &mut Vec<JsonStr<'a>>, text: JsonStr<'a>) {
    match text.split_line().filter(|_| conversation::is_attribution(&text)) {
        Some((line, rest)) => texts.extend([line, rest]),
        None => texts.push(text),
    }
}

/// An object or nothing: `null` and `""` stand for nothing.
fn arguments<'a>(r: &mut Reader<'a>) -> Read<Option<Json<'a>>> {
    match r.kind()? {
        Kind::Object => r.json().map(Some),
        Kind::Null => r.skip().map(|()| None),
        Kind::String if r.string()?.is_empty() => Ok(None),
        other => Err(r.unexpected("an object", other)),
    }
}

#[cfg(test)]
mod tests;
