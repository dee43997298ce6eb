//! Ids of messages and tool calls.

use sha2::{Digest, Sha256};

/// The ids of one answer, all derived from one random seed, so that a test can fix them.
#[derive(Debug)]
pub struct MessageIds {
    seed: [u8; 32],
    tools: u64,
}

impl MessageIds {
    /// Ids of the answer with this seed: 32 random bytes, fresh for every answer.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, tools: 0 }
    }

    /// The message's id: `msg_` and 32 hex digits.
    #[must_use]
    pub fn message(&self) -> String {
        self.derive("msg_", 16, 0)
    }

    /// An id for a tool call that came without one: `toolu_` and 24 hex digits, another one at each call.
    pub fn next_tool(&mut self) -> String {
        self.tools += 1;
        self.derive("toolu_", 12, self.tools)
    }

    fn derive(&self, prefix: &str, length: usize, number: u64) -> String {
        let digest = Sha256::new().chain_update(self.seed).chain_update(number.to_be_bytes()).finalize();
        [prefix, &hex::encode(&digest[..length])].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::MessageIds;

    #[test]
    fn shapes_and_distinctness() {
        let mut ids = MessageIds::new([7; 32]);
        let (message, first, second) = (ids.message(), ids.next_tool(), ids.next_tool());
        assert_eq!((message.len(), first.len()), (4 + 32, 6 + 24));
        assert!(message.starts_with("msg_") && first.starts_with("toolu_"));
        assert_ne!(first, second);
        assert_ne!(message, MessageIds::new([8; 32]).message());
        assert_eq!(message, MessageIds::new([7; 32]).message());
    }
}
