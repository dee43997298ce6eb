//! The upstream body of a request.
//!
//! Written once, front to back, into one buffer: strings and JSON values that need no change are copied as they stand in
//! the client's body. The same request gives the same bytes, whatever the account; what changes per attempt stands in
//! the short tail (spec `conversion.md` §3, §7, W44; `design.md` §1, 7).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::anthropic::json::JsonStr;
use crate::anthropic::request::{Block, Message, MessagesRequest, RequestError, Role, ToolChoice};
use crate::google::model::{Family, ModelId};

use super::Options;
use super::signatures::{CallSignature, KnownSignatures};
use super::thinking::{self, Limits, ThinkingConfig};
use super::tools::{Declared, ToolCache, ToolNames};
use super::turns::{self, Changes, Part, Recovery, Rules, Turn};

/// Tells Gemini not to check the signature of a call whose own is not known.
pub const SKIP_SIGNATURE: &str = "skip_thought_signature_validator";

/// Told to Claude models that think and have tools. Constant: it is part of the cached prefix.
const INTERLEAVED_HINT: &str = "You may think between tool calls, and again after each tool result. \
                                Use that to weigh what a result means before you decide on the next step.";

/// Room for the envelope and for what a request gains on the way, in bytes.
const SPARE_BYTES: usize = 4_096;

/// A converted request.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The body to send.
    pub body: UpstreamBody,
    /// The names of its tools, for reading the answer.
    pub names: Arc<ToolNames>,
    /// What could not be carried over as it was.
    pub warnings: Vec<Warning>,
}

/// Something that was changed or left out; worth a line in the log, never an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Blocks of unknown types.
    BlocksDropped(u32),
    /// Thoughts that the target would refuse.
    ThoughtsDropped(u32),
    /// Results without a call in the turn before, sent as text.
    OrphanResults(u32),
    /// Calls without a result, answered by a note.
    UnansweredCalls(u32),
    /// Files that only the original API can read.
    FilesNotForwarded(u32),
    /// Tools that the original API runs itself.
    ServerToolsSkipped(Vec<String>),
    /// A Claude model cannot be made to call a tool here.
    ToolChoiceNotForced,
    /// The conversation was closed because its thoughts were lost.
    Recovered(Recovery),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlocksDropped(count) => write!(f, "{count} blocks of unknown type dropped"),
            Self::ThoughtsDropped(count) => {
                write!(f, "{count} thinking blocks not usable by this model dropped")
            }
            Self::OrphanResults(count) => write!(f, "{count} tool results without a call sent as text"),
            Self::UnansweredCalls(count) => {
                write!(f, "{count} tool calls without a result marked as interrupted")
            }
            Self::FilesNotForwarded(count) => write!(f, "{count} file references left out"),
            Self::ServerToolsSkipped(names) => write!(f, "server tools left out: {}", names.join(", ")),
            Self::ToolChoiceNotForced => f.write_str("tool_choice is not enforced for Claude models"),
            Self::Recovered(Recovery::ToolLoop) => {
                f.write_str("tool loop closed because its thinking was lost")
            }
            Self::Recovered(Recovery::Interrupted) => {
                f.write_str("interrupted tool call closed because its thinking was lost")
            }
        }
    }
}

/// The body in two pieces: the head is shared by all attempts.
#[derive(Clone, Debug)]
pub struct UpstreamBody {
    head: Bytes,
    user_agent: Arc<str>,
}

impl UpstreamBody {
    /// The pieces of one attempt, to be sent one after the other. `request_id` is used as it is (`agent-<uuid>`).
    #[must_use]
    pub fn render(&self, project: &str, session_id: &str, request_id: &str) -> [Bytes; 2] {
        let mut tail = Vec::with_capacity(160 + project.len() + session_id.len() + request_id.len());
        tail.extend_from_slice(b"\"sessionId\":");
        write_string(&mut tail, session_id);
        tail.extend_from_slice(b"},\"project\":");
        write_string(&mut tail, project);
        tail.extend_from_slice(b",\"userAgent\":");
        write_string(&mut tail, &self.user_agent);
        tail.extend_from_slice(b",\"requestType\":\"agent\",\"requestId\":");
        write_string(&mut tail, request_id);
        tail.push(b'}');
        [self.head.clone(), tail.into()]
    }
}

/// Converts a request for `target`. Pure: the same arguments give the same bytes.
pub fn convert(
    request: &MessagesRequest<'_>,
    target: &ModelId,
    known: &KnownSignatures,
    options: &Options,
    tools: &ToolCache,
) -> Result<Converted, RequestError> {
    let Prepared { names, limits, rules, turns, changes } = prepare(request, target, known, options, tools)?;
    let has_tools = !names.declared().json.is_empty();

    let mut out = Vec::with_capacity(request.body_bytes + request.body_bytes / 16 + SPARE_BYTES);
    out.extend_from_slice(b"{\"model\":");
    write_string(&mut out, target.as_str());
    out.extend_from_slice(b",\"request\":{\"contents\":[");
    write_list(&mut out, &turns, |out, turn| write_turn(out, turn, target.family(), &names));
    out.extend_from_slice(b"],");
    write_system(&mut out, request, options, has_hint(&rules, &names));
    if has_tools {
        out.extend_from_slice(b"\"tools\":");
        out.extend_from_slice(&names.declared().json);
        out.push(b',');
        write_tool_config(&mut out, request.tool_choice.as_ref(), target.family(), &names)?;
    }
    write_generation_config(&mut out, request, &limits);
    out.push(b',');

    let warnings = warnings(request, target.family(), names.declared(), &changes);
    let body = UpstreamBody { head: out.into(), user_agent: options.user_agent_field.as_str().into() };
    Ok(Converted { body, names: Arc::new(names), warnings })
}

/// The body of `countTokens` for the same conversation: the call takes `contents` alone, so system texts and tool
/// declarations stand as texts at the front of the first turn. Signatures are not looked up; they hold no prompt text.
pub fn count_body(
    request: &MessagesRequest<'_>,
    target: &ModelId,
    options: &Options,
    tools: &ToolCache,
) -> Result<Bytes, RequestError> {
    let known = KnownSignatures::default();
    let Prepared { names, limits: _, rules, mut turns, changes: _ } =
        prepare(request, target, &known, options, tools)?;
    // The preamble and the hint are written as they are sent, so that the number is never too low.
    let mut front = Vec::new();
    let hint = has_hint(&rules, &names);
    let mut system = Vec::new();
    write_system(&mut system, request, options, hint);
    for piece in [system.as_slice(), names.declared().json.as_slice()] {
        // What was written is JSON, thus UTF-8.
        let text = std::str::from_utf8(piece).unwrap_or_default();
        if !text.is_empty() {
            let escaped = serde_json::Value::from(text).to_string();
            front.push(Part::Text(escaped[1..escaped.len() - 1].to_owned().into()));
        }
    }
    if let Some(first) = turns.first_mut() {
        first.parts.splice(0..0, front);
    }
    let mut out = Vec::with_capacity(request.body_bytes + request.body_bytes / 16 + SPARE_BYTES);
    out.extend_from_slice(b"{\"request\":{\"model\":");
    write_string(&mut out, &format!("models/{target}"));
    out.extend_from_slice(b",\"contents\":[");
    write_list(&mut out, &turns, |out, turn| write_turn(out, turn, target.family(), &names));
    out.extend_from_slice(b"]}}");
    Ok(out.into())
}

/// What both bodies are written from.
struct Prepared<'r> {
    names: ToolNames,
    limits: Limits,
    rules: Rules<'r>,
    turns: Vec<Turn<'r>>,
    changes: Changes,
}

fn prepare<'r>(
    request: &'r MessagesRequest<'r>,
    target: &ModelId,
    known: &'r KnownSignatures,
    options: &Options,
    tools: &ToolCache,
) -> Result<Prepared<'r>, RequestError> {
    let declared = match &request.tools {
        Some(list) => tools.declared(list, target.family()),
        None => Arc::default(),
    };
    let calls = request.messages.iter().flat_map(Message::blocks).filter_map(|block| match block {
        Block::ToolUse(call) => Some(call.name.decode()),
        _ => None,
    });
    let names = ToolNames::new(declared, calls);
    let limits = thinking::limits(request, target, options.honour_disabled_thinking);
    let rules = Rules {
        family: target.family(),
        thinking: thinking::is_on(request, target, options.honour_disabled_thinking),
        reorder_always: options.reorder_always,
        known,
    };
    let (turns, changes) = turns::build(request, &rules);
    Ok(Prepared { names, limits, rules, turns, changes })
}

fn has_hint(rules: &Rules<'_>, names: &ToolNames) -> bool {
    rules.family == Family::Claude && rules.thinking && !names.declared().json.is_empty()
}

fn warnings(
    request: &MessagesRequest<'_>,
    family: Family,
    declared: &Declared,
    changes: &Changes,
) -> Vec<Warning> {
    let forced = matches!(request.tool_choice, Some(ToolChoice::Any | ToolChoice::Tool(_)));
    let counted = [
        (request.dropped_blocks, Warning::BlocksDropped as fn(u32) -> Warning),
        (changes.thoughts_dropped, Warning::ThoughtsDropped),
        (changes.orphan_results, Warning::OrphanResults),
        (changes.unanswered_calls, Warning::UnansweredCalls),
        (changes.not_forwarded, Warning::FilesNotForwarded),
    ];
    let mut list: Vec<Warning> =
        counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, warning)| warning(count)).collect();
    if !declared.skipped.is_empty() {
        list.push(Warning::ServerToolsSkipped(declared.skipped.clone()));
    }
    if forced && family == Family::Claude && !declared.json.is_empty() {
        list.push(Warning::ToolChoiceNotForced);
    }
    list.extend(changes.recovery.map(Warning::Recovered));
    list
}

/// Writes a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail, and neither can a string be no JSON.
    let _ = serde_json::to_writer(out, text);
}

fn write_escaped(out: &mut Vec<u8>, escaped: &str) {
    out.push(b'"');
    out.extend_from_slice(escaped.as_bytes());
    out.push(b'"');
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

fn write_turn(out: &mut Vec<u8>, turn: &Turn<'_>, family: Family, names: &ToolNames) {
    out.extend_from_slice(match turn.role {
        Role::User => b"{\"role\":\"user\",\"parts\":[".as_slice(),
        Role::Assistant => b"{\"role\":\"model\",\"parts\":[",
    });
    write_list(out, &turn.parts, |out, part| write_part(out, part, family, names));
    out.extend_from_slice(b"]}");
}

fn write_part(out: &mut Vec<u8>, part: &Part<'_>, family: Family, names: &ToolNames) {
    match part {
        Part::Text(text) => {
            out.extend_from_slice(b"{\"text\":");
            write_escaped(out, text);
        }
        Part::Thought { text, signature } => {
            out.extend_from_slice(b"{\"thought\":true,");
            if let Some(text) = text {
                out.extend_from_slice(b"\"text\":");
                write_escaped(out, text.raw());
                out.push(b',');
            }
            out.extend_from_slice(b"\"thoughtSignature\":");
            write_escaped(out, signature.raw());
        }
        Part::Call { call, signature } => {
            out.extend_from_slice(b"{\"functionCall\":{\"name\":");
            write_string(out, names.clean(&call.name.decode()));
            out.extend_from_slice(b",\"args\":");
            out.extend_from_slice(call.input.as_ref().map_or("{}", |input| input.raw()).as_bytes());
            write_id(out, &call.id);
            out.push(b'}');
            if family == Family::Gemini {
                out.extend_from_slice(b",\"thoughtSignature\":");
                match signature {
                    Some(CallSignature::Own(own)) => write_escaped(out, own.raw()),
                    Some(CallSignature::Known(known)) => write_string(out, known),
                    None => write_escaped(out, SKIP_SIGNATURE),
                }
            }
        }
        Part::Answer { call, answer } => {
            out.extend_from_slice(b"{\"functionResponse\":{\"name\":");
            write_string(out, names.clean(&call.name.decode()));
            out.extend_from_slice(b",\"response\":");
            answer.write(out);
            write_id(out, &call.id);
            out.push(b'}');
        }
        Part::Inline { media_type, data } => {
            out.extend_from_slice(b"{\"inlineData\":{\"mimeType\":");
            write_escaped(out, media_type.raw());
            out.extend_from_slice(b",\"data\":");
            write_escaped(out, data.raw());
            out.push(b'}');
        }
        Part::File { media_type, uri } => {
            out.extend_from_slice(b"{\"fileData\":{\"mimeType\":");
            write_escaped(out, media_type);
            out.extend_from_slice(b",\"fileUri\":");
            write_escaped(out, uri.raw());
            out.push(b'}');
        }
    }
    out.push(b'}');
}

fn write_id(out: &mut Vec<u8>, id: &JsonStr<'_>) {
    if !id.is_empty() {
        out.extend_from_slice(b",\"id\":");
        write_escaped(out, id.raw());
    }
}

/// Preamble, the client's texts, and the hint at the end of the last of them (spec `conversion.md` §3.3, §7.2).
fn write_system(out: &mut Vec<u8>, request: &MessagesRequest<'_>, options: &Options, hint: bool) {
    let texts: Vec<&JsonStr<'_>> =
        request.system_texts(options.keep_attribution_block).filter(|text| !text.is_empty()).collect();
    let preamble = options.system_preamble.as_str();
    if texts.is_empty() && preamble.is_empty() && !hint {
        return;
    }
    out.extend_from_slice(b"\"systemInstruction\":{\"role\":\"user\",\"parts\":[");
    let start = out.len();
    let next = |out: &mut Vec<u8>| {
        out.extend_from_slice(if out.len() > start { b",{\"text\":".as_slice() } else { b"{\"text\":" });
    };
    if !preamble.is_empty() {
        next(out);
        write_string(out, preamble);
        out.push(b'}');
        next(out);
        write_string(out, &format!("Please ignore the following [ignore]{preamble}[/ignore]"));
        out.push(b'}');
    }
    for (index, text) in texts.iter().enumerate() {
        next(out);
        out.push(b'"');
        out.extend_from_slice(text.raw().as_bytes());
        if hint && index + 1 == texts.len() {
            out.extend_from_slice(b"\\n\\n");
            out.extend_from_slice(INTERLEAVED_HINT.as_bytes());
        }
        out.extend_from_slice(b"\"}");
    }
    if hint && texts.is_empty() {
        next(out);
        write_string(out, INTERLEAVED_HINT);
        out.push(b'}');
    }
    out.extend_from_slice(b"]},");
}

/// `toolConfig` (spec `conversion.md` §3.10, W19). Claude models stay in `VALIDATED` mode unless tools are forbidden:
/// forcing a call is not known to work for them.
fn write_tool_config(
    out: &mut Vec<u8>,
    choice: Option<&ToolChoice<'_>>,
    family: Family,
    names: &ToolNames,
) -> Result<(), RequestError> {
    let (mode, only) = match (choice, family) {
        (Some(ToolChoice::None), _) => ("NONE", None),
        (_, Family::Claude) => ("VALIDATED", None),
        (Some(ToolChoice::Any), _) => ("ANY", None),
        (Some(ToolChoice::Tool(name)), _) => ("ANY", Some(names.clean(name))),
        (Some(ToolChoice::Auto) | None, _) => return Ok(()),
    };
    if only.is_some_and(|name| names.declared().skipped.iter().any(|skipped| skipped == name)) {
        return Err(RequestError::new("tool_choice.name: this tool runs on the original API's servers only"));
    }
    out.extend_from_slice(b"\"toolConfig\":{\"functionCallingConfig\":{\"mode\":");
    write_escaped(out, mode);
    if let Some(name) = only {
        out.extend_from_slice(b",\"allowedFunctionNames\":[");
        write_string(out, name);
        out.push(b']');
    }
    out.extend_from_slice(b"}},");
    Ok(())
}

fn write_generation_config(out: &mut Vec<u8>, request: &MessagesRequest<'_>, limits: &Limits) {
    out.extend_from_slice(b"\"generationConfig\":{\"maxOutputTokens\":");
    out.extend_from_slice(limits.max_output.to_string().as_bytes());
    let top_k = request.top_k.map(|value| value.to_string());
    let numbers = [("temperature", request.temperature), ("topP", request.top_p), ("topK", top_k.as_deref())];
    for (key, value) in numbers {
        if let Some(value) = value {
            out.extend_from_slice(format!(",\"{key}\":{value}").as_bytes());
        }
    }
    if !request.stop_sequences.is_empty() {
        out.extend_from_slice(b",\"stopSequences\":[");
        write_list(out, &request.stop_sequences, |out, text| write_escaped(out, text.raw()));
        out.push(b']');
    }
    let thinking = match limits.thinking {
        ThinkingConfig::None => String::new(),
        ThinkingConfig::Claude { budget } => {
            format!("\"include_thoughts\":true,\"thinking_budget\":{budget}")
        }
        ThinkingConfig::Gemini { budget } => format!("\"includeThoughts\":true,\"thinkingBudget\":{budget}"),
        ThinkingConfig::GeminiOff { zero_budget: true } => {
            "\"includeThoughts\":false,\"thinkingBudget\":0".to_owned()
        }
        ThinkingConfig::GeminiOff { zero_budget: false } => "\"includeThoughts\":false".to_owned(),
    };
    if !thinking.is_empty() {
        out.extend_from_slice(format!(",\"thinkingConfig\":{{{thinking}}}").as_bytes());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
