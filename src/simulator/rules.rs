//! Rules at work: which action an exchange gets.

use std::sync::{Mutex, PoisonError};

use http::HeaderMap;

use super::scenario::{Action, Rule, When};

/// What rules look at.
pub(super) struct Seen<'a> {
    pub(super) path: &'a str,
    pub(super) endpoint: usize,
    pub(super) account: Option<&'a str>,
    pub(super) model: &'a str,
    pub(super) text: &'a str,
    pub(super) headers: &'a HeaderMap,
}

/// The rules of a scenario with how often each has met its exchange.
pub(super) struct Rules(Mutex<Vec<(Rule, u64)>>);

impl Rules {
    pub(super) fn new(rules: &[Rule]) -> Self {
        Self(Mutex::new(rules.iter().map(|rule| (rule.clone(), 0)).collect()))
    }

    pub(super) fn push(&self, rule: Rule) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((rule, 0));
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The action of the first rule that applies. Every rule whose conditions hold counts the call,
    /// also when an earlier one decides.
    pub(super) fn action(&self, seen: &Seen<'_>) -> Option<Action> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen = None;
        for (rule, count) in rules.iter_mut() {
            if !holds(&rule.when, seen) {
                continue;
            }
            *count += 1;
            let from = rule.when.from.unwrap_or(1).max(1);
            let ends = rule.when.times.map_or(u64::MAX, |times| from.saturating_add(times));
            if chosen.is_none() && (from..ends).contains(count) {
                chosen = Some(rule.then.clone());
            }
        }
        chosen
    }
}

fn holds(when: &When, seen: &Seen<'_>) -> bool {
    let path = when
        .path
        .as_ref()
        .is_none_or(|part| seen.path.to_ascii_lowercase().contains(&part.to_ascii_lowercase()));
    let model = when.model.as_ref().is_none_or(|model| match model.strip_suffix('*') {
        Some(start) => seen.model.starts_with(start),
        None => seen.model == model,
    });
    let header = when.header.as_ref().is_none_or(|(name, part)| {
        seen.headers.get(name).is_some_and(|value| String::from_utf8_lossy(value.as_bytes()).contains(part))
    });
    path && model
        && header
        && when.endpoint.is_none_or(|endpoint| endpoint == seen.endpoint)
        && when.account.as_ref().is_none_or(|account| seen.account == Some(account))
        && when.text.as_ref().is_none_or(|part| seen.text.contains(part))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{Rules, Seen};
    use crate::simulator::scenario::{Action, Rule, When};

    #[test]
    fn the_nth_call_is_met() {
        let rule = Rule {
            when: When { model: Some("claude-*".into()), from: Some(2), times: Some(2), ..When::default() },
            then: Action { empty: true, ..Action::default() },
        };
        let rules = Rules::new(&[rule]);
        let headers = HeaderMap::new();
        let met = |model| {
            let seen = Seen { path: "/p", endpoint: 0, account: None, model, text: "", headers: &headers };
            rules.action(&seen).is_some()
        };
        assert!(!met("gemini-3-flash"));
        assert_eq!([0; 4].map(|_| met("claude-x")), [false, true, true, false]);
    }
}
