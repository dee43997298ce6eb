//! The body of `countTokens`.

use bytes::Bytes;

use super::super::Options;
use super::super::signatures::KnownSignatures;
use super::super::tools::ToolCache;
use super::super::turns::Part;
use super::{Prepared, SPARE_BYTES, write_list, write_string, write_system, write_turn};
use crate::anthropic::request::MessagesRequest;
use crate::google::model::ModelId;

/// The body of `countTokens` for the same conversation: the call takes `contents` alone, so system texts and tool
/// declarations stand as texts at the front of the first turn. Signatures are not looked up; they hold no prompt text.
#[must_use]
pub fn count_body(
    request: &MessagesRequest<'_>,
    target: &ModelId,
    options: &Options,
    tools: &ToolCache,
) -> Bytes {
    let known = KnownSignatures::default();
    let Prepared { names, hints, mut turns, .. } = Prepared::new(request, target, &known, options, tools);
    // Preamble and hints are written as they are sent, so that the number is never too low.
    let mut system = Vec::new();
    write_system(&mut system, request, options, &hints);
    let front = [system.as_slice(), &names.declared().json].into_iter().filter_map(|piece| {
        let text = std::str::from_utf8(piece).ok().filter(|text| !text.is_empty())?;
        let mut escaped = Vec::with_capacity(piece.len() + piece.len() / 8);
        write_string(&mut escaped, text);
        let escaped = String::from_utf8(escaped).ok()?;
        Some(Part::Text(escaped[1..escaped.len() - 1].to_owned().into()))
    });
    if let Some(first) = turns.first_mut() {
        first.parts.splice(0..0, front);
    }
    let mut out = Vec::with_capacity(request.body_bytes + request.body_bytes / 8 + SPARE_BYTES);
    out.extend_from_slice(b"{\"request\":{\"model\":");
    write_string(&mut out, &format!("models/{target}"));
    out.extend_from_slice(b",\"contents\":[");
    write_list(&mut out, &turns, |out, turn| write_turn(out, turn, target.family(), &names));
    out.extend_from_slice(b"]}}");
    out.into()
}
