//! From an upstream's error answer to a [`Failure`]. Pure.
//!
//! The status decides first, then structured members of Google's error object, and only then words in the body
//! (spec `dispatch.md` §2.5, §2.11, §3.4 Target). No rule looks at digits inside a text.

use http::HeaderMap;

use super::failure::{Failure, FailureClass, LimitKind, TransportKind};
use super::google_error::GoogleError;
use super::reset;

/// Longest error text kept, in bytes.
const MESSAGE_LIMIT: usize = 2048;
/// What the service's access tokens begin with.
const ACCESS_TOKEN: &str = "ya29.";

const REVOKED: [&str; 6] = [
    "invalid_grant",
    "token revoked",
    "token has been expired or revoked",
    "token_revoked",
    "invalid_client",
    "credentials are invalid",
];
const CAPACITY: [&str; 4] = [
    "model_capacity_exhausted",
    "capacity_exhausted",
    "model is currently overloaded",
    "service temporarily unavailable",
];
const RATE: [&str; 4] = ["rate_limit_exceeded", "rate limit", "too many requests", "throttl"];
const QUOTA: [&str; 6] = [
    "quota_exhausted",
    "quotaresetdelay",
    "quotaresettimestamp",
    "resource_exhausted",
    "daily limit",
    "quota exceeded",
];
const VERIFICATION: [&str; 3] = ["validation_required", "account_disabled", "user_disabled"];
const VERIFICATION_LINK: &str = "https://accounts.google.com/signin/continue?";

/// Classifies an answer that is not 2xx. `now_ms` is the upstream's time in milliseconds since the epoch, used
/// where `headers` hold no `Date`. Never panics, whatever the body.
#[must_use]
pub fn classify(status: u16, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Failure {
    let now_ms = reset::date_ms(headers).unwrap_or(now_ms);
    Answer::read(body).failure(status, headers, now_ms)
}

/// Classifies an error object found inside a 200 answer: `{"error":…}` or `[{"error":…}]`. Its own `code`, else
/// its canonical status name, stands for the HTTP status; without either it is a server error.
#[must_use]
pub fn classify_stream_error(body: &[u8], now_ms: i64) -> Failure {
    let answer = Answer::read(body);
    let status = answer
        .error
        .code
        .filter(|code| (400..600).contains(code))
        .or_else(|| answer.error.status.as_deref().and_then(canonical_status))
        .unwrap_or(500);
    answer.failure(status, &HeaderMap::new(), now_ms)
}

/// A body with everything the rules look at.
struct Answer {
    error: GoogleError,
    text: String,
    lower: String,
}

impl Answer {
    fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body).into_owned();
        Self { error: GoogleError::parse(body).unwrap_or_default(), lower: text.to_ascii_lowercase(), text }
    }

    fn failure(self, status: u16, headers: &HeaderMap, now_ms: i64) -> Failure {
        let class = self.class(status);
        let reset = (status == 429 || status >= 500)
            .then(|| reset::parse(headers, &self.error, &self.lower, now_ms))
            .flatten();
        // The page of a proxy on the way says nothing to a client.
        let plain = Some(self.text).filter(|text| !text.trim_start().starts_with('<'));
        let message = self.error.message.or(plain).map(presentable).filter(|text| !text.is_empty());
        let message = message.map(|text| prompt_too_long(&text).unwrap_or(text));
        Failure { class, status: Some(status), reset, message }
    }

    fn class(&self, status: u16) -> FailureClass {
        match status {
            401 if self.mentions(&REVOKED) => FailureClass::CredentialRevoked,
            401 => FailureClass::Unauthorized,
            403 => self.forbidden(),
            404 => FailureClass::NotFound,
            408 => FailureClass::Transport { kind: TransportKind::Timeout },
            429 => self.limited(),
            503 | 529 if self.is_capacity() => FailureClass::Capacity,
            400..=499 => FailureClass::Client,
            500.. => FailureClass::Server,
            _ => FailureClass::Transport { kind: TransportKind::Protocol },
        }
    }

    /// A structured demand for verification goes before the ban's wording, that before words that may mean either.
    fn forbidden(&self) -> FailureClass {
        let verification = || FailureClass::VerificationRequired { url: self.verification_url() };
        if self.error.has_reason(&["VALIDATION_REQUIRED"]) {
            verification()
        } else if self.lower.contains("has been disabled")
            && self.lower.contains("violation of terms of service")
        {
            FailureClass::Banned
        } else if self.error.has_reason(&VERIFICATION) || self.mentions(&VERIFICATION) {
            verification()
        } else {
            FailureClass::Forbidden
        }
    }

    fn limited(&self) -> FailureClass {
        let error = &self.error;
        let kind = if error.has_reason(&["MODEL_CAPACITY_EXHAUSTED", "CAPACITY_EXHAUSTED"]) {
            return FailureClass::Capacity;
        } else if error.has_reason(&["RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"]) {
            LimitKind::Rate
        } else if error.has_reason(&["QUOTA_EXHAUSTED", "quotaExceeded", "dailyLimitExceeded"]) {
            LimitKind::Quota
        } else if self.mentions(&CAPACITY) {
            return FailureClass::Capacity;
        } else if !error.quota_ids.is_empty() {
            if error.quota_ids.iter().all(|id| is_short_window(id)) {
                LimitKind::Rate
            } else {
                LimitKind::Quota
            }
        } else if self.mentions(&RATE) {
            LimitKind::Rate
        } else if self.mentions(&QUOTA) {
            LimitKind::Quota
        } else {
            LimitKind::Unknown
        };
        FailureClass::RateLimited { kind }
    }

    fn is_capacity(&self) -> bool {
        self.error.has_reason(&["MODEL_CAPACITY_EXHAUSTED", "CAPACITY_EXHAUSTED"]) || self.mentions(&CAPACITY)
    }

    fn mentions(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.lower.contains(word))
    }

    /// Where the account's owner can verify it. Only https addresses of google.com hosts are passed on: the
    /// operator is shown this as a link.
    fn verification_url(&self) -> Option<String> {
        let in_text = || {
            [self.error.message.as_deref(), Some(self.text.as_str())].into_iter().flatten().find_map(|text| {
                let start = text.find(VERIFICATION_LINK)?;
                let link =
                    text[start..].split(|c: char| c.is_whitespace() || c == '"' || c == '\\').next()?;
                Some(link.trim_end_matches([',', '.', ')', '}', '>', ']']).to_owned())
            })
        };
        self.error
            .validation_url
            .clone()
            .filter(|url| is_google(url))
            .or_else(in_text)
            .filter(|url| is_google(url))
    }
}

/// Whether it is an https address of a google.com host, without credentials: what may be shown as a link.
pub(crate) fn is_google(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| {
        url.scheme() == "https"
            && url.username().is_empty()
            && url.password().is_none()
            && url.host_str().is_some_and(|host| host == "google.com" || host.ends_with(".google.com"))
    })
}

/// `GenerateRequestsPerMinutePerProject` and the like refill within a minute.
fn is_short_window(quota_id: &str) -> bool {
    let id = quota_id.to_ascii_lowercase();
    ["perminute", "per_minute", "persecond", "per_second"].iter().any(|window| id.contains(window))
}

/// The HTTP status of a canonical status name (google.rpc.Code).
fn canonical_status(name: &str) -> Option<u16> {
    Some(match name {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => 400,
        "UNAUTHENTICATED" => 401,
        "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        "ABORTED" | "ALREADY_EXISTS" => 409,
        "RESOURCE_EXHAUSTED" => 429,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "CANCELLED" => 500,
        "UNIMPLEMENTED" => 501,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        _ => return None,
    })
}

/// Gemini's refusal of a prompt beyond its window, in the words by which a client of the Messages API knows that it has
/// to compact: `prompt is too long: N tokens > M maximum`. Where the upstream does not count, it is one too many.
fn prompt_too_long(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (_, rest) = lower.split_once("input token count")?;
    let (counted, allowed) = rest.split_once("exceeds the maximum number of tokens allowed")?;
    let number = |text: &str| -> Option<u64> {
        let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    };
    let most = number(allowed)?;
    let count = number(counted).unwrap_or(most.saturating_add(1));
    Some(format!("prompt is too long: {count} tokens > {most} maximum"))
}

/// Bounded, and without access tokens, should the upstream ever quote one.
fn presentable(mut text: String) -> String {
    // First, so that a long body is not searched; the last, because a replacement may be longer.
    text.truncate(text.floor_char_boundary(MESSAGE_LIMIT));
    while let Some(at) = text.find(ACCESS_TOKEN) {
        let of_token = |c: char| c.is_ascii_alphanumeric() || "._-~+/=".contains(c);
        let end = text[at..].find(|c| !of_token(c)).map_or(text.len(), |length| at + length);
        text.replace_range(at..end, "<token>");
    }
    text.truncate(text.floor_char_boundary(MESSAGE_LIMIT));
    text
}

#[cfg(test)]
mod tests;
