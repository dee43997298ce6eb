//! Signatures that an answer brought.

use crate::google::model::Family;

/// A signature seen in an answer, to be remembered before the client can send it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// What it signs.
    pub kind: LearnedKind,
    /// The family of the model that produced it.
    pub family: Family,
}

/// What a signature signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LearnedKind {
    /// A thinking block.
    Thinking {
        /// The signature.
        signature: String,
    },
    /// A tool call.
    Tool {
        /// The id under which the client knows the call.
        id: String,
        /// The signature; empty for a call that a Claude model made after a thought, which has none.
        signature: String,
    },
}
