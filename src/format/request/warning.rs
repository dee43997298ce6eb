//! What a conversion could not carry over as it was.

use std::fmt;

use super::super::turns::Recovery;

/// Something that was changed or left out; worth a line in the log, never an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Blocks of unknown types.
    BlocksDropped(u32),
    /// Thoughts that the target would refuse.
    ThoughtsDropped(u32),
    /// Results without a call in the turn before, sent as text.
    OrphanResults(u32),
    /// Calls without a result, answered by a note.
    UnansweredCalls(u32),
    /// Files that only the original API can read.
    FilesNotForwarded(u32),
    /// Blocks that only the original API understands, sent as notes.
    BlocksNoted(u32),
    /// An answer was begun by the client; the model is asked to go on from there.
    Prefilled,
    /// The budget that the client named, and the one that is sent.
    BudgetChanged(i64, i64),
    /// Sampling parameters that a Claude model does not take while it thinks.
    SamplingLeftOut(Vec<&'static str>),
    /// Stop sequences beyond those the model takes.
    StopSequencesLeftOut(usize),
    /// The schema of the answer is asked for in words.
    SchemaNotEnforced,
    /// Tools that the original API runs itself.
    ServerToolsSkipped(Vec<String>),
    /// A Claude model cannot be made to call a tool here.
    ToolChoiceNotForced,
    /// The conversation was closed because its thoughts were lost.
    Recovered(Recovery),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlocksDropped(count) => write!(f, "{count} blocks of unknown type dropped"),
            Self::ThoughtsDropped(count) => {
                write!(f, "{count} thinking blocks not usable by this model dropped")
            }
            Self::OrphanResults(count) => write!(f, "{count} tool results without a call sent as text"),
            Self::UnansweredCalls(count) => {
                write!(f, "{count} tool calls without a result marked as interrupted")
            }
            Self::FilesNotForwarded(count) => write!(f, "{count} file references left out"),
            Self::BlocksNoted(count) => {
                write!(f, "{count} blocks that only the original API understands sent as notes")
            }
            Self::Prefilled => f.write_str("a prefilled answer sent as a turn of its own"),
            Self::BudgetChanged(asked, sent) => {
                write!(f, "thinking budget of {asked} tokens changed to {sent}")
            }
            Self::SamplingLeftOut(names) => {
                write!(f, "left out, since the model thinks: {}", names.join(", "))
            }
            Self::StopSequencesLeftOut(count) => write!(f, "{count} stop sequences left out"),
            Self::SchemaNotEnforced => f.write_str("the schema of the answer is asked for in words"),
            Self::ServerToolsSkipped(names) => write!(f, "server tools left out: {}", names.join(", ")),
            Self::ToolChoiceNotForced => f.write_str("tool_choice is not enforced for Claude models"),
            Self::Recovered(Recovery::ToolLoop) => {
                f.write_str("tool loop closed because its thinking was lost")
            }
            Self::Recovered(Recovery::Interrupted) => {
                f.write_str("interrupted tool call closed because its thinking was lost")
            }
        }
    }
}
