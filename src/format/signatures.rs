//! Thought signatures: which ones a request needs to know about, and what is known.
//!
//! A signature is accepted only by the family that made it (spec `conversion.md` §3.4.5, §3.4.7, §6).

use std::collections::{HashMap, HashSet};

use crate::anthropic::json::JsonStr;
use crate::anthropic::request::{Block, MessagesRequest, ToolUse};
use crate::google::model::{Family, ModelId};

/// Shortest valid signature, in bytes.
pub const MIN_SIGNATURE: usize = 50;

/// Most signatures one request asks the store for.
pub const MAX_WANTED: usize = 1_024;

/// Under what a signature is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureKey<'a> {
    /// The text of a thinking block's signature; the family is what is asked for.
    Thinking(&'a str),
    /// The id of a tool call; its signature is what is asked for.
    Tool(&'a str),
}

/// What is known under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Whose signature it is.
    pub family: Family,
    /// The signature itself; only for tool calls.
    pub signature: Option<String>,
}

impl Remembered {
    /// One string for the store: `gemini`, or `gemini:<signature>`.
    #[must_use]
    pub fn encode(&self) -> String {
        match &self.signature {
            Some(signature) => format!("{}:{signature}", self.family),
            None => self.family.as_str().to_owned(),
        }
    }

    /// Reads what [`Remembered::encode`] wrote; an unknown family name is [`Family::Unknown`].
    #[must_use]
    pub fn decode(text: &str) -> Self {
        let (family, signature) = match text.split_once(':') {
            Some((family, signature)) => (family, Some(signature.to_owned())),
            None => (text, None),
        };
        let Ok(family) = family.parse();
        Self { family, signature }
    }
}

/// The answers to [`signatures_wanted`].
#[derive(Clone, Debug, Default)]
pub struct KnownSignatures {
    thinking: HashMap<String, Family>,
    tools: HashMap<String, Remembered>,
}

impl KnownSignatures {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an answer.
    pub fn insert(&mut self, key: &SignatureKey<'_>, remembered: Remembered) {
        match key {
            SignatureKey::Thinking(signature) => {
                self.thinking.insert((*signature).to_owned(), remembered.family);
            }
            SignatureKey::Tool(id) => {
                self.tools.insert((*id).to_owned(), remembered);
            }
        }
    }

    /// Whether a thinking block with this signature may be sent to `target`.
    pub(super) fn keeps(&self, signature: Option<&JsonStr<'_>>, target: Family) -> bool {
        let Some(signature) = valid(signature) else { return false };
        let family = self.thinking.get(signature.decode().as_ref());
        match target {
            Family::Unknown => family.is_none_or(|family| *family == target),
            _ => family == Some(&target),
        }
    }

    /// The signature to send with a call to a Gemini target: the block's own, else the remembered one; never one that
    /// is known to be another family's.
    pub(super) fn of_call<'s>(&'s self, call: &'s ToolUse<'_>) -> Option<CallSignature<'s>> {
        let remembered = self.tools.get(call.id.decode().as_ref());
        if remembered.is_some_and(|known| known.family != Family::Gemini) {
            return None;
        }
        if let Some(own) = &call.thought_signature {
            return Some(CallSignature::Own(own));
        }
        remembered.and_then(|known| known.signature.as_deref()).map(CallSignature::Known)
    }
}

/// Where a call's signature comes from.
pub(super) enum CallSignature<'s> {
    Own(&'s JsonStr<'s>),
    Known(&'s str),
}

impl CallSignature<'_> {
    /// Long enough to be a real one.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Own(text) => text.raw().len() >= MIN_SIGNATURE,
            Self::Known(text) => text.len() >= MIN_SIGNATURE,
        }
    }
}

fn valid<'s, 'a>(signature: Option<&'s JsonStr<'a>>) -> Option<&'s JsonStr<'a>> {
    signature.filter(|signature| signature.raw().len() >= MIN_SIGNATURE)
}

/// What must be looked up to convert `request` for `target`: without repetitions, newest first, at most [`MAX_WANTED`].
#[must_use]
pub fn signatures_wanted<'r>(request: &'r MessagesRequest<'_>, target: &ModelId) -> Vec<SignatureKey<'r>> {
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    for message in request.messages.iter().rev() {
        for block in message.blocks().iter().rev() {
            let key = match block {
                Block::Thinking { signature, .. } => match valid(signature.as_ref()) {
                    // Signatures are base64: an escaped one was not made by the upstream, and nothing is known of it.
                    Some(signature) if !signature.raw().contains('\\') => {
                        SignatureKey::Thinking(signature.raw())
                    }
                    _ => continue,
                },
                Block::ToolUse(call)
                    if target.family() == Family::Gemini && !call.id.raw().contains('\\') =>
                {
                    SignatureKey::Tool(call.id.raw())
                }
                _ => continue,
            };
            if seen.insert(key) {
                wanted.push(key);
                if wanted.len() == MAX_WANTED {
                    return wanted;
                }
            }
        }
    }
    wanted
}
