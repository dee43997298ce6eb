//! The events of a streamed answer, the sinks that take them, and their server-sent frames.
//!
//! Source: spec `conversion.md` §2.1, §9.2–§9.4; public streaming documentation of the Messages API.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::{self, ErrorKind};
use super::json::JsonStr;
use super::json::write::{push_number, push_string};
use super::message::StopReason;
use super::usage::Usage;

/// One event, borrowed from whatever produced it.
///
/// Events come in the order of the protocol: one `MessageStart`; per block one `BlockStart`, any number of
/// `Delta`s, one
/// `BlockStop`, indices counting up from 0, one block open at a time; one `MessageDelta`; one `MessageStop`.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// `message_start`. Output tokens are written as 0, whatever `usage` says.
    MessageStart {
        /// The message's id.
        id: &'a str,
        /// The model that answers.
        model: &'a str,
        /// What is known of the prompt's tokens.
        usage: Usage,
    },
    /// `content_block_start`.
    BlockStart {
        /// The block's index.
        index: u32,
        /// The block as it starts.
        block: Block<'a>,
    },
    /// `content_block_delta`.
    Delta {
        /// The block's index.
        index: u32,
        /// What is added.
        delta: Delta<'a>,
    },
    /// `content_block_stop`.
    BlockStop {
        /// The block's index.
        index: u32,
    },
    /// `message_delta`.
    MessageDelta {
        /// Why the model stopped.
        stop_reason: StopReason,
        /// Of a refusal: what is known about it, for people.
        explanation: Option<&'a str>,
        /// Cumulative counts of the whole message.
        usage: Usage,
    },
    /// `message_stop`.
    MessageStop,
}

/// A content block as it starts; what is not listed starts empty.
#[derive(Clone, Copy, Debug)]
pub enum Block<'a> {
    /// `thinking`.
    Thinking,
    /// `text`.
    Text,
    /// `tool_use`.
    ToolUse {
        /// The call's id.
        id: &'a str,
        /// The tool's name as the client declared it.
        name: &'a str,
        /// The upstream's signature of the call, for clients that send it back.
        signature: Option<&'a JsonStr<'a>>,
    },
    /// `image` with a base64 source; complete from the start.
    Image {
        /// The MIME type.
        media_type: &'a JsonStr<'a>,
        /// The base64 data.
        data: &'a JsonStr<'a>,
    },
}

/// What is added to the open block.
#[derive(Clone, Copy, Debug)]
pub enum Delta<'a> {
    /// `text_delta`.
    Text(&'a JsonStr<'a>),
    /// `thinking_delta`.
    Thinking(&'a JsonStr<'a>),
    /// `signature_delta`.
    Signature(&'a JsonStr<'a>),
    /// `input_json_delta`: a piece of the compact JSON of the tool's input.
    InputJson(&'a str),
}

/// Takes events, in order.
pub trait Sink {
    /// Takes the next event.
    fn event(&mut self, event: Event<'_>);
}

/// Writes each event as a frame `event: <type>` LF `data: <JSON>` LF LF into one buffer.
#[derive(Debug)]
pub struct SseSink {
    out: BytesMut,
    /// How every frame begins that adds words to the open block: nearly all frames of a stream.
    head: Vec<u8>,
}

impl Default for SseSink {
    fn default() -> Self {
        Self::new()
    }
}

impl SseSink {
    /// One allocation serves some ten frames, also across calls of [`take`](Self::take).
    const CAPACITY: usize = 2_048;

    /// An empty sink.
    #[must_use]
    pub fn new() -> Self {
        Self { out: BytesMut::with_capacity(Self::CAPACITY), head: Vec::new() }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// How many bytes there are to send.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// All frames written since the last call, without copying them.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        self.out.split().freeze()
    }
}

impl SseSink {
    /// Adds words to the open block.
    fn words(&mut self, text: &JsonStr<'_>) {
        let (text, end) = (text.raw().as_bytes(), b"\"}}\n\n");
        self.out.reserve(self.head.len() + text.len() + end.len());
        self.out.put_slice(&self.head);
        self.out.put_slice(text);
        self.out.put_slice(end);
    }
}

impl Sink for SseSink {
    fn event(&mut self, event: Event<'_>) {
        let out = &mut self.out;
        match event {
            Event::MessageStart { id, model, usage } => {
                out.put_slice(
                    b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":",
                );
                push_string(out, id);
                out.put_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":");
                push_string(out, model);
                out.put_slice(b",\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
                Usage { output_tokens: 0, ..usage }.write(out);
                out.put_slice(b"}}\n\n");
            }
            Event::BlockStart { index, block } => {
                out.put_slice(
                    b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":",
                );
                push_number(out, index.into());
                out.put_slice(b",\"content_block\":");
                write_start(out, block);
                out.put_slice(b"}\n\n");
                self.head.clear();
                if let Some(kind) = words_of(block) {
                    write_delta_head(&mut self.head, index, kind);
                }
            }
            Event::Delta { delta: Delta::Text(text) | Delta::Thinking(text), .. } => self.words(text),
            Event::Delta { index, delta: Delta::Signature(text) } => {
                out.reserve(160 + text.raw().len());
                write_delta_head(out, index, b"\"signature_delta\",\"signature\":");
                text.write(out);
                out.put_slice(b"}}\n\n");
            }
            Event::Delta { index, delta: Delta::InputJson(json) } => {
                out.reserve(160 + json.len());
                write_delta_head(out, index, b"\"input_json_delta\",\"partial_json\":");
                push_string(out, json);
                out.put_slice(b"}}\n\n");
            }
            Event::BlockStop { index } => {
                out.put_slice(
                    b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":",
                );
                push_number(out, index.into());
                out.put_slice(b"}\n\n");
            }
            Event::MessageDelta { stop_reason, explanation, usage } => {
                out.put_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
                write_stop(out, stop_reason, explanation);
                out.put_slice(b"},\"usage\":");
                usage.write(out);
                out.put_slice(b"}\n\n");
            }
            Event::MessageStop => {
                out.put_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
            }
        }
    }
}

fn write_start(out: &mut BytesMut, block: Block<'_>) {
    match block {
        // With `signature`, as the public API has it: clients read the key of a thought that never gets one.
        Block::Thinking => out.put_slice(b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"),
        Block::Text => out.put_slice(b"{\"type\":\"text\",\"text\":\"\"}"),
        Block::ToolUse { id, name, signature } => {
            write_tool_head(out, id, name);
            out.put_slice(b"{}");
            write_tool_tail(out, signature);
        }
        Block::Image { media_type, data } => write_image(out, media_type, data),
    }
}

/// The words that may be added to such a block: the value of `type`, and the field up to the inside of its string.
fn words_of(block: Block<'_>) -> Option<&'static [u8]> {
    match block {
        Block::Text => Some(b"\"text_delta\",\"text\":\""),
        Block::Thinking => Some(b"\"thinking_delta\",\"thinking\":\""),
        Block::ToolUse { .. } | Block::Image { .. } => None,
    }
}

/// A delta's frame up to `kind`, which is the value of its `type` and what follows up to its content.
fn write_delta_head(out: &mut impl BufMut, index: u32, kind: &[u8]) {
    out.put_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    push_number(out, index.into());
    out.put_slice(b",\"delta\":{\"type\":");
    out.put_slice(kind);
}

/// The fields that say why the message ended. `stop_sequence` is always `null`: the upstream does not tell which
/// one it met, nor that it met one.
pub(super) fn write_stop(out: &mut BytesMut, reason: StopReason, explanation: Option<&str>) {
    out.put_slice(b"\"stop_reason\":\"");
    out.put_slice(reason.as_str().as_bytes());
    out.put_slice(b"\",\"stop_sequence\":null");
    if let Some(explanation) = explanation {
        out.put_slice(b",\"stop_details\":{\"type\":\"refusal\",\"category\":null,\"explanation\":");
        push_string(out, explanation);
        out.put_u8(b'}');
    }
}

/// A tool call up to the value of `input`.
pub(super) fn write_tool_head(out: &mut BytesMut, id: &str, name: &str) {
    out.put_slice(b"{\"type\":\"tool_use\",\"id\":");
    push_string(out, id);
    out.put_slice(b",\"name\":");
    push_string(out, name);
    out.put_slice(b",\"input\":");
}

/// A tool call from behind the value of `input`.
pub(super) fn write_tool_tail(out: &mut BytesMut, signature: Option<&JsonStr<'_>>) {
    if let Some(signature) = signature {
        out.put_slice(b",\"thoughtSignature\":");
        signature.write(out);
    }
    out.put_u8(b'}');
}

pub(super) fn write_image(out: &mut BytesMut, media_type: &JsonStr<'_>, data: &JsonStr<'_>) {
    out.put_slice(b"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":");
    media_type.write(out);
    out.put_slice(b",\"data\":");
    data.write(out);
    out.put_slice(b"}}");
}

/// The `ping` frame; may stand anywhere between frames, before `message_start` too.
#[must_use]
pub fn ping_frame() -> Bytes {
    Bytes::from_static(b"event: ping\ndata: {\"type\":\"ping\"}\n\n")
}

/// The `error` frame that ends a stream which has already started.
#[must_use]
pub fn error_frame(kind: ErrorKind, message: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 110);
    out.put_slice(b"event: error\ndata: ");
    error::write(&mut out, kind, message);
    out.put_slice(b"\n\n");
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::{error_frame, ping_frame};
    use crate::anthropic::error::ErrorKind;

    #[test]
    fn frames_outside_of_a_message() {
        assert_eq!(ping_frame(), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
        assert_eq!(
            error_frame(ErrorKind::Overloaded, "later\n"),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"later\\n\"}}\n\n"
        );
    }
}
