//! What one setting is: names, type, range, default, meaning.

use super::settings::SETTINGS;

/// One row of the table of all settings ([`SETTINGS`]).
#[derive(Debug)]
pub struct Setting {
    /// Dotted name in the file, for example `accountSelection.strategy`; also the name in messages.
    pub key: &'static str,
    /// Where the reference manual lists it.
    pub section: Section,
    /// Type and range.
    pub kind: Kind,
    /// The default as text; empty where there is none.
    pub default: &'static str,
    /// What it does, one sentence.
    pub meaning: &'static str,
    /// Environment variables, the first one that is set and not empty wins.
    pub env: &'static [&'static str],
    /// Command-line flag, with its dashes.
    pub flag: Option<&'static str>,
    /// Whether the file may hold it.
    pub in_file: bool,
    /// Its name among the settings the selection scripts read.
    pub script: Option<&'static str>,
    /// Accepted and checked, but without effect; `meaning` says why.
    pub reserved: bool,
    /// Whether the shared store may hold it, and when a value from there takes effect.
    pub sharing: Sharing,
}

/// Whether the shared store may hold a setting, and when a value from there takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// In force at once, everywhere.
    Live,
    /// In force in each gateway when it starts next.
    Restart,
    /// Never in the store: it belongs to one process or machine, is a secret, or says where secrets are sent.
    Local,
}

impl Sharing {
    /// `live`, `restart` or `local`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
            Self::Local => "local",
        }
    }
}

impl Setting {
    pub(super) const fn new(
        section: Section,
        key: &'static str,
        kind: Kind,
        default: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self {
            key,
            section,
            kind,
            default,
            meaning,
            env: &[],
            flag: None,
            in_file: true,
            script: None,
            reserved: false,
            sharing: Sharing::Local,
        }
    }

    pub(super) const fn env(mut self, names: &'static [&'static str]) -> Self {
        self.env = names;
        self
    }

    pub(super) const fn env_only(mut self, names: &'static [&'static str]) -> Self {
        self.env = names;
        self.in_file = false;
        self
    }

    pub(super) const fn flag(mut self, name: &'static str) -> Self {
        self.flag = Some(name);
        self
    }

    /// Read by scripts from the store itself, hence live.
    pub(super) const fn script(mut self, name: &'static str) -> Self {
        self.script = Some(name);
        self.live()
    }

    pub(super) const fn live(mut self) -> Self {
        self.sharing = Sharing::Live;
        self
    }

    pub(super) const fn restart(mut self) -> Self {
        self.sharing = Sharing::Restart;
        self
    }

    pub(super) const fn reserved(mut self) -> Self {
        self.reserved = true;
        self
    }

    /// The row of `key`.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The row that scripts know as `name`.
    #[must_use]
    pub fn of_script(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.script == Some(name))
    }

    /// Whether its value must never be shown; such a setting is also read from `NAME_FILE`.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(
            self.kind,
            Kind::Secret
                | Kind::SecretList
                | Kind::SecretHeaders
                | Kind::KeyRing
                | Kind::SecretUrl(_)
                | Kind::RedisUrl
        )
    }
}

/// Chapters of the reference manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Listener, access, limits, shutdown.
    Server,
    /// Shared state.
    Store,
    /// The way to Cloud Code.
    Upstream,
    /// Sign-in and token refresh.
    OAuth,
    /// Retries and waits.
    Dispatch,
    /// Choice of the account.
    Selection,
    /// Model names.
    Models,
    /// Conversion between the two APIs.
    Conversion,
    /// Logs, metrics and traces.
    Telemetry,
}

impl Section {
    /// All chapters in the manual's order, with their headings.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Server, "Server"),
        (Self::Store, "Store"),
        (Self::Upstream, "Upstream"),
        (Self::OAuth, "OAuth"),
        (Self::Dispatch, "Retries and waits"),
        (Self::Selection, "Account selection"),
        (Self::Models, "Models"),
        (Self::Conversion, "Conversion"),
        (Self::Telemetry, "Logs, metrics and traces"),
    ];

    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        Self::ALL.into_iter().find(|(section, _)| *section == self).map_or("", |(_, title)| title)
    }
}

/// Type and range of a setting.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true`/`false`; as text also `1 yes on 0 no off`.
    Bool,
    /// A whole number, both ends included.
    Int(i64, i64),
    /// Milliseconds, both ends included.
    Millis(i64, i64),
    /// One of these whole numbers.
    IntChoice(&'static [i64]),
    /// A number, both ends included.
    Number(f64, f64),
    /// A number from 0 up to, not including, 1.
    Fraction,
    /// A size in bytes between the two; `"50mb"` forms are understood.
    Bytes(u64, u64),
    /// A list of 1–10 waits in milliseconds.
    Tiers(i64, i64),
    /// Any text.
    Text,
    /// A text that can be sent as the value of a header.
    Header,
    /// 1–64 of `A-Z a-z 0-9 . _ -`.
    Name,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A selection strategy.
    Strategy,
    /// A log level or a tracing filter.
    LogFilter,
    /// `address:port`; empty switches it off.
    Address,
    /// An absolute URL with one of these schemes.
    Url(&'static [&'static str]),
    /// Such a URL without a query, in which people put keys.
    BareUrl(&'static [&'static str]),
    /// Several such URLs, at least one.
    UrlList(&'static [&'static str]),
    /// A URL that may hold credentials.
    SecretUrl(&'static [&'static str]),
    /// Redis's address with credentials, see [`RedisConfig::parse`](super::RedisConfig::parse).
    RedisUrl,
    /// Redis's `host:port`.
    RedisAddress,
    /// A list of texts; comma-separated as text.
    List,
    /// Networks and single addresses.
    Networks,
    /// Origins of web pages.
    Origins,
    /// A text that is never shown.
    Secret,
    /// Several such texts.
    SecretList,
    /// Base64 of 32 bytes each.
    KeyRing,
    /// A path; relative ones start at the working directory.
    Path,
    /// The path of a file that must be readable.
    File,
    /// `{"<model>": {"mapping"?: str, "hidden"?: bool, "pinned"?: bool}}`.
    ModelMapping,
    /// Variables of Claude Code ([`VARIABLES`](super::claude::VARIABLES)) with texts; none of them a key.
    ClaudeProfile,
    /// `{"<pattern>": ["<pattern>", …]}`.
    Aliases,
    /// `{"<text>": "<text>"}`.
    TextMap,
    /// `key=value,key=value` with both percent-encoded.
    Pairs,
    /// The same, for headers that are never shown.
    SecretHeaders,
}

impl Kind {
    /// What is allowed, to complete "allowed: …".
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Bool => "true or false (also 1/0, yes/no, on/off in the environment)".into(),
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::Millis(min, max) => format!("whole milliseconds from {min} to {max}"),
            Self::IntChoice(values) => {
                values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
            }
            Self::Number(min, max) => format!("a number from {min} to {max}"),
            Self::Fraction => "a number from 0 up to, not including, 1".into(),
            Self::Bytes(min, max) => {
                format!("a size from {min} to {max} bytes, such as \"50mb\", \"512kb\" or 1048576")
            }
            Self::Tiers(min, max) => format!("1 to 10 whole milliseconds, each from {min} to {max}"),
            Self::Text => "a text".into(),
            Self::Header => "a text of visible ASCII characters and spaces".into(),
            Self::Name => "1 to 64 letters, digits, dots, hyphens and underscores".into(),
            Self::Choice(words) => words.join(" or "),
            Self::Strategy => "hybrid, round-robin or sticky".into(),
            Self::LogFilter => "error, warn, info, debug, trace, or a tracing filter such as \
                                \"info,antigravity_proxy::dispatch=debug\""
                .into(),
            Self::Address => {
                "an IP address with a port, such as 127.0.0.1:9464, or empty to switch it off".into()
            }
            Self::RedisUrl => "redis://user:password@host:6379/0, redis+unix:///path, redis+cluster://host:7000,host:7001 \
                 or redis+sentinel://host:26379,host:26379/primary-name, each with rediss instead of redis for TLS (but for the socket)"
                .into(),
            Self::RedisAddress => "host:port".into(),
            Self::Url(schemes) | Self::SecretUrl(schemes) => format!("an absolute {} URL", schemes.join("/")),
            Self::BareUrl(schemes) => format!("an absolute {} URL without a query", schemes.join("/")),
            Self::UrlList(schemes) => format!("at least one absolute {} URL", schemes.join("/")),
            Self::List => "a list of texts (comma-separated in the environment)".into(),
            Self::Networks => "IP addresses and networks such as 10.0.0.0/8 (comma-separated in the environment)".into(),
            Self::Origins => "origins such as https://app.example or http://localhost:5173, never `*`".into(),
            Self::Secret => "a text that is not empty".into(),
            Self::SecretList => "one or more texts (comma-separated)".into(),
            Self::KeyRing => "base64 of exactly 32 bytes, several separated by commas, newest first".into(),
            Self::Path => "a path".into(),
            Self::File => "the path of a readable file".into(),
            Self::ModelMapping => {
                "an object of model ids, each {\"mapping\": \"<model id>\", \"hidden\": bool, \"pinned\": bool}"
                    .into()
            }
            Self::ClaudeProfile => format!(
                "an object of texts named {}; a key is never kept, {} stands for it",
                super::claude::VARIABLES.join(", "),
                super::claude::KEY_PLACEHOLDER
            ),
            Self::Aliases => "an object of patterns, each with a list of candidate patterns".into(),
            Self::TextMap => "an object of texts".into(),
            Self::Pairs => "key=value pairs, separated by commas, keys and values percent-encoded".into(),
            Self::SecretHeaders => {
                "name=value pairs of HTTP headers, separated by commas, values percent-encoded".into()
            }
        }
    }
}
