//! The body of a call.

use std::sync::Arc;

use bytes::Bytes;

use super::write_string;

/// The body in two pieces: the head is shared by all attempts.
#[derive(Clone, Debug)]
pub struct UpstreamBody {
    head: Bytes,
    user_agent: Arc<str>,
}

impl UpstreamBody {
    /// `head` ends where the session id belongs, `user_agent` is the envelope's `userAgent`.
    pub(super) fn new(head: Vec<u8>, user_agent: &str) -> Self {
        Self { head: head.into(), user_agent: user_agent.into() }
    }

    /// The pieces of one attempt, to be sent one after the other. `request_id` is used as it is (`agent-<uuid>`).
    #[must_use]
    pub fn render(&self, project: &str, session_id: &str, request_id: &str) -> [Bytes; 2] {
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
        [self.head.clone(), tail.into()]
    }
}
