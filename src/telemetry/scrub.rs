//! Blots out what looks like a secret in texts that are about to be logged (spec `http-api.md` §2.3).
//!
//! Secrets are types here and do not come so far; but texts of others do, such as the error of a library that quotes an
//! address with its password. A line without any of the words below, which is nearly every line, is only looked through
//! for them.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

/// What is written instead.
const BLOT: &str = "***";

/// Each alternative keeps what its group `k…` matched; what follows it is the secret. No secret goes on behind a quotation
/// mark or a backslash, so that a line of JSON stays one. Nothing here needs the tables of Unicode.
const SECRETS: &str = concat!(
    // Credentials of a header (RFC 9110 §11.4).
    r#"(?P<k1>(?-u:\b)(?:(?i-u:bearer)|(?i-u:authorization)[\\"']*[ \t]*[:=][ \t]*[\\"']*[A-Za-z]+)[ \t]+)"#,
    r#"[A-Za-z0-9._~+/=-]{6,}"#,
    // Google's tokens, codes, client secrets and keys; Anthropic's keys; our own keys, sessions and setup tokens.
    r#"|(?P<k2>)(?-u:\b)(?:ya29\.[A-Za-z0-9_.-]+|1//[A-Za-z0-9_-]{8,}|4/0[A-Za-z0-9_-]{8,}|GOCSPX-[A-Za-z0-9_-]+"#,
    r#"|AIza[A-Za-z0-9_-]{20,}|sk-ant-[A-Za-z0-9_-]+|agps?_[A-Za-z0-9_-]{16,})"#,
    // Headers, also as `name: value` or `"name": "value"`.
    r#"|(?P<k3>(?-u:\b)(?i-u:x-api-key|x-goog-api-key|x-webui-password|x-setup-token|cookie|set-cookie)"#,
    r#"[\\"']*[ \t]*[:=][ \t]*[\\"']*)[^ \t\r\n"'\\,;]+(?:; ?[^ \t\r\n"'\\,;]+)*"#,
    // Parameters of an address or a form.
    r#"|(?P<k4>(?:^|[?&"'(])(?i-u:code|ticket)=)[^& \t\r\n"'\\)]+"#,
    r#"|(?P<k5>(?i-u:password|passwd|pwd|client_secret|api_?key|code_verifier|(?:access|refresh|id)_?token)=)"#,
    r#"[^& \t\r\n"'\\)]+"#,
    // Members of JSON, and of JSON in a text.
    r#"|(?P<k6>"(?i-u:password|client_?secret|api_?key|code_?verifier|private_?key|(?:access|refresh|id)_?token)"#,
    r#""[ \t]*:[ \t]*")(?:[^"\\]|\\[ -~])+"#,
    r#"|(?P<k7>\\"(?i-u:password|client_?secret|api_?key|code_?verifier|private_?key|(?:access|refresh|id)_?token)"#,
    r#"\\+"[ \t]*:[ \t]*\\+")[^"\\]+"#,
    // The user's part of an address (RFC 3986 §3.2.1).
    r#"|(?P<k8>(?-u:\b)[A-Za-z][A-Za-z0-9+.-]*://)[^/ \t\r\n"'\\@?#]+@"#,
);

/// One of these, in letters of any case, is in every text that [`SECRETS`] matches.
const SIGNS: [&str; 28] = [
    "bearer",
    "authorization",
    "ya29.",
    "1//",
    "4/0",
    "gocspx-",
    "aiza",
    "sk-ant-",
    "agp_",
    "agps_",
    "api-key",
    "password",
    "setup-token",
    "cookie",
    "code=",
    "ticket=",
    "passwd",
    "pwd=",
    "secret",
    "api_key",
    "apikey",
    "private",
    "verifier",
    "token=",
    "_token",
    "token\"",
    "token\\",
    "://",
];

static SIGN: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(SIGNS).ok());
static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(SECRETS).ok());
static ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9._%+-]+@(?P<domain>(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})").ok());

/// `text` without what looks like a secret.
pub(super) fn secrets(text: &str) -> Cow<'_, str> {
    if SIGN.as_ref().is_none_or(|sign| !sign.is_match(text)) {
        return text.into();
    }
    let Some(secret) = &*SECRET else { return text.into() };
    secret.replace_all(text, |found: &Captures<'_>| {
        let kept = found.iter().skip(1).flatten().next().map_or("", |group| group.as_str());
        let at = if found[0].ends_with('@') { "@" } else { "" };
        [kept, BLOT, at].concat()
    })
}

/// `text` with only the domains of its e-mail addresses.
pub(super) fn addresses(text: Cow<'_, str>) -> Cow<'_, str> {
    if memchr::memchr(b'@', text.as_bytes()).is_none() {
        return text;
    }
    let Some(address) = &*ADDRESS else { return text };
    match address.replace_all(&text, "…@$domain") {
        Cow::Borrowed(_) => text,
        Cow::Owned(shorter) => shorter.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_patterns() {
        assert!(SECRET.is_some() && SIGN.is_some() && ADDRESS.is_some());
    }

    #[test]
    fn secrets_are_blotted_out() {
        for (text, shown) in [
            ("Authorization: Bearer abc.DEF-123", "Authorization: Bearer ***"),
            ("authorization=basic dXNlcjpwdw==, x", "authorization=basic ***, x"),
            ("token ya29.a0Af_x-1.y refused", "token *** refused"),
            ("refresh 1//0gAbc_def-123456", "refresh ***"),
            ("GET /?code=4/0Abcdefghij&scope=x", "GET /?code=***&scope=x"),
            ("pasted 4/0AbcDEF_gh-ij", "pasted ***"),
            (
                "GET /api/logs/stream?history=true&password=hunter2",
                "GET /api/logs/stream?history=true&password=***",
            ),
            ("/api/logs/stream?ticket=abc&x=1", "/api/logs/stream?ticket=***&x=1"),
            ("x-api-key: abc def", "x-api-key: *** def"),
            (r#"{"x-webui-password": "hunter2"}"#, r#"{"x-webui-password": "***"}"#),
            (r#"{\"X-Api-Key\":\"abc\"}"#, r#"{\"X-Api-Key\":\"***\"}"#),
            (r#"{"access_token":"abc","expires_in":3}"#, r#"{"access_token":"***","expires_in":3}"#),
            (r#"{"idToken" : "abc"}"#, r#"{"idToken" : "***"}"#),
            (r#"{"password":"a\"b\\\\c","x":1}"#, r#"{"password":"***","x":1}"#),
            ("accesstoken=abc", "accesstoken=***"),
            (
                r#"body: {\"refreshToken\": \"abc\", \"b\": 1}"#,
                r#"body: {\"refreshToken\": \"***\", \"b\": 1}"#,
            ),
            ("client_secret=abc&grant_type=x", "client_secret=***&grant_type=x"),
            ("redis://user:hunter2@db.example.com:6379/0", "redis://***@db.example.com:6379/0"),
            ("http://proxy@10.0.0.1:3128", "http://***@10.0.0.1:3128"),
            ("key agp_abcdefghijklmnopqrstuvwxyz", "key ***"),
            ("agps_abcdefghijklmnopqrstuvwxyz", "***"),
            ("agp_setup_abcdefghijklmnop", "***"),
            ("GOCSPX-abcdef", "***"),
            ("sk-ant-api03-abc", "***"),
            ("cookie: agp_session=agps_x; other=1", "cookie: ***"),
        ] {
            assert_eq!(secrets(text), shown);
        }
    }

    #[test]
    fn all_else_stays() {
        for text in [
            "POST /v1/messages 200 served",
            "account.id=acc_01 tokens.input=12 client.key.id=key_ab state=serving",
            "http://127.0.0.1:8080/api/status?refresh=true",
            "the key file has 1 key; basic checks passed",
            "connect to redis://10.0.0.1:6379/0",
            "exit code=3 of the command",
            "agp:v1:{main}:feed:logs",
            "1/2 done, 4/5 next",
        ] {
            assert!(matches!(secrets(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn of_addresses_the_domain_stays() {
        let shown = |text: &'static str| addresses(text.into()).into_owned();
        assert_eq!(shown("ada.l+x@mail.example.com, b@c"), "…@mail.example.com, b@c");
        assert_eq!(shown("nothing"), "nothing");
    }

    proptest! {
        /// Whatever stands around it.
        #[test]
        fn no_secret_survives(before in "[ -~]{0,40}", secret in "[A-Za-z0-9_]{24,40}", after in "[ \"&,)][ -~]{0,40}") {
            for form in [
                format!("{before} Bearer {secret}{after}"),
                format!("{before} ya29.{secret}{after}"),
                format!("{before} agp_{secret}{after}"),
                format!("{before}&password={secret}{after}"),
                format!("{before}{{\"refresh_token\":\"{secret}\"}}{after}"),
                format!("{before} https://u:{secret}@example.com{after}"),
            ] {
                prop_assert!(!secrets(&form).contains(&secret), "{form} -> {}", secrets(&form));
            }
        }

        /// A line of JSON stays a line of JSON.
        #[test]
        fn json_stays_json(text in "\\PC{0,60}", inner in "[ -~]{0,60}") {
            let line = serde_json::json!({
                "message": format!("{text} Bearer {inner}"), "password": inner, "nested": format!("{{\"api_key\":{inner:?}}}"),
                "url": format!("https://{inner}@example.com"),
            });
            let line = line.to_string();
            let shown = secrets(&line);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{line} -> {shown}");
        }
    }
}
