//! The conversation as the upstream takes it: alternating turns, every call answered in the very next turn.
//!
//! Works on references into the request. Rules: spec `conversion.md` §3.4–§3.6, §13.2, W8–W15, W22–W24. What happens:
//!
//! 1. neighbours of the same role become one turn; in a user turn the answers to calls come first, and a `system`
//!    message is marked as an instruction;
//! 2. thoughts that the target would refuse are left out;
//! 3. each result is paired with a call of the turn before it; a result without a call becomes text, a call without a
//!    result is answered by a note that it was interrupted;
//! 4. a tool loop whose thoughts were lost is closed (§5.7), since a thinking model refuses to continue it.

mod result;

use std::borrow::Cow;

use crate::anthropic::json::JsonStr;
use crate::anthropic::request::{
    Block, Content, Document, Message, MessagesRequest, ResultItem, Role, Source, ToolUse,
};
use crate::google::model::Family;

use super::signatures::{CallSignature, KnownSignatures};
use result::Answer;

/// Stands for a message of which nothing is left: an empty text is refused.
const PLACEHOLDER: &str = ".";

/// One part of a turn. Texts are JSON-escaped.
pub(super) enum Part<'r> {
    Text(Cow<'r, str>),
    Thought { text: Option<&'r JsonStr<'r>>, signature: &'r JsonStr<'r> },
    Call { call: &'r ToolUse<'r>, signature: Option<CallSignature<'r>> },
    Answer { call: &'r ToolUse<'r>, answer: Answer<'r> },
    Inline { media_type: &'r JsonStr<'r>, data: &'r JsonStr<'r> },
    File { media_type: &'r str, uri: &'r JsonStr<'r> },
}

impl<'r> Part<'r> {
    fn text(text: &'r JsonStr<'r>) -> Self {
        Self::Text(Cow::Borrowed(text.raw()))
    }

    /// The upstream knows no `system` role inside a conversation; the tag is how Claude Code itself marks text
    /// that its user did not write.
    fn instruction(text: &JsonStr<'_>) -> Self {
        Self::Text(Cow::Owned(format!("<system-reminder>\\n{}\\n</system-reminder>", text.raw())))
    }

    fn note(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// Consecutive messages of one role.
pub(super) struct Turn<'r> {
    pub(super) role: Role,
    pub(super) parts: Vec<Part<'r>>,
    /// How many of the parts at the front answer calls.
    answers: usize,
    /// How many messages brought an answer to the calls of the turn before.
    answering_messages: usize,
}

impl Turn<'_> {
    fn new(role: Role) -> Self {
        Self { role, parts: Vec::new(), answers: 0, answering_messages: 0 }
    }
}

/// How a conversation was closed because its thoughts were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// After results of tools.
    ToolLoop,
    /// After calls that were never answered.
    Interrupted,
}

/// What was changed on the way.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) thoughts_dropped: u32,
    pub(super) orphan_results: u32,
    pub(super) unanswered_calls: u32,
    pub(super) not_forwarded: u32,
    pub(super) recovery: Option<Recovery>,
}

/// What decides how turns are built.
pub(super) struct Rules<'r> {
    pub(super) family: Family,
    /// The call is made with thinking on.
    pub(super) thinking: bool,
    pub(super) reorder_always: bool,
    pub(super) known: &'r KnownSignatures,
}

/// Builds the turns of a request.
pub(super) fn build<'r>(request: &'r MessagesRequest<'r>, rules: &Rules<'r>) -> (Vec<Turn<'r>>, Changes) {
    let mut builder = Builder { rules, turns: Vec::new(), open: Vec::new(), changes: Changes::default() };
    let mut had_signature_key = false;
    for message in &request.messages {
        had_signature_key |= message
            .blocks()
            .iter()
            .any(|block| matches!(block, Block::ToolUse(call) if call.has_signature_key));
        builder.message(message);
    }
    builder.close_calls();
    let Builder { mut turns, mut changes, .. } = builder;
    for turn in &mut turns {
        if turn.role == Role::Assistant {
            reorder(&mut turn.parts, rules.reorder_always);
        }
        if turn.parts.is_empty() {
            turn.parts.push(Part::note(PLACEHOLDER));
        }
    }
    let lost = changes.thoughts_dropped > 0 || had_signature_key;
    changes.recovery = recover(&mut turns, rules, lost);
    (turns, changes)
}

struct Builder<'r, 'b> {
    rules: &'b Rules<'r>,
    turns: Vec<Turn<'r>>,
    /// Calls of the last model turn that have no result yet.
    open: Vec<&'r ToolUse<'r>>,
    changes: Changes,
}

impl<'r> Builder<'r, '_> {
    fn message(&mut self, message: &'r Message<'r>) {
        if self.turns.last().is_none_or(|turn| turn.role != message.role) {
            if message.role == Role::Assistant {
                self.close_calls();
            }
            self.turns.push(Turn::new(message.role));
        }
        let Some(mut turn) = self.turns.pop() else { return };
        match &message.content {
            Content::Text(text) if text.is_blank() => {}
            Content::Text(text) if message.instruction => turn.parts.push(Part::instruction(text)),
            Content::Text(text) => turn.parts.push(Part::text(text)),
            Content::Blocks(blocks) => {
                let mut deferred = Vec::new();
                let answers = turn.answers;
                for block in blocks {
                    match block {
                        Block::Text(text) if message.instruction && !text.is_blank() => {
                            turn.parts.push(Part::instruction(text));
                        }
                        block => self.block(block, &mut turn, &mut deferred),
                    }
                }
                turn.answering_messages += usize::from(turn.answers > answers);
                turn.parts.append(&mut deferred);
            }
        }
        self.turns.push(turn);
    }

    fn block(&mut self, block: &'r Block<'r>, turn: &mut Turn<'r>, deferred: &mut Vec<Part<'r>>) {
        match block {
            Block::Text(text) if text.is_blank() => {}
            Block::Text(text) => turn.parts.push(Part::text(text)),
            Block::RedactedThinking => self.changes.thoughts_dropped += 1,
            Block::Thinking { thinking, signature } => match signature {
                Some(signature) if self.keeps(turn.role, signature) => {
                    turn.parts.push(Part::Thought { text: thinking.as_ref(), signature });
                }
                _ => self.changes.thoughts_dropped += 1,
            },
            Block::Image(image) => self.media(&image.source, "image/jpeg", &mut turn.parts),
            Block::Document(document) => self.document(document, &mut turn.parts),
            Block::SearchResult { texts } => {
                let text = result::joined(texts);
                if !text.is_empty() {
                    turn.parts.push(Part::Text(text));
                }
            }
            Block::ToolReference(name) => turn.parts.push(Part::Text(result::loaded(name))),
            Block::ToolUse(call) => {
                let signature = match self.rules.family {
                    Family::Gemini => self.rules.known.of_call(call),
                    Family::Claude | Family::Unknown => None,
                };
                self.open.push(call);
                turn.parts.push(Part::Call { call, signature });
            }
            Block::ToolResult(result) => {
                let id = result.tool_use_id.as_ref().map(JsonStr::decode);
                let call = id.and_then(|id| self.open.iter().position(|call| call.id.decode() == id));
                let answer = self.answer(result, deferred);
                if let Some(call) = call {
                    let call = self.open.remove(call);
                    turn.parts.insert(turn.answers, Part::Answer { call, answer });
                    turn.answers += 1;
                } else {
                    self.changes.orphan_results += 1;
                    turn.parts.push(Part::Text(answer.into_text()));
                }
            }
        }
    }

    fn keeps(&self, role: Role, signature: &JsonStr<'_>) -> bool {
        role == Role::Assistant && self.rules.known.keeps(Some(signature), self.rules.family)
    }

    fn media(&mut self, source: &'r Source<'r>, default_type: &'static str, parts: &mut Vec<Part<'r>>) {
        match source {
            Source::Base64 { media_type, data } => parts.push(Part::Inline { media_type, data }),
            Source::Url { media_type, url } => {
                let media_type = media_type.as_ref().map_or(default_type, JsonStr::raw);
                parts.push(Part::File { media_type, uri: url });
            }
            Source::File(_) => {
                self.changes.not_forwarded += 1;
                parts.push(Part::note(result::NOT_FORWARDED));
            }
        }
    }

    fn document(&mut self, document: &'r Document<'r>, parts: &mut Vec<Part<'r>>) {
        match document {
            Document::Media(source) => self.media(source, "application/pdf", parts),
            Document::Parts(items) => {
                for item in items {
                    match item {
                        ResultItem::Text(text) if text.is_blank() => {}
                        ResultItem::Text(text) => parts.push(Part::text(text)),
                        ResultItem::Image(image) => self.media(&image.source, "image/jpeg", parts),
                        ResultItem::Document(inner) => self.document(inner, parts),
                        ResultItem::SearchResult(texts) => parts.push(Part::Text(result::joined(texts))),
                        ResultItem::ToolReference(name) => parts.push(Part::Text(result::loaded(name))),
                    }
                }
            }
        }
    }

    /// Answers what is still open in the turn after the calls, which is added if there is none.
    fn close_calls(&mut self) {
        if self.open.is_empty() {
            return;
        }
        if self.turns.last().is_none_or(|turn| turn.role == Role::Assistant) {
            self.turns.push(Turn::new(Role::User));
        }
        let Some(turn) = self.turns.last_mut() else { return };
        for call in self.open.drain(..) {
            self.changes.unanswered_calls += 1;
            turn.parts.insert(turn.answers, Part::Answer { call, answer: Answer::interrupted() });
            turn.answers += 1;
        }
    }
}

/// Thoughts, then everything else, then calls, each group in its order (spec `conversion.md` §5.4, W22).
fn reorder(parts: &mut [Part<'_>], always: bool) {
    let rank = |part: &Part<'_>| match part {
        Part::Thought { .. } => 0,
        Part::Call { .. } => 2,
        _ => 1,
    };
    let late_thought =
        parts.iter().any(|part| rank(part) == 0) && parts.first().is_some_and(|part| rank(part) != 0);
    let early_call = parts.windows(2).any(|pair| rank(&pair[0]) == 2 && rank(&pair[1]) != 2);
    if always || late_thought || early_call {
        parts.sort_by_key(rank);
    }
}

/// Closes a tool loop or an interrupted call whose thoughts were lost (spec `conversion.md` §5.5–§5.7, §13.2).
fn recover(turns: &mut Vec<Turn<'_>>, rules: &Rules<'_>, thoughts_lost: bool) -> Option<Recovery> {
    let applies = match rules.family {
        Family::Gemini => rules.thinking,
        // A conversation that never had thoughts is accepted as it is.
        Family::Claude => rules.thinking && thoughts_lost,
        Family::Unknown => false,
    };
    let last = turns.iter().rposition(|turn| turn.role == Role::Assistant)?;
    let model = &turns[last];
    let user = turns.get(last + 1)?;
    let has_call = model.parts.iter().any(|part| matches!(part, Part::Call { .. }));
    if !applies || !has_call || has_valid_thinking(model, rules.family) {
        return None;
    }
    if user.answering_messages > 0 {
        let text = match user.answering_messages {
            1 => Cow::Borrowed("[Tool execution completed.]"),
            count => Cow::Owned(format!("[{count} tool executions completed.]")),
        };
        let mut note = Turn::new(Role::Assistant);
        note.parts.push(Part::Text(text));
        let mut go_on = Turn::new(Role::User);
        go_on.parts.push(Part::note("[Continue]"));
        turns.push(note);
        turns.push(go_on);
        return Some(Recovery::ToolLoop);
    }
    // Only the notes about the missing answers stand in front of what the user said: a conversation that ends with the
    // calls themselves was not interrupted by anybody.
    if user.parts.len() == user.answers {
        return None;
    }
    let mut said = Turn::new(Role::User);
    let user = &mut turns[last + 1];
    said.parts = user.parts.split_off(user.answers);
    let mut note = Turn::new(Role::Assistant);
    note.parts.push(Part::note("[Tool call was interrupted.]"));
    turns.push(note);
    turns.push(said);
    Some(Recovery::Interrupted)
}

/// Whether the turn still shows that the model thought: a thought that is kept or, for Gemini, a signed call. Of calls
/// made at once Gemini signs only the first one.
fn has_valid_thinking(turn: &Turn<'_>, family: Family) -> bool {
    turn.parts.iter().any(|part| match part {
        Part::Thought { .. } => true,
        Part::Call { signature, .. } => {
            family == Family::Gemini && signature.as_ref().is_some_and(CallSignature::is_valid)
        }
        _ => false,
    })
}
