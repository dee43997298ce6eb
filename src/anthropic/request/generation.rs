//! How an answer is to be made: thinking, effort, form, sampling.

use crate::anthropic::json::{Json, JsonStr, Kind, Reader};

use super::Read;

/// `thinking.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingMode {
    /// `enabled`, and types this gateway does not know.
    Enabled,
    /// `disabled`
    Disabled,
    /// `adaptive`: the effort decides.
    Adaptive,
}

/// `thinking`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thinking {
    /// Its type.
    pub mode: ThinkingMode,
    /// `budget_tokens`, in tokens; negative values mean "let the model decide" to Gemini.
    pub budget_tokens: Option<i64>,
}

impl Thinking {
    pub(super) fn read(r: &mut Reader<'_>) -> Read<Self> {
        let mut mode = ThinkingMode::Enabled;
        let mut budget_tokens = None;
        r.object(|r, key| {
            match key {
                "type" => {
                    mode = match r.string()?.decode().as_ref() {
                        "disabled" => ThinkingMode::Disabled,
                        "adaptive" => ThinkingMode::Adaptive,
                        _ => ThinkingMode::Enabled,
                    };
                }
                "budget_tokens" => budget_tokens = r.optional(Reader::integer)?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { mode, budget_tokens })
    }
}

/// `output_config.effort`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `xhigh`
    XHigh,
    /// `max`
    Max,
}

/// `output_config`
#[derive(Clone, Debug, Default)]
pub struct OutputConfig<'a> {
    /// `effort`; values this gateway does not know count as absent.
    pub effort: Option<Effort>,
    /// The schema of `format` when its type is `json_schema`.
    pub schema: Option<Json<'a>>,
}

impl<'a> OutputConfig<'a> {
    pub(super) fn read_config(&mut self, r: &mut Reader<'a>) -> Read<()> {
        if r.null()? {
            return Ok(());
        }
        r.object(|r, key| match key {
            "effort" => {
                self.effort = r.optional(Reader::string)?.and_then(|name| effort(&name.decode()));
                Ok(())
            }
            "format" => self.read_format(r),
            _ => r.skip(),
        })
    }

    pub(super) fn read_format(&mut self, r: &mut Reader<'a>) -> Read<()> {
        if r.null()? {
            return Ok(());
        }
        let mut schema = None;
        let mut is_schema = false;
        r.object(|r, key| {
            match key {
                "type" => is_schema = r.string()?.decode() == "json_schema",
                "schema" if r.kind()? == Kind::Object => schema = Some(r.json()?),
                _ => r.skip()?,
            }
            Ok(())
        })?;
        self.schema = schema.filter(|_| is_schema);
        Ok(())
    }
}

fn effort(name: &str) -> Option<Effort> {
    Some(match name {
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => return None,
    })
}

/// `tool_choice.disable_parallel_tool_use`
pub(super) fn one_call_at_a_time(r: &mut Reader<'_>) -> Read<bool> {
    let mut one = false;
    if r.null()? {
        return Ok(one);
    }
    r.object(|r, key| {
        match key {
            "disable_parallel_tool_use" => one = r.optional(Reader::boolean)?.unwrap_or(false),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(one)
}

pub(super) fn not_negative(r: &mut Reader<'_>) -> Read<i64> {
    match r.integer()? {
        value if value < 0 => Err(r.wrong("must not be negative")),
        value => Ok(value),
    }
}

/// A number from 0 to 1.
pub(super) fn share<'a>(r: &mut Reader<'a>) -> Read<&'a str> {
    let text = r.number()?;
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(text),
        _ => Err(r.wrong("range: 0..1")),
    }
}

/// Texts that are not blank.
pub(super) fn stop_sequences<'a>(r: &mut Reader<'a>) -> Read<Vec<JsonStr<'a>>> {
    let mut texts = Vec::new();
    r.array(|r| {
        let text = r.string()?;
        if text.is_blank() {
            return Err(r.wrong("each stop sequence must contain non-whitespace"));
        }
        texts.push(text);
        Ok(())
    })?;
    Ok(texts)
}
