//! What may stand in a label: closed sets of values, or values that something else bounds.
//!
//! `docs/metrics.md` is made of these, so that it names exactly the values that can appear.

/// One value of a closed label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// As it is exported.
    pub name: &'static str,
    /// What it stands for, one sentence.
    pub meaning: &'static str,
}

/// The values that a label can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// These and no others.
    Closed(&'static [Value]),
    /// Bounded by what the text says.
    Open(&'static str),
}

/// What labels a metric.
pub trait LabelValues: 'static {
    /// All that may appear.
    const VALUES: Values;
}

/// A label with a closed set of values, by which handles are found without a lock.
pub trait Label: LabelValues + Copy {
    /// All of them, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// As it is exported.
    fn label(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// Enums whose values are labels; a value's doc comment is its meaning in the manual.
macro_rules! labels {
    ($(
        $(#[doc = $about:literal])+
        $name:ident { $( #[doc = $meaning:literal] $value:ident = $label:literal, )+ }
    )+) => { $(
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( #[doc = $meaning] $value, )+ }

        impl LabelValues for $name {
            const VALUES: Values = Values::Closed(&[
                $( Value { name: $label, meaning: $meaning.trim_ascii() }, )+
            ]);
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$( Self::$value ),+];

            fn label(self) -> &'static str {
                match self { $( Self::$value => $label, )+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )+ };
}

/// Labels whose values are not known when this is compiled.
macro_rules! open_labels {
    ($( $(#[doc = $about:literal])+ $name:ident = $bound:literal; )+) => { $(
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl LabelValues for $name {
            const VALUES: Values = Values::Open($bound);
        }
    )+ };
}

open_labels! {
    /// Patterns of routes.
    Route = "the pattern of a route, such as `/v1/messages`; `unmatched` for every path that has none: files of the console and unknown paths";
    /// Upstream models.
    Model = "the upstream id of a model of the pool, for the first 50 that this process sees; `other` for any other and for requests that name none";
    /// Scripts of the store.
    Script = "the name of a script of the store, listed below";
    /// Hosts of upstream endpoints.
    Endpoint = "the host of a URL in `upstream.endpoints`, for the first 4 different ones; `other` for any other";
    /// Versions of this program.
    Version = "the version that runs";
}

labels! {
    /// Classes of HTTP status.
    StatusClass {
        /// Success.
        Success = "2xx",
        /// Redirection, or not modified.
        Redirection = "3xx",
        /// The request was refused.
        ClientError = "4xx",
        /// The gateway could not serve it.
        ServerError = "5xx",
    }

    /// HTTP statuses that answer a model request.
    Status {
        /// An answer, or a stream that had begun, whatever came of it.
        Ok = "200",
        /// Bad request; also exhausted quota where `quotaExhaustedStatus` says so.
        BadRequest = "400",
        /// Not permitted, by the client's key or by the upstream.
        Forbidden = "403",
        /// The upstream does not know the model.
        NotFound = "404",
        /// The upstream found the request too large.
        TooLarge = "413",
        /// Quota exhausted or rate limited.
        TooManyRequests = "429",
        /// Nothing was sent: the client had gone.
        ClientGone = "499",
        /// A fault of the gateway.
        Internal = "500",
        /// The upstream failed, or refused the gateway's sign-in.
        BadGateway = "502",
        /// No usable account, or the upstream could not be reached.
        Unavailable = "503",
        /// Overloaded, or not in time.
        Overloaded = "529",
        /// Any other 4xx.
        OtherClientError = "4xx",
        /// Any other.
        OtherServerError = "5xx",
    }

    /// How a model request ended.
    Outcome {
        /// Answered completely.
        Served = "served",
        /// The request was at fault: malformed, an unknown model, not permitted, too large.
        ClientError = "client_error",
        /// The accounts' quotas or rates are used up.
        RateLimited = "rate_limited",
        /// No capacity upstream, too many requests waiting, or the store is away.
        Overloaded = "overloaded",
        /// The upstream failed or refused, and no account and no retry helped.
        UpstreamError = "upstream_error",
        /// The pool has no account that can be used: none, all disabled, all invalid, or none can sign in.
        NoAccount = "no_account",
        /// No account answered within the request's deadline.
        Deadline = "deadline",
        /// The stream failed after it had begun.
        Broken = "broken",
        /// The client went away, or an operator ended the request.
        Cancelled = "cancelled",
        /// A fault of the gateway.
        Internal = "internal",
    }

    /// Kinds of tokens.
    TokenKind {
        /// Prompt tokens that were not read from the upstream's cache.
        Input = "input",
        /// Answer tokens, thinking included.
        Output = "output",
        /// Prompt tokens read from the upstream's cache.
        CacheRead = "cache_read",
        /// Thinking tokens; they are part of `output`, too.
        Thinking = "thinking",
    }

    /// What keeps an account from being used, the first that applies of `disabled`, `invalid`, `cooling`, `limited`, `busy`.
    AccountState {
        /// Usable for at least one model of the pool.
        Available = "available",
        /// Serves as many requests as it may.
        Busy = "busy",
        /// Limited for every model of the pool.
        Limited = "limited",
        /// Rests for want of an access token.
        Cooling = "cooling",
        /// Needs its owner: sign-in revoked, banned, or to be verified.
        Invalid = "invalid",
        /// Switched off.
        Disabled = "disabled",
        /// Its record cannot be read.
        Damaged = "damaged",
    }

    /// Strategies of selection.
    Strategy {
        /// By score.
        Hybrid = "hybrid",
        /// A conversation stays with its account.
        Sticky = "sticky",
        /// In turn.
        RoundRobin = "round_robin",
    }

    /// What was decided when an account was asked for.
    Decision {
        /// An account that is healthy, with tokens and quota.
        Normal = "normal",
        /// An account whose quota is critical.
        Quota = "quota",
        /// An account whose health is low.
        Emergency = "emergency",
        /// An account that is merely usable.
        LastResort = "last_resort",
        /// A limited account, to find out whether its limit still holds.
        Probe = "probe",
        /// No account now; one is free later.
        Wait = "wait",
        /// The pool has no account.
        Empty = "empty",
        /// Every account is switched off.
        Disabled = "disabled",
        /// Every enabled account needs its owner.
        Invalid = "invalid",
        /// No account is left whose record can be read.
        Damaged = "damaged",
    }

    /// What a request waited for.
    WaitReason {
        /// The end of a limit of quota or rate.
        Limited = "limited",
        /// Capacity of the model.
        Capacity = "capacity",
        /// An access token.
        Cooling = "cooling",
        /// Room on accounts that serve as many requests as they may.
        Busy = "busy",
        /// An account whose limit ended a moment ago.
        Recovering = "recovering",
        /// Its turn behind others that wait for room.
        Turn = "turn",
    }

    /// Why something was tried again.
    RetryReason {
        /// The access token was refused.
        Unauthorized = "unauthorized",
        /// The sign-in was revoked or has expired.
        Revoked = "revoked",
        /// The provider disabled the account.
        Banned = "banned",
        /// The account has to be verified.
        Verification = "verification",
        /// Any other 403.
        Forbidden = "forbidden",
        /// The model is not known there.
        NotFound = "not_found",
        /// Quota exhausted or rate limited.
        RateLimited = "rate_limited",
        /// The model is overloaded upstream.
        Capacity = "capacity",
        /// 5xx.
        ServerError = "server_error",
        /// The upstream could not be reached or broke off.
        Transport = "transport",
        /// An answer without content.
        Empty = "empty",
        /// No access token could be had.
        NoToken = "no_token",
        /// The time for this model was over.
        Deadline = "deadline",
    }

    /// What was tried next.
    RetryStep {
        /// The same account and endpoint after a pause.
        Same = "same",
        /// The same account at another endpoint.
        Endpoint = "endpoint",
        /// The same account with a fresh access token.
        Token = "token",
        /// Another account, or the same one after all others.
        Account = "account",
        /// The model's stand-in (`fallback`).
        Model = "model",
    }

    /// Limits of accounts.
    LimitKind {
        /// The quota window of a model.
        Quota = "quota",
        /// Requests per minute.
        Rate = "rate",
        /// A limit that the upstream did not name.
        Unknown = "unknown",
        /// The model had no capacity.
        Capacity = "capacity",
        /// Failures in a row.
        Failure = "failure",
        /// The model was forbidden without a reason.
        Forbidden = "forbidden",
        /// The account does not know the model.
        Unsupported = "unsupported",
        /// A fresh access token was refused: the account rests for all models.
        Cooling = "cooling",
    }

    /// What came of a token that had to be had.
    RefreshOutcome {
        /// Fetched and stored.
        Refreshed = "refreshed",
        /// Found in the store: it was fetched before, mostly by another replica.
        Adopted = "adopted",
        /// Refused: the account's sign-in was revoked or has expired.
        Rejected = "rejected",
        /// The gateway's own OAuth client was refused.
        Misconfigured = "misconfigured",
        /// The token endpoint failed or could not be reached; it is tried again.
        Failed = "failed",
        /// Fetched, but the store did not take it.
        Unstored = "unstored",
    }

    /// How an upstream call ended.
    AttemptOutcome {
        /// An answer began.
        Success = "success",
        /// The request was at fault.
        ClientError = "client_error",
        /// The access token was refused.
        Unauthorized = "unauthorized",
        /// The sign-in was revoked or has expired.
        Revoked = "revoked",
        /// The provider disabled the account.
        Banned = "banned",
        /// The account has to be verified.
        Verification = "verification",
        /// Any other 403.
        Forbidden = "forbidden",
        /// The model is not known there.
        NotFound = "not_found",
        /// Quota exhausted or rate limited.
        RateLimited = "rate_limited",
        /// The model is overloaded upstream.
        Capacity = "capacity",
        /// 5xx.
        ServerError = "server_error",
        /// The upstream could not be reached or broke off before its answer began.
        Transport = "transport",
        /// An answer without content.
        Empty = "empty",
        /// The upstream refused the prompt.
        Blocked = "blocked",
        /// Given up: the request's deadline passed.
        Deadline = "deadline",
    }

    /// Methods of the upstream.
    UpstreamMethod {
        /// A whole answer.
        Generate = "generateContent",
        /// A streamed answer.
        StreamGenerate = "streamGenerateContent",
        /// The size of a prompt.
        CountTokens = "countTokens",
        /// An account's models and quotas.
        FetchModels = "fetchAvailableModels",
        /// An account's project and subscription.
        LoadCodeAssist = "loadCodeAssist",
        /// A project for a new account.
        OnboardUser = "onboardUser",
    }

    /// Where a count of tokens came from.
    CountSource {
        /// Asked of the upstream.
        Upstream = "upstream",
        /// Remembered.
        Cache = "cache",
        /// Estimated here.
        Local = "local",
    }

    /// Why spans of traces were lost.
    SpanLoss {
        /// Too many were waiting to be sent.
        QueueFull = "queue_full",
        /// The collector did not take them.
        ExportFailed = "export_failed",
    }

    /// Topics of the feed.
    Topic {
        /// Events of the pool.
        Events = "events",
        /// Log records.
        Logs = "logs",
    }
}

impl StatusClass {
    /// The class of an HTTP status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            100..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

impl Status {
    /// The label of an HTTP status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            200 => Self::Ok,
            400 => Self::BadRequest,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            413 => Self::TooLarge,
            429 => Self::TooManyRequests,
            499 => Self::ClientGone,
            500 => Self::Internal,
            502 => Self::BadGateway,
            503 => Self::Unavailable,
            529 => Self::Overloaded,
            401..=498 => Self::OtherClientError,
            _ => Self::OtherServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound<L: Label + PartialEq + std::fmt::Debug>() {
        let Values::Closed(values) = L::VALUES else { panic!("{:?}", L::ALL) };
        assert_eq!(values.len(), L::ALL.len());
        for (at, (one, value)) in L::ALL.iter().zip(values).enumerate() {
            assert_eq!((one.index(), one.label()), (at, value.name));
            assert!(value.meaning.ends_with('.'), "{one:?}: {}", value.meaning);
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            assert!(!value.name.is_empty() && value.name.chars().all(plain), "{one:?}");
            assert!(values[..at].iter().all(|other| other.name != value.name), "{one:?} twice");
        }
    }

    #[test]
    fn places_names_and_meanings_belong_together() {
        sound::<StatusClass>();
        sound::<Status>();
        sound::<Outcome>();
        sound::<TokenKind>();
        sound::<AccountState>();
        sound::<Strategy>();
        sound::<Decision>();
        sound::<WaitReason>();
        sound::<RetryReason>();
        sound::<RetryStep>();
        sound::<LimitKind>();
        sound::<RefreshOutcome>();
        sound::<AttemptOutcome>();
        sound::<UpstreamMethod>();
        sound::<CountSource>();
        sound::<SpanLoss>();
        sound::<Topic>();
    }

    #[test]
    fn statuses_that_are_not_listed_keep_their_class() {
        for (status, label) in
            [(200, "200"), (418, "4xx"), (599, "5xx"), (500, "500"), (0, "5xx"), (499, "499")]
        {
            assert_eq!(Status::of(status).label(), label, "{status}");
        }
        for (status, label) in
            [(101, "2xx"), (204, "2xx"), (304, "3xx"), (499, "4xx"), (529, "5xx"), (0, "5xx")]
        {
            assert_eq!(StatusClass::of(status).label(), label, "{status}");
        }
    }
}
