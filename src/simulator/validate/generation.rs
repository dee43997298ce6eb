//! `generationConfig` (spec `conversion.md` §3.7, §3.8).

use super::super::model::{Maker, Model};
use super::{Node, Refusal};

const GEMINI_MOST_OUTPUT: i64 = 65_536;
const CLAUDE_LEAST_BUDGET: i64 = 1_024;

/// Checks the whole object; tells whether thoughts are asked for.
pub(super) fn config(node: &Node<'_>, model: Model) -> Result<bool, Refusal> {
    node.object(
        &[],
        &[
            "temperature",
            "topP",
            "topK",
            "maxOutputTokens",
            "stopSequences",
            "thinkingConfig",
            "candidateCount",
            "seed",
            "presencePenalty",
            "frequencyPenalty",
            "responseMimeType",
            "responseSchema",
        ],
    )?;
    if let Some(field) = node.field("temperature") {
        field.number(0.0, 2.0)?;
    }
    if let Some(field) = node.field("topP") {
        field.number(0.0, 1.0)?;
    }
    if let Some(field) = node.field("topK") {
        field.integer(1, i64::MAX)?;
    }
    if let Some(field) = node.field("candidateCount") {
        field.integer(1, 1)?;
    }
    if let Some(field) = node.field("stopSequences") {
        for stop in field.elements()? {
            stop.filled()?;
        }
    }
    let most = match model.maker {
        Maker::Claude => i64::MAX,
        Maker::Gemini => GEMINI_MOST_OUTPUT,
    };
    let output = node.field("maxOutputTokens").map(|field| field.integer(1, most)).transpose()?;
    let Some(thinking) = node.field("thinkingConfig") else { return Ok(false) };
    if !model.thinking {
        return thinking.refuse("thinking is not supported by this model");
    }
    match model.maker {
        Maker::Claude => claude(&thinking, output),
        Maker::Gemini => gemini(&thinking, model),
    }
}

fn claude(node: &Node<'_>, output: Option<i64>) -> Result<bool, Refusal> {
    node.object(&["include_thoughts", "thinking_budget"], &[])?;
    let field = node.known("thinking_budget")?;
    let budget = field.integer(CLAUDE_LEAST_BUDGET, i64::MAX)?;
    if output.is_some_and(|output| budget >= output) {
        return field.refuse("max_tokens must be greater than thinking.budget_tokens");
    }
    node.known("include_thoughts")?.boolean()
}

fn gemini(node: &Node<'_>, model: Model) -> Result<bool, Refusal> {
    node.object(&["includeThoughts"], &["thinkingBudget", "thinkingLevel"])?;
    if let Some(budget) = node.field("thinkingBudget") {
        budget.integer(-1, 128_000)?;
    }
    if let Some(level) = node.field("thinkingLevel") {
        if !model.signed_calls || node.field("thinkingBudget").is_some() {
            return level.refuse("is for Gemini 3 and stands in place of thinkingBudget");
        }
        if !["MINIMAL", "LOW", "MEDIUM", "HIGH", "minimal", "low", "medium", "high"]
            .contains(&level.string()?)
        {
            return level.refuse("is no thinking level");
        }
    }
    node.known("includeThoughts")?.boolean()
}
