//! What the client gets when the upstream stayed silent through all retries.

use crate::anthropic::event::{Block, Delta, Event, Sink};
use crate::anthropic::json::JsonStr;
use crate::anthropic::message::StopReason;
use crate::anthropic::usage::Usage;
use crate::google::model::ModelId;

use super::MessageIds;

/// The text of the stand-in answer.
pub const NO_ANSWER: &str = "[No response after retries - please try again]";

/// Writes a complete message that says there was no answer (spec `conversion.md` §10); its counts are 0.
pub fn no_answer(model: &ModelId, ids: &MessageIds, out: &mut impl Sink) {
    let usage = Usage::default();
    out.event(Event::MessageStart { id: &ids.message(), model: model.as_str(), usage });
    out.event(Event::BlockStart { index: 0, block: Block::Text });
    out.event(Event::Delta { index: 0, delta: Delta::Text(&JsonStr::encode(NO_ANSWER)) });
    out.event(Event::BlockStop { index: 0 });
    out.event(Event::MessageDelta { stop_reason: StopReason::EndTurn, explanation: None, usage });
    out.event(Event::MessageStop);
}

/// Writes a complete message without content that says the prompt was refused, and with which of the upstream's block
/// reasons (spec `conversion.md` §13, W36).
pub fn refusal(model: &ModelId, ids: &MessageIds, reason: &str, out: &mut impl Sink) {
    let usage = Usage::default();
    let explanation = explanation(reason);
    out.event(Event::MessageStart { id: &ids.message(), model: model.as_str(), usage });
    out.event(Event::MessageDelta {
        stop_reason: StopReason::Refusal,
        explanation: Some(&explanation),
        usage,
    });
    out.event(Event::MessageStop);
}

/// Why something was withheld, for people. The reason is the upstream's enum value; any other text is left out.
pub(super) fn explanation(reason: &str) -> String {
    let name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let reason = if reason.len() <= 64 && reason.chars().all(name) { reason } else { "no known reason" };
    format!("The upstream withheld the answer: {reason}.")
}
