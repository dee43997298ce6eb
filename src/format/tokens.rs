//! A local estimate of a request's input tokens, for when the upstream cannot be asked.
//!
//! Text is measured in one pass by the kinds of its characters (`text`); an image counts 1,600, a document 2,000 per
//! started 60,000 base64 characters (about a page), a message 4, the presence of tools 350. The weights are fitted to
//! `tests/golden/tokens.json`, whose sizes come from a public tokenizer; a test states the error.

mod text;

use crate::anthropic::json::JsonStr;
use crate::anthropic::request::{
    Block, Content, Document, DocumentBody, Foreign, Image, MessagesRequest, ResultContent, ResultItem,
    Source,
};

const IMAGE: u64 = 1_600;
const PAGE: u64 = 2_000;
const PAGE_BASE64: u64 = 60_000;
const PER_MESSAGE: u64 = 4;
const TOOLS: u64 = 350;

/// The estimate, at least 1.
#[must_use]
pub fn estimate(request: &MessagesRequest<'_>) -> u64 {
    let mut sum = Sum::default();
    request.system_texts(false).for_each(|text| sum.text(text));
    for message in &request.messages {
        sum.fixed += PER_MESSAGE;
        match &message.content {
            Content::Text(text) => sum.text(text),
            Content::Blocks(blocks) => blocks.iter().for_each(|block| sum.block(block)),
        }
    }
    if let Some(tools) = &request.tools {
        sum.fixed += TOOLS;
        sum.raw(tools.raw);
    }
    sum.tokens()
}

#[derive(Default)]
struct Sum {
    /// Of text, in thousandths of a token.
    text: u64,
    fixed: u64,
}

impl Sum {
    fn tokens(&self) -> u64 {
        (self.fixed + self.text.div_ceil(1_000)).max(1)
    }

    fn text(&mut self, text: &JsonStr<'_>) {
        self.raw(text.raw());
    }

    fn raw(&mut self, raw: &str) {
        self.text += text::thousandths(raw);
    }

    fn block(&mut self, block: &Block<'_>) {
        match block {
            Block::Text(text) => self.text(text),
            Block::Thinking { thinking, .. } => thinking.iter().for_each(|text| self.text(text)),
            Block::RedactedThinking => {}
            Block::Image(image) => self.image(image),
            Block::Document(document) => self.document(document),
            Block::SearchResult { texts } => texts.iter().for_each(|text| self.text(text)),
            Block::ToolReference(name) => self.text(name),
            Block::Foreign(foreign) => self.foreign(foreign),
            Block::ToolUse(call) => {
                self.text(&call.name);
                call.input.iter().for_each(|input| self.raw(input.raw()));
            }
            Block::ToolResult(result) => match &result.content {
                ResultContent::Nothing => {}
                ResultContent::Text(text) => self.text(text),
                ResultContent::Value(value) => self.raw(value.raw()),
                ResultContent::Items(items) => items.iter().for_each(|item| self.item(item)),
            },
        }
    }

    fn item(&mut self, item: &ResultItem<'_>) {
        match item {
            ResultItem::Text(text) => self.text(text),
            ResultItem::Image(image) => self.image(image),
            ResultItem::Document(document) => self.document(document),
            ResultItem::ToolReference(name) => self.text(name),
            ResultItem::Foreign(foreign) => self.foreign(foreign),
            ResultItem::SearchResult(texts) => texts.iter().for_each(|text| self.text(text)),
        }
    }

    fn foreign(&mut self, foreign: &Foreign<'_>) {
        foreign.texts.iter().for_each(|text| self.text(text));
        foreign.input.iter().for_each(|input| self.raw(input.raw()));
    }

    fn image(&mut self, _: &Image<'_>) {
        self.fixed += IMAGE;
    }

    fn document(&mut self, document: &Document<'_>) {
        document.title.iter().chain(&document.context).for_each(|text| self.text(text));
        match &document.body {
            DocumentBody::Media(Source::Base64 { data, .. }) => {
                self.fixed += PAGE * (data.raw().len() as u64).div_ceil(PAGE_BASE64).max(1);
            }
            DocumentBody::Media(_) => self.fixed += PAGE,
            DocumentBody::Parts(parts) => parts.iter().for_each(|part| self.item(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::estimate;
    use crate::anthropic::request::MessagesRequest;

    fn of(content: &str) -> u64 {
        let body = format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#);
        estimate(&MessagesRequest::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn the_rule() {
        assert_eq!(of(r#""""#), 4);
        assert_eq!(of("\"two words\""), 7);
        assert_eq!(of("\"日本\""), 6);
        let image = r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]"#;
        assert_eq!(of(image), 1_604);
        let pdf = r#"[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}]"#;
        assert_eq!(of(pdf), 2_004);
    }
}
