//! Blocks that only the original API understands: what its own tools were asked and gave back, summaries that it made of
//! a conversation, and types that are newer than this gateway.
//!
//! Their place in the history is kept by what a reader would want of them: the arguments of a call, and the strings
//! under keys that hold words. Ciphertext, ids and base64 data are not.

use crate::anthropic::json::{Json, JsonStr, Kind, Reader};

use super::Read;

/// Most bytes of strings that are taken from one block.
pub const MAX_FOREIGN_TEXT: usize = 16 * 1024;

/// Keys whose strings hold words.
const WORDS: [&str; 12] = [
    "text",
    "content",
    "title",
    "url",
    "source",
    "query",
    "summary",
    "stdout",
    "stderr",
    "error_code",
    "error_message",
    "page_age",
];

/// A block of a type without a conversion of its own that holds something to read.
#[derive(Clone, Debug)]
pub struct Foreign<'a> {
    /// Its type.
    pub kind: JsonStr<'a>,
    /// `name`: the tool's.
    pub name: Option<JsonStr<'a>>,
    /// `input`, an object with at least one member and of at most [`MAX_FOREIGN_TEXT`] bytes.
    pub input: Option<Json<'a>>,
    /// What there is to read, in order, at most [`MAX_FOREIGN_TEXT`] bytes.
    pub texts: Vec<JsonStr<'a>>,
    /// Something was left out.
    pub cut: bool,
}

impl<'a> Foreign<'a> {
    /// Reads the block at the reader's place; `None` when there is nothing to read in it.
    pub(super) fn read(r: &mut Reader<'a>, kind: JsonStr<'a>) -> Read<Option<Self>> {
        let mut block = Self { kind, name: None, input: None, texts: Vec::new(), cut: false };
        let mut room = MAX_FOREIGN_TEXT;
        r.object(|r, key| match key {
            "name" if r.kind()? == Kind::String => {
                block.name = Some(r.string()?).filter(|name| !name.is_blank() && name.raw().len() <= 256);
                Ok(())
            }
            "input" => {
                let input = r.json()?;
                let filled = input.kind() == Kind::Object && !input.is_empty_container();
                let fits = input.raw().len() <= MAX_FOREIGN_TEXT;
                block.cut |= filled && !fits;
                block.input = (filled && fits).then_some(input);
                Ok(())
            }
            _ => block.gather(r, WORDS.contains(&key), &mut room),
        })?;
        let empty = block.name.is_none() && block.input.is_none() && block.texts.is_empty() && !block.cut;
        Ok((!empty).then_some(block))
    }

    /// Takes the words of the next value; `worded` tells that it stands under a key of [`WORDS`].
    fn gather(&mut self, r: &mut Reader<'a>, worded: bool, room: &mut usize) -> Read<()> {
        match r.kind()? {
            Kind::String if worded => {
                let text = r.string()?;
                let too_long = text.raw().len() > *room;
                self.cut |= too_long;
                let text = if too_long { text.cut(*room) } else { text };
                if !text.is_blank() {
                    *room = room.saturating_sub(text.raw().len());
                    self.texts.push(text);
                }
                Ok(())
            }
            Kind::Object => {
                // `data` is base64 unless it is said to be text.
                let mut is_text = false;
                r.object(|r, key| match key {
                    "media_type" if r.kind()? == Kind::String => {
                        is_text = r.string()?.raw().starts_with("text/");
                        Ok(())
                    }
                    "data" => self.gather(r, is_text, room),
                    _ => self.gather(r, WORDS.contains(&key), room),
                })
            }
            Kind::Array => r.array(|r| self.gather(r, worded, room)),
            _ => r.skip(),
        }
    }
}
