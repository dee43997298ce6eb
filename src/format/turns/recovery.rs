//! Loops whose thoughts were lost (spec `conversion.md` §5.5–§5.7, §13.2, W15, W23, W24).
//!
//! A thinking model refuses to go on with calls that are not preceded by the thought they came with. Such a loop is
//! closed by a synthetic exchange, so that the model starts a new turn. Recovery is judged on what is sent, not on what
//! the client holds: a thought that the target would refuse does not count.

use std::borrow::Cow;

use crate::anthropic::request::Role;
use crate::google::model::Family;

use super::{Part, Recovery, Rules, Turn};

/// Closes a tool loop or an interrupted call whose thoughts were lost. `had_thoughts` tells that the
/// conversation had some that are not sent.
pub(super) fn recover(turns: &mut Vec<Turn<'_>>, rules: &Rules<'_>, had_thoughts: bool) -> Option<Recovery> {
    let last = turns.iter().rposition(|turn| turn.role == Role::Assistant)?;
    let model = &turns[last];
    let user = turns.get(last + 1)?;
    let applies = match rules.family {
        Family::Gemini => rules.thinking,
        // A conversation that never had thoughts is accepted as it is.
        Family::Claude => rules.thinking && (had_thoughts || came_with_thoughts(model, rules)),
        Family::Unknown => false,
    };
    let has_call = model.parts.iter().any(|part| matches!(part, Part::Call { .. }));
    if !applies || !has_call || has_valid_thinking(model, rules.family) {
        return None;
    }
    if user.answering_messages > 0 {
        let text = match user.answering_messages {
            1 => Cow::Borrowed("[Tool execution completed.]"),
            count => Cow::Owned(format!("[{count} tool executions completed.]")),
        };
        turns.push(Turn::of(Role::Assistant, Part::Text(text)));
        turns.push(Turn::of(Role::User, Part::note("[Continue]")));
        return Some(Recovery::ToolLoop);
    }
    // Only the notes about the missing answers stand in front of what the user said: a conversation that ends with the
    // calls themselves was not interrupted by anybody.
    if user.parts.is_empty() {
        return None;
    }
    let mut said = Turn::new(Role::User);
    said.parts = std::mem::take(&mut turns[last + 1].parts);
    turns.push(Turn::of(Role::Assistant, Part::note("[Tool call was interrupted.]")));
    turns.push(said);
    Some(Recovery::Interrupted)
}

/// Whether the turn still shows that the model thought: a thought that is kept or, for Gemini, a signed call. Of calls
/// made at once Gemini signs only the first one.
fn has_valid_thinking(turn: &Turn<'_>, family: Family) -> bool {
    turn.parts.iter().any(|part| match part {
        Part::Thought { .. } => true,
        Part::Call { signature, .. } => family == Family::Gemini && signature.is_some(),
        _ => false,
    })
}

/// Whether a call of the turn is remembered as one that a Claude model made after a thought, which the client has
/// taken out of its history since.
fn came_with_thoughts(turn: &Turn<'_>, rules: &Rules<'_>) -> bool {
    turn.parts
        .iter()
        .any(|part| matches!(part, Part::Call { call, .. } if rules.known.followed_a_thought(call.tool_use)))
}
