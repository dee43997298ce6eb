//! How the conversion of an answer fails.

use bytes::Bytes;

/// Why the answer cannot be converted any further. What was handed out before stands.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// The answer ended without any content.
    #[error("the upstream's answer is empty")]
    Empty,
    /// The prompt was refused; `reason` is the upstream's enum value such as `SAFETY`.
    #[error("the upstream refused the prompt ({reason})")]
    Blocked {
        /// The upstream's enum value.
        reason: String,
    },
    /// An error object where a chunk should be, in spite of status 200.
    #[error("the upstream sent an error inside its answer")]
    Upstream {
        /// The whole chunk, for classification.
        body: Bytes,
        /// The HTTP status that the error stands for.
        code: Option<u16>,
    },
    /// The chunk is not JSON, or not of the shape of an answer.
    #[error("the upstream's answer cannot be read: {defect} at line {line}, column {column}")]
    Malformed {
        /// What is wrong; never a piece of the answer.
        defect: &'static str,
        /// Line within the chunk, from 1.
        line: usize,
        /// Column within the line, from 1.
        column: usize,
    },
}

impl From<serde_json::Error> for StreamFault {
    fn from(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        let defect = match error.classify() {
            Category::Eof => "cut off",
            Category::Data => "a value of an unexpected type",
            Category::Syntax | Category::Io => "not JSON",
        };
        Self::Malformed { defect, line: error.line(), column: error.column() }
    }
}
