//! Upstream answer -> Anthropic events: one state machine for streams and for whole answers.
//!
//! Chunks of a stream, or one whole answer, go into [`StreamConverter::push`]; the events go to a [`Sink`],
//! which writes server-sent frames ([`SseSink`]) or folds them into the message object ([`MessageSink`]).
//! Source: spec `conversion.md` §8–§10, §12 and §13.
//!
//! What has no counterpart in the Messages API:
//!
//! - Code that ran upstream, its output, and files that stay there become text.
//! - A signature on text is dropped: a text block cannot carry one back, and the upstream does not ask for it.
//! - Sources of the answer (`groundingMetadata`, `citationMetadata`) are dropped: they come from server tools, which
//!   are never declared upstream.
//! - `stop_sequence` is never reported: a stop sequence ends an answer upstream like any other `STOP`.

mod fault;
mod foreign;
mod ids;
mod learned;
mod no_answer;
mod part;
mod shape;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

pub use self::fault::StreamFault;
pub use self::ids::MessageIds;
pub use self::learned::{Learned, LearnedKind};
pub use self::no_answer::{NO_ANSWER, no_answer, refusal};
pub use crate::anthropic::event::{Sink, SseSink};
pub use crate::anthropic::message::{MessageSink, StopReason};
pub use crate::anthropic::usage::Usage;

use crate::anthropic::event::{Block, Delta, Event};
use crate::anthropic::json::JsonStr;
use crate::google::model::ModelId;
use crate::google::response::{Candidate, Chunk, Count, ErrorHead, FinishReason, UsageMetadata};

use self::no_answer::explanation;
use self::shape::Shape;

/// Shorter signatures are neither handed out nor remembered (spec `conversion.md` §1.2).
const MIN_SIGNATURE_LENGTH: usize = 50;

/// The names the client gave its tools.
pub trait OriginalNames: Send + Sync {
    /// The client's name of the tool that was declared upstream as `clean`; `clean` itself when nothing was
    /// changed.
    fn raw<'a>(&'a self, clean: &'a str) -> &'a str;
}

/// No name was changed.
impl OriginalNames for () {
    fn raw<'a>(&'a self, clean: &'a str) -> &'a str {
        clean
    }
}

/// The state machine. One per answer.
pub struct StreamConverter {
    model: ModelId,
    names: Arc<dyn OriginalNames>,
    ids: MessageIds,
    phase: Phase,
    open: Open,
    index: u32,
    /// The open thinking block's signature; it goes out when the block is closed.
    signature: Option<JsonStr<'static>>,
    counts: Counts,
    /// The model thought before.
    thought: bool,
    called_tool: bool,
    /// The first finish reason that says something.
    ended: Option<StopReason>,
    /// With a refusal: what is known about it.
    explanation: Option<String>,
    /// Ids of calls; clients tell calls apart by them.
    calls: HashSet<String>,
    learned: Vec<Learned>,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Silent,
    Started,
    Finished,
}

/// The kind of the open block. Calls and images are closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    None,
    Thinking,
    Text,
}

/// The last count of each kind that was not 0.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    prompt: u64,
    cached: u64,
    candidates: u64,
    thoughts: u64,
}

impl Counts {
    fn update(&mut self, news: UsageMetadata) {
        for (count, Count(new)) in [
            (&mut self.prompt, news.prompt_token_count),
            (&mut self.cached, news.cached_content_token_count),
            (&mut self.candidates, news.candidates_token_count),
            (&mut self.thoughts, news.thoughts_token_count),
        ] {
            if new != 0 {
                *count = new;
            }
        }
    }
}

impl StreamConverter {
    /// A converter for one answer of `model`; `names` maps the tools' names back.
    #[must_use]
    pub fn new(model: ModelId, names: Arc<dyn OriginalNames>, ids: MessageIds) -> Self {
        Self {
            model,
            names,
            ids,
            phase: Phase::Silent,
            open: Open::None,
            index: 0,
            signature: None,
            counts: Counts::default(),
            thought: false,
            called_tool: false,
            ended: None,
            explanation: None,
            calls: HashSet::new(),
            learned: Vec::new(),
            shape: Shape::default(),
        }
    }

    /// Converts the payload of one upstream event, or a whole answer. Blank payloads and `[DONE]` are
    /// skipped. A payload may hold several documents; usually it is one.
    ///
    /// A document that is refused has produced no event.
    pub fn push(&mut self, data: &[u8], out: &mut impl Sink) -> Result<(), StreamFault> {
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" || self.phase == Phase::Finished {
            return Ok(());
        }
        if let Some(words) = self.shape.read(data) {
            self.counts.update(words.usage);
            self.words(words.thought, &words.text, out);
            return Ok(());
        }
        let text = match std::str::from_utf8(data) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(String::from_utf8_lossy(data).into_owned()),
        };
        let mut documents = Chunk::documents(&text);
        let mut begin = 0;
        while let Some(chunk) = documents.next() {
            let place = begin..documents.byte_offset();
            begin = place.end;
            self.chunk(chunk?, &text[place], out)?;
        }
        Ok(())
    }

    /// Converts one document, whose text is `document`.
    fn chunk(&mut self, chunk: Chunk<'_>, document: &str, out: &mut impl Sink) -> Result<(), StreamFault> {
        let error = chunk.error;
        let answer = chunk.into_answer();
        if let Some(error) = error.or(answer.error) {
            return Err(StreamFault::Upstream {
                body: Bytes::from(format!("{{\"error\":{}}}", error.get())),
                code: ErrorHead::read(error).code,
            });
        }
        let usage = answer.usage.and_then(UsageMetadata::read);
        if let Some(usage) = usage {
            self.counts.update(usage);
        }
        let candidate = answer.candidate();
        if let Some(reason) = answer.block_reason() {
            let silent = candidate.is_none_or(|candidate| candidate.parts().next().is_none());
            if self.phase == Phase::Silent && silent {
                return Err(StreamFault::Blocked { reason: reason.to_owned() });
            }
            self.refused(reason);
        }
        if let Some(candidate) = candidate {
            self.candidate(candidate, out);
        }
        self.shape.learn(document, &answer, usage.is_some());
        Ok(())
    }

    fn candidate(&mut self, candidate: &Candidate<'_>, out: &mut impl Sink) {
        for part in candidate.parts() {
            self.part(part, out);
        }
        match candidate.finish_reason() {
            Some(FinishReason::Stop) => self.ended = self.ended.or(Some(StopReason::EndTurn)),
            Some(FinishReason::MaxTokens) => self.ended = self.ended.or(Some(StopReason::MaxTokens)),
            Some(FinishReason::Withheld(reason)) => self.refused(reason),
            Some(FinishReason::Other) | None => {}
        }
    }

    /// The answer, or the rest of it, was withheld.
    fn refused(&mut self, reason: &str) {
        if self.ended.is_none() {
            self.ended = Some(StopReason::Refusal);
            self.explanation = Some(explanation(reason));
        }
    }

    /// Ends the message after the upstream's regular end, with or without a finish reason.
    ///
    /// Without content it is [`StreamFault::Empty`], except when the upstream said why there is none: an
    /// answer that was withheld, or whose tokens all went into thinking, is a message without blocks; asking
    /// again would not help.
    pub fn finish(&mut self, out: &mut impl Sink) -> Result<(), StreamFault> {
        match self.phase {
            Phase::Finished => return Ok(()),
            Phase::Started => {}
            Phase::Silent => match self.ended {
                Some(StopReason::Refusal | StopReason::MaxTokens) => self.start(out),
                _ => return Err(StreamFault::Empty),
            },
        }
        self.close(out);
        let stop_reason = self.stop_reason();
        let explanation = self.explanation.as_deref().filter(|_| stop_reason == StopReason::Refusal);
        out.event(Event::MessageDelta { stop_reason, explanation, usage: self.usage() });
        out.event(Event::MessageStop);
        self.phase = Phase::Finished;
        Ok(())
    }

    /// Whether an event was handed out; from then on nothing may be retried.
    #[must_use]
    pub fn started(&self) -> bool {
        self.phase != Phase::Silent
    }

    /// The counts so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let Counts { prompt, cached, candidates, thoughts } = self.counts;
        Usage {
            input_tokens: prompt.saturating_sub(cached),
            output_tokens: candidates.saturating_add(thoughts),
            cache_read_input_tokens: cached,
            cache_creation_input_tokens: 0,
            thinking_tokens: thoughts,
        }
    }

    /// The stop reason of the message if it ended now: a call outweighs all else, no reason at all is
    /// `end_turn`.
    #[must_use]
    pub fn stop_reason(&self) -> StopReason {
        if self.called_tool { StopReason::ToolUse } else { self.ended.unwrap_or(StopReason::EndTurn) }
    }

    /// The signatures seen since the last call.
    pub fn take_learned(&mut self) -> Vec<Learned> {
        std::mem::take(&mut self.learned)
    }

    fn learn(&mut self, kind: LearnedKind) {
        self.learned.push(Learned { kind, family: self.model.family() });
    }

    fn start(&mut self, out: &mut impl Sink) {
        if self.phase == Phase::Silent {
            self.phase = Phase::Started;
            out.event(Event::MessageStart {
                id: &self.ids.message(),
                model: self.model.as_str(),
                usage: self.usage(),
            });
        }
    }

    /// Closes what is open and opens a block; the message starts with its first block.
    fn open(&mut self, kind: Open, block: Block<'_>, out: &mut impl Sink) {
        self.start(out);
        self.close(out);
        self.open = kind;
        out.event(Event::BlockStart { index: self.index, block });
    }

    fn delta(&self, delta: Delta<'_>, out: &mut impl Sink) {
        out.event(Event::Delta { index: self.index, delta });
    }

    fn close(&mut self, out: &mut impl Sink) {
        if self.open == Open::None {
            return;
        }
        if let Some(signature) = self.signature.take() {
            self.delta(Delta::Signature(&signature), out);
        }
        self.open = Open::None;
        self.stop_block(out);
    }

    fn stop_block(&mut self, out: &mut impl Sink) {
        out.event(Event::BlockStop { index: self.index });
        self.index += 1;
    }
}
