//! The body of a call.

use std::sync::Arc;

use bytes::Bytes;

use super::write_string;

/// The body in pieces: all but the last are shared by all attempts, and the tools by all requests that declare the same.
#[derive(Clone, Debug)]
pub struct UpstreamBody {
    head: Bytes,
    tools: Bytes,
    rest: Bytes,
    user_agent: Arc<str>,
}

impl UpstreamBody {
    /// `written` ends where the session id belongs, and lacks the value of `tools`, which belongs at `tools_at`;
    /// `user_agent` is the envelope's `userAgent`.
    pub(super) fn new(written: Vec<u8>, tools_at: usize, tools: &Bytes, user_agent: &str) -> Self {
        let mut head = Bytes::from(written);
        let rest = head.split_off(tools_at);
        Self { head, tools: tools.clone(), rest, user_agent: user_agent.into() }
    }

    /// The pieces of one attempt, to be sent one after the other; some may be empty. `request_id` is used as it is (`agent-<uuid>`).
    #[must_use]
    pub fn render(&self, project: &str, session_id: &str, request_id: &str) -> [Bytes; 4] {
        let mut tail = Vec::with_capacity(160 + project.len() + session_id.len() + request_id.len());
        tail.extend_from_slice(b"\"sessionId\":");
        write_string(&mut tail, session_id);
        tail.extend_from_slice(b"},\"project\":");
        write_string(&mut tail, project);
        tail.extend_from_slice(b",\"userAgent\":");
        write_string(&mut tail, &self.user_agent);
        tail.extend_from_slice(b",\"requestType\":\"agent\",\"requestId\":");
        write_string(&mut tail, request_id);
        tail.push(b'}');
        [self.head.clone(), self.tools.clone(), self.rest.clone(), tail.into()]
    }
}
