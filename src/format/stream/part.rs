//! What becomes of each kind of part (spec `conversion.md` §9.4).

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{LearnedKind, MIN_SIGNATURE_LENGTH, Open, Sink, StreamConverter, foreign};
use crate::anthropic::event::{Block, Delta};
use crate::anthropic::json::JsonStr;
use crate::anthropic::json::write::compact;
use crate::google::model::Family;
use crate::google::response::{FunctionCall, InlineData, Part};

impl StreamConverter {
    /// A part may hold text beside a call or an image: nothing of it is dropped. The signature belongs to the
    /// call then.
    pub(super) fn part(&mut self, part: &Part<'_>, out: &mut impl Sink) {
        let signature = part.thought_signature.and_then(|raw| JsonStr::from_literal(raw.get()));
        let (of_thought, of_call) =
            if part.function_call.is_some() { (None, signature) } else { (signature, None) };
        let text = part.text.and_then(|raw| JsonStr::from_literal(raw.get())).unwrap_or(JsonStr::EMPTY);
        match of_thought {
            Some(signature) if part.is_thought() => self.thought(&text, Some(signature), out),
            _ => self.words(part.is_thought(), &text, out),
        }
        let foreign = [
            part.executable_code.as_ref().and_then(foreign::code),
            part.code_execution_result.as_ref().and_then(foreign::result),
            part.file_data.as_ref().and_then(foreign::file),
        ];
        for text in foreign.iter().flatten() {
            self.words(false, text, out);
        }
        if let Some(call) = &part.function_call {
            self.call(call, of_call.as_ref(), out);
        }
        if let Some(data) = &part.inline_data {
            self.image(data, out);
        }
    }

    /// Text without a signature.
    #[inline]
    pub(super) fn words(&mut self, thought: bool, text: &JsonStr<'_>, out: &mut impl Sink) {
        if thought {
            self.thought(text, None, out);
        } else if !text.is_empty() {
            if self.open != Open::Text {
                self.open(Open::Text, Block::Text, out);
            }
            self.delta(Delta::Text(text), out);
        }
    }

    /// A thought. One that is only a signature belongs to the open thinking block, or to one of its own.
    fn thought(&mut self, text: &JsonStr<'_>, signature: Option<JsonStr<'_>>, out: &mut impl Sink) {
        let signature = signature.filter(|signature| signature.decode().len() >= MIN_SIGNATURE_LENGTH);
        if text.is_empty() && signature.is_none() {
            return;
        }
        // A signature covers its block up to where it came; more text belongs to a new block.
        let complete = self.signature.is_some() && !text.is_empty();
        if self.open != Open::Thinking || complete {
            self.open(Open::Thinking, Block::Thinking, out);
        }
        self.thought = true;
        self.delta(Delta::Thinking(text), out);
        if let Some(signature) = signature {
            self.learn(LearnedKind::Thinking { signature: signature.decode().into_owned() });
            self.signature = Some(signature.into_owned());
        }
    }

    /// A tool call. One without a name cannot be carried out by anybody and is skipped.
    fn call(&mut self, call: &FunctionCall<'_>, signature: Option<&JsonStr<'_>>, out: &mut impl Sink) {
        let name = call.name.and_then(|raw| JsonStr::from_literal(raw.get()));
        let Some(name) = name.filter(|name| !name.is_empty()) else { return };
        let id = self.call_id(call.id);
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
            signature: signature.as_ref().map(|(escaped, _)| *escaped),
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

    /// The upstream's id of a call, or one of our own where it gave none, one that was used before, or one that
    /// the Messages API would refuse when it comes back.
    fn call_id(&mut self, given: Option<&RawValue>) -> String {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let given = given.and_then(|raw| JsonStr::from_literal(raw.get()));
        let mut id = match &given {
            Some(id) if !id.is_empty() && id.raw().as_bytes().iter().all(allowed) => id.raw().to_owned(),
            _ => self.ids.next_tool(),
        };
        while !self.calls.insert(id.clone()) {
            id = self.ids.next_tool();
        }
        id
    }

    fn image(&mut self, image: &InlineData<'_>, out: &mut impl Sink) {
        let media_type = image.mime_type.and_then(|raw| JsonStr::from_literal(raw.get()));
        let data = image.data.and_then(|raw| JsonStr::from_literal(raw.get()));
        if let (Some(media_type), Some(data)) = (media_type, data) {
            self.open(Open::None, Block::Image { media_type: &media_type, data: &data }, out);
            self.stop_block(out);
        }
    }
}
