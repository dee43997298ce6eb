use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::{classify, classify_stream_error};
use crate::cloudcode::{FailureClass, LimitKind, TransportKind};

fn class(status: u16, body: &str) -> FailureClass {
    classify(status, &HeaderMap::new(), body.as_bytes(), 0).class
}

fn verification(url: Option<&str>) -> FailureClass {
    FailureClass::VerificationRequired { url: url.map(str::to_owned) }
}

const RATE: FailureClass = FailureClass::RateLimited { kind: LimitKind::Rate };
const QUOTA: FailureClass = FailureClass::RateLimited { kind: LimitKind::Quota };
const UNKNOWN: FailureClass = FailureClass::RateLimited { kind: LimitKind::Unknown };

#[test]
fn status_decides_whatever_digits_the_body_holds() {
    let misleading =
        r#"{"error":{"code":999,"message":"max 65500 tokens; 429 401 503 500 403 timeout","status":"X"}}"#;
    for (status, expected) in [
        (302, FailureClass::Transport { kind: TransportKind::Protocol }),
        (400, FailureClass::Client),
        (401, FailureClass::Unauthorized),
        (403, FailureClass::Forbidden),
        (404, FailureClass::NotFound),
        (408, FailureClass::Transport { kind: TransportKind::Timeout }),
        (413, FailureClass::Client),
        (422, FailureClass::Client),
        (429, UNKNOWN),
        (500, FailureClass::Server),
        (503, FailureClass::Server),
        (529, FailureClass::Server),
    ] {
        assert_eq!(class(status, misleading), expected, "{status}");
    }
    // Words of one status mean nothing under another.
    assert_eq!(class(400, "quota exceeded, invalid_grant, rate limit"), FailureClass::Client);
    assert_eq!(class(500, "model is currently overloaded"), FailureClass::Server);
}

#[test]
fn limits_by_structured_reason_then_by_words() {
    let with_reason = |reason: &str| {
        format!(
            r#"{{"error":{{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Resource has been exhausted","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"cloudcode-pa.googleapis.com","metadata":{{"quotaResetDelay":"1h"}}}}]}}}}"#
        )
    };
    let with_quota = |id: &str| {
        format!(
            r#"{{"error":{{"status":"RESOURCE_EXHAUSTED","details":[{{"violations":[{{"quotaId":"{id}"}}]}}]}}}}"#
        )
    };
    for (body, expected) in [
        (with_reason("MODEL_CAPACITY_EXHAUSTED"), FailureClass::Capacity),
        (with_reason("RATE_LIMIT_EXCEEDED"), RATE),
        (with_reason("QUOTA_EXHAUSTED"), QUOTA),
        (with_reason("SOMETHING_NEW"), QUOTA),
        (
            r#"{"error":{"errors":[{"reason":"rateLimitExceeded"}],"status":"RESOURCE_EXHAUSTED"}}"#.into(),
            RATE,
        ),
        (r#"{"error":{"errors":[{"reason":"dailyLimitExceeded"}],"message":"rate limit"}}"#.into(), QUOTA),
        (with_quota("GenerateRequestsPerMinutePerProject"), RATE),
        (with_quota("GenerateRequestsPerDayPerProject"), QUOTA),
        ("MODEL_CAPACITY_EXHAUSTED: rate limit, quota exceeded".into(), FailureClass::Capacity),
        ("Too Many Requests; quota exceeded".into(), RATE),
        ("Quota exceeded for the day".into(), QUOTA),
        ("slow down".into(), UNKNOWN),
        (String::new(), UNKNOWN),
    ] {
        assert_eq!(class(429, &body), expected, "{body}");
    }
    assert_eq!(class(503, &with_reason("MODEL_CAPACITY_EXHAUSTED")), FailureClass::Capacity);
    assert_eq!(class(529, "Service temporarily unavailable"), FailureClass::Capacity);
}

/// Each word of spec §3.4, in the order capacity, rate limit, quota; under a status that names the class by itself, none
/// of them says anything.
#[test]
fn every_word_that_names_a_limit() {
    let words = [
        (
            FailureClass::Capacity,
            &[
                "model_capacity_exhausted",
                "capacity_exhausted",
                "model is currently overloaded",
                "service temporarily unavailable",
            ][..],
        ),
        (RATE, &["rate_limit_exceeded", "rate limit", "too many requests", "throttled", "throttling"][..]),
        (
            QUOTA,
            &[
                "quota_exhausted",
                "quotaResetDelay",
                "quotaResetTimeStamp",
                "resource_exhausted",
                "daily limit",
                "quota exceeded",
            ][..],
        ),
        // Words of the class of server errors, and digits, mean nothing beside a 429.
        (UNKNOWN, &["internal server error", "server error", "503", "502", "504", "400 65500", "401"][..]),
    ];
    for (at, (expected, group)) in words.iter().enumerate() {
        for word in *group {
            assert_eq!(class(429, &word.to_uppercase()), *expected, "{word}");
            for (_, later) in &words[at..] {
                for other in *later {
                    assert_eq!(class(429, &format!("{other}; {word}")), *expected, "{other}; {word}");
                }
            }
            for (status, plain) in [
                (400, FailureClass::Client),
                (401, FailureClass::Unauthorized),
                (403, FailureClass::Forbidden),
                (404, FailureClass::NotFound),
                (500, FailureClass::Server),
            ] {
                assert_eq!(class(status, word), plain, "{status} {word}");
            }
            let capacity = matches!(expected, FailureClass::Capacity);
            for status in [503, 529] {
                let unavailable = if capacity { FailureClass::Capacity } else { FailureClass::Server };
                assert_eq!(class(status, word), unavailable, "{status} {word}");
            }
        }
    }
}

#[test]
fn a_prompt_beyond_the_window_is_told_in_the_words_clients_know() {
    for (text, expected) in [
        (
            "The input token count (1200345) exceeds the maximum number of tokens allowed (1048576).",
            "prompt is too long: 1200345 tokens > 1048576 maximum",
        ),
        (
            "The input token count exceeds the maximum number of tokens allowed 1048576.",
            "prompt is too long: 1048577 tokens > 1048576 maximum",
        ),
        (
            "prompt is too long: 207163 tokens > 200000 maximum",
            "prompt is too long: 207163 tokens > 200000 maximum",
        ),
        ("max_tokens: 70000 > 65536", "max_tokens: 70000 > 65536"),
    ] {
        let body = serde_json::json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": text}});
        let failure = classify(400, &HeaderMap::new(), body.to_string().as_bytes(), 0);
        assert_eq!((failure.class, failure.message.as_deref()), (FailureClass::Client, Some(expected)));
    }
}

#[test]
fn credentials_and_account_states() {
    for text in [
        "invalid_grant",
        "Token revoked",
        "Token has been expired or revoked.",
        "TOKEN_REVOKED",
        "invalid_client",
        "the credentials are invalid",
    ] {
        assert_eq!(class(401, text), FailureClass::CredentialRevoked, "{text}");
    }
    let validation = |url: &str| {
        format!(
            r#"{{"error":{{"code":403,"status":"PERMISSION_DENIED","details":[{{"reason":"VALIDATION_REQUIRED","metadata":{{"validation_url":"{url}"}}}}]}}}}"#
        )
    };
    let good = "https://accounts.google.com/signin/continue?x=1";
    assert_eq!(class(403, &validation(good)), verification(Some(good)));
    for bad in [
        "https://evil.example/?accounts.google.com",
        "https://google.com.evil.example/",
        "https://notgoogle.com/",
        "http://accounts.google.com/",
        "https://google.com@evil.example/",
        "javascript:alert(1)",
    ] {
        assert_eq!(class(403, &validation(bad)), verification(None), "{bad}");
    }
    assert_eq!(
        class(403, &format!("validation_required: go to {good}&y=2), then retry")),
        verification(Some(&format!("{good}&y=2")))
    );
    assert_eq!(class(403, "account_disabled"), verification(None));
    let ban = "This service has been disabled in this account for Violation of Terms of Service";
    assert_eq!(class(403, ban), FailureClass::Banned);
    assert_eq!(class(403, &format!("ACCOUNT_DISABLED: {ban}")), FailureClass::Banned);
    for text in ["PERMISSION_DENIED", "Forbidden", "access denied", "has been disabled"] {
        assert_eq!(class(403, text), FailureClass::Forbidden, "{text}");
    }
}

#[test]
fn error_objects_inside_a_stream() {
    let classed = |body: &str| classify_stream_error(body.as_bytes(), 0);
    let failure = classed(
        r#"[{"error":{"code":429,"message":"Rate limit; try again","details":[{"retryDelay":"4s"}]}}]"#,
    );
    assert_eq!(
        (failure.class, failure.status, failure.reset),
        (RATE, Some(429), Some(Duration::from_secs(4)))
    );
    assert_eq!(
        classed(r#"{"error":{"status":"INVALID_ARGUMENT","message":"bad"}}"#).class,
        FailureClass::Client
    );
    assert_eq!(classed(r#"{"error":{"status":"UNAVAILABLE","code":7}}"#).status, Some(503));
    assert_eq!(classed(r#"{"error":{}}"#).class, FailureClass::Server);
    assert_eq!(classed("nonsense").class, FailureClass::Server);
}

#[test]
fn messages_are_decoded_unwrapped_and_bounded() {
    let message = |body: &str| classify(400, &HeaderMap::new(), body.as_bytes(), 0).message;
    assert_eq!(message(r#"{"error":{"message":"say \"hi\""}}"#).as_deref(), Some("say \"hi\""));
    let nested = r#"{"error":{"message":"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 3 tokens > 2 maximum\"}}"}}"#;
    assert_eq!(message(nested).as_deref(), Some("prompt is too long: 3 tokens > 2 maximum"));
    assert_eq!(message("plain").as_deref(), Some("plain"));
    assert_eq!(message(""), None);
    assert_eq!(message(" <html>whatever</html>"), None, "a proxy's page");
    assert_eq!(
        message(r#"{"error":{"message":"no: Bearer ya29.a0-b_c.d, ya29."}}"#).as_deref(),
        Some("no: Bearer <token>, <token>")
    );
    assert!(message(&"ä".repeat(4000)).unwrap().len() <= 2048);
}

#[test]
fn stamps_are_relative_to_the_upstreams_own_clock() {
    let mut headers = HeaderMap::new();
    headers.insert("date", HeaderValue::from_static("Mon, 23 Nov 2026 12:00:00 GMT"));
    let body = r#"{"error":{"details":[{"metadata":{"quotaResetTimeStamp":"2026-11-23T12:10:00Z"}}]}}"#;
    assert_eq!(classify(429, &headers, body.as_bytes(), 0).reset, Some(Duration::from_mins(10)));
    assert_eq!(
        classify(429, &HeaderMap::new(), body.as_bytes(), 1_795_435_500_000).reset,
        Some(Duration::from_mins(5))
    );
    // Headers, too, whatever this machine believes the time to be.
    for (name, value) in
        [("retry-after", "Mon, 23 Nov 2026 12:10:00 GMT"), ("x-ratelimit-reset", "1795435800")]
    {
        let mut headers = headers.clone();
        headers.insert(name, HeaderValue::from_static(value));
        for now_ms in [0, 1_795_435_200_000, i64::MAX] {
            assert_eq!(classify(429, &headers, b"", now_ms).reset, Some(Duration::from_mins(10)), "{name}");
        }
    }
}

proptest! {
    #[test]
    fn never_panics(status in 0u16..=u16::MAX, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = classify(status, &HeaderMap::new(), &body, 0);
        let _ = classify_stream_error(&body, i64::MIN);
    }

    #[test]
    fn never_panics_on_text_that_looks_right(
        body in r#"(\[|\]|\{|\}|"error":|"details":|"reason":|"metadata":|"validation_url":|"https://accounts.google.com/signin/continue\?|"quotaResetTimeStamp":"[0-9TZ:+.-]{0,30}|,|"|ä|[0-9]{1,30}[hms.]){0,30}"#,
    ) {
        for status in [401, 403, 429, 503] {
            let _ = classify(status, &HeaderMap::new(), body.as_bytes(), i64::MAX);
        }
    }
}
