//! Pure conversion between the Messages API and `generateContent`.

pub mod request;
pub mod schema;
pub mod signatures;
pub mod stream;
pub mod thinking;
pub mod tokens;
pub mod tools;
mod turns;

pub use signatures::{KnownSignatures, Remembered, SignatureKey, signatures_wanted};
pub use tools::{ToolCache, ToolNames};

/// Switches of the conversion.
#[expect(clippy::struct_excessive_bools, reason = "switches that do not depend on each other")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Send the client's attribution block on.
    pub keep_attribution_block: bool,
    /// W5: let `thinking: disabled` switch thinking off; otherwise the model's name decides alone.
    pub honour_disabled_thinking: bool,
    /// W22: sort every assistant turn (thoughts, text, calls), also where the upstream would take its order.
    pub reorder_always: bool,
    /// Refuse requests with tools that the original API runs itself, instead of leaving the tools out.
    pub refuse_server_tools: bool,
    /// Text in front of the client's system prompt; empty: nothing is injected.
    pub system_preamble: String,
    /// `userAgent` of the envelope.
    pub user_agent_field: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_attribution_block: false,
            honour_disabled_thinking: false,
            reorder_always: true,
            refuse_server_tools: false,
            system_preamble: String::new(),
            user_agent_field: "antigravity".to_owned(),
        }
    }
}
