//! Upstream answer -> Anthropic events: one state machine for streams and for whole answers.
//!
//! Chunks of a stream, or one whole answer, go into [`StreamConverter::push`]; the events go to a [`Sink`],
//! which writes server-sent frames ([`SseSink`]) or folds them into the message object ([`MessageSink`]).
//! Source: spec `conversion.md` §8–§10, §12 and §13.

mod fault;
mod ids;
mod learned;
mod no_answer;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

pub use self::fault::StreamFault;
pub use self::ids::MessageIds;
pub use self::learned::{Learned, LearnedKind};
pub use self::no_answer::{NO_ANSWER, no_answer, refusal};
pub use crate::anthropic::event::{Sink, SseSink};
pub use crate::anthropic::message::{MessageSink, StopReason};
pub use crate::anthropic::usage::Usage;

use crate::anthropic::event::{Block, Delta, Event};
use crate::anthropic::literal::{Literal, compact};
use crate::google::model::{Family, ModelId};
use crate::google::response::{
    Chunk, Count, ErrorHead, FinishReason, FunctionCall, InlineData, Part, UsageMetadata,
};

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
    signature: Option<Literal<'static>>,
    counts: Counts,
    thought: bool,
    called_tool: bool,
    /// The first finish reason that says something.
    ended: Option<StopReason>,
    learned: Vec<Learned>,
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
            learned: Vec::new(),
        }
    }

    /// Converts the payload of one upstream event, or a whole answer. Blank payloads and `[DONE]` are
    /// skipped.
    ///
    /// A chunk that is refused has produced no event.
    pub fn push(&mut self, data: &[u8], out: &mut impl Sink) -> Result<(), StreamFault> {
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" || self.phase == Phase::Finished {
            return Ok(());
        }
        let text = match std::str::from_utf8(data) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(String::from_utf8_lossy(data).into_owned()),
        };
        let chunk = Chunk::parse(&text)?;
        if let Some(error) = chunk.error {
            return Err(StreamFault::Upstream {
                body: Bytes::copy_from_slice(data),
                code: ErrorHead::read(error).code,
            });
        }
        let answer = chunk.into_answer();
        if let Some(usage) = answer.usage {
            self.counts.update(usage);
        }
        let candidate = answer.candidate();
        if let Some(reason) = answer.block_reason().and_then(Literal::from_raw) {
            if self.phase == Phase::Silent
                && candidate.is_none_or(|candidate| candidate.parts().next().is_none())
            {
                return Err(StreamFault::Blocked { reason: reason.decode().into_owned() });
            }
            self.ended = self.ended.or(Some(StopReason::Refusal));
        }
        if let Some(candidate) = candidate {
            for part in candidate.parts() {
                self.part(part, out);
            }
            if let Some(reason) = candidate.finish_reason() {
                self.ended = self.ended.or(match reason {
                    FinishReason::Stop => Some(StopReason::EndTurn),
                    FinishReason::MaxTokens => Some(StopReason::MaxTokens),
                    FinishReason::Withheld => Some(StopReason::Refusal),
                    FinishReason::Other => None,
                });
            }
        }
        Ok(())
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
        out.event(Event::MessageDelta { stop_reason: self.stop_reason(), usage: self.usage() });
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

    /// A part may hold text beside a call or an image: nothing of it is dropped. The signature belongs to the
    /// call then.
    fn part(&mut self, part: &Part<'_>, out: &mut impl Sink) {
        let signature = part.thought_signature.and_then(Literal::from_raw);
        let (of_thought, of_call) =
            if part.function_call.is_some() { (None, signature) } else { (signature, None) };
        let text = part.text.and_then(Literal::from_raw).filter(|text| !text.is_empty());
        if part.is_thought() {
            self.thought(text.as_ref(), of_thought, out);
        } else if let Some(text) = &text {
            self.text(text, out);
        }
        if let Some(call) = &part.function_call {
            self.call(call, of_call.as_ref(), out);
        }
        if let Some(data) = &part.inline_data {
            self.image(data, out);
        }
    }

    /// A thought. One that is only a signature belongs to the open thinking block, or to one of its own.
    fn thought(&mut self, text: Option<&Literal<'_>>, signature: Option<Literal<'_>>, out: &mut impl Sink) {
        let signature = signature.filter(|signature| signature.decode().len() >= MIN_SIGNATURE_LENGTH);
        if text.is_none() && signature.is_none() {
            return;
        }
        // A signature covers its block up to where it came; more text belongs to a new block.
        let complete = self.signature.is_some() && text.is_some();
        if self.open != Open::Thinking || complete {
            self.open(Open::Thinking, Block::Thinking, out);
        }
        self.thought = true;
        self.delta(Delta::Thinking(text.unwrap_or(&Literal::EMPTY)), out);
        if let Some(signature) = signature {
            self.learn(LearnedKind::Thinking { signature: signature.decode().into_owned() });
            self.signature = Some(signature.into_owned());
        }
    }

    fn text(&mut self, text: &Literal<'_>, out: &mut impl Sink) {
        if self.open != Open::Text {
            self.open(Open::Text, Block::Text, out);
        }
        self.delta(Delta::Text(text), out);
    }

    /// A tool call. One without a name cannot be carried out by anybody and is skipped.
    fn call(&mut self, call: &FunctionCall<'_>, signature: Option<&Literal<'_>>, out: &mut impl Sink) {
        let Some(name) = call.name.and_then(Literal::from_raw).filter(|name| !name.is_empty()) else {
            return;
        };
        let id = match call.id.and_then(Literal::from_raw).filter(|id| !id.is_empty()) {
            Some(id) => id.decode().into_owned(),
            None => self.ids.next_tool(),
        };
        let input =
            call.args.map(RawValue::get).filter(|args| args.starts_with('{')).map_or("{}".into(), compact);
        let signature = signature
            .map(|signature| (signature, signature.decode()))
            .filter(|(_, decoded)| decoded.len() >= MIN_SIGNATURE_LENGTH);

        let names = Arc::clone(&self.names);
        let name = name.decode();
        let block = Block::ToolUse {
            id: &id,
            name: names.raw(&name),
            signature: signature.as_ref().map(|(literal, _)| *literal),
        };
        self.open(Open::None, block, out);
        self.delta(Delta::InputJson(&input), out);
        self.stop_block(out);
        self.called_tool = true;
        match signature {
            Some((_, signature)) => {
                self.learn(LearnedKind::Tool { id, signature: signature.into_owned() });
            }
            // Should the client drop the thought, this call alone still tells that there was one.
            None if self.thought && self.model.family() == Family::Claude => {
                self.learn(LearnedKind::Tool { id, signature: String::new() });
            }
            None => {}
        }
    }

    fn image(&mut self, image: &InlineData<'_>, out: &mut impl Sink) {
        let literal = |raw: Option<_>| raw.and_then(Literal::from_raw);
        if let (Some(media_type), Some(data)) = (literal(image.mime_type), literal(image.data)) {
            self.open(Open::None, Block::Image { media_type: &media_type, data: &data }, out);
            self.stop_block(out);
        }
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
