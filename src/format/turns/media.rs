//! Which media the upstream takes.
//!
//! One file of another type would have the whole conversation refused, now and in every later turn.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::anthropic::json::JsonStr;
use crate::google::model::Family;

/// Types that every model reads.
const COMMON: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"];
/// Types that Claude models do not read.
const WIDER: [&str; 2] = ["image/heic", "image/heif"];

/// The type as the upstream knows it, `None` for one that `family` does not read.
pub(super) fn known_type(family: Family, given: &str) -> Option<Cow<'_, str>> {
    let essence = given.split(';').next().unwrap_or_default().trim();
    let lower = essence.to_ascii_lowercase();
    let name = if lower == "image/jpg" { "image/jpeg" } else { &lower };
    let sounds = |name: &str| {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/+-.".contains(&byte));
        plain && (name.starts_with("audio/") || name.starts_with("video/"))
    };
    let known =
        COMMON.contains(&name) || (family != Family::Claude && (WIDER.contains(&name) || sounds(name)));
    known.then(|| if name == given { Cow::Borrowed(given) } else { Cow::Owned(name.to_owned()) })
}

/// The words of a text in base64, JSON-escaped; `None` for other types and for what is no UTF-8.
pub(super) fn text<'r>(media_type: &JsonStr<'_>, data: &JsonStr<'_>) -> Option<Cow<'r, str>> {
    if !media_type.raw().to_ascii_lowercase().starts_with("text/") {
        return None;
    }
    let words = String::from_utf8(STANDARD.decode(data.decode().as_bytes()).ok()?).ok()?;
    Some(Cow::Owned(JsonStr::encode(&words).raw().to_owned()))
}
