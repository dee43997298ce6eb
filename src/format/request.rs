//! The upstream body of a request.
//!
//! Written once, front to back: strings and JSON values that need no change are copied as they stand in the client's
//! body, and tool declarations are not even copied. The same request gives the same bytes, whatever the account; what
//! changes per attempt stands in the short tail (spec `conversion.md` §3, §7, W44; `design.md` §1, 7).

use std::sync::Arc;

use crate::anthropic::request::{Block, Message, MessagesRequest, RequestError, Role, ToolChoice};
use crate::google::model::{Family, ModelId};

mod body;
mod count;
mod generation;
mod warning;

use super::Options;
use super::signatures::{CallSignature, KnownSignatures};
use super::thinking;
use super::tools::{Declared, ToolCache, ToolNames};
use super::turns::{self, Changes, Part, Rules, Turn};
pub use body::UpstreamBody;
pub use count::count_body;
use generation::Generation;
pub use warning::Warning;

/// Tells Gemini not to check the signature of a call whose own is not known.
pub const SKIP_SIGNATURE: &str = "skip_thought_signature_validator";

/// Told to Claude models that think and have tools. Constant: it is part of the cached prefix.
const INTERLEAVED_HINT: &str = "You may think between tool calls, and again after each tool result. \
                                Use that to weigh what a result means before you decide on the next step.";

/// Told to every model when the client allows one call at a time; the upstream has no switch for it.
const ONE_CALL: &str = "Call at most one tool in each of your replies, and wait for its result.";

/// Told to every model when the client wants JSON of a schema, which follows. The upstream's own schema type is too
/// narrow to hold any JSON schema without loss.
const JSON_ONLY: &str = "Give your final reply as one JSON value, without any text or code fence around it. \
                         It must be valid against this JSON schema:";

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

/// Converts a request for `target`. Pure: the same arguments give the same bytes.
pub fn convert(
    request: &MessagesRequest<'_>,
    target: &ModelId,
    known: &KnownSignatures,
    options: &Options,
    tools: &ToolCache,
) -> Result<Converted, RequestError> {
    let Prepared { names, rules, hints, turns, changes } =
        Prepared::new(request, target, known, options, tools);
    let has_tools = hints.has_tools;
    if options.refuse_server_tools
        && let Some(refusal) = names.declared().refusal()
    {
        return Err(refusal);
    }

    let written = request.body_bytes - request.tools.as_ref().map_or(0, |tools| tools.raw.len());
    let mut out = Vec::with_capacity(written + written / 16 + SPARE_BYTES);
    out.extend_from_slice(b"{\"model\":");
    write_string(&mut out, target.as_str());
    out.extend_from_slice(b",\"request\":{\"contents\":[");
    write_list(&mut out, &turns, |out, turn| write_turn(out, turn, target.family(), &names));
    out.extend_from_slice(b"],");
    write_system(&mut out, request, options, &hints);
    let mut tools_at = out.len();
    if has_tools {
        out.extend_from_slice(b"\"tools\":");
        tools_at = out.len();
        out.push(b',');
        write_tool_config(&mut out, request.tool_choice.as_ref(), target.family(), &names)?;
    }
    let limits = thinking::limits(request, target, options.honour_disabled_thinking);
    let generation = Generation::new(request, rules.family, limits, has_tools);
    generation.write(&mut out);
    out.push(b',');

    let mut warnings = warnings(request, target.family(), names.declared(), &changes);
    warnings.extend(generation.warnings);
    let body = UpstreamBody::new(out, tools_at, &names.declared().json, &options.user_agent_field);
    Ok(Converted { body, names: Arc::new(names), warnings })
}

/// What a body is written from.
struct Prepared<'r> {
    names: ToolNames,
    rules: Rules<'r>,
    hints: Hints,
    turns: Vec<Turn<'r>>,
    changes: Changes,
}

impl<'r> Prepared<'r> {
    fn new(
        request: &'r MessagesRequest<'r>,
        target: &ModelId,
        known: &'r KnownSignatures,
        options: &Options,
        tools: &ToolCache,
    ) -> Self {
        let declared = match &request.tools {
            Some(list) => tools.declared(list),
            None => Arc::default(),
        };
        let calls = request.messages.iter().flat_map(Message::blocks).filter_map(|block| match block {
            Block::ToolUse(call) => Some(call.name.decode()),
            _ => None,
        });
        let names = ToolNames::new(declared, calls);
        let rules = Rules {
            family: target.family(),
            thinking: thinking::is_on(request, target, options.honour_disabled_thinking),
            reorder_always: options.reorder_always,
            known,
        };
        let (turns, changes) = turns::build(request, &rules);
        let has_tools = !names.declared().json.is_empty();
        let interleaved = rules.family == Family::Claude && rules.thinking && has_tools;
        Self { names, rules, hints: Hints { interleaved, has_tools }, turns, changes }
    }
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
        (changes.foreign_blocks, Warning::BlocksNoted),
    ];
    let mut list: Vec<Warning> =
        counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, warning)| warning(count)).collect();
    if !declared.skipped.is_empty() {
        let names = declared.skipped.iter().map(|skipped| skipped.name.clone()).collect();
        list.push(Warning::ServerToolsSkipped(names));
    }
    if forced && family == Family::Claude && !declared.json.is_empty() {
        list.push(Warning::ToolChoiceNotForced);
    }
    list.extend(changes.prefilled.then_some(Warning::Prefilled));
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

fn write_list<'t, T: 't>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = &'t T>,
    mut write: impl FnMut(&mut Vec<u8>, &T),
) {
    for (index, item) in items.into_iter().enumerate() {
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
    write_list(out, turn.answers.iter().chain(&turn.parts), |out, part| write_part(out, part, family, names));
    out.extend_from_slice(b"]}");
}

fn write_part(out: &mut Vec<u8>, part: &Part<'_>, family: Family, names: &ToolNames) {
    match part {
        Part::Text(text) => {
            out.extend_from_slice(b"{\"text\":");
            write_escaped(out, text);
        }
        Part::Thought { text, signature } => {
            // A part without a text has no content at all for the upstream, which refuses it.
            out.extend_from_slice(b"{\"thought\":true,\"text\":");
            write_escaped(out, text.map_or("", |text| text.raw()));
            out.extend_from_slice(b",\"thoughtSignature\":");
            write_escaped(out, signature.raw());
        }
        Part::Call { call, signature } => {
            out.extend_from_slice(b"{\"functionCall\":{\"name\":");
            write_string(out, names.clean(&call.tool_use.name.decode()));
            out.extend_from_slice(b",\"args\":");
            out.extend_from_slice(call.tool_use.input.as_ref().map_or("{}", |input| input.raw()).as_bytes());
            out.extend_from_slice(b",\"id\":");
            write_escaped(out, &call.id);
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
            write_string(out, names.clean(&call.tool_use.name.decode()));
            out.extend_from_slice(b",\"response\":");
            answer.write(out);
            out.extend_from_slice(b",\"id\":");
            write_escaped(out, &call.id);
            out.push(b'}');
        }
        Part::Inline { media_type, data } => {
            out.extend_from_slice(b"{\"inlineData\":{\"mimeType\":");
            write_escaped(out, media_type);
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

/// What the model is told beside the client's own words.
struct Hints {
    interleaved: bool,
    has_tools: bool,
}

/// Preamble, the client's texts, the hint at the end of the last of them (spec `conversion.md` §3.3, §7.2), and what the
/// upstream has no field for.
fn write_system(out: &mut Vec<u8>, request: &MessagesRequest<'_>, options: &Options, hints: &Hints) {
    const OPEN: &[u8] = b"\"systemInstruction\":{\"role\":\"user\",\"parts\":[";
    let start = out.len();
    let next = |out: &mut Vec<u8>| {
        out.extend_from_slice(if out.len() == start { OPEN } else { b"}," });
        out.extend_from_slice(b"{\"text\":");
    };
    let preamble = options.system_preamble.as_str();
    if !preamble.is_empty() {
        next(out);
        write_string(out, preamble);
        next(out);
        write_string(out, &format!("Please ignore the following [ignore]{preamble}[/ignore]"));
    }
    let mut texts =
        request.system_texts(options.keep_attribution_block).filter(|text| !text.is_blank()).peekable();
    if texts.peek().is_none() && hints.interleaved {
        next(out);
        write_string(out, INTERLEAVED_HINT);
    }
    while let Some(text) = texts.next() {
        next(out);
        out.push(b'"');
        out.extend_from_slice(text.raw().as_bytes());
        if hints.interleaved && texts.peek().is_none() {
            out.extend_from_slice(b"\\n\\n");
            out.extend_from_slice(INTERLEAVED_HINT.as_bytes());
        }
        out.push(b'"');
    }
    if request.one_call_at_a_time && hints.has_tools {
        next(out);
        write_string(out, ONE_CALL);
    }
    if let Some(schema) = &request.output.schema {
        next(out);
        write_string(out, &format!("{JSON_ONLY}\n{}", schema.raw()));
    }
    if out.len() > start {
        out.extend_from_slice(b"}]},");
    }
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
    if only.is_some_and(|name| names.declared().skipped.iter().any(|skipped| skipped.name == name)) {
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

#[cfg(test)]
mod tests;
