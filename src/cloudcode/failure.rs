//! What went wrong upstream, as a closed set of values.

use std::time::Duration;

/// One failed upstream call. Built by `classify` from status, headers and parsed body, or from a transport error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is; the retry policy reads only this.
    pub class: FailureClass,
    /// HTTP status, when one arrived.
    pub status: Option<u16>,
    /// How long the upstream asked to wait, when it said so (relative, already capped).
    pub reset: Option<Duration>,
    /// The upstream's own error text, decoded from JSON and bounded to 2 kB. For a client only where the
    /// class is [`FailureClass::Client`]; never logged at info.
    pub message: Option<String>,
}

/// The classes of spec `dispatch.md` §2.11.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The request itself is at fault (400, 413, 422 and other 4xx without a rule): would fail anywhere.
    Client,
    /// 401 that a fresh token may cure.
    Unauthorized,
    /// 401 or OAuth answer that only signing in again cures.
    CredentialRevoked,
    /// The account was disabled for violating terms.
    Banned,
    /// The account's owner must verify it, at this address when the upstream gave one on a google.com host.
    VerificationRequired {
        /// Where the owner does so.
        url: Option<String>,
    },
    /// Any other 403.
    Forbidden,
    /// 404: the account or endpoint does not know the model.
    NotFound,
    /// 429: a limit of the account.
    RateLimited {
        /// Which limit, as far as the upstream said.
        kind: LimitKind,
    },
    /// The model is overloaded for everybody (429, 503, 529 with a capacity reason).
    Capacity,
    /// Any other 5xx.
    Server,
    /// No usable answer: connect, TLS, reset, time-out, broken framing.
    Transport {
        /// Which step failed.
        kind: TransportKind,
    },
    /// A 200 without any content.
    Empty,
    /// The prompt was blocked; `reason` is the upstream's enum value such as `SAFETY`.
    Blocked {
        /// The upstream's enum value.
        reason: String,
    },
}

/// Which limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The quota window is used up.
    Quota,
    /// Too many requests per minute.
    Rate,
    /// The upstream did not say.
    Unknown,
}

/// Which step of a call failed without an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// Name resolution, TCP or TLS.
    Connect,
    /// A time-out.
    Timeout,
    /// Cut off after the connection stood.
    Reset,
    /// An answer that is not valid HTTP, SSE or JSON, or over a size bound.
    Protocol,
}
