//! `generationConfig` (spec `conversion.md` §3.7, §3.8).

use super::super::model::{Maker, Model};
use super::{Check, Node, Refusal};

const GEMINI_MOST_OUTPUT: i64 = 65_536;
const CLAUDE_MOST_OUTPUT: i64 = 64_000;
const CLAUDE_LEAST_BUDGET: i64 = 1_024;
const CLAUDE_LEAST_TOP_P: f64 = 0.95;
const GEMINI_LEAST_BUDGET: i64 = 128;
const GEMINI_STOP_SEQUENCES: usize = 5;

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
        let stops = field.elements()?;
        for stop in &stops {
            stop.filled()?;
        }
        if model.maker == Maker::Gemini && stops.len() > GEMINI_STOP_SEQUENCES {
            return field.refuse(format!("at most {GEMINI_STOP_SEQUENCES} stop sequences are supported"));
        }
    }
    let most = match model.maker {
        Maker::Claude => CLAUDE_MOST_OUTPUT,
        Maker::Gemini => GEMINI_MOST_OUTPUT,
    };
    let output = node.field("maxOutputTokens").map(|field| field.integer(1, most)).transpose()?;
    let Some(thinking) = node.field("thinkingConfig") else { return Ok(false) };
    if !model.thinking {
        return thinking.refuse("thinking is not supported by this model");
    }
    match model.maker {
        Maker::Claude => claude(&thinking, output).and_then(|on| {
            if on {
                unsampled(node)?;
            }
            Ok(on)
        }),
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

/// What a Claude model does not take while it thinks.
fn unsampled(node: &Node<'_>) -> Check {
    if let Some(field) = node.field("temperature")
        && (field.number(0.0, 2.0)? - 1.0).abs() > f64::EPSILON
    {
        return field.refuse("`temperature` may only be set to 1 when thinking is enabled.");
    }
    if let Some(field) = node.field("topK") {
        return field.refuse("`top_k` must be unset when thinking is enabled.");
    }
    if let Some(field) = node.field("topP")
        && field.number(0.0, 1.0)? < CLAUDE_LEAST_TOP_P
    {
        return field
            .refuse("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.");
    }
    Ok(())
}

fn gemini(node: &Node<'_>, model: Model) -> Result<bool, Refusal> {
    node.object(&["includeThoughts"], &["thinkingBudget", "thinkingLevel"])?;
    if let Some(budget) = node.field("thinkingBudget")
        && (1..GEMINI_LEAST_BUDGET).contains(&budget.integer(-1, 128_000)?)
    {
        return budget.refuse("The thinking budget is invalid. Please choose a value of at least 128.");
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
