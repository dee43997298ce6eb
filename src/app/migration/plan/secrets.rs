//! Presets lie in the store in clear, so that what is secret stays out of them.

use serde_json::{Map, Value};

use super::shown;
use crate::config::Setting;
use crate::config::claude::{self, KEY_PLACEHOLDER as PLACEHOLDER};
use crate::store::ops::restore::Presets;

/// What names of secrets hold, in snake case.
const WORDS: [&str; 12] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "api_key",
    "apikey",
    "_key",
    "key_",
    "credential",
    "authorization",
    "headers",
    "cookie",
];

/// What a name says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Secrecy {
    Open,
    /// It speaks of tokens: a text is a credential, a number counts them.
    Token,
    Secret,
}

impl Secrecy {
    fn of(name: &str) -> Self {
        let snake = snake(name);
        if matches!(&*snake, "key" | "keys") || WORDS.iter().any(|word| snake.contains(word)) {
            Self::Secret
        } else if snake.contains("token") {
            Self::Token
        } else {
            Self::Open
        }
    }

    /// Whether `value` may not be kept under such a name.
    fn hides(self, value: &Value) -> bool {
        let harmless = claude::is_no_key;
        let count = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match (self, value) {
            // Of an object each member is looked at by itself.
            (Self::Open, _)
            | (Self::Token, Value::Number(_))
            | (_, Value::Null | Value::Bool(_) | Value::Object(_)) => false,
            (Self::Secret, Value::Number(_)) => true,
            (Self::Token, Value::String(text)) => !harmless(text) && !count(text),
            (Self::Secret, Value::String(text)) => !harmless(text),
            (_, Value::Array(items)) => items.iter().any(|item| self.hides(item)),
        }
    }
}

/// The preset's settings without their secrets, and what is to be said of that: names, never values.
///
/// A variable of Claude Code gets a placeholder, to be filled in by hand; everything else is left out, a command that
/// prints a key (`apiKeyHelper`) too. Addresses lose the user and the password in them.
pub(in crate::app) fn left_out(
    family: Presets,
    config: &Map<String, Value>,
) -> (Map<String, Value>, Option<String>) {
    let mut sieve = Sieve { family, secrets: Vec::new(), addresses: Vec::new() };
    let config = sieve.object(config, "", Secrecy::Open);
    let told = |names: &[String], reason: &str| {
        (!names.is_empty()).then(|| format!("{} {reason}", names.join(", ")))
    };
    let secrets = told(&sieve.secrets, "was left out as a secret");
    let addresses = told(&sieve.addresses, "lost the user and the password in its address");
    let note = secrets.into_iter().chain(addresses).reduce(|all, next| format!("{all}; {next}"));
    (config, note)
}

struct Sieve {
    family: Presets,
    /// Paths of what was left out.
    secrets: Vec<String>,
    /// Paths of addresses that were changed.
    addresses: Vec<String>,
}

impl Sieve {
    /// `around` is what the names around it say.
    fn object(&mut self, fields: &Map<String, Value>, path: &str, around: Secrecy) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, value) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let marked = Setting::find(&path).is_some_and(Setting::is_secret);
            let secrecy = if marked { Secrecy::Secret } else { Secrecy::of(name).max(around) };
            if !secrecy.hides(value) {
                kept.insert(name.clone(), self.value(value, &path, secrecy));
                continue;
            }
            self.secrets.push(shown(&path));
            let variable =
                name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
            if self.family == Presets::Claude && variable && value.is_string() {
                kept.insert(name.clone(), Value::String(PLACEHOLDER.to_owned()));
            }
        }
        kept
    }

    fn value(&mut self, value: &Value, path: &str, around: Secrecy) -> Value {
        match value {
            Value::Object(fields) => Value::Object(self.object(fields, path, around)),
            Value::Array(items) => items.iter().map(|item| self.value(item, path, around)).collect(),
            Value::String(text) => {
                let bare = without_userinfo(text);
                if bare != *text {
                    self.addresses.push(shown(path));
                }
                Value::String(bare)
            }
            other => other.clone(),
        }
    }
}

/// Every address in the text without what stands before the host (RFC 3986 §3.2.1).
fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end =
            part.find(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace()).unwrap_or(part.len());
        let host = part[..end].rfind('@').map_or(0, |at| at + 1);
        bare.push_str("://");
        bare.push_str(&part[host..]);
    }
    bare
}

/// `webuiPassword`, `WEBUI-PASSWORD` → `webui_password`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut lower = false;
    for c in name.chars() {
        if c.is_uppercase() && lower {
            snake.push('_');
        }
        lower = c.is_lowercase() || c.is_ascii_digit();
        if c.is_alphanumeric() { snake.extend(c.to_lowercase()) } else { snake.push('_') }
    }
    snake
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(family: Presets, config: &Value) -> (Value, String) {
        let (config, note) = left_out(family, config.as_object().unwrap());
        let note = note.unwrap_or_default();
        assert!(
            !note.contains("marker") && !json!(config).to_string().contains("marker"),
            "{config:?} {note}"
        );
        (Value::Object(config), note)
    }

    #[test]
    fn names_tell_secrets() {
        for name in [
            "apiKey",
            "API_KEY",
            "webuiPassword",
            "clientSecret",
            "AWS_SECRET_ACCESS_KEY",
            "encryptionKeys",
            "keyFile",
            "awsCredentialExport",
            "Authorization",
            "ANTHROPIC_CUSTOM_HEADERS",
            "APIKEYS",
            "key",
            "private-key",
            "apiKeyHelper",
        ] {
            assert_eq!(Secrecy::of(name), Secrecy::Secret, "{name}");
        }
        for name in ["ANTHROPIC_AUTH_TOKEN", "tokens", "maxTokens", "tokenCacheTtlMs"] {
            assert_eq!(Secrecy::of(name), Secrecy::Token, "{name}");
        }
        for name in ["keyboard", "monkey", "maxRetries", "ANTHROPIC_MODEL", "strategy"] {
            assert_eq!(Secrecy::of(name), Secrecy::Open, "{name}");
        }
    }

    #[test]
    fn servers_lose_their_secrets_at_any_depth() {
        let (config, note) = kept(
            Presets::Server,
            &json!({
                "apiKey": "marker-1", "webuiPassword": "marker-2", "maxRetries": 3, "persistTokenCache": true,
                "oauth": {"clientId": "id", "clientSecret": "marker-3"}, "credentials": {"a": {"b": "marker-4"}, "n": 1},
                "redisUrl": "redis://marker:marker@host:1/2", "list": [{"sessionToken": "marker-5", "x": 1}],
                "tokenBucket": {"maxTokens": 50, "tokensPerMinute": 6, "list": ["marker-6"]}, "keys": ["marker-7"],
                "accountSelection": {"strategy": "sticky"}, "pinCode": "1234", "passwordNumber": 1234, "secretList": [],
            }),
        );
        assert_eq!(
            config,
            json!({
                "maxRetries": 3, "persistTokenCache": true, "oauth": {"clientId": "id"}, "credentials": {"a": {}},
                "redisUrl": "redis://host:1/2", "list": [{"x": 1}], "secretList": [],
                "tokenBucket": {"maxTokens": 50, "tokensPerMinute": 6},
                "accountSelection": {"strategy": "sticky"}, "pinCode": "1234",
            })
        );
        for name in
            ["apiKey", "webuiPassword", "oauth.clientSecret", "credentials.a.b", "list.sessionToken", "keys"]
        {
            assert!(note.contains(name), "{name}: {note}");
        }
        assert!(note.contains("redisUrl lost the user"), "{note}");
    }

    #[test]
    fn variables_of_claude_code_are_to_be_filled_in() {
        let (config, note) = kept(
            Presets::Claude,
            &json!({
                "ANTHROPIC_AUTH_TOKEN": "marker-1", "MAX_THINKING_TOKENS": "32000", "apiKeyHelper": "echo marker-2",
                "ANTHROPIC_BASE_URL": "https://marker:marker@host/@scope", "awsCredentialExport": "marker-3",
                "env": {"ANTHROPIC_API_KEY": "marker-4", "TOKEN_FOR_X": "marker-5", "PLAIN": "p"}, "OLD_KEY": "test",
                "HTTPS_PROXY": "http://marker@p:1", "model": "m",
            }),
        );
        assert_eq!(
            config,
            json!({
                "ANTHROPIC_AUTH_TOKEN": PLACEHOLDER, "MAX_THINKING_TOKENS": "32000",
                "ANTHROPIC_BASE_URL": "https://host/@scope",
                "env": {"ANTHROPIC_API_KEY": PLACEHOLDER, "TOKEN_FOR_X": PLACEHOLDER, "PLAIN": "p"}, "OLD_KEY": "test",
                "HTTPS_PROXY": "http://p:1", "model": "m",
            })
        );
        for name in ["apiKeyHelper", "env.TOKEN_FOR_X", "ANTHROPIC_BASE_URL, HTTPS_PROXY lost"] {
            assert!(note.contains(name), "{name}: {note}");
        }
        let (same, note) = kept(Presets::Claude, &config);
        assert_eq!((same, note.as_str()), (config, ""), "done twice");
    }
}
