//! From the model a client asks for to the model the pool offers.
//!
//! An unconfigured Claude Code asks for ids the pool may not have (`claude-opus-4-8`). The order of rules,
//! first match wins: an operator's mapping, the exact id, an alias rule, the id as it stands while the
//! pool's list is not known yet. Source: `http-api.md` §1.2.1, §3.8; `claude-code-client.md`.

use std::cmp::Ordering;

use crate::config::{AliasRule, ModelsConfig};

/// How a requested model was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Send this id upstream.
    Model(String),
    /// The request names no model and the configuration has no default.
    Missing,
    /// The pool does not offer the model, nor anything of its class.
    Unknown(String),
}

/// The built-in alias rules: each class of Claude names to the best the pool may have for it.
#[must_use]
pub fn default_rules() -> Vec<AliasRule> {
    let rule = |pattern: &str, candidates: &[&str]| AliasRule {
        pattern: pattern.into(),
        candidates: candidates.iter().map(|&candidate| candidate.into()).collect(),
    };
    let opus: &[&str] = &["claude-opus*-thinking", "claude-opus*", "gemini-*-pro-high"];
    let sonnet: &[&str] = &["claude-sonnet*", "gemini-*-pro-low"];
    let haiku: &[&str] = &["claude-haiku*", "gemini-*-flash*", "claude-sonnet*"];
    vec![
        rule("claude-*opus*", opus),
        rule("opus", opus),
        rule("claude-*sonnet*", sonnet),
        rule("sonnet", sonnet),
        rule("claude-*haiku*", haiku),
        rule("haiku", haiku),
    ]
}

/// Resolves `requested` against the `offered` ids; an empty `offered` means that the list is not known.
#[must_use]
pub fn resolve(requested: Option<&str>, offered: &[String], config: &ModelsConfig) -> Resolution {
    let requested = requested.map(str::trim).filter(|id| !id.is_empty());
    let Some(requested) = requested.or(config.default_model.as_deref()) else {
        return Resolution::Missing;
    };
    let stripped = without_context_suffix(requested);
    let mapped = config.mapping.get(requested).or_else(|| config.mapping.get(stripped));
    if let Some(mapped) = mapped {
        return Resolution::Model(mapped.clone());
    }
    if offered.is_empty() || offered.iter().any(|id| id == stripped) {
        return Resolution::Model(stripped.to_owned());
    }
    let built_in;
    let rules = if config.aliases.is_empty() {
        built_in = default_rules();
        &built_in
    } else {
        &config.aliases
    };
    rules
        .iter()
        .filter(|rule| matches(&rule.pattern, stripped))
        .flat_map(|rule| &rule.candidates)
        .find_map(|candidate| best(candidate, offered))
        .map_or_else(|| Resolution::Unknown(stripped.to_owned()), Resolution::Model)
}

/// Whether whoever may use `allowed` may use `model`, an upstream id. An entry permits what it matches (`*` stands for
/// any run of characters) and what a client that asks for it would get: `sonnet` permits the model that serves it now.
/// What serves counts and not what was asked for, as a name can be made up that matches a pattern and leads elsewhere.
/// No entry permits everything.
#[must_use]
pub fn permits(allowed: &[String], model: &str, offered: &[String], config: &ModelsConfig) -> bool {
    let leads =
        |entry: &str| matches!(resolve(Some(entry), offered, config), Resolution::Model(id) if id == model);
    allowed.is_empty() || allowed.iter().any(|entry| matches(entry, model) || leads(entry))
}

/// The model that stands in for `model` when all of its accounts are used up: one hop, exact ids. The built-in
/// map is the reference's (spec `http-api.md` §3.9).
#[must_use]
pub fn fallback(model: &str, config: &ModelsConfig) -> Option<String> {
    const BUILT_IN: [(&str, &str); 5] = [
        ("gemini-3.1-pro-high", "claude-opus-4-6-thinking"),
        ("gemini-3.1-pro-low", "claude-sonnet-4-6"),
        ("gemini-3-flash", "claude-sonnet-4-6"),
        ("claude-opus-4-6-thinking", "gemini-3.1-pro-high"),
        ("claude-sonnet-4-6", "gemini-3-flash"),
    ];
    if config.fallback.is_empty() {
        BUILT_IN.iter().find(|(from, _)| *from == model).map(|(_, to)| (*to).to_owned())
    } else {
        config.fallback.get(model).cloned()
    }
}

/// Every alias that currently leads somewhere, as `(pattern, id)`: shown in the model list and the console.
#[must_use]
pub fn effective(offered: &[String], config: &ModelsConfig) -> Vec<(String, String)> {
    let rules = if config.aliases.is_empty() { default_rules() } else { config.aliases.clone() };
    rules
        .into_iter()
        .filter_map(|rule| {
            let id = rule.candidates.iter().find_map(|candidate| best(candidate, offered))?;
            Some((rule.pattern, id))
        })
        .collect()
}

/// Drops one trailing `[1m]`, in any case and with an optional blank before it: clients write it into names
/// to ask for the long context, which the upstream decides by itself.
fn without_context_suffix(id: &str) -> &str {
    let Some(at) = id.len().checked_sub("[1m]".len()) else { return id };
    match id.get(at..) {
        Some(suffix) if suffix.eq_ignore_ascii_case("[1m]") => id[..at].trim_end(),
        _ => id,
    }
}

/// The newest offered id that matches `pattern`.
fn best(pattern: &str, offered: &[String]) -> Option<String> {
    offered.iter().filter(|id| matches(pattern, id)).max_by(|a, b| natural(a, b)).cloned()
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters. Case-insensitive.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(middle) = last.replace(piece) {
            match rest.find(middle) {
                Some(at) => rest = &rest[at + middle.len()..],
                None => return false,
            }
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

/// Compares names with runs of digits taken as numbers, so that `4-10` is newer than `4-6`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (split_run(a), split_run(b)) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((run_a, rest_a)), Some((run_b, rest_b))) => {
                let order = match (run_a.parse::<u64>(), run_b.parse::<u64>()) {
                    (Ok(number_a), Ok(number_b)) => number_a.cmp(&number_b),
                    _ => run_a.cmp(run_b),
                };
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (rest_a, rest_b);
            }
        }
    }
}

/// The leading run of digits or of anything else, and what follows.
fn split_run(text: &str) -> Option<(&str, &str)> {
    let digits = text.chars().next()?.is_ascii_digit();
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    Some(text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> Vec<String> {
        [
            "claude-opus-4-6-thinking",
            "claude-sonnet-4-6",
            "gemini-3.1-pro-high",
            "gemini-3.1-pro-low",
            "gemini-3-flash",
            "gemini-2.5-flash",
        ]
        .map(String::from)
        .to_vec()
    }

    fn model(id: &str) -> Resolution {
        Resolution::Model(id.into())
    }

    #[test]
    fn an_unconfigured_client_gets_the_best_of_each_class() {
        let config = ModelsConfig::default();
        for (requested, expected) in [
            ("claude-opus-4-8", "claude-opus-4-6-thinking"),
            ("claude-sonnet-5", "claude-sonnet-4-6"),
            ("claude-haiku-4-5-20251001", "gemini-3-flash"),
            ("claude-3-5-sonnet-20241022", "claude-sonnet-4-6"),
            ("opus", "claude-opus-4-6-thinking"),
            ("gemini-2.5-flash", "gemini-2.5-flash"),
            ("gemini-3.1-pro-low[1m]", "gemini-3.1-pro-low"),
            ("gemini-3.1-pro-low [1M]", "gemini-3.1-pro-low"),
        ] {
            assert_eq!(resolve(Some(requested), &offered(), &config), model(expected), "{requested}");
        }
    }

    #[test]
    fn what_serves_decides_what_a_client_may_use() {
        let mut config = ModelsConfig::default();
        config.mapping.insert("mine".into(), "gemini-3-flash".into());
        let (flash, opus, sonnet) = ("gemini-3-flash", "claude-opus-4-6-thinking", "claude-sonnet-4-6");
        for (allowed, permitted) in [
            (&[][..], &[flash, opus, sonnet][..]),
            (&["*"], &[flash, opus, sonnet]),
            (&[sonnet], &[sonnet]),
            (&["CLAUDE-*"], &[opus, sonnet]),
            (&["sonnet"], &[sonnet]),
            (&["claude-sonnet-9"], &[sonnet]),
            // The pool has no Haiku; this serves who asks for it.
            (&["claude-haiku*"], &[flash]),
            (&["mine"], &[flash]),
            (&["mine", "opus"], &[flash, opus]),
            (&["unknown"], &[]),
            (&["claude-opus-4"], &[opus]),
            (&[""], &[]),
        ] {
            let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            for model in [flash, opus, sonnet] {
                let found = permits(&allowed, model, &offered(), &config);
                assert_eq!(found, permitted.contains(&model), "{allowed:?}: {model}");
            }
        }
        // A name that matches the pattern and is served by something else opens nothing.
        assert_eq!(resolve(Some("claude-haiku-opus"), &offered(), &config), model(opus));
        assert!(!permits(&["claude-haiku*".into()], opus, &offered(), &config));
        // While the pool's models are not known, names stand for themselves.
        assert!(permits(&["sonnet".into()], "sonnet", &[], &config));
        assert!(!permits(&["sonnet".into()], sonnet, &[], &config));
    }

    #[test]
    fn gemini_stands_in_where_claude_is_missing() {
        let offered = ["gemini-3.1-pro-high", "gemini-3.1-pro-low"].map(String::from);
        let config = ModelsConfig::default();
        assert_eq!(resolve(Some("claude-opus-4-8"), &offered, &config), model("gemini-3.1-pro-high"));
        assert_eq!(resolve(Some("claude-sonnet-5"), &offered, &config), model("gemini-3.1-pro-low"));
        assert_eq!(
            resolve(Some("claude-haiku-4-5"), &offered, &config),
            Resolution::Unknown("claude-haiku-4-5".into())
        );
    }

    #[test]
    fn a_mapping_wins_and_takes_one_hop() {
        let mut config = ModelsConfig::default();
        config.mapping.insert("claude-opus-4-8".into(), "gemini-3-flash".into());
        config.mapping.insert("gemini-3-flash".into(), "never".into());
        config.mapping.insert("x[1m]".into(), "unstripped".into());
        config.mapping.insert("x".into(), "stripped".into());
        assert_eq!(resolve(Some("claude-opus-4-8"), &offered(), &config), model("gemini-3-flash"));
        assert_eq!(resolve(Some("x[1m]"), &offered(), &config), model("unstripped"));
        assert_eq!(resolve(Some("x"), &offered(), &config), model("stripped"));
    }

    #[test]
    fn a_missing_name_needs_a_default() {
        let config = ModelsConfig::default();
        assert_eq!(resolve(None, &offered(), &config), Resolution::Missing);
        assert_eq!(resolve(Some("  "), &offered(), &config), Resolution::Missing);
        let config = ModelsConfig { default_model: Some("gemini-3-flash".into()), ..config };
        assert_eq!(resolve(None, &offered(), &config), model("gemini-3-flash"));
    }

    #[test]
    fn names_pass_while_the_list_is_unknown() {
        assert_eq!(resolve(Some("anything"), &[], &ModelsConfig::default()), model("anything"));
        let unknown = resolve(Some("anything"), &offered(), &ModelsConfig::default());
        assert_eq!(unknown, Resolution::Unknown("anything".into()));
    }

    #[test]
    fn digits_compare_as_numbers() {
        let offered = ["claude-sonnet-4-6", "claude-sonnet-4-10", "claude-sonnet-4"].map(String::from);
        let resolved = resolve(Some("claude-sonnet-5"), &offered, &ModelsConfig::default());
        assert_eq!(resolved, model("claude-sonnet-4-10"));
    }

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "ab", false),
            ("a*b*c", "a-b-b-c", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
