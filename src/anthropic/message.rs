//! The answer as one object: why it stopped, and the fold of its events.

use bytes::{BufMut, Bytes, BytesMut};

use super::event::{Block, Delta, Event, Sink, write_image, write_stop, write_tool_head, write_tool_tail};
use super::json::JsonStr;
use super::json::write::push_string;

/// Why the model stopped. `stop_sequence` and `pause_turn` have no counterpart upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// It had said everything.
    EndTurn,
    /// The output limit was reached.
    MaxTokens,
    /// It calls at least one tool.
    ToolUse,
    /// The upstream withheld the answer, or the rest of it.
    Refusal,
}

impl StopReason {
    /// The wire value of `stop_reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::ToolUse => "tool_use",
            Self::Refusal => "refusal",
        }
    }
}

/// Folds the events of a message into the non-streaming answer, in one buffer.
#[derive(Debug, Default)]
pub struct MessageSink {
    json: BytesMut,
    model: String,
    open: Open,
    complete: bool,
}

/// What the end of the open block needs.
#[derive(Debug, Default)]
enum Open {
    #[default]
    None,
    Text,
    Thinking {
        signature: Option<JsonStr<'static>>,
    },
    ToolUse {
        signature: Option<JsonStr<'static>>,
        input_start: usize,
    },
}

impl MessageSink {
    /// An empty sink.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The message object as JSON; `None` unless the message came to its end.
    #[must_use]
    pub fn into_body(self) -> Option<Bytes> {
        self.complete.then(|| self.json.freeze())
    }

    fn start_block(&mut self, index: u32, block: Block<'_>) {
        let out = &mut self.json;
        if index > 0 {
            out.put_u8(b',');
        }
        self.open = match block {
            Block::Text => {
                out.put_slice(b"{\"type\":\"text\",\"text\":\"");
                Open::Text
            }
            Block::Thinking => {
                out.put_slice(b"{\"type\":\"thinking\",\"thinking\":\"");
                Open::Thinking { signature: None }
            }
            Block::ToolUse { id, name, signature } => {
                write_tool_head(out, id, name);
                Open::ToolUse {
                    signature: signature.cloned().map(JsonStr::into_owned),
                    input_start: out.len(),
                }
            }
            Block::Image { media_type, data } => {
                write_image(out, media_type, data);
                Open::None
            }
        };
    }

    fn stop_block(&mut self) {
        let out = &mut self.json;
        match std::mem::take(&mut self.open) {
            Open::None => {}
            Open::Text => out.put_slice(b"\"}"),
            Open::Thinking { signature } => {
                out.put_slice(b"\",\"signature\":");
                signature.unwrap_or(JsonStr::EMPTY).write(out);
                out.put_u8(b'}');
            }
            Open::ToolUse { signature, input_start } => {
                if out.len() == input_start {
                    out.put_slice(b"{}");
                }
                write_tool_tail(out, signature.as_ref());
            }
        }
    }
}

impl Sink for MessageSink {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::MessageStart { id, model, .. } => {
                model.clone_into(&mut self.model);
                self.json.put_slice(b"{\"id\":");
                push_string(&mut self.json, id);
                self.json.put_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"content\":[");
            }
            Event::BlockStart { index, block } => self.start_block(index, block),
            Event::Delta { delta, .. } => match delta {
                Delta::Text(text) | Delta::Thinking(text) => self.json.put_slice(text.raw().as_bytes()),
                Delta::InputJson(json) => self.json.put_slice(json.as_bytes()),
                Delta::Signature(text) => {
                    if let Open::Thinking { signature } = &mut self.open {
                        *signature = Some(text.clone().into_owned());
                    }
                }
            },
            Event::BlockStop { .. } => self.stop_block(),
            Event::MessageDelta { stop_reason, explanation, usage } => {
                let out = &mut self.json;
                out.put_slice(b"],\"model\":");
                push_string(out, &self.model);
                out.put_u8(b',');
                write_stop(out, stop_reason, explanation);
                out.put_slice(b",\"usage\":");
                usage.write(out);
                out.put_u8(b'}');
            }
            Event::MessageStop => self.complete = true,
        }
    }
}
