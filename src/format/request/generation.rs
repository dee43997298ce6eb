//! `generationConfig` (spec `conversion.md` §3.7, §3.8, W1, W16).

use std::borrow::Cow;

use crate::anthropic::json::JsonStr;
use crate::anthropic::request::MessagesRequest;
use crate::google::model::Family;

use super::super::thinking::{Limits, ThinkingConfig, named_budget};
use super::{Warning, write_escaped, write_list};

/// Stop sequences a Gemini model takes.
const GEMINI_STOP_SEQUENCES: usize = 5;

/// Smallest `top_p` that Claude models take while they think.
const CLAUDE_LEAST_TOP_P: f64 = 0.95;

/// The configuration of an answer, and what could not be part of it.
pub(super) struct Generation<'r> {
    limits: Limits,
    /// Upstream's name and value, as the client wrote it.
    sampling: Vec<(&'static str, Cow<'r, str>)>,
    stop_sequences: &'r [JsonStr<'r>],
    json_only: bool,
    pub(super) warnings: Vec<Warning>,
}

impl<'r> Generation<'r> {
    pub(super) fn new(
        request: &'r MessagesRequest<'r>,
        family: Family,
        limits: Limits,
        has_tools: bool,
    ) -> Self {
        let mut warnings = Vec::new();
        if let (Some(asked), Some(sent)) = (named_budget(request), limits.thinking.budget())
            && asked > 0
            && asked != sent
        {
            warnings.push(Warning::BudgetChanged(asked, sent));
        }
        let sampling =
            sampling(request, matches!(limits.thinking, ThinkingConfig::Claude { .. }), &mut warnings);
        let stops = request.stop_sequences.as_slice();
        let taken =
            if family == Family::Gemini { GEMINI_STOP_SEQUENCES.min(stops.len()) } else { stops.len() };
        let (stop_sequences, left_out) = stops.split_at(taken);
        if !left_out.is_empty() {
            warnings.push(Warning::StopSequencesLeftOut(left_out.len()));
        }
        if request.output.schema.is_some() {
            warnings.push(Warning::SchemaNotEnforced);
        }
        // Gemini models before 3 refuse this type together with tools.
        let json_only = request.output.schema.is_some() && family == Family::Gemini && !has_tools;
        Self { limits, sampling, stop_sequences, json_only, warnings }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"generationConfig\":{\"maxOutputTokens\":");
        out.extend_from_slice(self.limits.max_output.to_string().as_bytes());
        for (key, value) in &self.sampling {
            out.extend_from_slice(format!(",\"{key}\":{value}").as_bytes());
        }
        if !self.stop_sequences.is_empty() {
            out.extend_from_slice(b",\"stopSequences\":[");
            write_list(out, self.stop_sequences, |out, text| write_escaped(out, text.raw()));
            out.push(b']');
        }
        if self.json_only {
            out.extend_from_slice(b",\"responseMimeType\":\"application/json\"");
        }
        let thinking = match self.limits.thinking {
            ThinkingConfig::None => String::new(),
            ThinkingConfig::Claude { budget } => {
                format!("\"include_thoughts\":true,\"thinking_budget\":{budget}")
            }
            ThinkingConfig::Gemini { budget } => {
                format!("\"includeThoughts\":true,\"thinkingBudget\":{budget}")
            }
            ThinkingConfig::GeminiOff { zero_budget: true } => {
                "\"includeThoughts\":false,\"thinkingBudget\":0".to_owned()
            }
            ThinkingConfig::GeminiOff { zero_budget: false } => "\"includeThoughts\":false".to_owned(),
        };
        if !thinking.is_empty() {
            out.extend_from_slice(format!(",\"thinkingConfig\":{{{thinking}}}").as_bytes());
        }
        out.push(b'}');
    }
}

/// The sampling parameters. While a Claude model thinks it takes no `top_k`, no `temperature` but 1 and no low `top_p`;
/// since the model's name decides that it thinks, the client cannot know and is not refused.
fn sampling<'r>(
    request: &'r MessagesRequest<'_>,
    claude_thinks: bool,
    warnings: &mut Vec<Warning>,
) -> Vec<(&'static str, Cow<'r, str>)> {
    let is = |text: &str, good: fn(f64) -> bool| text.parse().is_ok_and(good);
    let taken = |key: &str, value: &str| match key {
        _ if !claude_thinks => true,
        "temperature" => is(value, |value| (value - 1.0).abs() < f64::EPSILON),
        "topP" => is(value, |value| value >= CLAUDE_LEAST_TOP_P),
        _ => false,
    };
    // 0 is no limit, and no number of candidates that the upstream takes.
    let top_k = request.top_k.filter(|value| *value > 0).map(|value| Cow::Owned(value.to_string()));
    let all = [
        ("temperature", "temperature", request.temperature.map(Cow::Borrowed)),
        ("top_p", "topP", request.top_p.map(Cow::Borrowed)),
        ("top_k", "topK", top_k),
    ];
    let mut sent = Vec::new();
    let mut left_out = Vec::new();
    for (name, key, value) in all {
        let Some(value) = value else { continue };
        if taken(key, &value) {
            sent.push((key, value));
        } else {
            left_out.push(name);
        }
    }
    if !left_out.is_empty() {
        warnings.push(Warning::SamplingLeftOut(left_out));
    }
    sent
}
