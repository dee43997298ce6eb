//! Model names: mapping, aliases, fallback.

use std::collections::BTreeMap;

use super::values::Values;

/// Aliases, mapping, fallback.
#[derive(Clone, Debug, Default)]
pub struct ModelsConfig {
    /// `modelMapping[id].mapping`: wins over everything, one hop.
    pub mapping: BTreeMap<String, String>,
    /// `modelAliases`: class patterns (`claude-opus-*`) to candidate patterns, best first; empty = built-in
    /// order of `design.md` §5.
    pub aliases: Vec<AliasRule>,
    /// `fallbackMap`: exact id to exact id; empty = the reference's map.
    pub fallback: BTreeMap<String, String>,
    /// `defaultModel`: used when a request names none; `None` refuses such a request.
    pub default_model: Option<String>,
}

/// One alias: requests for `pattern` get the first of `candidates` that the pool offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRule {
    /// A requested id with `*` as wildcard.
    pub pattern: String,
    /// Offered ids with `*` as wildcard, best first.
    pub candidates: Vec<String>,
}

impl ModelsConfig {
    pub(super) fn apply(&mut self, values: &Values) {
        values.text_map("modelMapping", &mut self.mapping);
        if let Some(rules) = values.list_map("modelAliases") {
            self.aliases =
                rules.into_iter().map(|(pattern, candidates)| AliasRule { pattern, candidates }).collect();
        }
        values.text_map("fallbackMap", &mut self.fallback);
        values.optional("defaultModel", &mut self.default_model);
    }
}
