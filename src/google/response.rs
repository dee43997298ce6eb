//! One `GenerateContentResponse`, bare or in the Cloud Code envelope, read without copying any text.
//!
//! Strings stay JSON literals of the document ([`RawValue`]): most of them travel to the client unchanged.
//! Only what the conversion uses is read; unknown fields are skipped. Source: spec `conversion.md` §8.1,
//! §9.1.

mod lists;
mod usage;

use serde::Deserialize;
use serde_json::StreamDeserializer;
use serde_json::de::StrRead;
use serde_json::value::RawValue;

use self::lists::{First, Parts};
pub use self::usage::{Count, UsageMetadata};

/// The document of one stream chunk, or of a whole non-streaming answer.
#[derive(Debug, Deserialize)]
pub struct Chunk<'a> {
    #[serde(borrow, default)]
    response: Option<Answer<'a>>,
    /// An error object in place of an answer.
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    candidates: Option<First<Candidate<'a>>>,
    #[serde(borrow, default, rename = "usageMetadata")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "promptFeedback")]
    prompt_feedback: Option<PromptFeedback<'a>>,
}

impl<'a> Chunk<'a> {
    /// Reads one document after the other; usually there is one.
    #[must_use]
    pub fn documents(json: &'a str) -> StreamDeserializer<'a, StrRead<'a>, Self> {
        serde_json::Deserializer::from_str(json).into_iter()
    }

    /// The answer: what the envelope holds, else the document itself.
    #[must_use]
    pub fn into_answer(self) -> Answer<'a> {
        self.response.unwrap_or(Answer {
            candidates: self.candidates,
            error: None,
            usage: self.usage,
            prompt_feedback: self.prompt_feedback,
        })
    }
}

/// The answer proper.
#[derive(Debug, Deserialize)]
pub struct Answer<'a> {
    #[serde(borrow, default)]
    candidates: Option<First<Candidate<'a>>>,
    /// An error object inside the envelope.
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
    /// Token counts so far, a [`UsageMetadata`].
    #[serde(borrow, default, rename = "usageMetadata")]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "promptFeedback")]
    prompt_feedback: Option<PromptFeedback<'a>>,
}

impl<'a> Answer<'a> {
    /// Why the prompt was blocked, when it was: an enum value such as `SAFETY`.
    #[must_use]
    pub fn block_reason(&self) -> Option<&'a str> {
        self.prompt_feedback.as_ref()?.block_reason.and_then(enum_value)
    }

    /// The only part, when that and token counts are all the answer brings.
    #[must_use]
    pub fn only_part(&self) -> Option<&Part<'a>> {
        let candidate = self.candidate()?;
        let mut parts = candidate.parts();
        let part = parts.next()?;
        let alone = parts.next().is_none() && candidate.finish_reason.is_none();
        (alone && self.prompt_feedback.is_none() && self.error.is_none()).then_some(part)
    }

    /// The first candidate; others are never asked for.
    #[must_use]
    pub fn candidate(&self) -> Option<&Candidate<'a>> {
        self.candidates.as_ref()?.0.as_ref()
    }
}

/// Whether the prompt itself was refused.
#[derive(Debug, Deserialize)]
struct PromptFeedback<'a> {
    #[serde(borrow, default, rename = "blockReason")]
    block_reason: Option<&'a RawValue>,
}

/// One candidate, or what a chunk adds to it.
#[derive(Debug, Deserialize)]
pub struct Candidate<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default, rename = "finishReason")]
    finish_reason: Option<&'a RawValue>,
}

impl<'a> Candidate<'a> {
    /// The parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part<'a>> {
        self.content.iter().filter_map(|content| content.parts.as_ref()).flat_map(Parts::iter)
    }

    /// Why generation ended, once it has.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason<'a>> {
        self.finish_reason.and_then(enum_value).map(FinishReason::of)
    }
}

#[derive(Debug, Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<Parts<'a>>,
}

/// One part of the content. Every field may stand beside every other.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part<'a> {
    /// Text, of the answer or of a thought.
    #[serde(borrow, default)]
    pub text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thought: Option<&'a RawValue>,
    /// Signature of the thought or of the call.
    #[serde(borrow, default)]
    pub thought_signature: Option<&'a RawValue>,
    /// A call of a tool.
    #[serde(borrow, default)]
    pub function_call: Option<FunctionCall<'a>>,
    /// An image.
    #[serde(borrow, default)]
    pub inline_data: Option<InlineData<'a>>,
    /// Code that the model had run on the upstream's side.
    #[serde(borrow, default)]
    pub executable_code: Option<ExecutableCode<'a>>,
    /// What that code printed.
    #[serde(borrow, default)]
    pub code_execution_result: Option<CodeExecutionResult<'a>>,
    /// A file kept on the upstream's side.
    #[serde(borrow, default)]
    pub file_data: Option<FileData<'a>>,
}

impl Part<'_> {
    /// Whether it is words and nothing else: no signature, call or data.
    #[must_use]
    pub fn is_words(&self) -> bool {
        self.thought_signature.is_none()
            && self.function_call.is_none()
            && self.inline_data.is_none()
            && self.executable_code.is_none()
            && self.code_execution_result.is_none()
            && self.file_data.is_none()
    }

    /// Whether the text is a thought: only a literal `true` says so.
    #[must_use]
    pub fn is_thought(&self) -> bool {
        self.thought.is_some_and(|thought| thought.get() == "true")
    }
}

/// A call of a tool.
#[derive(Debug, Deserialize)]
pub struct FunctionCall<'a> {
    /// The call's id; Claude models send one.
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    /// The tool's name as it was declared upstream.
    #[serde(borrow, default)]
    pub name: Option<&'a RawValue>,
    /// The arguments, an object.
    #[serde(borrow, default)]
    pub args: Option<&'a RawValue>,
}

/// Data inside the document.
#[derive(Debug, Deserialize)]
pub struct InlineData<'a> {
    /// The MIME type.
    #[serde(borrow, default, rename = "mimeType")]
    pub mime_type: Option<&'a RawValue>,
    /// Base64.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
}

/// Code that the model had run.
#[derive(Debug, Deserialize)]
pub struct ExecutableCode<'a> {
    /// An enum value such as `PYTHON`.
    #[serde(borrow, default)]
    pub language: Option<&'a RawValue>,
    /// The source text.
    #[serde(borrow, default)]
    pub code: Option<&'a RawValue>,
}

/// What the code printed.
#[derive(Debug, Deserialize)]
pub struct CodeExecutionResult<'a> {
    /// An enum value such as `OUTCOME_OK`.
    #[serde(borrow, default)]
    pub outcome: Option<&'a RawValue>,
    /// Its output, or what went wrong.
    #[serde(borrow, default)]
    pub output: Option<&'a RawValue>,
}

/// A file kept on the upstream's side.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileData<'a> {
    /// The MIME type.
    #[serde(borrow, default)]
    pub mime_type: Option<&'a RawValue>,
    /// Where it is.
    #[serde(borrow, default)]
    pub file_uri: Option<&'a RawValue>,
}

/// The name behind an enum value's literal; `null`, `""` and other types are none.
#[must_use]
pub fn enum_value(literal: &RawValue) -> Option<&str> {
    literal.get().strip_prefix('"')?.strip_suffix('"').filter(|name| !name.is_empty())
}

/// Why generation ended, as far as it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason<'a> {
    /// `STOP`.
    Stop,
    /// `MAX_TOKENS`.
    MaxTokens,
    /// The content was withheld: `SAFETY`, `RECITATION`, `LANGUAGE`, `BLOCKLIST`, `PROHIBITED_CONTENT`, `SPII`,
    /// `MODEL_ARMOR` and their `IMAGE_` forms; with the name.
    Withheld(&'a str),
    /// Anything else, `MALFORMED_FUNCTION_CALL` among them.
    Other,
}

impl<'a> FinishReason<'a> {
    fn of(name: &'a str) -> Self {
        match name.strip_prefix("IMAGE_").unwrap_or(name) {
            "STOP" => Self::Stop,
            "MAX_TOKENS" => Self::MaxTokens,
            "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
            | "MODEL_ARMOR" => Self::Withheld(name),
            _ => Self::Other,
        }
    }
}

/// The head of an error object.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct ErrorHead {
    /// The HTTP status it stands for.
    #[serde(default)]
    pub code: Option<u16>,
}

impl ErrorHead {
    /// Reads what can be read; an error of any other shape has no code.
    #[must_use]
    pub fn read(error: &RawValue) -> Self {
        serde_json::from_str(error.get()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunk, ErrorHead, FinishReason, enum_value};
    use serde_json::value::RawValue;

    fn parse(json: &str) -> Chunk<'_> {
        Chunk::documents(json).next().unwrap().unwrap()
    }

    #[test]
    fn envelope_and_bare_answers() {
        let bare = r#"{"candidates":[{"content":{"role":"model","parts":[null,{"text":"a"},{"thought":true,"text":"b"}]}},{"content":7}],"x":1}"#;
        for json in [
            bare.to_owned(),
            format!(r#"{{"response":{bare},"traceId":"t"}}"#),
            bare.replacen('{', r#"{"response":null,"#, 1),
        ] {
            let answer = parse(&json).into_answer();
            let parts: Vec<_> = answer
                .candidate()
                .unwrap()
                .parts()
                .map(|p| (p.text.unwrap().get(), p.is_thought()))
                .collect();
            assert_eq!(parts, [("\"a\"", false), ("\"b\"", true)]);
        }
    }

    #[test]
    fn absent_and_null_levels_are_empty() {
        for json in [
            "{}",
            r#"{"candidates":null}"#,
            r#"{"candidates":[]}"#,
            r#"{"candidates":[null]}"#,
            r#"{"candidates":[{"content":null}]}"#,
            r#"{"candidates":[{"content":{"parts":null}}]}"#,
        ] {
            let answer = parse(json).into_answer();
            assert_eq!(answer.candidate().map_or(0, |candidate| candidate.parts().count()), 0, "{json}");
        }
    }

    #[test]
    fn several_documents() {
        let mut documents = Chunk::documents("{}\n{\"error\":1} {");
        assert!(documents.next().unwrap().unwrap().error.is_none());
        assert!(documents.next().unwrap().unwrap().error.is_some());
        assert!(documents.next().unwrap().is_err());
        assert!(documents.next().is_none());
    }

    #[test]
    fn finish_reasons() {
        for (literal, wanted) in [
            ("\"STOP\"", Some(FinishReason::Stop)),
            ("\"MAX_TOKENS\"", Some(FinishReason::MaxTokens)),
            ("\"IMAGE_SAFETY\"", Some(FinishReason::Withheld("IMAGE_SAFETY"))),
            ("\"SPII\"", Some(FinishReason::Withheld("SPII"))),
            ("\"LANGUAGE\"", Some(FinishReason::Withheld("LANGUAGE"))),
            ("\"MALFORMED_FUNCTION_CALL\"", Some(FinishReason::Other)),
            ("\"\"", None),
            ("3", None),
        ] {
            let raw: &RawValue = serde_json::from_str(literal).unwrap();
            assert_eq!(enum_value(raw).map(FinishReason::of), wanted, "{literal}");
        }
    }

    #[test]
    fn error_codes() {
        for (json, wanted) in [
            (r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#, Some(429)),
            (r#"{"error":{"code":"x"}}"#, None),
            (r#"{"error":"text"}"#, None),
        ] {
            assert_eq!(ErrorHead::read(parse(json).error.unwrap()).code, wanted);
        }
    }
}
