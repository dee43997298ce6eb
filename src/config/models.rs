//! Model names: mapping, aliases, fallback.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::values::Values;

/// Aliases, mapping, fallback.
#[derive(Clone, Debug, Default)]
pub struct ModelsConfig {
    /// `modelMapping[id].mapping`: wins over everything, one hop.
    pub mapping: BTreeMap<String, String>,
    /// `modelMapping` as a whole, what is for display included.
    pub entries: BTreeMap<String, ModelEntry>,
    /// `modelAliases`: class patterns (`claude-opus-*`) to candidate patterns, best first; empty = built-in
    /// order of `design.md` §5.
    pub aliases: Vec<AliasRule>,
    /// `fallbackMap`: exact id to exact id; empty = the reference's map.
    pub fallback: BTreeMap<String, String>,
    /// `defaultModel`: used when a request names none; `None` refuses such a request.
    pub default_model: Option<String>,
}

/// What is said of one model; what it does not say is left out when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ModelConfig)]
pub struct ModelEntry {
    /// The model that answers requests for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// Whether consoles hide it; for display only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
    /// Whether consoles show it first; for display only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
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
        values.model_entries("modelMapping", &mut self.entries);
        if values.get("modelMapping").is_some() {
            let mapped = self.entries.iter();
            self.mapping =
                mapped.filter_map(|(model, entry)| Some((model.clone(), entry.mapping.clone()?))).collect();
        }
        if let Some(rules) = values.list_map("modelAliases") {
            self.aliases =
                rules.into_iter().map(|(pattern, candidates)| AliasRule { pattern, candidates }).collect();
        }
        values.text_map("fallbackMap", &mut self.fallback);
        values.optional("defaultModel", &mut self.default_model);
    }
}
