//! Parts without a block of their own in the Messages API, as text, so that nothing of an answer is lost.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::anthropic::json::JsonStr;
use crate::google::response::{CodeExecutionResult, ExecutableCode, FileData, enum_value};

/// Code the model had run upstream: a fenced block with the language's name.
pub(super) fn code(code: &ExecutableCode<'_>) -> Option<JsonStr<'static>> {
    let language = code.language.and_then(enum_value).unwrap_or_default();
    fenced(language, code.code)
}

/// What that code printed: a fenced block, named after the outcome unless that was fine.
pub(super) fn result(result: &CodeExecutionResult<'_>) -> Option<JsonStr<'static>> {
    let outcome = result.outcome.and_then(enum_value).unwrap_or("OUTCOME_OK");
    fenced(if outcome == "OUTCOME_OK" { "output" } else { outcome }, result.output)
}

/// A file that stays upstream: its address, as a link named after its type.
pub(super) fn file(file: &FileData<'_>) -> Option<JsonStr<'static>> {
    let address = string(file.file_uri)?;
    let kind = string(file.mime_type).unwrap_or_else(|| "file".to_owned());
    Some(JsonStr::encode(&format!("\n[{kind}](<{address}>)\n")))
}

/// A Markdown code block on lines of its own; its fence is longer than any run of backticks inside.
fn fenced(info: &str, content: Option<&RawValue>) -> Option<JsonStr<'static>> {
    let content = string(content)?;
    let mut longest = 2;
    let mut run = 0;
    for c in content.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let info: String = info
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let end = if content.ends_with('\n') { "" } else { "\n" };
    let mut text = String::with_capacity(content.len() + 2 * fence.len() + info.len() + 4);
    // Writing to a string cannot fail.
    let _ = write!(text, "\n{fence}{info}\n{content}{end}{fence}\n");
    Some(JsonStr::encode(&text))
}

/// The text of a value that is a string and not empty.
fn string(value: Option<&RawValue>) -> Option<String> {
    let text = JsonStr::from_literal(value?.get())?;
    (!text.is_empty()).then(|| text.decode().into_owned())
}
