//! Token counts of an answer.

use bytes::{BufMut, BytesMut};

use super::json::write::push_number;

/// Tokens of one answer, as the Messages API counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens that were not read from the cache.
    pub input_tokens: u64,
    /// Tokens generated, thinking included.
    pub output_tokens: u64,
    /// Prompt tokens read from the cache.
    pub cache_read_input_tokens: u64,
    /// Prompt tokens written to the cache; the upstream does not tell, so 0.
    pub cache_creation_input_tokens: u64,
    /// The share of `output_tokens` that was thinking. For statistics; not on the wire.
    pub thinking_tokens: u64,
}

impl Usage {
    /// Appends the wire object; zeros are written (spec `conversion.md` T18).
    pub(crate) fn write(&self, out: &mut BytesMut) {
        for (key, count) in [
            ("{\"input_tokens\":", self.input_tokens),
            (",\"output_tokens\":", self.output_tokens),
            (",\"cache_read_input_tokens\":", self.cache_read_input_tokens),
            (",\"cache_creation_input_tokens\":", self.cache_creation_input_tokens),
        ] {
            out.put_slice(key.as_bytes());
            push_number(out, count);
        }
        out.put_u8(b'}');
    }
}
