//! Error answers in Google's shape, by name.
//!
//! Bodies follow `google.rpc.Status` with `ErrorInfo`, `RetryInfo` and `QuotaFailure` details; what
//! the gateway must make of each is in spec `dispatch.md` §2.5 and §3.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A ready-made error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429, the model's quota is used up; tells the reset time.
    QuotaExhausted,
    /// 429, too many requests per minute; tells a short delay.
    RateLimited,
    /// 503, no capacity for the model.
    Capacity,
    /// 403, the account's owner must confirm who they are; carries the link.
    ValidationRequired,
    /// 403, the account is disabled for a breach of the terms.
    Banned,
    /// 401, the access token is not accepted.
    Unauthorized,
    /// 400 of the token endpoint, the refresh token is revoked.
    InvalidGrant,
    /// 500.
    ServerError,
    /// 403 without further reason.
    PermissionDenied,
    /// 404.
    NotFound,
    /// 400.
    InvalidArgument,
    /// 400, the prompt does not fit the model.
    PromptTooLong,
}

/// What an error's body tells beside its name.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) model: &'a str,
    /// Milliseconds until the limit ends.
    pub(super) reset_ms: u64,
    /// RFC 3339, the same moment.
    pub(super) reset_at: String,
    pub(super) validation_url: &'a str,
}

impl Fault {
    pub(super) fn status(self) -> u16 {
        match self {
            Self::QuotaExhausted | Self::RateLimited => 429,
            Self::Capacity => 503,
            Self::ValidationRequired | Self::Banned | Self::PermissionDenied => 403,
            Self::Unauthorized => 401,
            Self::InvalidGrant | Self::InvalidArgument | Self::PromptTooLong => 400,
            Self::ServerError => 500,
            Self::NotFound => 404,
        }
    }

    /// How long the limit lasts unless the scenario says otherwise.
    pub(super) fn default_reset_ms(self) -> u64 {
        match self {
            Self::QuotaExhausted => 2 * 3_600_000,
            _ => 30_000,
        }
    }

    pub(super) fn body(self, facts: &Facts<'_>) -> Value {
        let model = facts.model;
        match self {
            Self::QuotaExhausted => error(
                429,
                &format!(
                    "You have exhausted your capacity on this model. Your quota will reset after {}.",
                    clock_text(facts.reset_ms)
                ),
                "RESOURCE_EXHAUSTED",
                json!([
                    info(
                        "QUOTA_EXHAUSTED",
                        json!({
                            "uiMessage": "true",
                            "model": model,
                            "quotaResetDelay": duration(facts.reset_ms),
                            "quotaResetTimeStamp": facts.reset_at,
                        })
                    ),
                    retry(facts.reset_ms),
                ]),
            ),
            Self::RateLimited => error(
                429,
                "Resource has been exhausted (e.g. check quota).",
                "RESOURCE_EXHAUSTED",
                json!([
                    info("RATE_LIMIT_EXCEEDED", json!({"model": model})),
                    {
                        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [{
                            "quotaMetric": "cloudcode-pa.googleapis.com/generate_requests",
                            "quotaId": "GenerateRequestsPerMinutePerUser",
                        }],
                    },
                    retry(facts.reset_ms),
                ]),
            ),
            Self::Capacity => error(
                503,
                &format!("No capacity available for model {model} on the server"),
                "UNAVAILABLE",
                json!([info("MODEL_CAPACITY_EXHAUSTED", json!({"model": model}))]),
            ),
            Self::ValidationRequired => error(
                403,
                "Verify your account to continue.",
                "PERMISSION_DENIED",
                json!([info("VALIDATION_REQUIRED", json!({"validation_url": facts.validation_url}))]),
            ),
            Self::Banned => error(
                403,
                "Gemini has been disabled in this account for violation of Terms of Service. If you believe this is \
                 an error, please contact support.",
                "PERMISSION_DENIED",
                json!([]),
            ),
            Self::Unauthorized => error(
                401,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
                 other valid authentication credential.",
                "UNAUTHENTICATED",
                json!([info("ACCESS_TOKEN_EXPIRED", json!({"method": "PredictionService"}))]),
            ),
            Self::InvalidGrant => oauth("invalid_grant", "Token has been expired or revoked."),
            Self::ServerError => error(500, "Internal error encountered.", "INTERNAL", json!([])),
            Self::PermissionDenied => {
                error(403, "The caller does not have permission", "PERMISSION_DENIED", json!([]))
            }
            Self::NotFound => error(404, "Requested entity was not found.", "NOT_FOUND", json!([])),
            Self::InvalidArgument => invalid_argument("Request contains an invalid argument."),
            Self::PromptTooLong => invalid_argument("prompt is too long: 250000 tokens > 200000 maximum"),
        }
    }
}

pub(super) fn invalid_argument(message: &str) -> Value {
    error(400, message, "INVALID_ARGUMENT", json!([]))
}

/// An error of the OAuth endpoints.
pub(super) fn oauth(code: &str, description: &str) -> Value {
    json!({"error": code, "error_description": description})
}

fn error(code: u16, message: &str, status: &str, details: Value) -> Value {
    let mut body = json!({"error": {"code": code, "message": message, "status": status}});
    if details.as_array().is_some_and(|details| !details.is_empty()) {
        body["error"]["details"] = details;
    }
    body
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn info(reason: &str, metadata: Value) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "cloudcode-pa.googleapis.com",
        "metadata": metadata,
    })
}

fn retry(ms: u64) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": seconds(ms)})
}

/// `7200s`, `0.250s`.
fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) {
        format!("{}s", ms / 1_000)
    } else {
        format!("{}.{:03}s", ms / 1_000, ms % 1_000)
    }
}

/// A Go-style duration: `2h7m23.500s`.
fn duration(ms: u64) -> String {
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let rest = seconds(ms % 60_000);
    match (hours, minutes) {
        (0, 0) => rest,
        (0, minutes) => format!("{minutes}m{rest}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
    }
}

fn clock_text(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    format!("{}h{}m{}s", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::{clock_text, duration, seconds};

    #[test]
    fn durations() {
        assert_eq!(seconds(250), "0.250s");
        assert_eq!(duration(7_643_300), "2h7m23.300s");
        assert_eq!(duration(61_000), "1m1s");
        assert_eq!(clock_text(5_025_000), "1h23m45s");
    }
}
