//! Scenarios as data: who may call, what they may use, and what goes wrong when.
//!
//! A scenario is JSON; every field has a default, so `{}` is the well-behaved service with one
//! account. Built-in ones are in `scenarios/`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::Fault;

/// The whole setting of a simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Who has a refresh token here.
    pub accounts: Vec<Account>,
    /// What `fetchAvailableModels` offers to accounts that name no models of their own.
    pub models: Vec<ModelOffer>,
    /// Lifetime of access tokens, seconds.
    pub token_lifetime_s: u64,
    /// How many base URLs (listeners) there are; rules tell them apart by index.
    pub endpoints: usize,
    /// OAuth client ids that are accepted; any non-empty one when empty.
    pub client_ids: Vec<String>,
    /// Refuse what the real service would refuse.
    pub strict: bool,
    /// Keep what was received.
    pub record: bool,
    /// How answers are cut into chunks and sent.
    pub delivery: Delivery,
    /// Models that answer a fixed number of chunks, without looking at the conversation.
    pub fixed: BTreeMap<String, Fixed>,
    /// Looked through in order; the first that matches decides.
    pub rules: Vec<Rule>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            accounts: vec![Account::numbered(1)],
            models: ModelOffer::defaults(),
            token_lifetime_s: 3_600,
            endpoints: 2,
            client_ids: Vec::new(),
            strict: true,
            record: true,
            delivery: Delivery::default(),
            fixed: BTreeMap::new(),
            rules: Vec::new(),
        }
    }
}

/// A name that is no built-in scenario, or a text that is none at all.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The name is not one of [`Scenario::names`].
    #[error("there is no scenario {name:?}; there are: {}", Scenario::names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The JSON does not describe a scenario.
    #[error("not a scenario: {0}")]
    Malformed(#[from] serde_json::Error),
}

const BUILT_IN: [(&str, &str); 6] = [
    ("default", include_str!("scenarios/default.json")),
    ("team", include_str!("scenarios/team.json")),
    ("quota", include_str!("scenarios/quota.json")),
    ("flaky", include_str!("scenarios/flaky.json")),
    ("bench", include_str!("scenarios/bench.json")),
    ("demo", include_str!("scenarios/demo.json")),
];

impl Scenario {
    /// The built-in scenarios.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The built-in scenario of that name.
    pub fn named(name: &str) -> Result<Self, ScenarioError> {
        let found = BUILT_IN.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| ScenarioError::Unknown { name: name.to_owned() })?;
        Self::parse(text)
    }

    /// Reads a scenario's JSON.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        Ok(serde_json::from_str(text)?)
    }

    /// The same scenario with `count` sample accounts.
    #[must_use]
    pub fn with_accounts(mut self, count: usize) -> Self {
        self.accounts = (1..=count).map(Account::numbered).collect();
        self
    }

    /// The same scenario with one more rule at the end.
    #[must_use]
    pub fn with_rule(mut self, when: When, then: Action) -> Self {
        self.rules.push(Rule { when, then });
        self
    }
}

/// A Google account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its address, the key.
    pub email: String,
    /// What the gateway holds to get access tokens.
    pub refresh_token: String,
    /// The project, absent when the account must be onboarded first.
    #[serde(default)]
    pub project: Option<String>,
    /// `free-tier`, `standard-tier`, `g1-ultra-tier` …
    #[serde(default = "free_tier")]
    pub tier: String,
    /// Models with this account's quotas; the scenario's when absent.
    #[serde(default)]
    pub models: Option<Vec<ModelOffer>>,
    /// What is wrong with the account, if anything.
    #[serde(default)]
    pub state: Standing,
    /// How often `onboardUser` answers "not done" before it is.
    #[serde(default)]
    pub onboard_polls: u32,
    /// At most this many model calls per minute; the rest is answered `rate_limited`.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
}

fn free_tier() -> String {
    "free-tier".to_owned()
}

impl Account {
    /// A sample account, `number` from 1.
    #[must_use]
    pub fn numbered(number: usize) -> Self {
        Self {
            email: format!("dev{number}@example.com"),
            refresh_token: format!("1//sim-refresh-{number}"),
            project: Some(format!("sim-project-{number}")),
            tier: "standard-tier".to_owned(),
            models: None,
            state: Standing::Active,
            onboard_polls: 0,
            requests_per_minute: None,
        }
    }
}

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// All is well.
    #[default]
    Active,
    /// Model calls answer `banned`.
    Banned,
    /// Model calls answer `validation_required`.
    ValidationRequired,
    /// The refresh token and all access tokens are revoked.
    Revoked,
}

/// A model on offer, with its quota.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOffer {
    /// The id in requests.
    pub id: String,
    /// The name for people.
    #[serde(default)]
    pub display_name: String,
    /// 0 to 1; 0 refuses calls with `quota_exhausted`. Absent: unlimited.
    #[serde(default)]
    pub remaining_fraction: Option<f64>,
    /// How much each call takes off.
    #[serde(default)]
    pub cost: f64,
    /// When the quota is full again, milliseconds after the scenario was loaded.
    #[serde(default)]
    pub reset_in_ms: Option<u64>,
}

impl ModelOffer {
    fn defaults() -> Vec<Self> {
        [
            ("claude-opus-4-6-thinking", "Claude Opus 4.6 (Thinking)"),
            ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
            ("gemini-3.1-pro-high", "Gemini 3.1 Pro (High)"),
            ("gemini-3.1-pro-low", "Gemini 3.1 Pro (Low)"),
            ("gemini-3-flash", "Gemini 3 Flash"),
            ("gemini-2.5-flash", "Gemini 2.5 Flash"),
        ]
        .map(|(id, name)| Self {
            id: id.to_owned(),
            display_name: name.to_owned(),
            remaining_fraction: Some(1.0),
            cost: 0.0,
            reset_in_ms: Some(5 * 3_600_000),
        })
        .to_vec()
    }
}

/// How a stream's chunks travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// Between chunks.
    pub mode: Mode,
    /// Pause between chunks when paced, milliseconds.
    pub interval_ms: u64,
    /// Characters of text in a chunk.
    pub chunk_chars: usize,
    /// Pause before the first chunk, or before an answer that does not stream, milliseconds: between half of it and
    /// twice as long, by the request's id.
    pub first_ms: u64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { mode: Mode::Flush, interval_ms: 10, chunk_chars: 24, first_ms: 0 }
    }
}

/// What separates two chunks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing: each is a chunk of HTTP of its own, as Cloud Code sends them, and all are there at once.
    Burst,
    /// Each is written on its own, without a pause.
    Flush,
    /// Each is written on its own, with a pause before the next.
    Paced,
}

/// An answer of a given number of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// How many chunks of text.
    pub chunks: usize,
    /// Characters of text in each.
    pub chars: usize,
    /// How they travel.
    #[serde(default)]
    pub delivery: Delivery,
}

/// When to do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// All conditions must hold.
    pub when: When,
    /// What happens then.
    pub then: Action,
}

/// Conditions; absent ones hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Part of the path in any case: `streamGenerateContent`, `:generateContent`, `token` …;
    /// `generateContent` also matches the stream.
    pub path: Option<String>,
    /// Index of the listener.
    pub endpoint: Option<usize>,
    /// E-mail.
    pub account: Option<String>,
    /// Model id; a final `*` matches any end.
    pub model: Option<String>,
    /// Part of the last text of the user; of calls for tokens, of the grant type.
    pub text: Option<String>,
    /// A header's name and part of its value.
    pub header: Option<(String, String)>,
    /// Only from this matching call on, counted from 1 (so 3 skips two).
    pub from: Option<u64>,
    /// At most so many times.
    pub times: Option<u64>,
}

/// What happens to an exchange; the fields combine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a data file")]
pub struct Action {
    /// Wait before the head of the answer, milliseconds.
    pub delay_ms: Option<u64>,
    /// Close the connection instead of answering.
    pub hang_up: bool,
    /// Answer with this error.
    pub fault: Option<Fault>,
    /// When the limit of `fault` ends, milliseconds from now.
    pub reset_ms: Option<u64>,
    /// The link of `validation_required`.
    pub validation_url: Option<String>,
    /// Status of the answer, over the fault's.
    pub status: Option<u16>,
    /// Further headers of the answer.
    pub headers: BTreeMap<String, String>,
    /// JSON body of the answer.
    pub body: Option<Value>,
    /// Raw body of the answer.
    pub body_text: Option<String>,
    /// Answer this text instead of a thought-out one.
    pub text: Option<String>,
    /// Answer exactly these chunks (each the value of an event).
    pub chunks: Option<Vec<Value>>,
    /// Answer a given number of chunks.
    pub fixed: Option<Fixed>,
    /// The finish reason, over the real one; `""` leaves it out.
    pub finish_reason: Option<String>,
    /// How chunks travel, over the scenario's.
    pub delivery: Option<Delivery>,
    /// A stream without any chunk.
    pub empty: bool,
    /// A blocked prompt, with this reason.
    pub blocked: Option<String>,
    /// After chunk N, an event with the error object of `in_stream` (or a 500) ends the stream.
    pub error_after: Option<usize>,
    /// The error of `error_after`.
    pub in_stream: Option<Fault>,
    /// After chunk N, a line that is no JSON.
    pub garbage_after: Option<usize>,
    /// After chunk N, the next one is sent with half of its JSON missing.
    pub malformed_after: Option<usize>,
    /// Cut the connection after chunk N (0: after the head).
    pub cut_after: Option<usize>,
    /// Send nothing more after chunk N, and keep the connection.
    pub stall_after: Option<usize>,
    /// Send this many bytes at a time.
    pub drip: Option<Drip>,
    /// Leave out the newlines after the last event.
    pub no_final_newline: bool,
    /// End lines with CR LF.
    pub crlf: bool,
    /// Compress the answer.
    pub gzip: bool,
}

/// A slow line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drip {
    /// Bytes at a time, at least 1.
    pub bytes: usize,
    /// Pause between two pieces, milliseconds.
    pub interval_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::{Scenario, ScenarioError};

    #[test]
    fn built_in_scenarios_are_well_formed() {
        for name in Scenario::names() {
            let scenario = Scenario::named(name).unwrap();
            assert!(!scenario.accounts.is_empty(), "{name}");
        }
        assert!(matches!(Scenario::named("nothing"), Err(ScenarioError::Unknown { .. })));
        assert!(Scenario::parse(r#"{"acounts":[]}"#).is_err());
        assert_eq!(Scenario::parse("{}").unwrap(), Scenario::default());
    }
}
