//! The eight variables in the settings of Claude Code. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};
use url::{Host, Url};

use crate::config::claude::{KEY_PLACEHOLDER, KEY_VARIABLE, NO_KEY, VARIABLES, is_no_key, is_value};
use crate::server::gateway::claude::{ClaudeError, ClaudePreset, ClaudeSite, ClaudeTarget};

/// What stands for a client key that is set; written back it keeps it.
pub(super) const HIDDEN: &str = "********";

/// A new value of a variable; `None` removes it.
type Change = (&'static str, Option<String>);
/// New values of variables.
pub(super) type Changes = Vec<Change>;

/// The built-in presets (spec `http-api.md` §3.7): name, model of the main loop and of opus, model of everything else.
const BUILT_IN: [(&str, &str, &str); 2] = [
    ("Claude Thinking", "claude-opus-4-6-thinking", "claude-sonnet-4-6"),
    ("Gemini 1M", "gemini-3.1-pro-low", "gemini-3.5-flash-low"),
];

/// The built-in presets for clients that reach this gateway at `url`.
pub(super) fn built_in(url: &str, asks_for_key: bool) -> Vec<ClaudePreset> {
    let preset = |(name, main, other): (&str, &str, &str)| {
        let variables = [
            ("ANTHROPIC_BASE_URL", url),
            (KEY_VARIABLE, if asks_for_key { KEY_PLACEHOLDER } else { NO_KEY }),
            ("ANTHROPIC_MODEL", main),
            ("ANTHROPIC_DEFAULT_OPUS_MODEL", main),
            ("ANTHROPIC_DEFAULT_SONNET_MODEL", other),
            ("ANTHROPIC_DEFAULT_HAIKU_MODEL", other),
            ("CLAUDE_CODE_SUBAGENT_MODEL", other),
            ("ENABLE_EXPERIMENTAL_MCP_CLI", "true"),
        ];
        let config = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        ClaudePreset { name: name.to_owned(), config }
    };
    BUILT_IN.into_iter().map(preset).collect()
}

/// Whether a built-in preset has this name.
pub(super) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, ..)| *known == name)
}

/// The variables of a settings document; a client key is hidden.
pub(super) fn shown(document: &Map<String, Value>) -> BTreeMap<String, String> {
    let env = document.get("env").and_then(Value::as_object);
    let set = |name: &str| Some((name.to_owned(), env?.get(name)?.as_str()?.to_owned()));
    let mut variables: BTreeMap<_, _> = VARIABLES.into_iter().filter_map(set).collect();
    if let Some(key) = variables.get_mut(KEY_VARIABLE).filter(|key| !is_no_key(key)) {
        HIDDEN.clone_into(key);
    }
    variables
}

/// Whether a client key is set.
fn has_key(document: &Map<String, Value>) -> bool {
    let key = document.get("env").and_then(|env| env.get(KEY_VARIABLE)).and_then(Value::as_str);
    key.is_some_and(|key| !is_no_key(key))
}

/// The changes that point Claude Code to this gateway at `url`; a key with which it is there already stays.
pub(super) fn pointed_here(document: &Map<String, Value>, url: &str, site: &ClaudeSite) -> Changes {
    let mut changes = replaced(built_in(url, site.asks_for_key).first());
    if has_key(document) && target(document, site) == ClaudeTarget::Proxy {
        changes.retain(|(name, _)| *name != KEY_VARIABLE);
    }
    changes
}

/// Where the variables of a document point.
pub(super) fn target(document: &Map<String, Value>, site: &ClaudeSite) -> ClaudeTarget {
    let url = document.get("env").and_then(|env| env.get("ANTHROPIC_BASE_URL")).and_then(Value::as_str);
    let here = url.is_some_and(|url| is_here(url, &site.base_url));
    if here { ClaudeTarget::Proxy } else { ClaudeTarget::Paid }
}

/// Whether `url` leads to a loopback name, to any address of this machine, or to `base_url`.
fn is_here(url: &str, base_url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => {
            let address = IpAddr::from(address).to_canonical();
            address.is_loopback() || address.is_unspecified()
        }
        None => return false,
    };
    let place = |url: &Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
    local || Url::parse(base_url).is_ok_and(|base| place(&base) == place(&url))
}

/// The values of those of the variables that `asked` names; `None` removes one. Whatever else it names and `document`
/// does not have alike is answered by its path.
pub(super) fn asked_for(
    document: &Map<String, Value>,
    asked: &Map<String, Value>,
) -> Result<(Changes, Vec<String>), ClaudeError> {
    let (mut changes, mut ignored) = (Vec::new(), Vec::new());
    for (name, value) in asked {
        if name != "env" {
            if document.get(name) != Some(value) {
                ignored.push(fit(name));
            }
            continue;
        }
        let Value::Object(env) = value else {
            return Err(ClaudeError::Invalid { field: "env".into(), reason: "must be a JSON object" });
        };
        for (name, value) in env {
            let Some(variable) = VARIABLES.into_iter().find(|variable| variable == name) else {
                if document.get("env").and_then(|env| env.get(name)) != Some(value) {
                    ignored.push(format!("env.{}", fit(name)));
                }
                continue;
            };
            match value {
                Value::Null => changes.push((variable, None)),
                Value::String(text) if text.is_empty() => changes.push((variable, None)),
                Value::String(text) if variable == KEY_VARIABLE && text == HIDDEN => {}
                // A preset does not know the key that is there.
                Value::String(text)
                    if variable == KEY_VARIABLE && text == KEY_PLACEHOLDER && has_key(document) => {}
                Value::String(text) if is_value(text) => changes.push((variable, Some(text.clone()))),
                _ => {
                    let reason = "must be a text of at most 4096 bytes without control characters, or null";
                    return Err(ClaudeError::Invalid { field: format!("env.{variable}"), reason });
                }
            }
        }
    }
    Ok((changes, ignored))
}

/// Makes changes in a document; an `env` that becomes empty goes.
pub(super) fn apply(document: &mut Map<String, Value>, changes: &[Change]) {
    let mut env = match document.get_mut("env") {
        Some(Value::Object(env)) => std::mem::take(env),
        _ => Map::new(),
    };
    for (name, value) in changes {
        match value {
            Some(value) => _ = env.insert((*name).to_owned(), value.as_str().into()),
            None => _ = env.shift_remove(*name),
        }
    }
    if !env.is_empty() {
        document.insert("env".to_owned(), Value::Object(env));
    } else if document.contains_key("env") {
        document.shift_remove("env");
    }
}

/// The changes after which exactly `variables` of the eight are set.
pub(super) fn replaced(variables: Option<&ClaudePreset>) -> Changes {
    let value = |name: &str| variables.and_then(|preset| preset.config.get(name).cloned());
    VARIABLES.into_iter().map(|name| (name, value(name))).collect()
}

/// How to take variables over by hand.
pub(super) fn instructions(variables: &BTreeMap<String, String>) -> String {
    if variables.is_empty() {
        return "No variables are needed: Claude Code talks to Anthropic.".to_owned();
    }
    let exports = variables.iter().fold(String::new(), |text, (name, value)| {
        text + &format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
    });
    let env = serde_json::json!({ "env": variables });
    let json = serde_json::to_string_pretty(&env).unwrap_or_default();
    format!(
        "In the shell from which Claude Code is started:\n\n{exports}\nor in ~/.claude/settings.json:\n\n{json}\n"
    )
}

/// A name out of a request, fit for an answer.
fn fit(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn site(base_url: &str) -> ClaudeSite {
        let local_url = "http://localhost:8080".to_owned();
        ClaudeSite { base_url: base_url.to_owned(), local_url, asks_for_key: false }
    }

    #[test]
    fn the_built_in_presets_are_the_references() {
        let presets = built_in("http://localhost:8080", false);
        assert_eq!(
            json!(presets),
            json!([
                {"name": "Claude Thinking", "config": {
                    "ANTHROPIC_AUTH_TOKEN": "test", "ANTHROPIC_BASE_URL": "http://localhost:8080",
                    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "claude-sonnet-4-6",
                    "ANTHROPIC_DEFAULT_OPUS_MODEL": "claude-opus-4-6-thinking",
                    "ANTHROPIC_DEFAULT_SONNET_MODEL": "claude-sonnet-4-6", "ANTHROPIC_MODEL": "claude-opus-4-6-thinking",
                    "CLAUDE_CODE_SUBAGENT_MODEL": "claude-sonnet-4-6", "ENABLE_EXPERIMENTAL_MCP_CLI": "true"}},
                {"name": "Gemini 1M", "config": {
                    "ANTHROPIC_AUTH_TOKEN": "test", "ANTHROPIC_BASE_URL": "http://localhost:8080",
                    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "gemini-3.5-flash-low",
                    "ANTHROPIC_DEFAULT_OPUS_MODEL": "gemini-3.1-pro-low",
                    "ANTHROPIC_DEFAULT_SONNET_MODEL": "gemini-3.5-flash-low", "ANTHROPIC_MODEL": "gemini-3.1-pro-low",
                    "CLAUDE_CODE_SUBAGENT_MODEL": "gemini-3.5-flash-low", "ENABLE_EXPERIMENTAL_MCP_CLI": "true"}},
            ])
        );
        let keyed = &built_in("https://gateway.example", true)[0].config;
        assert_eq!(keyed["ANTHROPIC_AUTH_TOKEN"], "<your API key>");
        assert_eq!(keyed.len(), VARIABLES.len());
        assert!(is_built_in("Gemini 1M") && !is_built_in("gemini 1m"));
    }

    #[test]
    fn hosts_tell_where_it_points() {
        let public = "https://gateway.example:8443/base";
        for (url, here) in [
            ("http://localhost:8080", true),
            ("http://LOCALHOST", true),
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8080", true),
            ("http://[::ffff:127.0.0.1]:8080", true),
            ("http://0.0.0.0:8080", true),
            ("https://gateway.example:8443", true),
            ("https://gateway.example:8443/other", true),
            ("https://gateway.example", false),
            ("https://api.anthropic.com", false),
            ("https://localhost.evil.example", false),
            ("https://evil.example/localhost", false),
            ("https://evil.example/?127.0.0.1", false),
            ("localhost:8080", false),
            ("", false),
        ] {
            assert_eq!(is_here(url, public), here, "{url}");
        }
        let document = object(&json!({"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}));
        assert_eq!(target(&document, &site("http://x")), ClaudeTarget::Proxy);
        for nowhere in [json!({}), json!({"env": []}), json!({"env": {"ANTHROPIC_BASE_URL": 5}})] {
            assert_eq!(target(&object(&nowhere), &site("http://x")), ClaudeTarget::Paid);
        }
    }

    #[test]
    fn nothing_but_the_variables_is_ever_taken() {
        let document = object(&json!({
            "model": "opus", "hooks": {"Stop": []}, "env": {"PATH_X": "a", "ANTHROPIC_MODEL": "old", "ANTHROPIC_AUTH_TOKEN": "sk-1"}
        }));
        let asked = object(&json!({
            "model": "opus", "hooks": {"Stop": [{"command": "evil"}]}, "apiKeyHelper": "evil", "permissions": {"allow": ["*"]},
            "env": {"PATH_X": "a", "LD_PRELOAD": "evil", "ANTHROPIC_MODEL": "new", "ANTHROPIC_AUTH_TOKEN": "********",
                "CLAUDE_CODE_SUBAGENT_MODEL": "", "ANTHROPIC_DEFAULT_OPUS_MODEL": null}
        }));
        let (changes, ignored) = asked_for(&document, &asked).unwrap();
        assert_eq!(
            ignored,
            ["hooks", "apiKeyHelper", "permissions", "env.LD_PRELOAD"],
            "what is alike is no matter"
        );
        let mut after = document.clone();
        apply(&mut after, &changes);
        assert_eq!(
            Value::Object(after.clone()),
            json!({
                "model": "opus", "hooks": {"Stop": []},
                "env": {"PATH_X": "a", "ANTHROPIC_MODEL": "new", "ANTHROPIC_AUTH_TOKEN": "sk-1"}
            })
        );
        assert_eq!(after.keys().collect::<Vec<_>>(), ["model", "hooks", "env"], "in the order of the file");
        assert_eq!(
            json!(shown(&after)),
            json!({"ANTHROPIC_AUTH_TOKEN": "********", "ANTHROPIC_MODEL": "new"})
        );
        for wrong in [
            json!({"env": {"ANTHROPIC_MODEL": 5}}),
            json!({"env": {"ANTHROPIC_MODEL": "a\nb"}}),
            json!({"env": {"ANTHROPIC_MODEL": "x".repeat(5000)}}),
            json!({"env": []}),
            json!({"env": null}),
        ] {
            assert!(matches!(asked_for(&document, &object(&wrong)), Err(ClaudeError::Invalid { .. })));
        }
    }

    #[test]
    fn a_key_that_is_there_stays_unless_another_one_is_given() {
        let keyed = object(
            &json!({"env": {"ANTHROPIC_BASE_URL": "http://localhost:1", "ANTHROPIC_AUTH_TOKEN": "agp_1"}}),
        );
        for (asked, kept) in
            [("********", "agp_1"), ("<your API key>", "agp_1"), ("test", "test"), ("agp_2", "agp_2")]
        {
            let asked = object(&json!({"env": {"ANTHROPIC_AUTH_TOKEN": asked}}));
            let mut document = keyed.clone();
            apply(&mut document, &asked_for(&keyed, &asked).unwrap().0);
            assert_eq!(document["env"]["ANTHROPIC_AUTH_TOKEN"], kept);
        }
        let asked = object(&json!({"env": {"ANTHROPIC_AUTH_TOKEN": "<your API key>"}}));
        let (changes, _) = asked_for(&Map::new(), &asked).unwrap();
        assert_eq!(changes, [("ANTHROPIC_AUTH_TOKEN", Some("<your API key>".to_owned()))], "to be filled in");

        let elsewhere = object(
            &json!({"env": {"ANTHROPIC_BASE_URL": "https://x.example", "ANTHROPIC_AUTH_TOKEN": "sk-1"}}),
        );
        for (document, token) in [(keyed, "agp_1"), (elsewhere, "test")] {
            let mut pointed = document.clone();
            apply(&mut pointed, &pointed_here(&document, "http://localhost:2", &site("http://localhost:2")));
            assert_eq!(pointed["env"]["ANTHROPIC_AUTH_TOKEN"], token);
            assert_eq!(pointed["env"]["ANTHROPIC_BASE_URL"], "http://localhost:2");
        }
    }

    #[test]
    fn variables_come_and_go_together() {
        let own = json!({"env": {"MINE": "1"}, "theme": "dark"});
        let preset = &built_in("http://localhost:1", false)[0];
        let mut document = object(&own);
        apply(&mut document, &replaced(Some(preset)));
        assert_eq!(shown(&document), preset.config);
        assert_eq!(document["env"]["MINE"], "1");
        apply(&mut document, &replaced(None));
        assert_eq!(Value::Object(document), own);
        let mut document = object(&json!({"env": {"ANTHROPIC_MODEL": "m"}}));
        apply(&mut document, &replaced(None));
        assert_eq!(Value::Object(document), json!({}), "an empty env goes");
        let mut document = Map::new();
        apply(&mut document, &replaced(None));
        assert!(document.is_empty());
    }

    #[test]
    fn shells_take_the_instructions_literally() {
        let text = instructions(&[("ANTHROPIC_MODEL".to_owned(), "a'b $(c)".to_owned())].into());
        assert!(text.contains("export ANTHROPIC_MODEL='a'\\''b $(c)'\n"), "{text}");
        assert!(text.contains("\"ANTHROPIC_MODEL\": \"a'b $(c)\""), "{text}");
        assert!(instructions(&BTreeMap::new()).contains("No variables"));
    }
}
