//! Images and documents.

use crate::anthropic::json::{JsonStr, Reader};

use super::Read;
use super::block::{ResultContent, ResultItem, Spot, read_result_content, required_text, spot, text_spot};

/// Where media comes from.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// `base64`
    Base64 {
        /// MIME type.
        media_type: JsonStr<'a>,
        /// The data, not decoded.
        data: JsonStr<'a>,
    },
    /// `url`
    Url {
        /// MIME type, if the client knows it.
        media_type: Option<JsonStr<'a>>,
        /// The address.
        url: JsonStr<'a>,
    },
    /// A reference that only the original API can resolve.
    File(FileRef),
}

/// A source that cannot be forwarded: `file`, of unknown type, or without any data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRef;

/// An `image` block.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Where it comes from.
    pub source: Source<'a>,
}

/// A `document` block. `citations` is not kept: the upstream cites nothing.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// `title`, unless blank.
    pub title: Option<JsonStr<'a>>,
    /// `context`, unless blank: what the client's program says about the document.
    pub context: Option<JsonStr<'a>>,
    /// The document itself.
    pub body: DocumentBody<'a>,
}

impl Document<'_> {
    /// A file that only the original API can read.
    pub(super) fn file() -> Self {
        Self { title: None, context: None, body: DocumentBody::Media(Source::File(FileRef)) }
    }
}

/// What a document holds.
#[derive(Clone, Debug)]
pub enum DocumentBody<'a> {
    /// Bytes, an address or a file.
    Media(Source<'a>),
    /// Plain text, or a list of blocks, in order.
    Parts(Vec<ResultItem<'a>>),
}

pub(super) enum MediaOrParts<'a> {
    Media(Source<'a>),
    /// The parts, and how many elements of unknown type stood between them.
    Parts(Vec<ResultItem<'a>>, u32),
}

pub(super) fn read_source<'a>(r: &mut Reader<'a>) -> Read<MediaOrParts<'a>> {
    let mut kind: Option<JsonStr<'a>> = None;
    let mut media_type = None;
    let mut url = None;
    let mut data = None;
    let mut content = None;
    r.object(|r, key| {
        match key {
            "type" => kind = Some(r.string()?),
            "media_type" => media_type = r.optional(Reader::string)?,
            "url" => url = Some(text_spot(r)?),
            "data" => data = Some(text_spot(r)?),
            "content" => content = Some(spot(r)?),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let kind = kind.ok_or_else(|| r.missing("type"))?;
    Ok(match kind.decode().as_ref() {
        "base64" => {
            let media_type = media_type.ok_or_else(|| r.missing("media_type"))?;
            let data = required_text(r, "data", data)?;
            MediaOrParts::Media(if data.is_empty() {
                Source::File(FileRef)
            } else {
                Source::Base64 { media_type, data }
            })
        }
        "url" => MediaOrParts::Media(Source::Url {
            media_type: media_type.filter(|mime| !mime.is_empty()),
            url: address(r, url)?,
        }),
        "text" => MediaOrParts::Parts(vec![ResultItem::Text(required_text(r, "data", data)?)], 0),
        "content" => {
            let spot = content.ok_or_else(|| r.missing("content"))?;
            match r.under("content", |r| r.at(spot.at, read_result_content))? {
                (ResultContent::Text(text), _) => MediaOrParts::Parts(vec![ResultItem::Text(text)], 0),
                (ResultContent::Items(items), dropped) => MediaOrParts::Parts(items, dropped),
                (ResultContent::Nothing | ResultContent::Value(_), _) => MediaOrParts::Parts(Vec::new(), 0),
            }
        }
        _ => MediaOrParts::Media(Source::File(FileRef)),
    })
}

/// An address that the upstream can fetch.
fn address<'a>(r: &mut Reader<'a>, url: Option<(Spot, Option<JsonStr<'a>>)>) -> Read<JsonStr<'a>> {
    let url = required_text(r, "url", url)?;
    match url.decode().split_once("://") {
        Some(("https" | "http" | "gs", rest)) if !rest.is_empty() => {}
        _ => {
            return Err(
                r.wrong_at("url", "expected an http or https address; send other data as a base64 source")
            );
        }
    }
    Ok(url)
}
