//! How much a model may think and write (spec `conversion.md` §3.7, §3.8, W5, W17).
//!
//! Whether a model thinks is part of its name (`…-thinking`, Gemini 3 and later), not of the request. `thinking` and
//! `output_config.effort` set the budget, in tokens:
//!
//! | `thinking` | `output_config.effort` | Claude | Gemini |
//! |---|---|---|---|
//! | `enabled` with `budget_tokens` above 0 | any | that budget, 1,024 to 55,808 | that budget, at least 128 |
//! | absent, `adaptive`, or `enabled` without a budget | `low` | 8,000 | 2,000 |
//! | | `medium` | 16,000 | 8,000 |
//! | | `high`, absent, or a new word | 32,000 | 16,000 |
//! | | `xhigh` | 48,000 | 24,000 |
//! | | `max` | 55,000 | 32,000 |
//! | `budget_tokens` below 0 | any | as without a budget | -1: the model decides |
//! | `disabled` | any | as absent | as absent |
//! | `disabled`, honoured by the switch | any | no thinking | 0 for flash models, else thoughts are not shown |
//!
//! A type of `thinking` that this gateway does not know counts as `enabled`. Budgets that the original API refuses (below
//! 1,024, or not below `max_tokens`) are moved into the range that works instead.
//!
//! What is left for the answer: a Claude model may write 64,000 tokens, thoughts included. A limit that is not above the
//! budget is raised to 8,192 tokens above it. A Gemini model is asked for 16,384 at most; its budget is then lowered
//! (to 24,576 at most for version 2.5) so that half of the limit, but no more than 8,192 tokens of it, is left for the
//! answer. Below 128 tokens of budget a Gemini model that cannot but think refuses to work, so a very small limit is
//! raised by what the thoughts take.

use crate::anthropic::request::{Effort, MessagesRequest, ThinkingMode};
use crate::google::model::{Family, ModelId};

/// Output tokens a Gemini model is asked for at most.
const GEMINI_OUTPUT_CAP: u64 = 16_384;
/// Output tokens a Claude model can write.
const CLAUDE_OUTPUT_CAP: u64 = 64_000;
/// What a Claude model gets on top of its budget when the client's limit is too small.
const CLAUDE_HEADROOM: u64 = 8_192;
/// Smallest and largest budget of a Claude model.
const CLAUDE_BUDGET: (i64, i64) = (1_024, 55_808);
/// What is kept free for the answer of a Gemini model.
const GEMINI_ANSWER: u64 = 8_192;
/// Smallest budget of a Gemini model.
const GEMINI_LEAST_BUDGET: i64 = 128;

/// Limits of one call, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `maxOutputTokens`
    pub max_output: u64,
    /// The thinking configuration to send.
    pub thinking: ThinkingConfig,
}

/// `thinkingConfig`, whose keys differ by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingConfig {
    /// None is sent.
    None,
    /// Snake case.
    Claude {
        /// `thinking_budget`
        budget: i64,
    },
    /// Camel case.
    Gemini {
        /// `thinkingBudget`
        budget: i64,
    },
    /// Gemini with thoughts left out: a budget of 0 on flash models, which are the ones that can be told not to think.
    GeminiOff {
        /// Whether a budget of 0 is sent.
        zero_budget: bool,
    },
}

impl ThinkingConfig {
    /// The budget that is sent.
    #[must_use]
    pub fn budget(self) -> Option<i64> {
        match self {
            Self::Claude { budget } | Self::Gemini { budget } => Some(budget),
            Self::None | Self::GeminiOff { .. } => None,
        }
    }
}

/// Whether the call is to be made with thinking on.
#[must_use]
pub fn is_on(request: &MessagesRequest<'_>, target: &ModelId, honour_disabled: bool) -> bool {
    let disabled = request.thinking.is_some_and(|thinking| thinking.mode == ThinkingMode::Disabled);
    target.is_thinking() && !(honour_disabled && disabled)
}

/// Output limit and thinking budget of a call.
#[must_use]
pub fn limits(request: &MessagesRequest<'_>, target: &ModelId, honour_disabled: bool) -> Limits {
    let asked = request.effective_max_tokens();
    let on = is_on(request, target, honour_disabled);
    match target.family() {
        Family::Claude if on => {
            let (least, most) = CLAUDE_BUDGET;
            let budget = named_budget(request).filter(|budget| *budget > 0).map_or_else(
                || by_effort(request, [8_000, 16_000, 32_000, 48_000, 55_000]),
                |budget| budget.clamp(least, most),
            );
            let floor = budget.unsigned_abs();
            let asked = asked.min(CLAUDE_OUTPUT_CAP);
            let max_output = if asked <= floor { floor + CLAUDE_HEADROOM } else { asked };
            Limits { max_output, thinking: ThinkingConfig::Claude { budget } }
        }
        Family::Claude => Limits { max_output: asked.min(CLAUDE_OUTPUT_CAP), thinking: ThinkingConfig::None },
        Family::Gemini if on => {
            let asked = asked.min(GEMINI_OUTPUT_CAP);
            let budget = gemini_budget(request, target, asked);
            let thoughts = u64::try_from(budget).unwrap_or(0);
            let max_output = if asked <= thoughts { asked + thoughts } else { asked };
            Limits { max_output, thinking: ThinkingConfig::Gemini { budget } }
        }
        Family::Gemini => {
            let zero_budget = target.as_str().to_ascii_lowercase().contains("flash");
            let off = ThinkingConfig::GeminiOff { zero_budget };
            let thinking = if target.is_thinking() { off } else { ThinkingConfig::None };
            Limits { max_output: asked.min(GEMINI_OUTPUT_CAP), thinking }
        }
        Family::Unknown => Limits { max_output: asked, thinking: ThinkingConfig::None },
    }
}

/// The budget the client named; 0 is none.
pub(super) fn named_budget(request: &MessagesRequest<'_>) -> Option<i64> {
    request.thinking.and_then(|thinking| thinking.budget_tokens).filter(|budget| *budget != 0)
}

fn by_effort(request: &MessagesRequest<'_>, [low, medium, high, xhigh, max]: [i64; 5]) -> i64 {
    match request.output.effort {
        Some(Effort::Low) => low,
        Some(Effort::Medium) => medium,
        Some(Effort::High) | None => high,
        Some(Effort::XHigh) => xhigh,
        Some(Effort::Max) => max,
    }
}

fn gemini_budget(request: &MessagesRequest<'_>, target: &ModelId, max_output: u64) -> i64 {
    let budget =
        named_budget(request).unwrap_or_else(|| by_effort(request, [2_000, 8_000, 16_000, 24_000, 32_000]));
    if budget < 0 {
        return -1;
    }
    let ceiling = if target.gemini_version() == Some((2, Some(5))) { 24_576 } else { 128_000 };
    let answer = GEMINI_ANSWER.min(max_output.div_ceil(2));
    let room = i64::try_from(max_output - answer).unwrap_or(ceiling);
    budget.min(ceiling).min(room).max(GEMINI_LEAST_BUDGET)
}
