//! Request headers (spec `conversion.md` §7.4, `http-api.md` §9.1).

use http::HeaderMap;

use super::super::model::{Maker, Model};
use super::{Check, Refusal};

const INTERLEAVED: &str = "interleaved-thinking-2025-05-14";

/// Headers of every call to Cloud Code.
pub(in crate::simulator) fn code_assist(headers: &HeaderMap) -> Check {
    let kind = text(headers, "content-type")?;
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return refuse("content-type", "must be application/json");
    }
    let agent = text(headers, "user-agent")?;
    let version =
        agent.strip_prefix("antigravity/").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    if !version.starts_with(|c: char| c.is_ascii_digit()) || !version.contains('.') {
        return refuse("user-agent", "must start with antigravity/ and a dotted version");
    }
    if text(headers, "x-client-name")? != "antigravity" {
        return refuse("x-client-name", "must be antigravity");
    }
    text(headers, "x-client-version")?;
    text(headers, "x-goog-api-client")?;
    for name in ["x-api-key", "anthropic-version", "x-claude-code-session-id", "x-app", "cookie"] {
        if headers.contains_key(name) {
            return refuse(name, "the client's own headers are not forwarded");
        }
    }
    Ok(())
}

/// Headers of a model call; `session` is the body's `request.sessionId`.
pub(in crate::simulator) fn generate(headers: &HeaderMap, model: Model, session: &str, sse: bool) -> Check {
    code_assist(headers)?;
    if text(headers, "x-machine-session-id")? != session {
        return refuse("x-machine-session-id", "must be equal to request.sessionId");
    }
    if sse && text(headers, "accept")? != "text/event-stream" {
        return refuse("accept", "must be text/event-stream");
    }
    match headers.get("anthropic-beta") {
        Some(_) if model.maker != Maker::Claude || !model.thinking => {
            refuse("anthropic-beta", "is only for Claude models that think")
        }
        Some(value) if value != INTERLEAVED => refuse("anthropic-beta", "holds an unknown value"),
        _ => Ok(()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refusal> {
    match headers.get(name).and_then(|value| value.to_str().ok()) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(Refusal { path: format!("header:{name}"), reason: "is missing or empty".to_owned() }),
    }
}

fn refuse(name: &str, reason: &str) -> Check {
    Err(Refusal { path: format!("header:{name}"), reason: reason.to_owned() })
}
