//! Request bodies: what the gateway is sent, and the same as the upstream takes it.

use anyhow::Result;
use bytes::{Bytes, BytesMut};

use antigravity_proxy::anthropic::request::MessagesRequest;
use antigravity_proxy::format::{self, KnownSignatures, ToolCache};
use antigravity_proxy::google::model::ModelId;

use crate::bodies::{claude_code_turn, small};
use crate::report::Case;

/// The upstream session id that the relay's requests carry.
pub(crate) const SESSION: &str = "6f1c2a34-0d2b-4c57-9a51-7d6f0b8e91231700000000000";

/// The Messages request of `case`.
pub(crate) fn messages(case: &Case) -> Bytes {
    let body = if case.large { claude_code_turn(&case.model) } else { small(&case.model) };
    Bytes::from(body.to_string())
}

/// The same request as the upstream takes it: what the relay's client sends.
pub(crate) fn upstream(case: &Case, project: &str) -> Result<Bytes> {
    converted(&messages(case), &case.model, project)
}

/// The Messages request `body` as the upstream takes it.
pub(crate) fn converted(body: &[u8], model: &str, project: &str) -> Result<Bytes> {
    let request = MessagesRequest::parse(body)?;
    let converted = format::request::convert(
        &request,
        &ModelId::new(model),
        &KnownSignatures::new(),
        &format::Options::default(),
        &ToolCache::new(1),
    )?;
    let mut joined = BytesMut::new();
    for piece in converted.body.render(project, SESSION, "agent-00000000-0000-4000-8000-000000000000") {
        joined.extend_from_slice(&piece);
    }
    Ok(joined.freeze())
}
