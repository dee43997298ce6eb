//! Thought signatures: which ones a request needs to know about, and what is known.
//!
//! A signature is accepted only by the family that made it (spec `conversion.md` §3.4.5, §3.4.7, §6).

use std::collections::{HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_128;

use crate::anthropic::json::JsonStr;
use crate::anthropic::request::{Block, MessagesRequest, Role, ToolUse};
use crate::google::model::{Family, ModelId};

/// Shortest valid signature, in bytes.
pub const MIN_SIGNATURE: usize = 50;

/// Most signatures one request asks the store for.
pub const MAX_WANTED: usize = 1_024;

/// By how many the oldest signatures of a long conversation are left out.
pub const WANTED_STEP: usize = 256;

/// Under what a signature is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureKey<'a> {
    /// The text of a thinking block's signature; the family is what is asked for.
    Thinking(&'a str),
    /// The id of a tool call; its signature is what is asked for. Of a call by a Claude model, which has none, it is
    /// remembered that it followed a thought.
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
    /// By the hash of the signature, which can be long.
    thinking: HashMap<u128, Family>,
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
                self.thinking.insert(xxh3_128(signature.as_bytes()), remembered.family);
            }
            SignatureKey::Tool(id) => {
                self.tools.insert((*id).to_owned(), remembered);
            }
        }
    }

    /// Whether a thinking block with this signature may be sent to `target`.
    pub(super) fn keeps(&self, signature: Option<&JsonStr<'_>>, target: Family) -> bool {
        let Some(signature) = valid(signature) else { return false };
        let family = self.thinking.get(&xxh3_128(signature.decode().as_bytes()));
        match target {
            Family::Unknown => family.is_none_or(|family| *family == target),
            _ => family == Some(&target),
        }
    }

    /// Whether a Claude model made this call after a thought.
    pub(super) fn followed_a_thought(&self, call: &ToolUse<'_>) -> bool {
        self.tools.get(call.id.decode().as_ref()).is_some_and(|known| known.family == Family::Claude)
    }

    /// The signature to send with a call to a Gemini target: the block's own, else the remembered one; never one that
    /// is known to be another family's.
    pub(super) fn of_call<'s>(&'s self, call: &'s ToolUse<'_>) -> Option<CallSignature<'s>> {
        let remembered = self.tools.get(call.id.decode().as_ref());
        if remembered.is_some_and(|known| known.family != Family::Gemini) {
            return None;
        }
        // A short one is none: the upstream would refuse it.
        if let Some(own) = valid(call.thought_signature.as_ref()) {
            return Some(CallSignature::Own(own));
        }
        let known = remembered.and_then(|known| known.signature.as_deref());
        known.filter(|signature| signature.len() >= MIN_SIGNATURE).map(CallSignature::Known)
    }
}

/// Where a call's signature comes from.
pub(super) enum CallSignature<'s> {
    Own(&'s JsonStr<'s>),
    Known(&'s str),
}

fn valid<'s, 'a>(signature: Option<&'s JsonStr<'a>>) -> Option<&'s JsonStr<'a>> {
    signature.filter(|signature| signature.raw().len() >= MIN_SIGNATURE)
}

/// What must be looked up to convert `request` for `target`: without repetitions, newest first, at most [`MAX_WANTED`].
///
/// For Gemini that is the signature of every thought and call; for Claude that of every thought and, for a thinking
/// model, whether the last calls followed one. Beyond the limit the oldest are left out, [`WANTED_STEP`] at a time: the
/// blocks they belong to change their form in the upstream's body, and the prefix that it has cached must not change
/// with every turn.
#[must_use]
pub fn signatures_wanted<'r>(request: &'r MessagesRequest<'_>, target: &ModelId) -> Vec<SignatureKey<'r>> {
    let last_calls = request.messages.iter().rposition(|message| message.role == Role::Assistant);
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    for (index, message) in request.messages.iter().enumerate().rev() {
        let calls = match target.family() {
            Family::Gemini => true,
            Family::Claude => target.is_thinking() && Some(index) == last_calls,
            Family::Unknown => false,
        };
        wanted.extend(message.blocks().iter().rev().filter_map(|block| {
            let key = match block {
                // Signatures are base64: an escaped one was not made by the upstream, and nothing is known of it.
                Block::Thinking { signature, .. } => {
                    SignatureKey::Thinking(plain(valid(signature.as_ref())?)?)
                }
                Block::ToolUse(call) if calls => SignatureKey::Tool(plain(&call.id)?),
                _ => return None,
            };
            seen.insert(key).then_some(key)
        }));
    }
    if wanted.len() > MAX_WANTED {
        let left_out = (wanted.len() - MAX_WANTED).next_multiple_of(WANTED_STEP);
        wanted.truncate(wanted.len() - left_out);
    }
    wanted
}

fn plain<'s>(text: &'s JsonStr<'_>) -> Option<&'s str> {
    let raw = text.raw();
    (!raw.is_empty() && !raw.contains('\\')).then_some(raw)
}
