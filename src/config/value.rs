//! Checks one raw value against its [`Kind`] and brings it into its one normal form.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ::config::{Map, Value, ValueKind};
use base64::Engine as _;
use ipnet::IpNet;
use serde_json::Value as Json;

use super::claude;
use super::redis::RedisConfig;
use super::setting::Kind;
use super::traces;

/// A value as its source gave it.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// From the file: types count.
    Json(&'a Json),
    /// From the environment, a flag or the default: text that is read as the kind asks.
    Text(&'a str),
}

impl Raw<'_> {
    /// The value for a message.
    pub(super) fn shown(self) -> String {
        let text = match self {
            Self::Json(json) => json.to_string(),
            Self::Text(text) => format!("{text:?}"),
        };
        match text.char_indices().nth(120) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Json(Json::String(text)) => Some(text.clone()),
            Self::Json(_) => None,
            Self::Text(text) => Some(text.to_owned()),
        }
    }

    fn whole(self) -> Option<i64> {
        match self {
            Self::Json(Json::Number(number)) => {
                number.as_i64().or_else(|| number.as_f64().and_then(whole_float))
            }
            Self::Json(_) => None,
            Self::Text(text) => text.trim().parse().ok(),
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Self::Json(Json::Number(number)) => number.as_f64(),
            Self::Json(_) => None,
            Self::Text(text) => text.trim().parse().ok(),
        }
    }

    /// The items of a list: an array of texts, or one text split at commas; blanks and empty items are dropped.
    fn items(self) -> Option<Vec<String>> {
        let split = |text: &str| {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        };
        match self {
            Self::Json(Json::Array(items)) => {
                items.iter().map(|item| item.as_str().map(|text| text.trim().to_owned())).collect()
            }
            Self::Json(Json::String(text)) => Some(split(text)),
            Self::Json(_) => None,
            Self::Text(text) => Some(split(text)),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the value was found to be whole and within ±2^53")]
fn whole_float(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

/// The normal form of `raw`, or `None` when it is not what [`Kind::allowed`] says. `cwd` resolves relative paths.
pub(super) fn normalise(kind: Kind, raw: Raw<'_>, cwd: &Path) -> Option<ValueKind> {
    Some(match kind {
        Kind::Bool => ValueKind::Boolean(boolean(raw)?),
        Kind::Int(min, max) | Kind::Millis(min, max) => {
            ValueKind::I64(raw.whole().filter(|n| (min..=max).contains(n))?)
        }
        Kind::IntChoice(allowed) => ValueKind::I64(raw.whole().filter(|n| allowed.contains(n))?),
        Kind::Number(min, max) => ValueKind::Float(raw.number().filter(|n| (min..=max).contains(n))?),
        Kind::Fraction => ValueKind::Float(raw.number().filter(|n| (0.0..1.0).contains(n))?),
        Kind::Bytes(min, max) => {
            let size = bytes(raw).filter(|size| (min..=max).contains(size))?;
            ValueKind::I64(i64::try_from(size).ok()?)
        }
        Kind::Tiers(min, max) => tiers(raw, min, max)?,
        Kind::Text => ValueKind::String(raw.text()?),
        Kind::Header => {
            ValueKind::String(raw.text().filter(|text| http::HeaderValue::from_str(text).is_ok())?)
        }
        Kind::Name => ValueKind::String(raw.text().filter(|name| is_name(name))?),
        Kind::Choice(words) => {
            let word = raw.text()?.trim().to_ascii_lowercase();
            ValueKind::String(words.contains(&word.as_str()).then_some(word)?)
        }
        Kind::Strategy => {
            let word = raw.text()?.trim().to_ascii_lowercase();
            ValueKind::String(
                match word.as_str() {
                    "hybrid" => "hybrid",
                    "round-robin" | "roundrobin" => "round-robin",
                    "sticky" => "sticky",
                    _ => return None,
                }
                .into(),
            )
        }
        Kind::LogFilter => {
            let filter = raw.text()?.trim().to_owned();
            let plain = matches!(filter.as_str(), "error" | "warn" | "info" | "debug" | "trace");
            let usable = plain
                || (filter.contains('=') && tracing_subscriber::EnvFilter::builder().parse(&filter).is_ok());
            ValueKind::String(usable.then_some(filter)?)
        }
        Kind::Address => {
            let text = raw.text()?;
            let address = text.trim();
            let usable = address.is_empty() || address.parse::<SocketAddr>().is_ok();
            ValueKind::String(usable.then(|| address.to_owned())?)
        }
        Kind::Url(schemes) => ValueKind::String(url(&raw.text()?, schemes, false)?),
        Kind::BareUrl(schemes) => {
            let url = url(&raw.text()?, schemes, false)?;
            ValueKind::String((!url.contains(['?', '#'])).then_some(url)?)
        }
        Kind::SecretUrl(schemes) => ValueKind::String(url(&raw.text()?, schemes, true)?),
        Kind::RedisUrl => {
            let text = raw.text()?.trim().to_owned();
            ValueKind::String(RedisConfig::parse(&text).map(|_| text)?)
        }
        Kind::RedisAddress => {
            let text = raw.text()?.trim().to_owned();
            ValueKind::String(RedisConfig::parse_address(&text).map(|_| text)?)
        }
        Kind::UrlList(schemes) => {
            let urls: Option<Vec<_>> = raw.items()?.iter().map(|item| url(item, schemes, false)).collect();
            list(urls.filter(|urls| !urls.is_empty())?)
        }
        Kind::List => list(raw.items()?),
        Kind::Networks => {
            let networks: Option<Vec<_>> = raw.items()?.iter().map(|item| network(item)).collect();
            list(networks?.iter().map(ToString::to_string).collect())
        }
        Kind::Origins => {
            let origins: Option<Vec<_>> = raw.items()?.iter().map(|item| origin(item)).collect();
            list(origins?)
        }
        Kind::Secret => ValueKind::String(raw.text().filter(|text| !text.trim().is_empty())?),
        Kind::SecretList => {
            list(raw.items().filter(|items| !items.is_empty() && items.iter().all(|item| !item.is_empty()))?)
        }
        Kind::KeyRing => {
            list(raw.items().filter(|keys| !keys.is_empty() && keys.iter().all(|key| is_key(key)))?)
        }
        Kind::Path => ValueKind::String(path(&raw.text()?, cwd)?),
        Kind::File => {
            let path = path(&raw.text()?, cwd)?;
            ValueKind::String(std::fs::File::open(&path).is_ok().then_some(path)?)
        }
        Kind::ModelMapping => model_mapping(raw)?,
        Kind::ClaudeProfile => claude_profile(raw)?,
        Kind::Aliases => aliases(raw)?,
        Kind::TextMap => text_map(raw)?,
        Kind::Pairs => ValueKind::String(raw.text().filter(|text| traces::pairs(text).is_some())?),
        Kind::SecretHeaders => ValueKind::String(raw.text().filter(|text| traces::headers(text).is_some())?),
    })
}

fn boolean(raw: Raw<'_>) -> Option<bool> {
    match raw {
        Raw::Json(json) => json.as_bool(),
        Raw::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        },
    }
}

/// `1048576`, `"1048576"`, `"512kb"`, `"50mb"`, `"1gb"`, `"10b"`; units are powers of 1,024.
fn bytes(raw: Raw<'_>) -> Option<u64> {
    if let Raw::Json(Json::Number(_)) = raw {
        return u64::try_from(raw.whole()?).ok();
    }
    let text = raw.text()?.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn tiers(raw: Raw<'_>, min: i64, max: i64) -> Option<ValueKind> {
    let waits: Vec<i64> = match raw {
        Raw::Json(Json::Array(items)) => {
            items.iter().map(|item| Raw::Json(item).whole()).collect::<Option<_>>()?
        }
        Raw::Json(_) => return None,
        Raw::Text(text) => text.split(',').map(|item| Raw::Text(item).whole()).collect::<Option<_>>()?,
    };
    let usable = (1..=10).contains(&waits.len()) && waits.iter().all(|wait| (min..=max).contains(wait));
    usable.then(|| ValueKind::Array(waits.into_iter().map(Value::from).collect()))
}

fn list(items: Vec<String>) -> ValueKind {
    ValueKind::Array(items.into_iter().map(Value::from).collect())
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_key(key: &str) -> bool {
    base64::engine::general_purpose::STANDARD
        .decode(key)
        .map(zeroize::Zeroizing::new)
        .is_ok_and(|bytes| bytes.len() == 32)
}

/// `text` without trailing slashes when it is an absolute URL with one of `schemes` and a host; user
/// information only where `credentials` may appear.
fn url(text: &str, schemes: &[&str], credentials: bool) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let scheme_known = schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let usable = scheme_known && plain && !authority.is_empty() && (credentials || !authority.contains('@'));
    // Lists of hosts (cluster, sentinel) are not URIs; they are read where they are used.
    let parsed = authority.contains(',') || authority.parse::<http::uri::Authority>().is_ok();
    (usable && parsed).then(|| text.trim_end_matches('/').to_owned())
}

/// A network such as `10.0.0.0/8`, or a single address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    Some(network.trunc())
}

/// Scheme, host and port as a browser writes them in `Origin`.
fn origin(text: &str) -> Option<String> {
    let parsed = ::url::Url::parse(text).ok()?;
    let whole =
        matches!(parsed.scheme(), "http" | "https") && parsed.path() == "/" && parsed.query().is_none();
    let bare = parsed.fragment().is_none() && parsed.username().is_empty() && parsed.password().is_none();
    (whole && bare).then(|| parsed.origin().ascii_serialization())
}

fn path(text: &str, cwd: &Path) -> Option<String> {
    (!text.is_empty()).then(|| cwd.join(text).to_str().map(str::to_owned))?
}

/// `{id: {mapping, hidden, pinned}}`, each member only where it says something; a bare text as value is the mapping.
fn model_mapping(raw: Raw<'_>) -> Option<ValueKind> {
    let mut models = Map::new();
    for (model, entry) in object(raw)? {
        let mut kept = Map::new();
        match entry {
            Json::String(target) => _ = kept.insert("mapping".to_owned(), Value::from(target)),
            Json::Object(entry) => {
                for (key, value) in entry {
                    match (key.as_str(), value) {
                        // The reference's older name for something that was never used.
                        ("alias", _) | ("mapping" | "hidden" | "pinned", Json::Null) => {}
                        ("mapping", Json::String(target)) if target.is_empty() => {}
                        ("mapping", Json::String(target)) => _ = kept.insert(key, Value::from(target)),
                        ("hidden" | "pinned", Json::Bool(flag)) => _ = kept.insert(key, Value::from(flag)),
                        (comment, _) if comment.starts_with('_') => {}
                        _ => return None,
                    }
                }
            }
            _ => return None,
        }
        if !kept.is_empty() {
            models.insert(model, Value::new(None, ValueKind::Table(kept)));
        }
    }
    Some(ValueKind::Table(models))
}

/// Known variables only, and no key: what the store holds is not sealed.
fn claude_profile(raw: Raw<'_>) -> Option<ValueKind> {
    let mut variables = Map::new();
    for (name, value) in object(raw)? {
        let text = value.as_str()?;
        let usable = claude::VARIABLES.contains(&name.as_str()) && claude::is_value(text);
        if !usable || (name == claude::KEY_VARIABLE && !claude::is_no_key(text)) {
            return None;
        }
        variables.insert(name, Value::from(text.to_owned()));
    }
    Some(ValueKind::Table(variables))
}

fn aliases(raw: Raw<'_>) -> Option<ValueKind> {
    let mut rules = Map::new();
    for (pattern, candidates) in object(raw)? {
        let candidates = Raw::Json(&candidates).items().filter(|items| !items.is_empty())?;
        rules.insert(pattern, Value::new(None, list(candidates)));
    }
    Some(ValueKind::Table(rules))
}

fn text_map(raw: Raw<'_>) -> Option<ValueKind> {
    let mut map = Map::new();
    for (key, value) in object(raw)? {
        map.insert(key, Value::from(value.as_str()?.to_owned()));
    }
    Some(ValueKind::Table(map))
}

fn object(raw: Raw<'_>) -> Option<serde_json::Map<String, Json>> {
    let object = match raw {
        Raw::Json(Json::Object(object)) => object.clone(),
        Raw::Json(_) => return None,
        Raw::Text(text) => serde_json::from_str(text).ok()?,
    };
    Some(object.into_iter().filter(|(key, _)| !key.starts_with('_')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, raw: &str) -> Option<ValueKind> {
        normalise(kind, Raw::Text(raw), Path::new("/work-dir"))
    }

    fn json(kind: Kind, raw: &Json) -> Option<ValueKind> {
        normalise(kind, Raw::Json(raw), Path::new("/work-dir"))
    }

    #[test]
    fn booleans_are_lenient_in_text_and_strict_in_json() {
        for yes in ["true", "1", "yes", "on", "TRUE", " On "] {
            assert_eq!(text(Kind::Bool, yes), Some(ValueKind::Boolean(true)), "{yes}");
        }
        for no in ["false", "0", "no", "off"] {
            assert_eq!(text(Kind::Bool, no), Some(ValueKind::Boolean(false)), "{no}");
        }
        assert_eq!(text(Kind::Bool, "maybe"), None);
        assert_eq!(json(Kind::Bool, &Json::from("true")), None);
        assert_eq!(json(Kind::Bool, &Json::from(1)), None);
    }

    #[test]
    fn whole_numbers_keep_their_range() {
        let kind = Kind::Int(1, 20);
        assert_eq!(json(kind, &serde_json::json!(5.0)), Some(ValueKind::I64(5)));
        for wrong in
            [serde_json::json!(5.5), serde_json::json!(0), serde_json::json!(21), serde_json::json!("5")]
        {
            assert_eq!(json(kind, &wrong), None, "{wrong}");
        }
        assert_eq!(text(kind, "20"), Some(ValueKind::I64(20)));
        assert_eq!(text(Kind::Fraction, "1"), None);
        assert_eq!(text(Kind::Number(0.0, 1.0), "NaN"), None);
    }

    #[test]
    fn sizes() {
        let kind = Kind::Bytes(1, 1 << 40);
        for (raw, size) in [("50mb", 50 << 20), ("512 KB", 512 << 10), ("7", 7), ("1g", 1 << 30), ("9b", 9)] {
            assert_eq!(text(kind, raw), Some(ValueKind::I64(size)), "{raw}");
        }
        for wrong in ["", "mb", "-1", "1.5mb", "5 parsecs", "99999999999999999999gb"] {
            assert_eq!(text(kind, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn urls() {
        let http: &[&str] = &["http", "https"];
        assert_eq!(text(Kind::Url(http), "https://a.example:1/"), Some("https://a.example:1".into()));
        for wrong in ["a.example", "ftp://a.example", "https://", "https://user:pw@a.example", "http://a b"] {
            assert_eq!(text(Kind::Url(http), wrong), None, "{wrong}");
        }
        assert_eq!(text(Kind::BareUrl(http), "https://a.example/v1"), Some("https://a.example/v1".into()));
        for wrong in
            ["https://a.example/v1?api-key=x", "https://a.example#x", "https://user:pw@a.example", "a"]
        {
            assert_eq!(text(Kind::BareUrl(http), wrong), None, "{wrong}");
        }
        assert!(text(Kind::SecretUrl(http), "http://user:pw@proxy:3128").is_some());
        assert!(text(Kind::RedisUrl, "redis://:secret@cache:6379/1").is_some());
        assert!(text(Kind::RedisUrl, "redis+cluster://a:1,b:2").is_some());
        assert_eq!(text(Kind::RedisUrl, "redis+sentinel://a:1,b:2"), None);
        assert_eq!(text(Kind::RedisAddress, "redis://cache"), None);
        assert_eq!(text(Kind::UrlList(http), " , "), None);
    }

    #[test]
    fn networks_and_origins_have_one_form() {
        let one = |kind, raw: &str| match text(kind, raw) {
            Some(ValueKind::Array(items)) => {
                items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            _ => "refused".to_owned(),
        };
        for (raw, network) in [
            ("10.1.2.3/8, 192.0.2.1", "10.0.0.0/8 192.0.2.1/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("", ""),
            ("10.0.0.0/33", "refused"),
            ("proxy.test", "refused"),
        ] {
            assert_eq!(one(Kind::Networks, raw), network, "{raw}");
        }
        for (raw, origin) in [
            ("https://App.Example/, http://a:8080", "https://app.example http://a:8080"),
            ("https://a:443", "https://a"),
            ("*", "refused"),
            ("null", "refused"),
            ("a.example", "refused"),
            ("https://a/b", "refused"),
            ("https://user@a", "refused"),
            ("ftp://a", "refused"),
        ] {
            assert_eq!(one(Kind::Origins, raw), origin, "{raw}");
        }
    }

    #[test]
    fn keys_are_32_bytes() {
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert!(text(Kind::KeyRing, &format!("{key}, {key}")).is_some());
        assert_eq!(text(Kind::KeyRing, "c2hvcnQ="), None);
        assert_eq!(text(Kind::KeyRing, ""), None);
    }

    #[test]
    fn log_filters() {
        for usable in ["info", "warn,antigravity_proxy=debug"] {
            assert!(text(Kind::LogFilter, usable).is_some(), "{usable}");
        }
        for wrong in ["loud", "", "antigravity_proxy=loud"] {
            assert_eq!(text(Kind::LogFilter, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn model_mappings_keep_what_says_something() {
        let raw = serde_json::json!({
            "a": {"mapping": "b", "hidden": true, "_note": 1}, "c": {"pinned": true, "alias": "x"}, "d": "e", "_": 0,
            "f": {"mapping": "", "hidden": null}, "g": {}
        });
        let kept = json(Kind::ModelMapping, &raw).map(|kind| crate::config::values::json(&kind));
        let expected = serde_json::json!({
            "a": {"mapping": "b", "hidden": true}, "c": {"pinned": true}, "d": {"mapping": "e"}
        });
        assert_eq!(kept, Some(expected));
        for wrong in [
            serde_json::json!({"a": {"maping": "b"}}),
            serde_json::json!({"a": {"hidden": "yes"}}),
            serde_json::json!({"a": {"mapping": 3}}),
            serde_json::json!({"a": 1}),
            serde_json::json!([]),
        ] {
            assert_eq!(json(Kind::ModelMapping, &wrong), None, "{wrong}");
        }
    }

    #[test]
    fn profiles_hold_known_variables_and_no_key() {
        let profile = |value: serde_json::Value| json(Kind::ClaudeProfile, &value).is_some();
        assert!(profile(
            serde_json::json!({"ANTHROPIC_MODEL": "m", "ANTHROPIC_AUTH_TOKEN": "<your API key>"})
        ));
        assert!(profile(serde_json::json!({"ANTHROPIC_AUTH_TOKEN": "test"})));
        for wrong in [
            serde_json::json!({"ANTHROPIC_AUTH_TOKEN": "sk-1"}),
            serde_json::json!({"PATH": "/tmp"}),
            serde_json::json!({"ANTHROPIC_MODEL": 1}),
            serde_json::json!({"ANTHROPIC_MODEL": "a\nb"}),
        ] {
            assert!(!profile(wrong.clone()), "{wrong}");
        }
    }
}
