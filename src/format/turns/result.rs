//! What a tool returned, as the value of a function response.

use std::borrow::Cow;

use crate::anthropic::json::{Json, JsonStr, Kind};
use crate::anthropic::request::{
    Document, DocumentBody, Foreign, ResultContent, ResultItem, Source, ToolResult,
};

use super::{Builder, Part};

/// Stands for a file that only the original API can read.
pub(super) const NOT_FORWARDED: &str = "[A file that cannot be forwarded was left out.]";
/// Stands for media in a model's turn.
pub(super) const SHOWN_BELOW: &str = "[The file that was shown here follows in the next message.]";
const INTERRUPTED: &str = "[Tool call was interrupted.]";
const ORPHAN: &str = "[Result of a tool call that is not part of this conversation]";

/// An answer to a call: what was returned and whether it is an error. Texts are JSON-escaped.
pub(in crate::format) struct Answer<'r> {
    pub(in crate::format) value: AnswerValue<'r>,
    pub(in crate::format) is_error: bool,
}

/// The value of an answer.
pub(in crate::format) enum AnswerValue<'r> {
    Text(Cow<'r, str>),
    /// An object, number or boolean as the client sent it.
    Json(&'r Json<'r>),
}

impl<'r> Answer<'r> {
    /// For a call whose result is missing.
    pub(super) fn interrupted() -> Self {
        Self { value: AnswerValue::Text(Cow::Borrowed(INTERRUPTED)), is_error: true }
    }

    /// As text for a user turn, for an answer without a call.
    pub(super) fn into_text(self) -> Cow<'r, str> {
        match self.value {
            AnswerValue::Text(text) if text.is_empty() => Cow::Borrowed(ORPHAN),
            AnswerValue::Text(text) => Cow::Owned(format!("{ORPHAN}\\n{text}")),
            AnswerValue::Json(json) => Cow::Owned(format!("{ORPHAN}\\n{}", escaped(json.raw()))),
        }
    }

    /// Writes the `response` object: what a tool returned as an object stays as it is unless it is an error.
    pub(in crate::format) fn write(&self, out: &mut Vec<u8>) {
        match &self.value {
            AnswerValue::Json(json) if json.kind() == Kind::Object && !self.is_error => {
                out.extend_from_slice(json.raw().as_bytes());
                return;
            }
            AnswerValue::Json(json) => {
                out.extend_from_slice(b"{\"result\":");
                out.extend_from_slice(json.raw().as_bytes());
            }
            AnswerValue::Text(text) => {
                out.extend_from_slice(b"{\"result\":\"");
                out.extend_from_slice(text.as_bytes());
                out.push(b'"');
            }
        }
        if self.is_error {
            out.extend_from_slice(b",\"is_error\":true");
        }
        out.push(b'}');
    }
}

/// Escaped texts, joined by line breaks; blank ones say nothing and are refused as a part of their own.
pub(super) fn joined<'r>(texts: &'r [JsonStr<'r>]) -> Cow<'r, str> {
    join(texts.iter().filter(|text| !text.is_blank()).map(|text| Cow::Borrowed(text.raw())).collect())
}

fn join(mut texts: Vec<Cow<'_, str>>) -> Cow<'_, str> {
    match texts.len() {
        0 => Cow::Borrowed(""),
        1 => texts.swap_remove(0),
        _ => Cow::Owned(texts.join("\\n")),
    }
}

/// Texts of a result, and what its media were.
#[derive(Default)]
struct Gathered<'r> {
    texts: Vec<Cow<'r, str>>,
    images: bool,
    documents: bool,
}

impl<'r> Builder<'r, '_> {
    /// The answer of a result; its media go to `deferred`, the end of the message.
    pub(super) fn answer(&mut self, result: &'r ToolResult<'r>, deferred: &mut Vec<Part<'r>>) -> Answer<'r> {
        let value = match &result.content {
            ResultContent::Nothing => AnswerValue::Text(Cow::Borrowed("")),
            ResultContent::Text(text) => AnswerValue::Text(Cow::Borrowed(text.raw())),
            ResultContent::Value(json) => AnswerValue::Json(json),
            ResultContent::Items(items) => {
                let mut gathered = Gathered::default();
                for item in items {
                    self.gather(item, &mut gathered, deferred);
                }
                let text = join(gathered.texts);
                AnswerValue::Text(match (text.is_empty(), gathered.images, gathered.documents) {
                    (true, true, _) => Cow::Borrowed("Image attached"),
                    (true, false, true) => Cow::Borrowed("Document attached"),
                    _ => text,
                })
            }
        };
        Answer { value, is_error: result.is_error }
    }

    fn gather(&mut self, item: &'r ResultItem<'r>, into: &mut Gathered<'r>, deferred: &mut Vec<Part<'r>>) {
        match item {
            ResultItem::Text(text) => into.texts.push(Cow::Borrowed(text.raw())),
            ResultItem::SearchResult(texts) => into.texts.push(joined(texts)),
            ResultItem::ToolReference(name) => into.texts.push(loaded(name)),
            ResultItem::Image(image) => {
                into.images |= self.attach(&image.source, "image/jpeg", into, deferred);
            }
            ResultItem::Foreign(block) => {
                self.changes.foreign_blocks += 1;
                into.texts.push(foreign(block));
            }
            ResultItem::Document(document) => {
                into.texts.extend(heading(document));
                match &document.body {
                    DocumentBody::Media(source) => {
                        into.documents |= self.attach(source, "application/pdf", into, deferred);
                    }
                    DocumentBody::Parts(items) => {
                        for item in items {
                            self.gather(item, into, deferred);
                        }
                    }
                }
            }
        }
    }

    fn attach(
        &mut self,
        source: &'r Source<'r>,
        default_type: &'static str,
        into: &mut Gathered<'r>,
        deferred: &mut Vec<Part<'r>>,
    ) -> bool {
        match self.forwarded(source, default_type) {
            None => into.texts.push(Cow::Borrowed(NOT_FORWARDED)),
            Some(Part::Text(text)) => into.texts.push(text),
            Some(media) => {
                deferred.push(media);
                return true;
            }
        }
        false
    }
}

/// Tells the model what a reference to a deferred tool means: its declaration is in the request by now.
pub(super) fn loaded<'r>(name: &JsonStr<'_>) -> Cow<'r, str> {
    Cow::Owned(format!("The tool {} is loaded and can be called.", name.raw()))
}

/// What stands above a document: its title and what the client says about it.
pub(super) fn heading<'r>(document: &'r Document<'r>) -> Option<Cow<'r, str>> {
    let title = document.title.as_ref().map(|title| Cow::Owned(format!("[Document: {}]", title.raw())));
    let context = document.context.as_ref().map(|context| Cow::Borrowed(context.raw()));
    let lines: Vec<_> = title.into_iter().chain(context).collect();
    (!lines.is_empty()).then(|| join(lines))
}

/// A note of what a block of the original API says.
pub(super) fn foreign<'r>(block: &Foreign<'_>) -> Cow<'r, str> {
    let mut note = format!("[{}", block.kind.raw());
    if let Some(name) = &block.name {
        note.push(' ');
        note.push_str(name.raw());
    }
    note.push(']');
    if let Some(input) = &block.input {
        note.push_str("\\n");
        note.push_str(&escaped(input.raw()));
    }
    for text in &block.texts {
        note.push_str("\\n");
        note.push_str(text.raw());
    }
    if block.cut {
        note.push_str("\\n[The rest was left out.]");
    }
    Cow::Owned(note)
}

/// JSON as the inside of a JSON string.
fn escaped(json: &str) -> String {
    let quoted = serde_json::Value::from(json).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}
