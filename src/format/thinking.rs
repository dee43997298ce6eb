//! How much a model may think (spec `conversion.md` §3.7, §3.8, W5, W17).
//!
//! | effort | Claude budget | Gemini budget |
//! |---|---|---|
//! | `low` | 8,000 | 2,000 |
//! | `medium` | 16,000 | 8,000 |
//! | `high`, none | 32,000 | 16,000 |
//! | `xhigh` | 48,000 | 24,000 |
//! | `max` | 55,000 | 32,000 |
//!
//! The effort counts unless the client names a budget of its own. A Claude model's output limit is raised above the
//! budget; the highest budget stays below the 64,000 tokens such a model can write. For Gemini the budget is limited so
//! that half of the output limit, but no more than 8,192 tokens of it, is left for the answer.

use crate::anthropic::request::{Effort, MessagesRequest, ThinkingMode};
use crate::google::model::{Family, ModelId};

/// Output tokens a Gemini model is asked for at most.
const GEMINI_OUTPUT_CAP: u64 = 16_384;
/// What a Claude model gets on top of its budget when the client's limit is too small.
const CLAUDE_HEADROOM: u64 = 8_192;
/// What is kept free for the answer of a Gemini model.
const GEMINI_ANSWER: u64 = 8_192;

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
            let budget = named_budget(request).filter(|budget| *budget > 0);
            let budget =
                budget.unwrap_or_else(|| by_effort(request.effort, [8_000, 16_000, 32_000, 48_000, 55_000]));
            let floor = budget.unsigned_abs();
            let max_output = if asked <= floor { floor + CLAUDE_HEADROOM } else { asked };
            Limits { max_output, thinking: ThinkingConfig::Claude { budget } }
        }
        Family::Gemini => {
            let max_output = asked.min(GEMINI_OUTPUT_CAP);
            let thinking = if on {
                ThinkingConfig::Gemini { budget: gemini_budget(request, target, max_output) }
            } else if target.is_thinking() {
                let zero_budget = target.as_str().to_ascii_lowercase().contains("flash");
                ThinkingConfig::GeminiOff { zero_budget }
            } else {
                ThinkingConfig::None
            };
            Limits { max_output, thinking }
        }
        Family::Claude | Family::Unknown => Limits { max_output: asked, thinking: ThinkingConfig::None },
    }
}

fn named_budget(request: &MessagesRequest<'_>) -> Option<i64> {
    request.thinking.and_then(|thinking| thinking.budget_tokens).filter(|budget| *budget != 0)
}

fn by_effort(effort: Option<Effort>, [low, medium, high, xhigh, max]: [i64; 5]) -> i64 {
    match effort {
        Some(Effort::Low) => low,
        Some(Effort::Medium) => medium,
        Some(Effort::High) | None => high,
        Some(Effort::XHigh) => xhigh,
        Some(Effort::Max) => max,
    }
}

fn gemini_budget(request: &MessagesRequest<'_>, target: &ModelId, max_output: u64) -> i64 {
    let budget = named_budget(request)
        .unwrap_or_else(|| by_effort(request.effort, [2_000, 8_000, 16_000, 24_000, 32_000]));
    let ceiling = if target.gemini_version() == Some((2, Some(5))) { 24_576 } else { 128_000 };
    let answer = GEMINI_ANSWER.min(max_output.div_ceil(2));
    let room = i64::try_from(max_output - answer).unwrap_or(ceiling);
    budget.min(ceiling).min(room)
}
