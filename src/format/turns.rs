//! The conversation as the upstream takes it: it begins and ends with the user, turns alternate, and every call is
//! answered in the very next turn.
//!
//! Works on references into the request. Rules: spec `conversion.md` §3.4–§3.6, §13.2, W8–W15, W22–W24. What happens:
//!
//! 1. neighbours of the same role become one turn; in a user turn the answers to calls come first, and a `system`
//!    message is marked as an instruction;
//! 2. thoughts that the target would refuse are left out;
//! 3. each result is paired with a call of the turn before it; a result without a call becomes text, a call without a
//!    result is answered by a note that it was interrupted;
//! 4. blocks that only the original API understands become notes; media in a model's turn move to the user turn behind
//!    it, the only place where they are taken;
//! 5. a tool loop whose thoughts were lost is closed (§5.7), since a thinking model refuses to continue it;
//! 6. a conversation that ends with words of the model (a prefilled answer) gets a user turn that asks to go on from
//!    there: models that think, and all newer ones, refuse to be given the beginning of their answer.

mod media;
mod open;
mod recovery;
mod result;

use std::borrow::Cow;

use crate::anthropic::json::JsonStr;
use crate::anthropic::request::{
    Block, Content, Document, DocumentBody, Message, MessagesRequest, ResultItem, Role, Source,
};
use crate::google::model::Family;

use super::signatures::{CallSignature, KnownSignatures};
pub(super) use open::Call;
use open::{Ids, OpenCalls};
use result::Answer;

/// Stands for a message of which nothing is left: an empty text is refused.
const PLACEHOLDER: &str = ".";
/// Asks for the rest of a prefilled answer.
const GO_ON: &str = "Go on exactly where your last message ends. Repeat nothing of it.";

/// One part of a turn. Texts are JSON-escaped.
pub(super) enum Part<'r> {
    Text(Cow<'r, str>),
    Thought { text: Option<&'r JsonStr<'r>>, signature: &'r JsonStr<'r> },
    Call { call: Call<'r>, signature: Option<CallSignature<'r>> },
    Answer { call: Call<'r>, answer: Answer<'r> },
    Inline { media_type: Cow<'r, str>, data: &'r JsonStr<'r> },
    File { media_type: Cow<'r, str>, uri: &'r JsonStr<'r> },
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
    /// Answers to the calls of the turn before; they stand in front of the other parts.
    pub(super) answers: Vec<Part<'r>>,
    pub(super) parts: Vec<Part<'r>>,
    /// How many messages brought an answer to the calls of the turn before.
    answering_messages: usize,
}

impl<'r> Turn<'r> {
    fn new(role: Role) -> Self {
        Self { role, answers: Vec::new(), parts: Vec::new(), answering_messages: 0 }
    }

    fn of(role: Role, part: Part<'r>) -> Self {
        Self { parts: vec![part], ..Self::new(role) }
    }

    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.parts.is_empty()
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
    pub(super) foreign_blocks: u32,
    pub(super) prefilled: bool,
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
    let mut builder = Builder {
        rules,
        turns: Vec::with_capacity(request.messages.len() + 2),
        ids: Ids::default(),
        open: OpenCalls::default(),
        moved: Vec::new(),
        changes: Changes::default(),
    };
    let mut had_signature_key = false;
    for message in &request.messages {
        had_signature_key |= message
            .blocks()
            .iter()
            .any(|block| matches!(block, Block::ToolUse(call) if call.has_signature_key));
        builder.message(message);
    }
    let (mut turns, mut changes) = builder.finish();
    for turn in &mut turns {
        if turn.role == Role::Assistant {
            reorder(&mut turn.parts, rules.reorder_always);
        }
        // An answer that was cut while the model thought: Claude models refuse a turn that ends with a thought.
        let ends_in_thought = matches!(turn.parts.last(), Some(Part::Thought { .. }));
        if turn.is_empty() || (ends_in_thought && rules.family == Family::Claude) {
            turn.parts.push(Part::note(PLACEHOLDER));
        }
    }
    let lost = changes.thoughts_dropped > 0 || had_signature_key;
    changes.recovery = recovery::recover(&mut turns, rules, lost);
    (turns, changes)
}

struct Builder<'r, 'b> {
    rules: &'b Rules<'r>,
    turns: Vec<Turn<'r>>,
    ids: Ids<'r>,
    /// Calls of the last model turn that have no result yet.
    open: OpenCalls<'r>,
    /// Media of the last model turn.
    moved: Vec<Part<'r>>,
    changes: Changes,
}

impl<'r> Builder<'r, '_> {
    fn message(&mut self, message: &'r Message<'r>) {
        let mut turn = self.turn_of(message.role);
        match &message.content {
            Content::Text(text) if text.is_blank() => {}
            Content::Text(text) if message.instruction => turn.parts.push(Part::instruction(text)),
            Content::Text(text) => turn.parts.push(Part::text(text)),
            Content::Blocks(blocks) => {
                let mut deferred = Vec::new();
                let answers = turn.answers.len();
                for block in blocks {
                    match block {
                        Block::Text(text) if message.instruction && !text.is_blank() => {
                            turn.parts.push(Part::instruction(text));
                        }
                        block => self.block(block, &mut turn, &mut deferred),
                    }
                }
                turn.answering_messages += usize::from(turn.answers.len() > answers);
                turn.parts.append(&mut deferred);
            }
        }
        self.turns.push(turn);
    }

    /// Takes out the last turn if it is of this role, else makes one.
    fn turn_of(&mut self, role: Role) -> Turn<'r> {
        if let Some(turn) = self.turns.pop_if(|turn| turn.role == role) {
            return turn;
        }
        let mut turn = Turn::new(role);
        match role {
            Role::User => turn.parts.append(&mut self.moved),
            Role::Assistant => {
                self.close_calls();
                if self.turns.is_empty() {
                    self.turns.push(Turn::of(Role::User, Part::note(PLACEHOLDER)));
                }
            }
        }
        turn
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
            Block::Image(image) => self.media(&image.source, "image/jpeg", turn),
            Block::Document(document) => self.document(document, turn),
            Block::SearchResult { texts } => {
                let text = result::joined(texts);
                if !text.is_empty() {
                    turn.parts.push(Part::Text(text));
                }
            }
            Block::ToolReference(name) => turn.parts.push(Part::Text(result::loaded(name))),
            Block::Foreign(foreign) => {
                self.changes.foreign_blocks += 1;
                turn.parts.push(Part::Text(result::foreign(foreign)));
            }
            Block::ToolUse(tool_use) => {
                let signature = match self.rules.family {
                    Family::Gemini => self.rules.known.of_call(tool_use),
                    Family::Claude | Family::Unknown => None,
                };
                let call = Call { tool_use, id: self.ids.of(tool_use) };
                self.open.push(call.clone());
                turn.parts.push(Part::Call { call, signature });
            }
            Block::ToolResult(result) => {
                let call = self.open.take(result.tool_use_id.as_ref());
                let answer = self.answer(result, deferred);
                if let Some(call) = call {
                    turn.answers.push(Part::Answer { call, answer });
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

    fn media(&mut self, source: &'r Source<'r>, default_type: &'static str, turn: &mut Turn<'r>) {
        let media = self.forwarded(source, default_type);
        match (media, turn.role) {
            (None, _) => turn.parts.push(Part::note(result::NOT_FORWARDED)),
            (Some(Part::Text(text)), _) if text.trim().is_empty() => {}
            (Some(text @ Part::Text(_)), _) => turn.parts.push(text),
            (Some(media), Role::User) => turn.parts.push(media),
            (Some(media), Role::Assistant) => {
                turn.parts.push(Part::note(result::SHOWN_BELOW));
                self.moved.push(media);
            }
        }
    }

    /// The part of a source, `None` (and counted) for what only the original API can read and for types that the target
    /// does not read.
    fn forwarded(&mut self, source: &'r Source<'r>, default_type: &'static str) -> Option<Part<'r>> {
        let family = self.rules.family;
        let part = match source {
            Source::Base64 { media_type, data } => media::known_type(family, media_type.raw())
                .map(|media_type| Part::Inline { media_type, data })
                .or_else(|| media::text(media_type, data).map(Part::Text)),
            Source::Url { media_type, url } => {
                let given = media_type.as_ref().map_or(default_type, JsonStr::raw);
                media::known_type(family, given).map(|media_type| Part::File { media_type, uri: url })
            }
            Source::File(_) => None,
        };
        self.changes.not_forwarded += u32::from(part.is_none());
        part
    }

    fn document(&mut self, document: &'r Document<'r>, turn: &mut Turn<'r>) {
        turn.parts.extend(result::heading(document).map(Part::Text));
        match &document.body {
            DocumentBody::Media(source) => self.media(source, "application/pdf", turn),
            DocumentBody::Parts(items) => {
                for item in items {
                    match item {
                        ResultItem::Text(text) if text.is_blank() => {}
                        ResultItem::Text(text) => turn.parts.push(Part::text(text)),
                        ResultItem::Image(image) => self.media(&image.source, "image/jpeg", turn),
                        ResultItem::Document(inner) => self.document(inner, turn),
                        ResultItem::SearchResult(texts) => {
                            let text = result::joined(texts);
                            if !text.is_empty() {
                                turn.parts.push(Part::Text(text));
                            }
                        }
                        ResultItem::ToolReference(name) => turn.parts.push(Part::Text(result::loaded(name))),
                        ResultItem::Foreign(foreign) => {
                            self.changes.foreign_blocks += 1;
                            turn.parts.push(Part::Text(result::foreign(foreign)));
                        }
                    }
                }
            }
        }
    }

    /// Answers what is still open in the turn after the calls, which is added if there is none.
    fn close_calls(&mut self) {
        let mut open = self.open.drain().peekable();
        if open.peek().is_none() {
            return;
        }
        if self.turns.last().is_none_or(|turn| turn.role == Role::Assistant) {
            self.turns.push(Turn::new(Role::User));
        }
        let Some(turn) = self.turns.last_mut() else { return };
        for call in open {
            self.changes.unanswered_calls += 1;
            turn.answers.push(Part::Answer { call, answer: Answer::interrupted() });
        }
    }

    /// The turns, the last of them the user's.
    fn finish(mut self) -> (Vec<Turn<'r>>, Changes) {
        self.close_calls();
        // Nothing was prefilled by an empty message.
        self.turns.pop_if(|turn| turn.role == Role::Assistant && turn.is_empty());
        if self.turns.last().is_none_or(|turn| turn.role == Role::Assistant) {
            self.changes.prefilled = true;
            self.turns.push(Turn::of(Role::User, Part::note(GO_ON)));
        }
        if let Some(turn) = self.turns.last_mut() {
            turn.parts.append(&mut self.moved);
        }
        (self.turns, self.changes)
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
