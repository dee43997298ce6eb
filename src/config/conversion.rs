//! Switches of the conversion.

use super::values::Values;

/// Switches of the conversion (`conversion.*`).
#[expect(clippy::struct_excessive_bools, reason = "switches that do not depend on each other")]
#[derive(Clone, Debug)]
pub struct ConversionConfig {
    /// `conversion.attributionBlock`: `drop` (default, false) or `keep` (true) the `x-anthropic-billing-header` block.
    pub keep_attribution_block: bool,
    /// `conversion.honourDisabledThinking` (W5): `thinking: disabled` switches thinking off; default false.
    pub honour_disabled_thinking: bool,
    /// `conversion.reorderAlways` (W22): reorder assistant blocks even when not needed; default true as the reference does.
    pub reorder_always: bool,
    /// `conversion.serverTools`: `drop` (default, false) or `refuse` (true) tools that the original API runs itself.
    pub refuse_server_tools: bool,
}

impl Default for ConversionConfig {
    fn default() -> Self {
        Self {
            keep_attribution_block: false,
            honour_disabled_thinking: false,
            reorder_always: true,
            refuse_server_tools: false,
        }
    }
}

impl ConversionConfig {
    pub(super) fn apply(&mut self, values: &Values) {
        if let Some(word) = values.text("conversion.attributionBlock") {
            self.keep_attribution_block = word == "keep";
        }
        values.flag("conversion.honourDisabledThinking", &mut self.honour_disabled_thinking);
        values.flag("conversion.reorderAlways", &mut self.reorder_always);
        if let Some(word) = values.text("conversion.serverTools") {
            self.refuse_server_tools = word == "refuse";
        }
    }
}
